/*
 * Events of the helper's and keeper's own: to MPLOGSHIM_DIAG and to the program of on_event.
 */
#ifndef MPLOGSHIM_TOOL_EVENT_H
#define MPLOGSHIM_TOOL_EVENT_H

#include "../core/diag.h"

/*
 * Once: the program of on_event, or NULL. At most EVENT_PROGRAMS run at a time; one more waits for the first to end,
 * but not for ever: then it is left out, which a message says. A process that ends does not wait for them.
 */
enum { EVENT_PROGRAMS = 64 };
void event_start(const char *program);

/* For the keeper, which has to rotate: nothing waits for a program any more. */
void event_be_impatient(void);

/* Tells an event of the log at `path`. `archive` is its path or NULL. `rotated` is silent in MPLOGSHIM_DIAG. */
void event_tell(struct diag_limits *limits, enum event event, const char *path, const char *archive, const char *format,
                ...) __attribute__((format(printf, 5, 6)));

/* Only runs the program, if there is one: for an event that was told. */
void event_run(enum event event, const char *path, const char *archive, const char *detail);

#endif
