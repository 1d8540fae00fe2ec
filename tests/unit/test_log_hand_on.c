/* The lock between processes is handed on from one thread to the next: to whom, for how long, and who gives it back. */
#include "log_test.h"

#include "../../shim/core/log_private.h"

#include "../../include/mplogshim.h"

#include <linux/futex.h>
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <sys/prctl.h>
#include <sys/syscall.h>

#include <cmocka.h>

static atomic_int waiting; /* the thread that came last to wait */
static atomic_int locks;
static bool jumps; /* the second one, when it was woken */
static uint32_t held_for;
static int64_t held_ticks;
static pthread_key_t jumper;
static ssize_t (*losing_writev)(int fd, const struct iovec *vector, int count);

static int note_wait(uint32_t *word, int operation, uint32_t value, const struct timespec *timeout)
{
    (void)timeout; /* until it is woken */
    if (operation == FUTEX_WAIT) {
        waiting = (int)syscall(SYS_gettid);
    }
    return sys_real.futex(word, operation, value, NULL);
}

static bool sleeps(int thread)
{
    char name[64];
    char text[256] = "";
    snprintf(name, sizeof name, "/proc/self/task/%d/stat", thread);
    int fd = open(name, O_RDONLY | O_CLOEXEC);
    ssize_t length = read(fd, text, sizeof text - 1);
    close(fd);
    return length > 0 && strstr(text, ") S ") != NULL;
}

static int count_locks(int fd, int command, long argument)
{
    const struct flock *lock = (const struct flock *)(intptr_t)argument;
    locks += command == F_SETLK && lock->l_type == F_WRLCK && lock->l_start == MPLOGSHIM_LOCK_WRITE;
    return sys_real.fcntl(fd, command, argument);
}

static ssize_t write_and_hold_for_long(int fd, const struct iovec *vector, int count)
{
    scene.writer->log->held_for += held_for;
    scene_clock.monotonic += held_ticks;
    held_for = 0;
    held_ticks = 0;
    return losing_writev != NULL ? losing_writev(fd, vector, count) : sys_real.writev(fd, vector, count);
}

static void *write_a_line(void *number)
{
    return scene_write(&scene, *(int *)number) == LINE_LENGTH ? number : NULL;
}

/* As a handler would that comes when the thread was woken. */
static int wait_and_jump(uint32_t *word, int operation, uint32_t value, const struct timespec *timeout)
{
    int result = note_wait(word, operation, value, timeout);
    if (operation == FUTEX_WAIT && pthread_getspecific(jumper) != NULL) {
        guard_abandon();
        pthread_exit(&jumps);
    }
    return result;
}

static void *write_and_jump(void *number)
{
    pthread_setspecific(jumper, number);
    return write_a_line(number);
}

static pthread_t start_and_let_sleep(void *(*run)(void *), int *number)
{
    pthread_t thread;
    waiting = 0;
    assert_int_equal(pthread_create(&thread, NULL, run, number), 0);
    while (waiting == 0 || !sleeps(waiting)) {
        sched_yield();
    }
    return thread;
}

/* Two threads that have waited for a third one write one after the other; how often the lock between processes was
 * taken. */
static int locks_of_two(int first)
{
    void *written[2];
    pthread_t threads[2];
    struct log *log = scene.writer->log;
    int numbers[] = {first, first + 1};
    sys.futex = jumps ? wait_and_jump : note_wait;
    sys.fcntl = count_locks;
    sys.writev = write_and_hold_for_long;
    assert_true(guard_enter());
    assert_int_equal(log_lock(log), 0);
    threads[0] = start_and_let_sleep(write_a_line, &numbers[0]);
    threads[1] = start_and_let_sleep(jumps ? write_and_jump : write_a_line, &numbers[1]);
    locks = 0;
    log_unlock(log);
    guard_leave();
    for (int i = 0; i < 2; i++) {
        pthread_join(threads[i], &written[i]);
        assert_non_null(written[i]);
    }
    return locks;
}

