/*
 * One record under the locks: room is made for it, by rotating if one is due, and then it goes out in one piece, or in
 * pieces of whole lines if it is larger than a file may be.
 */
#include "log_record.h"

#include "guard.h"
#include "line.h"
#include "log_async.h"
#include "log_lockless.h"
#include "log_locks.h"
#include "log_private.h"
#include "log_ring.h"
#include "sys_hot.h"

#include "../../include/mplogshim.h"

#include <errno.h>
#include <limits.h>

enum { SECOND = 1000000000 };
_Static_assert(sizeof((struct log){0}.trouble) == sizeof(uint64_t), "all troubles are one word");

/* Under the log's lock; others look without it. */
static void set_midline(struct writer *writer, uint32_t bytes)
{
    __atomic_store_n(&writer->midline, bytes, __ATOMIC_RELAXED);
}

static void note_line_state(struct writer *writer, const struct record *record, size_t written)
{
    if (record->whole && written == record->length) {
        set_midline(writer, 0);
        return;
    }
    size_t complete = line_complete(record->vector, record->count, written);
    uint64_t midline = (complete > 0 ? 0 : writer->midline) + (uint64_t)(written - complete);
    set_midline(writer, midline > LOG_HOLD_MAX ? LOG_HOLD_MAX : (uint32_t)midline);
}

/* Writes the bytes [skip, skip + length) of a record; returns how many before an error came, which is in record->error.
 */
static size_t write_bytes(int fd, struct record *record, size_t skip, size_t length)
{
    size_t written = 0;
    while (written < length) {
        const struct iovec *pieces = record->vector;
        int count = record->count;
        if (skip + written > 0 || length < record->length) {
            count = line_slice(record->vector, record->count, skip + written, length - written, record->pieces);
            pieces = record->pieces;
        }
        count = count > IOV_MAX ? IOV_MAX : count;
        ssize_t result =
            record->flags == 0 ? sys.writev(fd, pieces, count) : sys.pwritev2(fd, pieces, count, -1, record->flags);
        if (result <= 0) {
            record->error = result == 0 ? -ENOSPC : (int)result;
            break;
        }
        size_t wanted = line_total(pieces, count);
        written += (size_t)result;
        if ((size_t)result < wanted && skip + written > record->held) {
            record->cut = true;
            break;
        }
    }
    return written;
}

static bool boundary_passed(struct log *log, off_t size)
{
    if (log->policy.period.unit == PERIOD_NONE) {
        return false;
    }
    int64_t now = log_clock();
    if (now < log->boundary && log->begun <= now + LOG_CLOCK_SLACK) {
        return false;
    }
    /* Another process may have found the file empty at this boundary and begun it anew. */
    log_read_begun(log, log->generation, NULL);
    if (now >= log->boundary && size == 0) {
        log_set_begun(log, now);
    }
    return now >= log->boundary;
}

bool log_is_due(struct log *log, const struct writer *writer, off_t size, size_t length)
{
    uint64_t max_bytes = log->policy.max_bytes;
    if (writer->midline > 0 && writer->midline < LOG_HOLD_MAX) {
        return false; /* not between the pieces of one line */
    }
    bool full = max_bytes > 0 && size > 0 && (uint64_t)size + length > max_bytes;
    return full || boundary_passed(log, size);
}

/* Not while it is known to fail, or the keeper was just asked. */
static bool may_rotate(const struct log *log)
{
    return log_may_try(log, TROUBLE_ROTATE) && (!log->kept || sys_now(CLOCK_MONOTONIC_COARSE) >= log->ask_at);
}

/* How much of the next `length` bytes goes into a file of `size`: all, unless the record is larger than a file may be.
 */
