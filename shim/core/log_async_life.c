/*
 * The buffers of a process: made at the first write, gone with its end.
 */
#include "log_async_private.h"

#include "diag.h"
#include "guard.h"
#include "log_private.h"
#include "own.h"
#include "sys.h"

#include <errno.h>
#include <string.h>

enum { SECOND = 1000000000 };
static const int64_t RETRY = 60 * (int64_t)SECOND;

atomic_bool log_async_used;
const char *log_async_refused;
static _Atomic int64_t none_before; /* monotonic nanoseconds: not before, a buffer is made */

static void tell(struct log *log, const char *what, const char *why)
{
    struct log_async *async = log->async;
    if (!async->told) {
        diag_message("%s is written synchronously, in spite of async=1: no %s: %s", log->path, what, why);
        async->told = true;
    }
}

/* One that could not be emptied when it was closed is opened again. */
static int make_ring(struct log *log)
{
    struct log_async *async = log->async;
    if (async->own.ring.page != NULL && !async->removed) {
        ring_open(&async->own.ring);
        return 0;
    }
    int error = log_ring_make(log, &async->own);
    async->removed = async->removed && error != 0;
    return error;
}

/* With the log's mutex held. From here on, who writes comes to that mutex. */
static void leave_locked(struct log *log)
{
    struct log_async *async = log->async;
    ring_close(&async->own.ring);
    async->open = false;
    if (log_async_drain(log, NULL, &async->own, DRAIN_ALL, true) == 0 && ring_used(&async->own.ring) == 0) {
        log_ring_remove(log, &async->own);
        async->removed = true;
    }
}

__attribute__((noinline)) bool log_async_make(struct log *log)
{
    struct log_async *async = log->async;
    int64_t now = sys_now(CLOCK_MONOTONIC_COARSE);
    if (now < async->retry_at || now < none_before || sys_confined || guard_foreign_process()) {
        return false;
    }
    if (log_async_refused != NULL) {
        tell(log, "thread", log_async_refused);
        async->retry_at = INT64_MAX;
        return false;
    }
    guard_abandon_puts = ring_abandon;
    uint64_t before = sys_signals_defer();
    const char *step = "buffer";
    int error = make_ring(log);
    if (error == 0) {
        step = "thread";
        error = log_async_start_thread();
    }
    if (error == 0) {
        log_async_used = true;
        async->drain_at = 0; /* of an earlier one; the thread looks only while it is open */
        async->due_at = 0;
        async->open = true;
    } else {
        async->retry_at = now + RETRY;
        if (async->own.ring.page != NULL && !async->removed) {
            leave_locked(log);
        }
        tell(log, step, diag_errno(error));
    }
    sys_signals_resume(before);
    return error == 0;
}

/* Somebody cleaned up, or moved the directory away. What cannot be written now stays in it, for a later look. */
void log_async_prove(struct log *log)
{
    struct log_async *async = log->async;
    if (async == NULL || !async->open || log_lock(log) != 0) {
        return;
    }
    if (log->async == async && async->open && !log_ring_is_there(log, &async->own) &&
        log_async_drain(log, NULL, &async->own, DRAIN_ALL, true) == 0) {
        leave_locked(log);
    }
    log_unlock(log);
}

void log_async_move(const struct log *log, int to)
{
    const struct log_async *async = log->async;
    if (async != NULL && async->own.ring.page != NULL && !async->removed && !guard_foreign_process()) {
        log_ring_move(log, &async->own, to);
    }
}

static void leave(struct log *log)
{
    struct log_async *async = log->async;
    if (async != NULL && log->path_hash != 0 && async->own.ring.page != NULL && !async->removed && log_lock(log) == 0) {
        leave_locked(log);
        log_unlock(log);
    }
}

void log_async_leave(void)
{
    if (log_async_used && !guard_foreign_process()) {
        log_visit(leave);
    }
}

/*
 * Whether the process's first thread has ended, and there is none but that and this one; *status: what it ended with,
 * as for waitpid.
 */
static bool is_alone(unsigned *status)
{
    enum { STATE = 2, COUNT = 18 /* words behind the name: "(program) Z ..." */ };
    char text[512];
    int fd = own_open(AT_FDCWD, "/proc/self/stat", O_RDONLY | O_CLOEXEC, 0);
    ssize_t length = fd < 0 ? 0 : sys.read(fd, text, sizeof text - 1);
    if (fd >= 0) {
        sys.close(fd);
    }
    text[length > 0 ? length : 0] = '\0';
    const char *word = strrchr(text, ')');
    if (word == NULL || word[1] == '\0' || word[STATE] != 'Z') {
        return false;
    }
    for (int i = 0; i < COUNT && word != NULL; i++) {
        word = strchr(word + 1, ' ');
    }
    if (word == NULL || strncmp(word, " 2 ", 3) != 0) {
        return false;
    }
    *status = 0;
    for (word = strrchr(word, ' ') + 1; *word >= '0' && *word <= '9'; word++) {
        *status = *status * 10 + (unsigned)(*word - '0');
    }
    return true;
}

static void release(struct log *log)
{
    if (log->path_hash != 0 && log_lock(log) == 0) {
        log_release_locked(log);
        log_unlock(log);
    }
}

int log_async_end_process(void)
{
    unsigned status;
    if (!is_alone(&status)) {
        return -1;
    }
    log_holds_nothing = true;
    log_visit(release);
    log_async_leave();
    return (int)(status >> 8 & 0xff);
}

void log_async_before_exec(void)
{
    none_before = sys_now(CLOCK_MONOTONIC_COARSE) + SECOND;
    log_async_leave();
}

void log_async_exec_failed(void)
{
    none_before = 0;
}

__attribute__((noinline)) void log_async_end(struct log *log)
{
    if (!guard_foreign_process()) {
        leave(log);
    }
}

static int empty_error;

static void empty(struct log *log)
{
    int error = log->path_hash == 0 ? 0 : log_async_empty(log);
    empty_error = error != 0 ? error : empty_error;
}

int log_async_empty_all(void)
{
    empty_error = 0;
    if (log_async_used) {
        log_visit(empty);
    }
    return empty_error;
}

/*
 * The child does not have the memory. A handler that forked may return into the middle of a record that was being put
 * in there: it must find some, and then put the record in anew.
 */
static void forget(struct log *log)
{
    struct log_async *async = log->async;
    if (async == NULL) {
        return;
    }
    if (async->own.ring.page != NULL) {
        sys_blank(async->own.ring.page, async->own.size);
        ring_forked(&async->own.ring);
    }
    async->open = async->told = false;
    async->removed = true;
    async->drain_at = 0;
    async->due_at = 0;
    async->retry_at = 0;
    async->stuck_since = 0;
    async->waiting = 0;
}

void log_async_forked(void)
{
    log_visit(forget);
    log_async_used = false;
    none_before = 0;
    log_async_thread_forked();
}
