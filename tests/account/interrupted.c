/*
 * Writes numbered lines of line.h while a timer interrupts it at every moment, also within the library, with a handler
 * that writes, forks, ends the process or jumps; and records of each line whether its write returned.
 *
 *   interrupted [OPTION]... LOG TOLD SECONDS
 *
 * TOLD.WRITER becomes the record of a writer, for the checker: a byte for each line. Writers are 1, 2, ... (threads),
 * 101, ... (their handlers), 201, ... (children of those, one at a time) and 301 (a process that looks on). Prints what
 * happened; exit status 1 if a write failed, or a child's or the other process's took eight seconds: a lock was left
 * behind. On a busy machine it takes more than SECONDS, until signals came by the hundred and handlers did all of it.
 */
#include "line.h"

#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static const char USAGE[] =
    "usage: interrupted [OPTION]... LOG TOLD SECONDS\n"
    "  --work write|libc|stdio   between signals: write(2) alone (default), malloc and localtime\n"
    "                            as well, or a buffered stream\n"
    "  --fork, --exit, --jump    what handlers do, now and then, besides writing\n"
    "  --threads N               that all write and are interrupted (default: 1)\n"
    "  --hertz N                 of the timer (default: 10000)\n";

enum {
    THREADS_MOST = 64,
    LINES_MOST = 1 << 26, /* of one writer */
    HANDLERS = 100,
    CHILDREN = 200,
    CHILDREN_MOST = 32, /* at a time: some outlive the process that made them */
    LOOKS_ON = 301,
    EXITED = 3,    /* the status of a process that ended in a handler */
    LATEST = 120,  /* seconds, however little has happened */
    SIGNALS = 100, /* for each second, and so on */
    LINES = 10000,
    JUMPS = 5,
};

enum work { WORK_WRITE, WORK_LIBC, WORK_STDIO };

static struct {
    const char *log, *told;
    double seconds;
    enum work work;
    bool forks, exits, jumps;
    unsigned threads, hertz;
} options = {.threads = 1, .hertz = 10000};

enum { CHOSEN = -1 };

/* A writer's record, shared with children. */
struct record {
    unsigned count;
    char *told;
};

static struct {
    struct record records[LOOKS_ON + 1];
    pid_t children[CHILDREN_MOST]; /* who writes as 201, ...; 0: nobody, CHOSEN: about to be made */
    unsigned signals, forks, exits, jumps, failed;
    double longest;
} * shared;

struct thread {
    unsigned number; /* from 1 */
    unsigned random;
    int fd;
    FILE *stream;
    volatile sig_atomic_t may_jump;
    sigjmp_buf place;
};

static struct thread threads[THREADS_MOST];
static __thread struct thread *self;
static double deadline;

static double now(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + (double)time.tv_nsec / 1e9;
}

static double lines(void)
{
    double count = 0;
    for (unsigned i = 0; i <= LOOKS_ON; i++)
        count += shared->records[i].count;
    return count;
}

/* So much of what is to happen has happened that the account says something. */
static bool is_enough(void)
{
    return shared->signals >= SIGNALS * options.seconds && lines() >= LINES * options.seconds &&
           (!options.forks || shared->forks >= options.seconds) &&
           (!options.exits || shared->exits >= options.seconds) &&
           (!options.jumps || shared->jumps >= JUMPS * options.seconds);
}

static bool is_over(void)
{
    double time = now();
    return time >= deadline && (is_enough() || time >= deadline + LATEST);
}

static bool put(int fd, FILE *stream, const char *line, size_t size)
{
    return stream != NULL ? fwrite(line, 1, size, stream) == size : write(fd, line, size) == (ssize_t)size;
}

/* The next line of a writer, by its stream or its descriptor. */
static void put_line(unsigned writer, int fd, FILE *stream)
{
    char line[512];
    struct record *record = &shared->records[writer];
    unsigned number = ++record->count;
    size_t size = line_make(line, writer, number, line_length(writer, number, LINE_SHORTEST, LINE_LONGEST));
    if (number > LINES_MOST)
        _exit(1);
    record->told[number - 1] = '?';
    if (put(fd, stream, line, size))
        record->told[number - 1] = '+';
    else
        shared->failed++;
}

/* The same, and it does not wait for a lock that nobody will give back. */
static void put_line_in_time(unsigned writer, int fd)
{
    double begun = now();
    put_line(writer, fd, NULL);
    double taken = now() - begun;
    if (taken > shared->longest)
        shared->longest = taken;
}

