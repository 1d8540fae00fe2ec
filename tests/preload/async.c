/*
 * async=1: what waits in the buffer, when it must be in the file, and what becomes of it when its process ends.
 */
#include "crowd.h"

#include <dirent.h>
#include <grp.h>
#include <linux/capability.h>
#include <linux/close_range.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <pty.h>
#include <sched.h>
#include <stdatomic.h>
#include <sys/fsuid.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/sendfile.h>

extern int capset(cap_user_header_t header, cap_user_data_t data);

/* Nothing is written by time alone. */
#define WAITS "app.log,async=1,async_flush=1h"

static const char *wanted;

static bool is_written(void)
{
    return strcmp(content("app.log"), wanted) == 0;
}

/* How many files of the directory have this at their end. */
static int count_ending_in(const char *suffix)
{
    int found = 0;
    DIR *directory = opendir(test_directory);
    for (struct dirent *entry; directory != NULL && (entry = readdir(directory)) != NULL;) {
        size_t length = strlen(entry->d_name);
        found += length > strlen(suffix) && strcmp(entry->d_name + length - strlen(suffix), suffix) == 0;
    }
    closedir(directory);
    return found;
}

static bool any_ends_in(const char *suffix)
{
    return count_ending_in(suffix) > 0;
}

static bool no_ring_is_there(void)
{
    return !any_ends_in(".ring");
}

static int waiting(void)
{
    int fd = open("app.log", O_RDWR | O_CREAT | O_APPEND, 0644);
    write_text(fd, "one\n");
    write_text(fd, "two\n");
    CHECK_TEXT(content("app.log"), "");
    CHECK(any_ends_in(".ring"));
    return fd;
}

static void in_time(void)
{
    int fd = open_log("app.log");
    wanted = "one\n";
    write_text(fd, "one\n");
    CHECK(wait_until(is_written));
    wanted = "one\ntwo\n";
    write_text(fd, "two\n");
    CHECK(wait_until(is_written));
    for (double end = raw_seconds() + 1.2; raw_seconds() < end;) { /* until its thread is asleep */
        raw_pause();
    }
    wanted = "one\ntwo\nthree\n";
    write_text(fd, "three\n");
    CHECK(wait_until(is_written));
    CHECK_EQUAL(messages("mplogshim"), 0);
}

/* Each of these finds in the file what was written, or puts it there. */
static void by_fsync(int fd)
{
    CHECK_EQUAL(fsync(fd), 0);
}

static void by_fdatasync(int fd)
{
    CHECK_EQUAL(fdatasync(fd), 0);
}

static void by_close(int fd)
{
    CHECK_EQUAL(close(fd), 0);
}

static void by_dup2(int fd)
{
    int null = open("/dev/null", O_WRONLY);
    CHECK_EQUAL(dup2(null, fd), fd);
}

static void by_close_range(int fd)
{
    CHECK_EQUAL(close_range((unsigned)fd, (unsigned)fd, 0), 0);
}

static void by_fork(int fd)
{
    (void)fd;
    pid_t child = fork();
    if (child == 0) {
        _exit(is_written() ? 0 : 1);
    }
    CHECK_EQUAL(exit_status(child), 0);
}

static int cloned(void *unused)
{
    (void)unused;
    return is_written() ? 0 : 1;
}

static void by_clone(int fd)
{
    static char stack[64 * 1024] __attribute__((aligned(16)));
    (void)fd;
    CHECK_EQUAL(exit_status(clone(cloned, stack + sizeof stack, SIGCHLD, NULL)), 0);
}

static void by_system_call_clone(int fd)
{
    (void)fd;
    pid_t child = (pid_t)syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0);
    if (child == 0) {
        _exit(is_written() ? 0 : 1);
    }
    CHECK_EQUAL(exit_status(child), 0);
}

static void by_system(int fd)
{
    (void)fd;
    CHECK_EQUAL(system("grep -q two app.log"), 0);
}

static void by_fstat(int fd)
{
    struct stat status;
    CHECK_EQUAL(fstat(fd, &status), 0);
    CHECK_EQUAL(status.st_size, 8);
}

static void by_statx(int fd)
{
    struct statx status;
    CHECK_EQUAL(statx(fd, "", AT_EMPTY_PATH, STATX_SIZE, &status), 0);
    CHECK_EQUAL(status.stx_size, 8);
}

static void by_system_call_statx(int fd)
{
    struct statx status;
    CHECK_EQUAL(syscall(SYS_statx, fd, "", AT_EMPTY_PATH, STATX_SIZE, &status), 0);
    CHECK_EQUAL(status.stx_size, 8);
}

static void by_fstatat(int fd)
{
    struct stat status;
    CHECK_EQUAL(fstatat(fd, "", &status, AT_EMPTY_PATH), 0);
    CHECK_EQUAL(status.st_size, 8);
}

static void by_fstat_of_an_unknown_one(int fd)
{
    (void)fd;
    int inherited = raw_open("app.log", O_WRONLY | O_APPEND);
    by_fstat(inherited);
    close(inherited);
}

static void by_fsync_of_an_unknown_one(int fd)
{
    (void)fd;
    int inherited = raw_open("app.log", O_WRONLY | O_APPEND);
    CHECK_EQUAL(fsync(inherited), 0);
    wanted = "one\ntwo\n";
    CHECK(is_written());
    close(inherited);
}

