/*
 * The logs and writers of this process: found by path, kept for reuse.
 */
#include "log_private.h"

#include "guard.h"
#include "log_async.h"
#include "log_helper.h"
#include "log_lockless.h"
#include "own.h"
#include "sys.h"

#include "../../include/mplogshim.h"

#include <errno.h>
#include <string.h>

enum { LOG_MAX = 1024, WRITER_MAX = 65536, WRITERS_A_PAGE = 32, IDLE_MAX = 16, SECOND = 1000000000 };

static uint32_t registry_mutex;
static SYS_SELDOM struct log *logs[LOG_MAX]; /* each in reserved memory of its own, made when needed and kept */
static _Atomic size_t log_count;             /* some go through them without the mutex */
static SYS_SELDOM struct writer *writer_pages[WRITER_MAX / WRITERS_A_PAGE];
static _Atomic size_t writer_count;
static struct writer *free_writers;
static uint64_t use_clock;
static uint64_t open_count;
static SYS_SELDOM struct period_zone utc_zone; /* made with the first log */
static struct period_zone *local_zone;
static void (*load_zone)(struct period_zone *zone);
static bool zone_loaded;
static uint32_t zone_mutex;

void log_start(struct period_zone *zone, void (*load)(struct period_zone *zone))
{
    local_zone = zone;
    load_zone = load;
    zone_loaded = false;
    log_note_root();
}

/* A policy that another process recorded may be the first to need local time. Without a clock boundary nothing does. */
const struct period_zone *log_zone(const struct policy *policy)
{
    if (policy->utc || policy->period.unit == PERIOD_NONE) {
        return &utc_zone;
    }
    if (!__atomic_load_n(&zone_loaded, __ATOMIC_ACQUIRE) && guard_mutex_lock(&zone_mutex, SECOND)) {
        if (!zone_loaded) {
            if (local_zone->count == 0) {
                load_zone(local_zone);
            }
            __atomic_store_n(&zone_loaded, true, __ATOMIC_RELEASE);
        }
        guard_mutex_unlock(&zone_mutex);
    }
    return zone_loaded ? local_zone : &utc_zone;
}

bool log_is_any(void)
{
    return log_count > 0;
}

static struct writer *writer_at(size_t index)
{
    return &writer_pages[index / WRITERS_A_PAGE][index % WRITERS_A_PAGE];
}

/* FNV-1a (Fowler, Noll, Vo), 64 bits. */
static uint64_t hash_path(const char *path)
{
    uint64_t hash = 0xcbf29ce484222325u;
    for (; *path != '\0'; path++) {
        hash = (hash ^ (unsigned char)*path) * 0x100000001b3u;
    }
    return hash;
}

static void close_log(struct log *log)
{
    lockfile_close(&log->lock);
    log_close_directories(log);
    log->path_hash = 0;
}

/* Idle logs keep their descriptors, for programs that open and close their log for each line; but only so many. */
static void close_idle(void)
{
    size_t idle = 0;
    struct log *oldest = NULL;
    for (size_t i = 0; i < log_count; i++) {
        if (logs[i]->path_hash == 0 || logs[i]->users > 0) {
            continue;
        }
        idle++;
        if (oldest == NULL || logs[i]->last_used < oldest->last_used) {
            oldest = logs[i];
        }
    }
    if (idle > IDLE_MAX) {
        log_helper_call(oldest);
        log_async_end(oldest);
        if (log_helper_keep_off(1)) { /* else another time */
            close_log(oldest);
            log_helper_allow();
        }
    }
}

/* The log of the file that was opened by this path: there may be two, of which one lies outside of the root by now. */
static struct log *find(const char *path, uint64_t hash, const struct stat *status)
{
    for (size_t i = 0; i < log_count; i++) {
        if (logs[i]->path_hash == hash && strcmp(logs[i]->path, path) == 0 && !log_is_elsewhere(logs[i], status)) {
            return logs[i];
        }
    }
    return NULL;
}

static struct log *unused(void)
{
    for (size_t i = 0; i < log_count; i++) {
        if (logs[i]->path_hash == 0) {
            return logs[i];
        }
    }
    if (log_count < LOG_MAX) {
        logs[log_count] = sys_reserve(sizeof(struct log));
    }
    return log_count < LOG_MAX && logs[log_count] != NULL ? logs[log_count++] : NULL;
}

/*
 * Attaches at the open if nobody holds the lock just now, so that a keeper knows of processes that never write; else
 * the first write does. Nobody else knows this log yet.
 */
static void agree_at_once(struct log *log)
{
    if (lockfile_acquire(&log->lock, MPLOGSHIM_LOCK_WRITE, UINT64_MAX) == 0) {
        log->locked = true;
        log_agree(log);
        log_unlock_file(log);
    }
}

