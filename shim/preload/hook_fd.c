/*
 * close, dup, fcntl and what else makes, moves or ends descriptors.
 */
#include "hook.h"

#include "descriptor_private.h"
#include "hook_identity.h"
#include "hook_read.h"
#include "stdio.h"

#include "core/diag.h"
#include "core/guard.h"
#include "core/own.h"
#include "core/sys_call.h"

#include <limits.h>
#include <linux/seccomp.h>
#include <stdint.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>
#include <utmp.h>

EXPORT int close(int fd)
{
    if (descriptor_is_own(fd)) {
        errno = EBADF;
        return -1;
    }
    if (descriptor_state(fd) <= DESCRIPTOR_PLAIN) {
        return real.close(fd);
    }
    int saved = errno;
    return (int)hook_result(saved, descriptor_close(fd));
}
EXPORT_ALIAS(__close, close);

/*
 * The managed descriptors of a range that is about to be closed by the kernel. Those of lock files are closed here,
 * while nobody has the lock; in a table of descriptors that is not shared any more (`flags`) nobody has.
 */
static void forget_range(unsigned first, unsigned last, int flags)
{
    int highest = descriptor_highest_managed();
    for (unsigned fd = first; highest >= 0 && fd <= (unsigned)highest && fd <= last; fd++) {
        if (descriptor_writer((int)fd) != NULL) {
            descriptor_forget((int)fd);
        } else if (flags == 0 && descriptor_state((int)fd) == DESCRIPTOR_LOCK) {
            descriptor_close((int)fd);
        }
    }
}

/* close_range around the shim's own descriptors. */
static int close_around_own(unsigned first, unsigned last, int flags)
{
    int result = 0;
    while (result == 0 && first <= last) {
        int own = first <= INT_MAX ? own_next((int)first) : INT_MAX;
        if (own == INT_MAX || (unsigned)own > last) {
            return real.close_range(first, last, flags);
        }
        if ((unsigned)own > first) {
            result = real.close_range(first, (unsigned)own - 1, flags);
        }
        first = (unsigned)own + 1;
    }
    return result;
}

EXPORT int close_range(unsigned first, unsigned last, int flags)
{
    enum { CLOSE_RANGE_ONLY_MARK = 1 << 2 /* CLOSE_RANGE_CLOEXEC */ };
    if ((flags & (int)CLOSE_RANGE_UNSHARE) != 0) {
        descriptor_stop_thread(); /* it would keep open what is closed here */
    }
    if (first > last || (flags & CLOSE_RANGE_ONLY_MARK) || !descriptor_active()) {
        return real.close_range(first, last, flags);
    }
    int saved = errno;
    if (!descriptor_foreign_memory()) {
        forget_range(first, last, flags);
    }
    errno = saved;
    return close_around_own(first, last, flags);
}

EXPORT void closefrom(int first)
{
    unsigned from = first < 0 ? 0 : (unsigned)first;
    if (!descriptor_active() || close_range(from, UINT_MAX, 0) != 0) {
        real.closefrom(first);
    }
}

/* What a made descriptor is must not be taken from the number's former life. */
static int made_unknown(int fd)
{
    if (fd >= 0) {
        int saved = errno;
        descriptor_replaced(fd);
        errno = saved;
    }
    return fd;
}

/* After a duplicate was made: what stdout and stderr are may have changed. */
static int redirected(int fd)
{
    if (fd == STDERR_FILENO) {
        diag_stderr_is();
    }
    stdio_redirected(fd);
    return fd;
}

#ifdef MPLOGSHIM_SYS_CALL
/* With SECCOMP_FILTER_FLAG_NEW_LISTENER the result is a descriptor; without, a thread that could not be synchronised.
 */
static long install_filter(long operation, unsigned long flags, long argument)
{
    if (operation != SECCOMP_SET_MODE_STRICT && operation != SECCOMP_SET_MODE_FILTER) {
        return real.syscall(SYS_seccomp, operation, (long)flags, argument, 0, 0, 0);
    }
    int saved = errno;
    struct filtering filtering;
    descriptor_before_filter(&filtering);
    errno = saved;
    long result = real.syscall(SYS_seccomp, operation, (long)flags, argument, 0, 0, 0);
    descriptor_after_filter(&filtering, result == 0 || (result > 0 && (flags & SECCOMP_FILTER_FLAG_NEW_LISTENER) != 0));
    return result;
}

/* What waits comes before what a child writes. */
static void empty_all(void)
{
    int saved = errno;
    if (descriptor_active() && !descriptor_foreign_memory()) {
        descriptor_empty_all();
    }
    errno = saved;
}

/* What it is, is looked at when it is used. No open of libc's instead: that may be cancelled, and is another call. */
static long opened_by_number(long fd)
{
    stdio_redirected(made_unknown((int)fd));
    return fd;
}

