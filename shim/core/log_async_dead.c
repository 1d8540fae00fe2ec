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

static uid_t owner_of(const struct log *log)
{
    struct stat status;
    return log->writers != NULL && sys.fstat(log->writers->fd, &status) == 0 ? status.st_uid : (uid_t)-1;
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
    int error = log_ring_open(log, number, owner_of(log), &dead);
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

static void take_over_in_turn(struct log *log, uint64_t number)
{
    static bool told;
    int error = log_lock(log);
    if (error == 0) {
        uint64_t before = sys_signals_defer();
        error = take_over(log, number);
        sys_signals_resume(before);
        log_unlock(log);
    }
    if (error == -EINVAL && !told) {
        told = true;
        diag_message("%s: a buffer of async=1 cannot be read: %llu", log->path, (unsigned long long)number);
    }
}

/* How many there are, but for this process's own. */
static int read_entries(struct log *log, const char *entries, ssize_t size)
{
    int count = 0;
    for (ssize_t at = 0; at < size;) {
        const struct dirent64 *entry = (const struct dirent64 *)(const void *)(entries + at);
        uint64_t number;
        if (name_is_ring(log->lock.name, entry->d_name, &number)) {
            count++;
            if (!is_own(log, number)) {
                take_over_in_turn(log, number);
            }
        }
        at += entry->d_reclen;
    }
    return count;
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

/*
 * That there are any is said anew by who makes one, after it is there; so it is taken back before the look.
 */
__attribute__((noinline)) void log_async_take_over(struct log *log)
{
    enum { ENTRIES_SIZE = 16384 };
    int64_t any;
    if (log->lock.fd < 0) {
        return;
    }
    if (lockfile_read(&log->lock, LOCKFILE_RINGS, &any) && any != 0) {
        lockfile_write(&log->lock, LOCKFILE_RINGS, 0);
    }
    char *entries = sys_reserve(ENTRIES_SIZE); /* signal stacks are small */
    int count = 0;
    int directory = own_open(log->lock.directory, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0);
    ssize_t size = directory < 0 || entries == NULL ? -1 : 1;
    while (size > 0) {
        size = sys.getdents64(directory, entries, ENTRIES_SIZE);
        count += read_entries(log, entries, size);
    }
    if (directory >= 0) {
        sys.close(directory);
    }
    if (entries != NULL) {
        sys_give_back(entries, ENTRIES_SIZE);
    }
    if (count > 0 || size < 0) {
        lockfile_write(&log->lock, LOCKFILE_RINGS, look_of_now());
    }
    log_helper_call(log);
}

/*
 * The kernel frees the lock of a dying process's mapping a moment after the lock of the log: it is waited for that
 * long, and a second at most.
 */
__attribute__((noinline)) bool log_async_mend(struct log *log, struct writer *writer, off_t *size)
{
    enum { ATTEMPTS = 4000 };
    const struct timespec pause = {.tv_nsec = MILLISECOND / 4};
    struct log_ring dead;
    int64_t number;
    int error = -EAGAIN;
    if (!lockfile_read(&log->lock, LOCKFILE_BATCH, &number) || number <= 0 || is_own(log, (uint64_t)number)) {
        return false;
    }
    for (int attempt = 0; attempt < ATTEMPTS && error == -EAGAIN; attempt++) {
        error = log_ring_open(log, (uint64_t)number, owner_of(log), &dead);
        if (error == -EAGAIN) {
            sys.sleep(&pause);
        }
    }
    if (error != 0) {
        return false;
    }
    error = log_ring_resume(log, &dead, writer);
    log_ring_close(&dead);
    off_t end = sys.lseek(writer->fd, 0, SEEK_END);
    bool mended = error == 0 && end > *size;
    *size = mended ? end : *size;
    return mended;
}
