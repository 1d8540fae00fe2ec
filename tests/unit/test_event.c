/* Events of the helper: what is told, and how programs for them are run. */
#include "log_scene.h"

#include "../../shim/tool/event.h"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <sys/wait.h>

#include <cmocka.h>

static struct scene scene;
static struct diag_limits limits;
static struct temporary_path program;

/* The program for events: a script that runs in the scene's directory. */
static void make_program(const char *body)
{
    char text[1024];
    int length = snprintf(text, sizeof text, "#!/bin/sh\ncd '%s' || exit\n%s\n", scene.directory, body);
    temporary_must(length > 0 && (size_t)length < sizeof text, "program");
    temporary_write(scene.directory, "program", text);
    program = temporary_path(scene.directory, "program");
    temporary_must(chmod(program.text, 0755) == 0, "chmod");
    event_start(program.text);
}

static int setup(void **state)
{
    (void)state;
    scene_make(&scene);
    sys = sys_real;
    memset(&limits, 0, sizeof limits);
    diag_open(DIAG_FILE, scene.diag.text);
    setenv("MPLOGSHIM_LOGS", "x", 1);
    setenv("KEPT", "kept", 1);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    while (wait(NULL) > 0) {
    }
    event_start(NULL);
    unsetenv("REPORT_TO");
    sys = sys_real;
    diag_open(DIAG_OFF, NULL);
    temporary_remove(scene.directory);
    return 0;
}

static void wait_for(const char *name)
{
    const struct timespec pause = {.tv_nsec = 5000000};
    for (int i = 0; i < 2000 && !temporary_exists(scene.directory, name); i++) {
        nanosleep(&pause, NULL);
    }
    assert_true(temporary_exists(scene.directory, name));
}

static int lines_of(const char *name)
{
    return temporary_count(scene.directory, name, "\n");
}

static void a_program_has_the_four_variables_and_none_of_the_configuration(void **state)
{
    (void)state;
    make_program("env | grep -E '^(MPLOGSHIM_|KEPT)' | sort >new; mv new out");
    event_tell(&limits, EVENT_ROTATED, "/l/app.log", "/l/app.log.1.gz", "bytes=%lld", 7LL);
    wait_for("out");
    char *text = temporary_read(scene.directory, "out");
    assert_string_equal(text, "KEPT=kept\nMPLOGSHIM_ARCHIVE=/l/app.log.1.gz\nMPLOGSHIM_DETAIL=bytes=7\n"
                              "MPLOGSHIM_EVENT=rotated\nMPLOGSHIM_LOG=/l/app.log\n");
    free(text);
}

static void an_event_without_an_archive_has_an_empty_one(void **state)
{
    (void)state;
    make_program("printf '%s|%s' \"$MPLOGSHIM_EVENT\" \"${MPLOGSHIM_ARCHIVE-unset}\" >new; mv new out");
    event_tell(&limits, EVENT_ARCHIVE_FAILED, "/l/app.log", NULL, "error=%s", "EIO");
    wait_for("out");
    char *text = temporary_read(scene.directory, "out");
    assert_string_equal(text, "archive_failed|");
    free(text);
    text = temporary_read(scene.directory, DIAG_NAME);
    assert_string_equal(text, "mplogshim: archive_failed log=/l/app.log error=EIO\n");
    free(text);
}

static void every_rotation_runs_the_program_and_is_silent(void **state)
{
    (void)state;
    make_program("echo \"$MPLOGSHIM_ARCHIVE\" >>out");
    for (int i = 0; i < 20; i++) {
        event_tell(&limits, EVENT_ROTATED, "/l/app.log", "/l/app.log.1", "bytes=1");
    }
    while (wait(NULL) > 0) {
    }
    assert_int_equal(lines_of("out"), 20);
    assert_false(temporary_exists(scene.directory, DIAG_NAME));
}

static void other_events_run_it_as_often_as_they_are_told(void **state)
{
    (void)state;
    sys.clock = scene_read_clock;
    make_program("echo \"$MPLOGSHIM_EVENT\" >>out");
    for (int i = 0; i < 5; i++) {
        event_tell(&limits, EVENT_ARCHIVE_FAILED, "/l/app.log", NULL, "error=EIO");
    }
    scene_pass(1);
    event_tell(&limits, EVENT_ARCHIVE_FAILED, "/l/app.log", NULL, "error=EIO");
    while (wait(NULL) > 0) {
    }
    assert_int_equal(lines_of("out"), 2);
    assert_int_equal(scene_events(&scene, "archive_failed"), 2);
    assert_int_equal(temporary_count(scene.directory, DIAG_NAME, "left_out=4"), 1);
}

