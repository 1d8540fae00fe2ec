/*
 * The live file of a log: proving that a descriptor is it, following when somebody rotated, and rotating.
 *
 * Everything here runs under both locks and is rare: a rotation, a new second, a descriptor's first write.
 */
#include "log_private.h"

#include "name.h"
#include "own.h"
#include "sys.h"

#include <errno.h>
#include <linux/fs.h>
#include <stdio.h>

enum { SECOND = 1000000000 };

static bool is_file(const struct writer *writer, const struct stat *status)
{
    return status->st_dev == writer->device && status->st_ino == writer->inode;
}

bool log_prove(const struct writer *writer)
{
    struct stat status;
    return sys.fstat(writer->fd, &status) == 0 && S_ISREG(status.st_mode) && is_file(writer, &status);
}

/*
 * The flags with which another descriptor like this one is opened. Not O_NOFOLLOW: the program would see it in its
 * flags. New files are made with O_EXCL, and what is opened is compared with what lies there.
 */
static int open_flags(const struct writer *writer)
{
    int flags = sys.fcntl(writer->fd, F_GETFL, 0);
    int kept = O_NONBLOCK | O_SYNC | O_DSYNC;
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
    return 0;
}

/*
 * All descriptors of this log in this process go to the live file, which is open as `fd` with `flags`: those of the
 * same kind share it, as duplicates do; another kind opens its own.
 */
static void adopt(struct log *log, int fd, int flags, const struct stat *live, int64_t generation)
{
    for (struct writer *writer = log->writers; writer != NULL; writer = writer->next) {
        if (is_file(writer, live)) {
            writer->generation = generation;
            continue;
        }
        if (!log_prove(writer)) {
            continue; /* not this log's any more: its own next write finds that out */
        }
        int wanted = open_flags(writer);
        if (wanted == flags) {
            replace(writer, fd, live, generation);
            continue;
        }
        struct stat status;
        int other = sys.openat(log->directory, log->base, wanted, 0);
        if (other >= 0 && sys.fstat(other, &status) == 0 && status.st_ino == live->st_ino &&
            status.st_dev == live->st_dev) {
            replace(writer, other, live, generation);
        }
        if (other >= 0) {
            sys.close(other);
        }
    }
}

/* Owner and permissions of a new live file: by the rule, or as the file before. Setuid bits are never copied. */
static int dress(const struct log *log, int fd, const struct stat *before)
{
    uid_t owner = log->rule->owner != (uid_t)-1 ? log->rule->owner : before->st_uid;
    gid_t group = log->rule->group != (gid_t)-1 ? log->rule->group : before->st_gid;
    mode_t mode = log->rule->mode >= 0 ? (mode_t)log->rule->mode : before->st_mode & 0777;
    struct stat made;
    int error = sys.fstat(fd, &made);
    if (error != 0) {
        return error;
    }
    if ((made.st_uid != owner || made.st_gid != group) && sys.fchown(fd, owner, group) != 0) {
        sys.fchown(fd, (uid_t)-1, group); /* an unprivileged process keeps the group where it may */
    }
    return sys.fchmod(fd, mode);
}

/* Makes an empty new file, complete, under a hidden name of the generation. Returns a descriptor. */
static int prepare(const struct log *log, const struct writer *writer, const struct stat *before, int64_t generation,
                   char *name)
{
    int error = name_pending(log->base, (uint64_t)generation, log->begun, name);
    if (error != 0) {
        return error;
    }
    int fd = -EEXIST;
    for (int attempt = 0; attempt < 2 && fd == -EEXIST; attempt++) {
        struct stat left;
        fd = sys.openat(log->directory, name, open_flags(writer) | O_CREAT | O_EXCL, 0600);
        if (fd == -EEXIST && sys.fstatat(log->directory, name, &left, AT_SYMLINK_NOFOLLOW) == 0 &&
            S_ISREG(left.st_mode) && left.st_size == 0) {
            sys.unlinkat(log->directory, name, 0); /* prepared by a process that died before it used it */
        }
    }
    if (fd < 0) {
        return fd;
    }
    error = dress(log, fd, before);
    if (error != 0) {
        sys.close(fd);
        sys.unlinkat(log->directory, name, 0);
        return error;
    }
    return fd;
}

