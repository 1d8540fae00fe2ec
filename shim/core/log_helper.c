#include "log_helper.h"

#include "guard.h"
#include "launch.h"
#include "log_async.h"
#include "log_private.h"
#include "policy.h"
#include "sys.h"

#include "../../include/mplogshim.h"

#include <errno.h>
#include <limits.h>
#include <string.h>

/* Where the command is when it is not beside the library. */
#ifndef MPLOGSHIM_HELPER
#define MPLOGSHIM_HELPER "/usr/local/bin/mplogshim"
#endif

enum { SECOND = 1000000000, PAUSE_MOST = 64, RULE_SIZE = 3 * PATH_MAX + 1024, VARIABLE_SIZE = PATH_MAX + 32 };

static struct log_helper_start self;
static bool started;

/* One thread at a time: what is handed over is made in static memory, as signal stacks are small. */
static uint32_t helper_mutex;

/* Names and values of a new process's environment. */
struct environment {
    size_t count;
    char *entries[8];
};
static SYS_SELDOM char rule_text[RULE_SIZE];
static SYS_SELDOM char variables[4][VARIABLE_SIZE];

void log_helper_start(const struct log_helper_start *start)
{
    self = *start;
    started = true;
}

void log_helper_forked(void)
{
    helper_mutex = 0;
    launch_forked();
}

static void set_variable(struct environment *environment, char *room, size_t size, const char *name, const char *value)
{
    diag_format(room, size, "%s=%s", name, value);
    environment->entries[environment->count++] = room;
    environment->entries[environment->count] = NULL;
}

/* What every program that is started from here gets: a search path, and the time zone of this one. */
static void set_common(struct environment *environment)
{
    static SYS_SELDOM char tz[VARIABLE_SIZE];
    static SYS_SELDOM char tzdir[VARIABLE_SIZE];
    static char path[] = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
    environment->count = 0;
    environment->entries[environment->count++] = path;
    environment->entries[environment->count] = NULL;
    if (self.tz != NULL) {
        set_variable(environment, tz, sizeof tz, "TZ", self.tz);
    }
    if (self.tzdir != NULL) {
        set_variable(environment, tzdir, sizeof tzdir, "TZDIR", self.tzdir);
    }
}

/* The helper does not keep the program's stderr open; what fails there, the program tells (LOCKFILE_FAILED). */
static const char *diag_value(void)
{
    switch (self.diag) {
    case DIAG_SYSLOG:
        return "syslog";
    case DIAG_FILE:
        return self.diag_path;
    case DIAG_STDERR:
    case DIAG_OFF:
        break;
    }
    return "off";
}

/*
 * Paths of programs are meant from the root directory that the process began with. In another one, whoever has filled
 * it would choose what is run.
 */
static int launch_from_first_root(const struct launch *request)
{
    return log_has_first_root() ? launch(request) : -EXDEV;
}

/* Starts `mplogshim settle` for the log. 0 or -errno. */
static int start_command(const struct log *log, const char *option)
{
    struct environment environment;
    static const char rule_variable[] = "MPLOGSHIM_LOGS=";
    size_t head = sizeof rule_variable - 1;
    memcpy(rule_text, rule_variable, head);
    int error = policy_rule_text(log->rule, log->path, rule_text + head, sizeof rule_text - head);
    if (error != 0) {
        return error;
    }
    set_common(&environment);
    environment.entries[environment.count++] = rule_text;
    set_variable(&environment, variables[0], sizeof variables[0], "MPLOGSHIM_DIAG", diag_value());
    char *const arguments[] = {"mplogshim", "settle", (char *)(uintptr_t)option, (char *)(uintptr_t)log->path, NULL};
    const struct launch request = {
        .paths = {self.beside, MPLOGSHIM_HELPER},
        .arguments = arguments,
        .environment = environment.entries,
        .descriptors = {log->directory.fd, log->rule->lock_dir != NULL ? log->lock_directory.fd : -1}};
    return launch_from_first_root(&request);
}

/* Starts the program of on_event. */
static int start_program(const struct log *log, const struct log_told *told)
{
    struct environment environment;
    set_common(&environment);
    set_variable(&environment, variables[0], sizeof variables[0], "MPLOGSHIM_EVENT", diag_event_name(told->event));
    set_variable(&environment, variables[1], sizeof variables[1], "MPLOGSHIM_LOG", log->path);
    set_variable(&environment, variables[2], sizeof variables[2], "MPLOGSHIM_ARCHIVE", "");
    set_variable(&environment, variables[3], sizeof variables[3], "MPLOGSHIM_DETAIL", told->detail);
    char *const arguments[] = {(char *)(uintptr_t)log->rule->on_event, NULL};
    const struct launch request = {.paths = {log->rule->on_event},
                                   .arguments = arguments,
                                   .environment = environment.entries,
                                   .descriptors = {-1, -1}};
    return launch_from_first_root(&request);
}

void log_expect_settling(struct log *log, int64_t generation, int64_t delay)
{
    int64_t settled;
    bool known = lockfile_read(&log->lock, LOCKFILE_SETTLED, &settled);
    if (!log->unsettled && generation > 0 && (!known || settled != generation)) {
        log->unsettled = true;
        log->settle_at = sys_now(CLOCK_MONOTONIC_COARSE) + delay;
        log->settle_pause = 0;
    }
}

/* The next look is in a second, and the later the longer nothing comes of it: an archive may be open for days. */
static void look_later(struct log *log)
{
    log->settle_pause = log->settle_pause == 0 ? SECOND : log->settle_pause * 2;
    if (log->settle_pause > (int64_t)PAUSE_MOST * SECOND) {
        log->settle_pause = (int64_t)PAUSE_MOST * SECOND;
    }
    log->settle_at = sys_now(CLOCK_MONOTONIC_COARSE) + log->settle_pause;
}

