/*
 * Any clients of a keeper (shim/tool/lend.c), in a directory in which others are at work too: what they get is the live
 * file or the lock file, for who shows a descriptor of the log's history that is open for writing, with no more access
 * than that; never another file, by whatever link; who is entitled gets it whatever others said before, and the keeper
 * keeps nothing open.
 *
 * The input is steps: what becomes of the files, and messages of clients. A fault of the keeper's thread ends the
 * fuzzer with nothing on its standard error, which that thread has closed; the finding is kept all the same.
 */
#include "rights.h"

#include "../../shim/core/borrow.h"
#include "../../shim/tool/lend.h"

#include "../../include/mplogshim.h"

#include <errno.h>
#include <stddef.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <time.h>

#define LIVE "app.log"
#define LOCK ".app.log.lock"

enum { STEPS_MOST = 24, CLIENTS_MOST = 8, KINDS = 12, KEEPER_FDS = 3 };

static struct settle settle;
static struct lockfile lockfile = {.fd = -1, .name = LOCK};
static char keeper_fds[64]; /* the directory in /proc of the thread's descriptors */
static unsigned rotations;

/* What there is to be shown; from OTHERS on nobody gets anything for it. */
enum { SHOW_LIVE, SHOW_ARCHIVE, SHOW_LIVE_AND_READ, OTHERS };
static int pool[KINDS];

static int at(const char *name, int flags)
{
    return openat(settle.directory, name, flags | O_CLOEXEC | O_NONBLOCK, 0644);
}

static void start(void)
{
    struct stat log;
    struct dirent *entry;
    int threads_before[16];
    size_t count = 0;
    settle.directory = rights_directory();
    settle.path = "/" LIVE;
    settle.base = LIVE;
    settle.lock = &lockfile;
    lockfile.directory = settle.directory;
    close(at(LIVE, O_WRONLY | O_CREAT));
    require(fstatat(settle.directory, LIVE, &log, 0) == 0 && lockfile_open(&lockfile, -1, &log) == 0);

    DIR *tasks = opendir("/proc/self/task");
    require(tasks != NULL);
    while ((entry = readdir(tasks)) != NULL && count < 16) {
        threads_before[count++] = atoi(entry->d_name);
    }
    require(lend_start(&settle) == 0);
    rewinddir(tasks);
    while ((entry = readdir(tasks)) != NULL) {
        bool known = false;
        for (size_t i = 0; i < count; i++) {
            known = known || threads_before[i] == atoi(entry->d_name);
        }
        if (!known) {
            snprintf(keeper_fds, sizeof keeper_fds, "/proc/self/task/%d/fd", atoi(entry->d_name));
        }
    }
    closedir(tasks);
    require(keeper_fds[0] != '\0');
}

static size_t count_keeper_fds(void)
{
    size_t count = 0;
    DIR *directory = opendir(keeper_fds);
    require(directory != NULL);
    for (const struct dirent *entry; (entry = readdir(directory)) != NULL;) {
        count += entry->d_name[0] != '.';
    }
    closedir(directory);
    return count;
}

static int connect_to_keeper(void)
{
    int64_t number;
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    require(lockfile_read(&lockfile, LOCKFILE_KEEPER, &number));
    socklen_t size =
        (socklen_t)(offsetof(struct sockaddr_un, sun_path) + borrow_name((uint64_t)number, address.sun_path));
    int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
    require(fd >= 0 && connect(fd, (struct sockaddr *)&address, size) == 0);
    return fd;
}

/*
 * The files.
 */
static void clear(void)
{
    DIR *directory = fdopendir(at(".", O_RDONLY | O_DIRECTORY));
    require(directory != NULL);
    for (const struct dirent *entry; (entry = readdir(directory)) != NULL;) {
        if (strcmp(entry->d_name, LOCK) != 0 && entry->d_name[0] != '.' &&
            unlinkat(settle.directory, entry->d_name, 0) != 0) {
            unlinkat(settle.directory, entry->d_name, AT_REMOVEDIR);
        }
    }
    closedir(directory);
}

/* A log that was rotated once, and what has nothing to do with it. */
static void set_up(void)
{
    int ends[2];
    clear();
    pool[SHOW_ARCHIVE] = at(LIVE ".1", O_WRONLY | O_CREAT | O_EXCL);
    pool[SHOW_LIVE] = at(LIVE, O_WRONLY | O_CREAT | O_EXCL | O_APPEND);
    pool[SHOW_LIVE_AND_READ] = at(LIVE, O_RDWR);
    pool[3] = at("secret", O_RDWR | O_CREAT | O_EXCL);
    pool[4] = at(LIVE, O_RDONLY);
    pool[5] = at(LIVE, O_PATH);
    pool[6] = at(LIVE ".1", O_RDONLY);
    pool[7] = at(LIVE ".2.gz", O_RDWR | O_CREAT | O_EXCL);
    pool[8] = at(".", O_RDONLY | O_DIRECTORY);
    pool[9] = at("app.logs", O_WRONLY | O_CREAT | O_EXCL);
    pool[10] = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    require(pipe2(ends, O_CLOEXEC) == 0);
    pool[11] = ends[1];
    close(ends[0]);
    for (size_t i = 0; i < KINDS; i++) {
        require(pool[i] >= 0);
    }
}

static void tear_down(void)
{
    for (size_t i = 0; i < KINDS; i++) {
        close(pool[i]);
    }
}

static void remove_live(void)
{
    if (unlinkat(settle.directory, LIVE, 0) != 0) {
        unlinkat(settle.directory, LIVE, AT_REMOVEDIR);
    }
}

