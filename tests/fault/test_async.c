/*
 * async=1 with something of it failing: making the buffer and its thread, writing a batch, and taking over what a dead
 * process left. Nothing is lost, nothing comes twice, one message says what is the matter, and it is tried again.
 *
 * Each case runs in a process of its own, by a clock of the test's: nothing is written by time alone.
 */
#include "../unit/async_scene.h"
#include "faults.h"

#include "../../shim/core/log_async_private.h"

#include <linux/magic.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <sys/mman.h>

#include <cmocka.h>

enum { FIRST_LINES = 10, LAST_LINE = 20, RETRY = 61 /* seconds */ };

/* What fails is chosen by name: there is a second thread, so that calls have no number. */
static struct {
    const char *call;
    int error;
    int times; /* so many calls fail, or -1: all */
} fault;

static bool fails(const char *call)
{
    if (fault.call == NULL || strcmp(fault.call, call) != 0 || fault.times == 0) {
        return false;
    }
    fault.times -= fault.times > 0;
    return true;
}

static int failing_fallocate(int fd, off_t length)
{
    bool unknown = fault.call != NULL && strcmp(fault.call, "zeros") == 0;
    return unknown ? -EOPNOTSUPP : fails("fallocate") ? -fault.error : sys_real.fallocate(fd, length);
}

static long failing_map(void *address, size_t size, int fd)
{
    return fails("map") ? -fault.error : sys_real.map(address, size, fd);
}

static int failing_filesystem(int fd, long *type)
{
    int error = sys_real.filesystem(fd, type);
    *type = fails("store into") ? BTRFS_SUPER_MAGIC : *type;
    return error;
}

static int failing_openat(int dir, const char *path, int flags, mode_t mode)
{
    return strstr(path, ".ring") != NULL && fails("openat") ? -fault.error : sys_real.openat(dir, path, flags, mode);
}

/* Somebody who may write to the buffer puts what was written back into it. */
static struct {
    char *from;
    char page[65536];
    size_t size; /* 0: nobody does */
    atomic_int times;
} put_back;

static int failing_fcntl(int fd, int command, long argument)
{
    const struct flock *lock = (const struct flock *)argument;
    bool takes = command == F_SETLK && lock->l_type == F_WRLCK;
    if (command == F_SETLK && lock->l_type == F_UNLCK && put_back.size > 0) {
        memcpy(put_back.from, put_back.page, put_back.size);
        put_back.times++;
    }
    return (command == F_OFD_SETLK && fails("ring lock")) || (takes && fails("lock"))
               ? -fault.error
               : sys_real.fcntl(fd, command, argument);
}

static int failing_fstatat(int dir, const char *path, struct stat *status, int flags)
{
    return strstr(path, ".ring") != NULL && fails("fstatat") ? -fault.error
                                                             : sys_real.fstatat(dir, path, status, flags);
}

static int failing_unlinkat(int dir, const char *path, int flags)
{
    return strstr(path, ".ring") != NULL && fails("unlinkat") ? -fault.error : sys_real.unlinkat(dir, path, flags);
}

static bool appends_only; /* chattr +a */

static int failing_ftruncate(int fd, off_t length)
{
    return appends_only ? -EPERM : sys_real.ftruncate(fd, length);
}

static bool half; /* of what is written goes out, and then there is the error */
static bool dies; /* the process, then */

static ssize_t failing_writev(int fd, const struct iovec *vector, int count)
{
    if (count > 0 && vector->iov_len == 4096 && fails("zeros")) {
        return fault.error == 0 ? sys_real.writev(fd, vector, 1) / 2 : -fault.error;
    }
    if (fd != scene.fd || !fails("writev")) {
        return sys_real.writev(fd, vector, count);
    }
    if (half) {
        struct iovec first = {.iov_base = vector[0].iov_base, .iov_len = vector[0].iov_len / 2 + 7}; /* in mid-line */
        half = false;
        ssize_t written = sys_real.writev(fd, &first, 1);
        if (dies) {
            syscall(SYS_exit_group, FAULT_KILLED);
        }
        return written;
    }
    return -fault.error;
}

/* libc's, which the library calls by this name. */
int __clone(int (*function)(void *), void *stack, int flags, void *argument, pid_t *parent, void *storage,
            pid_t *child);
int __clone(int (*function)(void *), void *stack, int flags, void *argument, pid_t *parent, void *storage, pid_t *child)
{
    if (fails("clone")) {
        errno = fault.error;
        return -1;
    }
    return clone(function, stack, flags, argument, parent, storage, child);
}

