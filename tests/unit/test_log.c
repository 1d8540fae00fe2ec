/* One log written to by one process: size rotation, splitting, held lines, descriptors and what befalls the files. */
#include "log_test.h"

#include "../../shim/core/own.h"

#include <limits.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>

#include <cmocka.h>

static void append(const char *text)
{
    assert_int_equal(scene_append(scene.writer, text, HOLD_NONE), strlen(text));
}

static void assert_file(const char *name, const char *expected)
{
    if (strcmp(name, LOG_NAME) != 0) {
        scene_settle(&scene);
    }
    char *text = temporary_read(scene.directory, name);
    assert_non_null(text);
    assert_string_equal(text, expected);
    free(text);
}

static void lines_append_to_what_is_there(void **state)
{
    (void)state;
    temporary_write(scene.directory, LOG_NAME, "before\n");
    scene_begin(0);
    append("one\n");
    append("two\n");
    assert_file(LOG_NAME, "before\none\ntwo\n");
    assert_true(temporary_exists(scene.directory, LOCK_NAME));
    assert_false(temporary_exists(scene.directory, DIAG_NAME));
}

static void size_is_never_exceeded_and_always_used(void **state)
{
    (void)state;
    scene_begin(3 * LINE_LENGTH);
    assert_true(scene_write_lines(&scene, 1, 3));
    assert_false(temporary_exists(scene.directory, "app.log.1"));
    assert_true(scene_write_lines(&scene, 4, 20));
    scene_settle(&scene);
    assert_true(history_holds(scene.directory, 20, 0));
    for (int i = 1; i <= 6; i++) {
        char name[16];
        snprintf(name, sizeof name, "app.log.%d", i);
        assert_int_equal(temporary_length(scene.directory, name), 3 * LINE_LENGTH);
    }
    assert_false(temporary_exists(scene.directory, "app.log.7"));
    assert_true(history_is_settled(scene.directory));
}

static void line_larger_than_the_size_is_whole_in_a_file_of_its_own(void **state)
{
    (void)state;
    scene_begin(10);
    append("a line longer than ten bytes\n");
    assert_false(temporary_exists(scene.directory, "app.log.1"));
    append("b\n");
    append("another long line without end");
    append("...\n");
    append("c\n");
    assert_file("app.log.3", "a line longer than ten bytes\n");
    assert_file("app.log.2", "b\n");
    assert_file("app.log.1", "another long line without end...\n");
    assert_file(LOG_NAME, "c\n");
}

static void record_larger_than_the_size_is_split_between_lines(void **state)
{
    (void)state;
    scene_begin(10);
    append("x\n");
    append("1234\n1234\n1234\nlonger than ten\n12\n34\n56\n78\n");
    assert_file("app.log.4", "x\n1234\n");
    assert_file("app.log.3", "1234\n1234\n");
    assert_file("app.log.2", "longer than ten\n");
    assert_file("app.log.1", "12\n34\n56\n");
    assert_file(LOG_NAME, "78\n");
}

static void rotation_waits_for_the_end_of_a_line(void **state)
{
    (void)state;
    scene_begin(10);
    append("1234\n");
    append("123"); /* without a newline */
    append("456789\n");
    append("next\n");
    assert_file("app.log.1", "1234\n123456789\n");
    assert_file(LOG_NAME, "next\n");
}

static void rotation_waits_for_no_more_than_64_kilobytes(void **state)
{
    static char piece[8192 + 1];
    (void)state;
    memset(piece, 'x', sizeof piece - 1);
    scene_begin(10);
    for (int i = 0; i < 2 * LOG_HOLD_MAX / 8192; i++) {
        append(piece);
    }
    scene_settle(&scene);
    assert_true(temporary_exists(scene.directory, "app.log.1"));
    assert_in_range(temporary_length(scene.directory, LOG_NAME), 1, LOG_HOLD_MAX + 8192);
}