static size_t piece_length(const struct log *log, struct record *record, size_t skip, size_t length, uint64_t size)
{
    uint64_t max_bytes = log->policy.max_bytes;
    if (record->run != NULL && record->run->records > 1) {
        return max_bytes == 0 ? length
                              : ring_cut(&record->ring->ring, record->run, size < max_bytes ? max_bytes - size : 0);
    }
    if (max_bytes == 0 || record->length <= max_bytes) {
        return length;
    }
    int count = line_slice(record->vector, record->count, skip, length, record->pieces);
    uint64_t room = size < max_bytes ? max_bytes - size : 0;
    size_t whole = line_complete(record->pieces, count, room < length ? (size_t)room : length);
    return whole > 0 ? whole : line_first(record->pieces, count, length);
}

/* Closing the file drops what the program has locked of it. Apart, because signal stacks are small. */
__attribute__((noinline)) bool log_ends_in_newline(struct log *log, const struct writer *writer, off_t size)
{
    struct stat status;
    char last = '\n';
    program_locks_note(log);
    int fd = log_open_plain(log, O_RDONLY);
    if (fd >= 0) {
        /* Another one lies at the path while the writer does not know yet that its own was moved away. */
        if (sys.fstat(fd, &status) == 0 && log_is_file(writer, &status)) {
            sys.pread(fd, &last, 1, size - 1);
        }
        sys.close(fd);
        program_locks_take(log);
    }
    return last == '\n';
}

/*
 * A writer that was killed in the middle of a record leaves the beginning of a line. The next record ends that line,
 * so that its own first one stays whole. `size` is the live file's, `piece` what is about to be written; its size then.
 * A file that grows meanwhile was seen in the middle of somebody's write, who had waited too long for the lock.
 */
static off_t guard_pages(struct log *log, struct writer *writer, const struct record *record, off_t size, size_t piece)
{
    off_t used = size % LOCKFILE_FILE_PAGE;
    if (used == 0 && size > 0 && writer->midline == 0 && lockfile_is_broken(&log->lock, writer->generation, size) &&
        !log_ends_in_newline(log, writer, size) && sys.lseek(writer->fd, 0, SEEK_END) == size) {
        const struct iovec newline = {.iov_base = (char[]){'\n'}, .iov_len = 1};
        size += sys.writev(writer->fd, &newline, 1) == 1 ? 1 : 0;
    }
    if ((uint64_t)used + piece > LOCKFILE_FILE_PAGE) {
        int64_t batch = record->run == NULL ? 0 : (int64_t)record->ring->number;
        lockfile_announce(&log->lock, writer->generation, size, (int64_t)piece, batch);
    }
    return size;
}

/*
 * Under both locks: the writer's descriptor is the live file, and there is room. Bytes to write, or -errno; *end: the
 * size of the file, if it is known.
 */
static ssize_t make_room(struct log *log, struct writer *writer, struct record *record, size_t skip, off_t *end)
{
    size_t length = record->length - skip;
    int64_t generation = lockfile_generation(&log->lock);
    if (generation < 0) {
        log_failed(log, TROUBLE_LOOK, "generation", (int)generation);
        return (ssize_t)length;
    }
    if (generation != writer->generation || sys_now(CLOCK_MONOTONIC_COARSE) / SECOND != log->proved) {
        int error = log_look_again(log, writer, generation);
        if (error != 0) {
            return error;
        }
    }
    off_t size = sys.lseek(writer->fd, 0, SEEK_END);
    if (size <= 0 && !log_prove(writer)) {
        return -ESTALE; /* a pipe or a socket has the number now */
    }
    if (size < 0) {
        log_failed(log, TROUBLE_LOOK, "size", (int)size);
        return (ssize_t)length;
    }
    log_succeeded(log, TROUBLE_LOOK);
    if (__builtin_expect(log_may_be_torn(size), 0) && writer->midline == 0 &&
        lockfile_is_broken(&log->lock, writer->generation, size)) {
        log_async_mend(log, writer, &size);
    }
    size_t piece = piece_length(log, record, skip, length, (uint64_t)size);
    int error = -EAGAIN;
    for (int attempt = 0; attempt < 2 && error == -EAGAIN && log_is_due(log, writer, size, piece) && may_rotate(log);
         attempt++) {
        error = log_rotate(log, writer);
        if (error == -EAGAIN) { /* it is not the live file any more, or the lock file is another's */
            int gone = log_look_again(log, writer, generation);
            if (gone != 0) {
                return gone;
            }
            size = sys.lseek(writer->fd, 0, SEEK_END);
        } else if (error == 0) {
            size = 0;
        }
        piece = piece_length(log, record, skip, length, size > 0 ? (uint64_t)size : 0);
    }
    piece = log->trouble[TROUBLE_ROTATE] || log->kept ? length : piece;
    *end = guard_pages(log, writer, record, size, piece);
    lockless_looked(log, writer);
    return (ssize_t)piece;
}

