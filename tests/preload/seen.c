/*
 * What a program finds out about its descriptors and by bad calls is what it would find out without the library, also
 * while the end of a line is held back.
 */
#include "test.h"

#include <sys/socket.h>
#include <sys/uio.h>

#define WHOLE "app.log"

/* The number of a log is closed and used again by raw system calls: nothing of the log's shows. */
static void reused_number(void)
{
    int pipes[2];
    struct stat status;
    int fd = open_log("app.log");
    write_text(fd, "line\nunfinished");
    raw_syscall(SYS_close, fd);
    CHECK_EQUAL(raw_syscall(SYS_pipe2, (long)pipes, 0), 0);
    CHECK_EQUAL(pipes[0], fd);
    CHECK_EQUAL(fstat(fd, &status), 0);
    CHECK(S_ISFIFO(status.st_mode));
    CHECK_EQUAL(status.st_size, 0);
    CHECK_EQUAL(lseek(fd, 0, SEEK_END), -1);
    CHECK_EQUAL(errno, ESPIPE);
}

/* A pwrite appends, as to every log, but does not move the position: not when its end is held, nor when that goes out.
 */
static void position_after_pwrite(void)
{
    char text[6] = "";
    int fd = open("app.log", O_RDWR | O_CREAT | O_APPEND, 0644);
    write_text(fd, "hello\n");
    CHECK_EQUAL(lseek(fd, 0, SEEK_SET), 0);
    CHECK_EQUAL(pwrite(fd, "x\npart", 6, 0), 6);
    CHECK_EQUAL(lseek(fd, 0, SEEK_CUR), 0);
    CHECK_EQUAL(read(fd, text, 5), 5);
    CHECK_TEXT(text, "hello");
    CHECK_EQUAL(lseek(fd, 0, SEEK_END), 12);
    CHECK_EQUAL(lseek(fd, 0, SEEK_SET), 0);
    write_text(fd, "ly\n");
    CHECK_TEXT(content("app.log"), "hello\nx\npartly\n");
}

/* Numbers that are closed as far as the program knows. */
static void own_numbers(void)
{
    struct stat status;
    char byte;
    int found = 0;
    int fd = open_log("app.log");
    write_text(fd, "line\n");
    for (int number = 3; number < 1024; number++) {
        bool is_open = raw_fcntl(number, F_GETFD, 0) >= 0;
        if (is_open && fcntl(number, F_GETFD) < 0) {
            found++;
            CHECK_EQUAL(fstat(number, &status), -1);
            CHECK_EQUAL(errno, EBADF);
            CHECK_EQUAL(lseek(number, 0, SEEK_CUR), -1);
            CHECK_EQUAL(errno, EBADF);
            CHECK_EQUAL(pread(number, &byte, 1, 0), -1);
            CHECK_EQUAL(errno, EBADF);
        }
    }
    CHECK(found > 0);
}

/* Errors are the kernel's to find. */
static void bad_messages(void)
{
    int pair[2];
    struct msghdr message = {.msg_control = (void *)8, .msg_controllen = 64};
    write_text(open_log("app.log"), "line\nunfinished");
    CHECK_EQUAL(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
    CHECK_EQUAL(sendmsg(pair[0], &message, 0), -1);
    CHECK_EQUAL(errno, EFAULT);
    CHECK_EQUAL(sendmsg(pair[0], (struct msghdr *)8, 0), -1);
    CHECK_EQUAL(errno, EFAULT);
    CHECK_EQUAL(sendmmsg(pair[0], (struct mmsghdr *)8, 1, 0), -1);
    CHECK_EQUAL(errno, EFAULT);
    CHECK_EQUAL(sendmmsg(0, NULL, 1, 0), -1);
    CHECK_EQUAL(errno, ENOTSOCK);
}

/* So is a vector at one. */
static void bad_vectors(void)
{
    int fd = open_log("app.log");
    CHECK_EQUAL(writev(fd, (struct iovec *)0x10000, 1), -1);
    CHECK_EQUAL(errno, EFAULT);
    write_text(fd, "line\n");
    CHECK_TEXT(content("app.log"), "line\n");
}

int main(int count, char **arguments)
{
    static const struct test tests[] = {
        {"a_number_that_is_used_again_shows_nothing_of_a_log", WHOLE, reused_number, NULL, NULL},
        {"a_pwrite_does_not_move_the_position", WHOLE, position_after_pwrite, NULL, NULL},
        {"the_library_s_own_numbers_are_closed", WHOLE, own_numbers, NULL, NULL},
        {"messages_at_bad_addresses_are_errors", WHOLE, bad_messages, NULL, NULL},
        {"a_vector_at_a_bad_address_is_an_error", WHOLE, bad_vectors, NULL, NULL},
    };
    return test_main(count, arguments, tests, TEST_COUNT(tests));
}
