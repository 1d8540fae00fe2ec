/* Who is inside: re-entry, cancellation, fork children, and the lock between threads. */
#include "../../shim/core/guard.h"
#include "../../shim/core/sys.h"

#include <errno.h>
#include <linux/futex.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

enum { THREADS = 4, ROUNDS = 20000 };

static int forked_calls;

static void forked(void)
{
    forked_calls++;
}

static int teardown(void **state)
{
    (void)state;
    sys = sys_real;
    return 0;
}

static void thread_that_is_inside_stays_out(void **state)
{
    (void)state;
    assert_false(guard_inside());
    assert_true(guard_enter());
    assert_true(guard_inside());
    assert_false(guard_enter());
    assert_true(guard_inside());
    guard_leave();
    assert_false(guard_inside());
    assert_true(guard_enter());
    guard_leave();
}

static volatile sig_atomic_t handler_entered;

static void enter_in_handler(int number)
{
    (void)number;
    handler_entered = guard_enter();
}

static void handler_that_interrupts_a_thread_inside_stays_out(void **state)
{
    (void)state;
    handler_entered = -1;
    signal(SIGUSR1, enter_in_handler);
    assert_true(guard_enter());
    raise(SIGUSR1);
    guard_leave();
    signal(SIGUSR1, SIG_DFL);
    assert_int_equal(handler_entered, 0);
}

static void *enter_from_thread(void *result)
{
    *(bool *)result = guard_enter();
    guard_leave();
    return NULL;
}

static void another_thread_is_not_kept_out(void **state)
{
    pthread_t thread;
    bool entered = false;
    (void)state;
    assert_true(guard_enter());
    assert_int_equal(pthread_create(&thread, NULL, enter_from_thread, &entered), 0);
    pthread_join(thread, NULL);
    guard_leave();
    assert_true(entered);
}

static void cancellation_is_deferred_inside_and_as_before_after(void **state)
{
    (void)state;
    int type;
    int types[] = {PTHREAD_CANCEL_DEFERRED, PTHREAD_CANCEL_ASYNCHRONOUS};
    for (size_t i = 0; i < 2; i++) {
        pthread_setcanceltype(types[i], &type);
        assert_true(guard_enter());
        pthread_setcanceltype(PTHREAD_CANCEL_DEFERRED, &type);
        assert_int_equal(type, PTHREAD_CANCEL_DEFERRED);
        guard_leave();
        pthread_setcanceltype(PTHREAD_CANCEL_DEFERRED, &type);
        assert_int_equal(type, types[i]);
    }
}

static int wait_for(pid_t child)
{
    int status = -1;
    assert_int_equal(waitpid(child, &status, 0), child);
    return status;
}

static void fork_child_is_told_once_before_it_enters(void **state)
{
    (void)state;
    forked_calls = 0;
    pid_t child = fork();
    if (child == 0) {
        bool good = !guard_foreign_memory() && guard_enter() && forked_calls == 1;
        guard_leave();
        good = good && guard_enter() && forked_calls == 1;
        guard_leave();
        _exit(!good);
    }
    assert_int_equal(wait_for(child), 0);
    assert_true(guard_enter());
    guard_leave();
    assert_int_equal(forked_calls, 0);
}

static void grandchild_is_told_too(void **state)
{
    (void)state;
    forked_calls = 0;
    pid_t child = fork();
    if (child == 0) {
        if (guard_enter()) {
            guard_leave();
        }
        pid_t grandchild = fork();
        if (grandchild == 0) {
            _exit(!(guard_enter() && forked_calls == 2));
        }
        _exit(wait_for(grandchild) != 0);
    }
    assert_int_equal(wait_for(child), 0);
}

static void child_in_the_memory_of_its_parent_stays_out(void **state)
{
    (void)state;
    guard_thread.vfork_child = 1; /* as vfork.S does */
    pid_t child = vfork();
    if (child == 0) {
        bool stays_out = guard_foreign_memory() && !guard_enter();
        guard_abandon();
        _exit(!stays_out);
    }
    assert_int_equal(wait_for(child), 0);
    guard_thread.vfork_child = 0;
    assert_false(guard_foreign_memory());
    assert_true(guard_enter());
    guard_leave();
}

/* A handler that comes before there is a child, or after. */
static void parent_around_a_vfork_is_no_child(void **state)
{
    (void)state;
    guard_thread.vfork_child = 1;
    assert_false(guard_foreign_memory());
    assert_true(guard_enter());
    guard_leave();
    guard_thread.vfork_child = 0;
}

