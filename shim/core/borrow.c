#include "borrow.h"

#include "diag.h"
#include "own.h"
#include "sys.h"
#include "sys_call.h"

#include "../../include/mplogshim.h"

#include <errno.h>
#include <stddef.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

/* System calls by number: libc's connect and recvmsg are cancellation points. */

unsigned borrow_name(uint64_t number, char *name)
{
    name[0] = '\0';
    return 1 + (unsigned)diag_format(name + 1, BORROW_NAME_SIZE - 1, "mplogshim/%llu", (unsigned long long)number);
}

enum { PATIENCE_NS = 250000000 }; /* for each step */

/*
 * A call on a socket that has a timeout is not restarted after a signal, whatever the handler's flags are. It is made
 * again, for as long as it may take without signals.
 */
static long call_again(long call, int fd, long a, long b)
{
    long result;
    int64_t deadline = sys_now(CLOCK_MONOTONIC) + PATIENCE_NS;
    do {
        result = sys_call(call, fd, a, b, 0, 0, 0);
    } while (result == -EINTR && sys_now(CLOCK_MONOTONIC) < deadline);
    return result;
}

static int set_timeouts(int fd)
{
    const struct timeval limit = {.tv_usec = PATIENCE_NS / 1000};
    long error = sys_call(SYS_setsockopt, fd, SOL_SOCKET, SO_SNDTIMEO, (long)&limit, sizeof limit, 0);
    return error != 0 ? (int)error
                      : (int)sys_call(SYS_setsockopt, fd, SOL_SOCKET, SO_RCVTIMEO, (long)&limit, sizeof limit, 0);
}

/* Anybody may listen under a name: only root, or the user that this process runs as, is shown the descriptor. */
static int check_peer(int fd)
{
    struct ucred peer;
    socklen_t size = sizeof peer;
    long error = sys_call(SYS_getsockopt, fd, SOL_SOCKET, SO_PEERCRED, (long)&peer, (long)&size, 0);
    if (error != 0) {
        return (int)error;
    }
    return peer.uid == 0 || peer.uid == geteuid() ? 0 : -ESRCH;
}

/* By the lock file, open as `lock`. */
static int connect_to_keeper(int lock)
{
    int64_t number;
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    if (!lockfile_read_from(lock, LOCKFILE_KEEPER, &number) || number <= 0) {
        return -ESRCH;
    }
    socklen_t size =
        (socklen_t)(offsetof(struct sockaddr_un, sun_path) + borrow_name((uint64_t)number, address.sun_path));
    int fd = (int)sys_call(SYS_socket, AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, 0, 0, 0);
    if (fd < 0) {
        return fd;
    }
    int error = set_timeouts(fd);
    error = error != 0 ? error : (int)call_again(SYS_connect, fd, (long)&address, size);
    error = error != 0 ? error : check_peer(fd);
    if (error != 0) {
        sys.close(fd);
        return error == -ECONNREFUSED ? -ESRCH : error;
    }
    return fd;
}

/* A message of one byte, with room for one descriptor: CMSG_SPACE has room for two, and the other would stay open. */
struct message {
    struct msghdr header;
    struct iovec piece;
    char byte;
    union {
        struct cmsghdr head;
        char room[CMSG_SPACE(sizeof(int))];
    } control;
};

static void prepare(struct message *message, char byte)
{
    memset(message, 0, sizeof *message);
    message->byte = byte;
    message->piece = (struct iovec){.iov_base = &message->byte, .iov_len = 1};
    message->header = (struct msghdr){.msg_iov = &message->piece,
                                      .msg_iovlen = 1,
                                      .msg_control = &message->control,
                                      .msg_controllen = CMSG_LEN(sizeof(int))};
}

static int show(int keeper, char what, int fd)
{
    struct message message;
    prepare(&message, what);
    message.control.head =
        (struct cmsghdr){.cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS, .cmsg_len = CMSG_LEN(sizeof fd)};
    memcpy(CMSG_DATA(&message.control.head), &fd, sizeof fd);
    long sent = call_again(SYS_sendmsg, keeper, (long)&message.header, MSG_NOSIGNAL);
    return sent < 0 ? (int)sent : 0;
}

static int receive(int keeper)
{
    int fd;
    struct message message;
    prepare(&message, '\0');
    long got = call_again(SYS_recvmsg, keeper, (long)&message.header, MSG_CMSG_CLOEXEC);
    if (got < 0) {
        return (int)got;
    }
    if (message.header.msg_controllen < CMSG_LEN(sizeof fd) || message.control.head.cmsg_type != SCM_RIGHTS) {
        return -EACCES; /* it did not like what it was shown */
    }
    memcpy(&fd, CMSG_DATA(&message.control.head), sizeof fd);
    return fd;
}

/* Not one of the three standard numbers, which another thread of a program that closed them may still write to. */
static int above_standard(int fd)
{
    if (fd < 0 || fd > STDERR_FILENO) {
        return fd;
    }
    int moved = sys.fcntl(fd, F_DUPFD_CLOEXEC, STDERR_FILENO + 1);
    sys.close(fd);
    return moved;
}

static int borrow(int lock, char what, int fd)
{
    int keeper = above_standard(connect_to_keeper(lock));
    if (keeper < 0) {
        return keeper;
    }
    int error = show(keeper, what, fd);
    int lent = error != 0 ? error : above_standard(receive(keeper));
    sys.close(keeper);
    return lent;
}

int borrow_live(const struct lockfile *lockfile, int fd)
{
    return borrow(lockfile->fd, BORROW_LIVE, fd);
}

int borrow_lock(int directory, const char *name, int fd, bool patient)
{
    enum { ATTEMPTS = 20 };
    const struct timespec pause = {.tv_nsec = 5000000};
    struct stat status;
    int lock = own_open(directory, name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK | O_NOCTTY, 0);
    if (lock < 0) {
        return lock;
    }
    int lent = sys.fstat(lock, &status);
    bool marked = lent == 0 && (status.st_mode & S_ISVTX) != 0;
    lent = marked ? borrow(lock, BORROW_LOCK, fd) : -ESRCH;
    for (int attempt = 1; lent == -ESRCH && marked && patient && attempt < ATTEMPTS; attempt++) {
        sys.sleep(&pause);
        lent = borrow(lock, BORROW_LOCK, fd);
    }
    sys.close(lock);
    return lent;
}