static void record_of_many_pieces_is_written_whole(void **state)
{
    enum { PIECES = 3000 };
    static struct iovec vector[PIECES];
    (void)state;
    scene_begin(0);
    for (int i = 0; i < PIECES; i++) {
        vector[i] = (struct iovec){.iov_base = (void *)(uintptr_t) "ab\n", .iov_len = 3};
    }
    assert_true(guard_enter());
    ssize_t written = log_write(scene.writer, scene.fd, vector, IOV_MAX, -1, 0, HOLD_NONE);
    guard_leave();
    assert_int_equal(written, 3 * IOV_MAX);
    assert_int_equal(temporary_length(scene.directory, LOG_NAME), 3 * IOV_MAX);
}

static void rest_of_a_line_follows_before_anything_else(void **state)
{
    (void)state;
    scene_begin(0);
    assert_int_equal(scene_append(scene.writer, "one\ntw", HOLD_REST), 6);
    assert_file(LOG_NAME, "one\n");
    assert_int_equal(scene_append(scene.writer, "o\nthree", HOLD_REST), 7);
    assert_file(LOG_NAME, "one\ntwo\n");
    append("\n");
    assert_file(LOG_NAME, "one\ntwo\nthree\n");
}

static void write_without_a_newline_goes_through_unless_lines_are_strict(void **state)
{
    (void)state;
    scene_begin(0);
    assert_int_equal(scene_append(scene.writer, "ab", HOLD_REST), 2);
    assert_file(LOG_NAME, "ab");
    assert_int_equal(scene_append(scene.writer, "cd", HOLD_UNFINISHED), 2);
    assert_file(LOG_NAME, "ab");
    assert_int_equal(scene_append(scene.writer, "e\nf", HOLD_UNFINISHED), 3);
    assert_file(LOG_NAME, "abcde\n");
}

static void held_rest_goes_out_when_it_is_released(void **state)
{
    (void)state;
    scene_begin(0);
    assert_int_equal(scene_append(scene.writer, "one\ntw", HOLD_REST), 6);
    assert_true(guard_enter());
    assert_int_equal(log_release(scene.writer, scene.fd), 0);
    assert_int_equal(log_release(scene.writer, scene.fd), 0);
    guard_leave();
    assert_file(LOG_NAME, "one\ntw");
}

static void no_more_than_64_kilobytes_are_held(void **state)
{
    static char piece[LOG_HOLD_MAX + 1];
    (void)state;
    memset(piece, 'x', sizeof piece - 1);
    scene_begin(0);
    assert_int_equal(scene_append(scene.writer, piece, HOLD_UNFINISHED), LOG_HOLD_MAX);
    assert_int_equal(temporary_length(scene.directory, LOG_NAME), 0);
    assert_int_equal(scene_append(scene.writer, "y", HOLD_UNFINISHED), 1);
    assert_int_equal(temporary_length(scene.directory, LOG_NAME), LOG_HOLD_MAX + 1);
}

static void held_rest_is_rescued_when_the_number_is_another_file(void **state)
{
    (void)state;
    scene_begin(0);
    temporary_write(scene.directory, "other", "");
    struct temporary_path other = temporary_path(scene.directory, "other");
    assert_int_equal(scene_append(scene.writer, "one\ntwo", HOLD_REST), 7);
    int fd = open(other.text, O_WRONLY | O_APPEND | O_CLOEXEC);
    assert_int_equal(dup2(fd, scene.fd), scene.fd);
    close(fd);
    assert_true(guard_enter());
    assert_int_equal(log_rescue(scene.writer), 0);
    guard_leave();
    assert_file(LOG_NAME, "one\ntwo");
    assert_file("other", "");
}

static void number_that_is_another_file_is_told_within_a_second(void **state)
{
    (void)state;
    scene_begin(5);
    append("one\n");
    temporary_write(scene.directory, "other", "as it was");
    struct temporary_path other = temporary_path(scene.directory, "other");
    int fd = open(other.text, O_WRONLY | O_APPEND | O_CLOEXEC);
    assert_int_equal(dup2(fd, scene.fd), scene.fd);
    close(fd);
    scene_pass(1);
    assert_int_equal(scene_append(scene.writer, "two\n", HOLD_NONE), -ESTALE);
    assert_file("other", "as it was");
    assert_file(LOG_NAME, "one\n");
}

