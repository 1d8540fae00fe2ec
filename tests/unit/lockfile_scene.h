/* What the tests of the lock file share: one in a directory of the test's own, and other processes. */
#ifndef LOCKFILE_SCENE_H
#define LOCKFILE_SCENE_H

#include "log_scene.h"

#include "../../include/mplogshim.h"

#include <setjmp.h>
#include <stdarg.h>
#include <sys/wait.h>

#include <cmocka.h>

struct place {
    char directory[TEMPORARY_SIZE];
    struct lockfile lockfile;
    struct stat log;
};

static inline int setup(void **state)
{
    struct place *place = calloc(1, sizeof *place);
    temporary_make(place->directory);
    scene_clock = (struct scene_clock){.real = 1795190400, .monotonic = 100000000000};
    sys = sys_real;
    sys.clock = scene_read_clock;
    sys.sleep = scene_sleep;
    place->lockfile.fd = -1;
    place->lockfile.directory = open(place->directory, O_PATH | O_DIRECTORY | O_CLOEXEC);
    strcpy(place->lockfile.name, LOCK_NAME);
    place->log = (struct stat){.st_mode = S_IFREG | 0640, .st_uid = geteuid(), .st_gid = getegid()};
    *state = place;
    return 0;
}

static inline int teardown(void **state)
{
    struct place *place = *state;
    sys = sys_real;
    lockfile_close(&place->lockfile);
    close(place->lockfile.directory);
    temporary_remove(place->directory);
    free(place);
    return 0;
}

static inline void assert_opens(struct place *place)
{
    assert_int_equal(lockfile_open(&place->lockfile, -1, &place->log), 0);
    assert_true(place->lockfile.fd >= 0);
}

/* Another process with the lock. It lets go, and ends, when the pipe is closed. */
struct holder {
    pid_t process;
    int release;
};

static inline struct holder hold(struct place *place, int byte)
{
    int ready[2];
    int release[2];
    char nothing;
    assert_int_equal(pipe2(ready, O_CLOEXEC), 0);
    assert_int_equal(pipe2(release, O_CLOEXEC), 0);
    struct holder holder = {.process = fork(), .release = release[1]};
    if (holder.process == 0) {
        close(release[1]);
        if (lockfile_acquire(&place->lockfile, byte, UINT64_MAX) == 0 && write(ready[1], "", 1) == 1) {
            _exit(read(release[0], &nothing, 1) != 0);
        }
        _exit(1);
    }
    close(ready[1]);
    close(release[0]);
    assert_int_equal(read(ready[0], &nothing, 1), 1);
    close(ready[0]);
    return holder;
}

static inline void let_go(struct holder *holder)
{
    int status = -1;
    close(holder->release);
    assert_int_equal(waitpid(holder->process, &status, 0), holder->process);
    assert_int_equal(status, 0);
}

/* Waits for a child that must end well. */
static inline void assert_ends_well(pid_t child)
{
    int status = -1;
    assert_true(child > 0);
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

#endif
