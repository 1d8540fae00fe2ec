/*
 * async=1: when the thread comes back to what it could not write, and whom it wakes of those who wait for room.
 *
 * Each case runs in a process of its own, by a clock of the test's: nothing is written by time alone.
 */
#include "log_scene.h"

#include "../../shim/core/guard.h"
#include "../../shim/core/log_async_private.h"
#include "../../shim/core/log_private.h"
#include "../../shim/core/ring_private.h"

#include <limits.h>
#include <linux/futex.h>
#include <setjmp.h>
#include <stdarg.h>
#include <sys/syscall.h>

#include <cmocka.h>

enum { FIRST_LINES = 10, SOME_LINES = 20, ALL_LINES = 470, HOUR = 3600, SECOND = 1000000000, MILLISECOND = 1000000 };

static struct scene scene;
static atomic_int rung;  /* so often the thread was woken */
static atomic_int woken; /* so many of those who wait for room, at most, by who made some last */

static int counting_futex(uint32_t *word, int operation, uint32_t value, const struct timespec *timeout)
{
    if (operation == FUTEX_WAKE && word == &log_async_sleep) {
        rung++;
    } else if (operation == FUTEX_WAKE && word == &scene.writer->log->async->turn) {
        woken = (int)value;
    }
    return sys_real.futex(word, operation, value, timeout);
}

static void require(bool holds, const char *what)
{
    if (!holds) {
        char *said = temporary_read(scene.directory, DIAG_NAME);
        fprintf(stderr, "%s; %s\n", what, said == NULL ? "" : said);
        _exit(1);
    }
}

