/*
 * libc's ways of writing a line, each as one function with the same parameters: for writer.c.
 *
 * A function returns whether libc said that the line was taken, errno set if not. `line` ends in a newline and a NUL.
 */
#ifndef WRITER_WAYS_H
#define WRITER_WAYS_H

#include <err.h>
#include <errno.h>
#include <error.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sendfile.h>
#include <sys/uio.h>
#include <unistd.h>
#include <wchar.h>

/* What a way writes to; which of them depends on its kind. */
struct output {
    int fd;
    FILE *stream;
    _Atomic off_t offset; /* where a program that keeps account of it itself would write next */
    int scratch;          /* an unnamed file of the program's own */
    int pipe[2];
};

enum way_kind { WAY_DESCRIPTOR, WAY_STREAM, WAY_STDOUT, WAY_STDERR };

struct way {
    const char *name;
    enum way_kind kind;
    bool (*put)(struct output *output, char *line, size_t size);
};

/* descriptors */

static bool put_write(struct output *output, char *line, size_t size)
{
    return write(output->fd, line, size) == (ssize_t)size;
}

/* The line in three pieces. */
static void split(struct iovec vector[3], char *line, size_t size)
{
    size_t third = size / 3;
    vector[0] = (struct iovec){line, third};
    vector[1] = (struct iovec){line + third, third};
    vector[2] = (struct iovec){line + 2 * third, size - 2 * third};
}

static bool put_writev(struct output *output, char *line, size_t size)
{
    struct iovec vector[3];
    split(vector, line, size);
    return writev(output->fd, vector, 3) == (ssize_t)size;
}

static bool put_pwrite(struct output *output, char *line, size_t size)
{
    bool good = pwrite(output->fd, line, size, output->offset) == (ssize_t)size;
    output->offset += (off_t)size;
    return good;
}

static bool put_pwritev(struct output *output, char *line, size_t size)
{
    struct iovec vector[3];
    split(vector, line, size);
    bool good = pwritev(output->fd, vector, 3, output->offset) == (ssize_t)size;
    output->offset += (off_t)size;
    return good;
}

static bool put_pwritev2(struct output *output, char *line, size_t size)
{
    struct iovec vector[3];
    split(vector, line, size);
    return pwritev2(output->fd, vector, 3, -1, 0) == (ssize_t)size;
}

static bool put_dprintf(struct output *output, char *line, size_t size)
{
    return dprintf(output->fd, "%s", line) == (int)size;
}

__attribute__((format(printf, 2, 3))) static int call_vdprintf(int fd, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    int result = vdprintf(fd, format, arguments);
    va_end(arguments);
    return result;
}

static bool put_vdprintf(struct output *output, char *line, size_t size)
{
    line[size - 1] = '\0';
    return call_vdprintf(output->fd, "%s\n", line) == (int)size;
}

/* Puts the line into an unnamed file in the working directory, which is made when it is first needed. */
static bool fill_scratch(struct output *output, const char *line, size_t size)
{
    if (output->scratch <= 0)
        output->scratch = open(".", O_TMPFILE | O_RDWR, 0600);
    return pwrite(output->scratch, line, size, 0) == (ssize_t)size;
}

/* As programs do that copy files: in the kernel, and by hand where that is refused (O_APPEND, another file system). */
static bool put_copy_file_range(struct output *output, char *line, size_t size)
{
    off_t from = 0;
    if (!fill_scratch(output, line, size))
        return false;
    while (from < (off_t)size) {
        ssize_t copied = copy_file_range(output->scratch, &from, output->fd, NULL, size - (size_t)from, 0);
        if (copied <= 0)
            return from == 0 && put_write(output, line, size);
    }
    return true;
}

static bool put_sendfile(struct output *output, char *line, size_t size)
{
    off_t from = 0;
    if (!fill_scratch(output, line, size))
        return false;
    ssize_t sent = sendfile(output->fd, output->scratch, &from, size);
    return sent == (ssize_t)size || (sent < 0 && errno == EINVAL && put_write(output, line, size));
}

