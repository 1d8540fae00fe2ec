/*
 * The buffers that dead processes left: one of those who are there writes each of them out, once.
 */
#include "log_async_private.h"

#include "diag.h"
#include "log_helper.h"
#include "log_private.h"
#include "own.h"
#include "sys.h"
#include "sys_call.h"

#include <dirent.h>
#include <errno.h>
#include <sys/syscall.h>

enum { SECOND = 1000000000, MILLISECOND = 1000000, UID_BITS = 20, UID_MASK = (1 << UID_BITS) - 1 };

typedef int open_function(struct log *log, uint64_t number, int of_log, const struct stat *live, struct log_ring *dead);

static int open_ring(struct log *log, uint64_t number, open_function *open, struct log_ring *dead)
{
    struct stat live;
    int fd = log->writers == NULL ? -1 : log->writers->fd;
    bool known = fd >= 0 && sys.fstat(fd, &live) == 0;
    return open(log, number, fd, known ? &live : NULL, dead);
}

/* Not one that was removed, or that the parent of this fork child has. */
static bool is_own(const struct log *log, uint64_t number)
{
    const struct log_async *async = log->async;
    return async != NULL && async->own.ring.page != NULL && !async->removed && async->own.number == number;
}

/* Under the log's mutex: nobody else of this process does the same. */
static int take_over(struct log *log, uint64_t number)
{
    struct log_ring dead;
    int error = open_ring(log, number, log_ring_open, &dead);
    if (error != 0) {
        return error;
    }
    error = log_async_drain(log, NULL, &dead, DRAIN_ALL, false);
    if (error == 0 && ring_used(&dead.ring) == 0) {
        log_ring_remove(log, &dead);
    }
    log_ring_close(&dead);
    return error;
}

/*
 * Under the log's mutex: whether this process is in the middle of a line that it writes in pieces. Its end is waited
 * for, but not for ever.
 */
static bool waits_for_line(struct log *log)
{
    const struct writer *writer = __atomic_load_n(&log->writers, __ATOMIC_ACQUIRE);
    int64_t now = sys_now(CLOCK_MONOTONIC);
    while (writer != NULL && (writer->midline == 0 || writer->midline >= LOG_HOLD_MAX)) {
        writer = writer->next;
    }
    log->midline_since = writer == NULL ? 0 : log->midline_since == 0 ? now : log->midline_since;
    return writer != NULL && now - log->midline_since < SECOND;
}

static int take_over_in_turn(struct log *log, uint64_t number)
{
    static bool told;
    int error = log_lock(log);
    if (error == 0) {
        uint64_t before = sys_signals_defer();
        error = waits_for_line(log) ? -EBUSY : take_over(log, number);
        sys_signals_resume(before);
        log_unlock(log);
    }
    if (error == -EINVAL && !told) {
        told = true;
        diag_message("%s: a buffer of async=1 cannot be read: %llu", log->path, (unsigned long long)number);
    }
    return error;
}

/* Whether that is no buffer for this process to write out: it is a living one's, another user's, or none at all. */
static bool is_none_of_ours(int error)
{
    return error == -EAGAIN || error == -EPERM || error == -EACCES || error == -EINVAL || error == -ENOENT;
}

/* Buffers beside the lock file; this process's own are among them. */
struct found {
    int count;   /* or less than 0: not to be known */
    bool undone; /* a dead process's could not be written out */
};

static void read_entries(struct log *log, const char *entries, ssize_t size, struct found *found)
{
    for (ssize_t at = 0; at < size;) {
        const struct dirent64 *entry = (const struct dirent64 *)(const void *)(entries + at);
        uint64_t number;
        if (name_is_ring(log->lock.name, entry->d_name, &number)) {
            int error = is_own(log, number) ? 0 : take_over_in_turn(log, number);
            found->undone = found->undone || (error != 0 && !is_none_of_ours(error));
            found->count++;
        }
        at += entry->d_reclen;
    }
}

