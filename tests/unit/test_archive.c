/*
 * From pending to final names, and removal by `backups`: directories described by their names before and after.
 *
 * Each file holds the name that it had at first, so that a listing shows what became of which.
 */
#include "temporary.h"

#include "../../shim/core/archive.h"
#include "../../shim/core/name.h"
#include "../../shim/core/sys.h"

#include <dirent.h>
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

/* Pending archives of generations 1 to 3: begun 2026-11-20 at 16:00:00, 16:00:00 and 16:00:07. */
#define PENDING1 ".app.log.0000000000000001.1795190400.pending"
#define PENDING2 ".app.log.0000000000000002.1795190400.pending"
#define PENDING3 ".app.log.0000000000000003.1795190407.pending"

enum { LISTING_SIZE = 8192 };

struct place {
    char directory[TEMPORARY_SIZE];
    struct rule rule;
    struct period_zone zone;
    struct archive_task task;
    char unused[NAME_SIZE];
};

static int setup(void **state)
{
    struct place *place = calloc(1, sizeof *place);
    temporary_make(place->directory);
    period_zone_utc(&place->zone);
    place->rule = (struct rule){.naming = NAMING_NUMBER, .period = {.unit = PERIOD_NONE, .interval = 1}};
    place->task = (struct archive_task){
        .rule = &place->rule,
        .zone = &place->zone,
        .directory = open(place->directory, O_PATH | O_DIRECTORY | O_CLOEXEC),
        .base = "app.log",
        .generation = 10,
        .renames = 256,
        .unused = place->unused,
    };
    *state = place;
    return 0;
}

static int teardown(void **state)
{
    struct place *place = *state;
    sys = sys_real;
    close(place->task.directory);
    temporary_remove(place->directory);
    free(place);
    return 0;
}

static void make(struct place *place, const char *const names[])
{
    for (; *names != NULL; names++) {
        temporary_write(place->directory, *names, *names);
    }
}
#define MAKE(place, ...) make(place, (const char *const[]){__VA_ARGS__, NULL})

static int by_name(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

/* "name" for a file that holds its own name, "name<former" for one that was renamed, "name/" and "name@". */
static void describe(const struct place *place, const char *name, char *out, size_t size)
{
    struct stat status;
    struct temporary_path path = temporary_path(place->directory, name);
    assert_int_equal(lstat(path.text, &status), 0);
    if (S_ISDIR(status.st_mode) || S_ISLNK(status.st_mode)) {
        snprintf(out, size, "%s%c", name, S_ISDIR(status.st_mode) ? '/' : '@');
        return;
    }
    char *text = temporary_read(place->directory, name);
    bool renamed = strcmp(text, name) != 0;
    snprintf(out, size, "%s%s%s", name, renamed ? "<" : "", renamed ? text : "");
    free(text);
}

static void assert_there(const struct place *place, const char *expected)
{
    char *names[64];
    size_t count = 0;
    char listing[LISTING_SIZE] = "";
    DIR *stream = opendir(place->directory);
    assert_non_null(stream);
    for (struct dirent *entry; (entry = readdir(stream)) != NULL;) {
        if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0) {
            assert_in_range(count, 0, 63);
            names[count++] = strdup(entry->d_name);
        }
    }
    closedir(stream);
    qsort(names, count, sizeof names[0], by_name);
    for (size_t i = 0; i < count; i++) {
        size_t length = strlen(listing);
        strcpy(listing + length, i > 0 ? " " : "");
        length = strlen(listing);
        describe(place, names[i], listing + length, sizeof listing - length);
        free(names[i]);
    }
    assert_string_equal(listing, expected);
}

static void assert_settles(struct place *place)
{
    assert_int_equal(archive_settle(&place->task), ARCHIVE_DONE);
}

static void nothing_to_do_changes_nothing(void **state)
{
    struct place *place = *state;
    assert_settles(place);
    MAKE(place, "app.log", ".app.log.lock", "app.log.1", "app.log.3");
    assert_settles(place);
    assert_there(place, ".app.log.lock app.log app.log.1 app.log.3");
}

