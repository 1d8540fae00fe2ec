/*
 * Whether the process is still the program that it was: by a field of /proc/PID/stat.
 */
#include "launch_private.h"

#include <fcntl.h>
#include <stddef.h>
#include <sys/syscall.h>

enum { PATH_SIZE = 32 };

LAUNCH_OUTSIDE static char *put_text(char *at, const char *text)
{
    while (*text != '\0') {
        *at++ = *text++;
    }
    return at;
}

LAUNCH_OUTSIDE static void name_file(char path[PATH_SIZE], int process)
{
    int divisor = 1;
    char *at = put_text(path, "/proc/");
    while (process / divisor >= 10) {
        divisor *= 10;
    }
    for (; divisor > 0; divisor /= 10) {
        *at++ = (char)('0' + process / divisor % 10);
    }
    *put_text(at, "/stat") = '\0';
}

/* The name, in parentheses, may hold blanks and parentheses itself: the fields after it count from its end. */
LAUNCH_OUTSIDE static uint64_t find_field(const char *text, long size)
{
    enum { STACK_BEGIN = 28, NAME = 2 };
    const char *end = text + size;
    const char *at = end;
    uint64_t value = 0;
    while (at > text && *(at - 1) != ')') {
        at--;
    }
    for (int field = NAME; at < end && field < STACK_BEGIN; at++) {
        field += *at == ' ';
    }
    for (; at < end && *at >= '0' && *at <= '9'; at++) {
        value = value * 10 + (uint64_t)(*at - '0');
    }
    return value;
}

LAUNCH_OUTSIDE uint64_t launch_stack_begin(int process)
{
    char path[PATH_SIZE];
    char text[640]; /* 52 numbers; the kernel gives it in one piece */
    name_file(path, process);
    long fd = launch_call(SYS_openat, AT_FDCWD, (long)path, O_RDONLY | O_CLOEXEC, 0);
    if (fd < 0) {
        return 0;
    }
    long size = launch_call(SYS_read, fd, (long)text, sizeof text, 0);
    launch_call(SYS_close, fd, 0, 0, 0);
    return size > 0 ? find_field(text, size) : 0;
}
