/*
 * What the intercepted calls mean: the operations on a descriptor that is, or may become, a log.
 *
 * The hooks call these and nothing else. All return results >= 0 or -errno, may be called from any thread, and are
 * async-signal-safe (a thread that is already inside writes raw). errno may be clobbered: hooks keep it.
 */
#ifndef MPLOGSHIM_DESCRIPTOR_H
#define MPLOGSHIM_DESCRIPTOR_H

#include "descriptor_table.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <sys/uio.h>

/* Whether `fd` is managed. An unknown descriptor is looked at first (one readlink); a known one costs one load. */
bool descriptor_unknown_managed(int fd);
static inline bool descriptor_managed(int fd)
{
    uintptr_t state = descriptor_state(fd);
    return state == DESCRIPTOR_UNKNOWN ? descriptor_unknown_managed(fd) : state > DESCRIPTOR_LOCK;
}

/* Whether the program would see O_APPEND in the flags of `fd` without the shim; and what it asked for by F_SETFL. */
bool descriptor_shows_append(int fd);
void descriptor_show_append(int fd, bool shows);

/*
 * Whether a write to `fd` is for descriptor_write. Besides the managed ones that are the shim's own descriptors, which
 * the program has not opened, and in a vfork child, whose parent's table says nothing, every unknown one.
 */
bool descriptor_unknown_takes_write(int fd);
static inline bool descriptor_takes_write(int fd)
{
    uintptr_t state = descriptor_state(fd);
    return state == DESCRIPTOR_UNKNOWN ? descriptor_unknown_takes_write(fd) : state > DESCRIPTOR_LOCK;
}

/* Whether the program itself asked for O_APPEND on a managed descriptor: then it expects what the kernel says to that.
 */
bool descriptor_appends(int fd);

/* Where the bytes of a write come from, which decides what lines=whole does with an unfinished line without any
 * newline. */
enum descriptor_source {
    SOURCE_WRITE,  /* the program's own write: goes through as it is */
    SOURCE_BUFFER, /* a full stdio buffer: kept with the line's rest */
};

/* For writes that have no offset of their own. */
#define DESCRIPTOR_APPEND ((off_t)-1)

/*
 * Appends one record to a managed descriptor. `offset` is the pwrite family's (only its side effect, an unmoved file
 * position, is kept), or DESCRIPTOR_APPEND; `flags` are pwritev2's. Returns the bytes taken, as write does.
 */
ssize_t descriptor_write(int fd, const struct iovec *vector, int count, off_t offset, int flags,
                         enum descriptor_source source);

/*
 * The same for write itself, by the writer that the table has for `fd`. And the shortest way for a log with async=1: a
 * line into its buffer, which leaves errno alone; a negative result: nothing has happened, descriptor_append will see
 * to it.
 */
bool descriptor_buffers(const struct writer *writer);
ssize_t descriptor_put(struct writer *writer, int fd, const void *buffer, size_t size);
ssize_t descriptor_append(struct writer *writer, int fd, const void *buffer, size_t size);

/* Writes out what is held of an unfinished line. 0 also when nothing is, or the descriptor is not managed. */
int descriptor_release(int fd);
int descriptor_release_all(void);

/* The same, and what waits in buffers (async=1): the file has all that the program has written. */
int descriptor_empty(int fd);
int descriptor_empty_all(void);

/* A child is about to be made in another way than by fork; `memory`: it may share that (log_share_locks). */
void descriptor_share_locks(bool memory);

/* descriptor_empty_all at the end of the process, or before it becomes another program: and the buffers are gone. */
void descriptor_leave(void);
void descriptor_before_exec(void);

/* What waits in the buffer of the log is written out, and no unfinished line is cut. */
void descriptor_drain(int fd);

/* Whether something waits there. */
bool descriptor_waits(int fd);

/* Whether any descriptor holds the beginning of a line, or anything may wait in a buffer. */
bool descriptor_holds_any(void);

/* How many bytes of an unfinished line are held: the file ends that much later than it seems. */
size_t descriptor_held(int fd);

