/*
 * Launching in tests: the test program itself is what is launched, to report how it finds itself, and every test runs
 * in a fork child of its own, because it changes what is the process's.
 */
#ifndef LAUNCH_SCENE_H
#define LAUNCH_SCENE_H

#include "../../shim/core/launch.h"
#include "temporary.h"

#include <dirent.h>
#include <errno.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>

#include <cmocka.h>

enum { MILLISECOND = 1000000, PATIENCE_MS = 20000, HIGHEST_REPORTED = 4096 };

/* In fork children, where cmocka's own assertions would go on with the parent's tests. */
#define must(condition) must_be(condition, #condition, __LINE__)

static inline void must_be(bool condition, const char *text, int line)
{
    if (!condition) {
        dprintf(STDERR_FILENO, "# line %d: %s (errno %d)\n", line, text, errno);
        _exit(1);
    }
}

static inline void nap(void)
{
    const struct timespec time = {.tv_sec = 0, .tv_nsec = MILLISECOND};
    nanosleep(&time, NULL);
}

/* Evaluates a condition until it holds, for PATIENCE_MS at most. */
#define eventually(condition)                                                                                          \
    for (int naps = 0; !(condition); naps++) {                                                                         \
        must_be(naps < PATIENCE_MS, "eventually " #condition, __LINE__);                                               \
        nap();                                                                                                         \
    }

static inline int64_t now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

/* What the launched program does: "report DIRECTORY" into the file "report", then waits if there is a file "stay". */
static inline void report_signals(FILE *file)
{
    int ignored = 0;
    int blocked = 0;
    sigset_t mask;
    sigprocmask(SIG_BLOCK, NULL, &mask);
    for (int number = 1; number < NSIG; number++) {
        struct sigaction action;
        ignored += sigaction(number, NULL, &action) == 0 && action.sa_handler == SIG_IGN;
        blocked += sigismember(&mask, number) == 1;
    }
    fprintf(file, "ignored=%d\nblocked=%d\n", ignored, blocked);
}

static inline void report_descriptors(FILE *file, int own)
{
    for (int fd = 0; fd < HIGHEST_REPORTED; fd++) {
        struct stat status;
        if (fd != own && fstat(fd, &status) == 0) {
            const char *kind = S_ISDIR(status.st_mode) ? "directory" : S_ISCHR(status.st_mode) ? "device" : "other";
            fprintf(file, "fd%d=%s %lu %s\n", fd, kind, (unsigned long)status.st_ino,
                    fcntl(fd, F_GETFD) & FD_CLOEXEC ? "cloexec" : "kept");
        }
    }
}

static inline int report(const char *directory, char **environment)
{
    struct rlimit size;
    char cwd[TEMPORARY_PATH_SIZE] = "";
    struct temporary_path fresh = temporary_path(directory, "report.new");
    struct temporary_path path = temporary_path(directory, "report");
    mode_t mask = umask(022);
    FILE *file = fopen(fresh.text, "we");
    temporary_must(file != NULL && getcwd(cwd, sizeof cwd) != NULL, "report");
    getrlimit(RLIMIT_FSIZE, &size);
    fprintf(file, "pid=%d\nppid=%d\nsid=%d\numask=%d\ncwd=%s\nnice=%d\npriority=%ld\nscheduler=%d\nfsize=%d\n",
            getpid(), getppid(), getsid(0), (int)mask, cwd, getpriority(PRIO_PROCESS, 0), syscall(SYS_ioprio_get, 1, 0),
            sched_getscheduler(0), size.rlim_cur == size.rlim_max);
    for (int i = 0; environment[i] != NULL; i++) {
        fprintf(file, "environment=%s\n", environment[i]);
    }
    report_signals(file);
    report_descriptors(file, fileno(file));
    temporary_must(fclose(file) == 0 && rename(fresh.text, path.text) == 0, "report");
    for (int naps = 0; temporary_exists(directory, "stay") && naps < PATIENCE_MS; naps++) {
        nap();
    }
    return 0;
}

/* Another thing it does: "mark FILE" makes the file one byte longer. */
static inline int mark(const char *path)
{
    int fd = open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0644);
    return fd >= 0 && write(fd, "x", 1) == 1 ? 0 : 1;
}

struct scene {
    char directory[TEMPORARY_SIZE];
    char program[TEMPORARY_PATH_SIZE];
    char *arguments[4];
    char *environment[2];
    struct launch launch;
};