static void run(uint64_t buffer, void (*body)(void))
{
    int status = -1;
    scene_make(&scene);
    scene.rule.async = true;
    scene.rule.async_buffer = buffer;
    scene.rule.async_flush_ns = INT64_C(1000000000) * HOUR;
    pid_t child = fork();
    if (child == 0) {
        scene_start(&scene);
        sys.futex = counting_futex;
        scene_attach(&scene);
        body();
        require(guard_enter(), "guard_enter");
        log_async_leave();
        log_async_stop_thread();
        guard_leave();
        _exit(0);
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
}

static long live_lines(void)
{
    return temporary_length(scene.directory, LOG_NAME) / LINE_LENGTH;
}

static bool first_lines_are_written(void)
{
    return live_lines() == FIRST_LINES;
}

static bool all_lines_are_written(void)
{
    return live_lines() == ALL_LINES;
}

static bool others_are_written(void)
{
    return live_lines() == ALL_LINES - 1;
}

static bool is_put_off(void)
{
    return scene.writer->log->async->drain_at != 0;
}

/* Until that holds; so many times, `step` nanoseconds pass. */
static bool wait_until(bool (*holds)(void), int64_t step, int times)
{
    const struct timespec pause = {.tv_nsec = 2 * MILLISECOND};
    for (int i = 0; i < times && !holds(); i++) {
        scene_clock.monotonic += step;
        nanosleep(&pause, NULL);
    }
    return holds();
}

/* What a thread has reserved that was stopped before it could copy: the head is further, and the slot is empty. */
static uint64_t reserve_line(struct ring *ring)
{
    uint64_t head = ring->page->head;
    ring->page->head = ring_make_head(ring_position_of(head) + LINE_LENGTH, ring_slot_of(head) + 1, 7);
    return head;
}

static void put_reserved(struct ring *ring, uint64_t head, int number)
{
    char line[LINE_LENGTH + 1];
    snprintf(line, sizeof line, "line %06d .......\n", number);
    memcpy(ring->data + ring_position_of(head), line, LINE_LENGTH);
    ring_store(ring_slot_at(ring, ring_slot_of(head)),
               ring_make_slot(ring_position_of(head), LINE_LENGTH, true, SLOT_COMMITTED));
}

/* The lines behind the record are more than a quarter of the buffer, and fewer than it has slots. */
static void wait_for_record(void)
{
    require(scene_write_lines(&scene, 1, FIRST_LINES), "a line was not taken");
    struct ring *ring = &scene.writer->log->async->own.ring;
    uint64_t reserved = reserve_line(ring);
    require(scene_write_lines(&scene, FIRST_LINES + 2, SOME_LINES), "a line was not taken");
    require(wait_until(first_lines_are_written, HOUR * (int64_t)SECOND, 10000), "the thread does not write");
    require(wait_until(is_put_off, 0, 10000), "the thread does not wait for the record");
    rung = 0;
    require(scene_write_lines(&scene, SOME_LINES + 1, ALL_LINES), "a line was not taken");
    require(rung == 0, "the thread was woken in vain");
    put_reserved(ring, reserved, FIRST_LINES + 1);
    bool written = wait_until(all_lines_are_written, MILLISECOND, 100); /* of its clock: it may wait for a processor */
    require(written || wait_until(all_lines_are_written, 0, 10000),
            "the thread does not come back in a tenth of a second");
}

static void the_thread_comes_back_soon_for_a_record_that_was_being_put_in(void **state)
{
    (void)state;
    run(32768, wait_for_record);
    assert_true(history_holds(scene.directory, ALL_LINES, 0));
    temporary_remove(scene.directory);
}

/* Its thread may be stopped, or wait for what it copies, as long as it likes. Nobody asks but the thread. */
static void wait_for_record_that_never_comes(void)
{
    require(scene_write_lines(&scene, 1, FIRST_LINES), "a line was not taken");
    struct ring *ring = &scene.writer->log->async->own.ring;
    uint64_t reserved = reserve_line(ring);
    require(scene_write_lines(&scene, FIRST_LINES + 2, ALL_LINES), "a line was not taken");
    require(wait_until(first_lines_are_written, HOUR * (int64_t)SECOND, 10000), "the thread does not write");
    require(wait_until(is_put_off, 0, 10000), "the thread does not wait for the record");
    require(!wait_until(others_are_written, MILLISECOND, 100), "the thread does not wait for the record for long");
    require(wait_until(others_are_written, 10 * MILLISECOND, 10000), "what is behind it waits for ever");
    put_reserved(ring, reserved, FIRST_LINES + 1);
    require(wait_until(all_lines_are_written, MILLISECOND, 10000), "the record was lost");
}

static void the_thread_waits_a_second_for_a_record_and_then_writes_the_others(void **state)
{
    (void)state;
    run(32768, wait_for_record_that_never_comes);
    temporary_remove(scene.directory);
}

static int write_batch(void)
{
    struct log *log = scene.writer->log;
    require(guard_enter() && log_lock(log) == 0, "the log cannot be locked");
    int error = log_async_drain(log, scene.writer, &log->async->own, DRAIN_BATCH, true);
    log_unlock(log);
    guard_leave();
    return error;
}

static void write_long_lines(int count)
{
    static char line[4000];
    const struct iovec piece = {.iov_base = line, .iov_len = sizeof line};
    memset(line, '.', sizeof line - 1);
    line[sizeof line - 1] = '\n';
    for (int i = 0; i < count; i++) {
        require(guard_enter(), "guard_enter");
        ssize_t taken = log_write(scene.writer, scene.fd, &piece, 1, -1, 0, HOLD_NONE);
        guard_leave();
        require(taken == (ssize_t)sizeof line, "a line was not taken");
    }
}

/* The thread does not write meanwhile: it is put off. */
static void wait_for_room(void)
{
    write_long_lines(1);
    struct log_async *async = scene.writer->log->async;
    async->drain_at = INT64_MAX;
    async->waiting = 3;
    write_long_lines(200);
    require(write_batch() == 0 && ring_used(&async->own.ring) > async->own.ring.quarter * 2, "too little was put in");
    require(woken == 1, "with little room, not one thread was woken");
    while (ring_used(&async->own.ring) > 0) {
        require(write_batch() == 0, "a batch was not written");
    }
    require(woken == INT_MAX, "with much room, not all were woken");
    async->waiting = 0;
}

static void one_thread_is_woken_for_little_room_and_all_for_much(void **state)
{
    (void)state;
    run(1 << 20, wait_for_room);
    temporary_remove(scene.directory);
}

static ssize_t put_line(const char *text)
{
    const struct iovec piece = {.iov_base = (void *)(uintptr_t)text, .iov_len = strlen(text)};
    return log_async_put_line(scene.writer, scene.fd, &piece);
}

static ssize_t put(int fd, const char *text)
{
    const struct iovec piece = {.iov_base = (void *)(uintptr_t)text, .iov_len = strlen(text)};
    return log_async_put(scene.writer->log, scene.writer, fd, &piece, 1, HOLD_REST);
}

static void put_what_is_no_whole_line(void)
{
    static const char wanted[] = "line 000001 .......\nwhole\nrest of another\nonce more\n";
    require(scene_write(&scene, 1) == LINE_LENGTH, "a line was not taken");
    require(guard_enter(), "guard_enter");
    require(put_line("whole\n") == 6 && put_line("unfinished") == -EAGAIN, "put_line takes a piece of a line");
    require(put(scene.fd, "two\nlines") == -EAGAIN && put(-1, "other\n") == -EAGAIN, "put takes what it should not");
    guard_leave();
    require(scene_append(scene.writer, "rest of", HOLD_UNFINISHED) == 7, "not held");
    require(guard_enter(), "guard_enter");
    require(put_line("other\n") == -EAGAIN && put(scene.fd, "other\n") == -EAGAIN, "a line overtakes what is held");
    guard_leave();
    require(scene_append(scene.writer, " another\n", HOLD_REST) == 9, "not taken");
    require(scene_append(scene.writer, "once more\n", HOLD_REST) == 10, "not taken");
    require(guard_enter() && log_empty(scene.writer, scene.fd) == 0, "not emptied");
    guard_leave();
    require(strcmp(temporary_read(scene.directory, LOG_NAME), wanted) == 0, "not in order");
}

static void nothing_overtakes_the_beginning_of_a_line(void **state)
{
    (void)state;
    run(32768, put_what_is_no_whole_line);
    temporary_remove(scene.directory);
}

/* Behind several batches. */
static void write_at_once(void)
{
    const struct iovec line = {.iov_base = "line 000003 .......\n", .iov_len = LINE_LENGTH};
    write_long_lines(1);
    scene.writer->log->async->drain_at = INT64_MAX;
    write_long_lines(100);
    require(ring_used(&scene.writer->log->async->own.ring) > 2 * RING_BATCH, "too little is in the buffer");
    require(guard_enter(), "guard_enter");
    ssize_t taken = log_write(scene.writer, scene.fd, &line, 1, -1, RWF_DSYNC, HOLD_NONE);
    guard_leave();
    require(taken == LINE_LENGTH, "not taken");
    long length = temporary_length(scene.directory, LOG_NAME);
    require(length == 101 * 4000 + LINE_LENGTH, "it is not written, or before what came before");
}

static void a_write_that_synchronises_is_in_the_file_behind_all_before(void **state)
{
    (void)state;
    run(1 << 20, write_at_once);
    temporary_remove(scene.directory);
}

static int waits;

/* Who waits for room, or for a thread that has the mutex for ever: a second passes each time. */
static int futex_in_vain(uint32_t *word, int operation, uint32_t value, const struct timespec *timeout)
{
    if (word == &log_async_sleep || operation == FUTEX_WAKE) {
        return sys_real.futex(word, operation, value, timeout);
    }
    require(++waits < 1000, "it is waited for ever");
    scene_clock.monotonic += SECOND;
    return -ETIMEDOUT;
}

static void fill_up(int flags)
{
    static const char line[] = "line 000002 .......\n";
    const struct iovec piece = {.iov_base = (void *)(uintptr_t)line, .iov_len = LINE_LENGTH};
    struct ring *ring = &scene.writer->log->async->own.ring;
    while (ring_put(ring, &piece, 1, LINE_LENGTH, RING_WHOLE | flags, 1, &guard_thread.puts) >= 0) {
    }
}

/* As far as no handler needs it; the thread does not write. */
static struct log *fill(void)
{
    require(scene_write_lines(&scene, 1, 1), "a line was not taken");
    scene.writer->log->async->drain_at = INT64_MAX;
    fill_up(0);
    sys.futex = futex_in_vain;
    return scene.writer->log;
}

static ssize_t write_aside(void)
{
    const struct iovec line = {.iov_base = "line 000003 .......\n", .iov_len = LINE_LENGTH};
    return log_write_aside(scene.writer, &line, 1);
}

/* And where that is full, too, it does not wait for what it has interrupted. */
static void write_from_a_handler(void)
{
    struct ring_put interrupted = {.ring = NULL};
    struct log *log = fill();
    require(guard_enter(), "guard_enter");
    require(write_aside() == LINE_LENGTH && waits == 0 && live_lines() == 0, "there is no room for a handler");
    fill_up(RING_RESERVE);
    guard_thread.puts = &interrupted;
    write_aside();
    require(waits == 0, "a handler waits for what it has interrupted");
    guard_thread.puts = NULL;
    require(log_lock(log) == 0, "the log cannot be locked");
    write_aside();
    require(waits == 0, "a handler waits for its own thread");
    log_unlock(log);
    write_aside();
    require(waits > 0, "a handler does not wait for another thread");
    guard_leave();
    log->async->drain_at = 0;
}

static void a_full_buffer_has_room_for_handlers(void **state)
{
    (void)state;
    run(32768, write_from_a_handler);
    temporary_remove(scene.directory);
}

static void write_beside_a_stuck_thread(void)
{
    struct log *log = fill();
    log->mutex = 1;
    require(scene_write(&scene, 3) == LINE_LENGTH, "a line was not taken");
    require(waits >= 5, "it was not waited for room");
    log->mutex = 0;
    log->async->drain_at = 0;
}

static void nobody_waits_for_room_for_ever(void **state)
{
    (void)state;
    run(32768, write_beside_a_stuck_thread);
    temporary_remove(scene.directory);
}

static atomic_int arms, slept_over;
static int looks;

static bool is_the_thread(void)
{
    return syscall(SYS_gettid) != getpid();
}

/* A line comes when the thread has looked at the first of two logs, and looks at the second: it is awake, and nobody
 * rings. It begins to look with the third reading of the clock after it was woken. */
static int clock_of_looks(clockid_t clock, struct timespec *now)
{
    static const char line[] = "line 000002 .......\n";
    const struct iovec piece = {.iov_base = (void *)(uintptr_t)line, .iov_len = LINE_LENGTH};
    if (is_the_thread()) {
        looks = __atomic_load_n(&log_async_sleep, __ATOMIC_SEQ_CST) == THREAD_AWAKE ? looks + 1 : 0;
        if (arms == 1 && looks == 3) {
            ring_put(&scene.writer->log->async->own.ring, &piece, 1, LINE_LENGTH, RING_WHOLE, 1, &guard_thread.puts);
            arms = 2;
        }
    }
    return scene_read_clock(clock, now);
}

static int futex_of_sleeps(uint32_t *word, int operation, uint32_t value, const struct timespec *timeout)
{
    if (word == &log_async_sleep && operation == FUTEX_WAIT && value == THREAD_SLEEPS && arms == 2) {
        slept_over = 1;
    }
    return sys_real.futex(word, operation, value, timeout);
}

static bool has_dozed(void)
{
    return arms == 2 && (slept_over || __atomic_load_n(&log_async_sleep, __ATOMIC_SEQ_CST) == THREAD_DOZES);
}

static bool is_asleep(void)
{
    return __atomic_load_n(&log_async_sleep, __ATOMIC_SEQ_CST) == THREAD_SLEEPS;
}

static void put_while_the_thread_looks(void)
{
    struct scene another = scene;
    another.path = temporary_path(scene.directory, "another.log");
    scene_attach(&another);
    require(scene_write(&scene, 1) == LINE_LENGTH && scene_write(&another, 1) == LINE_LENGTH, "a line was not taken");
    require(guard_enter() && log_empty(scene.writer, scene.fd) == 0 && log_empty(another.writer, another.fd) == 0,
            "not emptied");
    guard_leave();
    sys.clock = clock_of_looks;
    sys.futex = futex_of_sleeps;
    log_async_wake();
    require(wait_until(is_asleep, 0, 10000), "the thread does not sleep");
    arms = 1;
    while (arms == 1) {
        log_async_wake();
    }
    require(wait_until(has_dozed, 0, 10000) && !slept_over, "the thread has overlooked a line and sleeps");
}

static void what_comes_between_a_look_and_sleep_is_seen(void **state)
{
    (void)state;
    run(32768, put_while_the_thread_looks);
    temporary_remove(scene.directory);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_thread_comes_back_soon_for_a_record_that_was_being_put_in),
        cmocka_unit_test(the_thread_waits_a_second_for_a_record_and_then_writes_the_others),
        cmocka_unit_test(one_thread_is_woken_for_little_room_and_all_for_much),
        cmocka_unit_test(nothing_overtakes_the_beginning_of_a_line),
        cmocka_unit_test(a_write_that_synchronises_is_in_the_file_behind_all_before),
        cmocka_unit_test(a_full_buffer_has_room_for_handlers),
        cmocka_unit_test(nobody_waits_for_room_for_ever),
        cmocka_unit_test(what_comes_between_a_look_and_sleep_is_seen),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