static void newest_pending_archive_gets_number_one(void **state)
{
    struct place *place = *state;
    MAKE(place, PENDING2, PENDING1, "app.log", "app.log.1", "app.log.2");
    assert_settles(place);
    assert_there(place,
                 "app.log app.log.1<" PENDING2 " app.log.2<" PENDING1 " app.log.3<app.log.1 app.log.4<app.log.2");
}

static void shift_stops_at_the_first_gap(void **state)
{
    struct place *place = *state;
    MAKE(place, PENDING1, "app.log.1", "app.log.3", "app.log.4", "app.log.9");
    assert_settles(place);
    assert_there(place, "app.log.1<" PENDING1 " app.log.2<app.log.1 app.log.3 app.log.4 app.log.9");
}

static void compressed_archives_keep_their_suffix_and_place(void **state)
{
    struct place *place = *state;
    MAKE(place, PENDING1, "app.log.1", "app.log.2.gz", "app.log.3.gz");
    assert_settles(place);
    assert_there(place,
                 "app.log.1<" PENDING1 " app.log.2<app.log.1 app.log.3.gz<app.log.2.gz app.log.4.gz<app.log.3.gz");
}

static void both_forms_of_one_number_are_kept(void **state)
{
    struct place *place = *state;
    MAKE(place, PENDING1, "app.log.1", "app.log.1.gz");
    assert_settles(place);
    assert_false(temporary_exists(place->directory, PENDING1));
    int archives =
        temporary_exists(place->directory, "app.log.1") +
        (temporary_exists(place->directory, "app.log.2") || temporary_exists(place->directory, "app.log.2.gz")) +
        (temporary_exists(place->directory, "app.log.3") || temporary_exists(place->directory, "app.log.3.gz"));
    assert_int_equal(archives, 3);
}

static void names_of_others_are_not_touched(void **state)
{
    struct place *place = *state;
    MAKE(place, "app.log.01", "app.log.0", "app.log.1.bak", "app.log.x", "app.log2.1", "xapp.log.1",
         ".app.log.1.pending", "app.log.1.gz.gz", PENDING1);
    place->rule.backups = 1;
    assert_settles(place);
    assert_there(place, ".app.log.1.pending app.log.0 app.log.01 app.log.1<" PENDING1
                        " app.log.1.bak app.log.1.gz.gz app.log.x app.log2.1 xapp.log.1");
}

static void make_foreign(const struct place *place, const char *directory, const char *link)
{
    struct temporary_path path = temporary_path(place->directory, directory);
    assert_int_equal(mkdir(path.text, 0700), 0);
    path = temporary_path(place->directory, link);
    assert_int_equal(symlink("/dev/null", path.text), 0);
}

static ssize_t getdents_without_types(int fd, void *buffer, size_t size)
{
    ssize_t length = sys_real.getdents64(fd, buffer, size);
    for (ssize_t at = 0; at < length;) {
        struct dirent64 *entry = (struct dirent64 *)(void *)((char *)buffer + at);
        entry->d_type = DT_UNKNOWN;
        at += entry->d_reclen;
    }
    return length;
}

static void directories_and_links_are_stepped_around(void **state)
{
    struct place *place = *state;
    MAKE(place, PENDING1, PENDING2, "app.log.2");
    make_foreign(place, "app.log.1", "app.log.3");
    make_foreign(place, ".app.log.0000000000000009.5.pending", ".app.log.0000000000000008.5.pending");
    place->rule.backups = 3;
    assert_settles(place);
    assert_there(place, ".app.log.0000000000000008.5.pending@ .app.log.0000000000000009.5.pending/ app.log.1/ "
                        "app.log.2<" PENDING2 " app.log.3@ app.log.4<" PENDING1 " app.log.5<app.log.2");
}

static void file_system_without_types_in_its_directories_makes_no_difference(void **state)
{
    sys.getdents64 = getdents_without_types;
    directories_and_links_are_stepped_around(state);
}

