/*
 * A lock was lost: another process rotates in the middle of this one's rotation, under the same names, or does so under
 * another lock file. It costs no line, and nobody writes to a file that has no name any more.
 */
#include "log_test.h"

#include "../../include/mplogshim.h"

#include <linux/fs.h>
#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

static int setup(void **state)
{
    (void)state;
    scene_make(&scene);
    scene.rule.policy.max_bytes = 3 * LINE_LENGTH;
    scene_start(&scene);
    scene_attach(&scene);
    return 0;
}

static unsigned interruptions;

/* The name under which a file is prepared now, or an archive waits. Only one is expected. */
static struct temporary_path pending(void)
{
    struct temporary_path path = {{0}};
    struct history *history = history_read(scene.directory);
    for (int i = 0; i < history->count; i++) {
        if (history->files[i].name.kind == NAME_PENDING) {
            path = temporary_path(scene.directory, history->files[i].text);
        }
    }
    assert_int_equal(history->pending, 1);
    free(history);
    interruptions++;
    return path;
}

static void swap_with_live(const char *other)
{
    assert_int_equal(renameat2(AT_FDCWD, other, AT_FDCWD, scene.path.text, RENAME_EXCHANGE), 0);
}

/* The line that rotates in the middle of which somebody else does, and some more: all of them are in the history. */
static void assert_nothing_is_lost(void)
{
    interruptions = 0;
    assert_true(scene_write_lines(&scene, 1, 4));
    assert_int_equal(interruptions, 1);
    assert_true(scene_write_lines(&scene, 5, 5));
    scene_pass(2);
    assert_true(scene_write_lines(&scene, 6, 20));
    scene_settle(&scene);
    assert_true(history_holds(scene.directory, 20, 0));
    assert_true(history_is_settled(scene.directory));
}

static int swap_before_a_swap_that_fails(int from_dir, const char *from, int to_dir, const char *to, unsigned flags)
{
    if (flags != RENAME_EXCHANGE || interruptions > 0) {
        return sys_real.renameat2(from_dir, from, to_dir, to, flags);
    }
    swap_with_live(pending().text);
    return -ENOENT;
}

static void archive_under_the_name_of_what_was_prepared_in_vain_is_not_removed(void **state)
{
    (void)state;
    sys.renameat2 = swap_before_a_swap_that_fails;
    assert_nothing_is_lost();
}

static int swap_and_fail(int fd, off_t length)
{
    if (interruptions > 0 || length <= MPLOGSHIM_PAGE_SIZE) {
        return sys_real.ftruncate(fd, length);
    }
    swap_with_live(pending().text);
    return -EIO;
}

static void archive_is_not_removed_when_the_rotation_cannot_be_announced(void **state)
{
    (void)state;
    sys.ftruncate = swap_and_fail;
    assert_nothing_is_lost();
}

static int prepare_anew_before_a_swap(int from_dir, const char *from, int to_dir, const char *to, unsigned flags)
{
    if (flags == RENAME_EXCHANGE && interruptions == 0) {
        struct temporary_path other = pending();
        assert_int_equal(unlink(other.text), 0);
        close(open(other.text, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644));
    }
    return sys_real.renameat2(from_dir, from, to_dir, to, flags);
}

static void file_that_was_removed_before_it_took_the_live_path_is_not_written_to(void **state)
{
    (void)state;
    sys.renameat2 = prepare_anew_before_a_swap;
    assert_nothing_is_lost();
}

static int swap_before_a_swap(int from_dir, const char *from, int to_dir, const char *to, unsigned flags)
{
    if (flags == RENAME_EXCHANGE && interruptions == 0) {
        swap_with_live(pending().text);
    }
    return sys_real.renameat2(from_dir, from, to_dir, to, flags);
}

static void two_swaps_under_one_name_leave_the_live_file_in_use(void **state)
{
    (void)state;
    sys.renameat2 = swap_before_a_swap;
    assert_nothing_is_lost();
}

/* Without RENAME_EXCHANGE: somebody looks at an archive under the name that a new file is about to wait under. */
static int without_flags(int from_dir, const char *from, int to_dir, const char *to, unsigned flags)
{
    if (flags != 0) {
        return -EINVAL;
    }
    return sys_real.renameat2(from_dir, from, to_dir, to, 0);
}

static void archive_that_somebody_looks_at_is_not_removed_without_rename_flags(void **state)
{
    char fresh[NAME_SIZE];
    (void)state;
    sys.renameat2 = without_flags;
    assert_true(scene_write_lines(&scene, 1, 4));
    assert_int_equal(name_fresh(LOG_NAME, fresh), 0);
    struct temporary_path looked_at = pending();
    struct temporary_path aside = temporary_path(scene.directory, fresh);
    assert_int_equal(rename(looked_at.text, aside.text), 0);
    assert_true(scene_write_lines(&scene, 5, 8));
    assert_int_equal(rename(aside.text, looked_at.text), 0);
    scene_pass(2);
    assert_true(scene_write_lines(&scene, 9, 20));
    scene_settle(&scene);
    assert_true(history_holds(scene.directory, 20, 0));
}

