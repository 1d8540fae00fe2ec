/* What becomes of unfinished lines: lines=whole, strict and off, as the contract has it. */
#include "test.h"

#include <sys/uio.h>

#define WHOLE  "app.log,max_bytes=10K"
#define STRICT "app.log,max_bytes=10K,lines=strict"
#define OFF    "app.log,max_bytes=10K,lines=off"

/* A log with "complete\n" in it and "begin" held. */
static int held(void)
{
    int fd = open_log("app.log");
    write_text(fd, "complete\nbegin");
    CHECK_TEXT(content("app.log"), "complete\n");
    return fd;
}

static void ends_with_the_next_write(void)
{
    int fd = held();
    write_text(fd, " end\nnext\n");
    CHECK_TEXT(content("app.log"), "complete\nbegin end\nnext\n");
    write_text(fd, "a\nb");
    write_text(fd, "c");
    CHECK_TEXT(content("app.log"), "complete\nbegin end\nnext\na\nbc");
    write_text(fd, "d\n");
    CHECK_TEXT(content("app.log"), "complete\nbegin end\nnext\na\nbcd\n");
}

static void without_newline_goes_through(void)
{
    int fd = open_log("app.log");
    write_text(fd, "no newline");
    CHECK_TEXT(content("app.log"), "no newline");
    write_text(fd, ", still none");
    CHECK_TEXT(content("app.log"), "no newline, still none");
    write_text(fd, ", at last\nbegin");
    CHECK_TEXT(content("app.log"), "no newline, still none, at last\n");
    CHECK_EQUAL(fsync(fd), 0);
    CHECK_TEXT(content("app.log"), "no newline, still none, at last\nbegin");
}

static void by_fsync(void)
{
    CHECK_EQUAL(fsync(held()), 0);
    CHECK_TEXT(content("app.log"), "complete\nbegin");
}

static void by_fdatasync(void)
{
    CHECK_EQUAL(fdatasync(held()), 0);
    CHECK_TEXT(content("app.log"), "complete\nbegin");
}

/* Whoever asks where the end is, or goes somewhere, counts what is held, which stays. */
static void by_lseek(void)
{
    int fd = held();
    CHECK_EQUAL(lseek(fd, 0, SEEK_CUR), 14);
    CHECK_EQUAL(lseek(fd, 0, SEEK_END), 14);
    CHECK_EQUAL(lseek(fd, 0, SEEK_CUR), 14);
    CHECK_EQUAL(lseek(fd, -4, SEEK_END), 10);
    CHECK_EQUAL(lseek(fd, 1, SEEK_CUR), 11);
    CHECK_ERROR(lseek(fd, -12, SEEK_CUR), EINVAL);
    CHECK_ERROR(lseek(fd, LONG_MAX, SEEK_CUR), EINVAL);
    CHECK_EQUAL(lseek(fd, 9, SEEK_SET), 9);
    CHECK_EQUAL(lseek(fd, 0, SEEK_CUR), 9);
    CHECK_TEXT(content("app.log"), "complete\n");
    CHECK_EQUAL(fsync(fd), 0);
    CHECK_EQUAL(lseek(fd, 0, SEEK_CUR), 9);
    write_text(fd, " end\nbegin");
    CHECK_TEXT(content("app.log"), "complete\nbegin end\n");
    CHECK_EQUAL(lseek(fd, 0, SEEK_HOLE), 24);
    CHECK_TEXT(content("app.log"), "complete\nbegin end\nbegin");
}

/* Mono's FileStream goes to where it believes the end to be before it writes its next block. */
static void seeks_before_each_write(void)
{
    int fd = held();
    int other = open_log("app.log");
    CHECK_EQUAL(lseek(fd, 14, SEEK_SET), 14);
    write_text(other, "other\n");
    write_text(fd, " end\nnext");
    CHECK_EQUAL(lseek(fd, 23, SEEK_SET), 23);
    write_text(other, "other\n");
    write_text(fd, " end\n");
    CHECK_TEXT(content("app.log"), "complete\nother\nbegin end\nother\nnext end\n");
}

/* A program that reads what it wrote. */
static void by_reading(void)
{
    char text[32];
    struct iovec piece = {text, sizeof text};
    int fd = open("app.log", O_RDWR | O_CREAT, 0644);
    for (int way = 0; way < 5; way++) {
        CHECK_EQUAL(ftruncate(fd, 0), 0);
        write_text(fd, "complete\nbegin");
        CHECK_TEXT(content("app.log"), "complete\n");
        ssize_t got = way == 0   ? pread(fd, text, sizeof text, 0)
                      : way == 1 ? preadv(fd, &piece, 1, 0)
                      : way == 2 ? preadv2(fd, &piece, 1, 0, 0)
                      : way == 3 ? read(fd, text, sizeof text)
                                 : readv(fd, &piece, 1);
        CHECK_EQUAL(got, way < 3 ? 14 : 0);
        CHECK_TEXT(content("app.log"), "complete\nbegin");
    }
}