static struct found look_at_each(struct log *log)
{
    enum { ENTRIES_SIZE = 16384 };
    struct found found = {.count = 0};
    char *entries = sys_reserve(ENTRIES_SIZE); /* signal stacks are small */
    int directory = own_open(log->lock.directory, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0);
    ssize_t size = directory < 0 || entries == NULL ? -1 : 1;
    while (size > 0) {
        size = sys.getdents64(directory, entries, ENTRIES_SIZE);
        read_entries(log, entries, size, &found);
    }
    if (directory >= 0) {
        sys.close(directory);
    }
    if (entries != NULL) {
        sys_give_back(entries, ENTRIES_SIZE);
    }
    found.count = size < 0 ? -1 : found.count;
    return found;
}

/* What the lock file says of a look that found buffers: when it was, and who looked, as he sees only some of them. */
static int64_t look_of_now(void)
{
    uid_t self = (uid_t)sys_call(SYS_geteuid, 0, 0, 0, 0, 0, 0);
    return sys_now(CLOCK_MONOTONIC) / MILLISECOND << UID_BITS | (self & UID_MASK);
}

/*
 * Everybody looks at every buffer: a thousand processes would do nothing else. But now and then one looks all the same:
 * who was faster may be unable to write what he found.
 */
static bool was_looked_at(struct log *log)
{
    enum { AGE = 250, MOST = 30 };
    int64_t last;
    int64_t now = look_of_now();
    if (log->lock.fd < 0 || log->looks_left >= MOST || !lockfile_read(&log->lock, LOCKFILE_RINGS, &last) ||
        (last & UID_MASK) != (now & UID_MASK) || last > now || (now - last) >> UID_BITS >= AGE) {
        log->looks_left = 0;
        return false;
    }
    log->looks_left++;
    return true;
}

void log_async_look_for_dead(struct log *log)
{
    if (!was_looked_at(log)) {
        log_async_take_over(log);
    }
}

/* A lock file that was removed, or cut off, says nothing of it. */
__attribute__((noinline)) bool log_async_any_left(const struct log *log)
{
    int64_t rings;
    return log->lock.fd >= 0 && (!lockfile_read(&log->lock, LOCKFILE_RINGS, &rings) || rings != 0);
}

/*
 * While there are any, the lock file never says that there are none: who looks may be killed, and nobody would look
 * again. Who makes one says so after it is there; so they are looked for once more after it was taken back.
 */
__attribute__((noinline)) void log_async_take_over(struct log *log)
{
    if (log->lock.fd < 0) {
        return;
    }
    struct found found = look_at_each(log);
    if (found.count == 0 && log_async_any_left(log)) {
        lockfile_write(&log->lock, LOCKFILE_RINGS, 0);
        found = look_at_each(log);
    }
    if (found.count != 0) { /* what this process cannot do, others may be able to, at once */
        lockfile_write(&log->lock, LOCKFILE_RINGS, found.undone ? 1 : look_of_now());
    }
    log_helper_call(log);
}

/*
 * Its buffer may still be locked: by itself for a moment, as it is dying, or by who takes it over and waits for the
 * log's lock. Who does that compares with the file, and finds what is written here; else it is noted in the buffer.
 */
static int open_to_mend(struct log *log, uint64_t number, struct log_ring *dead)
{
    enum { ATTEMPTS = 4 };
    const struct timespec pause = {.tv_nsec = MILLISECOND / 4};
    int error = open_ring(log, number, log_ring_open, dead);
    for (int attempt = 0; attempt < ATTEMPTS && error == -EAGAIN; attempt++) {
        sys.sleep(&pause);
        error = open_ring(log, number, log_ring_open, dead);
    }
    return error == -EAGAIN ? open_ring(log, number, log_ring_read, dead) : error;
}

__attribute__((noinline)) bool log_async_mend(struct log *log, struct writer *writer, off_t *size)
{
    struct log_ring dead;
    int64_t number;
    if (!lockfile_read(&log->lock, LOCKFILE_BATCH, &number) || number <= 0 || is_own(log, (uint64_t)number) ||
        open_to_mend(log, (uint64_t)number, &dead) != 0) {
        return false;
    }
    int error = log_ring_resume(log, &dead, writer);
    log_ring_close(&dead);
    off_t end = sys.lseek(writer->fd, 0, SEEK_END);
    bool mended = error == 0 && end > *size;
    *size = mended ? end : *size;
    return mended;
}