/* lseek(2) on a managed descriptor, as if what is held were in the file. Writes nothing, but for SEEK_DATA and
 * SEEK_HOLE.
 */
off_t descriptor_seek(int fd, off_t offset, int whence);

/* Whether memory that the program speaks of can be looked at: only the kernel may find out that a pointer is bad. */
bool descriptor_may_look(const void *start, size_t length);

/* Whether a managed descriptor can be read from. */
bool descriptor_reads(int fd);

/* Makes sure that a managed descriptor is the live file, for what libc then writes to it by itself. */
void descriptor_follow(int fd);

/*
 * open(2) with everything that a log needs: O_APPEND, `truncate`, taken into the table. For any path: what is no
 * log is opened exactly as asked. Returns the descriptor.
 */
int descriptor_open(int directory, const char *path, int flags, mode_t mode);

/* libc opened `path`, which is no log, by itself: what the table says of the number is over. */
void descriptor_opened(int fd, const char *path);

/*
 * The flags for an open of `path` that is made where the shim is not, in a vfork child or by posix_spawn: of a log,
 * nothing is overwritten.
 */
int descriptor_flags_outside(int directory, const char *path, int flags);

/*
 * Whether opening `path` for writing with these flags would open a log: for callers that must know before (fopen).
 * Costs an open, a readlink and a close; false for anything that cannot be resolved.
 */
bool descriptor_path_is_log(int directory, const char *path, int flags);

/* close(2), after writing out what is held; an error of that is returned, and the descriptor is closed all the same. */
int descriptor_close(int fd);

/*
 * Around any close of a descriptor of the program's: if it is one on a lock file (a program that reads every file there
 * is), no thread holds the lock meanwhile, because the kernel drops a process's locks on a file whenever the process
 * closes any descriptor of it. `closing` is room for the state in between; nothing but the close may happen there.
 */
struct closing {
    struct log *log;
    uint64_t rare[2];
};
void descriptor_before_close(int fd, struct closing *closing);
void descriptor_after_close(struct closing *closing);

/* The descriptor is about to be closed or replaced by libc: write out what is held, know nothing about it any more. */
int descriptor_forget(int fd);

/* The number was just handed out anew, by a call that is not told of otherwise: what the table says of it is over. */
void descriptor_replaced(int fd);

/* `fd` was just made, and is no log: a temporary file, a pipe, opened for reading. */
void descriptor_made_plain(int fd);

/* dup2(2)/dup3(2) with flags; `to` == `from` is the hook's business. */
int descriptor_dup3(int from, int to, int flags);

/* `fd` was just made as a duplicate of `from` (dup, F_DUPFD). */
void descriptor_duplicated(int from, int fd);

/* fcntl's F_DUPFD and F_DUPFD_CLOEXEC: a descriptor of the shim's own that is in the way steps aside. As fcntl. */
int descriptor_dup_from(int fd, int command, long lowest);

/* Whether the shim itself uses this number: the program sees EBADF. */
bool descriptor_is_own(int fd);

/* Moves an own descriptor away from a number that the program is about to use. Returns 0 or -errno (then it was
 * closed). */
int descriptor_vacate(int fd);

/*
 * Around the installation of a seccomp filter, which may kill at calls that the program itself does not make: once one
 * is installed, everything is raw. `filtering` is room for the state in between.
 */
struct filtering {
    bool stops;
    bool paused;
};
void descriptor_before_filter(struct filtering *filtering);
void descriptor_after_filter(const struct filtering *filtering, bool installed);

/* The process, or its vfork child, is about to give up the privileges of root: its logs get keepers while they may. */
void descriptor_keep(void);

/* The same for what is done within the process: buffers are written out, and no thread of the shim's is there. */
void descriptor_stop_thread(void);

/* The process is about to change its root: /proc is held open, for the new one may have none. */
void descriptor_hold_proc(void);

/* The process is about to end, or to become another program: what is left to do for its logs is started outside. */
void descriptor_settle(void);

/* Whether this call is made by a vfork child, in memory that is its parent's: nothing of the tables may change. */
bool descriptor_foreign_memory(void);

#endif
