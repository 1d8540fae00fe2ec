/*
 * `mplogshim settle`: by hand, or as the helper or keeper that the library starts.
 */
#include "call.h"

#include "event.h"
#include "find.h"
#include "helper.h"
#include "relock.h"
#include "rings.h"
#include "settle.h"

#include "../core/diag.h"
#include "../core/guard.h"
#include "../core/launch.h"
#include "../core/log_private.h"
#include "../core/match.h"
#include "../core/sys.h"

#include "../../include/mplogshim.h"

#include <errno.h>
#include <limits.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { MILLISECOND = 1000000 };
static const int64_t BUSY_PAUSE = 20 * MILLISECOND;
static const int64_t PATIENCE = INT64_C(15000000000); /* an archive is too young to be named for ten seconds at most */

static struct config config;
static struct period_zone local_zone;

static void stop(int number)
{
    (void)number;
    settle_stop();
}

/* The first one ends what is being done; the second one, by default, the process. */
static void set_signals(bool by_hand)
{
    struct sigaction action = {.sa_handler = stop, .sa_flags = (int)SA_RESETHAND};
    sigaction(SIGTERM, &action, NULL);
    if (by_hand) {
        sigaction(SIGINT, &action, NULL);
        sigaction(SIGHUP, &action, NULL);
    } else {
        (void)signal(SIGHUP, SIG_IGN);
    }
    (void)signal(SIGXFSZ, SIG_IGN);
    (void)signal(SIGPIPE, SIG_IGN);
}

static int start(bool by_hand)
{
    char error[CONFIG_ERROR_SIZE];
    char directory[PATH_MAX];
    set_signals(by_hand);
    if (config_load(&config, environ, getcwd(directory, sizeof directory), error) != 0) {
        call_message("%s", error);
        return CALL_FAILED;
    }
    diag_open(config.diag, config.diag_path);
    struct timespec now = {0, 0};
    sys.clock(CLOCK_REALTIME, &now);
    period_zone_local(&local_zone, environ, now.tv_sec);
    log_start(&local_zone, NULL);
    guard_start(log_forked);
    (void)guard_enter(); /* this is all that the process does */
    return CALL_DONE;
}

static void pause_for(int64_t nanoseconds)
{
    const struct timespec pause = {.tv_nsec = nanoseconds};
    sys.sleep(&pause);
}

static const char *waiting_for; /* the log that is being settled */

static void tell_waiting(const char *name)
{
    call_message("%s: %s is open for writing: it stays as it is until it is closed", waiting_for, name);
}

/* A pass under the lock file that is at its place: somebody may have made it anew. */
static int pass(struct settle *settle)
{
    int error = lockfile_is_current(settle->lock) ? 0 : lockfile_open(settle->lock, -1, NULL);
    return error != 0 ? error : settle_pass(settle);
}

/* Lines that were acknowledged and are not in the log: somebody has to look. A call_status. */
static int tell_left(const struct settle *settle)
{
    const struct rings_left *left = &settle->left;
    if (left->count == 0) {
        return CALL_DONE;
    }
    call_message("%s: not written, and left for others: %lld of the buffers of dead processes, the first of them %s of "
                 "user %u",
                 settle->path, (long long)left->count, left->first, (unsigned)left->owner);
    return CALL_FAILED;
}

/* Passes until nothing is left that can be done now. A call_status. */
static int finish_archives(struct settle *settle)
{
    int64_t end = sys_now(CLOCK_MONOTONIC) + PATIENCE;
    int result;
    while ((result = pass(settle)) == SETTLE_BUSY ||
           (result == SETTLE_WAIT && (settle->unnamed || settle->waiting == 0) && sys_now(CLOCK_MONOTONIC) < end)) {
        pause_for(result == SETTLE_BUSY ? BUSY_PAUSE : 5 * BUSY_PAUSE);
    }
    if (result == SETTLE_WAIT && settle->waiting > 0 && !settle->unnamed) {
        settle->waits = tell_waiting;
        waiting_for = settle->path;
        result = pass(settle); /* says which, if they still are */
        if (result >= 0) {
            return CALL_DONE;
        }
    }
    if (result < 0 && (result == -ECANCELED || config.diag != DIAG_STDERR)) {
        call_message("%s: not settled: %s", settle->path, result == -ECANCELED ? "stopped" : diag_errno(result));
    } else if (result == SETTLE_WAIT) {
        call_message("%s: not settled: another process is preparing a rotation, or was killed at it", settle->path);
    }
    return result == SETTLE_DONE ? CALL_DONE : CALL_FAILED;
}

static int finish(struct settle *settle)
{
    int status = finish_archives(settle);
    int left = tell_left(settle);
    return status != CALL_DONE ? status : left;
}

