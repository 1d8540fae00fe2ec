/*
 * The files of rings (ring.h): a process's own buffer of a log, and those that dead processes left. Used by the files
 * of async=1 (log_async*.c, log_record.c).
 */
#ifndef MPLOGSHIM_LOG_RING_H
#define MPLOGSHIM_LOG_RING_H

#include "log.h"
#include "name.h"
#include "ring.h"

struct log_ring {
    struct ring ring;
    uint64_t number;   /* in its name */
    size_t size;       /* of the file, and of the memory at ring.page */
    int64_t waited;    /* for the record in this slot, in vain; -1: for none */
    int64_t written;   /* the position at which the last run began; -1: there was none */
    struct writer *by; /* who wrote the last one, or NULL */
    dev_t device;      /* of the process's own file */
    ino_t inode;
    int file;     /* of a dead process's, which is in memory as a copy; -1: the process's own */
    bool strange; /* its owner may do with the log what everybody may, and no more */
};

/*
 * Makes the process's own, empty and open, where the one before was if there was one. With the log's mutex held and
 * all signals blocked. 0 or -errno; then there is none, or the one before, closed.
 */
int log_ring_make(struct log *log, struct log_ring *own);

/*
 * Whether its file is where others look for it; and moves it along when the lock file's directory is about to be
 * another one, open as `to`: that before was moved away, and made anew.
 */
bool log_ring_is_there(const struct log *log, const struct log_ring *own);
void log_ring_move(const struct log *log, const struct log_ring *own, int to);

/*
 * Opens one whose process is dead, which nobody else takes over then: copies it into memory. -EAGAIN: somebody has it;
 * -EPERM: it is nobody's whom this process trusts (`live`: the log's file, open as `of_log`; NULL: not known); -EINVAL:
 * it is no ring of this log; -ENODATA: there never was anything in it, and it was removed. *dead must stay where it is
 * until it is closed.
 */
int log_ring_open(struct log *log, uint64_t number, int of_log, const struct stat *live, struct log_ring *dead);

/*
 * The same of one that somebody else may be taking over, or that is a living process's, without a lock: nothing is
 * noted in it. Under the log's lock, what it says of a batch does not change.
 */
int log_ring_read(struct log *log, uint64_t number, int of_log, const struct stat *live, struct log_ring *dead);

/* What was taken out of a dead process's ring is taken out for whoever would open it next. 0 or -errno. */
int log_ring_note(const struct log_ring *ring);

/* Removes the file; and lets go of a dead process's. */
void log_ring_remove(const struct log *log, const struct log_ring *ring);
void log_ring_close(struct log_ring *dead);

/*
 * For log_record.c, under the log's locks: `length` bytes of a run, from `skip` on, are about to be written behind
 * `end` of the writer's file (-1: not known); and then: so many of them were. -errno: that cannot be noted for whoever
 * comes next, and they must not be written.
 */
int log_ring_begin(struct log_ring *ring, const struct ring_run *run, size_t skip, size_t length,
                   const struct writer *writer, off_t end);
/*
 * Only `written` bytes of a run went behind `end` (a full disk): the beginning of a record that is the last of them is
 * cut off again, under the log's lock, before somebody else writes behind it, and announced is what there is: the next
 * writer would take it for a dead process's, and wait for a buffer that is not left. How many bytes stay.
 */
size_t log_ring_cut_back(const struct log_ring *ring, const struct ring_run *run, const struct writer *writer,
                         off_t end, size_t written);

void log_ring_done(struct log_ring *ring, const struct ring_run *run, size_t length, size_t done);

/*
 * What was about to be written when somebody died or failed: what of it is in the file is taken out, and a record of
 * which only the beginning is there, with nothing behind it, is completed. Under the log's locks. 0, -ESTALE as
 * log_look_again, or the error of the write.
 */
int log_ring_resume(struct log *log, struct log_ring *ring, struct writer *writer);

#endif
