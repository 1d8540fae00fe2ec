/* Programs that close everything, or use the numbers of the library's own descriptors: what they do afterwards works.
 */
#include "test.h"

#include <sys/resource.h>

#define RULES "app.log,max_bytes=100"

/* Lowest first: the descriptors that the kernel knows and the program did not open. */
static int own_descriptors(int numbers[64])
{
    int count = 0;
    for (int fd = 3; fd < 65536 && count < 64; fd++) {
        if (raw_fcntl(fd, F_GETFD, 0) >= 0) {
            numbers[count++] = fd;
        }
    }
    return count;
}

static int numbers_before[64];
static int count_before;

/* What the library has open is out of the program's reach: it survives a close of everything. */
static void check_own_survived(void)
{
    for (int i = 0; i < count_before; i++) {
        CHECK(numbers_before[i] == 3 || raw_fcntl(numbers_before[i], F_GETFD, 0) == FD_CLOEXEC);
    }
}

/* The log opened, and rotated once, so that the library has everything open that it ever opens. */
static int open_and_rotate(void)
{
    int fd = open_log("app.log");
    char *text = lines_of(100, "first");
    write_text(fd, text);
    write_text(fd, "second\n");
    CHECK_EQUAL(archives("app.log"), 1);
    count_before = own_descriptors(numbers_before);
    CHECK(count_before >= 2);
    return fd;
}

/* The log is usable again: two lines arrive on the live file, behind what was written before. */
static void check_log_works(void)
{
    char wanted[512];
    int fd = open_log("app.log");
    char *before = history("app.log");
    size_t files = archives("app.log");
    CHECK_EQUAL(fd, 3);
    write_text(fd, "third\n");
    char *more = lines_of(100, "fourth");
    write_text(fd, more);
    CHECK(is_on(fd, "app.log"));
    snprintf(wanted, sizeof wanted, "%sthird\n%s", before, more);
    CHECK_TEXT(history("app.log"), wanted);
    CHECK_EQUAL(archives("app.log"), files + 1);
    CHECK_EQUAL(messages("mplogshim"), 0);
}

static void after_close_of_every_number(void)
{
    open_and_rotate();
    for (int fd = 3; fd < 70000; fd++) {
        errno = 0;
        if (close(fd) != 0) {
            CHECK_EQUAL(errno, EBADF);
        } else {
            CHECK_EQUAL(fd, 3);
        }
    }
    check_own_survived();
    check_log_works();
}

/* As libuv closes, and programs older than libc's close_range. */
static void after_close_by_system_call(void)
{
    open_and_rotate();
    for (int fd = 3; fd < 2000; fd++) {
        if (fd == 3) {
            CHECK_EQUAL(syscall(SYS_close, fd), 0);
        } else {
            CHECK_ERROR(syscall(SYS_close, fd), EBADF);
        }
    }
    check_own_survived();
    check_log_works();
}

static void after_close_range_by_system_call(void)
{
    int fd = open_and_rotate();
    CHECK_EQUAL(syscall(SYS_close_range, 3, ~0U, CLOSE_RANGE_CLOEXEC), 0);
    CHECK_EQUAL(fcntl(fd, F_GETFD), FD_CLOEXEC);
    CHECK_EQUAL(syscall(SYS_close_range, 3, ~0U, 0), 0);
    CHECK_ERROR(fcntl(fd, F_GETFD), EBADF);
    check_own_survived();
    check_log_works();
}

static void after_close_of_the_limit_downwards(void)
{
    struct rlimit limit;
    open_and_rotate();
    getrlimit(RLIMIT_NOFILE, &limit);
    for (int fd = limit.rlim_cur < 100000 ? (int)limit.rlim_cur : 100000; fd >= 3; fd--) {
        close(fd);
    }
    check_own_survived();
    check_log_works();
}

static void after_closefrom(void)
{
    open_and_rotate();
    closefrom(3);
    CHECK_ERROR(fcntl(3, F_GETFD), EBADF);
    check_own_survived();
    check_log_works();
}

static void after_close_range(void)
{
    open_and_rotate();
    CHECK_EQUAL(close_range(3, ~0U, 0), 0);
    CHECK_ERROR(fcntl(3, F_GETFD), EBADF);
    check_own_survived();
    check_log_works();
}

