/*
 * What goes on outside of the program that is tested: helpers and keepers of its logs, and the command by hand.
 *
 * Programs are run here past the library and past libc's fork, so that the program that is tested does not notice.
 */
#ifndef TESTS_OUTSIDE_H
#define TESTS_OUTSIDE_H

#include "raw.h"

#include <ctype.h>
#include <dirent.h>
#include <signal.h>
#include <sys/wait.h>

extern char **environ;

enum { OUTSIDE_SECONDS = 60 };

/* The command beside the library, "" without one; and an environment in which it runs without the library. */
static char outside_command[PATH_MAX];
static char **outside_environment;

/* Once, before the program changes its environment. */
static inline void outside_start(void)
{
    const char *library = getenv("TEST_SHIM") != NULL ? getenv("TEST_SHIM") : "";
    const char *slash = strrchr(library, '/');
    size_t count = 0;
    size_t kept = 0;
    while (environ[count] != NULL) {
        count++;
    }
    outside_environment = calloc(count + 1, sizeof *outside_environment);
    for (size_t i = 0; outside_environment != NULL && i < count; i++) {
        bool ours = strncmp(environ[i], "LD_PRELOAD=", 11) == 0 || strncmp(environ[i], "MPLOGSHIM_STRICT=", 17) == 0;
        if (!ours) {
            outside_environment[kept++] = strdup(environ[i]);
        }
    }
    if (slash != NULL) {
        snprintf(outside_command, sizeof outside_command, "%.*s/mplogshim", (int)(slash - library), library);
    }
}

/* Runs a program, its output appended to `output`. Its wait status; -1 if it is killed because it takes too long. */
static inline int outside_run(char *const arguments[], const char *output)
{
    int error = errno;
    int status = -1;
    long child = raw_syscall(SYS_clone, 0); /* no signal at its end */
    if (child == 0) {
        int file = raw_open(output, O_WRONLY | O_APPEND | O_CREAT);
        file = file >= 0 ? file : raw_open("/dev/null", O_WRONLY);
        raw_syscall(SYS_dup3, file, 1, 0);
        raw_syscall(SYS_dup3, file, 2, 0);
        raw_syscall(SYS_close_range, 3, ~0U, 0);
        raw_syscall(SYS_execve, arguments[0], arguments, outside_environment);
        raw_syscall(SYS_exit_group, 127);
    }
    double end = raw_seconds() + OUTSIDE_SECONDS;
    while (child > 0 && raw_syscall(SYS_wait4, child, &status, WNOHANG | __WALL) == 0) {
        if (raw_seconds() > end) {
            raw_syscall(SYS_kill, child, SIGKILL);
            raw_syscall(SYS_wait4, child, &status, __WALL);
            status = -1;
            break;
        }
        raw_pause();
    }
    errno = error;
    return status;
}

/* `mplogshim settle` for the log at an absolute path: returns when it is settled, or cannot be just now. */
static inline int outside_settle(const char *log, const char *output)
{
    char settle[] = "settle";
    char *const arguments[] = {outside_command, settle, (char *)(uintptr_t)log, NULL};
    return *outside_command != '\0' ? outside_run(arguments, output) : 0;
}

/* The arguments of a process, joined by blanks; "" if it is gone. */
static inline void outside_arguments(const char *pid, char *line, size_t size)
{
    char path[64];
    snprintf(path, sizeof path, "/proc/%.20s/cmdline", pid);
    int fd = raw_open(path, O_RDONLY | O_CLOEXEC);
    long length = fd >= 0 ? raw_syscall(SYS_read, fd, line, size - 1) : 0;
    if (fd >= 0) {
        raw_close(fd);
    }
    length = length > 0 ? length : 0;
    line[length] = '\0';
    for (long i = 0; i + 1 < length; i++) {
        line[i] = line[i] == '\0' ? ' ' : line[i];
    }
}

/* How many helpers and keepers (`option`: "--helper", "--keeper", "": both) work for logs at paths that begin so. */
static inline int outside_count(const char *option, const char *path, pid_t *one)
{
    char wanted[PATH_MAX + 32];
    char line[PATH_MAX + 64];
    int count = 0;
    DIR *processes = opendir("/proc");
    for (struct dirent *entry; processes != NULL && (entry = readdir(processes)) != NULL;) {
        if (!isdigit((unsigned char)entry->d_name[0])) {
            continue;
        }
        outside_arguments(entry->d_name, line, sizeof line);
        snprintf(wanted, sizeof wanted, "mplogshim settle %s %s", *option != '\0' ? option : "--helper", path);
        bool found = strncmp(line, wanted, strlen(wanted)) == 0;
        if (!found && *option == '\0') {
            snprintf(wanted, sizeof wanted, "mplogshim settle --keeper %s", path);
            found = strncmp(line, wanted, strlen(wanted)) == 0;
        }
        count += found;
        if (found && one != NULL) {
            *one = (pid_t)strtol(entry->d_name, NULL, 10);
        }
    }
    if (processes != NULL) {
        closedir(processes);
    }
    return count;
}

/* Before a directory is removed or used again: nobody makes a file in it any more. */
static inline void outside_end(const char *directory)
{
    pid_t one = 0;
    for (double end = raw_seconds() + OUTSIDE_SECONDS; outside_count("", directory, &one) > 0 && raw_seconds() < end;
         raw_pause()) {
        raw_syscall(SYS_kill, one, SIGKILL);
    }
}

#endif
