/*
 * Buffers of dead processes: what is believed of a batch in the midst of which one was killed, wherever it is by now,
 * and what taking over leaves behind.
 */
#include "async_scene.h"

#include "../../shim/core/ring.h"

#include <glob.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <sys/mman.h>
#include <sys/syscall.h>

#include <cmocka.h>

enum { LAST_LINE = 20, MANY_LINES = 400, KILLED = 9 };

static ssize_t die_in_writev(int fd, const struct iovec *vector, int count)
{
    if (fd == scene.fd) {
        syscall(SYS_exit_group, KILLED);
    }
    return sys_real.writev(fd, vector, count);
}

static void be_killed_before_a_batch(void)
{
    async_begin();
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
    assert_int_equal(WEXITSTATUS(async_run(be_killed_before_a_batch)), KILLED);
    assert_int_equal(live_lines(), 5);
    int fd = open(scene.path.text, O_WRONLY | O_APPEND | O_CLOEXEC);
    for (int number = 6; number <= 10; number++) {
        dprintf(fd, "line %06d .......\n", number);
    }
    close(fd);
    assert_int_equal(async_run(take_over), 0);
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
    async_begin();
    sys.writev = die_behind_writev;
    require(scene_write_lines(&scene, 1, LAST_LINE), "a line was not taken");
    empty();
}

static void batch_that_was_written_is_found_as(const char *archive)
{
    assert_int_equal(WEXITSTATUS(async_run(be_killed_behind_a_batch)), KILLED);
    assert_int_equal(live_lines(), LAST_LINE);
    struct temporary_path path = temporary_path(scene.directory, archive);
    assert_int_equal(rename(scene.path.text, path.text), 0);
    close(open(scene.path.text, O_WRONLY | O_CREAT | O_CLOEXEC, 0644));
    assert_int_equal(async_run(take_over), 0);
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

/* As the kernel ends a write of a process that is killed: where a page of the file ends. */
static ssize_t die_within_writev(int fd, const struct iovec *vector, int count)
{
    enum { PAGE = 4096 };
    struct iovec first = vector[0];
    if (fd == scene.fd) {
        first.iov_len = PAGE - (size_t)lseek(fd, 0, SEEK_END) % PAGE;
        sys_real.writev(fd, &first, 1);
        syscall(SYS_exit_group, KILLED);
    }
    return sys_real.writev(fd, vector, count);
}

static int turn[2]; /* a pipe: of the process that is to be killed */

/* In the midst of line 205. */
static void be_killed_within_a_batch_in_turn(void)
{
    char byte;
    async_begin();
    require(scene_write_lines(&scene, 1, 100) && empty() == 0, "a line was not taken");
    require(scene_write_lines(&scene, 101, 205) && scene_write_lines(&scene, 216, MANY_LINES), "a line was not taken");
    sys.writev = die_within_writev;
    temporary_must(read(turn[0], &byte, 1) == 1, "turn");
    empty();
}

/* Attached before the other process died: it has not looked for dead ones since. */
static void see_one_die_within_a_batch(void)
{
    int status = -1;
    pid_t child = fork();
    if (child == 0) {
        be_killed_within_a_batch_in_turn();
    }
    while (live_lines() < 100) {
        sched_yield();
    }
    take_over();
    temporary_must(guard_enter(), "follow");
    log_follow(scene.writer, scene.fd); /* it knows the live file */
    guard_leave();
    temporary_must(write(turn[1], "", 1) == 1 && waitpid(child, &status, 0) == child, "turn");
    require(WEXITSTATUS(status) == KILLED && temporary_length(scene.directory, LOG_NAME) == 4096, "not cut off");
}

static void truncate_what_a_dead_one_cut_off(void)
{
    see_one_die_within_a_batch();
    temporary_must(guard_enter(), "truncate");
    require(log_truncate(scene.writer, scene.fd) == 0 && live_lines() == 0, "not rotated");
    guard_leave();
    require(scene_write_lines(&scene, 206, 215), "a line was not taken");
}

static void write_behind_what_a_dead_one_cut_off(void)
{
    see_one_die_within_a_batch();
    require(scene_write_lines(&scene, 206, 215), "a line was not taken");
}

/* Who takes the buffer over may have it, and wait for the log's lock, which this one has. */
static void write_behind_what_is_being_taken_over(void)
{
    struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_len = 1};
    glob_t found;
    see_one_die_within_a_batch();
    struct temporary_path pattern = temporary_path(scene.directory, ".app.log.*.ring");
    require(glob(pattern.text, 0, NULL, &found) == 0 && found.gl_pathc == 1, "no buffer");
    int fd = open(found.gl_pathv[0], O_RDWR | O_CLOEXEC);
    require(fcntl(fd, F_OFD_SETLK, &lock) == 0, "not locked");
    int64_t before = scene_clock.slept;
    require(scene_write_lines(&scene, 206, 215), "a line was not taken");
    require(scene_clock.slept - before <= 1000000, "waited for it with the log locked");
    close(fd);
    globfree(&found);
}

