/*
 * What programs do with a log's descriptors besides writing: they pass them on, wait for them, count on their numbers,
 * have several, put a stream on one, read back, reserve space. It works as without the library, and nothing is lost.
 */
#include "test.h"

#include <aio.h>
#include <poll.h>
#include <pthread.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/pidfd.h>
#include <sys/select.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/uio.h>

#define BYTES "app.log,max_bytes=100"
#define WHOLE "app.log,max_bytes=1M"

/* --- Passing descriptors on --- */

enum { PASSED = 3 };

struct passing {
    struct iovec vector;
    struct msghdr message;
    union {
        struct cmsghdr header;
        char room[CMSG_SPACE(PASSED * sizeof(int))];
    } control;
};

static struct msghdr *prepare(struct passing *passing, const int *fds)
{
    static char byte = 'x';
    memset(passing, 0, sizeof *passing);
    passing->vector = (struct iovec){&byte, 1};
    passing->message = (struct msghdr){.msg_iov = &passing->vector,
                                       .msg_iovlen = 1,
                                       .msg_control = &passing->control,
                                       .msg_controllen = sizeof passing->control};
    passing->control.header.cmsg_level = SOL_SOCKET;
    passing->control.header.cmsg_type = SCM_RIGHTS;
    passing->control.header.cmsg_len = CMSG_LEN(PASSED * sizeof(int));
    if (fds != NULL) {
        memcpy(CMSG_DATA(&passing->control.header), fds, PASSED * sizeof(int));
    }
    return &passing->message;
}

static void take(const struct passing *passing, int *fds)
{
    memcpy(fds, CMSG_DATA(&passing->control.header), PASSED * sizeof(int));
}

/* A child that receives three descriptors, writes by each, and has rotated and followed. */
static void receive_and_write(int socket, bool several)
{
    struct passing passing;
    int fds[PASSED];
    struct mmsghdr message = {.msg_hdr = *prepare(&passing, NULL)};
    ssize_t received = several ? recvmmsg(socket, &message, 1, MSG_CMSG_CLOEXEC, NULL)
                               : recvmsg(socket, &passing.message, MSG_CMSG_CLOEXEC);
    CHECK_EQUAL(received, 1);
    take(&passing, fds);
    for (int i = 0; i < PASSED; i++) {
        CHECK_EQUAL(fcntl(fds[i], F_GETFD), FD_CLOEXEC);
        write_text(fds[i], lines_of(60, "received"));
        CHECK(is_on(fds[i], "app.log"));
    }
}

static void check_passing(bool several)
{
    int ends[2];
    struct passing passing;
    CHECK_EQUAL(socketpair(AF_UNIX, SOCK_DGRAM, 0, ends), 0);
    pid_t child = fork();
    if (child == 0) {
        close(ends[0]);
        receive_and_write(ends[1], several);
        exit(test_failures);
    }
    int fd = open_log("app.log");
    const int fds[PASSED] = {fd, dup(fd), open("app.log", O_RDWR)};
    write_text(fd, "before\nheld ");
    CHECK_EQUAL(sendmsg(ends[0], prepare(&passing, fds), 0), 1);
    CHECK_EQUAL(exit_status(child), 0);
    write_text(fd, "after\n");
    char wanted[512];
    char *sixty = lines_of(60, "received");
    snprintf(wanted, sizeof wanted, "before\nheld %s%s%safter\n", sixty, sixty, sixty);
    CHECK_TEXT(history("app.log"), wanted);
    CHECK(archives("app.log") >= 2);
}

static void passed_by_recvmsg(void)
{
    check_passing(false);
}

static void passed_by_recvmmsg(void)
{
    check_passing(true);
}

/* To a process without the library: it appends, whatever it asks for, and loses nothing. */
static void passed_to_outside(void)
{
    int fd = open("app.log", O_WRONLY | O_CREAT, 0644);
    write_text(fd, "before\nheld ");
    pid_t child = fork();
    if (child == 0) {
        raw_syscall(SYS_dup3, fd, 1, 0);
        char *const arguments[] = {(char *)(uintptr_t) "sh", (char *)(uintptr_t) "-c",
                                   (char *)(uintptr_t) "echo end; /bin/echo outside", NULL};
        char *const environment[] = {(char *)(uintptr_t) "PATH=/usr/bin:/bin", NULL};
        execve("/bin/sh", arguments, environment);
        _exit(127);
    }
    CHECK_EQUAL(exit_status(child), 0);
    write_text(fd, lines_of(100, "filler")); /* for all that this process knows, it ends its line */
    write_text(fd, "after\n");
    CHECK_EQUAL(archives("app.log"), 1);
    CHECK_EQUAL(strncmp(history("app.log"), "before\nheld end\noutside\nfiller", 30), 0);
}

