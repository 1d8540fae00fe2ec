/* What goes wrong around a log never stops the program's writes, is said once, and heals. */
#include "test.h"

#include <linux/seccomp.h>
#include <sys/prctl.h>

#define BYTES "app.log,max_bytes=100"
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
    if (syscall(SYS_pipe2, ready, 0) != 0 || syscall(SYS_pipe2, go, 0) != 0) {
        abort();
    }
    holder.pid = fork();
    if (holder.pid == 0) {
        struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = 0, .l_len = 1};
        int fd = raw_open(lock_file, O_RDWR);
        raw_close(go[1]);
        if (fd < 0 || raw_fcntl(fd, F_SETLKW, (long)&lock) != 0) {
            syscall(SYS_exit_group, 1);
        }
        syscall(SYS_write, ready[1], "x", 1);
        syscall(SYS_read, go[0], &byte, 1);
        syscall(SYS_exit_group, 0);
    }
    raw_close(ready[1]);
    raw_close(go[0]);
    CHECK_EQUAL(syscall(SYS_read, ready[0], &byte, 1), 1);
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
    CHECK(waited < 3);
    CHECK_TEXT(content("app.log"), "before\nduring\n");
    CHECK_EQUAL(messages("lock_timeout log="), 1);
    CHECK_EQUAL(messages("mplogshim"), 1);
    /* Tried again once a second at most: a busy program is not slowed to a line each timeout. */
    double begun = raw_seconds();
    for (int i = 0; i < 20; i++) {
        write_text(log_fd, "x\n");
    }
    CHECK(raw_seconds() - begun < 2);
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
    pid_t releaser = fork();
    if (releaser == 0) {
        struct timespec wait = {0, 400000000};
        syscall(SYS_nanosleep, &wait, NULL);
        syscall(SYS_kill, holder.pid, SIGKILL);
        syscall(SYS_exit_group, 0);
    }
    double waited = timed_write(lines_of(100, "filler"));
    CHECK(waited > 0.1);
    CHECK(waited < 4);
    CHECK_EQUAL(archives("app.log"), 1);
    CHECK_EQUAL(messages("mplogshim"), 0);
    exit_status(releaser);
    exit_status(holder.pid);
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
    CHECK_EQUAL(strlen(history("app.log")), 7 + 20 * 100);
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
        execl("/bin/sh", "sh", "-c", "for i in 1 2 3 4 5 6 7 8 9; do echo \"a line of some length: $i\"; done >>app.log",
              NULL);
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

static bool live_after_a_write(void)
{
    write_text(log_fd, "waiting\n");
    return is_on(log_fd, "app.log");
}

static void log_deleted(void)
{
    log_fd = open_log("app.log");
    write_text(log_fd, "before\n");
    CHECK_EQUAL(unlink("app.log"), 0);
    double begun = raw_seconds();
    CHECK(wait_until(live_after_a_write));
    CHECK(raw_seconds() - begun < 2.5);
    write_text(log_fd, "after\n");
    CHECK(strstr(content("app.log"), "after\n") != NULL);
    write_text(log_fd, lines_of(100, "filler"));
    CHECK(archives("app.log") >= 1);
}

/* By logrotate without copytruncate, or an administrator: mv, and then nothing or a new file. */
static void log_moved(void)
{
    log_fd = open_log("app.log");
    write_text(log_fd, "before\n");
    CHECK_EQUAL(rename("app.log", "app.log.1"), 0);
    CHECK(wait_until(live_after_a_write));
    write_text(log_fd, "after\n");
    CHECK(strncmp(content("app.log.1"), "before\n", 7) == 0);
    CHECK(strstr(content("app.log"), "after\n") != NULL);
}

