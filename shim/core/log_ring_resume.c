/*
 * Exactly once: what of a batch is in the file, whoever was killed or failed when he wrote it.
 *
 * Everything here runs under both locks of the log.
 */
#include "log_ring.h"

#include "acl.h"
#include "log_locks.h"
#include "log_private.h"
#include "own.h"
#include "sys.h"

#include <dirent.h>
#include <errno.h>
#include <string.h>
#include <sys/file.h>

int log_ring_begin(struct log_ring *ring, const struct ring_run *run, size_t skip, size_t length,
                   const struct writer *writer, off_t end)
{
    struct ring_run rest = *run;
    rest.position += (uint32_t)skip;
    ring_intend(&ring->ring, &rest, length, writer->device, end < 0 ? 0 : writer->inode, end < 0 ? 0 : end);
    int error = log_ring_note(ring);
    if (error != 0) {
        ring_settle(&ring->ring, 0);
    }
    return error;
}

size_t log_ring_cut_back(const struct log_ring *ring, const struct ring_run *run, const struct writer *writer,
                         off_t end, size_t written)
{
    struct ring_run next;
    size_t whole = run->records > 1 ? ring_whole(&ring->ring, run, written, &next) : 0;
    bool is_last = whole < written && sys.lseek(writer->fd, 0, SEEK_END) == end + (off_t)written;
    if (is_last && sys.ftruncate(writer->fd, end + (off_t)whole) == 0) {
        written = whole;
    }
    if (written == whole) {
        lockfile_announce(&writer->log->lock, writer->generation, end, (int64_t)whole, 0);
    }
    return written;
}

/* Of a record that is in the file only in part, the intent stays. */
void log_ring_done(struct log_ring *ring, const struct ring_run *run, size_t length, size_t done)
{
    const struct ring_intent intent = ring->ring.page->intent;
    struct ring_run next;
    if (done == length) {
        ring_settle(&ring->ring, done);
    } else {
        size_t whole = run->records > 1 ? ring_whole(&ring->ring, run, done, &next) : 0;
        ring_settle(&ring->ring, whole);
        if (done > whole) {
            next = whole > 0 ? next : *run;
            next.position = intent.position + (uint32_t)whole;
            ring_intend(&ring->ring, &next, done - whole, intent.device, intent.inode, intent.offset + (int64_t)whole);
        }
    }
    log_ring_note(ring);
}

static bool is_intended(const struct ring_intent *intent, const struct stat *status)
{
    return status->st_dev == intent->device && status->st_ino == intent->inode && S_ISREG(status->st_mode);
}

/*
 * Opens a file of the log's history if it is the one, else -ENOENT. Whoever may not read it himself (-EACCES) would see
 * from what comes to the log whether he has guessed what is in it.
 */
static int open_if_intended(const struct log *log, const char *name, const struct log_ring *ring)
{
    const struct ring_intent *intent = &ring->ring.page->intent;
    struct stat status;
    int error = sys.fstatat(log->directory.fd, name, &status, AT_SYMLINK_NOFOLLOW);
    if (error != 0 || !is_intended(intent, &status)) {
        return error != 0 ? error : -ENOENT;
    }
    int fd = own_open(log->directory.fd, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC, 0);
    if (fd >= 0 && (sys.fstat(fd, &status) != 0 || !is_intended(intent, &status))) {
        sys.close(fd);
        return -ENOENT;
    }
    if (fd >= 0 && ring->strange && !acl_is_everybodys(fd, &status)) {
        sys.close(fd);
        return -EACCES;
    }
    return fd;
}

static bool is_archive(const struct log *log, const char *name)
{
    struct name parsed = name_parse(log->base, name);
    bool named = parsed.kind == NAME_NUMBER || parsed.kind == NAME_TIME;
    return parsed.kind == NAME_PENDING || (named && !parsed.gzip);
}

/*
 * While archives get their numbers, one of them may be seen twice, or not at all: who gives them holds this lock on the
 * directory. A stranger who holds it is not waited for for long.
 */
static void await_names(int directory)
{
    enum { ATTEMPTS = 1000 };
    const struct timespec pause = {.tv_nsec = 1000000};
    for (int attempt = 0; attempt < ATTEMPTS && sys.flock(directory, LOCK_EX | LOCK_NB) == -EAGAIN; attempt++) {
        sys.sleep(&pause);
    }
}

