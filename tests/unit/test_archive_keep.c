/* Retention: `backups`, `max_age` and `max_total`, and what they never remove. */
#include "archive_scene.h"

/* A file of `size` bytes, all of which read as zero. */
static void make_large(const struct place *place, const char *name, off_t size)
{
    struct temporary_path path = temporary_path(place->directory, name);
    temporary_write(place->directory, name, "");
    assert_int_equal(truncate(path.text, size), 0);
}

static void oldest_beyond_backups_are_removed(void **state)
{
    struct place *place = *state;
    MAKE(place, "app.log", PENDING1, "app.log.1", "app.log.2", "app.log.3.gz", "app.log.4");
    place->policy.backups = 3;
    assert_settles(place);
    assert_there(place, "app.log app.log.1<" PENDING1 " app.log.2<app.log.1 app.log.3<app.log.2");
}

static void backups_lowered_take_effect(void **state)
{
    struct place *place = *state;
    MAKE(place, "app.log.1", "app.log.2", "app.log.3.gz", "app.log.7", "app.log.9");
    place->policy.backups = 4;
    assert_settles(place);
    assert_there(place, "app.log.1 app.log.2 app.log.3.gz app.log.7");
    place->policy.backups = 2;
    assert_settles(place);
    assert_there(place, "app.log.1 app.log.2");
}

static void naming_changed_to_time_keeps_the_newest(void **state)
{
    struct place *place = *state;
    MAKE(place, "app.log.1", "app.log.2.gz", "app.log.2026-11-18", "app.log.2026-11-19.gz", PENDING3);
    set_mtime(place, "app.log.2.gz", 1000);
    set_mtime(place, "app.log.1", 2000);
    set_mtime(place, "app.log.2026-11-18", 3000);
    set_mtime(place, "app.log.2026-11-19.gz", 4000);
    place->policy.naming = NAMING_TIME;
    place->policy.backups = 2;
    assert_settles(place);
    assert_there(place, "app.log.2026-11-19.gz app.log.2026-11-20_16-00-07<" PENDING3);
}

static void naming_changed_to_numbers_keeps_the_newest(void **state)
{
    struct place *place = *state;
    MAKE(place, "app.log.2026-11-18", "app.log.2026-11-19.gz", "app.log.1", "app.log.2", PENDING3);
    set_mtime(place, "app.log.2026-11-18", 1000);
    set_mtime(place, "app.log.2026-11-19.gz", 2000);
    set_mtime(place, "app.log.2", 3000);
    set_mtime(place, "app.log.1", 4000);
    place->policy.backups = 4;
    assert_settles(place);
    assert_there(place, "app.log.1<" PENDING3 " app.log.2<app.log.1 app.log.2026-11-19.gz app.log.3<app.log.2");
    place->policy.backups = 2;
    assert_settles(place);
    assert_there(place, "app.log.1<" PENDING3 " app.log.2<app.log.1");
}

static void archives_older_than_max_age_are_removed_by_their_last_write(void **state)
{
    struct place *place = *state;
    int64_t now = time(NULL);
    MAKE(place, "app.log", "app.log.1", "app.log.2.gz", "app.log.3", "app.log.4", PENDING1);
    set_mtime(place, "app.log", now - 5000);
    set_mtime(place, "app.log.2.gz", now - 900);
    set_mtime(place, "app.log.3", now - 1100);
    set_mtime(place, "app.log.4", now + 5000);
    set_mtime(place, PENDING1, now - 2000);
    place->policy.max_age_ns = UINT64_C(1000000000000);
    assert_settles(place);
    assert_there(place, "app.log app.log.2<app.log.1 app.log.3.gz<app.log.2.gz app.log.5<app.log.4");
}

static void oldest_are_removed_while_together_they_are_larger_than_max_total(void **state)
{
    struct place *place = *state;
    make_large(place, "app.log", 1000);
    make_large(place, "app.log.1", 100);
    make_large(place, "app.log.2", 200);
    make_large(place, "app.log.5", 50);
    make_large(place, "app.log.6", 1);
    place->policy.max_total = 350;
    assert_settles(place);
    assert_false(temporary_exists(place->directory, "app.log.6"));
    assert_true(temporary_exists(place->directory, "app.log.5"));
    place->policy.max_total = 299;
    assert_settles(place);
    assert_false(temporary_exists(place->directory, "app.log.5") || temporary_exists(place->directory, "app.log.2"));
    assert_true(temporary_exists(place->directory, "app.log.1") && temporary_exists(place->directory, "app.log"));
}

