/* Many threads, processes and signal handlers on one log that is rotated all the time: an exact account. */
#include "crowd.h"

#include <setjmp.h>
#include <stdatomic.h>
#include <sys/time.h>

#define SMALL "app.log,max_bytes=2000"

struct work {
    int fd;
    int writer;
};

static void *thread_writes(void *argument)
{
    struct work *work = argument;
    write_lines(work->fd, work->writer, 400);
    return NULL;
}

static void processes_of_threads(void)
{
    share_counters();
    int shared = open_log("app.log");
    pid_t children[4];
    for (int i = 0; i < 4; i++) {
        children[i] = fork();
        if (children[i] == 0) {
            int own = open_log("app.log");
            struct work work[2] = {{i % 2 == 0 ? shared : own, 2 * i}, {own, 2 * i + 1}};
            pthread_t threads[2];
            pthread_create(&threads[0], NULL, thread_writes, &work[0]);
            pthread_create(&threads[1], NULL, thread_writes, &work[1]);
            pthread_join(threads[0], NULL);
            pthread_join(threads[1], NULL);
            exit(test_failures);
        }
    }
    for (int i = 0; i < 4; i++) {
        CHECK_EQUAL(exit_status(children[i]), 0);
    }
    check_account(8, 0);
}

/* Half of them on one descriptor, half on one stream. */
static FILE *shared_stream;

static void *thread_writes_by_either(void *argument)
{
    const struct work *work = argument;
    char line[64];
    for (int i = 0; i < 100; i++) {
        snprintf(line, sizeof line, "writer %02d line %06d of some length\n", work->writer, i);
        if (work->writer % 2 == 0 ? !write_numbered(work->fd, work->writer, i) : fputs(line, shared_stream) < 0) {
            test_fail(__LINE__, "writer %d: errno %d", work->writer, errno);
        }
        acknowledged[work->writer] = i + 1;
    }
    pthread_exit(NULL);
}

static void many_threads(void)
{
    enum { THREADS = 64 };
    pthread_t threads[THREADS];
    struct work work[THREADS];
    share_counters();
    int fd = open_log("app.log");
    shared_stream = fopen("app.log", "a");
    for (int i = 0; i < THREADS; i++) {
        work[i] = (struct work){fd, i};
        CHECK_EQUAL(pthread_create(&threads[i], NULL, thread_writes_by_either, &work[i]), 0);
    }
    for (int i = 0; i < THREADS; i++) {
        pthread_join(threads[i], NULL);
    }
    CHECK_EQUAL(fclose(shared_stream), 0);
    check_account(THREADS, 0);
}

static void fork_while_threads_write(void)
{
    share_counters();
    int fd = open_log("app.log");
    struct work work[3] = {{fd, 0}, {fd, 1}, {fd, 2}};
    pthread_t threads[3];
    for (int i = 0; i < 3; i++) {
        pthread_create(&threads[i], NULL, thread_writes, &work[i]);
    }
    for (int i = 0; i < 40; i++) {
        pid_t child = fork();
        if (child == 0) {
            double begun = raw_seconds();
            bool good = write_numbered(fd, 3, i);
            acknowledged[3] = i + 1;
            _exit(good && raw_seconds() - begun < STALLED ? 0 : 1);
        }
        CHECK_EQUAL(exit_status(child), 0);
    }
    for (int i = 0; i < 3; i++) {
        pthread_join(threads[i], NULL);
    }
    check_account(4, 0);
}

static pid_t starts_short_lived(int writer, int number)
{
    char line[64];
    snprintf(line, sizeof line, "writer %02d line %06d of some length\n", writer, number);
    pid_t child = vfork();
    if (child == 0) {
        execl("/proc/self/exe", "other process", "--write", "app.log", line, NULL);
        _exit(127);
    }
    acknowledged[writer] = number + 1;
    return child;
}

static void short_lived_processes(void)
{
    share_counters();
    for (int i = 0; i < 500; i++) {
        pid_t first = starts_short_lived(0, i);
        pid_t second = starts_short_lived(1, i);
        if (exit_status(first) != 0 || exit_status(second) != 0) {
            test_fail(__LINE__, "a process failed");
        }
    }
    check_account(2, 0);
}

