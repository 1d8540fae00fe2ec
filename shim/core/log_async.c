#include "log_async_private.h"

#include "guard.h"
#include "line.h"
#include "log_helper.h"
#include "log_private.h"
#include "sys.h"

#include <errno.h>
#include <limits.h>
#include <linux/futex.h>

enum { MILLISECOND = 1000000, SECOND = 1000000000 };

__attribute__((noinline)) void log_async_open(struct log *log)
{
    struct log_async *async = log->async;
    if (!log->rule->async || log_keeping) {
        log->async = NULL;
        return;
    }
    if (async == NULL) {
        async = sys_reserve(sizeof *async);
    } else if (!async->removed) {
        async->own =
            (struct log_ring){.waited = -1, .written = -1, .file = -1}; /* it still holds what could not be written */
    }
    if (async != NULL) {
        async->told = false;
        async->drain_at = 0;
        async->due_at = 0;
        async->retry_at = 0;
        async->stuck_since = 0;
    }
    log->async = async;
}

/* Of what is no whole line: a piece that goes through as it is; the rest is for who holds lines back. */
static bool goes_out_now(const struct iovec *vector, int count, size_t total, enum log_hold hold)
{
    return hold == HOLD_NONE || (hold == HOLD_REST && line_complete(vector, count, total) == 0);
}

/*
 * The thread is to be woken for the first record after a pause, also if it waits for those of another log, and for
 * many; not where it could not go on.
 */
static inline void ring_bell(const struct log_async *async, int64_t used)
{
    uint32_t sleep = __atomic_load_n(&log_async_sleep, __ATOMIC_SEQ_CST);
    if (__builtin_expect(sleep != THREAD_AWAKE &&
                             (sleep == THREAD_SLEEPS || async->due_at == 0 || used >= async->own.ring.quarter),
                         0) &&
        async->drain_at == 0) {
        log_async_wake();
    }
}

/* Others are writing batches just now: until they have written one. */
static void wait_for_turn(struct log_async *async, uint32_t turn)
{
    const struct timespec pause = {.tv_nsec = 10 * MILLISECOND};
    __atomic_add_fetch(&async->waiting, 1, __ATOMIC_SEQ_CST);
    sys.futex(&async->turn, FUTEX_WAIT, turn, &pause);
    __atomic_sub_fetch(&async->waiting, 1, __ATOMIC_SEQ_CST);
}

/* The buffer is full: writes a batch of it, unless somebody is doing so. 0: try again, or an error. */
static __attribute__((noinline)) int make_room(struct log *log, struct writer *writer)
{
    struct log_async *async = log->async;
    uint32_t turn = __atomic_load_n(&async->turn, __ATOMIC_SEQ_CST);
    if (__atomic_load_n(&log->mutex, __ATOMIC_RELAXED) != 0) {
        wait_for_turn(async, turn);
        return 0;
    }
    uint64_t before = sys_signals_defer(); /* a handler could not wait for who has the mutex */
    int error = log_lock(log);
    if (error == 0) {
        error = log_async_drain(log, writer, &async->own, DRAIN_BATCH, true);
        log_unlock(log);
    }
    sys_signals_resume(before);
    return error;
}

/* There was no room: waits for it. What ring_put came to in the end, or an error. */
static __attribute__((noinline)) int64_t put_patiently(struct log *log, struct writer *writer,
                                                       const struct iovec *vector, int count, size_t total, bool whole)
{
    struct log_async *async = log->async;
    int64_t used = -EAGAIN;
    int64_t deadline = 0;
    while (used == -EAGAIN) {
        int64_t now = sys_now(CLOCK_MONOTONIC_COARSE);
        deadline = deadline == 0 ? now + 5 * (int64_t)SECOND : deadline;
        int error = now > deadline ? -EBUSY : make_room(log, writer);
        if (error != 0) {
            return error;
        }
        used = ring_put(&async->own.ring, vector, count, total, whole ? RING_WHOLE : 0, guard_thread_id(),
                        &guard_thread.puts);
    }
    return used;
}

/* What the program hears of it: not what goes on by other means. */
static __attribute__((noinline)) ssize_t refused(int64_t error)
{
    bool is_ours = error == -ESHUTDOWN || error == -EMSGSIZE || error == -EBUSY || error == -ESTALE ||
                   error == -ETIMEDOUT || error == -EPERM;
    return is_ours ? -EAGAIN : (ssize_t)error;
}