static bool put_splice(struct output *output, char *line, size_t size)
{
    if (write(output->pipe[1], line, size) != (ssize_t)size)
        return false;
    ssize_t moved = splice(output->pipe[0], NULL, output->fd, NULL, size, 0);
    if (moved < 0 && errno == EINVAL)
        return read(output->pipe[0], line, size) == (ssize_t)size && put_write(output, line, size);
    return moved == (ssize_t)size;
}

/* streams */

static bool put_fprintf(struct output *output, char *line, size_t size)
{
    return fprintf(output->stream, "%s", line) == (int)size;
}

__attribute__((format(printf, 2, 3))) static int call_vfprintf(FILE *stream, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    int result = vfprintf(stream, format, arguments);
    va_end(arguments);
    return result;
}

static bool put_vfprintf(struct output *output, char *line, size_t size)
{
    line[size - 1] = '\0';
    return call_vfprintf(output->stream, "%s\n", line) == (int)size;
}

static bool put_fputs(struct output *output, char *line, size_t size)
{
    (void)size;
    return fputs(line, output->stream) >= 0;
}

static bool put_fputs_unlocked(struct output *output, char *line, size_t size)
{
    (void)size;
    return fputs_unlocked(line, output->stream) >= 0;
}

static bool put_fwrite(struct output *output, char *line, size_t size)
{
    return fwrite(line, 1, size, output->stream) == size;
}

static bool put_fwrite_unlocked(struct output *output, char *line, size_t size)
{
    return fwrite_unlocked(line, 1, size, output->stream) == size;
}

static bool put_putc(struct output *output, char *line, size_t size)
{
    bool good = true;
    flockfile(output->stream);
    for (size_t i = 0; i < size; i++)
        good = putc(line[i], output->stream) != EOF && good;
    funlockfile(output->stream);
    return good;
}

static bool put_fputc(struct output *output, char *line, size_t size)
{
    bool good = true;
    flockfile(output->stream);
    for (size_t i = 0; i < size; i++)
        good = fputc(line[i], output->stream) != EOF && good;
    funlockfile(output->stream);
    return good;
}

static bool put_putc_unlocked(struct output *output, char *line, size_t size)
{
    bool good = true;
    for (size_t i = 0; i < size; i++)
        good = putc_unlocked(line[i], output->stream) != EOF && good;
    return good;
}

static bool put_fputc_unlocked(struct output *output, char *line, size_t size)
{
    bool good = true;
    for (size_t i = 0; i < size; i++)
        good = fputc_unlocked(line[i], output->stream) != EOF && good;
    return good;
}

/* The line as wide characters; to be freed. */
static wchar_t *widen(const char *line, size_t size)
{
    wchar_t *wide = malloc((size + 1) * sizeof *wide);
    if (wide == NULL)
        err(1, "malloc");
    for (size_t i = 0; i <= size; i++)
        wide[i] = (wchar_t)line[i];
    return wide;
}

static bool put_fputws(struct output *output, char *line, size_t size)
{
    wchar_t *wide = widen(line, size);
    bool good = fputws(wide, output->stream) >= 0;
    free(wide);
    return good;
}

static bool put_fwprintf(struct output *output, char *line, size_t size)
{
    return fwprintf(output->stream, L"%s", line) == (int)size;
}

static bool put_putwc(struct output *output, char *line, size_t size)
{
    wchar_t *wide = widen(line, size);
    bool good = true;
    for (size_t i = 0; i < size; i++)
        good = putwc(wide[i], output->stream) != WEOF && good;
    free(wide);
    return good;
}

/* stdout */

static bool put_printf(struct output *output, char *line, size_t size)
{
    (void)output;
    return printf("%s", line) == (int)size;
}

static bool put_puts(struct output *output, char *line, size_t size)
{
    (void)output;
    line[size - 1] = '\0';
    return puts(line) >= 0;
}

