/*
 * Between any two system calls of one who settles, the lock file is deleted, and another process settles under a new
 * one: until it is done, or waits for the first to end a step. Then the first goes on, both at once from now on.
 */
#include "faults.h"
#include "settling_scene.h"

#include "../../shim/tool/settle.h"

#include <sys/file.h>
#include <sys/prctl.h>
#include <sys/wait.h>

enum { PASSES = 50 };

static struct lockfile lock;

static int clock_a_minute_later(clockid_t clock, struct timespec *now)
{
    int error = sys_real.clock(clock, now);
    now->tv_sec += 60;
    return error;
}

/*
 * The lock file at its place, made anew if there is none. Archives are not too young to be named, and nothing waits for
 * the disk.
 */
static void open_lock(void)
{
    const struct stat log = {.st_mode = S_IFREG | 0644, .st_uid = geteuid(), .st_gid = getegid()};
    sys.clock = clock_a_minute_later;
    sys.fsync = faulty_fsync;
    temporary_must(lockfile_open(&lock, -1, &log) == 0, "lockfile_open");
}

static struct settle settle_of(struct place *place)
{
    struct settle settle = {
        .directory = place->task.directory, .lock = &lock, .rule.policy = place->policy, .zone = &place->zone};
    static struct temporary_path path;
    path = temporary_path(place->directory, "app.log");
    settle.path = path.text;
    settle.base = path.text + strlen(place->directory) + 1;
    return settle;
}

/* 0 when there is nothing left to do. */
static int finish(struct place *place)
{
    int result = SETTLE_WAIT;
    struct settle settle = settle_of(place);
    for (int i = 0; i < PASSES && (result == SETTLE_WAIT || result == SETTLE_BUSY); i++) {
        result = settle_pass(&settle);
    }
    return result;
}

/* The other process: a byte on `go` begins it, and a byte on `answer`, or its end, says that the first may go on. */
static struct other {
    pid_t pid;
    int go;
    int answer;
} other;

static int flock_and_say(int fd, int operation)
{
    int error = sys_real.flock(fd, operation);
    if (error == -EAGAIN && write(other.answer, "w", 1) != 1) {
        _exit(3);
    }
    return error;
}

static _Noreturn void settle_too(struct place *place, int go)
{
    char byte;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (read(go, &byte, 1) != 1) {
        _exit(0);
    }
    sys.flock = flock_and_say;
    unlinkat(lock.directory, lock.name, 0);
    open_lock();
    int result = finish(place);
    if (result != SETTLE_DONE) {
        fprintf(stderr, "the other: %d\n", result);
    }
    _exit(result != SETTLE_DONE);
}

static void start_other(struct place *place)
{
    int go[2];
    int answer[2];
    temporary_must(pipe2(go, O_CLOEXEC) == 0 && pipe2(answer, O_CLOEXEC) == 0, "pipe");
    other = (struct other){.pid = fork(), .go = go[1], .answer = answer[1]};
    temporary_must(other.pid >= 0, "fork");
    if (other.pid == 0) {
        close(go[1]);
        close(answer[0]);
        settle_too(place, go[0]);
    }
    close(go[0]);
    close(answer[1]);
    other.answer = answer[0];
}

static bool end_other(void)
{
    int status = -1;
    close(other.go);
    waitpid(other.pid, &status, 0);
    close(other.answer);
    return status == 0;
}

static int calls;
static int acts_at;

static void act(const char *call)
{
    char byte;
    (void)call;
    if (calls++ == acts_at) {
        temporary_must(write(other.go, "g", 1) == 1 && read(other.answer, &byte, 1) >= 0, "the other");
    }
}

/* The other acts after the call `at`; -1: it does not. */
static bool settle_with_another(const struct setting *setting, int at)
{
    struct place *place = place_of(setting);
    const struct faults wanted = {.kind = FAULT_NONE, .no_rename_flags = setting->no_rename_flags, .look = act};
    lock = (struct lockfile){.fd = -1, .directory = place->task.directory, .name = "lock"};
    open_lock();
    temporary_must(ftruncate(lock.fd, 4096 + place->task.generation) == 0, "generation");
    start_other(place);
    calls = 0;
    acts_at = at;
    struct settle settle = settle_of(place);
    faults_install(&wanted);
    faults_arm();
    int result = settle_pass(&settle);
    faults_disarm();
    bool good = end_other() && result >= 0;
    sys = sys_real;
    open_lock();
    int last = finish(place);
    good = is_settled(place) && last == SETTLE_DONE && good;
    if (!good) {
        fprintf(stderr, "the first: %d, in the end: %d\n", result, last);
    }
    lockfile_close(&lock);
    discard(place);
    return good;
}

static void settle_with_another_at_each_call(const struct setting *setting)
{
    int wrong = 0;
    assert_true(settle_with_another(setting, -1));
    int count = calls;
    assert_in_range(count, 100, FAULT_CALLS);
    for (int at = 0; at < count; at++) {
        if (!settle_with_another(setting, at)) {
            fprintf(stderr, "^^^ %s, another came after call %d of %d\n\n", setting->name, at, count);
            wrong++;
        }
    }
    assert_int_equal(wrong, 0);
}

static void nothing_is_lost_or_doubled_when_the_lock_file_is_deleted_and_another_numbers(void **state)
{
    (void)state;
    settle_with_another_at_each_call(&numbers);
}

static void nothing_is_lost_or_doubled_when_the_lock_file_is_deleted_and_another_names_by_time(void **state)
{
    (void)state;
    settle_with_another_at_each_call(&times);
}

/* A program that has the directory locked for as long as it runs, as some do to run once. */
static void somebody_elses_lock_on_the_directory_keeps_nobody_from_settling(void **state)
{
    (void)state;
    struct place *place = place_of(&numbers);
    int elsewhere = open(place->directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    assert_int_equal(flock(elsewhere, LOCK_EX), 0);
    lock = (struct lockfile){.fd = -1, .directory = place->task.directory, .name = "lock"};
    open_lock();
    int64_t start = sys_now(CLOCK_MONOTONIC);
    struct settle settle = settle_of(place);
    assert_int_equal(settle_pass(&settle), SETTLE_DONE);
    assert_true(is_settled(place));
    assert_in_range(sys_now(CLOCK_MONOTONIC) - start, INT64_C(1000000000), INT64_C(10000000000)); /* waited once */
    close(elsewhere);
    lockfile_close(&lock);
    discard(place);
}

static int no_flock(int fd, int operation)
{
    (void)fd, (void)operation;
    return -ENOLCK;
}

static void settling_goes_on_where_no_directory_can_be_locked(void **state)
{
    (void)state;
    struct place *place = place_of(&times);
    lock = (struct lockfile){.fd = -1, .directory = place->task.directory, .name = "lock"};
    open_lock();
    sys.flock = no_flock;
    struct settle settle = settle_of(place);
    assert_int_equal(settle_pass(&settle), SETTLE_DONE);
    assert_true(is_settled(place));
    lockfile_close(&lock);
    discard(place);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nothing_is_lost_or_doubled_when_the_lock_file_is_deleted_and_another_numbers),
        cmocka_unit_test(nothing_is_lost_or_doubled_when_the_lock_file_is_deleted_and_another_names_by_time),
        cmocka_unit_test(somebody_elses_lock_on_the_directory_keeps_nobody_from_settling),
        cmocka_unit_test(settling_goes_on_where_no_directory_can_be_locked),
    };
    return cmocka_run_group_tests_name("two settlers", tests, NULL, NULL);
}