/*
 * Some runtimes close and look by number (libuv), libseccomp installs filters so, threads change their user so, and
 * openat2 is not to be had otherwise: what makes, closes, replaces or looks at a descriptor, forks, gives up privileges
 * or ends is heard here as well. Every other system call is left to itself.
 */
EXPORT long syscall(long number, ...)
{
    va_list list;
    long a[6];
    va_start(list, number);
    for (int i = 0; i < 6; i++) {
        a[i] = va_arg(list, long);
    }
    va_end(list);
    switch (number) {
    case SYS_seccomp:
        return install_filter(a[0], (unsigned long)a[1], a[2]);
    case SYS_prctl:
        return prctl((int)a[0], a[1], a[2], a[3], a[4]);
    case SYS_pidfd_getfd:
    case SYS_openat:
    case SYS_openat2:
#ifdef SYS_open
    case SYS_open:
    case SYS_creat:
#endif
        return opened_by_number(real.syscall(number, a[0], a[1], a[2], a[3], a[4], a[5]));
    case SYS_fcntl:
        if (a[1] != F_DUPFD && a[1] != F_DUPFD_CLOEXEC) {
            return real.syscall(number, a[0], a[1], a[2], a[3], a[4], a[5]);
        }
        return opened_by_number(real.syscall(number, a[0], a[1], a[2], a[3], a[4], a[5]));
    case SYS_dup:
        return descriptor_active() ? dup((int)a[0]) : (int)real.syscall(number, a[0], a[1], a[2], a[3], a[4], a[5]);
    case SYS_close:
        if (!descriptor_is_own((int)a[0]) && descriptor_state((int)a[0]) <= DESCRIPTOR_PLAIN) {
            return real.syscall(number, a[0], a[1], a[2], a[3], a[4], a[5]);
        }
        return close((int)a[0]);
    case SYS_close_range:
        return close_range((unsigned)a[0], (unsigned)a[1], (int)a[2]);
    case SYS_exit_group:
        _exit((int)a[0]);
    case SYS_exit:
        guard_abandon();
        descriptor_stop_thread(); /* with it, a process would live on that has no other */
        return real.syscall(number, a[0]);
#ifdef SYS_fork
    case SYS_fork:
#endif
    case SYS_clone:
    case SYS_clone3:
        empty_all();
        descriptor_share_locks(true);
        return real.syscall(number, a[0], a[1], a[2], a[3], a[4], a[5]);
    case SYS_statx: { /* libuv's fstat */
        size_t held = look_before((int)a[0], (int)a[2]);
        int result = (int)real.syscall(number, a[0], a[1], a[2], a[3], a[4], a[5]);
        return statx_after(result, (int)a[0], (const char *)a[1], (int)a[2], held, (struct statx *)a[4]);
    }
    case SYS_dup3:
        return dup3((int)a[0], (int)a[1], (int)a[2]);
#ifdef SYS_dup2
    case SYS_dup2:
        return dup2((int)a[0], (int)a[1]);
#endif
    default:
        identity_before_syscall(number, a);
        return real.syscall(number, a[0], a[1], a[2], a[3], a[4], a[5]);
    }
}
#endif

EXPORT int dup(int fd)
{
    if (descriptor_is_own(fd)) {
        errno = EBADF;
        return -1;
    }
    int copy = real.dup(fd);
    if (copy >= 0) {
        int saved = errno;
        descriptor_duplicated(fd, copy);
        errno = saved;
    }
    return redirected(copy);
}

EXPORT int dup2(int from, int to)
{
    if (!descriptor_active() || (from == to && !descriptor_is_own(from))) {
        return real.dup2(from, to);
    }
    int saved = errno;
    return redirected((int)hook_result(saved, descriptor_dup3(from, to, 0)));
}
EXPORT_ALIAS(__dup2, dup2);

EXPORT int dup3(int from, int to, int flags)
{
    if (!descriptor_active() || (from == to && !descriptor_is_own(from))) {
        return real.dup3(from, to, flags);
    }
    int saved = errno;
    return redirected((int)hook_result(saved, descriptor_dup3(from, to, flags)));
}