/* Nobody's policy is known, and nothing is done with archives. Buffers need none. A call_status. */
static int finish_buffers(struct settle *settle)
{
    if (lockfile_acquire(settle->lock, MPLOGSHIM_LOCK_SETTLE, settle_patience(settle)) == 0) {
        rings_take_over(settle);
        lockfile_release(settle->lock, MPLOGSHIM_LOCK_SETTLE);
    }
    return tell_left(settle);
}

/*
 * Whose policy holds, and a message if it is nobody's. A record is for those who are attached: with nobody attached,
 * the settings that are given are the newer ones. 0; -ENODATA: nobody's, which was not told; or -errno, which was.
 */
static int choose_policy(struct settle *settle, const struct rule *rule)
{
    if (rule != NULL && !lockfile_has_others(settle->lock)) {
        settle->zone = settle_zone(&rule->policy, &local_zone);
        return 0;
    }
    int error = settle_choose_policy(settle, rule == NULL ? NULL : &rule->policy, &local_zone);
    if (error != 0 && error != -ENODATA) {
        call_message("%s: the lock file cannot be locked: %s", settle->path, diag_errno(error));
    }
    if (error == 0 && settle->timid) {
        call_message("%s: archives are only named: the lock file is another user's or may be written by others, and no "
                     "rule matches",
                     settle->path);
    }
    return error;
}

/* With the lock file open; `anew`: it was made for what is to be settled. A call_status. */
static int settle_under(struct settle *settle, const struct rule *rule, bool anew)
{
    int error = choose_policy(settle, rule);
    if (error != -ENODATA) {
        return error == 0 ? finish(settle) : CALL_FAILED;
    }
    int status = finish_buffers(settle);
    if (anew && !relock_any_pending(settle)) {
        return status;
    }
    call_message("%s: no policy: none is recorded in the lock file, and no rule matches", settle->path);
    return CALL_FAILED;
}

static int settle_open(struct settle *settle, const struct rule *rule, int lock_directory)
{
    static struct lockfile lock;
    int error = log_name_lock(&settle->rule, settle->path, lock.name);
    lock.fd = -1;
    lock.directory = lock_directory;
    settle->lock = &lock;
    error = error != 0 ? error : lockfile_open(&lock, -1, NULL);
    bool anew = error == -ENOENT;
    error = anew ? relock(settle) : error;
    if (error != 0) {
        call_message("%s: %s: %s", settle->path, error == -ENOENT ? "no lock file" : "lock file", diag_errno(error));
        return CALL_FAILED;
    }
    int status = settle_under(settle, rule, anew);
    lockfile_close(&lock);
    return status;
}

/* What holds for a log that no rule matches. */
static const struct rule default_rule = {.policy = {.period = {.unit = PERIOD_NONE, .interval = 1}},
                                         .mode = -1,
                                         .owner = (uid_t)-1,
                                         .group = (gid_t)-1,
                                         .lock_timeout_ns = UINT64_C(5000000000)};

static int open_directory(const char *path, size_t length)
{
    char directory[PATH_MAX];
    if (length >= sizeof directory) {
        return -ENAMETOOLONG;
    }
    memcpy(directory, path, length);
    directory[length] = '\0';
    return sys.openat(AT_FDCWD, length == 0 ? "/" : directory, O_PATH | O_DIRECTORY | O_CLOEXEC, 0);
}

/* By hand: the log at `path`, absolute and real. A call_status. */
static int settle_log(const char *path)
{
    const struct rule *rule = match_log(&config, path);
    const char *base = strrchr(path, '/') + 1;
    int directory = open_directory(path, (size_t)(base - 1 - path));
    if (directory < 0) {
        call_message("%s: %s", path, diag_errno(directory));
        return CALL_FAILED;
    }
    struct settle settle = {
        .path = path, .base = base, .directory = directory, .rule = rule != NULL ? *rule : default_rule};
    const char *lock_path = settle.rule.lock_dir;
    int lock_directory = lock_path == NULL ? directory : open_directory(lock_path, strlen(lock_path));
    int status = CALL_FAILED;
    if (lock_directory < 0) {
        call_message("%s: %s: %s", path, lock_path, diag_errno(lock_directory));
    } else {
        event_start(settle.rule.on_event);
        status = settle_open(&settle, rule, lock_directory);
    }
    if (lock_directory >= 0 && lock_directory != directory) {
        sys.close(lock_directory);
    }
    sys.close(directory);
    return status;
}

/* The real path of a log, in path[PATH_MAX]; its live file may be missing. 0 or -errno. */
static int make_real(const char *log, char *path)
{
    char directory[PATH_MAX];
    if (realpath(log, path) != NULL) {
        return 0;
    }
    const char *slash = strrchr(log, '/');
    const char *base = slash == NULL ? log : slash + 1;
    size_t length = slash == NULL ? 0 : (size_t)(slash + 1 - log);
    if (errno != ENOENT || *base == '\0' || length >= sizeof directory) {
        return errno == ENOENT ? -ENOENT : -errno;
    }
    memcpy(directory, log, length);
    directory[length] = '\0';
    if (realpath(length == 0 ? "." : directory, path) == NULL) {
        return -errno;
    }
    length = strcmp(path, "/") == 0 ? 0 : strlen(path);
    if (length + 1 + strlen(base) >= PATH_MAX) {
        return -ENAMETOOLONG;
    }
    path[length] = '/';
    strcpy(path + length + 1, base);
    return 0;
}

