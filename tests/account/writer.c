/*
 * Writes the numbered lines of line.h to a log by any one of libc's ways of writing.
 *
 *   writer [OPTION]... WAY LOG WRITER COUNT [RATE]
 *
 * LOG "-" is the standard output that the writer was given. RATE is in lines a second. Every write is checked as a
 * careful program would; exit status 1 if one failed.
 */
#include "line.h"
#include "until.h"
#include "writer_ways.h"

#include <err.h>
#include <fcntl.h>
#include <getopt.h>
#include <locale.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static const char USAGE[] = "usage: writer [OPTION]... WAY LOG WRITER COUNT [RATE]\n"
                            "  --buffering full|line|none   of the stream (default: as libc chooses)\n"
                            "  --length MIN-MAX             of the payloads (default: 20-300)\n"
                            "  --threads N                  writers WRITER, WRITER+1, ... on one descriptor or stream\n"
                            "  --forks N                    the same, as children\n"
                            "  --no-append                  open without O_APPEND\n"
                            "  --acknowledge FILE           the number of the last line that was written, in text\n"
                            "  --until FILE                 after COUNT lines go on until FILE has content (until.h)\n"
                            "  --ways                       list the ways\n";

static struct {
    const struct way *way;
    unsigned first, count, rate;
    unsigned shortest, longest;
    unsigned threads, forks;
    int buffering, open_flags;
    int acknowledge;
} options = {
    .shortest = LINE_SHORTEST, .longest = LINE_LONGEST, .buffering = -1, .open_flags = O_APPEND, .acknowledge = -1};

static struct output output;

/* Waits after line `number`, so that the lines come at the wanted rate. */
static void pace(unsigned number)
{
    enum { BURST = 16 };
    if (options.rate == 0 || number % BURST != 0)
        return;
    unsigned long long pause = 1000000000ULL * BURST / options.rate;
    struct timespec duration = {(time_t)(pause / 1000000000), (long)(pause % 1000000000)};
    nanosleep(&duration, NULL);
}

static void acknowledge(unsigned number)
{
    char text[16];
    int length = snprintf(text, sizeof text, "%-11u\n", number);
    if (options.acknowledge >= 0 && pwrite(options.acknowledge, text, (size_t)length, 0) != length)
        err(1, "acknowledge");
}

static void write_lines(unsigned writer)
{
    char *line = malloc(LINE_SIZE_MAX + 1);
    if (line == NULL)
        err(1, "malloc");
    unsigned number = 0;
    while (number < options.count || until_goes_on()) {
        number++;
        size_t size = line_make(line, writer, number, line_length(writer, number, options.shortest, options.longest));
        if (!options.way->put(&output, line, size))
            err(1, "line %u by %s", number, options.way->name);
        acknowledge(number);
        pace(number);
    }
    until_tell(writer, number);
    free(line);
}

static void *run_thread(void *writer)
{
    write_lines(*(unsigned *)writer);
    return NULL;
}

static void run_threads(void)
{
    pthread_t threads[options.threads];
    unsigned writers[options.threads];
    for (unsigned i = 0; i < options.threads; i++) {
        writers[i] = options.first + i;
        if (pthread_create(&threads[i], NULL, run_thread, &writers[i]) != 0)
            errx(1, "no thread");
    }
    for (unsigned i = 0; i < options.threads; i++)
        pthread_join(threads[i], NULL);
}

static void run_forks(void)
{
    for (unsigned i = 0; i < options.forks; i++) {
        pid_t child = fork();
        if (child < 0)
            err(1, "fork");
        if (child == 0) {
            write_lines(options.first + i);
            exit(0);
        }
    }
    for (unsigned i = 0; i < options.forks; i++) {
        int status;
        if (wait(&status) < 0 || status != 0)
            errx(1, "a child failed: status %d", status);
    }
}