EXPORT int fcntl(int fd, int command, ...)
{
    va_list arguments;
    va_start(arguments, command);
    long argument = va_arg(arguments, long);
    va_end(arguments);
    if (descriptor_is_own(fd)) {
        errno = EBADF;
        return -1;
    }
    bool asks = false;
    if (command == F_SETFL && descriptor_writer(fd) != NULL) {
        asks = (argument & O_APPEND) != 0;
        argument |= O_APPEND;
    }
    bool duplicates = command == F_DUPFD || command == F_DUPFD_CLOEXEC;
    int result = duplicates ? descriptor_dup_from(fd, command, argument) : real.fcntl(fd, command, argument);
    if (result >= 0 && command == F_SETFL) {
        descriptor_show_append(fd, asks);
    } else if (result >= 0 && command == F_GETFL && !descriptor_shows_append(fd)) {
        result &= ~O_APPEND;
    }
    if (result >= 0 && duplicates) {
        int saved = errno;
        descriptor_duplicated(fd, result);
        errno = saved;
        return redirected(result);
    }
    return result;
}
EXPORT_ALIAS(fcntl64, fcntl);
int __fcntl(int fd, int command, ...);
EXPORT_ALIAS(__fcntl, fcntl);

/* The i-th descriptor in a part of a message's control data. */
static bool passed_descriptor(struct cmsghdr *part, size_t i, int *fd)
{
    if (part->cmsg_level != SOL_SOCKET || part->cmsg_type != SCM_RIGHTS ||
        part->cmsg_len < CMSG_LEN((i + 1) * sizeof *fd)) {
        return false;
    }
    __builtin_memcpy(fd, CMSG_DATA(part) + i * sizeof *fd, sizeof *fd);
    return true;
}

/* Descriptors that came over a socket: known by nothing yet. */
static void forget_received(struct msghdr *message)
{
    int saved = errno;
    for (struct cmsghdr *part = CMSG_FIRSTHDR(message); part != NULL; part = CMSG_NXTHDR(message, part)) {
        int fd;
        for (size_t i = 0; passed_descriptor(part, i, &fd); i++) {
            descriptor_replaced(fd);
        }
    }
    errno = saved;
}

EXPORT ssize_t recvmsg(int fd, struct msghdr *message, int flags)
{
    ssize_t size = real.recvmsg(fd, message, flags);
    if (size >= 0 && message->msg_controllen > 0 && descriptor_active()) {
        forget_received(message);
    }
    return size;
}

EXPORT int recvmmsg(int fd, struct mmsghdr *messages, unsigned count, int flags, struct timespec *timeout)
{
    int received = real.recvmmsg(fd, messages, count, flags, timeout);
    for (int i = 0; i < received && descriptor_active(); i++) {
        if (messages[i].msg_hdr.msg_controllen > 0) {
            forget_received(&messages[i].msg_hdr);
        }
    }
    return received;
}

/* What is held of the logs that a message passes on belongs before what the receiver writes to them. */
static void release_passed(const struct msghdr *message)
{
    if (!descriptor_may_look(message, sizeof *message) || message->msg_controllen == 0 ||
        !descriptor_may_look(message->msg_control, message->msg_controllen)) {
        return;
    }
    struct msghdr *parts = (struct msghdr *)(uintptr_t)message;
    int saved = errno;
    for (struct cmsghdr *part = CMSG_FIRSTHDR(parts); part != NULL; part = CMSG_NXTHDR(parts, part)) {
        int fd;
        for (size_t i = 0; passed_descriptor(part, i, &fd); i++) {
            descriptor_empty(fd);
        }
    }
    errno = saved;
}

EXPORT ssize_t sendmsg(int fd, const struct msghdr *message, int flags)
{
    if (descriptor_holds_any()) {
        release_passed(message);
    }
    return real.sendmsg(fd, message, flags);
}

EXPORT int sendmmsg(int fd, struct mmsghdr *messages, unsigned count, int flags)
{
    uintptr_t header = (uintptr_t)messages; /* it is a message's first member; the address may be a bad one */
    for (unsigned i = 0; descriptor_holds_any() && i < count; i++, header += sizeof *messages) {
        release_passed((const struct msghdr *)header);
    }
    return real.sendmmsg(fd, messages, count, flags);
}

/* What another process's descriptor is, is not known by what this number was before. */
int pidfd_getfd(int process, int fd, unsigned flags);
EXPORT int pidfd_getfd(int process, int fd, unsigned flags)
{
    return made_unknown(real.pidfd_getfd(process, fd, flags));
}

/* libc replaces the standard descriptors behind our back in these three. */
static void forget_standard(void)
{
    int saved = errno;
    for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++) {
        descriptor_forget(fd);
    }
    errno = saved;
}

EXPORT int login_tty(int fd)
{
    forget_standard();
    return real.login_tty(fd);
}

EXPORT int forkpty(int *terminal, char *name, const struct termios *settings, const struct winsize *size)
{
    int child = real.forkpty(terminal, name, settings, size);
    if (child == 0) {
        forget_standard();
    }
    return child;
}

EXPORT int daemon(int no_chdir, int no_close)
{
    int saved = errno;
    descriptor_leave(); /* libc ends the parent past the library */
    errno = saved;
    if (no_close == 0) {
        forget_standard();
    }
    return real.daemon(no_chdir, no_close);
}
