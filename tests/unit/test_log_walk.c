/*
 * The locks of a log, in every order in which threads can come to them: guard.c and log.c as they are, but that each
 * thread stops before every access to the mutex and every system call, and a walk through all states says who goes on.
 *
 * A thread may also jump away there, its wait may end too early or be the last, and another process may want the file.
 * Every path is run from its beginning, by threads that are coroutines, up to a state that was seen before.
 *
 * WALK_FAR=1 also goes through what takes minutes.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "log_walk.h"

static unsigned lost_wakings, states;
static uint64_t *seen; /* states */
static int jumpers;    /* so many of the threads may jump */
static int jumps_left, ticks_left, expiries_left, others_writes;

struct choice {
    enum act { RUN, JUMP, TICK, EXPIRE, OTHER } act;
    int who;
};

static int add(struct choice *choices, int count, enum act act, int who)
{
    choices[count] = (struct choice){act, who};
    return count + 1;
}

static bool may_run(const struct walker *walker)
{
    return (walker->status == READY && (walker->polls < 2 || !others_lock)) || walker->status == WOKEN;
}

/* What may happen next. */
static int look_round(struct choice *choices)
{
    int count = 0;
    for (int i = 0; i < THREADS; i++) {
        if (may_run(&walkers[i])) {
            count = add(choices, count, RUN, i);
        }
    }
    if (others_lock || (others_writes > 0 && !locked_file)) {
        count = add(choices, count, OTHER, 0);
    }
    int certain = count;
    for (int i = 0; i < THREADS; i++) {
        bool is_within = walkers[i].status != DONE && walkers[i].at != 0 && !walkers[i].has_jumped;
        if (i < jumpers && jumps_left > 0 && is_within) {
            count = add(choices, count, JUMP, i);
        }
        if (walkers[i].status == WAITS && (ticks_left > 0 || certain == 0)) {
            count = add(choices, count, TICK, i);
        }
        if (expiries_left > 0 && (walkers[i].status == WAITS || (walkers[i].status == READY && walkers[i].polls > 0))) {
            count = add(choices, count, EXPIRE, i);
        }
    }
    if (certain == 0 && count > 0) {
        lost_wakings++;
    }
    return count;
}

static void go_on(struct walker *walker)
{
    walker->status = READY;
    self = walker;
    guard_thread = walker->guard;
    if (_setjmp(scheduler) == 0) {
        if (walker->started) {
            jump(walker->here);
        }
        walker->started = true;
        setcontext(&walker->context);
    }
    self->guard = guard_thread;
}

static void act(struct choice choice)
{
    struct walker *walker = &walkers[choice.who];
    if (choice.act == OTHER) {
        others_writes -= others_lock;
        others_lock = !others_lock;
        return;
    }
    if (choice.act == JUMP) {
        jumps_left--;
        walker->jumps = true;
    } else if (choice.act == TICK) {
        ticks_left -= ticks_left > 0;
    } else if (choice.act == EXPIRE) {
        expiries_left--;
        now += 60 * (int64_t)SECOND;
    }
    go_on(walker);
}

static uint64_t state(void)
{
    uint64_t hash =
        mix(shared_state(), (uint64_t)jumps_left | (uint64_t)ticks_left << 8 | (uint64_t)expiries_left << 16);
    hash = mix(hash, (uint64_t)others_writes);
    for (int i = 0; i < THREADS; i++) {
        const struct walker *walker = &walkers[i];
        int before = 0;
        for (int j = 0; j < THREADS; j++) {
            before += walkers[j].status == WAITS && walkers[j].queued < walker->queued;
        }
        hash = mix(mix(mix(mix(hash, walker->at), walker->found), (uint64_t)walker->part), (uint64_t)walker->clock);
        hash =
            mix(hash, (uint64_t)walker->status | (uint64_t)walker->left << 4 | (uint64_t)walker->polls << 8 |
                          (uint64_t)(walker->status == WAITS ? before : 0) << 16 | (uint64_t)walker->has_jumped << 20);
    }
    return hash | 1;
}

static bool is_new(uint64_t hash)
{
    uint64_t at = hash % STATES;
    for (; seen[at] != 0; at = (at + 1) % STATES) {
        if (seen[at] == hash) {
            return false;
        }
    }
    seen[at] = hash;
    if (++states > STATES / 2) {
        fail_walk("there are too many states");
    }
    return true;
}

struct plan {
    int jumpers, jumps, ticks, expiries, others;
    bool attached;
    int left[THREADS]; /* writes; the last one does something else */
    int least;         /* states: so many there are */
};

