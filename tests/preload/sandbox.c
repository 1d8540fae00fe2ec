/*
 * Programs that confine themselves with seccomp: a filter that kills at every call that the program does not make
 * itself does not kill because of the library, whichever way it is installed, and nothing is lost.
 */
#include "test.h"

#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <seccomp.h>
#include <stdatomic.h>
#include <stddef.h>
#include <sys/prctl.h>
#include <sys/uio.h>

#define BYTES "app.log,max_bytes=100"

/*
 * What OpenSSH's sandbox of the child that talks to the network allows (sandbox-seccomp-filter.c), as far as programs
 * with threads need it too; opening is refused there, and all else kills.
 */
static const int allowed[] = {
    SYS_brk,          SYS_clock_gettime, SYS_clock_nanosleep, SYS_close,          SYS_exit,
    SYS_exit_group,   SYS_futex,         SYS_getpid,          SYS_gettid,         SYS_getrandom,
    SYS_madvise,      SYS_mmap,          SYS_mremap,          SYS_munmap,         SYS_nanosleep,
    SYS_ppoll,        SYS_read,          SYS_pselect6,        SYS_rt_sigprocmask, SYS_rt_sigreturn,
    SYS_shutdown,     SYS_write,         SYS_writev,          SYS_mprotect,       SYS_rseq,
    SYS_gettimeofday, SYS_getuid,        SYS_restart_syscall, SYS_sched_yield,    SYS_set_robust_list,
#ifdef __x86_64__ /* calls that newer architectures do not have */
    SYS_poll,         SYS_select,
#endif
};
static const int refused[] = {
    SYS_openat, SYS_fstat, SYS_newfstatat, SYS_shmget,
#ifdef __x86_64__
    SYS_open,   SYS_stat,  SYS_lstat,
#endif
};

enum { FILTER_SIZE = 256 };

/* Adds "if it is call `number`, then `action`" to a filter. */
static unsigned short add_rule(struct sock_filter *filter, unsigned short at, int number, unsigned action)
{
    filter[at++] = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (unsigned)number, 0, 1);
    filter[at++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, action);
    return at;
}

static unsigned short load_number(struct sock_filter *filter)
{
    filter[0] = (struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr));
    return 1;
}

static struct sock_fprog *openssh_filter(void)
{
    static struct sock_filter filter[FILTER_SIZE];
    static struct sock_fprog program = {.filter = filter};
    unsigned short at = load_number(filter);
    for (size_t i = 0; i < TEST_COUNT(refused); i++) {
        at = add_rule(filter, at, refused[i], SECCOMP_RET_ERRNO | EACCES);
    }
    for (size_t i = 0; i < TEST_COUNT(allowed); i++) {
        at = add_rule(filter, at, allowed[i], SECCOMP_RET_ALLOW);
    }
    filter[at++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS);
    program.len = at;
    return &program;
}

static int by_prctl(void)
{
    return prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, openssh_filter(), 0, 0);
}

static int by_number_of_prctl(void)
{
    return (int)syscall(SYS_prctl, PR_SET_SECCOMP, SECCOMP_MODE_FILTER, openssh_filter(), 0, 0);
}

static int by_number_of_seccomp(void)
{
    return (int)syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, openssh_filter());
}

/* Its result is a descriptor, not 0. */
static int with_a_listener(void)
{
    int fd = (int)syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_NEW_LISTENER, openssh_filter());
    return fd > 2 ? 0 : -1;
}

static int for_all_threads(void)
{
    return (int)syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_TSYNC, openssh_filter());
}

static int by_libseccomp(void)
{
    scmp_filter_ctx context = seccomp_init(SCMP_ACT_KILL_PROCESS);
    int error = context == NULL;
    for (size_t i = 0; i < TEST_COUNT(refused); i++) {
        error |= seccomp_rule_add(context, SCMP_ACT_ERRNO(EACCES), refused[i], 0);
    }
    for (size_t i = 0; i < TEST_COUNT(allowed); i++) {
        error |= seccomp_rule_add(context, SCMP_ACT_ALLOW, allowed[i], 0);
    }
    return error | seccomp_load(context);
}

