/* Snippets for the functions of hook_fd.c. See scene.h. */
#ifndef TESTS_SNIPPETS_DESCRIPTOR_H
#define TESTS_SNIPPETS_DESCRIPTOR_H

#include "scene.h"

#include <pty.h>
#include <sys/socket.h>
#include <utmp.h>

extern int pidfd_getfd(int process, int fd, unsigned flags);
extern int __close(int fd);
extern int __dup2(int from, int to);
extern int __fcntl(int fd, int command, ...);
extern int fcntl64(int fd, int command, ...);

/* A free number far from the others, the same in every run. */
enum { FREE_NUMBER = 50 };

static void run_close(scene_function call)
{
    int (*function)(int) = (int (*)(int))call;
    write_unfinished(scene.fd);
    note(scene.hook, function(scene.fd));
    note("all in the file", unfinished_is_there());
    note("again", function(scene.fd));
    note("flags", raw_fcntl(scene.fd, F_GETFD, 0));
    int fd = open_log();
    note("same number", fd == scene.fd);
    write_after(fd);
}

static void after_closing_many(int fd)
{
    note("all in the file", unfinished_is_there());
    note("flags", raw_fcntl(fd, F_GETFD, 0));
    int again = open_log();
    write_after(again);
}

static void run_closefrom(scene_function call)
{
    (void)call;
    write_unfinished(scene.fd);
    closefrom(scene.fd);
    note("closefrom", 0);
    after_closing_many(scene.fd);
}

static void run_close_range(scene_function call)
{
    (void)call;
    note("mark", close_range((unsigned)scene.fd, ~0U, CLOSE_RANGE_CLOEXEC));
    note_flags("flags", scene.fd);
    write_unfinished(scene.fd);
    note("one", close_range((unsigned)scene.fd, (unsigned)scene.fd, 0));
    after_closing_many(scene.fd);
    note("all", close_range(3, ~0U, 0));
    note("the wrong way round", close_range(9, 5, 0));
    note("bad flags", close_range(3, 5, 1 << 30));
    scene.fd = open_log();
    write_after(scene.fd);
}

static void duplicated(int fd)
{
    note(scene.hook, fd);
    note_flags("flags", fd);
    long result = write(fd, scene.line, strlen(scene.line));
    expect(scene.line, result);
    note("write", result);
    note("live", raw_is_on(fd, scene.log));
    write_after(scene.fd);
    note("close", close(fd));
}

static void run_dup(scene_function call)
{
    int (*function)(int) = (int (*)(int))call;
    duplicated(function(scene.fd));
    note("closed", function(FREE_NUMBER));
}

/* What is held of a line is in the file before something else takes the descriptor's place. */
static void replaced_by(int (*function)(int from, int to, int flags), int flags)
{
    duplicated(function(scene.fd, FREE_NUMBER, flags));
    int duplicate = function(scene.fd, FREE_NUMBER, flags);
    write_unfinished(duplicate);
    int null = raw_open("/dev/null", O_WRONLY);
    errno = SCENE_ERRNO;
    note("over the log", function(null, duplicate, flags));
    note("all in the file", unfinished_is_there());
    note("to the other file", write(duplicate, "lost\n", 5));
    raw_close(null);
    errno = SCENE_ERRNO;
    note("back", function(scene.fd, duplicate, flags));
    write_after(duplicate);
    note("of a closed one", function(FREE_NUMBER + 1, duplicate, flags));
    write_after(duplicate);
    note("bad number", function(scene.fd, -1, flags));
}

static int (*two_arguments)(int, int);

static int without_flags(int from, int to, int flags)
{
    (void)flags;
    return two_arguments(from, to);
}

static void run_dup2(scene_function call)
{
    two_arguments = (int (*)(int, int))call;
    replaced_by(without_flags, 0);
    note("onto itself", two_arguments(scene.fd, scene.fd));
}

static void run_dup3(scene_function call)
{
    (void)call;
    replaced_by(dup3, O_CLOEXEC);
    note("onto itself", dup3(scene.fd, scene.fd, 0));
    note("bad flags", dup3(scene.fd, FREE_NUMBER, O_APPEND));
}

static void run_fcntl(scene_function call)
{
    int (*function)(int, int, ...) = (int (*)(int, int, ...))call;
    duplicated(function(scene.fd, F_DUPFD, FREE_NUMBER));
    duplicated(function(scene.fd, F_DUPFD_CLOEXEC, FREE_NUMBER));
    note("set flags", function(scene.fd, F_SETFD, FD_CLOEXEC));
    note("set status", function(scene.fd, F_SETFL, scene.append | O_NONBLOCK));
    note("get status", function(scene.fd, F_GETFL) & ~O_APPEND);
    write_after(scene.fd);
    note_flags("kept", scene.fd);
    note("without append", function(scene.fd, F_SETFL, 0));
    write_after(scene.fd);
    note("closed", function(FREE_NUMBER, F_GETFD));
    note("bad command", function(scene.fd, 12345, 0));
}