/* It is not the live file any more: somebody rotated. What settles archives takes rings over before it compresses. */
static __attribute__((noinline)) int find_archive(const struct log *log, const struct log_ring *ring)
{
    _Alignas(struct dirent64) char entries[2048];
    int found = -ENOENT;
    int directory = own_open(log->directory.fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0);
    ssize_t size = directory < 0 ? directory : 1;
    if (directory >= 0) {
        await_names(directory);
    }
    while (found == -ENOENT && size > 0) {
        size = sys.getdents64(directory, entries, sizeof entries);
        for (ssize_t at = 0; at < size && found == -ENOENT;) {
            const struct dirent64 *entry = (const struct dirent64 *)(const void *)(entries + at);
            if (is_archive(log, entry->d_name)) {
                found = open_if_intended(log, entry->d_name, ring);
            }
            at += entry->d_reclen;
        }
    }
    if (directory >= 0) {
        sys.close(directory);
    }
    return size < 0 ? (int)size : found;
}

/* How many of the bytes that were to be written behind `offset` of a file are there, or -errno. */
static __attribute__((noinline)) ssize_t count_equal(int fd, off_t offset, const struct ring_run *run)
{
    char there[1024];
    size_t equal = 0;
    for (int i = 0; i < run->count; i++) {
        const char *wanted = run->vector[i].iov_base;
        for (size_t at = 0; at < run->vector[i].iov_len;) {
            size_t want = run->vector[i].iov_len - at;
            want = want < sizeof there ? want : sizeof there;
            ssize_t got = sys.pread(fd, there, want, offset + (off_t)equal);
            for (ssize_t j = 0; j < got; j++, equal++, at++) {
                if (there[j] != wanted[at]) {
                    return (ssize_t)equal;
                }
            }
            if (got <= 0) {
                return got < 0 ? got : (ssize_t)equal;
            }
        }
    }
    return (ssize_t)equal;
}

/* Where it may not be looked at, for as long as this process lives, nothing is known to be there. */
static bool is_for_good(int error)
{
    return error == -ENOENT || error == -EACCES || error == -EPERM || error == -ELOOP;
}

/* Bytes, or an error that will pass: taken for none, they would come twice. */
static ssize_t count_written(struct log *log, const struct log_ring *ring, const struct ring_run *run)
{
    const struct ring_intent *intent = &ring->ring.page->intent;
    if (intent->inode == 0) {
        return 0;
    }
    program_locks_note(log); /* which any close of the file drops */
    int fd = open_if_intended(log, log->base, ring);
    fd = fd == -ENOENT ? find_archive(log, ring) : fd;
    ssize_t written = fd >= 0 ? count_equal(fd, intent->offset, run) : is_for_good(fd) ? 0 : fd;
    if (fd >= 0) {
        sys.close(fd);
    }
    program_locks_take(log);
    return written;
}

/* The rest of a record whose first *there bytes are the end of the live file. 0 or the error. */
static int complete(const struct writer *writer, const struct ring_run *record, size_t *there)
{
    while (*there < record->length) {
        struct iovec rest[2] = {record->vector[0], record->vector[1]};
        size_t skip = *there;
        for (int i = 0; i < 2; i++) {
            size_t part = skip < rest[i].iov_len ? skip : rest[i].iov_len;
            rest[i].iov_base = (char *)rest[i].iov_base + part;
            rest[i].iov_len -= part;
            skip -= part;
        }
        ssize_t written = sys.writev(writer->fd, rest, 2);
        if (written <= 0) {
            return written < 0 ? (int)written : -ENOSPC;
        }
        *there += (size_t)written;
    }
    return 0;
}

int log_ring_resume(struct log *log, struct log_ring *ring, struct writer *writer)
{
    struct ring_run run;
    struct ring_run cut;
    if (!ring_intended(&ring->ring, &run)) {
        return 0;
    }
    int64_t generation = lockfile_generation(&log->lock);
    int error = generation != writer->generation ? log_look_again(log, writer, generation) : 0;
    if (error != 0) {
        return error;
    }
    const struct ring_intent intent = ring->ring.page->intent;
    ssize_t counted = count_written(log, ring, &run);
    off_t end = counted < 0 ? counted : sys.lseek(writer->fd, 0, SEEK_END);
    if (end < 0) {
        return (int)end;
    }
    size_t written = (size_t)counted;
    size_t whole = ring_whole(&ring->ring, &run, written, &cut);
    bool is_end =
        writer->device == intent.device && writer->inode == intent.inode && end == intent.offset + (off_t)written;
    if (written > whole && is_end && cut.length > written - whole) {
        size_t there = written - whole;
        error = complete(writer, &cut, &there);
        if (error != 0) {
            ring_settle(&ring->ring, whole);
            ring_intend(&ring->ring, &cut, there, intent.device, intent.inode, intent.offset + (off_t)whole);
            log_ring_note(ring);
            return error;
        }
        whole += cut.length;
    }
    ring_settle(&ring->ring, whole);
    log_ring_note(ring);
    return 0;
}