static int abandoned;

static void give_back(void *argument)
{
    abandoned++;
    guard_mutex_unlock(argument);
}

static void thread_that_jumps_out_gives_back_what_it_holds(void **state)
{
    uint32_t mutex = 0;
    (void)state;
    abandoned = 0;
    guard_abandon(); /* outside: nothing happens */
    assert_true(guard_enter());
    assert_true(guard_mutex_lock(&mutex, 0));
    guard_thread.abandon_argument = &mutex;
    guard_thread.abandon = give_back;
    guard_abandon();
    assert_int_equal(abandoned, 1);
    assert_false(guard_inside());
    assert_true(guard_mutex_lock(&mutex, 1));
    assert_true(guard_enter());
    guard_abandon(); /* inside with nothing held */
    assert_int_equal(abandoned, 1);
    assert_false(guard_inside());
}

static sigjmp_buf beyond;

/* The first time, a handler interrupts it that jumps as well. */
static void give_back_interrupted(void *argument)
{
    if (abandoned++ == 0) {
        guard_abandon();
        siglongjmp(beyond, 1);
    }
    guard_mutex_unlock(argument);
}

static void jump_out_of_giving_back_gives_back_too(void **state)
{
    uint32_t mutex = 0;
    (void)state;
    abandoned = 0;
    assert_true(guard_enter());
    assert_true(guard_mutex_lock(&mutex, 0));
    guard_thread.abandon_argument = &mutex;
    guard_thread.abandon = give_back_interrupted;
    if (sigsetjmp(beyond, 1) == 0) {
        guard_abandon();
    }
    assert_int_equal(abandoned, 2);
    assert_null(guard_thread.abandon);
    assert_false(guard_inside());
    assert_true(guard_mutex_lock(&mutex, 1));
}

static struct ring_put *given_up;

static void give_up(struct ring_put **puts)
{
    given_up = *puts;
    *puts = NULL;
}

static void thread_that_jumps_out_gives_up_what_it_was_putting_in(void **state)
{
    static char put;
    (void)state;
    guard_abandon_puts = give_up;
    assert_true(guard_enter());
    guard_thread.puts = (struct ring_put *)(void *)&put;
    guard_abandon();
    assert_ptr_equal(given_up, &put);
    given_up = NULL;
    assert_true(guard_enter());
    guard_abandon();
    assert_null(given_up);
    guard_abandon_puts = NULL;
}

struct counted {
    uint32_t mutex;
    int inside;
    long count;
    bool overlapped;
};

static void *count_under_lock(void *argument)
{
    struct counted *counted = argument;
    for (int i = 0; i < ROUNDS; i++) {
        if (!guard_mutex_lock(&counted->mutex, i % 2 == 0 ? 0 : 60000000000)) {
            return argument;
        }
        counted->overlapped |= __atomic_add_fetch(&counted->inside, 1, __ATOMIC_RELAXED) != 1;
        counted->count++;
        __atomic_sub_fetch(&counted->inside, 1, __ATOMIC_RELAXED);
        guard_mutex_unlock(&counted->mutex);
    }
    return NULL;
}

static void one_thread_at_a_time_has_the_lock(void **state)
{
    struct counted counted = {.mutex = 0};
    pthread_t threads[THREADS];
    (void)state;
    for (int i = 0; i < THREADS; i++) {
        assert_int_equal(pthread_create(&threads[i], NULL, count_under_lock, &counted), 0);
    }
    for (int i = 0; i < THREADS; i++) {
        void *failed;
        pthread_join(threads[i], &failed);
        assert_null(failed);
    }
    assert_false(counted.overlapped);
    assert_int_equal(counted.count, (long)THREADS * ROUNDS);
    assert_int_equal(counted.mutex, 0);
}

static int64_t now;
static int woken;
static int fake_wakes;

static int fake_clock(clockid_t clock, struct timespec *time)
{
    (void)clock;
    *time = (struct timespec){now / 1000000000, now % 1000000000};
    return 0;
}

/* Waits as long as asked, and wakes up early every time, as the kernel may. */
static int fake_futex(uint32_t *word, int operation, uint32_t value, const struct timespec *timeout)
{
    (void)word, (void)operation, (void)value;
    if (timeout != NULL) {
        now += (timeout->tv_sec * 1000000000 + timeout->tv_nsec + 1) / 2;
        return -EINTR;
    }
    fake_wakes++;
    return woken;
}