static void begin(void)
{
    async_start();
    sys.fallocate = failing_fallocate;
    sys.map = failing_map;
    sys.filesystem = failing_filesystem;
    sys.openat = failing_openat;
    sys.fcntl = failing_fcntl;
    sys.fstatat = failing_fstatat;
    sys.unlinkat = failing_unlinkat;
    sys.ftruncate = failing_ftruncate;
    sys.writev = failing_writev;
    scene_attach(&scene);
}

static int run_in_child(void (*body)(const void *argument), const void *argument)
{
    int status = -1;
    pid_t child = fork();
    if (child == 0) {
        begin();
        body(argument);
        leave();
        _exit(0);
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    return status;
}

/* A case, with the directory looked at; whether anything was wrong. */
static int run(void (*body)(const void *argument), const void *argument)
{
    scene_make(&scene);
    int status = run_in_child(body, argument);
    bool good = status == 0 && history_holds(scene.directory, LAST_LINE, 0) && rings() == 0;
    temporary_remove(scene.directory);
    return !good;
}

struct failing {
    const char *call;
    int error;
    const char *said; /* of what there is none */
};

static void nothing_to_write_into(const void *argument)
{
    const struct failing *failing = argument;
    char wanted[128];
    fault.call = failing->call;
    fault.error = failing->error;
    fault.times = -1;
    require(scene_write_lines(&scene, 1, FIRST_LINES), "a line was not taken");
    require(live_lines() == FIRST_LINES, "not synchronous");
    snprintf(wanted, sizeof wanted, "is written synchronously, in spite of async=1: no %s: %s\n", failing->said,
             diag_errno(failing->error == 0 ? ENOSPC : failing->error));
    require(temporary_count(scene.directory, DIAG_NAME, wanted) == 1, wanted);
    require(temporary_count(scene.directory, DIAG_NAME, "mplogshim: ") == 1, "more was said");
    fault.call = NULL;
    require(rings() == 0, "a buffer was left");
    require(scene_write_lines(&scene, FIRST_LINES + 1, FIRST_LINES + 1), "a line was not taken");
    require(rings() == 0, "tried again at once");
    scene_pass(RETRY);
    require(scene_write_lines(&scene, FIRST_LINES + 2, LAST_LINE), "a line was not taken later");
    require(rings() == 1 && live_lines() == FIRST_LINES + 1, "not tried again");
}

static int run_each(void (*body)(const void *argument), const struct failing *cases, size_t count)
{
    int wrong = 0;
    for (size_t i = 0; i < count; i++) {
        if (run(body, &cases[i]) != 0) {
            fprintf(stderr, "^^^ %s: %s\n\n", cases[i].call, diag_errno(cases[i].error));
            wrong++;
        }
    }
    return wrong;
}

static void without_a_buffer_writing_is_synchronous_until_it_is_to_be_had(void **state)
{
    static const struct failing cases[] = {
        {"openat", ENOSPC, "buffer"},
        {"openat", EMFILE, "buffer"},
        {"openat", EACCES, "buffer"},
        {"openat", EROFS, "buffer"},
        {"ring lock", ENOLCK, "buffer"},
        {"ring lock", EINVAL, "buffer"},
        {"fallocate", ENOSPC, "buffer"},
        {"fallocate", EFBIG, "buffer"},
        {"fallocate", EDQUOT, "buffer"},
        {"fallocate", EIO, "buffer"},
        {"zeros", ENOSPC, "buffer"},
        {"zeros", EIO, "buffer"},
        {"zeros", 0, "buffer"},
        {"map", ENOMEM, "buffer"},
        {"map", ENODEV, "buffer"},
        {"map", EAGAIN, "buffer"},
        {"store into", EOPNOTSUPP, "buffer"},
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__) /* their thread is another one (thread.c) */
        {"clone", EAGAIN, "thread"},
        {"clone", ENOMEM, "thread"},
#endif
    };
    (void)state;
    assert_int_equal(run_each(nothing_to_write_into, cases, sizeof cases / sizeof cases[0]), 0);
}