/* By another open file: nobody's POSIX lock is its own. */
static bool is_locked_by_anybody(off_t byte)
{
    struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = byte, .l_len = 1};
    const struct temporary_path path = temporary_path(scene.directory, LOCK_NAME);
    int fd = open(path.text, O_RDWR | O_CLOEXEC);
    int result = fcntl(fd, F_OFD_GETLK, &lock);
    close(fd); /* drops this process's locks: only to look whether anything was left */
    return result != 0 || lock.l_type != F_UNLCK;
}

static void thread_that_waits_finds_the_file_locked(void **state)
{
    (void)state;
    assert_true(scene_write_lines(&scene, 1, 1));
    assert_int_equal(locks_of_two(2), 1);
    assert_false(is_locked_by_anybody(MPLOGSHIM_LOCK_WRITE));
    assert_null(guard_thread.abandon);
}

/* A process that has locked a byte of the lock file. */
static pid_t start_holder(short type, off_t byte)
{
    const struct temporary_path path = temporary_path(scene.directory, LOCK_NAME);
    int ready[2];
    char told;
    assert_int_equal(pipe(ready), 0);
    pid_t child = fork();
    if (child == 0) {
        struct flock lock = {.l_type = type, .l_whence = SEEK_SET, .l_start = byte, .l_len = 1};
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        int fd = open(path.text, O_RDWR | O_CLOEXEC);
        _exit(fd >= 0 && fcntl(fd, F_SETLK, &lock) == 0 && write(ready[1], "", 1) == 1 && pause() ? 0 : 1);
    }
    assert_int_equal(read(ready[0], &told, 1), 1);
    close(ready[0]);
    close(ready[1]);
    return child;
}

/* One that is attached, or that waits and is not. */
static void assert_given_back_beside(off_t byte, int first)
{
    enum { MUCH = 1 << 20 };
    pid_t child = start_holder(F_RDLCK, byte);
    held_for = MUCH;
    assert_int_equal(locks_of_two(first), 2);
    assert_int_equal(locks_of_two(first + 2), 2);
    kill(child, SIGKILL);
    waitpid(child, NULL, 0);
    scene_clock.monotonic += 90000000;
    assert_int_equal(locks_of_two(first + 4), 2);
    scene_clock.monotonic += 10000000;
    assert_int_equal(locks_of_two(first + 6), 1);
}

static void file_is_given_back_after_a_while_and_to_others_after_each_write(void **state)
{
    enum { MUCH = 1 << 20 };
    (void)state;
    assert_true(scene_write_lines(&scene, 1, 1));
    held_for = MUCH;
    assert_int_equal(locks_of_two(2), 2);
    assert_int_equal(locks_of_two(4), 1);
    assert_given_back_beside(MPLOGSHIM_LOCK_WAITING, 6);
    assert_given_back_beside(MPLOGSHIM_LOCK_ATTACHED, 14);
    assert_false(is_locked_by_anybody(MPLOGSHIM_LOCK_WRITE));
}

/* A fork child has the same open lock file: nobody sees that it is attached. */
static void nothing_is_handed_on_beside_fork_children(void **state)
{
    struct log *log = scene.writer->log;
    (void)state;
    assert_true(scene_write_lines(&scene, 1, 1));
    log_share_locks(true);
    assert_true(log->lock.shared && !log->lock.unseen);
    assert_int_equal(locks_of_two(2), 2);
    log_forked();
    assert_true(log->lock.shared && !log->lock.unseen);
    log->lock.shared = false;
    log_forked(); /* of which its parent does not know */
    assert_true(log->lock.shared && log->lock.unseen);
    log_forked(); /* nor of a child's child */
    assert_true(log->lock.shared && log->lock.unseen);
}

/* As with O_DSYNC, or on a machine that has other things to do. */
static void file_is_given_back_after_a_write_that_took_long(void **state)
{
    (void)state;
    assert_true(scene_write_lines(&scene, 1, 1));
    held_ticks = 4000000;
    assert_int_equal(locks_of_two(2), 2);
    assert_int_equal(locks_of_two(4), 1);
    assert_false(is_locked_by_anybody(MPLOGSHIM_LOCK_WRITE));
}

