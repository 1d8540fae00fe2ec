/*
 * One rotation with one of its system calls failing, for each call and each error that it may really give.
 *
 * The log rotates at five lines. Lines 1 to 10 make one archive and fill the live file; line 11 rotates. Or somebody
 * else moved the live file, and line 11 makes a new one. Each case runs in a process of its own.
 */
#include "../unit/log_scene.h"
#include "faults.h"

#include <setjmp.h>
#include <stdarg.h>
#include <sys/mman.h>
#include <sys/wait.h>

#include <cmocka.h>

enum { ROTATING_LINE = 11, LAST_FAULTY_LINE = 20, LAST_LINE = 40, ERRORS = 8 };

struct setting {
    bool no_rename_flags;
    bool no_links;
    bool moved; /* nothing rotates but somebody else, just before line 11 */
};
static const struct setting complete = {.no_links = false};
static const struct setting no_flags = {.no_rename_flags = true};
static const struct setting no_flags_no_links = {.no_rename_flags = true, .no_links = true};

/* What a case tells its parent: shared memory. */
static struct report {
    const char *trace[FAULT_CALLS];
    int calls;
    bool rotated; /* by the line with the fault, which is in a new file */
    bool pending; /* an archive without its final name was left by it */
} * report;

struct realistic {
    const char *call;
    int errors[ERRORS];
};
static const struct realistic realistic[] = {
    {"openat", {ENOSPC, EACCES, EMFILE, EROFS, EIO, EDQUOT, EINTR}},
    {"close", {EIO, EINTR}},
    {"pread", {EIO}},
    {"pwrite", {ENOSPC, EIO, EDQUOT, EINTR}},
    {"lseek", {EIO}},
    {"fstatat", {EIO, EACCES}},
    {"ftruncate", {ENOSPC, EROFS, EIO, EDQUOT, EINTR}},
    {"fchmod", {EROFS, EIO, EDQUOT}},
    {"fchown", {EROFS, EIO, EDQUOT}},
    {"renameat2", {ENOSPC, EACCES, EROFS, EIO, EDQUOT}},
    {"linkat", {ENOSPC, EACCES, EROFS, EIO, EDQUOT}},
    {"unlinkat", {EACCES, EROFS, EIO}},
    {"getdents64", {EIO}},
    {"lock", {ENOLCK, EINTR, EIO}},
    {"dupfd", {EMFILE}},
    {"dup3", {EMFILE, EBUSY, EINTR}},
};

static const int *errors_of(const char *call)
{
    static const int none[ERRORS];
    for (size_t i = 0; i < sizeof realistic / sizeof realistic[0]; i++) {
        if (strcmp(realistic[i].call, call) == 0) {
            return realistic[i].errors;
        }
    }
    return none;
}

/* In the process of a case: a failure ends it. */
static void require(bool holds, const char *what)
{
    if (!holds) {
        fprintf(stderr, "%s\n", what);
        _exit(1);
    }
}

static bool directory_has_pending(const char *directory)
{
    struct history *history = history_read(directory);
    bool pending = history->pending > 0;
    free(history);
    return pending;
}

static void move_live(const struct scene *scene)
{
    struct temporary_path archive = temporary_path(scene->directory, "app.log.1");
    require(rename(scene->path.text, archive.text) == 0, "rename");
}

static void run(struct scene *scene, const struct setting *setting, const struct faults *wanted)
{
    scene_start(scene);
    faults_install(wanted);
    scene_attach(scene);
    require(scene_write_lines(scene, 1, ROTATING_LINE - 1), "a line before the fault was not written");
    if (setting->moved) {
        move_live(scene);
    }
    scene_pass(2); /* so that the live file and the lock file are looked at too */
    faults_arm();
    require(scene_write(scene, ROTATING_LINE) == LINE_LENGTH, "the line with the fault was not written");
    report->calls = faults.count;
    report->rotated = temporary_length(scene->directory, LOG_NAME) == LINE_LENGTH;
    report->pending = directory_has_pending(scene->directory);
    for (int line = ROTATING_LINE + 1; wanted->kind == FAULT_FROM && line <= LAST_FAULTY_LINE; line++) {
        scene_pass(2);
        require(scene_write(scene, line) == LINE_LENGTH, "a line while the fault lasted was not written");
    }
    faults_disarm();
    scene_pass(2);
    int next = wanted->kind == FAULT_FROM ? LAST_FAULTY_LINE + 1 : ROTATING_LINE + 1;
    require(scene_write_lines(scene, next, LAST_LINE), "a line after the fault was not written");
    scene_settle(scene);
    _exit(0);
}

