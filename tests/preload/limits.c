/*
 * Limits that a program runs under (RLIMIT_FSIZE, RLIMIT_NOFILE, RLIMIT_AS, umask), from its start or lowered later:
 * the library's own work never costs the program a signal or a write, and goes on when it can.
 */
#include "test.h"

#include <sys/resource.h>
#include <sys/uio.h>

#define BYTES "app.log,max_bytes=100"

static void set_limit(int resource, rlim_t limit)
{
    struct rlimit now;
    getrlimit((__rlimit_resource_t)resource, &now);
    now.rlim_cur = limit;
    CHECK_EQUAL(setrlimit((__rlimit_resource_t)resource, &now), 0);
}

/*
 * A child that writes `count` lines of 20 bytes under a limit of the file size, with SIGXFSZ as it is by default; then
 * it writes until the limit ends it. It takes the limit before it opens the log, or after its first line.
 */
static int write_under_file_limit(rlim_t limit, bool before, int count)
{
    pid_t child = fork();
    if (child == 0) {
        if (before) {
            set_limit(RLIMIT_FSIZE, limit);
        }
        int fd = open_log("app.log");
        char *line = lines_of(20, "line");
        write_text(fd, line);
        if (!before) {
            set_limit(RLIMIT_FSIZE, limit);
        }
        for (int i = 1; i < count; i++) {
            write_text(fd, line);
        }
        raw_append("as-far-as-this", "x", 1);
        for (int i = 0; i < 1000 && write(fd, line, 20) > 0; i++) {
        }
        exit(0);
    }
    return exit_status(child);
}

/* The limit is less than a lock file: there is none, and writes go on without. */
static void no_room_for_a_lock_file(void)
{
    CHECK_EQUAL(WTERMSIG(write_under_file_limit(400, true, 20)), SIGXFSZ);
    CHECK(exists("as-far-as-this"));
    CHECK_EQUAL(raw_size("app.log"), 400);
    CHECK_EQUAL(messages("lock_timeout"), 1);
}

/* The limit is less than the lock file has to become for a rotation. */
static void no_room_for_a_rotation(void)
{
    CHECK_EQUAL(WTERMSIG(write_under_file_limit(400, false, 20)), SIGXFSZ);
    CHECK(exists("as-far-as-this"));
    CHECK_EQUAL(strlen(history("app.log")), 400);
    CHECK(messages("rotate_failed") >= 1);
    write_text(open_log("app.log"), "after\n");
    CHECK(archives("app.log") >= 1);
}

/* Enough room: the limit is never met, because the log is rotated before. */
static void room_for_rotations(void)
{
    CHECK_EQUAL(WEXITSTATUS(write_under_file_limit(8192, false, 100)), 0);
    CHECK(strlen(history("app.log")) == 1100 * 20);
    CHECK(archives("app.log") > 200);
    CHECK_EQUAL(messages("mplogshim"), 0);
}

/* The clock's boundaries are noted in the lock file, at places beyond such a limit. */
static volatile sig_atomic_t signals_seen;
static void count_signal(int signal)
{
    (void)signal;
    signals_seen = signals_seen + 1;
}

/* Its exit status says what it saw: a test's failures would not fit into their file. */
static int write_at_boundaries(void)
{
    signal(SIGXFSZ, count_signal);
    int fd = open_log("app.log");
    write_text(fd, "x\n");
    set_limit(RLIMIT_FSIZE, 10);
    raw_syscall(SYS_truncate, "app.log", 0); /* an empty file begins anew at a boundary */
    for (time_t begun = time(NULL); time(NULL) <= begun + 1; raw_pause()) {
    }
    if (write(fd, "x\n", 2) != 2) {
        return 1;
    }
    if (signals_seen != 0) {
        return 2;
    }
    while (write(fd, "too long\n", 9) > 0) {
    }
    return errno == EFBIG && signals_seen > 0 ? 0 : 3;
}

static void boundaries_under_a_tiny_limit(void)
{
    pid_t child = fork();
    if (child == 0) {
        _exit(write_at_boundaries());
    }
    CHECK_EQUAL(exit_status(child), 0);
}

