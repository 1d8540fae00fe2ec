/* From pending to final names: numbers and periods, in order, and nothing is ever overwritten. */
#include "archive_scene.h"

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
    MAKE(place, PENDING1, PENDING2, "app.log", "app.log.1", "app.log.2");
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
    place->policy.backups = 1;
    assert_settles(place);
    assert_there(place, ".app.log.1.pending app.log.0 app.log.01 app.log.1<" PENDING1
                        " app.log.1.bak app.log.1.gz.gz app.log.x app.log2.1 xapp.log.1");
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
    place->policy.backups = 3;
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
    place->policy.naming = NAMING_TIME;
    MAKE(place, PENDING1, PENDING2);
    make_foreign(place, "app.log.2026-11-20_16-00-00", "app.log.2026-11-20_16-00-00.1");
    assert_settles(place);
    assert_there(place,
                 "app.log.2026-11-20_16-00-00/ app.log.2026-11-20_16-00-00.1@ app.log.2026-11-20_16-00-00.2<" PENDING1
                 " app.log.2026-11-20_16-00-00.3<" PENDING2);
}

static void several_archives_of_one_period_are_counted_up(void **state)
{
    struct place *place = *state;
    place->policy.naming = NAMING_TIME;
    place->policy.period.unit = PERIOD_DAY;
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
    place->policy.naming = NAMING_TIME;
    place->policy.period.unit = PERIOD_HOUR;
    MAKE(place, PENDING1, "app.log.2026-11-20_16.gz", "app.log.2026-11-20_16.4.gz");
    assert_settles(place);
    assert_there(place, "app.log.2026-11-20_16.4.gz app.log.2026-11-20_16.5<" PENDING1 " app.log.2026-11-20_16.gz");
}

static void name_is_the_period_by_the_clock_of_the_zone(void **state)
{
    struct place *place = *state;
    place->policy.naming = NAMING_TIME;
    place->policy.period.unit = PERIOD_DAY;
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
    place->policy.naming = NAMING_TIME;
    MAKE(place, PENDING3);
    assert_settles(place);
    assert_there(place,
                 "app.log.1<" PENDING1 " app.log.2<app.log.1 app.log.2026-11-19 app.log.2026-11-20_16-00-07<" PENDING3);
}

/* A directory may be read in any order: the file whose name the others need comes last. */
static void put_fresh_last(struct archives *archives)
{
    for (size_t i = 1; i < archives->unused_count; i++) {
        if (strcmp(archives->unused[i], ".app.log.new") == 0) {
            strcpy(archives->unused[i], archives->unused[0]);
            strcpy(archives->unused[0], ".app.log.new");
        }
    }
}

/* Lists, and sweeps as one does who holds the log's lock. Returns how many files were unused. */
static size_t sweep(struct place *place, void (*meanwhile)(struct place *place))
{
    struct archives archives = {.items = NULL};
    assert_int_equal(pass_steps(&place->task, &archives), 0);
    size_t unused = archives.unused_count;
    put_fresh_last(&archives);
    if (meanwhile != NULL) {
        meanwhile(place);
    }
    while (archive_remove_unused(&place->task, &archives)) {
    }
    assert_int_equal(archives.unused_count, 0);
    assert_int_equal(archives.wait, meanwhile != NULL);
    archive_free(&archives);
    return unused;
}

static void empty_pending_file_and_second_name_of_the_live_file_are_no_archives(void **state)
{
    struct place *place = *state;
    struct temporary_path live = temporary_path(place->directory, "app.log");
    struct temporary_path second = temporary_path(place->directory, PENDING2);
    temporary_write(place->directory, PENDING1, "");
    temporary_write(place->directory, ".app.log.new", "");
    temporary_write(place->directory, PENDING3, "");
    MAKE(place, "app.log");
    assert_int_equal(link(live.text, second.text), 0);
    assert_settles(place);
    assert_true(temporary_exists(place->directory, PENDING1) && temporary_exists(place->directory, PENDING2));
    assert_int_equal(sweep(place, NULL), 4);
    assert_there(place, "app.log");
}

static void use_after_all(struct place *place)
{
    MAKE(place, PENDING1);
}