static void by_lseek(int fd)
{
    CHECK_EQUAL(lseek(fd, 0, SEEK_CUR), 8);
}

static void by_read(int fd)
{
    char text[16] = "";
    CHECK_EQUAL(read(fd, text, 8), 0);
    CHECK_EQUAL(lseek(fd, 4, SEEK_SET), 4);
    write_text(fd, "three\n"); /* which moves the position to the end */
    CHECK_EQUAL(read(fd, text, 8), 0);
    CHECK_EQUAL(pread(fd, text, 15, 0), 14);
    CHECK_TEXT(text, "one\ntwo\nthree\n");
    wanted = "one\ntwo\nthree\n";
}

static void by_sendfile(int fd)
{
    off_t start = 0;
    int to = open("copy", O_WRONLY | O_CREAT, 0644);
    CHECK_EQUAL(sendfile(to, fd, &start, 100), 8);
    close(to);
}

static void by_copy_file_range(int fd)
{
    off_t start = 0;
    int to = open("copy", O_WRONLY | O_CREAT, 0644);
    CHECK_EQUAL(copy_file_range(fd, &start, to, NULL, 100, 0), 8);
    close(to);
}

static void by_splice(int fd)
{
    off_t start = 0;
    int ends[2];
    CHECK_EQUAL(pipe(ends), 0);
    CHECK_EQUAL(splice(fd, &start, ends[1], NULL, 100, 0), 8);
    close(ends[0]);
    close(ends[1]);
}

static void by_forkpty(int fd)
{
    int terminal;
    char text[8] = "";
    int kept = dup(1);
    CHECK_EQUAL(dup2(fd, 1), 1);
    pid_t child = forkpty(&terminal, NULL, NULL, NULL);
    if (child == 0) {
        _exit(write(1, "three", 5) != 5);
    }
    CHECK_EQUAL(read(terminal, text, 5), 5);
    CHECK_TEXT(text, "three");
    CHECK_EQUAL(exit_status(child), 0);
    CHECK_EQUAL(dup2(kept, 1), 1);
    close(kept);
    close(terminal);
}

static void by_ftruncate(int fd)
{
    CHECK_EQUAL(ftruncate(fd, 4), 0);
    wanted = "one\n";
}

/* What was written before is in the archive. */
static void by_opening_to_truncate(int fd)
{
    int truncating = open("app.log", O_WRONLY | O_TRUNC);
    write_text(fd, "three\n");
    CHECK_EQUAL(close(truncating), 0);
    CHECK_EQUAL(fsync(fd), 0);
    CHECK_TEXT(content("app.log"), "three\n");
    wanted = "three\n";
}

static void by_backtrace(int fd)
{
    void backtrace_symbols_fd(void *const *addresses, int count, int fd);
    backtrace_symbols_fd(NULL, 0, fd);
}

static void by_a_large_record(int fd)
{
    char *large = lines_of(400000, "large");
    write_text(fd, large);
    wanted = malloc(500000);
    sprintf((char *)(uintptr_t)wanted, "one\ntwo\n%s", large);
}

static void emptied(void)
{
    static void (*const ways[])(int fd) = {
        by_fsync,
        by_fdatasync,
        by_close,
        by_dup2,
        by_close_range,
        by_fork,
        by_clone,
        by_system_call_clone,
        by_system,
        by_fstat,
        by_statx,
        by_system_call_statx,
        by_fstatat,
        by_lseek,
        by_read,
        by_ftruncate,
        by_backtrace,
        by_a_large_record,
        by_fstat_of_an_unknown_one,
        by_fsync_of_an_unknown_one,
        by_opening_to_truncate,
        by_sendfile,
        by_copy_file_range,
        by_splice,
        by_forkpty,
    };
    for (size_t i = 0; i < TEST_COUNT(ways); i++) {
        int fd = waiting();
        wanted = "one\ntwo\n";
        ways[i](fd);
        if (!is_written()) {
            test_fail(__LINE__, "way %zu: \"%.100s\"", i, content("app.log"));
        }
        close(fd);
        CHECK_EQUAL(unlink("app.log"), 0);
    }
    CHECK_EQUAL(messages("mplogshim"), 0);
}

static pid_t made_by_fork(void)
{
    return fork();
}

static pid_t made_by_fork_without_handlers(void)
{
    pid_t _Fork(void);
    return _Fork();
}

static pid_t made_by_system_call(void)
{
    return (pid_t)syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0);
}

static pid_t made_unheard(void)
{
    return (pid_t)raw_syscall(SYS_clone, SIGCHLD);
}

/* The first that they do with the log is no write: they have no memory of its buffer. */
static void children_that_look(void)
{
    static pid_t (*const makes[])(void) = {made_by_fork, made_by_fork_without_handlers, made_by_system_call,
                                           made_unheard};
    static void (*const looks[])(int fd) = {by_fstat, by_lseek, by_fsync, by_fdatasync,
                                            by_close, by_dup2,  by_read,  by_ftruncate};
    for (size_t i = 0; i < TEST_COUNT(makes) * TEST_COUNT(looks); i++) {
        int fd = waiting();
        if (makes[i / TEST_COUNT(looks)] == made_unheard) {
            CHECK_EQUAL(fsync(fd), 0);
        }
        pid_t child = makes[i / TEST_COUNT(looks)]();
        if (child == 0) {
            looks[i % TEST_COUNT(looks)](fd);
            _exit(0);
        }
        CHECK_EQUAL(exit_status(child), 0);
        close(fd);
        CHECK_EQUAL(unlink("app.log"), 0);
    }
    CHECK_EQUAL(messages("mplogshim"), 0);
}

