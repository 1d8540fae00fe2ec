/* One log in several threads: what one finds at any moment that another is in the middle of something. */
#include "log_test.h"

#include "../../shim/core/log_private.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

static unsigned found, not_found;

/* What another thread does that opens the log just now: it must come to the same log, and to the same lock. */
static void attach_meanwhile(void)
{
    struct stat status;
    struct sys_calls calls = sys;
    sys = sys_real; /* its own calls are looked at by nobody */
    assert_int_equal(fstat(scene.fd, &status), 0);
    struct writer *writer = log_attach(scene.path.text, &scene.rule, scene.fd, O_WRONLY, false, &status);
    assert_non_null(writer);
    if (writer->log == scene.writer->log) {
        found++;
    } else {
        not_found++;
    }
    sys = calls;
}

static int look_meanwhile(int dir, const char *path, struct stat *status, int flags)
{
    attach_meanwhile();
    return sys_real.fstatat(dir, path, status, flags);
}

static int open_meanwhile(int dir, const char *path, int flags, mode_t mode)
{
    attach_meanwhile();
    return sys_real.openat(dir, path, flags, mode);
}

static void log_is_found_at_every_moment_of_a_look_at_its_directory(void **state)
{
    char moved[2 * TEMPORARY_SIZE];
    (void)state;
    found = not_found = 0;
    sys.fstatat = look_meanwhile;
    sys.openat = open_meanwhile;
    scene_pass(2);
    assert_true(scene_write_lines(&scene, 1, 2));
    unsigned looks = found;
    assert_true(looks > 0);
    snprintf(moved, sizeof moved, "%s.moved", scene.directory);
    assert_int_equal(rename(scene.directory, moved), 0);
    assert_int_equal(mkdir(scene.directory, 0700), 0);
    scene_pass(2);
    bool written = scene_write_lines(&scene, 3, 4);
    temporary_remove(moved);
    assert_true(written);
    assert_true(found > looks);
    assert_int_equal(not_found, 0);
}

static int other = -1;

static ssize_t write_and_lose_the_number(int fd, const struct iovec *vector, int count)
{
    ssize_t written = sys_real.writev(fd, vector, count);
    if (fd == scene.fd && other >= 0) {
        dup2(other, fd);
    }
    return written;
}

/* Another thread makes the number another file's while a record that is larger than a file may be is half written. */
static void what_is_written_of_a_record_when_its_number_is_lost_is_not_written_again(void **state)
{
    const struct temporary_path path = temporary_path(scene.directory, "other");
    (void)state;
    scene.writer->log->policy.max_bytes = 2 * LINE_LENGTH;
    other = open(path.text, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
    sys.writev = write_and_lose_the_number;
    assert_int_equal(scene_append(scene.writer,
                                  "line 000001 .......\nline 000002 .......\nline 000003 .......\n"
                                  "line 000004 .......\n",
                                  HOLD_NONE),
                     2 * LINE_LENGTH);
    assert_true(history_holds(scene.directory, 2, 0));
    assert_int_equal(temporary_length(scene.directory, "other"), 0);
    close(other);
    other = -1;
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, scene_setup_open, scene_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(log_is_found_at_every_moment_of_a_look_at_its_directory),
        TEST(what_is_written_of_a_record_when_its_number_is_lost_is_not_written_again),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