static void sizes_are_those_of_compressed_archives(void **state)
{
    struct place *place = *state;
    make_large(place, "app.log.1", 1000000);
    make_large(place, "app.log.2", 1000000);
    place->policy.max_total = 10000;
    place->policy.compress = 6;
    assert_settles(place);
    assert_true(temporary_exists(place->directory, "app.log.1.gz"));
    assert_true(temporary_exists(place->directory, "app.log.2.gz"));
    assert_true(temporary_length(place->directory, "app.log.2.gz") < 5000);
    place->policy.max_total = 1500;
    assert_settles(place);
    assert_true(temporary_exists(place->directory, "app.log.1.gz"));
    assert_false(temporary_exists(place->directory, "app.log.2.gz"));
}

/* On a disk so full that nothing can be compressed: the oldest, one at a time, while all as they are are too much. */
static void oldest_makes_room_for_compression_one_at_a_time(void **state)
{
    struct place *place = *state;
    struct archives archives = {0};
    make_large(place, "app.log.1", 100);
    make_large(place, "app.log.2", 100);
    make_large(place, "app.log.3", 100);
    place->policy.compress = 6;
    place->policy.max_total = 250;
    assert_int_equal(archive_list(&place->task, &archives), 0);
    assert_int_equal(archive_make_room(&place->task, &archives), 1);
    assert_false(temporary_exists(place->directory, "app.log.3"));
    assert_int_equal(archive_make_room(&place->task, &archives), 0);
    assert_true(temporary_exists(place->directory, "app.log.2"));
    archive_free(&archives);
}

static int lost(void *context)
{
    (void)context;
    return -ESTALE;
}

static void nothing_is_removed_when_the_lock_is_not_held_any_more(void **state)
{
    struct place *place = *state;
    make_large(place, "app.log.1", 100);
    make_large(place, "app.log.2", 100);
    place->policy.backups = 1;
    place->task.enter = lost;
    assert_int_equal(pass(&place->task), -ESTALE);
    assert_true(temporary_exists(place->directory, "app.log.2"));
}

static void archive_that_waits_for_its_compression_drives_no_other_out(void **state)
{
    struct place *place = *state;
    make_large(place, "app.log.1", 1000000);
    make_large(place, "app.log.2", 500);
    place->policy.max_total = 10000;
    place->policy.compress = 6;
    int fd = open_for_writing(place, "app.log.1");
    assert_int_equal(pass(&place->task), PASS_WAITS);
    assert_true(temporary_exists(place->directory, "app.log.1"));
    assert_true(temporary_exists(place->directory, "app.log.2.gz"));
    close(fd);
    assert_settles(place);
    assert_true(temporary_exists(place->directory, "app.log.1.gz"));
    assert_true(temporary_exists(place->directory, "app.log.2.gz"));
}

static void each_key_removes_its_share(void **state)
{
    struct place *place = *state;
    int64_t now = time(NULL);
    char name[32];
    for (int i = 1; i <= 9; i++) {
        snprintf(name, sizeof name, "app.log.%d", i);
        make_large(place, name, 100);
        set_mtime(place, name, now - i * 1000);
    }
    place->policy.backups = 8;
    assert_settles(place);
    assert_false(temporary_exists(place->directory, "app.log.9"));
    place->policy.max_age_ns = UINT64_C(6500) * 1000000000;
    place->policy.max_total = 750;
    assert_settles(place);
    assert_true(temporary_exists(place->directory, "app.log.6"));
    assert_false(temporary_exists(place->directory, "app.log.7") || temporary_exists(place->directory, "app.log.8"));
    place->policy.max_total = 499;
    assert_settles(place);
    assert_true(temporary_exists(place->directory, "app.log.4"));
    assert_false(temporary_exists(place->directory, "app.log.5"));
    place->policy.backups = 3;
    place->policy.max_age_ns = UINT64_C(2500) * 1000000000;
    assert_settles(place);
    assert_there(place, "app.log.1< app.log.2<");
}

static void make_fifo(const struct place *place, const char *name)
{
    struct temporary_path path = temporary_path(place->directory, name);
    assert_int_equal(mkfifo(path.text, 0600), 0);
}

