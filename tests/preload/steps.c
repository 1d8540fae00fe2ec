/*
 * Writes that a signal handler interrupts behind one instruction after the other: its lines and the program's come out
 * whole, once and in order; and if it jumps out of them, nothing is left locked.
 *
 * The same beside a thread that is not stepped and writes all the time, so that the two wait for each other and hand
 * their locks on.
 *
 * The program is stepped by its parent (ptrace). STEPS_PASSES writes are gone through, in each of which the handler
 * runs at every APART-th step; with as many passes as that, behind every instruction.
 */
#include "crowd.h"

#include "../../include/mplogshim.h"

#include <setjmp.h>
#include <stdatomic.h>
#include <sys/ptrace.h>
#include <sys/time.h>

#define BYTES "app.log,max_bytes=400"
#define MORE  "app.log,max_bytes=100K,lock_timeout=60s"

enum { APART = 97, PASSES = 5, PHASE = 37 /* has no divisor in common with APART */, STEPS = 1300 };

static int passes(void)
{
    const char *wanted = getenv("STEPS_PASSES");
    return wanted == NULL ? PASSES : atoi(wanted);
}

/* The steps that a write may have, and from one jump to the next: into a buffer it is short, and has more to undo. */
static int longest = STEPS;
static int farthest = 2 * APART;

static int jumps_apart(void)
{
    int apart = farthest * PASSES / passes();
    return apart > 0 ? apart : 1;
}

static int jumps(void)
{
    return longest / jumps_apart();
}

static int log_fd;
static volatile sig_atomic_t handled;

/* Stops, for the parent to see. */
static void tell(void)
{
    raw_syscall(SYS_tgkill, raw_syscall(SYS_getpid), raw_syscall(SYS_gettid), SIGUSR2);
}

static void begin_stops(void)
{
    if (ptrace(PTRACE_TRACEME, 0, NULL, NULL) != 0) {
        test_fail(__LINE__, "ptrace: errno %d", errno);
    }
}

/* The other thread, which no signal of the parent's stops. */
enum { OTHER = 2, LINES_MOST = 999999 };
static bool with_another;
static pthread_t other;
static atomic_bool other_stops, other_rests, is_resting;

static void *write_all_the_time(void *unused)
{
    (void)unused;
    for (int i = 0; !other_stops; i += i < LINES_MOST) {
        is_resting = other_rests;
        while (is_resting) {
            raw_syscall(SYS_sched_yield);
            is_resting = other_rests;
        }
        if (i < LINES_MOST) {
            CHECK(write_numbered(log_fd, OTHER, i));
            acknowledged[OTHER] = i + 1;
        }
    }
    return NULL;
}

/* Often it has the locks for longer than the steps take up to the sleep in which the stepped thread waits for them. */
static void stay_a_while(int signal)
{
    const struct timespec while_stepped = {.tv_nsec = 400000};
    (void)signal;
    raw_syscall(SYS_nanosleep, &while_stepped, NULL);
}

/* Before the stops, which would be its own otherwise. */
static void start_another(void)
{
    const struct itimerval often = {{0, 900}, {0, 900}};
    sigset_t alarm;
    if (!with_another) {
        return;
    }
    sigemptyset(&alarm);
    sigaddset(&alarm, SIGALRM);
    signal(SIGALRM, stay_a_while);
    CHECK_EQUAL(pthread_create(&other, NULL, write_all_the_time, NULL), 0);
    pthread_sigmask(SIG_BLOCK, &alarm, NULL);
    setitimer(ITIMER_REAL, &often, NULL);
}

static void stop_another(void)
{
    other_stops = true;
    if (with_another) {
        pthread_join(other, NULL);
    }
}

/* While the parent looks at the lock. */
static void tell_at_rest(void)
{
    other_rests = with_another;
    while (is_resting != with_another) {
        raw_syscall(SYS_sched_yield);
    }
    tell();
    other_rests = false;
    while (is_resting) {
        raw_syscall(SYS_sched_yield);
    }
}