/* With both locks held, and another thread on its way. */
static struct log *lock_awaited(void)
{
    struct log *log = scene.writer->log;
    assert_true(guard_enter());
    assert_int_equal(log_lock_to_write(log), 0);
    assert_int_equal(log_lock_file(log), 0);
    log->mutex |= GUARD_MUTEX_OWNER + 1;
    return log;
}

/* What was handed on with one record of a write is given back with the next, if it was held for long. */
static void file_is_given_back_behind_the_last_of_many_records(void **state)
{
    (void)state;
    assert_true(scene_write_lines(&scene, 1, 1));
    struct log *log = lock_awaited();
    bool first = log_hands_on(log, 100);
    bool last = log_hands_on(log, 1 << 20);
    log_unlock(log);
    guard_leave();
    assert_true(first && !last);
    assert_false(is_locked_by_anybody(MPLOGSHIM_LOCK_WRITE));
}

static void file_is_given_back_after_fifty_short_writes_each_time_it_is_taken(void **state)
{
    (void)state;
    assert_true(scene_write_lines(&scene, 1, 1));
    struct log *log = lock_awaited();
    for (int time = 0; time < 2; time++) {
        int writes = 1;
        while (writes < 100 && log_hands_on(log, 100)) {
            writes++;
        }
        assert_in_range(writes, 40, 60);
        log_unlock_file(log);
        assert_int_equal(log_lock_file(log), 0);
    }
    log_unlock(log);
    guard_leave();
}

/* Somebody comes in between who does not write. */
static void hand_on_and(void (*act)(void))
{
    assert_true(scene_write_lines(&scene, 1, 1));
    struct log *log = lock_awaited();
    bool handed_on = log_hands_on(log, 100);
    log_unlock(log);
    guard_leave();
    assert_true(handed_on && log->locked && !guard_mutex_is_mine(&log->mutex));
    act();
    assert_null(guard_thread.abandon);
    assert_false(is_locked_by_anybody(MPLOGSHIM_LOCK_WRITE));
}

static void pause_and_resume(void)
{
    log_pause();
    log_resume();
}

static void detach(void)
{
    scene_detach(&scene);
}

static void share_memory(void)
{
    log_share_locks(true);
}

static void what_was_handed_on_is_given_back_by_who_does_not_write(void **state)
{
    (void)state;
    hand_on_and(pause_and_resume);
    hand_on_and(share_memory);
    scene.writer->log->lock.shared = false;
    hand_on_and(detach);
}

static int sleep_for_a_second(uint32_t *word, int operation, uint32_t value, const struct timespec *timeout)
{
    (void)word, (void)operation, (void)value, (void)timeout;
    scene_clock.monotonic += 1000000000;
    return -ETIMEDOUT;
}

static void who_could_not_pause_a_thread_leaves_it_what_it_has(void **state)
{
    struct log *log = scene.writer->log;
    (void)state;
    assert_true(scene_write_lines(&scene, 1, 1));
    sys.futex = sleep_for_a_second;
    log->mutex = 1;
    log_pause();
    log_resume();
    assert_int_equal(log->mutex & GUARD_MUTEX_OWNER, 1);
    log->mutex = 0;
}

static bool is_lost;

/* The program closes what it does not know: nothing is told, as the next thread opens it anew. */
static ssize_t write_and_lose_the_lock_file(int fd, const struct iovec *vector, int count)
{
    if (!is_lost) {
        is_lost = true;
        close(scene.writer->log->lock.fd);
    }
    return sys_real.writev(fd, vector, count);
}

static void who_finds_the_file_locked_by_a_descriptor_that_is_gone_locks_it_anew(void **state)
{
    (void)state;
    assert_true(scene_write_lines(&scene, 1, 1));
    losing_writev = write_and_lose_the_lock_file;
    locks_of_two(2);
    losing_writev = NULL;
    assert_true(is_lost);
    assert_int_equal(scene_events(&scene, "rotate_failed"), 0);
    assert_int_equal(scene_events(&scene, "lock_timeout"), 0);
    assert_true(history_holds(scene.directory, 3, 0));
    assert_false(is_locked_by_anybody(MPLOGSHIM_LOCK_WRITE));
}

