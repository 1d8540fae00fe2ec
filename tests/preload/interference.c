/*
 * Others meddle with the log, its archives or its lock file, or rotate it before the program looks: within a second
 * everybody is on the live path again, and nothing is lost.
 */
#include "test.h"

#define BYTES "app.log,max_bytes=100"

static int log_fd;

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
    CHECK(raw_seconds() - begun < STALLED);
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

/* Opens, writes, closes. */
static void log_once(const char *name, const char *text)
{
    int fd = open_log(name);
    write_text(fd, text);
    CHECK_EQUAL(close(fd), 0);
}

/* A program that opens its log for each line finds, at the same path and in the same second, another directory. */
static void directory_moved_and_made_anew(void)
{
    CHECK_EQUAL(mkdir("logs", 0755), 0);
    log_once("logs/app.log", "before\n");
    CHECK_EQUAL(rename("logs", "elsewhere"), 0);
    CHECK_EQUAL(mkdir("logs", 0755), 0);
    log_once("logs/app.log", "after\n");
    CHECK_TEXT(content("elsewhere/app.log"), "before\n");
    CHECK_TEXT(content("logs/app.log"), "after\n");
    CHECK(exists("logs/.app.log.lock"));
}

static void directory_removed_and_made_anew(void)
{
    for (int i = 0; i < 3; i++) {
        CHECK_EQUAL(mkdir("logs", 0755), 0);
        log_once("logs/app.log", "written\n");
        CHECK_TEXT(content("logs/app.log"), "written\n");
        CHECK(exists("logs/.app.log.lock"));
        CHECK_EQUAL(unlink("logs/app.log"), 0);
        CHECK_EQUAL(unlink("logs/.app.log.lock"), 0);
        CHECK_EQUAL(rmdir("logs"), 0);
    }
    CHECK_EQUAL(messages("mplogshim:"), 0);
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
    CHECK_EQUAL(raw_syscall(SYS_write, fd, noise, sizeof noise), sizeof noise);
    raw_close(fd);
}

static void enlarge_lock_file(void)
{
    CHECK_EQUAL(truncate(".app.log.lock", 1L << 40), 0);
}

static bool has_the_new_lock_file(void)
{
    write_text(log_fd, "x\n");
    for (int fd = 3; fd < 65536; fd++) {
        if (is_on(fd, ".app.log.lock")) {
            return true;
        }
    }
    return false;
}

static void lock_file_deleted(void)
{
    check_lock_file_heals(delete_lock_file, false);
    CHECK(wait_until(has_the_new_lock_file));
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

/* In the way of an archive's name stands what cannot be moved. */
static void archive_name_taken_by_a_directory(void)
{
    CHECK_EQUAL(mkdir("app.log.1", 0755), 0);
    make_file("app.log.1/file", "x");
    log_fd = open_log("app.log");
    for (int i = 0; i < 4; i++) {
        write_text(log_fd, lines_of(100, "filler"));
    }
    CHECK(exists("app.log.1/file") || exists("app.log.2/file") || exists("app.log.3/file") || exists("app.log.4/file"));
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
        raw_syscall(SYS_dup3, fd, 1, 0);
        raw_syscall(SYS_dup3, fd, 2, 0);
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
    settle("app.log");
    CHECK(is_on(fd, "app.log.3"));
    CHECK_EQUAL(unlink("app.log.3"), 0);
    pid_t child = fork();
    if (child == 0) {
        raw_syscall(SYS_dup3, fd, 1, 0);
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

int main(int count, char **arguments)
{
    static const struct test tests[] = {
        {"a_deleted_log_is_made_anew_within_a_second", BYTES, log_deleted, NULL, NULL},
        {"a_moved_log_is_made_anew_within_a_second", BYTES, log_moved, NULL, NULL},
        {"a_log_moved_and_made_anew_is_followed", BYTES, log_moved_and_made_anew, NULL, NULL},
        {"a_log_in_a_directory_moved_and_made_anew_is_the_new_one", "logs/*.log,max_bytes=100",
         directory_moved_and_made_anew, NULL, NULL},
        {"a_log_in_a_directory_removed_and_made_anew_is_the_new_one", "logs/*.log,max_bytes=100",
         directory_removed_and_made_anew, NULL, NULL},
        {"a_truncated_log_goes_on_at_its_beginning", BYTES, log_truncated, NULL, NULL},
        {"a_log_replaced_by_a_directory_is_followed_when_that_is_gone", BYTES, log_replaced_by_a_directory, NULL, NULL},
        {"a_deleted_lock_file_does_no_harm", BYTES, lock_file_deleted, NULL, NULL},
        {"a_truncated_lock_file_does_no_harm", BYTES, lock_file_truncated, NULL, NULL},
        {"a_lock_file_full_of_noise_does_no_harm", BYTES, lock_file_of_noise, NULL, NULL},
        {"a_lock_file_of_a_terabyte_does_no_harm", BYTES, lock_file_enlarged, NULL, NULL},
        {"a_lock_file_that_is_a_link_is_not_followed", BYTES, lock_file_is_a_link, NULL, NULL},
        {"a_lock_file_that_is_a_directory_does_no_harm", BYTES, lock_file_is_a_directory, NULL, NULL},
        {"a_lock_file_that_is_a_pipe_does_not_block", BYTES, lock_file_is_a_fifo, NULL, NULL},
        {"a_directory_with_an_archives_name_does_no_harm", BYTES, archive_name_taken_by_a_directory, NULL, NULL},
        {"a_log_rotated_before_the_program_started_is_followed", BYTES, stale_when_started, NULL, NULL},
        {"a_log_rotated_and_removed_before_the_program_started_is_followed", BYTES, stale_and_deleted_when_started,
         NULL, NULL},
        {"a_descriptor_rotated_ten_times_before_its_use_is_followed", BYTES, stale_by_many_rotations, NULL, NULL},
    };
    return test_main(count, arguments, tests, TEST_COUNT(tests));
}