/* An explicit flush of a stream is not one of the buffer: programs flush after every line. */
static bool two_archives_are_named(void)
{
    return exists("app.log.1") && exists("app.log.2") && !any_ends_in(".pending");
}

/* Nobody writes any more. */
static void rotated_when_emptied(void)
{
    int fd = open_log("app.log");
    for (int i = 0; i < 3; i++) {
        write_text(fd, lines_of(100, "full"));
    }
    CHECK(!exists("app.log") || *content("app.log") == '\0');
    CHECK_EQUAL(fsync(fd), 0);
    CHECK(wait_until(two_archives_are_named));
}

/* Some logs that were closed stay open within the library, for programs that open theirs for each line. */
static void many_logs(void)
{
    enum { LOGS = 40, MOST = 16 };
    char name[32];
    for (int i = 0; i < LOGS; i++) {
        snprintf(name, sizeof name, "%d.log", i);
        int fd = open_log(name);
        write_text(fd, "one\n");
        CHECK_EQUAL(close(fd), 0);
        CHECK_TEXT(content(name), "one\n");
    }
    CHECK(count_ending_in(".ring") <= MOST);
    CHECK_EQUAL(messages("mplogshim"), 0);
}

static void a_flushed_stream(void)
{
    FILE *stream = fopen("app.log", "a");
    fputs("one\n", stream);
    CHECK_EQUAL(fflush(stream), 0);
    CHECK_TEXT(content("app.log"), "");
    CHECK_EQUAL(ftell(stream), 4);
    CHECK_TEXT(content("app.log"), "one\n");
    fputs("two\nhalf", stream);
    CHECK_EQUAL(fclose(stream), 0);
    CHECK_TEXT(content("app.log"), "one\ntwo\nhalf");
}

static void end_by_exit(void)
{
    exit(0);
}

static void end_by_under_exit(void)
{
    _exit(0);
}

static void end_by_quick_exit(void)
{
    quick_exit(0);
}

static void end_by_exec(void)
{
    execl("/bin/true", "true", NULL);
}

static void end_by_main_thread(void)
{
    pthread_exit(NULL);
}

static void *end_process(void *unused)
{
    (void)unused;
    exit(0);
}

static void end_by_thread(void)
{
    pthread_t thread;
    pthread_create(&thread, NULL, end_process, NULL);
    pthread_join(thread, NULL);
}

static void end_by_call(void)
{
    syscall(SYS_exit_group, 0);
}

static void end_thread_by_call(void)
{
    syscall(SYS_exit, 0);
}

static void end_by_daemon(void)
{
    if (daemon(1, 1) == 0) {
        raw_syscall(SYS_exit_group, 0);
    }
}

static void ended(void)
{
    static void (*const ways[])(void) = {end_by_exit,        end_by_under_exit,  end_by_quick_exit,
                                         end_by_main_thread, end_by_thread,      end_by_exec,
                                         end_by_call,        end_thread_by_call, end_by_daemon};
    for (size_t i = 0; i < TEST_COUNT(ways); i++) {
        wanted = "one\ntwo\n";
        pid_t child = fork();
        if (child == 0) {
            waiting();
            ways[i]();
        }
        CHECK_EQUAL(exit_status(child), 0);
        if (!is_written() || !no_ring_is_there()) {
            test_fail(__LINE__, "way %zu: \"%.100s\", %d", i, content("app.log"), no_ring_is_there());
        }
        CHECK_EQUAL(unlink("app.log"), 0);
    }
    CHECK_EQUAL(messages("mplogshim"), 0);
}

static int write_and_return(void *unused)
{
    (void)unused;
    waiting();
    return 0;
}

static void returned_from_clone(void)
{
    static char stack[64 * 1024] __attribute__((aligned(16)));
    wanted = "one\ntwo\n";
    CHECK_EQUAL(exit_status(clone(write_and_return, stack + sizeof stack, SIGCHLD, NULL)), 0);
    CHECK(is_written());
    CHECK(no_ring_is_there());
    CHECK_EQUAL(messages("mplogshim"), 0);
}

/* Not by libc: nobody hears of it. */
static void end_unheard(void)
{
    raw_syscall(SYS_exit, 3);
}

static void *end_thread_unheard(void *leader)
{
    pthread_join(*(pthread_t *)leader, NULL);
    raw_syscall(SYS_exit, 4);
    return NULL;
}

static void end_unheard_behind_the_first(void)
{
    static pthread_t self;
    pthread_t thread;
    self = pthread_self();
    pthread_create(&thread, NULL, end_thread_unheard, &self);
    pthread_exit(NULL);
}

