/*
 * Writing to a log: what goes out now and what is held of an unfinished line.
 */
#include "log_private.h"

#include "line.h"
#include "log_async.h"
#include "log_helper.h"
#include "log_lockless.h"
#include "log_locks.h"
#include "log_record.h"
#include "sys.h"

#include <errno.h>
#include <limits.h>
#include <string.h>
#include <unistd.h>

enum { SMALL_COUNT = 8, APPEND_NOT = 0x20 /* RWF_NOAPPEND, since Linux 6.9 */ };

atomic_bool log_holds_nothing;
_Atomic uint32_t log_holding;

/* How many of the program's bytes go out now; the rest, the beginning of a line, is held. */
static size_t bytes_for_now(struct writer *writer, const struct iovec *vector, int count, size_t total,
                            enum log_hold hold)
{
    if (hold == HOLD_NONE || log_holds_nothing || line_is_whole(vector, count)) {
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
    writer_set_held(writer, writer->held + total - from);
}

/* The first `written` of the held bytes are out. */
static void drop_held(struct writer *writer, size_t written)
{
    if (written == 0) {
        return; /* perhaps there never was a tail */
    }
    writer_set_held(writer, writer->held - written);
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
    struct iovec *room = room_for(log, count, small); /* there is some: write_locked */
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
    record.whole = line_is_whole(record.vector, record.count);
    ssize_t written = log->async == NULL ? -EAGAIN : log_async_write(log, writer, &record);
    if (written == -EAGAIN) {
        written = record_write(log, writer, &record);
    }
    if (written < 0) {
        return written;
    }
    if ((size_t)written < held || (record.error != 0 && (size_t)written == held)) {
        drop_held(writer, (size_t)written);
        return record.error != 0 ? record.error : -ESTALE;
    }
    writer_set_held(writer, 0);
    return written - (ssize_t)held;
}

/* No memory for its pieces: it goes in one piece into the file that is there, behind what was held. */
static ssize_t write_as_it_is(struct log *log, struct writer *writer, const struct iovec *vector, int count,
                              size_t total, int flags)
{
    ssize_t released = writer->held > 0 ? write_with_held(log, writer, NULL, 0, 0, 0, 0) : 0;
    if (released < 0) {
        return released;
    }
    struct record record = {.vector = vector, .count = count, .length = total, .flags = flags};
    record.whole = line_is_whole(vector, count);
    ssize_t written = log->async == NULL ? -EAGAIN : log_async_write(log, writer, &record);
    if (written == -EAGAIN) {
        written =
            flags == 0 ? sys.writev(writer->fd, vector, count) : sys.pwritev2(writer->fd, vector, count, -1, flags);
        record.error = written < 0 ? (int)written : 0;
        record.cut = written >= 0 && (size_t)written < total;
        record_wrote(log, writer, &record, written < 0 ? 0 : (size_t)written);
    }
    return written;
}

static ssize_t write_locked(struct log *log, struct writer *writer, const struct iovec *vector, int count, int flags,
                            enum log_hold hold)
{
    size_t total = line_total(vector, count);
    if (count > SMALL_COUNT && room_for(log, count, NULL) == NULL) {
        return write_as_it_is(log, writer, vector, count, total, flags);
    }
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

ssize_t log_write_aside(const struct writer *writer, const struct iovec *vector, int count)
{
    const struct log *log = writer->log;
    if (log != NULL && log_async_put_aside(log, vector, count) == 0) {
        return (ssize_t)line_total(vector, count);
    }
    if (log == NULL || sys_confined || log->lock.fd < 0 || lockfile_generation(&log->lock) == writer->generation) {
        return -ESTALE;
    }
    int fd = log_open_plain(log, O_WRONLY | O_APPEND);
    if (fd < 0) {
        return -ESTALE;
    }
    ssize_t written = sys.writev(fd, vector, count);
    sys.close(fd);
    return written;
}

/* Without any lock: another thread has been stuck for long. To the live file all the same. */
static ssize_t write_unlocked(const struct writer *writer, int fd, const struct iovec *vector, int count, int flags)
{
    ssize_t aside = log_write_aside(writer, vector, count);
    if (aside != -ESTALE) {
        return aside;
    }
    return flags == 0 ? sys.writev(fd, vector, count) : sys.pwritev2(fd, vector, count, -1, flags);
}

static __attribute__((noinline)) ssize_t write_as_writer(struct log *log, struct writer *writer, int fd,
                                                         const struct iovec *vector, int count, off_t offset, int flags,
                                                         enum log_hold hold)
{
    bool early = log->async != NULL; /* a handler that finds the buffer full could not wait for this thread */
    uint64_t before = early ? sys_signals_defer() : 0;
    if (log_lock_to_write(log) != 0) {
        if (early) {
            sys_signals_resume(before);
        }
        return write_unlocked(writer, fd, vector, count, flags);
    }
    /*
     * Held bytes are written or kept, not both: no signal handler jumps out in between. Whole lines, the most of all
     * writes, need no such care.
     */
    bool defer = early || writer->held > 0 || (hold != HOLD_NONE && !line_is_whole(vector, count));
    if (defer && !early) {
        before = sys_signals_defer();
    }
    ssize_t result = -ESTALE;
    if (writer->log == log && writer->fd == fd) {
        off_t position = offset >= 0 ? sys.lseek(fd, 0, SEEK_CUR) : -1;
        bool behind = writer->behind;
        result = write_locked(log, writer, vector, count, flags, hold);
        writer->held_aside = offset >= 0;
        if (position >= 0) {
            sys.lseek(fd, position, SEEK_SET);
            writer->behind = behind;
        }
    }
    log_unlock(log);
    if (defer) {
        sys_signals_resume(before);
    }
    return result;
}

/* A record by log_append; whatever has come to nothing before is written under the log's lock. */
static inline __attribute__((always_inline)) ssize_t append(struct log *log, struct writer *writer, int fd,
                                                            const struct iovec *vector, int count, enum log_hold hold)
{
    ssize_t result;
    if (__builtin_expect(log->async != NULL, 0)) {
        result = log_async_put(log, writer, fd, vector, count, hold);
        if (__builtin_expect(result != -EAGAIN, 1)) {
            return result;
        }
        result = write_as_writer(log, writer, fd, vector, count, -1, 0, hold);
    } else if (!log->lockless || !lockless_write(writer, fd, vector, count, &result)) {
        result = write_as_writer(log, writer, fd, vector, count, -1, 0, hold);
    }
    log_helper_call(log);
    return result;
}

ssize_t log_append(struct writer *writer, int fd, const struct iovec *piece)
{
    struct log *log = writer->log;
    return log == NULL ? -ESTALE : append(log, writer, fd, piece, 1, log->hold);
}

ssize_t log_write(struct writer *writer, int fd, const struct iovec *vector, int count, off_t offset, int flags,
                  enum log_hold hold)
{
    struct log *log = writer->log;
    if (log == NULL) {
        return -ESTALE;
    }
    flags &= ~APPEND_NOT; /* it would write over what is there */
    if (offset < 0 && flags == 0) {
        return append(log, writer, fd, vector, count, hold);
    }
    if (offset >= 0 && log->async != NULL) {
        log_async_empty(log); /* now the position is where the writes before have moved it to */
    }
    ssize_t result = write_as_writer(log, writer, fd, vector, count, offset, flags, hold);
    log_helper_call(log);
    return result;
}

/*
 * The number is not the log's any more, and an unfinished line is still held: it goes to the live file by a descriptor
 * of the shim's own. With the thread lock held.
 */
static int rescue(struct log *log, struct writer *writer)
{
    program_locks_note(log);
    int fd = log_open_plain(log, O_WRONLY | O_APPEND);
    if (fd < 0) {
        program_locks_take(log);
        return fd;
    }
    const struct iovec piece = {.iov_base = writer->tail, .iov_len = writer->held};
    log_lock_file(log);
    ssize_t written = sys.writev(fd, &piece, 1);
    log_unlock_file(log);
    sys.close(fd);
    program_locks_take(log);
    if (written > 0) {
        drop_held(writer, (size_t)written);
    }
    return written < 0 ? (int)written : 0;
}

int log_rescue(struct writer *writer)
{
    struct log *log = writer->log;
    if (log == NULL || writer_held(writer) == 0 || log_lock(log) != 0) {
        return 0;
    }
    int error = writer->log == log && writer->held > 0 ? rescue(log, writer) : 0;
    log_unlock(log);
    return error;
}

static ssize_t write_held(struct log *log, struct writer *writer)
{
    off_t position = writer->held_aside ? sys.lseek(writer->fd, 0, SEEK_CUR) : -1;
    ssize_t result = write_with_held(log, writer, NULL, 0, 0, 0, 0);
    if (position >= 0) {
        sys.lseek(writer->fd, position, SEEK_SET);
    }
    return result;
}

void log_release_locked(struct log *log)
{
    struct writer *first = __atomic_load_n(&log->writers, __ATOMIC_ACQUIRE);
    for (struct writer *writer = first; writer != NULL; writer = writer->next) {
        if (writer->held > 0 && (!log_prove(writer) || write_held(log, writer) == -ESTALE)) {
            rescue(log, writer);
        }
    }
}

int log_release(struct writer *writer, int fd)
{
    struct log *log = writer->log;
    if (log == NULL || writer_held(writer) == 0) {
        return 0;
    }
    if (log_lock(log) != 0) {
        /* Another thread has been stuck for long: the bytes go out as they are. */
        const struct iovec piece = {.iov_base = writer->tail, .iov_len = writer->held};
        ssize_t written = write_unlocked(writer, fd, &piece, 1, 0);
        writer_set_held(writer, 0);
        return written < 0 ? (int)written : 0;
    }
    ssize_t result = 0;
    if (writer->log == log && writer->fd == fd && writer->held > 0) {
        result = log_prove(writer) ? write_held(log, writer) : -ESTALE;
        if (result == -ESTALE) {
            result = rescue(log, writer);
        }
    }
    log_unlock(log);
    return result < 0 ? (int)result : 0;
}

__attribute__((noinline)) int log_empty(struct writer *writer, int fd)
{
    struct log *log = writer->log;
    int error = log_release(writer, fd);
    if (log == NULL || error != 0 || log->async == NULL) {
        return error;
    }
    return log_async_empty(log);
}

int log_truncate(struct writer *writer, int fd)
{
    struct log *log = writer->log;
    enum rule_truncate what = log->rule->truncate;
    if (what == TRUNCATE_IGNORE) {
        return 0;
    }
    if (log->async != NULL) {
        log_async_empty(log); /* what this process wrote before belongs before */
    }
    if (log_lock(log) != 0) {
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
        error = log_rotate(log, writer);
        if (error == -EAGAIN && log_look_again(log, writer, lockfile_generation(&log->lock)) == 0 &&
            sys.lseek(fd, 0, SEEK_END) > 0) {
            log_rotate(log, writer);
        }
        error = 0; /* if it fails, which is told, the program appends */
    }
    log_unlock_file(log);
    log_unlock(log);
    log_helper_call(log);
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
