/* Snippets for the functions of hook_process.c, and for other ways to make and end processes. See scene.h. */
#ifndef TESTS_SNIPPETS_PROCESS_H
#define TESTS_SNIPPETS_PROCESS_H

#include "scene.h"

#include <sched.h>
#include <setjmp.h>
#include <spawn.h>
#include <sys/prctl.h>
#include <sys/resource.h>

extern char **environ;
extern pid_t __vfork(void) __attribute__((returns_twice));
extern void __longjmp_chk(jmp_buf environment, int value) __attribute__((noreturn));

static void run_exit(scene_function call)
{
    void (*function)(int) = (void (*)(int))call;
    write_unfinished(scene.fd);
    function(4);
}

static void run_abort(scene_function call)
{
    (void)call;
    struct rlimit none = {0, 0};
    setrlimit(RLIMIT_CORE, &none);
    errno = SCENE_ERRNO;
    write_unfinished(scene.fd);
    abort();
}

/* What is exec'ed: writes a line to the log by the descriptor that it inherits. */
static char exec_command[64];
static char *exec_arguments[] = {"sh", "-c", exec_command, NULL};

static void before_exec(void)
{
    snprintf(exec_command, sizeof exec_command, "echo new program >&%d; exit 7", scene.fd);
    write_unfinished(scene.fd);
    expect_text("new program\n");
}

static void after_failed_exec(int result)
{
    note(scene.hook, result);
    _exit(99);
}

static void run_execve(scene_function call)
{
    (void)call;
    note("no such program", execve("/nonexistent", exec_arguments, environ));
    before_exec();
    after_failed_exec(execve("/bin/sh", exec_arguments, environ));
}

static void run_execv(scene_function call)
{
    int (*function)(const char *, char *const *) = (int (*)(const char *, char *const *))call;
    note("no such program", function("/nonexistent", exec_arguments));
    before_exec();
    after_failed_exec(function("/bin/sh", exec_arguments));
}

static void run_execvpe(scene_function call)
{
    (void)call;
    note("no such program", execvpe("no-such-program", exec_arguments, environ));
    before_exec();
    after_failed_exec(execvpe("sh", exec_arguments, environ));
}

static void run_fexecve(scene_function call)
{
    (void)call;
    int shell = open("/bin/sh", O_RDONLY | O_CLOEXEC);
    errno = SCENE_ERRNO;
    before_exec();
    after_failed_exec(fexecve(shell, exec_arguments, environ));
}

static void run_execveat(scene_function call)
{
    (void)call;
    before_exec();
    after_failed_exec(execveat(AT_FDCWD, "/bin/sh", exec_arguments, environ, 0));
}

static void run_execl(scene_function call)
{
    int (*function)(const char *, const char *, ...) = (int (*)(const char *, const char *, ...))call;
    note("no such program", function("/nonexistent", "sh", NULL));
    before_exec();
    after_failed_exec(function("/bin/sh", "sh", "-c", exec_command, NULL));
}

static void run_execle(scene_function call)
{
    (void)call;
    before_exec();
    after_failed_exec(execle("/bin/sh", "sh", "-c", exec_command, NULL, environ));
}

static void run_spawn(scene_function call)
{
    int (*function)(pid_t *, const char *, const posix_spawn_file_actions_t *, const posix_spawnattr_t *, char *const *,
                    char *const *) = (int (*)(pid_t *, const char *, const posix_spawn_file_actions_t *,
                                              const posix_spawnattr_t *, char *const *, char *const *))call;
    posix_spawn_file_actions_t actions;
    char *arguments[] = {"sh", "-c", "echo spawned; exit 8", NULL};
    pid_t child = -1;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_adddup2(&actions, scene.fd, 1);
    write_unfinished(scene.fd);
    note(scene.hook, function(&child, "/bin/sh", &actions, NULL, arguments, environ));
    expect_text("spawned\n");
    note_child(child);
    write_after(scene.fd);
    posix_spawn_file_actions_destroy(&actions);
    errno = SCENE_ERRNO;
    note("no such program", function(&child, "/nonexistent/program", NULL, NULL, arguments, environ));
}

static void run_addopen(scene_function call)
{
    int (*function)(posix_spawn_file_actions_t *, int, const char *, int, mode_t) =
        (int (*)(posix_spawn_file_actions_t *, int, const char *, int, mode_t))call;
    posix_spawn_file_actions_t actions;
    char *arguments[] = {"sh", "-c", "echo spawned; exit 8", NULL};
    pid_t child = -1;
    write_unfinished(scene.fd);
    posix_spawn_file_actions_init(&actions);
    errno = SCENE_ERRNO;
    note(scene.hook, function(&actions, 1, scene.log, O_WRONLY | O_CREAT | O_APPEND, 0640));
    note("bad number", function(&actions, -1, scene.log, O_WRONLY | O_CREAT | O_APPEND, 0640));
    note("posix_spawn", posix_spawn(&child, "/bin/sh", &actions, NULL, arguments, environ));
    expect_text("spawned\n");
    note_child(child);
    write_after(scene.fd);
    posix_spawn_file_actions_destroy(&actions);
}

static void run_system(scene_function call)
{
    (void)call;
    char command[PATH_MAX + 64];
    snprintf(command, sizeof command, "echo from a shell >>'%s'; exit 9", scene.log);
    write_unfinished(scene.fd);
    note("system", system(command));
    expect_text("from a shell\n");
    write_after(scene.fd);
}

static void run_popen(scene_function call)
{
    (void)call;
    char command[PATH_MAX + 64];
    snprintf(command, sizeof command, "cat >>'%s'", scene.log);
    write_unfinished(scene.fd);
    FILE *stream = popen(command, "w");
    note("popen", stream != NULL);
    note("fputs", stream != NULL && fputs("through a pipe\n", stream) >= 0);
    note("pclose", stream != NULL ? pclose(stream) : -1);
    expect_text("through a pipe\n");
    write_after(scene.fd);
}