/* The same of a run of records, after which the next one is looked for anew. */
static __attribute__((noinline)) size_t write_run(struct log *log, struct writer *writer, struct record *record,
                                                  size_t skip, size_t length, off_t end)
{
    record->error = log_ring_begin(record->ring, record->run, skip, length, writer, end);
    if (record->error != 0) {
        return 0;
    }
    size_t written = write_bytes(writer->fd, record, skip, length);
    if (written < length && record->error == 0) {
        record->cut = false; /* what comes now says why */
        written += write_bytes(writer->fd, record, skip + written, length - written);
    }
    if (written > 0 && written < length && log->locked && end >= 0) {
        written = log_ring_cut_back(record->ring, record->run, writer, end, written);
    }
    log_ring_done(record->ring, record->run, length, written);
    record->cut = record->cut || record->run->records > 1;
    return written;
}

void record_wrote(struct log *log, struct writer *writer, const struct record *record, size_t written)
{
    if (record->run == NULL || record->ring->file < 0) { /* what a dead process wrote ends no line of this one's */
        note_line_state(writer, record, written);
    }
    bool unheard = record->run != NULL && record->error != 0; /* by the program */
    if (unheard || record->error == -ENOSPC || record->error == -EDQUOT || record->error == -EIO) {
        log_failed(log, TROUBLE_WRITE, "write", record->error);
    } else if (record->error == 0) {
        log_succeeded(log, TROUBLE_WRITE);
    }
}

/*
 * With the thread lock held: takes the file lock and makes room, unless neither is needed. Bytes to write, or -errno;
 * *end as make_room.
 */
static ssize_t prepare(struct log *log, struct writer *writer, struct record *record, size_t written, off_t *end)
{
    ssize_t rest = (ssize_t)(record->length - written);
    *end = -1;
    if (record->run == NULL && lockless_may_write(log, writer, record->length)) {
        return rest;
    }
    if (log->locked || log_lock_file(log) == 0) {
        return make_room(log, writer, record, written, end);
    }
    int64_t generation = log->lock.fd < 0 ? -1 : lockfile_generation(&log->lock);
    if (generation == writer->generation) {
        lockless_looked(log, writer);
    } else if (log->lock.fd >= 0) { /* without the lock, but not into an archive */
        int error = log_look_again(log, writer, generation);
        return error != 0 ? error : rest;
    }
    return rest;
}

/* Nothing is the matter with the log, nobody knows of anything to look at, and the record goes out in one call. */
static bool may_write_at_once(const struct log *log, const struct writer *writer, const struct record *record)
{
    uint64_t troubles;
    __builtin_memcpy(&troubles, log->trouble, sizeof troubles);
    return troubles == 0 && !log->kept && !log->lockless && log->lock.fd >= 0 && log->lock.attached &&
           writer->generation >= 0 && record->flags == 0 && record->count <= IOV_MAX && record->length > 0 &&
           (log->policy.max_bytes == 0 || record->length <= log->policy.max_bytes) &&
           sys_now(CLOCK_MONOTONIC_COARSE) / SECOND == log->proved;
}

/*
 * The most of all writes: the generation is the same, and there is room. All system calls of it are made from here
 * (sys_hot.h). Anything else is left to the long way, which begins where this has ended: the lock may be held.
 *
 * The lock is given back up to the end of the file, which needs no memory in the kernel, unlike that of one byte (100
 * ns, and it could fail). A process that writes holds no other. A server of files may know only what was locked.
 *
 * `among_threads` is known when it is built, for two functions: one branch more between the calls costs 100 to 350 ns.
 */
