/*
 * What launch.c and launch_child.c share: code that runs outside of the process, in its memory or a copy of it.
 *
 * It must not touch thread-local storage, which is that of a thread of the program's that may end at any moment: no
 * errno, no stack protector, no sanitizer, system calls by number only.
 */
#ifndef MPLOGSHIM_LAUNCH_PRIVATE_H
#define MPLOGSHIM_LAUNCH_PRIVATE_H

#include "launch.h"
#include "sys_call.h"

#include <limits.h>
#include <stddef.h>
#include <stdint.h>

#if defined(__has_attribute) && __has_attribute(disable_sanitizer_instrumentation)
#define LAUNCH_OUTSIDE __attribute__((no_stack_protector, disable_sanitizer_instrumentation))
#elif defined(__has_attribute) && __has_attribute(no_stack_protector)
#define LAUNCH_OUTSIDE __attribute__((no_stack_protector, no_sanitize("address", "undefined", "thread")))
#else
#define LAUNCH_OUTSIDE __attribute__((optimize("no-stack-protector"), no_sanitize("address", "undefined", "thread")))
#endif

/* glibc's clone by its other name: that of a sanitizer's runtime takes every child for one with a copy of the memory.
 */
int __clone(int (*function)(void *), void *stack, int flags, void *argument, ...);

LAUNCH_OUTSIDE static inline long launch_call(long number, long a, long b, long c, long d)
{
    return sys_call(number, a, b, c, d, 0, 0);
}

enum { LAUNCH_NO_LIMIT = INT_MAX };

/* clone(2): a process that calls the function on the new stack, and ends with its result. Its id, or -errno. */
int launch_process(int (*function)(void *), char *new_stack, int flags, void *argument);

/* Closes the descriptors from `first` up to `last`, if that is not less, whatever the kernel offers for that. */
void launch_close(int first, int last);

/*
 * In the child, which has descriptors, handlers, umask and directory of its own: becomes the program. Returns only if
 * it cannot; then *error says why. It is -EINTR up to the execve, for a child that is killed before.
 */
void launch_become(const struct launch *launch, int *error);

/*
 * In a process with a copy of the program's memory: gives it up, but for this library, `size` bytes at `kept` and the
 * thread's own page. From then on no function of libc's is there, and no way back out of the function that clone
 * called.
 */
void launch_forget_memory(const void *kept, size_t size);

/*
 * Where the stack of another process began: every execve sets it anew. 0 where there is no /proc, and for those who may
 * not know.
 */
uint64_t launch_stack_begin(int process);

#endif