static void killed_processes(void)
{
    enum { KILLED = 16 };
    share_counters();
    for (int round = 0; round < KILLED; round += 4) {
        pid_t children[4];
        for (int i = 0; i < 4; i++) {
            children[i] = fork();
            if (children[i] == 0) {
                write_lines(open_log("app.log"), round + i, 1000000);
                _exit(1);
            }
        }
        for (int i = 0; i < 4; i++) {
            while (acknowledged[round + i] < 60 + 17 * i) {
                raw_pause();
            }
            kill(children[i], SIGKILL);
            exit_status(children[i]);
        }
    }
    double begun = raw_seconds();
    int fd = open_log("app.log");
    write_text(fd, lines_of(40, "x"));
    CHECK(raw_seconds() - begun < STALLED);
    char *all = history("app.log");
    CHECK(strstr(all, "x  ") != NULL);
    /* Take the two lines off the end again for the account. */
    close(fd);
    struct stat status;
    CHECK(raw_stat("app.log", &status));
    CHECK_EQUAL(truncate("app.log", status.st_size - 40), 0);
    check_account(KILLED, 1);
}

/* As Redis does: the log is opened and closed for every line. */
static void opens_for_every_line(void)
{
    share_counters();
    pid_t children[3];
    for (int i = 0; i < 3; i++) {
        children[i] = fork();
        if (children[i] == 0) {
            for (int n = 0; n < 300; n++) {
                int fd = open("app.log", O_WRONLY | O_CREAT | O_APPEND, 0644);
                if (fd != 3 || !write_numbered(fd, i, n) || close(fd) != 0) {
                    exit(1);
                }
                acknowledged[i] = n + 1;
            }
            exit(test_failures);
        }
    }
    for (int i = 0; i < 3; i++) {
        CHECK_EQUAL(exit_status(children[i]), 0);
    }
    check_account(3, 0);
}

static int signal_fd;
static volatile sig_atomic_t handled;

static void handler_writes(int signal)
{
    int error = errno;
    (void)signal;
    if (write_numbered(signal_fd, 1, handled)) {
        handled = handled + 1;
        acknowledged[1] = handled;
    }
    errno = error;
}

static void start_timer(void (*handler)(int), int flags, int microseconds)
{
    struct sigaction action = {.sa_handler = handler, .sa_flags = flags};
    struct itimerval often = {{0, microseconds}, {0, microseconds}};
    sigaction(SIGALRM, &action, NULL);
    setitimer(ITIMER_REAL, &often, NULL);
}

static void stop_timer(void)
{
    struct itimerval never = {{0, 0}, {0, 0}};
    setitimer(ITIMER_REAL, &never, NULL);
}

/* A handler interrupts the library wherever it is: in a write, a rotation, under its locks. */
static void signal_handler_writes(void)
{
    share_counters();
    signal_fd = open_log("app.log");
    start_timer(handler_writes, SA_RESTART, 200);
    write_lines(signal_fd, 0, 5000);
    stop_timer();
    CHECK(handled > 20);
    check_account(2, 0);
}

static void signal_handler_writes_among_others(void)
{
    share_counters();
    pid_t child = fork();
    if (child == 0) {
        write_lines(open_log("app.log"), 2, 3000);
        exit(test_failures);
    }
    signal_fd = open_log("app.log");
    start_timer(handler_writes, SA_RESTART, 200);
    write_lines(signal_fd, 0, 3000);
    stop_timer();
    CHECK_EQUAL(exit_status(child), 0);
    CHECK(handled > 20);
    check_account(3, 0);
}

static sigjmp_buf place;
static volatile int jumps;

static void handler_jumps(int signal)
{
    (void)signal;
    jumps = jumps + 1;
    siglongjmp(place, 1);
}

/* A line that was being written when the handler jumped may be there or not, but it is whole; no lock is left. */
static void handlers_that_jump(void)
{
    share_counters();
    volatile int number = 0;
    int fd = open_log("app.log");
    start_timer(handler_jumps, SA_NODEFER, 200);
    while (jumps < 300) {
        if (sigsetjmp(place, 1) == 0) {
            while (true) {
                write_numbered(fd, 0, number);
                number = number + 1;
            }
        }
    }
    stop_timer();
    double begun = raw_seconds();
    write_numbered(fd, 0, 999999);
    other_process_writes("app.log", "writer 01 line 000000 of some length\n");
    CHECK(raw_seconds() - begun < STALLED);
    char *text = history("app.log");
    int whole = 0;
    for (char *line = text; *line != '\0'; line = strchr(line, '\n') + 1) {
        CHECK(strcspn(line, "\n") == 36);
        whole++;
        if (strchr(line, '\n') == NULL) {
            break;
        }
    }
    CHECK(whole >= number);
    CHECK(strstr(text, "999999") != NULL);
    CHECK(archives("app.log") >= 3);
    CHECK_EQUAL(messages("mplogshim"), 0);
}