/* From another process, which goes on writing; the number was once another file's. */
static void check_pidfd(int (*get)(int process, int fd, unsigned flags))
{
    int log = open_log("app.log");
    int data = open("data", O_WRONLY | O_CREAT | O_APPEND, 0644);
    write_text(data, "x\n");
    int self = (int)raw_syscall(SYS_pidfd_open, getpid(), 0);
    raw_close(data);
    int fd = get(self, log, 0);
    CHECK_EQUAL(fd, data);
    write_text(fd, lines_of(60, "one"));
    other_process_writes("app.log", lines_of(60, "two"));
    write_text(fd, lines_of(60, "three"));
    CHECK(is_on(fd, "app.log"));
    CHECK_EQUAL(archives("app.log"), 2);
}

static int getfd_by_number(int process, int fd, unsigned flags)
{
    return (int)syscall(SYS_pidfd_getfd, process, fd, flags);
}

static void taken_by_pidfd(void)
{
    check_pidfd(pidfd_getfd);
}

static void taken_by_pidfd_by_number(void)
{
    check_pidfd(getfd_by_number);
}

/* --- Numbers --- */

static int own_number(void)
{
    for (int fd = 100; fd < 65536; fd++) {
        if (raw_fcntl(fd, F_GETFD, 0) >= 0 && fcntl(fd, F_GETFD) < 0) {
            return fd;
        }
    }
    return -1;
}

/* As without the library: the lowest number that the program does not use, also where the library's own sit. */
static void lowest_free_numbers(void)
{
    int log = open_log("app.log");
    write_text(log, "line\n");
    int own = own_number();
    CHECK(own > 0);
    CHECK_EQUAL(open("/dev/null", O_RDONLY), 4);
    CHECK_EQUAL(dup(log), 5);
    int ends[2];
    CHECK_EQUAL(pipe(ends), 0);
    CHECK_EQUAL(ends[0], 6);
    close(4);
    CHECK_EQUAL(fcntl(log, F_DUPFD, 0), 4);
    for (int round = 0; round < 5; round++) {
        int number = own_number();
        CHECK_EQUAL(fcntl(log, F_DUPFD_CLOEXEC, number), number);
        CHECK_EQUAL(raw_fcntl(number, F_GETFD, 0), FD_CLOEXEC);
        write_text(number, lines_of(60, "own"));
        CHECK(is_on(number, "app.log"));
    }
    CHECK_EQUAL(strlen(history("app.log")), 5 + 5 * 60);
    CHECK(archives("app.log") >= 4);
}

static int open_how(const char *path)
{
    struct {
        uint64_t flags, mode, resolve;
    } how = {.flags = O_WRONLY};
    return (int)syscall(SYS_openat2, AT_FDCWD, path, &how, sizeof how);
}

/* As programs do it that have no other way (openat2), onto a number that was a plain file's and closed unheard. */
static void by_syscall(void)
{
    int log = open_log("app.log");
    for (int way = 0; way < 5; way++) {
        int plain = open("plain", O_WRONLY | O_CREAT, 0644);
        write_text(plain, "plain\n");
        raw_syscall(SYS_close, plain);
        int fd = way == 0   ? (int)syscall(SYS_openat, AT_FDCWD, "app.log", O_WRONLY)
                 : way == 1 ? open_how("app.log")
                 : way == 2 ? (int)syscall(SYS_dup, log)
                 : way == 3 ? (int)syscall(SYS_fcntl, log, F_DUPFD, 0)
                            : (int)syscall(SYS_fcntl, log, F_DUPFD_CLOEXEC, 0);
        CHECK_EQUAL(fd, plain);
        write_text(log, lines_of(60, "log"));
        write_text(fd, lines_of(60, "number"));
        CHECK(is_on(fd, "app.log"));
        CHECK_EQUAL(syscall(SYS_fcntl, fd, F_GETFL) & O_ACCMODE, O_WRONLY);
        close(fd);
    }
    CHECK_EQUAL(strlen(history("app.log")), 10 * 60);
    CHECK(archives("app.log") >= 4);
}