static bool put_putchar(struct output *output, char *line, size_t size)
{
    bool good = true;
    (void)output;
    for (size_t i = 0; i < size; i++)
        good = putchar(line[i]) != EOF && good;
    return good;
}

static bool put_putchar_unlocked(struct output *output, char *line, size_t size)
{
    bool good = true;
    (void)output;
    for (size_t i = 0; i < size; i++)
        good = putchar_unlocked(line[i]) != EOF && good;
    return good;
}

static bool put_wprintf(struct output *output, char *line, size_t size)
{
    (void)output;
    return wprintf(L"%s", line) == (int)size;
}

/* stderr: each says something of its own before or behind the line */

static bool put_stderr(struct output *output, char *line, size_t size)
{
    (void)output;
    line[size - 1] = '\0';
    return fprintf(stderr, "%s %s\n", "error:", line) == (int)(size + sizeof "error:");
}

static bool put_perror(struct output *output, char *line, size_t size)
{
    (void)output;
    line[size - 1] = '\0';
    errno = ENOENT;
    perror(line);
    return true;
}

static bool put_warn(struct output *output, char *line, size_t size)
{
    (void)output;
    line[size - 1] = '\0';
    errno = ENOENT;
    warn("%s", line);
    return true;
}

static bool put_error(struct output *output, char *line, size_t size)
{
    (void)output;
    line[size - 1] = '\0';
    error(0, ENOENT, "%s", line);
    return true;
}

static const struct way WAYS[] = {
    {"write", WAY_DESCRIPTOR, put_write},
    {"writev", WAY_DESCRIPTOR, put_writev},
    {"pwrite", WAY_DESCRIPTOR, put_pwrite},
    {"pwritev", WAY_DESCRIPTOR, put_pwritev},
    {"pwritev2", WAY_DESCRIPTOR, put_pwritev2},
    {"dprintf", WAY_DESCRIPTOR, put_dprintf},
    {"vdprintf", WAY_DESCRIPTOR, put_vdprintf},
    {"copy_file_range", WAY_DESCRIPTOR, put_copy_file_range},
    {"sendfile", WAY_DESCRIPTOR, put_sendfile},
    {"splice", WAY_DESCRIPTOR, put_splice},
    {"fprintf", WAY_STREAM, put_fprintf},
    {"vfprintf", WAY_STREAM, put_vfprintf},
    {"fputs", WAY_STREAM, put_fputs},
    {"fputs_unlocked", WAY_STREAM, put_fputs_unlocked},
    {"fwrite", WAY_STREAM, put_fwrite},
    {"fwrite_unlocked", WAY_STREAM, put_fwrite_unlocked},
    {"putc", WAY_STREAM, put_putc},
    {"fputc", WAY_STREAM, put_fputc},
    {"putc_unlocked", WAY_STREAM, put_putc_unlocked},
    {"fputc_unlocked", WAY_STREAM, put_fputc_unlocked},
    {"fputws", WAY_STREAM, put_fputws},
    {"fwprintf", WAY_STREAM, put_fwprintf},
    {"putwc", WAY_STREAM, put_putwc},
    {"printf", WAY_STDOUT, put_printf},
    {"puts", WAY_STDOUT, put_puts},
    {"putchar", WAY_STDOUT, put_putchar},
    {"putchar_unlocked", WAY_STDOUT, put_putchar_unlocked},
    {"wprintf", WAY_STDOUT, put_wprintf},
    {"stderr", WAY_STDERR, put_stderr},
    {"perror", WAY_STDERR, put_perror},
    {"warn", WAY_STDERR, put_warn},
    {"error", WAY_STDERR, put_error},
    {NULL, WAY_DESCRIPTOR, NULL},
};

static const struct way *way_find(const char *name)
{
    for (const struct way *way = WAYS; way->name; way++) {
        if (strcmp(way->name, name) == 0)
            return way;
    }
    return NULL;
}

#endif
