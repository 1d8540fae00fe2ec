/*
 * The keeper: rotates for programs that gave up the privileges for it. Whoever writes to the log may write to the lock
 * file as well, hold it, or make it anything: that wakes the keeper, and means nothing else.
 */
#include "helper.h"

#include "event.h"
#include "lend.h"
#include "watch.h"

#include "../core/diag.h"
#include "../core/log.h"
#include "../core/log_keep.h"
#include "../core/sys.h"

#include "../../include/mplogshim.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

enum { MILLISECOND = 1000000, SECOND = 1000000000, LAST_PASSES = 10, NICER = 10 };
static const int64_t LOOK_PAUSE = 20 * MILLISECOND; /* from one look to the next, however often it is woken */
static const int64_t LINE_PAUSE = 50 * MILLISECOND; /* for the end of a line */

struct keeper {
    struct settle *settle;
    struct writer *writer;
    struct watch watch;
    dev_t device; /* the lock file whose keeper's byte it holds */
    ino_t inode;
    bool has_place;
    bool lock_is_new; /* nobody was seen attached to it yet */
    int result;       /* of the last look */
    int64_t looked_at;
    int64_t boundary;
    int64_t attached_at;
    bool unsettled;
    int64_t settle_at;
    int64_t settle_pause;
};

/* What the log's own code told goes to the program for events as well. */
static void run_programs(struct keeper *keeper)
{
    struct log *log = keeper->writer->log;
    for (uint32_t i = 0; i < log->told_count; i++) {
        event_run(log->told[i].event, log->path, NULL, log->told[i].detail);
    }
    log->told_count = 0;
}

static void look(struct keeper *keeper)
{
    keeper->looked_at = sys_now(CLOCK_MONOTONIC);
    keeper->result = log_keep_rotate(keeper->writer, &keeper->boundary);
    if (keeper->result == 1) {
        keeper->unsettled = true;
        keeper->settle_at = 0;
        keeper->settle_pause = 0;
    }
    run_programs(keeper);
}

/* While an archive is compressed: the log has to be rotated all the same. */
static void look_meanwhile(void *context)
{
    struct keeper *keeper = context;
    if (sys_now(CLOCK_MONOTONIC) - keeper->looked_at >= LOOK_PAUSE) {
        look(keeper);
    }
}

/*
 * Takes the keeper's byte of the lock file that the log is using now. 0; -EAGAIN: another keeper has it; -errno. A lock
 * file that is not to be had now is tried again.
 */
static int take_place(struct keeper *keeper)
{
    const struct lockfile *lock = keeper->settle->lock;
    if (lock->fd < 0) {
        keeper->has_place = false; /* the kernel has freed it with the descriptor */
        return 0;
    }
    if (keeper->has_place && keeper->device == lock->device && keeper->inode == lock->inode) {
        return 0;
    }
    int error = lockfile_acquire(lock, MPLOGSHIM_LOCK_KEEPER, UINT64_MAX);
    if (error == 0) {
        keeper->device = lock->device;
        keeper->inode = lock->inode;
        keeper->has_place = keeper->lock_is_new = true;
    }
    return error;
}

/* Others may have rotated; a worker may also have made the file's length anything, so not more often than this. */
static void note_generation(struct keeper *keeper)
{
    const struct settle *settle = keeper->settle;
    if (!keeper->unsettled && settle->lock->fd >= 0 && lockfile_generation(settle->lock) != settle->generation) {
        keeper->unsettled = true;
        keeper->settle_pause = 0;
        keeper->settle_at = sys_now(CLOCK_MONOTONIC) + SECOND;
    }
}

static int settle_now(struct keeper *keeper)
{
    int64_t rotated = keeper->looked_at;
    int before = getpriority(PRIO_PROCESS, 0);
    bool may_come_back = geteuid() == 0; /* rotating is not to wait for others */
    if (may_come_back) {
        setpriority(PRIO_PROCESS, 0, before + NICER);
    }
    int result = settle_pass(keeper->settle);
    if (may_come_back) {
        setpriority(PRIO_PROCESS, 0, before);
    }
    keeper->unsettled = result != SETTLE_DONE;
    keeper->settle_pause = helper_next_pause(keeper->looked_at == rotated ? keeper->settle_pause : 0, result);
    keeper->settle_at = sys_now(CLOCK_MONOTONIC) + keeper->settle_pause;
    return result;
}

/*
 * Whether somebody is or was attached a moment ago: between the end of a program and the start of the next, or while
 * everybody moves over to a new lock file.
 */
static bool is_needed(struct keeper *keeper)
{
    int64_t now = sys_now(CLOCK_MONOTONIC);
    const struct lockfile *lock = keeper->settle->lock;
    if (lock->fd >= 0 && lockfile_has_others(lock)) {
        keeper->attached_at = now;
        keeper->lock_is_new = false;
    }
    return now - keeper->attached_at < (keeper->lock_is_new || lock->fd < 0 ? 5 * (int64_t)SECOND : SECOND);
}