/* The next writer ends the line that was cut off; the rest of the batch is for who takes the buffer over. */
static void batch_that_was_cut_off_is_mended(void (*by)(void), int live)
{
    assert_int_equal(pipe(turn), 0);
    assert_int_equal(async_run(by), 0);
    assert_int_equal(rings(), 1);
    assert_int_equal(temporary_length(scene.directory, LOG_NAME), live * LINE_LENGTH);
    assert_int_equal(async_run(take_over), 0);
    assert_int_equal(rings(), 0);
    assert_true(history_holds(scene.directory, MANY_LINES, 0));
    close(turn[0]);
    close(turn[1]);
}

static void the_next_writer_ends_the_line_in_which_a_batch_was_cut_off(void **state)
{
    (void)state;
    batch_that_was_cut_off_is_mended(write_behind_what_a_dead_one_cut_off, 215);
}

static void so_does_one_while_the_buffer_is_being_taken_over(void **state)
{
    (void)state;
    batch_that_was_cut_off_is_mended(write_behind_what_is_being_taken_over, 215);
}

/* As many workers do that write the same. */
static void write_what_a_dead_one_would_have_written(void)
{
    see_one_die_within_a_batch();
    require(scene_write_lines(&scene, 216, 225), "a line was not taken");
}

static void what_is_written_behind_a_mended_line_is_not_taken_for_the_rest_of_the_batch(void **state)
{
    (void)state;
    assert_int_equal(pipe(turn), 0);
    assert_int_equal(async_run(write_what_a_dead_one_would_have_written), 0);
    assert_int_equal(async_run(take_over), 0);
    assert_int_equal(temporary_length(scene.directory, LOG_NAME), MANY_LINES * LINE_LENGTH);
    close(turn[0]);
    close(turn[1]);
}

/* Who has not looked since: within a tick of the clock it does not. */
static void so_does_one_who_locks_for_rotations_only(void **state)
{
    (void)state;
    scene.rule.lock = RULE_LOCK_ROTATE;
    batch_that_was_cut_off_is_mended(write_behind_what_a_dead_one_cut_off, 215);
}

static void a_batch_that_was_cut_off_does_not_become_the_end_of_an_archive(void **state)
{
    (void)state;
    batch_that_was_cut_off_is_mended(truncate_what_a_dead_one_cut_off, 10);
}

static ssize_t see_nothing(int dir, void *buffer, size_t size)
{
    (void)dir;
    (void)buffer;
    (void)size;
    return 0;
}

static bool is_locked_for_others(void)
{
    int status = -1;
    pid_t child = fork();
    if (child == 0) {
        struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
        _exit(fcntl(open(scene.path.text, O_RDWR | O_CLOEXEC), F_GETLK, &lock) != 0 || lock.l_type != F_WRLCK);
    }
    return waitpid(child, &status, 0) == child && status == 0;
}

/* The file is opened to be compared, and the kernel drops the process's locks when that is closed. */
static void take_over_with_the_log_locked(void)
{
    struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
    scene.rule.async = false;
    scene_start(&scene);
    sys.getdents64 = see_nothing;
    scene_attach(&scene);
    sys.getdents64 = sys_real.getdents64;
    require(fcntl(scene.fd, F_SETLK, &lock) == 0 && is_locked_for_others(), "not locked");
    temporary_must(guard_enter(), "take over");
    log_async_take_over(scene.writer->log);
    guard_leave();
    require(rings() == 0 && is_locked_for_others(), "the lock is lost");
}

static void locks_of_the_program_are_there_after_taking_over(void **state)
{
    (void)state;
    assert_int_equal(WEXITSTATUS(async_run(be_killed_behind_a_batch)), KILLED);
    assert_int_equal(async_run(take_over_with_the_log_locked), 0);
    assert_true(history_holds(scene.directory, LAST_LINE, 0));
}

static const char *const twelve_lines = "line 000001 .......\nline 000002 .......\nline 000003 .......\n"
                                        "line 000004 .......\nline 000005 .......\nline 000006 .......\n"
                                        "line 000007 .......\nline 000008 .......\nline 000009 .......\n"
                                        "line 000010 .......\nline 000011 .......\nline 000012 .......\n";