/* Streams and plain writes, unfinished lines held of both when the filter comes; then all of it goes on. */
static void check_sandboxed(int (*install)(void))
{
    pid_t child = fork();
    if (child == 0) {
        int fd = open_log("app.log");
        FILE *file = fopen("app.log", "a");
        dup2(fd, 1);
        printf("to stdout\n");
        fprintf(file, "to a file\n");
        fflush(NULL);
        setvbuf(file, NULL, _IOFBF, 64);
        printf("buffered ");
        write_text(fd, "held\nbegin");
        struct iovec pieces[2] = {{(char *)(uintptr_t) "pie", 3}, {(char *)(uintptr_t) "ces\n", 4}};
        if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 || install() != 0) {
            _exit(3);
        }
        bool good = write(fd, " end\n", 5) == 5 && writev(fd, pieces, 2) == 7;
        good = good && write(2, "", 0) == 0 && printf("and flushed\n") > 0 && puts("puts") >= 0;
        for (int i = 0; i < 20; i++) {
            good = good && fprintf(file, "line %d of a file\n", i) > 0;
        }
        good = good && fflush(stdout) == 0 && close(40) != 0 && open("other", O_RDWR | O_CREAT, 0644) < 0;
        exit(good ? 0 : 4);
    }
    CHECK_EQUAL(exit_status(child), 0);
    char *all = history("app.log");
    CHECK(strstr(all, "held\nbegin end\npieces\n") != NULL);
    CHECK(strstr(all, "buffered and flushed\nputs\n") != NULL);
    CHECK(strstr(all, "line 0 of a file\nline 1 of a file\n") != NULL);
    CHECK_EQUAL(strlen(all), 10 + 10 + 10 + 7 + 21 + 5 + 5 + 10 * 17 + 10 * 18);
    size_t before = archives("app.log");
    write_text(open_log("app.log"), "after\n"); /* who comes next rotates */
    CHECK_EQUAL(archives("app.log"), before + 1);
}

static void prctl_sandboxes(void)
{
    check_sandboxed(by_prctl);
}

static void number_of_prctl_sandboxes(void)
{
    check_sandboxed(by_number_of_prctl);
}

static void number_of_seccomp_sandboxes(void)
{
    check_sandboxed(by_number_of_seccomp);
}

static void listener_sandboxes(void)
{
    check_sandboxed(with_a_listener);
}

static void libseccomp_sandboxes(void)
{
    check_sandboxed(by_libseccomp);
}

/* Threads that write all the time: numbered lines of one letter each. */
enum { THREADS = 4, LINES = 1500 };
static int log_fd;
static atomic_int written_lines;

static void write_numbered(int thread, int from, int to)
{
    for (int i = from; i < to; i++) {
        char line[32];
        snprintf(line, sizeof line, "%c %06d\n", 'a' + thread, i);
        if (write(log_fd, line, strlen(line)) != (ssize_t)strlen(line)) {
            raw_syscall(SYS_exit_group, 5);
        }
        written_lines++;
    }
}

static void *writes_all_the_time(void *number)
{
    write_numbered((int)(intptr_t)number, 0, LINES);
    return NULL;
}

/* One thread installs a filter while the others write; each line is there once, in its thread's order. */
static void check_with_threads(int (*install)(void))
{
    pid_t child = fork();
    if (child == 0) {
        pthread_t threads[THREADS];
        log_fd = open_log("app.log");
        for (intptr_t i = 1; i < THREADS; i++) {
            pthread_create(&threads[i], NULL, writes_all_the_time, (void *)i);
        }
        while (written_lines < 200) {
            raw_pause();
        }
        if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 || install() != 0) {
            _exit(3);
        }
        write_numbered(0, 0, LINES);
        for (intptr_t i = 1; i < THREADS; i++) {
            pthread_join(threads[i], NULL);
        }
        exit(0);
    }
    CHECK_EQUAL(exit_status(child), 0);
    int next[THREADS] = {0};
    for (char *at = history("app.log"); *at != '\0'; at = strchr(at, '\n') + 1) {
        int thread = at[0] - 'a';
        if (thread < 0 || thread >= THREADS || at[1] != ' ' || atoi(at + 2) != next[thread]++) {
            test_fail(__LINE__, "unexpected line \"%.9s\"", at);
            break;
        }
    }
    for (int i = 0; i < THREADS; i++) {
        CHECK_EQUAL(next[i], LINES);
    }
    CHECK(archives("app.log") > 5);
}

static void threads_sandboxed_together(void)
{
    check_with_threads(for_all_threads);
}

static void one_thread_sandboxed(void)
{
    check_with_threads(by_prctl);
}

/* The child of a vfork, as a server starts its workers: its filter is not its parent's. */
static void vfork_child_sandboxed(void)
{
    int fd = open_log("app.log");
    write_text(fd, "a line of ten or more\n");
    struct sock_fprog *filter = openssh_filter();
    pid_t child = vfork();
    if (child == 0) {
        bool good = prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 && prctl(PR_SET_SECCOMP, 2, filter, 0, 0) == 0;
        _exit(good ? 0 : 1);
    }
    CHECK_EQUAL(exit_status(child), 0);
    write_text(fd, lines_of(100, "filler"));
    CHECK_EQUAL(archives("app.log"), 1);
}

