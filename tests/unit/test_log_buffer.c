/*
 * The buffer of a log with async=1, its thread, and what others take over of a dead process: who waits for whom, what
 * is believed of a batch that was cut off, and what is left behind by looking.
 */
#include "async_scene.h"

#include "../../shim/core/log_async_private.h"
#include "../../shim/core/log_private.h"
#include "../../shim/core/ring_private.h"

#include <linux/futex.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <sys/mman.h>
#include <sys/syscall.h>

#include <cmocka.h>

enum { LAST_LINE = 20, KILLED = 9, SECONDS_MOST = 60 };

static int setup(void **state)
{
    (void)state;
    scene_make(&scene);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    temporary_remove(scene.directory);
    return 0;
}

/* In a process of its own; its exit status. One that hangs is killed: it may have all signals blocked. */
static int run(void (*body)(void))
{
    const struct timespec pause = {.tv_nsec = 1000000};
    int status = -1;
    pid_t child = fork();
    if (child == 0) {
        body();
        _exit(0);
    }
    for (int i = 0; i < 1000 * SECONDS_MOST && waitpid(child, &status, WNOHANG) == 0; i++) {
        nanosleep(&pause, NULL);
    }
    if (status == -1) {
        kill(child, SIGKILL);
        waitpid(child, &status, 0);
    }
    return status;
}

static void begin(void)
{
    async_start();
    scene_attach(&scene);
}

static ssize_t die_in_writev(int fd, const struct iovec *vector, int count)
{
    if (fd == scene.fd) {
        syscall(SYS_exit_group, KILLED);
    }
    return sys_real.writev(fd, vector, count);
}

static void be_killed_before_a_batch(void)
{
    begin();
    require(scene_write_lines(&scene, 1, 5) && empty() == 0, "a line was not taken");
    require(scene_write_lines(&scene, 11, LAST_LINE), "a line was not taken");
    sys.writev = die_in_writev;
    empty();
}

static void take_over(void)
{
    scene.rule.async = false;
    scene_start(&scene);
    scene_attach(&scene);
}

/* Another process was in time to write at its place; where lines begin alike, some bytes of the batch are there. */
static void what_others_wrote_in_the_place_of_a_batch_is_not_taken_for_it(void **state)
{
    (void)state;
    assert_int_equal(WEXITSTATUS(run(be_killed_before_a_batch)), KILLED);
    assert_int_equal(live_lines(), 5);
    int fd = open(scene.path.text, O_WRONLY | O_APPEND | O_CLOEXEC);
    for (int number = 6; number <= 10; number++) {
        dprintf(fd, "line %06d .......\n", number);
    }
    close(fd);
    assert_int_equal(run(take_over), 0);
    assert_int_equal(rings(), 0);
    assert_true(history_holds(scene.directory, LAST_LINE, 0));
}

static ssize_t die_behind_writev(int fd, const struct iovec *vector, int count)
{
    ssize_t written = sys_real.writev(fd, vector, count);
    if (fd == scene.fd) {
        syscall(SYS_exit_group, KILLED);
    }
    return written;
}

static void be_killed_behind_a_batch(void)
{
    begin();
    sys.writev = die_behind_writev;
    require(scene_write_lines(&scene, 1, LAST_LINE), "a line was not taken");
    empty();
}

static void batch_that_was_written_is_found_as(const char *archive)
{
    assert_int_equal(WEXITSTATUS(run(be_killed_behind_a_batch)), KILLED);
    assert_int_equal(live_lines(), LAST_LINE);
    struct temporary_path path = temporary_path(scene.directory, archive);
    assert_int_equal(rename(scene.path.text, path.text), 0);
    close(open(scene.path.text, O_WRONLY | O_CREAT | O_CLOEXEC, 0644));
    assert_int_equal(run(take_over), 0);
    assert_int_equal(rings(), 0);
    assert_true(history_holds(scene.directory, LAST_LINE, 0));
}

static void a_batch_that_is_in_an_archive_meanwhile_is_not_written_again(void **state)
{
    (void)state;
    batch_that_was_written_is_found_as(LOG_NAME ".3");
}

static void so_is_one_in_an_archive_that_has_no_final_name(void **state)
{
    char name[NAME_SIZE];
    (void)state;
    assert_int_equal(name_pending(LOG_NAME, 0, scene_clock.real, name), 0);
    batch_that_was_written_is_found_as(name);
}