static void lock_that_is_held_is_waited_for_as_long_as_asked(void **state)
{
    uint32_t mutex = 0;
    (void)state;
    now = 5000000000;
    sys.clock = fake_clock;
    sys.futex = fake_futex;
    assert_true(guard_mutex_lock(&mutex, 1));
    assert_false(guard_mutex_lock(&mutex, 3000000000));
    assert_in_range(now, 8000000000, 8000000001);
    guard_mutex_unlock(&mutex);
    assert_true(guard_mutex_lock(&mutex, 1));
}

static struct {
    uint32_t mutex;
    bool waiting;
    int wakes;
} handover;

static int noted_futex(uint32_t *word, int operation, uint32_t value, const struct timespec *timeout)
{
    __atomic_add_fetch(&handover.wakes, operation == FUTEX_WAKE, __ATOMIC_RELAXED);
    __atomic_store_n(&handover.waiting, true, __ATOMIC_RELEASE);
    return sys_real.futex(word, operation, value, timeout);
}

static void *wait_for_lock(void *argument)
{
    bool *locked = argument;
    *locked = guard_mutex_lock(&handover.mutex, 0);
    guard_mutex_unlock(&handover.mutex);
    return NULL;
}

static void waiting_thread_is_woken(void **state)
{
    pthread_t thread;
    bool locked = false;
    (void)state;
    handover.waiting = false;
    handover.wakes = 0;
    sys.futex = noted_futex;
    assert_true(guard_mutex_lock(&handover.mutex, 0));
    assert_int_equal(pthread_create(&thread, NULL, wait_for_lock, &locked), 0);
    while (!__atomic_load_n(&handover.waiting, __ATOMIC_ACQUIRE)) {
        sched_yield();
    }
    guard_mutex_unlock(&handover.mutex);
    int wakes = __atomic_load_n(&handover.wakes, __ATOMIC_RELAXED);
    pthread_join(thread, NULL);
    assert_true(locked);
    assert_in_range(wakes, 1, 2);
    assert_int_equal(handover.mutex, 0);
}

static void lock_is_handed_on_only_to_who_comes(void **state)
{
    pthread_t thread;
    bool locked = false;
    (void)state;
    handover.waiting = false;
    sys.futex = noted_futex;
    assert_true(guard_mutex_lock(&handover.mutex, 0));
    assert_false(guard_mutex_hand_on(&handover.mutex));
    assert_true(guard_mutex_is_mine(&handover.mutex));
    assert_false(guard_mutex_is_awaited(&handover.mutex));
    assert_int_equal(pthread_create(&thread, NULL, wait_for_lock, &locked), 0);
    bool handed_on = false;
    while (!handed_on && !__atomic_load_n(&locked, __ATOMIC_ACQUIRE)) { /* it may not sleep yet, or come in between */
        handed_on = guard_mutex_is_awaited(&handover.mutex) && guard_mutex_hand_on(&handover.mutex);
    }
    if (!handed_on) {
        guard_mutex_unlock(&handover.mutex);
    }
    pthread_join(thread, NULL);
    assert_true(locked);
    assert_int_equal(handover.mutex, 0);
}

static void who_was_woken_and_found_it_taken_is_woken_again(void **state)
{
    uint32_t mutex = 0;
    (void)state;
    sys.futex = fake_futex;
    woken = 1;
    fake_wakes = 0;
    assert_true(guard_mutex_lock(&mutex, 1));
    assert_false(guard_mutex_lock(&mutex, 1));
    assert_true(guard_mutex_hand_on(&mutex));
    assert_int_equal(fake_wakes, 1);
    assert_true(guard_mutex_lock(&mutex, 1));
    assert_true(guard_mutex_hand_on(&mutex)); /* it is still on its way */
    assert_int_equal(fake_wakes, 1);
    assert_true(guard_mutex_lock(&mutex, 1));
    assert_false(guard_mutex_lock(&mutex, 1));
    assert_true(guard_mutex_hand_on(&mutex));
    assert_int_equal(fake_wakes, 2);
}

