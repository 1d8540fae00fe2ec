/*
 * One log in a directory where somebody else makes links, FIFOs and files at the worst moment: a root process writes
 * through none of them, and waits for none.
 */
#include "log_test.h"

#include "../../include/mplogshim.h"
#include "../../shim/core/lockfile.h"
#include "../../shim/core/log_async.h"
#include "../../shim/core/ring.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

static struct temporary_path path_of(const char *name)
{
    return temporary_path(scene.directory, name);
}

static void rename_file(const char *from, const char *to)
{
    assert_int_equal(rename(path_of(from).text, path_of(to).text), 0);
}

/* What takes the place of the live file after it was looked at, just before it is opened. */
static void (*swap)(void);
static bool opened_through_link;

static int swap_and_openat(int dir, const char *path, int flags, mode_t mode)
{
    bool live = strcmp(path, LOG_NAME) == 0;
    if (live && swap != NULL) {
        void (*now)(void) = swap;
        swap = NULL;
        now();
    }
    int fd = sys_real.openat(dir, path, flags, mode);
    opened_through_link = opened_through_link || (fd >= 0 && live && (flags & O_NOFOLLOW) == 0);
    return fd;
}

/* Somebody moves the live file, and puts a plain one there that is something else as soon as it was looked at. */
static void write_while_somebody_swaps(void (*with)(void))
{
    scene_begin(0);
    assert_true(scene_write_lines(&scene, 1, 2));
    rename_file(LOG_NAME, "moved");
    temporary_write(scene.directory, LOG_NAME, "");
    scene_pass(2);
    swap = with;
    sys.openat = swap_and_openat;
    opened_through_link = false;
    alarm(10); /* an open of a FIFO waits for ever */
    assert_true(scene_write_lines(&scene, 3, 3));
    alarm(0);
    assert_null(swap);
    assert_int_equal(temporary_length(scene.directory, "moved"), 3 * LINE_LENGTH);
    assert_int_equal(scene_events(&scene, "rotate_failed"), 1);
    assert_int_equal(remove(scene.path.text), 0);
    scene_pass(2);
    assert_true(scene_write_lines(&scene, 4, 4));
    assert_int_equal(temporary_length(scene.directory, LOG_NAME), LINE_LENGTH);
}

static void put_fifo(void)
{
    assert_int_equal(unlink(scene.path.text), 0);
    assert_int_equal(mkfifo(scene.path.text, 0666), 0);
}

static void put_link_to_fifo(void)
{
    assert_int_equal(unlink(scene.path.text), 0);
    assert_int_equal(mkfifo(path_of("fifo").text, 0666), 0);
    assert_int_equal(symlink("fifo", scene.path.text), 0);
}

static void put_link_to_file(void)
{
    assert_int_equal(unlink(scene.path.text), 0);
    temporary_write(scene.directory, "precious", "as it was");
    assert_int_equal(symlink("precious", scene.path.text), 0);
}

static void fifo_that_takes_the_place_of_the_live_file_is_not_waited_for(void **state)
{
    (void)state;
    write_while_somebody_swaps(put_fifo);
}

static void link_to_a_fifo_is_not_waited_for(void **state)
{
    (void)state;
    write_while_somebody_swaps(put_link_to_fifo);
}

/* To open is enough where the target is a device, a tape or a watchdog. */
static void link_that_takes_the_place_of_the_live_file_is_not_even_opened(void **state)
{
    (void)state;
    write_while_somebody_swaps(put_link_to_file);
    assert_false(opened_through_link);
    assert_int_equal(temporary_length(scene.directory, "precious"), 9);
}

static int openat_without_proc(int dir, const char *path, int flags, mode_t mode)
{
    return strncmp(path, "/proc", 5) == 0 ? -ENOENT : sys_real.openat(dir, path, flags, mode);
}

static void follow_moved_file(bool with_proc)
{
    scene_begin(0);
    assert_true(scene_write_lines(&scene, 1, 1));
    int before = fcntl(scene.fd, F_GETFL);
    rename_file(LOG_NAME, "moved");
    temporary_write(scene.directory, LOG_NAME, "");
    scene_pass(2);
    sys.openat = with_proc ? sys_real.openat : openat_without_proc;
    assert_true(scene_write_lines(&scene, 2, 2));
    assert_int_equal(temporary_length(scene.directory, LOG_NAME), LINE_LENGTH);
    assert_int_equal(fcntl(scene.fd, F_GETFL) & ~(with_proc ? 0 : O_NOFOLLOW), before);
}

