/*
 * The thread of async=1: one for each process that has a buffer. It writes out what is there when there is much of it,
 * or has been there for async_flush, and takes over what dead processes left.
 */
#include "log_async_private.h"

#include "guard.h"
#include "log_helper.h"
#include "log_private.h"
#include "sys.h"
#include "sys_call.h"
#include "thread.h"

#include <errno.h>
#include <limits.h>
#include <linux/futex.h>
#include <sys/prctl.h>
#include <sys/syscall.h>

enum { SECOND = 1000000000, MILLISECOND = 1000000, LEAST_PAUSE = MILLISECOND / 20 };

uint32_t log_async_sleep;

static uint32_t thread_id; /* 0: there is none */
static void *thread_memory;
static uint32_t thread_mutex; /* of starting and stopping it */
static bool stops;
static int64_t looked_at;

/* What there is to do for all logs together. */
static struct {
    bool any;     /* something waits */
    bool due;     /* for long enough, or so much that it need not wait any longer */
    int64_t next; /* nanoseconds until something is due; at most a second */
} work;

void log_async_wake(void)
{
    if (__atomic_exchange_n(&log_async_sleep, THREAD_AWAKE, __ATOMIC_SEQ_CST) != THREAD_AWAKE) {
        sys.futex(&log_async_sleep, FUTEX_WAKE, 1, NULL);
    }
}

/*
 * How much there is. Who puts something in does not ring while it is put off, or once some of it was seen to wait
 * (log_async.c): either ends before the look at what is there.
 */
static uint32_t look_into(struct log_async *async, int64_t now)
{
    uint32_t used = ring_used(&async->own.ring);
    while ((async->drain_at != 0 && (now >= async->drain_at || used == 0)) || (async->due_at != 0 && used == 0)) {
        async->drain_at = 0;
        async->due_at = used == 0 ? 0 : async->due_at;
        __atomic_thread_fence(__ATOMIC_SEQ_CST);
        used = ring_used(&async->own.ring);
    }
    return used;
}

/* What waits is due async_flush after it was first seen. */
static bool is_due(const struct log *log, int64_t now)
{
    struct log_async *async = log->async;
    uint32_t used = look_into(async, now);
    if (used == 0) {
        return false;
    }
    if (async->due_at == 0) {
        async->due_at = now + (int64_t)log->rule->async_flush_ns;
    }
    return async->drain_at == 0 && (used >= async->own.ring.quarter || now >= async->due_at);
}

/*
 * A record that is being put in is there in a moment, unless its thread was interrupted or has to wait for a processor;
 * meanwhile the buffer fills, and all others wait.
 */
static void put_off(struct log_async *async, int error)
{
    int64_t pause = SECOND;
    if (error == -EBUSY) {
        pause = async->drain_pause == 0 ? LEAST_PAUSE : 2 * async->drain_pause;
        pause = pause < 10 * MILLISECOND ? pause : 10 * MILLISECOND;
        async->drain_pause = pause;
    }
    async->drain_at = sys_now(CLOCK_MONOTONIC) + pause;
}

/* Who puts one in may wait for memory of its own, or for what no library knows: after a second, others do not any more.
 */
static void look_at_stuck(struct log_async *async)
{
    int64_t now = sys_now(CLOCK_MONOTONIC);
    uint32_t first = ring_first(&async->own.ring);
    if (async->stuck_since == 0 || async->stuck != first) {
        async->stuck = first;
        async->stuck_since = now;
    } else if (now - async->stuck_since >= SECOND) {
        async->own.waited = first;
    }
}

/* One batch at a time, so that whoever waits for the log's mutex gets it in between. */
static void write_out(struct log *log)
{
    struct log_async *async = log->async;
    if (async == NULL || !async->open || !is_due(log, sys_now(CLOCK_MONOTONIC))) {
        return;
    }
    uint32_t end = ring_end(&async->own.ring);
    int error = 0;
    while (error == 0 && async->open && ring_has_before(&async->own.ring, end)) {
        error = log_lock(log);
        if (error == 0) {
            error = log_async_drain(log, NULL, &async->own, DRAIN_BATCH, false);
            if (error == -EBUSY) {
                look_at_stuck(async);
            }
            log_unlock(log);
        }
    }
    if (error == 0) {
        async->due_at = async->drain_pause = async->stuck_since = 0;
    } else {
        put_off(async, error);
    }
    log_helper_call(log);
}

