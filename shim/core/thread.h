/*
 * A thread that libc does not know.
 *
 * The first write to a log may come from a signal handler that interrupted malloc, and pthread_create calls malloc.
 * Nor would a program whose main thread ends by pthread_exit ever end, with one more thread of libc's, and one with a
 * single thread would lose what libc does faster for those. So it is made by clone, with thread-local storage of its
 * own that is all zeros, and it calls nothing of libc's that needs more: no malloc, stdio, locale, pthread functions.
 *
 * Async-signal-safe.
 */
#ifndef MPLOGSHIM_THREAD_H
#define MPLOGSHIM_THREAD_H

#include <stdint.h>

enum { THREAD_STACK_SIZE = 65536 };

/*
 * Runs `function` in a new thread of this process, with all signals blocked, on a stack of THREAD_STACK_SIZE. `id` is
 * its number until it has ended, then 0. One after the other, each with its `memory`: NULL at first. 0 or -errno.
 */
int thread_start(int (*function)(void *), void *argument, uint32_t *id, void **memory);

#endif
