/*
 * The locks of a log, its troubles, and its clock.
 */
#include "log.h"

#include "borrow.h"
#include "guard.h"
#include "log_private.h"
#include "sys.h"

#include "../../include/mplogshim.h"

#include <errno.h>
#include <stdarg.h>

enum { SECOND = 1000000000 };

bool log_may_try(const struct log *log, enum log_trouble trouble)
{
    return !log->trouble[trouble] || sys_now(CLOCK_MONOTONIC_COARSE) >= log->retry_at[trouble];
}

void log_failed(struct log *log, enum log_trouble trouble, const char *step, int error)
{
    static const enum event events[TROUBLE_COUNT] = {
        [TROUBLE_LOCK] = EVENT_LOCK_TIMEOUT,      [TROUBLE_ROTATE] = EVENT_ROTATE_FAILED,
        [TROUBLE_LOOK] = EVENT_ROTATE_FAILED,     [TROUBLE_WRITE] = EVENT_WRITE_FAILED,
        [TROUBLE_ARCHIVE] = EVENT_ARCHIVE_FAILED, [TROUBLE_DIRECTORY] = EVENT_ROTATE_FAILED,
    };
    log->retry_at[trouble] = sys_now(CLOCK_MONOTONIC_COARSE) + SECOND;
    if (!log->trouble[trouble]) {
        log->trouble[trouble] = true;
        log_tell(log, events[trouble], "step=%s error=%s", step, diag_errno(error));
    }
}

void log_tell(struct log *log, enum event event, const char *format, ...)
{
    va_list arguments;
    struct log_told *told = &log->told[log->told_count < LOG_TOLD_MAX ? log->told_count : LOG_TOLD_MAX - 1];
    va_start(arguments, format);
    diag_vformat(told->detail, sizeof told->detail, format, arguments);
    va_end(arguments);
    told->event = event;
    bool is_told = diag_event(&log->limits, event, log->path, "%s", told->detail);
    if (is_told && log->rule->on_event != NULL && log->told_count < LOG_TOLD_MAX) {
        log->told_count++;
    }
}

void log_succeeded(struct log *log, enum log_trouble trouble)
{
    if (!log->trouble[trouble]) {
        return;
    }
    log->trouble[trouble] = false;
    if (trouble == TROUBLE_LOCK) {
        log_tell(log, EVENT_LOCK_RECOVERED, "locked again");
    } else if (trouble == TROUBLE_ROTATE || trouble == TROUBLE_LOOK || trouble == TROUBLE_DIRECTORY) {
        log_tell(log, EVENT_ROTATE_RECOVERED, "rotated again");
    }
}

int log_open_lock(struct log *log, int fd, const struct stat *status)
{
    int error = lockfile_open(&log->lock, fd, status);
    if (error != -EACCES || log_keeping) {
        return error;
    }
    int lent = borrow_lock(log->lock.directory, log->lock.name, fd, !log->trouble[TROUBLE_LOCK]);
    return lent < 0 ? error : lockfile_take(&log->lock, lent);
}

/* Opens the lock file if it is not open, for the owner and permissions of any descriptor of the log. */
static int open_lock(struct log *log)
{
    struct stat status;
    if (log->lock.fd >= 0) {
        return 0;
    }
    if (log->writers == NULL || sys.fstat(log->writers->fd, &status) != 0) {
        return -EBADF;
    }
    log_prove_directories(log);
    return log_open_lock(log, log->writers->fd, &status);
}

static int take_lock(struct log *log)
{
    /* While the lock is not to be had, only as long as busy writers hold it: nobody waits for a stopped one twice. */
    enum { MILLISECOND = 1000000 };
    const uint64_t KEEPER_PATIENCE = UINT64_C(5000000000);
    uint64_t timeout = log->trouble[TROUBLE_LOCK] ? MILLISECOND : log->rule->lock_timeout_ns;
    timeout = log_keeping && timeout == 0 ? KEEPER_PATIENCE : timeout; /* nobody can make the keeper wait for ever */
    int error = open_lock(log);
    if (error == 0) {
        error = lockfile_acquire(&log->lock, MPLOGSHIM_LOCK_WRITE, timeout);
    }
    if (error == -EBADF || error == -EINVAL) {
        lockfile_close(&log->lock); /* the number is not ours any more */
    }
    return error;
}

int log_lock_file(struct log *log)
{
    if (log->lock.fd < 0 && !log_may_try(log, TROUBLE_LOCK)) {
        return -EAGAIN;
    }
    int error = take_lock(log);
    if (error == -EBADF || error == -EINVAL) {
        error = take_lock(log);
    }
    if (error != 0) {
        log_failed(log, TROUBLE_LOCK, error == -ETIMEDOUT ? "wait" : "lock", error);
        return error;
    }
    log->locked = true;
    log->held_for = 0;
    log->held_since = sys_now(CLOCK_MONOTONIC_COARSE);
    log_succeeded(log, TROUBLE_LOCK);
    if (!log->lock.attached) {
        log_agree(log);
    }
    return 0;
}

void log_unlock_file(struct log *log)
{
    if (log->locked) {
        lockfile_release(&log->lock, MPLOGSHIM_LOCK_WRITE);
        log->locked = false;
    }
}

