/*
 * One log: its live file, its lock, and the program's descriptors that write to it.
 *
 * A `struct log` is a log by path; a `struct writer` is one descriptor of the program's on it. Both live in reserved
 * memory for ever and are reused. Callers are inside the guard (guard.h), with signals blocked for attach, detach and
 * what else is not writing. Everything is async-signal-safe and thread-safe; functions return results >= 0 or -errno.
 */
#ifndef MPLOGSHIM_LOG_H
#define MPLOGSHIM_LOG_H

#include "config.h"
#include "diag.h"
#include "lockfile.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>
#include <sys/uio.h>

struct log;

/* What to do with the beginning of a line. */
enum log_hold { HOLD_NONE, HOLD_REST, HOLD_UNFINISHED };

struct writer {
    struct log *log;     /* NULL: free */
    struct writer *next; /* of the same log */
    int fd;
    int access;        /* O_WRONLY or O_RDWR */
    uint64_t group;    /* duplicates of one open share it, and its file description */
    bool appends;      /* the program itself asked for O_APPEND */
    bool shows_append; /* it would see O_APPEND in its flags without the shim */
    dev_t device;      /* the file that fd is known to be */
    ino_t inode;
    int64_t generation; /* at which fd was proved to be the live file; -1: never */
    bool astray;        /* it is known not to be the live file, which could not be followed */
    int64_t inherited;  /* the same of the parent of this fork child; -1: none */
    uint32_t midline;   /* bytes written since the last newline, saturating */
    uint32_t held;      /* bytes of an unfinished line in `tail` */
    bool synchronous;   /* opened with O_SYNC or O_DSYNC */
    bool behind;        /* wrote into the buffer of async=1 since its position was last where the file ends */
    bool held_aside;    /* by a pwrite, or the program moved since: written, they do not move the position */
    char *tail;         /* LOG_HOLD_MAX bytes, or NULL until needed */
};

enum { LOG_HOLD_MAX = 65536 };

/* How much it holds, for those who look without the log's lock: it changes under that. */
static inline uint32_t writer_held(const struct writer *writer)
{
    return __atomic_load_n(&writer->held, __ATOMIC_RELAXED);
}

/* How many writers hold something; never less, at worst more. */
extern _Atomic uint32_t log_holding;

static inline void writer_set_held(struct writer *writer, size_t bytes)
{
    if ((writer->held > 0) != (bytes > 0)) {
        log_holding += bytes > 0 ? 1 : UINT32_MAX;
    }
    __atomic_store_n(&writer->held, (uint32_t)bytes, __ATOMIC_RELAXED);
}

enum log_trouble {
    TROUBLE_LOCK,
    TROUBLE_LOOK,
    TROUBLE_DIRECTORY,
    TROUBLE_ROTATE,
    TROUBLE_WRITE,
    TROUBLE_ARCHIVE,
    TROUBLE_COUNT,
    TROUBLE_ROOM = 8 /* bytes, which are looked at all at once */
};
_Static_assert((int)TROUBLE_COUNT <= (int)TROUBLE_ROOM, "there is room for all");

/* One of the shim's own descriptors on a directory (O_PATH), and what it must be. */
struct directory {
    int fd; /* or -1 */
    dev_t device;
    ino_t inode;
};

/* An event whose program is to be run once the locks are free. */
enum { LOG_TOLD_MAX = 4, LOG_DETAIL_SIZE = 736 /* ten keys with two values each */ };
struct log_told {
    enum event event;
    char detail[LOG_DETAIL_SIZE];
};

enum lock_kind { LOCK_KIND_FLOCK, LOCK_KIND_POSIX, LOCK_KIND_OFD };

/* Locks of the program's own on its log, while its descriptors move; more than these stay behind. */
enum { PROGRAM_LOCKS_MAX = 8 };
struct program_locks {
    int count;
    struct program_lock {
        int fd; /* by which it was taken */
        enum lock_kind kind;
        bool exclusive;
        off_t start;
        off_t end; /* -1: up to the end of the file */
    } locks[PROGRAM_LOCKS_MAX];
};

struct log {
    const struct rule *rule;
    struct policy policy; /* the one that holds: the rule's, or the recorded one */
    const struct period_zone *zone;
    enum log_hold hold; /* by the rule */
    const char *base;   /* within path */
    uint64_t path_hash;
    uint32_t mutex; /* between threads; taken before the file lock */
    uint32_t users; /* writers; under the registry's mutex */
    uint64_t last_used;
    struct writer *writers;
    struct directory directory;
    struct directory lock_directory; /* with lock_dir; else closed */
    struct lockfile lock;
    bool locked;           /* the file lock is held, of which: */
    bool handed_on;        /*   the next thread that writes is to find it held */
    uint32_t held_for;     /*   how much was written under it since it was taken (log_hands_on) */
    int64_t held_since;    /* since when, by the coarse monotonic clock */
    int64_t crowded_until; /* monotonic nanoseconds: other processes want it too, and it is handed on to no thread */
    int64_t generation;    /* of `begun` and `boundary`; -1: not read yet */
    int64_t begun;
    ino_t begun_of; /* of the live file that was begun then, as far as this process knows by itself */
    int64_t boundary;
    bool lockless;          /* lock=rotate */
    _Atomic int64_t looked; /* the tick (sys.tick) in which live file, lock file and size were last looked at; */
    _Atomic int64_t looked_generation; /* and the generation that was found */
    int64_t proved;                    /* the second in which live file and lock file were last looked at */
    bool unrecorded;                   /* the policy could not be written into the lock file */
    int64_t
        astray_since; /* monotonic nanoseconds: what the keeper should mend has not been mended since; 0: all is well */
    bool kept;        /* somebody else rotates: a keeper was there when it was last needed */
    int64_t ask_at;   /* monotonic nanoseconds: not before, the keeper is asked again */
    int64_t keep_at;  /* the same for starting one */
    atomic_bool unsettled;        /* there is work for the helper */
    _Atomic int64_t settle_at;    /* monotonic nanoseconds: not before, it is looked for */
    _Atomic int64_t settle_pause; /* nanoseconds from one look to the next */
    _Atomic uint32_t told_count;
    struct log_told told[LOG_TOLD_MAX];
    struct program_locks program_locks;
    char differences[LOG_DETAIL_SIZE - 32]; /* in the making: signal stacks are small */
    _Alignas(TROUBLE_ROOM) bool trouble[TROUBLE_ROOM];
    int64_t retry_at[TROUBLE_COUNT]; /* monotonic nanoseconds */
    struct diag_limits limits;
    atomic_bool sees_rings;  /* others write by buffers, and may have died */
    uint32_t looks_left;     /* so many looks for these were left to others */
    int64_t midline_since;   /* monotonic nanoseconds: their lines wait for the end of one; 0: they do not */
    struct log_async *async; /* NULL: each write goes to the file itself */
    struct iovec *scratch;   /* IOV_MAX + 1 pieces, or NULL until needed */
    /* Neither changes while the log is open, not even for a moment: threads look for it without its mutex. */
    char path[PATH_MAX];
    char directory_path[PATH_MAX];
};