static void file_found_unused_stays_when_it_is_in_use_after_all(void **state)
{
    struct place *place = *state;
    temporary_write(place->directory, PENDING1, "");
    MAKE(place, "app.log");
    assert_int_equal(sweep(place, use_after_all), 1);
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
    assert_int_equal(pass(&place->task), PASS_WAITS);
    assert_there(place, PENDING2 " app.log.1<" PENDING1);
    later = 60;
    assert_settles(place);
    assert_there(place, "app.log.1<" PENDING2 " app.log.2<" PENDING1);
}

/* The younger ones could else overtake it: after a new lock file, generations are small again. */
static void what_is_younger_than_one_that_waits_waits_too(void **state)
{
    struct place *place = *state;
    sys.clock = clock_of_later;
    later = 0;
    place->task.generation = 1;
    MAKE(place, ".app.log.0000000000000057.1795190399.pending", ".app.log.0000000000000000.1795190400.pending");
    assert_int_equal(pass(&place->task), PASS_WAITS);
    assert_there(place, ".app.log.0000000000000000.1795190400.pending .app.log.0000000000000057.1795190399.pending");
    later = 60;
    assert_settles(place);
    assert_there(place, "app.log.1<.app.log.0000000000000000.1795190400.pending "
                        "app.log.2<.app.log.0000000000000057.1795190399.pending");
}

/* That of generation 3 was made before those of 1 and 2, all in one second. */
static int birth_of_three(int dir, const char *path, struct timespec *born)
{
    (void)dir;
    int generation = path[strlen(".app.log.000000000000000")] - '0';
    *born = (struct timespec){.tv_sec = 1795190400, .tv_nsec = generation == 3 ? 100 : 100 + generation};
    return 0;
}

static int birth_not_known(int dir, const char *path, struct timespec *born)
{
    (void)dir;
    (void)path;
    (void)born;
    return -EOPNOTSUPP;
}

#define SAME_SECOND3 ".app.log.0000000000000003.1795190400.pending"

static void generations_that_start_anew_within_a_second_keep_the_order_in_which_files_were_made(void **state)
{
    struct place *place = *state;
    sys.birth = birth_of_three;
    MAKE(place, PENDING1, SAME_SECOND3, PENDING2);
    assert_settles(place);
    assert_there(place, "app.log.1<" PENDING2 " app.log.2<" PENDING1 " app.log.3<" SAME_SECOND3);
}

static void where_nobody_knows_when_files_were_made_generations_tell(void **state)
{
    struct place *place = *state;
    sys.birth = birth_not_known;
    MAKE(place, PENDING2, SAME_SECOND3, PENDING1);
    assert_settles(place);
    assert_there(place, "app.log.1<" SAME_SECOND3 " app.log.2<" PENDING2 " app.log.3<" PENDING1);
}

/* One rename in each call: after each of them all archives are there, in their order. */
static unsigned rename_count;

static int counted_rename(int from_dir, const char *from, int to_dir, const char *to, unsigned flags)
{
    rename_count++;
    return sys_real.renameat2(from_dir, from, to_dir, to, flags);
}

enum { ARCHIVES = 10000, MILLISECOND = 1000000, SECOND = 1000 * MILLISECOND };

/* How many renames a pass over all of them took. */
static unsigned settle_many(struct place *place, const char *what)
{
    rename_count = 0;
    sys.renameat2 = counted_rename;
    int64_t begun = sys_now(CLOCK_PROCESS_CPUTIME_ID);
    assert_settles(place);
    int64_t taken = sys_now(CLOCK_PROCESS_CPUTIME_ID) - begun;
    print_message("# %d archives, %s: %u renames, %lld ms\n", ARCHIVES, what, rename_count,
                  (long long)taken / MILLISECOND);
    assert_in_range(taken, 0, SECOND);
    return rename_count;
}