static void open_stream(const char *path)
{
    const char *mode = options.open_flags & O_APPEND ? "a" : "r+";
    if (options.way->kind == WAY_STDOUT || options.way->kind == WAY_STDERR) {
        output.stream = options.way->kind == WAY_STDOUT ? stdout : stderr;
        if (path != NULL && freopen(path, mode, output.stream) == NULL)
            err(1, "%s", path);
        output.stream = options.way->kind == WAY_STDOUT ? stdout : stderr;
    } else {
        output.stream = path == NULL ? fdopen(1, "a") : fopen(path, mode);
        if (output.stream == NULL)
            err(1, "%s", path == NULL ? "-" : path);
    }
    if (options.buffering >= 0 && setvbuf(output.stream, NULL, options.buffering, 0) != 0)
        err(1, "setvbuf");
}

static void open_output(const char *path)
{
    if (strcmp(path, "-") == 0)
        path = NULL;
    if (options.way->kind != WAY_DESCRIPTOR) {
        open_stream(path);
        return;
    }
    output.fd = path == NULL ? 1 : open(path, O_WRONLY | O_CREAT | options.open_flags, 0644);
    if (output.fd < 0)
        err(1, "%s", path);
    if (pipe(output.pipe) != 0)
        err(1, "pipe");
}

/* Streams that libc flushes at exit are left to it; the others are closed, with a look at the result. */
static void close_output(void)
{
    if (options.way->kind == WAY_STREAM && options.threads == 0 && options.forks == 0 && fclose(output.stream) != 0)
        err(1, "fclose");
    if (options.way->kind == WAY_DESCRIPTOR && close(output.fd) != 0)
        err(1, "close");
}

static void wrong_use(void)
{
    fputs(USAGE, stderr);
    exit(2);
}

static int buffering_argument(const char *word)
{
    if (strcmp(word, "full") == 0)
        return _IOFBF;
    if (strcmp(word, "line") == 0)
        return _IOLBF;
    if (strcmp(word, "none") != 0)
        wrong_use();
    return _IONBF;
}

static void option_argument(int option)
{
    switch (option) {
    case 'b':
        options.buffering = buffering_argument(optarg);
        break;
    case 'l':
        if (sscanf(optarg, "%u-%u", &options.shortest, &options.longest) != 2 || options.shortest > options.longest ||
            options.longest > LINE_LENGTH_MAX)
            wrong_use();
        break;
    case 't':
        options.threads = (unsigned)atoi(optarg);
        break;
    case 'f':
        options.forks = (unsigned)atoi(optarg);
        break;
    case 'n':
        options.open_flags = 0;
        break;
    case 'a':
        options.acknowledge = open(optarg, O_WRONLY | O_CREAT | O_TRUNC, 0644);
        if (options.acknowledge < 0)
            err(1, "%s", optarg);
        break;
    case 'u':
        until_open(optarg);
        break;
    case 'w':
        for (const struct way *way = WAYS; way->name; way++)
            puts(way->name);
        exit(0);
    default:
        wrong_use();
    }
}

static const struct option long_options[] = {
    {"buffering", required_argument, NULL, 'b'},
    {"length", required_argument, NULL, 'l'},
    {"threads", required_argument, NULL, 't'},
    {"forks", required_argument, NULL, 'f'},
    {"no-append", no_argument, NULL, 'n'},
    {"acknowledge", required_argument, NULL, 'a'},
    {"until", required_argument, NULL, 'u'},
    {"ways", no_argument, NULL, 'w'},
    {0},
};

int main(int count, char **arguments)
{
    int option;
    setlocale(LC_ALL, "C.UTF-8");
    while ((option = getopt_long(count, arguments, "", long_options, NULL)) != -1)
        option_argument(option);
    if (count - optind < 4 || (options.way = way_find(arguments[optind])) == NULL)
        wrong_use();
    options.first = (unsigned)atoi(arguments[optind + 2]);
    options.count = (unsigned)atoi(arguments[optind + 3]);
    options.rate = count - optind > 4 ? (unsigned)atoi(arguments[optind + 4]) : 0;

    open_output(arguments[optind + 1]);
    if (options.threads > 0)
        run_threads();
    else if (options.forks > 0)
        run_forks();
    else
        write_lines(options.first);
    close_output();
    return 0;
}