static void no_lock_stays_behind_a_filter_that_came_while_it_was_waited_for(void **state)
{
    struct log *log = scene.writer->log;
    (void)state;
    sys_confined = true;
    int error = log_lock_to_write(log);
    sys_confined = false;
    assert_int_equal(error, -EPERM);
    uint32_t left = log->mutex;
    log->mutex = 0; /* the end of the test locks it */
    assert_int_equal(left, 0);
    assert_null(guard_thread.abandon);
}

/* They may be kept from giving it back, by a filter. */
static void nothing_stays_locked_while_all_threads_pause(void **state)
{
    struct log *log = scene.writer->log;
    (void)state;
    assert_int_equal(scene_append(scene.writer, "line 000001 .......\nline 0000", HOLD_REST), LINE_LENGTH + 9);
    assert_true(guard_enter());
    log->mutex = GUARD_MUTEX_OWNER + 1; /* one is on its way */
    log_pause();
    bool locked = is_locked_by_anybody(MPLOGSHIM_LOCK_WRITE);
    log_resume();
    guard_leave();
    assert_false(locked);
    assert_int_equal(temporary_length(scene.directory, LOG_NAME), LINE_LENGTH + 9);
}

static void who_jumps_away_before_it_takes_the_locks_gives_them_back(void **state)
{
    (void)state;
    assert_true(scene_write_lines(&scene, 1, 1));
    assert_int_equal(pthread_key_create(&jumper, NULL), 0);
    jumps = true;
    assert_int_equal(locks_of_two(2), 1);
    jumps = false;
    assert_int_equal(pthread_key_delete(jumper), 0);
    assert_int_equal(scene.writer->log->mutex, 0);
    assert_false(is_locked_by_anybody(MPLOGSHIM_LOCK_WRITE));
}

static int sleep_and_jump(const struct timespec *duration)
{
    static int sleeps_before;
    (void)duration;
    if (sleeps_before++ == 0) {
        return 0;
    }
    guard_abandon();
    pthread_exit(&sleeps_before);
}

static void who_jumps_away_from_the_wait_for_the_file_waits_no_more(void **state)
{
    pthread_t thread;
    int number = 2;
    (void)state;
    assert_true(scene_write_lines(&scene, 1, 1));
    pid_t child = start_holder(F_WRLCK, MPLOGSHIM_LOCK_WRITE);
    scene.writer->log->lock.attached = false; /* else it need not say that it waits */
    sys.sleep = sleep_and_jump;
    assert_int_equal(pthread_create(&thread, NULL, write_a_line, &number), 0);
    pthread_join(thread, NULL);
    kill(child, SIGKILL);
    waitpid(child, NULL, 0);
    assert_false(is_locked_by_anybody(MPLOGSHIM_LOCK_WAITING));
    assert_false(is_locked_by_anybody(MPLOGSHIM_LOCK_WRITE));
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, scene_setup_open, scene_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(thread_that_waits_finds_the_file_locked),
        TEST(file_is_given_back_after_a_while_and_to_others_after_each_write),
        TEST(nothing_is_handed_on_beside_fork_children),
        TEST(file_is_given_back_after_a_write_that_took_long),
        TEST(file_is_given_back_behind_the_last_of_many_records),
        TEST(file_is_given_back_after_fifty_short_writes_each_time_it_is_taken),
        TEST(what_was_handed_on_is_given_back_by_who_does_not_write),
        TEST(who_could_not_pause_a_thread_leaves_it_what_it_has),
        TEST(who_finds_the_file_locked_by_a_descriptor_that_is_gone_locks_it_anew),
        TEST(nothing_stays_locked_while_all_threads_pause),
        TEST(no_lock_stays_behind_a_filter_that_came_while_it_was_waited_for),
        TEST(who_jumps_away_before_it_takes_the_locks_gives_them_back),
        TEST(who_jumps_away_from_the_wait_for_the_file_waits_no_more),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
