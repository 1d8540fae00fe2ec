/*
 * What appending alone does to a program: every file below $APPEND_BELOW that it opens for writing gets O_APPEND, and
 * nothing else is changed. tests/programs/cpython.sh measures the library by it.
 */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static void *next_of(const char *name)
{
    return dlsym(RTLD_NEXT, name);
}

static int appending(int fd)
{
    int saved = errno;
    char link[32];
    char path[PATH_MAX];
    struct stat status;
    const char *below = getenv("APPEND_BELOW");
    int flags = fd < 0 ? O_PATH : fcntl(fd, F_GETFL);
    bool opened_to_write = (flags & O_ACCMODE) != O_RDONLY && (flags & (O_PATH | O_TMPFILE)) == 0;
    if (below != NULL && opened_to_write && fstat(fd, &status) == 0 && S_ISREG(status.st_mode)) {
        snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
        ssize_t length = readlink(link, path, sizeof path);
        if (length > (ssize_t)strlen(below) && strncmp(path, below, strlen(below)) == 0) {
            fcntl(fd, F_SETFL, flags | O_APPEND);
        }
    }
    errno = saved;
    return fd;
}

int open(const char *path, int flags, ...)
{
    int (*next)(const char *, int, ...) = (int (*)(const char *, int, ...))next_of("open");
    va_list arguments;
    va_start(arguments, flags);
    mode_t mode = va_arg(arguments, mode_t);
    va_end(arguments);
    return appending(next(path, flags, mode));
}
int open64(const char *path, int flags, ...) __attribute__((alias("open")));

int openat(int directory, const char *path, int flags, ...)
{
    int (*next)(int, const char *, int, ...) = (int (*)(int, const char *, int, ...))next_of("openat");
    va_list arguments;
    va_start(arguments, flags);
    mode_t mode = va_arg(arguments, mode_t);
    va_end(arguments);
    return appending(next(directory, path, flags, mode));
}
int openat64(int directory, const char *path, int flags, ...) __attribute__((alias("openat")));

FILE *fopen(const char *path, const char *mode)
{
    FILE *(*next)(const char *, const char *) = (FILE * (*)(const char *, const char *)) next_of("fopen");
    FILE *stream = next(path, mode);
    if (stream != NULL) {
        appending(fileno(stream));
    }
    return stream;
}
FILE *fopen64(const char *path, const char *mode) __attribute__((alias("fopen")));
