/*
 * What programs do behind the library's back, or as it does not expect: numbers that become something else, messages
 * to a number that is no longer stderr, jumps within a handler, the lock file opened and closed by the program itself.
 */
#include "raw.h"
#include "test.h"

#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/time.h>
#include <ucontext.h>

#define WHOLE "app.log,max_bytes=1M"

static void a_number_closed_by_system_call_takes_no_held_bytes_along(void)
{
    make_file("data", "0123456789");
    int fd = open_log("app.log");
    write_text(fd, "line\npart");
    raw_close(fd);
    CHECK_EQUAL(open(in_directory("data"), O_RDWR), fd);
    close(fd);
    CHECK_TEXT(content("data"), "0123456789");
    CHECK_TEXT(history("app.log"), "line\npart");
}

static void a_message_does_not_go_to_what_became_of_stderr(void)
{
    CHECK_EQUAL(mkdir(in_directory(".app.log.lock"), 0700), 0); /* no lock file is to be had: that is told */
    make_file("data", "");
    fclose(stderr);
    CHECK_EQUAL(open(in_directory("data"), O_RDWR), 2);
    int fd = open_log("app.log");
    write_text(fd, "line\n");
    CHECK_TEXT(content("data"), "");
    CHECK_TEXT(content("app.log"), "line\n");
}

static void a_question_about_seccomp_changes_nothing(void)
{
    int fd = open_log("app.log");
    CHECK_ERROR(prctl(PR_SET_SECCOMP, 2, NULL, 0, 0), EFAULT);
    write_text(fd, "a line of ten or more\n");
    write_text(fd, "another\n");
    CHECK_EQUAL(archives("app.log"), 1);
}

static void a_cut_comes_after_what_is_held(void)
{
    int fd = open_log("app.log");
    write_text(fd, "line\npart");
    CHECK_EQUAL(ftruncate(fd, 0), 0);
    close(fd);
    CHECK_TEXT(content("app.log"), "");
}

static void flags_show_append_only_to_who_asked(void)
{
    int fd = open(in_directory("app.log"), O_WRONLY | O_CREAT, 0644);
    CHECK_EQUAL(fcntl(fd, F_GETFL) & O_APPEND, 0);
    CHECK(raw_fcntl(fd, F_GETFL, 0) & O_APPEND);
    CHECK_EQUAL(fcntl(fd, F_SETFL, O_APPEND), 0);
    CHECK_EQUAL(fcntl(fd, F_GETFL) & O_APPEND, O_APPEND);
}

static volatile sig_atomic_t jumps;

static void handler_that_jumps_within_itself(int signal)
{
    sigjmp_buf here;
    (void)signal;
    if (sigsetjmp(here, 1) == 0) {
        siglongjmp(here, 1);
    }
    jumps = jumps + 1;
}

static volatile bool reading;

static void *reads_the_lock_file(void *unused)
{
    while (reading) {
        close(open(in_directory(".app.log.lock"), O_RDONLY));
    }
    return unused;
}

/* Every line of a writer that runs beside another process's, each once and in order. */
static void write_and_account(void)
{
    enum { LINES = 4000 };
    char line[64];
    int fd = open_log("app.log");
    pid_t other = fork();
    for (int i = 0; i < LINES; i++) {
        snprintf(line, sizeof line, "%c %06d of some length\n", other == 0 ? 'b' : 'a', i);
        write_text(fd, line);
    }
    if (other == 0) {
        _exit(0);
    }
    CHECK_EQUAL(exit_status(other), 0);
    int next[2] = {0, 0};
    for (char *at = history("app.log"); *at != '\0'; at = strchr(at, '\n') + 1) {
        int which = at[0] == 'b';
        CHECK_EQUAL(atoi(at + 2), next[which]);
        next[which]++;
    }
    CHECK_EQUAL(next[0], LINES);
    CHECK_EQUAL(next[1], LINES);
    CHECK_EQUAL(messages("rotate_failed"), 0);
}