static void who_comes_no_more_gives_up_what_was_handed_on(void **state)
{
    uint32_t mutex = 0;
    (void)state;
    sys.futex = fake_futex; /* wakes somebody who does not come */
    woken = 1;
    assert_true(guard_mutex_lock(&mutex, 1));
    assert_false(guard_mutex_come_no_more(&mutex));
    assert_true(guard_mutex_is_awaited(&mutex)); /* by the next one, whom it was perhaps about to wake */
    assert_false(guard_mutex_lock(&mutex, 1));
    assert_true(guard_mutex_hand_on(&mutex));
    assert_true(guard_mutex_lock(&mutex, 1)); /* any thread may come in between, and hand it on anew */
    assert_true(guard_mutex_hand_on(&mutex));
    assert_true(guard_mutex_come_no_more(&mutex));
    assert_true(guard_mutex_is_mine(&mutex));
    woken = 0;
    assert_false(guard_mutex_hand_on(&mutex));
    guard_mutex_unlock(&mutex);
    assert_int_equal(mutex, 0);
}

/*
 * Threads that hand on what they hold with the lock, give up after a moment, and jump out of waiting and waking: what
 * is held is never left with nobody to come for it.
 */
enum { HAND_ON_PASSES = 12, HAND_ON_ROUNDS = 20 };
static uint32_t kept_mutex;
static bool kept;
static __thread jmp_buf away;
static __thread unsigned dice;

static bool luck(unsigned one_in)
{
    dice = dice * 1103515245 + 12345;
    return dice / 65536 % one_in == 0;
}

static int futex_jumped_out_of(uint32_t *word, int operation, uint32_t value, const struct timespec *timeout)
{
    if (luck(16)) {
        longjmp(away, 1);
    }
    int result = sys_real.futex(word, operation, value, timeout);
    if (luck(16)) {
        longjmp(away, 1);
    }
    return result;
}

static void release_kept(void)
{
    kept = false;
    guard_mutex_unlock(&kept_mutex);
}

static void *hand_on(void *seed)
{
    dice = *(unsigned *)seed;
    for (volatile int i = 0; i < HAND_ON_ROUNDS; i++) {
        if (setjmp(away) != 0) {
            if (guard_mutex_is_mine(&kept_mutex) || guard_mutex_come_no_more(&kept_mutex)) {
                kept = false;
                __atomic_store_n(&kept_mutex, 0, __ATOMIC_RELEASE);
                sys_real.futex(&kept_mutex, FUTEX_WAKE, 1, NULL);
            }
        } else if (guard_mutex_lock(&kept_mutex, luck(2) ? 50000 : 60000000000)) {
            kept = true;
            if (luck(4)) {
                sched_yield();
            }
            if (!guard_mutex_hand_on(&kept_mutex)) {
                release_kept();
            }
        }
    }
    return NULL;
}

static void what_is_handed_on_is_never_left_alone(void **state)
{
    (void)state;
    for (unsigned pass = 0; pass < HAND_ON_PASSES; pass++) {
        pthread_t threads[THREADS];
        unsigned seeds[THREADS];
        sys.futex = futex_jumped_out_of;
        for (unsigned i = 0; i < THREADS; i++) {
            seeds[i] = pass * THREADS + i;
            assert_int_equal(pthread_create(&threads[i], NULL, hand_on, &seeds[i]), 0);
        }
        for (int i = 0; i < THREADS; i++) {
            pthread_join(threads[i], NULL);
        }
        assert_false(kept);
        assert_int_equal(kept_mutex, 0);
    }
}

#define TEST(name) cmocka_unit_test_teardown(name, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(thread_that_is_inside_stays_out),
        TEST(handler_that_interrupts_a_thread_inside_stays_out),
        TEST(another_thread_is_not_kept_out),
        TEST(cancellation_is_deferred_inside_and_as_before_after),
        TEST(fork_child_is_told_once_before_it_enters),
        TEST(grandchild_is_told_too),
        TEST(child_in_the_memory_of_its_parent_stays_out),
        TEST(parent_around_a_vfork_is_no_child),
        TEST(thread_that_jumps_out_gives_back_what_it_holds),
        TEST(jump_out_of_giving_back_gives_back_too),
        TEST(thread_that_jumps_out_gives_up_what_it_was_putting_in),
        TEST(one_thread_at_a_time_has_the_lock),
        TEST(lock_that_is_held_is_waited_for_as_long_as_asked),
        TEST(waiting_thread_is_woken),
        TEST(lock_is_handed_on_only_to_who_comes),
        TEST(who_was_woken_and_found_it_taken_is_woken_again),
        TEST(who_comes_no_more_gives_up_what_was_handed_on),
        TEST(what_is_handed_on_is_never_left_alone),
    };
    guard_start(forked);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