static void change_files(uint8_t how)
{
    static const char *const archives[] = {LIVE ".%u", LIVE ".2026-11-20.%u", ".app.log.%016x.1795000000.pending"};
    char name[64];
    switch (how % 10) {
    case 0: /* a rotation */
        snprintf(name, sizeof name, archives[how / 16 % 3], 10 + ++rotations % 1000);
        renameat(settle.directory, LIVE, settle.directory, name);
        close(at(LIVE, O_WRONLY | O_CREAT));
        break;
    case 1:
        remove_live();
        symlinkat("secret", settle.directory, LIVE);
        break;
    case 2:
        remove_live();
        linkat(settle.directory, "secret", settle.directory, LIVE, 0);
        break;
    case 3:
        remove_live();
        mkdirat(settle.directory, LIVE, 0755);
        break;
    case 4:
        remove_live();
        break;
    case 5:
        linkat(settle.directory, "secret", settle.directory, LIVE ".7", 0);
        break;
    case 6:
        unlinkat(settle.directory, LIVE ".1", 0);
        break;
    case 7:
        remove_live();
        mkfifoat(settle.directory, LIVE, 0644);
        break;
    case 8:
        fchmodat(settle.directory, LIVE ".1", 0666, 0);
        break;
    default:
        remove_live();
        close(at(LIVE, O_WRONLY | O_CREAT));
    }
}

static bool is_named(int fd, const char *name)
{
    struct stat a;
    struct stat b;
    return fstat(fd, &a) == 0 && fstatat(settle.directory, name, &b, AT_SYMLINK_NOFOLLOW) == 0 && S_ISREG(b.st_mode) &&
           a.st_dev == b.st_dev && a.st_ino == b.st_ino && b.st_nlink == 1;
}

/*
 * The clients.
 */
static void check_reply(int lent, const struct rights *shown, size_t kind)
{
    int flags = fcntl(lent, F_GETFL);
    bool of_lock = shown->bytes[0] == BORROW_LOCK;
    require(shown->count > 0 && shown->size > 0 && (of_lock || shown->bytes[0] == BORROW_LIVE));
    require(kind < OTHERS);
    require(is_named(lent, of_lock ? LOCK : LIVE) && !same_file(lent, pool[OTHERS]));
    require(of_lock || ((flags & O_APPEND) && (flags & O_ACCMODE) == (fcntl(shown->fds[0], F_GETFL) & O_ACCMODE)));
}

/* To the end of what the keeper says; whether it lent anything. */
static bool read_replies(int client, const struct rights *shown, size_t kind)
{
    struct rights reply;
    bool any = false;
    shutdown(client, SHUT_WR);
    while (rights_receive(client, &reply)) {
        require(reply.size == 1 && reply.count <= 1 && (reply.count == 1) == (reply.bytes[0] == 'y') && !any);
        if (reply.count > 0) {
            any = true;
            check_reply(reply.fds[0], shown, kind);
            close(reply.fds[0]);
        }
    }
    return any;
}

static void take_message(struct input *input, struct rights *message, size_t *kind)
{
    static const char words[] = {BORROW_LIVE, BORROW_LOCK, '\0', 'x'};
    uint8_t form = input_byte(input);
    message->size = form & 1 ? 1 : form / 2 % (RIGHTS_BYTES + 1);
    message->count = form & 8 ? 1 : form / 16 % (RIGHTS_MOST + 1);
    for (size_t i = 0; i < RIGHTS_BYTES; i++) {
        message->bytes[i] = words[(form / 64 + i) % sizeof words];
    }
    for (size_t i = 0; i < message->count; i++) {
        size_t which = input_byte(input) % KINDS;
        *kind = i == 0 ? which : *kind;
        message->fds[i] = pool[which];
    }
}

static void ask(struct input *input)
{
    struct rights message;
    size_t kind = OTHERS;
    int client = connect_to_keeper();
    take_message(input, &message, &kind);
    if (rights_send(client, &message)) {
        read_replies(client, &message, kind);
    }
    close(client);
}

/* Who has the live file open for writing is lent it. */
static void expect_loan(void)
{
    struct rights message = {.bytes = {BORROW_LIVE}, .size = 1, .fds = {pool[SHOW_LIVE]}, .count = 1};
    bool entitled = is_named(pool[SHOW_LIVE], LIVE);
    int client = connect_to_keeper();
    require(rights_send(client, &message));
    bool any = read_replies(client, &message, SHOW_LIVE);
    require(any || !entitled);
    close(client);
}

static void expect_nothing_open(void)
{
    const struct timespec pause = {.tv_nsec = 100000};
    for (int attempt = 0; count_keeper_fds() != KEEPER_FDS; attempt++) {
        require(attempt < 50000);
        nanosleep(&pause, NULL);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static bool started;
    struct input input = {data, size};
    int silent[CLIENTS_MOST];
    size_t silent_count = 0;
    if (!started) {
        start();
        started = true;
    }
    set_up();
    for (int i = 0; i < STEPS_MOST && input.size > 0; i++) {
        uint8_t step = input_byte(&input);
        if (step % 4 == 0) {
            change_files(step / 4);
        } else if (step % 4 == 1 && silent_count < CLIENTS_MOST) {
            silent[silent_count++] = connect_to_keeper();
        } else {
            ask(&input);
        }
    }
    expect_loan();
    while (silent_count > 0) {
        close(silent[--silent_count]);
    }
    expect_nothing_open();
    tear_down();
    return 0;
}
