/*
 * Settling with the process killed after each of its system calls, and with each of them failing: the next pass
 * repairs.
 *
 * The directory holds lines 1 to 20 in four archives, two of them pending; the oldest of them was just compressed when
 * somebody was killed, and another compression was cut off. There are two older ones too many, and a file that
 * was prepared for a rotation. Line 21 is in the live file.
 */
#include "../unit/archive_scene.h"
#include "faults.h"

#include <sys/mman.h>
#include <sys/wait.h>

enum { ARCHIVES = 4, LINES = 5, LAST_LINE = ARCHIVES * LINES, ERRORS = 8, PASSES = 4 };

struct setting {
    const char *name;
    enum rule_naming naming;
    bool no_rename_flags;
};
static const struct setting numbers = {.name = "numbers", .naming = NAMING_NUMBER};
static const struct setting times = {.name = "times", .naming = NAMING_TIME};
static const struct setting no_flags = {.name = "no rename flags", .no_rename_flags = true};

/* What was there before, by naming: the newest, the one before, its compressed form, and two too many. */
static const char *const named[2][5] = {
    {"app.log.1", "app.log.2", "app.log.2.gz", "app.log.7", "app.log.9.gz"},
    {"app.log.2026-11-20_15-00-07", "app.log.2026-11-20_15-00-00", "app.log.2026-11-20_15-00-00.gz",
     "app.log.2026-11-19_23-00-00", "app.log.2026-11-19_22-00-00.gz"},
};

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

static void make_lines(char *text, int first, int last)
{
    for (; first <= last; first++) {
        text += sprintf(text, "line %d\n", first);
    }
}

static void make_file(const struct place *place, const char *name, int nth)
{
    char text[256] = "";
    make_lines(text, nth * LINES + 1, (nth + 1) * LINES);
    temporary_write(place->directory, name, text);
}

static void make_compressed(const struct place *place, const char *name, int nth)
{
    char text[256] = "";
    struct temporary_path path = temporary_path(place->directory, name);
    make_lines(text, nth * LINES + 1, (nth + 1) * LINES);
    gzFile file = gzopen(path.text, "wbe");
    temporary_must(file != NULL && gzputs(file, text) > 0 && gzclose(file) == Z_OK, path.text);
}

static struct place *place_of(const struct setting *setting)
{
    void *state;
    const char *const *names = named[setting->naming];
    place_setup(&state);
    struct place *place = state;
    place->policy.naming = setting->naming;
    place->policy.compress = 6;
    place->policy.backups = ARCHIVES;
    place->task.finished = NULL;
    make_file(place, names[1], 0);
    make_compressed(place, names[2], 0);
    make_file(place, names[0], 1);
    make_file(place, PENDING1, 2);
    make_file(place, PENDING3, 3);
    temporary_write(place->directory, names[3], "too many\n");
    temporary_write(place->directory, names[4], "too many\n");
    temporary_write(place->directory, ".app.log.squeeze", "cut o");
    temporary_write(place->directory, ".app.log.0000000000000004.1795190500.pending", "");
    temporary_write(place->directory, "app.log", "line 21\n");
    return place;
}

static void discard(struct place *place)
{
    void *state = place;
    place_teardown(&state);
}

/* The archives, oldest first. */
struct found {
    int count;
    int strangers; /* hidden files */
    struct {
        struct name name;
        char file[NAME_SIZE];
    } archives[32];
};

static int by_age(const void *a, const void *b)
{
    return name_compare(a, b);
}

static void find(const struct place *place, struct found *found)
{
    DIR *stream = opendir(place->directory);
    temporary_must(stream != NULL, place->directory);
    *found = (struct found){.count = 0};
    for (struct dirent *entry; (entry = readdir(stream)) != NULL;) {
        struct name name = name_parse("app.log", entry->d_name);
        if (name.kind == NAME_NUMBER || name.kind == NAME_TIME || name.kind == NAME_PENDING) {
            found->archives[found->count].name = name;
            strcpy(found->archives[found->count++].file, entry->d_name);
        }
        found->strangers += strncmp(entry->d_name, ".app.log", 8) == 0;
    }
    closedir(stream);
    qsort(found->archives, (size_t)found->count, sizeof found->archives[0], by_age);
}

/* The whole text of an archive; NULL if it says that it is compressed and cannot be read to its end. */
static char *read_archive(const struct place *place, const char *file)
{
    enum { SIZE = 4096 };
    struct temporary_path path = temporary_path(place->directory, file);
    char *text = calloc(1, SIZE);
    gzFile stream = gzopen(path.text, "rbe");
    temporary_must(stream != NULL && text != NULL, path.text);
    int length = gzread(stream, text, SIZE - 1);
    if (gzclose(stream) != Z_OK || length <= 0) {
        free(text);
        return NULL;
    }
    return text;
}

/* At any moment: each line is somewhere, and what has its name can be read. */
static bool is_whole(const struct place *place)
{
    bool seen[LAST_LINE + 1] = {false};
    struct found found;
    find(place, &found);
    for (int i = 0; i < found.count; i++) {
        char *text = read_archive(place, found.archives[i].file);
        if (text == NULL && found.archives[i].name.kind != NAME_PENDING) {
            fprintf(stderr, "%s cannot be read\n", found.archives[i].file);
            return false;
        }
        for (const char *line = text; line != NULL && *line != '\0'; line = strchr(line, '\n') + 1) {
            int number = 0;
            if (sscanf(line, "line %d\n", &number) == 1) {
                seen[number] = true;
            }
        }
        free(text);
    }
    for (int line = 1; line <= LAST_LINE; line++) {
        if (!seen[line]) {
            fprintf(stderr, "line %d is lost\n", line);
            return false;
        }
    }
    return true;
}

/* In the end: each line once, in order, in compressed archives, and nothing is left over. */
static bool is_settled(const struct place *place)
{
    struct found found;
    char all[4096] = "";
    char expected[4096] = "";
    find(place, &found);
    bool good = found.count == ARCHIVES && found.strangers == 0 && temporary_exists(place->directory, "app.log");
    for (int i = 0; i < found.count && strlen(all) < sizeof all / 2; i++) {
        char *text = read_archive(place, found.archives[i].file);
        strcat(all, text == NULL ? "" : text);
        good = good && found.archives[i].name.gzip;
        free(text);
    }
    make_lines(expected, 1, LAST_LINE);
    good = good && strcmp(all, expected) == 0;
    for (int i = 0; i < found.count && !good; i++) {
        fprintf(stderr, "%s\n", found.archives[i].file);
    }
    if (!good) {
        fprintf(stderr, "%d hidden files, and these lines:\n%s", found.strangers, all);
    }
    return good;
}

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