/* The parent's held end of a line is in the file before the child's first line. */
static void run_fork(scene_function call)
{
    pid_t (*function)(void) = (pid_t(*)(void))call;
    write_unfinished(scene.fd);
    pid_t child = function();
    if (child == 0) {
        note("all in the file", unfinished_is_there());
        written(scene.line, write(scene.fd, scene.line, strlen(scene.line)));
        _exit(2);
    }
    note_child(child);
    write_after(scene.fd);
}

/* Not called through a pointer: the compiler must know that it returns twice. */
static void run_vfork(scene_function call)
{
    write_unfinished(scene.fd);
    pid_t child = call == CALL(vfork) ? vfork() : __vfork();
    if (child == 0) {
        expect(scene.line, write(scene.fd, scene.line, strlen(scene.line)));
        _exit(2);
    }
    errno = SCENE_ERRNO;
    note_child(child);
    write_after(scene.fd);
}

static int cloned(void *unused)
{
    (void)unused;
    written(scene.line, write(scene.fd, scene.line, strlen(scene.line)));
    return 3;
}

static void run_clone(scene_function call)
{
    (void)call;
    static char stack[64 * 1024] __attribute__((aligned(16)));
    pid_t child = clone(cloned, stack + sizeof stack, SIGCHLD, NULL);
    note_child(child);
    write_after(scene.fd);
}

static void run_longjmp(scene_function call)
{
    void (*function)(jmp_buf, int) = (void (*)(jmp_buf, int))call;
    jmp_buf place;
    int value = setjmp(place);
    if (value == 0) {
        write_unfinished(scene.fd);
        function(place, 6);
    }
    note(scene.hook, value);
    write_after(scene.fd);
}

static void run_siglongjmp(scene_function call)
{
    (void)call;
    sigjmp_buf place;
    int value = sigsetjmp(place, 1);
    if (value == 0) {
        write_unfinished(scene.fd);
        siglongjmp(place, 6);
    }
    note("siglongjmp", value);
    write_after(scene.fd);
}

static void *writes_and_ends(void *unused)
{
    (void)unused;
    write_unfinished(scene.fd);
    pthread_exit(scene.line);
}

static void run_pthread_exit(scene_function call)
{
    (void)call;
    pthread_t thread;
    void *result = NULL;
    int failed = pthread_create(&thread, NULL, writes_and_ends, NULL);
    failed = failed != 0 ? failed : pthread_join(thread, &result);
    errno = SCENE_ERRNO;
    note("thread", failed);
    note("result", result == scene.line);
    write_after(scene.fd);
}

static void run_prctl(scene_function call)
{
    (void)call;
    char name[17] = "";
    note("set name", prctl(PR_SET_NAME, "snippet", 0, 0, 0));
    note("get name", prctl(PR_GET_NAME, name, 0, 0, 0));
    note("same", strcmp(name, "snippet"));
    note("bad option", prctl(123456, 0, 0, 0, 0));
    write_after(scene.fd);
}

static const struct snippet snippets_process[] = {
    {"exit", run_exit, CALL(exit), ENDS},
    {"quick_exit", run_exit, CALL(quick_exit), ENDS},
    {"_exit", run_exit, CALL(_exit), SIGNAL_SAFE | ENDS},
    {"_Exit", run_exit, CALL(_Exit), SIGNAL_SAFE | ENDS},
    {"abort", run_abort, CALL(abort), ENDS},
    {"execve", run_execve, CALL(execve), SIGNAL_SAFE | ENDS},
    {"execv", run_execv, CALL(execv), SIGNAL_SAFE | ENDS},
    {"execvp", run_execv, CALL(execvp), SIGNAL_SAFE | ENDS},
    {"execvpe", run_execvpe, CALL(execvpe), SIGNAL_SAFE | ENDS},
    {"fexecve", run_fexecve, CALL(fexecve), SIGNAL_SAFE | ENDS},
    {"execveat", run_execveat, CALL(execveat), SIGNAL_SAFE | ENDS},
    {"execl", run_execl, CALL(execl), SIGNAL_SAFE | ENDS},
    {"execlp", run_execl, CALL(execlp), SIGNAL_SAFE | ENDS},
    {"execle", run_execle, CALL(execle), SIGNAL_SAFE | ENDS},
    {"posix_spawn", run_spawn, CALL(posix_spawn), 0},
    {"posix_spawnp", run_spawn, CALL(posix_spawnp), 0},
    {"posix_spawn_file_actions_addopen", run_addopen, CALL(posix_spawn_file_actions_addopen), 0},
    {"system", run_system, CALL(system), 0},
    {"popen", run_popen, CALL(popen), 0},
    {"fork", run_fork, CALL(fork), SIGNAL_SAFE},
    {"_Fork", run_fork, CALL(_Fork), SIGNAL_SAFE},
    {"vfork", run_vfork, CALL(vfork), 0},
    {"__vfork", run_vfork, CALL(__vfork), 0},
    {"clone", run_clone, CALL(clone), 0},
    {"longjmp", run_longjmp, CALL(longjmp), 0},
    {"_longjmp", run_longjmp, CALL(_longjmp), 0},
    {"__longjmp_chk", run_longjmp, CALL(__longjmp_chk), 0},
    {"siglongjmp", run_siglongjmp, CALL(siglongjmp), 0},
    {"pthread_exit", run_pthread_exit, CALL(pthread_exit), 0},
    {"prctl", run_prctl, CALL(prctl), 0},
};

#endif