static void jumps_within_a_handler_leave_the_lock_alone(void)
{
    const struct sigaction action = {.sa_handler = handler_that_jumps_within_itself, .sa_flags = SA_RESTART};
    const struct itimerval often = {{0, 150}, {0, 150}};
    const struct itimerval never = {{0, 0}, {0, 0}};
    sigaction(SIGALRM, &action, NULL);
    setitimer(ITIMER_REAL, &often, NULL);
    write_and_account();
    setitimer(ITIMER_REAL, &never, NULL);
    CHECK(jumps > 0);
}

/* On a stack of its own, where handlers jump to while the other stack is in the midst of a write. */
static ucontext_t main_stack;
static sigjmp_buf other_stack;
static sigjmp_buf first_stack;
static int lock_fd;

/* By this process, as an open file description's lock sees it; helpers lock too. */
static bool is_locked(void)
{
    struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = 0, .l_len = 1};
    bool locked = raw_fcntl(lock_fd, F_OFD_GETLK, (long)&lock) != 0 || lock.l_type != F_UNLCK;
    return locked && lock.l_pid == getpid();
}

static void runs_on_other_stack(void)
{
    if (sigsetjmp(other_stack, 1) == 0) {
        swapcontext(&(ucontext_t){0}, &main_stack);
    }
    CHECK(!is_locked());
    siglongjmp(first_stack, 1);
}

static void handler_that_jumps_to_another_stack(int signal)
{
    (void)signal;
    jumps = jumps + 1;
    siglongjmp(other_stack, 1);
}

static void jumps_to_another_stack_leave_no_lock(void)
{
    static char stack[65536];
    const struct sigaction action = {.sa_handler = handler_that_jumps_to_another_stack};
    const struct itimerval often = {{0, 150}, {0, 150}};
    const struct itimerval never = {{0, 0}, {0, 0}};
    ucontext_t other;
    volatile int fd = open_log("app.log");
    sigset_t held;
    lock_fd = raw_open(".app.log.lock", O_RDWR);
    sigemptyset(&held);
    sigaddset(&held, SIGALRM);
    sigprocmask(SIG_BLOCK, &held, NULL);
    getcontext(&other);
    other.uc_stack.ss_sp = stack;
    other.uc_stack.ss_size = sizeof stack;
    makecontext(&other, runs_on_other_stack, 0);
    swapcontext(&main_stack, &other);
    sigaction(SIGALRM, &action, NULL);
    setitimer(ITIMER_REAL, &often, NULL);
    if (sigsetjmp(first_stack, 1) == 0 || jumps < 300) {
        sigprocmask(SIG_UNBLOCK, &held, NULL);
        while (true) {
            write_text(fd, "a line of some length\n");
        }
    }
    setitimer(ITIMER_REAL, &never, NULL);
    double begun = raw_seconds();
    write_text(fd, "the last line\n");
    other_process_writes("app.log", "another process\n");
    CHECK(raw_seconds() - begun < STALLED);
    for (const char *at = history("app.log"); *at != '\0'; at = strchr(at, '\n') + 1) {
        CHECK_EQUAL(strcspn(at, "\n"), at[0] == 'a' ? strcspn(at, "h") < 5 ? 15 : 21 : 13);
    }
    CHECK(archives("app.log") >= 3);
    CHECK_EQUAL(messages("mplogshim"), 0);
}

static void a_program_that_reads_the_lock_file_keeps_the_lock(void)
{
    pthread_t reader;
    reading = true;
    pthread_create(&reader, NULL, reads_the_lock_file, NULL);
    write_and_account();
    reading = false;
    pthread_join(reader, NULL);
}

/* Large enough for a write that takes a while. */
enum { LARGE = 16 << 20, NUMBER = 500 };

static void *write_large(void *fd)
{
    char *text = malloc(LARGE);
    memset(text, 'x', LARGE);
    text[LARGE - 1] = '\n';
    CHECK_EQUAL(write(*(int *)fd, text, LARGE), LARGE);
    free(text);
    return NULL;
}