static void by_close(void)
{
    CHECK_EQUAL(close(held()), 0);
    CHECK_TEXT(content("app.log"), "complete\nbegin");
}

static void by_dup2_over_it(void)
{
    int fd = held();
    int null = open("/dev/null", O_WRONLY);
    CHECK_EQUAL(dup2(null, fd), fd);
    CHECK_TEXT(content("app.log"), "complete\nbegin");
    write_text(fd, "nowhere\n");
    CHECK_TEXT(content("app.log"), "complete\nbegin");
}

static void by_dup2_of_another_log_over_it(void)
{
    int fd = held();
    int other = open_log("other.log");
    write_text(other, "other\nits begin");
    CHECK_EQUAL(dup2(other, fd), fd);
    CHECK_TEXT(content("app.log"), "complete\nbegin");
    write_text(fd, "to the other\n");
    CHECK_EQUAL(close(other), 0);
    CHECK_EQUAL(close(fd), 0);
    CHECK_TEXT(content("app.log"), "complete\nbegin");
    CHECK(strstr(content("other.log"), "to the other\n") != NULL);
    CHECK_EQUAL(strlen(content("other.log")), strlen("other\nits beginto the other\n"));
}

static void by_closefrom(void)
{
    int fd = held();
    closefrom(fd);
    CHECK_TEXT(content("app.log"), "complete\nbegin");
}

static void by_close_range(void)
{
    int fd = held();
    CHECK_EQUAL(close_range((unsigned)fd, ~0U, 0), 0);
    CHECK_TEXT(content("app.log"), "complete\nbegin");
}

static void by_fork(void)
{
    int fd = held();
    pid_t child = fork();
    if (child == 0) {
        CHECK_TEXT(content("app.log"), "complete\nbegin");
        write_text(fd, " by child\n");
        exit(test_failures);
    }
    CHECK_EQUAL(exit_status(child), 0);
    write_text(fd, "by parent\n");
    CHECK_TEXT(content("app.log"), "complete\nbegin by child\nby parent\n");
}

static void in_child(void (*end)(int fd))
{
    pid_t child = fork();
    if (child == 0) {
        end(held());
        _exit(99);
    }
    int status = exit_status(child);
    CHECK(WIFEXITED(status) ? WEXITSTATUS(status) == 0 : WTERMSIG(status) != SIGSEGV);
}

static void do_exec(int fd)
{
    (void)fd;
    execl("/bin/true", "true", NULL);
}

static void do_exec_cloexec(int fd)
{
    fcntl(fd, F_SETFD, FD_CLOEXEC);
    do_exec(fd);
}

static void do_exit(int fd)
{
    (void)fd;
    exit(0);
}

static void do_quick_exit(int fd)
{
    (void)fd;
    quick_exit(0);
}

static void do_immediate_exit(int fd)
{
    (void)fd;
    _exit(0);
}

static void do_abort(int fd)
{
    (void)fd;
    abort();
}

static void do_main_thread_exit(int fd)
{
    (void)fd;
    pthread_exit(NULL);
}

static void do_kill(int fd)
{
    (void)fd;
    raise(SIGKILL);
}

static void by_exec(void)
{
    in_child(do_exec);
    CHECK_TEXT(content("app.log"), "complete\nbegin");
}

static void by_exec_cloexec(void)
{
    in_child(do_exec_cloexec);
    CHECK_TEXT(content("app.log"), "complete\nbegin");
}

static void by_exit(void)
{
    in_child(do_exit);
    CHECK_TEXT(content("app.log"), "complete\nbegin");
}

static void by_quick_exit(void)
{
    in_child(do_quick_exit);
    CHECK_TEXT(content("app.log"), "complete\nbegin");
}

static void by_immediate_exit(void)
{
    in_child(do_immediate_exit);
    CHECK_TEXT(content("app.log"), "complete\nbegin");
}

static void by_abort(void)
{
    in_child(do_abort);
    CHECK_TEXT(content("app.log"), "complete\nbegin");
}

static void by_end_of_the_last_thread(void)
{
    in_child(do_main_thread_exit);
    CHECK_TEXT(content("app.log"), "complete\nbegin");
}

/* All that a killed program loses is the beginning of the line that it had not finished. */
static void killed(void)
{
    in_child(do_kill);
    CHECK_TEXT(content("app.log"), "complete\n");
}