static void what_only_looks_like_an_archive_is_never_touched(void **state)
{
    struct place *place = *state;
    MAKE(place, "app.log.old", "app.log.2.txt", "app.log.02", "app.log.2026-13-01", "app.log.1.gz.bak", "xapp.log.4",
         "app.log.5", "app.log");
    make_foreign(place, "app.log.1", "app.log.2.gz");
    make_fifo(place, "app.log.3");
    make_fifo(place, "app.log.2026-11-20.gz");
    make_fifo(place, ".app.log.0000000000000009.5.pending");
    place->policy.backups = 1;
    place->policy.max_age_ns = 1;
    place->policy.max_total = 1;
    place->policy.compress = 6;
    assert_settles(place);
    assert_there(place, ".app.log.0000000000000009.5.pending| app.log app.log.02 app.log.1/ app.log.1.gz.bak "
                        "app.log.2.gz@ app.log.2.txt app.log.2026-11-20.gz| app.log.2026-13-01 app.log.3| app.log.old "
                        "xapp.log.4");
}

static void surplus_that_is_open_for_writing_goes_when_it_is_closed(void **state)
{
    struct place *place = *state;
    MAKE(place, "app.log.1", "app.log.2", "app.log.3", "app.log.4");
    place->policy.backups = 2;
    int fd = open_for_writing(place, "app.log.4");
    assert_int_equal(pass(&place->task), PASS_WAITS);
    assert_there(place, "app.log.1 app.log.2 app.log.4");
    MAKE(place, PENDING1);
    assert_int_equal(pass(&place->task), PASS_WAITS);
    assert_there(place, "app.log.1<" PENDING1 " app.log.2<app.log.1 app.log.4");
    place->policy.backups = 0;
    place->policy.max_age_ns = 1;
    set_mtime(place, "app.log.4", 1000);
    assert_int_equal(pass(&place->task), PASS_WAITS);
    assert_there(place, "app.log.4");
    place->policy.max_age_ns = 0;
    place->policy.max_total = 1;
    assert_int_equal(pass(&place->task), PASS_WAITS);
    assert_there(place, "app.log.4");
    close(fd);
    assert_settles(place);
    assert_there(place, "");
}

static int no_unlink(int dir, const char *path, int flags)
{
    return strcmp(path, "app.log.3") == 0 ? -EACCES : sys_real.unlinkat(dir, path, flags);
}

static void archive_that_cannot_be_removed_is_told_and_the_others_go(void **state)
{
    struct place *place = *state;
    MAKE(place, "app.log.1", "app.log.2", "app.log.3");
    place->policy.backups = 1;
    sys.unlinkat = no_unlink;
    assert_int_equal(pass(&place->task), -EACCES);
    assert_there(place, "app.log.1 app.log.3");
    place->policy.backups = 0;
    place->policy.max_total = 1;
    assert_int_equal(pass(&place->task), -EACCES);
    assert_there(place, "app.log.3");
    sys.unlinkat = sys_real.unlinkat;
    assert_settles(place);
    assert_there(place, "");
}

static int no_descriptors(int dir, const char *path, int flags, mode_t mode)
{
    return strncmp(path, "app.log.", 8) == 0 ? -EMFILE : sys_real.openat(dir, path, flags, mode);
}

static void archive_of_which_nobody_can_tell_whether_it_is_written_stays(void **state)
{
    struct place *place = *state;
    MAKE(place, "app.log.1", "app.log.2");
    place->policy.backups = 1;
    sys.openat = no_descriptors;
    assert_int_equal(pass(&place->task), -EMFILE);
    assert_there(place, "app.log.1 app.log.2");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        PLACE_TEST(oldest_beyond_backups_are_removed),
        PLACE_TEST(backups_lowered_take_effect),
        PLACE_TEST(naming_changed_to_time_keeps_the_newest),
        PLACE_TEST(naming_changed_to_numbers_keeps_the_newest),
        PLACE_TEST(archives_older_than_max_age_are_removed_by_their_last_write),
        PLACE_TEST(oldest_are_removed_while_together_they_are_larger_than_max_total),
        PLACE_TEST(sizes_are_those_of_compressed_archives),
        PLACE_TEST(oldest_makes_room_for_compression_one_at_a_time),
        PLACE_TEST(nothing_is_removed_when_the_lock_is_not_held_any_more),
        PLACE_TEST(archive_that_waits_for_its_compression_drives_no_other_out),
        PLACE_TEST(each_key_removes_its_share),
        PLACE_TEST(what_only_looks_like_an_archive_is_never_touched),
        PLACE_TEST(surplus_that_is_open_for_writing_goes_when_it_is_closed),
        PLACE_TEST(archive_that_cannot_be_removed_is_told_and_the_others_go),
        PLACE_TEST(archive_of_which_nobody_can_tell_whether_it_is_written_stays),
    };
    return cmocka_run_group_tests_name("archive retention", tests, NULL, NULL);
}
