/* What the variables do to a program as a whole: the grammar itself is the business of the unit tests. */
#include "test.h"

#define BYTES "app.log,max_bytes=100"

/* Nothing is managed: no rotation, no lock file, no O_APPEND, no descriptor of the library's. */
static void check_inert(void)
{
    int fd = open("app.log", O_WRONLY | O_CREAT, 0644);
    CHECK_EQUAL(raw_fcntl(fd, F_GETFL, 0) & O_APPEND, 0);
    write_text(fd, lines_of(100, "first"));
    write_text(fd, lines_of(100, "second"));
    CHECK_EQUAL(raw_size("app.log"), 200);
    CHECK_EQUAL(history_archives("app.log"), 0);
    CHECK(!exists(".app.log.lock"));
    for (int i = 3; i < 2048; i++) {
        CHECK(i == fd || raw_fcntl(i, F_GETFD, 0) < 0);
    }
}

static void check_managed(const char *log)
{
    int fd = open_log(log);
    size_t before = archives(log);
    write_text(fd, lines_of(100, "first"));
    write_text(fd, "second\n");
    CHECK(archives(log) > before);
    close(fd);
}

static void disabled(void)
{
    check_inert();
    CHECK_EQUAL(messages("mplogshim"), 0);
}

static void no_rules(void)
{
    check_inert();
    CHECK_EQUAL(messages("mplogshim"), 0);
}

static void bad_rules(void)
{
    check_inert();
    CHECK_EQUAL(messages("mplogshim: "), 1);
    CHECK_EQUAL(messages(""), 1);
}

static void says_what_is_wrong(void)
{
    bad_rules();
    CHECK_EQUAL(messages("MPLOGSHIM_LOGS"), 1);
    CHECK_EQUAL(messages("10Q"), 1);
}

static void bad_key(void)
{
    bad_rules();
    CHECK_EQUAL(messages("max_byte"), 1);
}

static void bad_default(void)
{
    bad_rules();
    CHECK_EQUAL(messages("MPLOGSHIM_INTERVAL"), 1);
}

static void unsupported(void)
{
    bad_rules();
    CHECK_EQUAL(messages("not supported in this version"), 1);
}

/* The program does not begin: nothing of it is to be seen, and the status is 127. */
static void strict(void)
{
    pid_t child = fork();
    if (child == 0) {
        setenv("MPLOGSHIM_STRICT", "1", 1);
        setenv("MPLOGSHIM_LOGS", "app.log,max_bytes=many", 1);
        execl("/bin/touch", "touch", "begun", NULL);
        _exit(1);
    }
    CHECK_EQUAL(exit_status(child), 127 << 8);
    CHECK(!exists("begun"));
    CHECK_EQUAL(messages("many"), 1);
}

static void strict_with_good_rules(void)
{
    check_managed("app.log");
    CHECK_EQUAL(messages("mplogshim"), 0);
}

/* Read once: what the program does to its environment afterwards changes nothing, but for what it execs. */
static void read_once(void)
{
    setenv("MPLOGSHIM_MAX_BYTES", "3", 1);
    setenv("MPLOGSHIM_LOGS", "nothing", 1);
    setenv("MPLOGSHIM_DISABLE", "1", 1);
    check_managed("app.log");
    clearenv();
    check_managed("app.log");
}

static void first_match_wins(void)
{
    int fd = open_log("special.log");
    write_text(fd, lines_of(100, "first"));
    write_text(fd, "second\n");
    CHECK_EQUAL(archives("special.log"), 0);
    check_managed("app.log");
}

static void defaults_hold_for_every_rule(void)
{
    check_managed("app.log");
    check_managed("other.log");
}

static void patterns(void)
{
    mkdir("a", 0755);
    mkdir("a/b", 0755);
    check_managed("a/one.log");
    check_managed("a/b/two.out");
    check_managed("sp,ec;ial");
    int fd = open_log("a/b/one.log");
    write_text(fd, lines_of(100, "first"));
    write_text(fd, "second\n");
    CHECK_EQUAL(archives("a/b/one.log"), 0);
}

static void messages_to_a_file(void)
{
    CHECK_EQUAL(mkdir(".app.log.lock", 0755), 0);
    int fd = open_log("app.log");
    write_text(fd, "x\n");
    CHECK_EQUAL(messages("mplogshim"), 0);
    CHECK(strstr(content("said"), "mplogshim: ") != NULL);
}

