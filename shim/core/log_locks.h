/*
 * Used by log_live.c and log_record.c: locks that the program itself has on its log (flock, fcntl) go along when its
 * descriptors move to a new live file, and survive the shim's own closing of the file.
 */
#ifndef MPLOGSHIM_LOG_LOCKS_H
#define MPLOGSHIM_LOG_LOCKS_H

#include "log.h"

enum lock_kind { LOCK_KIND_FLOCK, LOCK_KIND_POSIX, LOCK_KIND_OFD };

/* More than these, of all descriptors of a log, stay behind. */
enum { PROGRAM_LOCKS_MAX = 8 };

struct program_locks {
    int count;
    struct program_lock {
        int fd; /* by which it was taken */
        enum lock_kind kind;
        bool exclusive;
        off_t start;
        off_t end; /* -1: up to the end of the file */
    } locks[PROGRAM_LOCKS_MAX];
};

/* What the program has locked by the log's descriptors. Under the log's lock between threads. */
void program_locks_note(struct log *log, struct program_locks *locks);

/* Takes them again, without waiting: somebody else may have been faster. */
void program_locks_take(const struct program_locks *locks);

#endif