/* With what the first thread ended with. Each has its own log: they end at the same time. */
static void ended_unheard(void)
{
    static void (*const ways[])(void) = {end_unheard, end_unheard_behind_the_first};
    static const char *const logs[] = {"app.log", "other.log"};
    pid_t children[TEST_COUNT(ways)];
    for (size_t i = 0; i < TEST_COUNT(ways); i++) {
        children[i] = fork();
        if (children[i] == 0) {
            int fd = open(logs[i], O_RDWR | O_CREAT | O_APPEND, 0644);
            write_text(fd, "one\n");
            write_text(fd, "two\nthr");
            ways[i]();
        }
    }
    for (size_t i = 0; i < TEST_COUNT(ways); i++) {
        CHECK_EQUAL(exit_status(children[i]), i == 0 ? 3 << 8 : 0);
        CHECK_TEXT(content(logs[i]), "one\ntwo\nthr");
    }
    CHECK(no_ring_is_there());
    CHECK_EQUAL(messages("mplogshim"), 0);
}

static atomic_bool writers_stop;

static void *write_until_stopped(void *writer)
{
    int fd = open("app.log", O_WRONLY | O_APPEND);
    while (!writers_stop) {
        write_text(fd, "of a thread\n");
    }
    close(fd);
    return writer;
}

static void exec_among_threads(void)
{
    enum { TIMES = 8, THREADS = 3 };
    pthread_t thread;
    for (int i = 0; i < TIMES; i++) {
        pid_t child = fork();
        if (child == 0) {
            waiting();
            for (int j = 0; j < THREADS; j++) {
                pthread_create(&thread, NULL, write_until_stopped, NULL);
            }
            for (double end = raw_seconds() + 0.01; raw_seconds() < end;) {
                raw_pause();
            }
            end_by_exec();
        }
        CHECK_EQUAL(exit_status(child), 0);
        CHECK(no_ring_is_there());
        CHECK_EQUAL(unlink("app.log"), 0);
    }
}

static void an_exec_that_fails(void)
{
    int fd = waiting();
    CHECK_ERROR(execl("/nonexistent", "nonexistent", NULL), ENOENT);
    CHECK_TEXT(content("app.log"), "one\ntwo\n");
    CHECK(no_ring_is_there());
    write_text(fd, "three\n");
    CHECK_TEXT(content("app.log"), "one\ntwo\n");
    CHECK_EQUAL(fsync(fd), 0);
    CHECK_TEXT(content("app.log"), "one\ntwo\nthree\n");
}

/* A process that writes two lines and is killed then. */
static void killed_writer(void)
{
    pid_t child = fork();
    if (child == 0) {
        waiting();
        raw_syscall(SYS_kill, raw_syscall(SYS_getpid), SIGKILL);
    }
    exit_status(child);
    CHECK_TEXT(content("app.log"), "");
    CHECK(any_ends_in(".ring"));
}

static void taken_over_by_the_next(void)
{
    killed_writer();
    close(open_log("app.log"));
    CHECK_TEXT(content("app.log"), "one\ntwo\n");
    CHECK(no_ring_is_there());
    CHECK_EQUAL(messages("mplogshim"), 0);
}

/* The lock file, which says that there is a buffer, is gone with it; and the next one has no async=1. */
static void lock_file_removed(void)
{
    killed_writer();
    CHECK_EQUAL(unlink(".app.log.lock"), 0);
    pid_t child = fork();
    if (child == 0) {
        setenv("MPLOGSHIM_LOGS", in_directory("app.log"), 1);
        execl("/bin/sh", "sh", "-c", "echo three >>app.log", NULL);
    }
    CHECK_EQUAL(exit_status(child), 0);
    CHECK_TEXT(content("app.log"), "one\ntwo\nthree\n");
    CHECK(no_ring_is_there());
}

static void taken_over_by_another(void)
{
    int fd = open_log("app.log");
    write_text(fd, "mine\n");
    CHECK_EQUAL(fsync(fd), 0);
    pid_t child = fork();
    if (child == 0) {
        int own = open_log("app.log");
        write_text(own, "one\n");
        raw_syscall(SYS_kill, raw_syscall(SYS_getpid), SIGKILL);
    }
    exit_status(child);
    wanted = "mine\none\n";
    double begun = raw_seconds();
    CHECK(wait_until(is_written));
    CHECK(raw_seconds() - begun < STALLED);
}

static int without_buffer;

static bool is_taken_over_by_writing(void)
{
    write_text(without_buffer, "mine\n");
    return no_ring_is_there();
}

static void taken_over_without_a_buffer(void)
{
    struct rlimit limit = {.rlim_cur = 1 << 19 /* for notes, not for a buffer */, .rlim_max = RLIM_INFINITY};
    CHECK_EQUAL(setrlimit(RLIMIT_FSIZE, &limit), 0);
    without_buffer = open_log("app.log");
    write_text(without_buffer, "mine\n");
    CHECK_TEXT(content("app.log"), "mine\n");
    pid_t child = fork();
    if (child == 0) {
        limit.rlim_cur = RLIM_INFINITY;
        setrlimit(RLIMIT_FSIZE, &limit);
        write_text(without_buffer, "one\n");
        raw_syscall(SYS_kill, raw_syscall(SYS_getpid), SIGKILL);
    }
    exit_status(child);
    CHECK_TEXT(content("app.log"), "mine\n");
    CHECK(any_ends_in(".ring"));
    CHECK(wait_until(is_taken_over_by_writing));
    CHECK(strstr(content("app.log"), "\none\n") != NULL);
}

