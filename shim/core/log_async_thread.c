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

enum { SECOND = 1000000000, MILLISECOND = 1000000 };

uint32_t log_async_sleep;

static uint32_t thread_id; /* 0: there is none */
static void *thread_memory;
static uint32_t thread_mutex; /* of starting and stopping it */
static bool stops;
static bool wants;       /* something was there in this round */
static int64_t doze_for; /* nanoseconds: the shortest async_flush */
static int64_t looked_at;

void log_async_wake(void)
{
    if (__atomic_exchange_n(&log_async_sleep, THREAD_AWAKE, __ATOMIC_SEQ_CST) != THREAD_AWAKE) {
        sys.futex(&log_async_sleep, FUTEX_WAKE, 1, NULL);
    }
}

/* One batch at a time, so that whoever waits for the log's mutex gets it in between. */
static void write_out(struct log *log)
{
    struct log_async *async = log->async;
    if (async == NULL || !async->open || sys_now(CLOCK_MONOTONIC) < async->drain_at) {
        return;
    }
    int64_t flush = log->rule->async_flush_ns < MILLISECOND ? MILLISECOND : (int64_t)log->rule->async_flush_ns;
    doze_for = flush < doze_for ? flush : doze_for;
    uint32_t end = ring_end(&async->own.ring);
    int error = 0;
    while (error == 0 && async->open && ring_has_before(&async->own.ring, end)) {
        wants = true;
        error = log_lock(log);
        if (error == 0) {
            error = log_async_drain(log, NULL, &async->own, DRAIN_BATCH, false);
            log_unlock(log);
        }
    }
    log_helper_call(log);
    if (error != 0) {
        async->drain_at = sys_now(CLOCK_MONOTONIC) + (error == -EBUSY ? MILLISECOND : SECOND);
    }
}

static void look_for_dead(struct log *log)
{
    if (log->path_hash != 0 && log->async != NULL && log->async->open) {
        log_async_take_over(log);
    }
}

static bool is_urgent;

static void look(struct log *log)
{
    const struct log_async *async = log->async;
    if (async != NULL && async->open && sys_now(CLOCK_MONOTONIC) >= async->drain_at) {
        uint32_t used = ring_used(&async->own.ring);
        is_urgent = is_urgent || used >= async->own.ring.quarter || (log_async_sleep == THREAD_SLEEPS && used > 0);
    }
}

/* Whoever puts something in from now on sees the state; what was put in before is seen here. */
static void sleep_as(uint32_t state, int64_t nanoseconds)
{
    const struct timespec time = {.tv_sec = nanoseconds / SECOND, .tv_nsec = nanoseconds % SECOND};
    __atomic_store_n(&log_async_sleep, state, __ATOMIC_SEQ_CST);
    is_urgent = stops;
    log_visit(look);
    if (!is_urgent) {
        sys.futex(&log_async_sleep, FUTEX_WAIT, state, &time);
    }
    __atomic_store_n(&log_async_sleep, THREAD_AWAKE, __ATOMIC_SEQ_CST);
}

static int run(void *unused)
{
    enum { ROUNDS_AWAKE = 5 }; /* so many without anything to do: then the next record wakes it */
    (void)unused;
    int idle = 0;
    guard_thread.inside = 1;
    sys_call(SYS_prctl, PR_SET_NAME, (long)"mplogshim", 0, 0, 0, 0);
    while (!__atomic_load_n(&stops, __ATOMIC_ACQUIRE) && !sys_confined) {
        wants = false;
        doze_for = SECOND;
        log_visit(write_out);
        idle = wants ? 0 : idle + 1;
        int64_t now = sys_now(CLOCK_MONOTONIC);
        if (now - looked_at >= SECOND) {
            looked_at = now;
            log_visit(look_for_dead);
        }
        sleep_as(idle < ROUNDS_AWAKE ? THREAD_DOZES : THREAD_SLEEPS, idle < ROUNDS_AWAKE ? doze_for : SECOND);
    }
    return 0;
}

static bool is_there(void)
{
    return __atomic_load_n(&thread_id, __ATOMIC_ACQUIRE) != 0;
}

/* A batch that it writes may wait for the log's lock. */
static void await_end(void)
{
    const struct timespec pause = {.tv_nsec = MILLISECOND / 20};
    int64_t deadline = sys_now(CLOCK_MONOTONIC) + 10 * (int64_t)SECOND;
    while (is_there() && sys_now(CLOCK_MONOTONIC) < deadline) {
        log_async_wake();
        sys.sleep(&pause);
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
