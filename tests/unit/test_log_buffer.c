/*
 * The buffer of a log with async=1 and its thread: who waits for whom, and who wakes whom.
 */
#include "async_scene.h"

#include "../../shim/core/log_async_private.h"
#include "../../shim/core/log_private.h"
#include "../../shim/core/ring_private.h"
#include "../../shim/core/sys_call.h"

#include <linux/futex.h>
#include <setjmp.h>
#include <stdarg.h>
#include <sys/syscall.h>

#include <cmocka.h>

enum { LAST_LINE = 20, SECONDS_MOST = 60, MANY = 32768 / 4 / LINE_LENGTH + 10 /* more than a quarter of a buffer */ };

/* Behind the library's back, the number is another file's. */
static void lose_the_descriptor(void)
{
    async_begin();
    require(scene_write_lines(&scene, 1, 5), "a line was not taken");
    int other = open(scene.diag.text, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
    dup2(other, scene.fd);
    temporary_must(guard_enter(), "empty");
    require(log_async_empty(scene.writer->log) == 0 && live_lines() == 5, "not written");
    guard_leave();
    require(temporary_length(scene.directory, DIAG_NAME) == 0, "written into another file");
    leave();
}

static void lines_whose_descriptor_is_gone_are_written_by_another(void **state)
{
    (void)state;
    assert_int_equal(async_run(lose_the_descriptor), 0);
    assert_true(history_holds(scene.directory, 5, 0));
    assert_int_equal(rings(), 0);
}

static void lose_one_descriptor_of_two(void)
{
    async_begin();
    require(scene_write_lines(&scene, 1, 5), "a line was not taken");
    int second = open(scene.path.text, O_WRONLY | O_APPEND | O_CLOEXEC);
    require(scene_attach_descriptor(&scene, second) != NULL, "not attached");
    int other = open(scene.diag.text, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
    dup2(other, second);
    require(empty() == 0 && live_lines() == 5, "not written");
    require(temporary_length(scene.directory, DIAG_NAME) == 0, "written into another file");
    leave();
}

static void so_are_those_of_which_one_descriptor_is_left(void **state)
{
    (void)state;
    assert_int_equal(async_run(lose_one_descriptor_of_two), 0);
    assert_true(history_holds(scene.directory, 5, 0));
    assert_int_equal(rings(), 0);
}

static void write_batch_by(struct writer *writer)
{
    struct log *log = scene.writer->log;
    temporary_must(guard_enter() && log_lock(log) == 0, "batch");
    int error = log_async_drain(log, writer, &log->async->own, DRAIN_BATCH, true);
    log_unlock(log);
    guard_leave();
    require(error == 0, "a batch was not written");
}

/* The first half of the last line by one descriptor; then the thread would take another one. */
static void write_a_line_in_two_batches(void)
{
    scene.rule.policy.max_bytes = 5 * LINE_LENGTH + LINE_LENGTH / 2;
    async_begin();
    int second = open(scene.path.text, O_WRONLY | O_APPEND | O_CLOEXEC);
    require(scene_attach_descriptor(&scene, second) != NULL, "not attached");
    require(scene_write_lines(&scene, 1, 5) && scene_append(scene.writer, "line 00000", HOLD_REST) == 10, "not taken");
    write_batch_by(scene.writer);
    require(scene_append(scene.writer, "6 .......\n", HOLD_REST) == 10, "not taken");
    write_batch_by(NULL);
    require(live_lines() == 6, "rotated in the midst of a line");
    leave();
}

static void no_batch_rotates_in_the_midst_of_a_line_of_the_one_before(void **state)
{
    (void)state;
    assert_int_equal(async_run(write_a_line_in_two_batches), 0);
    assert_true(history_holds(scene.directory, 6, 0));
}

/* The kernel takes a byte of what it is given, and does not say why. */
static ssize_t write_a_byte(int fd, const struct iovec *vector, int count)
{
    const struct iovec first = {.iov_base = vector[0].iov_base, .iov_len = 1};
    return fd == scene.fd ? sys_real.writev(fd, &first, 1) : sys_real.writev(fd, vector, count);
}

static void write_what_is_cut_off(void)
{
    async_begin();
    require(scene_write_lines(&scene, 1, 5), "a line was not taken");
    sys.writev = write_a_byte;
    require(empty() != 0 && live_lines() == 0, "written though it was not");
    sys.writev = sys_real.writev;
    require(empty() == 0 && live_lines() == 5, "not written");
    leave();
}

static void a_batch_of_which_nothing_was_written_is_written_later(void **state)
{
    (void)state;
    assert_int_equal(async_run(write_what_is_cut_off), 0);
    assert_true(history_holds(scene.directory, 5, 0));
    assert_int_equal(rings(), 0);
}

static bool takes_aside(void)
{
    const struct iovec line = {.iov_base = "line 000001 .......\n", .iov_len = LINE_LENGTH};
    temporary_must(guard_enter(), "aside");
    ssize_t taken = log_write_aside(scene.writer, &line, 1);
    guard_leave();
    require(taken == LINE_LENGTH || taken == -ESTALE, "an error");
    return taken == LINE_LENGTH;
}

static void interrupt_without_a_buffer(void)
{
    async_begin();
    require(!takes_aside() || live_lines() == 1, "lost before there was a buffer");
    require(scene_write_lines(&scene, 2, 2) && empty() == 0, "a line was not taken");
    long lines = live_lines();
    leave();
    require(!takes_aside() || live_lines() == lines + 1, "lost after the buffer was removed");
}

static void a_handlers_line_does_not_go_into_a_buffer_that_is_not_there(void **state)
{
    (void)state;
    assert_int_equal(async_run(interrupt_without_a_buffer), 0);
    assert_int_equal(rings(), 0);
}

/* As a thread that was stopped in the middle of a line of that length. */
static uint64_t reserve(struct ring *ring)
{
    uint64_t head = ring_load(&ring->page->head);
    ring_store(&ring->page->head, ring_make_head(ring_position_of(head) + LINE_LENGTH, ring_slot_of(head) + 1, 0));
    return head;
}

static void commit(struct ring *ring, uint64_t head, const char *line)
{
    memcpy(ring->data + ring_position_of(head), line, LINE_LENGTH);
    ring_store(ring_slot_at(ring, ring_slot_of(head)),
               ring_make_slot(ring_position_of(head), LINE_LENGTH, true, SLOT_COMMITTED));
}

static void wait_for_a_stopped_thread(void)
{
    async_begin();
    require(scene_write_lines(&scene, 1, 2), "a line was not taken");
    struct ring *ring = &scene.writer->log->async->own.ring;
    uint64_t head = reserve(ring);
    require(scene_write_lines(&scene, 3, 4), "a line was not taken");
    int64_t before = scene_clock.slept;
    require(empty() == 0 && live_lines() == 4, "what is behind it waits for ever, or it is an error");
    int64_t slept = scene_clock.slept - before;
    require(slept >= INT64_C(1000000000) && slept < INT64_C(1100000000), "not waited for a second");
    require(scene_write_lines(&scene, 5, 6) && empty() == 0 && live_lines() == 6, "a line was not taken");
    require(scene_clock.slept - before == slept, "waited for it twice");
    commit(ring, head, "line 000007 .......\n");
    require(empty() == 0 && live_lines() == 7, "the line was lost");
    leave();
}

static void a_line_that_never_comes_is_waited_for_once_and_the_others_are_written(void **state)
{
    (void)state;
    assert_int_equal(async_run(wait_for_a_stopped_thread), 0);
    assert_true(history_holds(scene.directory, 7, 0));
    assert_int_equal(rings(), 0);
}

static atomic_int wakes;

/* And the thread sleeps until it is woken: it is in no other state because a second has passed. */
static int count_wakes(uint32_t *word, int operation, uint32_t value, const struct timespec *timeout)
{
    wakes += word == &log_async_sleep && operation == FUTEX_WAKE;
    return sys_real.futex(word, operation, value, word == &log_async_sleep ? NULL : timeout);
}

static void await_thread(uint32_t state)
{
    const struct timespec pause = {.tv_nsec = 1000000};
    for (int i = 0; i < 1000 * SECONDS_MOST && __atomic_load_n(&log_async_sleep, __ATOMIC_SEQ_CST) != state; i++) {
        log_async_wake();
        nanosleep(&pause, NULL);
    }
    wakes = 0;
}

static void wake_the_thread(void)
{
    const struct iovec line = {.iov_base = "line 000004 .......\n", .iov_len = LINE_LENGTH};
    async_begin();
    sys.futex = count_wakes;
    require(scene_write_lines(&scene, 1, 1) && empty() == 0, "a line was not taken");
    await_thread(THREAD_SLEEPS);
    require(scene_write_lines(&scene, 2, 2) && wakes == 1 && empty() == 0, "not woken by a line");
    await_thread(THREAD_SLEEPS);
    require(scene_append(scene.writer, "line 000003 .......\nli", HOLD_REST) == LINE_LENGTH + 2, "not taken");
    require(wakes == 1, "not woken by a line with the beginning of another");
    require(scene_append(scene.writer, "", HOLD_NONE) == 0 && empty() == 0, "not emptied");
    scene_append(scene.writer, "ne 000004 .......\n", HOLD_NONE);
    require(empty() == 0 && live_lines() == 4, "not emptied");
    await_thread(THREAD_SLEEPS);
    temporary_must(guard_enter(), "aside");
    require(log_write_aside(scene.writer, &line, 1) == LINE_LENGTH && wakes == 1, "not woken by a handler's line");
    guard_leave();
    await_thread(THREAD_DOZES);
    for (int i = 0; i < 32768 / 4 / LINE_LENGTH - 1; i++) {
        require(scene_write(&scene, 5) == LINE_LENGTH && wakes == 0, "woken by few lines");
    }
    require(scene_write(&scene, 5) == LINE_LENGTH && wakes == 1, "not woken by many");
    leave();
}

static void the_first_line_and_many_wake_the_thread(void **state)
{
    (void)state;
    assert_int_equal(async_run(wake_the_thread), 0);
}

/* Which may have to be written much earlier. */
static void wake_the_thread_for_another_log(void)
{
    async_begin();
    struct scene another = scene;
    sys.futex = count_wakes;
    require(scene_write_lines(&scene, 1, 1), "a line was not taken");
    await_thread(THREAD_DOZES);
    another.path = temporary_path(scene.directory, "another.log");
    scene_attach(&another);
    require(scene_write(&another, 1) == LINE_LENGTH && wakes == 1, "not woken by the first line of another log");
    await_thread(THREAD_DOZES);
    require(scene_write(&another, 2) == LINE_LENGTH && wakes == 0, "woken by the second");
    leave();
}

static void so_does_the_first_line_of_another_log(void **state)
{
    (void)state;
    assert_int_equal(async_run(wake_the_thread_for_another_log), 0);
}

static atomic_bool fails;

static ssize_t failing_writev(int fd, const struct iovec *vector, int count)
{
    return fd == scene.fd && fails ? -ENOSPC : sys_real.writev(fd, vector, count);
}

static bool is_put_off(void)
{
    return scene.writer->log->async->drain_at != 0;
}

static bool many_are_written(void)
{
    return live_lines() > MANY;
}

static atomic_bool is_slow;

/* Of the thread: it goes on when there are many lines, as one that finds none forgets that it put them off. */
static int clock_of_a_slow_thread(clockid_t clock, struct timespec *now)
{
    const struct timespec pause = {.tv_nsec = 1000000};
    while (is_slow && sys_call(SYS_gettid, 0, 0, 0, 0, 0, 0) != sys_call(SYS_getpid, 0, 0, 0, 0, 0, 0)) {
        sys_real.sleep(&pause);
    }
    return scene_read_clock(clock, now);
}

/* The clock stands still: what is put off is so for ever. */
static void leave_while_it_is_put_off(void)
{
    async_begin();
    fails = true;
    sys.clock = clock_of_a_slow_thread;
    sys.writev = failing_writev;
    require(scene_write_lines(&scene, 1, MANY) && holds_at_last(is_put_off), "the thread does not write");
    fails = false;
    temporary_must(guard_enter(), "leave");
    log_async_leave(); /* before an exec that fails: the thread stays */
    guard_leave();
    require(live_lines() == MANY && rings() == 0, "not written at the end");
    is_slow = true;
    require(scene_write_lines(&scene, MANY + 1, 2 * MANY), "a line was not taken");
    is_slow = false;
    require(rings() == 1 && holds_at_last(many_are_written),
            "the new one is put off for the failure of the earlier one");
    leave();
}

static void a_buffer_that_is_made_anew_is_not_put_off(void **state)
{
    (void)state;
    assert_int_equal(async_run(leave_while_it_is_put_off), 0);
    assert_true(history_holds(scene.directory, 2 * MANY, 0));
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, scene_setup, scene_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(lines_whose_descriptor_is_gone_are_written_by_another),
        TEST(so_are_those_of_which_one_descriptor_is_left),
        TEST(no_batch_rotates_in_the_midst_of_a_line_of_the_one_before),
        TEST(a_batch_of_which_nothing_was_written_is_written_later),
        TEST(a_handlers_line_does_not_go_into_a_buffer_that_is_not_there),
        TEST(a_line_that_never_comes_is_waited_for_once_and_the_others_are_written),
        TEST(the_first_line_and_many_wake_the_thread),
        TEST(so_does_the_first_line_of_another_log),
        TEST(a_buffer_that_is_made_anew_is_not_put_off),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
