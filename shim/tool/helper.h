/*
 * The helper and the keeper: processes of their own for one log, started by the library (log_helper.h).
 */
#ifndef MPLOGSHIM_TOOL_HELPER_H
#define MPLOGSHIM_TOOL_HELPER_H

#include "settle.h"

/*
 * Settles until nothing is left to do, or there is a helper already. settle->lock is not open yet; the process's own
 * policy is that of settle->rule, settle->zone the local one. Exit status.
 */
int helper_run(struct settle *settle);

/*
 * Rotates and settles by its own rule until nobody is attached any more, or there is a keeper already. settle->lock is
 * set by it. Exit status.
 */
int keeper_run(struct settle *settle);

/* How long to wait before the next pass, in nanoseconds: longer each time that nothing comes of it. */
enum { PAUSE_FIRST_MS = 100, PAUSE_ERROR_MS = 1000, PAUSE_LAST_MS = 10000 };
int64_t helper_next_pause(int64_t pause, int result);

#endif
