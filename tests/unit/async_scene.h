/*
 * A log with async=1 and a clock of the test's: nothing is written by time alone. Each case is a process of its own.
 */
#ifndef ASYNC_SCENE_H
#define ASYNC_SCENE_H

#include "log_test.h"

#include "../../shim/core/log_async.h"

#include <signal.h>

enum { HOUR = 3600 };

/* The core as at the start of a process, with a buffer for what it will write. */
static inline void async_start(void)
{
    scene.rule.async = true;
    scene.rule.async_buffer = 32768;
    scene.rule.async_flush_ns = INT64_C(1000000000) * HOUR;
    scene_start(&scene);
}

static inline void async_begin(void)
{
    async_start();
    scene_attach(&scene);
}

/* In a process of its own; its status. One that hangs is killed after a minute: it may have all signals blocked. */
static inline int async_run(void (*body)(void))
{
    const struct timespec pause = {.tv_nsec = 1000000};
    int status = -1;
    pid_t child = fork();
    if (child == 0) {
        body();
        _exit(0);
    }
    for (int i = 0; i < 1000 * 60 && waitpid(child, &status, WNOHANG) == 0; i++) {
        nanosleep(&pause, NULL);
    }
    if (status == -1) {
        kill(child, SIGKILL);
        waitpid(child, &status, 0);
    }
    return status;
}

static inline void require(bool holds, const char *what)
{
    if (!holds) {
        char *said = temporary_read(scene.directory, DIAG_NAME);
        fprintf(stderr, "%s; %s\n", what, said == NULL ? "" : said);
        _exit(1);
    }
}

/* How many buffers are there. */
static inline int rings(void)
{
    int count = 0;
    DIR *directory = opendir(scene.directory);
    for (struct dirent *entry; directory != NULL && (entry = readdir(directory)) != NULL;) {
        count += strstr(entry->d_name, ".ring") != NULL;
    }
    closedir(directory);
    return count;
}

static inline long live_lines(void)
{
    return temporary_length(scene.directory, LOG_NAME) / LINE_LENGTH;
}

/* For a minute, by the machine's clock. */
static inline bool holds_at_last(bool (*holds)(void))
{
    const struct timespec pause = {.tv_nsec = 1000000};
    for (int i = 0; i < 1000 * 60 && !holds(); i++) {
        nanosleep(&pause, NULL);
    }
    return holds();
}

static inline int empty(void)
{
    temporary_must(guard_enter(), "empty");
    int error = log_empty(scene.writer, scene.fd);
    guard_leave();
    return error;
}

static inline void leave(void)
{
    temporary_must(guard_enter(), "leave");
    log_async_leave();
    log_async_stop_thread();
    guard_leave();
}

#endif
