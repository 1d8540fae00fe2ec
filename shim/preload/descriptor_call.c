/*
 * The operations on descriptors: write, and what of a line is held: when it is let go.
 */
#include "descriptor_private.h"

#include "real.h"

#include "core/guard.h"
#include "core/line.h"
#include "core/log_async.h"
#include "core/own.h"
#include "core/sys.h"

#include <errno.h>
#include <limits.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>
#include <unistd.h>

/*
 * The same as writev at offset -1; not that, because only the kernel may look at a vector that may be bad, unless a
 * filter that was installed a moment ago allows nothing but the program's own call.
 */
static ssize_t write_raw(int fd, const struct iovec *vector, int count, off_t offset, int flags)
{
    if (sys_confined && offset == DESCRIPTOR_APPEND && flags == 0) {
        return sys.writev(fd, vector, count);
    }
    ssize_t written = sys.pwritev2(fd, vector, count, offset, flags);
    bool unknown = written == -ENOSYS && offset == DESCRIPTOR_APPEND && flags == 0; /* to emulators and filters */
    return unknown ? sys.writev(fd, vector, count) : written;
}

enum { PAGE = 4096 };

enum { PROBED = 8 };

/*
 * Asked of the kernel, by a call that reads eight bytes and then refuses to do anything. Memory checkers look at which:
 * those of the piece itself; of a shorter one the aligned ones about it, which are in the same page.
 */
static bool can_be_read(uintptr_t address, size_t length)
{
    uintptr_t probed = length >= PROBED ? address : address / PROBED * PROBED;
    return sys.probe((const void *)probed) != -EFAULT;
}

/*
 * Pages that were asked for before, by the address of their last byte: programs write from the same few buffers again
 * and again, and asking for each write would show. That a page has gone since is not found out.
 */
enum { REMEMBERED = 64 };
static uintptr_t known_pages[REMEMBERED];

static inline uintptr_t *slot_of(uintptr_t address)
{
    return &known_pages[address / PAGE % REMEMBERED];
}

/* The most of all pieces: not empty, and in one page, which is known. */
static inline bool is_known(const struct iovec *piece)
{
    uintptr_t start = (uintptr_t)piece->iov_base;
    uintptr_t end = start | (PAGE - 1);
    return __atomic_load_n(slot_of(start), __ATOMIC_RELAXED) == end && piece->iov_len - 1 <= end - start;
}

static bool begins_mapped(uintptr_t address, size_t length)
{
    uintptr_t *slot = slot_of(address);
    uintptr_t end = address | (PAGE - 1);
    if (__atomic_load_n(slot, __ATOMIC_RELAXED) == end) {
        return true;
    }
    if (!can_be_read(address, length)) {
        return false;
    }
    __atomic_store_n(slot, end, __ATOMIC_RELAXED);
    return true;
}

/*
 * One that goes over a page may go out of the mapped memory: its end is asked for, each time if there are pages
 * between. What is asked for includes the last byte.
 */
static bool ends_mapped(uintptr_t start, uintptr_t last, size_t length)
{
    uintptr_t *slot = slot_of(last);
    uintptr_t page = last | (PAGE - 1);
    if (last / PAGE - start / PAGE == 1 && __atomic_load_n(slot, __ATOMIC_RELAXED) == page) {
        return true;
    }
    if (!can_be_read(length >= PROBED ? last + 1 - PROBED : last, length)) {
        return false;
    }
    __atomic_store_n(slot, page, __ATOMIC_RELAXED);
    return true;
}

/* Both ends of a piece. */
static bool is_mapped(const struct iovec *piece)
{
    size_t length = piece->iov_len;
    uintptr_t start = (uintptr_t)piece->iov_base;
    uintptr_t last = start + length - 1;
    return begins_mapped(start, length) && (start / PAGE == last / PAGE || ends_mapped(start, last, length));
}

bool descriptor_may_look(const void *start, size_t length)
{
    const struct iovec piece = {.iov_base = (void *)(uintptr_t)start, .iov_len = length};
    uintptr_t from = (uintptr_t)start;
    return from >= LOWEST_ADDRESS && from <= HIGHEST_ADDRESS && length <= HIGHEST_ADDRESS - from && length > 0 &&
           is_mapped(&piece);
}

/*
 * Whether the shim may look at the bytes: only the kernel may find out that a pointer is bad. Catches what programs
 * do pass by mistake, null and small numbers and the kernel's half; buffers that run out of the mapped memory; and the
 * counts that the kernel refuses.
 */