__attribute__((noinline)) ssize_t log_async_put(struct log *log, struct writer *writer, int fd,
                                                const struct iovec *vector, int count, enum log_hold hold)
{
    struct log_async *async = log->async;
    if (!async->open || writer->synchronous || writer->held > 0 || writer->fd != fd) {
        return -EAGAIN;
    }
    size_t total = line_total(vector, count);
    bool whole = line_is_whole(vector, count);
    if (__builtin_expect(!whole, 0) && !goes_out_now(vector, count, total, hold)) {
        return -EAGAIN;
    }
    int64_t used =
        ring_put(&async->own.ring, vector, count, total, whole ? RING_WHOLE : 0, guard_thread_id(), &guard_thread.puts);
    if (__builtin_expect(used < 0, 0)) {
        used = used == -EAGAIN ? put_patiently(log, writer, vector, count, total, whole) : used;
        if (used < 0) {
            return refused(used);
        }
    }
    if (!writer->behind) {
        writer->behind = true;
    }
    ring_bell(async, used);
    return (ssize_t)total;
}

ssize_t log_async_put_line(struct writer *writer, int fd, const struct iovec *piece)
{
    const struct log *log = writer->log;
    struct log_async *async = log == NULL ? NULL : log->async;
    bool common = async != NULL && async->open && writer->fd == fd && !writer->synchronous && writer->held == 0 &&
                  line_is_whole(piece, 1);
    int64_t used = -EAGAIN;
    if (__builtin_expect(common, 1)) {
        used = ring_put(&async->own.ring, piece, 1, piece->iov_len, RING_WHOLE, guard_thread_id(), &guard_thread.puts);
    }
    if (__builtin_expect(used < 0, 0)) {
        return -EAGAIN;
    }
    if (!writer->behind) {
        writer->behind = true;
    }
    ring_bell(async, used);
    return (ssize_t)piece->iov_len;
}

/* Apart, as all that is seldom called: signal stacks are small, and most logs have no buffer. */
__attribute__((noinline)) ssize_t log_async_write(struct log *log, struct writer *writer, const struct record *record)
{
    struct log_async *async = log->async;
    if (!async->open && !log_holds_nothing && !writer->synchronous) {
        log_async_make(log);
    }
    if (async->own.ring.page == NULL) {
        return -EAGAIN;
    }
    int64_t used = -ESHUTDOWN;
    bool fits = async->open && record->flags == 0 && !writer->synchronous;
    for (int attempt = 0; fits && used < 0 && attempt < 2; attempt++) {
        used = ring_put(&async->own.ring, record->vector, record->count, record->length, record->whole ? RING_WHOLE : 0,
                        guard_thread_id(), &guard_thread.puts);
        int error = used == -EAGAIN ? log_async_drain(log, writer, &async->own, DRAIN_BATCH, true) : 0;
        if (error != 0) {
            return error == -EBUSY ? -EAGAIN : error;
        }
    }
    if (used >= 0) {
        writer->behind = true;
        ring_bell(async, used);
        return (ssize_t)record->length;
    }
    int error = log_async_drain(log, writer, &async->own, DRAIN_ALL, true);
    return error == 0 || error == -EBUSY ? -EAGAIN : error;
}

__attribute__((noinline)) int log_async_put_aside(const struct log *log, const struct iovec *vector, int count)
{
    struct log_async *async = log->async;
    if (async == NULL || async->own.ring.page == NULL || async->removed) {
        return -EAGAIN;
    }
    size_t total = line_total(vector, count);
    int flags = RING_RESERVE | (line_is_whole(vector, count) ? RING_WHOLE : 0);
    int64_t deadline = 0;
    for (;;) {
        uint32_t turn = __atomic_load_n(&async->turn, __ATOMIC_SEQ_CST);
        int64_t used = ring_put(&async->own.ring, vector, count, total, flags, guard_thread_id(), &guard_thread.puts);
        if (used >= 0) {
            ring_bell(async, used);
            return 0;
        }
        int64_t now = sys_now(CLOCK_MONOTONIC_COARSE);
        deadline = deadline == 0 ? now + 5 * (int64_t)SECOND : deadline;
        bool drains = used == -ESHUTDOWN && ring_used(&async->own.ring) > 0;
        bool is_awaited = guard_thread.puts != NULL || guard_mutex_is_mine(&log->mutex); /* by who makes room */
        if ((used != -EAGAIN && !drains) || now > deadline || is_awaited) {
            return -EAGAIN;
        }
        wait_for_turn(async, turn); /* the thread's */
    }
}

bool log_async_is_open(const struct log *log)
{
    return log->async != NULL && log->async->open;
}

bool log_async_holds(const struct log *log)
{
    const struct log_async *async = log->async;
    return async != NULL && async->own.ring.page != NULL && ring_used(&async->own.ring) > 0;
}

__attribute__((noinline)) int log_async_empty(struct log *log)
{
    if (!log_async_holds(log)) {
        return 0;
    }
    int error = log_lock(log);
    if (error == 0) {
        error = log_async_drain(log, NULL, &log->async->own, DRAIN_ALL, true);
        log_unlock(log);
    }
    log_helper_call(log);
    return error == -EBUSY ? 0 : error; /* what is left is being put in: no write of it has returned */
}