static struct log *open_log(const char *path, uint64_t hash, const struct rule *rule, int fd, const struct stat *status)
{
    size_t length = strlen(path);
    const char *base = strrchr(path, '/');
    struct log *log = length < sizeof log->path && base != NULL ? unused() : NULL;
    if (log == NULL) {
        static _Atomic int64_t said;
        if (diag_is_due(&said)) {
            diag_message("%s is not managed: too many logs are open", path);
        }
        return NULL;
    }
    struct iovec *scratch = log->scratch;
    struct log_async *async = log->async;
    memset(log, 0, offsetof(struct log, path));
    memcpy(log->path, path, length + 1);
    log->base = log->path + (base - path) + 1;
    size_t directory_length = base == path ? 1 : (size_t)(base - path); /* the root has its slash */
    memcpy(log->directory_path, path, directory_length);
    log->directory_path[directory_length] = '\0';
    if (utc_zone.count == 0) {
        period_zone_utc(&utc_zone);
        sys_find_clock();
    }
    log->rule = rule;
    log->hold = rule->lines == LINES_OFF ? HOLD_NONE : rule->lines == LINES_STRICT ? HOLD_UNFINISHED : HOLD_REST;
    log->policy = rule->policy;
    log->zone = log_zone(&rule->policy);
    log->scratch = scratch;
    log->async = async;
    log_async_open(log);
    log->directory.fd = log->lock_directory.fd = log->lock.fd = -1;
    log->generation = log->proved = -1;
    log->path_hash = hash;
    lockless_start(log, fd);
    int error = log_open_directories(log);
    error = error != 0 ? error : log_open_lock(log, fd, status);
    if (error != 0) {
        log_failed(log, TROUBLE_LOCK, "open", error);
        return log;
    }
    agree_at_once(log);
    log_expect_settling(log, lockfile_generation(&log->lock), 0);
    return log;
}

static struct writer *take_writer(void)
{
    struct writer *writer = free_writers;
    if (writer != NULL) {
        free_writers = writer->next;
    } else if (writer_count < WRITER_MAX) {
        struct writer **page = &writer_pages[writer_count / WRITERS_A_PAGE];
        if (*page == NULL) {
            *page = sys_reserve(WRITERS_A_PAGE * sizeof **page);
        }
        writer = *page == NULL ? NULL : writer_at(writer_count++);
    }
    return writer;
}

/*
 * Under the registry's mutex. Joining a log waits for nobody: a log whose lock is stuck must not hold up the others.
 * Leaving one, and going through its writers, is under its own mutex.
 */
static struct writer *add_writer(struct log *log, const struct writer *kind)
{
    struct writer *writer = take_writer();
    if (writer != NULL) {
        char *tail = writer->tail;
        *writer = *kind;
        writer->tail = tail;
        writer_set_held(writer, 0);
        writer->log = log;
        writer->next = __atomic_load_n(&log->writers, __ATOMIC_RELAXED);
        while (!__atomic_compare_exchange_n(&log->writers, &writer->next, writer, false, __ATOMIC_RELEASE,
                                            __ATOMIC_RELAXED)) {
        }
        log->users++;
        log->last_used = ++use_clock;
    }
    return writer;
}

/* Under the log's mutex; others may join at the head meanwhile. */
static void unlink_writer(struct log *log, struct writer *writer)
{
    struct writer *first = writer;
    if (__atomic_compare_exchange_n(&log->writers, &first, writer->next, false, __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE)) {
        return;
    }
    while (first != NULL && first->next != writer) {
        first = first->next;
    }
    if (first != NULL) {
        first->next = writer->next;
    }
}

struct writer *log_attach(const char *path, const struct rule *rule, int fd, int flags, bool inherited,
                          const struct stat *status)
{
    uint64_t hash = hash_path(path);
    guard_mutex_lock(&registry_mutex, 0);
    struct log *log = find(path, hash, status);
    bool is_new = log == NULL;
    if (is_new) {
        log = open_log(path, hash, rule, fd, status);
    }
    /*
     * An inherited descriptor may have its O_APPEND from the shim in another process, so that nobody here asked for it;
     * and which of them are duplicates (2>&1) is not known: they count as one, but those that synchronise and others.
     */
    const uint64_t inherited_group = (uint64_t)(flags & (O_SYNC | O_DSYNC)) << 32; /* no open's number */
    const struct writer kind = {.fd = fd,
                                .access = flags & O_ACCMODE,
                                .group = inherited ? inherited_group : ++open_count,
                                .appends = (flags & O_APPEND) != 0 && !inherited,
                                .shows_append = (flags & O_APPEND) != 0,
                                .synchronous = (flags & (O_SYNC | O_DSYNC)) != 0,
                                .device = status->st_dev,
                                .inode = status->st_ino,
                                .generation = -1,
                                .inherited = -1};
    struct writer *writer = log == NULL ? NULL : add_writer(log, &kind);
    guard_mutex_unlock(&registry_mutex);
    if (is_new && writer != NULL && !log_keeping && (log->async != NULL || log_async_any_left(log))) {
        log_async_take_over(log);
    }
    return writer;
}

