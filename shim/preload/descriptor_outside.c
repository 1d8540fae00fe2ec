/*
 * What is done for logs outside of the process, as its life makes it necessary: helpers before it ends or becomes
 * another program, keepers before it gives up its privileges.
 */
#include "descriptor_private.h"

#include "core/guard.h"
#include "core/log_async.h"
#include "core/log_helper.h"
#include "core/sys.h"

#include <errno.h>
#include <unistd.h>

SYS_START void descriptor_settle(void)
{
    struct rare rare;
    if (log_is_any() && rare_enter(&rare)) {
        log_helper_call_all();
        rare_leave(&rare);
    }
}

/*
 * A vfork child is its parent's thread in all but the descriptors: rare_enter keeps it out of the tables, but these are
 * only read here. Its thread id must not stay in the parent's memory.
 */
static void keep_in_vfork_child(void)
{
    struct sys_signals signals;
    if (guard_inside()) {
        return; /* vforked by a handler that interrupted the shim */
    }
    uint32_t id = guard_thread.id;
    sys_signals_block(&signals);
    guard_thread.id = 0;
    log_helper_keep_all();
    guard_thread.id = id;
    sys_signals_restore(&signals);
}

void descriptor_stop_thread(void)
{
    struct rare rare;
    int saved = errno;
    if (log_async_used && !descriptor_foreign_memory()) {
        descriptor_leave();
        if (rare_enter(&rare)) {
            log_async_stop_thread();
            rare_leave(&rare);
        }
        descriptor_leave(); /* another thread may have written in between */
    }
    errno = saved;
}

void descriptor_before_exec(void)
{
    struct rare rare;
    descriptor_release_all();
    if (rare_enter(&rare)) {
        log_async_before_exec();
        rare_leave(&rare);
    }
}

void descriptor_keep(void)
{
    struct rare rare;
    if (descriptor_foreign_memory()) {
        keep_in_vfork_child();
        return;
    }
    for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++) {
        descriptor_managed(fd); /* what a shell redirected may not have been looked at yet */
    }
    if (rare_enter(&rare)) {
        log_helper_keep_all();
        rare_leave(&rare);
    }
}