static void after_close_range_with_cloexec(void)
{
    int fd = open_and_rotate();
    CHECK_EQUAL(close_range(3, ~0U, CLOSE_RANGE_CLOEXEC), 0);
    CHECK_EQUAL(fcntl(fd, F_GETFD), FD_CLOEXEC);
    close(fd);
    check_log_works();
}

static void after_close_range_unshared(void)
{
    open_and_rotate();
    CHECK_EQUAL(close_range(3, ~0U, CLOSE_RANGE_UNSHARE), 0);
    check_own_survived();
    check_log_works();
}

/* As sshd, CPython and others do it: every number that /proc shows, but the walk's own. */
static void after_walk_of_proc(void)
{
    open_and_rotate();
    DIR *listing = opendir("/proc/self/fd");
    int numbers[128];
    int count = 0;
    for (struct dirent *entry; listing != NULL && (entry = readdir(listing)) != NULL && count < 128;) {
        int fd = atoi(entry->d_name);
        if (fd > 2 && fd != dirfd(listing)) {
            numbers[count++] = fd;
        }
    }
    closedir(listing);
    for (int i = 0; i < count; i++) {
        close(numbers[i]);
    }
    check_own_survived();
    check_log_works();
}

/* Raw system calls go past the library: it must notice, and never close or write what is not its own any more. */
static void after_raw_close_of_everything(void)
{
    open_and_rotate();
    raw_syscall(SYS_close_range, 3, ~0U, 0);
    check_log_works();
}

static void after_raw_reuse_of_own_numbers(void)
{
    int numbers[64];
    int fd = open_and_rotate();
    int count = own_descriptors(numbers);
    int other = raw_open("other", O_RDWR | O_CREAT);
    for (int i = 0; i < count; i++) {
        if (numbers[i] != fd) {
            raw_syscall(SYS_dup3, other, numbers[i], 0);
        }
    }
    write_text(fd, "a line for the log only\n");
    char *more = lines_of(100, "more");
    write_text(fd, more);
    write_text(fd, "and another\n");
    CHECK_TEXT(content("other"), "");
    for (int i = 0; i < count; i++) {
        if (numbers[i] != fd) {
            CHECK_EQUAL(is_on(numbers[i], "other"), 1);
        }
    }
    char wanted[512];
    snprintf(wanted, sizeof wanted, "%ssecond\na line for the log only\n%sand another\n", lines_of(100, "first"), more);
    CHECK_TEXT(history("app.log"), wanted);
    CHECK_EQUAL(archives("app.log"), 3); /* by new descriptors of its own */
    CHECK_EQUAL(messages("mplogshim"), 0);
}

static void own_descriptors_are_hidden(void)
{
    int numbers[64];
    int fd = open_and_rotate();
    int count = own_descriptors(numbers);
    int seen = 0;
    CHECK(count >= 1);
    for (int i = 0; i < count; i++) {
        if (numbers[i] == fd) {
            continue;
        }
        seen++;
        CHECK(numbers[i] >= 100);
        CHECK_EQUAL(raw_fcntl(numbers[i], F_GETFD, 0), FD_CLOEXEC);
        CHECK_ERROR(fcntl(numbers[i], F_GETFD), EBADF);
        CHECK_ERROR(fcntl(numbers[i], F_GETFL), EBADF);
        CHECK_ERROR(fcntl(numbers[i], F_DUPFD, 0), EBADF);
        CHECK_ERROR(fcntl(numbers[i], F_SETFD, 0), EBADF);
        CHECK_ERROR(close(numbers[i]), EBADF);
        CHECK_ERROR(dup(numbers[i]), EBADF);
        CHECK_ERROR(dup2(numbers[i], 50), EBADF);
        CHECK_ERROR(dup2(numbers[i], numbers[i]), EBADF);
        CHECK_ERROR(dup3(numbers[i], 50, O_CLOEXEC), EBADF);
        CHECK_ERROR(write(numbers[i], "x", 1), EBADF);
        CHECK_ERROR(fsync(numbers[i]), EBADF);
    }
    CHECK(seen >= 1);
    write_text(fd, "still there\n");
    CHECK_EQUAL(open("/dev/null", O_RDONLY), 4);
}

