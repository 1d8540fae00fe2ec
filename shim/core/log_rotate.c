/*
 * Rotating: a new file takes the live path in one step, and the old one waits under a pending name.
 *
 * Everything here runs under both locks and is rare. Signal handlers rotate too, on small stacks: what needs room for
 * names and is seldom called is kept apart (noinline).
 */
#include "log_private.h"

#include "log_async.h"
#include "log_locks.h"

#include "acl.h"
#include "guard.h"
#include "mode.h"
#include "name.h"
#include "own.h"
#include "sys.h"
#include "sys_call.h"

#include "../../include/mplogshim.h"

#include <errno.h>
#include <linux/fs.h>
#include <sys/syscall.h>

/* Gives a new live file its owner and group, as far as may be, and tells what permissions of the old one it may have.
 */
static __attribute__((noinline)) int give(const struct log *log, int fd, const struct stat *before, mode_t *mode)
{
    uid_t owner = log->rule->owner != (uid_t)-1 ? log->rule->owner : before->st_uid;
    gid_t group = log->rule->group != (gid_t)-1 ? log->rule->group : before->st_gid;
    struct stat made;
    int error = sys.fstat(fd, &made);
    if (error != 0) {
        return error;
    }
    if ((made.st_uid != owner || made.st_gid != group) && sys.fchown(fd, owner, group) != 0) {
        sys.fchown(fd, (uid_t)-1, group); /* an unprivileged process keeps the group where it may */
    }
    error = sys.fstat(fd, &made);
    *mode = mode_without(before->st_mode, made.st_uid == owner, made.st_gid == group);
    return error;
}

/* Owner and permissions of a new live file: by the rule, or as the file before. Setuid bits are never copied. */
static int dress(const struct log *log, int fd, int like, const struct stat *before)
{
    mode_t mode;
    int error = give(log, fd, before, &mode);
    if (error != 0) {
        return error;
    }
    return log->rule->mode >= 0 ? sys.fchmod(fd, (mode_t)log->rule->mode) : acl_dress(fd, like, before, mode);
}

/*
 * Takes away an empty file under a pending name: this process prepared it in vain, or one that died did. First it gets
 * a name of its own, so that no rotation can put an archive there between the look and the removal, even one that has
 * lost its lock.
 */
__attribute__((noinline)) bool log_remove_prepared(const struct log *log, const char *name)
{
    struct stat left;
    char fresh[NAME_SIZE];
    int dir = log->directory.fd;
    if (sys.fstatat(dir, name, &left, AT_SYMLINK_NOFOLLOW) != 0 || !S_ISREG(left.st_mode) || left.st_size > 0 ||
        name_fresh(log->base, fresh) != 0 || sys_rename_new(dir, name, fresh) != 0) {
        return false;
    }
    if (sys.fstatat(dir, fresh, &left, AT_SYMLINK_NOFOLLOW) != 0 || left.st_size > 0) {
        sys_rename_new(dir, fresh, name);
        return false;
    }
    return sys.unlinkat(dir, fresh, 0) == 0;
}

/*
 * A pending name that an archive has (somebody deleted the lock file) is passed over for that of a later generation: in
 * steps that double, as there may be many.
 */
int log_prepare(const struct log *log, const struct writer *writer, const struct stat *before, int64_t generation,
                char *name)
{
    enum { ATTEMPTS = 20 };
    int error = 0;
    int fd = -EEXIST;
    for (int attempt = 0; attempt < ATTEMPTS && fd == -EEXIST; attempt++) {
        const int flags = log_open_flags(writer) | O_CREAT | O_EXCL;
        int64_t later = attempt == 0 ? 0 : INT64_C(1) << (attempt - 1);
        error = name_pending(log->base, (uint64_t)(generation + later), log->begun, name);
        if (error != 0) {
            return error;
        }
        fd = own_open(log->directory.fd, name, flags, 0600);
        if (fd == -EEXIST && log_remove_prepared(log, name)) {
            fd = own_open(log->directory.fd, name, flags, 0600);
        }
    }
    if (fd < 0) {
        return fd;
    }
    error = dress(log, fd, writer->fd, before);
    if (error != 0) {
        sys.close(fd);
        log_remove_prepared(log, name);
        return error;
    }
    return fd;
}

static bool unsupported(int error)
{
    return error == -EINVAL || error == -ENOSYS || error == -EOPNOTSUPP;
}

