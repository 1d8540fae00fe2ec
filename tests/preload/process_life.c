/*
 * The life of a process that logs: daemons, children made in every way while threads write, other programs in its
 * place, and its ends. What was held comes out once, and nothing of a child's disturbs its parent.
 */
#include "crowd.h"

#include <sched.h>
#include <spawn.h>
#include <sys/resource.h>

#define SMALL "app.log,max_bytes=500"
#define CROWD "app.log,max_bytes=4000"
#define WHOLE "app.log,max_bytes=100"

/* A log with "complete\n" in it and "begin" held. */
static int held(void)
{
    int fd = open_log("app.log");
    write_text(fd, "complete\nbegin");
    CHECK_TEXT(content("app.log"), "complete\n");
    return fd;
}

static const char *wanted_end;

static bool has_wanted_end(void)
{
    const char *live = content("app.log");
    size_t length = strlen(live);
    return length >= strlen(wanted_end) && strcmp(live + length - strlen(wanted_end), wanted_end) == 0;
}

/* What a daemon that was started by `start`, from a process that held the beginning of a line, does to the log. */
static void check_daemon(int (*start)(void))
{
    pid_t child = fork();
    if (child == 0) {
        int fd = held();
        if (start() == 0) {
            write_text(fd, " end\n");
            write_text(fd, lines_of(100, "filler"));
            write_text(fd, "last\n");
            exit(0);
        }
        _exit(1);
    }
    CHECK_EQUAL(exit_status(child), 0);
    wanted_end = "last\n";
    CHECK(wait_until(has_wanted_end));
    char wanted[256];
    snprintf(wanted, sizeof wanted, "complete\nbegin end\n%slast\n", lines_of(100, "filler"));
    CHECK_TEXT(history("app.log"), wanted);
    CHECK_EQUAL(archives("app.log"), 2);
    CHECK_EQUAL(messages("mplogshim"), 0);
}

static int by_daemon(void)
{
    return daemon(1, 0);
}

/* As daemons do it themselves; each parent ends in another way. */
static int by_double_fork(void)
{
    pid_t child = fork();
    if (child != 0) {
        exit(0);
    }
    setsid();
    child = fork();
    if (child != 0) {
        _exit(0);
    }
    return 0;
}

static void a_daemon(void)
{
    check_daemon(by_daemon);
}

static void a_double_fork(void)
{
    check_daemon(by_double_fork);
}

/* What comes after cannot be intercepted; the descriptor is the live file, and what it appends is there once. */
static void without_the_library(void)
{
    int fd = held();
    char command[64];
    snprintf(command, sizeof command, "echo unshimmed >&%d", fd);
    pid_t child = fork();
    if (child == 0) {
        write_text(fd, " end\n");
        write_text(fd, lines_of(100, "filler"));
        write_text(fd, "more\nbegin");
        unsetenv("LD_PRELOAD");
        execl("/bin/sh", "sh", "-c", command, NULL);
        _exit(127);
    }
    CHECK_EQUAL(exit_status(child), 0);
    write_text(fd, "after\n");
    char wanted[256];
    snprintf(wanted, sizeof wanted, "complete\nbegin end\n%smore\nbeginunshimmed\nafter\n", lines_of(100, "filler"));
    CHECK_TEXT(history("app.log"), wanted);
    CHECK(is_on(fd, "app.log"));
}

/* A crash loses no more than the beginning of the line, and leaves no lock. */
static void a_crash(void)
{
    static const int signals[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTERM};
    const struct rlimit none = {0, 0};
    char wanted[256] = "";
    setrlimit(RLIMIT_CORE, &none);
    for (size_t i = 0; i < TEST_COUNT(signals); i++) {
        pid_t child = fork();
        if (child == 0) {
            write_text(open_log("app.log"), "complete\nbegin");
            raise(signals[i]);
            _exit(99);
        }
        int status = exit_status(child);
        CHECK(WIFSIGNALED(status) && WTERMSIG(status) == signals[i]);
        strcat(wanted, "complete\n");
    }
    CHECK_TEXT(history("app.log"), wanted);
}

/* Children in every way, each of which writes one line and is waited for; the ways are writers 3, 4 and so on. */
static char line_of_child[64];
static char *const child_arguments[] = {"other process", "--write", "app.log", line_of_child, NULL};
static int log_fd;

static pid_t by_fork(void)
{
    pid_t child = fork();
    if (child == 0) {
        write_text(log_fd, line_of_child);
        _exit(0);
    }
    return child;
}

static pid_t by_vfork_and_exec(void)
{
    pid_t child = vfork();
    if (child == 0) {
        execv("/proc/self/exe", child_arguments);
        _exit(127);
    }
    return child;
}

static pid_t by_vfork(void)
{
    pid_t child = vfork();
    if (child == 0) {
        write_text(log_fd, line_of_child);
        _exit(0);
    }
    return child;
}