static void tell_apart(struct log *log, enum log_trouble trouble, const char *step, int error)
{
    if (log_lock(log) == 0) {
        log_failed(log, trouble, step, error);
        log_unlock(log);
    }
}

/* What the helper could not do, it says in the lock file; only this process has the program's stderr. */
static void tell_failure(struct log *log)
{
    int64_t failed;
    if (self.diag == DIAG_STDERR && lockfile_read(&log->lock, LOCKFILE_FAILED, &failed) && failed > 0 &&
        failed < 4096) {
        if (log_lock(log) == 0) {
            uint32_t programs = log->told_count; /* the helper has run the program of on_event */
            log_failed(log, TROUBLE_ARCHIVE, "settle", -(int)failed);
            log->told_count = programs;
            log_unlock(log);
        }
    }
}

static bool is_settled(const struct log *log)
{
    int64_t settled;
    int64_t generation = log->lock.fd < 0 ? -1 : lockfile_generation(&log->lock);
    return generation >= 0 && lockfile_read(&log->lock, LOCKFILE_SETTLED, &settled) && settled == generation;
}

/*
 * The helper reads the generation once more after it has given up its lock, and the generation was advanced before this
 * looks at that lock: no rotation is forgotten between the two.
 */
static void start_helper(struct log *log)
{
    log->unsettled = false; /* before the look: another thread's rotation after it says so again */
    if (is_settled(log)) {
        if (log->trouble[TROUBLE_ARCHIVE] && log_lock(log) == 0) {
            log_succeeded(log, TROUBLE_ARCHIVE);
            log_unlock(log);
        }
        return;
    }
    log->unsettled = true;
    if (log->lock.fd < 0) {
        look_later(log);
        return;
    }
    tell_failure(log);
    if (!lockfile_is_held(&log->lock, MPLOGSHIM_LOCK_HELPER) && !lockfile_is_held(&log->lock, MPLOGSHIM_LOCK_KEEPER)) {
        int error = start_command(log, "--helper");
        if (error != 0 && error != -EBUSY) {
            tell_apart(log, TROUBLE_ARCHIVE, "helper", error);
        }
    }
    look_later(log);
}

/* Takes the first of the events whose programs are to be run. */
static bool take_told(struct log *log, struct log_told *told)
{
    if (log_lock(log) != 0) {
        return false;
    }
    bool any = log->told_count > 0;
    if (any) {
        *told = log->told[0];
        log->told_count--;
        memmove(log->told, log->told + 1, log->told_count * sizeof *told);
    }
    log_unlock(log);
    return any;
}

static void start_programs(struct log *log)
{
    static SYS_SELDOM struct log_told told;
    while (take_told(log, &told)) {
        int error = start_program(log, &told);
        if (error != 0) {
            diag_message("%s cannot be run: %s", log->rule->on_event, diag_errno(error));
        }
    }
}

static bool has_work(const struct log *log)
{
    return started && (log->told_count > 0 || log->sees_rings ||
                       (log->unsettled && sys_now(CLOCK_MONOTONIC_COARSE) >= log->settle_at));
}

static void do_work(struct log *log)
{
    struct sys_signals signals;
    if (log_keeping || guard_foreign_process()) {
        return;
    }
    sys_signals_block(&signals); /* nobody jumps out of it */
    if (guard_mutex_lock(&helper_mutex, 1)) {
        if (log->path_hash != 0 && has_work(log) && !sys_confined) {
            start_programs(log);
            if (atomic_exchange(&log->sees_rings, false)) {
                log_async_look_for_dead(log);
            }
            if (log->unsettled) {
                start_helper(log);
            }
        }
        guard_mutex_unlock(&helper_mutex);
    }
    sys_signals_restore(&signals);
}

__attribute__((noinline)) void log_helper_work(struct log *log)
{
    if (!sys_confined) {
        launch_reap();
        if (has_work(log)) {
            do_work(log);
        }
    }
}

bool log_helper_keep_off(uint64_t timeout_ns)
{
    return guard_mutex_lock(&helper_mutex, timeout_ns);
}

void log_helper_allow(void)
{
    if (guard_mutex_is_mine(&helper_mutex)) {
        guard_mutex_unlock(&helper_mutex);
    }
}

static void call_now(struct log *log)
{
    log->settle_at = 0;
    log_helper_call(log);
}

void log_helper_call_all(void)
{
    log_visit(call_now);
}

/*
 * A log that can become due gets a keeper, unless it has one. Programs that change their user thousands of times a
 * second ask for a look at most once in one.
 */
static void keep(struct log *log)
{
    const struct policy *own = &log->rule->policy;
    int64_t now = sys_now(CLOCK_MONOTONIC_COARSE);
    bool can_become_due = own->max_bytes > 0 || own->period.unit != PERIOD_NONE;
    if (!started || log->path_hash == 0 || log->users == 0 || !can_become_due || log->lock.fd < 0 ||
        now < log->keep_at) {
        return;
    }
    log->keep_at = now + SECOND;
    lockfile_distrust(&log->lock); /* what has it open then may be anybody's */
    if (!lockfile_is_held(&log->lock, MPLOGSHIM_LOCK_KEEPER)) {
        int error = start_command(log, "--keeper");
        if (error != 0) {
            tell_apart(log, TROUBLE_ROTATE, "keeper", error);
        }
    }
}

void log_helper_keep_all(void)
{
    if (guard_mutex_lock(&helper_mutex, SECOND)) {
        log_visit(keep);
        guard_mutex_unlock(&helper_mutex);
    }
}
