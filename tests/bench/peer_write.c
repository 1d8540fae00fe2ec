/*
 * A writer of scripts/bench-peers for every row that is not a library's own.
 *
 *   peer_write write|stdio LOG TOLD WRITER LINES LENGTH
 *
 * `write` makes one write(2) for each line, `stdio` leaves the buffering to libc. LOG "-" is the standard output: a
 * pipe to a logger.
 */
#include "peer.h"

#include <stdbool.h>

static struct peer peer;
static char line[PEER_LENGTH_MAX + 128];

static void write_lines(int log)
{
    for (unsigned number = 1; number <= peer.lines; number++) {
        size_t size = peer_line(&peer, line, number);
        if (write(log, line, size) != (ssize_t)size)
            err(1, "write");
        peer_tell(&peer, number);
    }
    if (close(log) != 0)
        err(1, "close");
}

static void print_lines(FILE *log)
{
    for (unsigned number = 1; number <= peer.lines; number++) {
        size_t size = peer_line(&peer, line, number);
        if (fwrite(line, 1, size, log) != size)
            err(1, "fwrite");
        peer_tell(&peer, number);
    }
    if (fclose(log) != 0)
        err(1, "fclose");
}

int main(int count, char **arguments)
{
    if (count != 7)
        errx(2, "usage: peer_write write|stdio LOG TOLD WRITER LINES LENGTH");
    bool stdio = strcmp(arguments[1], "stdio") == 0;
    const char *path = arguments[2];
    peer_prepare(&peer, count, arguments);
    int log = strcmp(path, "-") == 0 ? STDOUT_FILENO : open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
    FILE *stream = stdio && log >= 0 ? fdopen(log, "a") : NULL;
    if (log < 0 || (stdio && stream == NULL))
        err(1, "%s", path);
    peer_wait(&peer);
    if (stdio)
        print_lines(stream);
    else
        write_lines(log);
    peer_done(&peer);
    return 0;
}