/* A program that dup2s a pipe to a number it thinks is free gets that number, and the log goes on. */
static void own_numbers_can_be_taken_by_dup2(void)
{
    int numbers[64];
    char wanted[512];
    int fd = open_and_rotate();
    int other = open("other", O_RDWR | O_CREAT | O_APPEND, 0644);
    for (int round = 0; round < 3; round++) {
        int count = own_descriptors(numbers);
        for (int i = 0; i < count; i++) {
            if (numbers[i] > 99 && !is_on(numbers[i], "other")) {
                CHECK_EQUAL(round % 2 == 0 ? dup2(other, numbers[i]) : dup3(other, numbers[i], O_CLOEXEC), numbers[i]);
                write_text(numbers[i], "mine\n");
            }
        }
    }
    write_text(fd, "third\n");
    char *more = lines_of(100, "fourth");
    write_text(fd, more);
    snprintf(wanted, sizeof wanted, "%ssecond\nthird\n%s", lines_of(100, "first"), more);
    CHECK_TEXT(history("app.log"), wanted);
    CHECK(strlen(content("other")) >= 15);
    CHECK(is_on(fd, "app.log"));
    CHECK_EQUAL(archives("app.log"), 2);
}

/* The same with F_DUPFD at or above such a number. */
static void own_numbers_can_be_taken_by_f_dupfd(void)
{
    int numbers[64];
    int fd = open_and_rotate();
    int other = open("other", O_RDWR | O_CREAT, 0644);
    int count = own_descriptors(numbers);
    for (int i = 0; i < count; i++) {
        if (numbers[i] > 99 && !is_on(numbers[i], "other")) {
            CHECK_EQUAL(fcntl(other, F_DUPFD, numbers[i]), numbers[i]); /* the program knows of nothing there */
            CHECK(is_on(numbers[i], "other"));
        }
    }
    write_text(fd, "third\n");
    CHECK_EQUAL(content("other")[0], '\0');
}

static void a_small_limit_of_descriptors_leaves_the_log_working(void)
{
    struct rlimit limit = {20, 20};
    CHECK_EQUAL(setrlimit(RLIMIT_NOFILE, &limit), 0);
    int fd = open_and_rotate();
    CHECK_EQUAL(fd, 3);
    write_text(fd, "third\n");
    CHECK(strstr(history("app.log"), "second\nthird\n") != NULL);
    /* All that are left are the program's to use up; then writing still works. */
    while (open("/dev/null", O_RDONLY) >= 0) {
    }
    int error = errno;
    char *more = lines_of(100, "fourth");
    ssize_t result = write(fd, more, strlen(more));
    close(4);
    CHECK_EQUAL(error, EMFILE);
    CHECK_EQUAL(result, 100);
    CHECK(strstr(history("app.log"), more) != NULL);
}

int main(int count, char **arguments)
{
    static const struct test tests[] = {
        {"a_log_works_after_close_of_every_number", RULES, after_close_of_every_number, NULL, NULL},
        {"a_log_works_after_close_from_the_limit_downwards", RULES, after_close_of_the_limit_downwards, NULL, NULL},
        {"a_log_works_after_close_by_system_call", RULES, after_close_by_system_call, NULL, NULL},
        {"a_log_works_after_close_range_by_system_call", RULES, after_close_range_by_system_call, NULL, NULL},
        {"a_log_works_after_closefrom", RULES, after_closefrom, NULL, NULL},
        {"a_log_works_after_close_range", RULES, after_close_range, NULL, NULL},
        {"a_log_works_after_close_range_with_cloexec", RULES, after_close_range_with_cloexec, NULL, NULL},
        {"a_log_works_after_close_range_with_unshare", RULES, after_close_range_unshared, NULL, NULL},
        {"a_log_works_after_a_walk_of_proc_self_fd", RULES, after_walk_of_proc, NULL, NULL},
        {"a_log_works_after_raw_close_of_everything", RULES, after_raw_close_of_everything, NULL, NULL},
        {"own_numbers_that_became_another_file_are_not_touched", RULES, after_raw_reuse_of_own_numbers, NULL, NULL},
        {"own_descriptors_sit_high_and_look_closed", RULES, own_descriptors_are_hidden, NULL, NULL},
        {"own_numbers_can_be_taken_by_dup2", RULES, own_numbers_can_be_taken_by_dup2, NULL, NULL},
        {"own_numbers_can_be_taken_by_f_dupfd", RULES, own_numbers_can_be_taken_by_f_dupfd, NULL, NULL},
        {"a_small_limit_of_descriptors_leaves_the_log_working", RULES,
         a_small_limit_of_descriptors_leaves_the_log_working, NULL, NULL},
    };
    return test_main(count, arguments, tests, TEST_COUNT(tests));
}