/* The same, where asking for a process's number kills. */
static void vfork_child_of_few_calls(void)
{
    struct sock_filter filter[16];
    struct sock_fprog program = {.filter = filter};
    unsigned short at = load_number(filter);
    at = add_rule(filter, at, SYS_getpid, SECCOMP_RET_KILL_PROCESS);
    at = add_rule(filter, at, SYS_getppid, SECCOMP_RET_KILL_PROCESS);
    filter[at++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
    program.len = at;
    int fd = open_log("app.log");
    pid_t child = vfork();
    if (child == 0) {
        bool good = prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 && prctl(PR_SET_SECCOMP, 2, &program, 0, 0) == 0;
        good = good && write(fd, "of the child\n", 13) == 13;
        _exit(good ? 0 : 1);
    }
    CHECK_EQUAL(exit_status(child), 0);
    write_text(fd, "of the parent\n");
    CHECK_TEXT(content("app.log"), "of the child\nof the parent\n");
}

/* What loading a program and its own writing need; the library asks for more. */
static const int of_a_plain_writer[] = {
    SYS_execve,          SYS_brk,        SYS_mmap,  SYS_mprotect,   SYS_munmap, SYS_openat,     SYS_read,
    SYS_pread64,         SYS_close,      SYS_fstat, SYS_newfstatat, SYS_rseq,   SYS_prlimit64,  SYS_set_tid_address,
    SYS_set_robust_list, SYS_getrandom,  SYS_write, SYS_writev,     SYS_futex,  SYS_exit_group, SYS_restart_syscall,
#ifdef __x86_64__
    SYS_access,          SYS_arch_prctl,
#else
    SYS_faccessat,
#endif
};

/*
 * What the library needs besides, from the loading to a rotation: each of these is in systemd's @system-service, and in
 * what containers are allowed. Where they are refused writes go on, where they kill, it cannot be loaded.
 */
static const int of_the_library[] = {
    SYS_fcntl,         SYS_lseek,
    SYS_readlinkat,    SYS_getcwd,
    SYS_madvise,       SYS_getpid,
    SYS_gettid,        SYS_rt_sigprocmask,
    SYS_rt_sigpending, SYS_rt_sigtimedwait,
    SYS_rt_sigaction,  SYS_ftruncate,
    SYS_fchmod,        SYS_fchown,
    SYS_fgetxattr,     SYS_fsetxattr,
    SYS_pwrite64,      SYS_pwritev2,
    SYS_renameat2,     SYS_linkat,
    SYS_unlinkat,      SYS_dup3,
    SYS_clock_gettime, SYS_clock_nanosleep,
    SYS_geteuid,       SYS_getegid,
    SYS_clone,         SYS_wait4,
    SYS_prctl,         SYS_exit,
    SYS_close_range,   SYS_umask,
    SYS_statx,         SYS_setsid,
    SYS_chdir,         SYS_getdents64,
    SYS_getpriority,   SYS_setpriority,
    SYS_ioprio_set,    SYS_sched_getscheduler,
    SYS_inotify_init1, SYS_inotify_add_watch,
    SYS_ppoll,         SYS_utimensat,
    SYS_fsync,
};

static struct sock_fprog *inherited_filter(unsigned otherwise, bool with_library)
{
    static struct sock_filter filter[FILTER_SIZE];
    static struct sock_fprog program = {.filter = filter};
    unsigned short at = load_number(filter);
    for (size_t i = 0; i < TEST_COUNT(of_a_plain_writer); i++) {
        at = add_rule(filter, at, of_a_plain_writer[i], SECCOMP_RET_ALLOW);
    }
    for (size_t i = 0; with_library && i < TEST_COUNT(of_the_library); i++) {
        at = add_rule(filter, at, of_the_library[i], SECCOMP_RET_ALLOW);
    }
    filter[at++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, otherwise);
    program.len = at;
    return &program;
}

/* Another program under the library, in a filter from before its exec, writes a text. */
static int write_in_filter(struct sock_fprog *filter, const char *text)
{
    pid_t child = fork();
    if (child == 0) {
        int null = raw_open("/dev/null", O_RDONLY);
        raw_syscall(SYS_dup3, null, 0, 0);
        raw_syscall(SYS_prctl, PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
        if (raw_syscall(SYS_prctl, PR_SET_SECCOMP, SECCOMP_MODE_FILTER, filter) != 0) {
            raw_syscall(SYS_exit_group, 3);
        }
        char *const arguments[] = {(char *)(uintptr_t) "other", (char *)(uintptr_t) "--write",
                                   (char *)(uintptr_t) "app.log", (char *)(uintptr_t)text, NULL};
        raw_syscall(SYS_execve, "/proc/self/exe", arguments, environ);
        raw_syscall(SYS_exit_group, 127);
    }
    return exit_status(child);
}

/* Whatever the library's calls come back with, what is written is written; no rotation can be asked for. */
static void check_refused_before_exec(unsigned error)
{
    for (int i = 0; i < 3; i++) {
        CHECK_EQUAL(write_in_filter(inherited_filter(SECCOMP_RET_ERRNO | error, false), lines_of(60, "refused")), 0);
    }
    CHECK_EQUAL(strlen(history("app.log")), 180);
}

static void refused_before_exec(void)
{
    check_refused_before_exec(EPERM);
}

static void unknown_before_exec(void)
{
    check_refused_before_exec(ENOSYS);
}

static void killed_before_exec(void)
{
    for (int i = 0; i < 3; i++) {
        CHECK_EQUAL(write_in_filter(inherited_filter(SECCOMP_RET_KILL_PROCESS, true), lines_of(60, "allowed")), 0);
    }
    CHECK_EQUAL(strlen(history("app.log")), 180);
    CHECK_EQUAL(archives("app.log"), 2);
    CHECK_EQUAL(messages("mplogshim"), 0);
}

/* A filter that the library does not see come, and that knows no pwritev2, as older emulators and filters do. */
static int hide_pwritev2(void)
{
    static struct sock_filter filter[FILTER_SIZE];
    static struct sock_fprog program = {.filter = filter};
    unsigned short at = load_number(filter);
    at = add_rule(filter, at, SYS_pwritev2, SECCOMP_RET_ERRNO | ENOSYS);
    filter[at++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
    program.len = at;
    raw_syscall(SYS_prctl, PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
    return (int)raw_syscall(SYS_prctl, PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program);
}

static const void *const volatile nowhere = (const void *)16;

/* What goes to the kernel as it is: nothing at all, an address that is bad, and what a child of vfork writes. */
static void without_pwritev2(void)
{
    pid_t child = fork();
    if (child == 0) {
        int fd = open_log("app.log");
        CHECK_EQUAL(hide_pwritev2(), 0);
        CHECK_EQUAL(write(fd, "", 0), 0);
        CHECK_ERROR(write(fd, nowhere, 10), EFAULT);
        write_text(fd, "first\n");
        pid_t grandchild = vfork();
        if (grandchild == 0) {
            _exit(write(fd, "of a child\n", 11) == 11 ? 0 : 1);
        }
        CHECK_EQUAL(exit_status(grandchild), 0);
        exit(0);
    }
    CHECK_EQUAL(exit_status(child), 0);
    CHECK_TEXT(history("app.log"), "first\nof a child\n");
}

int main(int count, char **arguments)
{
    static const struct test tests[] = {
        {"a_filter_that_kills_installed_by_prctl_does_no_harm", BYTES, prctl_sandboxes, NULL, NULL},
        {"a_filter_that_kills_installed_by_the_number_of_prctl_does_no_harm", BYTES, number_of_prctl_sandboxes, NULL,
         NULL},
        {"a_filter_that_kills_installed_by_the_number_of_seccomp_does_no_harm", BYTES, number_of_seccomp_sandboxes,
         NULL, NULL},
        {"a_filter_with_a_listener_does_no_harm", BYTES, listener_sandboxes, NULL, NULL},
        {"a_filter_that_kills_installed_by_libseccomp_does_no_harm", BYTES, libseccomp_sandboxes, NULL, NULL},
        {"a_filter_for_all_threads_comes_between_their_writes", BYTES, threads_sandboxed_together, NULL, NULL},
        {"a_filter_of_one_thread_stops_no_other", BYTES, one_thread_sandboxed, NULL, NULL},
        {"a_filter_of_a_vfork_child_is_its_own", BYTES, vfork_child_sandboxed, NULL, NULL},
        {"a_vfork_child_is_asked_for_nothing_behind_its_filter", BYTES, vfork_child_of_few_calls, NULL, NULL},
        {"a_filter_from_before_exec_that_refuses_lets_writes_through", BYTES, refused_before_exec, NULL, NULL},
        {"a_filter_from_before_exec_that_knows_no_calls_lets_writes_through", BYTES, unknown_before_exec, NULL, NULL},
        {"a_filter_from_before_exec_that_kills_need_not_allow_much", BYTES, killed_before_exec, NULL, NULL},
        {"writes_go_on_where_pwritev2_is_not_known", BYTES, without_pwritev2, NULL, NULL},
    };
    return test_main(count, arguments, tests, TEST_COUNT(tests));
}