static __attribute__((noinline)) bool readable(const struct iovec *vector, int count)
{
    if (count <= 0 || count > IOV_MAX || (uintptr_t)vector < LOWEST_ADDRESS || (uintptr_t)vector > HIGHEST_ADDRESS) {
        return false;
    }
    enum { NEAR = 4096 }; /* what the hooks make themselves is on this stack */
    const struct iovec whole = {.iov_base = (void *)(uintptr_t)vector, .iov_len = (size_t)count * sizeof *vector};
    if ((uintptr_t)vector - (uintptr_t)__builtin_frame_address(0) >= NEAR && !is_mapped(&whole)) {
        return false;
    }
    size_t total = 0;
    for (int i = 0; i < count; i++) {
        uintptr_t start = (uintptr_t)vector[i].iov_base;
        size_t length = vector[i].iov_len;
        if (length == 0) {
            continue;
        }
        if (start < LOWEST_ADDRESS || start > HIGHEST_ADDRESS || length > HIGHEST_ADDRESS - start ||
            length > SSIZE_MAX - total || !is_mapped(&vector[i])) {
            return false;
        }
        total += length;
    }
    return total > 0;
}

/* A full stdio buffer without any newline waits for the rest of its line; the program's own write does not. */
static enum log_hold hold_for(const struct writer *writer, enum descriptor_source source)
{
    const struct log *log = writer->log;
    enum log_hold hold = log == NULL ? HOLD_NONE : log->hold;
    return hold == HOLD_REST && source == SOURCE_BUFFER ? HOLD_UNFINISHED : hold;
}

/* The number's file is not what the table says: libc closed or replaced it behind our back. */
static void drop_stale(int fd, struct writer *writer)
{
    struct rare rare;
    if (rare_enter(&rare)) {
        if (descriptor_writer(fd) == writer) {
            descriptor_set_state(fd, DESCRIPTOR_UNKNOWN);
            log_rescue(writer);
            log_detach(writer);
        }
        rare_leave(&rare);
    }
}

/* A vfork child has descriptors of its own and its parent's table: a log is known by its file. */
static void follow_in_vfork_child(int fd)
{
    struct stat status;
    if (sys.fstat(fd, &status) == 0 && S_ISREG(status.st_mode)) {
        const struct writer *writer = log_writer_of(&status);
        if (writer != NULL) {
            log_follow_alone(writer, fd);
        }
    }
}

/* Any write, also where the number is unknown, or not the writer's any more, or the thread is inside already. */
static __attribute__((noinline)) ssize_t write_any(int fd, const struct iovec *vector, int count, off_t offset,
                                                   int flags, enum descriptor_source source)
{
    enum { ATTEMPTS = 3 };
    if (descriptor_state(fd) == DESCRIPTOR_UNKNOWN && own_is(fd)) {
        return -EBADF;
    }
    for (int attempt = 0; attempt < ATTEMPTS; attempt++) {
        struct writer *writer = descriptor_writer(fd);
        if ((writer == NULL && !descriptor_managed(fd)) || !readable(vector, count)) {
            break;
        }
        if (!guard_enter()) {
            ssize_t aside = guard_inside() && writer != NULL ? log_write_aside(writer, vector, count) : -ESTALE;
            if (aside != -ESTALE) {
                return aside;
            }
            break;
        }
        ssize_t result = -ESTALE;
        if (writer != NULL) {
            result = log_write(writer, fd, vector, count, offset, flags, hold_for(writer, source));
        }
        guard_leave();
        if (result != -ESTALE) {
            return result;
        }
        if (writer != NULL) {
            drop_stale(fd, writer);
        }
    }
    if (descriptor_foreign_memory()) {
        follow_in_vfork_child(fd);
    }
    return write_raw(fd, vector, count, offset, flags);
}

bool descriptor_buffers(const struct writer *writer)
{
    const struct log *log = writer->log;
    return log != NULL && log->async != NULL;
}

ssize_t descriptor_put(struct writer *writer, int fd, const void *buffer, size_t size)
{
    const struct iovec piece = {.iov_base = (void *)(uintptr_t)buffer, .iov_len = size};
    ssize_t put = -EAGAIN;
    pthread_testcancel(); /* here as in write; further in, cancellation waits */
    if (__builtin_expect(is_known(&piece) && guard_enter(), 1)) {
        put = log_async_put_line(writer, fd, &piece);
        guard_leave();
    }
    return put;
}

ssize_t descriptor_append(struct writer *writer, int fd, const void *buffer, size_t size)
{
    const struct iovec piece = {.iov_base = (void *)(uintptr_t)buffer, .iov_len = size};
    pthread_testcancel();
    if (__builtin_expect((is_known(&piece) || readable(&piece, 1)) && guard_enter(), 1)) {
        ssize_t result = log_append(writer, fd, &piece);
        guard_leave();
        if (__builtin_expect(result != -ESTALE, 1)) {
            return result;
        }
        drop_stale(fd, writer);
    }
    return write_any(fd, &piece, 1, DESCRIPTOR_APPEND, 0, SOURCE_WRITE);
}

