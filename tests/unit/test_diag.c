/* Messages: one line each, never more than one a second of a kind, and the program does not feel them. */
#include "log_scene.h"

#include <limits.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <sys/resource.h>
#include <sys/wait.h>

#include <cmocka.h>

enum { LONGEST_LINE = 1023 };

static struct scene scene;

static int setup(void **state)
{
    (void)state;
    scene_make(&scene);
    sys = sys_real;
    sys.clock = scene_read_clock;
    diag_open(DIAG_FILE, scene.diag.text);
    diag_stderr_is();
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    sys = sys_real;
    diag_open(DIAG_OFF, NULL);
    temporary_remove(scene.directory);
    return 0;
}

static void assert_said(const char *expected)
{
    char *text = temporary_read(scene.directory, DIAG_NAME);
    assert_string_equal(text == NULL ? "" : text, expected);
    free(text);
}

static void each_conversion_is_as_printf_has_it(void **state)
{
    char made[256];
    char expected[256];
    static const long long numbers[] = {0, 1, -1, 9, 10, INT_MAX, INT_MIN, LLONG_MAX, LLONG_MIN};
    (void)state;
    for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++) {
        long long number = numbers[i];
        size_t length = diag_format(made, sizeof made, "%d %u %lld %llu %o %c %s %%", (int)number, (unsigned)number,
                                    number, (unsigned long long)number, (unsigned)number, 'x', "text");
        snprintf(expected, sizeof expected, "%d %u %lld %llu %o %c %s %%", (int)number, (unsigned)number, number,
                 (unsigned long long)number, (unsigned)number, 'x', "text");
        assert_string_equal(made, expected);
        assert_int_equal(length, strlen(expected));
    }
}

static void text_that_does_not_fit_is_cut_and_terminated(void **state)
{
    char made[16];
    (void)state;
    for (size_t size = 1; size <= 12; size++) {
        memset(made, '#', sizeof made);
        assert_int_equal(diag_format(made, size, "%s-%d", "abcd", 12345), size - 1 < 10 ? size - 1 : 10);
        assert_memory_equal(made, "abcd-12345", size - 1 < 10 ? size - 1 : 10);
        assert_int_equal(made[size - 1 < 10 ? size - 1 : 10], '\0');
        assert_int_equal(made[size], '#');
    }
}

static void error_is_told_by_its_name_whatever_its_sign(void **state)
{
    (void)state;
    assert_string_equal(diag_errno(EACCES), "EACCES");
    assert_string_equal(diag_errno(-ENOSPC), "ENOSPC");
    assert_non_null(diag_errno(4095));
}

static void message_is_one_line_whatever_is_in_it(void **state)
{
    (void)state;
    diag_message("%s|%s", "a\nb\rc\x1b[31m\x7f", "d\xc3\xa9");
    assert_said("mplogshim: a?b?c?[31m?|d\xc3\xa9\n");
}

static void long_message_is_cut_to_one_line(void **state)
{
    char word[4096];
    (void)state;
    memset(word, 'w', sizeof word - 1);
    word[sizeof word - 1] = '\0';
    diag_message("%s", word);
    struct diag_limits limits = {.left_out = {0}};
    diag_event(&limits, EVENT_ROTATE_FAILED, word, "%s", word);
    assert_int_equal(temporary_length(scene.directory, DIAG_NAME), 2 * LONGEST_LINE);
    char *text = temporary_read(scene.directory, DIAG_NAME);
    assert_int_equal(text[LONGEST_LINE - 1], '\n');
    assert_int_equal(text[2 * LONGEST_LINE - 1], '\n');
    free(text);
}