/* Of a thread that is cancelled: libuv closes so because it must go on. */
static void *call_while_cancelled(void *log)
{
    static int reached;
    pthread_cancel(pthread_self());
    int plain = (int)syscall(SYS_openat, AT_FDCWD, "plain", O_WRONLY | O_CREAT, 0644);
    int copy = (int)syscall(SYS_fcntl, *(int *)log, F_DUPFD, 0);
    reached = plain >= 0 && copy >= 0 && syscall(SYS_close, plain) == 0 && syscall(SYS_close, copy) == 0;
    (void)pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, NULL);
    return &reached;
}

static void cancelled_by_no_syscall(void)
{
    int log = open_log("app.log");
    void *result;
    pthread_t thread;
    write_text(log, "one\n");
    CHECK_EQUAL(pthread_create(&thread, NULL, call_while_cancelled, &log), 0);
    CHECK_EQUAL(pthread_join(thread, &result), 0);
    CHECK(result != PTHREAD_CANCELED && *(int *)result);
}

/* syscall(SYS_dup2), as old programs do it, onto the library's numbers; and the program's own high ones stay. */
static void high_numbers(void)
{
    int log = open_log("app.log");
    int mine[64];
    for (int i = 0; i < 64; i++) {
        mine[i] = fcntl(log, F_DUPFD, 1024 - 96 + i);
        CHECK_EQUAL(mine[i], 1024 - 96 + i);
    }
    write_text(mine[5], lines_of(60, "mine"));
    int own = own_number();
    int other = open("other", O_RDWR | O_CREAT, 0644);
#ifdef SYS_dup2
    CHECK_EQUAL(syscall(SYS_dup2, other, own), own);
#else
    CHECK_EQUAL(syscall(SYS_dup3, other, own, 0), own);
#endif
    write_text(own, "data\n");
    for (int i = 0; i < 64; i++) {
        write_text(mine[i], lines_of(60, "again"));
        CHECK(is_on(mine[i], "app.log"));
    }
    CHECK_TEXT(content("other"), "data\n");
    CHECK_EQUAL(strlen(history("app.log")), 65 * 60);
    for (int i = 0; i < 64; i++) {
        CHECK_EQUAL(syscall(SYS_close, mine[i]), 0);
    }
    write_text(log, "end\n");
}

static void waiting_for_a_log(void)
{
    int log = open_log("app.log");
    int numbers[2] = {log, fcntl(log, F_DUPFD, 600)};
    for (int round = 0; round < 3; round++) {
        write_text(log, lines_of(60, "line"));
        for (int i = 0; i < 2; i++) {
            struct pollfd poll_one = {.fd = numbers[i], .events = POLLOUT | POLLIN};
            struct epoll_event event = {.events = EPOLLOUT};
            int epoll = epoll_create1(0);
            fd_set set;
            FD_ZERO(&set);
            FD_SET(numbers[i], &set);
            CHECK_EQUAL(poll(&poll_one, 1, 0), 1);
            CHECK_EQUAL(poll_one.revents, POLLOUT | POLLIN);
            CHECK_EQUAL(select(numbers[i] + 1, NULL, &set, NULL, NULL), 1);
            CHECK(FD_ISSET(numbers[i], &set));
            CHECK_ERROR(epoll_ctl(epoll, EPOLL_CTL_ADD, numbers[i], &event), EPERM);
            close(epoll);
        }
    }
}

/* --- Several descriptors, and streams --- */

/* Five of three kinds, with rotations by anybody in between; lines of one process stay in its order. */
static void five_descriptors(void)
{
    char line[64];
    int fds[5];
    fds[0] = open_log("app.log");
    fds[1] = open("app.log", O_RDWR);
    fds[2] = dup(fds[1]);
    fds[3] = open("app.log", O_WRONLY | O_SYNC | O_NONBLOCK);
    FILE *stream = fopen("app.log", "a+");
    fds[4] = fileno(stream);
    for (int i = 0; i < 100; i++) {
        snprintf(line, sizeof line, "%c line %06d\n", 'a', i);
        if (i % 5 == 4) {
            CHECK(fputs(line, stream) >= 0);
            CHECK_EQUAL(fflush(stream), 0);
        } else {
            write_text(fds[i % 5], line);
        }
        if (i % 20 == 10) {
            other_process_writes("app.log", lines_of(60, "other"));
        }
    }
    int next = 0;
    for (char *at = history("app.log"); *at != '\0'; at = strchr(at, '\n') + 1) {
        if (*at == 'a') {
            CHECK_EQUAL(atoi(at + 7), next);
            next++;
        }
    }
    CHECK_EQUAL(next, 100);
    CHECK_EQUAL(strlen(history("app.log")), 100 * 14 + 5 * 60);
    for (int i = 0; i < 5; i++) {
        write_text(fds[i], "x\n");
        CHECK(is_on(fds[i], "app.log"));
    }
    CHECK_EQUAL(fcntl(fds[3], F_GETFL) & (O_SYNC | O_NONBLOCK), O_SYNC | O_NONBLOCK);
}