static void write_more_than_a_file_may_hold(void)
{
    async_begin();
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
    async_begin();
    sys.writev = die_behind_the_second_piece;
    require(scene_append(scene.writer, twelve_lines, HOLD_NONE) == 12 * LINE_LENGTH, "not taken");
    empty();
}

static void a_record_larger_than_a_file_comes_out_of_the_buffer_once(void **state)
{
    (void)state;
    scene.rule.policy.max_bytes = 5 * LINE_LENGTH;
    assert_int_equal(async_run(write_more_than_a_file_may_hold), 0);
    assert_int_equal(live_lines(), 2);
    assert_true(history_holds(scene.directory, 12, 0));
}

static void so_it_does_when_the_process_was_killed_in_its_midst(void **state)
{
    (void)state;
    scene.rule.policy.max_bytes = 5 * LINE_LENGTH;
    assert_int_equal(WEXITSTATUS(async_run(be_killed_behind_the_second_piece)), KILLED);
    assert_int_equal(live_lines(), 5);
    assert_int_equal(async_run(take_over), 0);
    assert_int_equal(rings(), 0);
    assert_true(history_holds(scene.directory, 12, 0));
}

static void be_killed_before_a_large_record_is_written(void)
{
    async_begin();
    require(scene_append(scene.writer, twelve_lines, HOLD_NONE) == 12 * LINE_LENGTH, "not taken");
    _exit(KILLED);
}

static int notes_left;

static ssize_t die_behind_a_note(int fd, const void *bytes, size_t size, off_t offset)
{
    ssize_t written = sys_real.pwrite(fd, bytes, size, offset);
    if (size >= RING_PAGE && --notes_left == 0) {
        _exit(KILLED);
    }
    return written;
}

static void take_over_and_die_behind_a_note(void)
{
    scene.rule.async = false;
    scene_start(&scene);
    sys.pwrite = die_behind_a_note;
    scene_attach(&scene);
    scene_detach(&scene);
}

static void so_it_does_when_its_taker_is_killed_behind_any_note(void **state)
{
    (void)state;
    int notes = 0;
    int status = KILLED;
    while (status == KILLED) {
        scene.rule.policy.max_bytes = 5 * LINE_LENGTH;
        assert_int_equal(WEXITSTATUS(async_run(be_killed_before_a_large_record_is_written)), KILLED);
        notes_left = ++notes;
        status = WEXITSTATUS(async_run(take_over_and_die_behind_a_note));
        assert_int_equal(async_run(take_over), 0);
        assert_int_equal(rings(), 0);
        assert_true(history_holds(scene.directory, 12, 0));
        temporary_remove(scene.directory);
        scene_make(&scene);
    }
    assert_int_equal(status, 0);
    assert_true(notes > 10);
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
    assert_int_equal(WEXITSTATUS(async_run(be_killed_before_a_batch)), KILLED);
    assert_int_equal(async_run(take_over_without_notes), 0);
    int fd = open(scene.path.text, O_WRONLY | O_APPEND | O_CLOEXEC);
    for (int number = 6; number <= 10; number++) {
        dprintf(fd, "line %06d .......\n", number);
    }
    close(fd);
    assert_int_equal(async_run(take_over), 0);
    assert_true(history_holds(scene.directory, LAST_LINE, 0));
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
        assert_int_equal(async_run(be_killed_with_lines), 0);
    }
    assert_int_equal(rings(), count);
    assert_int_equal(async_run(take_over_and_tell), 0);
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

#define TEST(name) cmocka_unit_test_setup_teardown(name, scene_setup, scene_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(what_others_wrote_in_the_place_of_a_batch_is_not_taken_for_it),
        TEST(a_batch_that_is_in_an_archive_meanwhile_is_not_written_again),
        TEST(so_is_one_in_an_archive_that_has_no_final_name),
        TEST(the_next_writer_ends_the_line_in_which_a_batch_was_cut_off),
        TEST(so_does_one_while_the_buffer_is_being_taken_over),
        TEST(what_is_written_behind_a_mended_line_is_not_taken_for_the_rest_of_the_batch),
        TEST(so_does_one_who_locks_for_rotations_only),
        TEST(a_batch_that_was_cut_off_does_not_become_the_end_of_an_archive),
        TEST(locks_of_the_program_are_there_after_taking_over),
        TEST(a_record_larger_than_a_file_comes_out_of_the_buffer_once),
        TEST(so_it_does_when_the_process_was_killed_in_its_midst),
        TEST(so_it_does_when_its_taker_is_killed_behind_any_note),
        TEST(what_cannot_be_noted_of_a_batch_is_not_written),
        TEST(what_was_taken_over_leaves_no_memory_and_no_descriptor),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
