/*
 * One log has one policy: the first process to attach records it, those that come while somebody is attached follow.
 */
#include "log_private.h"

#include "policy.h"

static void tell_mismatch(struct log *log, const struct policy *recorded, bool followed)
{
    policy_differences(recorded, &log->rule->policy, log->differences, sizeof log->differences);
    log_tell(log, EVENT_SETTINGS_MISMATCH, "%s: recorded %s", followed ? "follows" : "keeps own", log->differences);
}

/*
 * Whoever is attached has agreed: both happen under the log's lock. A record that nobody attached stands for is of the
 * past, and what is no record at all (a new lock file, noise) is replaced.
 */
void log_agree(struct log *log)
{
    struct policy recorded;
    const struct policy *own = &log->rule->policy;
    log->policy = *own;
    if (log_keeping) {
        return;
    }
    bool others = lockfile_has_others(&log->lock);
    bool has_record = lockfile_read_policy(&log->lock, &recorded);
    bool recorded_own = true;
    bool same = has_record && policy_equal(&recorded, own);
    if (!same && (!others || !has_record)) {
        recorded_own = lockfile_write_policy(&log->lock, own) == 0;
    } else if (!same) {
        bool followed = lockfile_is_trusted(&log->lock);
        if (followed) {
            log->policy = recorded;
        }
        tell_mismatch(log, &recorded, followed);
    }
    log->zone = log_zone(&log->policy);
    log->generation = -1; /* the boundary is to be planned anew */
    lockfile_attach(&log->lock);
    /* Where attaching is not to be had, asking once is enough; a full disk lets the record in later (log_look_again).
     */
    log->lock.attached = true;
    log->unrecorded = !recorded_own;
}
