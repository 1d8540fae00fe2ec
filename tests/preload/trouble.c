/* What goes wrong around a log never stops the program's writes, is said once, and heals. */
#include "test.h"

#include <linux/seccomp.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/prctl.h>

#define BYTES   "app.log,max_bytes=100"
#define TIMEOUT "app.log,max_bytes=100,lock_timeout=300ms"

/* A process past the library that holds the lock until told otherwise. */
struct holder {
    pid_t pid;
    int go;
};

static struct holder hold_lock(const char *lock_file)
{
    int ready[2];
    int go[2];
    char byte;
    struct holder holder;
    if (raw_syscall(SYS_pipe2, ready, 0) != 0 || raw_syscall(SYS_pipe2, go, 0) != 0) {
        abort();
    }
    holder.pid = fork();
    if (holder.pid == 0) {
        struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = 0, .l_len = 1};
        int fd = raw_open(lock_file, O_RDWR);
        raw_close(go[1]);
        if (fd < 0 || raw_fcntl(fd, F_SETLKW, (long)&lock) != 0) {
            raw_syscall(SYS_exit_group, 1);
        }
        raw_syscall(SYS_write, ready[1], "x", 1);
        raw_syscall(SYS_read, go[0], &byte, 1);
        raw_syscall(SYS_exit_group, 0);
    }
    raw_close(ready[1]);
    raw_close(go[0]);
    CHECK_EQUAL(raw_syscall(SYS_read, ready[0], &byte, 1), 1);
    raw_close(ready[0]);
    holder.go = go[1];
    return holder;
}

static void release_lock(struct holder holder)
{
    raw_close(holder.go);
    CHECK_EQUAL(exit_status(holder.pid), 0);
}

static int log_fd;

/* Writes until the library has said `word`. */
static const char *awaited;
static bool said_after_a_write(void)
{
    write_text(log_fd, "waiting\n");
    return messages(awaited) > 0;
}

static double timed_write(const char *text)
{
    double begun = raw_seconds();
    write_text(log_fd, text);
    return raw_seconds() - begun;
}

static void check_timeout_and_recovery(bool stopped)
{
    log_fd = open_log("app.log");
    write_text(log_fd, "before\n");
    struct holder holder = hold_lock(".app.log.lock");
    if (stopped) {
        int status;
        kill(holder.pid, SIGSTOP);
        waitpid(holder.pid, &status, WUNTRACED);
    }
    double waited = timed_write("during\n");
    CHECK(waited >= 0.25);
    CHECK(waited < STALLED);
    CHECK_TEXT(content("app.log"), "before\nduring\n");
    CHECK_EQUAL(messages("lock_timeout log="), 1);
    CHECK_EQUAL(messages("mplogshim"), 1);
    /* Tried again once a second at most: a busy program is not slowed to a line each timeout. */
    double begun = raw_seconds();
    for (int i = 0; i < 100; i++) { /* half a minute, if each waited */
        write_text(log_fd, "x\n");
    }
    CHECK(raw_seconds() - begun < STALLED);
    kill(holder.pid, SIGCONT);
    release_lock(holder);
    awaited = "lock_recovered log=";
    CHECK(wait_until(said_after_a_write));
    CHECK_EQUAL(messages("lock_recovered"), 1);
    size_t before = archives("app.log");
    write_text(log_fd, lines_of(100, "filler"));
    CHECK_EQUAL(archives("app.log"), before + 1);
}

static void held_by_a_living_process(void)
{
    check_timeout_and_recovery(false);
}

static void held_by_a_stopped_process(void)
{
    check_timeout_and_recovery(true);
}

static void short_holds_are_waited_for(void)
{
    log_fd = open_log("app.log");
    write_text(log_fd, "before\n");
    struct holder holder = hold_lock(".app.log.lock");
    double begun = raw_seconds(); /* this process may have no processor before it writes */
    pid_t releaser = fork();
    if (releaser == 0) {
        struct timespec wait = {0, 400000000};
        raw_syscall(SYS_nanosleep, &wait, NULL);
        raw_syscall(SYS_kill, holder.pid, SIGKILL);
        raw_syscall(SYS_exit_group, 0);
    }
    double waited = timed_write(lines_of(100, "filler"));
    CHECK(raw_seconds() - begun >= 0.4);
    CHECK(waited < STALLED);
    CHECK_EQUAL(archives("app.log"), 1);
    CHECK_EQUAL(messages("mplogshim"), 0);
    exit_status(releaser);
    exit_status(holder.pid);
}

static bool is_rotated(void)
{
    return history_archives("app.log") > 0;
}