/*
 * Swaps the prepared file with the live one in one step. Without RENAME_EXCHANGE (NFS, some FUSE): the old file gets
 * the archive's name as a second link, and the new one is renamed over the live path. Without links: two steps.
 */
static int exchange(const struct log *log, const char *pending)
{
    int dir = log->directory;
    char fresh[NAME_SIZE];
    int error = sys.renameat2(dir, pending, dir, log->base, RENAME_EXCHANGE);
    if (error != -EINVAL && error != -ENOSYS && error != -EOPNOTSUPP) {
        return error;
    }
    error = name_fresh(log->base, fresh);
    if (error != 0) {
        return error;
    }
    sys.unlinkat(dir, fresh, 0);
    error = sys.renameat2(dir, pending, dir, fresh, 0);
    if (error != 0) {
        return error;
    }
    error = sys.linkat(dir, log->base, dir, pending, 0);
    if (error == -EPERM || error == -EOPNOTSUPP || error == -ENOSYS || error == -EMLINK) {
        error = sys.renameat2(dir, log->base, dir, pending, 0);
    }
    if (error == 0) {
        error = sys.renameat2(dir, fresh, dir, log->base, 0);
    }
    if (error != 0) {
        sys.unlinkat(dir, fresh, 0);
    }
    return error;
}

enum rotation_step { STEP_LOOK, STEP_PREPARE, STEP_ANNOUNCE, STEP_EXCHANGE, STEP_DONE };

/* Somebody moved the live file since the last look: nothing to rotate, and the next look follows. */
enum { NOT_LIVE = 1 };

static const char *const step_names[] = {"look", "prepare", "announce", "exchange", "done"};

/*
 * Each step leaves what the next process can go on from: an empty pending file is prepared anew; a longer lock file
 * makes everybody look again and find the same file; after the exchange the archive has its pending name and only
 * the final name is left to do.
 */
static int rotate_steps(struct log *log, struct writer *writer, enum rotation_step *step)
{
    struct stat before;
    struct stat live;
    char pending[NAME_SIZE];
    *step = STEP_LOOK;
    int64_t generation = lockfile_generation(&log->lock);
    int error = generation < 0 ? (int)generation : sys.fstat(writer->fd, &before);
    if (error == 0 && (sys.fstatat(log->directory, log->base, &live, AT_SYMLINK_NOFOLLOW) != 0 ||
                       !is_file(writer, &before) || !is_file(writer, &live))) {
        return NOT_LIVE;
    }
    if (error == 0 && generation != log->generation) {
        log_read_begun(log, generation, &before);
    }
    if (error != 0) {
        return error;
    }
    *step = STEP_PREPARE;
    int flags = open_flags(writer);
    int fd = prepare(log, writer, &before, generation, pending);
    if (fd < 0) {
        return fd;
    }
    *step = STEP_ANNOUNCE;
    error = sys.fstat(fd, &live);
    if (error == 0) {
        error = lockfile_advance(&log->lock, generation);
    }
    if (error == 0) {
        *step = STEP_EXCHANGE;
        error = exchange(log, pending);
    }
    if (error != 0) {
        sys.unlinkat(log->directory, pending, 0);
        sys.close(fd);
        return error;
    }
    *step = STEP_DONE;
    log->generation = generation + 1;
    log_set_begun(log, log_clock());
    adopt(log, fd, flags, &live, generation + 1);
    sys.close(fd);
    log->unsettled = true;
    return is_file(writer, &live) ? 0 : -EBUSY;
}

int log_rotate(struct log *log, struct writer *writer)
{
    enum rotation_step step;
    struct sys_signals signals;
    sys_signals_block(&signals);
    int error = rotate_steps(log, writer, &step);
    sys_signals_restore(&signals);
    if (error == NOT_LIVE) {
        log->proved = -1;
        return -EAGAIN;
    }
    if (error != 0) {
        log->unsettled = log->unsettled || error == -EEXIST; /* an older archive still has the pending name */
        log_failed(log, TROUBLE_ROTATE, step_names[step], error);
    } else {
        log_succeeded(log, TROUBLE_ROTATE);
    }
    return error;
}