/* Removes a name of the live file other than that at its path. */
static __attribute__((noinline)) void remove_if_live(const struct log *log, const char *name)
{
    struct stat live;
    struct stat second;
    if (sys.fstatat(log->directory.fd, log->base, &live, AT_SYMLINK_NOFOLLOW) == 0 && live.st_nlink > 1 &&
        sys.fstatat(log->directory.fd, name, &second, AT_SYMLINK_NOFOLLOW) == 0 && second.st_ino == live.st_ino &&
        second.st_dev == live.st_dev) {
        sys.unlinkat(log->directory.fd, name, 0);
    }
}

/*
 * A rotation by links that was killed before its last step left the live file with a second name. It goes before
 * another is made: one file must not become two archives.
 */
static __attribute__((noinline)) void remove_second_names(const struct log *log, int64_t generation)
{
    char name[NAME_SIZE];
    for (int64_t past = generation > 0 ? generation - 1 : 0; past <= generation; past++) {
        if (name_pending(log->base, (uint64_t)past, log->begun, name) == 0) {
            remove_if_live(log, name);
        }
    }
}

/* What a rotation by links that was killed had prepared. An archive is there only while somebody looks at it. */
static __attribute__((noinline)) void remove_fresh(const struct log *log, const char *fresh)
{
    struct stat left;
    if (sys.fstatat(log->directory.fd, fresh, &left, AT_SYMLINK_NOFOLLOW) == 0 && S_ISREG(left.st_mode) &&
        left.st_size == 0) {
        sys.unlinkat(log->directory.fd, fresh, 0);
    } else {
        remove_if_live(log, fresh);
    }
}

/*
 * For file systems without RENAME_EXCHANGE (NFS, some FUSE): the old file gets the archive's name as a second link, and
 * the new one, which waits under a third name, is renamed over the live path. Without links in two steps. Whatever
 * fails, the live file is at its path again, and no name of it but that is removed.
 */
static __attribute__((noinline)) int exchange_by_links(const struct log *log, const char *pending, int64_t generation)
{
    int dir = log->directory.fd;
    char fresh[NAME_SIZE];
    int error = name_fresh(log->base, fresh);
    if (error == 0) {
        remove_fresh(log, fresh);
        error = sys_rename_new(dir, pending, fresh);
    }
    if (error != 0) {
        log_remove_prepared(log, pending);
        return error;
    }
    remove_second_names(log, generation);
    error = sys.linkat(dir, log->base, dir, pending, 0);
    bool linked = error == 0;
    bool moved = false;
    if (error == -EPERM || error == -EMLINK || unsupported(error)) {
        error = sys.renameat2(dir, log->base, dir, pending, 0);
        moved = error == 0;
    }
    if (error == 0) {
        error = sys.renameat2(dir, fresh, dir, log->base, 0);
    }
    if (error != 0) {
        if (moved) {
            sys.renameat2(dir, pending, dir, log->base, 0);
        } else if (linked) {
            remove_if_live(log, pending);
        }
        sys.unlinkat(dir, fresh, 0);
    }
    return error;
}

/* Swaps the prepared file with the live one in one step. On failure the prepared file is gone. */
static int exchange(const struct log *log, const char *pending, int64_t generation)
{
    int error = sys.renameat2(log->directory.fd, pending, log->directory.fd, log->base, RENAME_EXCHANGE);
    if (unsupported(error)) {
        return exchange_by_links(log, pending, generation);
    }
    if (error != 0) {
        log_remove_prepared(log, pending);
    }
    return error;
}

/*
 * Whether the file that was prepared is the live one now, as far as can be seen. Locks can be lost: then somebody else
 * may have taken the name for a file of its own, and what is written to this one would be gone with it.
 */
static __attribute__((noinline)) bool took_place(const struct log *log, const struct stat *prepared)
{
    struct stat live;
    int error = sys.fstatat(log->directory.fd, log->base, &live, AT_SYMLINK_NOFOLLOW);
    return error == 0 ? live.st_ino == prepared->st_ino && live.st_dev == prepared->st_dev : error != -ENOENT;
}

/* Whether the process has the kernel's clock, by which files are made, and not one that another library gives it. */
static bool has_the_kernels_clock(int64_t now)
{
    struct timespec real = {0, 0};
    sys_call(SYS_clock_gettime, CLOCK_REALTIME, (long)&real, 0, 0, 0, 0);
    return now - real.tv_sec <= 1 && real.tv_sec - now <= 1;
}

/*
 * When the file that is to be an archive was begun, for its name. What this process remembers may be of a lock file
 * that was deleted or cut short since, and others may have rotated under another one meanwhile. No live file is older
 * than the file system says that it was made, unless it is a copy of an older one, as its last write tells.
 */
