/*
 * Used by log_live.c and log_record.c: locks that the program itself has on its log (flock, fcntl) go along when its
 * descriptors move to a new live file, and survive the shim's own closing of the file.
 */
#ifndef MPLOGSHIM_LOG_LOCKS_H
#define MPLOGSHIM_LOG_LOCKS_H

#include "log.h"

/* What the program has locked by the log's descriptors, into the log's room for it. Under the lock between threads. */
void program_locks_note(struct log *log);

/* Takes them again, without waiting: somebody else may have been faster. */
void program_locks_take(const struct log *log);

#endif
