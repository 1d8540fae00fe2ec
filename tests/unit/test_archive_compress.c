/* Compression of archives in their places: nothing is lost, doubled or overwritten, whatever is there already. */
#include "archive_scene.h"

#include "../../shim/tool/gzip.h"

/* app.log.1 -> app.log.1.gz as gzip(1) would, and the plain one stays. */
static void squeeze_beside(struct place *place, const char *plain, const char *compressed)
{
    int fd;
    struct stat status;
    const struct gzip_task task = {
        .directory = place->task.directory, .plain = plain, .hidden = compressed, .level = 6};
    assert_int_equal(gzip_make(&task, &fd, &status, &(struct stat){0}), 0);
    close(fd);
}

static bool is_compressed(const struct place *place, const char *name)
{
    unsigned char magic[2] = {0, 0};
    struct temporary_path path = temporary_path(place->directory, name);
    int fd = open(path.text, O_RDONLY | O_CLOEXEC);
    bool compressed = fd >= 0 && read(fd, magic, 2) == 2 && magic[0] == 0x1f && magic[1] == 0x8b;
    close(fd);
    return compressed;
}

static void plain_archives_become_compressed_ones(void **state)
{
    struct place *place = *state;
    place->policy.compress = 6;
    MAKE(place, "app.log", PENDING1, "app.log.1", "app.log.7", "app.log.2026-11-20", "app.log.2026-11-20.1");
    assert_settles(place);
    assert_there(place, "app.log app.log.1.gz<" PENDING1 " app.log.2.gz<app.log.1 "
                        "app.log.2026-11-20.1.gz<app.log.2026-11-20.1 app.log.2026-11-20.gz<app.log.2026-11-20 "
                        "app.log.7.gz<app.log.7");
    assert_true(is_compressed(place, "app.log.1.gz") && is_compressed(place, "app.log.2026-11-20.gz"));
    assert_false(is_compressed(place, "app.log"));
    assert_settles(place);
}

static void finished_archives_are_told_once_the_newest_first(void **state)
{
    struct place *place = *state;
    MAKE(place, PENDING1, PENDING2, "app.log.1");
    assert_settles(place);
    assert_string_equal(place->told, "app.log.2 app.log.1 ");
    place->policy.compress = 1;
    place->told[0] = '\0';
    MAKE(place, PENDING3);
    assert_settles(place);
    assert_string_equal(place->told, "app.log.1.gz app.log.2.gz app.log.3.gz app.log.4.gz ");
    place->told[0] = '\0';
    assert_settles(place);
    assert_string_equal(place->told, "");
}

static void compression_switched_on_and_off_over_a_chain_loses_nothing(void **state)
{
    struct place *place = *state;
    MAKE(place, PENDING1, "app.log.1", "app.log.3");
    for (unsigned i = 0; i < 4; i++) {
        char pending[NAME_SIZE];
        place->policy.compress = i % 2 ? 9 : 0;
        assert_int_equal(name_pending("app.log", 20 + i, 1795190400, pending), 0);
        place->task.generation = 30;
        MAKE(place, pending);
        assert_settles(place);
    }
    assert_there(place, "app.log.1.gz<.app.log.0000000000000017.1795190400.pending "
                        "app.log.2.gz<.app.log.0000000000000016.1795190400.pending "
                        "app.log.3.gz<.app.log.0000000000000015.1795190400.pending "
                        "app.log.4.gz<.app.log.0000000000000014.1795190400.pending "
                        "app.log.5.gz<" PENDING1 " app.log.6.gz<app.log.1 app.log.7.gz<app.log.3");
    place->policy.compress = 0;
    MAKE(place, PENDING2);
    assert_settles(place);
    assert_true(temporary_exists(place->directory, "app.log.1") && temporary_exists(place->directory, "app.log.2.gz"));
}

static int writes;

static ssize_t counted_writev(int fd, const struct iovec *vector, int count)
{
    writes++;
    return sys_real.writev(fd, vector, count);
}

