/* One log and what others do to it: other processes, an administrator, whoever holds the lock. */
#include "log_test.h"

#include "../../include/mplogshim.h"

#include <setjmp.h>
#include <stdarg.h>
#include <sys/wait.h>

#include <cmocka.h>

/* The lines, and that they and no others are in the history after all is settled. */
static void assert_history(int last)
{
    scene_settle(&scene);
    assert_true(history_holds(scene.directory, last, 0));
    assert_true(history_is_settled(scene.directory));
}

static void assert_events(const char *event, int count)
{
    assert_int_equal(scene_events(&scene, event), count);
}

static void other_process_writes(int first, int last)
{
    assert_int_equal(scene_other_process(&scene, first, last), 0);
}

static void rotation_by_another_process_is_followed_at_once(void **state)
{
    (void)state;
    scene_begin(3 * LINE_LENGTH);
    assert_true(scene_write_lines(&scene, 1, 2));
    other_process_writes(3, 7);
    assert_true(scene_write_lines(&scene, 8, 8));
    other_process_writes(9, 30);
    assert_true(scene_write_lines(&scene, 31, 40));
    assert_history(40);
}

static void fork_child_and_parent_go_on_together(void **state)
{
    int status = -1;
    (void)state;
    scene_begin(3 * LINE_LENGTH);
    assert_true(scene_write_lines(&scene, 1, 2));
    pid_t child = fork();
    if (child == 0) {
        bool good = scene_write_lines(&scene, 3, 20);
        scene_settle(&scene);
        _exit(!good);
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
    assert_true(scene_write_lines(&scene, 21, 40));
    assert_history(40);
}

static void fork_child_does_not_write_what_its_parent_holds(void **state)
{
    int status = -1;
    (void)state;
    scene_begin(0);
    assert_int_equal(scene_append(scene.writer, "line 000001 .......\nline 0000", HOLD_REST), LINE_LENGTH + 9);
    pid_t child = fork();
    if (child == 0) {
        bool released = guard_enter() && log_release(scene.writer, scene.fd) == 0;
        guard_leave();
        _exit(!released);
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
    assert_int_equal(temporary_length(scene.directory, LOG_NAME), LINE_LENGTH);
    assert_int_equal(scene_append(scene.writer, "02 .......\n", HOLD_REST), 11);
    assert_history(2);
}

/*
 * The kernel copies the descriptors of a fork child before its memory: that may know of a rotation by another thread in
 * between, which moved one of the parent's descriptors but not the child's.
 */
static void descriptor_that_a_fork_child_has_from_before_a_rotation_is_found_out(void **state)
{
    struct stat live;
    (void)state;
    scene_begin(10 * LINE_LENGTH + 15); /* the archive has room for what should not go there */
    assert_true(scene_write_lines(&scene, 1, 3));
    int other = open(scene.path.text, O_WRONLY | O_APPEND | O_CLOEXEC);
    struct writer *behind = scene_attach_descriptor(&scene, other);
    assert_int_equal(scene_other_process(&scene, 4, 11), 0);
    assert_int_equal(stat(scene.path.text, &live), 0);
    behind->inode = live.st_ino;
    behind->device = live.st_dev;
    assert_true(scene_write_lines(&scene, 12, 12)); /* follows */
    assert_int_equal(scene_append(behind, "to an archive\n", HOLD_NONE), -ESTALE);
    assert_history(12);
    close(other);
}

static void move_live(const char *to)
{
    struct temporary_path path = temporary_path(scene.directory, to);
    assert_int_equal(rename(scene.path.text, path.text), 0);
}

static void live_file_that_was_moved_is_made_anew_within_a_second(void **state)
{
    struct stat status;
    (void)state;
    scene_begin(0);
    assert_int_equal(fchmod(scene.fd, 0640), 0);
    assert_true(scene_write_lines(&scene, 1, 2));
    move_live("app.log.1");
    scene_pass(1);
    assert_true(scene_write_lines(&scene, 3, 4));
    assert_int_equal(stat(scene.path.text, &status), 0);
    assert_int_equal(status.st_size, 2 * LINE_LENGTH);
    assert_int_equal(status.st_mode & 07777, 0640);
    assert_history(4);
}

static void live_file_that_was_replaced_is_followed_within_a_second(void **state)
{
    (void)state;
    scene_begin(0);
    assert_true(scene_write_lines(&scene, 1, 2));
    move_live("app.log.1");
    temporary_write(scene.directory, LOG_NAME, "");
    scene_pass(1);
    assert_true(scene_write_lines(&scene, 3, 4));
    assert_int_equal(temporary_length(scene.directory, LOG_NAME), 2 * LINE_LENGTH);
    assert_history(4);
}

static void live_file_that_was_removed_or_truncated_does_no_harm(void **state)
{
    (void)state;
    scene_begin(3 * LINE_LENGTH);
    assert_int_equal(scene_append(scene.writer, "gone\n", HOLD_NONE), 5);
    assert_int_equal(unlink(scene.path.text), 0);
    scene_pass(1);
    assert_int_equal(scene_append(scene.writer, "gone too\n", HOLD_NONE), 9);
    assert_int_equal(truncate(scene.path.text, 0), 0);
    assert_true(scene_write_lines(&scene, 1, 10));
    assert_history(10);
}

/* The live path is a link, a directory or a FIFO: writes go on into the file that the program has. */
static void assert_survives_at_live_path(void (*make)(const char *path))
{
    scene_begin(0);
    assert_true(scene_write_lines(&scene, 1, 2));
    move_live("moved");
    make(scene.path.text);
    scene_pass(2);
    assert_true(scene_write_lines(&scene, 3, 3));
    scene_pass(2);
    assert_true(scene_write_lines(&scene, 4, 4));
    assert_int_equal(temporary_length(scene.directory, "moved"), 4 * LINE_LENGTH);
    assert_events("rotate_failed", 1);
    assert_int_equal(remove(scene.path.text), 0);
    scene_pass(2);
    assert_true(scene_write_lines(&scene, 5, 5));
    assert_int_equal(temporary_length(scene.directory, LOG_NAME), LINE_LENGTH);
    assert_events("rotate_recovered", 1);
}

static void make_link(const char *path)
{
    struct temporary_path target = temporary_path(scene.directory, "precious");
    temporary_write(scene.directory, "precious", "");
    assert_int_equal(symlink(target.text, path), 0);
}

static void make_directory(const char *path)
{
    assert_int_equal(mkdir(path, 0700), 0);
}

static void make_fifo(const char *path)
{
    assert_int_equal(mkfifo(path, 0600), 0);
}

static void link_at_the_live_path_is_not_written_through(void **state)
{
    (void)state;
    assert_survives_at_live_path(make_link);
    assert_int_equal(temporary_length(scene.directory, "precious"), 0);
}

static void directory_at_the_live_path_is_survived(void **state)
{
    (void)state;
    assert_survives_at_live_path(make_directory);
}

static void fifo_at_the_live_path_is_survived(void **state)
{
    (void)state;
    assert_survives_at_live_path(make_fifo);
}

static struct temporary_path lock_path(void)
{
    return temporary_path(scene.directory, LOCK_NAME);
}

static void lock_file_that_was_deleted_does_no_harm(void **state)
{
    (void)state;
    scene_begin(3 * LINE_LENGTH);
    assert_true(scene_write_lines(&scene, 1, 8));
    assert_int_equal(unlink(lock_path().text), 0);
    assert_true(scene_write_lines(&scene, 9, 12));
    scene_pass(1);
    assert_true(scene_write_lines(&scene, 13, 13));
    assert_true(temporary_exists(scene.directory, LOCK_NAME));
    other_process_writes(14, 20);
    assert_true(scene_write_lines(&scene, 21, 30));
    assert_history(30);
}

static void lock_file_that_was_truncated_does_no_harm(void **state)
{
    (void)state;
    scene_begin(3 * LINE_LENGTH);
    assert_true(scene_write_lines(&scene, 1, 8));
    assert_int_equal(truncate(lock_path().text, 0), 0);
    assert_true(scene_write_lines(&scene, 9, 12));
    scene_pass(1);
    other_process_writes(13, 20);
    scene_pass(1);
    assert_true(scene_write_lines(&scene, 21, 30));
    assert_history(30);
}

/* After a lock file was deleted, generations are counted from 0 again, and an archive may have the name already. */
static bool is_hidden;

static int fstatat_of_hidden(int dir, const char *path, struct stat *status, int flags)
{
    return is_hidden && strcmp(path, LOG_NAME) == 0 ? -EACCES : sys_real.fstatat(dir, path, status, flags);
}

/*
 * Who may not search the directory any more goes by the generation, and opens the live file as if a keeper lent it. The
 * generation of an emptied lock file is that of a log that was never rotated.
 */
static void lock_file_that_was_truncated_after_a_rotation_leaves_nobody_in_the_archive(void **state)
{
    (void)state;
    scene_begin(3 * LINE_LENGTH);
    sys.fstatat = fstatat_of_hidden;
    assert_true(scene_write_lines(&scene, 1, 1));
    other_process_writes(2, 4);
    assert_int_equal(truncate(lock_path().text, 0), 0);
    is_hidden = true;
    scene_pass(2);
    assert_true(scene_write_lines(&scene, 5, 5));
    is_hidden = false;
    assert_int_equal(temporary_length(scene.directory, LOG_NAME), 2 * LINE_LENGTH);
    assert_true(scene_write_lines(&scene, 6, 20));
    assert_history(20);
}

static void pending_archive_of_the_same_generation_is_not_touched(void **state)
{
    char name[NAME_SIZE];
    (void)state;
    scene_clock.real = time(NULL); /* the file's times are told by no other clock */
    assert_int_equal(name_pending(LOG_NAME, 0, scene_clock.real, name), 0);
    temporary_write(scene.directory, name, "line 000001 .......\n");
    scene_begin(3 * LINE_LENGTH);
    assert_true(scene_write_lines(&scene, 2, 5));
    scene_pass(30); /* archives too young to be ordered wait */
    for (int number = 6; number <= 20; number++) {
        assert_true(scene_write_lines(&scene, number, number));
        scene_pass(2);
    }
    assert_history(20);
}

static void noise_in_the_lock_file_does_no_harm(void **state)
{
    static char noise[MPLOGSHIM_PAGE_SIZE + 1000];
    (void)state;
    for (size_t i = 0; i + 1 < sizeof noise; i++) {
        noise[i] = (char)(1 + i * 7919 % 255);
    }
    scene_begin(3 * LINE_LENGTH);
    scene.rule.policy.period = (struct period){.unit = PERIOD_HOUR, .interval = 1};
    assert_true(scene_write_lines(&scene, 1, 8));
    temporary_write(scene.directory, LOCK_NAME, noise);
    assert_true(scene_write_lines(&scene, 9, 12));
    scene_pass(1);
    other_process_writes(13, 20);
    scene_pass(3600);
    assert_true(scene_write_lines(&scene, 21, 30));
    assert_history(30);
}

/* Something else lies where the lock file was: writes go on, one event says so, and one when it is gone. */
static void assert_survives_at_lock_path(void (*make)(const char *path))
{
    scene_begin(3 * LINE_LENGTH);
    assert_true(scene_write_lines(&scene, 1, 8));
    assert_int_equal(unlink(lock_path().text), 0);
    make(lock_path().text);
    for (int number = 9; number <= 12; number++) {
        scene_pass(2);
        assert_true(scene_write_lines(&scene, number, number));
    }
    assert_events("lock_timeout", 1);
    assert_int_equal(remove(lock_path().text), 0);
    scene_pass(2);
    assert_true(scene_write_lines(&scene, 13, 30));
    assert_events("lock_recovered", 1);
    assert_true(temporary_exists(scene.directory, LOCK_NAME));
    assert_history(30);
}

static void link_in_place_of_the_lock_file_is_survived(void **state)
{
    (void)state;
    assert_survives_at_lock_path(make_link);
    assert_int_equal(temporary_length(scene.directory, "precious"), 0);
}

static void directory_in_place_of_the_lock_file_is_survived(void **state)
{
    (void)state;
    assert_survives_at_lock_path(make_directory);
}

static void fifo_in_place_of_the_lock_file_is_survived(void **state)
{
    (void)state;
    assert_survives_at_lock_path(make_fifo);
}

static void directory_that_was_replaced_is_followed(void **state)
{
    char moved[2 * TEMPORARY_SIZE];
    (void)state;
    scene_begin(3 * LINE_LENGTH);
    assert_int_equal(scene_append(scene.writer, "gone\n", HOLD_NONE), 5);
    snprintf(moved, sizeof moved, "%s.moved", scene.directory);
    assert_int_equal(rename(scene.directory, moved), 0);
    assert_int_equal(mkdir(scene.directory, 0700), 0);
    scene_pass(2);
    ssize_t written = scene_write(&scene, 1);
    temporary_remove(moved);
    scene_pass(2);
    ssize_t again = scene_write(&scene, 2);
    assert_int_equal(written, LINE_LENGTH);
    assert_int_equal(again, LINE_LENGTH);
    assert_true(scene_write_lines(&scene, 3, 10));
    assert_history(10);
}

/* A process with the lock; it lets go when the pipe is closed. */
static pid_t holder;
static int release;

static void hold_lock(void)
{
    int ready[2];
    int ends[2];
    char nothing;
    assert_int_equal(pipe2(ready, O_CLOEXEC), 0);
    assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
    holder = fork();
    if (holder == 0) {
        struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = MPLOGSHIM_LOCK_WRITE, .l_len = 1};
        int fd = open(lock_path().text, O_RDWR | O_CLOEXEC);
        close(ends[1]);
        if (fcntl(fd, F_SETLK, &lock) == 0 && write(ready[1], "", 1) == 1) {
            _exit(read(ends[0], &nothing, 1) != 0);
        }
        _exit(1);
    }
    close(ready[1]);
    close(ends[0]);
    release = ends[1];
    assert_int_equal(read(ready[0], &nothing, 1), 1);
    close(ready[0]);
}

static void let_go(void)
{
    int status = -1;
    close(release);
    assert_int_equal(waitpid(holder, &status, 0), holder);
    assert_int_equal(status, 0);
}

static void lock_that_is_not_to_be_had_is_waited_for_once(void **state)
{
    (void)state;
    scene_begin(3 * LINE_LENGTH);
    assert_true(scene_write_lines(&scene, 1, 2));
    hold_lock();
    assert_true(scene_write_lines(&scene, 3, 3));
    assert_in_range(scene_clock.slept, 5000000000, 5010000000);
    assert_events("lock_timeout", 1);
    for (int number = 4; number <= 8; number++) {
        scene_pass(2);
        assert_true(scene_write_lines(&scene, number, number));
    }
    assert_in_range(scene_clock.slept, 5000000000, 5010000000);
    assert_events("lock_timeout", 1);
    assert_int_equal(temporary_length(scene.directory, LOG_NAME), 8 * LINE_LENGTH); /* nobody rotates unlocked */
    let_go();
    scene_pass(2);
    assert_true(scene_write_lines(&scene, 9, 20));
    assert_events("lock_recovered", 1);
    assert_events("lock_timeout", 1);
    assert_history(20);
}

static int sleeps;

static int sleep_until_it_lets_go(const struct timespec *duration)
{
    if (++sleeps == 50) {
        let_go();
    }
    return scene_sleep(duration);
}

static void lock_that_comes_free_in_time_is_no_event(void **state)
{
    (void)state;
    scene_begin(0);
    assert_true(scene_write_lines(&scene, 1, 2));
    hold_lock();
    sleeps = 0;
    sys.sleep = sleep_until_it_lets_go;
    assert_true(scene_write_lines(&scene, 3, 3));
    assert_int_equal(sleeps, 50);
    assert_false(temporary_exists(scene.directory, DIAG_NAME));
    assert_history(3);
}

/* As another log rotator does, which knows of no lock. */
static int sleep_while_it_is_moved(const struct timespec *duration)
{
    if (++sleeps == 50) {
        move_live(LOG_NAME ".1");
        temporary_write(scene.directory, LOG_NAME, "line 000003 .......\n");
        let_go();
        scene_pass(1);
    }
    return scene_sleep(duration);
}

static void who_waited_for_the_lock_does_not_write_to_what_is_an_archive_meanwhile(void **state)
{
    (void)state;
    scene_begin(0);
    assert_true(scene_write_lines(&scene, 1, 2));
    hold_lock();
    sleeps = 0;
    sys.sleep = sleep_while_it_is_moved;
    assert_true(scene_write_lines(&scene, 4, 4));
    assert_int_equal(sleeps, 50);
    assert_int_equal(temporary_length(scene.directory, LOG_NAME), 2 * LINE_LENGTH);
    assert_history(4);
}

static int look_in_vain(int dir, const char *path, struct stat *status, int flags)
{
    int error = sys_real.fstatat(dir, path, status, flags);
    return error != 0 ? error : -EACCES;
}

static void vfork_child_that_may_not_look_stays_in_the_file_it_has(void **state)
{
    struct stat before;
    struct stat after;
    (void)state;
    scene_begin(0);
    assert_true(scene_write_lines(&scene, 1, 2));
    move_live(LOG_NAME ".1");
    temporary_write(scene.directory, LOG_NAME, "line 000003 .......\n");
    assert_int_equal(fstat(scene.fd, &before), 0);
    sys.fstatat = look_in_vain;
    assert_int_equal(log_follow_alone(scene.writer, scene.fd), -EACCES);
    assert_int_equal(fstat(scene.fd, &after), 0);
    assert_true(before.st_ino == after.st_ino);
    sys.fstatat = sys_real.fstatat;
    assert_int_equal(log_follow_alone(scene.writer, scene.fd), 0);
    assert_int_equal(stat(scene.path.text, &before), 0);
    assert_int_equal(fstat(scene.fd, &after), 0);
    assert_true(before.st_ino == after.st_ino);
}

/* As servers of NFS may. */
static int fcntl_of_what_is_locked(int fd, int command, long argument)
{
    const struct flock *lock = (const struct flock *)argument;
    bool more = command == F_SETLK && lock->l_type == F_UNLCK && lock->l_len != 1;
    return more ? -EINVAL : sys_real.fcntl(fd, command, argument);
}

static void lock_is_let_go_where_more_than_was_locked_cannot_be(void **state)
{
    int status = -1;
    (void)state;
    scene_begin(0);
    sys.fcntl = fcntl_of_what_is_locked;
    assert_true(scene_write_lines(&scene, 1, 3));
    pid_t child = fork();
    if (child == 0) {
        _exit(lockfile_is_held(&scene.writer->log->lock, MPLOGSHIM_LOCK_WRITE));
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
    assert_history(3);
}

static void program_that_closed_the_lock_file_gets_it_again(void **state)
{
    (void)state;
    scene_begin(3 * LINE_LENGTH);
    assert_true(scene_write_lines(&scene, 1, 4));
    sys_real.close(scene.writer->log->lock.fd);
    sys_real.close(scene.writer->log->directory.fd);
    for (int number = 5; number <= 30; number++) {
        assert_true(scene_write_lines(&scene, number, number));
        scene_pass(1);
    }
    assert_history(30);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, scene_setup, scene_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(rotation_by_another_process_is_followed_at_once),
        TEST(fork_child_and_parent_go_on_together),
        TEST(fork_child_does_not_write_what_its_parent_holds),
        TEST(descriptor_that_a_fork_child_has_from_before_a_rotation_is_found_out),
        TEST(live_file_that_was_moved_is_made_anew_within_a_second),
        TEST(live_file_that_was_replaced_is_followed_within_a_second),
        TEST(live_file_that_was_removed_or_truncated_does_no_harm),
        TEST(link_at_the_live_path_is_not_written_through),
        TEST(directory_at_the_live_path_is_survived),
        TEST(fifo_at_the_live_path_is_survived),
        TEST(lock_file_that_was_deleted_does_no_harm),
        TEST(lock_file_that_was_truncated_does_no_harm),
        TEST(lock_file_that_was_truncated_after_a_rotation_leaves_nobody_in_the_archive),
        TEST(pending_archive_of_the_same_generation_is_not_touched),
        TEST(noise_in_the_lock_file_does_no_harm),
        TEST(link_in_place_of_the_lock_file_is_survived),
        TEST(directory_in_place_of_the_lock_file_is_survived),
        TEST(fifo_in_place_of_the_lock_file_is_survived),
        TEST(directory_that_was_replaced_is_followed),
        TEST(lock_that_is_not_to_be_had_is_waited_for_once),
        TEST(lock_that_comes_free_in_time_is_no_event),
        TEST(who_waited_for_the_lock_does_not_write_to_what_is_an_archive_meanwhile),
        TEST(vfork_child_that_may_not_look_stays_in_the_file_it_has),
        TEST(lock_is_let_go_where_more_than_was_locked_cannot_be),
        TEST(program_that_closed_the_lock_file_gets_it_again),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
