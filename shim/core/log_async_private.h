/*
 * Shared by the files of async=1 (log_async*.c).
 */
#ifndef MPLOGSHIM_LOG_ASYNC_PRIVATE_H
#define MPLOGSHIM_LOG_ASYNC_PRIVATE_H

#include "log_async.h"
#include "log_ring.h"

struct log_async {
    struct log_ring own;
    atomic_bool open;         /* the ring is there, and records may be put in */
    bool told;                /* that there is none */
    int64_t retry_at;         /* monotonic nanoseconds: not before, another is made */
    _Atomic int64_t drain_at; /* the same of the thread's writing it out, which failed; 0: it did not */
    int64_t drain_pause; /* nanoseconds: so long it was put off the last time for a record that was being put in, */
    int64_t stuck_since; /*   and since when (monotonic nanoseconds) for the one in this slot; 0: for none */
    uint32_t stuck;
    bool removed;           /* the ring's file is, by log_async_leave */
    _Atomic int64_t due_at; /* for the thread: when what waits is to be written; 0: nothing was seen to wait */
    uint32_t turn;          /* counts the batches, for those who wait for room */
    uint32_t waiting;       /* how many do */
};

/*
 * Writes records of a ring to the log, with its mutex held: those that were put in before, or only one batch.
 * `patient`: waits for those that are being put in just now, for a second at most. 0 or the error.
 */
enum log_drain { DRAIN_ALL, DRAIN_BATCH };
int log_async_drain(struct log *log, struct writer *preferred, struct log_ring *ring, enum log_drain what,
                    bool patient);

/* Makes the log's buffer and starts the thread. With the log's mutex held. */
bool log_async_make(struct log *log);

/* Of the thread, now and then: a buffer whose file nobody would find after a kill is written out; the next write makes
 * another one. */
void log_async_prove(struct log *log);

/*
 * For the thread: if the program's last one has ended by a system call of its own, which no library sees, everything is
 * written out, and the process ends with this thread: by the status that this returns. -1: it goes on.
 */
int log_async_end_process(void);

/* The thread of the process: it sleeps on this word. */
enum { THREAD_AWAKE, THREAD_DOZES, THREAD_SLEEPS };
extern uint32_t log_async_sleep;
void log_async_wake(void);

/* Starts it if there is none. 0 or -errno. */
int log_async_start_thread(void);
void log_async_thread_forked(void);

#endif
