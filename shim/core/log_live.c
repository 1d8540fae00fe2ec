/*
 * The live file of a log: proving that a descriptor is it, and following when somebody rotated, moved or removed it.
 *
 * Everything here runs under both locks and is rare: a rotation, a new second, a descriptor's first write. Signal
 * handlers come here too, on small stacks: what is seldom called is kept apart (noinline).
 */
#include "log_private.h"

#include "borrow.h"
#include "guard.h"
#include "log_async.h"
#include "log_locks.h"
#include "name.h"
#include "sys.h"

#include <errno.h>
#include <unistd.h>

enum { SECOND = 1000000000 };

static bool same_file(const struct stat *a, const struct stat *b)
{
    return a->st_dev == b->st_dev && a->st_ino == b->st_ino;
}

bool log_is_file(const struct writer *writer, const struct stat *status)
{
    return status->st_dev == writer->device && status->st_ino == writer->inode;
}

bool log_prove(const struct writer *writer)
{
    struct stat status;
    return sys.fstat(writer->fd, &status) == 0 && S_ISREG(status.st_mode) && log_is_file(writer, &status);
}

/* The flags with which another descriptor like this one is opened. */
int log_open_flags(const struct writer *writer)
{
    int flags = sys.fcntl(writer->fd, F_GETFL, 0);
    int kept = O_NONBLOCK | O_SYNC | O_DSYNC | O_NOATIME | O_DIRECT | O_NOFOLLOW;
    return writer->access | O_APPEND | O_CLOEXEC | O_NOCTTY | (flags < 0 ? 0 : flags & kept);
}

/*
 * Puts the live file, open as `fd`, behind a descriptor of the program's, which was just proved to be the file
 * recorded for it. Only the number's file changes: close-on-exec and status flags are as before.
 */
static int replace(struct writer *writer, int fd, const struct stat *live, int64_t generation)
{
    int close_on_exec = sys.fcntl(writer->fd, F_GETFD, 0);
    int result = sys.dup3(fd, writer->fd, close_on_exec > 0 && (close_on_exec & FD_CLOEXEC) ? O_CLOEXEC : 0);
    if (result < 0) {
        return result;
    }
    writer->device = live->st_dev;
    writer->inode = live->st_ino;
    writer->generation = generation;
    if (writer->fd == STDERR_FILENO) {
        diag_stderr_is();
    }
    return 0;
}

/*
 * Opens the live file as the writer would. A process that may not any more (it gave up privileges, or the directory may
 * not be searched) has its keeper do it.
 */
static int open_as(const struct log *log, const struct writer *writer)
{
    int fd = log_open_as(log, log_open_flags(writer));
    if (fd != -EACCES || log_keeping) {
        return fd;
    }
    fd = borrow_live(&log->lock, writer->fd);
    return fd == -ESRCH ? -EACCES : fd;
}

/* Duplicates of one open, which shared a file description, share the new one. */
static void replace_group(struct log *log, const struct writer *member, int fd, const struct stat *live,
                          int64_t generation)
{
    uint64_t group = member->group;
    int access = member->access;
    struct writer *first = __atomic_load_n(&log->writers, __ATOMIC_ACQUIRE);
    for (struct writer *writer = first; writer != NULL; writer = writer->next) {
        if (writer->group == group && writer->access == access && !log_is_file(writer, live) && log_prove(writer)) {
            replace(writer, fd, live, generation);
        }
    }
}

/*
 * All descriptors of this log in this process go to the live file, which is open as `fd` for the kind of `opener`;
 * each other open of the program's gets an open of its own. The last thing is the program's locks, which were noted
 * before, because the kernel drops some of them at any close of the file.
 */
void log_adopt(struct log *log, const struct writer *opener, int fd, const struct stat *live, int64_t generation)
{
    replace_group(log, opener, fd, live, generation);
    sys.close(fd);
    struct writer *first = __atomic_load_n(&log->writers, __ATOMIC_ACQUIRE);
    for (struct writer *writer = first; writer != NULL; writer = writer->next) {
        if (!log_prove(writer)) {
            continue; /* not this log's any more: its own next write finds that out */
        }
        if (log_is_file(writer, live)) {
            writer->generation = generation;
            continue;
        }
        struct stat status;
        int other = open_as(log, writer);
        if (other >= 0 && sys.fstat(other, &status) == 0 && same_file(&status, live)) {
            replace_group(log, writer, other, live, generation);
        }
        if (other >= 0) {
            sys.close(other);
        }
    }
    program_locks_take(log);
}

