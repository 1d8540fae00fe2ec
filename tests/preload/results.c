/* Bad arguments on a log give the results that they give on any file, and the flags of a log stay what they were. */
#include "test.h"

#include <sys/syscall.h>

#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/uio.h>

#define RULES "app.log,max_bytes=100"

/* Bad arguments that the compiler must not see through. */
static void *volatile nowhere = (void *)8;
static volatile int minus_one = -1;
static volatile int too_many = 5000;
static volatile size_t all_of_memory = SIZE_MAX;

static void errors_of_write(void)
{
    int fd = open_log("app.log");
    int reading = open("app.log", O_RDONLY);
    char byte = 'x';
    CHECK_ERROR(write(40, &byte, 1), EBADF);
    CHECK_ERROR(write(-1, &byte, 1), EBADF);
    CHECK_ERROR(write(fd, nowhere, 10), EFAULT);
    CHECK_ERROR(write(reading, &byte, 1), EBADF);
    CHECK_ERROR(write(fd, &byte, all_of_memory), EFAULT);
    CHECK_EQUAL(write(fd, &byte, 0), 0);
    CHECK_EQUAL(write(fd, NULL, 0), 0);
    CHECK_TEXT(content("app.log"), "");
    write_text(fd, "good\n");
    CHECK_TEXT(content("app.log"), "good\n");
}

