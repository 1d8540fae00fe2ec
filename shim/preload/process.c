#include "process.h"

#include "descriptor_private.h"
#include "real.h"
#include "stdio.h"

#include "core/config.h"
#include "core/diag.h"
#include "core/guard.h"
#include "core/launch.h"
#include "core/log.h"
#include "core/log_async.h"
#include "core/log_helper.h"
#include "core/sys.h"

#include <limits.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <unistd.h>

static struct config config;

/* TZ and TZDIR as they were at the start, "NAME=value" or NULL, for a zone that is needed later and for the helper. */
enum { VARIABLE_SIZE = 1024 };
static char *tz;
static char *tzdir;

/* A fork child: nothing is locked, and what was held was written out by the parent, or is still the parent's. */
static void forked(void)
{
    descriptor_forked();
    log_forked();
}

/*
 * Over the fork the registry is locked, so that it is in one piece in the child, and the thread stays inside: a signal
 * handler that runs in between makes its calls raw instead of waiting for that lock. If it forks as well, it is the
 * first fork that ends all that: the handlers of both count.
 */
static __thread int fork_depth;
static __thread bool inside_fork;

static void end_fork(void)
{
    log_fork_done();
    guard_thread.abandon = NULL;
    inside_fork = false;
    guard_leave();
}

/* A signal handler jumps out of the fork, or ends the thread in it. */
static void abandon_fork(void *unused)
{
    (void)unused;
    log_fork_done();
    inside_fork = false;
    fork_depth = 0;
}

static void begin_fork(void)
{
    inside_fork = descriptor_active() && guard_enter();
    if (inside_fork) {
        guard_thread.abandon = abandon_fork;
        log_fork_prepare();
        log_share_locks(false);
    }
}

static void before_fork(void)
{
    descriptor_empty_all();
    /*
     * A keeper that a child started would become this process's own child when that child has ended, and be seen by its
     * wait, for as long as this process is attached: where orphans come here, it is started before the child is.
     */
    if (descriptor_active() && !guard_inside() && launch_before_fork() && geteuid() == 0) {
        descriptor_keep();
    }
    if (++fork_depth == 1) {
        begin_fork();
    }
}

/* The depth goes down last: a fork in between must not begin what is being ended. */
static void after_fork_in_parent(void)
{
    if (fork_depth == 1 && inside_fork) {
        end_fork();
    }
    fork_depth--;
}

static void after_fork_in_child(void)
{
    if (descriptor_active()) {
        guard_forked(); /* no lock is held any more */
    }
    after_fork_in_parent();
}

/* A value of the environment, or NULL. Keeps "name=value" in *copy; what is too long for a path is kept as empty. */
static const char *copy_variable(char **copy, const char *name, char *const environment[])
{
    size_t length = strlen(name);
    for (size_t i = 0; environment[i] != NULL; i++) {
        if (strncmp(environment[i], name, length) == 0 && environment[i][length] == '=') {
            size_t size = strlen(environment[i]) + 1;
            bool fits = size <= VARIABLE_SIZE;
            size = fits ? size : length + 2;
            *copy = sys_keep(size);
            if (*copy == NULL) {
                return NULL;
            }
            diag_format(*copy, size, "%s=%s", name, fits ? environment[i] + length + 1 : "");
            return *copy + length + 1;
        }
    }
    return NULL;
}

static SYS_START void read_zone(struct period_zone *zone)
{
    char *environment[3] = {NULL, NULL, NULL};
    char **next = environment;
    if (tz != NULL) {
        *next++ = tz;
    }
    if (tzdir != NULL) {
        *next = tzdir;
    }
    struct timespec now = {0, 0};
    sys.clock(CLOCK_REALTIME, &now);
    period_zone_local(zone, environment, now.tv_sec);
}

/* Later: made aside and put in place by its count, which says that it is there. */
static void load_zone(struct period_zone *zone)
{
    static SYS_SELDOM struct period_zone made;
    read_zone(&made);
    memcpy(zone->from, made.from, sizeof zone->from);
    memcpy(zone->offset, made.offset, sizeof zone->offset);
    __atomic_store_n(&zone->count, made.count, __ATOMIC_RELEASE);
}

