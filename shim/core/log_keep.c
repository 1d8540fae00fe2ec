#include "log_keep.h"

#include "log_private.h"
#include "sys.h"

#include <errno.h>

bool log_keeping;

struct writer *log_keep(const char *path, const struct rule *rule, int fd, const struct stat *status)
{
    log_keeping = true;
    return log_attach(path, rule, fd, O_WRONLY | O_APPEND, false, status);
}

/*
 * The keeper does not know who is in mid-line; most lines go out whole. A file that ends in mid-line waits for its end,
 * but not for ever: its writer may have been killed.
 */
static bool waits_for_line(struct log *log, const struct writer *writer, off_t size)
{
    static off_t waited_at = -1;
    static int64_t waited_since;
    const int64_t patience = 1000000000;
    int64_t now = sys_now(CLOCK_MONOTONIC);
    if (log_ends_in_newline(log, writer, size)) {
        return false;
    }
    if (size != waited_at && (uint64_t)size < log->policy.max_bytes + LOG_HOLD_MAX) {
        waited_at = size;
        waited_since = now;
    }
    return now - waited_since < patience;
}

/*
 * Writers can make the lock file's length anything. The keeper's generations only grow: else archives that wait for
 * their names would change their order, and writers that may not look into the directory would believe that nothing
 * happened.
 */
static int64_t take_generation(const struct log *log)
{
    enum { FAR_AHEAD = 1 << 20 };
    static int64_t known;
    static ino_t known_of;
    int64_t generation = lockfile_generation(&log->lock);
    bool same_file = known_of == log->lock.inode;
    if (same_file && (generation < known || generation > known + FAR_AHEAD) &&
        lockfile_advance(&log->lock, known) == 0) {
        generation = known + 1;
    }
    known = generation > 0 ? generation : 0;
    known_of = log->lock.inode;
    return generation;
}

static int rotate_if_due(struct log *log, struct writer *writer)
{
    int error = log_look_again(log, writer, take_generation(log));
    off_t size = error != 0 ? 0 : sys.lseek(writer->fd, 0, SEEK_END);
    if (error != 0 || size < 0) {
        return error != 0 ? error : (int)size;
    }
    if (!log_is_due(log, writer, size, 1) || size == 0 || !log_may_try(log, TROUBLE_ROTATE)) {
        return 0;
    }
    if (waits_for_line(log, writer, size)) {
        return -EAGAIN;
    }
    error = log_rotate(log, writer);
    return error != 0 ? error : 1;
}

int log_keep_rotate(struct writer *writer, int64_t *boundary)
{
    struct log *log = writer->log;
    int result = log_lock(log);
    if (result == 0) {
        result = log_lock_file(log);
        if (result == 0) {
            result = rotate_if_due(log, writer);
        }
        log_unlock(log);
    }
    *boundary = log->boundary;
    return result;
}
