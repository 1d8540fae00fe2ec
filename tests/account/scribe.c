/*
 * Writes the numbered lines of line.h by write(2), and keeps a record of what each write was answered, outside of its
 * own memory: it is still there when the scribe was killed. What a disk has no room for is written again later.
 *
 *   scribe [OPTION]... LOG WRITER COUNT TOLD [RATE]
 *
 * TOLD is made anew: struct attempt for each write, the first without a number being the end. RATE is in lines a
 * second. SIGTERM ends it behind the line that it is at. Exit status 1 if it could not go on.
 */
#include "line.h"

#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <grp.h>
#include <signal.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

static const char USAGE[] = "usage: scribe [OPTION]... LOG WRITER COUNT TOLD [RATE]\n"
                            "  --give-up N      ends after N errors in a row (default: never)\n"
                            "  --reopen N       closes and opens the log after every N lines\n"
                            "  --truncate       opens it with O_TRUNC\n"
                            "  --drop           becomes nobody when it is open\n"
                            "  --length MIN-MAX of the payloads (default: 20-300)\n"
                            "  --file-size N    RLIMIT_FSIZE, in bytes; SIGXFSZ is ignored\n"
                            "  --die-of-file-size N   the same, but SIGXFSZ is not ignored\n";

/* One write: it began with byte `offset` of line `number`, whose payload has `length` bytes. */
enum { NOT_TOLD = INT32_MIN, ATTEMPTS_MOST = 1 << 22 };
struct attempt {
    uint32_t number; /* 0: none */
    uint32_t offset;
    uint32_t length;
    int32_t told; /* bytes, or -errno; NOT_TOLD: killed in it */
};

static struct {
    const char *log, *file_size;
    unsigned writer, count, rate;
    unsigned give_up, reopen, truncate, drop;
    unsigned shortest, longest;
} options = {.shortest = LINE_SHORTEST, .longest = LINE_LONGEST};

static struct attempt *attempts;
static size_t attempt_count;
static volatile sig_atomic_t ending;

static void end(int number)
{
    (void)number;
    ending = 1;
}

static void pause_for(long long nanoseconds)
{
    struct timespec duration = {(time_t)(nanoseconds / 1000000000), (long)(nanoseconds % 1000000000)};
    nanosleep(&duration, NULL);
}

/* Waits after line `number`, so that the lines come at the wanted rate. */
static void pace(unsigned number)
{
    enum { BURST = 8 };
    if (options.rate > 0 && number % BURST == 0)
        pause_for(1000000000LL * BURST / options.rate);
}

