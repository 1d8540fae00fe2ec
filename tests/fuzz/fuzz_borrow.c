/*
 * Any answer of a keeper to a process that wants to borrow a descriptor (shim/core/borrow.c): what comes of it is one
 * descriptor, close-on-exec, above the standard ones, of the file that was lent, or an error; and the process never
 * has one descriptor more than that.
 *
 * The input: a byte of settings (whether the lock file is marked, which descriptor is asked for, whether standard input
 * is closed); then up to three messages of the keeper's: one byte for how many bytes and descriptors, the bytes, the
 * kinds of the descriptors.
 */
#include "rights.h"

#include "../../shim/core/borrow.h"

#include "../../include/mplogshim.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <semaphore.h>
#include <stddef.h>
#include <sys/un.h>

#define LOCK ".app.log.lock"

enum { MESSAGES = 3, FDS = 64, KINDS = 6 };

/* The keeper's side: a thread, and what it is to say. */
static struct {
    int listener;
    uint64_t number;
    struct rights messages[MESSAGES];
    size_t count;
    sem_t served;
} keeper;

static struct lockfile lockfile = {.fd = -1, .name = LOCK};
static int pool[KINDS];
static int shown;

static void answer(int client)
{
    struct rights asked;
    require(rights_receive(client, &asked));
    require(asked.size == 1 && asked.count == 1 && (asked.bytes[0] == BORROW_LIVE || asked.bytes[0] == BORROW_LOCK));
    require(same_file(asked.fds[0], shown));
    close(asked.fds[0]);
    for (size_t i = 0; i < keeper.count; i++) {
        rights_send(client, &keeper.messages[i]);
    }
}

static void *keep(void *unused)
{
    for (;;) {
        /* accept would take its descriptor's number before it waits */
        struct pollfd wanted = {.fd = keeper.listener, .events = POLLIN};
        int client = poll(&wanted, 1, -1) == 1 ? accept4(keeper.listener, NULL, NULL, SOCK_CLOEXEC) : -1;
        require(client >= 0);
        answer(client);
        close(client);
        sem_post(&keeper.served);
    }
    return unused;
}

static void listen_as_keeper(void)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    keeper.number = (uint64_t)getpid() << 20 | 77;
    keeper.listener = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
    socklen_t size = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + borrow_name(keeper.number, address.sun_path));
    require(bind(keeper.listener, (struct sockaddr *)&address, size) == 0 && listen(keeper.listener, 8) == 0);
}

static void start(void)
{
    pthread_t thread;
    struct stat log;
    int ends[2];
    lockfile.directory = rights_directory();
    shown = openat(lockfile.directory, "app.log", O_WRONLY | O_CREAT | O_CLOEXEC, 0644);
    require(fstat(shown, &log) == 0 && lockfile_open(&lockfile, -1, &log) == 0);
    listen_as_keeper();
    require(lockfile_write(&lockfile, LOCKFILE_KEEPER, (int64_t)keeper.number) == 0);
    require(pipe2(ends, O_CLOEXEC) == 0);
    pool[0] = openat(lockfile.directory, "lent", O_RDWR | O_CREAT | O_CLOEXEC, 0644);
    pool[1] = openat(lockfile.directory, "lent", O_RDONLY | O_CLOEXEC);
    pool[2] = lockfile.directory;
    pool[3] = ends[1];
    pool[4] = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    pool[5] = open("/dev/null", O_WRONLY | O_CLOEXEC);
    require(pool[0] >= 0 && pool[1] >= 0 && pool[4] >= 0 && pool[5] >= 0);
    sem_init(&keeper.served, 0, 0);
    require(pthread_create(&thread, NULL, keep, NULL) == 0);
    pthread_detach(thread);
}

static void take_messages(struct input *input)
{
    keeper.count = 0;
    while (keeper.count < MESSAGES && input->size > 0) {
        struct rights *message = &keeper.messages[keeper.count++];
        uint8_t form = input_byte(input);
        message->size = form % (RIGHTS_BYTES + 1);
        message->count = form / 16 % (RIGHTS_MOST + 1);
        for (size_t i = 0; i < message->size; i++) {
            message->bytes[i] = (char)input_byte(input);
        }
        for (size_t i = 0; i < message->count; i++) {
            message->fds[i] = pool[input_byte(input) % KINDS];
        }
    }
}

/* One more than before, `lent`, or none. */
static void check_descriptors(const bool before[FDS], int lent)
{
    for (int fd = 0; fd < FDS; fd++) {
        require((fcntl(fd, F_GETFD) >= 0) == (before[fd] || fd == lent));
    }
}

static void check_lent(int lent)
{
    const struct rights *message = &keeper.messages[0];
    if (lent < 0) {
        require(lent >= -4095);
        return;
    }
    require(lent > STDERR_FILENO && (fcntl(lent, F_GETFD) & FD_CLOEXEC));
    require(keeper.count > 0 && message->count > 0 && same_file(lent, message->fds[0]));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static bool started;
    struct input input = {data, size};
    bool before[FDS];
    if (!started) {
        start();
        started = true;
    }
    uint8_t settings = input_byte(&input);
    bool marked = settings & 1;
    take_messages(&input);
    require(fchmod(lockfile.fd, marked ? 01644 : 0644) == 0);
    if (settings & 4) {
        close(STDIN_FILENO);
    }
    for (int fd = 0; fd < FDS; fd++) {
        before[fd] = fcntl(fd, F_GETFD) >= 0;
    }

    bool of_lock = settings & 2;
    int lent = of_lock ? borrow_lock(lockfile.directory, LOCK, shown, false) : borrow_live(&lockfile, shown);
    if (of_lock && !marked) {
        require(lent == -ESRCH);
    } else {
        while (sem_wait(&keeper.served) != 0) {
        }
    }
    check_descriptors(before, lent);
    check_lent(lent);
    if (lent >= 0) {
        close(lent);
    }
    if (settings & 4) {
        require(open("/dev/null", O_RDONLY) == STDIN_FILENO);
    }
    return 0;
}
