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

static inline int raw_open(const char *path, int flags)
{
    return (int)syscall(SYS_openat, AT_FDCWD, path, flags, 0666);
}

static inline int raw_close(int fd)
{
    return (int)syscall(SYS_close, fd);
}

static inline int raw_fcntl(int fd, int command, long argument)
{
    return (int)syscall(SYS_fcntl, fd, command, argument);
}

/* Appends to a file by its path: no descriptor stays open. errno is kept. */
static inline void raw_append(const char *path, const void *data, size_t size)
{
    int error = errno;
    int fd = raw_open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC);
    if (fd >= 0) {
        if (syscall(SYS_write, fd, data, size) != (long)size) {
            syscall(SYS_exit_group, 98);
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
        long got = syscall(SYS_read, fd, data + length, room - length);
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
    return syscall(SYS_newfstatat, AT_FDCWD, path, status, 0) == 0;
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
    return syscall(SYS_newfstatat, fd, "", &mine, AT_EMPTY_PATH) == 0 && raw_stat(path, &live) &&
           mine.st_dev == live.st_dev && mine.st_ino == live.st_ino;
}

static inline double raw_seconds(void)
{
    struct timespec now;
    syscall(SYS_clock_gettime, CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

static inline void raw_pause(void)
{
    struct timespec millisecond = {0, 1000000};
    syscall(SYS_nanosleep, &millisecond, NULL);
}

#endif