/* Started as root, and then an ordinary user as most servers do it, in a directory of root's. */
static void privileges_dropped(void)
{
    log_fd = open_log("app.log");
    write_text(log_fd, "before\n");
    CHECK_EQUAL(setgid(65534), 0);
    CHECK_EQUAL(setuid(65534), 0);
    for (int i = 0; i < 20; i++) {
        write_text(log_fd, lines_of(100, "filler"));
    }
    CHECK(wait_until(is_rotated)); /* by its keeper */
    CHECK_EQUAL(strlen(history("app.log")), 7 + 20 * 100);
    CHECK_EQUAL(messages("mplogshim"), 0);
}

/* Nobody could do it for it: the log's directory is read-only for this process from the start. */
static void no_permission_to_rotate(void)
{
    make_file("app.log", "before\n");
    CHECK_EQUAL(chmod("app.log", 0666), 0);
    CHECK_EQUAL(chmod(".", 0755), 0);
    pid_t child = fork();
    if (child == 0) {
        if (setgid(65534) != 0 || setuid(65534) != 0) {
            _exit(2);
        }
        execl("/bin/sh", "sh", "-c",
              "for i in 1 2 3 4 5 6 7 8 9; do echo \"a line of some length: $i\"; done >>app.log", NULL);
        _exit(127);
    }
    CHECK_EQUAL(exit_status(child), 0);
    CHECK_TEXT(strstr(content("app.log"), "9\n"), "9\n");
    CHECK_EQUAL(strlen(content("app.log")), 7 + 9 * strlen("a line of some length: 1\n"));
    CHECK_EQUAL(archives("app.log"), 0);
    CHECK_EQUAL(messages("mplogshim"), 1);
    CHECK_EQUAL(messages("EACCES") + messages("EPERM"), 1);
}

static void permission_comes_back(void)
{
    CHECK_EQUAL(chmod(".", 0777), 0);
    CHECK_EQUAL(setgid(65534) | setuid(65534), 0);
    CHECK_EQUAL(mkdir("sub", 0755), 0);
    log_fd = open("sub/app.log", O_WRONLY | O_CREAT | O_APPEND, 0644);
    write_text(log_fd, "before\n");
    CHECK_EQUAL(chmod("sub", 0555), 0);
    write_text(log_fd, lines_of(100, "filler"));
    write_text(log_fd, lines_of(100, "filler"));
    CHECK_EQUAL(archives("sub/app.log"), 0);
    CHECK_EQUAL(messages("rotate_failed log="), 1);
    CHECK_EQUAL(messages("mplogshim"), 1);
    CHECK_EQUAL(chmod("sub", 0755), 0);
    awaited = "rotate_recovered log=";
    CHECK(wait_until(said_after_a_write));
    CHECK(archives("sub/app.log") >= 1);
    CHECK_EQUAL(messages("rotate_recovered"), 1);
}

static void no_lock_dir(void)
{
    log_fd = open_log("app.log");
    write_text(log_fd, "one\n");
    write_text(log_fd, "two\n");
    CHECK_TEXT(content("app.log"), "one\ntwo\n");
    CHECK_EQUAL(messages("mplogshim"), 1);
}

static void no_standard_error(void)
{
    int log = open_log("app.log");
    close(2);
    int data = open("data", O_WRONLY | O_CREAT, 0644);
    CHECK_EQUAL(data, 2);
    CHECK_EQUAL(mkdir(".app.log.lock.d", 0755), 0);
    write_text(log, "before\n");
    CHECK_EQUAL(rename("app.log", "elsewhere"), 0);
    CHECK_EQUAL(mkdir("app.log", 0755), 0);
    for (int i = 0; i < 20; i++) {
        write_text(log, lines_of(100, "filler"));
    }
    CHECK_TEXT(content("data"), "");
}

/* Only read, write and exit are allowed from then on; anything else is death. */
static void strict_seccomp(void)
{
    pid_t child = fork();
    if (child == 0) {
        log_fd = open_log("app.log");
        write_text(log_fd, "before\nbegin");
        char *filler = lines_of(100, "filler");
        prctl(PR_SET_SECCOMP, SECCOMP_MODE_STRICT);
        ssize_t result = write(log_fd, " end\n", 5);
        result += write(log_fd, filler, 100);
        raw_syscall(SYS_exit, result == 105 ? 0 : 1);
    }
    CHECK_EQUAL(exit_status(child), 0);
    CHECK_EQUAL(strncmp(content("app.log"), "before\nbegin end\nfiller", 23), 0);
    CHECK_EQUAL(strlen(content("app.log")), 117);
    write_text(open_log("app.log"), "after\n");
    CHECK_EQUAL(archives("app.log"), 1);
}

