/* Archives get their final names in order, and none is ever overwritten. */
#include "archive_scene.h"

enum { FILES_MOST = 64, TEXT_SIZE = 32 };

static char directory_path[] = "/tmp/test_archive_order.XXXXXX";
static int directory;
static struct period_zone utc;
static struct policy policy;

/* xorshift64*: the same numbers in every run, so that a failure can be repeated. */
static uint64_t random_state = 20261120;

static uint64_t random_below(uint64_t limit)
{
    random_state ^= random_state >> 12;
    random_state ^= random_state << 25;
    random_state ^= random_state >> 27;
    return (random_state * 2685821657736338717U >> 1) % limit;
}

/* What is in the directory: names and contents. */
struct scene {
    size_t count;
    struct entry {
        char file[NAME_SIZE];
        char text[TEXT_SIZE];
        struct name name;
    } entries[FILES_MOST];
};

static void put(const char *file, const char *text)
{
    int fd = openat(directory, file, O_WRONLY | O_CREAT | O_EXCL, 0644);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, text, strlen(text)), strlen(text));
    close(fd);
}

static void put_pending(uint64_t generation, int64_t begun, const char *text)
{
    char file[NAME_SIZE];
    assert_int_equal(name_pending("app.log", generation, begun, file), 0);
    put(file, text);
}

static void assert_content(const char *file, const char *expected)
{
    char text[TEXT_SIZE] = "";
    int fd = openat(directory, file, O_RDONLY);
    if (fd < 0)
        fail_msg("%s is not there", file);
    assert_true(read(fd, text, sizeof text - 1) >= 0);
    close(fd);
    assert_string_equal(text, expected);
}

static void assert_absent(const char *file)
{
    assert_int_not_equal(faccessat(directory, file, F_OK, AT_SYMLINK_NOFOLLOW), 0);
}

static int compare_entries(const void *a, const void *b)
{
    return name_compare(&((const struct entry *)a)->name, &((const struct entry *)b)->name);
}

/* Every archive of app.log, oldest first. */
static void look(struct scene *scene)
{
    scene->count = 0;
    DIR *listing = opendir(directory_path);
    assert_non_null(listing);
    for (struct dirent *found; (found = readdir(listing)) != NULL;) {
        struct entry *entry = &scene->entries[scene->count];
        entry->name = name_parse("app.log", found->d_name);
        if (entry->name.kind == NAME_OTHER || entry->name.kind == NAME_WORK || found->d_type != DT_REG)
            continue;
        strcpy(entry->file, found->d_name);
        int fd = openat(directory, found->d_name, O_RDONLY);
        ssize_t size = read(fd, entry->text, TEXT_SIZE - 1);
        assert_true(size >= 0);
        entry->text[size] = '\0';
        close(fd);
        scene->count++;
    }
    closedir(listing);
    qsort(scene->entries, scene->count, sizeof scene->entries[0], compare_entries);
}

static void clear(void)
{
    DIR *listing = opendir(directory_path);
    assert_non_null(listing);
    for (struct dirent *found; (found = readdir(listing)) != NULL;)
        if (strcmp(found->d_name, ".") != 0 && strcmp(found->d_name, "..") != 0)
            unlinkat(directory, found->d_name, found->d_type == DT_DIR ? AT_REMOVEDIR : 0);
    closedir(listing);
}

static int settle(void)
{
    const struct archive_task task = {
        .policy = &policy, .zone = &utc, .generation = INT64_MAX, .directory = directory, .base = "app.log"};
    return pass(&task);
}

static void the_newest_gets_number_one(void **state)
{
    (void)state;
    put("app.log", "live");
    put("app.log.1", "b");
    put("app.log.2.gz", "a");
    put_pending(9, 100, "c");
    put_pending(10, 100, "d");
    assert_int_equal(settle(), 0);
    assert_content("app.log.1", "d");
    assert_content("app.log.2", "c");
    assert_content("app.log.3", "b");
    assert_content("app.log.4.gz", "a");
    assert_content("app.log", "live");
}

static void a_gap_ends_the_shift(void **state)
{
    (void)state;
    put("app.log.1", "c");
    put("app.log.3", "b");
    put("app.log.4.gz", "a");
    put_pending(1, 100, "d");
    assert_int_equal(settle(), 0);
    assert_content("app.log.1", "d");
    assert_content("app.log.2", "c");
    assert_content("app.log.3", "b");
    assert_content("app.log.4.gz", "a");
}

