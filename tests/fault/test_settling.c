/*
 * Settling with the process killed after each of its system calls, and with each of them failing: the next pass
 * repairs.
 */
#include "faults.h"
#include "settling_scene.h"

#include <sys/mman.h>
#include <sys/wait.h>

enum { ERRORS = 8, PASSES = 4 };

static const struct setting no_flags = {.name = "no rename flags", .no_rename_flags = true};

struct realistic {
    const char *call;
    int errors[ERRORS];
};
static const struct realistic realistic[] = {
    {"openat", {ENOSPC, EACCES, EMFILE, ENFILE, EROFS, EIO, EDQUOT, EINTR}},
    {"close", {EIO, EINTR, ENOSPC, EDQUOT}},
    {"read", {EIO, EINTR}},
    {"writev", {ENOSPC, EIO, EDQUOT, EINTR}},
    {"fstat", {EIO}},
    {"fstatat", {EIO, EACCES}},
    {"fchmod", {EROFS, EIO, EDQUOT, EPERM}},
    {"fchown", {EROFS, EIO, EDQUOT}},
    {"futimens", {EROFS, EIO, EDQUOT, EACCES}},
    {"fsync", {ENOSPC, EIO, EDQUOT, EROFS, EINTR}},
    {"renameat2", {ENOSPC, EACCES, EROFS, EIO, EDQUOT}},
    {"unlinkat", {EACCES, EROFS, EIO}},
    {"getdents64", {EIO}},
    {"fcntl", {EACCES, EINVAL, EIO, ENOMEM}},
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

/* Shared with the process that is killed. */
static struct report {
    const char *trace[FAULT_CALLS];
    int calls;
} * report;

static int settle(const struct place *place)
{
    struct archives archives = {.items = NULL};
    int error = pass_steps(&place->task, &archives);
    while (archive_remove_unused(&place->task, &archives)) {
    }
    int result = archives.wait ? PASS_WAITS : PASS_DONE;
    archive_free(&archives);
    return error != 0 ? error : result;
}

static struct faults faults_of(const struct setting *setting, enum fault_kind kind, int at)
{
    return (struct faults){
        .kind = kind, .at = at, .call = "none", .no_rename_flags = setting->no_rename_flags, .trace = report->trace};
}

static int settle_with(const struct place *place, const struct faults *wanted)
{
    faults_install(wanted);
    faults_arm();
    int result = settle(place);
    faults_disarm();
    report->calls = faults.count;
    return result;
}

/* Later passes, without faults, until one has nothing to do. */
static bool repairs(const struct place *place, const struct setting *setting)
{
    const struct faults none = faults_of(setting, FAULT_NONE, 0);
    int result = PASS_WAITS;
    for (int i = 0; i < PASSES && result == PASS_WAITS; i++) {
        result = settle_with(place, &none);
    }
    if (result != PASS_DONE) {
        fprintf(stderr, "the next pass: %d\n", result);
    }
    return is_settled(place) && result == PASS_DONE;
}

static const struct place *looked_at;
static bool always_whole;

/* After each call that changes what is to be seen. */
static void look(const char *call)
{
    if (strcmp(call, "renameat2") == 0 || strcmp(call, "unlinkat") == 0) {
        always_whole = always_whole && is_whole(looked_at);
    }
}

/* The calls of a pass when nothing fails. */
static int count_calls(const struct setting *setting)
{
    struct place *place = place_of(setting);
    struct faults wanted = faults_of(setting, FAULT_NONE, 0);
    looked_at = place;
    always_whole = true;
    wanted.look = look;
    assert_int_equal(settle_with(place, &wanted), PASS_DONE);
    int calls = report->calls;
    assert_true(always_whole);
    assert_true(is_settled(place));
    assert_in_range(calls, 50, FAULT_CALLS);
    discard(place);
    return calls;
}

static bool die_after(const struct setting *setting, int at)
{
    int status = -1;
    struct place *place = place_of(setting);
    const struct faults wanted = faults_of(setting, FAULT_KILL, at);
    pid_t child = fork();
    if (child == 0) {
        settle_with(place, &wanted);
        _exit(0);
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(WEXITSTATUS(status), FAULT_KILLED);
    bool good = is_whole(place);
    good = repairs(place, setting) && good;
    discard(place);
    return good;
}

static void die_after_each(const struct setting *setting)
{
    int wrong = 0;
    int calls = count_calls(setting);
    for (int at = 0; at < calls; at++) {
        if (!die_after(setting, at)) {
            fprintf(stderr, "^^^ %s, died after call %d (%s)\n\n", setting->name, at, report->trace[at]);
            wrong++;
        }
    }
    assert_int_equal(wrong, 0);
}

static bool fail_at(const struct setting *setting, int at, int error)
{
    struct place *place = place_of(setting);
    struct faults wanted = faults_of(setting, FAULT_ONE, at);
    wanted.error = error;
    looked_at = place;
    always_whole = true;
    wanted.look = look;
    settle_with(place, &wanted);
    bool good = always_whole;
    good = repairs(place, setting) && good;
    discard(place);
    return good;
}

static void fail_each(const struct setting *setting)
{
    const char *calls[FAULT_CALLS];
    int wrong = 0;
    int count = count_calls(setting);
    memcpy(calls, report->trace, sizeof calls);
    for (int at = 0; at < count; at++) {
        const int *errors = errors_of(calls[at]);
        for (int i = 0; i < ERRORS && errors[i] != 0; i++) {
            if (!fail_at(setting, at, errors[i])) {
                fprintf(stderr, "^^^ %s, call %d (%s) failed with %d\n\n", setting->name, at, calls[at], errors[i]);
                wrong++;
            }
        }
    }
    assert_int_equal(wrong, 0);
}

static void next_pass_repairs_when_numbering_and_compression_are_killed(void **state)
{
    (void)state;
    die_after_each(&numbers);
}

static void next_pass_repairs_when_naming_by_time_and_compression_are_killed(void **state)
{
    (void)state;
    die_after_each(&times);
}

static void next_pass_repairs_when_settling_without_rename_flags_is_killed(void **state)
{
    (void)state;
    die_after_each(&no_flags);
}

static void next_pass_repairs_when_a_call_of_numbering_and_compression_fails(void **state)
{
    (void)state;
    fail_each(&numbers);
}

static void next_pass_repairs_when_a_call_of_naming_by_time_and_compression_fails(void **state)
{
    (void)state;
    fail_each(&times);
}

static void next_pass_repairs_when_a_call_fails_without_rename_flags(void **state)
{
    (void)state;
    fail_each(&no_flags);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(next_pass_repairs_when_numbering_and_compression_are_killed),
        cmocka_unit_test(next_pass_repairs_when_naming_by_time_and_compression_are_killed),
        cmocka_unit_test(next_pass_repairs_when_settling_without_rename_flags_is_killed),
        cmocka_unit_test(next_pass_repairs_when_a_call_of_numbering_and_compression_fails),
        cmocka_unit_test(next_pass_repairs_when_a_call_of_naming_by_time_and_compression_fails),
        cmocka_unit_test(next_pass_repairs_when_a_call_fails_without_rename_flags),
    };
    report = mmap(NULL, sizeof *report, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    return report == MAP_FAILED ? 1 : cmocka_run_group_tests_name("settling", tests, NULL, NULL);
}
