/*
 * The logs and writers of this process: found by path, kept for reuse, given their archives' names.
 */
#include "log_private.h"

#include "archive.h"
#include "guard.h"
#include "own.h"
#include "sys.h"

#include "../../include/mplogshim.h"

#include <errno.h>
#include <string.h>

enum {
    LOG_MAX = 1024,
    WRITER_MAX = 65536,
    IDLE_MAX = 16,
    SETTLE_RENAMES = 256,
    SETTLE_PAUSE = 1000000 /* ns */,
    SECOND = 1000000000
};

static uint32_t registry_mutex;
static struct log *logs; /* LOG_MAX */
static size_t log_count;
static struct writer *writers; /* WRITER_MAX */
static size_t writer_count;
static struct writer *free_writers;
static uint64_t use_clock;
static struct period_zone utc_zone;
static const struct period_zone *local_zone;

int log_start(const struct period_zone *zone)
{
    logs = sys_reserve(LOG_MAX * sizeof *logs);
    writers = sys_reserve(WRITER_MAX * sizeof *writers);
    period_zone_utc(&utc_zone);
    local_zone = zone;
    return logs == NULL || writers == NULL ? -ENOMEM : 0;
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

static bool is_directory(const struct directory *directory)
{
    struct stat status;
    return directory->fd >= 0 && sys.fstat(directory->fd, &status) == 0 && status.st_dev == directory->device &&
           status.st_ino == directory->inode;
}

/* Never closes a number that went to the program. */
static void close_directory(struct directory *directory)
{
    if (is_directory(directory)) {
        own_close(&directory->fd);
    } else if (directory->fd >= 0) {
        own_lost(&directory->fd);
    }
}

static int open_directory(const char *path, struct directory *directory)
{
    struct stat status;
    close_directory(directory);
    int fd = sys.openat(AT_FDCWD, path, O_PATH | O_DIRECTORY | O_CLOEXEC, 0);
    int error = fd < 0 ? fd : sys.fstat(fd, &status);
    if (error != 0) {
        if (fd >= 0) {
            sys.close(fd);
        }
        return error;
    }
    directory->device = status.st_dev;
    directory->inode = status.st_ino;
    directory->fd = fd;
    return own_adopt(&directory->fd);
}

static void close_log(struct log *log)
{
    lockfile_close(&log->lock);
    close_directory(&log->directory);
    close_directory(&log->lock_directory);
    log->path_hash = 0;
}

/* Idle logs keep their descriptors, for programs that open and close their log for each line; but only so many. */
static void close_idle(void)
{
    size_t idle = 0;
    struct log *oldest = NULL;
    for (size_t i = 0; i < log_count; i++) {
        if (logs[i].path_hash == 0 || logs[i].users > 0) {
            continue;
        }
        idle++;
        if (oldest == NULL || logs[i].last_used < oldest->last_used) {
            oldest = &logs[i];
        }
    }
    if (idle > IDLE_MAX) {
        close_log(oldest);
    }
}

static struct log *find(const char *path, uint64_t hash)
{
    for (size_t i = 0; i < log_count; i++) {
        if (logs[i].path_hash == hash && strcmp(logs[i].path, path) == 0) {
            return &logs[i];
        }
    }
    return NULL;
}

static struct log *unused(void)
{
    for (size_t i = 0; i < log_count; i++) {
        if (logs[i].path_hash == 0) {
            return &logs[i];
        }
    }
    return log_count < LOG_MAX ? &logs[log_count++] : NULL;
}

/* In lock_dir all logs' lock files lie together: the whole path, with '%' for '/', is the name. */
static int name_in_lock_directory(const char *path, char *name)
{
    size_t length = strlen(path) + strlen(MPLOGSHIM_LOCK_SUFFIX);
    if (length > NAME_MAX) {
        return -ENAMETOOLONG;
    }
    strcpy(name, path);
    strcat(name, MPLOGSHIM_LOCK_SUFFIX);
    for (char *slash = name; (slash = strchr(slash, '/')) != NULL;) {
        *slash = '%';
    }
    return 0;
}

int log_open_directory(struct log *log)
{
    char *base = log->path + (log->base - log->path);
    base[-1] = '\0';
    int error = open_directory(log->path[0] == '\0' ? "/" : log->path, &log->directory);
    base[-1] = '/';
    if (log->rule->lock_dir == NULL) {
        log->lock.directory = log->directory.fd;
    }
    return error;
}

static int open_lock_directory(struct log *log)
{
    if (log->rule->lock_dir == NULL) {
        return 0;
    }
    int error = open_directory(log->rule->lock_dir, &log->lock_directory);
    log->lock.directory = log->lock_directory.fd;
    return error;
}

static int name_lock_file(struct log *log)
{
    return log->rule->lock_dir == NULL ? name_lock(log->base, log->lock.name)
                                       : name_in_lock_directory(log->path, log->lock.name);
}

void log_prove_directories(struct log *log)
{
    if (!is_directory(&log->directory)) {
        log_open_directory(log);
    }
    if (log->rule->lock_dir != NULL && !is_directory(&log->lock_directory)) {
        open_lock_directory(log);
    }
    /* The number may have been moved out of the program's way since. */
    log->lock.directory = log->rule->lock_dir != NULL ? log->lock_directory.fd : log->directory.fd;
}

static struct log *open_log(const char *path, uint64_t hash, const struct rule *rule, const struct stat *status)
{
    size_t length = strlen(path);
    const char *base = strrchr(path, '/');
    struct log *log = length < sizeof log->path && base != NULL ? unused() : NULL;
    if (log == NULL) {
        diag_message("%s is not managed: too many logs are open", path);
        return NULL;
    }
    struct iovec *scratch = log->scratch;
    memset(log, 0, offsetof(struct log, path));
    memcpy(log->path, path, length + 1);
    log->base = log->path + (base - path) + 1;
    log->rule = rule;
    log->zone = rule->utc ? &utc_zone : local_zone;
    log->scratch = scratch;
    log->directory.fd = log->lock_directory.fd = log->lock.fd = -1;
    log->generation = log->proved = -1;
    log->path_hash = hash;
    int error = name_lock_file(log);
    error = error != 0 ? error : log_open_directory(log);
    error = error != 0 ? error : open_lock_directory(log);
    error = error != 0 ? error : lockfile_open(&log->lock, status);
    if (error != 0) {
        log_failed(log, TROUBLE_LOCK, "open", error);
        return log;
    }
    int64_t settled = 0;
    log->unsettled = lockfile_read(&log->lock, LOCKFILE_SETTLED, &settled) ? settled != lockfile_generation(&log->lock)
                                                                           : lockfile_generation(&log->lock) > 0;
    return log;
}

static struct writer *take_writer(void)
{
    struct writer *writer = free_writers;
    if (writer != NULL) {
        free_writers = writer->next;
    } else if (writer_count < WRITER_MAX) {
        writer = &writers[writer_count++];
    }
    return writer;
}

/* Under the registry's mutex. The list of a log changes under the log's own mutex too. */
static struct writer *add_writer(struct log *log, const struct writer *kind)
{
    if (!guard_mutex_lock(&log->mutex, log->rule->lock_timeout_ns)) {
        return NULL;
    }
    struct writer *writer = take_writer();
    if (writer != NULL) {
        char *tail = writer->tail;
        *writer = *kind;
        writer->tail = tail;
        writer->held = 0;
        writer->next = log->writers;
        log->writers = writer;
        log->users++;
        log->last_used = ++use_clock;
        writer->log = log;
    }
    guard_mutex_unlock(&log->mutex);
    return writer;
}

struct writer *log_attach(const char *path, const struct rule *rule, int fd, int access, const struct stat *status)
{
    uint64_t hash = hash_path(path);
    guard_mutex_lock(&registry_mutex, 0);
    struct log *log = find(path, hash);
    if (log == NULL) {
        log = open_log(path, hash, rule, status);
    }
    const struct writer kind = {
        .fd = fd, .access = access, .device = status->st_dev, .inode = status->st_ino, .generation = -1};
    struct writer *writer = log == NULL ? NULL : add_writer(log, &kind);
    guard_mutex_unlock(&registry_mutex);
    return writer;
}

struct writer *log_attach_duplicate(const struct writer *from, int fd)
{
    guard_mutex_lock(&registry_mutex, 0);
    struct writer kind = *from;
    kind.fd = fd;
    struct writer *writer = kind.log == NULL ? NULL : add_writer(kind.log, &kind);
    guard_mutex_unlock(&registry_mutex);
    return writer;
}

void log_detach(struct writer *writer)
{
    guard_mutex_lock(&registry_mutex, 0);
    struct log *log = writer->log;
    if (log != NULL && guard_mutex_lock(&log->mutex, log->rule->lock_timeout_ns)) {
        struct writer **at = &log->writers;
        while (*at != NULL && *at != writer) {
            at = &(*at)->next;
        }
        if (*at == writer) {
            *at = writer->next;
            log->users--;
            writer->log = NULL;
            writer->held = 0;
            writer->next = free_writers;
            free_writers = writer;
        }
        guard_mutex_unlock(&log->mutex);
        if (log->users == 0) {
            close_idle();
        }
    }
    guard_mutex_unlock(&registry_mutex);
}

/* The lock file's path of a log that is not open. */
static int lock_path(const char *path, const struct rule *rule, char *out, size_t size)
{
    const char *base = strrchr(path, '/') + 1;
    size_t length = rule->lock_dir != NULL ? strlen(rule->lock_dir) + 1 : (size_t)(base - path);
    if (length + NAME_SIZE > size) {
        return -ENAMETOOLONG;
    }
    if (rule->lock_dir == NULL) {
        memcpy(out, path, length);
        return name_lock(base, out + length);
    }
    memcpy(out, rule->lock_dir, length - 1);
    out[length - 1] = '/';
    return name_in_lock_directory(path, out + length);
}

bool log_was_rotated(const char *path, const struct rule *rule)
{
    static char name[PATH_MAX]; /* under the registry's mutex: signal stacks are small */
    struct stat status;
    guard_mutex_lock(&registry_mutex, 0);
    bool rotated = lock_path(path, rule, name, sizeof name) == 0 &&
                   sys.fstatat(AT_FDCWD, name, &status, AT_SYMLINK_NOFOLLOW) == 0 && S_ISREG(status.st_mode) &&
                   status.st_size > MPLOGSHIM_PAGE_SIZE;
    guard_mutex_unlock(&registry_mutex);
    return rotated;
}

/* One thread at a time: POSIX locks do not exclude threads. */
static uint32_t settle_mutex;

static void remove_unused_file(struct log *log, const struct archive_task *task)
{
    if (log_lock(log) == 0) {
        if (log_lock_file(log) == 0) {
            archive_remove_unused(task);
        }
        log_unlock(log);
    }
}

static void settle_locked(struct log *log, unsigned renames)
{
    if (log->lock.fd < 0 || lockfile_acquire(&log->lock, MPLOGSHIM_LOCK_SETTLE, UINT64_MAX) != 0) {
        log->settle_at = sys_now(CLOCK_MONOTONIC_COARSE) + SETTLE_PAUSE; /* another process is at it: look again */
        return;
    }
    int64_t generation = lockfile_generation(&log->lock);
    int64_t settled;
    if (lockfile_read(&log->lock, LOCKFILE_SETTLED, &settled) && settled == generation) {
        log->unsettled = false; /* another process was faster */
        lockfile_release(&log->lock, MPLOGSHIM_LOCK_SETTLE);
        return;
    }
    static char unused[NAME_SIZE]; /* under settle_mutex */
    unused[0] = '\0';
    const struct archive_task task = {.rule = log->rule,
                                      .zone = log->zone,
                                      .generation = generation,
                                      .directory = log->directory.fd,
                                      .base = log->base,
                                      .renames = renames,
                                      .unused = unused};
    int result = archive_settle(&task);
    log->settle_at = result == ARCHIVE_WAIT ? sys_now(CLOCK_MONOTONIC_COARSE) + SECOND : 0;
    if (result == ARCHIVE_DONE) {
        if (unused[0] != '\0') {
            remove_unused_file(log, &task);
        }
        if (unused[0] == '\0') {
            lockfile_write(&log->lock, LOCKFILE_SETTLED, generation);
        }
        log->unsettled = unused[0] != '\0' || lockfile_generation(&log->lock) != generation;
        log_succeeded(log, TROUBLE_ARCHIVE);
    } else if (result < 0) {
        log_failed(log, TROUBLE_ARCHIVE, "settle", result);
    }
    lockfile_release(&log->lock, MPLOGSHIM_LOCK_SETTLE);
}

static void settle(struct log *log, unsigned renames)
{
    struct sys_signals signals;
    sys_signals_block(&signals); /* nobody jumps out of it */
    if (guard_mutex_lock(&settle_mutex, 1)) {
        if (log->unsettled && log->path_hash != 0) {
            settle_locked(log, renames);
        }
        guard_mutex_unlock(&settle_mutex);
    }
    sys_signals_restore(&signals);
}

void log_settle_some(struct log *log)
{
    if (log->unsettled && log_may_try(log, TROUBLE_ARCHIVE) && sys_now(CLOCK_MONOTONIC_COARSE) >= log->settle_at) {
        settle(log, SETTLE_RENAMES);
    }
}

void log_settle_all(void)
{
    enum { ROUNDS = 8 }; /* files that were prepared and not used go one in each */
    for (size_t i = 0; i < log_count; i++) {
        for (int round = 0; round < ROUNDS && logs[i].unsettled; round++) {
            settle(&logs[i], UINT32_MAX);
        }
    }
}

struct writer *log_writer_of(const struct stat *status)
{
    for (size_t i = 0; i < writer_count; i++) {
        if (writers[i].log != NULL && log_is_file(&writers[i], status)) {
            return &writers[i];
        }
    }
    return NULL;
}

void log_visit_held(void (*visit)(struct writer *writer))
{
    for (size_t i = 0; i < writer_count; i++) {
        if (writers[i].log != NULL && writers[i].held > 0) {
            visit(&writers[i]);
        }
    }
}

bool log_fork_prepare(void)
{
    return guard_mutex_lock(&registry_mutex, SECOND);
}

void log_fork_done(void)
{
    guard_mutex_unlock(&registry_mutex);
}

void log_forked(void)
{
    registry_mutex = 0;
    settle_mutex = 0;
    own_forked();
    for (size_t i = 0; i < log_count; i++) {
        logs[i].mutex = 0;
        logs[i].locked = false;
    }
    for (size_t i = 0; i < writer_count; i++) {
        writers[i].held = 0;
    }
}