static pid_t by_spawn(void)
{
    pid_t child = -1;
    CHECK_EQUAL(posix_spawn(&child, "/proc/self/exe", NULL, NULL, child_arguments, environ), 0);
    return child;
}

static pid_t by_system(void)
{
    char command[256];
    snprintf(command, sizeof command, "echo '%.*s' >>app.log", (int)strcspn(line_of_child, "\n"), line_of_child);
    CHECK_EQUAL(system(command), 0);
    return 0;
}

static pid_t by_popen(void)
{
    FILE *pipe = popen("cat >>app.log", "w");
    CHECK(pipe != NULL && fputs(line_of_child, pipe) >= 0);
    CHECK_EQUAL(pclose(pipe), 0);
    return 0;
}

/* Past libc's fork and its handlers. */
static pid_t by_raw_clone(void)
{
    pid_t child = (pid_t)raw_syscall(SYS_clone, SIGCHLD);
    if (child == 0) {
        write_text(log_fd, line_of_child);
        _exit(0);
    }
    return child;
}

static int writes_line_of_child(void *unused)
{
    (void)unused;
    return write(log_fd, line_of_child, strlen(line_of_child)) == (ssize_t)strlen(line_of_child) ? 0 : 1;
}

static char clone_stack[65536] __attribute__((aligned(16)));

/* In the parent's memory, as libc's posix_spawn does it. */
static pid_t by_clone_as_vfork(void)
{
    return clone(writes_line_of_child, clone_stack + sizeof clone_stack, CLONE_VM | CLONE_VFORK | SIGCHLD, NULL);
}

/* In the parent's memory, beside it, with descriptors of its own or the parent's. */
static pid_t by_clone_of_memory(void)
{
    return clone(writes_line_of_child, clone_stack + sizeof clone_stack, CLONE_VM | SIGCHLD, NULL);
}

static pid_t by_clone_of_memory_and_descriptors(void)
{
    return clone(writes_line_of_child, clone_stack + sizeof clone_stack, CLONE_VM | CLONE_FILES | CLONE_FS | SIGCHLD,
                 NULL);
}

enum { WAYS_THREADS = 3 };
static volatile bool threads_end;

static void *thread_writes_until_the_end(void *writer)
{
    int id = *(int *)writer;
    for (int i = 0; !threads_end; i++) {
        if (!write_numbered(log_fd, id, i)) {
            test_fail(__LINE__, "writer %d: write: errno %d", id, errno);
        }
        acknowledged[id] = i + 1;
    }
    return NULL;
}

static void make_children(pid_t (*const ways[])(void), int count, int times)
{
    for (int i = 0; i < times * count; i++) {
        int writer = WAYS_THREADS + i % count;
        snprintf(line_of_child, sizeof line_of_child, "writer %02d line %06d of some length\n", writer, i / count);
        double begun = raw_seconds();
        pid_t child = ways[i % count]();
        if (child != 0) {
            CHECK_EQUAL(exit_status(child), 0);
        }
        if (raw_seconds() - begun > STALLED) {
            test_fail(__LINE__, "way %d: had to wait", i % count);
        }
        acknowledged[writer] = i / count + 1;
    }
}

static void check_children(pid_t (*const ways[])(void), int count, int times, int threads)
{
    pthread_t ids[WAYS_THREADS];
    int writers[WAYS_THREADS] = {0, 1, 2};
    share_counters();
    log_fd = open_log("app.log");
    for (int i = 0; i < threads; i++) {
        pthread_create(&ids[i], NULL, thread_writes_until_the_end, &writers[i]);
    }
    make_children(ways, count, times);
    threads_end = true;
    for (int i = 0; i < threads; i++) {
        pthread_join(ids[i], NULL);
    }
    check_account(WAYS_THREADS + count, 0);
}

static pid_t (*const ordinary_ways[])(void) = {by_fork,   by_vfork_and_exec, by_vfork,    by_spawn,
                                               by_system, by_popen,          by_raw_clone};

static void children_of_one_thread(void)
{
    check_children(ordinary_ways, TEST_COUNT(ordinary_ways), 12, 0);
}

static void children_while_threads_write(void)
{
    check_children(ordinary_ways, TEST_COUNT(ordinary_ways), 12, WAYS_THREADS);
}

static pid_t (*const clone_ways[])(void) = {by_raw_clone, by_clone_as_vfork, by_clone_of_memory,
                                            by_clone_of_memory_and_descriptors};

static void clones_of_one_thread(void)
{
    check_children(clone_ways, TEST_COUNT(clone_ways), 60, 0);
}

static void clones_while_threads_write(void)
{
    check_children(clone_ways, TEST_COUNT(clone_ways), 60, WAYS_THREADS);
}

/* They go past the library: each line is there, once, on what the descriptor is. */
static void raw_writes(void)
{
    char line[64];
    share_counters();
    log_fd = open_log("app.log");
    for (int i = 0; i < 600; i++) {
        int length = snprintf(line, sizeof line, "writer %02d line %06d of some length\n", i % 3, i / 3);
        long written = i % 3 == 0   ? write(log_fd, line, (size_t)length)
                       : i % 3 == 1 ? syscall(SYS_write, log_fd, line, length)
                                    : raw_syscall(SYS_write, log_fd, line, length);
        CHECK_EQUAL(written, length);
        acknowledged[i % 3] = i / 3 + 1;
    }
    check_account(3, 0);
}

