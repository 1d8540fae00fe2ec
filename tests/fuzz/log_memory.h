/*
 * One log in the file system in memory: attached to as a hook would, settled as the helper does, and its history read
 * back in two ways, by when its files were made and by their names.
 */
#ifndef LOG_MEMORY_H
#define LOG_MEMORY_H

#include "memory.h"

#include "../account/history.h"

#include "../../shim/core/diag.h"
#include "../../shim/core/guard.h"
#include "../../shim/core/log.h"
#include "../../shim/core/name.h"
#include "../../shim/tool/settle.h"

#include <zlib.h>

#define LOG_BASE  "app.log"
#define LOCK_BASE ".app.log.lock"

static struct rule log_rule;
static struct period_zone log_zone_utc;
static char log_directory[64];
static char log_path[PATH_MAX];
static char lock_path[PATH_MAX];
static const struct memory_file *log_ring_file; /* of a buffer (async=1), or NULL */

/* Bytes that grow. */
struct bytes {
    char *data; /* with a NUL behind them */
    size_t size;
    size_t room;
};

static inline void bytes_add(struct bytes *bytes, const void *data, size_t size)
{
    if (bytes->size + size >= bytes->room) {
        bytes->room = 2 * (bytes->size + size) + 64;
        bytes->data = realloc(bytes->data, bytes->room);
        require(bytes->data != NULL);
    }
    if (size > 0) {
        memcpy(bytes->data + bytes->size, data, size);
    }
    bytes->size += size;
    bytes->data[bytes->size] = '\0';
}

static inline void bytes_free(struct bytes *bytes)
{
    free(bytes->data);
    *bytes = (struct bytes){NULL, 0, 0};
}

/* A new file system with a directory for a log that this process has never seen, and a rule that never rotates. */
static inline void log_memory_start(void)
{
    static unsigned long number;
    static bool started;
    memory_start();
    log_ring_file = NULL;
    snprintf(log_directory, sizeof log_directory, "/%lu", ++number);
    snprintf(log_path, sizeof log_path, "%s/" LOG_BASE, log_directory);
    snprintf(lock_path, sizeof lock_path, "%s/" LOCK_BASE, log_directory);
    memory_directory(log_directory);
    if (!started) {
        period_zone_utc(&log_zone_utc);
        diag_open(DIAG_OFF, NULL);
        guard_start(log_forked);
        log_start(&log_zone_utc, NULL);
        started = true;
    }
    log_rule = (struct rule){
        .pattern = log_path,
        .pattern_real = log_path,
        .policy = {.period = {.unit = PERIOD_NONE, .interval = 1}, .naming = NAMING_NUMBER, .utc = true},
        .lines = LINES_WHOLE,
        .mode = -1,
        .owner = (uid_t)-1,
        .group = (gid_t)-1,
        .lock_timeout_ns = 1000000000,
    };
}

static inline struct writer *log_memory_attach(void)
{
    struct stat status;
    int fd = sys.openat(AT_FDCWD, log_path, O_WRONLY | O_APPEND | O_CREAT, 0644);
    require(fd >= 0 && sys.fstat(fd, &status) == 0 && guard_enter());
    struct writer *writer = log_attach(log_path, &log_rule, fd, O_WRONLY | O_APPEND, false, &status);
    guard_leave();
    require(writer != NULL);
    return writer;
}

static inline void log_memory_detach(struct writer *writer)
{
    int fd = writer->fd;
    require(guard_enter());
    log_detach(writer);
    guard_leave();
    sys.close(fd);
}