static int64_t earlier(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

/* Nanoseconds until there is something to do, unless the lock file changes before. */
static int64_t time_to_next(const struct keeper *keeper)
{
    int64_t next = SECOND;
    if (keeper->unsettled) {
        next = earlier(next, keeper->settle_at - sys_now(CLOCK_MONOTONIC));
    }
    if (keeper->result == -EAGAIN) {
        next = earlier(next, LINE_PAUSE);
    }
    int64_t now = sys_now(CLOCK_REALTIME);
    if (keeper->boundary < now / SECOND + 2 && keeper->boundary > now / SECOND) {
        next = earlier(next, keeper->boundary * SECOND - now);
    }
    return next;
}

static void wait_for_work(struct keeper *keeper)
{
    if (watch_wait(&keeper->watch, time_to_next(keeper))) {
        int64_t rest = keeper->looked_at + LOOK_PAUSE - sys_now(CLOCK_MONOTONIC);
        if (rest > 0 && rest <= LOOK_PAUSE) {
            const struct timespec pause = {.tv_nsec = rest};
            sys.sleep(&pause);
        }
    }
}

/* Until nobody needs it. 0, or -errno if it cannot go on. */
static int keep(struct keeper *keeper)
{
    struct settle *settle = keeper->settle;
    while (!settle_is_stopped() && is_needed(keeper)) {
        watch_file(&keeper->watch, settle->lock);
        look(keeper);
        int error = take_place(keeper);
        if (error != 0) {
            return error;
        }
        settle->directory = keeper->writer->log->directory.fd;
        if (keeper->has_place) {
            lend_record(settle);
        }
        note_generation(keeper);
        if (keeper->unsettled && keeper->has_place && sys_now(CLOCK_MONOTONIC) >= keeper->settle_at) {
            settle_now(keeper);
        }
        wait_for_work(keeper);
    }
    return 0;
}

/* Nobody writes any more, so all archives can have their last form; but another process may just be settling. */
static void settle_last(struct keeper *keeper)
{
    const struct timespec pause = {.tv_nsec = 100 * MILLISECOND};
    if (!keeper->unsettled) {
        return;
    }
    for (int pass = 0; pass < LAST_PASSES && settle_now(keeper) == SETTLE_BUSY; pass++) {
        sys.sleep(&pause);
    }
}

/* A program that came while the keeper still had its byte did not start another one. */
static int keep_while_needed(struct keeper *keeper)
{
    const struct lockfile *lock = keeper->settle->lock;
    int once_more = 1; /* somebody came, rotated, and left the archive to the keeper that was just leaving */
    int error;
    do {
        error = keep(keeper);
        if (error == 0 && keeper->has_place) {
            settle_last(keeper);
            lockfile_release(lock, MPLOGSHIM_LOCK_KEEPER);
            keeper->has_place = false;
        }
    } while (
        error == 0 && !settle_is_stopped() && lock->fd >= 0 &&
        (lockfile_has_others(lock) || (lockfile_generation(lock) != keeper->settle->generation && once_more-- > 0)) &&
        (error = take_place(keeper)) == 0);
    return error;
}

/* The live file as a program would have it. */
static int open_live(const struct settle *settle, struct stat *status)
{
    int fd = sys.openat(settle->directory, settle->base,
                        O_WRONLY | O_APPEND | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC, 0);
    int error = fd < 0 ? fd : sys.fstat(fd, status);
    if (error >= 0 && !S_ISREG(status->st_mode)) {
        error = -EINVAL;
    }
    if (error < 0 && fd >= 0) {
        sys.close(fd);
    }
    return error < 0 ? error : fd;
}

int keeper_run(struct settle *settle)
{
    static struct keeper keeper;
    struct stat status;
    int fd = open_live(settle, &status);
    if (fd < 0) {
        event_tell(&settle->limits, EVENT_ROTATE_FAILED, settle->path, NULL, "step=keeper error=%s", diag_errno(fd));
        return 1;
    }
    keeper = (struct keeper){
        .settle = settle, .boundary = INT64_MAX, .unsettled = true, .attached_at = sys_now(CLOCK_MONOTONIC)};
    keeper.writer = log_keep(settle->path, &settle->rule, fd, &status);
    if (keeper.writer == NULL) {
        return 1;
    }
    settle->lock = &keeper.writer->log->lock;
    settle->zone = settle_zone(&settle->rule.policy, settle->zone);
    settle->between = look_meanwhile;
    event_be_impatient();
    settle->context = &keeper;
    int error = settle->lock->fd < 0 ? -EBADF : take_place(&keeper);
    if (error == 0) {
        (void)lend_start(settle); /* without it, those who may not open the new file are asked for patience */
        error = keep_while_needed(&keeper);
    }
    return error == 0 || error == -EAGAIN ? 0 : 1;
}