/* Duplicates are not known as such, but what synchronises is none of what does not. */
static void inherited_of_two_kinds(void)
{
    int synchronous = raw_open("app.log", O_WRONLY | O_CREAT | O_APPEND | O_SYNC);
    int other = raw_open("app.log", O_WRONLY | O_APPEND);
    for (int i = 0; i < 4; i++) {
        write_text(i % 2 == 0 ? synchronous : other, lines_of(60, "full"));
        CHECK_EQUAL(fcntl(synchronous, F_GETFL) & O_SYNC, O_SYNC);
        CHECK_EQUAL(fcntl(other, F_GETFL) & O_SYNC, 0);
        CHECK(is_on(other, "app.log"));
    }
}

/* The rules of mixing a stream and its descriptor: what is flushed comes before what is written then. */
static void streams_and_writes(void)
{
    int fd = open_log("app.log");
    FILE *first = fdopen(fd, "a");
    FILE *second = fdopen(dup(fd), "a");
    FILE *third = fdopen(fd, "a");
    CHECK_EQUAL(fileno(first), fd);
    CHECK_EQUAL(fileno(third), fd);
    fprintf(first, "1 by a stream\n2 unfinished ");
    fflush(first);
    write_text(fd, "and ended\n");
    setvbuf(second, NULL, _IOLBF, 0);
    fprintf(second, "3 of a second\n");
    write_text(fd, "4 written\n");
    setvbuf(third, NULL, _IONBF, 0);
    fprintf(third, "5 of a third\n");
    fprintf(first, "6 again the first\n");
    fflush(first);
    write_text(fileno(second), "7 by its number\n");
    fputs("8 unflushed\n", third);
    CHECK_TEXT(content("app.log"), "1 by a stream\n2 unfinished and ended\n3 of a second\n4 written\n5 of a third\n"
                                   "6 again the first\n7 by its number\n8 unflushed\n");
    CHECK_EQUAL(fclose(first), 0);
    CHECK_ERROR(write(fd, "x", 1), EBADF);
    CHECK_EQUAL(fclose(second), 0);
}

/* A stream's buffer and plain writes, with a rotation at every third line. */
static void streams_over_rotations(void)
{
    int fd = open_log("app.log");
    FILE *stream = fdopen(fd, "a");
    char wanted[4096] = "";
    for (int i = 0; i < 60; i++) {
        char line[64];
        snprintf(line, sizeof line, "%02d %s of some more length\n", i, i % 2 == 0 ? "stream" : "write");
        strcat(wanted, line);
        if (i % 2 == 0) {
            fprintf(stream, "%02d ", i);
            fflush(stream); /* in mid-line */
            fprintf(stream, "stream of some more length\n");
            fflush(stream);
        } else {
            write_text(fd, line);
        }
    }
    fclose(stream);
    CHECK_TEXT(history("app.log"), wanted);
    CHECK(archives("app.log") >= 15);
}

/* --- Reading back, reserving, mapping --- */

static void reading_what_is_held(void)
{
    char text[32];
    struct stat status;
    struct iovec piece = {text, sizeof text};
    int fd = open("app.log", O_RDWR | O_CREAT, 0644);
    write_text(fd, "line\none");
    CHECK_EQUAL(pread(fd, text, sizeof text, 0), 8);
    CHECK_EQUAL(memcmp(text, "line\none", 8), 0);
    write_text(fd, "\nline\ntwo");
    CHECK_EQUAL(lseek(fd, 0, SEEK_END), 17);
    write_text(fd, "\nline\nthree");
    CHECK_EQUAL(lseek(fd, -5, SEEK_CUR), 23);
    CHECK_EQUAL(read(fd, text, sizeof text), 5);
    CHECK_EQUAL(memcmp(text, "three", 5), 0);
    write_text(fd, "\nline\nfour");
    CHECK_EQUAL(fstat(fd, &status), 0);
    CHECK_EQUAL(status.st_size, 38);
    write_text(fd, "\nline\nfive");
    CHECK_EQUAL(preadv(fd, &piece, 1, 44), 4);
    CHECK_EQUAL(memcmp(text, "five", 4), 0);
    CHECK_TEXT(content("app.log"), "line\none\nline\ntwo\nline\nthree\nline\nfour\nline\nfive");
}