/* Larger than what is made in any case. */
static void nothing_allocates(const void *argument)
{
    const struct failing *failing = argument;
    struct stat status;
    enum { LARGE = 4 << 20 };
    scene.rule.async_buffer = LARGE;
    fault.call = failing->call;
    fault.error = failing->error;
    fault.times = 1;
    require(scene_write_lines(&scene, 1, LAST_LINE), "a line was not taken");
    require(fault.times == 0 && rings() == 1 && live_lines() == 0, "no buffer");
    int fd = sys_real.openat(AT_FDCWD, scene.directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0);
    char name[NAME_SIZE];
    require(name_ring(LOCK_NAME, scene.writer->log->async->own.number, name) == 0, "no name");
    require(fstatat(fd, name, &status, 0) == 0 && status.st_size > LARGE, "not that large");
    require(status.st_blocks * 512 >= status.st_size, "a store may need blocks that are not there");
    close(fd);
}

static void where_blocks_cannot_be_allocated_they_are_written(void **state)
{
    static const struct failing cases[] = {{"fallocate", EOPNOTSUPP, NULL}, {"fallocate", ENOSYS, NULL}};
    (void)state;
    assert_int_equal(run_each(nothing_allocates, cases, sizeof cases / sizeof cases[0]), 0);
}

static void fail_writing(int error)
{
    fault.call = "writev";
    fault.error = error;
    fault.times = -1;
}

/* The lines stay in the buffer, and later ones come behind them. */
static void nowhere_to_write(const void *argument)
{
    const struct failing *failing = argument;
    require(scene_write_lines(&scene, 1, FIRST_LINES) && live_lines() == 0, "not in the buffer");
    half = strstr(failing->call, "half") != NULL;
    appends_only = strstr(failing->call, "appended") != NULL;
    fail_writing(failing->error);
    require(empty() == -failing->error, "the error of the write is not told");
    bool torn = temporary_length(scene.directory, LOG_NAME) % LINE_LENGTH != 0;
    require(torn == appends_only, "others would write behind half a line");
    require(scene_write_lines(&scene, FIRST_LINES + 1, FIRST_LINES + 2), "a line was not taken");
    require(empty() == -failing->error, "the error of the write is not told again");
    require(scene_events(&scene, "write_failed") == 1, "not told once");
    fault.call = NULL;
    scene_pass(2);
    require(empty() == 0 && live_lines() == FIRST_LINES + 2, "not written later");
    require(scene_write_lines(&scene, FIRST_LINES + 3, LAST_LINE), "a line was not taken");
    require(live_lines() == FIRST_LINES + 2, "not in a buffer again");
}

static void errors_of_writing_lose_and_double_nothing(void **state)
{
    static const struct failing cases[] = {
        {"all", ENOSPC, NULL},
        {"all", EDQUOT, NULL},
        {"all", EFBIG, NULL},
        {"all", EIO, NULL},
        {"half", ENOSPC, NULL},
        {"half", EIO, NULL},
        {"half, appended", ENOSPC, NULL},
        {"half, appended", EFBIG, NULL},
    };
    (void)state;
    assert_int_equal(run_each(nowhere_to_write, cases, sizeof cases / sizeof cases[0]), 0);
}

/* Whoever found what was announced and is not there would wait for the buffer of its process, under the lock. */
static void no_room_for_all(const void *argument)
{
    enum { LINES = 300 /* more than a page */ };
    (void)argument;
    require(scene_write_lines(&scene, 1, LINES) && live_lines() == 0, "not in the buffer");
    half = true;
    fail_writing(ENOSPC);
    require(empty() == -ENOSPC && live_lines() > 0 && live_lines() < LINES, "not cut short by the disk");
    off_t size = temporary_length(scene.directory, LOG_NAME);
    require(!lockfile_is_broken(&scene.writer->log->lock, scene.writer->generation, size),
            "announced for a dead one's");
    fault.call = NULL;
    scene_pass(2);
    require(empty() == 0 && live_lines() == LINES, "not written later");
}

static void a_batch_that_a_full_disk_cuts_short_is_not_taken_for_that_of_a_dead_process(void **state)
{
    (void)state;
    scene_make(&scene);
    assert_int_equal(run_in_child(no_room_for_all, NULL), 0);
    temporary_remove(scene.directory);
}

static void wait_until(bool (*holds)(void), const char *what)
{
    const struct timespec pause = {.tv_nsec = 1000000};
    for (int i = 0; i < 30000 && !holds(); i++) {
        scene_pass(HOUR); /* whenever it was that the thread saw the lines */
        nanosleep(&pause, NULL);
    }
    require(holds(), what);
}

static bool failure_is_told(void)
{
    return scene_events(&scene, "write_failed") > 0;
}