static void log_moved_and_made_anew(void)
{
    struct stat status;
    log_fd = open_log("app.log");
    write_text(log_fd, "before\n");
    CHECK_EQUAL(rename("app.log", "elsewhere"), 0);
    int fresh = raw_open("app.log", O_WRONLY | O_CREAT | O_EXCL);
    raw_close(fresh);
    CHECK(wait_until(live_after_a_write));
    write_text(log_fd, "after\n");
    CHECK(strstr(content("app.log"), "after\n") != NULL);
    CHECK(raw_stat("elsewhere", &status));
}

/* As logrotate's copytruncate does. */
static void log_truncated(void)
{
    log_fd = open_log("app.log");
    write_text(log_fd, lines_of(80, "before"));
    CHECK_EQUAL(truncate("app.log", 0), 0);
    write_text(log_fd, lines_of(80, "after"));
    CHECK_EQUAL(archives("app.log"), 0);
    CHECK_TEXT(content("app.log"), lines_of(80, "after"));
}

static void log_replaced_by_a_directory(void)
{
    log_fd = open_log("app.log");
    write_text(log_fd, "before\n");
    CHECK_EQUAL(rename("app.log", "elsewhere"), 0);
    CHECK_EQUAL(mkdir("app.log", 0755), 0);
    for (int i = 0; i < 20; i++) {
        write_text(log_fd, lines_of(100, "filler"));
    }
    CHECK_EQUAL(rmdir("app.log"), 0);
    CHECK(wait_until(live_after_a_write));
    CHECK(raw_size("elsewhere") >= 2000);
}

static void check_lock_file_heals(void (*harm)(void), bool in_order)
{
    char wanted[2048] = "";
    struct other_process other = other_process_starts("app.log", "other\n");
    log_fd = open_log("app.log");
    write_text(log_fd, "before\n");
    harm();
    for (int i = 0; i < 4; i++) {
        write_text(log_fd, lines_of(100, "filler"));
        other_process_writes("app.log", "other\n");
    }
    other_process_goes_on(other);
    CHECK(wait_until(live_after_a_write));
    write_text(log_fd, "after\n");
    char *all = history("app.log");
    char *waiting = strstr(all, "waiting\n");
    if (waiting != NULL) { /* of these there are as many as it took */
        memmove(waiting, strstr(all, "after\n"), strlen("after\n") + 1);
    }
    CHECK(archives("app.log") >= 4);
    /* Until the others' new lock file is found, for a second, lines may go into the file before; none is lost. */
    if (!in_order) {
        CHECK_EQUAL(strlen(all), 7 + 4 * (100 + 6) + 6 + 6);
        return;
    }
    snprintf(wanted, sizeof wanted, "before\n");
    for (int i = 0; i < 4; i++) {
        strcat(wanted, lines_of(100, "filler"));
        strcat(wanted, "other\n");
    }
    strcat(wanted, "other\nafter\n");
    CHECK_TEXT(all, wanted);
}

static void delete_lock_file(void)
{
    CHECK_EQUAL(unlink(".app.log.lock"), 0);
}

static void truncate_lock_file(void)
{
    CHECK_EQUAL(truncate(".app.log.lock", 0), 0);
}

static void fill_lock_file(void)
{
    int fd = raw_open(".app.log.lock", O_WRONLY);
    char noise[8192];
    for (size_t i = 0; i < sizeof noise; i++) {
        noise[i] = (char)(i * 7919 % 251);
    }
    CHECK_EQUAL(syscall(SYS_write, fd, noise, sizeof noise), sizeof noise);
    raw_close(fd);
}

static void enlarge_lock_file(void)
{
    CHECK_EQUAL(truncate(".app.log.lock", 1L << 40), 0);
}

static void lock_file_deleted(void)
{
    check_lock_file_heals(delete_lock_file, false);
    CHECK(exists(".app.log.lock"));
}

static void lock_file_truncated(void)
{
    check_lock_file_heals(truncate_lock_file, true);
}

static void lock_file_of_noise(void)
{
    check_lock_file_heals(fill_lock_file, true);
}

static void lock_file_enlarged(void)
{
    check_lock_file_heals(enlarge_lock_file, true);
}

