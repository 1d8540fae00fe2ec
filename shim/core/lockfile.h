/*
 * The lock file of one log: the lock with its deadline, the generation, and the page of what all must know.
 *
 * Layout in include/mplogshim.h. Everything read from it is data from strangers: strictly parsed, and never more than
 * a hint. POSIX locks: the kernel frees them with the process and a fork child does not share them; the caller excludes
 * threads. All functions return 0 or -errno and are async-signal-safe.
 */
#ifndef MPLOGSHIM_LOCKFILE_H
#define MPLOGSHIM_LOCKFILE_H

#include "config.h"
#include "name.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/stat.h>

struct lockfile {
    int fd; /* one of the shim's own descriptors, or -1 */
    dev_t device;
    ino_t inode;
    bool attached;      /* this descriptor holds the shared lock that says so */
    atomic_bool shared; /* by parent and fork children, who therefore are not seen by lockfile_has_others; set at a fork
                           without the log's lock */
    bool unseen;        /* this is such a child, or one of its, and the parent does not know that it has one */
    bool strange;       /* it is neither root's, nor this user's, nor of the log's owner: somebody put it there */
    int directory;      /* where it lives: borrowed, or AT_FDCWD with an absolute name */
    char name[PATH_MAX];
};

/*
 * Opens the lock file, creating it with owner and permissions of the log (`log`; NULL: not at all), and the access list
 * of `fd`, which is open on it (-1: it has none). No link is followed; -ELOOP, -EISDIR, -EINVAL for what is not a plain
 * file, -EMLINK for a second name of another file. A page is made if there is none.
 */
int lockfile_open(struct lockfile *lockfile, int fd, const struct stat *log);
void lockfile_close(struct lockfile *lockfile);

/* The same with an open descriptor of it, which is taken over: one that was borrowed (borrow.h). It is not open yet. */
int lockfile_take(struct lockfile *lockfile, int fd);

/* Whether the descriptor still is that file, and the file still is the one at its place. False also when not open. */
bool lockfile_is_current(struct lockfile *lockfile);

/* Waits for the lock on one byte (MPLOGSHIM_LOCK_*): -ETIMEDOUT after `timeout_ns` (0: for ever; UINT64_MAX: not at
 * all). */
int lockfile_acquire(const struct lockfile *lockfile, int byte, uint64_t timeout_ns);
void lockfile_release(const struct lockfile *lockfile, int byte);

/* The number of rotations so far, or -errno. */
int64_t lockfile_generation(const struct lockfile *lockfile);

/* Somebody has cut it off, and the generation with it: that one is the same as before says nothing. */
bool lockfile_is_short(const struct lockfile *lockfile);

/* Makes the generation, which is `generation`, one larger; after 2^40, 1. */
int lockfile_advance(const struct lockfile *lockfile, int64_t generation);

/*
 * When the live file was begun (seconds of the epoch); the generation up to which archives are settled; errno of what
 * last kept them from it, 0 if nothing did; the number of the keeper's socket (borrow.h); 0 if there are no
 * buffers of async=1, else when they were looked at, and the number of the one whose batch was announced last
 * (lockfile_announce).
 */
enum lockfile_field {
    LOCKFILE_BEGUN,
    LOCKFILE_SETTLED,
    LOCKFILE_FAILED,
    LOCKFILE_KEEPER,
    LOCKFILE_RINGS,
    LOCKFILE_BATCH,
    LOCKFILE_FIELDS
};
bool lockfile_read(const struct lockfile *lockfile, enum lockfile_field field, int64_t *value);

/* The same of a lock file that is only open as `fd`. */
bool lockfile_read_from(int fd, enum lockfile_field field, int64_t *value);
int lockfile_write(const struct lockfile *lockfile, enum lockfile_field field, int64_t value);

/* Whether another process holds the lock on one byte (MPLOGSHIM_LOCK_*). False also if that is not to be known. */
bool lockfile_is_held(const struct lockfile *lockfile, int byte);

/* Whether other processes are attached, or have tried in vain to get the lock of writers. */
bool lockfile_is_shared(const struct lockfile *lockfile);

/*
 * Attaches: a shared lock that the kernel keeps for this open of the lock file and those that fork children inherit,
 * until the last of them is closed. 0 or -errno.
 */
int lockfile_attach(struct lockfile *lockfile);

/* Whether anybody is attached by another open of the lock file. */
bool lockfile_has_others(const struct lockfile *lockfile);

/*
 * Whether the file is of the process's own user or root, has one name, and nobody else can write it. Not one that was
 * marked because processes that gave up privileges have it open: owner and mode do not tell of them, and nobody but the
 * owner can take the mark (the sticky bit, which means nothing on a file) away.
 */
bool lockfile_is_trusted(const struct lockfile *lockfile);
void lockfile_distrust(const struct lockfile *lockfile);

/*
 * The recorded policy (policy.h), under the log's lock. False if there is none, or anything in it is not as
 * lockfile_write_policy writes it. Whether to follow it is the caller's decision.
 */
bool lockfile_read_policy(const struct lockfile *lockfile, struct policy *policy);
int lockfile_write_policy(const struct lockfile *lockfile, const struct policy *policy);

/* Wakes the keeper (who watches the file for modifications). */
void lockfile_ask(const struct lockfile *lockfile);

/*
 * A write that a kill ends half way ends at a page of the file. Whoever is about to cross one says so first, so that
 * the next writer can tell a broken record from a line in pieces. `start` and `length` in bytes of the live file;
 * `batch`: the buffer that it comes from (LOCKFILE_BATCH), 0: none.
 */
enum { LOCKFILE_FILE_PAGE = 4096 };
void lockfile_announce(const struct lockfile *lockfile, int64_t generation, int64_t start, int64_t length,
                       int64_t batch);
bool lockfile_is_broken(const struct lockfile *lockfile, int64_t generation, int64_t size);

#endif
