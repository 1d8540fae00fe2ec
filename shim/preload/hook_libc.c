/*
 * What libc writes by itself, by its internal calls: it goes to the live file, and behind what is held, but not under
 * the lock.
 */
#include "hook.h"

#include <execinfo.h>
#include <netdb.h>
#include <signal.h>
#include <stdatomic.h>
#include <syslog.h>
#include <unistd.h>

/* Whether the last openlog asked for LOG_PERROR; a closelog changes nothing of that. */
static atomic_bool syslog_copies;

static void follow(int fd)
{
    int saved = errno;
    descriptor_follow(fd);
    errno = saved;
}

EXPORT void backtrace_symbols_fd(void *const *addresses, int count, int fd)
{
    follow(fd);
    real.backtrace_symbols_fd(addresses, count, fd);
}

/* Written by a thread of libc's. */
EXPORT int aio_write(struct aiocb *control)
{
    follow(control->aio_fildes);
    return real.aio_write(control);
}

/* The same structure under another name. */
EXPORT int aio_write64(struct aiocb64 *control)
{
    return aio_write((struct aiocb *)control);
}

/* libc's own abort follows, which is heard of by nobody: what is held must be out before. */
static void write_out(void)
{
    int saved = errno;
    descriptor_empty_all();
    errno = saved;
}

void __assert_fail(const char *text, const char *file, unsigned line, const char *function);
EXPORT void __assert_fail(const char *text, const char *file, unsigned line, const char *function)
{
    write_out();
    real.__assert_fail(text, file, line, function);
    __builtin_unreachable();
}

void __assert_perror_fail(int error, const char *file, unsigned line, const char *function);
EXPORT void __assert_perror_fail(int error, const char *file, unsigned line, const char *function)
{
    write_out();
    real.__assert_perror_fail(error, file, line, function);
    __builtin_unreachable();
}

void __assert(const char *text, const char *file, int line);
EXPORT void __assert(const char *text, const char *file, int line)
{
    write_out();
    real.__assert(text, file, line);
    __builtin_unreachable();
}

EXPORT void psiginfo(const siginfo_t *information, const char *text)
{
    follow(STDERR_FILENO);
    real.psiginfo(information, text);
}

EXPORT void herror(const char *text)
{
    follow(STDERR_FILENO);
    real.herror(text);
}

EXPORT void openlog(const char *name, int options, int facility)
{
    atomic_store(&syslog_copies, (options & LOG_PERROR) != 0);
    real.openlog(name, options, facility);
}

EXPORT void vsyslog(int priority, const char *format, va_list arguments)
{
    if (atomic_load(&syslog_copies)) {
        follow(STDERR_FILENO);
    }
    real.vsyslog(priority, format, arguments);
}

EXPORT void __vsyslog_chk(int priority, int flag, const char *format, va_list arguments)
{
    if (atomic_load(&syslog_copies)) {
        follow(STDERR_FILENO);
    }
    real.__vsyslog_chk(priority, flag, format, arguments);
}

EXPORT void syslog(int priority, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    vsyslog(priority, format, arguments);
    va_end(arguments);
}

EXPORT void __syslog_chk(int priority, int flag, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    __vsyslog_chk(priority, flag, format, arguments);
    va_end(arguments);
}