static void number_that_is_a_pipe_is_told_at_once(void **state)
{
    int ends[2];
    (void)state;
    scene_begin(5);
    append("one\n");
    assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
    assert_int_equal(dup2(ends[1], scene.fd), scene.fd);
    assert_int_equal(scene_append(scene.writer, "two\n", HOLD_NONE), -ESTALE);
    close(ends[0]);
    close(ends[1]);
}

static void all_descriptors_follow_and_keep_their_flags(void **state)
{
    (void)state;
    scene_begin(2 * LINE_LENGTH);
    int duplicate = dup(scene.fd); /* without close-on-exec */
    int reader = open(scene.path.text, O_RDWR | O_APPEND | O_NONBLOCK | O_CLOEXEC);
    struct writer *second = scene_attach_descriptor(&scene, duplicate);
    struct writer *third = scene_attach_descriptor(&scene, reader);
    assert_true(scene_write_lines(&scene, 1, 3));
    struct stat live;
    assert_int_equal(stat(scene.path.text, &live), 0);
    const int numbers[] = {scene.fd, duplicate, reader};
    for (size_t i = 0; i < 3; i++) {
        struct stat mine;
        assert_int_equal(fstat(numbers[i], &mine), 0);
        assert_int_equal(mine.st_ino, live.st_ino);
    }
    assert_true(fcntl(scene.fd, F_GETFD) & FD_CLOEXEC);
    assert_false(fcntl(duplicate, F_GETFD) & FD_CLOEXEC);
    assert_int_equal(fcntl(duplicate, F_GETFL) & (O_ACCMODE | O_APPEND | O_NONBLOCK), O_WRONLY | O_APPEND);
    assert_int_equal(fcntl(reader, F_GETFL) & (O_ACCMODE | O_APPEND | O_NONBLOCK), O_RDWR | O_APPEND | O_NONBLOCK);
    assert_int_equal(scene_append(second, "line 000004 .......\n", HOLD_NONE), LINE_LENGTH);
    assert_int_equal(scene_append(third, "line 000005 .......\n", HOLD_NONE), LINE_LENGTH);
    assert_true(history_holds(scene.directory, 5, 0));
    assert_true(guard_enter());
    log_detach(second);
    log_detach(third);
    guard_leave();
    close(duplicate);
    close(reader);
}

static void offset_of_a_reading_descriptor_stays_when_asked(void **state)
{
    const struct iovec vector = {.iov_base = (void *)(uintptr_t) "xyz\n", .iov_len = 4};
    (void)state;
    scene_begin(0);
    append("abc\n");
    int reader = open(scene.path.text, O_RDWR | O_APPEND | O_CLOEXEC);
    struct writer *writer = scene_attach_descriptor(&scene, reader);
    assert_int_equal(lseek(reader, 2, SEEK_SET), 2);
    assert_true(guard_enter());
    assert_int_equal(log_write(writer, reader, &vector, 1, 0, 0, HOLD_NONE), 4);
    assert_int_equal(lseek(reader, 0, SEEK_CUR), 2);
    log_detach(writer);
    guard_leave();
    close(reader);
    assert_file(LOG_NAME, "abc\nxyz\n");
}

static void new_file_has_the_permissions_of_the_one_before(void **state)
{
    struct stat status;
    (void)state;
    scene_begin(LINE_LENGTH);
    assert_int_equal(fchmod(scene.fd, 06751), 0);
    assert_true(scene_write_lines(&scene, 1, 2));
    assert_int_equal(stat(scene.path.text, &status), 0);
    assert_int_equal(status.st_mode & 07777, 0751);
    scene.rule.mode = 0604;
    assert_true(scene_write_lines(&scene, 3, 3));
    assert_int_equal(stat(scene.path.text, &status), 0);
    assert_int_equal(status.st_mode & 07777, 0604);
}

static void only_so_many_archives_are_kept(void **state)
{
    (void)state;
    scene.rule.policy.backups = 2;
    scene_begin(LINE_LENGTH);
    assert_true(scene_write_lines(&scene, 1, 9));
    scene_settle(&scene);
    assert_file("app.log.2", "line 000007 .......\n");
    assert_file("app.log.1", "line 000008 .......\n");
    assert_file(LOG_NAME, "line 000009 .......\n");
    assert_false(temporary_exists(scene.directory, "app.log.3"));
    assert_true(history_is_settled(scene.directory));
}

