/*
 * A profiler within the process looks at the stack of a thread that writes, at any moment: it finds every caller, up to
 * the one that began to write.
 */
#include "test.h"

#include <execinfo.h>
#include <signal.h>
#include <sys/time.h>

enum { FRAMES_MOST = 64, LOOKS = 10000 };

static volatile sig_atomic_t looks;
static volatile sig_atomic_t strayed;
static volatile uintptr_t caller;

static void look_at_stack(int signal)
{
    void *frames[FRAMES_MOST];
    int count = backtrace(frames, FRAMES_MOST);
    bool found = false;
    (void)signal;
    for (int i = 0; i < count; i++) {
        found = found || (uintptr_t)frames[i] == caller;
    }
    looks++;
    strayed += !found;
}

static __attribute__((noinline)) void write_until_looked_at(int fd)
{
    struct sigaction action = {.sa_handler = look_at_stack, .sa_flags = SA_RESTART};
    const struct itimerval often = {{0, 100}, {0, 100}};
    const struct itimerval never = {{0, 0}, {0, 0}};
    caller = (uintptr_t)__builtin_return_address(0);
    sigaction(SIGALRM, &action, NULL);
    setitimer(ITIMER_REAL, &often, NULL);
    while (looks < LOOKS) {
        write_text(fd, "a line of some length, as a program writes it\n");
    }
    setitimer(ITIMER_REAL, &never, NULL);
}

static void stacks_are_whole(void)
{
    void *frames[FRAMES_MOST];
    CHECK(backtrace(frames, FRAMES_MOST) > 0); /* loads what it needs */
    write_until_looked_at(open_log("app.log"));
    CHECK_EQUAL(strayed, 0);
}

int main(int count, char **arguments)
{
    static const struct test tests[] = {
        {"a_profiler_finds_every_caller_of_a_locked_write", "app.log,max_bytes=64K", stacks_are_whole, NULL, NULL},
        {"a_profiler_finds_every_caller_of_a_write_without_a_lock", "app.log,max_bytes=64K,lock=rotate",
         stacks_are_whole, NULL, NULL},
    };
    return test_main(count, arguments, tests, TEST_COUNT(tests));
}
