/*
 * The helper, the keeper and programs for events: what a log has done outside of the process (SPEC section 3 and 7).
 *
 * Everything here runs with no lock of the log held, inside the guard.
 */
#ifndef MPLOGSHIM_LOG_HELPER_H
#define MPLOGSHIM_LOG_HELPER_H

#include "launch.h"
#include "log.h"

/*
 * Once at start: where the command is (`beside`: absolute path next to the library, or NULL), the zone's variables and
 * the target of messages for its environment. Strings must stay valid. Until then nothing is started.
 */
struct log_helper_start {
    const char *beside;
    const char *tz;    /* value of TZ, or NULL */
    const char *tzdir; /* of TZDIR, or NULL */
    enum diag_target diag;
    const char *diag_path;
};
void log_helper_start(const struct log_helper_start *start);

/*
 * After a write, with no lock held: starts the helper if there is work for it and none runs, and what events want. Four
 * loads for most writes.
 */
void log_helper_work(struct log *log);
static inline void log_helper_call(struct log *log)
{
    bool any = log->told_count > 0 || log->sees_rings || log->unsettled ||
               atomic_load_explicit(&launch_stays, memory_order_relaxed);
    if (__builtin_expect(any, 0)) {
        log_helper_work(log);
    }
}

/* While a log is closed: nobody starts anything for it. False: somebody is doing so, for that long. */
bool log_helper_keep_off(uint64_t timeout_ns);
void log_helper_allow(void);

/* At exit and before exec: the same for all logs of this process. */
void log_helper_call_all(void);

/*
 * The process is about to give up the privileges with which it could rotate: every log of this process that it has open
 * and that can become due gets a keeper, unless it has one. Also in a vfork child.
 */
void log_helper_keep_all(void);

#endif