/* Programs that close and duplicate by number of the call. */
static void run_syscall(scene_function call)
{
    long (*function)(long, ...) = (long (*)(long, ...))call;
    duplicated((int)function(SYS_dup3, scene.fd, FREE_NUMBER, O_CLOEXEC));
    note("dup", function(SYS_dup, scene.fd));
    write_unfinished(scene.fd);
    note("close", function(SYS_close, scene.fd));
    note("all in the file", unfinished_is_there());
    note("again", function(SYS_close, scene.fd));
    note("flags", raw_fcntl(scene.fd, F_GETFD, 0));
    note("same number", open_log() == scene.fd);
    write_unfinished(scene.fd);
    note("close_range", function(SYS_close_range, scene.fd, scene.fd, 0));
    note("all in the file", unfinished_is_there());
    note("getpid", function(SYS_getpid) == getpid());
    note("no such call", function(100000L));
    note("same number", open_log() == scene.fd);
    write_after(scene.fd);
}

/* Passes scene.fd through a socket; the message that receives it is given to `receive`. */
static void passed_through_socket(ssize_t (*receive)(int socket, struct msghdr *message))
{
    int ends[2];
    union {
        struct cmsghdr header;
        char room[CMSG_SPACE(sizeof(int))];
    } control;
    char byte = 'x';
    struct iovec vector = {&byte, 1};
    struct msghdr message = {
        .msg_iov = &vector, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof control};
    memset(&control, 0, sizeof control);
    control.header.cmsg_level = SOL_SOCKET;
    control.header.cmsg_type = SCM_RIGHTS;
    control.header.cmsg_len = CMSG_LEN(sizeof(int));
    memcpy(CMSG_DATA(&control.header), &scene.fd, sizeof scene.fd);
    note("socketpair", socketpair(AF_UNIX, SOCK_DGRAM, 0, ends));
    note("sendmsg", sendmsg(ends[0], &message, 0));
    memset(&control, 0, sizeof control);
    note(scene.hook, receive(ends[1], &message));
    int fd = -1;
    memcpy(&fd, CMSG_DATA(&control.header), sizeof fd);
    duplicated(fd);
    close(ends[0]);
    close(ends[1]);
}

static ssize_t receive_one(int socket, struct msghdr *message)
{
    return recvmsg(socket, message, MSG_CMSG_CLOEXEC);
}

static ssize_t receive_several(int socket, struct msghdr *message)
{
    struct mmsghdr several = {.msg_hdr = *message, .msg_len = 0};
    return recvmmsg(socket, &several, 1, MSG_CMSG_CLOEXEC, NULL);
}

static void run_recvmsg(scene_function call)
{
    (void)call;
    passed_through_socket(receive_one);
}

static void run_recvmmsg(scene_function call)
{
    (void)call;
    passed_through_socket(receive_several);
}

/* What is held of a log is in its file before another process may write there. */
static void passed_by(ssize_t (*send)(int socket, struct msghdr *message))
{
    int ends[2];
    union {
        struct cmsghdr header;
        char room[CMSG_SPACE(sizeof(int))];
    } control;
    char byte = 'x';
    struct iovec vector = {&byte, 1};
    struct msghdr message = {
        .msg_iov = &vector, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof control};
    memset(&control, 0, sizeof control);
    control.header.cmsg_level = SOL_SOCKET;
    control.header.cmsg_type = SCM_RIGHTS;
    control.header.cmsg_len = CMSG_LEN(sizeof(int));
    memcpy(CMSG_DATA(&control.header), &scene.fd, sizeof scene.fd);
    note("socketpair", socketpair(AF_UNIX, SOCK_DGRAM, 0, ends));
    write_unfinished(scene.fd);
    note(scene.hook, send(ends[0], &message));
    note("all in the file", unfinished_is_there());
    close(ends[0]);
    close(ends[1]);
    write_after(scene.fd);
}

static ssize_t send_one(int socket, struct msghdr *message)
{
    return sendmsg(socket, message, 0);
}

static ssize_t send_several(int socket, struct msghdr *message)
{
    struct mmsghdr several[2] = {{.msg_hdr = {.msg_iov = message->msg_iov, .msg_iovlen = 1}}, {.msg_hdr = *message}};
    return sendmmsg(socket, several, 2, 0);
}

static void run_sendmsg(scene_function call)
{
    (void)call;
    passed_by(send_one);
}

