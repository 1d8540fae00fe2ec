#include "lend.h"

#include "../core/borrow.h"
#include "../core/name.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

static int listener = -1;
static uint64_t socket_number;

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
 * many rotations as there are archives; those that the keeper lent before are remembered.
 */
enum { LENT_MAX = 1024 };
static struct lent {
    dev_t device;
    ino_t inode;
} lent[LENT_MAX];
static size_t lent_count;

static void remember(const struct stat *status)
{
    lent[lent_count++ % LENT_MAX] = (struct lent){status->st_dev, status->st_ino};
}

static bool was_lent(const struct stat *status)
{
    for (size_t i = 0; i < lent_count && i < LENT_MAX; i++) {
        if (lent[i].device == status->st_dev && lent[i].inode == status->st_ino) {
            return true;
        }
    }
    return false;
}

static bool lies_in_directory(const struct settle *settle, const struct stat *shown)
{
    bool found = false;
    struct stat status;
    int fd = openat(settle->directory, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *directory = fd < 0 ? NULL : fdopendir(fd);
    if (directory == NULL) {
        if (fd >= 0) {
            close(fd);
        }
        return false;
    }
    for (const struct dirent *entry; !found && (entry = readdir(directory)) != NULL;) {
        found = is_of_history(settle->base, entry->d_name) &&
                fstatat(settle->directory, entry->d_name, &status, AT_SYMLINK_NOFOLLOW) == 0 &&
                status.st_dev == shown->st_dev && status.st_ino == shown->st_ino;
    }
    closedir(directory);
    return found;
}

static bool may_write(const struct settle *settle, int shown, int flags)
{
    struct stat status;
    return flags >= 0 && (flags & O_ACCMODE) != O_RDONLY && (flags & O_PATH) == 0 && fstat(shown, &status) == 0 &&
           S_ISREG(status.st_mode) && (was_lent(&status) || lies_in_directory(settle, &status));
}

/* Whoever may write to the log may have its lock file, which is made with the log's owner and permissions. */
static int open_lock(const struct settle *settle)
{
    struct stat status;
    int fd = openat(settle->lock->directory, settle->lock->name, O_RDWR | O_NONBLOCK | O_NOFOLLOW | O_CLOEXEC);
    if (fd >= 0 && (fstat(fd, &status) != 0 || !S_ISREG(status.st_mode))) {
        close(fd);
        return -1;
    }
    return fd;
}

/* A descriptor of the live file with the access of the shown one. */
static int open_live(const struct settle *settle, int flags)
{
    struct stat live;
    int kept = flags & (O_ACCMODE | O_NONBLOCK | O_SYNC | O_DSYNC | O_NOATIME);
    int fd = openat(settle->directory, settle->base, kept | O_APPEND | O_NONBLOCK | O_NOFOLLOW | O_CLOEXEC | O_NOCTTY);
    if (fd >= 0 && (fstat(fd, &live) != 0 || !S_ISREG(live.st_mode))) {
        close(fd);
        return -1;
    }
    if (fd >= 0) {
        /* Neither O_NOFOLLOW nor, unless it was there, O_NONBLOCK stays: the program would see them in its flags. */
        char path[40];
        (void)snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
        int plain = open(path, kept | O_APPEND | O_CLOEXEC | O_NOCTTY);
        if (plain >= 0) {
            close(fd);
            fd = plain;
        }
        remember(&live);
    }
    return fd;
}

/* Descriptors that came along are closed, whatever else the message is. */
static int take_shown(int client, char *what)
{
    int shown = -1;
    union {
        struct cmsghdr head;
        char room[CMSG_SPACE(sizeof(int))];
    } control;
    struct iovec piece = {.iov_base = what, .iov_len = 1};
    struct msghdr header = {
        .msg_iov = &piece, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof control};
    if (recvmsg(client, &header, MSG_CMSG_CLOEXEC) == 1 && header.msg_controllen >= CMSG_LEN(sizeof shown) &&
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

/*
 * By a child process: closing any descriptor of the lock file in this one would drop the locks that it holds on it
 * (POSIX). And it must be an open of its own, or its attachment would count as the keeper's.
 */
static void give_lock(const struct settle *settle, int client)
{
    pid_t child = fork();
    if (child == 0) {
        give(client, open_lock(settle));
        _exit(0);
    }
    if (child > 0) {
        while (waitpid(child, NULL, 0) < 0 && errno == EINTR) {
        }
    }
}

static void give_live(const struct settle *settle, int client, int flags)
{
    int fd = open_live(settle, flags);
    give(client, fd);
    if (fd >= 0) {
        close(fd);
    }
}

static void serve(const struct settle *settle, int client)
{
    /* A client that says nothing holds the others up no longer than this. */
    const struct timeval limit = {.tv_usec = 100000};
    setsockopt(client, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
    char what = '\0';
    int shown = take_shown(client, &what);
    if (shown >= 0) {
        int flags = fcntl(shown, F_GETFL);
        if (!may_write(settle, shown, flags)) {
            give(client, -1);
        } else if (what == BORROW_LOCK) {
            give_lock(settle, client);
        } else {
            give_live(settle, client, flags);
        }
        close(shown);
    }
    close(client);
}

static void *run(void *argument)
{
    for (;;) {
        int client = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
        if (client >= 0) {
            serve(argument, client);
        } else if (errno != EINTR && errno != ECONNABORTED) {
            (void)poll(NULL, 0, 100); /* out of descriptors, perhaps */
        }
    }
    return NULL;
}

static int listen_somewhere(void)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    enum { ATTEMPTS = 8, BACKLOG = 128 };
    int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
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
    int fd = listen_somewhere();
    if (fd < 0) {
        return fd;
    }
    listener = fd;
    struct stat live;
    if (fstatat(settle->directory, settle->base, &live, AT_SYMLINK_NOFOLLOW) == 0) {
        remember(&live); /* the program has it from before */
    }
    int error = pthread_create(&thread, NULL, run, (void *)(uintptr_t)settle);
    if (error != 0) {
        close(fd);
        listener = -1;
        return -error;
    }
    pthread_detach(thread);
    lend_record(settle);
    return 0;
}