static bool all_is_written(void)
{
    return live_lines() == LAST_LINE;
}

static void nowhere_to_write_for_the_thread(const void *argument)
{
    (void)argument;
    require(scene_write_lines(&scene, 1, LAST_LINE), "a line was not taken");
    fail_writing(ENOSPC);
    wait_until(failure_is_told, "the thread does not write");
    fault.call = NULL;
    wait_until(all_is_written, "the thread does not try again");
}

static void the_thread_tries_again(void **state)
{
    (void)state;
    assert_int_equal(run(nowhere_to_write_for_the_thread, NULL), 0);
}

static bool lines_are_put_back(void)
{
    return live_lines() >= FIRST_LINES && put_back.times > 0;
}

static void written_and_put_back(const void *argument)
{
    const struct timespec moment = {.tv_nsec = 50000000};
    (void)argument;
    require(scene_write_lines(&scene, 1, FIRST_LINES), "a line was not taken");
    put_back.from = (char *)scene.writer->log->async->own.ring.page;
    put_back.size = sizeof put_back.page < scene.writer->log->async->own.size ? sizeof put_back.page
                                                                              : scene.writer->log->async->own.size;
    memcpy(put_back.page, put_back.from, put_back.size);
    wait_until(lines_are_put_back, "the thread does not write");
    nanosleep(&moment, NULL);
    put_back.size = 0;
    require(live_lines() == FIRST_LINES, "written again");
    require(empty() == -EIO && live_lines() == FIRST_LINES, "not an error");
    _exit(0);
}

static void what_others_put_back_is_not_written_for_ever(void **state)
{
    (void)state;
    scene_make(&scene);
    assert_int_equal(run_in_child(written_and_put_back, NULL), 0);
    temporary_remove(scene.directory);
}

static void no_lock_for_batches(const void *argument)
{
    (void)argument;
    require(scene_write_lines(&scene, 1, FIRST_LINES), "a line was not taken");
    fault.call = "lock";
    fault.error = ENOLCK;
    fault.times = -1;
    require(empty() == 0 && live_lines() == FIRST_LINES, "not written without the lock");
    require(scene_events(&scene, "lock_timeout") == 1, "not told once");
    fault.call = NULL;
    scene_pass(2);
    require(scene_write_lines(&scene, FIRST_LINES + 1, LAST_LINE) && empty() == 0, "a line was not taken");
    require(scene_events(&scene, "lock_recovered") == 1, "not told that it works again");
}

static void batches_go_out_without_the_lock_of_the_log(void **state)
{
    (void)state;
    assert_int_equal(run(no_lock_for_batches, NULL), 0);
}

static void no_removal(const void *argument)
{
    (void)argument;
    require(scene_write_lines(&scene, 1, FIRST_LINES), "a line was not taken");
    fault.call = "unlinkat";
    fault.error = EACCES;
    fault.times = -1;
    leave();
    require(rings() == 1 && live_lines() == FIRST_LINES, "not written");
    _exit(0);
}

static void writes_more(const void *argument)
{
    (void)argument;
    require(scene_write_lines(&scene, FIRST_LINES + 1, LAST_LINE), "a line was not taken");
}

static void a_buffer_that_cannot_be_removed_gives_nothing_twice(void **state)
{
    (void)state;
    scene_make(&scene);
    assert_int_equal(run_in_child(no_removal, NULL), 0);
    assert_int_equal(run_in_child(writes_more, NULL), 0);
    assert_true(history_holds(scene.directory, LAST_LINE, 0));
    assert_int_equal(rings(), 0);
    temporary_remove(scene.directory);
}

/*
 * A process that was killed in the middle of a batch, and one without a buffer that takes it over with one call
 * failing.
 */
static struct report {
    const char *trace[FAULT_CALLS];
    int calls;
} * report;

struct realistic {
    const char *call;
    int errors[4];
};
static const struct realistic realistic[] = {
    {"openat", {EMFILE, EIO, ENOMEM}}, {"close", {EIO, EINTR}},     {"pread", {EIO, EINTR}},
    {"pwrite", {EIO, ENOSPC}},         {"writev", {ENOSPC, EIO}},   {"lseek", {EIO}},
    {"fstatat", {EIO, ENOMEM}},        {"unlinkat", {EACCES, EIO}}, {"getdents64", {EIO}},
    {"lock", {ENOLCK, EIO}},           {"dupfd", {EMFILE}},         {"ofd lock", {ENOLCK}},
    {"ftruncate", {EPERM, EIO}},
};

