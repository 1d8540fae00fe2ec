/*
 * Calls that end, replace or multiply the process, or leave a function in an unusual way: what is held of unfinished
 * lines is written out first, and nothing of the shim's stays locked.
 */
#include "hook.h"

#include "descriptor_private.h"
#include "process.h"

#include "core/guard.h"
#include "core/log_async.h"

#include <alloca.h>
#include <sched.h>
#include <sys/prctl.h>
#include <unistd.h>

static void write_out(void)
{
    if (descriptor_active() && !descriptor_foreign_memory()) {
        int saved = errno;
        descriptor_empty_all();
        errno = saved;
    }
}

/* The same where the process ends (then nothing is held back any more), or goes on as another program. */
static void write_out_and_settle(bool ends)
{
    if (descriptor_active() && !descriptor_foreign_memory()) {
        int saved = errno;
        if (ends && !guard_foreign_process()) {
            descriptor_hold_nothing(true);
        }
        ends ? descriptor_leave() : descriptor_before_exec();
        descriptor_settle();
        errno = saved;
    }
}

static int exec_failed(int result)
{
    if (!descriptor_foreign_memory()) {
        log_async_exec_failed();
    }
    return result;
}

/* The end comes from wherever the thread is: a signal handler that interrupted the shim included. */
EXPORT void _exit(int status)
{
    guard_abandon();
    write_out_and_settle(true);
    real._exit(status);
    __builtin_unreachable();
}
EXPORT_ALIAS(_Exit, _exit);

EXPORT void abort(void)
{
    guard_abandon();
    write_out();
    real.abort();
    __builtin_unreachable();
}

/* The fork without handlers. What the child must know of itself it finds out by guard_enter. */
pid_t _Fork(void);
EXPORT pid_t _Fork(void)
{
    write_out();
    descriptor_share_locks(false);
    pid_t child = real._Fork();
    if (child == 0 && guard_inside()) {
        guard_forked(); /* by a handler, which may return into the shim */
    }
    return child;
}

struct cloned {
    int (*function)(void *);
    void *argument;
};

/* libc ends its thread by the system call itself, of which nobody would hear: behind the thread of async=1, the process
 * would not end. */
static int run_cloned(void *argument)
{
    const struct cloned *cloned = argument;
    int status = cloned->function(cloned->argument);
    write_out();
    descriptor_settle();
    descriptor_stop_thread();
    return status;
}

/* Without CLONE_VM it is a fork with a function, whose memory, this stack included, is a copy. */
EXPORT int clone(int (*function)(void *), void *stack, int flags, void *argument, ...)
{
    va_list list;
    va_start(list, argument);
    void *parent = va_arg(list, void *);
    void *tls = va_arg(list, void *);
    void *child = va_arg(list, void *);
    va_end(list);
    struct cloned cloned = {function, argument};
    descriptor_share_locks((flags & CLONE_VM) != 0);
    if (function == NULL || (flags & CLONE_VM) != 0 || !descriptor_active() || descriptor_foreign_memory()) {
        return real.clone(function, stack, flags, argument, parent, tls, child);
    }
    write_out();
    return real.clone(run_cloned, stack, flags, &cloned, parent, tls, child);
}

EXPORT int execve(const char *path, char *const arguments[], char *const environment[])
{
    write_out_and_settle(false);
    return exec_failed(real.execve(path, arguments, environment));
}

EXPORT int execv(const char *path, char *const arguments[])
{
    write_out_and_settle(false);
    return exec_failed(real.execv(path, arguments));
}

EXPORT int execvp(const char *file, char *const arguments[])
{
    write_out_and_settle(false);
    return exec_failed(real.execvp(file, arguments));
}

EXPORT int execvpe(const char *file, char *const arguments[], char *const environment[])
{
    write_out_and_settle(false);
    return exec_failed(real.execvpe(file, arguments, environment));
}

EXPORT int fexecve(int fd, char *const arguments[], char *const environment[])
{
    write_out_and_settle(false);
    return exec_failed(real.fexecve(fd, arguments, environment));
}

EXPORT int execveat(int directory, const char *path, char *const arguments[], char *const environment[], int flags)
{
    write_out_and_settle(false);
    return exec_failed(real.execveat(directory, path, arguments, environment, flags));
}

/* Collects the arguments of the variadic forms into a vector on the stack, as libc does: they may run in a vfork child.
 */
#define COLLECT(first)                                                                                                 \
    va_list arguments;                                                                                                 \
    size_t count = 1;                                                                                                  \
    va_start(arguments, first);                                                                                        \
    while (va_arg(arguments, char *) != NULL) {                                                                        \
        count++;                                                                                                       \
    }                                                                                                                  \
    va_end(arguments);                                                                                                 \
    char **vector = alloca((count + 1) * sizeof *vector);                                                              \
    vector[0] = (char *)first;                                                                                         \
    va_start(arguments, first);                                                                                        \
    for (size_t i = 1; i <= count; i++) {                                                                              \
        vector[i] = va_arg(arguments, char *);                                                                         \
    }

EXPORT int execl(const char *path, const char *first, ...)
{
    COLLECT(first)
    va_end(arguments);
    return execv(path, vector);
}

EXPORT int execlp(const char *file, const char *first, ...)
{
    COLLECT(first)
    va_end(arguments);
    return execvp(file, vector);
}

EXPORT int execle(const char *path, const char *first, ...)
{
    COLLECT(first)
    char *const *environment = va_arg(arguments, char *const *);
    va_end(arguments);
    return execve(path, vector, environment);
}