static void handler_writes(int signal)
{
    int error = errno;
    (void)signal;
    if (write_numbered(log_fd, 1, handled)) {
        handled = handled + 1;
        acknowledged[1] = handled;
    }
    tell();
    errno = error;
}

static void write_in_steps(void)
{
    char line[64];
    log_fd = open_log("app.log");
    signal(SIGUSR1, handler_writes);
    start_another();
    begin_stops();
    for (int i = 0; i < passes(); i++) {
        int length = snprintf(line, sizeof line, "writer %02d line %06d of some length\n", 0, i);
        tell();
        ssize_t written = write(log_fd, line, (size_t)length);
        tell();
        CHECK_EQUAL(written, length);
        acknowledged[0] = i + 1;
    }
    stop_another();
}

/* Of the lines with even numbers one may be missing if the handler jumped out of its write. */
static sigjmp_buf place;
static volatile bool *jumped;
static volatile bool writing;

static void handler_jumps(int signal)
{
    (void)signal;
    if (writing) { /* or the end of it is being told */
        writing = false;
        siglongjmp(place, 1);
    }
}

static void write_and_jump(void)
{
    char line[64];
    volatile int number;
    log_fd = open_log("app.log");
    signal(SIGUSR1, handler_jumps);
    start_another();
    begin_stops();
    for (number = 0; number < 2 * jumps(); number += 2) {
        int length = snprintf(line, sizeof line, "writer %02d line %06d of some length\n", 0, number);
        if (sigsetjmp(place, 1) == 0) {
            tell();
            writing = true;
            ssize_t written = write(log_fd, line, (size_t)length);
            writing = false;
            CHECK_EQUAL(written, length);
        } else {
            jumped[number] = true;
        }
        tell_at_rest();
        CHECK(write_numbered(log_fd, 0, number + 1));
    }
    stop_another();
}

/* What it stopped for, or 0: it has ended. */
static int next_stop(pid_t child, enum __ptrace_request request, int signal, int *status)
{
    if (ptrace(request, child, NULL, (void *)(uintptr_t)signal) != 0 || waitpid(child, status, 0) != child) {
        return 0;
    }
    return WIFSTOPPED(*status) ? WSTOPSIG(*status) : 0;
}

/* Where signals are blocked it comes later, and stops the program for that once more. */
static int run_handler(pid_t child, int *status)
{
    int stop = SIGUSR1;
    while (stop == SIGUSR1) {
        stop = next_stop(child, PTRACE_CONT, SIGUSR1, status);
    }
    return stop;
}

/* From the stop before a write to that behind it. */
static int step_through(pid_t child, int phase, int *status)
{
    int steps = 0;
    int stop = next_stop(child, PTRACE_SINGLESTEP, 0, status);
    while (stop == SIGTRAP) {
        if (steps++ % APART == phase && run_handler(child, status) != SIGUSR2) {
            break;
        }
        stop = next_stop(child, PTRACE_SINGLESTEP, 0, status);
    }
    return steps;
}

/* A program that has come to its first stop. */
static pid_t start_stepped(void (*body)(void), int *status)
{
    pid_t child = fork();
    if (child == 0) {
        body();
        exit(test_failures);
    }
    CHECK(waitpid(child, status, 0) == child && WIFSTOPPED(*status));
    ptrace(PTRACE_SETOPTIONS, child, NULL, (void *)(uintptr_t)PTRACE_O_EXITKILL); /* it does not stay behind */
    return child;
}

static void handlers_at_every_step(void)
{
    int status = 0;
    int steps = 0;
    share_counters();
    pid_t child = start_stepped(write_in_steps, &status);
    for (int i = 0; i < passes() && WIFSTOPPED(status); i++) {
        steps += step_through(child, i * PHASE % APART, &status);
        next_stop(child, PTRACE_CONT, 0, &status);
    }
    CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    CHECK_EQUAL(acknowledged[0], passes());
    CHECK(acknowledged[1] >= steps / APART - passes());
    CHECK(steps > passes() * APART);
    check_account(with_another ? OTHER + 1 : 2, 0);
}