static __attribute__((noinline)) void prove_begun(struct log *log, int64_t generation, const struct stat *live)
{
    struct timespec born;
    int64_t now = log_clock();
    log_read_begun(log, generation, live);
    if (sys.birth(log->directory.fd, log->base, &born) == 0 && born.tv_sec > log->begun &&
        born.tv_sec <= live->st_mtime && born.tv_sec <= now && has_the_kernels_clock(now)) {
        log->begun = born.tv_sec;
    }
}

/*
 * Whether nobody else can have rotated since the writer's file was seen to be the live one. A lock file that was
 * deleted or replaced keeps nobody away who has opened the new one: two would rotate at once, and what each prepared
 * first says nothing about which archive is the older.
 */
static __attribute__((noinline)) bool is_alone(struct log *log, const struct writer *writer)
{
    struct stat live;
    return lockfile_is_current(&log->lock) &&
           sys.fstatat(log->directory.fd, log->base, &live, AT_SYMLINK_NOFOLLOW) == 0 && log_is_file(writer, &live);
}

enum rotation_step { STEP_LOOK, STEP_PREPARE, STEP_ANNOUNCE, STEP_EXCHANGE, STEP_DONE };

/* Somebody moved the live file or the lock file since the last look: nothing to rotate, and the next look follows. */
enum { NOT_LIVE = 1 };

static const char *const step_names[] = {"look", "prepare", "announce", "exchange", "done"};

/* A batch of which only the beginning is there does not become the end of an archive (log_async.h). */
static void mend(struct log *log, struct writer *writer, int64_t generation)
{
    off_t size = sys.lseek(writer->fd, 0, SEEK_END);
    if (log_may_be_torn(size) && lockfile_is_broken(&log->lock, generation, size)) {
        log_async_mend(log, writer, &size);
    }
}

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
    if (error == 0) {
        error = sys.fstatat(log->directory.fd, log->base, &live, AT_SYMLINK_NOFOLLOW);
        if (error == -ENOENT || (error == 0 && (!log_is_file(writer, &before) || !log_is_file(writer, &live)))) {
            return NOT_LIVE;
        }
    }
    if (error != 0) {
        return error;
    }
    mend(log, writer, generation);
    prove_begun(log, generation, &before);
    *step = STEP_PREPARE;
    int fd = log_prepare(log, writer, &before, generation, pending);
    if (fd < 0) {
        return fd;
    }
    *step = STEP_ANNOUNCE;
    error = is_alone(log, writer) ? sys.fstat(fd, &live) : NOT_LIVE;
    if (error == 0) {
        error = lockfile_advance(&log->lock, generation);
    }
    if (error != 0) {
        log_remove_prepared(log, pending);
    } else {
        *step = STEP_EXCHANGE;
        error = exchange(log, pending, generation);
        bool moved = error == -ENOENT || (error == 0 && !took_place(log, &live));
        error = moved ? NOT_LIVE : error;
    }
    if (error != 0) {
        sys.close(fd);
        return error;
    }
    *step = STEP_DONE;
    log->generation = generation + 1;
    log_set_begun(log, log_clock());
    log->begun_of = live.st_ino;
    program_locks_note(log);
    log_adopt(log, writer, fd, &live, generation + 1);
    log->unsettled = true;
    log->settle_at = 0;
    log->settle_pause = 0;
    return log_is_file(writer, &live) ? 0 : -EBUSY;
}

bool log_ask_keeper(struct log *log)
{
    enum { PAUSE = 20000000 };
    const int64_t late = 2000000000; /* on a busy machine */
    bool had_one = log->kept;
    log->kept = !log_keeping && lockfile_is_held(&log->lock, MPLOGSHIM_LOCK_KEEPER);
    if (log->kept) {
        lockfile_ask(&log->lock);
        log->ask_at = sys_now(CLOCK_MONOTONIC) + PAUSE;
    } else if (had_one) {
        log_failed(log, TROUBLE_ROTATE, "keeper", -ESRCH); /* it was killed */
    }
    /* Or it was started just now, and does not have its byte yet. */
    return log->kept || sys_now(CLOCK_MONOTONIC_COARSE) < log->keep_at + late;
}

int log_rotate(struct log *log, struct writer *writer)
{
    enum rotation_step step;
    struct sys_signals signals;
    if (guard_foreign_process()) {
        return -EAGAIN; /* its descriptors are not its parent's, and the memory is */
    }
    if (!log->locked) {
        return -EAGAIN; /* the lock file was found replaced, and the new one was not to be locked */
    }
    if (log->kept && log_ask_keeper(log)) {
        return -EINPROGRESS;
    }
    sys_signals_block(&signals);
    int error = rotate_steps(log, writer, &step);
    sys_signals_restore(&signals);
    if ((error == -EACCES || error == -EPERM) && log_ask_keeper(log)) {
        return -EINPROGRESS;
    }
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
