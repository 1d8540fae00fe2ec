/*
 * Writing records: what goes out now and what is held of an unfinished line, one record at a time under the locks.
 */
#include "log_private.h"

#include "line.h"
#include "own.h"
#include "sys.h"

#include <errno.h>
#include <limits.h>
#include <string.h>
#include <unistd.h>

/* One record on its way: what was held, and then the program's bytes. */
struct record {
    const struct iovec *vector;
    int count;
    size_t length;
    int flags;            /* pwritev2's */
    struct iovec *pieces; /* room for the vector once more */
    size_t held;          /* so many of its bytes were held; the program has been told that they are written */
    bool whole;           /* ends in a newline */
    bool cut;             /* the kernel took only a part: so does the program hear, as ever, and asks again itself */
    int error;            /* why not all of it was written */
};

enum { SMALL_COUNT = 8, SECOND = 1000000000 };

static bool ends_in_newline(const struct iovec *vector, int count)
{
    while (count > 0 && vector[count - 1].iov_len == 0) {
        count--;
    }
    return count > 0 && ((const char *)vector[count - 1].iov_base)[vector[count - 1].iov_len - 1] == '\n';
}

static void note_line_state(struct writer *writer, const struct record *record, size_t written)
{
    if (record->whole && written == record->length) {
        writer->midline = 0;
        return;
    }
    size_t complete = line_complete(record->vector, record->count, written);
    uint64_t midline = (complete > 0 ? 0 : writer->midline) + (uint64_t)(written - complete);
    writer->midline = midline > LOG_HOLD_MAX ? LOG_HOLD_MAX : (uint32_t)midline;
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
    if (log->rule->period.unit == PERIOD_NONE) {
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

static bool is_due(struct log *log, const struct writer *writer, off_t size, size_t length)
{
    uint64_t max_bytes = log->rule->max_bytes;
    if (writer->midline > 0 && writer->midline < LOG_HOLD_MAX) {
        return false; /* not between the pieces of one line */
    }
    bool full = max_bytes > 0 && size > 0 && (uint64_t)size + length > max_bytes;
    return full || boundary_passed(log, size);
}

/* How much of the next `length` bytes goes into a file of `size`: all, unless the record is larger than a file may be.
 */
static size_t piece_length(const struct log *log, struct record *record, size_t skip, size_t length, uint64_t size)
{
    uint64_t max_bytes = log->rule->max_bytes;
    if (max_bytes == 0 || record->length <= max_bytes) {
        return length;
    }
    int count = line_slice(record->vector, record->count, skip, length, record->pieces);
    uint64_t room = size < max_bytes ? max_bytes - size : 0;
    size_t whole = line_complete(record->pieces, count, room < length ? (size_t)room : length);
    return whole > 0 ? whole : line_first(record->pieces, count, length);
}

static bool last_byte_is_newline(const struct log *log, off_t size)
{
    char last = '\n';
    int fd = own_open(log->directory.fd, log->base, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY, 0);
    if (fd >= 0) {
        sys.pread(fd, &last, 1, size - 1);
        sys.close(fd);
    }
    return last == '\n';
}

/*
 * A writer that was killed in the middle of a record leaves the beginning of a line. The next record ends that line,
 * so that its own first one stays whole. `size` is the live file's, `piece` what is about to be written.
 */
static void guard_pages(struct log *log, const struct writer *writer, off_t size, size_t piece)
{
    off_t used = size % LOCKFILE_FILE_PAGE;
    if (used == 0 && size > 0 && writer->midline == 0 && lockfile_is_broken(&log->lock, writer->generation, size) &&
        !last_byte_is_newline(log, size)) {
        const struct iovec newline = {.iov_base = (char[]){'\n'}, .iov_len = 1};
        sys.writev(writer->fd, &newline, 1);
        size++;
    }
    if ((uint64_t)used + piece > LOCKFILE_FILE_PAGE) {
        lockfile_announce(&log->lock, writer->generation, size, (int64_t)piece);
    }
}

/* Under both locks: the writer's descriptor is the live file, and there is room. Bytes to write, or -errno. */
static ssize_t make_room(struct log *log, struct writer *writer, struct record *record, size_t skip)
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
    size_t piece = piece_length(log, record, skip, length, (uint64_t)size);
    if (is_due(log, writer, size, piece) && log_may_try(log, TROUBLE_ROTATE) && log_rotate(log, writer) == 0) {
        size = 0;
        piece = piece_length(log, record, skip, length, 0);
    }
    piece = log->trouble[TROUBLE_ROTATE] ? length : piece;
    guard_pages(log, writer, size, piece);
    return (ssize_t)piece;
}

/*
 * Writes a record with the thread lock held; the file lock is taken for each piece of one that is larger than
 * max_bytes, so that others need not wait for all of it. Returns the bytes written, or -ESTALE.
 */
static ssize_t write_record(struct log *log, struct writer *writer, struct record *record)
{
    size_t written = 0;
    while (written < record->length && record->error == 0 && !record->cut) {
        ssize_t piece = (ssize_t)(record->length - written);
        if (log_lock_file(log) == 0) {
            piece = make_room(log, writer, record, written);
        } else if (log->lock.fd >= 0 && lockfile_generation(&log->lock) != writer->generation) {
            int error = log_look_again(log, writer, lockfile_generation(&log->lock));
            piece = error != 0 ? error : piece; /* without the lock, but not into an archive */
        }
        if (piece < 0) {
            log_unlock_file(log);
            return written > 0 ? (ssize_t)written : piece;
        }
        written += write_bytes(writer->fd, record, written, (size_t)piece);
        log_unlock_file(log);
    }
    note_line_state(writer, record, written);
    if (record->error == -ENOSPC || record->error == -EDQUOT || record->error == -EIO) {
        log_failed(log, TROUBLE_WRITE, "write", record->error);
    } else if (record->error == 0) {
        log_succeeded(log, TROUBLE_WRITE);
    }
    return (ssize_t)written;
}

/* How many of the program's bytes go out now; the rest, the beginning of a line, is held. */
static size_t bytes_for_now(struct writer *writer, const struct iovec *vector, int count, size_t total,
                            enum log_hold hold)
{
    if (hold == HOLD_NONE || ends_in_newline(vector, count)) {
        return total;
    }
    size_t complete = line_complete(vector, count, total);
    size_t unfinished = complete > 0 ? total - complete : writer->held + total;
    if (unfinished > LOG_HOLD_MAX || (complete == 0 && hold == HOLD_REST)) {
        return total;
    }
    if (writer->tail == NULL) {
        writer->tail = sys_reserve(LOG_HOLD_MAX);
    }
    return writer->tail == NULL ? total : complete;
}

static void hold_back(struct writer *writer, const struct iovec *vector, int count, size_t from, size_t total)
{
    line_copy(vector, count, from, total - from, writer->tail + writer->held);
    writer->held += (uint32_t)(total - from);
}

/* The first `written` of the held bytes are out. */
static void drop_held(struct writer *writer, size_t written)
{
    writer->held -= (uint32_t)written;
    memmove(writer->tail, writer->tail + written, writer->held);
}

/* Room for a vector of `count` pieces and one more, twice: small[], or the log's own for large ones. NULL: no memory.
 */
static struct iovec *room_for(struct log *log, int count, struct iovec *small)
{
    if (count <= SMALL_COUNT) {
        return small;
    }
    if (log->scratch == NULL) {
        log->scratch = sys_reserve(2 * (IOV_MAX + 1) * sizeof *log->scratch);
    }
    return log->scratch;
}

/*
 * Writes what is held and then `now` bytes of the program's, with the thread lock held. Returns how many of the
 * program's bytes were written, or the error.
 */
static ssize_t write_with_held(struct log *log, struct writer *writer, const struct iovec *vector, int count,
                               size_t total, size_t now, int flags)
{
    struct iovec small[2 * (SMALL_COUNT + 1)];
    struct iovec *room = room_for(log, count, small);
    if (room == NULL) {
        return -ENOMEM;
    }
    size_t held = writer->held;
    struct record record = {.vector = vector,
                            .count = count,
                            .length = held + now,
                            .held = held,
                            .flags = flags,
                            .pieces = room,
                            .whole = true};
    if (held > 0 || now < total) {
        room[0] = (struct iovec){.iov_base = writer->tail, .iov_len = held};
        record.vector = held > 0 ? room : room + 1;
        record.count = (held > 0) + line_slice(vector, count, 0, now, room + 1);
        record.pieces = room + 1 + count;
    }
    record.whole = ends_in_newline(record.vector, record.count);
    ssize_t written = write_record(log, writer, &record);
    if (written < 0) {
        return written;
    }
    if ((size_t)written < held || (record.error != 0 && (size_t)written == held)) {
        drop_held(writer, (size_t)written);
        return record.error != 0 ? record.error : -ESTALE;
    }
    writer->held = 0;
    return written - (ssize_t)held;
}

static ssize_t write_locked(struct log *log, struct writer *writer, const struct iovec *vector, int count, int flags,
                            enum log_hold hold)
{
    size_t total = line_total(vector, count);
    size_t now = bytes_for_now(writer, vector, count, total, hold);
    if (now > 0) {
        ssize_t written = write_with_held(log, writer, vector, count, total, now, flags);
        if (written < 0 || (size_t)written < now) {
            return written;
        }
    }
    if (now < total) {
        hold_back(writer, vector, count, now, total);
    }
    return (ssize_t)total;
}

static ssize_t write_as_writer(struct log *log, struct writer *writer, int fd, const struct iovec *vector, int count,
                               off_t offset, int flags, enum log_hold hold)
{
    if (log_lock(log) != 0) {
        return flags == 0 ? sys.writev(fd, vector, count) : sys.pwritev2(fd, vector, count, -1, flags);
    }
    ssize_t result = -ESTALE;
    if (writer->log == log && writer->fd == fd) {
        off_t position = offset >= 0 ? sys.lseek(fd, 0, SEEK_CUR) : -1;
        result = write_locked(log, writer, vector, count, flags, hold);
        if (position >= 0) {
            sys.lseek(fd, position, SEEK_SET);
        }
    }
    log_unlock(log);
    return result;
}

ssize_t log_write(struct writer *writer, int fd, const struct iovec *vector, int count, off_t offset, int flags,
                  enum log_hold hold)
{
    struct log *log = writer->log;
    uint64_t before = 0;
    if (log == NULL) {
        return -ESTALE;
    }
    /*
     * Held bytes are written or kept, not both: no signal handler jumps out in between. Whole lines, the most of all
     * writes, need no such care.
     */
    bool defer = writer->held > 0 || (hold != HOLD_NONE && !ends_in_newline(vector, count));
    if (defer) {
        before = sys_signals_defer();
    }
    ssize_t result = write_as_writer(log, writer, fd, vector, count, offset, flags, hold);
    if (defer) {
        sys_signals_resume(before);
    }
    log_settle_some(log);
    return result;
}

/*
 * The number is not the log's any more, and an unfinished line is still held: it goes to the live file by a descriptor
 * of the shim's own. With the thread lock held.
 */
static int rescue(struct log *log, struct writer *writer)
{
    int fd =
        own_open(log->directory.fd, log->base, O_WRONLY | O_APPEND | O_CLOEXEC | O_NOFOLLOW | O_NOCTTY | O_NONBLOCK, 0);
    if (fd < 0) {
        return fd;
    }
    const struct iovec piece = {.iov_base = writer->tail, .iov_len = writer->held};
    log_lock_file(log);
    ssize_t written = sys.writev(fd, &piece, 1);
    log_unlock_file(log);
    sys.close(fd);
    if (written > 0) {
        drop_held(writer, (size_t)written);
    }
    return written < 0 ? (int)written : 0;
}

int log_rescue(struct writer *writer)
{
    struct log *log = writer->log;
    if (log == NULL || writer->held == 0 || log_lock(log) != 0) {
        return 0;
    }
    int error = writer->log == log && writer->held > 0 ? rescue(log, writer) : 0;
    log_unlock(log);
    return error;
}

int log_release(struct writer *writer, int fd)
{
    struct log *log = writer->log;
    if (log == NULL || writer->held == 0) {
        return 0;
    }
    if (log_lock(log) != 0) {
        /* Another thread has been stuck for long: the bytes go out as they are. */
        const struct iovec piece = {.iov_base = writer->tail, .iov_len = writer->held};
        ssize_t written = sys.writev(fd, &piece, 1);
        writer->held = 0;
        return written < 0 ? (int)written : 0;
    }
    ssize_t result = 0;
    if (writer->log == log && writer->fd == fd && writer->held > 0) {
        result = log_prove(writer) ? write_with_held(log, writer, NULL, 0, 0, 0, 0) : -ESTALE;
        if (result == -ESTALE) {
            result = rescue(log, writer);
        }
    }
    log_unlock(log);
    return result < 0 ? (int)result : 0;
}

int log_truncate(struct writer *writer, int fd)
{
    struct log *log = writer->log;
    enum rule_truncate what = log->rule->truncate;
    if (what == TRUNCATE_IGNORE || log_lock(log) != 0) {
        return 0;
    }
    int error = 0;
    bool locked = log_lock_file(log) == 0;
    if (locked) {
        error = log_look_again(log, writer, lockfile_generation(&log->lock));
    }
    if (error == 0 && what == TRUNCATE_ALLOW) {
        error = sys.ftruncate(fd, 0);
    } else if (error == 0 && locked && sys.lseek(fd, 0, SEEK_END) > 0) {
        log_rotate(log, writer); /* if that fails, which is told, the program appends */
    }
    log_unlock_file(log);
    log_unlock(log);
    log_settle_some(log);
    return error;
}

void log_follow(struct writer *writer, int fd)
{
    struct log *log = writer->log;
    if (log == NULL || log_lock(log) != 0) {
        return;
    }
    if (writer->log == log && writer->fd == fd && log_lock_file(log) == 0) {
        log_look_again(log, writer, lockfile_generation(&log->lock));
    }
    log_unlock(log);
}

ssize_t log_write_aside(const struct writer *writer, const struct iovec *vector, int count)
{
    const struct log *log = writer->log;
    if (log == NULL || log->lock.fd < 0 || lockfile_generation(&log->lock) == writer->generation) {
        return -ESTALE;
    }
    int fd =
        own_open(log->directory.fd, log->base, O_WRONLY | O_APPEND | O_CLOEXEC | O_NOFOLLOW | O_NOCTTY | O_NONBLOCK, 0);
    if (fd < 0) {
        return -ESTALE;
    }
    ssize_t written = sys.writev(fd, vector, count);
    sys.close(fd);
    return written;
}