static void no_more_than_eight_run_at_a_time_and_the_next_does_not_wait_for_ever(void **state)
{
    (void)state;
    sys.clock = scene_read_clock;
    sys.sleep = scene_sleep;
    make_program("echo x >>begun; while [ ! -e go ]; do sleep 0.01; done");
    for (int i = 0; i < EVENT_PROGRAMS; i++) {
        event_tell(&limits, EVENT_ROTATED, "/l/app.log", "/l/app.log.1", "bytes=1");
    }
    assert_int_equal(scene_clock.slept, 0);
    event_tell(&limits, EVENT_ROTATED, "/l/app.log", "/l/app.log.2", "bytes=1");
    assert_in_range(scene_clock.slept, INT64_C(10000000000), INT64_C(11000000000));
    assert_int_equal(temporary_count(scene.directory, DIAG_NAME, "does not end: not run for rotated of /l/app.log"), 1);
    int64_t slept = scene_clock.slept;
    event_tell(&limits, EVENT_ROTATED, "/l/app.log", "/l/app.log.3", "bytes=1");
    assert_int_equal(scene_clock.slept, slept); /* in vain once is enough */
    temporary_write(scene.directory, "go", "");
    sys = sys_real;
    siginfo_t ended;
    assert_int_equal(waitid(P_ALL, 0, &ended, WEXITED | WNOWAIT), 0);
    event_tell(&limits, EVENT_ROTATED, "/l/app.log", "/l/app.log.4", "bytes=1");
    while (wait(NULL) > 0) {
    }
    assert_int_equal(lines_of("begun"), EVENT_PROGRAMS + 1);
}

/* The test program itself is run for the event, and writes down how it was started. */
static int report(const char *directory)
{
    char target[256];
    struct temporary_path out = temporary_path(directory, "new");
    struct temporary_path done = temporary_path(directory, "out");
    FILE *file = fopen(out.text, "we");
    temporary_must(file != NULL, "report");
    for (int fd = 0; fd < 1024; fd++) {
        char path[32];
        snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
        ssize_t length = readlink(path, target, sizeof target - 1);
        if (length > 0 && fd != fileno(file)) {
            fprintf(file, "%d %.*s\n", fd, (int)length, target);
        }
    }
    sigset_t blocked;
    sigprocmask(SIG_SETMASK, NULL, &blocked);
    for (int number = 1; number < SIGRTMIN; number++) {
        struct sigaction action;
        bool differs = sigaction(number, NULL, &action) == 0 && action.sa_handler != SIG_DFL;
        if (differs || sigismember(&blocked, number) == 1) {
            fprintf(file, "signal %d\n", number);
        }
    }
    return fclose(file) != 0 || rename(out.text, done.text) != 0;
}

static void a_program_starts_with_default_signals_and_nobody_s_descriptors(void **state)
{
    enum { HIGH = 200 };
    (void)state;
    sigset_t block;
    sigset_t before;
    char self[TEMPORARY_PATH_SIZE] = "";
    assert_true(readlink("/proc/self/exe", self, sizeof self - 1) > 0);
    event_start(self);
    setenv("REPORT_TO", scene.directory, 1);
    assert_int_equal(dup2(STDERR_FILENO, HIGH), HIGH); /* not close-on-exec */
    void (*handler)(int) = signal(SIGPIPE, SIG_IGN);
    sigemptyset(&block);
    sigaddset(&block, SIGUSR1);
    sigprocmask(SIG_BLOCK, &block, &before);
    event_tell(&limits, EVENT_ROTATED, "/l/app.log", "/l/app.log.1", "bytes=1");
    sigprocmask(SIG_SETMASK, &before, NULL);
    (void)signal(SIGPIPE, handler);
    close(HIGH);
    wait_for("out");
    char *text = temporary_read(scene.directory, "out");
    assert_string_equal(text, "0 /dev/null\n1 /dev/null\n2 /dev/null\n");
    free(text);
}

static void one_that_cannot_be_run_is_told(void **state)
{
    (void)state;
    event_start("/nonexistent/program");
    event_tell(&limits, EVENT_ROTATED, "/l/app.log", "/l/app.log.1", "bytes=1");
    char *text = temporary_read(scene.directory, DIAG_NAME);
    assert_string_equal(text, "mplogshim: /nonexistent/program cannot be run: ENOENT\n");
    free(text);
    assert_int_equal(waitpid(-1, NULL, WNOHANG), -1); /* nothing is left of it */
}

static void those_that_ended_are_taken_by_the_next(void **state)
{
    (void)state;
    make_program("exit 3");
    for (int i = 0; i < 30; i++) {
        event_tell(&limits, EVENT_ROTATED, "/l/app.log", "/l/app.log.1", "bytes=1");
    }
    int left = 0;
    while (wait(NULL) > 0) {
        left++;
    }
    assert_in_range(left, 1, EVENT_PROGRAMS);
}

int main(void)
{
    if (getenv("REPORT_TO") != NULL) {
        return report(getenv("REPORT_TO"));
    }
    if (getenv("PATH") == NULL) {
        setenv("PATH", "/usr/bin:/bin", 1);
    }
    const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
        TEST(a_program_has_the_four_variables_and_none_of_the_configuration),
        TEST(an_event_without_an_archive_has_an_empty_one),
        TEST(every_rotation_runs_the_program_and_is_silent),
        TEST(other_events_run_it_as_often_as_they_are_told),
        TEST(no_more_than_eight_run_at_a_time_and_the_next_does_not_wait_for_ever),
        TEST(a_program_starts_with_default_signals_and_nobody_s_descriptors),
        TEST(one_that_cannot_be_run_is_told),
        TEST(those_that_ended_are_taken_by_the_next),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