/* Whatever is left for the library of so few descriptors, the program's writes go on. */
static void check_few_descriptors(rlim_t limit)
{
    pid_t child = fork();
    if (child == 0) {
        set_limit(RLIMIT_NOFILE, limit);
        int fd = open_log("app.log");
        CHECK_EQUAL(fd, 3);
        for (int i = 0; i < 20; i++) {
            write_text(fd, lines_of(40, "line"));
        }
        exit(test_failures);
    }
    CHECK_EQUAL(exit_status(child), 0);
}

static void few_descriptors(void)
{
    static const rlim_t limits[] = {4, 5, 6, 7, 8, 12, 64, 300};
    for (size_t i = 0; i < TEST_COUNT(limits); i++) {
        check_few_descriptors(limits[i]);
        CHECK_EQUAL(strlen(history("app.log")), (i + 1) * 800);
    }
    CHECK(archives("app.log") > 20);
}

static int log_fd;

/* The library's descriptors lie above the limit then: they still serve. */
static void lowered_later(void)
{
    log_fd = open_log("app.log");
    write_text(log_fd, lines_of(60, "first"));
    set_limit(RLIMIT_NOFILE, 10);
    for (int i = 0; i < 4; i++) {
        write_text(log_fd, lines_of(60, "own"));
        other_process_writes("app.log", lines_of(60, "other"));
    }
    int other = open_log("other.log");
    CHECK_EQUAL(other, 4);
    write_text(other, lines_of(60, "one"));
    write_text(other, lines_of(60, "two"));
    CHECK_EQUAL(strlen(history("app.log")), 9 * 60);
    CHECK_EQUAL(archives("app.log"), 8);
    CHECK_EQUAL(archives("other.log"), 1);
    CHECK_EQUAL(messages("mplogshim"), 0);
}

static bool is_rotated(void)
{
    write_text(log_fd, "waiting\n");
    return history_archives("app.log") > 0;
}

/* Nothing is lost and nothing made while there is no descriptor to be had; afterwards it goes on. */
static void used_up(void)
{
    struct rlimit before;
    getrlimit(RLIMIT_NOFILE, &before);
    set_limit(RLIMIT_NOFILE, 40);
    log_fd = open_log("app.log");
    write_text(log_fd, lines_of(60, "first"));
    while (open("/dev/null", O_RDONLY) >= 0) {
    }
    for (int i = 0; i < 10; i++) {
        write_text(log_fd, lines_of(60, "line"));
    }
    raw_close(5);
    CHECK_EQUAL(raw_size("app.log"), 11 * 60);
    CHECK_EQUAL(messages("rotate_failed"), 1);
    CHECK(wait_until(is_rotated));
    CHECK_EQUAL(messages("rotate_recovered"), 1);
    CHECK_EQUAL(setrlimit(RLIMIT_NOFILE, &before), 0);
    CHECK_EQUAL(strncmp(history("app.log"), lines_of(60, "first"), 60), 0);
}

/* As OpenSSH confines a process by limits alone. */
static void no_descriptor_at_all(void)
{
    pid_t child = fork();
    if (child == 0) {
        int fd = open_log("app.log");
        write_text(fd, lines_of(60, "first"));
        write_text(fd, "begin\nheld ");
        const struct rlimit none = {0, 0};
        CHECK_EQUAL(setrlimit(RLIMIT_NOFILE, &none) | setrlimit(RLIMIT_NPROC, &none), 0);
        for (int i = 0; i < 10; i++) {
            write_text(fd, lines_of(60, "line"));
        }
        exit(0);
    }
    CHECK_EQUAL(exit_status(child), 0);
    CHECK_EQUAL(strlen(history("app.log")), 11 * 60 + 11);
}

/* A log whose own number lies above the limit can be moved to no new file. */
static void number_above_the_limit(void)
{
    int fd = open_log("app.log");
    log_fd = fcntl(fd, F_DUPFD, 500);
    CHECK_EQUAL(close(fd), 0);
    write_text(log_fd, lines_of(60, "first"));
    struct rlimit before;
    getrlimit(RLIMIT_NOFILE, &before);
    set_limit(RLIMIT_NOFILE, 100);
    for (int i = 0; i < 50; i++) {
        write_text(log_fd, lines_of(60, "line"));
    }
    CHECK(messages("rotate_failed") >= 1);
    CHECK(archives("app.log") <= 1);
    CHECK_EQUAL(strlen(history("app.log")), 51 * 60);
    CHECK_EQUAL(setrlimit(RLIMIT_NOFILE, &before), 0);
    CHECK(wait_until(is_rotated));
}