static int settle_named(const char *log)
{
    char path[PATH_MAX];
    int error = make_real(log, path);
    if (error != 0) {
        call_message("%s: %s", log, diag_errno(error));
        return CALL_FAILED;
    }
    return settle_log(path);
}

static void settle_found(const char *path, void *context)
{
    int *status = context;
    if (!settle_is_stopped() && settle_log(path) != CALL_DONE) {
        *status = CALL_FAILED;
    }
}

static int settle_all(void)
{
    int status = CALL_DONE;
    if (config.count == 0) {
        return call_misused(&call_settle, "a log is missing, as there are no rules (MPLOGSHIM_LOGS, MPLOGSHIM_CONFIG)");
    }
    int error = find_logs(&config, settle_found, &status);
    if (error != 0) {
        call_message("not all directories can be searched: %s", diag_errno(error));
        return CALL_FAILED;
    }
    return status;
}

static bool is_directory(int fd)
{
    struct stat status;
    return sys.fstat(fd, &status) == 0 && S_ISDIR(status.st_mode) && sys.fcntl(fd, F_SETFD, FD_CLOEXEC) == 0;
}

/*
 * As the library starts it: the rule for exactly this log is in the environment; its directory, and lock_dir, are open,
 * as their paths may mean nothing where the program is.
 */
static int run_for_library(int (*run)(struct settle *settle), const char *path)
{
    static struct lockfile lock;
    static struct settle settle;
    const struct rule *rule = path[0] == '/' ? match_log(&config, path) : NULL;
    int directory = LAUNCH_FIRST_DESCRIPTOR;
    int lock_directory = rule == NULL || rule->lock_dir == NULL ? directory : directory + 1;
    if (rule == NULL || !is_directory(directory) || !is_directory(lock_directory)) {
        return call_misused(&call_settle, "%s: not started by the library", path);
    }
    lock.fd = -1;
    lock.directory = lock_directory;
    settle = (struct settle){.path = path,
                             .base = strrchr(path, '/') + 1,
                             .directory = directory,
                             .lock = &lock,
                             .rule = *rule,
                             .zone = &local_zone};
    if (log_name_lock(rule, path, lock.name) != 0) {
        return CALL_FAILED;
    }
    event_start(rule->on_event);
    return run(&settle);
}

static int run_settle(int argc, char *const argv[])
{
    int (*internal)(struct settle * settle) = NULL;
    int first = 1;
    if (argc > 1 && strcmp(argv[1], "--helper") == 0) {
        internal = helper_run;
    } else if (argc > 1 && strcmp(argv[1], "--keeper") == 0) {
        internal = keeper_run;
    } else if (argc > 1 && strcmp(argv[1], "--") == 0) {
        first = 2;
    } else if (argc > 1 && argv[1][0] == '-') {
        return call_misused(&call_settle, "no such option: %s", argv[1]);
    }
    if (internal != NULL && argc != 3) {
        return call_misused(&call_settle, "%s is for the library", argv[1]);
    }
    int status = start(internal == NULL);
    if (status != CALL_DONE) {
        return status;
    }
    if (internal != NULL) {
        return run_for_library(internal, argv[2]);
    }
    for (int i = first; i < argc && !settle_is_stopped(); i++) {
        if (settle_named(argv[i]) != CALL_DONE) {
            status = CALL_FAILED;
        }
    }
    status = first < argc ? status : settle_all();
    return settle_is_stopped() ? CALL_FAILED : status;
}

static const char help[] =
    "usage: mplogshim settle [LOG]...\n"
    "\n"
    "Finishes all pending work of logs: writes what killed programs left in buffers (async=1), gives archives their\n"
    "final names, compresses them, and removes those beyond backups, max_age and max_total. Returns when done. Without "
    "LOG: all logs that the configuration in the "
    "environment\n"
    "(MPLOGSHIM_LOGS, MPLOGSHIM_CONFIG) names and that have a lock file.\n"
    "\n"
    "What is kept follows the policy that is recorded in the log's lock file, if that is this user's or root's and\n"
    "nobody else can write it; else the configuration in the environment, which also holds while no program has the\n"
    "log open. With neither, archives are only named.\n"
    "An archive that somebody has open for writing is neither compressed nor removed; a message says which.\n"
    "A buffer that cannot be written, or is a user's whom this one does not trust, is left; a message says so, and "
    "the\n"
    "exit status is 1.\n"
    "\n"
    "Exit status: 0 done, 1 failed, 2 wrong use.\n";

const struct call call_settle = {.name = "settle", .run = run_settle, .help = help};
