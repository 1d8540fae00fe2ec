/*
 * What a snippet of snippets_*.h finds when it is run: a log, perhaps open already, and a line of its own to write.
 *
 * It notes results in a transcript, which must be the same with the library and without, and what should by now be in
 * the log. Both files are written by path and raw system calls, so that no descriptor is open between the calls.
 */
#ifndef TESTS_SCENE_H
#define TESTS_SCENE_H

#include "raw.h"

#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <sys/wait.h>

struct scene {
    const char *hook;
    char directory[PATH_MAX];
    char log[PATH_MAX + 16];
    int fd;        /* open on the log for writing, or -1: the snippet opens it itself */
    int append;    /* O_APPEND, or 0 for programs that do without */
    char line[96]; /* what to write: one whole line */
};

static struct scene scene;

/* Something no system call sets, so that an errno that should not be touched is seen to be touched. */
enum { SCENE_ERRNO = 9999 };

static void scene_path(char path[PATH_MAX + 32], const char *name)
{
    snprintf(path, PATH_MAX + 32, "%s/%s", scene.directory, name);
}

/* Adds a result and errno to the transcript; errno is set anew for the next call. */
static void note(const char *what, long result)
{
    int error = errno;
    char text[256];
    char path[PATH_MAX + 32];
    int length = snprintf(text, sizeof text, "%s = %ld errno %d\n", what, result, error);
    scene_path(path, "transcript");
    raw_append(path, text, (size_t)length);
    errno = SCENE_ERRNO;
}

/* These bytes should be in the log, behind all that was expected before. */
static void expect(const char *data, long size)
{
    char path[PATH_MAX + 32];
    if (size > 0) {
        scene_path(path, "expected");
        raw_append(path, data, (size_t)size);
    }
}

static void expect_text(const char *text)
{
    expect(text, (long)strlen(text));
}

/* Notes what a call that should have written `text` returned, and expects as much of it. */
static void written(const char *text, long result)
{
    expect(text, result);
    note(scene.hook, result);
}

/* One write that ends in mid-line: with lines=whole its end is held for the descriptor's next call. */
static void write_unfinished(int fd)
{
    char text[160];
    int length = snprintf(text, sizeof text, "%sunfinished", scene.line);
    ssize_t result = write(fd, text, (size_t)length);
    expect(text, result);
    note("write", result);
}

/* Whether the live file, at this moment, ends in all that is expected of its last line. */
static bool unfinished_is_there(void)
{
    size_t size;
    char *live = raw_read(scene.log, &size);
    return size >= 10 && memcmp(live + size - 10, "unfinished", 10) == 0;
}

/* Another line, by the plainest way, to see that the descriptor is of use after the call. */
static void write_after(int fd)
{
    static const char text[] = "after\n";
    ssize_t result = write(fd, text, sizeof text - 1);
    expect(text, result);
    note("write after", result);
}

/* The log opened as the scene wants it. */
static int open_log(void)
{
    int fd = open(scene.log, O_WRONLY | O_CREAT | scene.append, 0640);
    note("open", fd);
    return fd;
}

/* Flags of a descriptor, but for O_APPEND, which is the library's business. */
static void note_flags(const char *what, int fd)
{
    note(what, raw_fcntl(fd, F_GETFD, 0));
    long status = raw_fcntl(fd, F_GETFL, 0);
    note(what, status < 0 ? status : (status & ~(long)O_APPEND));
}

/* Waits for a child of the snippet's and notes how it ended. */
static void note_child(pid_t child)
{
    int status = -1;
    pid_t result;
    do {
        result = waitpid(child, &status, 0);
    } while (result < 0 && errno == EINTR);
    errno = SCENE_ERRNO;
    note("waitpid", result == child);
    note("status", status);
}

/* Any function; each snippet knows the type of the functions it is run for. */
typedef void (*scene_function)(void);

enum snippet_trait {
    SIGNAL_SAFE = 1,  /* may be called in a signal handler and a vfork child */
    CANCEL_POINT = 2, /* must act on a pending cancellation before it does anything */
    OPENS = 4,        /* opens the log itself */
    STANDARD = 8,     /* writes to stdout or stderr: these must be on the log */
    ENDS = 16,        /* does not come back: run in a child */
    TRUNCATES = 32,   /* throws away what was there, without the library */
    LEAVES = 64,      /* the descriptor need not be open on the log afterwards */
};

struct snippet {
    const char *hook;
    void (*run)(scene_function call);
    scene_function call;
    int traits;
};

#define CALL(function) ((scene_function)(function))

#endif
