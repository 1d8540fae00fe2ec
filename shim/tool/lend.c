#include "lend.h"

#include "../core/borrow.h"
#include "../core/name.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

static int listener = -1;
static uint64_t socket_number;

/* What the thread works with: its own descriptors of the directories, and the names in them. */
struct lender {
    int directory;
    int lock_directory;
    const char *base;
    const char *lock;
};

/* Whether a name in the log's directory is of the log's history: the live file, or an archive that is not compressed.
 */
static bool is_of_history(const char *base, const char *name)
{
    const struct name parsed = name_parse(base, name);
    return strcmp(name, base) == 0 || parsed.kind == NAME_PENDING ||
           ((parsed.kind == NAME_NUMBER || parsed.kind == NAME_TIME) && !parsed.gzip);
}

/*
 * Who can write to a file of the history, could write to the log when that file was it, and gets no more than that.
 * The file may have been removed since (backups): then it has no name to be known by, and the process is late by as
 * many rotations as there are archives; those that were lent before are remembered, with what tells them from another
 * file that got the same number later.
 */
enum { LENT_MAX = 1024 };
static struct statx lent[LENT_MAX];
static size_t lent_count;

static bool look_at(int directory, const char *name, struct statx *status)
{
    return statx(directory, name, AT_SYMLINK_NOFOLLOW | AT_EMPTY_PATH, STATX_BASIC_STATS | STATX_BTIME, status) == 0 &&
           S_ISREG(status->stx_mode);
}

static bool is_same(const struct statx *a, const struct statx *b)
{
    return a->stx_ino == b->stx_ino && a->stx_dev_major == b->stx_dev_major && a->stx_dev_minor == b->stx_dev_minor &&
           a->stx_uid == b->stx_uid && a->stx_gid == b->stx_gid && a->stx_btime.tv_sec == b->stx_btime.tv_sec &&
           a->stx_btime.tv_nsec == b->stx_btime.tv_nsec;
}

static void remember(const struct statx *status)
{
    lent[lent_count++ % LENT_MAX] = *status;
}

/* Only a file that has no name any more is known by its number. */
static bool was_lent(const struct statx *status)
{
    bool found = false;
    for (size_t i = 0; i < lent_count && i < LENT_MAX && !found; i++) {
        found = is_same(&lent[i], status);
    }
    return found;
}

