/*
 * The guard's way in and out, interrupted behind each of its instructions: by a handler that goes the same way, by one
 * that jumps out, and by cancellation.
 *
 * The processor is made to step (x86-64's trap flag), and the handler of the trap acts at one step of each pass. On
 * other machines the only steps are before and behind the guard.
 */
#include "../../shim/core/guard.h"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <ucontext.h>

#include <cmocka.h>

enum { STEPS_MOST = 100000 };
static const int types[] = {PTHREAD_CANCEL_DEFERRED, PTHREAD_CANCEL_ASYNCHRONOUS};

/* Of one pass. */
static struct {
    int at;    /* the step at which it acts */
    int steps; /* so far */
    void (*act)(void);
    volatile bool held; /* between the way in and the way out */
    bool acted;
    bool wrong;
} pass;

static void step(int signal, siginfo_t *info, void *context)
{
    (void)signal, (void)info;
    if (pass.steps++ == pass.at) {
        pass.acted = true;
        pass.act();
#ifdef __x86_64__
        ((ucontext_t *)context)->uc_mcontext.gregs[REG_EFL] &= ~0x100; /* the rest is not of interest */
#else
        (void)context;
#endif
    }
}

static inline __attribute__((always_inline)) void begin_steps(void)
{
#ifdef __x86_64__
    __asm__ volatile("lea -128(%%rsp), %%rsp\n\t"
                     "pushfq\n\t"
                     "orq $0x100, (%%rsp)\n\t"
                     "popfq\n\t"
                     "lea 128(%%rsp), %%rsp" ::
                         : "memory", "cc");
#else
    raise(SIGTRAP);
#endif
}

static inline __attribute__((always_inline)) void end_steps(void)
{
#ifdef __x86_64__
    __asm__ volatile("lea -128(%%rsp), %%rsp\n\t"
                     "pushfq\n\t"
                     "andq $~0x100, (%%rsp)\n\t"
                     "popfq\n\t"
                     "lea 128(%%rsp), %%rsp" ::
                         : "memory", "cc");
#else
    raise(SIGTRAP);
#endif
}

static int type_now(void)
{
    int type;
    pthread_setcanceltype(PTHREAD_CANCEL_DEFERRED, &type);
    return type;
}

/* As a hook does. What is wrong is noted: no assertion jumps out of it. */
static __attribute__((noinline)) void go_through(void)
{
    begin_steps();
    if (guard_enter()) {
        pass.held = true;
        pass.wrong = pass.wrong || guard_thread.inside != 1 || type_now() != PTHREAD_CANCEL_DEFERRED ||
                     guard_thread.frame != (uintptr_t)__builtin_frame_address(0);
        pass.held = false;
        guard_leave();
    } else {
        pass.wrong = true;
    }
    end_steps();
}

static __attribute__((noinline)) void go_through_in_handler(void)
{
    if (guard_enter()) {
        pass.wrong = pass.wrong || pass.held || guard_thread.frame != (uintptr_t)__builtin_frame_address(0);
        guard_leave();
    }
}

/* What it jumps over is its own. */
static void jump_about_in_handler(void)
{
    static sigjmp_buf within;
    bool inside = guard_inside();
    if (sigsetjmp(within, 0) == 0) {
        guard_abandon_for_jump(__builtin_frame_address(0));
        siglongjmp(within, 1);
    }
    pass.wrong = pass.wrong || guard_inside() != inside;
}

static sigjmp_buf outside;
static void *outside_frame;

static void jump_out(void)
{
    guard_abandon_for_jump(outside_frame);
    siglongjmp(outside, 1);
}

static void begin_pass(int at, void (*act)(void))
{
    pass.at = at;
    pass.act = act;
    pass.steps = 0;
    pass.held = pass.acted = pass.wrong = false;
}

static int setup(void **state)
{
    struct sigaction action = {.sa_sigaction = step, .sa_flags = SA_NODEFER | SA_SIGINFO};
    (void)state;
    int error = sigaction(SIGTRAP, &action, NULL);
    begin_pass(-1, NULL);
    go_through(); /* the calls in it are bound */
    return error;
}

static int teardown(void **state)
{
    (void)state;
    pthread_setcanceltype(PTHREAD_CANCEL_DEFERRED, &(int){0});
    signal(SIGTRAP, SIG_DFL);
    return 0;
}