static void flags_are_as_before_when_the_live_file_is_followed(void **state)
{
    (void)state;
    follow_moved_file(true);
}

static void without_proc_a_followed_file_waits_as_before(void **state)
{
    (void)state;
    follow_moved_file(false);
}

/* Somebody gives a file of root's the log's name. `mode`: of the directory. */
static void follow_second_name(mode_t mode)
{
    scene_begin(0);
    assert_true(scene_write_lines(&scene, 1, 1));
    temporary_write(scene.directory, "precious", "");
    rename_file(LOG_NAME, "moved");
    assert_int_equal(link(path_of("precious").text, scene.path.text), 0);
    assert_int_equal(chmod(scene.directory, mode), 0);
    scene_pass(2);
    assert_true(scene_write_lines(&scene, 2, 2));
}

static void second_name_of_a_file_is_not_written_to_where_others_make_files(void **state)
{
    (void)state;
    follow_second_name(0770);
    assert_int_equal(temporary_length(scene.directory, "precious"), 0);
    assert_int_equal(temporary_length(scene.directory, "moved"), 2 * LINE_LENGTH);
    assert_int_equal(scene_events(&scene, "rotate_failed"), 1);
}

static void second_name_that_nobody_else_can_have_made_is_followed(void **state)
{
    (void)state;
    follow_second_name(0755);
    assert_int_equal(temporary_length(scene.directory, "precious"), LINE_LENGTH);
}