static void other_peoples_files_stay_as_they_are(void **state)
{
    (void)state;
    put("app.log.old", "1");
    put("app.log.01", "2");
    put("app.log.7.gz.bak", "3");
    put("other.log.1", "4");
    put(".app.log.lock", "5");
    put_pending(1, 100, "a");
    policy.backups = 1;
    assert_int_equal(settle(), 0);
    assert_content("app.log.old", "1");
    assert_content("app.log.01", "2");
    assert_content("app.log.7.gz.bak", "3");
    assert_content("other.log.1", "4");
    assert_content(".app.log.lock", "5");
    assert_content("app.log.1", "a");
}

static void a_directory_or_link_keeps_its_number(void **state)
{
    (void)state;
    assert_int_equal(mkdirat(directory, "app.log.1", 0755), 0);
    assert_int_equal(symlinkat("app.log", directory, "app.log.3"), 0);
    assert_int_equal(symlinkat("app.log", directory, ".app.log.0000000000000002.100.pending"), 0);
    put("app.log", "live");
    put("app.log.2", "a");
    put_pending(1, 100, "b");
    assert_int_equal(settle(), 0);
    assert_content("app.log.2", "b");
    assert_content("app.log.4", "a");
    assert_absent("app.log.5");
    assert_content("app.log.3", "live");
    assert_content(".app.log.0000000000000002.100.pending", "live");
    assert_int_equal(faccessat(directory, "app.log.1", F_OK, 0), 0);
}

static void a_directory_or_link_is_never_removed(void **state)
{
    (void)state;
    policy.backups = 1;
    assert_int_equal(mkdirat(directory, "app.log.9", 0755), 0);
    assert_int_equal(symlinkat("app.log", directory, "app.log.3"), 0);
    put("app.log", "live");
    put("app.log.2", "a");
    put("app.log.1", "b");
    assert_int_equal(settle(), 0);
    assert_absent("app.log.2");
    assert_content("app.log.1", "b");
    assert_content("app.log.3", "live");
    assert_int_equal(faccessat(directory, "app.log.9", F_OK, 0), 0);
}

static void a_pending_file_without_content_is_left(void **state)
{
    (void)state;
    put_pending(5, 100, "");
    put_pending(4, 100, "a");
    assert_int_equal(settle(), 0);
    assert_content("app.log.1", "a");
    assert_absent("app.log.2");
    assert_content(".app.log.0000000000000005.100.pending", "");
}

static void a_pending_file_that_still_is_the_live_one_is_left(void **state)
{
    (void)state;
    put("app.log", "live");
    assert_int_equal(linkat(directory, "app.log", directory, ".app.log.0000000000000005.100.pending", 0), 0);
    assert_int_equal(settle(), 0);
    assert_absent("app.log.1");
    assert_content(".app.log.0000000000000005.100.pending", "live");
}

static void the_oldest_beyond_backups_are_removed(void **state)
{
    (void)state;
    policy.backups = 3;
    put("app.log.1", "d");
    put("app.log.2.gz", "c");
    put("app.log.5", "b");
    put("app.log.2026-11-20", "a");
    const struct timespec before[2] = {{.tv_sec = 1000}, {.tv_sec = 1000}};
    assert_int_equal(utimensat(directory, "app.log.2026-11-20", before, 0), 0);
    put_pending(1, 100, "e");
    assert_int_equal(settle(), 0);
    assert_content("app.log.1", "e");
    assert_content("app.log.2", "d");
    assert_content("app.log.3.gz", "c");
    assert_absent("app.log.5");
    assert_absent("app.log.2026-11-20");
}

static void archives_of_one_period_get_sequence_numbers(void **state)
{
    (void)state;
    policy.naming = NAMING_TIME;
    policy.period = (struct period){PERIOD_DAY, 1, 0, 0};
    put("app.log.2026-11-20.gz", "a");
    put("app.log.2026-11-20.10", "b");
    put_pending(1, 1795176000, "c"); /* 2026-11-20 12:00 */
    put_pending(2, 1795176001, "d");
    put_pending(3, 1795219200, "e"); /* 2026-11-21 00:00 */
    assert_int_equal(settle(), 0);
    assert_content("app.log.2026-11-20.11", "c");
    assert_content("app.log.2026-11-20.12", "d");
    assert_content("app.log.2026-11-21", "e");
    assert_content("app.log.2026-11-20.gz", "a");
}

static int no_exchange_renameat2(int from_directory, const char *from, int to_directory, const char *to, unsigned flags)
{
    return flags != 0 ? -EINVAL : sys_real.renameat2(from_directory, from, to_directory, to, flags);
}

static void a_file_system_without_rename_flags_serves(void **state)
{
    (void)state;
    sys.renameat2 = no_exchange_renameat2;
    put("app.log.1", "a");
    put_pending(1, 100, "b");
    assert_int_equal(settle(), 0);
    assert_content("app.log.1", "b");
    assert_content("app.log.2", "a");
    struct scene scene;
    look(&scene);
    assert_int_equal(scene.count, 2);
}

