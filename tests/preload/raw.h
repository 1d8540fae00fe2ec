/*
 * System calls made past the library that is tested: what a test observes must not depend on what it observes.
 *
 * Included by every test program. Safe in signal handlers and vfork children.
 */
#ifndef TESTS_RAW_H
#define TESTS_RAW_H

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

/*
 * Not libc's syscall(), which the library may take the place of. Six arguments at most; what is left out is zero.
 */
static inline long raw_call(long number, long a, long b, long c, long d, long e, long f)
{
    long result;
#if defined(__x86_64__)
    register long fourth __asm__("r10") = d;
    register long fifth __asm__("r8") = e;
    register long sixth __asm__("r9") = f;
    __asm__ volatile("syscall"
                     : "=a"(result)
                     : "a"(number), "D"(a), "S"(b), "d"(c), "r"(fourth), "r"(fifth), "r"(sixth)
                     : "rcx", "r11", "memory");
#elif defined(__aarch64__)
    register long number_register __asm__("x8") = number;
    register long first __asm__("x0") = a;
    register long second __asm__("x1") = b;
    register long third __asm__("x2") = c;
    register long fourth __asm__("x3") = d;
    register long fifth __asm__("x4") = e;
    register long sixth __asm__("x5") = f;
    __asm__ volatile("svc 0"
                     : "+r"(first)
                     : "r"(number_register), "r"(second), "r"(third), "r"(fourth), "r"(fifth), "r"(sixth)
                     : "memory");
    result = first;
#else
#error "no system call for this architecture here"
#endif
    if (result < 0 && result > -4096) {
        errno = (int)-result;
        return -1;
    }
    return result;
}

#define RAW_ARGUMENTS(number, a, b, c, d, e, f, ...)                                                                   \
    raw_call((number), (long)(a), (long)(b), (long)(c), (long)(d), (long)(e), (long)(f))
#define raw_syscall(...) RAW_ARGUMENTS(__VA_ARGS__, 0, 0, 0, 0, 0, 0, 0)

static inline int raw_open(const char *path, int flags)
{
    return (int)raw_syscall(SYS_openat, AT_FDCWD, path, flags, 0666);
}

static inline int raw_close(int fd)
{
    return (int)raw_syscall(SYS_close, fd);
}

static inline int raw_fcntl(int fd, int command, long argument)
{
    return (int)raw_syscall(SYS_fcntl, fd, command, argument);
}

/* Appends to a file by its path: no descriptor stays open. errno is kept. */
static inline void raw_append(const char *path, const void *data, size_t size)
{
    int error = errno;
    int fd = raw_open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC);
    if (fd >= 0) {
        if (raw_syscall(SYS_write, fd, data, size) != (long)size) {
            raw_syscall(SYS_exit_group, 98);
        }
        raw_close(fd);
    }
    errno = error;
}

/* The whole file with a NUL behind it, "" if there is none. Memory is never freed: tests are short. */
static inline char *raw_read(const char *path, size_t *size)
{
    size_t length = 0;
    size_t room = 4096;
    char *data = malloc(room + 1);
    int fd = raw_open(path, O_RDONLY | O_CLOEXEC);
    while (fd >= 0 && data != NULL) {
        long got = raw_syscall(SYS_read, fd, data + length, room - length);
        if (got <= 0) {
            break;
        }
        length += (size_t)got;
        if (length == room) {
            room *= 2;
            data = realloc(data, room + 1);
        }
    }
    if (fd >= 0) {
        raw_close(fd);
    }
    if (data == NULL) {
        abort();
    }
    data[length] = '\0';
    if (size != NULL) {
        *size = length;
    }
    return data;
}

static inline bool raw_stat(const char *path, struct stat *status)
{
    return raw_syscall(SYS_newfstatat, AT_FDCWD, path, status, 0) == 0;
}

static inline bool raw_exists(const char *path)
{
    struct stat status;
    return raw_stat(path, &status);
}

static inline long raw_size(const char *path)
{
    struct stat status;
    return raw_stat(path, &status) ? (long)status.st_size : -1;
}

/* Whether `fd` is open on the file that `path` names now. */
static inline bool raw_is_on(int fd, const char *path)
{
    struct stat mine;
    struct stat live;
    return raw_syscall(SYS_newfstatat, fd, "", &mine, AT_EMPTY_PATH) == 0 && raw_stat(path, &live) &&
           mine.st_dev == live.st_dev && mine.st_ino == live.st_ino;
}

static inline double raw_seconds(void)
{
    struct timespec now;
    raw_syscall(SYS_clock_gettime, CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

/*
 * In seconds: who takes longer than STALLED waits for a lock that is never given back. Tests have a lock_timeout that
 * is longer still, so that nothing else, on the busiest machine, can be taken for that.
 */
#define STALLED           20.0
#define TEST_LOCK_TIMEOUT "60s"

static inline void raw_pause(void)
{
    struct timespec millisecond = {0, 1000000};
    raw_syscall(SYS_nanosleep, &millisecond, NULL);
}

#endif
