/*
 * A seccomp filter is installed: from then on every call that the program does not make itself may kill it, so
 * everything is raw for good.
 */
#include "descriptor_private.h"

#include "core/guard.h"
#include "core/log_async.h"

/*
 * What is held is written out, what is left to do outside is started, and no other thread is in the middle of a write:
 * the filter may be meant for all of them. A signal handler that runs meanwhile finds the thread inside. A filter of a
 * child that runs in its parent's memory is no reason for the parent to stop.
 */
void descriptor_before_filter(struct filtering *filtering)
{
    *filtering = (struct filtering){.stops = descriptor_active() && !guard_foreign_process(), .paused = false};
    guard_thread.child_unasked = guard_foreign_memory();
    if (!filtering->stops || guard_inside()) {
        return;
    }
    descriptor_hold_nothing(true);
    descriptor_leave();
    descriptor_settle();
    struct rare rare;
    if (!rare_enter(&rare)) {
        return;
    }
    log_async_stop_thread();
    log_pause();
    sys_confined = true; /* for threads that are on their way: before it can be too late */
    log_resume();
    rare_leave(&rare);
    filtering->paused = guard_enter();
}

/* The filter may forbid everything: no call is made here. */
void descriptor_after_filter(const struct filtering *filtering, bool installed)
{
    if (filtering->stops && installed) {
        descriptor_stop();
    }
    if (filtering->paused) {
        sys_confined = installed;
        guard_leave();
    }
    if (filtering->stops && !installed) {
        descriptor_hold_nothing(false);
    }
}
