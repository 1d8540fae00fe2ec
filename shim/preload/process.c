#include "process.h"

#include "descriptor_private.h"
#include "real.h"
#include "stdio.h"

#include "core/config.h"
#include "core/diag.h"
#include "core/guard.h"
#include "core/log.h"

#include <limits.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/auxv.h>
#include <unistd.h>

static struct config config;
static struct period_zone local_zone;

/* A fork child: nothing is locked, and what was held was written out by the parent, or is still the parent's. */
static void forked(void)
{
    descriptor_forked();
    log_forked();
}

/*
 * Over the fork the registry is locked, so that it is in one piece in the child, and the thread stays inside: a signal
 * handler that runs in between makes its calls raw instead of waiting for that lock.
 */
static __thread bool inside_fork;
static __thread bool registry_locked;

static void before_fork(void)
{
    descriptor_release_all();
    inside_fork = descriptor_active() && guard_enter();
    registry_locked = inside_fork && log_fork_prepare();
}

static void after_fork_in_parent(void)
{
    if (registry_locked) {
        registry_locked = false;
        log_fork_done();
    }
    if (inside_fork) {
        inside_fork = false;
        guard_leave();
    }
}

static void after_fork_in_child(void)
{
    if (descriptor_active()) {
        guard_forked();
    }
    registry_locked = false; /* guard_forked has reset it */
    if (inside_fork) {
        inside_fork = false;
        guard_leave();
    }
}

static int start_logs(char *const environment[])
{
    if (config.needs_zone) {
        struct timespec now;
        sys.clock(CLOCK_REALTIME, &now);
        period_zone_local(&local_zone, environment, now.tv_sec);
    } else {
        period_zone_utc(&local_zone);
    }
    log_start(&local_zone);
    guard_start(forked);
    return descriptor_start(&config);
}

static void write_out_at_quick_exit(void)
{
    descriptor_finish();
}

/*
 * At exit, after the handlers and destructors of everybody else, which were registered later; also when a constructor
 * exits. libc flushes its streams once more after this, and then nothing is held.
 */
static void finish(void *unused)
{
    (void)unused;
    if (descriptor_active()) {
        stdio_finish();
        descriptor_finish();
    }
}

/* atexit's own: without a library to belong to, the handler runs when the process exits and not before. */
int __cxa_atexit(void (*function)(void *), void *argument, void *library);

/*
 * Runs before every other constructor (-z initfirst), so that libstdc++ finds the streams that stand in for stdout
 * and stderr. That early environ is not set: the third argument is the environment.
 */
__attribute__((constructor)) static void start(int argc, char **argv, char **environment)
{
    (void)argc;
    (void)argv;
    char error[CONFIG_ERROR_SIZE];
    char directory[PATH_MAX];
    real_resolve();
    if (getauxval(AT_SECURE) != 0) {
        return;
    }
    int failed = config_load(&config, environment, getcwd(directory, sizeof directory), error);
    diag_open(config.diag, config.diag_path);
    if (failed != 0) {
        diag_message("%s", error);
        if (config.strict) {
            real._exit(127);
        }
        return;
    }
    if (config.count == 0) {
        return;
    }
    if (start_logs(environment) != 0) {
        diag_message("not enough memory: no log is managed");
        return;
    }
    pthread_atfork(before_fork, after_fork_in_parent, after_fork_in_child);
    __cxa_atexit(finish, NULL, NULL);
    at_quick_exit(write_out_at_quick_exit);
    stdio_start();
    sys_started();
}
