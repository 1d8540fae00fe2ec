/* The lock file's page: what is recorded reads as it was written, and nothing else is believed. */
#include "lockfile_scene.h"

#include "../../shim/core/own.h"
#include "../../shim/core/policy.h"

#include <sys/inotify.h>
#include <sys/resource.h>

static const struct policy some_policy = {.max_bytes = 10485760,
                                          .period = {.unit = PERIOD_WEEK, .interval = 2, .weekday = 3, .at = 3660},
                                          .utc = true,
                                          .backups = 7,
                                          .max_age_ns = UINT64_C(2592000000000000),
                                          .max_total = UINT64_C(1) << 62,
                                          .naming = NAMING_TIME,
                                          .compress = 9};
static const struct policy plain_policy = {.period = {.interval = 1}};

static void everything_on_the_page_has_a_place_of_its_own(void **state)
{
    struct place *place = *state;
    struct policy policy;
    int64_t value;
    char begin[16];
    assert_opens(place);
    for (int from = 0; from < LOCKFILE_FIELDS + 3; from++) { /* each is the last one once */
        for (int i = from; i < from + LOCKFILE_FIELDS + 3; i++) {
            int what = i % (LOCKFILE_FIELDS + 3);
            if (what < LOCKFILE_FIELDS) {
                assert_int_equal(lockfile_write(&place->lockfile, (enum lockfile_field)what, INT64_MIN / 16 + what), 0);
            } else if (what == LOCKFILE_FIELDS) {
                lockfile_announce(&place->lockfile, 12, 4000, 200, 0);
            } else if (what == LOCKFILE_FIELDS + 1) {
                lockfile_ask(&place->lockfile);
            } else {
                assert_int_equal(lockfile_write_policy(&place->lockfile, &some_policy), 0);
            }
        }
        for (int field = 0; field < LOCKFILE_FIELDS; field++) {
            assert_true(lockfile_read(&place->lockfile, (enum lockfile_field)field, &value));
            assert_int_equal(value, INT64_MIN / 16 + field);
        }
        assert_true(lockfile_is_broken(&place->lockfile, 12, 4096));
        assert_true(lockfile_read_policy(&place->lockfile, &policy));
        assert_true(policy_equal(&policy, &some_policy));
        assert_true(pread(place->lockfile.fd, begin, sizeof begin, 0) == sizeof begin);
        assert_memory_equal(begin, "mplogshim 1    \n", sizeof begin);
    }
    assert_int_equal(lockfile_generation(&place->lockfile), 0);
}

static void a_batch_is_announced_with_the_number_of_its_buffer_and_a_record_leaves_that_alone(void **state)
{
    struct place *place = *state;
    int64_t number;
    assert_opens(place);
    lockfile_announce(&place->lockfile, 12, 4000, 200, INT64_MAX / 16);
    assert_true(lockfile_read(&place->lockfile, LOCKFILE_BATCH, &number));
    assert_int_equal(number, INT64_MAX / 16);
    assert_true(lockfile_is_broken(&place->lockfile, 12, 4096));
    lockfile_announce(&place->lockfile, 13, 8000, 200, 0);
    assert_true(lockfile_read(&place->lockfile, LOCKFILE_BATCH, &number));
    assert_int_equal(number, INT64_MAX / 16);
    assert_true(lockfile_is_broken(&place->lockfile, 13, 8192));
}

static void policy_reads_as_it_was_written_and_survives_reopening(void **state)
{
    struct place *place = *state;
    struct policy policy = some_policy;
    assert_opens(place);
    assert_false(lockfile_read_policy(&place->lockfile, &policy));
    assert_true(policy_equal(&policy, &some_policy));
    assert_int_equal(lockfile_write_policy(&place->lockfile, &some_policy), 0);
    assert_int_equal(lockfile_write_policy(&place->lockfile, &plain_policy), 0);
    assert_true(lockfile_read_policy(&place->lockfile, &policy));
    assert_true(policy_equal(&policy, &plain_policy));
    assert_int_equal(lockfile_write_policy(&place->lockfile, &some_policy), 0);
    assert_opens(place);
    assert_true(lockfile_read_policy(&place->lockfile, &policy));
    assert_true(policy_equal(&policy, &some_policy));
}

enum { POLICY_BLOCK = 1024, POLICY_LINE = 32 };

static void policy_is_text_at_its_documented_place(void **state)
{
    struct place *place = *state;
    char line[POLICY_LINE];
    assert_opens(place);
    assert_int_equal(lockfile_write_policy(&place->lockfile, &some_policy), 0);
    assert_true(pread(place->lockfile.fd, line, sizeof line, POLICY_BLOCK) == sizeof line);
    assert_memory_equal(line, "max_bytes=10485760             \n", sizeof line);
    assert_true(pread(place->lockfile.fd, line, sizeof line, POLICY_BLOCK + 9 * POLICY_LINE) == sizeof line);
    assert_memory_equal(line, "compress=gzip:9                \n", sizeof line);
}