static off_t size_of(int fd)
{
    return lseek(fd, 0, SEEK_END);
}

/* By a look that is none of a process's, but of a description's: it sees the locks of its own process, too. */
static bool log_is_locked(int lock_file)
{
    struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = 0, .l_len = 1};
    return raw_fcntl(lock_file, F_OFD_GETLK, (long)&lock) == 0 && lock.l_type != F_UNLCK;
}

/* In the midst of another thread's write. Whoever closes the lock file waits for its end, or the lock is still held. */
static void check_keeps_the_lock(void (*close_lock_file)(void))
{
    pthread_t writer;
    int fd = open_log("app.log");
    write_text(fd, "first\n");
    int lock_file = raw_open(".app.log.lock", O_RDWR);
    int log = raw_open("app.log", O_RDONLY);
    off_t end = size_of(log) + LARGE;
    pthread_create(&writer, NULL, write_large, &fd);
    while (size_of(log) < end - LARGE / 2) {
    }
    close_lock_file();
    bool locked = log_is_locked(lock_file);
    CHECK(locked || size_of(log) == end);
    pthread_join(writer, NULL);
    CHECK_EQUAL(ftruncate(fd, 0), 0);
    raw_syscall(SYS_dup3, log, lock_file, 0); /* what was raw may not be closed so */
}

static void by_fclose(void)
{
    fclose(fopen(in_directory(".app.log.lock"), "r"));
}

static void by_close_range(void)
{
    int fd = open(in_directory(".app.log.lock"), O_RDONLY);
    CHECK_EQUAL(dup2(fd, NUMBER), NUMBER);
    CHECK_EQUAL(close_range(NUMBER, NUMBER, 0), 0);
}

static void by_dup2(void)
{
    int fd = open(in_directory(".app.log.lock"), O_RDONLY);
    CHECK_EQUAL(dup2(STDERR_FILENO, fd), fd);
}

static void by_close(void)
{
    close(open(in_directory(".app.log.lock"), O_RDONLY));
}

static void no_way_of_closing_the_lock_file_drops_the_lock_of_a_write(void)
{
    check_keeps_the_lock(by_close);
    check_keeps_the_lock(by_dup2);
    check_keeps_the_lock(by_fclose);
    check_keeps_the_lock(by_close_range);
}

int main(int count, char **arguments)
{
    static const struct test tests[] = {
        {"a_number_closed_by_system_call_takes_no_held_bytes_along", WHOLE,
         a_number_closed_by_system_call_takes_no_held_bytes_along, NULL, NULL},
        {"a_message_does_not_go_to_what_became_of_stderr", WHOLE, a_message_does_not_go_to_what_became_of_stderr, NULL,
         NULL},
        {"a_question_about_seccomp_changes_nothing", "app.log,max_bytes=25", a_question_about_seccomp_changes_nothing,
         NULL, NULL},
        {"a_cut_comes_after_what_is_held", WHOLE, a_cut_comes_after_what_is_held, NULL, NULL},
        {"flags_show_append_only_to_who_asked", WHOLE, flags_show_append_only_to_who_asked, NULL, NULL},
        {"jumps_within_a_handler_leave_the_lock_alone", "app.log,max_bytes=100",
         jumps_within_a_handler_leave_the_lock_alone, NULL, NULL},
        {"jumps_to_another_stack_leave_no_lock", "app.log,max_bytes=500", jumps_to_another_stack_leave_no_lock, NULL,
         NULL},
        {"a_program_that_reads_the_lock_file_keeps_the_lock", "app.log,max_bytes=100",
         a_program_that_reads_the_lock_file_keeps_the_lock, NULL, NULL},
        {"no_way_of_closing_the_lock_file_drops_the_lock_of_a_write", "app.log",
         no_way_of_closing_the_lock_file_drops_the_lock_of_a_write, NULL, NULL},
    };
    return test_main(count, arguments, tests, TEST_COUNT(tests));
}