/* Stops behind the write, out of which it jumps at that step if it has so many. */
static void jump_out_at(pid_t child, int at, int *status)
{
    int stop = next_stop(child, PTRACE_SINGLESTEP, 0, status);
    for (int step = 0; stop == SIGTRAP; step++) {
        stop = step == at ? run_handler(child, status) : next_stop(child, PTRACE_SINGLESTEP, 0, status);
    }
    CHECK_EQUAL(stop, SIGUSR2);
}

/* Not by the helper, who has it now and then. */
static bool is_locked_by(pid_t child)
{
    struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = MPLOGSHIM_LOCK_WRITE, .l_len = 1};
    int fd = raw_open(".app.log.lock", O_RDWR);
    int result = raw_fcntl(fd, F_GETLK, (long)&lock);
    raw_close(fd);
    return result != 0 || (lock.l_type != F_UNLCK && lock.l_pid == child);
}

static void check_numbers(void)
{
    int next = 0;
    int next_of_other = 0;
    for (char *line = history("app.log"); *line != '\0'; line = strchr(line, '\n') + 1) {
        int writer, number;
        bool whole = read_numbered(line, &writer, &number);
        if (whole && writer == OTHER && number == next_of_other) {
            next_of_other++;
            continue;
        }
        whole = whole && writer == 0;
        next += whole && number == next + 1 && jumped[next];
        if (!whole || number != next++) {
            test_fail(__LINE__, "instead of %d: \"%.60s\"", next - 1, line);
            return;
        }
    }
    CHECK_EQUAL(next, 2 * jumps());
    CHECK_EQUAL(next_of_other, acknowledged[OTHER]);
}

static void jumps_at_every_step(void)
{
    int status = 0;
    share_counters();
    jumped = mmap(NULL, 2 * STEPS * sizeof *jumped, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    double begun = raw_seconds();
    pid_t child = start_stepped(write_and_jump, &status);
    for (int i = 0; i < jumps() && WIFSTOPPED(status); i++) {
        jump_out_at(child, i * jumps_apart(), &status);
        CHECK(!is_locked_by(child));
        next_stop(child, PTRACE_CONT, 0, &status);
    }
    CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    CHECK(raw_seconds() - begun < STALLED || passes() > PASSES);
    CHECK(memchr((const void *)(uintptr_t)jumped, true, 2 * STEPS) != NULL);
    check_numbers();
    CHECK_EQUAL(messages("mplogshim"), 0); /* no lock was waited for in vain */
}

static void jumps_at_every_step_into_a_buffer(void)
{
    longest = 450;
    farthest = 9;
    jumps_at_every_step();
}

static void handlers_beside_another_thread(void)
{
    with_another = true;
    handlers_at_every_step();
}

static void jumps_beside_another_thread(void)
{
    with_another = true;
    farthest = 11;
    jumps_at_every_step();
}

int main(int count, char **arguments)
{
    static const struct test tests[] = {
        {"a_handler_at_every_step_of_a_write", BYTES, handlers_at_every_step, NULL, NULL},
        {"a_handler_at_every_step_with_lock_rotate", BYTES ",lock=rotate", handlers_at_every_step, NULL, NULL},
        {"a_handler_at_every_step_with_async", BYTES ",async=1", handlers_at_every_step, NULL, NULL},
        {"a_jump_out_of_every_step_of_a_write", BYTES, jumps_at_every_step, NULL, NULL},
        {"a_handler_at_every_step_beside_another_thread", MORE, handlers_beside_another_thread, NULL, NULL},
        {"a_jump_out_of_every_step_beside_another_thread", MORE, jumps_beside_another_thread, NULL, NULL},
        {"a_jump_out_of_every_step_with_lock_rotate", BYTES ",lock=rotate", jumps_at_every_step, NULL, NULL},
        {"a_jump_out_of_every_step_with_async", BYTES ",async=1", jumps_at_every_step_into_a_buffer, NULL, NULL},
    };
    return test_main(count, arguments, tests, TEST_COUNT(tests));
}