static inline __attribute__((always_inline)) size_t write_in_one_call(struct log *log, struct writer *writer,
                                                                      struct record *record, bool among_threads)
{
    struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = MPLOGSHIM_LOCK_WRITE, .l_len = 1};
    if (!may_write_at_once(log, writer, record)) {
        return 0;
    }
    if (!among_threads || !log->locked) {
        sys_hot_steady();
        if (sys_hot_fcntl(log->lock.fd, F_SETLK, (long)&lock) == 0) {
            log->locked = true;
            log->held_for = 0;
            if (among_threads) {
                log->held_since = sys_now(CLOCK_MONOTONIC_COARSE);
            }
        } else if (log_lock_file(log) != 0 || !may_write_at_once(log, writer, record)) {
            return 0; /* much may be different after a wait */
        }
    }
    if (sys_hot_lseek(log->lock.fd, 0, SEEK_END) != MPLOGSHIM_PAGE_SIZE + writer->generation) {
        return 0;
    }
    off_t size = sys_hot_lseek(writer->fd, 0, SEEK_END);
    if (size <= 0 || log_may_be_torn(size) || log_is_due(log, writer, size, record->length)) {
        return 0;
    }
    if ((uint64_t)size % LOCKFILE_FILE_PAGE + record->length > LOCKFILE_FILE_PAGE) {
        lockfile_announce(&log->lock, writer->generation, size, (int64_t)record->length, 0);
    }
    ssize_t written = sys_hot_writev(writer->fd, record->vector, record->count);
    if (!among_threads || !log_hands_on(log, record->length)) {
        lock.l_type = F_UNLCK;
        lock.l_len = 0;
        if (sys_hot_fcntl(log->lock.fd, F_SETLK, (long)&lock) != 0) {
            lockfile_release(&log->lock, MPLOGSHIM_LOCK_WRITE);
        }
        log->locked = false;
    }
    sys_hot_steady();
    record->error = written < 0 ? (int)written : written == 0 ? -ENOSPC : 0;
    record->cut = written > 0 && (size_t)written < record->length && (size_t)written > record->held;
    return written < 0 ? 0 : (size_t)written;
}

static SYS_HOT size_t write_at_once(struct log *log, struct writer *writer, struct record *record)
{
    return write_in_one_call(log, writer, record, false);
}

/* While others wait: the lock may have been handed on, and is handed on (log_hands_on). */
static SYS_HOT size_t write_among_threads(struct log *log, struct writer *writer, struct record *record)
{
    bool handed_on = log->locked;
    size_t written = write_in_one_call(log, writer, record, true);
    if (written == 0 && handed_on) {
        log_unlock_file(log); /* the long way finds out what has become of the lock file, too */
    }
    return written;
}

/*
 * Writes a record with the thread lock held; the file lock is taken for each piece of one that is larger than
 * max_bytes, so that others need not wait for all of it. Returns the bytes written, or -ESTALE.
 */
ssize_t record_write(struct log *log, struct writer *writer, struct record *record)
{
    size_t written = 0;
    if (record->run == NULL) {
        bool alone = !log->locked && !guard_mutex_is_awaited(&log->mutex);
        written = alone ? write_at_once(log, writer, record) : write_among_threads(log, writer, record);
    }
    while (written < record->length && record->error == 0 && !record->cut) {
        off_t end;
        ssize_t piece = prepare(log, writer, record, written, &end);
        if (piece < 0) {
            log_unlock_file(log);
            return written > 0 ? (ssize_t)written : piece;
        }
        if (__builtin_expect(record->run != NULL, 0)) {
            written += write_run(log, writer, record, written, (size_t)piece, end);
        } else {
            written += write_bytes(writer->fd, record, written, (size_t)piece);
        }
        log_unlock_file(log);
    }
    record_wrote(log, writer, record, written);
    return (ssize_t)written;
}