/* Programs that count the bytes of their log: by its size, which must not tear their lines. */
static void looking_at_the_size(void)
{
    struct stat status;
    int fd = open_log("app.log");
    write_text(fd, "line\none");
    CHECK_EQUAL(fstat(fd, &status), 0);
    CHECK_EQUAL(status.st_size, 8);
    CHECK_EQUAL(lseek(fd, 0, SEEK_END), 8);
    CHECK_EQUAL(lseek(fd, 0, SEEK_CUR), 8);
    CHECK_TEXT(content("app.log"), "line\n");
    make_file("app.log", "other\n");
    write_text(fd, " two\n");
    CHECK_TEXT(content("app.log"), "line\nother\none two\n");
    CHECK_EQUAL(lseek(fd, 0, SEEK_CUR), 19);
}

/* A program that reserves space and writes from the start finds no zeros in its log. */
static void reserved_space(void)
{
    int fd = open("app.log", O_WRONLY | O_CREAT, 0644);
    CHECK_EQUAL(posix_fallocate(fd, 0, 65536), 0);
    CHECK_EQUAL(fallocate(fd, 0, 0, 65536), 0);
    CHECK_EQUAL(posix_fallocate(fd, -1, 1), EINVAL);
    CHECK_ERROR(fallocate(fd, 0, 0, 0), EINVAL);
    write_text(fd, "first\n");
    write_text(fd, "second\n");
    CHECK_TEXT(content("app.log"), "first\nsecond\n");
    CHECK_EQUAL(archives("app.log"), 0);
    int appending = open_log("app.log");
    CHECK_EQUAL(posix_fallocate(appending, 0, 20), 0); /* it knew what it did */
    CHECK_EQUAL(raw_size("app.log"), 20);
}

static void mapped(void)
{
    int fd = open("app.log", O_RDWR | O_CREAT, 0644);
    write_text(fd, "line\none");
    struct stat status;
    CHECK_EQUAL(fstat(fd, &status), 0);
    char *memory = mmap(NULL, (size_t)status.st_size, PROT_READ, MAP_SHARED, fd, 0);
    CHECK(memory != MAP_FAILED && memcmp(memory, "line\none", 8) == 0);
    write_text(fd, lines_of(100, "filler"));
    write_text(fd, lines_of(100, "filler"));
    CHECK(archives("app.log") >= 1);
    CHECK(memory != MAP_FAILED && memcmp(memory, "line\none", 8) == 0);
    CHECK_EQUAL(munmap(memory, (size_t)status.st_size), 0);
}

static void copied_by_the_kernel(void)
{
    char wanted[2048] = "";
    int ends[2];
    int others[2];
    int fd = open("app.log", O_WRONLY | O_CREAT, 0644);
    char *sixty = lines_of(60, "source");
    make_file("source", sixty);
    int source = open("source", O_RDONLY);
    off_t offset = 0;
    loff_t from = 20;
    CHECK_EQUAL(pipe(ends) | pipe(others), 0);
    for (int round = 0; round < 3; round++) {
        offset = 0;
        from = 20;
        CHECK_EQUAL(sendfile(fd, source, &offset, 60), 60);
        CHECK_EQUAL(copy_file_range(source, &from, fd, NULL, 100, 0), 40);
        CHECK_EQUAL(write(ends[1], sixty, 60), 60);
        CHECK_EQUAL(tee(ends[0], others[1], 60, 0), 60);
        CHECK_EQUAL(splice(ends[0], NULL, fd, NULL, 60, 0), 60);
        CHECK_EQUAL(splice(others[0], NULL, fd, NULL, 60, SPLICE_F_MOVE), 60);
        strcat(strcat(strcat(strcat(wanted, sixty), sixty + 20), sixty), sixty);
    }
    CHECK_ERROR(sendfile(fd, 77, NULL, 10), EBADF);
    CHECK_TEXT(history("app.log"), wanted);
    CHECK(archives("app.log") >= 5);
}