/* The target of the link, somebody's file, is neither opened for writing nor made. */
static void lock_file_is_a_link(void)
{
    make_file("victim", "untouched\n");
    CHECK_EQUAL(symlink("victim", ".app.log.lock"), 0);
    log_fd = open_log("app.log");
    write_text(log_fd, "one\n");
    write_text(log_fd, lines_of(100, "filler"));
    CHECK_TEXT(content("victim"), "untouched\n");
    CHECK_EQUAL(strlen(history("app.log")), 104);
    CHECK(messages("mplogshim") >= 1);
}

static void lock_file_is_a_directory(void)
{
    CHECK_EQUAL(mkdir(".app.log.lock", 0755), 0);
    log_fd = open_log("app.log");
    write_text(log_fd, "one\n");
    write_text(log_fd, lines_of(100, "filler"));
    CHECK_EQUAL(strlen(history("app.log")), 104);
    CHECK(messages("mplogshim") >= 1);
}

static void lock_file_is_a_fifo(void)
{
    CHECK_EQUAL(mkfifo(".app.log.lock", 0666), 0);
    log_fd = open_log("app.log");
    write_text(log_fd, "one\n");
    CHECK_TEXT(content("app.log"), "one\n");
}

static void no_lock_dir(void)
{
    log_fd = open_log("app.log");
    write_text(log_fd, "one\n");
    write_text(log_fd, "two\n");
    CHECK_TEXT(content("app.log"), "one\ntwo\n");
    CHECK_EQUAL(messages("mplogshim"), 1);
}

/* In the way of an archive's name stands what cannot be moved. */
static void archive_name_taken_by_a_directory(void)
{
    CHECK_EQUAL(mkdir("app.log.1", 0755), 0);
    make_file("app.log.1/file", "x");
    log_fd = open_log("app.log");
    for (int i = 0; i < 4; i++) {
        write_text(log_fd, lines_of(100, "filler"));
    }
    CHECK(exists("app.log.1/file") || exists("app.log.2/file") || exists("app.log.3/file") ||
          exists("app.log.4/file"));
    CHECK(raw_size("app.log") == 100);
}

/* The shell has opened the log, somebody rotates, then the program starts. */
static void stale_when_started(void)
{
    int fd = raw_open("app.log", O_WRONLY | O_APPEND | O_CREAT);
    other_process_writes("app.log", lines_of(100, "first"));
    other_process_writes("app.log", lines_of(50, "second"));
    CHECK_EQUAL(archives("app.log"), 1);
    pid_t child = fork();
    if (child == 0) {
        syscall(SYS_dup3, fd, 1, 0);
        syscall(SYS_dup3, fd, 2, 0);
        execl("/bin/sh", "sh", "-c", "echo out; echo err >&2; /bin/echo out again", NULL);
        _exit(127);
    }
    CHECK_EQUAL(exit_status(child), 0);
    char wanted[256];
    snprintf(wanted, sizeof wanted, "%sout\nerr\nout again\n", lines_of(50, "second"));
    CHECK_TEXT(content("app.log"), wanted);
    CHECK_TEXT(content("app.log.1"), lines_of(100, "first"));
}

/* The same when the archive was removed meanwhile. */
static void stale_and_deleted_when_started(void)
{
    int fd = raw_open("app.log", O_WRONLY | O_APPEND | O_CREAT);
    for (int i = 0; i < 4; i++) {
        other_process_writes("app.log", lines_of(100, "filler"));
    }
    CHECK_EQUAL(archives("app.log"), 1);
    pid_t child = fork();
    if (child == 0) {
        syscall(SYS_dup3, fd, 1, 0);
        execl("/bin/sh", "sh", "-c", "echo out", NULL);
        _exit(127);
    }
    CHECK_EQUAL(exit_status(child), 0);
    CHECK_TEXT(content("app.log"), "out\n");
}

