/* One log with lock=rotate: what is written without the file lock, and what is looked at once for each tick. */
#include "log_test.h"

#include "../../shim/core/log_lockless.h"

#include <linux/magic.h>
#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

static int64_t tick;
static int locks;
static int looks;
static long filesystem;

static int64_t scene_tick(void)
{
    return tick;
}

static int scene_filesystem(int fd, long *type)
{
    (void)fd;
    *type = filesystem;
    return 0;
}

static int counting_fcntl(int fd, int command, long argument)
{
    locks += command == F_SETLK;
    return sys_real.fcntl(fd, command, argument);
}

static off_t counting_lseek(int fd, off_t offset, int whence)
{
    looks++;
    return sys_real.lseek(fd, offset, whence);
}

static int setup(void **state)
{
    (void)state;
    scene_make(&scene);
    scene.rule.lock = RULE_LOCK_ROTATE;
    filesystem = EXT4_SUPER_MAGIC;
    tick = 1000000;
    return 0;
}

static void begin(uint64_t max_bytes)
{
    scene.rule.policy.max_bytes = max_bytes;
    scene_start(&scene);
    sys.tick = scene_tick;
    sys.filesystem = scene_filesystem;
    sys.fcntl = counting_fcntl;
    sys.lseek = counting_lseek;
    scene_attach(&scene);
}

static void assert_history(int last)
{
    scene_settle(&scene);
    assert_true(history_holds(scene.directory, last, 0));
    assert_true(history_is_settled(scene.directory));
}