/* The live path is gone: a new file takes its place, made as if it were the successor of the writer's file. */
static __attribute__((noinline)) int make_live(struct log *log, const struct writer *writer, int64_t generation)
{
    struct stat before;
    char pending[NAME_SIZE];
    int error = sys.fstat(writer->fd, &before);
    if (error != 0) {
        return error;
    }
    int fd = log_prepare(log, writer, &before, generation, pending);
    if (fd == -ENOENT && log_open_directory(log) == 0) {
        fd = log_prepare(log, writer, &before, generation, pending); /* the directory itself was replaced */
    }
    if (fd < 0) {
        return fd;
    }
    error = sys_rename_new(log->directory.fd, pending, log->base);
    if (error != 0) {
        log_remove_prepared(log, pending);
        sys.close(fd);
        return error;
    }
    log_set_begun(log, log_clock());
    return fd;
}

/*
 * Opens the live file as the writer would, and tells what it is. -EINVAL for what is no regular file, -ELOOP for what
 * is not what lies at the live path: nothing is written through a link.
 */
static int open_live(struct log *log, const struct writer *writer, int64_t generation, struct stat *live)
{
    struct stat there;
    int error = sys.fstatat(log->directory.fd, log->base, &there, AT_SYMLINK_NOFOLLOW);
    int fd = error;
    bool hidden = error == -EACCES; /* the directory may not be searched: only the keeper sees what lies there */
    if (error == 0 && !S_ISREG(there.st_mode)) {
        return -EINVAL;
    }
    if (error == 0 || hidden) {
        fd = open_as(log, writer);
    }
    if (fd == -ENOENT) {
        fd = make_live(log, writer, generation);
        error = fd < 0 ? fd : sys.fstat(fd, live);
    } else if (fd >= 0) {
        error = sys.fstat(fd, live);
        if (error == 0 && (hidden ? !S_ISREG(live->st_mode) : !same_file(live, &there))) {
            error = -ELOOP;
        }
    }
    if (fd >= 0 && error != 0) {
        sys.close(fd);
        return error;
    }
    return fd;
}

/* What was seen without the lock proves nothing: a rotation may be half way through. The next locked write looks again.
 */
static int64_t proved_at(const struct log *log, int64_t generation)
{
    return log->locked ? generation : -1;
}

static int follow_live(struct log *log, struct writer *writer, int64_t generation)
{
    struct stat live;
    int fd = open_live(log, writer, generation, &live);
    if (fd == -EEXIST || fd == -ELOOP || fd == -ENOENT) {
        fd = open_live(log, writer, generation, &live); /* somebody else put it there just now */
    }
    if (fd < 0) {
        return fd;
    }
    log_adopt(log, writer, fd, &live, proved_at(log, generation));
    return log_is_file(writer, &live) ? 0 : -EBUSY;
}

/*
 * No handler jumps out between a descriptor's new file and what is recorded of it: the descriptor would be taken for
 * another file's, and what a handler of its thread's writes meanwhile would go to an archive.
 */
static __attribute__((noinline)) int follow(struct log *log, struct writer *writer, int64_t generation)
{
    uint64_t before = sys_signals_defer();
    program_locks_note(log);
    int error = follow_live(log, writer, generation);
    if (error != 0) {
        program_locks_take(log);
    }
    sys_signals_resume(before);
    return error;
}

int log_follow_alone(const struct writer *writer, int fd)
{
    struct stat live;
    struct stat opened;
    struct writer own = *writer;
    const struct log *log = writer->log;
    own.fd = fd;
    if (log == NULL || !log_prove(&own)) {
        return 0;
    }
    int error = sys.fstatat(log->directory.fd, log->base, &live, AT_SYMLINK_NOFOLLOW);
    if (error != 0 || log_is_file(&own, &live) || !S_ISREG(live.st_mode)) {
        return error;
    }
    int other = log_open_as(log, log_open_flags(&own));
    if (other < 0) {
        return other;
    }
    off_t position = sys.lseek(fd, 0, SEEK_CUR);
    error = sys.fstat(other, &opened);
    if (error == 0 && same_file(&opened, &live)) {
        error = replace(&own, other, &live, own.generation);
        sys.lseek(fd, position, SEEK_SET);
    }
    sys.close(other);
    return error;
}

