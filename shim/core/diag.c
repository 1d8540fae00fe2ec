#include "diag.h"

#include "sys.h"
#include "sys_call.h"

#include <errno.h>
#include <stdatomic.h>
#include <stddef.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <syslog.h>
#include <unistd.h>

enum { LINE_SIZE = 1024, STDERR = 2 };

static enum diag_target diag_target = DIAG_STDERR;
static const char *diag_path;
static struct stat stderr_file; /* what descriptor 2 was when it was last known to be stderr */

void diag_open(enum diag_target target, const char *path)
{
    diag_target = target;
    diag_path = path;
    diag_stderr_is();
}

SYS_START void diag_stderr_is(void)
{
    struct stat status;
    if (sys.fstat(STDERR, &status) == 0) {
        stderr_file = status;
    }
}

static bool is_stderr(void)
{
    struct stat status;
    return sys.fstat(STDERR, &status) == 0 && status.st_dev == stderr_file.st_dev &&
           status.st_ino == stderr_file.st_ino && status.st_rdev == stderr_file.st_rdev;
}

/* One conversion in flight: where the text goes, never past the end. */
struct output {
    char *at;
    char *end; /* room for the NUL is behind it */
};

static void put_char(struct output *output, char character)
{
    if (output->at < output->end) {
        *output->at++ = character;
    }
}

static void put_text(struct output *output, const char *text)
{
    for (text = text == NULL ? "(null)" : text; *text != '\0'; text++) {
        put_char(output, *text);
    }
}

static void put_number(struct output *output, unsigned long long value, unsigned base)
{
    char digits[24];
    size_t count = 0;
    do {
        digits[count++] = (char)('0' + value % base);
        value /= base;
    } while (value != 0);
    while (count > 0) {
        put_char(output, digits[--count]);
    }
}

static void put_signed(struct output *output, long long value)
{
    if (value < 0) {
        put_char(output, '-');
    }
    put_number(output, value < 0 ? 0ULL - (unsigned long long)value : (unsigned long long)value, 10);
}

size_t diag_vformat(char *buffer, size_t size, const char *format, va_list arguments)
{
    struct output output = {buffer, buffer + size - 1};
    for (; *format != '\0'; format++) {
        if (*format != '%') {
            put_char(&output, *format);
            continue;
        }
        int longs = 0;
        for (format++; *format == 'l'; format++) {
            longs++;
        }
        switch (*format) {
        case 's':
            put_text(&output, va_arg(arguments, const char *));
            break;
        case 'c':
            put_char(&output, (char)va_arg(arguments, int));
            break;
        case 'd':
            put_signed(&output, longs > 0 ? va_arg(arguments, long long) : va_arg(arguments, int));
            break;
        case 'u':
            put_number(&output, longs > 0 ? va_arg(arguments, unsigned long long) : va_arg(arguments, unsigned), 10);
            break;
        case 'o':
            put_number(&output, va_arg(arguments, unsigned), 8);
            break;
        case '\0':
            format--;
            break;
        default:
            put_char(&output, *format);
            break;
        }
    }
    *output.at = '\0';
    return (size_t)(output.at - buffer);
}

size_t diag_format(char *buffer, size_t size, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    size_t length = diag_vformat(buffer, size, format, arguments);
    va_end(arguments);
    return length;
}

static void write_once(int fd, const char *line, size_t length)
{
    const struct iovec vector = {.iov_base = (void *)line, .iov_len = length};
    sys.writev(fd, &vector, 1);
}

/* The pieces of the vector are one datagram: a copy of the line would be a large part of a signal handler's stack. */
static void write_syslog(const char *line, size_t length)
{
    char head[16];
    const struct iovec datagram[] = {
        {.iov_base = head, .iov_len = diag_format(head, sizeof head, "<%d>", LOG_DAEMON | LOG_WARNING)},
        {.iov_base = (void *)line, .iov_len = length - 1}, /* without the newline */
    };
    /* By number: libc's connect is a cancellation point. */
    int fd = (int)sys_call(SYS_socket, AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, 0, 0, 0);
    if (fd < 0) {
        return;
    }
    const struct sockaddr_un address = {.sun_family = AF_UNIX, .sun_path = "/dev/log"};
    if (sys_call(SYS_connect, fd, (long)&address, sizeof address, 0, 0, 0) == 0) {
        sys.writev(fd, datagram, 2);
    }
    sys.close(fd);
}

/* A file with a second name may be another one, which somebody gave the name of this. */
static void write_file(const char *line, size_t length)
{
    struct stat status;
    int fd = sys.openat(AT_FDCWD, diag_path,
                        O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NOCTTY | O_NOFOLLOW | O_NONBLOCK, 0644);
    if (fd >= 0 && sys.fstat(fd, &status) == 0 && (!S_ISREG(status.st_mode) || status.st_nlink == 1)) {
        write_once(fd, line, length);
    }
    if (fd >= 0) {
        sys.close(fd);
    }
}