static void nothing_to_do_is_no_work(void **state)
{
    (void)state;
    sys.renameat2 = no_exchange_renameat2;
    sys.linkat = NULL;
    put("app.log.3", "a");
    put("app.log.5", "b");
    assert_int_equal(settle(), 0);
    assert_content("app.log.3", "a");
    assert_content("app.log.5", "b");
}

/* Fails now and then, before or after the rename was done, as a process that is killed would leave it. */
static int unreliable_renameat2(int from_directory, const char *from, int to_directory, const char *to, unsigned flags)
{
    assert_int_equal(flags, RENAME_NOREPLACE);
    if (random_below(6) == 0)
        return -EIO;
    int error = sys_real.renameat2(from_directory, from, to_directory, to, flags);
    return error == 0 && random_below(6) == 0 ? -EIO : error;
}

/* Some archives of one kind, some pending ones, each with its place in the history as content. */
static void make_history(struct scene *scene, size_t archives, size_t pending)
{
    char file[NAME_SIZE];
    uint64_t number = 0;
    for (size_t i = 0; i < archives; i++) {
        number += 1 + random_below(random_below(2) ? 2 : 5);
        if (policy.naming == NAMING_NUMBER)
            assert_int_equal(name_number("app.log", number, random_below(2), file), 0);
        else
            assert_int_equal(name_time("app.log", "2026-11-19", number, random_below(2), file), 0);
        put(file, file);
    }
    for (size_t i = 0; i < pending; i++) {
        assert_int_equal(name_pending("app.log", 1000 + i, 1795176000 + (int64_t)i * 40000, file), 0);
        put(file, file);
    }
    look(scene);
}

static void the_history_keeps_its_order_whatever_fails_at_any_step(void **state)
{
    (void)state;
    static struct scene before;
    static struct scene after;
    for (int i = 0; i < 300; i++) {
        policy.naming = i % 2 ? NAMING_TIME : NAMING_NUMBER;
        policy.period = (struct period){PERIOD_DAY, 1, 0, 0};
        make_history(&before, random_below(12), random_below(6));
        sys.renameat2 = unreliable_renameat2;
        for (int result = 1; result != 0;) {
            result = settle();
            look(&after);
            assert_int_equal(after.count, before.count);
            for (size_t j = 0; j < after.count; j++)
                assert_string_equal(after.entries[j].text, before.entries[j].text);
        }
        for (size_t j = 0; j < after.count; j++)
            assert_int_not_equal(after.entries[j].name.kind, NAME_PENDING);
        sys = sys_real;
        clear();
    }
}

static int begin(void **state)
{
    (void)state;
    period_zone_utc(&utc);
    if (mkdtemp(directory_path) == NULL)
        return -1;
    directory = open(directory_path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    return directory < 0 ? -1 : 0;
}

static int end(void **state)
{
    (void)state;
    close(directory);
    return rmdir(directory_path);
}

static int begin_test(void **state)
{
    (void)state;
    policy = (struct policy){.naming = NAMING_NUMBER, .period = {PERIOD_NONE, 1, 0, 0}};
    return 0;
}

static int end_test(void **state)
{
    (void)state;
    sys = sys_real;
    clear();
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(the_newest_gets_number_one, begin_test, end_test),
        cmocka_unit_test_setup_teardown(a_gap_ends_the_shift, begin_test, end_test),
        cmocka_unit_test_setup_teardown(other_peoples_files_stay_as_they_are, begin_test, end_test),
        cmocka_unit_test_setup_teardown(a_directory_or_link_keeps_its_number, begin_test, end_test),
        cmocka_unit_test_setup_teardown(a_directory_or_link_is_never_removed, begin_test, end_test),
        cmocka_unit_test_setup_teardown(a_pending_file_without_content_is_left, begin_test, end_test),
        cmocka_unit_test_setup_teardown(a_pending_file_that_still_is_the_live_one_is_left, begin_test, end_test),
        cmocka_unit_test_setup_teardown(the_oldest_beyond_backups_are_removed, begin_test, end_test),
        cmocka_unit_test_setup_teardown(archives_of_one_period_get_sequence_numbers, begin_test, end_test),
        cmocka_unit_test_setup_teardown(a_file_system_without_rename_flags_serves, begin_test, end_test),
        cmocka_unit_test_setup_teardown(nothing_to_do_is_no_work, begin_test, end_test),
        cmocka_unit_test_setup_teardown(the_history_keeps_its_order_whatever_fails_at_any_step, begin_test, end_test),
    };
    return cmocka_run_group_tests_name("archive order", tests, begin, end);
}