static void archive_that_is_open_for_writing_is_compressed_when_it_is_closed(void **state)
{
    struct place *place = *state;
    place->policy.compress = 6;
    MAKE(place, PENDING1, "app.log.1");
    int fd = open_for_writing(place, PENDING1);
    assert_int_equal(pass(&place->task), PASS_WAITS);
    writes = 0;
    sys.writev = counted_writev;
    assert_int_equal(pass(&place->task), PASS_WAITS);
    assert_int_equal(writes, 0); /* not even tried */
    assert_there(place, "app.log.1<" PENDING1 " app.log.2.gz<app.log.1");
    assert_string_equal(place->told, "app.log.2.gz ");
    assert_int_equal(write(fd, "+", 1), 1);
    close(fd);
    assert_settles(place);
    assert_there(place, "app.log.1.gz<" PENDING1 "+ app.log.2.gz<app.log.1");
    assert_string_equal(place->told, "app.log.2.gz app.log.1.gz ");
}

static void hidden_file_of_an_interrupted_compression_is_removed(void **state)
{
    struct place *place = *state;
    MAKE(place, ".app.log.squeeze", "app.log.1");
    assert_settles(place);
    assert_there(place, "app.log.1");
    MAKE(place, ".app.log.squeeze");
    place->policy.compress = 6;
    assert_settles(place);
    assert_there(place, "app.log.1.gz<app.log.1");
}

/* Killed between the two last steps: with and without new archives, and whatever `compress` says now. */
static void plain_one_of_two_that_are_the_same_goes(void **state)
{
    struct place *place = *state;
    for (int i = 0; i < 4; i++) {
        bool time = i % 2 == 0;
        place->policy.compress = i < 2 ? 6 : 0;
        MAKE(place, "app.log.1", "app.log.2026-11-20", "app.log.2");
        squeeze_beside(place, "app.log.1", "app.log.1.gz");
        squeeze_beside(place, "app.log.2026-11-20", "app.log.2026-11-20.gz");
        place->policy.naming = time ? NAMING_TIME : NAMING_NUMBER;
        MAKE(place, PENDING3);
        assert_settles(place);
        char expected[512];
        const char *suffix = i < 2 ? ".gz" : "";
        if (time) {
            snprintf(expected, sizeof expected,
                     "app.log.1.gz<app.log.1 app.log.2%s%s app.log.2026-11-20.gz<app.log.2026-11-20 "
                     "app.log.2026-11-20_16-00-07%s<" PENDING3,
                     suffix, i < 2 ? "<app.log.2" : "", suffix);
        } else {
            snprintf(expected, sizeof expected,
                     "app.log.1%s<" PENDING3 " app.log.2.gz<app.log.1 app.log.2026-11-20.gz<app.log.2026-11-20 "
                     "app.log.3%s<app.log.2",
                     suffix, suffix);
        }
        assert_there(place, expected);
        /* Whoever was killed had not told it. */
        assert_int_equal(strstr(place->told, time ? "app.log.1.gz " : "app.log.2.gz ") != NULL, i < 2);
        place->told[0] = '\0';
        place->policy.backups = 1;
        place->policy.max_total = 1;
        assert_settles(place);
        place->policy.backups = place->policy.max_total = 0;
        assert_there(place, "");
    }
}

/* As their times tell, either of them may have been written later. Both are archives. */
static void two_of_one_name_that_differ_get_different_names(void **state)
{
    struct place *place = *state;
    for (int i = 0; i < 4; i++) {
        place->policy.naming = i % 2 ? NAMING_TIME : NAMING_NUMBER;
        place->policy.compress = i < 2 ? 6 : 0;
        MAKE(place, "a", "app.log.1", "app.log.2", "app.log.2026-11-20", "app.log.2026-11-20.1");
        squeeze_beside(place, "a", "app.log.1.gz");
        squeeze_beside(place, "a", "app.log.2026-11-20.gz");
        assert_settles(place);
        assert_there(place,
                     i < 2 ? "a app.log.1.gz<app.log.1 app.log.2.gz<a app.log.2026-11-20.1.gz<app.log.2026-11-20.1 "
                             "app.log.2026-11-20.2.gz<app.log.2026-11-20 app.log.2026-11-20.gz<a "
                             "app.log.3.gz<app.log.2"
                           : "a app.log.1 app.log.2.gz<a app.log.2026-11-20.1 "
                             "app.log.2026-11-20.2<app.log.2026-11-20 app.log.2026-11-20.gz<a app.log.3<app.log.2");
        place->policy.backups = place->policy.max_total = 1;
        assert_settles(place);
        place->policy.backups = place->policy.max_total = 0;
        assert_there(place, "a");
    }
}