static inline void scene_open(struct scene *scene)
{
    static char name[] = "launched";
    static char variable[] = "ONLY=this";
    static char call[] = "report";
    *scene = (struct scene){.arguments = {name, call, scene->directory}, .environment = {variable}};
    temporary_make(scene->directory);
    must(readlink("/proc/self/exe", scene->program, sizeof scene->program - 1) > 0);
    scene->launch = (struct launch){.paths = {scene->program},
                                    .arguments = scene->arguments,
                                    .environment = scene->environment,
                                    .descriptors = {-1, -1}};
}

/* The number or text after `key` in the report; the text is to be freed. */
static inline char *scene_text(const struct scene *scene, const char *key)
{
    char *text = temporary_read(scene->directory, "report");
    char *at = text == NULL ? NULL : strstr(text, key);
    char *value = at == NULL ? NULL : strndup(at + strlen(key), strcspn(at + strlen(key), "\n"));
    free(text);
    return value;
}

static inline long scene_number(const struct scene *scene, const char *key)
{
    char *text = scene_text(scene, key);
    must_be(text != NULL, key, __LINE__);
    long number = strtol(text, NULL, 10);
    free(text);
    return number;
}

static inline bool scene_says(const struct scene *scene, const char *line)
{
    return temporary_count(scene->directory, "report", line) == 1;
}

/* Launches; the program's id when it has reported. */
static inline pid_t scene_launch(const struct scene *scene)
{
    struct temporary_path old = temporary_path(scene->directory, "report");
    unlink(old.text);
    must(launch(&scene->launch) == 0);
    eventually(temporary_exists(scene->directory, "report"));
    return (pid_t)scene_number(scene, "pid=");
}

/* From now on /bin/true is launched: nothing waits for it, and it leaves the scene alone. */
static inline void scene_of_true(struct scene *scene)
{
    static char name[] = "true";
    scene->launch.paths[0] = "/bin/true";
    scene->arguments[0] = name;
    scene->arguments[1] = NULL;
}

/* From now on programs stay after their report, or no more. */
static inline void scene_stay(const struct scene *scene, bool stay)
{
    struct temporary_path path = temporary_path(scene->directory, "stay");
    if (stay) {
        temporary_write(scene->directory, "stay", "");
    } else {
        must(unlink(path.text) == 0);
    }
}

/* 'R', 'S', 'Z' and so on; 0 if there is no such process. */
static inline char process_state(pid_t process)
{
    char path[64];
    char text[512];
    snprintf(path, sizeof path, "/proc/%d/stat", process);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t size = fd < 0 ? -1 : read(fd, text, sizeof text - 1);
    if (fd >= 0) {
        close(fd);
    }
    if (size <= 0) {
        return 0;
    }
    text[size] = '\0';
    return strrchr(text, ')')[2];
}

/* In this process's own namespace; one that is a zombie of somebody else's has ended too. */
static inline bool has_ended(pid_t process)
{
    return kill(process, 0) != 0 || process_state(process) == 'Z';
}

/* Children of any kind, zombies too, as the first /proc numbers them. The last in *child, if there is one. */
static inline int count_children(pid_t *child)
{
    int count = 0;
    DIR *tasks = opendir("/proc/self/task");
    must(tasks != NULL);
    for (struct dirent *task; (task = readdir(tasks)) != NULL;) {
        char path[TEMPORARY_PATH_SIZE];
        snprintf(path, sizeof path, "/proc/self/task/%s/children", task->d_name);
        FILE *file = task->d_name[0] == '.' ? NULL : fopen(path, "re");
        for (int number; file != NULL && fscanf(file, "%d", &number) == 1; count++) {
            if (child != NULL) {
                *child = number;
            }
        }
        if (file != NULL) {
            fclose(file);
        }
    }
    closedir(tasks);
    return count;
}

/* What a launch may leave goes by launch_reap, however often it is called. */
static inline bool nothing_is_left(void)
{
    launch_reap();
    return count_children(NULL) == 0;
}

/* Runs a test's steps in a fork child, with a scene that is removed afterwards. */
static inline void in_child(void (*steps)(struct scene *scene))
{
    struct scene scene;
    int status = -1;
    scene_open(&scene);
    pid_t child = fork();
    if (child == 0) {
        launch_forked();
        steps(&scene);
        _exit(0);
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    temporary_remove(scene.directory);
    assert_int_equal(status, 0);
}

static inline int launched_main(char **arguments, char **environment)
{
    return strcmp(arguments[1], "mark") == 0 ? mark(arguments[2]) : report(arguments[2], environment);
}

#endif