/* A child made in a signal handler while the parent was inside the library. */
static void handler_forks(int signal)
{
    (void)signal;
    if (handled < 40) {
        pid_t child = fork();
        if (child == 0) {
            bool good = write_numbered(signal_fd, 1, handled);
            _exit(good ? 0 : 1);
        }
        int status = -1;
        while (waitpid(child, &status, 0) < 0 && errno == EINTR) {
        }
        if (status == 0) {
            handled = handled + 1;
            acknowledged[1] = handled;
        }
    }
}

static void signal_handler_forks(void)
{
    share_counters();
    signal_fd = open_log("app.log");
    start_timer(handler_forks, SA_RESTART, 3000);
    for (int i = 0; handled < 40 && i < 100000; i++) {
        write_numbered(signal_fd, 0, i);
        acknowledged[0] = i + 1;
    }
    stop_timer();
    CHECK_EQUAL(handled, 40);
    for (int i = 0; i < 40; i++) { /* a handler that interrupts the library writes without rotating */
        write_numbered(signal_fd, 0, acknowledged[0]);
        acknowledged[0] = acknowledged[0] + 1;
    }
    check_account(2, 0);
}

static atomic_bool opened;

static void *open_another(void *unused)
{
    (void)unused;
    close(open_log("other.log"));
    opened = true;
    return NULL;
}

static bool has_opened(void)
{
    return opened;
}

/* The handler forks in the middle of a fork, as often as not: nothing stays locked, and the thread is not left inside.
 */
static void forks_within_forks(void)
{
    pthread_t thread;
    share_counters();
    signal_fd = open_log("app.log");
    start_timer(handler_forks, SA_RESTART, 3000);
    for (int i = 0; handled < 40 && i < 10000; i++) {
        pid_t child = fork();
        if (child == 0) {
            _exit(0);
        }
        exit_status(child);
    }
    stop_timer();
    CHECK_EQUAL(handled, 40);
    CHECK_EQUAL(pthread_create(&thread, NULL, open_another, NULL), 0);
    CHECK(wait_until(has_opened));
    pthread_join(thread, NULL);
    write_lines(signal_fd, 0, 40);
    check_account(2, 0);
}

int main(int count, char **arguments)
{
    static const struct test tests[] = {
        {"processes_of_threads_lose_and_tear_nothing", SMALL, processes_of_threads, NULL, NULL},
        {"sixty_four_threads_lose_and_tear_nothing", SMALL, many_threads, NULL, NULL},
        {"fork_while_threads_write_loses_nothing_and_never_hangs", SMALL, fork_while_threads_write, NULL, NULL},
        {"a_thousand_short_lived_processes_lose_nothing", SMALL, short_lived_processes, NULL, NULL},
        {"killed_processes_lose_nothing_that_was_acknowledged", SMALL, killed_processes, NULL, NULL},
        {"a_log_opened_for_every_line_loses_nothing", SMALL, opens_for_every_line, NULL, NULL},
        {"a_signal_handler_may_write_at_any_moment", SMALL, signal_handler_writes, NULL, NULL},
        {"a_signal_handler_may_write_while_others_do", SMALL, signal_handler_writes_among_others, NULL, NULL},
        {"a_signal_handler_may_jump_out_at_any_moment", "app.log,max_bytes=500", handlers_that_jump, NULL, NULL},
        {"a_signal_handler_may_fork_at_any_moment", "app.log,max_bytes=200", signal_handler_forks, NULL, NULL},
        {"a_signal_handler_may_fork_in_the_middle_of_a_fork", "*.log,max_bytes=200", forks_within_forks, NULL, NULL},
    };
    return test_main(count, arguments, tests, TEST_COUNT(tests));
}