static void compressed_one_of_two_that_are_the_same_goes_while_the_plain_one_is_written(void **state)
{
    struct place *place = *state;
    place->policy.compress = 6;
    MAKE(place, "app.log.1");
    squeeze_beside(place, "app.log.1", "app.log.1.gz");
    int fd = open_for_writing(place, "app.log.1");
    assert_int_equal(pass(&place->task), PASS_WAITS);
    assert_there(place, "app.log.1");
    close(fd);
    assert_settles(place);
    assert_there(place, "app.log.1.gz<app.log.1");
}

static void foreign_thing_with_the_compressed_name_is_stepped_around(void **state)
{
    struct place *place = *state;
    place->policy.compress = 6;
    MAKE(place, "app.log.1", "app.log.2", "app.log.2026-11-20");
    make_foreign(place, "app.log.1.gz", "app.log.2026-11-20.gz");
    assert_settles(place);
    assert_there(place, "app.log.1.gz/ app.log.2.gz<app.log.1 app.log.2026-11-20.1.gz<app.log.2026-11-20 "
                        "app.log.2026-11-20.gz@ app.log.3.gz<app.log.2");
}

/* Something happens while the archive app.log.1, of four megabytes, is compressed: once. */
static struct place *busy;
static struct archives *busy_archives;
static void (*happens)(void);
static int busy_result;

static int interrupt(void *context)
{
    assert_ptr_equal(context, busy);
    if (happens != NULL) {
        happens();
    }
    happens = NULL;
    return busy_result;
}

static int compress_while(struct place *place, void (*something)(void))
{
    static char text[4 * 1024 * 1024];
    struct archives archives = {.items = NULL};
    memset(text, 'x', sizeof text - 1);
    temporary_write(place->directory, "app.log.1", text);
    place->policy.compress = 1;
    place->task.between = interrupt;
    busy = place;
    busy_archives = &archives;
    busy_result = 0;
    happens = something;
    int result = pass_steps(&place->task, &archives);
    result = result == 0 && archives.wait ? PASS_WAITS : result;
    archive_free(&archives);
    assert_null(happens);
    return result;
}

static void rotate_twice(void)
{
    MAKE(busy, PENDING1, PENDING2);
    assert_int_equal(archive_list_pending(&busy->task, busy_archives), 0);
    assert_int_equal(archive_name_pending(&busy->task, busy_archives), 0);
    assert_int_equal(temporary_length(busy->directory, "app.log.1"), strlen(PENDING2));
    assert_int_equal(temporary_length(busy->directory, "app.log.3"), 4 * 1024 * 1024 - 1);
}

static void archives_rotated_meanwhile_get_their_names_at_once_and_are_the_next(void **state)
{
    struct place *place = *state;
    assert_int_equal(compress_while(place, rotate_twice), PASS_DONE);
    assert_string_equal(place->told, "app.log.3.gz app.log.1.gz app.log.2.gz ");
    assert_true(temporary_length(place->directory, "app.log.3.gz") > 0);
    assert_true(temporary_length(place->directory, "app.log.3.gz") < 100000);
    assert_false(temporary_exists(place->directory, "app.log.3"));
    char *text = place_read(place->directory, "app.log.1.gz");
    assert_string_equal(text, PENDING2);
    free(text);
}

static void append(void)
{
    int fd = open_for_writing(busy, "app.log.1");
    assert_int_equal(write(fd, "y", 1), 1);
    close(fd);
}

static void archive_that_is_written_meanwhile_waits(void **state)
{
    struct place *place = *state;
    assert_int_equal(compress_while(place, append), PASS_WAITS);
    assert_int_equal(temporary_length(place->directory, "app.log.1"), 4 * 1024 * 1024);
    assert_false(temporary_exists(place->directory, "app.log.1.gz"));
    assert_false(temporary_exists(place->directory, ".app.log.squeeze"));
}

static int open_elsewhere = -1;

static void begin_to_write(void)
{
    open_elsewhere = open_for_writing(busy, "app.log.1");
}

static int rename_to_nothing_compressed(int from_dir, const char *from, int to_dir, const char *to, unsigned flags)
{
    assert_string_not_equal(to, "app.log.1.gz");
    return sys_real.renameat2(from_dir, from, to_dir, to, flags);
}