/* The table of the local zone: read now, while its file can still be read, if a rule needs it; else it is empty. */
static struct period_zone *start_zone(void)
{
    static SYS_SELDOM struct period_zone later;
    struct period_zone *zone = config.needs_zone ? sys_keep(sizeof *zone) : NULL;
    if (zone == NULL) {
        return &later;
    }
    read_zone(zone);
    return zone;
}

/* "mplogshim" in the library's directory, or NULL. `directory`: the one that relative names are from, or NULL. */
static const char *find_command(const char *directory)
{
    const char *library = real_library_path();
    const char *slash = library == NULL ? NULL : strrchr(library, '/');
    if (slash == NULL || (library[0] != '/' && directory == NULL)) {
        return NULL;
    }
    size_t from = library[0] == '/' ? 0 : strlen(directory) + 1;
    size_t length = (size_t)(slash + 1 - library);
    static const char name[] = "mplogshim";
    char *command = from + length + sizeof name > PATH_MAX ? NULL : sys_keep(from + length + sizeof name);
    if (command == NULL) {
        return NULL;
    }
    if (from > 0) {
        diag_format(command, from + 1, "%s/", directory);
    }
    memcpy(command + from, library, length);
    memcpy(command + from + length, name, sizeof name);
    return command;
}

/* ThreadSanitizer's functions, which stand before libc's, crash before it has started, and it would start after this.
 */
__attribute__((weak)) void __tsan_init(void);

/* The thread of async=1 (thread.h) can only call what needs no thread of libc's. */
static const char *why_no_thread(void)
{
    size_t i = 0;
    while (i < config.count && !config.rules[i].async) {
        i++;
    }
    if (i == config.count) {
        return NULL; /* nobody asks */
    }
    if (__tsan_init != NULL) {
        return "ThreadSanitizer does not know it";
    }
    return real_has_libc_clock() ? NULL : "another library has clock_gettime";
}

static void start_logs(char *const environment[], const char *directory)
{
    const struct log_helper_start helper = {
        .beside = find_command(directory),
        .tz = copy_variable(&tz, "TZ", environment),
        .tzdir = copy_variable(&tzdir, "TZDIR", environment),
        .diag = config.diag,
        .diag_path = config.diag_path,
    };
    log_start(start_zone(), load_zone);
    log_async_refused = why_no_thread();
    log_helper_start(&helper);
    guard_start(forked);
    descriptor_start(&config);
}

static void write_out_at_quick_exit(void *unused)
{
    (void)unused;
    descriptor_finish();
}

/*
 * At exit, after the handlers and destructors of everybody else, which were registered later; also when a constructor
 * exits. libc flushes its streams once more after this, and then nothing is held.
 */
static SYS_START void finish(void *unused)
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
 * What musl's programs have no such functions for is linked weakly, or they would not even start. The same two as
 * pthread_atfork and at_quick_exit call.
 */
__attribute__((weak)) int __register_atfork(void (*prepare)(void), void (*parent)(void), void (*child)(void),
                                            void *library);
__attribute__((weak)) int __cxa_at_quick_exit(void (*function)(void *), void *library);

/* The starting directory, or NULL if it has no path. */
static const char *keep_directory(void)
{
    char *directory = sys_keep(PATH_MAX);
    const char *known = directory == NULL ? NULL : sys_working_directory(directory, PATH_MAX);
    sys_keep_until(known == NULL ? directory : directory + strlen(directory) + 1);
    return known;
}

/*
 * Runs before every other constructor (-z initfirst), so that libstdc++ finds the streams that stand in for stdout
 * and stderr. That early environ is not set: the third argument is the environment.
 */
__attribute__((constructor)) static void start(int argc, char **argv, char **environment)
{
    (void)argc;
    (void)argv;
    char error[CONFIG_ERROR_SIZE];
    if (!real_is_glibc()) {
        return; /* musl passes none of the arguments */
    }
    if (__tsan_init != NULL) {
        __tsan_init();
    }
    real_start();
    launch_clone = libc.clone;
    if (getauxval(AT_SECURE) != 0 || !real_is_reached()) {
        return;
    }
    const char *here = keep_directory();
    int failed = config_load(&config, environment, here, error);
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
    start_logs(environment, here);
    __register_atfork(before_fork, after_fork_in_parent, after_fork_in_child, NULL);
    __cxa_atexit(finish, NULL, NULL);
    __cxa_at_quick_exit(write_out_at_quick_exit, NULL);
    stdio_start();
    sys_started();
}
