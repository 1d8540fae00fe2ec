/*
 * Starts a process for one snippet in one situation, with the library or without, and gathers what it left behind.
 */
#ifndef TESTS_SITUATION_PROCESS_H
#define TESTS_SITUATION_PROCESS_H

#include "history.h"
#include "outside.h"
#include "situations.h"

/* Bytes in the log before the snippet begins: as many as max_bytes, so that its first write rotates. */
enum { FILLER = 1000 };

static const char *shim;
static const char *early;

/* Lines that make exactly FILLER bytes. */
static void make_filler(char filler[FILLER + 1], const char *word)
{
    for (int i = 0; i < FILLER; i += 50) {
        char line[51];
        snprintf(line, sizeof line, "%-40s %7d\n", word, i);
        memcpy(filler + i, line, 50);
    }
    for (int i = 49; i < FILLER; i += 50) {
        filler[i] = '\n';
    }
    filler[FILLER] = '\0';
}

static void remove_files(const char *directory)
{
    DIR *listing = opendir(directory);
    for (struct dirent *entry; listing != NULL && (entry = readdir(listing)) != NULL;) {
        unlinkat(dirfd(listing), entry->d_name, 0);
    }
    if (listing != NULL) {
        closedir(listing);
    }
}

static void child_environment(const char *directory, size_t snippet, size_t situation, bool with_shim)
{
    char value[3 * PATH_MAX];
    snprintf(value, sizeof value, "%zu", snippet);
    setenv("SITUATION_SNIPPET", value, 1);
    snprintf(value, sizeof value, "%zu", situation);
    setenv("SITUATION_PLACE", value, 1);
    setenv("SITUATION_DIRECTORY", directory, 1);
    snprintf(value, sizeof value, "%s/app.log", directory);
    setenv("SITUATION_LOG", value, 1);
    snprintf(value, sizeof value, "%s/app.log;%s/made-*", directory, directory);
    setenv("MPLOGSHIM_LOGS", value, 1);
    setenv("MPLOGSHIM_MAX_BYTES", "1000", 1);
    setenv("MPLOGSHIM_LOCK_TIMEOUT", TEST_LOCK_TIMEOUT, 1);
    snprintf(value, sizeof value, "%s/messages", directory);
    setenv("MPLOGSHIM_DIAG", value, 1);
    enum context context = situations[situation].context;
    const char *library = context == EARLIER_LIBRARY || context == LATER_LIBRARY ? early : "";
    const char *tested = with_shim ? shim : "";
    snprintf(value, sizeof value, "%s%s%s", context == EARLIER_LIBRARY ? library : tested,
             *library != '\0' && *tested != '\0' ? ":" : "", context == EARLIER_LIBRARY ? tested : library);
    setenv("LD_PRELOAD", value, 1);
}

/* In the child, without the library yet: the descriptors that it inherits, and the rotation that it slept through. */
static void child_descriptors(const char *log, enum source source)
{
    if (source >= INHERITED) {
        int fd = open(log, O_WRONLY | O_APPEND);
        if (source >= STANDARD_BOTH) {
            dup2(fd, 1);
            dup2(fd, 2);
        } else if (fd != 3) {
            dup2(fd, 3);
        }
        if (source >= STANDARD_BOTH || fd != 3) {
            close(fd);
        }
    }
    if (source == INHERITED_STALE || source == STANDARD_STALE) {
        pid_t child = fork();
        int status = -1;
        if (child == 0) {
            setenv("SITUATION_OTHER", "filler", 1);
            execl("/proc/self/exe", "other process", NULL);
            _exit(127);
        }
        if (waitpid(child, &status, 0) != child || status != 0) {
            _exit(96);
        }
    }
}

static void run_child(const char *directory, size_t snippet, size_t situation, bool with_shim)
{
    char log[PATH_MAX + 64];
    sigset_t none;
    setpgid(0, 0);
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    snprintf(log, sizeof log, "%s/app.log", directory);
    close_range(3, ~0U, 0);
    int null = open("/dev/null", O_RDWR);
    dup2(null, 0);
    dup2(null, 1);
    dup2(null, 2);
    close(null);
    child_environment(directory, snippet, situation, with_shim);
    child_descriptors(log, situations[situation].source);
    execl("/proc/self/exe", "hook_situations", NULL);
    _exit(127);
}

static int wait_or_kill(pid_t child)
{
    sigset_t set;
    int status = -1;
    struct timespec limit = {20, 0};
    sigemptyset(&set);
    sigaddset(&set, SIGCHLD);
    while (waitpid(child, &status, WNOHANG) == 0) {
        if (sigtimedwait(&set, NULL, &limit) < 0 && errno == EAGAIN) {
            kill(-child, SIGKILL);
            waitpid(child, &status, 0);
        }
    }
    return status;
}

/* What one run left behind. */
struct outcome {
    int status;
    char *transcript;
    char *expected;
    char *history;
    char *messages;
    size_t archives;
    bool lock_file;
};

/* Whoever still works there, or is just about to, must find nothing and make nothing. */
static void remove_place(const char *directory)
{
    do {
        outside_end(directory);
        remove_files(directory);
    } while (rmdir(directory) != 0 && errno == ENOTEMPTY);
}

static void gather(struct outcome *outcome, const char *directory)
{
    char path[PATH_MAX + 64];
    snprintf(path, sizeof path, "%s/app.log", directory);
    outcome->history = history_read(path, NULL);
    outcome->archives = history_archives(path);
    snprintf(path, sizeof path, "%s/transcript", directory);
    outcome->transcript = raw_read(path, NULL);
    snprintf(path, sizeof path, "%s/expected", directory);
    outcome->expected = raw_read(path, NULL);
    snprintf(path, sizeof path, "%s/messages", directory);
    outcome->messages = raw_read(path, NULL);
    snprintf(path, sizeof path, "%s/.app.log.lock", directory);
    outcome->lock_file = raw_exists(path);
}

/* Each run has a directory of its own: the helper or keeper of the one before may only be starting. */
static struct outcome run(const char *parent, size_t snippet, size_t situation, bool with_shim)
{
    static unsigned runs;
    char filler[FILLER + 1];
    char directory[PATH_MAX + 32];
    char path[PATH_MAX + 64];
    char output[PATH_MAX + 64];
    struct outcome outcome = {0};
    snprintf(directory, sizeof directory, "%s/%06u", parent, runs++);
    snprintf(path, sizeof path, "%s/app.log", directory);
    snprintf(output, sizeof output, "%s/settled", directory);
    if (mkdir(directory, 0700) != 0) {
        abort();
    }
    make_filler(filler, "prior");
    raw_append(path, filler, FILLER);
    pid_t child = fork();
    if (child == 0) {
        run_child(directory, snippet, situation, with_shim);
    }
    outcome.status = wait_or_kill(child);
    if (with_shim) {
        outside_settle(path, output);
    }
    gather(&outcome, directory);
    remove_place(directory);
    return outcome;
}

static void free_outcome(struct outcome *outcome)
{
    free(outcome->transcript);
    free(outcome->expected);
    free(outcome->history);
    free(outcome->messages);
}

#endif