static bool lies_in_directory(const struct lender *lender, const struct statx *shown)
{
    bool found = false;
    struct statx status;
    int fd = openat(lender->directory, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *directory = fd < 0 ? NULL : fdopendir(fd);
    if (directory == NULL) {
        if (fd >= 0) {
            close(fd);
        }
        return false;
    }
    for (const struct dirent *entry; !found && (entry = readdir(directory)) != NULL;) {
        found = is_of_history(lender->base, entry->d_name) && look_at(lender->directory, entry->d_name, &status) &&
                is_same(&status, shown);
    }
    closedir(directory);
    return found;
}

/*
 * Not by a file of somebody else's, nor by one that more people could write to than can to the log as it is now, nor
 * by one that has other names: it may have been linked here.
 */
static bool is_no_looser(const struct lender *lender, const struct statx *shown)
{
    struct statx live;
    const unsigned others = S_IWGRP | S_IWOTH;
    return shown->stx_nlink == 1 && look_at(lender->directory, lender->base, &live) && live.stx_uid == shown->stx_uid &&
           live.stx_gid == shown->stx_gid && (shown->stx_mode & others & ~(unsigned)live.stx_mode) == 0;
}

static bool may_write(const struct lender *lender, int shown, int flags)
{
    struct statx status;
    return flags >= 0 && (flags & O_ACCMODE) != O_RDONLY && (flags & O_PATH) == 0 && look_at(shown, "", &status) &&
           (was_lent(&status) || (is_no_looser(lender, &status) && lies_in_directory(lender, &status)));
}

/* Whoever may write to the log may have its lock file, which is made with the log's owner and permissions. */
static int open_lock(const struct lender *lender)
{
    struct stat status;
    int fd = openat(lender->lock_directory, lender->lock, O_RDWR | O_NONBLOCK | O_NOFOLLOW | O_CLOEXEC);
    if (fd >= 0 && (fstat(fd, &status) != 0 || !S_ISREG(status.st_mode))) {
        close(fd);
        return -1;
    }
    return fd;
}

/* A descriptor of the live file with the access of the shown one. */
static int open_live(const struct lender *lender, int flags)
{
    struct statx live;
    int kept = flags & (O_ACCMODE | O_NONBLOCK | O_SYNC | O_DSYNC | O_NOATIME);
    int fd = openat(lender->directory, lender->base, kept | O_APPEND | O_NONBLOCK | O_NOFOLLOW | O_CLOEXEC | O_NOCTTY);
    if (fd >= 0 && (!look_at(fd, "", &live) || live.stx_nlink > 1)) { /* or somebody linked another file there */
        close(fd);
        return -1;
    }
    if (fd >= 0) {
        /* Of this thread, whose descriptors are its own. Neither O_NOFOLLOW nor, unless it was there, O_NONBLOCK stays:
         * the program would see them in its flags. */
        char path[40];
        (void)snprintf(path, sizeof path, "/proc/thread-self/fd/%d", fd);
        int plain = open(path, kept | O_APPEND | O_CLOEXEC | O_NOCTTY);
        if (plain >= 0) {
            close(fd);
            fd = plain;
        }
        remember(&live);
    }
    return fd;
}

/* The descriptor that came along, whatever else the message is, and be it empty: it is to be closed. */
static int take_shown(int client, char *what)
{
    int shown = -1;
    union {
        struct cmsghdr head;
        char room[CMSG_SPACE(sizeof(int))];
    } control;
    struct iovec piece = {.iov_base = what, .iov_len = 1};
    struct msghdr header = {
        .msg_iov = &piece, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = CMSG_LEN(sizeof shown)};
    if (recvmsg(client, &header, MSG_CMSG_CLOEXEC) >= 0 && header.msg_controllen >= CMSG_LEN(sizeof shown) &&
        control.head.cmsg_type == SCM_RIGHTS) {
        memcpy(&shown, CMSG_DATA(&control.head), sizeof shown);
    }
    return shown;
}

static void give(int client, int fd)
{
    char byte = fd < 0 ? 'n' : 'y';
    union {
        struct cmsghdr head;
        char room[CMSG_SPACE(sizeof(int))];
    } control;
    struct iovec piece = {.iov_base = &byte, .iov_len = 1};
    struct msghdr header = {.msg_iov = &piece, .msg_iovlen = 1};
    if (fd >= 0) {
        memset(&control, 0, sizeof control);
        control.head =
            (struct cmsghdr){.cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS, .cmsg_len = CMSG_LEN(sizeof fd)};
        memcpy(CMSG_DATA(&control.head), &fd, sizeof fd);
        header.msg_control = &control;
        header.msg_controllen = sizeof control;
    }
    (void)!sendmsg(client, &header, MSG_NOSIGNAL | MSG_DONTWAIT);
}

static void give_and_close(int client, int fd)
{
    give(client, fd);
    if (fd >= 0) {
        close(fd);
    }
}

static void serve(const struct lender *lender, int client)
{
    char what = '\0';
    int shown = take_shown(client, &what);
    if (shown >= 0) {
        int flags = fcntl(shown, F_GETFL);
        bool known = what == BORROW_LIVE || what == BORROW_LOCK;
        if (!known || !may_write(lender, shown, flags)) {
            give(client, -1);
        } else if (what == BORROW_LOCK) {
            give_and_close(client, open_lock(lender));
        } else {
            give_and_close(client, open_live(lender, flags));
        }
        close(shown);
    }
    close(client);
}

/*
 * A thread, because the keeper may be waiting for the log's lock while whoever holds it waits for a descriptor; with
 * descriptors of its own, because closing one that is shown, of the lock file perhaps, would drop the locks (POSIX) of
 * whom the table of descriptors belongs to. It keeps nothing open but what it needs, or the live file would have one
 * more writer.
 */
static bool take_own_descriptors(struct lender *lender)
{
    if (unshare(CLONE_FILES) != 0) {
        return false;
    }
    for (int fd = 0, highest = (int)sysconf(_SC_OPEN_MAX); fd < highest; fd++) {
        if (fd != lender->directory && fd != lender->lock_directory && fd != listener) {
            close(fd);
        }
    }
    return true;
}

/*
 * Clients say what they want at once; those that say nothing hold up nobody, and go when their places are wanted.
 */
enum { CLIENTS = 64 };

static void accept_client(struct pollfd *clients, size_t *next)
{
    int client = accept4(listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
    if (client < 0) {
        if (errno != EINTR && errno != EAGAIN && errno != ECONNABORTED) {
            (void)poll(NULL, 0, 100); /* out of descriptors, perhaps */
        }
        return;
    }
    struct pollfd *place = &clients[(*next)++ % CLIENTS];
    if (place->fd >= 0) {
        close(place->fd);
    }
    *place = (struct pollfd){.fd = client, .events = POLLIN};
}

static void *run(void *argument)
{
    static struct pollfd polled[1 + CLIENTS];
    size_t next = 0;
    struct lender *lender = argument;
    struct pollfd *clients = polled + 1;
    if (!take_own_descriptors(lender)) {
        return NULL;
    }
    polled[0] = (struct pollfd){.fd = listener, .events = POLLIN};
    for (size_t i = 0; i < CLIENTS; i++) {
        clients[i].fd = -1;
    }
    for (;;) {
        if (poll(polled, 1 + CLIENTS, -1) < 0) {
            continue;
        }
        for (size_t i = 0; i < CLIENTS; i++) {
            if (clients[i].fd >= 0 && clients[i].revents != 0) {
                serve(lender, clients[i].fd);
                clients[i].fd = -1;
            }
        }
        if (polled[0].revents != 0) {
            accept_client(clients, &next);
        }
    }
    return NULL;
}

static int listen_somewhere(void)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    enum { ATTEMPTS = 8, BACKLOG = 128 };
    int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    for (int attempt = 0; fd >= 0 && attempt < ATTEMPTS; attempt++) {
        if (getrandom(&socket_number, sizeof socket_number, 0) != (ssize_t)sizeof socket_number) {
            break;
        }
        socket_number = socket_number >> 2 | 1; /* positive as a signed number too */
        socklen_t size =
            (socklen_t)(offsetof(struct sockaddr_un, sun_path) + borrow_name(socket_number, address.sun_path));
        if (bind(fd, (struct sockaddr *)&address, size) == 0 && listen(fd, BACKLOG) == 0) {
            return fd;
        }
    }
    int error = errno;
    if (fd >= 0) {
        close(fd);
    }
    return -error;
}

void lend_record(const struct settle *settle)
{
    int64_t there;
    if (listener >= 0 && (!lockfile_read(settle->lock, LOCKFILE_KEEPER, &there) || there != (int64_t)socket_number)) {
        lockfile_write(settle->lock, LOCKFILE_KEEPER, (int64_t)socket_number);
    }
}

int lend_start(const struct settle *settle)
{
    pthread_t thread;
    struct statx live;
    static struct lender lender;
    int fd = listen_somewhere();
    if (fd < 0) {
        return fd;
    }
    lender = (struct lender){.directory = dup(settle->directory),
                             .lock_directory = dup(settle->lock->directory),
                             .base = settle->base,
                             .lock = settle->lock->name};
    listener = fd;
    if (look_at(settle->directory, settle->base, &live)) {
        remember(&live); /* the program has it from before */
    }
    int error = pthread_create(&thread, NULL, run, &lender);
    if (error != 0) {
        close(fd);
        listener = -1;
        return -error;
    }
    pthread_detach(thread);
    lend_record(settle);
    return 0;
}