static void archive_that_somebody_opens_meanwhile_waits(void **state)
{
    struct place *place = *state;
    sys.renameat2 = rename_to_nothing_compressed;
    assert_int_equal(compress_while(place, begin_to_write), PASS_WAITS);
    close(open_elsewhere);
    assert_int_equal(temporary_length(place->directory, "app.log.1"), 4 * 1024 * 1024 - 1);
    assert_false(temporary_exists(place->directory, ".app.log.squeeze"));
}

/* What was on the disk when the plain archive went. */
static bool synced_file;
static bool synced_directory;

static int noted_fsync(int fd)
{
    struct stat status;
    assert_int_equal(fstat(fd, &status), 0);
    synced_file = synced_file || S_ISREG(status.st_mode);
    synced_directory = S_ISDIR(status.st_mode) && synced_file && temporary_exists(busy->directory, "app.log.1.gz");
    return 0;
}

static int unlink_what_is_safe(int dir, const char *path, int flags)
{
    assert_true(strcmp(path, "app.log.1") != 0 || synced_directory);
    return sys_real.unlinkat(dir, path, flags);
}

static void plain_one_goes_when_the_compressed_one_and_its_name_are_on_the_disk(void **state)
{
    struct place *place = *state;
    place->policy.compress = 6;
    busy = place;
    for (int repair = 0; repair < 2; repair++) {
        MAKE(place, "app.log.1");
        if (repair) {
            place->policy.compress = 0;
            sys = sys_real;
            squeeze_beside(place, "app.log.1", "app.log.1.gz");
        }
        sys.fsync = noted_fsync;
        sys.unlinkat = unlink_what_is_safe;
        synced_file = synced_directory = false;
        assert_settles(place);
        assert_there(place, "app.log.1.gz<app.log.1");
        struct temporary_path path = temporary_path(place->directory, "app.log.1.gz");
        assert_int_equal(unlink(path.text), 0);
    }
}

static void take_away(void)
{
    struct temporary_path path = temporary_path(busy->directory, "app.log.1");
    assert_int_equal(unlink(path.text), 0);
    MAKE(busy, "app.log.1");
}

static void archive_that_was_replaced_meanwhile_stays(void **state)
{
    struct place *place = *state;
    assert_int_equal(compress_while(place, take_away), PASS_WAITS);
    assert_there(place, "app.log.1");
}

static void stop(void)
{
    busy_result = -ECANCELED;
}

static void caller_ends_the_compression_without_a_trace(void **state)
{
    struct place *place = *state;
    MAKE(place, "app.log.2");
    assert_int_equal(compress_while(place, stop), -ECANCELED);
    assert_int_equal(temporary_length(place->directory, "app.log.1"), 4 * 1024 * 1024 - 1);
    assert_false(temporary_exists(place->directory, "app.log.1.gz"));
    assert_false(temporary_exists(place->directory, "app.log.2.gz"));
    assert_false(temporary_exists(place->directory, ".app.log.squeeze"));
}

static void somebody_compresses_too(void)
{
    MAKE(busy, "app.log.1.gz");
}

static void compressed_file_that_appears_meanwhile_is_not_overwritten(void **state)
{
    struct place *place = *state;
    assert_int_equal(compress_while(place, somebody_compresses_too), -EEXIST);
    assert_int_equal(temporary_length(place->directory, "app.log.1"), 4 * 1024 * 1024 - 1);
    assert_int_equal(temporary_length(place->directory, "app.log.1.gz"), strlen("app.log.1.gz"));
    assert_false(temporary_exists(place->directory, ".app.log.squeeze"));
    place->task.between = NULL;
    assert_settles(place);
    assert_int_equal(temporary_length(place->directory, "app.log.2.gz"), strlen("app.log.1.gz"));
    assert_true(is_compressed(place, "app.log.1.gz"));
}

static void somebody_settles_too(void)
{
    struct temporary_path hidden = temporary_path(busy->directory, ".app.log.squeeze");
    assert_int_equal(unlink(hidden.text), 0);
    MAKE(busy, ".app.log.squeeze");
}

static void hidden_file_of_another_who_settles_is_left_alone(void **state)
{
    struct place *place = *state;
    compress_while(place, somebody_settles_too);
    assert_int_equal(temporary_length(place->directory, "app.log.1"), 4 * 1024 * 1024 - 1);
    assert_int_equal(temporary_length(place->directory, ".app.log.squeeze"), strlen(".app.log.squeeze"));
    assert_false(temporary_exists(place->directory, "app.log.1.gz"));
}

