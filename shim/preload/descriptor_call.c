/*
 * The operations on descriptors: write, release, close, duplicate.
 */
#include "descriptor_private.h"

#include "real.h"

#include "core/guard.h"
#include "core/line.h"
#include "core/log_async.h"
#include "core/own.h"

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
 * The same for a page that may have been asked for before: programs write from the same few buffers again and again,
 * and asking for each write would show. That a page has gone since is not found out.
 */
static bool begins_mapped(uintptr_t address, size_t length)
{
    enum { REMEMBERED = 64 };
    static uintptr_t known[REMEMBERED];
    uintptr_t page = address / PAGE;
    uintptr_t *slot = &known[page % REMEMBERED];
    if (__atomic_load_n(slot, __ATOMIC_RELAXED) == page) {
        return true;
    }
    if (!can_be_read(address, length)) {
        return false;
    }
    __atomic_store_n(slot, page, __ATOMIC_RELAXED);
    return true;
}

/* Both ends of a piece. One that goes over a page may go out of the mapped memory: its end is asked for each time. */
static bool is_mapped(const struct iovec *piece)
{
    size_t length = piece->iov_len;
    uintptr_t start = (uintptr_t)piece->iov_base;
    uintptr_t last = start + length - 1;
    uintptr_t end = length >= PROBED ? last + 1 - PROBED : last;
    return begins_mapped(start, length) && (start / PAGE == last / PAGE || can_be_read(end, length));
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
static bool readable(const struct iovec *vector, int count)
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

static enum log_hold hold_for(const struct writer *writer, enum descriptor_source source)
{
    const struct log *log = writer->log;
    if (log == NULL || log->rule->lines == LINES_OFF) {
        return HOLD_NONE;
    }
    return log->rule->lines == LINES_STRICT || source == SOURCE_BUFFER ? HOLD_UNFINISHED : HOLD_REST;
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

ssize_t descriptor_write(int fd, const struct iovec *vector, int count, off_t offset, int flags,
                         enum descriptor_source source)
{
    enum { ATTEMPTS = 3 };
    pthread_testcancel(); /* here as in write; further in, cancellation waits */
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

bool descriptor_waits(int fd)
{
    const struct writer *writer = descriptor_writer(fd);
    const struct log *log = writer == NULL ? NULL : writer->log;
    return log != NULL && log_async_holds(log);
}

void descriptor_drain(int fd)
{
    struct rare rare;
    const struct writer *writer = descriptor_writer(fd);
    struct log *log = writer == NULL ? NULL : writer->log;
    if (log != NULL && log_async_holds(log) && rare_enter(&rare)) {
        log_async_empty(log);
        rare_leave(&rare);
    }
}

__attribute__((noinline)) int descriptor_empty(int fd)
{
    struct rare rare;
    struct writer *writer = descriptor_writer(fd);
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

int descriptor_release_all(void)
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

void descriptor_finish(void)
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

/*
 * Takes a descriptor out of the table, held bytes first: by way of the descriptor itself, or, if the number has become
 * something else behind our back, by one of the shim's own. The error of writing those.
 */
/*
 * Until the number is closed or replaced, `meanwhile` is its state: for who would find it unknown, other threads that
 * write to it would make it the log's again, and a rotation might then put the log into the place of what the program
 * puts there.
 */
static int let_go(int fd, bool replaced, uintptr_t meanwhile)
{
    struct writer *writer = descriptor_writer(fd);
    int error = 0;
    if (writer != NULL) {
        error = replaced ? log_rescue(writer) : log_empty(writer, fd);
        descriptor_set_state(fd, meanwhile);
        log_detach(writer);
    }
    return error == -ESTALE ? 0 : error;
}

static int forget(int fd, bool replaced, uintptr_t meanwhile)
{
    struct rare rare;
    int error = 0;
    uintptr_t state = descriptor_state(fd);
    if ((state == DESCRIPTOR_PLAIN || state == DESCRIPTOR_LOCK) && !descriptor_foreign_memory()) {
        descriptor_set_state(fd, DESCRIPTOR_UNKNOWN);
    } else if (state > DESCRIPTOR_LOCK && rare_enter(&rare)) {
        error = let_go(fd, replaced, meanwhile);
        rare_leave(&rare);
    }
    return error;
}

int descriptor_forget(int fd)
{
    return forget(fd, false, DESCRIPTOR_UNKNOWN);
}

void descriptor_replaced(int fd)
{
    forget(fd, true, DESCRIPTOR_UNKNOWN);
}

_Static_assert(sizeof(struct rare) <= sizeof((struct closing){0}.rare), "closing has room for rare");

void descriptor_before_close(int fd, struct closing *closing)
{
    struct stat status;
    struct rare *rare = (struct rare *)(void *)closing->rare;
    closing->log = NULL;
    if (descriptor_state(fd) != DESCRIPTOR_LOCK || !rare_enter(rare)) {
        return;
    }
    if (sys.fstat(fd, &status) == 0) {
        closing->log = log_keep_off_lock(&status);
    }
    if (closing->log == NULL) {
        rare_leave(rare);
    }
}

void descriptor_after_close(struct closing *closing)
{
    if (closing->log != NULL) {
        log_allow_lock(closing->log);
        rare_leave((struct rare *)(void *)closing->rare);
    }
}

int descriptor_close(int fd)
{
    struct rare rare;
    struct closing closing = {.log = NULL};
    int error = 0;
    if (descriptor_writer(fd) != NULL && rare_enter(&rare)) {
        error = let_go(fd, false, DESCRIPTOR_PLAIN);
        rare_leave(&rare);
    }
    descriptor_before_close(fd, &closing);
    int closed = real.close(fd) == 0 ? 0 : -errno;
    descriptor_after_close(&closing);
    descriptor_forget_plain(fd);
    return closed != 0 ? closed : error;
}

void descriptor_made_plain(int fd)
{
    if (descriptor_state(fd) == DESCRIPTOR_PLAIN || descriptor_foreign_memory()) {
        return;
    }
    descriptor_replaced(fd);
    descriptor_set_state(fd, DESCRIPTOR_PLAIN);
}

void descriptor_duplicated(int from, int fd)
{
    struct rare rare;
    if (descriptor_state(from) == DESCRIPTOR_PLAIN) {
        descriptor_made_plain(fd);
        return;
    }
    descriptor_replaced(fd);
    if (descriptor_state(from) == DESCRIPTOR_LOCK && !descriptor_foreign_memory()) {
        descriptor_set_state(fd, DESCRIPTOR_LOCK);
    }
    struct writer *writer = descriptor_writer(from);
    if (writer != NULL && rare_enter(&rare)) {
        struct writer *copy = log_attach_duplicate(writer, fd);
        descriptor_set_state(fd, copy == NULL ? DESCRIPTOR_UNKNOWN : (uintptr_t)copy);
        rare_leave(&rare);
    }
}

int descriptor_dup3(int from, int to, int flags)
{
    if (descriptor_is_own(from)) {
        return -EBADF;
    }
    if (descriptor_is_own(to)) {
        descriptor_vacate(to);
    }
    struct closing closing = {.log = NULL};
    descriptor_before_close(to, &closing);
    if (closing.log == NULL) {
        forget(to, false, DESCRIPTOR_PLAIN);
    }
    int fd = flags == 0 ? real.dup2(from, to) : real.dup3(from, to, flags);
    int error = errno;
    descriptor_after_close(&closing);
    descriptor_forget_plain(to);
    if (fd < 0) {
        return -error;
    }
    descriptor_duplicated(from, to);
    return fd;
}

/*
 * Looked for before, because a descriptor too many would have to be closed, which drops the program's own locks on the
 * file. Only near the shim's numbers: below, the first free one is found long before.
 */
int descriptor_dup_from(int fd, int command, long lowest)
{
    enum { NEAR = 128 };
    int own = lowest >= 0 && lowest < INT_MAX ? own_next((int)lowest) : INT_MAX;
    if (own - lowest >= NEAR || descriptor_foreign_memory()) {
        return real.fcntl(fd, command, lowest);
    }
    int number = (int)lowest;
    while (number < own && sys.fcntl(number, F_GETFD, 0) >= 0) {
        number++;
    }
    if (number < own || sys.fcntl(fd, F_GETFD, 0) < 0) {
        return real.fcntl(fd, command, lowest);
    }
    int made = descriptor_dup3(fd, own, command == F_DUPFD_CLOEXEC ? O_CLOEXEC : 0);
    return made >= 0 ? made : real.fcntl(fd, command, lowest);
}

bool descriptor_is_own(int fd)
{
    return own_is(fd);
}

int descriptor_vacate(int fd)
{
    struct rare rare;
    if (!rare_enter(&rare)) {
        return 0; /* a vfork child: close-on-exec, and its table of descriptors is its own */
    }
    int error = own_vacate(fd);
    if (error == 0) {
        descriptor_set_state(fd, DESCRIPTOR_LOCK); /* it may be one, until it is closed */
    }
    rare_leave(&rare);
    return error;
}
