/*
 * One log in a directory of its own, written to through the core as a hook would, by a clock of the test's.
 *
 * Lines are numbered and all have the same length, so that the whole history can be accounted for.
 */
#ifndef LOG_SCENE_H
#define LOG_SCENE_H

#include "temporary.h"

#include "../../shim/core/guard.h"
#include "../../shim/core/log.h"
#include "../../shim/core/name.h"
#include "../../shim/core/sys.h"
#include "../../shim/tool/settle.h"

#include <dirent.h>
#include <errno.h>
#include <sys/wait.h>

enum { LINE_LENGTH = 20, HISTORY_FILES = 256 };
#define LOG_NAME  "app.log"
#define LOCK_NAME ".app.log.lock"
#define DIAG_NAME "diag"

/* The clocks that the core sees. Sleeping moves them, and takes no time. */
struct scene_clock {
    int64_t real;      /* seconds */
    int64_t monotonic; /* nanoseconds */
    int64_t slept;     /* nanoseconds */
};
static struct scene_clock scene_clock;

static inline int scene_read_clock(clockid_t clock, struct timespec *now)
{
    if (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE) {
        *now = (struct timespec){.tv_sec = scene_clock.real};
    } else {
        *now = (struct timespec){scene_clock.monotonic / 1000000000, scene_clock.monotonic % 1000000000};
    }
    return 0;
}

static inline int scene_sleep(const struct timespec *duration)
{
    int64_t nanoseconds = (int64_t)duration->tv_sec * 1000000000 + duration->tv_nsec;
    scene_clock.monotonic += nanoseconds;
    scene_clock.slept += nanoseconds;
    return 0;
}

/* Both clocks, as when time passes. */
static inline void scene_pass(int64_t seconds)
{
    scene_clock.real += seconds;
    scene_clock.monotonic += seconds * 1000000000;
}

static struct period_zone scene_zone;

struct scene {
    char directory[TEMPORARY_SIZE];
    struct temporary_path path;
    struct temporary_path diag;
    struct rule rule;
    struct writer *writer;
    int fd;
};

/* A directory and a rule that never rotates. The core is not touched yet. */
static inline void scene_make(struct scene *scene)
{
    memset(scene, 0, sizeof *scene);
    temporary_make(scene->directory);
    scene->path = temporary_path(scene->directory, LOG_NAME);
    scene->diag = temporary_path(scene->directory, DIAG_NAME);
    scene->fd = -1;
    scene->rule = (struct rule){
        .pattern = scene->path.text,
        .pattern_real = scene->path.text,
        .policy = {.period = {.unit = PERIOD_NONE, .interval = 1}, .naming = NAMING_NUMBER},
        .lines = LINES_WHOLE,
        .mode = -1,
        .owner = (uid_t)-1,
        .group = (gid_t)-1,
        .lock_timeout_ns = 5000000000,
    };
    period_zone_utc(&scene_zone);
    scene_clock = (struct scene_clock){.real = 1795190400 /* 2026-11-20 16:00:00 UTC */, .monotonic = 100000000000};
}

/* Files are made by another clock. */
static inline int scene_birth(int dir, const char *path, struct timespec *born)
{
    (void)dir;
    (void)path;
    (void)born;
    return -EOPNOTSUPP;
}

/* The core as at the start of a process, with the clocks of the test. Only the first time in a process starts it. */
static inline void scene_start(struct scene *scene)
{
    static bool started;
    sys = sys_real;
    sys.clock = scene_read_clock;
    sys.sleep = scene_sleep;
    sys.birth = scene_birth;
    diag_open(DIAG_FILE, scene->diag.text);
    if (!started) {
        guard_start(log_forked);
        log_start(&scene_zone, NULL);
        started = true;
    }
}

static inline struct writer *scene_attach_descriptor(struct scene *scene, int fd)
{
    struct stat status;
    temporary_must(fd >= 0 && fstat(fd, &status) == 0 && guard_enter(), "attach");
    int access = fcntl(fd, F_GETFL) & O_ACCMODE;
    struct writer *writer = log_attach(scene->path.text, &scene->rule, fd, access, false, &status);
    guard_leave();
    return writer;
}

static inline void scene_attach(struct scene *scene)
{
    scene->fd = open(scene->path.text, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0644);
    scene->writer = scene_attach_descriptor(scene, scene->fd);
    temporary_must(scene->writer != NULL, "log_attach");
}

static inline void scene_detach(struct scene *scene)
{
    if (scene->writer != NULL) {
        temporary_must(guard_enter(), "detach");
        log_detach(scene->writer);
        guard_leave();
        close(scene->fd);
    }
    scene->writer = NULL;
    scene->fd = -1;
}

/* Nothing is left of it, whatever a test has replaced. */
static inline void scene_end(struct scene *scene)
{
    scene_detach(scene);
    sys = sys_real;
    diag_open(DIAG_OFF, NULL);
    temporary_remove(scene->directory);
}

static inline ssize_t scene_append(struct writer *writer, const char *text, enum log_hold hold)
{
    const struct iovec vector = {.iov_base = (void *)(uintptr_t)text, .iov_len = strlen(text)};
    temporary_must(guard_enter(), "write");
    ssize_t written = log_write(writer, writer->fd, &vector, 1, -1, 0, hold);
    guard_leave();
    return written;
}

/* Writes line `number`, of LINE_LENGTH bytes with its newline. */
static inline ssize_t scene_write(struct scene *scene, int number)
{
    char line[32];
    temporary_must(snprintf(line, sizeof line, "line %06d .......\n", number) == LINE_LENGTH, "line");
    return scene_append(scene->writer, line, HOLD_NONE);
}

