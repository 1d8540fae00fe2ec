/*
 * Writes that a signal handler interrupts behind one instruction after the other: its lines and the program's come out
 * whole, once and in order, and nothing is left locked.
 *
 * The program is stepped by its parent (ptrace). STEPS_PASSES writes are gone through, in each of which the handler
 * runs at every APART-th step; with as many passes as that, behind every instruction.
 */
#include "crowd.h"

#include <sys/ptrace.h>

#define BYTES "app.log,max_bytes=400"

enum { APART = 97, PASSES = 5, PHASE = 37 /* has no divisor in common with APART */ };

static int passes(void)
{
    const char *wanted = getenv("STEPS_PASSES");
    return wanted == NULL ? PASSES : atoi(wanted);
}

static int log_fd;
static volatile sig_atomic_t handled;

/* Stops, for the parent to see. */
static void tell(void)
{
    raw_syscall(SYS_tgkill, raw_syscall(SYS_getpid), raw_syscall(SYS_gettid), SIGUSR2);
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
    if (ptrace(PTRACE_TRACEME, 0, NULL, NULL) != 0) {
        test_fail(__LINE__, "ptrace: errno %d", errno);
    }
    for (int i = 0; i < passes(); i++) {
        int length = snprintf(line, sizeof line, "writer %02d line %06d of some length\n", 0, i);
        tell();
        ssize_t written = write(log_fd, line, (size_t)length);
        tell();
        CHECK_EQUAL(written, length);
        acknowledged[0] = i + 1;
    }
}

/* What it stopped for, or 0: it has ended. */
static int next_stop(pid_t child, int request, int signal, int *status)
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

static void handlers_at_every_step(void)
{
    int status = 0;
    int steps = 0;
    share_counters();
    pid_t child = fork();
    if (child == 0) {
        write_in_steps();
        exit(test_failures);
    }
    CHECK(waitpid(child, &status, 0) == child && WIFSTOPPED(status));
    ptrace(PTRACE_SETOPTIONS, child, NULL, (void *)(uintptr_t)PTRACE_O_EXITKILL); /* it does not stay behind */
    for (int i = 0; i < passes() && WIFSTOPPED(status); i++) {
        steps += step_through(child, i * PHASE % APART, &status);
        next_stop(child, PTRACE_CONT, 0, &status);
    }
    CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    CHECK_EQUAL(acknowledged[0], passes());
    CHECK(acknowledged[1] >= steps / APART - passes());
    CHECK(steps > passes() * APART);
    check_account(2, 0);
}

int main(int count, char **arguments)
{
    static const struct test tests[] = {
        {"a_handler_at_every_step_of_a_write", BYTES, handlers_at_every_step, NULL, NULL},
        {"a_handler_at_every_step_with_lock_rotate", BYTES ",lock=rotate", handlers_at_every_step, NULL, NULL},
        {"a_handler_at_every_step_with_async", BYTES ",async=1", handlers_at_every_step, NULL, NULL},
    };
    return test_main(count, arguments, tests, TEST_COUNT(tests));
}