/* A descriptor opened by the program and rotated ten times before it is used. */
static void stale_by_many_rotations(void)
{
    log_fd = open_log("app.log");
    write_text(log_fd, "begin\n");
    for (int i = 0; i < 10; i++) {
        other_process_writes("app.log", lines_of(100, "filler"));
    }
    write_text(log_fd, "end\n");
    CHECK(is_on(log_fd, "app.log"));
    CHECK_TEXT(content("app.log"), "end\n");
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
        syscall(SYS_exit, result == 105 ? 0 : 1);
    }
    CHECK_EQUAL(exit_status(child), 0);
    CHECK_EQUAL(strncmp(content("app.log"), "before\nbegin end\nfiller", 23), 0);
    CHECK_EQUAL(strlen(content("app.log")), 117);
    write_text(open_log("app.log"), "after\n");
    CHECK_EQUAL(archives("app.log"), 1);
}

static void after_chroot(void)
{
    CHECK_EQUAL(mkdir("root", 0755), 0);
    pid_t child = fork();
    if (child == 0) {
        log_fd = open_log("app.log");
        write_text(log_fd, "before\n");
        if (chroot("root") != 0 || chdir("/") != 0) {
            _exit(2);
        }
        write_text(log_fd, lines_of(100, "filler"));
        write_text(log_fd, "after\n");
        _exit(0);
    }
    CHECK_EQUAL(exit_status(child), 0);
    CHECK_EQUAL(archives("app.log"), 2);
    CHECK_TEXT(content("app.log"), "after\n");
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
        {"rotation_is_tried_again_when_permission_comes_back", "sub/app.log,max_bytes=100", permission_comes_back,
         NULL, "root"},
        {"a_deleted_log_is_made_anew_within_a_second", BYTES, log_deleted, NULL, NULL},
        {"a_moved_log_is_made_anew_within_a_second", BYTES, log_moved, NULL, NULL},
        {"a_log_moved_and_made_anew_is_followed", BYTES, log_moved_and_made_anew, NULL, NULL},
        {"a_truncated_log_goes_on_at_its_beginning", BYTES, log_truncated, NULL, NULL},
        {"a_log_replaced_by_a_directory_is_followed_when_that_is_gone", BYTES, log_replaced_by_a_directory, NULL, NULL},
        {"a_deleted_lock_file_does_no_harm", BYTES, lock_file_deleted, NULL, NULL},
        {"a_truncated_lock_file_does_no_harm", BYTES, lock_file_truncated, NULL, NULL},
        {"a_lock_file_full_of_noise_does_no_harm", BYTES, lock_file_of_noise, NULL, NULL},
        {"a_lock_file_of_a_terabyte_does_no_harm", BYTES, lock_file_enlarged, NULL, NULL},
        {"a_lock_file_that_is_a_link_is_not_followed", BYTES, lock_file_is_a_link, NULL, NULL},
        {"a_lock_file_that_is_a_directory_does_no_harm", BYTES, lock_file_is_a_directory, NULL, NULL},
        {"a_lock_file_that_is_a_pipe_does_not_block", BYTES, lock_file_is_a_fifo, NULL, NULL},
        {"a_missing_lock_dir_is_said_once", "app.log,lock_dir=/nonexistent/locks", no_lock_dir, NULL, NULL},
        {"a_directory_with_an_archives_name_does_no_harm", BYTES, archive_name_taken_by_a_directory, NULL, NULL},
        {"a_log_rotated_before_the_program_started_is_followed", BYTES, stale_when_started, NULL, NULL},
        {"a_log_rotated_and_removed_before_the_program_started_is_followed", BYTES ",backups=1",
         stale_and_deleted_when_started, NULL, NULL},
        {"a_descriptor_rotated_ten_times_before_its_use_is_followed", BYTES, stale_by_many_rotations, NULL, NULL},
        {"a_program_under_strict_seccomp_goes_on_writing", BYTES, strict_seccomp, NULL, NULL},
        {"a_program_that_changes_its_root_goes_on_rotating", BYTES, after_chroot, NULL, "root"},
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