/* A signal handler's line, and the rest of one that is rescued, go into a file or nowhere else. */
static void line_of_a_signal_handler_goes_into_no_fifo(void **state)
{
    char nothing[16];
    const struct iovec vector = {.iov_base = "aside\n", .iov_len = 6};
    (void)state;
    scene_begin(0);
    assert_true(scene_write_lines(&scene, 1, 1));
    rename_file(LOG_NAME, "moved");
    assert_int_equal(mkfifo(scene.path.text, 0666), 0);
    int reader = open(scene.path.text, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
    assert_true(reader >= 0);
    assert_int_equal(truncate(path_of(LOCK_NAME).text, MPLOGSHIM_PAGE_SIZE + 7), 0);
    assert_int_equal(log_write_aside(scene.writer, &vector, 1), -ESTALE);
    assert_true(read(reader, nothing, sizeof nothing) <= 0);
    close(reader);
}

/* Whoever has a directory above the log's would have files made wherever he likes, with the log's owner. */
static void link_in_place_of_the_directory_is_not_followed(void **state)
{
    char moved[2 * TEMPORARY_SIZE];
    char elsewhere[TEMPORARY_SIZE];
    (void)state;
    scene_begin(3 * LINE_LENGTH);
    temporary_make(elsewhere);
    assert_true(scene_write_lines(&scene, 1, 2));
    snprintf(moved, sizeof moved, "%s.moved", scene.directory);
    assert_int_equal(rename(scene.directory, moved), 0);
    assert_int_equal(symlink(elsewhere, scene.directory), 0);
    for (int number = 3; number <= 10; number++) {
        scene_pass(2);
        assert_true(scene_write_lines(&scene, number, number));
    }
    assert_false(temporary_exists(elsewhere, LOG_NAME));
    assert_false(temporary_exists(elsewhere, LOCK_NAME));
    assert_int_equal(temporary_count(elsewhere, DIAG_NAME, "mplogshim: rotate_failed"), 1);
    temporary_remove(elsewhere);
    assert_int_equal(unlink(scene.directory), 0);
    assert_int_equal(rename(moved, scene.directory), 0);
    scene_pass(2);
    assert_true(scene_write_lines(&scene, 11, 12));
    scene_settle(&scene);
    assert_true(history_holds(scene.directory, 12, 0));
}

/* In a lock file that somebody put there the log was begun long ago, at any moment. */
static void lock_file_of_a_stranger_does_not_say_when_the_log_is_due(void **state)
{
    enum { SOMEBODY = 4711 };
    (void)state;
    if (geteuid() != 0) {
        return; /* only root can make a file another one's */
    }
    temporary_write(scene.directory, LOCK_NAME, "");
    assert_int_equal(chown(path_of(LOCK_NAME).text, SOMEBODY, SOMEBODY), 0);
    scene.rule.policy.period = (struct period){.unit = PERIOD_HOUR, .interval = 1};
    scene_begin(0);
    struct lockfile lock = {.fd = open(path_of(LOCK_NAME).text, O_RDWR | O_CLOEXEC)};
    for (int number = 1; number <= 10; number++) {
        assert_int_equal(lockfile_write(&lock, LOCKFILE_BEGUN, scene_clock.real - 7200), 0);
        assert_int_equal(truncate(path_of(LOCK_NAME).text, MPLOGSHIM_PAGE_SIZE + number), 0);
        scene_pass(2);
        assert_true(scene_write_lines(&scene, number, number));
    }
    assert_int_equal(temporary_length(scene.directory, LOG_NAME), 10 * LINE_LENGTH);
    scene_pass(3600);
    assert_true(scene_write_lines(&scene, 11, 20));
    assert_int_equal(temporary_length(scene.directory, LOG_NAME), 10 * LINE_LENGTH);
    close(lock.fd);
    scene_settle(&scene);
    assert_true(history_holds(scene.directory, 20, 0));
}

static int refusing_fchown(int fd, uid_t owner, gid_t group)
{
    (void)fd;
    (void)owner;
    (void)group;
    return -EPERM;
}

/* 0640 of a group that the process is not in: not its own group's either. */
static void nobody_may_read_the_new_file_who_could_not_read_the_one_before(void **state)
{
    struct stat status;
    (void)state;
    scene_begin(2 * LINE_LENGTH);
    if (geteuid() != 0) {
        return; /* only root can give a file to a group that it is not in */
    }
    assert_int_equal(chown(scene.path.text, (uid_t)-1, getegid() + 4711), 0);
    assert_int_equal(chmod(scene.path.text, 0640), 0);
    sys.fchown = refusing_fchown;
    assert_true(scene_write_lines(&scene, 1, 3));
    assert_int_equal(stat(scene.path.text, &status), 0);
    assert_int_equal(status.st_size, LINE_LENGTH);
    assert_int_equal(status.st_mode & 07777, 0600);
}

/* What says so of itself, and could be mapped by nobody. */
static int fstat_of_a_huge_file(int fd, struct stat *status)
{
    int error = sys_real.fstat(fd, status);
    status->st_size = error == 0 && status->st_size == RING_PAGE ? INT64_C(1) << 50 : status->st_size;
    return error;
}

static void buffer_larger_than_any_is_noise_and_not_out_of_memory(void **state)
{
    static const char name[] = ".app.log.00000000000000aa.ring";
    int64_t looked;
    (void)state;
    scene_begin(0);
    temporary_write(scene.directory, name, "mplogshim ring\n");
    assert_int_equal(truncate(path_of(name).text, RING_PAGE), 0);
    sys.fstat = fstat_of_a_huge_file;
    assert_true(guard_enter());
    log_async_take_over(scene.writer->log);
    guard_leave();
    assert_int_equal(temporary_count(scene.directory, DIAG_NAME, "a buffer of async=1 cannot be read: 170"), 1);
    assert_true(lockfile_read(&scene.writer->log->lock, LOCKFILE_RINGS, &looked) && looked > 1); /* nothing is undone */
    assert_true(temporary_exists(scene.directory, name));
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, scene_setup, scene_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(fifo_that_takes_the_place_of_the_live_file_is_not_waited_for),
        TEST(link_to_a_fifo_is_not_waited_for),
        TEST(link_that_takes_the_place_of_the_live_file_is_not_even_opened),
        TEST(flags_are_as_before_when_the_live_file_is_followed),
        TEST(without_proc_a_followed_file_waits_as_before),
        TEST(second_name_of_a_file_is_not_written_to_where_others_make_files),
        TEST(second_name_that_nobody_else_can_have_made_is_followed),
        TEST(line_of_a_signal_handler_goes_into_no_fifo),
        TEST(link_in_place_of_the_directory_is_not_followed),
        TEST(lock_file_of_a_stranger_does_not_say_when_the_log_is_due),
        TEST(nobody_may_read_the_new_file_who_could_not_read_the_one_before),
        TEST(buffer_larger_than_any_is_noise_and_not_out_of_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
