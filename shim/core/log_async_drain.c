/*
 * From the buffer to the log: batches by the same way as single records, and the file positions that the program would
 * find if it had written itself.
 */
#include "log_async_private.h"

#include "log_locks.h"
#include "log_private.h"
#include "sys.h"

#include <errno.h>
#include <limits.h>
#include <linux/futex.h>
#include <unistd.h>

enum { SECOND = 1000000000, MILLISECOND = 1000000 };

/*
 * There is room. While the buffer is half full and more, whoever empties it goes on (log_async_thread.c), and a single
 * thread fills in no time what one batch took out: the others would only wake up, find it full, and sleep again.
 */
static void end_turn(struct log_async *async)
{
    __atomic_add_fetch(&async->turn, 1, __ATOMIC_SEQ_CST);
    if (__atomic_load_n(&async->waiting, __ATOMIC_SEQ_CST) > 0) {
        bool little = async->open && ring_used(&async->own.ring) / 2 >= async->own.ring.quarter;
        sys.futex(&async->turn, FUTEX_WAKE, little ? 1 : INT_MAX, NULL);
    }
}

/*
 * By way of a descriptor of the program's, whose position stays where it is; or comes to where the file ends, if the
 * program wrote by it, too. 0 or -errno.
 */
static int write_by(struct log *log, struct writer *writer, struct log_ring *ring, const struct ring_run *run)
{
    struct iovec pieces[2];
    struct record record = {.vector = run->vector,
                            .count = run->count,
                            .length = run->length,
                            .pieces = pieces,
                            .whole = run->whole,
                            .ring = ring,
                            .run = run};
    bool behind = writer->behind;
    off_t position = behind ? -1 : sys.lseek(writer->fd, 0, SEEK_CUR);
    writer->behind = false; /* before it is written: what comes meanwhile says so again */
    ssize_t written = record_write(log, writer, &record);
    if (position >= 0) {
        sys.lseek(writer->fd, position, SEEK_SET);
    } else if (behind && written <= 0) {
        writer->behind = true;
    }
    ring->by = writer;
    int error = record.error == 0 && written == 0 ? -EIO : record.error; /* the kernel says why not, sooner or later */
    return error != 0 ? error : written < 0 ? (int)written : 0;
}

/*
 * Every descriptor of the program's is gone: by one of the shim's own. It cannot follow a rotation, so none is made.
 * Takes the log's lock. 0 or -errno.
 */
static int open_own(struct log *log, struct writer *own)
{
    struct stat status;
    program_locks_note(log);
    log_lock_file(log);
    int fd = log_open_plain(log, O_WRONLY | O_APPEND);
    int error = fd < 0 ? fd : sys.fstat(fd, &status);
    if (error == 0) {
        *own = (struct writer){.log = log,
                               .fd = fd,
                               .access = O_WRONLY,
                               .device = status.st_dev,
                               .inode = status.st_ino,
                               .generation = lockfile_generation(&log->lock),
                               .midline = 1};
    } else if (fd >= 0) {
        sys.close(fd);
    }
    return error;
}

static void close_own(struct log *log, const struct writer *own, int error)
{
    if (error == 0) {
        sys.close(own->fd);
    }
    log_unlock_file(log);
    program_locks_take(log);
}

static int write_batch(struct log *log, struct log_ring *ring, const struct ring_run *run, struct writer *own,
                       off_t end)
{
    ssize_t written = sys.writev(own->fd, run->vector, run->count);
    int error = written < 0 ? (int)written : 0;
    size_t done = written < 0 ? 0 : (size_t)written;
    if (done > 0 && done < run->length && log->locked) {
        done = log_ring_cut_back(ring, run, own, end, done);
        error = -ENOSPC;
    }
    log_ring_done(ring, run, run->length, done);
    return error;
}

static __attribute__((noinline)) int write_by_own(struct log *log, struct log_ring *ring, const struct ring_run *run)
{
    struct writer own;
    int opened = open_own(log, &own);
    int error = opened;
    if (error == 0) {
        off_t end = sys.lseek(own.fd, 0, SEEK_END);
        error = log_ring_begin(ring, run, 0, run->length, &own, end);
        error = error != 0 ? error : write_batch(log, ring, run, &own, end);
    }
    close_own(log, &own, opened);
    return error;
}

