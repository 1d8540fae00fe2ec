/* Threads of one process on one log, which hand its lock on to each other: when all of them rest, nobody has it. */
#include "crowd.h"

#include "../../include/mplogshim.h"

#include <setjmp.h>
#include <stdatomic.h>

#define RULES "app.log,max_bytes=100000"

enum { THREADS = 8, RESTS = 100, PAUSES = 4 };

static atomic_bool rest;
static atomic_bool over;
static atomic_int resting;

struct worker {
    pthread_t thread;
    int fd;
    int writer;
    volatile sig_atomic_t may_jump;
    sigjmp_buf place;
};
static struct worker workers[THREADS];
static __thread struct worker *self;

static void jump(int signal)
{
    (void)signal;
    if (self != NULL && self->may_jump) {
        self->may_jump = false;
        siglongjmp(self->place, 1);
    }
}

/* A line that a handler jumped out of may be there or not. */
static void *write_and_rest(void *worker)
{
    volatile int number = 1;
    self = worker;
    sigsetjmp(self->place, 1);
    while (!over) {
        if (rest) {
            resting++;
            while (rest) {
                raw_pause();
            }
            resting--;
        }
        self->may_jump = true;
        write_numbered(self->fd, self->writer, number++);
        self->may_jump = false;
    }
    return NULL;
}

static bool all_rest(void)
{
    return resting == THREADS;
}

static bool all_work(void)
{
    return resting == 0;
}

/* By this process: as seen by an open file, which has no lock itself. The helper takes them as well. */
static bool has_locked(int lock_file, off_t byte)
{
    struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = byte, .l_len = 1};
    return raw_fcntl(lock_file, F_OFD_GETLK, (long)&lock) != 0 || (lock.l_type != F_UNLCK && lock.l_pid == getpid());
}

static void check_order(void)
{
    int last[THREADS];
    int bad = 0;
    memset(last, -1, sizeof last);
    for (char *line = history("app.log"); *line != '\0'; line = strchr(line, '\n') + 1) {
        int writer, number;
        bool whole = read_numbered(line, &writer, &number) && writer < THREADS;
        if (!whole || number <= last[writer]) {
            if (bad++ < 3) {
                test_fail(__LINE__, "torn, doubled or out of order: \"%.60s\"", line);
            }
        } else {
            last[writer] = number;
        }
        if (strchr(line, '\n') == NULL) {
            break;
        }
    }
}

static void work_and_rest(bool jumps)
{
    struct sigaction action = {.sa_handler = jump};
    int fd = open_log("app.log");
    CHECK(write_numbered(fd, 0, 0));
    int lock_file = raw_open(".app.log.lock", O_RDWR | O_CLOEXEC);
    CHECK(lock_file >= 0);
    sigaction(SIGUSR1, &action, NULL);
    for (int i = 0; i < THREADS; i++) {
        workers[i].fd = fd;
        workers[i].writer = i;
        CHECK_EQUAL(pthread_create(&workers[i].thread, NULL, write_and_rest, &workers[i]), 0);
    }
    int left = 0;
    for (int i = 0; i < RESTS; i++) {
        for (int k = 0; k < PAUSES; k++) {
            raw_pause();
        }
        rest = true;
        for (int k = 0; k < THREADS && jumps; k++) { /* out of the wait for each other, too */
            pthread_kill(workers[(i + k) % THREADS].thread, SIGUSR1);
        }
        CHECK(wait_until(all_rest));
        left += has_locked(lock_file, MPLOGSHIM_LOCK_WRITE) || has_locked(lock_file, MPLOGSHIM_LOCK_WAITING);
        rest = false;
        CHECK(wait_until(all_work));
    }
    over = true;
    for (int i = 0; i < THREADS; i++) {
        pthread_join(workers[i].thread, NULL);
    }
    CHECK_EQUAL(left, 0);
    CHECK_EQUAL(messages("mplogshim"), 0);
    raw_close(lock_file);
}

static void threads_rest(void)
{
    work_and_rest(false);
    check_order();
}

static void threads_jump_and_rest(void)
{
    work_and_rest(true);
    check_order();
}

int main(int count, char **arguments)
{
    static const struct test tests[] = {
        {"threads_that_rest_have_no_lock", RULES, threads_rest, NULL, NULL},
        {"threads_that_rest_have_no_lock_after_jumps", RULES, threads_jump_and_rest, NULL, NULL},
    };
    return test_main(count, arguments, tests, TEST_COUNT(tests));
}
