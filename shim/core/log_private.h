/*
 * Shared by log.c, log_write.c, log_rotate.c and log_registry.c: what happens to a log under its locks.
 */
#ifndef MPLOGSHIM_LOG_PRIVATE_H
#define MPLOGSHIM_LOG_PRIVATE_H

#include "log.h"

/* The lock between threads: guards writers, what they hold, and the state below. 0 or -ETIMEDOUT. */
int log_lock(struct log *log);
void log_unlock(struct log *log);

/* The lock between processes, with the thread lock held. An error was told: the write goes ahead without. */
int log_lock_file(struct log *log);
void log_unlock_file(struct log *log);

/* With no lock held: gives pending archives their names, a bounded number at a time. */
void log_settle_some(struct log *log);

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

/* Under both locks: takes the live file away under a pending name and puts a new one in its place. 0 or -errno. */
int log_rotate(struct log *log, struct writer *writer);

/* A begin further ahead of the clock than this, in seconds, is wrong: a clock set back by hours stays within. */
enum { LOG_CLOCK_SLACK = 86400 };

/* The moment by the clock the rules are for, in seconds; reads begun and boundary when the generation has changed. */
int64_t log_clock(void);
void log_read_begun(struct log *log, int64_t generation, const struct stat *live);
void log_set_begun(struct log *log, int64_t begun);

/* Whether a file is the one that the writer's descriptor is known to be. */
bool log_is_file(const struct writer *writer, const struct stat *status);

/* The flags for another descriptor of the live file like the writer's. */
int log_open_flags(const struct writer *writer);

/* Makes an empty new file, complete, under the pending name of a generation, in name[NAME_SIZE]. Returns a descriptor.
 */
int log_prepare(const struct log *log, const struct writer *writer, const struct stat *before, int64_t generation,
                char *name);

/* Moves all descriptors of the log in this process over to the live file, open as `fd` for `opener`. */
void log_adopt(struct log *log, const struct writer *opener, int fd, const struct stat *live, int64_t generation);

/* Whether fd is an open descriptor of exactly the file that the writer recorded. */
bool log_prove(const struct writer *writer);

/* At start: the root directory by which paths are meant. */
void log_note_root(void);

/* Gives a log's pending archives their names for the last time, and then does `end`, while nobody else settles. */
void log_settle_last(struct log *log, void (*end)(struct log *log));

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

/* In a fork child. */
void log_settle_forked(void);

#endif
