/*
 * The keeper's side of borrow.h: lends the live file to processes that show a writable descriptor of the log's history.
 */
#ifndef MPLOGSHIM_TOOL_LEND_H
#define MPLOGSHIM_TOOL_LEND_H

#include "settle.h"

/*
 * Starts a thread that answers from now on, on a socket whose number is recorded in the lock file, because the keeper
 * may be waiting for the log's lock while whoever holds it waits for a descriptor; it has descriptors
 * of its own. 0 or -errno. The names in `settle` must stay valid; call lend_record again now and then: the lock file
 * may be another one, and anybody may write to it.
 */
int lend_start(const struct settle *settle);
void lend_record(const struct settle *settle);

#endif