static void open_told(const char *path)
{
    int fd = open(path, O_RDWR | O_CREAT | O_TRUNC, 0644);
    if (fd < 0 || ftruncate(fd, (off_t)(ATTEMPTS_MOST * sizeof *attempts)) != 0)
        err(1, "%s", path);
    attempts = mmap(NULL, ATTEMPTS_MOST * sizeof *attempts, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (attempts == MAP_FAILED)
        err(1, "%s", path);
    close(fd);
}

static int is_patience_asked_for(int error)
{
    return error == ENOSPC || error == EDQUOT || error == EFBIG;
}

/* Counts errors in a row, and waits for better times; ends when there are too many. */
static void take_error(const char *what, unsigned *errors)
{
    if (!is_patience_asked_for(errno))
        err(1, "%s", what);
    if (++*errors == options.give_up)
        exit(0);
    pause_for(4000000);
}

static int open_log(void)
{
    int flags = O_WRONLY | O_CREAT | O_APPEND | (options.truncate ? O_TRUNC : 0);
    unsigned errors = 0;
    int fd;
    while ((fd = open(options.log, flags, 0644)) < 0)
        take_error(options.log, &errors);
    return fd;
}

static ssize_t attempt(int fd, unsigned number, size_t offset, const char *bytes, size_t size)
{
    if (attempt_count == ATTEMPTS_MOST - 1)
        errx(1, "too many writes");
    struct attempt *record = &attempts[attempt_count++];
    record->offset = (uint32_t)offset;
    record->length = line_length(options.writer, number, options.shortest, options.longest);
    record->told = NOT_TOLD;
    __atomic_store_n(&record->number, number, __ATOMIC_RELEASE);
    ssize_t result = write(fd, bytes, size);
    __atomic_store_n(&record->told, result < 0 ? -errno : (int32_t)result, __ATOMIC_RELEASE);
    return result;
}

static void write_line(int fd, unsigned number, const char *line, size_t size)
{
    unsigned errors = 0;
    for (size_t done = 0; done < size;) {
        ssize_t result = attempt(fd, number, done, line + done, size - done);
        if (result >= 0) {
            errors = 0;
            done += (size_t)result;
        } else {
            take_error("write", &errors);
        }
    }
}

static void give_up_root(void)
{
    enum { NOBODY = 65534 };
    if (setgroups(0, NULL) != 0 || setgid(NOBODY) != 0 || setuid(NOBODY) != 0)
        err(1, "setuid");
}

static void write_lines(void)
{
    static char line[LINE_SIZE_MAX + 1];
    int fd = open_log();
    if (options.drop)
        give_up_root();
    for (unsigned number = 1; number <= options.count && !ending; number++) {
        if (options.reopen > 0 && number > 1 && (number - 1) % options.reopen == 0) {
            if (close(fd) != 0)
                err(1, "close");
            fd = open_log();
        }
        unsigned length = line_length(options.writer, number, options.shortest, options.longest);
        write_line(fd, number, line, line_make(line, options.writer, number, length));
        pace(number);
    }
    if (close(fd) != 0)
        err(1, "close");
}

static void limit_file_size(const char *bytes)
{
    struct rlimit limit = {.rlim_cur = (rlim_t)atoll(bytes), .rlim_max = RLIM_INFINITY};
    struct rlimit no_core = {0};
    if (setrlimit(RLIMIT_CORE, &no_core) != 0 || setrlimit(RLIMIT_FSIZE, &limit) != 0)
        err(1, "RLIMIT_FSIZE");
}

static void wrong_use(void)
{
    fputs(USAGE, stderr);
    exit(2);
}

static const struct option long_options[] = {
    {"give-up", required_argument, NULL, 'g'},
    {"reopen", required_argument, NULL, 'r'},
    {"truncate", no_argument, NULL, 't'},
    {"drop", no_argument, NULL, 'D'},
    {"length", required_argument, NULL, 'l'},
    {"file-size", required_argument, NULL, 'f'},
    {"die-of-file-size", required_argument, NULL, 'd'},
    {0},
};

static void option_argument(int option)
{
    switch (option) {
    case 'g':
        options.give_up = (unsigned)atoi(optarg);
        break;
    case 'r':
        options.reopen = (unsigned)atoi(optarg);
        break;
    case 't':
        options.truncate = 1;
        break;
    case 'D':
        options.drop = 1;
        break;
    case 'l':
        if (sscanf(optarg, "%u-%u", &options.shortest, &options.longest) != 2 || options.shortest > options.longest ||
            options.longest > LINE_LENGTH_MAX)
            wrong_use();
        break;
    case 'f':
        signal(SIGXFSZ, SIG_IGN);
        options.file_size = optarg;
        break;
    case 'd':
        options.file_size = optarg;
        break;
    default:
        wrong_use();
    }
}

int main(int count, char **arguments)
{
    int option;
    while ((option = getopt_long(count, arguments, "", long_options, NULL)) != -1)
        option_argument(option);
    if (count - optind < 4)
        wrong_use();
    options.log = arguments[optind];
    options.writer = (unsigned)atoi(arguments[optind + 1]);
    options.count = (unsigned)atoi(arguments[optind + 2]);
    options.rate = count - optind > 4 ? (unsigned)atoi(arguments[optind + 4]) : 0;

    signal(SIGTERM, end);
    open_told(arguments[optind + 3]); /* before there is a limit */
    if (options.file_size != NULL)
        limit_file_size(options.file_size);
    write_lines();
    return 0;
}