/* Modes are those of the log, not what the program's umask leaves of them. */
static mode_t mode_of(const char *name)
{
    struct stat status;
    return raw_stat(name, &status) ? status.st_mode & 07777 : 0;
}

/* Of many pieces, behind what was held, which the library needs memory for: the first record of such a process. */
static void no_memory(void)
{
    enum { PIECES = 20 };
    struct iovec pieces[PIECES];
    for (int i = 0; i < PIECES; i++) {
        pieces[i] = (struct iovec){.iov_base = (void *)(i < PIECES - 1 ? "ab" : "c\n"), .iov_len = 2};
    }
    pid_t child = fork();
    if (child == 0) {
        int fd = open_log("app.log");
        write_text(fd, "first\nbeginning ");
        set_limit(RLIMIT_AS, 1);
        CHECK_EQUAL(writev(fd, pieces, PIECES), 2 * PIECES);
        CHECK_EQUAL(writev(fd, pieces, PIECES - 1), 2 * PIECES - 2);
        CHECK_EQUAL(write(fd, "\nlast\n", 6), 6);
        exit(0);
    }
    CHECK_EQUAL(exit_status(child), 0);
    CHECK_TEXT(content("app.log"), "first\nbeginning abababababababababababababababababababc\n"
                                   "ababababababababababababababababababab\nlast\n");
}

static void masks(void)
{
    static const mode_t modes[] = {0, 077, 0777};
    make_file("app.log", "");
    CHECK_EQUAL(chmod("app.log", 0664), 0);
    for (size_t i = 0; i < TEST_COUNT(modes); i++) {
        pid_t child = fork();
        if (child == 0) {
            umask(modes[i]);
            int fd = open_log("app.log");
            write_text(fd, lines_of(60, "one"));
            write_text(fd, lines_of(60, "two"));
            exit(test_failures);
        }
        CHECK_EQUAL(exit_status(child), 0);
        CHECK_EQUAL(mode_of("app.log"), 0664);
        CHECK_EQUAL(mode_of(".app.log.lock"), 0664);
        settle("app.log");
        CHECK_EQUAL(mode_of("app.log.1.gz"), 0664);
    }
    CHECK_EQUAL(messages("mplogshim"), 0);
}

int main(int count, char **arguments)
{
    static const struct test tests[] = {
        {"a_file_limit_below_the_lock_file_costs_no_signal", BYTES, no_room_for_a_lock_file, NULL, NULL},
        {"a_file_limit_below_the_next_rotation_costs_no_signal", BYTES, no_room_for_a_rotation, NULL, NULL},
        {"a_log_that_is_rotated_never_meets_the_file_limit", BYTES, room_for_rotations, NULL, NULL},
        {"a_file_limit_of_bytes_costs_no_signal_at_a_boundary", "app.log,when=S", boundaries_under_a_tiny_limit, NULL,
         NULL},
        {"few_descriptors_leave_the_log_working", BYTES, few_descriptors, NULL, NULL},
        {"a_limit_of_descriptors_that_is_lowered_later_changes_nothing", "*.log,max_bytes=100", lowered_later, NULL,
         NULL},
        {"a_log_rotates_when_descriptors_come_back", BYTES, used_up, NULL, NULL},
        {"a_program_that_may_open_nothing_any_more_goes_on_writing", BYTES, no_descriptor_at_all, NULL, NULL},
        {"a_log_whose_number_is_above_the_limit_loses_nothing", BYTES, number_above_the_limit, NULL, NULL},
        {"a_program_that_gets_no_memory_any_more_goes_on_writing", "app.log", no_memory, NULL, NULL},
        {"a_program_that_gets_no_memory_any_more_goes_on_writing_by_a_buffer", "app.log,async=1", no_memory, NULL,
         NULL},
        {"modes_are_the_logs_whatever_the_umask", BYTES ",compress=gzip", masks, NULL, NULL},
    };
    return test_main(count, arguments, tests, TEST_COUNT(tests));
}
