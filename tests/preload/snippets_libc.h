/* Snippets for the functions that write by libc's internal calls. None rotates: a line by write does. See scene.h. */
#ifndef TESTS_SNIPPETS_LIBC_H
#define TESTS_SNIPPETS_LIBC_H

#include "scene.h"

#include <aio.h>
#include <assert.h>
#include <netdb.h>
#include <sys/resource.h>

#include <execinfo.h>
#include <syslog.h>

extern void __syslog_chk(int priority, int flag, const char *format, ...);
extern void __vsyslog_chk(int priority, int flag, const char *format, va_list arguments);

/* What libc has written, and a line behind it. errno is whatever its insides left. */
static void written_by_libc(const char *text)
{
    expect_text(text);
    errno = SCENE_ERRNO;
    written(scene.line, write(scene.fd, scene.line, strlen(scene.line)));
}

/* Addresses differ from run to run: none. */
static void run_backtrace_symbols_fd(scene_function call)
{
    void *none[1] = {NULL};
    (void)call;
    backtrace_symbols_fd(none, 0, scene.fd);
    written_by_libc("");
}

/* Behind what was held, whoever writes it. */
static void run_aio_write(scene_function call)
{
    int (*function)(struct aiocb *) = (int (*)(struct aiocb *))call;
    write_unfinished(scene.fd);
    struct aiocb control = {.aio_fildes = scene.fd,
                            .aio_buf = scene.line,
                            .aio_nbytes = strlen(scene.line),
                            .aio_offset = raw_size(scene.log)};
    note(scene.hook, function(&control));
    while (aio_error(&control) == EINPROGRESS) {
        raw_pause();
    }
    errno = SCENE_ERRNO;
    written(scene.line, aio_return(&control));
    write_after(scene.fd);
}

/* The message goes elsewhere; what was held is in the log. */
static void before_assertion(void)
{
    struct rlimit none = {0, 0};
    setrlimit(RLIMIT_CORE, &none);
    errno = SCENE_ERRNO;
    write_unfinished(scene.fd);
    raw_syscall(SYS_dup3, raw_open("/dev/null", O_WRONLY), 2, 0);
}

static void run_assert_fail(scene_function call)
{
    (void)call;
    before_assertion();
    __assert_fail("false", "file", 1, "function");
}

static void run_assert_perror_fail(scene_function call)
{
    (void)call;
    before_assertion();
    __assert_perror_fail(1, "file", 1, "function");
}

static void run_assert(scene_function call)
{
    (void)call;
    before_assertion();
    __assert("false", "file", 1);
}

static void run_psiginfo(scene_function call)
{
    siginfo_t information = {.si_signo = SIGTERM, .si_code = SI_USER};
    void (*function)(const siginfo_t *, const char *) = (void (*)(const siginfo_t *, const char *))call;
    write_unfinished(2);
    function(&information, "psiginfo");
    written_by_libc("psiginfo: Terminated (Signal sent by kill() 0 0)\n");
}

static void run_herror(scene_function call)
{
    void (*function)(const char *) = (void (*)(const char *))call;
    write_unfinished(2);
    h_errno = HOST_NOT_FOUND;
    function("herror");
    written_by_libc("herror: Unknown host\n");
}

/* A cancelled syslog leaves glibc 2.36 broken: the next one aborts. */
static void copy_to_standard_error(void)
{
    pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, NULL);
    openlog("scene", LOG_PERROR, LOG_USER);
}

static void run_openlog(scene_function call)
{
    void (*function)(const char *, int, int) = (void (*)(const char *, int, int))call;
    pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, NULL);
    function("scene", LOG_PERROR | LOG_PID, LOG_USER);
    function("scene", 0, LOG_USER);
    syslog(LOG_DEBUG, "not on standard error");
    function("scene", LOG_PERROR, LOG_USER);
    syslog(LOG_DEBUG, "on %s error", "standard");
    written_by_libc("scene: on standard error\n");
}

static void run_syslog(scene_function call)
{
    void (*function)(int, const char *, ...) = (void (*)(int, const char *, ...))call;
    copy_to_standard_error();
    write_unfinished(2);
    function(LOG_DEBUG, "syslog %d", 1);
    written_by_libc("scene: syslog 1\n");
}

static void run_syslog_chk(scene_function call)
{
    void (*function)(int, int, const char *, ...) = (void (*)(int, int, const char *, ...))call;
    copy_to_standard_error();
    function(LOG_DEBUG, 1, "__syslog_chk %d\n", 1);
    written_by_libc("scene: __syslog_chk 1\n");
}

static void with_syslog_list(void (*function)(int, const char *, va_list), const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    function(LOG_DEBUG, format, arguments);
    va_end(arguments);
}

static void run_vsyslog(scene_function call)
{
    copy_to_standard_error();
    with_syslog_list((void (*)(int, const char *, va_list))call, "vsyslog %d", 1);
    written_by_libc("scene: vsyslog 1\n");
}

static void with_syslog_list_chk(void (*function)(int, int, const char *, va_list), const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    function(LOG_DEBUG, 1, format, arguments);
    va_end(arguments);
}

static void run_vsyslog_chk(scene_function call)
{
    copy_to_standard_error();
    with_syslog_list_chk((void (*)(int, int, const char *, va_list))call, "__vsyslog_chk %d", 1);
    written_by_libc("scene: __vsyslog_chk 1\n");
}

static const struct snippet snippets_libc[] = {
    {"backtrace_symbols_fd", run_backtrace_symbols_fd, CALL(backtrace_symbols_fd), 0},
    {"aio_write", run_aio_write, CALL(aio_write), 0},
    {"aio_write64", run_aio_write, CALL(aio_write64), 0},
    {"__assert_fail", run_assert_fail, CALL(__assert_fail), ENDS},
    {"__assert_perror_fail", run_assert_perror_fail, CALL(__assert_perror_fail), ENDS},
    {"__assert", run_assert, CALL(__assert), ENDS},
    {"psiginfo", run_psiginfo, CALL(psiginfo), STANDARD},
    {"herror", run_herror, CALL(herror), STANDARD},
    {"openlog", run_openlog, CALL(openlog), STANDARD},
    {"syslog", run_syslog, CALL(syslog), STANDARD},
    {"__syslog_chk", run_syslog_chk, CALL(__syslog_chk), STANDARD},
    {"vsyslog", run_vsyslog, CALL(vsyslog), STANDARD},
    {"__vsyslog_chk", run_vsyslog_chk, CALL(__vsyslog_chk), STANDARD},
};

#endif
