/*
 * A transcript of what stdio says and does to files, on standard output: for programs that are run with the library
 * and without, and must say the same. Files are opened for appending, or are empty, so that a log and a plain file
 * should behave alike.
 */
#ifndef TESTS_STDIO_TRANSCRIPT_H
#define TESTS_STDIO_TRANSCRIPT_H

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { LINE = 64 }; /* divides every buffer size, so that a full buffer ends in a newline */

static const char *directory;
static char path[4096];

static inline void note(const char *what, long long result)
{
    int error = errno;
    printf("%s = %lld errno %d\n", what, result, error);
    fflush(stdout);
    errno = 0;
}

static inline void note_text(const char *what, const char *text)
{
    printf("%s = %s\n", what, text == NULL ? "(null)" : text);
    errno = 0;
}

static inline void note_size(const char *what)
{
    struct stat status;
    note(what, stat(path, &status) == 0 ? (long long)status.st_size : -1);
}

static inline void note_contents(void)
{
    int fd = open(path, O_RDONLY);
    char buffer[300];
    ssize_t size = fd < 0 ? -1 : read(fd, buffer, sizeof buffer - 1);
    buffer[size < 0 ? 0 : size] = '\0';
    close(fd);
    errno = 0;
    note("contents", size);
    note_text("contents", buffer);
}

static inline const char *begin(const char *name)
{
    printf("--- %s\n", name);
    snprintf(path, sizeof path, "%s/%s.log", directory, name);
    errno = 0;
    return path;
}

static inline FILE *open_stream(const char *mode)
{
    FILE *stream = fopen(path, mode);
    note(mode, stream != NULL);
    if (stream == NULL) {
        exit(1);
    }
    return stream;
}

static inline void put_line(FILE *stream, char letter)
{
    char line[LINE];
    memset(line, letter, LINE - 1);
    line[LINE - 1] = '\n';
    note("fwrite", (long long)fwrite(line, 1, LINE, stream));
}

static inline void prepare(const char *text)
{
    FILE *stream = fopen(path, "a");
    fputs(text, stream);
    fclose(stream);
    errno = 0;
}

#endif
