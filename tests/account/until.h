/*
 * For writers that a test needs at work until it has seen something, however slow the machine is: they go on after the
 * last line that they were asked for until a file has content, and then say on standard error how many they wrote, as
 * the checker is told it: WRITER=COUNT.
 */
#ifndef UNTIL_H
#define UNTIL_H

#include <err.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <sys/stat.h>

static int until_fd = -1;

/* Before the program gives up the right to open it. */
static inline void until_open(const char *path)
{
    until_fd = open(path, O_RDONLY | O_CLOEXEC);
    if (until_fd < 0)
        err(1, "%s", path);
}

/* Nor longer than the file is there: a test that failed has removed it. */
static inline bool until_goes_on(void)
{
    struct stat status;
    return until_fd >= 0 && fstat(until_fd, &status) == 0 && status.st_size == 0 && status.st_nlink > 0;
}

static inline void until_tell(unsigned writer, unsigned count)
{
    if (until_fd >= 0)
        dprintf(2, "%u=%u\n", writer, count);
}

#endif
