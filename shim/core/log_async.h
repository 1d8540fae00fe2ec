/*
 * async=1: writes return once the record is in a buffer (ring.h) that outlives the process; a thread of the shim's
 * (log_async_thread.c), or whoever needs it empty, writes batches of it to the log.
 *
 * As everything of log.h: async-signal-safe, thread-safe, inside the guard. Where no buffer is to be had, writing is
 * synchronous; one message says so.
 */
#ifndef MPLOGSHIM_LOG_ASYNC_H
#define MPLOGSHIM_LOG_ASYNC_H

#include "log.h"
#include "log_record.h"

/* For a log that is opened anew, by its rule. */
void log_async_open(struct log *log);

/* The log is closed: its buffer is written out, and removed. */
void log_async_end(struct log *log);

/*
 * A write without an offset or flags: puts the record into the buffer if it is for that and there is room, waiting for
 * it. -EAGAIN: it is to be written under the log's mutex (log_async_write); else as log_write.
 */
ssize_t log_async_put(struct log *log, struct writer *writer, int fd, const struct iovec *vector, int count,
                      enum log_hold hold);

/*
 * The most of all writes: one piece, which is a whole line, and nothing is as it seldom is. errno stays. -EAGAIN:
 * nothing has happened, and log_append will see to it.
 */
ssize_t log_async_put_line(struct writer *writer, int fd, const struct iovec *piece);

/*
 * The same for a record, under the log's mutex. Bytes taken, or -errno; -EAGAIN: everything from before is out, and
 * this one is to be written as if there were no buffer.
 */
ssize_t log_async_write(struct log *log, struct writer *writer, const struct record *record);

/* The log's directory is about to be another one, open as `to`: before the one before is closed. */
void log_async_move(const struct log *log, int to);

/* In a signal handler that interrupted the shim. 0, or -EAGAIN: not there. */
int log_async_put_aside(const struct log *log, const struct iovec *vector, int count);

/* Whether the log has a buffer, and with it a thread that looks for those of the dead. */
bool log_async_is_open(const struct log *log);

/* Whether something is in the log's buffer; and whether any log has one. */
bool log_async_holds(const struct log *log);
extern atomic_bool log_async_used;

/* Writes out what was put into the buffer. 0 or the error of the write. */
int log_async_empty(struct log *log);
int log_async_empty_all(void);

/*
 * The same, and then there are no buffers any more, and no files of them: the process ends, or becomes another
 * program. If it goes on nevertheless, the next write makes a new one.
 */
void log_async_leave(void);

/* The same before an exec. Other threads, which it ends, make none anew for a second, or until it is said to have
 * failed.
 */
void log_async_before_exec(void);
void log_async_exec_failed(void);

/* Set at start: why there is never a buffer, or NULL. */
extern const char *log_async_refused;

/* The thread ends, for a moment: it is started anew by the next write. The process is about to change its user. */
void log_async_stop_thread(void);

/* Under both locks, by who is about to write behind the beginning of a batch of a process that died: completes it. True
 * if it did; *size is the file's then. */
bool log_async_mend(struct log *log, struct writer *writer, off_t *size);

/* Whether there may be buffers beside the lock file, as far as that says. */
bool log_async_any_left(const struct log *log);

/* Writes what is in the buffers of dead processes. With no lock held, inside the guard. */
void log_async_take_over(struct log *log);

/* The same once a second: unless another process of this user's has done so a moment ago. */
void log_async_look_for_dead(struct log *log);

/* In a fork child: the buffers are the parent's. */
void log_async_forked(void);

#endif
