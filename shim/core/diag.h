/*
 * The shim's own messages: one line each, to where MPLOGSHIM_DIAG says, without malloc or stdio.
 *
 * Safe in signal handlers and threads. A message that cannot be written at once (a full pipe, a closed stderr) is
 * dropped: the program comes first.
 */
#ifndef MPLOGSHIM_DIAG_H
#define MPLOGSHIM_DIAG_H

#include <stdbool.h>
#include <stdint.h>

enum diag_target { DIAG_STDERR, DIAG_SYSLOG, DIAG_OFF, DIAG_FILE };

/* Where messages go from now on. `path` (DIAG_FILE only, absolute) must stay valid. Not thread-safe: at start only. */
void diag_open(enum diag_target target, const char *path);

/*
 * Descriptor 2 was just made the program's stderr, or moved to another file by the shim; nothing is written to the
 * number when it has become something else since.
 */
void diag_stderr_is(void);

/* Writes "mplogshim: " and the formatted text as one line of at most 1,023 bytes. Only %s, %d, %u, %lld, %llu, %o, %c,
 * %%. */
void diag_message(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* Whether something that may come again and again is to be told now: true at most once a second for each *last. */
bool diag_is_due(_Atomic int64_t *last);

/* The events of the contract (section 7). */
enum event {
    EVENT_ROTATED,
    EVENT_ROTATE_FAILED,
    EVENT_ROTATE_RECOVERED,
    EVENT_LOCK_TIMEOUT,
    EVENT_LOCK_RECOVERED,
    EVENT_WRITE_FAILED,
    EVENT_SETTINGS_MISMATCH,
    EVENT_ARCHIVE_FAILED,
    EVENT_COUNT
};

/* "rotated", "rotate_failed", ... */
const char *diag_event_name(enum event event);

/* Rate limiting state of one log: zero it once; one for each log. */
struct diag_limits {
    int64_t last_second[EVENT_COUNT];
    uint32_t left_out[EVENT_COUNT];
};

/*
 * Reports an event of a log: "mplogshim: lock_timeout log=/var/log/app.log DETAIL", at most one a second for each kind
 * and log, the next one with " left_out=N". EVENT_ROTATED is silent here. Returns whether it was within the limits, and
 * so told.
 */
bool diag_event(struct diag_limits *limits, enum event event, const char *log, const char *format, ...)
    __attribute__((format(printf, 4, 5)));

/* snprintf for the conversions above: always terminated; returns the length that was written, without the NUL. */
#include <stdarg.h>
#include <stddef.h>
size_t diag_format(char *buffer, size_t size, const char *format, ...) __attribute__((format(printf, 3, 4)));
size_t diag_vformat(char *buffer, size_t size, const char *format, va_list arguments)
    __attribute__((format(printf, 3, 0)));

/* "EACCES", "ENOSPC", ...: the name of an errno value, or "errno N" for one without a name here (static buffer per
 * thread is not needed: the text is constant). */
const char *diag_errno(int error);

#endif