/* A lock file that was deleted or replaced: everybody moves to the new one within a second. */
static __attribute__((noinline)) int renew_lock(struct log *log, const struct writer *writer, const struct stat *mine,
                                                int64_t *generation)
{
    if (lockfile_is_current(&log->lock)) {
        return 0;
    }
    log_unlock_file(log);
    int error = log_open_lock(log, writer->fd, mine);
    if (error != 0) {
        log_failed(log, TROUBLE_LOCK, "open", error);
        return error;
    }
    error = log_lock_file(log);
    if (error == 0) {
        *generation = lockfile_generation(&log->lock);
        log->generation = -1;
    }
    return error;
}

/* A keeper needs milliseconds. What it does not do in seconds, it cannot. */
static bool astray_for_long(struct log *log)
{
    const int64_t patience = 3 * (int64_t)SECOND;
    int64_t now = sys_now(CLOCK_MONOTONIC_COARSE);
    log->astray_since = log->astray_since == 0 ? now : log->astray_since;
    return now - log->astray_since > patience;
}

/*
 * What lies at the live path now. Once a second, and if it is not the writer's file, the directories and the lock file
 * are looked at first: a directory that was moved away and made anew holds another log.
 */
static int look_at_live(struct log *log, struct writer *writer, const struct stat *mine, int64_t *generation,
                        struct stat *live)
{
    int64_t second = sys_now(CLOCK_MONOTONIC_COARSE) / SECOND;
    int found = sys.fstatat(log->directory.fd, log->base, live, AT_SYMLINK_NOFOLLOW);
    if (second == log->proved && found == 0 && log_is_file(writer, live)) {
        return 0;
    }
    log_prove_directories(log);
    renew_lock(log, writer, mine, generation);
    log->proved = second;
    if (log->unrecorded && log->locked) {
        log_agree(log);
    }
    log->sees_rings = !log_async_is_open(log) && !log_keeping && log_async_any_left(log);
    return sys.fstatat(log->directory.fd, log->base, live, AT_SYMLINK_NOFOLLOW);
}

int log_look_again(struct log *log, struct writer *writer, int64_t generation)
{
    struct stat mine;
    struct stat live;
    if (guard_foreign_process()) {
        log_follow_alone(writer, writer->fd);
        return 0;
    }
    if (sys.fstat(writer->fd, &mine) != 0 || !log_is_file(writer, &mine)) {
        return -ESTALE;
    }
    int found = look_at_live(log, writer, &mine, &generation, &live);
    /* Where the directory may not be searched, the generation alone must tell. */
    bool unseen = found == -EACCES && !writer->astray && !lockfile_is_short(&log->lock) &&
                  (writer->generation == generation || writer->inherited == generation);
    if (!unseen && (found != 0 || !log_is_file(writer, &live))) {
        int error = follow(log, writer, generation);
        writer->astray = error != 0;
        bool is_keepers = error == -EACCES || error == -EPERM || error == -EAGAIN; /* which has not answered yet */
        bool keeper_does = is_keepers && log_ask_keeper(log);
        keeper_does = keeper_does && !astray_for_long(log);
        log->astray_since = error != 0 ? log->astray_since : 0;
        if (error != 0 && !keeper_does) {
            log_failed(log, TROUBLE_ROTATE, "reopen", error);
        } else if (error == 0) {
            log_succeeded(log, TROUBLE_ROTATE);
        }
    }
    if (log->locked && generation != log->generation) {
        log_read_begun(log, generation, found == 0 ? &live : NULL);
        log_expect_settling(log, generation, 2LL * SECOND); /* somebody rotated, and sees to it unless he died */
    }
    writer->generation = proved_at(log, generation);
    log->proved = log->locked ? log->proved : -1;
    return 0;
}