/* The library was loaded where /proc is hidden: nothing can be told, and that is told once. */
static void no_proc(void)
{
    pid_t child = fork();
    if (child == 0) {
        if (unshare(CLONE_NEWNS) != 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) != 0 ||
            mount("none", "/proc", "tmpfs", 0, NULL) != 0) {
            _exit(2);
        }
        execl("/bin/sh", "sh", "-c",
              "echo plain >plain; echo one line >>app.log; echo another line >>app.log; exec >>app.log; echo third",
              NULL);
        _exit(127);
    }
    CHECK_EQUAL(exit_status(child), 0);
    CHECK_TEXT(content("app.log"), "one line\nanother line\nthird\n");
    CHECK_EQUAL(messages("app.log is not managed, nor is any other log: there is no /proc"), 1);
    CHECK_EQUAL(messages("mplogshim"), 1);
}

/* Nobody reads what the library says: neither a signal nor a wait comes of that. */
static void standard_error_is_a_broken_pipe(void)
{
    int ends[2];
    CHECK_EQUAL(pipe(ends), 0);
    close(ends[0]);
    dup2(ends[1], 2);
    CHECK_EQUAL(mkdir(".app.log.lock", 0755), 0);
    log_fd = open_log("app.log");
    write_text(log_fd, "one\n");
    write_text(log_fd, lines_of(100, "filler"));
    CHECK_EQUAL(strlen(history("app.log")), 104);
}

static void standard_error_is_a_full_pipe(void)
{
    int ends[2];
    char block[4096] = "";
    CHECK_EQUAL(pipe2(ends, O_NONBLOCK), 0);
    while (write(ends[1], block, sizeof block) > 0) {
    }
    CHECK_EQUAL(fcntl(ends[1], F_SETFL, 0), 0);
    dup2(ends[1], 2);
    CHECK_EQUAL(mkdir(".app.log.lock", 0755), 0);
    log_fd = open_log("app.log");
    CHECK(timed_write("one\n") < 5);
    CHECK_EQUAL(strlen(history("app.log")), 4);
}

/* 2>&1 onto the log, as usual: the message is a line of the log like others. */
static void standard_error_is_the_log(void)
{
    log_fd = open_log("app.log");
    write_text(log_fd, "before\n");
    dup2(log_fd, 2);
    struct holder holder = hold_lock(".app.log.lock");
    write_text(log_fd, "during\n");
    release_lock(holder);
    char *text = history("app.log");
    CHECK(strstr(text, "during\n") != NULL);
    CHECK(strstr(text, "\nmplogshim: lock_timeout ") != NULL);
    CHECK(strchr(strstr(text, "mplogshim: "), '\n') != NULL);
}

int main(int count, char **arguments)
{
    static struct test tests[] = {
        {"a_lock_held_by_a_living_process_is_waited_for_until_lock_timeout", TIMEOUT, held_by_a_living_process, NULL,
         NULL},
        {"a_lock_held_by_a_stopped_process_is_waited_for_until_lock_timeout", TIMEOUT, held_by_a_stopped_process, NULL,
         NULL},
        {"a_lock_that_is_given_back_is_waited_for", BYTES, short_holds_are_waited_for, NULL, NULL},
        {"a_program_that_drops_privileges_goes_on_writing", BYTES, privileges_dropped, NULL, "root"},
        {"without_permission_to_rotate_writes_go_on_and_one_line_says_so", BYTES, no_permission_to_rotate, NULL,
         "root"},
        {"rotation_is_tried_again_when_permission_comes_back", "sub/app.log,max_bytes=100", permission_comes_back, NULL,
         "root"},
        {"a_missing_lock_dir_is_said_once", "app.log,lock_dir=/nonexistent/locks", no_lock_dir, NULL, NULL},
        {"a_program_under_strict_seccomp_goes_on_writing", BYTES, strict_seccomp, NULL, NULL},
        {"without_proc_one_line_says_that_nothing_is_managed", BYTES, no_proc, NULL, "root"},
        {"a_broken_pipe_as_stderr_does_no_harm", BYTES, standard_error_is_a_broken_pipe, NULL, NULL},
        {"a_full_pipe_as_stderr_does_not_block", BYTES, standard_error_is_a_full_pipe, NULL, NULL},
        {"messages_may_go_to_the_log_itself", TIMEOUT, standard_error_is_the_log, NULL, NULL},
        {"messages_never_go_to_a_file_that_took_the_place_of_stderr", BYTES, no_standard_error, NULL, NULL},
    };
    for (size_t i = 0; i < TEST_COUNT(tests); i++) {
        if (tests[i].skip != NULL) {
            tests[i].skip = geteuid() == 0 ? NULL : "needs root";
        }
    }
    return test_main(count, arguments, tests, TEST_COUNT(tests));
}
