#include "event.h"

#include "../core/sys.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

enum { DETAIL_SIZE = 512, VARIABLE_SIZE = PATH_MAX + 32, VARIABLES = 4, MILLISECOND = 1000000, NOT_RUN = 127 };
static int64_t patience = INT64_C(10000000000);
static const char own_variables[] = "MPLOGSHIM_";

static const char *program;
static pid_t running[EVENT_PROGRAMS]; /* 0: free */
static bool stuck;                    /* no place came free when it was last waited for */

void event_start(const char *path)
{
    program = path;
}

void event_be_impatient(void)
{
    patience = 0;
}

/* Takes what has ended; a free place, or NULL. */
static pid_t *find_place(void)
{
    pid_t *place = NULL;
    for (size_t i = 0; i < EVENT_PROGRAMS; i++) {
        if (running[i] > 0 && waitpid(running[i], NULL, WNOHANG) != 0) {
            running[i] = 0;
        }
        if (running[i] == 0) {
            place = &running[i];
        }
    }
    return place;
}

/* Who waited in vain once does not do so for each event: archives are waiting, too. */
static pid_t *wait_for_place(void)
{
    const struct timespec pause = {.tv_nsec = 5 * MILLISECOND};
    int64_t end = sys_now(CLOCK_MONOTONIC) + patience;
    pid_t *place = find_place();
    while (place == NULL && !stuck && sys_now(CLOCK_MONOTONIC) < end) {
        sys.sleep(&pause);
        place = find_place();
    }
    stuck = place == NULL;
    return place;
}

/* What the program gets: this process's environment without the shim's variables, and those of the event. To be freed,
 * or NULL. */
static char **make_environment(char variables[VARIABLES][VARIABLE_SIZE])
{
    size_t count = 0;
    while (environ[count] != NULL) {
        count++;
    }
    char **environment = calloc(count + VARIABLES + 1, sizeof *environment);
    if (environment == NULL) {
        return NULL;
    }
    size_t kept = 0;
    for (size_t i = 0; i < count; i++) {
        if (strncmp(environ[i], own_variables, sizeof own_variables - 1) != 0) {
            environment[kept++] = environ[i];
        }
    }
    for (size_t i = 0; i < VARIABLES; i++) {
        environment[kept++] = variables[i];
    }
    return environment;
}

/* In the child. The helper ignores signals, and has descriptors that are nobody else's business. */
static void become_program(char **environment, int report)
{
    sigset_t none;
    char *arguments[] = {(char *)(uintptr_t)program, NULL};
    for (int number = 1; number < NSIG; number++) {
        (void)signal(number, SIG_DFL);
    }
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    int null = open("/dev/null", O_RDWR);
    for (int fd = 0; null >= 0 && fd <= STDERR_FILENO; fd++) {
        dup2(null, fd);
    }
    if (report <= STDERR_FILENO) {
        report = -1; /* it has just become /dev/null */
    } else if (dup3(report, STDERR_FILENO + 1, O_CLOEXEC) >= 0) {
        report = STDERR_FILENO + 1;
    }
    close_range(STDERR_FILENO + 2, ~0U, 0);
    execve(program, arguments, environment);
    int error = errno;
    (void)!write(report, &error, sizeof error);
    _exit(NOT_RUN);
}

/* Starts it: its pid, or -errno if it cannot be run. */
static pid_t start_program(char **environment)
{
    int pipe_ends[2];
    if (pipe2(pipe_ends, O_CLOEXEC) != 0) {
        return -errno;
    }
    pid_t child = fork();
    int error = child < 0 ? errno : 0;
    if (child == 0) {
        become_program(environment, pipe_ends[1]);
    }
    close(pipe_ends[1]);
    if (child > 0) {
        int failed;
        ssize_t got;
        do {
            got = read(pipe_ends[0], &failed, sizeof failed);
        } while (got < 0 && errno == EINTR);
        if (got == (ssize_t)sizeof failed) {
            waitpid(child, NULL, 0);
            error = failed;
        }
    }
    close(pipe_ends[0]);
    return error != 0 ? -error : child;
}

void event_run(enum event event, const char *path, const char *archive, const char *detail)
{
    static char variables[VARIABLES][VARIABLE_SIZE];
    if (program == NULL) {
        return;
    }
    pid_t *place = wait_for_place();
    if (place == NULL) {
        diag_message("%s does not end: not run for %s of %s", program, diag_event_name(event), path);
        return;
    }
    diag_format(variables[0], VARIABLE_SIZE, "MPLOGSHIM_EVENT=%s", diag_event_name(event));
    diag_format(variables[1], VARIABLE_SIZE, "MPLOGSHIM_LOG=%s", path);
    diag_format(variables[2], VARIABLE_SIZE, "MPLOGSHIM_ARCHIVE=%s", archive == NULL ? "" : archive);
    diag_format(variables[3], VARIABLE_SIZE, "MPLOGSHIM_DETAIL=%s", detail);
    char **environment = make_environment(variables);
    pid_t started = environment == NULL ? -ENOMEM : start_program(environment);
    free(environment);
    if (started < 0) {
        diag_message("%s cannot be run: %s", program, diag_errno(started));
    } else {
        *place = started;
    }
}

void event_tell(struct diag_limits *limits, enum event event, const char *path, const char *archive, const char *format,
                ...)
{
    char detail[DETAIL_SIZE];
    va_list arguments;
    va_start(arguments, format);
    diag_vformat(detail, sizeof detail, format, arguments);
    va_end(arguments);
    bool told = archive != NULL ? diag_event(limits, event, path, "archive=%s %s", archive, detail)
                                : diag_event(limits, event, path, "%s", detail);
    if (told) {
        event_run(event, path, archive, detail);
    }
}
