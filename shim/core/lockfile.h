/*
 * The lock file of one log: the lock with its deadline, the generation, and the page of what all must know.
 *
 * Layout in include/mplogshim.h. Everything read from it is data from strangers: strictly parsed, and never more than
 * a hint. POSIX locks: the kernel frees them with the process and a fork child does not share them; the caller excludes
 * threads. All functions return 0 or -errno and are async-signal-safe.
 */
#ifndef MPLOGSHIM_LOCKFILE_H
#define MPLOGSHIM_LOCKFILE_H

#include "name.h"

#include <stdbool.h>
#include <stdint.h>
#include <sys/stat.h>

struct lockfile {
    int fd; /* one of the shim's own descriptors, or -1 */
    dev_t device;
    ino_t inode;
    int directory; /* where it lives: borrowed, or AT_FDCWD with an absolute name */
    char name[PATH_MAX];
};

/*
 * Opens the lock file, creating it with owner and permissions of the log (`log`). No link is followed;
 * -ELOOP, -EISDIR, -EINVAL for what is not a plain file. A page is made if there is none.
 */
int lockfile_open(struct lockfile *lockfile, const struct stat *log);
void lockfile_close(struct lockfile *lockfile);

/* Whether the descriptor still is that file, and the file still is the one at its place. False also when not open. */
bool lockfile_is_current(struct lockfile *lockfile);

/* Waits for the lock on one byte (MPLOGSHIM_LOCK_*): -ETIMEDOUT after `timeout_ns` (0: for ever; UINT64_MAX: not at
 * all). */
int lockfile_acquire(const struct lockfile *lockfile, int byte, uint64_t timeout_ns);
void lockfile_release(const struct lockfile *lockfile, int byte);

/* The number of rotations so far, or -errno. */
int64_t lockfile_generation(const struct lockfile *lockfile);

/* Makes the generation one larger. */
int lockfile_advance(const struct lockfile *lockfile, int64_t generation);

/* When the live file was begun (seconds of the epoch); the generation up to which archives have their final names. */
enum lockfile_field { LOCKFILE_BEGUN, LOCKFILE_SETTLED, LOCKFILE_FIELDS };
bool lockfile_read(const struct lockfile *lockfile, enum lockfile_field field, int64_t *value);
int lockfile_write(const struct lockfile *lockfile, enum lockfile_field field, int64_t value);

/*
 * A write that a kill ends half way ends at a page of the file. Whoever is about to cross one says so first, so that
 * the next writer can tell a broken record from a line in pieces. `start` and `length` in bytes of the live file.
 */
enum { LOCKFILE_FILE_PAGE = 4096 };
void lockfile_announce(const struct lockfile *lockfile, int64_t generation, int64_t start, int64_t length);
bool lockfile_is_broken(const struct lockfile *lockfile, int64_t generation, int64_t size);

#endif