static int truncate_as(enum rule_truncate how)
{
    scene.rule.truncate = how;
    scene_begin(0);
    append("one\n");
    assert_true(guard_enter());
    int result = log_truncate(scene.writer, scene.fd);
    guard_leave();
    append("two\n");
    scene_settle(&scene);
    return result;
}

static void truncation_rotates(void **state)
{
    (void)state;
    assert_int_equal(truncate_as(TRUNCATE_ROTATE), 0);
    assert_file("app.log.1", "one\n");
    assert_file(LOG_NAME, "two\n");
    assert_true(guard_enter());
    assert_int_equal(log_truncate(scene.writer, scene.fd), 0);
    assert_int_equal(log_truncate(scene.writer, scene.fd), 0); /* an empty file stays */
    guard_leave();
    scene_settle(&scene);
    assert_file("app.log.1", "two\n");
    assert_file("app.log.2", "one\n");
    assert_false(temporary_exists(scene.directory, "app.log.3"));
}

static void truncation_is_ignored(void **state)
{
    (void)state;
    assert_int_equal(truncate_as(TRUNCATE_IGNORE), 0);
    assert_file(LOG_NAME, "one\ntwo\n");
}

static void truncation_is_allowed(void **state)
{
    (void)state;
    assert_int_equal(truncate_as(TRUNCATE_ALLOW), 0);
    assert_file(LOG_NAME, "two\n");
    assert_false(temporary_exists(scene.directory, "app.log.1"));
}

static int writes_left;
static int write_error;

static ssize_t failing_writev(int fd, const struct iovec *vector, int count)
{
    return fd == scene.fd && writes_left-- <= 0 ? write_error : sys_real.writev(fd, vector, count);
}

static void error_of_a_write_is_the_programs(void **state)
{
    static const int errors[] = {-ENOSPC, -EFBIG, -EIO, -EDQUOT, -EINTR, -EAGAIN};
    (void)state;
    scene_begin(0);
    append("one\n");
    sys.writev = failing_writev;
    for (size_t i = 0; i < sizeof errors / sizeof errors[0]; i++) {
        writes_left = 0;
        write_error = errors[i];
        assert_int_equal(scene_append(scene.writer, "two\n", HOLD_NONE), errors[i]);
        scene_pass(2);
    }
    sys.writev = sys_real.writev;
    append("two\n");
    assert_file(LOG_NAME, "one\ntwo\n");
    assert_int_equal(scene_events(&scene, "write_failed"), 1);
}

static void held_rest_stays_held_when_it_cannot_be_written(void **state)
{
    (void)state;
    scene_begin(0);
    assert_int_equal(scene_append(scene.writer, "one\ntw", HOLD_REST), 6);
    sys.writev = failing_writev;
    writes_left = 0;
    write_error = -ENOSPC;
    assert_int_equal(scene_append(scene.writer, "o\n", HOLD_REST), -ENOSPC);
    sys.writev = sys_real.writev;
    append("o\n");
    assert_file(LOG_NAME, "one\ntwo\n");
}

static int count_own(void)
{
    int count = 0;
    for (int fd = own_next(0); fd != INT_MAX; fd = own_next(fd + 1)) {
        count++;
    }
    return count;
}

static void idle_logs_keep_only_so_many_descriptors(void **state)
{
    enum { LOGS = 60, IDLE_MAX = 16 };
    (void)state;
    scene_start(&scene);
    for (int i = 0; i < LOGS; i++) {
        char name[16];
        snprintf(name, sizeof name, "%d.log", i);
        scene.path = temporary_path(scene.directory, name);
        scene_attach(&scene);
        append("x\n");
        scene_detach(&scene);
        assert_in_range(count_own(), 2, 2 * IDLE_MAX); /* the directory and the lock file of each */
    }
}