/* Which file the other one is may change meanwhile, by a rotation in another thread: the copy proves itself. */
struct writer *log_attach_duplicate(const struct writer *from, int fd)
{
    struct stat status;
    struct writer *writer = NULL;
    if (sys.fstat(fd, &status) != 0) {
        return NULL;
    }
    guard_mutex_lock(&registry_mutex, 0);
    const struct writer kind = {.fd = fd,
                                .access = from->access,
                                .group = from->group,
                                .appends = from->appends,
                                .shows_append = from->shows_append,
                                .synchronous = from->synchronous,
                                .device = status.st_dev,
                                .inode = status.st_ino,
                                .generation = -1,
                                .inherited = -1,
                                .midline = __atomic_load_n(&from->midline, __ATOMIC_RELAXED)};
    struct log *log = __atomic_load_n(&from->log, __ATOMIC_RELAXED);
    if (log != NULL) {
        writer = add_writer(log, &kind);
    }
    guard_mutex_unlock(&registry_mutex);
    return writer;
}

void log_detach(struct writer *writer)
{
    struct log *log = writer->log;
    if (log == NULL || !guard_mutex_lock(&log->mutex, log->rule->lock_timeout_ns)) {
        return; /* it stays where it is: it is proved before it is touched, and its number is known no more */
    }
    log_unlock_file(log); /* handed on */
    bool mine = writer->log == log;
    if (mine) {
        unlink_writer(log, writer);
        writer->log = NULL;
        writer_set_held(writer, 0);
    }
    guard_mutex_unlock(&log->mutex);
    if (!mine) {
        return;
    }
    guard_mutex_lock(&registry_mutex, 0);
    writer->next = free_writers;
    free_writers = writer;
    if (--log->users == 0) {
        close_idle();
    }
    guard_mutex_unlock(&registry_mutex);
}

bool log_was_rotated(const char *path, const struct rule *rule)
{
    guard_mutex_lock(&registry_mutex, 0);
    bool rotated = log_has_rotations(path, rule);
    guard_mutex_unlock(&registry_mutex);
    return rotated;
}

struct log *log_keep_off_lock(const struct stat *status)
{
    for (size_t i = 0; i < log_count; i++) {
        if (logs[i]->path_hash != 0 && logs[i]->lock.fd >= 0 && logs[i]->lock.inode == status->st_ino &&
            logs[i]->lock.device == status->st_dev && log_lock(logs[i]) == 0) {
            return logs[i];
        }
    }
    return NULL;
}

void log_allow_lock(struct log *log)
{
    log_unlock(log);
}

void log_visit(void (*visit)(struct log *log))
{
    for (size_t i = 0; i < log_count; i++) {
        visit(logs[i]);
    }
}

struct writer *log_writer_of(const struct stat *status)
{
    for (size_t i = 0; i < writer_count; i++) {
        if (writer_at(i)->log != NULL && log_is_file(writer_at(i), status)) {
            return writer_at(i);
        }
    }
    return NULL;
}

void log_visit_held(void (*visit)(struct writer *writer))
{
    for (size_t i = 0; i < writer_count; i++) {
        if (writer_at(i)->log != NULL && writer_held(writer_at(i)) > 0) {
            visit(writer_at(i));
        }
    }
}

void log_pause(void)
{
    log_fork_prepare();
    log_helper_keep_off(SECOND);
    for (size_t i = 0; i < log_count; i++) {
        if (guard_mutex_lock(&logs[i]->mutex, SECOND)) {
            log_release_locked(logs[i]);
            log_unlock_file(logs[i]); /* handed on, before or by this */
        }
    }
}

void log_resume(void)
{
    for (size_t i = 0; i < log_count; i++) {
        if (guard_mutex_is_mine(&logs[i]->mutex)) {
            guard_mutex_unlock(&logs[i]->mutex);
        }
    }
    log_helper_allow();
    log_fork_done();
}

void log_fork_prepare(void)
{
    guard_mutex_lock(&registry_mutex, SECOND);
}

void log_share_locks(bool memory)
{
    for (size_t i = 0; i < log_count; i++) {
        logs[i]->lock.shared = logs[i]->lock.fd >= 0;
        if (memory && logs[i]->lock.shared && log_lock(logs[i]) == 0) {
            log_unlock(logs[i]); /* what was handed on is given back */
        }
    }
}

void log_fork_done(void)
{
    if (guard_mutex_is_mine(&registry_mutex)) {
        guard_mutex_unlock(&registry_mutex);
    }
}

/*
 * The kernel copies the descriptors before the memory: between the two another thread may have moved a descriptor to a
 * new live file, which the child's memory then knows and its descriptor is not. So everything is proved again.
 */
void log_forked(void)
{
    registry_mutex = 0;
    zone_mutex = 0;
    log_helper_forked();
    log_async_forked();
    own_forked();
    for (size_t i = 0; i < log_count; i++) {
        logs[i]->mutex = 0;
        logs[i]->locked = false;
        logs[i]->lock.unseen |= !logs[i]->lock.shared;
        logs[i]->lock.shared = true;
        logs[i]->proved = -1;
        logs[i]->looked = -1;
        logs[i]->unsettled = false; /* the parent sees to it */
    }
    for (size_t i = 0; i < writer_count; i++) {
        writer_set_held(writer_at(i), 0);
        writer_at(i)->inherited = writer_at(i)->generation;
        writer_at(i)->generation = -1;
    }
    log_holding = 0; /* a thread of the parent's may have been changing it */
}
