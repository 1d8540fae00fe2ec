/*
 * Settling one log: numbering, compression, retention, repair. In the helper, the keeper and `mplogshim settle`.
 *
 * The log's lock is taken for a moment only, the settle lock while there is work. One process is one log at a time
 * (POSIX locks are the process's).
 */
#ifndef MPLOGSHIM_TOOL_SETTLE_H
#define MPLOGSHIM_TOOL_SETTLE_H

#include "../core/config.h"
#include "../core/lockfile.h"

/* Buffers of dead processes, and one of them. */
struct rings_left {
    int64_t count;
    uid_t owner;
    char first[NAME_SIZE];
};

struct settle {
    const char *path;      /* of the log, absolute */
    const char *base;      /* its name within the directory: the end of `path` */
    int directory;         /* open on the log's directory */
    struct lockfile *lock; /* open; the keeper's is that of its struct log */
    struct rule rule;      /* the process's own; rule.policy: the one that holds */
    const struct period_zone *zone;
    bool timid;                      /* nobody's policy is known: names only, nothing is compressed or removed */
    bool may_believe;                /* errno in the lock file says what was told before; a keeper's may be noise */
    int told;                        /* the failure that this process has told, 0 since all went well */
    int64_t generation;              /* of the last pass */
    bool unnamed;                    /* the last pass left archives without their names: their elders come first */
    int64_t waiting;                 /* archives that the last pass left to somebody who has them open for writing */
    struct rings_left left;          /* by the last pass */
    void (*between)(void *context);  /* what else is to be done while an archive is compressed, or NULL */
    void (*waits)(const char *name); /* hears of each archive that somebody has open for writing, or NULL */
    void *context;                   /* for `between` */
    struct diag_limits limits;
};

/*
 * One pass. SETTLE_DONE: all is settled; SETTLE_WAIT: something is left that has to wait for somebody (an archive that
 * is still open for writing), look again later; SETTLE_BUSY: another process holds the settle lock; or -errno, which
 * was told (but -ECANCELED: see settle_stop).
 */
enum settle_result { SETTLE_DONE, SETTLE_WAIT, SETTLE_BUSY };
int settle_pass(struct settle *settle);

/*
 * Which policy holds, by the trust rules of SPEC section 1: the record, or the process's own (`own`, NULL if it has
 * none). Sets rule.policy, timid and zone (`local`, or UTC by the policy). -ETIMEDOUT: the record could not be read
 * under the log's lock, and nothing is done beyond names until it can; -ENODATA: there is neither; nothing is changed.
 */
int settle_choose_policy(struct settle *settle, const struct policy *own, const struct period_zone *local);

/* The zone that a policy's names are in. */
const struct period_zone *settle_zone(const struct policy *policy, const struct period_zone *local);

/* How long to wait for the log's lock: a rule's "for ever" is not for a process that nobody looks after. */
uint64_t settle_patience(const struct settle *settle);

/* From now on the process ends soon: passes end with -ECANCELED as soon as they can. For signal handlers. */
void settle_stop(void);
bool settle_is_stopped(void);

#endif