static bool events_are_right(const struct scene *scene, const struct faults *wanted)
{
    int rotate = scene_events(scene, "rotate_failed");
    int lock = scene_events(scene, "lock_timeout");
    /* In a directory that may not be searched, what was moved there cannot be seen: nothing is known to have failed. */
    const char *call = wanted->trace == NULL ? wanted->call : wanted->trace[wanted->at];
    bool unseen = wanted->error == EACCES && call != NULL && strcmp(call, "fstatat") == 0;
    bool failed = !report->rotated && !unseen;
    bool good = rotate <= 1 && lock <= 1 && scene_events(scene, "archive_failed") == 0 && rotate + lock >= failed &&
                (wanted->kind != FAULT_ONE || rotate + lock <= 1) &&
                scene_events(scene, "rotate_recovered") == rotate && scene_events(scene, "lock_recovered") == lock;
    if (!good) {
        char *events = temporary_read(scene->directory, DIAG_NAME);
        fprintf(stderr, "%s, %s; events:\n%s", report->rotated ? "rotated" : "not rotated",
                report->pending ? "pending" : "settled", events == NULL ? "" : events);
        free(events);
    }
    return good;
}

/* Runs a case; how many things were wrong. */
static int run_case(const struct setting *setting, const struct faults *wanted)
{
    struct scene scene;
    int status = -1;
    scene_make(&scene);
    scene.rule.policy.max_bytes = setting->moved ? 0 : 5 * LINE_LENGTH;
    pid_t child = fork();
    if (child == 0) {
        run(&scene, setting, wanted);
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    bool good = status == 0;
    good = history_holds(scene.directory, LAST_LINE, 0) && good;
    good = history_is_settled(scene.directory) && good;
    good = events_are_right(&scene, wanted) && good;
    if (!good) {
        fprintf(stderr, "^^^ %s, call %d (%s), error %d (%s)%s%s\n\n",
                wanted->kind == FAULT_FROM ? "all calls" : "one call", wanted->at, wanted->call, wanted->error,
                diag_errno(wanted->error), wanted->no_rename_flags ? ", no rename flags" : "",
                wanted->no_links ? ", no links" : "");
    }
    temporary_remove(scene.directory);
    return !good;
}

static struct faults faults_of(const struct setting *setting)
{
    return (struct faults){.call = "none", .no_rename_flags = setting->no_rename_flags, .no_links = setting->no_links};
}

/* The calls of the rotation when nothing fails. Returns how many. */
static int trace(const struct setting *setting, const char *calls[FAULT_CALLS], int *wrong)
{
    struct faults wanted = faults_of(setting);
    wanted.trace = report->trace;
    *wrong = run_case(setting, &wanted);
    assert_true(report->rotated);
    assert_in_range(report->calls, 10, FAULT_CALLS);
    memcpy(calls, report->trace, sizeof report->trace);
    return report->calls;
}

static bool is_first_of_its_kind(const char *const calls[], int at)
{
    for (int i = 0; i < at; i++) {
        if (strcmp(calls[i], calls[at]) == 0) {
            return false;
        }
    }
    return true;
}

static int fail_each(const struct setting *setting, enum fault_kind kind)
{
    const char *calls[FAULT_CALLS];
    int wrong;
    int count = trace(setting, calls, &wrong);
    for (int at = 0; at < count; at++) {
        const int *errors = errors_of(calls[at]);
        for (int i = 0; errors[i] != 0 && (kind == FAULT_ONE || is_first_of_its_kind(calls, at)); i++) {
            struct faults wanted = faults_of(setting);
            wanted.kind = kind;
            wanted.at = at;
            wanted.error = errors[i];
            wanted.call = calls[at];
            wrong += run_case(setting, &wanted);
        }
    }
    return wrong;
}

static void rotation_keeps_every_line_on_each_file_system(void **state)
{
    const char *calls[FAULT_CALLS];
    const struct setting *const settings[] = {&complete, &no_flags, &no_flags_no_links};
    (void)state;
    for (size_t i = 0; i < sizeof settings / sizeof settings[0]; i++) {
        int wrong;
        trace(settings[i], calls, &wrong);
        assert_int_equal(wrong, 0);
    }
}

static void rotation_keeps_every_line_when_one_call_fails(void **state)
{
    (void)state;
    assert_int_equal(fail_each(&complete, FAULT_ONE), 0);
}

static void rotation_keeps_every_line_when_one_call_fails_without_rename_flags(void **state)
{
    (void)state;
    assert_int_equal(fail_each(&no_flags, FAULT_ONE), 0);
}

static void rotation_keeps_every_line_when_one_call_fails_without_rename_flags_and_links(void **state)
{
    (void)state;
    assert_int_equal(fail_each(&no_flags_no_links, FAULT_ONE), 0);
}

static void rotation_keeps_every_line_while_a_call_keeps_failing(void **state)
{
    (void)state;
    assert_int_equal(fail_each(&complete, FAULT_FROM), 0);
}

static void rotation_keeps_every_line_while_a_call_keeps_failing_without_rename_flags(void **state)
{
    (void)state;
    assert_int_equal(fail_each(&no_flags, FAULT_FROM), 0);
}

static void rotation_keeps_every_line_while_a_call_keeps_failing_without_rename_flags_and_links(void **state)
{
    (void)state;
    assert_int_equal(fail_each(&no_flags_no_links, FAULT_FROM), 0);
}

static void lines_are_kept_when_a_call_fails_after_the_live_file_was_moved(void **state)
{
    static const struct setting settings[] = {{.moved = true},
                                              {.moved = true, .no_rename_flags = true},
                                              {.moved = true, .no_rename_flags = true, .no_links = true}};
    int wrong = 0;
    (void)state;
    for (size_t i = 0; i < sizeof settings / sizeof settings[0]; i++) {
        wrong += fail_each(&settings[i], FAULT_ONE) + fail_each(&settings[i], FAULT_FROM);
    }
    assert_int_equal(wrong, 0);
}

/* The process of a rotation beside so many archives; its calls go to the report. */
static void rotate_beside(struct scene *scene, int archives)
{
    const struct faults none = {.trace = report->trace};
    char name[32];
    scene_start(scene);
    faults_install(&none);
    scene_attach(scene);
    require(scene_write_lines(scene, 1, ROTATING_LINE - 1), "a line before the rotation was not written");
    for (int number = 2; number < archives + 2; number++) {
        snprintf(name, sizeof name, LOG_NAME ".%d", number);
        temporary_write(scene->directory, name, "a line\n");
    }
    faults_arm();
    require(scene_write(scene, ROTATING_LINE) == LINE_LENGTH, "the line that rotates was not written");
    faults_disarm();
    report->calls = faults.count;
    report->rotated = temporary_length(scene->directory, LOG_NAME) == LINE_LENGTH;
    _exit(0);
}

static void rotation_makes_the_same_calls_beside_two_thousand_archives(void **state)
{
    static const int archives[] = {0, 2000};
    const char *calls[FAULT_CALLS];
    int count = 0;
    (void)state;
    for (size_t i = 0; i < sizeof archives / sizeof archives[0]; i++) {
        struct scene scene;
        int status = -1;
        scene_make(&scene);
        scene.rule.policy.max_bytes = 5 * LINE_LENGTH;
        pid_t child = fork();
        if (child == 0) {
            rotate_beside(&scene, archives[i]);
        }
        assert_int_equal(waitpid(child, &status, 0), child);
        assert_int_equal(status, 0);
        assert_true(report->rotated);
        assert_in_range(report->calls, 10, FAULT_CALLS);
        if (i == 0) {
            count = report->calls;
            memcpy(calls, report->trace, sizeof calls);
        }
        assert_int_equal(report->calls, count);
        for (int at = 0; at < count; at++) {
            assert_string_equal(report->trace[at], calls[at]);
        }
        temporary_remove(scene.directory);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rotation_keeps_every_line_on_each_file_system),
        cmocka_unit_test(rotation_keeps_every_line_when_one_call_fails),
        cmocka_unit_test(rotation_keeps_every_line_when_one_call_fails_without_rename_flags),
        cmocka_unit_test(rotation_keeps_every_line_when_one_call_fails_without_rename_flags_and_links),
        cmocka_unit_test(rotation_keeps_every_line_while_a_call_keeps_failing),
        cmocka_unit_test(rotation_keeps_every_line_while_a_call_keeps_failing_without_rename_flags),
        cmocka_unit_test(rotation_keeps_every_line_while_a_call_keeps_failing_without_rename_flags_and_links),
        cmocka_unit_test(lines_are_kept_when_a_call_fails_after_the_live_file_was_moved),
        cmocka_unit_test(rotation_makes_the_same_calls_beside_two_thousand_archives),
    };
    report = mmap(NULL, sizeof *report, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    return report == MAP_FAILED ? 1 : cmocka_run_group_tests(tests, NULL, NULL);
}