static void directory_with_the_name_of_a_period_is_stepped_around(void **state)
{
    struct place *place = *state;
    place->rule.naming = NAMING_TIME;
    MAKE(place, PENDING1, PENDING2);
    make_foreign(place, "app.log.2026-11-20_16-00-00", "app.log.2026-11-20_16-00-00.1");
    assert_settles(place);
    assert_there(place,
                 "app.log.2026-11-20_16-00-00/ app.log.2026-11-20_16-00-00.1@ app.log.2026-11-20_16-00-00.2<" PENDING1
                 " app.log.2026-11-20_16-00-00.3<" PENDING2);
}

static void oldest_beyond_backups_are_removed(void **state)
{
    struct place *place = *state;
    MAKE(place, "app.log", PENDING1, "app.log.1", "app.log.2", "app.log.3.gz", "app.log.4");
    place->rule.backups = 3;
    assert_settles(place);
    assert_there(place, "app.log app.log.1<" PENDING1 " app.log.2<app.log.1 app.log.3<app.log.2");
}

static void backups_lowered_take_effect(void **state)
{
    struct place *place = *state;
    MAKE(place, "app.log.1", "app.log.2", "app.log.3", "app.log.4", "app.log.5");
    place->rule.backups = 2;
    assert_settles(place);
    assert_there(place, "app.log.1 app.log.2");
    place->rule.naming = NAMING_TIME;
    MAKE(place, "app.log.2026-11-18", "app.log.2026-11-19.gz", PENDING3);
    assert_settles(place);
    assert_int_equal(temporary_exists(place->directory, "app.log.2026-11-18"), 0);
    assert_int_equal(temporary_exists(place->directory, "app.log.2026-11-19.gz"), 0);
    assert_true(temporary_exists(place->directory, "app.log.2026-11-20_16-00-07"));
}

static void several_archives_of_one_period_are_counted_up(void **state)
{
    struct place *place = *state;
    place->rule.naming = NAMING_TIME;
    place->rule.period.unit = PERIOD_DAY;
    MAKE(place, PENDING1, PENDING2, PENDING3);
    assert_settles(place);
    assert_there(place,
                 "app.log.2026-11-20<" PENDING1 " app.log.2026-11-20.1<" PENDING2 " app.log.2026-11-20.2<" PENDING3);
    MAKE(place, PENDING1);
    assert_settles(place);
    assert_true(temporary_exists(place->directory, "app.log.2026-11-20.3"));
}

static void compressed_archive_keeps_its_period_and_count(void **state)
{
    struct place *place = *state;
    place->rule.naming = NAMING_TIME;
    place->rule.period.unit = PERIOD_HOUR;
    MAKE(place, PENDING1, "app.log.2026-11-20_16.gz", "app.log.2026-11-20_16.4.gz");
    assert_settles(place);
    assert_there(place, "app.log.2026-11-20_16.4.gz app.log.2026-11-20_16.5<" PENDING1 " app.log.2026-11-20_16.gz");
}

static void name_is_the_period_by_the_clock_of_the_zone(void **state)
{
    struct place *place = *state;
    place->rule.naming = NAMING_TIME;
    place->rule.period.unit = PERIOD_DAY;
    place->zone.offset[0] = 9 * 3600; /* 01:00 of the next day */
    MAKE(place, PENDING1);
    assert_settles(place);
    assert_there(place, "app.log.2026-11-21<" PENDING1);
}

static void archives_of_the_other_naming_stay_as_they_are(void **state)
{
    struct place *place = *state;
    MAKE(place, "app.log.2026-11-19", "app.log.1", PENDING1);
    assert_settles(place);
    assert_there(place, "app.log.1<" PENDING1 " app.log.2<app.log.1 app.log.2026-11-19");
    place->rule.naming = NAMING_TIME;
    MAKE(place, PENDING3);
    assert_settles(place);
    assert_there(place,
                 "app.log.1<" PENDING1 " app.log.2<app.log.1 app.log.2026-11-19 app.log.2026-11-20_16-00-07<" PENDING3);
}