static void look_for_dead(struct log *log)
{
    if (log->path_hash != 0 && log->async != NULL && log->async->open) {
        log_async_prove(log);
        log_async_look_for_dead(log);
    }
}

static void look(struct log *log)
{
    const struct log_async *async = log->async;
    if (async == NULL || !async->open) {
        return;
    }
    int64_t now = sys_now(CLOCK_MONOTONIC);
    work.due = is_due(log, now) || work.due;
    work.any = work.any || async->due_at != 0;
    int64_t at = async->drain_at != 0 ? async->drain_at : async->due_at;
    if (async->due_at != 0 && at - now < work.next) {
        work.next = at - now > LEAST_PAUSE ? at - now : LEAST_PAUSE;
    }
}

static void look_at_all(void)
{
    work.any = work.due = false;
    work.next = SECOND;
    log_visit(look);
}

/* Whoever puts something in from now on sees the state; what was put in before is seen here. */
static void sleep_as(uint32_t state)
{
    __atomic_store_n(&log_async_sleep, state, __ATOMIC_SEQ_CST);
    __atomic_thread_fence(__ATOMIC_SEQ_CST); /* the looks are loads that may come before it otherwise (aarch64) */
    look_at_all();
    const struct timespec time = {.tv_sec = work.next / SECOND, .tv_nsec = work.next % SECOND};
    if (!(state == THREAD_SLEEPS ? work.any : work.due) && !__atomic_load_n(&stops, __ATOMIC_ACQUIRE)) {
        sys.futex(&log_async_sleep, FUTEX_WAIT, state, &time);
    }
    __atomic_store_n(&log_async_sleep, THREAD_AWAKE, __ATOMIC_SEQ_CST);
}

static int run(void *unused)
{
    (void)unused;
    guard_thread.inside = 1;
    looked_at = sys_now(CLOCK_MONOTONIC); /* as the log was attached */
    sys_call(SYS_prctl, PR_SET_NAME, (long)"mplogshim", 0, 0, 0, 0);
    while (!__atomic_load_n(&stops, __ATOMIC_ACQUIRE) && !sys_confined) {
        look_at_all();
        if (work.due) {
            log_visit(write_out);
        } else {
            sleep_as(work.any ? THREAD_DOZES : THREAD_SLEEPS);
        }
        int64_t now = sys_now(CLOCK_MONOTONIC);
        if (now - looked_at >= SECOND) {
            looked_at = now;
            log_visit(look_for_dead);
            int status = log_async_end_process();
            if (status >= 0) {
                return status;
            }
        }
    }
    return 0;
}

static bool is_there(void)
{
    return __atomic_load_n(&thread_id, __ATOMIC_ACQUIRE) != 0;
}

/*
 * A batch that it writes may wait for the log's lock. The kernel says that it ends a moment before it is none of the
 * process's threads any more, of which some calls want one only.
 */
static void await_end(void)
{
    const struct timespec pause = {.tv_nsec = MILLISECOND / 20};
    int64_t now = sys_now(CLOCK_MONOTONIC);
    int64_t deadline = now + 10 * (int64_t)SECOND;
    uint32_t id = __atomic_load_n(&thread_id, __ATOMIC_ACQUIRE);
    for (; is_there() && now < deadline; now = sys_now(CLOCK_MONOTONIC)) {
        log_async_wake();
        sys.sleep(&pause);
    }
    deadline = now + SECOND; /* a new thread of the program's may have got the number */
    while (!is_there() && now < deadline && sys_call(SYS_tgkill, sys.getpid(), (long)id, 0, 0, 0, 0) == 0) {
        sys.sleep(&pause);
        now = sys_now(CLOCK_MONOTONIC);
    }
}

int log_async_start_thread(void)
{
    int error = -EBUSY;
    if (!guard_mutex_lock(&thread_mutex, SECOND)) {
        return error;
    }
    if (!is_there()) {
        stops = false;
        error = thread_start(run, NULL, &thread_id, &thread_memory);
    } else if (!stops) {
        error = 0;
    }
    guard_mutex_unlock(&thread_mutex);
    return error;
}

void log_async_stop_thread(void)
{
    if (is_there() && guard_mutex_lock(&thread_mutex, SECOND)) {
        __atomic_store_n(&stops, true, __ATOMIC_RELEASE);
        await_end();
        guard_mutex_unlock(&thread_mutex);
    }
}

void log_async_thread_forked(void)
{
    thread_id = thread_mutex = log_async_sleep = 0;
    stops = false;
}