static void policy_with_any_byte_changed_is_not_believed(void **state)
{
    struct place *place = *state;
    char lines[POLICY_WORDS * POLICY_LINE];
    struct policy policy = plain_policy;
    assert_opens(place);
    assert_int_equal(lockfile_write_policy(&place->lockfile, &some_policy), 0);
    assert_true(pread(place->lockfile.fd, lines, sizeof lines, POLICY_BLOCK) == sizeof lines);
    for (size_t at = 0; at < sizeof lines; at++) {
        static const char noise[] = {'\0', 'x', '\n', '\xff', '-', '\t'};
        for (size_t i = 0; i < sizeof noise; i++) {
            off_t offset = POLICY_BLOCK + (off_t)at;
            if (lines[at] == noise[i]) {
                continue;
            }
            assert_int_equal(pwrite(place->lockfile.fd, &noise[i], 1, offset), 1);
            assert_false(lockfile_read_policy(&place->lockfile, &policy));
            assert_int_equal(pwrite(place->lockfile.fd, &lines[at], 1, offset), 1);
        }
    }
    assert_true(policy_equal(&policy, &plain_policy));
    assert_true(lockfile_read_policy(&place->lockfile, &policy));
}

static void policy_that_no_process_would_write_is_not_believed(void **state)
{
    static const struct {
        int index;
        const char *word;
    } foreign[] = {
        {0, "max_bytes=10M"},
        {0, "max_bytes=010485760"},
        {0, "max_bytes=99999999999999999999"},
        {0, ""},
        {0, " max_bytes=10485760"},
        {1, "when=w3"},
        {1, "when=MIDNIGHT"},
        {1, "when=OFF"},
        {1, "when=H"},
        {2, "interval=5201"},
        {2, "interval=0"},
        {3, "at=01:01"},
        {6, "max_age=720h"},
        {6, "max_age=2592000000ms"},
        {9, "compress=gzip"},
        {9, "on_event=/bin/rm"},
        {9, "when=W3"},
    };
    struct place *place = *state;
    struct policy policy;
    assert_opens(place);
    for (size_t i = 0; i < sizeof foreign / sizeof foreign[0]; i++) {
        char line[POLICY_LINE + 1];
        assert_int_equal(lockfile_write_policy(&place->lockfile, &some_policy), 0);
        assert_true(lockfile_read_policy(&place->lockfile, &policy));
        snprintf(line, sizeof line, "%-31s\n", foreign[i].word);
        assert_true(pwrite(place->lockfile.fd, line, POLICY_LINE, POLICY_BLOCK + foreign[i].index * POLICY_LINE) ==
                    POLICY_LINE);
        if (lockfile_read_policy(&place->lockfile, &policy)) {
            fail_msg("\"%s\" was believed", foreign[i].word);
        }
    }
}

static void policy_is_gone_with_the_page(void **state)
{
    struct place *place = *state;
    struct policy policy;
    assert_opens(place);
    assert_int_equal(lockfile_write_policy(&place->lockfile, &some_policy), 0);
    assert_int_equal(ftruncate(place->lockfile.fd, 1300), 0);
    assert_false(lockfile_read_policy(&place->lockfile, &policy));
    assert_opens(place);
    assert_false(lockfile_read_policy(&place->lockfile, &policy));
    assert_int_equal(lockfile_write_policy(&place->lockfile, &some_policy), 0);
    assert_true(lockfile_read_policy(&place->lockfile, &policy));
}

static ssize_t write_result;

static ssize_t failing_pwrite(int fd, const void *buffer, size_t size, off_t offset)
{
    (void)fd, (void)buffer, (void)size, (void)offset;
    return write_result;
}

static void policy_that_could_not_be_written_is_an_error(void **state)
{
    struct place *place = *state;
    assert_opens(place);
    sys.pwrite = failing_pwrite;
    write_result = -ENOSPC;
    assert_int_equal(lockfile_write_policy(&place->lockfile, &some_policy), -ENOSPC);
    write_result = 100;
    assert_int_equal(lockfile_write_policy(&place->lockfile, &some_policy), -EIO);
}

static void limit_of_file_sizes_kills_nobody(void **state)
{
    struct place *place = *state;
    assert_opens(place);
    pid_t child = fork();
    if (child == 0) {
        const struct rlimit limit = {.rlim_cur = 64, .rlim_max = RLIM_INFINITY};
        setrlimit(RLIMIT_FSIZE, &limit);
        lockfile_ask(&place->lockfile);
        _exit(lockfile_write_policy(&place->lockfile, &some_policy) != -EFBIG);
    }
    assert_ends_well(child);
}

static void asking_modifies_the_file_each_time(void **state)
{
    struct place *place = *state;
    struct temporary_path path = temporary_path(place->directory, LOCK_NAME);
    assert_opens(place);
    int watch = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
    assert_true(watch >= 0 && inotify_add_watch(watch, path.text, IN_MODIFY) >= 0);
    for (int i = 0; i < 3; i++) {
        char events[512];
        assert_true(read(watch, events, sizeof events) < 0);
        lockfile_ask(&place->lockfile);
        assert_true(read(watch, events, sizeof events) > 0);
    }
    close(watch);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(everything_on_the_page_has_a_place_of_its_own),
        TEST(a_batch_is_announced_with_the_number_of_its_buffer_and_a_record_leaves_that_alone),
        TEST(policy_reads_as_it_was_written_and_survives_reopening),
        TEST(policy_is_text_at_its_documented_place),
        TEST(policy_with_any_byte_changed_is_not_believed),
        TEST(policy_that_no_process_would_write_is_not_believed),
        TEST(policy_is_gone_with_the_page),
        TEST(policy_that_could_not_be_written_is_an_error),
        TEST(limit_of_file_sizes_kills_nobody),
        TEST(asking_modifies_the_file_each_time),
    };
    guard_start(own_forked);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