static void empty_pending_file_and_second_name_of_the_live_file_are_no_archives(void **state)
{
    struct place *place = *state;
    struct temporary_path live = temporary_path(place->directory, "app.log");
    struct temporary_path second = temporary_path(place->directory, PENDING2);
    temporary_write(place->directory, PENDING1, "");
    MAKE(place, "app.log");
    assert_int_equal(link(live.text, second.text), 0);
    assert_settles(place);
    assert_true(temporary_exists(place->directory, "app.log"));
    assert_false(temporary_exists(place->directory, "app.log.1"));
    for (int i = 0; i < 2; i++) {
        place->unused[0] = '\0';
        assert_settles(place);
        assert_true(temporary_exists(place->directory, place->unused));
        archive_remove_unused(&place->task);
    }
    assert_there(place, "app.log");
}

static void file_found_unused_stays_when_it_is_in_use_after_all(void **state)
{
    struct place *place = *state;
    temporary_write(place->directory, PENDING1, "");
    MAKE(place, "app.log");
    assert_settles(place);
    assert_string_equal(place->unused, PENDING1);
    MAKE(place, PENDING1);
    archive_remove_unused(&place->task);
    assert_there(place, PENDING1 " app.log");
}

static int64_t later;

static int clock_of_later(clockid_t clock, struct timespec *now)
{
    int error = sys_real.clock(clock, now);
    now->tv_sec += later;
    return error;
}

/* The directory was read while rotations went on: only those that were complete before it count. */
static void archive_of_a_later_generation_waits_for_its_elders(void **state)
{
    struct place *place = *state;
    sys.clock = clock_of_later;
    later = 0;
    place->task.generation = 2;
    MAKE(place, PENDING1, PENDING2);
    assert_int_equal(archive_settle(&place->task), ARCHIVE_WAIT);
    assert_there(place, PENDING2 " app.log.1<" PENDING1);
    later = 60;
    assert_settles(place);
    assert_there(place, "app.log.1<" PENDING2 " app.log.2<" PENDING1);
}

/* One rename in each call: after each of them all archives are there, in their order. */
static void interrupted_shift_goes_on_where_it_stopped(void **state)
{
    struct place *place = *state;
    MAKE(place, PENDING1, PENDING2, "app.log.1", "app.log.2.gz", "app.log.3", "app.log.6");
    int calls = 1;
    for (place->task.renames = 1; archive_settle(&place->task) == ARCHIVE_MORE; calls++) {
        assert_in_range(calls, 1, 6);
    }
    assert_there(place, "app.log.1<" PENDING2 " app.log.2<" PENDING1 " app.log.3<app.log.1 app.log.4.gz<app.log.2.gz "
                        "app.log.5<app.log.3 app.log.6");
}

static unsigned rename_count;

static int counted_rename(int from_dir, const char *from, int to_dir, const char *to, unsigned flags)
{
    rename_count++;
    return sys_real.renameat2(from_dir, from, to_dir, to, flags);
}

static void five_thousand_archives_take_a_bounded_number_of_renames_a_call(void **state)
{
    enum { ARCHIVES = 5000, BOUND = 256 };
    struct place *place = *state;
    char name[64];
    for (int i = 1; i <= ARCHIVES; i++) {
        snprintf(name, sizeof name, "app.log.%d", i);
        temporary_write(place->directory, name, i == ARCHIVES ? "last" : "");
    }
    MAKE(place, PENDING1);
    sys.renameat2 = counted_rename;
    int result = ARCHIVE_MORE;
    unsigned all = 0;
    for (; result == ARCHIVE_MORE; all += rename_count) {
        rename_count = 0;
        result = archive_settle(&place->task);
        assert_in_range(rename_count, result, BOUND);
    }
    assert_int_equal(result, ARCHIVE_DONE);
    assert_int_equal(all, ARCHIVES + 1);
    assert_int_equal(temporary_length(place->directory, "app.log.1"), strlen(PENDING1));
    assert_int_equal(temporary_length(place->directory, "app.log.5001"), 4);
}

