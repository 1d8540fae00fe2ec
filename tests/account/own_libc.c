/*
 * A program with functions of its own where others have libc's: what it calls by them goes past everybody, and what a
 * preloaded library calls by them finds them as they are.
 *
 *   own_libc LOG WRITER COUNT
 *
 * Writes numbered lines by stdio and by a write of its own in turns, in a child that a fork of its own made, having
 * cleared its environment in a constructor.
 */
#include "line.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

static char arena[1 << 22];
static size_t used;
static unsigned calls;

/* The size of each piece stands before it. */
void *malloc(size_t size)
{
    size_t from = __atomic_fetch_add(&used, (size + 31) / 16 * 16, __ATOMIC_RELAXED);
    if (from + size + 16 > sizeof arena)
        return NULL;
    memcpy(arena + from, &size, sizeof size);
    return arena + from + 16;
}

void free(void *memory)
{
    (void)memory;
}

void *calloc(size_t count, size_t size)
{
    return malloc(count * size);
}

void *realloc(void *memory, size_t size)
{
    size_t before = 0;
    char *fresh = malloc(size);
    if (memory != NULL && fresh != NULL) {
        memcpy(&before, (char *)memory - 16, sizeof before);
        memcpy(fresh, memory, before < size ? before : size);
    }
    return fresh;
}

char *getenv(const char *name)
{
    (void)name;
    abort();
}

char *getcwd(char *buffer, size_t size)
{
    (void)buffer;
    (void)size;
    abort();
}

ssize_t write(int fd, const void *data, size_t size)
{
    calls++;
    return syscall(SYS_write, fd, data, size);
}

pid_t fork(void)
{
    return (pid_t)syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0);
}

__attribute__((constructor)) static void clear(void)
{
    clearenv();
}

int main(int count, char **arguments)
{
    char line[64];
    if (count != 4)
        return 2;
    FILE *stream = fopen(arguments[1], "a");
    int fd = open(arguments[1], O_WRONLY | O_APPEND);
    pid_t child = fork();
    if (child != 0) {
        int status = 1;
        waitpid(child, &status, 0);
        return status != 0;
    }
    setvbuf(stream, NULL, _IOLBF, BUFSIZ);
    for (unsigned number = 1; number <= (unsigned)atoi(arguments[3]); number++) {
        size_t size = line_make_short(line, (unsigned)atoi(arguments[2]), number);
        int failed = number % 10 != 0 ? fputs(line, stream) == EOF : write(fd, line, size) != (ssize_t)size;
        if (failed)
            return 1;
    }
    return fclose(stream) != 0 || calls == 0;
}