static void ten_thousand_archives_take_well_below_a_second(void **state)
{
    struct place *place = *state;
    char name[64];
    for (int i = 1; i <= ARCHIVES; i++) {
        snprintf(name, sizeof name, "app.log.%d%s", i, i % 3 == 0 ? ".gz" : "");
        temporary_write(place->directory, name, i == ARCHIVES ? "last" : "");
    }
    for (int i = 1; i < 100; i += 2) {
        snprintf(name, sizeof name, "app.log.%d", ARCHIVES + i);
        struct temporary_path path = temporary_path(place->directory, name);
        assert_int_equal(mkdir(path.text, 0700), 0);
    }
    assert_int_equal(settle_many(place, "nothing to do"), 0);
    place->policy.max_age_ns = UINT64_MAX;
    place->policy.max_total = UINT64_MAX;
    assert_int_equal(settle_many(place, "by size and age"), 0);
    MAKE(place, PENDING1, PENDING2);
    assert_int_equal(settle_many(place, "all shifted"), ARCHIVES + 2);
    assert_int_equal(temporary_length(place->directory, "app.log.1"), strlen(PENDING2));
    assert_int_equal(temporary_length(place->directory, "app.log.10004"), 4);
    place->policy.backups = 5;
    settle_many(place, "all but five removed");
    assert_true(temporary_exists(place->directory, "app.log.5.gz"));
    assert_false(temporary_exists(place->directory, "app.log.6"));
}

static void ten_thousand_archives_of_one_period_take_well_below_a_second(void **state)
{
    enum { HALF = ARCHIVES / 2 };
    struct place *place = *state;
    char name[NAME_SIZE];
    place->policy.naming = NAMING_TIME;
    place->policy.period.unit = PERIOD_DAY;
    place->task.generation = ARCHIVES;
    for (int i = 1; i <= HALF; i++) {
        assert_int_equal(name_pending("app.log", (uint64_t)i, 1795190400, name), 0);
        temporary_write(place->directory, name, "pending");
        assert_int_equal(name_time("app.log", "2026-11-20", (uint64_t)i, i % 2, name), 0);
        temporary_write(place->directory, name, "named");
    }
    assert_int_equal(settle_many(place, "half of them pending"), HALF);
    assert_int_equal(temporary_length(place->directory, "app.log.2026-11-20.10000"), 7);
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
    assert_int_equal(pass(&place->task), -EEXIST);
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

int main(void)
{
    const struct CMUnitTest tests[] = {
        PLACE_TEST(nothing_to_do_changes_nothing),
        PLACE_TEST(newest_pending_archive_gets_number_one),
        PLACE_TEST(shift_stops_at_the_first_gap),
        PLACE_TEST(compressed_archives_keep_their_suffix_and_place),
        PLACE_TEST(both_forms_of_one_number_are_kept),
        PLACE_TEST(names_of_others_are_not_touched),
        PLACE_TEST(directories_and_links_are_stepped_around),
        PLACE_TEST(file_system_without_types_in_its_directories_makes_no_difference),
        PLACE_TEST(directory_with_the_name_of_a_period_is_stepped_around),
        PLACE_TEST(several_archives_of_one_period_are_counted_up),
        PLACE_TEST(compressed_archive_keeps_its_period_and_count),
        PLACE_TEST(name_is_the_period_by_the_clock_of_the_zone),
        PLACE_TEST(archives_of_the_other_naming_stay_as_they_are),
        PLACE_TEST(empty_pending_file_and_second_name_of_the_live_file_are_no_archives),
        PLACE_TEST(file_found_unused_stays_when_it_is_in_use_after_all),
        PLACE_TEST(archive_of_a_later_generation_waits_for_its_elders),
        PLACE_TEST(what_is_younger_than_one_that_waits_waits_too),
        PLACE_TEST(generations_that_start_anew_within_a_second_keep_the_order_in_which_files_were_made),
        PLACE_TEST(where_nobody_knows_when_files_were_made_generations_tell),
        PLACE_TEST(ten_thousand_archives_take_well_below_a_second),
        PLACE_TEST(ten_thousand_archives_of_one_period_take_well_below_a_second),
        PLACE_TEST(file_that_appears_meanwhile_is_not_overwritten),
        PLACE_TEST(names_are_given_without_rename_flags),
        PLACE_TEST(names_are_given_without_rename_flags_and_links),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