static void write_line(const char *line, size_t length)
{
    int saved = errno;
    struct sys_signals signals;
    sys_signals_block(&signals);
    switch (diag_target) {
    case DIAG_STDERR:
        if (is_stderr() && sys.poll_writable(STDERR) > 0) {
            write_once(STDERR, line, length);
        }
        break;
    case DIAG_SYSLOG:
        write_syslog(line, length);
        break;
    case DIAG_FILE:
        write_file(line, length);
        break;
    case DIAG_OFF:
        break;
    }
    sys_signals_restore(&signals);
    errno = saved;
}

/* A path may hold any byte; a message is one line whatever it says. */
static void write_message(char *line, size_t length)
{
    for (size_t i = 0; i < length; i++) {
        if ((unsigned char)line[i] < ' ' || line[i] == 0x7f) {
            line[i] = '?';
        }
    }
    line[length] = '\n';
    write_line(line, length + 1);
}

/*
 * The line that is being made. Static, because signal stacks are small; whoever finds it in use (another thread, or
 * what this one interrupted) makes a shorter one.
 */
static SYS_SELDOM char long_line[LINE_SIZE];
static uint32_t long_line_taken;

struct line {
    char *text;
    size_t size;
    size_t length;
    char small[160];
};

static void begin_line(struct line *line)
{
    bool taken = __atomic_exchange_n(&long_line_taken, 1, __ATOMIC_ACQUIRE) != 0;
    line->text = taken ? line->small : long_line;
    line->size = taken ? sizeof line->small : sizeof long_line;
    line->length = 0;
}

static void end_line(struct line *line)
{
    write_message(line->text, line->length);
    if (line->text == long_line) {
        __atomic_store_n(&long_line_taken, 0, __ATOMIC_RELEASE);
    }
}

__attribute__((format(printf, 2, 0))) static void add(struct line *line, const char *format, va_list arguments)
{
    line->length += diag_vformat(line->text + line->length, line->size - 1 - line->length, format, arguments);
}

__attribute__((format(printf, 2, 3))) static void add_text(struct line *line, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    add(line, format, arguments);
    va_end(arguments);
}

void diag_message(const char *format, ...)
{
    struct line line;
    va_list arguments;
    begin_line(&line);
    add_text(&line, "mplogshim: ");
    va_start(arguments, format);
    add(&line, format, arguments);
    va_end(arguments);
    end_line(&line);
}

static const char *const event_names[EVENT_COUNT] = {
    [EVENT_ROTATED] = "rotated",
    [EVENT_ROTATE_FAILED] = "rotate_failed",
    [EVENT_ROTATE_RECOVERED] = "rotate_recovered",
    [EVENT_LOCK_TIMEOUT] = "lock_timeout",
    [EVENT_LOCK_RECOVERED] = "lock_recovered",
    [EVENT_WRITE_FAILED] = "write_failed",
    [EVENT_SETTINGS_MISMATCH] = "settings_mismatch",
    [EVENT_ARCHIVE_FAILED] = "archive_failed",
};

bool diag_is_due(_Atomic int64_t *last)
{
    int64_t second = sys_now(CLOCK_MONOTONIC_COARSE) / 1000000000 + 1;
    return atomic_exchange(last, second) != second;
}

const char *diag_event_name(enum event event)
{
    return event_names[event];
}

/* Whether the event may be told now; else it is counted. The fields are plain: a lost count under a race is harmless.
 */
static bool within_limits(struct diag_limits *limits, enum event event, uint32_t *left_out)
{
    int64_t second = sys_now(CLOCK_MONOTONIC_COARSE) / 1000000000 + 1;
    if (__atomic_exchange_n(&limits->last_second[event], second, __ATOMIC_RELAXED) == second) {
        __atomic_add_fetch(&limits->left_out[event], 1, __ATOMIC_RELAXED);
        return false;
    }
    *left_out = __atomic_exchange_n(&limits->left_out[event], 0, __ATOMIC_RELAXED);
    return true;
}

bool diag_event(struct diag_limits *limits, enum event event, const char *log, const char *format, ...)
{
    uint32_t left_out = 0;
    if (event == EVENT_ROTATED) {
        return true;
    }
    if (!within_limits(limits, event, &left_out)) {
        return false;
    }
    struct line line;
    va_list arguments;
    begin_line(&line);
    add_text(&line, "mplogshim: %s log=%s ", event_names[event], log);
    va_start(arguments, format);
    add(&line, format, arguments);
    va_end(arguments);
    if (left_out > 0) {
        add_text(&line, " left_out=%u", left_out);
    }
    end_line(&line);
    return true;
}

/* The library must load with a libc that has no such function, though it does nothing there. */
#pragma weak strerrorname_np

const char *diag_errno(int error)
{
    const char *name = strerrorname_np(error < 0 ? -error : error);
    return name == NULL ? "unknown error" : name;
}