/* Says which step it was. */
static void assert_pass(bool holds, int type)
{
    if (!holds) {
        fprintf(stderr, "step %d of %d, cancellation %s\n", pass.at, pass.steps,
                type == PTHREAD_CANCEL_DEFERRED ? "deferred" : "asynchronous");
    }
    assert_true(holds);
}

/* `frame`: what an earlier way in, elsewhere on the stack, has left. */
static void go_through_with(void (*act)(void), uintptr_t frame, int type)
{
    pass.acted = true;
    for (int at = 0; pass.acted; at++) {
        assert_in_range(at, 0, STEPS_MOST);
        begin_pass(at, act);
        guard_thread.frame = frame;
        pthread_setcanceltype(type, &(int){0});
        go_through();
        assert_pass(type_now() == type && !pass.wrong && !guard_inside(), type);
    }
}

static void handlers_at_every_step_leave_the_guard_as_it_is(void **state)
{
    (void)state;
    go_through_with(go_through_in_handler, 0, PTHREAD_CANCEL_DEFERRED);
    go_through_with(go_through_in_handler, 0, PTHREAD_CANCEL_ASYNCHRONOUS);
}

static void handlers_at_every_step_jump_about_in_themselves(void **state)
{
    (void)state;
    go_through_with(jump_about_in_handler, 0, PTHREAD_CANCEL_DEFERRED);
}

static __attribute__((noinline)) void go_through_unless_it_jumps(void)
{
    outside_frame = __builtin_frame_address(0);
    if (sigsetjmp(outside, 1) == 0) {
        go_through();
    }
}

/* A thread that may be cancelled at any moment loses that if it jumps out while it is changed: few do both. */
static void jumps_at_every_step_leave_nobody_inside(void **state)
{
    (void)state;
    for (int i = 0; i < 2; i++) {
        pass.acted = true;
        for (int at = 0; pass.acted; at++) {
            assert_in_range(at, 0, STEPS_MOST);
            begin_pass(-1, NULL);
            pthread_setcanceltype(types[!i], &(int){0});
            go_through();
            pthread_setcanceltype(types[i], &(int){0});
            begin_pass(at, jump_out);
            guard_thread.frame = UINTPTR_MAX;
            go_through_unless_it_jumps();
            int type = type_now();
            assert_pass(!pass.wrong && !guard_inside(), types[i]);
            assert_pass(types[i] == PTHREAD_CANCEL_ASYNCHRONOUS || type == types[i], types[i]);
        }
    }
}

#ifndef __SANITIZE_ADDRESS__ /* does not see the frames go that cancellation leaves at any moment */
static void cancel_this_thread(void)
{
    pthread_cancel(pthread_self());
}

static void note_cancellation(void *unused)
{
    (void)unused;
    pass.wrong = pass.wrong || pass.held;
}

static void *go_through_and_end(void *unused)
{
    pthread_cleanup_push(note_cancellation, NULL);
    pthread_setcanceltype(PTHREAD_CANCEL_ASYNCHRONOUS, &(int){0});
    go_through();
    type_now();
    pthread_cleanup_pop(0);
    return unused;
}

static void cancellation_at_every_step_acts_and_never_inside(void **state)
{
    (void)state;
    pass.acted = true;
    for (int at = 0; pass.acted; at++) {
        pthread_t thread;
        void *result;
        assert_in_range(at, 0, STEPS_MOST);
        begin_pass(at, cancel_this_thread);
        assert_int_equal(pthread_create(&thread, NULL, go_through_and_end, NULL), 0);
        assert_int_equal(pthread_join(thread, &result), 0);
        assert_pass(!pass.wrong && pass.acted == (result == PTHREAD_CANCELED), PTHREAD_CANCEL_ASYNCHRONOUS);
    }
}
#endif

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(handlers_at_every_step_leave_the_guard_as_it_is),
        TEST(handlers_at_every_step_jump_about_in_themselves),
        TEST(jumps_at_every_step_leave_nobody_inside),
#ifndef __SANITIZE_ADDRESS__
        TEST(cancellation_at_every_step_acts_and_never_inside),
#endif
    };
    guard_start(NULL);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