static int wait_for(pid_t child)
{
    int status = -1;
    while (waitpid(child, &status, 0) < 0 && errno == EINTR)
        ;
    return status;
}

/* Which of the children's records is free, and is not any more; CHILDREN_MOST: none. */
static unsigned choose_child(void)
{
    unsigned child = 0;
    for (pid_t nobody = 0; child < CHILDREN_MOST; child++, nobody = 0) {
        if (__atomic_compare_exchange_n(&shared->children[child], &nobody, CHOSEN, false, __ATOMIC_ACQUIRE,
                                        __ATOMIC_RELAXED))
            break;
    }
    return child;
}

static void fork_and_put_line(void)
{
    unsigned number = choose_child();
    if (number == CHILDREN_MOST)
        return;
    pid_t child = fork();
    if (child == 0) {
        __atomic_store_n(&shared->children[number], getpid(), __ATOMIC_RELAXED);
        put_line_in_time(CHILDREN + 1 + number, self->fd);
        __atomic_store_n(&shared->children[number], 0, __ATOMIC_RELEASE);
        _exit(0);
    }
    shared->forks++;
    if (child < 0 || wait_for(child) != 0)
        shared->failed++;
}

/* Those whose process did not wait for them. */
static void wait_for_children(void)
{
    for (unsigned i = 0; i < CHILDREN_MOST; i++) {
        pid_t child;
        while ((child = __atomic_load_n(&shared->children[i], __ATOMIC_ACQUIRE)) > 0 && kill(child, 0) == 0)
            usleep(1000);
    }
}

static unsigned draw(unsigned sides)
{
    self->random = self->random * 1103515245 + 12345;
    return (self->random >> 16) % sides;
}

static void handle(int signal)
{
    int error = errno;
    (void)signal;
    if (self == NULL)
        return;
    __atomic_add_fetch(&shared->signals, 1, __ATOMIC_RELAXED);
    if (draw(2) == 0)
        put_line(HANDLERS + self->number, self->fd, NULL);
    if (options.forks && draw(50) == 0)
        fork_and_put_line();
    if (options.exits && draw(40) == 0) {
        shared->exits++;
        _exit(EXITED);
    }
    if (options.jumps && self->may_jump && draw(4) == 0) {
        __atomic_add_fetch(&shared->jumps, 1, __ATOMIC_RELAXED);
        siglongjmp(self->place, 1);
    }
    errno = error;
}

/* What takes locks in libc that a handler would wait for in vain. */
static void use_libc(void)
{
    time_t time = (time_t)self->random;
    void *volatile memory = malloc(self->random % 3000 + 1);
    if (memory == NULL || localtime(&time) == NULL)
        shared->failed++;
    free(memory);
}

static void write_until_deadline(void)
{
    while (!is_over()) {
        put_line(self->number, self->fd, self->stream);
        if (options.work == WORK_LIBC)
            use_libc();
        if (self->stream != NULL && draw(30) == 0 && fflush(self->stream) != 0)
            shared->failed++;
    }
}

static void open_log(void)
{
    self->fd = open(options.log, O_WRONLY | O_CREAT | O_APPEND, 0644);
    self->stream = options.work == WORK_STDIO ? fopen(options.log, "a") : NULL;
    if (self->fd < 0 || (options.work == WORK_STDIO && self->stream == NULL))
        err(1, "%s", options.log);
}

static void hold_timer(int how)
{
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGALRM);
    pthread_sigmask(how, &set, NULL);
}

static void *run_thread(void *thread)
{
    self = thread;
    self->random += (unsigned)getpid();
    open_log();
    sigsetjmp(self->place, 1); /* with the timer held */
    self->may_jump = 0;
    hold_timer(SIG_UNBLOCK);
    self->may_jump = 1;
    write_until_deadline();
    self->may_jump = 0;
    hold_timer(SIG_BLOCK);
    if (self->stream != NULL && fclose(self->stream) != 0)
        shared->failed++;
    close(self->fd);
    return NULL;
}

static void run_threads(void)
{
    pthread_t ids[THREADS_MOST];
    const struct sigaction action = {.sa_handler = handle, .sa_flags = SA_RESTART};
    const struct itimerval often = {{0, 1000000 / (int)options.hertz}, {0, 1}};
    sigaction(SIGALRM, &action, NULL);
    hold_timer(SIG_BLOCK);
    setitimer(ITIMER_REAL, &often, NULL);
    for (unsigned i = 0; i < options.threads; i++) {
        threads[i].number = i + 1;
        if (options.threads > 1 && pthread_create(&ids[i], NULL, run_thread, &threads[i]) != 0)
            errx(1, "no thread");
    }
    if (options.threads == 1) /* where libc allows a fork in a handler that interrupted malloc */
        run_thread(&threads[0]);
    for (unsigned i = 0; i < options.threads && options.threads > 1; i++)
        pthread_join(ids[i], NULL);
}

