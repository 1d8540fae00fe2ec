/*
 * The file of a log's buffer with async=1: it is where others look for it after a kill.
 */
#include "async_scene.h"

#include "../../shim/core/log_async_private.h"

#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>

#include <cmocka.h>

enum { LAST_LINE = 20 };

/* A look for buffers of the dead came between making and locking it. */
static int removals;

static int lock_too_late(int fd, int command, long argument)
{
    if (command == F_OFD_SETLK && ((struct flock *)argument)->l_type == F_WRLCK && removals < 2) {
        char path[64];
        char name[PATH_MAX] = "";
        snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
        removals += readlink(path, name, sizeof name - 1) > 0 && unlink(name) == 0;
    }
    return sys_real.fcntl(fd, command, argument);
}

static void lose_the_buffer(void)
{
    async_start();
    sys.fcntl = lock_too_late;
    scene_attach(&scene);
    require(scene_write_lines(&scene, 1, LAST_LINE), "a line was not taken");
    require(removals == 2 && rings() == 1 && live_lines() == 0, "a buffer that nobody can find");
    leave();
}

static void a_buffer_that_was_removed_before_it_was_locked_is_made_anew(void **state)
{
    (void)state;
    assert_int_equal(async_run(lose_the_buffer), 0);
    assert_true(history_holds(scene.directory, LAST_LINE, 0));
}

static int remove_buffer(const char *path, const struct stat *status, int kind, struct FTW *place)
{
    (void)status;
    (void)kind;
    (void)place;
    return strstr(path, ".ring") != NULL ? unlink(path) : 0;
}

/* The thread looks once a second. */
static bool is_closed(void)
{
    scene_pass(1);
    log_async_wake();
    return !scene.writer->log->async->open;
}

static void remove_the_buffer(void)
{
    async_begin();
    require(scene_write_lines(&scene, 1, 1) && rings() == 1 && live_lines() == 0, "not in a buffer");
    nftw(scene.directory, remove_buffer, 16, FTW_PHYS);
    require(holds_at_last(is_closed) && scene_write_lines(&scene, 2, 2),
            "the thread does not see that its file is gone");
    require(rings() == 1 && live_lines() == 1, "in a buffer that nobody would find");
    leave();
}

static void a_buffer_whose_file_is_removed_is_written_out_and_made_anew(void **state)
{
    (void)state;
    assert_int_equal(async_run(remove_the_buffer), 0);
    assert_true(history_holds(scene.directory, 2, 0));
    assert_int_equal(rings(), 0);
}

static atomic_bool full, refused;

static ssize_t write_with_room(int fd, const struct iovec *vector, int count)
{
    if (fd == scene.fd && full) {
        refused = true;
        return -ENOSPC;
    }
    return sys_real.writev(fd, vector, count);
}

static bool is_refused(void)
{
    scene_pass(1);
    log_async_wake();
    return refused;
}

static bool is_out(void)
{
    scene_pass(1);
    log_async_wake();
    return live_lines() == 1;
}

/* To make room, perhaps. */
static void remove_the_buffer_on_a_full_disk(void)
{
    async_begin();
    sys.writev = write_with_room;
    full = true;
    require(scene_write_lines(&scene, 1, 1) && rings() == 1 && live_lines() == 0, "not in a buffer");
    nftw(scene.directory, remove_buffer, 16, FTW_PHYS);
    require(holds_at_last(is_refused) && live_lines() == 0, "not tried on a full disk");
    full = false;
    require(holds_at_last(is_out), "what could not be written when the file went is not written later");
    leave();
}

static void a_buffer_whose_file_is_removed_on_a_full_disk_is_written_out_later(void **state)
{
    (void)state;
    assert_int_equal(async_run(remove_the_buffer_on_a_full_disk), 0);
    assert_true(history_holds(scene.directory, 1, 0));
}

static char moved[TEMPORARY_SIZE + 8];

static void move_the_directory(void)
{
    async_begin();
    require(scene_write_lines(&scene, 1, 1) && empty() == 0 && rings() == 1, "not in a buffer");
    require(rename(scene.directory, moved) == 0 && mkdir(scene.directory, 0755) == 0, "not moved");
    scene_pass(2);
    require(scene_write_lines(&scene, 2, 3) && empty() == 0 && live_lines() == 2, "not followed");
    require(rings() == 1, "its buffer is not beside the log");
    require(scene_write_lines(&scene, 4, 4) && rings() == 1, "a line was not taken");
    leave();
}

static void the_buffer_of_a_log_whose_directory_is_moved_away_comes_to_the_new_one(void **state)
{
    (void)state;
    snprintf(moved, sizeof moved, "%s.moved", scene.directory);
    assert_int_equal(async_run(move_the_directory), 0);
    assert_int_equal(live_lines(), 3);
    assert_int_equal(rings(), 0);
    nftw(moved, remove_buffer, 16, FTW_PHYS);
    assert_int_equal(temporary_length(moved, LOG_NAME), LINE_LENGTH);
    temporary_remove(moved);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, scene_setup, scene_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_buffer_that_was_removed_before_it_was_locked_is_made_anew),
        TEST(a_buffer_whose_file_is_removed_is_written_out_and_made_anew),
        TEST(a_buffer_whose_file_is_removed_on_a_full_disk_is_written_out_later),
        TEST(the_buffer_of_a_log_whose_directory_is_moved_away_comes_to_the_new_one),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
