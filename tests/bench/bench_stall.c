/*
 * How long a single write takes while its log rotates: one writer of scripts/bench.
 *
 *   bench_stall LOG LINES PAUSE ROTATIONS SIZE
 *
 * Writes LINES lines of 100 bytes with PAUSE microseconds between them and prints the nanoseconds that each took, one
 * a line. ROTATIONS times, evenly spread, it first makes the log SIZE bytes long, with a hole, so that with
 * max_bytes=SIZE the next write of any writer rotates.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { LINE_SIZE = 100, LINES_MOST = 1000000 };

static void fail(const char *what)
{
    fprintf(stderr, "bench_stall: %s: %s\n", what, strerror(errno));
    exit(1);
}

static int64_t now(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return time.tv_sec * INT64_C(1000000000) + time.tv_nsec;
}

static int64_t write_line(int log, const char *line)
{
    int64_t begin = now();
    if (write(log, line, LINE_SIZE) != LINE_SIZE)
        fail("write");
    return now() - begin;
}

int main(int argc, char *argv[])
{
    static int64_t durations[LINES_MOST];
    char line[LINE_SIZE];
    if (argc != 6 || atol(argv[2]) < 1 || atol(argv[2]) > LINES_MOST) {
        fputs("usage: bench_stall LOG LINES PAUSE ROTATIONS SIZE\n", stderr);
        return 2;
    }
    long lines = atol(argv[2]);
    long pause = atol(argv[3]);
    long rotations = atol(argv[4]);
    off_t size = atoll(argv[5]);
    int log = open(argv[1], O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
    if (log < 0)
        fail(argv[1]);

    memset(line, '.', LINE_SIZE - 1);
    line[LINE_SIZE - 1] = '\n';
    write_line(log, line); /* opens what is opened once */
    for (long i = 0; i < lines; i++) {
        if (rotations > 0 && i % (lines / rotations) == 0 && truncate(argv[1], size) != 0)
            fail("truncate");
        durations[i] = write_line(log, line);
        usleep((useconds_t)pause);
    }
    for (long i = 0; i < lines; i++)
        printf("%lld\n", (long long)durations[i]);
    return 0;
}