/* Pages without access, as they lie behind stacks and buffers, and one that was there before. */
static void errors_of_buffers_within_a_page(void)
{
    int fd = open_log("app.log");
    char *pages = mmap(NULL, 3 * 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    CHECK_EQUAL(mprotect(pages + 4096, 4096, PROT_NONE), 0);
    struct iovec vector[2] = {{(char *)(uintptr_t) "x\n", 2}, {pages + 4096 + 100, 10}};
    CHECK_ERROR(write(fd, pages + 4096, 10), EFAULT);
    CHECK_ERROR(write(fd, pages + 4096 + 4090, 3), EFAULT);
    CHECK_ERROR(pwrite(fd, pages + 4096 + 100, 10, 0), EFAULT);
    CHECK_ERROR(writev(fd, vector + 1, 1), EFAULT);
    CHECK_TEXT(content("app.log"), "");
    CHECK_EQUAL(writev(fd, vector, 2), 2); /* as without the library: what comes before is written */
    memcpy(pages, "mapped\n", 7);
    memcpy(pages + 8192, "mapped\n", 7);
    CHECK_EQUAL(write(fd, pages, 7), 7);
    CHECK_EQUAL(write(fd, pages + 8192, 7), 7);
    memcpy(pages + 4090, "by it\n", 6);
    for (size_t over = 1; over < 12; over++) {
        CHECK_EQUAL(write(fd, pages + 4090, 6 + over), 6); /* as without: what lies before is written */
    }
    CHECK_EQUAL(mprotect(pages + 4096, 4096, PROT_READ | PROT_WRITE), 0);
    memcpy(pages + 4096, "there\n", 6);
    CHECK_EQUAL(write(fd, pages + 4090, 12), 12);
    CHECK_EQUAL(raw_size(in_directory("app.log")), 2 + 2 * 7 + 11 * 6 + 12);
}

static void errors_of_writev(void)
{
    int fd = open_log("app.log");
    int reading = open("app.log", O_RDONLY);
    struct iovec good = {(char *)(uintptr_t) "x\n", 2};
    struct iovec bad = {nowhere, 2};
    struct iovec negative = {good.iov_base, SIZE_MAX};
    CHECK_ERROR(writev(40, &good, 1), EBADF);
    CHECK_ERROR(writev(reading, &good, 1), EBADF);
    CHECK_ERROR(writev(fd, &good, minus_one), EINVAL);
    CHECK_ERROR(writev(fd, &good, too_many), EINVAL);
    CHECK_ERROR(writev(fd, &negative, 1), EINVAL);
    CHECK_ERROR(writev(fd, &bad, 1), EFAULT);
    CHECK_ERROR(writev(fd, nowhere, 1), EFAULT);
    CHECK_EQUAL(writev(fd, &good, 0), 0);
    CHECK_TEXT(content("app.log"), "");
    CHECK_EQUAL(writev(fd, &good, 1), 2);
    CHECK_TEXT(content("app.log"), "x\n");
}

static void errors_of_pwrite(void)
{
    int fd = open_log("app.log");
    int reading = open("app.log", O_RDONLY);
    struct iovec good = {(char *)(uintptr_t) "x\n", 2};
    CHECK_ERROR(pwrite(fd, "x\n", 2, -1), EINVAL);
    CHECK_ERROR(pwrite(fd, "x\n", 2, -100), EINVAL);
    CHECK_ERROR(pwrite(40, "x\n", 2, 0), EBADF);
    CHECK_ERROR(pwrite(reading, "x\n", 2, 0), EBADF);
    CHECK_ERROR(pwrite(fd, nowhere, 2, 0), EFAULT);
    CHECK_ERROR(pwritev(fd, &good, 1, -2), EINVAL);
    CHECK_ERROR(pwritev(fd, &good, minus_one, 0), EINVAL);
    CHECK_ERROR(pwritev2(fd, &good, 1, -2, 0), EINVAL);
    CHECK_ERROR(pwritev2(fd, &good, 1, -1, 1 << 30), EOPNOTSUPP);
    CHECK_TEXT(content("app.log"), "");
    CHECK_EQUAL(pwrite(fd, "x\n", 2, 1000), 2);
    CHECK_TEXT(content("app.log"), "x\n");
}

static void errors_with_a_whole_file_buffer(void)
{
    /* The buffer ends in memory that is not there: the part before it may be written, and is reported. */
    int fd = open_log("app.log");
    size_t size = 1 << 16;
    char *end = (char *)sbrk(0);
    end = (char *)(((uintptr_t)end + 4095) & ~(uintptr_t)4095);
    if (brk(end) != 0) {
        return;
    }
    ssize_t result = write(fd, end - 50, size);
    CHECK(result == -1 ? errno == EFAULT : result <= 50);
    CHECK_EQUAL(raw_size(in_directory("app.log")), result == -1 ? 0 : result);
}

static void file_size_limit_is_the_programs(void)
{
    struct sigaction ignore = {.sa_handler = SIG_IGN};
    sigaction(SIGXFSZ, &ignore, NULL);
    int fd = open_log("app.log");
    write_text(fd, "within\n");
    struct {
        unsigned long soft, hard;
    } limit = {10, 10};
    raw_syscall(SYS_prlimit64, 0, 1 /* RLIMIT_FSIZE */, &limit, NULL);
    ssize_t result = write(fd, "0123456789\n", 11);
    CHECK_EQUAL(result, 3);
    CHECK_ERROR(write(fd, "more\n", 5), EFBIG);
    CHECK_TEXT(content("app.log"), "within\n012");
}

/* F_GETFL and F_GETFD of every kind of descriptor, after another process and this one have rotated. */
static void flags_are_kept(void)
{
    static const int kinds[] = {0,         O_NONBLOCK, O_SYNC,
                                O_DSYNC,   O_CLOEXEC,  O_SYNC | O_NONBLOCK | O_CLOEXEC,
                                O_NOATIME, O_NOFOLLOW, O_NOFOLLOW | O_NONBLOCK};
    int fds[2 * TEST_COUNT(kinds)];
    long status[2 * TEST_COUNT(kinds)];
    char *filler = lines_of(100, "filler");
    for (size_t i = 0; i < 2 * TEST_COUNT(kinds); i++) {
        int access = i % 2 == 0 ? O_WRONLY : O_RDWR;
        fds[i] = open("app.log", access | O_APPEND | O_CREAT | kinds[i / 2], 0644);
        status[i] = raw_fcntl(fds[i], F_GETFL, 0);
    }
    for (int round = 0; round < 3; round++) {
        if (round == 1) {
            other_process_writes("app.log", filler);
            other_process_writes("app.log", filler);
        }
        for (size_t i = 0; i < 2 * TEST_COUNT(kinds); i++) {
            write_text(fds[i], round == 2 ? filler : "x\n");
            CHECK(is_on(fds[i], "app.log"));
            CHECK_EQUAL(raw_fcntl(fds[i], F_GETFL, 0), status[i]);
            CHECK_EQUAL(fcntl(fds[i], F_GETFD), (kinds[i / 2] & O_CLOEXEC) != 0 ? FD_CLOEXEC : 0);
        }
    }
    CHECK(archives("app.log") > 5);
}

static void flags_that_were_set_are_kept(void)
{
    char *filler = lines_of(100, "filler");
    int fd = open_log("app.log");
    CHECK_EQUAL(fcntl(fd, F_SETFD, FD_CLOEXEC), 0);
    CHECK_EQUAL(fcntl(fd, F_SETFL, O_APPEND | O_NONBLOCK), 0);
    write_text(fd, filler);
    write_text(fd, filler);
    other_process_writes("app.log", filler);
    write_text(fd, "x\n");
    CHECK_EQUAL(fcntl(fd, F_GETFD), FD_CLOEXEC);
    CHECK_EQUAL(raw_fcntl(fd, F_GETFL, 0) & (O_APPEND | O_NONBLOCK | O_SYNC | O_ACCMODE),
                O_APPEND | O_NONBLOCK | O_WRONLY);
    CHECK_EQUAL(fcntl(fd, F_SETFD, 0), 0);
    CHECK_EQUAL(fcntl(fd, F_SETFL, O_APPEND), 0);
    write_text(fd, filler);
    CHECK_EQUAL(raw_fcntl(fd, F_GETFD, 0), 0);
    CHECK_EQUAL(raw_fcntl(fd, F_GETFL, 0) & O_NONBLOCK, 0);
    CHECK_EQUAL(archives("app.log"), 4);
    CHECK(is_on(fd, "app.log"));
}

/* O_APPEND cannot be taken away, whatever the program thinks. */
static void writes_append_always(void)
{
    int fd = open("app.log", O_WRONLY | O_CREAT, 0644);
    write_text(fd, "one\n");
    CHECK_EQUAL(lseek(fd, 0, SEEK_SET), 0);
    write_text(fd, "two\n");
    CHECK_EQUAL(fcntl(fd, F_SETFL, 0), 0);
    CHECK_EQUAL(lseek(fd, 0, SEEK_SET), 0);
    write_text(fd, "three\n");
    CHECK_EQUAL(pwrite(fd, "four\n", 5, 0), 5);
    CHECK_TEXT(content("app.log"), "one\ntwo\nthree\nfour\n");
}

static void reading_back_works(void)
{
    char text[64] = "";
    int fd = open("app.log", O_RDWR | O_CREAT, 0644);
    write_text(fd, "one\ntwo\n");
    CHECK_EQUAL(lseek(fd, 0, SEEK_SET), 0);
    CHECK_EQUAL(read(fd, text, 4), 4);
    CHECK_TEXT(text, "one\n");
    write_text(fd, "three\n");
    CHECK_EQUAL(pread(fd, text, sizeof text, 4), 10);
    CHECK(memcmp(text, "two\nthree\n", 10) == 0);
}

/* What looks like a look at a descriptor and is none is the kernel's to judge. */
static void errors_of_looks_by_empty_paths(void)
{
    struct stat status;
    struct statx extended;
    int fd = open_log("app.log");
    write_text(fd, "one\ntwo");
    CHECK_ERROR(fstatat(fd, nowhere, &status, AT_EMPTY_PATH), EFAULT);
    CHECK_ERROR(statx(fd, nowhere, AT_EMPTY_PATH, STATX_SIZE, &extended), EFAULT);
    CHECK_ERROR(fstatat(fd, "", &status, 0), ENOENT);
    char *gone = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    CHECK_EQUAL(fstatat(fd, gone, &status, AT_EMPTY_PATH), 0);
    munmap(gone, 4096);
    CHECK_ERROR(fstatat(fd, gone, &status, AT_EMPTY_PATH), EFAULT);
    CHECK_ERROR(syscall(SYS_statx, fd, gone, AT_EMPTY_PATH, STATX_SIZE, &extended), EFAULT);
    CHECK_ERROR(fstatat(fd, "app.log", &status, AT_EMPTY_PATH), ENOTDIR);
    CHECK_ERROR(fstatat(-1, "", &status, AT_EMPTY_PATH), EBADF);
    CHECK_EQUAL(fstatat(AT_FDCWD, "", &status, AT_EMPTY_PATH), 0);
    CHECK(S_ISDIR(status.st_mode));
    CHECK_EQUAL(fstatat(AT_FDCWD, "app.log", &status, AT_EMPTY_PATH), 0);
    CHECK_EQUAL(status.st_size, 4);
    CHECK_EQUAL(statx(fd, "", AT_EMPTY_PATH, STATX_SIZE, &extended), 0);
    CHECK_EQUAL(extended.stx_size, 7);
}

/* A program that counts its own bytes by fstat, lseek or ftell sees a file that holds what it wrote. */
static void sizes_are_those_of_the_live_file(void)
{
    struct stat status;
    int fd = open_log("app.log");
    char *filler = lines_of(100, "filler");
    write_text(fd, filler);
    CHECK_EQUAL(fstat(fd, &status), 0);
    CHECK_EQUAL(status.st_size, 100);
    write_text(fd, "after\n");
    CHECK_EQUAL(fstat(fd, &status), 0);
    CHECK_EQUAL(status.st_size, 6);
    CHECK_EQUAL(lseek(fd, 0, SEEK_END), 6);
}

/* A line goes into the buffer by a way of its own: what is no such line comes to the same, and in order. */
static void results_with_a_buffer(void)
{
    const struct rlimit many = {.rlim_cur = 4096, .rlim_max = 4096};
    int fd = open_log("app.log");
    char *pages = mmap(NULL, 2 * 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    CHECK_EQUAL(mprotect(pages + 4096, 4096, PROT_NONE), 0);
    memcpy(pages + 4096 - 6, "three\n", 6);
    write_text(fd, "one\n");
    errno = E2BIG;
    CHECK_EQUAL(write(fd, "two\n", 4), 4);
    CHECK_EQUAL(errno, E2BIG);
    for (int i = 0; i < 3; i++) { /* its page is not known at first */
        CHECK_EQUAL(write(fd, pages + 4096 - 6, 6), 6);
        CHECK_ERROR(write(fd, pages + 4096, 6), EFAULT);
        CHECK_ERROR(write(fd, nowhere, 6), EFAULT);
    }
    CHECK_EQUAL(write(fd, pages, 0), 0);
    write_text(fd, "fo");
    write_text(fd, "ur\n");
    CHECK_EQUAL(setrlimit(RLIMIT_NOFILE, &many), 0);
    write_text(fcntl(fd, F_DUPFD, 2000), "five\n");
    CHECK_TEXT(content("app.log"), "");
    CHECK_EQUAL(fsync(fd), 0);
    CHECK_TEXT(content("app.log"), "one\ntwo\nthree\nthree\nthree\nfour\nfive\n");
    close(fd);
    CHECK_ERROR(write(fd, "six\n", 4), EBADF);
}

int main(int count, char **arguments)
{
    static const struct test tests[] = {
        {"write_fails_as_on_any_file", RULES, errors_of_write, NULL, NULL},
        {"a_bad_buffer_within_a_page_is_reported", RULES, errors_of_buffers_within_a_page, NULL, NULL},
        {"writev_fails_as_on_any_file", RULES, errors_of_writev, NULL, NULL},
        {"pwrite_fails_as_on_any_file", RULES, errors_of_pwrite, NULL, NULL},
        {"a_buffer_that_ends_in_no_memory_is_reported_truly", RULES, errors_with_a_whole_file_buffer, NULL, NULL},
        {"the_file_size_limit_is_the_programs", "app.log", file_size_limit_is_the_programs, NULL, NULL},
        {"flags_are_kept_over_rotations", RULES, flags_are_kept, NULL, NULL},
        {"flags_that_were_set_are_kept_over_rotations", RULES, flags_that_were_set_are_kept, NULL, NULL},
        {"writes_append_whatever_the_program_asked_for", RULES, writes_append_always, NULL, NULL},
        {"reading_back_works", RULES, reading_back_works, NULL, NULL},
        {"a_line_into_a_buffer_is_a_write_as_any", "app.log,async=1,async_flush=1h", results_with_a_buffer, NULL, NULL},
        {"looks_by_empty_paths_fail_as_on_any_file", RULES, errors_of_looks_by_empty_paths, NULL, NULL},
        {"sizes_are_those_of_the_live_file", RULES, sizes_are_those_of_the_live_file, NULL, NULL},
    };
    return test_main(count, arguments, tests, TEST_COUNT(tests));
}