static void *writes_begin(void *fd)
{
    write_text(*(int *)fd, "complete\nbegin");
    return NULL;
}

/* What is held is the descriptor's, not the thread's. */
static void thread_ends(void)
{
    pthread_t thread;
    int fd = open_log("app.log");
    pthread_create(&thread, NULL, writes_begin, &fd);
    pthread_join(thread, NULL);
    write_text(fd, " end\n");
    CHECK_TEXT(content("app.log"), "complete\nbegin end\n");
}

/* Another process writes whole lines while one is held here: neither is torn. */
static void others_write_meanwhile(void)
{
    struct other_process other = other_process_starts("app.log", "other\n"); /* a fork later would write it out */
    int fd = held();
    other_process_goes_on(other);
    write_text(fd, " end\n");
    CHECK_TEXT(content("app.log"), "complete\nother\nbegin end\n");
}

/* The rest of a line that was held goes to the new file with its line. */
static void over_a_rotation(void)
{
    struct other_process fills = other_process_starts("app.log", lines_of(10000, "filler"));
    struct other_process rotates = other_process_starts("app.log", lines_of(1000, "more"));
    int fd = held();
    other_process_goes_on(fills);
    other_process_goes_on(rotates);
    CHECK_EQUAL(archives("app.log"), 1);
    write_text(fd, " end\n");
    CHECK(is_on(fd, "app.log"));
    CHECK(strstr(content("app.log"), "\nbegin end\n") != NULL);
    CHECK_EQUAL(strlen(history("app.log")), 10000 + 1000 + strlen("complete\nbegin end\n"));
}

/* A descriptor closed or replaced behind the library's back: what was held still gets to its log. */
static void replaced_behind_the_back(void)
{
    int fd = held();
    int other = raw_open("other", O_WRONLY | O_CREAT);
    raw_syscall(SYS_dup3, other, fd, 0);
    write_text(fd, "for the other\n");
    CHECK_TEXT(content("other"), "for the other\n");
    CHECK_TEXT(content("app.log"), "complete\nbegin");
}

/* 64 KiB of a line at most are held. */
static void long_lines(void)
{
    size_t length = 300 * 1024;
    char *text = malloc(length + 1);
    int fd = open_log("app.log");
    memset(text, 'a', length);
    text[length] = '\0';
    text[0] = '\n';
    write_text(fd, text);
    CHECK(strlen(content("app.log")) >= length - 65536);
    write_text(fd, "\n");
    CHECK_EQUAL(strlen(history("app.log")), length + 1);
    text[0] = 'a';
    write_text(fd, text);
    write_text(fd, "\nend\n");
    CHECK_EQUAL(strlen(history("app.log")), 2 * length + 6);
    CHECK_TEXT(history("app.log") + 2 * length, "a\nend\n");
}

static void strict_holds_every_unfinished_line(void)
{
    struct other_process other = other_process_starts("app.log", "other\n");
    int fd = open_log("app.log");
    write_text(fd, "a");
    write_text(fd, "b");
    CHECK_TEXT(content("app.log"), "");
    write_text(fd, "c\nd");
    CHECK_TEXT(content("app.log"), "abc\n");
    other_process_goes_on(other);
    write_text(fd, "e\n");
    CHECK_TEXT(content("app.log"), "abc\nother\nde\n");
    write_text(fd, "f");
    CHECK_EQUAL(fsync(fd), 0);
    CHECK_TEXT(content("app.log"), "abc\nother\nde\nf");
    write_text(fd, "g");
    CHECK_EQUAL(close(fd), 0);
    CHECK_TEXT(content("app.log"), "abc\nother\nde\nfg");
}

static void strict_up_to_64k(void)
{
    int fd = open_log("app.log");
    char *text = malloc(1001);
    memset(text, 'x', 1000);
    text[1000] = '\0';
    for (int i = 0; i < 60; i++) {
        write_text(fd, text);
    }
    CHECK_TEXT(content("app.log"), "");
    for (int i = 0; i < 60; i++) {
        write_text(fd, text);
    }
    CHECK(strlen(history("app.log")) >= 120000 - 65536);
    write_text(fd, "\n");
    CHECK_EQUAL(strlen(history("app.log")), 120001);
}

static void strict_prompt_is_complete_at_exit(void)
{
    in_child(do_exit);
    CHECK_TEXT(content("app.log"), "complete\nbegin");
}

static void off_holds_nothing(void)
{
    int fd = open_log("app.log");
    write_text(fd, "complete\nbegin");
    CHECK_TEXT(content("app.log"), "complete\nbegin");
    write_text(fd, " end");
    CHECK_TEXT(content("app.log"), "complete\nbegin end");
}

