/*
 * Starts a program outside of this process: nothing of it is seen by the process or by its parent.
 *
 * The new process has a session and an environment of its own, default signals, umask 022, "/" as its directory,
 * standard descriptors on /dev/null, none of the caller's descriptors, and no real-time priority. It is nobody's child
 * that a wait of the program's could see; no SIGCHLD comes, and no zombie stays, also where orphans become this
 * process's children (pid 1 of a container, PR_SET_CHILD_SUBREAPER).
 *
 * Async-signal-safe, thread-safe (one at a time), and may be called in a vfork child; callers are inside the guard with
 * all signals blocked.
 */
#ifndef MPLOGSHIM_LAUNCH_H
#define MPLOGSHIM_LAUNCH_H

#include <stdatomic.h>
#include <stdbool.h>

enum { LAUNCH_PATHS = 2, LAUNCH_DESCRIPTORS = 2, LAUNCH_FIRST_DESCRIPTOR = 3 };

struct launch {
    const char *paths[LAUNCH_PATHS];     /* absolute; the first that can be executed; NULL: none */
    char *const *arguments;              /* NULL-terminated, with the program's name first */
    char *const *environment;            /* NULL-terminated */
    int descriptors[LAUNCH_DESCRIPTORS]; /* become LAUNCH_FIRST_DESCRIPTOR and the next; -1: none */
};

/*
 * 0 once the program runs (its execve succeeded); -EBUSY: another thread is launching; -EAGAIN: no process may be made,
 * or, where orphans become this process's children, 64 launched programs run already; -ENOENT: none of the paths
 * exists; else -errno. errno stays. Takes the time of a fork and exec of a small program (0.4 ms), whatever this
 * process's size.
 */
int launch(const struct launch *launch);

/* How a process is made: clone(3), and not another library's idea of it. Set at start. */
extern int (*launch_clone)(int (*function)(void *), void *stack, int flags, void *argument, ...);

/* Takes what is left of earlier launches, if anything is; and whether anything may be, which every write asks. */
void launch_reap(void);
extern atomic_bool launch_stays;

/* Before a fork: whether orphans come to this process. Its child will want to know, too. */
bool launch_before_fork(void);

/* In a fork child: what its parent launched is not its own. */
void launch_forked(void);

#endif
