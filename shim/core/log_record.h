/*
 * Used by log_write.c: writing one record, with the thread lock held.
 */
#ifndef MPLOGSHIM_LOG_RECORD_H
#define MPLOGSHIM_LOG_RECORD_H

#include "log.h"

#include <stdbool.h>
#include <stddef.h>
#include <sys/uio.h>

/* One record on its way: what was held, and then the program's bytes. */
struct record {
    const struct iovec *vector;
    int count;
    size_t length;
    int flags;             /* pwritev2's */
    struct iovec *pieces;  /* room for the vector once more */
    size_t held;           /* so many of its bytes were held; the program has been told that they are written */
    bool whole;            /* ends in a newline */
    bool cut;              /* the kernel took only a part: so does the program hear, as ever, and asks again itself */
    struct log_ring *ring; /* where the bytes come from, or NULL: */
    const struct ring_run *run; /* these */
    int error;                  /* why not all of it was written */
};

/*
 * Writes a record. The file lock is taken for each piece of one that is larger than max_bytes, so that others need not
 * wait for all of it. Returns the bytes written (record->error and ->cut say why not all), or -ESTALE: the descriptor
 * is not the writer's any more.
 */
ssize_t record_write(struct log *log, struct writer *writer, struct record *record);

/* What follows from how much of a record was written, with the thread lock held. */
void record_wrote(struct log *log, struct writer *writer, const struct record *record, size_t written);

#endif