/* Until the time is over: each process that ended in a handler is followed by another, after a line of this one. */
static void run_processes(void)
{
    int fd = open(options.log, O_WRONLY | O_CREAT | O_APPEND, 0644);
    if (fd < 0)
        err(1, "%s", options.log);
    do {
        pid_t child = fork();
        if (child == 0) {
            run_threads();
            exit(0);
        }
        int status = wait_for(child);
        if (status != 0 && (!WIFEXITED(status) || WEXITSTATUS(status) != EXITED))
            errx(1, "a process ended with wait status %d", status);
        put_line_in_time(LOOKS_ON, fd);
    } while (!is_over());
    wait_for_children();
    if (close(fd) != 0)
        err(1, "close");
}

static void open_record(unsigned writer)
{
    char path[4096];
    snprintf(path, sizeof path, "%s.%u", options.told, writer);
    int fd = open(path, O_RDWR | O_CREAT | O_TRUNC, 0644);
    if (fd < 0 || ftruncate(fd, LINES_MOST) != 0)
        err(1, "%s", path);
    shared->records[writer].told = mmap(NULL, LINES_MOST, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (shared->records[writer].told == MAP_FAILED)
        err(1, "%s", path);
    close(fd);
}

static void close_record(unsigned writer)
{
    char path[4096];
    snprintf(path, sizeof path, "%s.%u", options.told, writer);
    if (truncate(path, shared->records[writer].count) != 0)
        err(1, "%s", path);
}

static void for_each_writer(void (*call)(unsigned writer))
{
    for (unsigned i = 1; i <= options.threads; i++) {
        call(i);
        call(HANDLERS + i);
    }
    for (unsigned i = 1; i <= CHILDREN_MOST && options.forks; i++)
        call(CHILDREN + i);
    call(LOOKS_ON);
}

static void wrong_use(void)
{
    fputs(USAGE, stderr);
    exit(2);
}

static enum work work_argument(const char *word)
{
    static const char *const words[] = {[WORK_WRITE] = "write", [WORK_LIBC] = "libc", [WORK_STDIO] = "stdio"};
    for (enum work work = WORK_WRITE; work <= WORK_STDIO; work++) {
        if (strcmp(words[work], word) == 0)
            return work;
    }
    wrong_use();
    return WORK_WRITE;
}

static void option_argument(int option)
{
    switch (option) {
    case 'w':
        options.work = work_argument(optarg);
        break;
    case 'f':
        options.forks = true;
        break;
    case 'e':
        options.exits = true;
        break;
    case 'j':
        options.jumps = true;
        break;
    case 't':
        options.threads = (unsigned)atoi(optarg);
        break;
    case 'h':
        options.hertz = (unsigned)atoi(optarg);
        break;
    default:
        wrong_use();
    }
}

static const struct option long_options[] = {
    {"work", required_argument, NULL, 'w'},
    {"fork", no_argument, NULL, 'f'},
    {"exit", no_argument, NULL, 'e'},
    {"jump", no_argument, NULL, 'j'},
    {"threads", required_argument, NULL, 't'},
    {"hertz", required_argument, NULL, 'h'},
    {0},
};

int main(int count, char **arguments)
{
    int option;
    const double patience = 8; /* less than the lock_timeout that it is run with */
    while ((option = getopt_long(count, arguments, "", long_options, NULL)) != -1)
        option_argument(option);
    if (count - optind != 3 || options.threads == 0 || options.threads > THREADS_MOST || options.hertz == 0)
        wrong_use();
    options.log = arguments[optind];
    options.told = arguments[optind + 1];
    options.seconds = atof(arguments[optind + 2]);
    shared = mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (shared == MAP_FAILED)
        err(1, "mmap");
    for_each_writer(open_record);
    deadline = now() + options.seconds;
    run_processes();
    for_each_writer(close_record);
    printf("signals %u, forks %u, exits %u, jumps %u, failed %u, the longest wait %.3f s\n", shared->signals,
           shared->forks, shared->exits, shared->jumps, shared->failed, shared->longest);
    return shared->failed == 0 && shared->longest < patience ? 0 : 1;
}
