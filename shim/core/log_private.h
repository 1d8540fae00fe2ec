/*
 * Shared by the files of a log (log*.c): what happens to it under its locks.
 */
#ifndef MPLOGSHIM_LOG_PRIVATE_H
#define MPLOGSHIM_LOG_PRIVATE_H

#include "log.h"

/* The lock between threads: guards writers, what they hold, and the state below. 0, -ETIMEDOUT, or -EPERM:
 * sys_confined. */
int log_lock(struct log *log);
void log_unlock(struct log *log);

/* The same for a write, which may find the lock between processes held (log->locked) by the thread before it. */
int log_lock_to_write(struct log *log);

/*
 * Of who has written `length` bytes under both locks: whether the lock between processes stays, because another thread
 * of this process waits, and no other process writes. log_unlock then gives it to the thread.
 */
bool log_hands_on(struct log *log, size_t length);

/* With the lock between threads held: what is held of unfinished lines is written out. */
void log_release_locked(struct log *log);

/* Opens the log's lock file; `fd` is a writer's, of which `status` tells. A process that may not has the keeper do it.
 */
int log_open_lock(struct log *log, int fd, const struct stat *status);

/* The lock between processes, with the thread lock held. An error was told: the write goes ahead without. */
int log_lock_file(struct log *log);
void log_unlock_file(struct log *log);

/* Starts or ends a trouble: one event at each, and a retry a second after the last try. */
bool log_may_try(const struct log *log, enum log_trouble trouble);
void log_failed(struct log *log, enum log_trouble trouble, const char *step, int error);
void log_succeeded(struct log *log, enum log_trouble trouble);

/*
 * Under both locks: makes sure that the writer's descriptor is the live file, replacing it (and the log's other
 * descriptors) if not. 0 also when that fails: the write goes into the file it has. -ESTALE: fd is not the writer's any
 * more.
 */
int log_look_again(struct log *log, struct writer *writer, int64_t generation);

/*
 * Under both locks: whether the log's keeper rotates for this process, which may not; then it was asked. It is looked
 * for again while nothing comes of it.
 */
bool log_ask_keeper(struct log *log);

/* Under both locks: takes the live file away under a pending name and puts a new one in its place. 0 or -errno;
 * -EAGAIN: look again first. */
int log_rotate(struct log *log, struct writer *writer);

/* A begin further ahead of the clock than this, in seconds, is wrong: a clock set back by hours stays within. */
enum { LOG_CLOCK_SLACK = 86400 };

/* The moment by the clock the rules are for, in seconds; reads begun and boundary when the generation has changed. */
int64_t log_clock(void);
void log_read_begun(struct log *log, int64_t generation, const struct stat *live);
void log_set_begun(struct log *log, int64_t begun);

/*
 * This process is a log's keeper (log_keep.h): it obeys no record, attaches to nothing, asks nobody, and believes a
 * lock file only that nobody else could write.
 */
extern bool log_keeping;

/* Under both locks, with the descriptor proved: whether `length` more bytes want a rotation first. `size`: of the file.
 */
bool log_is_due(struct log *log, const struct writer *writer, off_t size, size_t length);

/* Whether a file of this size may end where a kill ended a write. */
static inline bool log_may_be_torn(off_t size)
{
    return size > 0 && size % LOCKFILE_FILE_PAGE == 0;
}

/* Whether the writer's file, of this size, ends with a whole line; true if that is not to be known. */
bool log_ends_in_newline(struct log *log, const struct writer *writer, off_t size);

/* Whether a file is the one that the writer's descriptor is known to be. */
bool log_is_file(const struct writer *writer, const struct stat *status);

/* The flags for another descriptor of the live file like the writer's. */
int log_open_flags(const struct writer *writer);

/*
 * Opens what lies at the live path: a plain file and nothing else, without following a link, without waiting. -EINVAL,
 * -ELOOP; -EMLINK for one that somebody may have linked there. `flags` as log_open_flags makes them.
 */
int log_open_plain(const struct log *log, int flags);

/* The same for a descriptor that becomes the program's, which sees in its flags what it asked for and no more. */
int log_open_as(const struct log *log, int flags);

/* Makes an empty new file, complete, under the pending name of a generation, in name[NAME_SIZE]. Returns a descriptor.
 */
int log_prepare(const struct log *log, const struct writer *writer, const struct stat *before, int64_t generation,
                char *name);

/* Removes such a file again, unless it has become an archive meanwhile. Whether it did. */
bool log_remove_prepared(const struct log *log, const char *name);

/* Moves all descriptors of the log in this process over to the live file, open as `fd` for `opener`; `fd` is closed. */
void log_adopt(struct log *log, const struct writer *opener, int fd, const struct stat *live, int64_t generation);

/* Whether fd is an open descriptor of exactly the file that the writer recorded. */
bool log_prove(const struct writer *writer);

/* At start: the root directory by which paths are meant; and whether it still is the process's. */
void log_note_root(void);
bool log_has_first_root(void);

/*
 * Whether a file that was opened by the log's path is not this log's: the path leads to another directory than it did,
 * in a new root or another mount namespace, or because something was mounted there. Costs one look at the live file.
 */
bool log_is_elsewhere(const struct log *log, const struct stat *file);

/* The lock file's name within its directory, in name[NAME_SIZE], of the log at `path`. 0 or -ENAMETOOLONG. */
int log_name_lock(const struct rule *rule, const char *path, char *name);

/* Opens the log's directory by its path. 0 or -errno. */
int log_open_directory(struct log *log);

/* The same with that of the lock file, whose name is made; and the end of both. */
int log_open_directories(struct log *log);
void log_close_directories(struct log *log);

/* The shim's descriptors of directories still are that, or are opened anew: a number may have gone to the program. */
void log_prove_directories(struct log *log);

/* Whether a log that may not be open has a lock file that tells of rotations. One call at a time. */
bool log_has_rotations(const char *path, const struct rule *rule);

/* Calls `visit` for every log that this process knows. */
void log_visit(void (*visit)(struct log *log));

/* Under both locks, once for each open of the lock file: which policy holds, by the record and the rule. */
void log_agree(struct log *log);

/* If the lock file says that archives wait for the helper: it is looked for from `delay` nanoseconds on. */
void log_expect_settling(struct log *log, int64_t generation, int64_t delay);

/* The zone that the policy's times are in. */
const struct period_zone *log_zone(const struct policy *policy);

/* Tells an event, and has its program run when the locks are free. */
void log_tell(struct log *log, enum event event, const char *format, ...) __attribute__((format(printf, 3, 4)));

/* In a fork child. */
void log_helper_forked(void);

#endif
