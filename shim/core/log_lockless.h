/*
 * Used by log_write.c and log_record.c: lock=rotate, where the file lock is held around rotations only.
 *
 * Writes rely on O_APPEND. Whether the descriptor still is the live file, and whether a rotation is due, is looked at
 * once for each tick of the kernel's coarse clock. Who goes on writing to an archive within that tick has it open, and
 * so it is neither compressed nor removed before he follows.
 */
#ifndef MPLOGSHIM_LOG_LOCKLESS_H
#define MPLOGSHIM_LOG_LOCKLESS_H

#include "log.h"

/* For a log that is being opened, with a descriptor of its file: whether its writes may go without the lock. */
void lockless_start(struct log *log, int fd);

/*
 * Without any lock, not even that between threads: writes a record of whole lines, if it is one, nothing is held before
 * it, and the look of this tick was taken. False: it has to go the long way. Else *written is what was written, or
 * -errno.
 */
__attribute__((noinline)) bool lockless_write(struct writer *writer, int fd, const struct iovec *vector, int count,
                                              ssize_t *written);

/* With the thread lock held: whether a record of `length` bytes may be written without the file lock. */
bool lockless_may_write(struct log *log, const struct writer *writer, size_t length);

/* With the thread lock held: the look of this tick was taken, under the file lock or because that is not to be had. */
void lockless_looked(struct log *log, const struct writer *writer);

#endif