static void log_was_rotated_once_its_lock_file_says_so(void **state)
{
    (void)state;
    scene_begin(LINE_LENGTH);
    assert_true(guard_enter());
    assert_false(log_was_rotated(scene.path.text, &scene.rule));
    guard_leave();
    assert_true(scene_write_lines(&scene, 1, 2));
    assert_true(guard_enter());
    assert_true(log_was_rotated(scene.path.text, &scene.rule));
    guard_leave();
}

static void lock_file_may_lie_elsewhere(void **state)
{
    struct temporary_path locks = temporary_path(scene.directory, "locks");
    char name[TEMPORARY_PATH_SIZE + 8];
    (void)state;
    assert_int_equal(mkdir(locks.text, 0700), 0);
    scene.rule.lock_dir = locks.text;
    scene_begin(LINE_LENGTH);
    assert_true(scene_write_lines(&scene, 1, 3));
    snprintf(name, sizeof name, "%s.lock", scene.path.text);
    for (char *slash = name; (slash = strchr(slash, '/')) != NULL;) {
        *slash = '%';
    }
    assert_true(temporary_exists(locks.text, name));
    assert_false(temporary_exists(scene.directory, LOCK_NAME));
    assert_true(guard_enter());
    assert_true(log_was_rotated(scene.path.text, &scene.rule));
    guard_leave();
    assert_true(history_holds(scene.directory, 3, 0));
}

static volatile sig_atomic_t handled;
static volatile sig_atomic_t handled_half_way;

static void look_at_descriptor(int signal)
{
    struct stat status;
    (void)signal;
    handled = 1;
    if (fstat(scene.fd, &status) != 0 || status.st_ino != scene.writer->inode) {
        handled_half_way = 1;
    }
}

static int replace_and_be_interrupted(int from, int to, int flags)
{
    int result = sys_real.dup3(from, to, flags);
    raise(SIGUSR1);
    return result;
}

static void no_handler_runs_between_a_descriptors_new_file_and_what_is_known_of_it(void **state)
{
    (void)state;
    scene_begin(0);
    append("one\n");
    assert_int_equal(unlink(scene.path.text), 0);
    temporary_write(scene.directory, LOG_NAME, "");
    scene_pass(2);
    handled = handled_half_way = 0;
    signal(SIGUSR1, look_at_descriptor);
    sys.dup3 = replace_and_be_interrupted;
    append("two\n");
    signal(SIGUSR1, SIG_DFL);
    assert_true(handled);
    assert_false(handled_half_way);
    assert_file(LOG_NAME, "two\n");
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, scene_setup, scene_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(lines_append_to_what_is_there),
        TEST(size_is_never_exceeded_and_always_used),
        TEST(line_larger_than_the_size_is_whole_in_a_file_of_its_own),
        TEST(record_larger_than_the_size_is_split_between_lines),
        TEST(rotation_waits_for_the_end_of_a_line),
        TEST(rotation_waits_for_no_more_than_64_kilobytes),
        TEST(record_of_many_pieces_is_written_whole),
        TEST(rest_of_a_line_follows_before_anything_else),
        TEST(write_without_a_newline_goes_through_unless_lines_are_strict),
        TEST(held_rest_goes_out_when_it_is_released),
        TEST(no_more_than_64_kilobytes_are_held),
        TEST(held_rest_is_rescued_when_the_number_is_another_file),
        TEST(number_that_is_another_file_is_told_within_a_second),
        TEST(number_that_is_a_pipe_is_told_at_once),
        TEST(all_descriptors_follow_and_keep_their_flags),
        TEST(offset_of_a_reading_descriptor_stays_when_asked),
        TEST(new_file_has_the_permissions_of_the_one_before),
        TEST(only_so_many_archives_are_kept),
        TEST(truncation_rotates),
        TEST(truncation_is_ignored),
        TEST(truncation_is_allowed),
        TEST(error_of_a_write_is_the_programs),
        TEST(held_rest_stays_held_when_it_cannot_be_written),
        TEST(idle_logs_keep_only_so_many_descriptors),
        TEST(log_was_rotated_once_its_lock_file_says_so),
        TEST(lock_file_may_lie_elsewhere),
        TEST(no_handler_runs_between_a_descriptors_new_file_and_what_is_known_of_it),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
