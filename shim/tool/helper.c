#include "helper.h"

#include "event.h"
#include "priority.h"
#include "watch.h"

#include "../core/diag.h"
#include "../core/sys.h"

#include "../../include/mplogshim.h"

#include <errno.h>

enum { MILLISECOND = 1000000, SHARE = 20 };
static const int64_t ALONE = INT64_C(60000000000); /* so long it waits for somebody when nobody is attached */
static const int64_t COALESCE = 50 * MILLISECOND;  /* every record that crosses a page changes the lock file */
static const int64_t LINGER = 200 * MILLISECOND; /* a new process for each of many rotations costs more than this one */

struct helper {
    struct settle *settle;
    struct policy own;
    const struct period_zone *local;
    struct watch watch;
    int64_t attached_at; /* monotonic: when somebody was last seen attached */
};

int64_t helper_next_pause(int64_t pause, int result)
{
    const int64_t first = (int64_t)(result < 0 ? PAUSE_ERROR_MS : PAUSE_FIRST_MS) * MILLISECOND;
    const int64_t last = (int64_t)PAUSE_LAST_MS * MILLISECOND;
    pause = pause * 2 < first ? first : pause * 2;
    return pause > last ? last : pause;
}

/*
 * Takes the helper's byte of the lock file that is at its place. 0; -EAGAIN: another helper has it, and the work;
 * -ENOENT: there is no lock file (whoever makes a new one starts a helper when it is needed); or -errno.
 */
static int take_place(struct helper *helper)
{
    struct lockfile *lock = helper->settle->lock;
    if (!lockfile_is_current(lock)) {
        int error = lockfile_open(lock, -1, NULL);
        if (error != 0) {
            return error;
        }
    }
    return lockfile_acquire(lock, MPLOGSHIM_LOCK_HELPER, UINT64_MAX);
}

/* The record may have been replaced since the last pass: it is read for each. */
static int pass(struct helper *helper)
{
    struct settle *settle = helper->settle;
    int error = settle_choose_policy(settle, &helper->own, helper->local);
    if (error != 0 && settle->told == 0) {
        event_tell(&settle->limits, EVENT_LOCK_TIMEOUT, settle->path, NULL, "step=policy error=%s", diag_errno(error));
        settle->told = -error;
    }
    int result = settle_pass(settle);
    return result == SETTLE_DONE && settle->timid ? SETTLE_WAIT : result;
}

static bool has_new_work(const struct helper *helper)
{
    struct settle *settle = helper->settle;
    return lockfile_generation(settle->lock) != settle->generation || !lockfile_is_current(settle->lock);
}

/* Until there is new work, or `pause` is over; true if there is. */
static bool wait_for_work(struct helper *helper, int64_t pause)
{
    int64_t now = sys_now(CLOCK_MONOTONIC);
    const int64_t end = now + pause;
    const int64_t coalesce = pause / SHARE > COALESCE ? pause / SHARE : COALESCE;
    watch_file(&helper->watch, helper->settle->lock);
    for (; now < end && !settle_is_stopped(); now = sys_now(CLOCK_MONOTONIC)) {
        if (has_new_work(helper)) {
            return true;
        }
        if (watch_wait(&helper->watch, end - now)) {
            const struct timespec moment = {.tv_nsec = coalesce};
            sys.sleep(&moment);
        }
    }
    return false;
}

/*
 * All is settled, but whoever writes so much that a file is full each moment will rotate again at once. Without
 * watching the lock file, which would cost the writers.
 */
static bool linger(const struct helper *helper)
{
    const struct timespec moment = {.tv_nsec = COALESCE};
    for (int64_t left = LINGER; left > 0 && !settle_is_stopped(); left -= COALESCE) {
        if (has_new_work(helper)) {
            return true;
        }
        if (!lockfile_has_others(helper->settle->lock)) {
            return false;
        }
        sys.sleep(&moment);
    }
    return false;
}

/* Whether it is worth waiting any longer. */
static bool may_wait(struct helper *helper)
{
    int64_t now = sys_now(CLOCK_MONOTONIC);
    if (lockfile_has_others(helper->settle->lock)) {
        helper->attached_at = now;
    }
    return now - helper->attached_at < ALONE;
}

/* With the helper's byte: until all is settled, or it is not worth waiting for the rest. 0 or the last pass's error. */
static int work(struct helper *helper)
{
    int64_t pause = 0;
    for (;;) {
        int result = pass(helper);
        if (result == -ECANCELED || (result == SETTLE_DONE && !linger(helper))) {
            return 0;
        }
        if (result == SETTLE_DONE) {
            pause = 0;
        } else if (!may_wait(helper)) {
            return result < 0 ? result : 0;
        } else {
            pause = helper_next_pause(pause, result);
            pause = wait_for_work(helper, pause) ? 0 : pause;
        }
        if (!lockfile_is_current(helper->settle->lock)) {
            int error = take_place(helper);
            if (error != 0) {
                return error;
            }
        }
    }
}

/* Nobody is left without a helper: whoever rotates looks at the helper's byte afterwards, and the helper at the
 * generation after it has given the byte up. */
int helper_run(struct settle *settle)
{
    struct helper helper = {
        .settle = settle, .own = settle->rule.policy, .local = settle->zone, .attached_at = sys_now(CLOCK_MONOTONIC)};
    settle->may_believe = true;
    priority_lower();
    int error;
    do {
        error = take_place(&helper);
        if (error == 0) {
            error = work(&helper);
            lockfile_release(settle->lock, MPLOGSHIM_LOCK_HELPER);
        }
    } while (error == 0 && !settle_is_stopped() && has_new_work(&helper));
    return error == 0 || error == -EAGAIN || error == -ENOENT ? 0 : 1;
}
