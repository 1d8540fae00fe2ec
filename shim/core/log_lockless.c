#include "log_lockless.h"

#include "line.h"
#include "log_private.h"
#include "log_record.h"
#include "sys_hot.h"

#include <linux/magic.h>
#include <unistd.h>

enum { SECOND = 1000000000 };

/*
 * Where the end of the file is not the kernel's own to know, two writers may both write there: file systems that other
 * machines or programs serve.
 */
static bool appends_atomically(int fd)
{
    enum { CIFS = (int)0xff534d42, SMB2 = (int)0xfe534d42, CEPH = 0xc36400, VIRTUALBOX = 0x786f4256 };
    static const int others[] = {NFS_SUPER_MAGIC, FUSE_SUPER_MAGIC, CIFS, SMB2,       SMB_SUPER_MAGIC,
                                 V9FS_MAGIC,      AFS_SUPER_MAGIC,  CEPH, VIRTUALBOX, CODA_SUPER_MAGIC,
                                 NCP_SUPER_MAGIC, AFS_FS_MAGIC};
    long type;
    if (sys.filesystem(fd, &type) != 0) {
        return false;
    }
    for (size_t i = 0; i < sizeof others / sizeof others[0]; i++) {
        if ((int)type == others[i]) {
            return false;
        }
    }
    return true;
}

void lockless_start(struct log *log, int fd)
{
    static bool said;
    log->lockless = log->rule->lock == RULE_LOCK_ROTATE && appends_atomically(fd);
    log->looked = -1;
    if (log->rule->lock == RULE_LOCK_ROTATE && !log->lockless && !__atomic_exchange_n(&said, true, __ATOMIC_RELAXED)) {
        diag_message("%s: lock=write instead of lock=rotate, as O_APPEND is not atomic on its file system", log->path);
    }
}

/* Whether the writer's descriptor was the live file, and there was room in it, in this tick of the clock. */
static bool is_fresh(const struct log *log, const struct writer *writer, int64_t tick)
{
    int64_t generation = __atomic_load_n(&writer->generation, __ATOMIC_RELAXED);
    return generation >= 0 && generation == atomic_load_explicit(&log->looked_generation, memory_order_relaxed) &&
           tick == atomic_load_explicit(&log->looked, memory_order_relaxed);
}

/* A record that is larger than a file may be is split between lines, under the lock. */
static bool fits(const struct log *log, size_t length)
{
    return log->policy.max_bytes == 0 || length <= log->policy.max_bytes;
}

/*
 * The mutex is looked at last: whoever has it may be moving the log's descriptors over to a new file, one after the
 * other, and a thread that writes by two of them must not come back to the old one.
 */
bool lockless_write(struct writer *writer, int fd, const struct iovec *vector, int count, ssize_t *written)
{
    struct log *log = writer->log; /* NULL: another thread has just closed the descriptor */
    if (log == NULL || !log->lockless || log->trouble[TROUBLE_WRITE] || writer->fd != fd || writer_held(writer) > 0 ||
        __atomic_load_n(&writer->midline, __ATOMIC_RELAXED) > 0 || !line_is_whole(vector, count)) {
        return false;
    }
    size_t total = line_total(vector, count);
    if (!fits(log, total) || !is_fresh(log, writer, sys.tick()) ||
        __atomic_load_n(&log->mutex, __ATOMIC_ACQUIRE) != 0) {
        return false;
    }
    *written = sys_hot_writev(fd, vector, count);
    sys_hot_steady();
    if (*written != (ssize_t)total && log_lock(log) == 0) {
        struct record record = {.vector = vector, .count = count, .length = total, .whole = true, .cut = *written > 0};
        record.error = *written < 0 ? (int)*written : 0;
        record_wrote(log, writer, &record, *written < 0 ? 0 : (size_t)*written);
        log_unlock(log);
    }
    return true;
}

/* Whether a rotation may be due, for which the lock is wanted. */
static bool may_be_due(const struct log *log, off_t size, size_t length)
{
    uint64_t max_bytes = log->policy.max_bytes;
    bool full = max_bytes > 0 && (uint64_t)size + length > max_bytes;
    return full || (log->policy.period.unit != PERIOD_NONE && log_clock() >= log->boundary);
}

/* Once a second everything is looked at under the lock. So is an empty file, and whatever there is some trouble with.
 */
static bool look(const struct log *log, const struct writer *writer, size_t length)
{
    if (log->trouble[TROUBLE_LOOK] || log->lock.fd < 0 || writer->generation < 0 ||
        lockfile_generation(&log->lock) != writer->generation ||
        sys_now(CLOCK_MONOTONIC_COARSE) / SECOND != log->proved) {
        return false;
    }
    off_t size = sys.lseek(writer->fd, 0, SEEK_END);
    return size > 0 && !log_may_be_torn(size) && !may_be_due(log, size, length);
}

bool lockless_may_write(struct log *log, const struct writer *writer, size_t length)
{
    if (!log->lockless || !fits(log, length)) {
        return false;
    }
    int64_t tick = sys.tick();
    if (is_fresh(log, writer, tick)) {
        return true;
    }
    bool good = look(log, writer, length);
    if (good) {
        atomic_store_explicit(&log->looked_generation, writer->generation, memory_order_relaxed);
        atomic_store_explicit(&log->looked, tick, memory_order_relaxed);
    }
    return good;
}

void lockless_looked(struct log *log, const struct writer *writer)
{
    if (log->lockless) {
        atomic_store_explicit(&log->looked_generation, writer->generation, memory_order_relaxed);
        atomic_store_explicit(&log->looked, sys.tick(), memory_order_relaxed);
    }
}