/* The live path is gone: a new file takes its place, made as if it were the successor of the writer's file. */
static int make_live(struct log *log, const struct writer *writer, int64_t generation)
{
    struct stat before;
    char pending[NAME_SIZE];
    int error = sys.fstat(writer->fd, &before);
    if (error != 0) {
        return error;
    }
    int fd = prepare(log, writer, &before, generation, pending);
    if (fd == -ENOENT && log_open_directory(log) == 0) {
        fd = prepare(log, writer, &before, generation, pending); /* the directory itself was replaced */
    }
    if (fd < 0) {
        return fd;
    }
    error = sys.renameat2(log->directory, pending, log->directory, log->base, RENAME_NOREPLACE);
    if (error == -EINVAL || error == -ENOSYS) {
        error = sys.linkat(log->directory, pending, log->directory, log->base, 0);
        sys.unlinkat(log->directory, pending, 0);
    }
    if (error != 0) {
        sys.unlinkat(log->directory, pending, 0);
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
    int error = sys.fstatat(log->directory, log->base, &there, AT_SYMLINK_NOFOLLOW);
    int fd = error;
    if (error == 0 && !S_ISREG(there.st_mode)) {
        return -EINVAL;
    }
    if (error == 0) {
        fd = sys.openat(log->directory, log->base, open_flags(writer), 0);
    }
    if (fd == -ENOENT) {
        fd = make_live(log, writer, generation);
        error = fd < 0 ? fd : sys.fstat(fd, live);
    } else if (fd >= 0) {
        error = sys.fstat(fd, live);
        if (error == 0 && (live->st_ino != there.st_ino || live->st_dev != there.st_dev)) {
            error = -ELOOP;
        }
    }
    if (fd >= 0 && error != 0) {
        sys.close(fd);
        return error;
    }
    return fd;
}

static int follow(struct log *log, struct writer *writer, int64_t generation)
{
    struct stat live;
    int flags = open_flags(writer);
    int fd = open_live(log, writer, generation, &live);
    if (fd < 0) {
        return fd;
    }
    adopt(log, fd, flags, &live, generation);
    sys.close(fd);
    return 0;
}

int log_follow_alone(const struct writer *writer, int fd)
{
    struct stat live;
    struct writer own = *writer;
    struct log *log = writer->log;
    own.fd = fd;
    if (log == NULL || log->lock.fd < 0 || lockfile_generation(&log->lock) == own.generation || !log_prove(&own)) {
        return 0;
    }
    int opened = sys.openat(log->directory, log->base, open_flags(&own), 0);
    if (opened < 0) {
        return opened;
    }
    int error = sys.fstat(opened, &live);
    if (error == 0 && S_ISREG(live.st_mode)) {
        error = replace(&own, opened, &live, own.generation);
    }
    sys.close(opened);
    return error;
}

/* A lock file that was deleted or replaced: everybody moves to the new one within a second. */
static int renew_lock(struct log *log, const struct stat *mine, int64_t *generation)
{
    if (lockfile_is_current(&log->lock)) {
        return 0;
    }
    log_unlock_file(log);
    int error = lockfile_open(&log->lock, mine);
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

int log_look_again(struct log *log, struct writer *writer, int64_t generation)
{
    struct stat mine;
    struct stat live;
    if (sys.fstat(writer->fd, &mine) != 0 || !is_file(writer, &mine)) {
        return -ESTALE;
    }
    int64_t second = sys_now(CLOCK_MONOTONIC_COARSE) / SECOND;
    if (second != log->proved) {
        renew_lock(log, &mine, &generation);
        log->proved = second;
    }
    int found = sys.fstatat(log->directory, log->base, &live, AT_SYMLINK_NOFOLLOW);
    if (found != 0 || !is_file(writer, &live)) {
        int error = follow(log, writer, generation);
        if (error != 0) {
            log_failed(log, TROUBLE_ROTATE, "reopen", error);
        } else {
            log_succeeded(log, TROUBLE_ROTATE);
        }
    }
    if (log->locked && generation != log->generation) {
        log_read_begun(log, generation, found == 0 ? &live : NULL);
    }
    writer->generation = generation;
    return 0;
}