static const struct place *racing;

/* Somebody makes the very name, just before. */
static int rename_that_comes_late(int from_dir, const char *from, int to_dir, const char *to, unsigned flags)
{
    temporary_write(racing->directory, to, "precious");
    return sys_real.renameat2(from_dir, from, to_dir, to, flags);
}

static void file_that_appears_meanwhile_is_not_overwritten(void **state)
{
    struct place *place = *state;
    racing = place;
    MAKE(place, PENDING1);
    sys.renameat2 = rename_that_comes_late;
    assert_int_equal(archive_settle(&place->task), -EEXIST);
    assert_there(place, PENDING1 " app.log.1<precious");
    sys.renameat2 = sys_real.renameat2;
    assert_settles(place);
    assert_there(place, "app.log.1<" PENDING1 " app.log.2<precious");
}

static int rename_without_flags(int from_dir, const char *from, int to_dir, const char *to, unsigned flags)
{
    return flags != 0 ? -EINVAL : sys_real.renameat2(from_dir, from, to_dir, to, flags);
}

static int no_link(int from_dir, const char *from, int to_dir, const char *to, int flags)
{
    (void)from_dir, (void)from, (void)to_dir, (void)to, (void)flags;
    return -EPERM;
}

static void names_are_given_without_rename_flags(void **state)
{
    struct place *place = *state;
    MAKE(place, PENDING1, "app.log.1");
    sys.renameat2 = rename_without_flags;
    assert_settles(place);
    assert_there(place, "app.log.1<" PENDING1 " app.log.2<app.log.1");
}

static void names_are_given_without_rename_flags_and_links(void **state)
{
    struct place *place = *state;
    MAKE(place, PENDING1, "app.log.1");
    sys.renameat2 = rename_without_flags;
    sys.linkat = no_link;
    assert_settles(place);
    assert_there(place, "app.log.1<" PENDING1 " app.log.2<app.log.1");
}

static int no_unlink(int dir, const char *path, int flags)
{
    (void)dir, (void)path, (void)flags;
    return -EACCES;
}

static void archive_that_cannot_be_removed_is_told_and_kept(void **state)
{
    struct place *place = *state;
    MAKE(place, "app.log.1", "app.log.2", PENDING1);
    place->rule.backups = 2;
    sys.unlinkat = no_unlink;
    assert_int_equal(archive_settle(&place->task), -EACCES);
    assert_true(temporary_exists(place->directory, "app.log.2") || temporary_exists(place->directory, "app.log.3"));
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(nothing_to_do_changes_nothing),
        TEST(newest_pending_archive_gets_number_one),
        TEST(shift_stops_at_the_first_gap),
        TEST(compressed_archives_keep_their_suffix_and_place),
        TEST(both_forms_of_one_number_are_kept),
        TEST(names_of_others_are_not_touched),
        TEST(directories_and_links_are_stepped_around),
        TEST(file_system_without_types_in_its_directories_makes_no_difference),
        TEST(directory_with_the_name_of_a_period_is_stepped_around),
        TEST(oldest_beyond_backups_are_removed),
        TEST(backups_lowered_take_effect),
        TEST(several_archives_of_one_period_are_counted_up),
        TEST(compressed_archive_keeps_its_period_and_count),
        TEST(name_is_the_period_by_the_clock_of_the_zone),
        TEST(archives_of_the_other_naming_stay_as_they_are),
        TEST(empty_pending_file_and_second_name_of_the_live_file_are_no_archives),
        TEST(file_found_unused_stays_when_it_is_in_use_after_all),
        TEST(archive_of_a_later_generation_waits_for_its_elders),
        TEST(interrupted_shift_goes_on_where_it_stopped),
        TEST(five_thousand_archives_take_a_bounded_number_of_renames_a_call),
        TEST(file_that_appears_meanwhile_is_not_overwritten),
        TEST(names_are_given_without_rename_flags),
        TEST(names_are_given_without_rename_flags_and_links),
        TEST(archive_that_cannot_be_removed_is_told_and_kept),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