/* Somebody deletes the lock file after this process took its lock, and before its new file is complete. */
static int chmod_and_delete_lock(int fd, mode_t mode)
{
    if (interruptions == 0) {
        interruptions++;
        assert_int_equal(unlink(temporary_path(scene.directory, LOCK_NAME).text), 0);
    }
    return sys_real.fchmod(fd, mode);
}

static bool swapped_alone;

static int swap_under_the_lock_file(int from_dir, const char *from, int to_dir, const char *to, unsigned flags)
{
    bool there = access(temporary_path(scene.directory, LOCK_NAME).text, F_OK) == 0;
    swapped_alone = swapped_alone || (flags == RENAME_EXCHANGE && !there);
    return sys_real.renameat2(from_dir, from, to_dir, to, flags);
}

static void nothing_is_rotated_under_a_lock_file_that_was_deleted(void **state)
{
    (void)state;
    sys.fchmod = chmod_and_delete_lock;
    sys.renameat2 = swap_under_the_lock_file;
    swapped_alone = false;
    assert_nothing_is_lost();
    assert_false(swapped_alone);
}

static void truncation_that_rotates_does_so_under_the_next_lock_file(void **state)
{
    (void)state;
    sys.fchmod = chmod_and_delete_lock;
    sys.renameat2 = swap_under_the_lock_file;
    interruptions = 0;
    assert_true(scene_write_lines(&scene, 1, 2));
    assert_int_equal(log_truncate(scene.writer, scene.fd), 0);
    assert_int_equal(interruptions, 1);
    assert_int_equal(lseek(scene.fd, 0, SEEK_END), 0);
    assert_true(history_holds(scene.directory, 2, 0));
}

static int move_before_a_swap(int from_dir, const char *from, int to_dir, const char *to, unsigned flags)
{
    if (flags == RENAME_EXCHANGE && interruptions == 0) {
        interruptions++;
        rename(scene.path.text, temporary_path(scene.directory, LOG_NAME ".1").text);
    }
    return sys_real.renameat2(from_dir, from, to_dir, to, flags);
}

static void live_file_that_is_moved_in_the_middle_of_a_rotation_is_no_failure(void **state)
{
    (void)state;
    sys.renameat2 = move_before_a_swap;
    assert_nothing_is_lost();
    assert_int_equal(scene_events(&scene, "rotate_failed"), 0);
}

/* The lock file that took the place of the deleted one is held by somebody who is stopped. */
static int held_unless_deleted(int fd, int command, long argument)
{
    struct stat status;
    bool locks = command == F_SETLK && ((const struct flock *)argument)->l_type == F_WRLCK;
    return locks && fstat(fd, &status) == 0 && status.st_nlink > 0 ? -EAGAIN : sys_real.fcntl(fd, command, argument);
}

static int count_swaps(int from_dir, const char *from, int to_dir, const char *to, unsigned flags)
{
    interruptions += flags == RENAME_EXCHANGE;
    return sys_real.renameat2(from_dir, from, to_dir, to, flags);
}

static void nothing_is_rotated_without_the_lock(void **state)
{
    (void)state;
    interruptions = 0;
    sys.renameat2 = count_swaps;
    assert_true(scene_write_lines(&scene, 1, 3));
    assert_int_equal(unlink(temporary_path(scene.directory, LOCK_NAME).text), 0);
    scene_pass(2);
    sys.fcntl = held_unless_deleted;
    assert_true(scene_write_lines(&scene, 4, 6));
    assert_int_equal(interruptions, 0);
    assert_int_equal(scene_events(&scene, "lock_timeout"), 1);
    sys.fcntl = sys_real.fcntl;
    scene_pass(2);
    assert_true(scene_write_lines(&scene, 7, 8));
    assert_int_equal(interruptions, 1);
    scene_settle(&scene);
    assert_true(history_holds(scene.directory, 8, 0));
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, scene_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(archive_under_the_name_of_what_was_prepared_in_vain_is_not_removed),
        TEST(archive_is_not_removed_when_the_rotation_cannot_be_announced),
        TEST(file_that_was_removed_before_it_took_the_live_path_is_not_written_to),
        TEST(two_swaps_under_one_name_leave_the_live_file_in_use),
        TEST(archive_that_somebody_looks_at_is_not_removed_without_rename_flags),
        TEST(nothing_is_rotated_under_a_lock_file_that_was_deleted),
        TEST(truncation_that_rotates_does_so_under_the_next_lock_file),
        TEST(nothing_is_rotated_without_the_lock),
        TEST(live_file_that_is_moved_in_the_middle_of_a_rotation_is_no_failure),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