/* Opens the plain archive for writing as soon as the compressed one has its name. */
static int late_writer = -1;

static int rename_and_write(int from_dir, const char *from, int to_dir, const char *to, unsigned flags)
{
    int error = sys_real.renameat2(from_dir, from, to_dir, to, flags);
    if (strcmp(to, "app.log.1.gz") == 0 && late_writer < 0) {
        late_writer = open_for_writing(busy, "app.log.1");
    }
    return error;
}

static void writer_who_comes_last_is_not_cut_off(void **state)
{
    struct place *place = *state;
    place->policy.compress = 6;
    busy = place;
    late_writer = -1;
    sys.renameat2 = rename_and_write;
    MAKE(place, "app.log.1");
    assert_int_equal(pass(&place->task), PASS_WAITS);
    assert_there(place, "app.log.1");
    assert_int_equal(write(late_writer, "+", 1), 1);
    close(late_writer);
    assert_settles(place);
    assert_there(place, "app.log.1.gz<app.log.1+");
}

static ssize_t no_space(int fd, const struct iovec *vector, int count)
{
    (void)fd, (void)vector, (void)count;
    return -ENOSPC;
}

static void full_disk_removes_nothing_that_would_fit_once_compressed(void **state)
{
    struct place *place = *state;
    MAKE(place, "app.log.1", "app.log.2", "app.log.3", PENDING1);
    place->policy.compress = 6;
    place->policy.max_total = strlen(PENDING1) + strlen("app.log.1");
    sys.writev = no_space;
    assert_int_equal(pass(&place->task), -ENOSPC);
    assert_there(place, "app.log.1<" PENDING1 " app.log.2<app.log.1 app.log.3<app.log.2 app.log.4<app.log.3");
}

static int unreadable_two(int dir, const char *path, int flags, mode_t mode)
{
    return strcmp(path, "app.log.2") == 0 ? -EIO : sys_real.openat(dir, path, flags, mode);
}

static void archive_that_cannot_be_compressed_holds_up_no_other(void **state)
{
    struct place *place = *state;
    MAKE(place, "app.log.1", "app.log.2", "app.log.3");
    place->policy.compress = 6;
    sys.openat = unreadable_two;
    assert_int_equal(pass(&place->task), -EIO);
    assert_there(place, "app.log.1.gz<app.log.1 app.log.2 app.log.3.gz<app.log.3");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        PLACE_TEST(plain_archives_become_compressed_ones),
        PLACE_TEST(finished_archives_are_told_once_the_newest_first),
        PLACE_TEST(compression_switched_on_and_off_over_a_chain_loses_nothing),
        PLACE_TEST(archive_that_is_open_for_writing_is_compressed_when_it_is_closed),
        PLACE_TEST(hidden_file_of_an_interrupted_compression_is_removed),
        PLACE_TEST(plain_one_of_two_that_are_the_same_goes),
        PLACE_TEST(two_of_one_name_that_differ_get_different_names),
        PLACE_TEST(compressed_one_of_two_that_are_the_same_goes_while_the_plain_one_is_written),
        PLACE_TEST(foreign_thing_with_the_compressed_name_is_stepped_around),
        PLACE_TEST(archives_rotated_meanwhile_get_their_names_at_once_and_are_the_next),
        PLACE_TEST(archive_that_is_written_meanwhile_waits),
        PLACE_TEST(archive_that_somebody_opens_meanwhile_waits),
        PLACE_TEST(archive_that_was_replaced_meanwhile_stays),
        PLACE_TEST(plain_one_goes_when_the_compressed_one_and_its_name_are_on_the_disk),
        PLACE_TEST(caller_ends_the_compression_without_a_trace),
        PLACE_TEST(compressed_file_that_appears_meanwhile_is_not_overwritten),
        PLACE_TEST(hidden_file_of_another_who_settles_is_left_alone),
        PLACE_TEST(writer_who_comes_last_is_not_cut_off),
        PLACE_TEST(full_disk_removes_nothing_that_would_fit_once_compressed),
        PLACE_TEST(archive_that_cannot_be_compressed_holds_up_no_other),
    };
    return cmocka_run_group_tests_name("archive compression", tests, NULL, NULL);
}