static void messages_off(void)
{
    CHECK_EQUAL(mkdir(".app.log.lock", 0755), 0);
    int fd = open_log("app.log");
    write_text(fd, "x\n");
    CHECK_TEXT(content("messages"), "");
}

/* Of a program that writes no log, the descriptors and their flags are what they are without the library. */
static void unused(void)
{
    for (int i = 3; i < 2048; i++) {
        CHECK(raw_fcntl(i, F_GETFD, 0) < 0);
    }
    CHECK_EQUAL(open("/dev/null", O_RDONLY), 3);
    CHECK_EQUAL(raw_fcntl(1, F_GETFL, 0) & O_APPEND, 0);
    DIR *tasks = opendir("/proc/self/task");
    int count = 0;
    while (readdir(tasks) != NULL) {
        count++;
    }
    CHECK_EQUAL(count, 3); /* ".", ".." and the one thread */
}

static void no_thread_or_child_with_logs(void)
{
    struct sigaction action;
    check_managed("app.log");
    CHECK_ERROR(waitpid(-1, NULL, WNOHANG), ECHILD);
    for (int i = 1; i < 32; i++) {
        CHECK_EQUAL(sigaction(i, NULL, &action), 0);
        CHECK(action.sa_handler == SIG_DFL || action.sa_handler == SIG_IGN);
    }
    DIR *tasks = opendir("/proc/self/task");
    int count = 0;
    while (readdir(tasks) != NULL) {
        count++;
    }
    CHECK_EQUAL(count, 3);
    sigset_t set;
    CHECK_EQUAL(sigprocmask(SIG_BLOCK, NULL, &set), 0);
    CHECK(sigismember(&set, SIGTERM) == 0);
}

int main(int count, char **arguments)
{
    static const char *const disable[] = {"MPLOGSHIM_DISABLE=1", NULL};
    static const char *const be_strict[] = {"MPLOGSHIM_STRICT=1", NULL};
    static const char *const interval[] = {"MPLOGSHIM_INTERVAL=0", NULL};
    static const char *const bytes[] = {"MPLOGSHIM_MAX_BYTES=100", NULL};
    static const char *const off[] = {"MPLOGSHIM_DIAG=off", NULL};
    static const char *const to_file[] = {"MPLOGSHIM_DIAG=/proc/self/cwd/said", NULL};
    static const struct test tests[] = {
        {"disabled_it_is_inert", BYTES, disabled, disable, NULL},
        {"without_rules_it_is_inert", "", no_rules, bytes, NULL},
        {"a_bad_value_makes_it_inert_with_one_line", "app.log,max_bytes=10Q", says_what_is_wrong, NULL, NULL},
        {"an_unknown_key_makes_it_inert_with_one_line", "app.log,max_byte=100", bad_key, NULL, NULL},
        {"a_bad_default_makes_it_inert_with_one_line", "app.log,max_bytes=100", bad_default, interval, NULL},
        {"a_bad_second_rule_makes_it_inert_with_one_line", BYTES ";other.log,when=W9", bad_rules, NULL, NULL},
        {"an_empty_pattern_makes_it_inert_with_one_line", BYTES ";,max_bytes=100", bad_rules, NULL, NULL},
        {"forward_is_refused_until_it_is_there", BYTES ",forward=unix:/dev/log", unsupported, NULL, NULL},
        {"strict_ends_the_program_before_main", BYTES, strict, NULL, NULL},
        {"strict_lets_good_rules_be", BYTES, strict_with_good_rules, be_strict, NULL},
        {"the_environment_is_read_once", BYTES, read_once, NULL, NULL},
        {"the_first_match_wins", "special.log;*.log,max_bytes=100", first_match_wins, NULL, NULL},
        {"defaults_hold_for_every_rule", "app.log;other.log", defaults_hold_for_every_rule, bytes, NULL},
        {"patterns_match_within_and_across_directories", "a/*.log;@/**/*.out\nsp\\,ec\\;ial", patterns, bytes, NULL},
        {"messages_go_to_a_file", BYTES, messages_to_a_file, to_file, NULL},
        {"messages_can_be_off", BYTES, messages_off, off, NULL},
        {"a_program_that_writes_no_log_is_as_without_it", BYTES, unused, NULL, NULL},
        {"no_thread_child_or_handler_is_made", BYTES, no_thread_or_child_with_logs, NULL, NULL},
    };
    return test_main(count, arguments, tests, TEST_COUNT(tests));
}