/* What the lock file says when somebody has just looked for buffers of the dead. */
static void look_as_another(void)
{
    struct timespec now;
    char field[64];
    clock_gettime(CLOCK_MONOTONIC, &now);
    long long look = (now.tv_sec * 1000LL + now.tv_nsec / 1000000) << 20 | (geteuid() & 0xfffff);
    int length = snprintf(field, sizeof field, "rings=%+025lld\n", look);
    int fd = raw_open(in_directory(".app.log.lock"), O_WRONLY);
    raw_syscall(SYS_pwrite64, fd, field, length, 224);
    raw_syscall(SYS_close, fd);
}

static void left_to_another(void)
{
    int fd = open_log("app.log");
    write_text(fd, "mine\n");
    CHECK_EQUAL(fsync(fd), 0);
    double looked = raw_seconds();
    pid_t child = fork();
    if (child == 0) {
        write_text(fd, "one\n");
        look_as_another();
        raw_syscall(SYS_kill, raw_syscall(SYS_getpid), SIGKILL);
    }
    exit_status(child);
    double begun = raw_seconds();
    double longest = 0; /* that this one itself was kept from looking, by a busy machine */
    for (; raw_seconds() < begun + 1.5; raw_pause()) {
        look_as_another();
        longest = raw_seconds() - looked > longest ? raw_seconds() - looked : longest;
        looked = raw_seconds();
    }
    CHECK(longest > 0.5 || strcmp(content("app.log"), "mine\n") == 0);
    wanted = "mine\none\n";
    CHECK(wait_until(is_written)); /* once nobody looks any more */
}

static void taken_over_by_settle(void)
{
    killed_writer();
    settle("app.log");
    CHECK_TEXT(content("app.log"), "one\ntwo\n");
    CHECK(no_ring_is_there());
}

/* What nobody but others could have made is left alone. */
static void strange_rings(void)
{
    char noise[5000];
    memset(noise, 'x', sizeof noise);
    raw_append(in_directory(".app.log.00000000000000aa.ring"), noise, sizeof noise);
    raw_append(in_directory(".app.log.00000000000000bb.ring"), "", 0);
    CHECK_EQUAL(symlink("elsewhere", ".app.log.00000000000000cc.ring"), 0);
    CHECK_EQUAL(mkfifo(".app.log.00000000000000dd.ring", 0600), 0);
    int fd = open_log("app.log");
    write_text(fd, "one\n");
    CHECK_EQUAL(fsync(fd), 0);
    CHECK_TEXT(content("app.log"), "one\n");
    CHECK(exists(".app.log.00000000000000aa.ring"));
    CHECK(!exists(".app.log.00000000000000bb.ring")); /* killed while it was made */
    CHECK(!exists("elsewhere"));
    CHECK_EQUAL(messages("cannot be read"), 1);
}

/* A large file of noise is not read, by whoever looks for what the dead have left: only its beginning. */
static void large_noise(void)
{
    struct rusage before;
    struct rusage after;
    static const char name[] = ".app.log.00000000000000aa.ring";
    raw_append(in_directory(name), "mplogshim ring\n", 15);
    CHECK_EQUAL(truncate(name, 1 << 29), 0);
    getrusage(RUSAGE_SELF, &before);
    int fd = open_log("app.log");
    write_text(fd, "one\n");
    CHECK_EQUAL(fsync(fd), 0);
    getrusage(RUSAGE_SELF, &after);
    CHECK(after.ru_maxrss - before.ru_maxrss < 16384); /* KiB */
    CHECK_TEXT(content("app.log"), "one\n");
    CHECK(exists(name));
    CHECK_EQUAL(messages("a buffer of async=1 cannot be read: 170"), 1);
    CHECK_EQUAL(messages("mplogshim"), 1);
}

static void synchronous_descriptors(void)
{
    static const int flags[] = {O_SYNC, O_DSYNC};
    int other = open_log("app.log");
    write_text(other, "one\n");
    for (size_t i = 0; i < TEST_COUNT(flags); i++) {
        int fd = open("app.log", O_WRONLY | O_APPEND | flags[i]);
        write_text(fd, "two\n"); /* not before what the process wrote earlier */
        CHECK_TEXT(content("app.log"), i == 0 ? "one\ntwo\n" : "one\ntwo\ntwo\n");
        close(fd);
    }
}

static void duplicates_of_synchronous_descriptors(void)
{
    int fd = open("app.log", O_WRONLY | O_CREAT | O_APPEND | O_DSYNC, 0644);
    write_text(dup(fd), "one\n");
    CHECK_TEXT(content("app.log"), "one\n");
    write_text(fcntl(fd, F_DUPFD, 50), "two\n");
    CHECK_TEXT(content("app.log"), "one\ntwo\n");
}

/* The position is where the program's own writes have moved it to. */
static void written_aside(void)
{
    int fd = open("app.log", O_RDWR | O_CREAT | O_APPEND, 0644);
    CHECK_EQUAL(pwrite(fd, "one\n", 4, 0), 4);
    CHECK_TEXT(content("app.log"), "");
    CHECK_EQUAL(lseek(fd, 0, SEEK_CUR), 0);
    write_text(fd, "two\n");
    CHECK_EQUAL(pwrite(fd, "three\n", 6, 0), 6);
    CHECK_EQUAL(lseek(fd, 0, SEEK_CUR), 8);
    CHECK_TEXT(content("app.log"), "one\ntwo\nthree\n");
}

