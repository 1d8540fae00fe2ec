/*
 * A process killed after each system call of one rotation, up to the archives' final names: the next one repairs.
 *
 * The log rotates at five lines; line 11 rotates, and the process dies in it. A second process then writes on.
 */
#include "../unit/log_scene.h"
#include "faults.h"

#include <setjmp.h>
#include <stdarg.h>
#include <sys/mman.h>
#include <sys/wait.h>

#include <cmocka.h>

enum { ROTATING_LINE = 11, LAST_LINE = 25 };

static struct report {
    const char *trace[FAULT_CALLS];
    int calls;
} * report;

struct setting {
    const char *name;
    enum rule_naming naming;
    uint64_t backups;
    bool no_rename_flags;
    bool no_links;
};

static void require(bool holds, const char *what)
{
    if (!holds) {
        fprintf(stderr, "%s\n", what);
        _exit(1);
    }
}

static void start(struct scene *scene, const struct faults *wanted)
{
    scene_start(scene);
    faults_install(wanted);
    scene_attach(scene);
}

/* The process that is killed. */
static void rotate_and_die(struct scene *scene, const struct faults *wanted)
{
    start(scene, wanted);
    require(scene_write_lines(scene, 1, ROTATING_LINE - 1), "a line before the rotation was not written");
    scene_pass(2);
    faults_arm();
    require(scene_write(scene, ROTATING_LINE) == LINE_LENGTH, "the line that rotates was not written");
    report->calls = faults.count;
    _exit(0);
}

/* The next one: its lines rotate again, and it settles at its end. */
static void write_on(struct scene *scene, const struct faults *wanted)
{
    scene_pass(4);
    start(scene, wanted);
    require(scene_write_lines(scene, ROTATING_LINE + 1, LAST_LINE), "a line after the death was not written");
    scene_settle(scene);
    _exit(0);
}

static int run_process(struct scene *scene, const struct faults *wanted,
                       void (*body)(struct scene *scene, const struct faults *wanted))
{
    int status = -1;
    pid_t child = fork();
    if (child == 0) {
        body(scene, wanted);
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status));
    return WEXITSTATUS(status);
}

static struct faults faults_of(const struct setting *setting)
{
    return (struct faults){.call = "none",
                           .no_rename_flags = setting->no_rename_flags,
                           .no_links = setting->no_links,
                           .trace = report->trace};
}

/* How many things were wrong. The line on the way when the process died may be there or not; all others must. */
static int die_after(const struct setting *setting, int at)
{
    struct scene scene;
    struct faults wanted = faults_of(setting);
    struct faults repaired = faults_of(setting);
    scene_make(&scene);
    scene.rule.policy.max_bytes = 5 * LINE_LENGTH;
    scene.rule.policy.naming = setting->naming;
    wanted.kind = FAULT_KILL;
    wanted.at = at;
    assert_int_equal(run_process(&scene, &wanted, rotate_and_die), FAULT_KILLED);
    const char *call = report->trace[at];
    bool two_steps = setting->no_rename_flags && setting->no_links; /* then there is a moment without a live file */
    bool good = two_steps || temporary_exists(scene.directory, LOG_NAME);
    if (!good) {
        fprintf(stderr, "the live file is missing\n");
    }
    good = run_process(&scene, &repaired, write_on) == 0 && good;
    good = history_holds(scene.directory, LAST_LINE, ROTATING_LINE) && good;
    good = history_is_settled(scene.directory) && good;
    if (!good) {
        fprintf(stderr, "^^^ %s, died after call %d (%s)\n\n", setting->name, at, call);
    }
    temporary_remove(scene.directory);
    return !good;
}

static int count_calls(const struct setting *setting)
{
    struct scene scene;
    struct faults wanted = faults_of(setting);
    scene_make(&scene);
    scene.rule.policy.max_bytes = 5 * LINE_LENGTH;
    scene.rule.policy.naming = setting->naming;
    assert_int_equal(run_process(&scene, &wanted, rotate_and_die), 0);
    temporary_remove(scene.directory);
    assert_in_range(report->calls, 10, FAULT_CALLS);
    return report->calls;
}

static void die_after_each(const struct setting *setting)
{
    int calls = count_calls(setting);
    int wrong = 0;
    for (int at = 0; at < calls; at++) {
        wrong += die_after(setting, at);
    }
    assert_int_equal(wrong, 0);
}

static void next_process_repairs_numbered_archives(void **state)
{
    (void)state;
    die_after_each(&(struct setting){.name = "numbers", .naming = NAMING_NUMBER});
}

static void next_process_repairs_archives_named_by_time(void **state)
{
    (void)state;
    die_after_each(&(struct setting){.name = "times", .naming = NAMING_TIME});
}

static void next_process_repairs_without_rename_flags(void **state)
{
    (void)state;
    die_after_each(&(struct setting){.name = "no rename flags", .no_rename_flags = true});
}

static void next_process_repairs_without_rename_flags_and_links(void **state)
{
    (void)state;
    die_after_each(&(struct setting){.name = "no rename flags, no links", .no_rename_flags = true, .no_links = true});
}

/* The other process has the log open all along; only the killed one rotates. */
static void outlive(struct scene *scene, const struct faults *wanted)
{
    const struct faults none = {.kind = FAULT_NONE};
    start(scene, &none);
    require(scene_write_lines(scene, 1, ROTATING_LINE - 1), "a line before the rotation was not written");
    pid_t child = fork();
    if (child == 0) {
        scene_pass(2);
        faults_install(wanted);
        faults_arm();
        scene_write(scene, ROTATING_LINE);
        _exit(0);
    }
    int status;
    require(waitpid(child, &status, 0) == child && WEXITSTATUS(status) == FAULT_KILLED, "it was not killed");
    scene_pass(2);
    require(scene_write_lines(scene, ROTATING_LINE + 1, ROTATING_LINE + 2), "a line was not written");
    scene_settle(scene);
    _exit(0);
}

static void attached_process_finishes_what_a_killed_one_left(void **state)
{
    struct setting setting = {.name = "attached", .naming = NAMING_NUMBER};
    int calls = count_calls(&setting);
    int wrong = 0;
    (void)state;
    for (int at = 0; at + 1 < calls; at++) {
        struct scene scene;
        struct faults wanted = faults_of(&setting);
        scene_make(&scene);
        scene.rule.policy.max_bytes = 5 * LINE_LENGTH;
        wanted.kind = FAULT_KILL;
        wanted.at = at;
        int result = run_process(&scene, &wanted, outlive);
        bool good = result == 0 && history_holds(scene.directory, ROTATING_LINE + 2, ROTATING_LINE);
        good = history_is_settled(scene.directory) && good;
        if (!good) {
            fprintf(stderr, "^^^ died after call %d (%s)\n\n", at, report->trace[at]);
        }
        wrong += !good;
        temporary_remove(scene.directory);
    }
    assert_int_equal(wrong, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(next_process_repairs_numbered_archives),
        cmocka_unit_test(next_process_repairs_archives_named_by_time),
        cmocka_unit_test(next_process_repairs_without_rename_flags),
        cmocka_unit_test(next_process_repairs_without_rename_flags_and_links),
        cmocka_unit_test(attached_process_finishes_what_a_killed_one_left),
    };
    report = mmap(NULL, sizeof *report, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    return report == MAP_FAILED ? 1 : cmocka_run_group_tests(tests, NULL, NULL);
}
