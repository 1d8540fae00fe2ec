/*
 * A lock file that was deleted, and what it was for is still there: pending archives, buffers of async=1. For
 * `mplogshim settle`, where no program attaches and makes another.
 */
#ifndef MPLOGSHIM_TOOL_RELOCK_H
#define MPLOGSHIM_TOOL_RELOCK_H

#include "settle.h"

/*
 * Makes settle->lock, which is not open, as a program that opens the log would: with the owner and permissions of the
 * live file, or of what was one. 0; -ENOENT: nothing is left that wants it; or -errno.
 */
int relock(struct settle *settle);

/* Whether archives of the log wait for their names. */
bool relock_any_pending(const struct settle *settle);

#endif