/* Not root.s: the limit is not one for root. */
static void without_a_thread(void)
{
    enum { NOBODY = 65534 };
    const struct rlimit none = {.rlim_cur = 0, .rlim_max = 0};
    CHECK_EQUAL(chmod(test_directory, 0777), 0);
    CHECK_EQUAL(setuid(NOBODY), 0);
    CHECK_EQUAL(setrlimit(RLIMIT_NPROC, &none), 0);
    int fd = open_log("app.log");
    write_text(fd, "one\n");
    write_text(fd, "two\n");
    CHECK_TEXT(content("app.log"), "one\ntwo\n");
    CHECK(no_ring_is_there());
    CHECK_EQUAL(messages("is written synchronously, in spite of async=1: no thread: EAGAIN"), 1);
    CHECK_EQUAL(messages("mplogshim"), 1);
}

static void without_room(void)
{
    struct rlimit limit = {.rlim_cur = 65536, .rlim_max = RLIM_INFINITY};
    CHECK_EQUAL(setrlimit(RLIMIT_FSIZE, &limit), 0);
    int fd = open_log("app.log");
    write_text(fd, "one\n");
    write_text(fd, "two\n");
    CHECK_TEXT(content("app.log"), "one\ntwo\n");
    CHECK(no_ring_is_there());
    CHECK_EQUAL(messages("is written synchronously, in spite of async=1: no buffer: EFBIG"), 1);
    CHECK_EQUAL(messages("mplogshim"), 1);
}

/* As by a full disk; and the last that is left of a descriptor is the buffer. */
static void cut_off_when_closed(void)
{
    struct rlimit limit = {.rlim_cur = 6, .rlim_max = RLIM_INFINITY};
    pid_t child = fork();
    if (child == 0) {
        int fd = waiting();
        signal(SIGXFSZ, SIG_IGN);
        setrlimit(RLIMIT_FSIZE, &limit);
        CHECK_ERROR(close(fd), EFBIG);
        exit(0);
    }
    CHECK_EQUAL(exit_status(child), 0);
    CHECK_TEXT(content("app.log"), "one\n");
    settle("app.log");
    CHECK_TEXT(content("app.log"), "one\ntwo\n");
    CHECK(no_ring_is_there());
}

/* The shim's thread: its status, or NULL. Another thread of the program's would be one more. */
static char *thread_status(void)
{
    char path[PATH_MAX];
    char *status = NULL;
    DIR *tasks = opendir("/proc/self/task");
    for (struct dirent *entry; tasks != NULL && (entry = readdir(tasks)) != NULL;) {
        if (entry->d_name[0] != '.' && atoi(entry->d_name) != getpid()) {
            snprintf(path, sizeof path, "/proc/self/task/%s/status", entry->d_name);
            status = raw_read(path, NULL);
        }
    }
    closedir(tasks);
    return status;
}

static bool thread_has_its_name(void)
{
    const char *status = thread_status();
    return status != NULL && strstr(status, "Name:\tmplogshim\n") != NULL;
}

static void the_thread(void)
{
    CHECK(thread_status() == NULL);
    int fd = waiting();
    CHECK(wait_until(thread_has_its_name));
    char *status = thread_status();
    CHECK(status != NULL && strstr(status, "SigBlk:\tfffffffffffbfeff\n") != NULL); /* but KILL and STOP */
    pid_t child = fork();
    if (child == 0) {
        bool none = thread_status() == NULL;
        write_text(fd, "three\n");
        _exit(none && thread_status() != NULL ? 0 : 1);
    }
    CHECK_EQUAL(exit_status(child), 0);
    CHECK_TEXT(content("app.log"), "one\ntwo\nthree\n");
}

/* No thread keeps the rights that the process gave up. */
static void another_user(void)
{
    enum { NOBODY = 65534 };
    CHECK_EQUAL(chmod(test_directory, 0777), 0);
    int fd = waiting();
    CHECK_EQUAL(setuid(NOBODY), 0);
    CHECK(thread_status() == NULL);
    CHECK_TEXT(content("app.log"), "one\ntwo\n");
    write_text(fd, "three\n");
    char *status = thread_status();
    CHECK(status != NULL && strstr(status, "Uid:\t65534\t65534\t65534\t65534\n") != NULL);
    CHECK_EQUAL(fsync(fd), 0);
    CHECK_TEXT(content("app.log"), "one\ntwo\nthree\n");
}

static int threads_of_root(void)
{
    char path[PATH_MAX];
    int count = 0;
    DIR *tasks = opendir("/proc/self/task");
    for (struct dirent *entry; tasks != NULL && (entry = readdir(tasks)) != NULL;) {
        snprintf(path, sizeof path, "/proc/self/task/%s/status", entry->d_name);
        const char *status = entry->d_name[0] == '.' ? NULL : raw_read(path, NULL);
        count += status != NULL && strstr(status, "Uid:\t0\t") != NULL;
    }
    closedir(tasks);
    return count;
}

static bool a_ring_is_there(void)
{
    return !no_ring_is_there();
}

