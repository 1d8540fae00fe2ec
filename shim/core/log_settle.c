/*
 * Giving archives their final names, with no lock of the log held, under the settle lock.
 */
#include "log_private.h"

#include "archive.h"
#include "guard.h"
#include "sys.h"

#include "../../include/mplogshim.h"

enum { SETTLE_RENAMES = 1024, SETTLE_SHARE = 16, SETTLE_PAUSE = 1000000 /* ns */, SECOND = 1000000000 };

/* One thread at a time: POSIX locks do not exclude threads. */
static uint32_t settle_mutex;

static void remove_unused_file(struct log *log, const struct archive_task *task)
{
    if (log_lock(log) == 0) {
        if (log_lock_file(log) == 0) {
            archive_remove_unused(task);
        }
        log_unlock(log);
    }
}

static void settle_locked(struct log *log, unsigned renames)
{
    if (log->lock.fd < 0 || lockfile_acquire(&log->lock, MPLOGSHIM_LOCK_SETTLE, UINT64_MAX) != 0) {
        log->settle_at = sys_now(CLOCK_MONOTONIC) + SETTLE_PAUSE; /* another process is at it: look again */
        return;
    }
    int64_t begun = sys_now(CLOCK_MONOTONIC);
    int64_t generation = lockfile_generation(&log->lock);
    int64_t settled;
    if (lockfile_read(&log->lock, LOCKFILE_SETTLED, &settled) && settled == generation) {
        log->unsettled = false; /* another process was faster */
        lockfile_release(&log->lock, MPLOGSHIM_LOCK_SETTLE);
        return;
    }
    static char unused[NAME_SIZE]; /* under settle_mutex */
    unused[0] = '\0';
    const struct archive_task task = {.rule = log->rule,
                                      .zone = log->zone,
                                      .generation = generation,
                                      .directory = log->directory.fd,
                                      .base = log->base,
                                      .renames = renames,
                                      .unused = unused};
    int result = archive_settle(&task);
    /* What takes long in a large directory takes no more than a share of the writers' time. */
    int64_t done = sys_now(CLOCK_MONOTONIC);
    log->settle_at = done + (result == ARCHIVE_WAIT ? SECOND : SETTLE_SHARE * (done - begun));
    if (result == ARCHIVE_DONE) {
        if (unused[0] != '\0') {
            remove_unused_file(log, &task);
        }
        if (unused[0] == '\0') {
            lockfile_write(&log->lock, LOCKFILE_SETTLED, generation);
        }
        log->unsettled = unused[0] != '\0' || lockfile_generation(&log->lock) != generation;
        log_succeeded(log, TROUBLE_ARCHIVE);
    } else if (result < 0) {
        log_failed(log, TROUBLE_ARCHIVE, "settle", result);
    }
    lockfile_release(&log->lock, MPLOGSHIM_LOCK_SETTLE);
}

static void settle(struct log *log, unsigned renames)
{
    struct sys_signals signals;
    sys_signals_block(&signals); /* nobody jumps out of it */
    if (guard_mutex_lock(&settle_mutex, 1)) {
        if (log->unsettled && log->path_hash != 0) {
            settle_locked(log, renames);
        }
        guard_mutex_unlock(&settle_mutex);
    }
    sys_signals_restore(&signals);
}

void log_settle_some(struct log *log)
{
    if (log->unsettled && log_may_try(log, TROUBLE_ARCHIVE) && sys_now(CLOCK_MONOTONIC) >= log->settle_at) {
        settle(log, SETTLE_RENAMES);
    }
}

void log_settle_last(struct log *log, void (*end)(struct log *log))
{
    if (guard_mutex_lock(&settle_mutex, SECOND)) {
        if (log->unsettled) {
            settle_locked(log, UINT32_MAX);
        }
        end(log);
        guard_mutex_unlock(&settle_mutex);
    }
}

static void settle_wholly(struct log *log)
{
    enum { ROUNDS = 32 };                            /* files that were prepared and not used go one in each */
    int64_t end = sys_now(CLOCK_MONOTONIC) + SECOND; /* the rest is the next process's */
    for (int round = 0; round < ROUNDS && log->unsettled && sys_now(CLOCK_MONOTONIC) < end; round++) {
        settle(log, SETTLE_RENAMES);
    }
}

void log_settle_all(void)
{
    log_visit(settle_wholly);
}

void log_settle_forked(void)
{
    settle_mutex = 0;
}

/* Both mutexes: whoever holds one of the file locks holds one of them. */
static struct log *kept_off;
static const struct stat *looked_for;

static void keep_off(struct log *log)
{
    if (kept_off == NULL && log->path_hash != 0 && log->lock.fd >= 0 && log->lock.inode == looked_for->st_ino &&
        log->lock.device == looked_for->st_dev && log_lock(log) == 0) {
        kept_off = log;
    }
}

struct log *log_keep_off_lock(const struct stat *status)
{
    if (!guard_mutex_lock(&settle_mutex, SECOND)) {
        return NULL;
    }
    kept_off = NULL;
    looked_for = status;
    log_visit(keep_off);
    if (kept_off == NULL) {
        guard_mutex_unlock(&settle_mutex);
    }
    return kept_off;
}

void log_allow_lock(struct log *log)
{
    log_unlock(log);
    guard_mutex_unlock(&settle_mutex);
}