ssize_t descriptor_write(int fd, const struct iovec *vector, int count, off_t offset, int flags,
                         enum descriptor_source source)
{
    pthread_testcancel();
    return write_any(fd, vector, count, offset, flags, source);
}

void descriptor_follow(int fd)
{
    struct rare rare;
    struct writer *writer = descriptor_managed(fd) ? descriptor_writer(fd) : NULL;
    if (writer != NULL && rare_enter(&rare)) {
        log_empty(writer, fd);
        log_follow(writer, fd);
        rare_leave(&rare);
    }
}

int descriptor_release(int fd)
{
    struct rare rare;
    struct writer *writer = descriptor_writer(fd);
    if (writer == NULL || writer_held(writer) == 0 || !rare_enter(&rare)) {
        return 0;
    }
    int error = log_release(writer, fd);
    rare_leave(&rare);
    return error == -ESTALE ? 0 : error;
}

/*
 * Asked before the guard, where a fork child that was made without telling (_Fork, a raw clone) finds out what it is:
 * it has neither the memory of the buffer nor anything in it.
 */
static bool buffer_holds(const struct log *log)
{
    return log != NULL && *guard_same_process != 0 && log_async_holds(log);
}

/* What nobody has written by may still be of a log that has a buffer. */
static struct writer *buffered_writer(int fd)
{
    return !log_async_used || descriptor_managed(fd) ? descriptor_writer(fd) : NULL;
}

bool descriptor_waits(int fd)
{
    const struct writer *writer = buffered_writer(fd);
    return writer != NULL && buffer_holds(writer->log);
}

void descriptor_drain(int fd)
{
    struct rare rare;
    const struct writer *writer = descriptor_writer(fd);
    struct log *log = writer == NULL ? NULL : writer->log;
    if (buffer_holds(log) && rare_enter(&rare)) {
        log_async_empty(log);
        rare_leave(&rare);
    }
}

__attribute__((noinline)) int descriptor_empty(int fd)
{
    struct rare rare;
    struct writer *writer = buffered_writer(fd);
    if (writer == NULL || (writer_held(writer) == 0 && !descriptor_waits(fd)) || !rare_enter(&rare)) {
        return 0;
    }
    int error = log_empty(writer, fd);
    rare_leave(&rare);
    return error == -ESTALE ? 0 : error;
}

bool descriptor_holds_any(void)
{
    return log_holding > 0 || log_async_used;
}

bool descriptor_reads(int fd)
{
    const struct writer *writer = descriptor_writer(fd);
    return writer != NULL && writer->access == O_RDWR;
}

static int release_error;

static void release_writer(struct writer *writer)
{
    int error = log_release(writer, writer->fd);
    if (error != 0 && error != -ESTALE) {
        release_error = error;
    }
}

SYS_START int descriptor_release_all(void)
{
    struct rare rare;
    if (!log_is_any() || !rare_enter(&rare)) {
        return 0;
    }
    release_error = 0;
    log_visit_held(release_writer);
    int error = release_error;
    rare_leave(&rare);
    return error;
}

int descriptor_empty_all(void)
{
    struct rare rare;
    int error = descriptor_release_all();
    if (log_async_used && rare_enter(&rare)) {
        int emptied = log_async_empty_all();
        error = error != 0 ? error : emptied;
        rare_leave(&rare);
    }
    return error;
}

void descriptor_share_locks(bool memory)
{
    struct rare rare;
    if (descriptor_active() && !descriptor_foreign_memory() && rare_enter(&rare)) {
        log_share_locks(memory);
        rare_leave(&rare);
    }
}

void descriptor_leave(void)
{
    struct rare rare;
    descriptor_release_all();
    if (log_async_used && rare_enter(&rare)) {
        log_async_leave();
        rare_leave(&rare);
    }
}

void descriptor_hold_nothing(bool nothing)
{
    log_holds_nothing = nothing;
}

SYS_START void descriptor_finish(void)
{
    descriptor_hold_nothing(true);
    guard_abandon(); /* an exit from a signal handler does not come back into what it interrupted */
    descriptor_leave();
    struct rare rare;
    if (log_is_any() && rare_enter(&rare)) { /* threads that were about to hold something back have done so */
        log_pause();
        log_resume();
        rare_leave(&rare);
    }
    descriptor_settle();
}