static void another_user_of_many_threads(void)
{
    enum { THREADS = 3, NOBODY = 65534 };
    pthread_t threads[THREADS];
    CHECK_EQUAL(chmod(test_directory, 0777), 0);
    int fd = open("app.log", O_WRONLY | O_CREAT | O_APPEND, 0644);
    CHECK_EQUAL(fchmod(fd, 0666), 0);
    for (int i = 0; i < THREADS; i++) {
        pthread_create(&threads[i], NULL, write_until_stopped, NULL);
    }
    CHECK(wait_until(a_ring_is_there));
    CHECK_EQUAL(setuid(NOBODY), 0);
    CHECK_EQUAL(threads_of_root(), 0);
    writers_stop = true;
    for (int i = 0; i < THREADS; i++) {
        pthread_join(threads[i], NULL);
    }
}

static int give_up_capabilities(void)
{
    struct __user_cap_header_struct header = {_LINUX_CAPABILITY_VERSION_3, 0};
    struct __user_cap_data_struct none[2] = {{0, 0, 0}, {0, 0, 0}};
    return capset(&header, none);
}

static int bound_capabilities(void)
{
    return prctl(PR_CAPBSET_DROP, CAP_SYS_ADMIN, 0, 0, 0);
}

static int give_up_set_user_ids(void)
{
    return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
}

static int enter_user_namespace(void)
{
    return unshare(CLONE_NEWUSER);
}

/* Not where the threads are two, which share a working directory. */
static int enter_own_namespace(void)
{
    int fd = open("/proc/self/ns/mnt", O_RDONLY);
    int result = setns(fd, CLONE_NEWNS);
    close(fd);
    return result;
}

static int fd_of_pipe;

static int keep_descriptors_apart(void)
{
    return close_range((unsigned)fd_of_pipe, (unsigned)fd_of_pipe, CLOSE_RANGE_UNSHARE);
}

/* Before each of the calls the thread is there, and behind it not. */
static void end_the_thread(int (*const calls[])(void), size_t count)
{
    int ends[2];
    for (size_t i = 0; i < count; i++) {
        CHECK_EQUAL(pipe(ends), 0);
        fd_of_pipe = ends[1];
        pid_t child = fork();
        if (child == 0) {
            waiting();
            CHECK(thread_status() != NULL);
            CHECK_EQUAL(calls[i](), 0);
            CHECK(thread_status() == NULL);
            _exit(0);
        }
        CHECK_EQUAL(exit_status(child), 0);
        CHECK_EQUAL(unlink("app.log"), 0);
        close(ends[0]);
        close(ends[1]);
    }
}

/* What is one thread's alone, or for processes of one thread. */
static void what_is_of_one_thread(void)
{
    static int (*const calls[])(void) = {give_up_set_user_ids, keep_descriptors_apart, enter_own_namespace,
                                         bound_capabilities,   enter_user_namespace,   give_up_capabilities};
    end_the_thread(calls, sizeof calls / sizeof *calls);
}

enum { NOGROUP = 65534 };

static int give_up_group(void)
{
    return setgid(NOGROUP);
}

static int give_up_effective_group(void)
{
    return setegid(NOGROUP);
}

static int give_up_both_groups(void)
{
    return setregid(NOGROUP, NOGROUP);
}

static int give_up_three_groups(void)
{
    return setresgid(NOGROUP, NOGROUP, NOGROUP);
}

static int give_up_group_for_files(void)
{
    return setfsgid(NOGROUP);
}

static int give_up_other_groups(void)
{
    return setgroups(0, NULL);
}

static int take_groups_of_user(void)
{
    return initgroups("nobody", NOGROUP);
}

static int give_up_group_by_number(void)
{
    return (int)syscall(SYS_setgid, NOGROUP);
}

static void other_groups(void)
{
    static int (*const calls[])(void) = {give_up_group,        give_up_effective_group, give_up_both_groups,
                                         give_up_three_groups, give_up_group_for_files, give_up_other_groups,
                                         take_groups_of_user,  give_up_group_by_number};
    end_the_thread(calls, sizeof calls / sizeof *calls);
}

static void a_filter(void)
{
    struct sock_filter all[] = {BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW)};
    struct sock_fprog program = {.len = 1, .filter = all};
    int fd = waiting();
    CHECK_EQUAL(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), 0);
    CHECK_EQUAL(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program, 0, 0), 0);
    CHECK_TEXT(content("app.log"), "one\ntwo\n");
    CHECK(thread_status() == NULL);
    CHECK(no_ring_is_there());
    write_text(fd, "three\n");
    CHECK_TEXT(content("app.log"), "one\ntwo\nthree\n");
}

static void *write_in_thread(void *writer)
{
    int fd = open_log("app.log");
    write_lines(fd, (int)(intptr_t)writer, 3000);
    close(fd);
    return NULL;
}

static void many_threads(void)
{
    enum { THREADS = 8 };
    pthread_t threads[THREADS];
    share_counters();
    for (intptr_t i = 0; i < THREADS; i++) {
        pthread_create(&threads[i], NULL, write_in_thread, (void *)i);
    }
    for (int i = 0; i < THREADS; i++) {
        pthread_join(threads[i], NULL);
    }
    check_account(THREADS, 0);
}