static void event_is_told_once_a_second_with_the_number_left_out(void **state)
{
    struct diag_limits limits = {.left_out = {0}};
    (void)state;
    for (int i = 0; i < 4; i++) {
        diag_event(&limits, EVENT_LOCK_TIMEOUT, "/x/app.log", "step=%s", "wait");
    }
    diag_event(&limits, EVENT_ROTATE_FAILED, "/x/app.log", "step=%d", 1);
    scene_pass(1);
    diag_event(&limits, EVENT_LOCK_TIMEOUT, "/x/app.log", "step=%s", "wait");
    scene_pass(1);
    diag_event(&limits, EVENT_LOCK_TIMEOUT, "/x/app.log", "step=%s", "wait");
    assert_said("mplogshim: lock_timeout log=/x/app.log step=wait\n"
                "mplogshim: rotate_failed log=/x/app.log step=1\n"
                "mplogshim: lock_timeout log=/x/app.log step=wait left_out=3\n"
                "mplogshim: lock_timeout log=/x/app.log step=wait\n");
}

static void limits_are_of_each_log(void **state)
{
    struct diag_limits first = {.left_out = {0}};
    struct diag_limits second = {.left_out = {0}};
    (void)state;
    diag_event(&first, EVENT_WRITE_FAILED, "/x/1", "error=%s", "EIO");
    diag_event(&second, EVENT_WRITE_FAILED, "/x/2", "error=%s", "EIO");
    assert_said("mplogshim: write_failed log=/x/1 error=EIO\nmplogshim: write_failed log=/x/2 error=EIO\n");
}

static void rotated_is_silent(void **state)
{
    struct diag_limits limits = {.left_out = {0}};
    (void)state;
    diag_event(&limits, EVENT_ROTATED, "/x/app.log", "archive=%s", "app.log.1");
    assert_false(temporary_exists(scene.directory, DIAG_NAME));
}

static void messages_append_and_follow_no_link(void **state)
{
    struct temporary_path target = temporary_path(scene.directory, "precious");
    (void)state;
    temporary_write(scene.directory, DIAG_NAME, "before\n");
    diag_message("after");
    assert_said("before\nmplogshim: after\n");
    assert_int_equal(unlink(scene.diag.text), 0);
    temporary_write(scene.directory, "precious", "");
    assert_int_equal(symlink(target.text, scene.diag.text), 0);
    diag_message("lost");
    assert_int_equal(temporary_length(scene.directory, "precious"), 0);
}

/* Somebody who may not write to a file can still give it another name, in a directory of his. */
static void messages_go_to_no_file_that_has_a_second_name(void **state)
{
    struct temporary_path target = temporary_path(scene.directory, "precious");
    (void)state;
    temporary_write(scene.directory, "precious", "");
    assert_int_equal(link(target.text, scene.diag.text), 0);
    diag_message("lost");
    assert_int_equal(temporary_length(scene.directory, "precious"), 0);
    assert_int_equal(unlink(target.text), 0);
    diag_message("said");
    assert_said("mplogshim: said\n");
}

static void errno_is_left_alone(void **state)
{
    (void)state;
    diag_open(DIAG_FILE, "/nowhere/at/all");
    errno = EDOM;
    diag_message("lost");
    assert_int_equal(errno, EDOM);
}

/* Descriptor 2 of a child is the writing end of a pipe; how many bytes came through it. */
static ssize_t through_stderr(void (*body)(void))
{
    static char buffer[1 << 20];
    int pipe_ends[2];
    int status = -1;
    ssize_t all = 0;
    assert_int_equal(pipe2(pipe_ends, O_CLOEXEC), 0);
    pid_t child = fork();
    if (child == 0) {
        dup2(pipe_ends[1], 2);
        diag_open(DIAG_STDERR, NULL);
        alarm(20);
        body();
        _exit(0);
    }
    close(pipe_ends[1]);
    assert_int_equal(waitpid(child, &status, 0), child); /* the child must end though nobody reads */
    assert_int_equal(status, 0);
    for (ssize_t got; (got = read(pipe_ends[0], buffer, sizeof buffer)) > 0; all += got) {
    }
    close(pipe_ends[0]);
    return all;
}

static void say_once(void)
{
    diag_message("x");
}

static void say_much(void)
{
    for (int i = 0; i < 10000; i++) {
        diag_message("%s", "a line of some length, of which many do not go into a pipe that nobody reads");
    }
}