EXPORT int posix_spawn(pid_t *pid, const char *path, const posix_spawn_file_actions_t *actions,
                       const posix_spawnattr_t *attributes, char *const arguments[], char *const environment[])
{
    write_out();
    return real.posix_spawn(pid, path, actions, attributes, arguments, environment);
}

EXPORT int posix_spawnp(pid_t *pid, const char *file, const posix_spawn_file_actions_t *actions,
                        const posix_spawnattr_t *attributes, char *const arguments[], char *const environment[])
{
    write_out();
    return real.posix_spawnp(pid, file, actions, attributes, arguments, environment);
}

/* What libc will open for the child by itself: its O_TRUNC would cut a log off, and nobody would hear of it. */
EXPORT int posix_spawn_file_actions_addopen(posix_spawn_file_actions_t *actions, int fd, const char *path, int flags,
                                            mode_t mode)
{
    int saved = errno;
    int passed = descriptor_flags_outside(AT_FDCWD, path, flags);
    errno = saved;
    return real.posix_spawn_file_actions_addopen(actions, fd, path, passed, mode);
}

EXPORT int system(const char *command)
{
    write_out();
    return real.system(command);
}

EXPORT FILE *popen(const char *command, const char *mode)
{
    write_out();
    FILE *pipe = real.popen(command, mode);
    if (pipe != NULL) {
        descriptor_made_plain(fileno(pipe));
    }
    return pipe;
}

/*
 * Where a jump leads on the stack. glibc keeps the stack pointer mangled (PTR_MANGLE, sysdeps/unix/sysv/linux/x86_64:
 * exclusive or with the thread's pointer guard at fs:0x30, rotated left by 17); elsewhere it is not known here.
 */
static const void *jump_target(jmp_buf environment)
{
#ifdef __x86_64__
    enum { STACK_POINTER = 6, ROTATION = 17 };
    uintptr_t word = (uintptr_t)environment[0].__jmpbuf[STACK_POINTER];
    uintptr_t pointer_guard;
    word = word >> ROTATION | word << (64 - ROTATION);
    __asm__("movq %%fs:0x30, %0" : "=r"(pointer_guard));
    return (const void *)(word ^ pointer_guard);
#else
    (void)environment;
    return NULL;
#endif
}

/* A jump out of a signal handler that interrupted the shim: what the thread holds in there is given back. */
static void before_jump(jmp_buf environment)
{
    if (guard_inside()) {
        guard_abandon_for_jump(jump_target(environment));
    }
}

EXPORT void longjmp(jmp_buf environment, int value)
{
    before_jump(environment);
    real.longjmp(environment, value);
    __builtin_unreachable();
}

EXPORT void _longjmp(jmp_buf environment, int value)
{
    before_jump(environment);
    real._longjmp(environment, value);
    __builtin_unreachable();
}

EXPORT void siglongjmp(sigjmp_buf environment, int value)
{
    before_jump(environment);
    real.siglongjmp(environment, value);
    __builtin_unreachable();
}

void __longjmp_chk(jmp_buf environment, int value);
EXPORT void __longjmp_chk(jmp_buf environment, int value)
{
    before_jump(environment);
    real.__longjmp_chk(environment, value);
    __builtin_unreachable();
}

EXPORT void pthread_exit(void *value)
{
    guard_abandon();
    real.pthread_exit(value);
    __builtin_unreachable();
}

EXPORT int prctl(int option, ...)
{
    va_list arguments;
    va_start(arguments, option);
    unsigned long a = va_arg(arguments, unsigned long);
    unsigned long b = va_arg(arguments, unsigned long);
    unsigned long c = va_arg(arguments, unsigned long);
    unsigned long d = va_arg(arguments, unsigned long);
    va_end(arguments);
    if (option == PR_CAPBSET_DROP || option == PR_CAP_AMBIENT || option == PR_SET_SECUREBITS ||
        option == PR_SET_NO_NEW_PRIVS) {
        descriptor_stop_thread(); /* these are of one thread: the shim's would keep what is given up */
    }
    if (option != PR_SET_SECCOMP) {
        return real.prctl(option, a, b, c, d);
    }
    int saved = errno;
    struct filtering filtering;
    descriptor_before_filter(&filtering);
    errno = saved;
    int result = real.prctl(option, a, b, c, d);
    descriptor_after_filter(&filtering, result == 0);
    return result;
}

/*
 * With AddressSanitizer, a child that never returns from its last function leaves the marks around that one's variables
 * on its parent's stack. The runtime's own vfork, which is passed by here, takes them away in the same manner: all
 * below the caller of vfork, which is two return addresses, a gap and a frame pointer above `frame`.
 */
static void forget_frames_of_child(char *frame)
{
#ifdef __SANITIZE_ADDRESS__
    void __asan_handle_vfork(void *);
    __asan_handle_vfork(frame + 4 * sizeof(void *));
#else
    (void)frame;
#endif
}

/* Called by vfork.S around the system call, in the parent's thread. */
void process_before_vfork(void)
{
    write_out();
    if (descriptor_active()) {
        guard_thread.vfork_child++;
    }
}

long process_after_vfork(long result)
{
    forget_frames_of_child(__builtin_frame_address(0));
    if (guard_thread.vfork_child > 0) {
        guard_thread.vfork_child--;
        guard_thread.child_unasked = false;
    }
    return hook_result(errno, result);
}