static const char *const twelve_lines = "line 000001 .......\nline 000002 .......\nline 000003 .......\n"
                                        "line 000004 .......\nline 000005 .......\nline 000006 .......\n"
                                        "line 000007 .......\nline 000008 .......\nline 000009 .......\n"
                                        "line 000010 .......\nline 000011 .......\nline 000012 .......\n";

static void write_more_than_a_file_may_hold(void)
{
    begin();
    require(scene_append(scene.writer, twelve_lines, HOLD_NONE) == 12 * LINE_LENGTH, "not taken");
    require(live_lines() == 0 && empty() == 0, "not emptied");
    leave();
}

static int pieces;

static ssize_t die_behind_the_second_piece(int fd, const struct iovec *vector, int count)
{
    return fd != scene.fd || ++pieces < 2 ? sys_real.writev(fd, vector, count) : die_behind_writev(fd, vector, count);
}

static void be_killed_behind_the_second_piece(void)
{
    begin();
    sys.writev = die_behind_the_second_piece;
    require(scene_append(scene.writer, twelve_lines, HOLD_NONE) == 12 * LINE_LENGTH, "not taken");
    empty();
}

static void a_record_larger_than_a_file_comes_out_of_the_buffer_once(void **state)
{
    (void)state;
    scene.rule.policy.max_bytes = 5 * LINE_LENGTH;
    assert_int_equal(run(write_more_than_a_file_may_hold), 0);
    assert_int_equal(live_lines(), 2);
    assert_true(history_holds(scene.directory, 12, 0));
}

static void so_it_does_when_the_process_was_killed_in_its_midst(void **state)
{
    (void)state;
    scene.rule.policy.max_bytes = 5 * LINE_LENGTH;
    assert_int_equal(WEXITSTATUS(run(be_killed_behind_the_second_piece)), KILLED);
    assert_int_equal(live_lines(), 5);
    assert_int_equal(run(take_over), 0);
    assert_int_equal(rings(), 0);
    assert_true(history_holds(scene.directory, 12, 0));
}

static ssize_t write_no_header(int fd, const void *bytes, size_t size, off_t offset)
{
    return size == RING_PAGE ? -ENOSPC : sys_real.pwrite(fd, bytes, size, offset);
}

static void take_over_without_notes(void)
{
    scene.rule.async = false;
    scene_start(&scene);
    sys.pwrite = write_no_header;
    scene_attach(&scene);
    require(rings() == 1 && live_lines() == 5, "written, and if it was killed then it would be written again");
}

static void what_cannot_be_noted_of_a_batch_is_not_written(void **state)
{
    (void)state;
    assert_int_equal(WEXITSTATUS(run(be_killed_before_a_batch)), KILLED);
    assert_int_equal(run(take_over_without_notes), 0);
    int fd = open(scene.path.text, O_WRONLY | O_APPEND | O_CLOEXEC);
    for (int number = 6; number <= 10; number++) {
        dprintf(fd, "line %06d .......\n", number);
    }
    close(fd);
    assert_int_equal(run(take_over), 0);
    assert_true(history_holds(scene.directory, LAST_LINE, 0));
}

/* A look for buffers of the dead came between making and locking it. */
static int removals;

static int lock_too_late(int fd, int command, long argument)
{
    if (command == F_OFD_SETLK && ((struct flock *)argument)->l_type == F_WRLCK && removals < 2) {
        char path[64];
        char name[PATH_MAX] = "";
        snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
        removals += readlink(path, name, sizeof name - 1) > 0 && unlink(name) == 0;
    }
    return sys_real.fcntl(fd, command, argument);
}

static void lose_the_buffer(void)
{
    async_start();
    sys.fcntl = lock_too_late;
    scene_attach(&scene);
    require(scene_write_lines(&scene, 1, LAST_LINE), "a line was not taken");
    require(removals == 2 && rings() == 1 && live_lines() == 0, "a buffer that nobody can find");
    leave();
}

static void a_buffer_that_was_removed_before_it_was_locked_is_made_anew(void **state)
{
    (void)state;
    assert_int_equal(run(lose_the_buffer), 0);
    assert_true(history_holds(scene.directory, LAST_LINE, 0));
}

/* Behind the library's back, the number is another file's. */
static void lose_the_descriptor(void)
{
    begin();
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
    assert_int_equal(run(lose_the_descriptor), 0);
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
    begin();
    require(!takes_aside() || live_lines() == 1, "lost before there was a buffer");
    require(scene_write_lines(&scene, 2, 2) && empty() == 0, "a line was not taken");
    long lines = live_lines();
    leave();
    require(!takes_aside() || live_lines() == lines + 1, "lost after the buffer was removed");
}