/* Another process, with a clock of its own, in which every write comes in a new tick. */
static void other_process_writes(int first, int last)
{
    int status = -1;
    pid_t child = fork();
    if (child == 0) {
        bool good = true;
        for (int number = first; number <= last; number++) {
            tick += 1000000;
            good = good && scene_write_lines(&scene, number, number);
        }
        _exit(!good);
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
}

static void within_a_tick_nothing_is_locked_or_looked_at(void **state)
{
    (void)state;
    begin(1000 * LINE_LENGTH);
    assert_true(scene_write_lines(&scene, 1, 2));
    locks = looks = 0;
    assert_true(scene_write_lines(&scene, 3, 100));
    assert_int_equal(locks, 0);
    assert_int_equal(looks, 0);
    tick += 1000000;
    assert_true(scene_write_lines(&scene, 101, 200));
    assert_int_equal(locks, 0);
    assert_int_equal(looks, 2);
    assert_history(200);
}

static void once_a_second_everything_is_looked_at_under_the_lock(void **state)
{
    (void)state;
    begin(0);
    assert_true(scene_write_lines(&scene, 1, 2));
    struct temporary_path moved = temporary_path(scene.directory, "app.log.1");
    assert_int_equal(rename(scene.path.text, moved.text), 0);
    locks = 0;
    scene_pass(1);
    tick += 1000000;
    assert_true(scene_write_lines(&scene, 3, 50));
    assert_int_equal(locks, 2);
    assert_int_equal(temporary_length(scene.directory, LOG_NAME), 48 * LINE_LENGTH);
    assert_history(50);
}

static void a_file_that_is_full_is_rotated_in_the_next_tick(void **state)
{
    (void)state;
    begin(3 * LINE_LENGTH);
    assert_true(scene_write_lines(&scene, 1, 5));
    tick += 1000000;
    assert_true(scene_write_lines(&scene, 6, 9));
    tick += 1000000;
    assert_true(scene_write_lines(&scene, 10, 10));
    assert_history(10);
    assert_int_equal(temporary_length(scene.directory, "app.log.2"), 5 * LINE_LENGTH);
    assert_int_equal(temporary_length(scene.directory, "app.log.1"), 4 * LINE_LENGTH);
}

/* Who has not looked yet writes to the archive, which he has open: whatever becomes of it, it is not removed. */
static void who_has_not_looked_yet_loses_nothing(void **state)
{
    (void)state;
    scene.rule.policy.backups = 1;
    begin(3 * LINE_LENGTH);
    assert_true(scene_write_lines(&scene, 1, 3));
    other_process_writes(4, 4);
    scene_settle(&scene);
    assert_true(scene_write_lines(&scene, 5, 6)); /* to the archive of 1 to 3 */
    assert_int_equal(temporary_length(scene.directory, LOG_NAME), LINE_LENGTH);
    assert_int_equal(temporary_length(scene.directory, "app.log.1"), 5 * LINE_LENGTH);
    other_process_writes(7, 10); /* rotates once more: one archive too many */
    scene_settle(&scene);
    assert_int_equal(temporary_length(scene.directory, "app.log.2"), 5 * LINE_LENGTH);
    assert_true(scene_write_lines(&scene, 11, 11));
    assert_int_equal(temporary_length(scene.directory, "app.log.2"), 6 * LINE_LENGTH);
    tick += 1000000;
    assert_true(scene_write_lines(&scene, 12, 12));
    assert_int_equal(temporary_length(scene.directory, "app.log.2"), 6 * LINE_LENGTH);
    scene_settle(&scene);
    assert_int_equal(temporary_length(scene.directory, "app.log.2"), -1);
    assert_true(history_is_settled(scene.directory));
}

/* What is still being written to is not compressed. */
static void what_is_written_late_is_compressed_as_well(void **state)
{
    (void)state;
    scene.rule.policy.compress = 1;
    begin(3 * LINE_LENGTH);
    assert_true(scene_write_lines(&scene, 1, 3));
    other_process_writes(4, 4);
    scene_settle(&scene);
    assert_true(scene_write_lines(&scene, 5, 6));
    assert_int_equal(temporary_length(scene.directory, "app.log.1"), 5 * LINE_LENGTH);
    tick += 1000000;
    assert_true(scene_write_lines(&scene, 7, 7));
    scene_settle(&scene);
    assert_int_equal(temporary_length(scene.directory, "app.log.1"), -1);
    assert_true(temporary_length(scene.directory, "app.log.1.gz") > 0);
    assert_true(history_is_settled(scene.directory));
}

static void a_record_larger_than_a_file_is_split_under_the_lock(void **state)
{
    char text[10 * LINE_LENGTH + 1];
    (void)state;
    begin(3 * LINE_LENGTH);
    assert_true(scene_write_lines(&scene, 1, 1));
    for (int i = 0; i < 10; i++) {
        sprintf(text + (size_t)i * LINE_LENGTH, "line %06d .......\n", i + 2);
    }
    locks = 0;
    assert_int_equal(scene_append(scene.writer, text, HOLD_NONE), 10 * LINE_LENGTH);
    assert_true(locks >= 6);
    assert_history(11);
    assert_int_equal(temporary_length(scene.directory, "app.log.1"), 3 * LINE_LENGTH);
}

static void who_asks_not_to_append_appends(void **state)
{
    enum { NOAPPEND = 0x20 }; /* RWF_NOAPPEND */
    const struct iovec line = {.iov_base = (void *)(uintptr_t) "line 000003 .......\n", .iov_len = LINE_LENGTH};
    (void)state;
    begin(0);
    assert_true(scene_write_lines(&scene, 1, 2));
    assert_int_equal(lseek(scene.fd, 0, SEEK_SET), 0);
    assert_true(guard_enter());
    assert_int_equal(log_write(scene.writer, scene.fd, &line, 1, -1, NOAPPEND, HOLD_NONE), LINE_LENGTH);
    guard_leave();
    assert_history(3);
}

static void lines_in_pieces_stay_together(void **state)
{
    (void)state;
    begin(3 * LINE_LENGTH);
    assert_true(scene_write_lines(&scene, 1, 3));
    tick += 1000000;
    assert_int_equal(scene_append(scene.writer, "line 000004 .......\nline 0000", HOLD_REST), LINE_LENGTH + 9);
    assert_int_equal(temporary_length(scene.directory, LOG_NAME), LINE_LENGTH);
    assert_int_equal(scene_append(scene.writer, "05 .......\n", HOLD_REST), 11);
    assert_int_equal(scene_append(scene.writer, "line ", HOLD_NONE), 5);
    tick += 1000000;
    assert_int_equal(scene_append(scene.writer, "0000", HOLD_NONE), 4); /* due, but in mid-line */
    assert_int_equal(scene_append(scene.writer, "06 .......\n", HOLD_NONE), 11);
    assert_int_equal(temporary_length(scene.directory, LOG_NAME), 3 * LINE_LENGTH);
    tick += 1000000;
    assert_true(scene_write_lines(&scene, 7, 7));
    assert_int_equal(temporary_length(scene.directory, LOG_NAME), LINE_LENGTH);
    assert_history(7);
}

static void a_boundary_that_is_passed_rotates_in_the_next_tick(void **state)
{
    (void)state;
    scene.rule.policy.period = (struct period){.unit = PERIOD_SECOND, .interval = 1};
    begin(0);
    assert_true(scene_write_lines(&scene, 1, 2));
    scene_clock.real++;
    assert_true(scene_write_lines(&scene, 3, 3));
    tick += 1000000;
    assert_true(scene_write_lines(&scene, 4, 4));
    assert_int_equal(temporary_length(scene.directory, LOG_NAME), LINE_LENGTH);
    assert_history(4);
}

static void where_appending_is_not_atomic_every_write_is_locked_and_that_is_said_once(void **state)
{
    static const long types[] = {NFS_SUPER_MAGIC, FUSE_SUPER_MAGIC, 0xff534d42, V9FS_MAGIC};
    (void)state;
    for (size_t i = 0; i < sizeof types / sizeof types[0]; i++) {
        filesystem = types[i];
        begin(0);
        locks = 0;
        int first = 1 + 3 * (int)i;
        assert_true(scene_write_lines(&scene, first, first + 2));
        assert_true(locks >= 6);
        unlink(temporary_path(scene.directory, LOCK_NAME).text);
        scene_detach(&scene);
    }
    assert_int_equal(temporary_count(scene.directory, DIAG_NAME, "lock=write instead of lock=rotate"), 1);
    assert_true(history_holds(scene.directory, 12, 0));
}

static void an_error_of_the_write_is_told_and_ends(void **state)
{
    (void)state;
    begin(0);
    assert_true(scene_write_lines(&scene, 1, 2));
    int full = open("/dev/full", O_WRONLY | O_CLOEXEC);
    int before = fcntl(scene.fd, F_DUPFD_CLOEXEC, 0);
    assert_true(full >= 0 && before >= 0);
    assert_int_equal(dup3(full, scene.fd, O_CLOEXEC), scene.fd);
    assert_int_equal(scene_write(&scene, 3), -ENOSPC);
    assert_int_equal(scene_events(&scene, "write_failed"), 1);
    assert_int_equal(dup3(before, scene.fd, O_CLOEXEC), scene.fd);
    assert_true(scene_write_lines(&scene, 3, 4));
    assert_int_equal(dup3(full, scene.fd, O_CLOEXEC), scene.fd);
    scene_pass(2);
    assert_int_equal(scene_write(&scene, 5), -ENOSPC);
    assert_int_equal(scene_events(&scene, "write_failed"), 2);
    assert_int_equal(dup3(before, scene.fd, O_CLOEXEC), scene.fd);
    close(full);
    close(before);
    assert_history(4);
}

/* A thread has found the descriptor's writer, and then another one closes it. */
static void who_closes_while_another_writes_does_not_end_the_process(void **state)
{
    (void)state;
    begin(1000);
    ssize_t written;
    const struct iovec line = {.iov_base = (char[]){"line\n"}, .iov_len = 5};
    assert_true(guard_enter());
    log_detach(scene.writer);
    assert_false(lockless_write(scene.writer, scene.fd, &line, 1, &written));
    guard_leave();
    scene.writer = scene_attach_descriptor(&scene, scene.fd);
    assert_true(scene_write_lines(&scene, 1, 1));
    assert_history(1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(within_a_tick_nothing_is_locked_or_looked_at, setup, scene_teardown),
        cmocka_unit_test_setup_teardown(once_a_second_everything_is_looked_at_under_the_lock, setup, scene_teardown),
        cmocka_unit_test_setup_teardown(a_file_that_is_full_is_rotated_in_the_next_tick, setup, scene_teardown),
        cmocka_unit_test_setup_teardown(who_has_not_looked_yet_loses_nothing, setup, scene_teardown),
        cmocka_unit_test_setup_teardown(what_is_written_late_is_compressed_as_well, setup, scene_teardown),
        cmocka_unit_test_setup_teardown(a_record_larger_than_a_file_is_split_under_the_lock, setup, scene_teardown),
        cmocka_unit_test_setup_teardown(who_asks_not_to_append_appends, setup, scene_teardown),
        cmocka_unit_test_setup_teardown(lines_in_pieces_stay_together, setup, scene_teardown),
        cmocka_unit_test_setup_teardown(a_boundary_that_is_passed_rotates_in_the_next_tick, setup, scene_teardown),
        cmocka_unit_test_setup_teardown(where_appending_is_not_atomic_every_write_is_locked_and_that_is_said_once,
                                        setup, scene_teardown),
        cmocka_unit_test_setup_teardown(an_error_of_the_write_is_told_and_ends, setup, scene_teardown),
        cmocka_unit_test_setup_teardown(who_closes_while_another_writes_does_not_end_the_process, setup,
                                        scene_teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