/* Settles until nothing is left to do, with time passing; how the last pass ended. */
static inline int log_memory_settle(const struct policy *policy)
{
    enum { PASSES = 40 };
    struct lockfile lock = {.fd = -1, .name = LOCK_BASE};
    int (*fault)(const char *) = memory.fault;
    memory.fault = NULL; /* the caller's own open */
    struct settle settle = {.path = log_path,
                            .base = log_path + strlen(log_directory) + 1,
                            .directory = sys.openat(AT_FDCWD, log_directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0),
                            .lock = &lock,
                            .rule = log_rule,
                            .zone = &log_zone_utc};
    settle.rule.policy = *policy;
    lock.directory = settle.directory;
    memory.fault = fault;
    require(settle.directory >= 0 && guard_enter());
    int result = lockfile_open(&lock, -1, NULL);
    for (int pass = 0; pass < PASSES && result == 0; pass++) {
        result = settle_pass(&settle);
        if (result == SETTLE_DONE) {
            break;
        }
        if (result == SETTLE_WAIT) {
            memory_pass(INT64_C(60) * 1000000000);
            result = 0;
        }
    }
    lockfile_close(&lock);
    guard_leave();
    sys.close(settle.directory);
    return result;
}

/* All regular files but those of the shim's. */
static inline bool log_memory_is_history(const struct memory_file *file)
{
    return S_ISREG(file->mode) && file->links > 0 && file != memory_lookup(lock_path) && file != log_ring_file;
}

/* The oldest first: the whole history, while nobody compresses. */
static inline struct bytes log_memory_by_age(void)
{
    struct bytes all = {NULL, 0, 0};
    bytes_add(&all, "", 0);
    for (size_t i = 0; i < memory.file_count; i++) {
        const struct memory_file *file = memory.files[i];
        if (log_memory_is_history(file)) {
            bytes_add(&all, file->data, (size_t)file->filled);
        }
    }
    return all;
}

/* What was appended to any of them since the last call. */
static inline struct bytes log_memory_grown(void)
{
    struct bytes all = {NULL, 0, 0};
    bytes_add(&all, "", 0);
    for (size_t i = 0; i < memory.file_count; i++) {
        struct memory_file *file = memory.files[i];
        if (log_memory_is_history(file)) {
            require(file->filled >= file->seen);
            if (file->filled == file->seen) {
                continue;
            }
            bytes_add(&all, file->data + file->seen, (size_t)(file->filled - file->seen));
            file->seen = file->filled;
        }
    }
    return all;
}

static inline void add_expanded(struct bytes *bytes, const struct memory_file *file)
{
    unsigned char out[8192];
    z_stream stream = {.next_in = (unsigned char *)file->data, .avail_in = (unsigned)file->filled};
    int result = inflateInit2(&stream, MAX_WBITS + 16);
    while (result == Z_OK) {
        stream.next_out = out;
        stream.avail_out = sizeof out;
        result = inflate(&stream, Z_NO_FLUSH);
        bytes_add(bytes, out, sizeof out - stream.avail_out);
    }
    require(result == Z_STREAM_END && stream.avail_in == 0);
    inflateEnd(&stream);
}

/* The history as its names tell it; `settled`: nothing but archives, the lock file and the live file may be there. */
static inline struct bytes log_memory_by_name(enum history_naming naming, bool settled)
{
    struct history history = {NULL, 0, 0};
    struct bytes all = {NULL, 0, 0};
    bytes_add(&all, "", 0);
    for (size_t i = 0; i < memory.name_count; i++) {
        const struct memory_name *name = &memory.names[i];
        size_t length = strlen(log_directory);
        if (name->path == NULL || strncmp(name->path, log_directory, length) != 0 || name->path[length] != '/') {
            continue;
        }
        struct history_file file = {0};
        int meaning = history_parse(&file, name->path + length + 1, LOG_BASE, naming);
        require(meaning >= 0);
        if (meaning > 0) {
            require(!settled || file.kind != HISTORY_PENDING);
            snprintf(file.path, sizeof file.path, "%s", name->path);
            require(history_add(&history, &file) == 0);
        }
    }
    qsort(history.files, history.count, sizeof *history.files, history_compare);
    for (size_t i = 0; i < history.count; i++) {
        const char *path = history.files[i].path;
        const struct memory_file *file = memory_lookup(path);
        size_t length = strlen(path);
        if (length > 3 && strcmp(path + length - 3, ".gz") == 0) {
            add_expanded(&all, file);
        } else {
            bytes_add(&all, file->data, (size_t)file->filled);
        }
    }
    free(history.files);
    return all;
}

#endif