static void a_handlers_line_does_not_go_into_a_buffer_that_is_not_there(void **state)
{
    (void)state;
    assert_int_equal(run(interrupt_without_a_buffer), 0);
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
    begin();
    require(scene_write_lines(&scene, 1, 2), "a line was not taken");
    struct ring *ring = &scene.writer->log->async->own.ring;
    uint64_t head = reserve(ring);
    require(scene_write_lines(&scene, 3, 4), "a line was not taken");
    int64_t before = scene_clock.slept;
    require(empty() == -EBUSY && live_lines() == 4, "what is behind it waits for ever");
    int64_t slept = scene_clock.slept - before;
    require(slept >= INT64_C(1000000000) && slept < INT64_C(1100000000), "not waited for a second");
    require(scene_write_lines(&scene, 5, 6) && empty() == -EBUSY && live_lines() == 6, "a line was not taken");
    require(scene_clock.slept - before == slept, "waited for it twice");
    commit(ring, head, "line 000007 .......\n");
    require(empty() == 0 && live_lines() == 7, "the line was lost");
    leave();
}

static void a_line_that_never_comes_is_waited_for_once_and_the_others_are_written(void **state)
{
    (void)state;
    assert_int_equal(run(wait_for_a_stopped_thread), 0);
    assert_true(history_holds(scene.directory, 7, 0));
    assert_int_equal(rings(), 0);
}

static atomic_int wakes;

static int count_wakes(uint32_t *word, int operation, uint32_t value, const struct timespec *timeout)
{
    wakes += word == &log_async_sleep && operation == FUTEX_WAKE;
    return sys_real.futex(word, operation, value, timeout);
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
    begin();
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
    assert_int_equal(run(wake_the_thread), 0);
}

static ssize_t see_nothing(int dir, void *buffer, size_t size)
{
    (void)dir;
    (void)buffer;
    (void)size;
    return 0;
}

/* Without a look at what others left. */
static void be_killed_with_lines(void)
{
    async_start();
    sys.getdents64 = see_nothing;
    scene_attach(&scene);
    require(scene_write_lines(&scene, 1, LAST_LINE), "a line was not taken");
    syscall(SYS_exit_group, 0);
}

static struct usage {
    long pages;
    int descriptors;
} * usage;

static void take_over_and_tell(void)
{
    take_over();
    FILE *file = fopen("/proc/self/statm", "r");
    temporary_must(file != NULL && fscanf(file, "%ld", &usage->pages) == 1, "statm");
    fclose(file);
    for (int fd = usage->descriptors = 0; fd < 1024; fd++) {
        usage->descriptors += fcntl(fd, F_GETFD) >= 0;
    }
}

static struct usage usage_after_taking_over(int count)
{
    for (int i = 0; i < count; i++) {
        assert_int_equal(run(be_killed_with_lines), 0);
    }
    assert_int_equal(rings(), count);
    assert_int_equal(run(take_over_and_tell), 0);
    assert_int_equal(rings(), 0);
    return *usage;
}

static void what_was_taken_over_leaves_no_memory_and_no_descriptor(void **state)
{
    (void)state;
    usage = mmap(NULL, sizeof *usage, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    assert_ptr_not_equal(usage, MAP_FAILED);
    struct usage none = usage_after_taking_over(0);
    struct usage one = usage_after_taking_over(1);
    struct usage many = usage_after_taking_over(8);
    assert_int_equal(one.descriptors, none.descriptors);
    assert_int_equal(many.descriptors, none.descriptors);
    assert_int_equal(many.pages, one.pages);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(what_others_wrote_in_the_place_of_a_batch_is_not_taken_for_it),
        TEST(a_batch_that_is_in_an_archive_meanwhile_is_not_written_again),
        TEST(so_is_one_in_an_archive_that_has_no_final_name),
        TEST(a_record_larger_than_a_file_comes_out_of_the_buffer_once),
        TEST(so_it_does_when_the_process_was_killed_in_its_midst),
        TEST(what_cannot_be_noted_of_a_batch_is_not_written),
        TEST(a_buffer_that_was_removed_before_it_was_locked_is_made_anew),
        TEST(lines_whose_descriptor_is_gone_are_written_by_another),
        TEST(a_handlers_line_does_not_go_into_a_buffer_that_is_not_there),
        TEST(a_line_that_never_comes_is_waited_for_once_and_the_others_are_written),
        TEST(the_first_line_and_many_wake_the_thread),
        TEST(what_was_taken_over_leaves_no_memory_and_no_descriptor),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