static void write_in_handler(int signal)
{
    (void)signal;
    CHECK_EQUAL(write(log_fd, "of the handler\n", 15), 15);
}

static int of_other[2];
static int to_other[2];

/* Another process, which rotates when it is told to. */
static pid_t start_other(void)
{
    CHECK_EQUAL(pipe(of_other), 0);
    CHECK_EQUAL(pipe(to_other), 0);
    pid_t other = fork();
    if (other == 0) {
        char told;
        bool good = read(to_other[0], &told, 1) == 1;
        write_text(log_fd, lines_of(1000, "of another process"));
        _exit(good && write(of_other[1], "x", 1) == 1 ? 0 : 1);
    }
    return other;
}

static __attribute__((noinline)) void have_rotated_and_end(void)
{
    char done;
    raw_syscall(SYS_write, to_other[1], "x", 1);
    raw_syscall(SYS_read, of_other[0], &done, 1);
    raw_syscall(SYS_kill, raw_syscall(SYS_getppid), SIGUSR1);
    raw_syscall(SYS_exit_group, 0);
}

/*
 * A signal that waits for the end of a vfork child finds the parent's thread still in vfork: it is no child's. If it
 * followed a rotation as one, with nothing but the descriptor, that would count as a stranger's from then on.
 */
static void a_handler_at_the_end_of_a_vfork_child(void)
{
    signal(SIGUSR1, write_in_handler);
    log_fd = open("app.log", O_WRONLY | O_CREAT, 0644);
    write_text(log_fd, "before\n");
    pid_t other = start_other();
    pid_t child = vfork();
    if (child == 0) {
        have_rotated_and_end();
    }
    CHECK_EQUAL(exit_status(child), 0);
    CHECK_EQUAL(exit_status(other), 0);
    write_text(log_fd, "after\n");
    const char *all = history("app.log");
    CHECK(strlen(all) > 21);
    CHECK_TEXT(all + strlen(all) - 21, "of the handler\nafter\n");
    CHECK_EQUAL(fcntl(log_fd, F_GETFL) & O_APPEND, 0);
}

static int many(const char *variable, int otherwise)
{
    return getenv(variable) != NULL ? atoi(getenv(variable)) : otherwise;
}

/* SHORT_LIVED forks of four parents, each of which writes one line. */
static void short_lived_children(void)
{
    enum { PARENTS = 4 };
    pid_t parents[PARENTS];
    int times = many("SHORT_LIVED", 10000) / PARENTS;
    share_counters();
    log_fd = open_log("app.log");
    for (int i = 0; i < PARENTS; i++) {
        parents[i] = fork();
        if (parents[i] == 0) {
            for (int n = 0; n < times; n++) {
                pid_t child = fork();
                if (child == 0) {
                    _exit(write_numbered(log_fd, i, n) ? 0 : 1);
                }
                if (exit_status(child) != 0) {
                    _exit(1);
                }
                acknowledged[i] = n + 1;
            }
            _exit(0);
        }
    }
    for (int i = 0; i < PARENTS; i++) {
        CHECK_EQUAL(exit_status(parents[i]), 0);
    }
    check_account(PARENTS, 0);
}

int main(int count, char **arguments)
{
    static const struct test tests[] = {
        {"a_daemon_goes_on_with_the_line_that_was_begun", WHOLE, a_daemon, NULL, NULL},
        {"a_double_fork_goes_on_with_the_line_that_was_begun", WHOLE, a_double_fork, NULL, NULL},
        {"a_program_without_the_library_goes_on_in_the_live_file", WHOLE, without_the_library, NULL, NULL},
        {"a_crash_loses_only_the_beginning_of_a_line", "app.log", a_crash, NULL, NULL},
        {"children_made_in_every_way_lose_nothing", SMALL, children_of_one_thread, NULL, NULL},
        {"children_made_while_threads_write_lose_nothing", CROWD, children_while_threads_write, NULL, NULL},
        {"clones_lose_nothing", SMALL, clones_of_one_thread, NULL, NULL},
        {"clones_made_while_threads_write_lose_nothing", CROWD, clones_while_threads_write, NULL, NULL},
        {"a_handler_at_the_end_of_a_vfork_child_is_its_parents", "app.log,max_bytes=1000",
         a_handler_at_the_end_of_a_vfork_child, NULL, NULL},
        {"raw_writes_lose_nothing", SMALL, raw_writes, NULL, NULL},
        {"ten_thousand_short_lived_children_lose_nothing", "app.log,max_bytes=20K", short_lived_children, NULL, NULL},
    };
    return test_main(count, arguments, tests, TEST_COUNT(tests));
}