static void asynchronous(void)
{
    char text[] = "line of aio\n";
    int fd = open_log("app.log");
    write_text(fd, "before\n");
    for (int i = 0; i < 3; i++) {
        struct aiocb control = {.aio_fildes = fd, .aio_buf = text, .aio_nbytes = sizeof text - 1};
        const struct aiocb *const list[] = {&control};
        other_process_writes("app.log", lines_of(100, "other"));
        CHECK_EQUAL(aio_write(&control), 0);
        while (aio_error(&control) == EINPROGRESS) {
            aio_suspend(list, 1, NULL);
        }
        CHECK_EQUAL(aio_return(&control), sizeof text - 1);
        write_text(fd, "after\n");
    }
    CHECK_EQUAL(strlen(history("app.log")), 7 + 3 * (100 + sizeof text - 1 + 6));
}

/* Owner and signal of a descriptor, and O_ASYNC, do nothing for a file; they can be set all the same. */
static void flags_without_meaning(void)
{
    int fd = open_log("app.log");
    CHECK_EQUAL(fcntl(fd, F_SETOWN, getpid()), 0);
    CHECK_EQUAL(fcntl(fd, F_GETOWN), getpid());
    CHECK_EQUAL(fcntl(fd, F_SETFL, O_APPEND | O_ASYNC | O_NONBLOCK), 0);
    for (int i = 0; i < 3; i++) {
        write_text(fd, lines_of(60, "line"));
        CHECK_EQUAL(fcntl(fd, F_GETFL) & (O_APPEND | O_NONBLOCK), O_APPEND | O_NONBLOCK);
    }
    CHECK_EQUAL(fcntl(fd, F_SETFL, 0), 0);
    CHECK_EQUAL(fcntl(fd, F_GETFL) & (O_APPEND | O_NONBLOCK), 0);
    CHECK_EQUAL(lseek(fd, 0, SEEK_SET), 0);
    write_text(fd, lines_of(60, "line"));
    CHECK_EQUAL(strlen(history("app.log")), 4 * 60);
}

int main(int count, char **arguments)
{
    static const struct test tests[] = {
        {"descriptors_received_by_recvmsg_go_on_in_order", BYTES, passed_by_recvmsg, NULL, NULL},
        {"descriptors_received_by_recvmmsg_go_on_in_order", BYTES, passed_by_recvmmsg, NULL, NULL},
        {"a_program_without_the_library_appends_behind_what_was_held", BYTES, passed_to_outside, NULL, NULL},
        {"a_descriptor_taken_by_pidfd_getfd_is_managed", BYTES, taken_by_pidfd, NULL, NULL},
        {"a_descriptor_taken_by_the_number_of_pidfd_getfd_is_managed", BYTES, taken_by_pidfd_by_number, NULL, NULL},
        {"free_numbers_are_those_without_the_library", BYTES, lowest_free_numbers, NULL, NULL},
        {"descriptors_made_by_syscall_are_looked_at", BYTES, by_syscall, NULL, NULL},
        {"a_call_by_number_is_no_cancellation_point", BYTES, cancelled_by_no_syscall, NULL, NULL},
        {"a_program_has_high_numbers_of_its_own", BYTES, high_numbers, NULL, NULL},
        {"select_poll_and_epoll_say_what_they_say_of_a_file", BYTES, waiting_for_a_log, NULL, NULL},
        {"one_log_through_five_descriptors_is_in_order", BYTES, five_descriptors, NULL, NULL},
        {"what_was_inherited_keeps_its_way_of_synchronising", BYTES, inherited_of_two_kinds, NULL, NULL},
        {"streams_and_writes_to_one_descriptor_are_in_order", WHOLE, streams_and_writes, NULL, NULL},
        {"streams_and_writes_are_in_order_over_rotations", BYTES, streams_over_rotations, NULL, NULL},
        {"a_program_reads_back_all_that_it_wrote", WHOLE, reading_what_is_held, NULL, NULL},
        {"a_look_at_the_size_counts_what_is_held_and_tears_no_line", WHOLE, looking_at_the_size, NULL, NULL},
        {"reserving_space_puts_no_zeros_into_a_log", BYTES, reserved_space, NULL, NULL},
        {"a_mapped_log_stays_what_it_was", BYTES, mapped, NULL, NULL},
        {"sendfile_splice_tee_and_copy_file_range_fill_a_log", BYTES, copied_by_the_kernel, NULL, NULL},
        {"asynchronous_writes_are_not_lost", BYTES, asynchronous, NULL, NULL},
        {"owner_and_status_flags_can_be_set", BYTES, flags_without_meaning, NULL, NULL},
    };
    return test_main(count, arguments, tests, TEST_COUNT(tests));
}