static void results_say_all_is_written(void)
{
    int fd = open_log("app.log");
    CHECK_EQUAL(write(fd, "complete\nbegin", 14), 14);
    CHECK_EQUAL(pwrite(fd, "complete\nbegin", 14, 0), 14);
    CHECK_EQUAL(dprintf(fd, "complete\n%s", "begin"), 14);
    CHECK_EQUAL(fsync(fd), 0);
    CHECK_TEXT(content("app.log"), "complete\nbegincomplete\nbegincomplete\nbegin");
}

/* An O_SYNC program was told that it is on the disk. */
static void synchronous_descriptors_hold_nothing(void)
{
    int fd = open("app.log", O_WRONLY | O_CREAT | O_APPEND | O_SYNC, 0644);
    write_text(fd, "complete\nbegin");
    write_text(fd, " end\n");
    CHECK_TEXT(content("app.log"), "complete\nbegin end\n");
}

int main(int count, char **arguments)
{
    static const struct test tests[] = {
        {"the_rest_of_a_line_comes_with_the_next_write", WHOLE, ends_with_the_next_write, NULL, NULL},
        {"a_write_without_any_newline_goes_through", WHOLE, without_newline_goes_through, NULL, NULL},
        {"what_is_held_is_written_at_fsync", WHOLE, by_fsync, NULL, NULL},
        {"what_is_held_counts_for_lseek_and_stays_held", WHOLE, by_lseek, NULL, NULL},
        {"lines_stay_whole_of_who_seeks_before_each_write", WHOLE, seeks_before_each_write, NULL, NULL},
        {"what_is_held_is_written_before_the_program_reads", WHOLE, by_reading, NULL, NULL},
        {"what_is_held_is_written_at_fdatasync", WHOLE, by_fdatasync, NULL, NULL},
        {"what_is_held_is_written_at_close", WHOLE, by_close, NULL, NULL},
        {"what_is_held_is_written_at_dup2_over_it", WHOLE, by_dup2_over_it, NULL, NULL},
        {"what_is_held_is_written_at_dup2_of_another_log", "*.log", by_dup2_of_another_log_over_it, NULL, NULL},
        {"what_is_held_is_written_at_closefrom", WHOLE, by_closefrom, NULL, NULL},
        {"what_is_held_is_written_at_close_range", WHOLE, by_close_range, NULL, NULL},
        {"what_is_held_is_written_at_fork_once", WHOLE, by_fork, NULL, NULL},
        {"what_is_held_is_written_at_exec", WHOLE, by_exec, NULL, NULL},
        {"what_is_held_is_written_at_exec_that_closes_it", WHOLE, by_exec_cloexec, NULL, NULL},
        {"what_is_held_is_written_at_exit", WHOLE, by_exit, NULL, NULL},
        {"what_is_held_is_written_at_quick_exit", WHOLE, by_quick_exit, NULL, NULL},
        {"what_is_held_is_written_at__exit", WHOLE, by_immediate_exit, NULL, NULL},
        {"what_is_held_is_written_at_abort", WHOLE, by_abort, NULL, NULL},
        {"what_is_held_is_written_at_the_end_of_the_last_thread", WHOLE, by_end_of_the_last_thread, NULL, NULL},
        {"a_killed_program_loses_only_the_beginning_of_its_line", WHOLE, killed, NULL, NULL},
        {"what_is_held_outlives_the_thread_that_wrote_it", WHOLE, thread_ends, NULL, NULL},
        {"lines_of_others_do_not_come_into_a_held_line", WHOLE, others_write_meanwhile, NULL, NULL},
        {"a_held_line_stays_whole_over_a_rotation", WHOLE, over_a_rotation, NULL, NULL},
        {"what_is_held_gets_to_its_log_when_the_descriptor_is_replaced", WHOLE, replaced_behind_the_back, NULL, NULL},
        {"lines_longer_than_64k_are_kept_in_full", "app.log", long_lines, NULL, NULL},
        {"strict_holds_every_unfinished_line", STRICT, strict_holds_every_unfinished_line, NULL, NULL},
        {"strict_holds_64k_at_most", "app.log,lines=strict", strict_up_to_64k, NULL, NULL},
        {"strict_writes_what_is_held_at_exit", STRICT, strict_prompt_is_complete_at_exit, NULL, NULL},
        {"off_holds_nothing", OFF, off_holds_nothing, NULL, NULL},
        {"results_say_that_all_is_written", WHOLE, results_say_all_is_written, NULL, NULL},
        {"the_rest_of_a_line_reaches_a_synchronous_log", WHOLE, synchronous_descriptors_hold_nothing, NULL, NULL},
    };
    return test_main(count, arguments, tests, TEST_COUNT(tests));
}
