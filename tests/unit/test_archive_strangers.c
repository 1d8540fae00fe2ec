/*
 * Files with an archive's name that somebody else made, in a directory like /tmp, where everybody may make files and
 * each is its maker's alone: they are not the log's, and drive out none that is.
 */
#include "archive_scene.h"

enum { STRANGER = 4711, DAEMON = 4712 };

static void set_owner(const struct place *place, const char *name, uid_t owner)
{
    struct temporary_path path = temporary_path(place->directory, name);
    assert_int_equal(lchown(path.text, owner, (gid_t)-1), 0);
}

/* A log of a daemon's in a directory with this mode; false for who cannot give files to others. */
static bool begin(struct place *place, mode_t mode)
{
    if (geteuid() != 0) {
        return false;
    }
    MAKE(place, "app.log");
    set_owner(place, "app.log", DAEMON);
    assert_int_equal(chmod(place->directory, mode), 0);
    return true;
}

static void make_strangers(struct place *place)
{
    MAKE(place, "app.log.1", "app.log.3", PENDING1);
    set_owner(place, "app.log.1", STRANGER);
    set_owner(place, "app.log.3", STRANGER);
    set_owner(place, PENDING1, STRANGER);
    MAKE(place, "app.log.2", "app.log.4", PENDING2);
    set_owner(place, "app.log.2", DAEMON);
    set_owner(place, PENDING2, DAEMON);
}

static void files_of_a_stranger_are_stepped_around(void **state)
{
    struct place *place = *state;
    place->policy.backups = 3;
    if (begin(place, 01777)) {
        make_strangers(place);
        assert_settles(place);
        assert_there(place, PENDING1 " app.log app.log.1 app.log.2<" PENDING2 " app.log.3 app.log.4<app.log.2 "
                                     "app.log.5<app.log.4");
    }
}

static void files_of_a_stranger_drive_out_no_archive(void **state)
{
    struct place *place = *state;
    place->policy.max_total = 100;
    place->policy.compress = 1;
    if (begin(place, 01777)) {
        struct temporary_path path = temporary_path(place->directory, "app.log.1");
        MAKE(place, "app.log.1", "app.log.2");
        set_owner(place, "app.log.1", STRANGER);
        assert_int_equal(truncate(path.text, (off_t)1 << 40), 0); /* and compressing it would take hours */
        assert_settles(place);
        assert_int_equal(temporary_length(place->directory, "app.log.1"), (off_t)1 << 40);
        assert_true(temporary_exists(place->directory, "app.log.2.gz"));
    }
}

/* Who may take files away there has them taken for what their names say, whoever made them. */
static void where_everybody_may_remove_files_all_are_the_logs(void **state)
{
    struct place *place = *state;
    place->policy.backups = 3;
    if (begin(place, 0777)) {
        make_strangers(place);
        assert_settles(place);
        assert_there(place, "app.log app.log.1<" PENDING2 " app.log.2<" PENDING1 " app.log.3<app.log.1");
    }
}

/* A directory with the name of the file in the making cannot be removed: names are given all the same. */
static void thing_in_the_way_of_compression_is_in_the_way_of_nothing_else(void **state)
{
    struct place *place = *state;
    struct temporary_path path = temporary_path(place->directory, ".app.log.squeeze");
    place->policy.compress = 1;
    place->policy.backups = 2;
    MAKE(place, PENDING1, PENDING2, PENDING3);
    assert_int_equal(mkdir(path.text, 0700), 0);
    assert_true(pass(&place->task) < 0);
    assert_there(place, ".app.log.squeeze/ app.log.1<" PENDING3 " app.log.2<" PENDING2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        PLACE_TEST(files_of_a_stranger_are_stepped_around),
        PLACE_TEST(files_of_a_stranger_drive_out_no_archive),
        PLACE_TEST(where_everybody_may_remove_files_all_are_the_logs),
        PLACE_TEST(thing_in_the_way_of_compression_is_in_the_way_of_nothing_else),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