static void be_killed_in_a_batch(void)
{
    begin();
    scene_write_lines(&scene, 1, FIRST_LINES / 2);
    empty();
    scene_write_lines(&scene, FIRST_LINES / 2 + 1, FIRST_LINES);
    half = dies = true;
    fail_writing(EIO);
    empty();
    _exit(1);
}

static void take_over(const struct faults *wanted)
{
    scene_start(&scene);
    faults_install(wanted);
    faults_arm();
    scene_attach(&scene);
    report->calls = faults.count;
    faults_disarm();
    for (int i = 0; i < 2; i++) { /* as its next writes would do, which should come behind in this test */
        scene_pass(2);
        temporary_must(guard_enter(), "take over");
        log_follow(scene.writer, scene.fd); /* has a lock file again */
        log_async_take_over(scene.writer->log);
        guard_leave();
    }
    _exit(!scene_write_lines(&scene, FIRST_LINES + 1, LAST_LINE));
}

static int run_take_over(const struct faults *wanted)
{
    int status = -1;
    scene_make(&scene);
    pid_t child = fork();
    if (child == 0) {
        be_killed_in_a_batch();
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(WEXITSTATUS(status), FAULT_KILLED);
    assert_int_equal(rings(), 1);
    assert_true(live_lines() > FIRST_LINES / 2 && live_lines() < FIRST_LINES);
    child = fork();
    if (child == 0) {
        take_over(wanted);
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    bool good = status == 0 && history_holds(scene.directory, LAST_LINE, 0) && rings() == 0;
    if (!good) {
        fprintf(stderr, "^^^ call %d (%s), error %s, %d\n\n", wanted->at, wanted->call, diag_errno(wanted->error),
                status);
    }
    temporary_remove(scene.directory);
    return !good;
}

static void taking_over_loses_and_doubles_nothing_when_one_call_fails(void **state)
{
    const char *calls[FAULT_CALLS];
    const struct faults none = {.call = "none", .trace = report->trace};
    (void)state;
    assert_int_equal(run_take_over(&none), 0);
    int count = report->calls;
    int wrong = 0;
    assert_in_range(count, 10, FAULT_CALLS);
    memcpy(calls, report->trace, sizeof calls);
    for (int at = 0; at < count; at++) {
        for (size_t i = 0; i < sizeof realistic / sizeof realistic[0]; i++) {
            for (int j = 0; strcmp(realistic[i].call, calls[at]) == 0 && realistic[i].errors[j] != 0; j++) {
                const struct faults wanted = {
                    .kind = FAULT_ONE, .at = at, .call = calls[at], .error = realistic[i].errors[j]};
                wrong += run_take_over(&wanted);
            }
        }
    }
    assert_int_equal(wrong, 0);
}

static void take_over_and_die(const struct faults *wanted)
{
    scene_start(&scene);
    faults_install(wanted);
    faults_arm();
    scene_attach(&scene);
    report->calls = faults.count;
    _exit(0);
}

static void attach_and_write(void)
{
    scene_start(&scene);
    scene_attach(&scene);
    _exit(!scene_write_lines(&scene, FIRST_LINES + 1, LAST_LINE));
}

/* Which is no process with async=1: it looks only where the lock file says that there may be something. */
static int run_killed_taker(const struct faults *wanted, int ended)
{
    int status = -1;
    scene_make(&scene);
    pid_t child = fork();
    if (child == 0) {
        be_killed_in_a_batch();
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    child = fork();
    if (child == 0) {
        take_over_and_die(wanted);
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(WEXITSTATUS(status), ended);
    child = fork();
    if (child == 0) {
        attach_and_write();
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    bool good = status == 0 && history_holds(scene.directory, LAST_LINE, 0) && rings() == 0;
    if (!good) {
        fprintf(stderr, "^^^ killed at call %d (%s), %d\n\n", wanted->at, report->trace[wanted->at], status);
    }
    temporary_remove(scene.directory);
    return !good;
}

static void who_is_killed_while_taking_over_leaves_it_to_the_next(void **state)
{
    const struct faults none = {.call = "none", .trace = report->trace};
    (void)state;
    assert_int_equal(run_killed_taker(&none, 0), 0);
    int count = report->calls;
    int wrong = 0;
    assert_in_range(count, 10, FAULT_CALLS);
    for (int at = 0; at < count; at++) {
        const struct faults wanted = {.kind = FAULT_KILL, .at = at, .call = "none"};
        wrong += run_killed_taker(&wanted, FAULT_KILLED);
    }
    assert_int_equal(wrong, 0);
}

/* Who has just looked may be unable to write, by a limit of its own. */
static void look_after_another(const struct faults *wanted)
{
    scene_start(&scene);
    faults_install(wanted);
    faults_arm();
    scene_attach(&scene);
    faults_disarm();
    require(rings() == 1, "written all the same");
    temporary_must(guard_enter(), "look");
    log_async_look_for_dead(scene.writer->log);
    guard_leave();
    require(rings() == 0 && live_lines() == FIRST_LINES, "left to who cannot");
    _exit(!scene_write_lines(&scene, FIRST_LINES + 1, LAST_LINE));
}

static void what_one_cannot_write_is_left_to_others_at_once(void **state)
{
    const struct faults limit = {.kind = FAULT_FROM, .call = "writev", .error = EFBIG};
    int status = -1;
    (void)state;
    scene_make(&scene);
    pid_t child = fork();
    if (child == 0) {
        be_killed_in_a_batch();
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    child = fork();
    if (child == 0) {
        look_after_another(&limit);
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
    assert_true(history_holds(scene.directory, LAST_LINE, 0));
    temporary_remove(scene.directory);
}

static void take_over_now(void)
{
    temporary_must(guard_enter(), "take over");
    log_async_take_over(scene.writer->log);
    guard_leave();
}

/* The killed process's buffer, by a name that says nothing, and back. */
static void move_ring(bool away)
{
    static char ring[256];
    static const char hidden[] = "hidden";
    DIR *directory = opendir(scene.directory);
    for (struct dirent *entry; away && directory != NULL && (entry = readdir(directory)) != NULL;) {
        if (strstr(entry->d_name, ".ring") != NULL) {
            snprintf(ring, sizeof ring, "%s", entry->d_name);
        }
    }
    int at = dirfd(directory);
    require(renameat(at, away ? ring : hidden, at, away ? hidden : ring) == 0, "no buffer");
    closedir(directory);
}

/* Lines of another process's may come in between, but this one need not put them there. */
static void in_the_middle_of_a_line(void)
{
    enum { PIECE = 5 };
    move_ring(true);
    scene_start(&scene);
    scene_attach(&scene);
    move_ring(false);
    off_t before = temporary_length(scene.directory, LOG_NAME);
    require(scene_append(scene.writer, "line ", HOLD_NONE) == PIECE, "a piece was not taken");
    take_over_now();
    require(temporary_length(scene.directory, LOG_NAME) == before + PIECE && rings() == 1, "not waited for");
    scene_pass(2);
    take_over_now();
    require(rings() == 0, "waited for ever");
    require(scene.writer->midline == PIECE, "the line counts as ended");
    _exit(0);
}

static void nobody_puts_lines_of_the_dead_into_its_own(void **state)
{
    int status = -1;
    (void)state;
    scene_make(&scene);
    pid_t child = fork();
    if (child == 0) {
        be_killed_in_a_batch();
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    child = fork();
    if (child == 0) {
        in_the_middle_of_a_line();
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
    temporary_remove(scene.directory);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(without_a_buffer_writing_is_synchronous_until_it_is_to_be_had),
        cmocka_unit_test(where_blocks_cannot_be_allocated_they_are_written),
        cmocka_unit_test(errors_of_writing_lose_and_double_nothing),
        cmocka_unit_test(a_batch_that_a_full_disk_cuts_short_is_not_taken_for_that_of_a_dead_process),
        cmocka_unit_test(the_thread_tries_again),
        cmocka_unit_test(what_others_put_back_is_not_written_for_ever),
        cmocka_unit_test(batches_go_out_without_the_lock_of_the_log),
        cmocka_unit_test(a_buffer_that_cannot_be_removed_gives_nothing_twice),
        cmocka_unit_test(taking_over_loses_and_doubles_nothing_when_one_call_fails),
        cmocka_unit_test(who_is_killed_while_taking_over_leaves_it_to_the_next),
        cmocka_unit_test(what_one_cannot_write_is_left_to_others_at_once),
        cmocka_unit_test(nobody_puts_lines_of_the_dead_into_its_own),
    };
    report = mmap(NULL, sizeof *report, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    return report == MAP_FAILED ? 1 : cmocka_run_group_tests(tests, NULL, NULL);
}
