/*
 * The shim's own descriptors: they sit at high numbers, and what the program does to those numbers is known here.
 *
 * A holder is the variable that keeps the number; it changes when the descriptor is moved. Async-signal-safe; callers
 * are inside the guard; one short lock of its own.
 */
#ifndef MPLOGSHIM_OWN_H
#define MPLOGSHIM_OWN_H

#include <stdbool.h>
#include <sys/types.h>

/* Takes the descriptor in *holder (>= 0) over: moves it to a high number, close-on-exec. 0, or -errno and it is closed,
 * *holder -1. */
int own_adopt(int *holder);

/* `notify` is told each number that an own descriptor gets. */
void own_start(void (*notify)(int fd));

/* Closes the descriptor in *holder, if any, and forgets the holder. *holder is -1 then. */
void own_close(int *holder);

/* The descriptor in *holder was found not to be ours any more: forgets it without closing. */
void own_lost(int *holder);

/*
 * Opens a descriptor for the shim's own short use: never one of the three standard numbers, which another thread of a
 * program that closed them may still write to. Descriptor or -errno.
 */
int own_open(int directory, const char *path, int flags, mode_t mode);

/* Whether `fd` is one of them. Costs two comparisons for low numbers. */
bool own_is(int fd);

/* The lowest own number that is at least `from`, or INT_MAX. */
int own_next(int from);

/* Moves it to another number, so that `fd` is free for the program. 0, or -errno: then it is closed, the holder -1. */
int own_vacate(int fd);

/* In a fork child: the lock between threads is free. */
void own_forked(void);

#endif