/*
 * A file lock costs twice what the write does, and threads that wait for each other need it once. So it is held for as
 * long as one of them is about to write: for so much at a time, which takes less than 0.1 ms with short records, and
 * not beyond a tick of the coarse clock, for writes that wait for a disk and threads that wait for a processor. Then it
 * is given back all the same. Not where other processes write too, who would hardly ever find it free.
 */
__attribute__((noinline)) bool log_hands_on(struct log *log, size_t length)
{
    enum { MOST = 32768, CALLS = 512 /* what a write costs besides its bytes */, MILLISECOND = 1000000 };
    int64_t now = sys_now(CLOCK_MONOTONIC_COARSE);
    log->handed_on = false; /* a write before of the same thread may have said so */
    if (log->lock.shared || now < log->crowded_until || !guard_mutex_is_awaited(&log->mutex)) {
        return false;
    }
    if (now == log->held_since && log->held_for + length + CALLS < MOST) {
        log->held_for += (uint32_t)length + CALLS;
        log->handed_on = true;
    } else if (lockfile_is_shared(&log->lock)) {
        log->crowded_until = now + 100 * (int64_t)MILLISECOND;
    }
    return log->handed_on;
}

static void unlock_all(struct log *log)
{
    log_unlock_file(log);
    guard_mutex_unlock(&log->mutex);
}

/*
 * The thread jumps away from wherever it was between the beginning of log_lock and the end of log_unlock. If it had the
 * mutex, the lock may be taken and not yet noted, or be waited for; to release it once more is harmless.
 */
static void abandon(void *argument)
{
    struct log *log = argument;
    if (guard_mutex_is_mine(&log->mutex)) {
        log->locked = log->lock.fd >= 0;
        if (log->locked) {
            lockfile_release(&log->lock, MPLOGSHIM_LOCK_WAITING);
        }
        unlock_all(log);
    } else if (guard_mutex_come_no_more(&log->mutex)) {
        unlock_all(log);
    }
}

int log_lock_to_write(struct log *log)
{
    guard_thread.abandon_argument = log;
    guard_thread.abandon = abandon;
    if (!guard_mutex_lock(&log->mutex, log->rule->lock_timeout_ns)) {
        guard_thread.abandon = NULL;
        return -ETIMEDOUT;
    }
    if (__builtin_expect(sys_confined, 0)) { /* since it began to wait */
        guard_mutex_unlock(&log->mutex);
        guard_thread.abandon = NULL;
        return -EPERM;
    }
    log->handed_on = false;
    return 0;
}

int log_lock(struct log *log)
{
    int error = log_lock_to_write(log);
    if (error == 0) {
        log_unlock_file(log);
    }
    return error;
}

static __attribute__((noinline)) void unlock_awaited(struct log *log)
{
    if (!log->handed_on) {
        log_unlock_file(log);
    }
    if (!guard_mutex_hand_on(&log->mutex)) {
        unlock_all(log);
    }
}

void log_unlock(struct log *log)
{
    /* With lock=rotate whoever waits is woken at once: the one that goes on seldom comes back for the mutex. */
    if (__builtin_expect(guard_mutex_is_awaited(&log->mutex), 0) && !log->lockless) {
        unlock_awaited(log);
    } else {
        unlock_all(log);
    }
    guard_thread.abandon = NULL;
}

int64_t log_clock(void)
{
    struct timespec now = {0, 0};
    sys.clock(CLOCK_REALTIME, &now);
    return now.tv_sec;
}

static void plan_boundary(struct log *log)
{
    log->boundary = period_end(&log->policy.period, log->zone, log->begun);
}

void log_set_begun(struct log *log, int64_t begun)
{
    log->begun = begun;
    plan_boundary(log);
    if (log->lock.fd >= 0) {
        lockfile_write(&log->lock, LOCKFILE_BEGUN, begun);
    }
}

/*
 * A begin in the future (a clock that was wrong, noise in the lock file) would keep the log from rotating: beyond a
 * day, which a clock set back by hours or a zone's change stays within, it counts as now.
 */
void log_read_begun(struct log *log, int64_t generation, const struct stat *live)
{
    int64_t now = log_clock();
    int64_t begun;
    log->generation = generation;
    bool doubted = log->lock.strange || (log_keeping && !lockfile_is_trusted(&log->lock));
    if (doubted && log->begun_of != 0) {
        if (live != NULL && live->st_ino != log->begun_of) {
            log->begun_of = live->st_ino;
            log_set_begun(log, now); /* somebody else rotated */
        }
        return;
    }
    log->begun_of = live != NULL ? live->st_ino : log->begun_of;
    if (log->lock.fd >= 0 && !doubted && lockfile_read(&log->lock, LOCKFILE_BEGUN, &begun) && begun >= 0 &&
        begun <= now + LOG_CLOCK_SLACK) {
        log->begun = begun;
        plan_boundary(log);
        return;
    }
    /* A log from before the shim, or after a new lock file: it was last written in its period. */
    begun = live != NULL && live->st_size > 0 && live->st_mtime < now ? live->st_mtime : now;
    log_set_begun(log, begun);
}