static void begin(const struct plan *plan)
{
    memset(&a_log, 0, offsetof(struct log, path));
    a_rule.lock_timeout_ns = UINT64_C(5000000000);
    a_log.rule = &a_rule;
    a_log.lock.fd = LOCK_FD;
    a_log.lock.attached = true;
    a_log.lock.unseen = plan->others > 0; /* it tells that it waits */
    now = SECOND;
    queue = 0;
    jumpers = plan->jumpers;
    jumps_left = plan->jumps;
    ticks_left = plan->ticks;
    expiries_left = plan->expiries;
    others_writes = plan->others;
    other_attached = plan->attached;
    locked_file = told_waiting = others_lock = false;
    writes = NULL;
    for (int i = 0; i < THREADS; i++) {
        struct walker *walker = &walkers[i];
        memset(walker, 0, sizeof *walker);
        walker->left = plan->left[i];
        walker->guard.id = (uint32_t)i + 1;
        getcontext(&walker->context);
        walker->context.uc_stack.ss_sp = stacks[i];
        walker->context.uc_stack.ss_size = STACK;
        makecontext(&walker->context, run_walker, 0);
        go_on(walker); /* to its first step */
    }
}

static void end(void)
{
    bool done = others_writes == 0;
    for (int i = 0; i < THREADS; i++) {
        done = done && walkers[i].status == DONE;
    }
    if (!done) {
        fail_walk("somebody waits for ever");
    } else if (a_log.mutex != 0 || locked_file || told_waiting || a_log.locked) {
        fail_walk("something is left locked");
    }
}

/* Which of how many choices is made at each step. */
static struct {
    int next, count;
} path[DEPTH];
static int path_length;

static void run_path(const struct plan *plan)
{
    struct choice choices[4 * THREADS + 1];
    begin(plan);
    for (int depth = 0; failed_by == NULL; depth++) {
        int count = look_round(choices);
        if (count == 0) {
            end();
            return;
        }
        if (depth + 1 >= DEPTH) {
            fail_walk("it goes on for ever");
            return;
        }
        if (depth == path_length) {
            path[path_length].next = 0;
            path[path_length++].count = count;
        }
        act(choices[path[depth].next]);
        if (depth == path_length - 1 && !is_new(state())) {
            return;
        }
    }
}

static bool next_path(void)
{
    while (path_length > 0 && path[path_length - 1].next + 1 >= path[path_length - 1].count) {
        path_length--;
    }
    if (path_length > 0) {
        path[path_length - 1].next++;
    }
    return path_length > 0;
}

static void walk(const struct plan *plan)
{
    path_length = 0;
    lost_wakings = states = 0;
    failed_by = NULL;
    memset(seen, 0, STATES * sizeof *seen);
    do {
        run_path(plan);
    } while (failed_by == NULL && next_path());
    if (failed_by != NULL) {
        print_error("%s, after %u states\n", failed_by, states);
    }
    assert_null(failed_by);
    assert_int_equal(lost_wakings, 0);
    assert_true(states > (unsigned)plan->least);
}

static int setup(void **state)
{
    (void)state;
    seen = calloc(STATES, sizeof *seen);
    home_pid = sys.getpid();
    guard_same_process = &always_same;
    sys.futex = walk_futex;
    sys.fcntl = walk_fcntl;
    sys.sleep = walk_sleep;
    sys.clock = walk_clock;
    return seen == NULL;
}

static int teardown(void **state)
{
    (void)state;
    sys = sys_real;
    free(seen);
    return 0;
}

static bool goes_far(void)
{
    return getenv("WALK_FAR") != NULL;
}

static void threads_that_wait_for_each_other_come_to_the_file_one_after_the_other(void **state)
{
    const struct plan plan = {.others = goes_far(), .attached = goes_far(), .left = {1, 1, 1}, .least = 10000};
    (void)state;
    walk(&plan);
}

static void who_jumps_away_or_waits_no_longer_leaves_nothing_locked(void **state)
{
    const struct plan plan = {.jumpers = 2,
                              .jumps = 1 + goes_far(),
                              .ticks = 1,
                              .expiries = 1,
                              .left = {1 + goes_far(), 1, 0},
                              .least = 10000};
    (void)state;
    walk(&plan);
}

static void another_process_comes_to_the_file_beside_threads(void **state)
{
    const struct plan plan = {.jumpers = 2,
                              .jumps = 1,
                              .others = 1,
                              .attached = true,
                              .left = {2 - goes_far(), 1, goes_far()},
                              .least = 10000};
    (void)state;
    walk(&plan);
}

static void nobody_sleeps_because_of_a_thread_that_jumped_away(void **state)
{
    const struct plan plan = {.jumpers = goes_far() ? 3 : 1, .jumps = 1, .left = {1, 1, 1}, .least = 10000};
    (void)state;
    walk(&plan);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(threads_that_wait_for_each_other_come_to_the_file_one_after_the_other),
        cmocka_unit_test(who_jumps_away_or_waits_no_longer_leaves_nothing_locked),
        cmocka_unit_test(another_process_comes_to_the_file_beside_threads),
        cmocka_unit_test(nobody_sleeps_because_of_a_thread_that_jumped_away),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