/* The number went to something else, and came back. */
static void say_after_stderr_was_closed(void)
{
    int kept = dup(STDERR_FILENO);
    int other = open("/dev/null", O_WRONLY);
    diag_stderr_is();
    dup2(other, STDERR_FILENO);
    diag_message("x");
    dup2(kept, STDERR_FILENO);
    diag_message("y");
    close(other);
    close(kept);
}

static void stderr_is_the_default_way(void **state)
{
    (void)state;
    assert_int_equal(through_stderr(say_once), strlen("mplogshim: x\n"));
}

static void full_pipe_drops_messages_and_keeps_nobody(void **state)
{
    (void)state;
    ssize_t all = through_stderr(say_much);
    assert_in_range(all, 4096, 1 << 20);
}

static void number_two_is_not_used_when_it_is_not_stderr(void **state)
{
    (void)state;
    assert_int_equal(through_stderr(say_after_stderr_was_closed), strlen("mplogshim: y\n"));
}

static void off_is_silent(void **state)
{
    (void)state;
    diag_open(DIAG_OFF, NULL);
    diag_message("x");
    assert_false(temporary_exists(scene.directory, DIAG_NAME));
}

static volatile sig_atomic_t signals_seen;

static void count_signal(int number)
{
    (void)number;
    signals_seen++;
}

static void signals_of_a_message_do_not_reach_the_program(void **state)
{
    struct rlimit before;
    int pipe_ends[2];
    int saved = dup(2);
    (void)state;
    signals_seen = 0;
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
    signal(SIGXFSZ, count_signal);
    signal(SIGPIPE, count_signal);
    const struct rlimit none = {.rlim_cur = 0, .rlim_max = before.rlim_max};
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &none), 0);
    diag_message("too large");
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);
    assert_int_equal(pipe2(pipe_ends, O_CLOEXEC), 0);
    close(pipe_ends[0]);
    dup2(pipe_ends[1], 2);
    diag_open(DIAG_STDERR, NULL);
    diag_message("nobody reads");
    dup2(saved, 2);
    close(saved);
    close(pipe_ends[1]);
    signal(SIGXFSZ, SIG_DFL);
    signal(SIGPIPE, SIG_DFL);
    assert_int_equal(signals_seen, 0);
}

static void signal_that_was_pending_already_stays(void **state)
{
    sigset_t blocked;
    struct sys_signals signals;
    (void)state;
    signals_seen = 0;
    signal(SIGPIPE, count_signal);
    sigemptyset(&blocked);
    sigaddset(&blocked, SIGPIPE);
    sigprocmask(SIG_BLOCK, &blocked, NULL);
    raise(SIGPIPE);
    sys_signals_block(&signals);
    sys_signals_restore(&signals);
    assert_int_equal(signals_seen, 0);
    sigprocmask(SIG_UNBLOCK, &blocked, NULL);
    signal(SIGPIPE, SIG_DFL);
    assert_int_equal(signals_seen, 1);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(each_conversion_is_as_printf_has_it),
        TEST(text_that_does_not_fit_is_cut_and_terminated),
        TEST(error_is_told_by_its_name_whatever_its_sign),
        TEST(message_is_one_line_whatever_is_in_it),
        TEST(long_message_is_cut_to_one_line),
        TEST(event_is_told_once_a_second_with_the_number_left_out),
        TEST(limits_are_of_each_log),
        TEST(rotated_is_silent),
        TEST(messages_append_and_follow_no_link),
        TEST(messages_go_to_no_file_that_has_a_second_name),
        TEST(errno_is_left_alone),
        TEST(stderr_is_the_default_way),
        TEST(full_pipe_drops_messages_and_keeps_nobody),
        TEST(number_two_is_not_used_when_it_is_not_stderr),
        TEST(off_is_silent),
        TEST(signals_of_a_message_do_not_reach_the_program),
        TEST(signal_that_was_pending_already_stays),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