static __attribute__((noinline)) int resume_by_own(struct log *log, struct log_ring *ring)
{
    struct writer own;
    int opened = open_own(log, &own);
    int error = opened == 0 ? log_ring_resume(log, ring, &own) : opened;
    close_own(log, &own, opened);
    return error;
}

static struct writer *next_writer(struct log *log, struct writer *after)
{
    struct writer *writer = after == NULL ? __atomic_load_n(&log->writers, __ATOMIC_ACQUIRE) : after->next;
    while (writer != NULL && !log_prove(writer)) {
        writer = writer->next;
    }
    return writer;
}

/* What is left of a batch that was cut off comes first. */
static int resume(struct log *log, struct log_ring *ring)
{
    if (__builtin_expect(ring->ring.page->intent.state == RING_NOTHING, 1)) {
        return 0;
    }
    struct writer *writer = next_writer(log, NULL);
    if (writer == NULL) {
        return resume_by_own(log, ring);
    }
    log_lock_file(log);
    int error = log_ring_resume(log, ring, writer);
    log_unlock_file(log);
    return error;
}

/* Who has written the beginning of a line knows that it is one, and makes no rotation before its end. */
static int write_run(struct log *log, struct writer *preferred, struct log_ring *ring, const struct ring_run *run)
{
    preferred = ring->by != NULL && ring->by->midline > 0 ? ring->by : preferred;
    bool good = preferred != NULL && preferred->log == log && log_prove(preferred);
    struct writer *writer = good ? preferred : next_writer(log, NULL);
    int error = -ESTALE;
    while (writer != NULL && error == -ESTALE) {
        error = write_by(log, writer, ring, run);
        writer = writer == preferred ? next_writer(log, NULL) : next_writer(log, writer);
        writer = writer == preferred && writer != NULL ? next_writer(log, writer) : writer;
    }
    return error == -ESTALE ? write_by_own(log, ring, run) : error;
}

/* A thread that was interrupted in the middle of a record may take its time; but nobody waits twice for the same. */
static bool wait_for_record(struct log_ring *ring, int64_t *deadline)
{
    const struct timespec pause = {.tv_nsec = MILLISECOND / 20};
    int64_t now = sys_now(CLOCK_MONOTONIC);
    int64_t slot = ring_first(&ring->ring);
    if (ring->waited == slot) {
        return false;
    }
    *deadline = *deadline == 0 ? now + SECOND : *deadline;
    if (now > *deadline) {
        ring->waited = slot;
        return false;
    }
    sys.sleep(&pause);
    return true;
}

/* As if the program's own writes had moved them. */
static void move_positions(struct log *log)
{
    struct writer *first = __atomic_load_n(&log->writers, __ATOMIC_ACQUIRE);
    for (struct writer *writer = first; writer != NULL; writer = writer->next) {
        if (writer->behind && log_prove(writer)) {
            writer->behind = false;
            sys.lseek(writer->fd, 0, SEEK_END);
        }
    }
}

static int drain(struct log *log, struct writer *preferred, struct log_ring *ring, enum log_drain what, bool patient)
{
    struct ring_run run;
    int64_t deadline = 0;
    bool late = false;
    uint32_t end = ring_end(&ring->ring);
    ring_tidy(&ring->ring);
    int error = 0;
    while (error == 0) {
        bool waits;
        error = resume(log, ring);
        if (error != 0) {
            break;
        }
        if (ring_next(&ring->ring, end, log->policy.max_bytes, late, &run, &waits)) {
            /* Whoever else changes it, nothing is written for ever. */
            error = run.position == ring->written ? -EIO : write_run(log, preferred, ring, &run);
            ring->written = error == 0 ? run.position : ring->written;
            if (what == DRAIN_BATCH) {
                break;
            }
        } else if (!waits) {
            break;
        } else if (late || (!patient && ring->waited != ring_first(&ring->ring))) {
            error = -EBUSY;
        } else if (!wait_for_record(ring, &deadline)) {
            late = true;
        }
    }
    return error;
}

__attribute__((noinline)) int log_async_drain(struct log *log, struct writer *preferred, struct log_ring *ring,
                                              enum log_drain what, bool patient)
{
    uint64_t before = sys_signals_defer(); /* nobody jumps out of it */
    int error = drain(log, preferred, ring, what, patient);
    move_positions(log);
    if (log->async != NULL) {
        end_turn(log->async);
    }
    sys_signals_resume(before);
    return error;
}