/* Whether this process ever had a log. */
bool log_is_any(void);

/*
 * Once, before anything else. `local_zone` must stay valid; one with count 0 is filled by `load` when a log needs it.
 */
void log_start(struct period_zone *local_zone, void (*load)(struct period_zone *zone));

/*
 * `flags` are the access mode, O_APPEND, O_SYNC and O_DSYNC of fd; `inherited`: not opened by this process.
 * Makes `fd`, which `status` describes and whose real path is `path`, a writer of that log. Opens the log's directory
 * and lock file when the log is new to this process; without a lock file it goes on without. NULL if that is impossible
 * (one message says why).
 */
struct writer *log_attach(const char *path, const struct rule *rule, int fd, int flags, bool inherited,
                          const struct stat *status);

/* The same for a duplicate of a writer's descriptor. NULL when out of writers. */
struct writer *log_attach_duplicate(const struct writer *writer, int fd);

/* The descriptor is no longer a writer's. What it still holds is dropped: release first. */
void log_detach(struct writer *writer);

/* Whether the log at `path` has ever been rotated by this shim, as far as a lock file tells: then a name like an
 * archive's is one. */
bool log_was_rotated(const char *path, const struct rule *rule);

/*
 * Appends one record. `offset` >= 0: the file position does not move. `flags` are pwritev2's.
 * Returns bytes taken, or the error of the write; -ESTALE: `writer` is not a writer of `fd` any more, look again.
 */
ssize_t log_write(struct writer *writer, int fd, const struct iovec *vector, int count, off_t offset, int flags,
                  enum log_hold hold);

/* The same for the most of all writes: one piece, not empty, without an offset or flags, held by the rule. */
ssize_t log_append(struct writer *writer, int fd, const struct iovec *piece);

/*
 * For a thread that is inside already (a signal handler interrupted it): if somebody rotated since the writer's last
 * look, the bytes go to the live file by a descriptor of the shim's own. -ESTALE: the writer's descriptor will do.
 */
ssize_t log_write_aside(const struct writer *writer, const struct iovec *vector, int count);

/* Writes out what is held. 0 or the error of the write. */
int log_release(struct writer *writer, int fd);

/* The same, and what is in the log's buffer (async=1). */
int log_empty(struct writer *writer, int fd);

/* The same when the writer's descriptor turned out to be something else: by a descriptor of the shim's own. */
int log_rescue(struct writer *writer);

/* Makes sure that the writer's descriptor is the live file. */
void log_follow(struct writer *writer, int fd);

/*
 * For a vfork child: its descriptor `fd` follows a rotation, in its own table of descriptors; nothing in memory, which
 * is its parent's, changes. No lock. 0, or -errno and it writes to the file it has.
 */
int log_follow_alone(const struct writer *writer, int fd);

/* A writer whose file is this one, or NULL: for a vfork child's descriptors, which the table does not know. */
struct writer *log_writer_of(const struct stat *status);

/* What opening with O_TRUNC does, by the rule. 0 or -errno of the truncation asked for with truncate=allow. */
int log_truncate(struct writer *writer, int fd);

/*
 * The log whose lock file `status` is, or NULL: with the locks between threads held, so that no file lock is. For
 * closing a descriptor of the program's on the lock file, at which the kernel drops the process's locks on it.
 */
struct log *log_keep_off_lock(const struct stat *status);
void log_allow_lock(struct log *log);

/* Calls `visit` for every writer that holds something. */
void log_visit_held(void (*visit)(struct writer *writer));

/* Around fork, by the thread that forks: the registry is in one piece in the child, unless it could not be had within a
 * second. */
void log_fork_prepare(void);
void log_fork_done(void);

/*
 * A child is about to be made that shares what tells that somebody is attached, and perhaps the memory, but not the
 * locks: the threads of either hand no lock on from now on.
 */
void log_share_locks(bool memory);

/* From now on (exit, a seccomp filter) nothing is held back; what is decided under the log's lock. */
extern atomic_bool log_holds_nothing;

/*
 * No other thread is in the middle of a write any more, but for one that is stuck for a second, and nothing is held of
 * unfinished lines; then they go on.
 */
void log_pause(void);
void log_resume(void);

/* In a fork child: no lock is held, nothing is held back (the parent has it). */
void log_forked(void);

#endif
