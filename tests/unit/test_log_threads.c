/* One log in several threads: what one finds at any moment that another is in the middle of something. */
#include "log_scene.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

static struct scene scene;

static int setup(void **state)
{
    (void)state;
    scene_make(&scene);
    scene_start(&scene);
    scene_attach(&scene);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    scene_detach(&scene);
    sys = sys_real;
    diag_open(DIAG_OFF, NULL);
    temporary_remove(scene.directory);
    return 0;
}

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

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(log_is_found_at_every_moment_of_a_look_at_its_directory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