/* Children made while threads write have their own buffers, and end in every way. */
static void many_forks(void)
{
    enum { THREADS = 3, FORKS = 24 };
    pthread_t threads[THREADS];
    share_counters();
    for (intptr_t i = 0; i < THREADS; i++) {
        pthread_create(&threads[i], NULL, write_in_thread, (void *)i);
    }
    for (int i = 0; i < FORKS; i++) {
        pid_t child = fork();
        if (child == 0) {
            write_lines(open_log("app.log"), THREADS + i, 50);
            if (i % 4 == 3) {
                raw_syscall(SYS_kill, raw_syscall(SYS_getpid), SIGKILL);
            }
            i % 4 == 0 ? _exit(0) : i % 4 == 1 ? exit(0) : (void)execl("/bin/true", "true", NULL);
        }
        exit_status(child);
    }
    for (int i = 0; i < THREADS; i++) {
        pthread_join(threads[i], NULL);
    }
    check_account(THREADS + FORKS, 0);
}

int main(int count, char **arguments)
{
    static const struct test tests[] = {
        {"lines_come_to_the_log_within_the_time_to_flush", "app.log,async=1", in_time, NULL, NULL},
        {"all_that_looks_at_the_log_or_shares_it_finds_it_complete", WAITS, emptied, NULL, NULL},
        {"children_made_in_any_way_may_look_at_the_log_first", WAITS, children_that_look, NULL, NULL},
        {"what_is_rotated_by_emptying_the_buffer_gets_its_names", WAITS ",max_bytes=100", rotated_when_emptied, NULL,
         NULL},
        {"logs_that_were_closed_keep_few_buffers", "*.log,async=1,async_flush=1h,async_buffer=32K", many_logs, NULL,
         NULL},
        {"a_flushed_stream_leaves_its_lines_in_the_buffer", WAITS, a_flushed_stream, NULL, NULL},
        {"every_end_of_the_process_empties_and_removes_the_buffer", WAITS, ended, NULL, NULL},
        {"a_child_of_clone_ends_when_its_function_returns", WAITS, returned_from_clone, NULL, NULL},
        {"so_do_ends_that_no_library_hears_of_with_their_status", "*.log,async=1,async_flush=1h", ended_unheard, NULL,
         NULL},
        {"no_thread_makes_a_buffer_while_another_executes_a_program", "app.log,async=1", exec_among_threads, NULL,
         NULL},
        {"after_an_exec_that_fails_there_is_a_new_buffer", WAITS, an_exec_that_fails, NULL, NULL},
        {"the_next_process_takes_over_what_a_killed_one_left", WAITS, taken_over_by_the_next, NULL, NULL},
        {"so_does_one_that_has_no_buffer_and_a_new_lock_file", WAITS, lock_file_removed, NULL, NULL},
        {"another_process_takes_it_over_within_a_second", WAITS, taken_over_by_another, NULL, NULL},
        {"so_does_one_that_gets_no_buffer_of_its_own", WAITS, taken_over_without_a_buffer, NULL, NULL},
        {"of_many_processes_one_looks_for_all", WAITS, left_to_another, NULL, NULL},
        {"settle_takes_it_over", WAITS, taken_over_by_settle, NULL, NULL},
        {"what_strangers_name_like_a_buffer_is_left_alone", WAITS, strange_rings, NULL, NULL},
        {"large_files_of_noise_are_not_read", WAITS, large_noise, NULL, NULL},
        {"descriptors_that_synchronise_are_synchronous", WAITS, synchronous_descriptors, NULL, NULL},
        {"so_are_their_duplicates", WAITS, duplicates_of_synchronous_descriptors, NULL, NULL},
        {"writes_at_an_offset_do_not_move_the_position", WAITS, written_aside, NULL, NULL},
        {"without_a_thread_writing_is_synchronous_and_there_is_no_buffer", WAITS, without_a_thread, NULL, NULL},
        {"without_room_for_the_buffer_writing_is_synchronous", WAITS, without_room, NULL, NULL},
        {"what_could_not_be_written_before_the_end_is_whole_afterwards", WAITS, cut_off_when_closed, NULL, NULL},
        {"the_thread_has_a_name_and_no_signals_and_is_not_inherited", WAITS, the_thread, NULL, NULL},
        {"no_thread_keeps_the_user_that_the_process_gave_up", WAITS, another_user, NULL, NULL},
        {"no_thread_keeps_the_user_while_others_write", "app.log,async=1,async_flush=1ms", another_user_of_many_threads,
         NULL, NULL},
        {"no_thread_keeps_what_is_given_up_or_is_in_the_way_of_namespaces", WAITS, what_is_of_one_thread, NULL, NULL},
        {"no_thread_keeps_groups_that_the_process_gave_up", WAITS, other_groups, NULL, NULL},
        {"from_a_seccomp_filter_on_writing_is_synchronous", WAITS, a_filter, NULL, NULL},
        {"threads_lose_nothing_and_keep_their_order", "app.log,async=1,async_buffer=32K,max_bytes=40000", many_threads,
         NULL, NULL},
        {"children_of_a_process_that_writes_lose_nothing", "app.log,async=1,max_bytes=40000", many_forks, NULL, NULL},
    };
    return test_main(count, arguments, tests, TEST_COUNT(tests));
}