/* Writes the lines `first` to `last`; false if one was not taken. */
static inline bool scene_write_lines(struct scene *scene, int first, int last)
{
    for (int number = first; number <= last; number++) {
        if (scene_write(scene, number) != LINE_LENGTH) {
            return false;
        }
    }
    return true;
}

/* What the helper does, by this process: passes until nothing is left to do that does not wait for somebody. */
static inline void scene_settle(const struct scene *scene)
{
    enum { PASSES = 64 };
    struct stat status;
    struct lockfile lock = {.fd = -1};
    struct settle settle = {.path = scene->path.text,
                            .base = strrchr(scene->path.text, '/') + 1,
                            .directory = open(scene->directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC),
                            .lock = &lock,
                            .rule = scene->rule,
                            .zone = &scene_zone};
    temporary_must(settle.directory >= 0 && fstat(settle.directory, &status) == 0, "directory");
    lock.directory = settle.directory;
    strcpy(lock.name, LOCK_NAME);
    temporary_must(guard_enter(), "settle");
    int result = lockfile_open(&lock, -1, &status);
    for (int pass = 0; pass < PASSES && result == 0; pass++) {
        result = settle_pass(&settle);
        if (result == SETTLE_WAIT) {
            scene_pass(60); /* whatever was too young is old then */
            result = 0;
        } else if (result == SETTLE_DONE) {
            break;
        }
    }
    lockfile_close(&lock);
    guard_leave();
    close(settle.directory);
}

/* Another process opens the log, writes lines, gives archives their names and ends; not zero if that went wrong. */
static inline int scene_other_process(struct scene *scene, int first, int last)
{
    int status = -1;
    pid_t child = fork();
    if (child == 0) {
        scene_start(scene);
        scene_attach(scene);
        bool good = scene_write_lines(scene, first, last);
        scene_settle(scene);
        _exit(!good);
    }
    temporary_must(waitpid(child, &status, 0) == child, "waitpid");
    return status;
}

static inline int scene_events(const struct scene *scene, const char *event)
{
    char word[64];
    snprintf(word, sizeof word, "mplogshim: %s log=", event);
    return temporary_count(scene->directory, DIAG_NAME, word);
}

/* The files of a log, oldest first; the live file is the last one, if there is one. */
struct history {
    struct history_file {
        struct name name; /* kind NAME_OTHER: the live file */
        char text[NAME_SIZE];
    } files[HISTORY_FILES];
    int count;
    int pending;
    int strangers; /* files that no settled log has beside it */
};

static inline int history_order(const void *a, const void *b)
{
    const struct name *left = &((const struct history_file *)a)->name;
    const struct name *right = &((const struct history_file *)b)->name;
    if (left->kind == NAME_OTHER || right->kind == NAME_OTHER) {
        return (left->kind == NAME_OTHER) - (right->kind == NAME_OTHER);
    }
    return name_compare(left, right);
}

static inline struct history *history_read(const char *directory)
{
    struct history *history = calloc(1, sizeof *history);
    DIR *stream = opendir(directory);
    temporary_must(stream != NULL && history != NULL, directory);
    for (struct dirent *entry; (entry = readdir(stream)) != NULL;) {
        struct name name = name_parse(LOG_NAME, entry->d_name);
        bool live = strcmp(entry->d_name, LOG_NAME) == 0;
        if (!live && (name.kind == NAME_OTHER || name.kind == NAME_LOCK || name.kind == NAME_WORK)) {
            history->strangers += name.kind != NAME_LOCK && strncmp(entry->d_name, "." LOG_NAME, 8) == 0;
            continue;
        }
        temporary_must(history->count < HISTORY_FILES, "too many files");
        history->pending += name.kind == NAME_PENDING;
        history->files[history->count].name = name;
        strcpy(history->files[history->count++].text, entry->d_name);
    }
    closedir(stream);
    qsort(history->files, (size_t)history->count, sizeof history->files[0], history_order);
    return history;
}

/* Whether the numbers up to `last` are there once each, in order; `optional` may be missing. Says what is wrong. */
static inline bool history_holds(const char *directory, int last, int optional)
{
    struct history *history = history_read(directory);
    int expected = 1;
    bool good = true;
    for (int i = 0; i < history->count; i++) {
        char *text = temporary_read(directory, history->files[i].text);
        for (char *line = text; line != NULL && *line != '\0'; line += LINE_LENGTH) {
            int number = -1;
            bool whole = strlen(line) >= LINE_LENGTH && line[LINE_LENGTH - 1] == '\n';
            if (sscanf(line, "line %6d", &number) == 1 && number == expected + 1 && expected == optional) {
                expected++;
            }
            if (!whole || number != expected) {
                fprintf(stderr, "%s: line %d instead of %d\n", history->files[i].text, number, expected);
                good = false;
                break;
            }
            expected++;
        }
        free(text);
    }
    expected += expected == optional;
    if (good && expected != last + 1) {
        fprintf(stderr, "the last line is %d instead of %d\n", expected - 1, last);
        good = false;
    }
    free(history);
    return good;
}

/* Whether nothing but the live file, the lock file and archives with final names is there. Says what else is. */
static inline bool history_is_settled(const char *directory)
{
    struct history *history = history_read(directory);
    bool settled = history->pending == 0 && history->strangers == 0 && history->count > 0 &&
                   history->files[history->count - 1].name.kind == NAME_OTHER;
    for (int i = 0; i < history->count && !settled; i++) {
        fprintf(stderr, "%s: not settled: %s\n", directory, history->files[i].text);
    }
    free(history);
    return settled;
}

#endif