static void run_sendmmsg(scene_function call)
{
    (void)call;
    passed_by(send_several);
}

static void run_pidfd_getfd(scene_function call)
{
    (void)call;
    int self = (int)raw_syscall(SYS_pidfd_open, raw_syscall(SYS_getpid), 0);
    int fd = pidfd_getfd(self, scene.fd, 0);
    duplicated(fd);
    close(self);
}

/* In a session of its own, with 1 on the log until the terminal takes its place. */
static void run_login_tty(scene_function call)
{
    (void)call;
    int terminal = posix_openpt(O_RDWR | O_NOCTTY);
    char name[64] = "";
    if (terminal < 0 || grantpt(terminal) != 0 || unlockpt(terminal) != 0 ||
        ptsname_r(terminal, name, sizeof name) != 0) {
        _exit(1);
    }
    errno = SCENE_ERRNO;
    note("dup2", dup2(scene.fd, 1));
    int slave = open(name, O_RDWR | O_NOCTTY);
    write_unfinished(1);
    note("login_tty", login_tty(slave));
    note("all in the file", unfinished_is_there());
    note("to the terminal", write(1, "x", 1));
    note("terminal", isatty(1));
    _exit(5);
}

/* The child's 1 is on the log until the terminal takes its place; what it writes comes to the parent by the terminal.
 */
static void run_forkpty(scene_function call)
{
    (void)call;
    int terminal = -1;
    char text[8] = "";
    note("dup2", dup2(scene.fd, 1));
    write_unfinished(1);
    errno = SCENE_ERRNO;
    pid_t child = forkpty(&terminal, NULL, NULL, NULL);
    if (child == 0) {
        note("all in the file", unfinished_is_there());
        note("to the terminal", write(1, "begun", 5));
        note("terminal", isatty(1));
        _exit(3);
    }
    while (raw_syscall(SYS_read, terminal, text, 5) < 0 && errno == EINTR) {
    }
    note_child(child);
    note("from the terminal", strcmp(text, "begun"));
    _exit(6);
}

/* The daemon is waited for by the pipe that it holds open: nobody is its parent any more. */
static void run_daemon(scene_function call)
{
    (void)call;
    int ends[2];
    char byte;
    note("dup2", dup2(scene.fd, 1));
    note("pipe", pipe(ends));
    write_unfinished(1);
    pid_t child = fork();
    if (child == 0) {
        errno = SCENE_ERRNO;
        note("daemon", daemon(1, 0));
        note("all in the file", unfinished_is_there());
        note("to nobody", write(1, "lost\n", 5));
        int again = open_log();
        write_after(again);
        _exit(3);
    }
    raw_close(ends[1]);
    while (raw_syscall(SYS_read, ends[0], &byte, 1) < 0 && errno == EINTR) {
    }
    note_child(child);
    _exit(6);
}

static const struct snippet snippets_descriptor[] = {
    {"close", run_close, CALL(close), SIGNAL_SAFE | CANCEL_POINT | LEAVES},
    {"__close", run_close, CALL(__close), SIGNAL_SAFE | CANCEL_POINT | LEAVES},
    {"closefrom", run_closefrom, CALL(closefrom), SIGNAL_SAFE | LEAVES},
    {"close_range", run_close_range, CALL(close_range), SIGNAL_SAFE | LEAVES},
    {"dup", run_dup, CALL(dup), SIGNAL_SAFE},
    {"dup2", run_dup2, CALL(dup2), SIGNAL_SAFE},
    {"__dup2", run_dup2, CALL(__dup2), SIGNAL_SAFE},
    {"dup3", run_dup3, CALL(dup3), SIGNAL_SAFE},
    {"fcntl", run_fcntl, CALL(fcntl), SIGNAL_SAFE},
    {"fcntl64", run_fcntl, CALL(fcntl64), SIGNAL_SAFE},
    {"__fcntl", run_fcntl, CALL(__fcntl), SIGNAL_SAFE},
    {"syscall", run_syscall, CALL(syscall), SIGNAL_SAFE},
    {"recvmsg", run_recvmsg, CALL(recvmsg), 0},
    {"recvmmsg", run_recvmmsg, CALL(recvmmsg), 0},
    {"sendmsg", run_sendmsg, CALL(sendmsg), 0},
    {"sendmmsg", run_sendmmsg, CALL(sendmmsg), 0},
    {"pidfd_getfd", run_pidfd_getfd, CALL(pidfd_getfd), 0},
    {"login_tty", run_login_tty, CALL(login_tty), ENDS},
    {"forkpty", run_forkpty, CALL(forkpty), ENDS},
    {"daemon", run_daemon, CALL(daemon), ENDS},
};

#endif
