/*
 * One side of the benchmark of scripts/bench: writes numbered lines of 100 bytes to a log, or accounts for them.
 *
 *   bench_write write METHOD LOG FIRST THREADS LINES   writers FIRST.. of LINES lines each, one thread for each
 *   bench_write check DIRECTORY WRITERS LINES          every line of every writer is there, once, whole and in order
 *
 * `write` says "ready", waits for the end of its standard input, and prints "BEGIN END CPU" in nanoseconds. Methods:
 * `plain` is write(2) alone, `locked` a hand-written fcntl lock around it, `sought` two lseeks in that lock.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

enum { LINE_SIZE = 100, HEAD_SIZE = 14, WRITERS_MOST = 64 };

enum method { METHOD_PLAIN, METHOD_LOCKED, METHOD_SOUGHT };

struct job {
    enum method method;
    int log;
    int lock; /* a lock file of its own, as a careful programmer would have */
    unsigned lines;
    bool threads; /* POSIX locks do not exclude threads: a mutex as well */
};

struct writer {
    const struct job *job;
    unsigned number;
    pthread_t thread;
};

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_barrier_t barrier;

static void fail(const char *what)
{
    fprintf(stderr, "bench_write: %s: %s\n", what, strerror(errno));
    exit(1);
}

static void set_lock(int fd, short type)
{
    struct flock lock = {.l_type = type, .l_whence = SEEK_SET, .l_start = 0, .l_len = 1};
    while (fcntl(fd, F_SETLKW, &lock) != 0)
        if (errno != EINTR)
            fail("fcntl");
}

static void write_line(const struct job *job, const char *line)
{
    if (job->method != METHOD_PLAIN) {
        if (job->threads)
            pthread_mutex_lock(&mutex);
        set_lock(job->lock, F_WRLCK);
    }
    if (job->method == METHOD_SOUGHT && (lseek(job->lock, 0, SEEK_END) < 0 || lseek(job->log, 0, SEEK_END) < 0))
        fail("lseek");
    if (write(job->log, line, LINE_SIZE) != LINE_SIZE)
        fail("write");
    if (job->method != METHOD_PLAIN) {
        set_lock(job->lock, F_UNLCK);
        if (job->threads)
            pthread_mutex_unlock(&mutex);
    }
}

/* "07 0000001234 ......\n": writer, number, filling. */
static void make_line(char *line, unsigned writer, unsigned number)
{
    char head[HEAD_SIZE + 1];
    memset(line, '.', LINE_SIZE);
    snprintf(head, sizeof head, "%02u %010u ", writer % 100, number);
    memcpy(line, head, HEAD_SIZE);
    line[LINE_SIZE - 1] = '\n';
}

/* The next line's number, in place: formatting it anew would cost a fifth of a write. */
static void count_up(char *line)
{
    char *digit = line + HEAD_SIZE - 2;
    while (*digit == '9')
        *digit-- = '0';
    ++*digit;
}

static void *run_writer(void *argument)
{
    const struct writer *writer = argument;
    char line[LINE_SIZE];
    make_line(line, writer->number, 0);
    pthread_barrier_wait(&barrier);
    for (unsigned i = 0; i < writer->job->lines; i++) {
        write_line(writer->job, line);
        count_up(line);
    }
    return NULL;
}

static int64_t wall_now(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * INT64_C(1000000000) + now.tv_nsec;
}

static int64_t cpu_now(void)
{
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    return (usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) * INT64_C(1000000000) +
           (usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) * INT64_C(1000);
}

static void wait_for_start(void)
{
    char ignored;
    puts("ready");
    fflush(stdout);
    while (read(STDIN_FILENO, &ignored, 1) > 0)
        ;
}

static int write_lines(const struct job *job, unsigned first, unsigned threads)
{
    struct writer writers[WRITERS_MOST];
    pthread_barrier_init(&barrier, NULL, threads);
    for (unsigned i = 0; i < threads; i++)
        writers[i] = (struct writer){.job = job, .number = first + i};

    wait_for_start();
    int64_t cpu = cpu_now();
    int64_t begin = wall_now();
    for (unsigned i = 1; i < threads; i++)
        if (pthread_create(&writers[i].thread, NULL, run_writer, &writers[i]) != 0)
            fail("pthread_create");
    run_writer(&writers[0]);
    for (unsigned i = 1; i < threads; i++)
        pthread_join(writers[i].thread, NULL);
    if (close(job->log) != 0) /* what a library may have kept in a buffer */
        fail("close");
    int64_t end = wall_now();
    printf("%lld %lld %lld\n", (long long)begin, (long long)end, (long long)(cpu_now() - cpu));
    return 0;
}

/* What was found of one writer's lines: which, and the last one in the file that is being read. */
struct account {
    unsigned char *seen;
    int64_t last;
};

