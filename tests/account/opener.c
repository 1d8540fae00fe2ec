/*
 * Writes the lines of its standard input to a log that it opens anew for each of them, as if it were to be empty.
 *
 *   opener open|creat|fopen|fopen+|freopen LOG [OPENED]
 *
 * With OPENED it opens the log before it reads the first line, and makes that file then. Exit status 1 on any error.
 */
#include <err.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static FILE *reopened; /* one stream for all of freopen's */

static void open_marker(const char *path)
{
    int fd = open(path, O_WRONLY | O_CREAT, 0644);
    if (fd < 0 || close(fd) != 0)
        err(1, "%s", path);
}

static FILE *open_stream(const char *how, const char *log)
{
    if (strcmp(how, "fopen") == 0)
        return fopen(log, "w");
    if (strcmp(how, "fopen+") == 0)
        return fopen(log, "w+");
    if (strcmp(how, "freopen") != 0)
        errx(2, "no such way to open: %s", how);
    if (reopened == NULL)
        reopened = fopen("/dev/null", "w");
    return reopened == NULL ? NULL : freopen(log, "w", reopened);
}

static int open_descriptor(const char *how, const char *log)
{
    if (strcmp(how, "open") == 0)
        return open(log, O_WRONLY | O_CREAT | O_TRUNC, 0644);
    return strcmp(how, "creat") == 0 ? creat(log, 0644) : -1;
}

struct output {
    FILE *stream;
    int fd;
};

static struct output open_log(const char *how, const char *log)
{
    struct output output = {.fd = -1};
    if (strcmp(how, "open") == 0 || strcmp(how, "creat") == 0)
        output.fd = open_descriptor(how, log);
    else
        output.stream = open_stream(how, log);
    if (output.fd < 0 && output.stream == NULL)
        err(1, "%s", log);
    return output;
}

static void put_line(const struct output *output, const char *line)
{
    ssize_t size = (ssize_t)strlen(line);
    if (output->stream != NULL && (fputs(line, output->stream) < 0 || fflush(output->stream) != 0))
        err(1, "fputs");
    if (output->fd >= 0 && write(output->fd, line, (size_t)size) != size)
        err(1, "write");
}

static void close_log(const struct output *output)
{
    if (output->stream != NULL && output->stream != reopened && fclose(output->stream) != 0)
        err(1, "fclose");
    if (output->fd >= 0 && close(output->fd) != 0)
        err(1, "close");
}

int main(int count, char **arguments)
{
    char *line = NULL;
    size_t room = 0;
    if (count < 3 || count > 4)
        errx(2, "usage: opener open|creat|fopen|fopen+|freopen LOG [OPENED]");
    const char *how = arguments[1];
    const char *log = arguments[2];
    struct output output = {.fd = -1};
    if (count == 4) {
        output = open_log(how, log);
        open_marker(arguments[3]);
    }
    while (getline(&line, &room, stdin) > 0) {
        if (output.stream == NULL && output.fd < 0)
            output = open_log(how, log);
        put_line(&output, line);
        close_log(&output);
        output = (struct output){.fd = -1};
    }
    free(line);
    return 0;
}