/* Returns what is wrong with a line, or NULL. */
static const char *account_line(struct account *accounts, unsigned writers, unsigned lines, const char *line)
{
    char expected[LINE_SIZE];
    char head[HEAD_SIZE + 1];
    unsigned writer;
    unsigned number;
    memcpy(head, line, HEAD_SIZE);
    head[HEAD_SIZE] = '\0';
    if (sscanf(head, "%2u %10u ", &writer, &number) != 2 || writer >= writers || number >= lines)
        return "torn or strange";
    make_line(expected, writer, number);
    if (memcmp(line, expected, LINE_SIZE) != 0)
        return "torn";
    struct account *account = &accounts[writer];
    if (account->seen[number]++)
        return "there twice";
    if (account->last >= 0 && account->last + 1 != number)
        return "out of order";
    account->last = number;
    return NULL;
}

static int check_file(const char *path, struct account *accounts, unsigned writers, unsigned lines)
{
    char line[LINE_SIZE];
    size_t size;
    FILE *file = fopen(path, "r");
    if (file == NULL)
        fail(path);
    for (unsigned i = 0; i < writers; i++)
        accounts[i].last = -1;
    for (unsigned i = 0; (size = fread(line, 1, LINE_SIZE, file)) > 0; i++) {
        const char *wrong = size < LINE_SIZE ? "cut off" : account_line(accounts, writers, lines, line);
        if (wrong != NULL) {
            fprintf(stderr, "bench_write: %s: line %u is %s\n", path, i, wrong);
            return 1;
        }
    }
    fclose(file);
    return 0;
}

static int count_missing(const struct account *accounts, unsigned writers, unsigned lines)
{
    unsigned missing = 0;
    for (unsigned i = 0; i < writers; i++)
        for (unsigned j = 0; j < lines; j++)
            missing += accounts[i].seen[j] == 0;
    if (missing > 0)
        fprintf(stderr, "bench_write: %u of %u lines are missing\n", missing, writers * lines);
    return missing > 0;
}

/* The live file and its archives, whatever their names; the lock files hold no lines. */
static int check_directory(const char *directory, unsigned writers, unsigned lines)
{
    struct account accounts[WRITERS_MOST];
    DIR *listing = opendir(directory);
    if (listing == NULL)
        fail(directory);
    for (unsigned i = 0; i < writers; i++)
        if ((accounts[i].seen = calloc(lines, 1)) == NULL)
            fail("calloc");
    int status = 0;
    for (struct dirent *entry; status == 0 && (entry = readdir(listing)) != NULL;) {
        char path[4096];
        size_t length = strlen(entry->d_name);
        if (entry->d_type != DT_REG || (length > 5 && strcmp(entry->d_name + length - 5, ".lock") == 0))
            continue;
        snprintf(path, sizeof path, "%s/%s", directory, entry->d_name);
        status = check_file(path, accounts, writers, lines);
    }
    closedir(listing);
    if (status == 0)
        status = count_missing(accounts, writers, lines);
    for (unsigned i = 0; i < writers; i++)
        free(accounts[i].seen);
    return status;
}

static enum method method_named(const char *name)
{
    if (strcmp(name, "locked") == 0)
        return METHOD_LOCKED;
    return strcmp(name, "sought") == 0 ? METHOD_SOUGHT : METHOD_PLAIN;
}

static unsigned number_argument(const char *text, unsigned most)
{
    char *end;
    unsigned long number = strtoul(text, &end, 10);
    if (*end != '\0' || number > most) {
        fprintf(stderr, "bench_write: \"%s\" is not a number up to %u\n", text, most);
        exit(2);
    }
    return (unsigned)number;
}

static int open_lock(const char *log)
{
    char path[4096];
    snprintf(path, sizeof path, "%s.mutex.lock", log);
    return open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0644);
}

int main(int argc, char *argv[])
{
    const unsigned lines_most = 100000000;
    if (argc == 5 && strcmp(argv[1], "check") == 0)
        return check_directory(argv[2], number_argument(argv[3], WRITERS_MOST), number_argument(argv[4], lines_most));
    if (argc != 7 || strcmp(argv[1], "write") != 0) {
        fputs("usage: bench_write write METHOD LOG FIRST THREADS LINES | check DIRECTORY WRITERS LINES\n", stderr);
        return 2;
    }
    unsigned threads = number_argument(argv[5], WRITERS_MOST);
    struct job job = {
        .method = method_named(argv[2]),
        .log = open(argv[3], O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644),
        .lock = -1,
        .lines = number_argument(argv[6], lines_most),
        .threads = threads > 1,
    };
    if (job.method != METHOD_PLAIN)
        job.lock = open_lock(argv[3]);
    if (job.log < 0 || (job.method != METHOD_PLAIN && job.lock < 0))
        fail(argv[3]);
    return write_lines(&job, number_argument(argv[4], WRITERS_MOST), threads);
}
