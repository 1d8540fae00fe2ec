/*
 * Archives of one log: from pending to final names, compressed, and removed by `backups`, `max_age` and `max_total`.
 *
 * Runs outside the log's lock, under the settle lock, one process at a time; whoever has the lock calls, in this order,
 *
 *     archive_list  archive_repair  archive_name_pending  archive_prune  archive_compress  archive_prune_total
 *
 * and archive_free. Each step, and each system call in it, leaves a state that the next pass goes on from, so an error
 * ends the pass and nothing is undone. Functions return 0 or -errno (the pass is over). No file is ever overwritten.
 */
#ifndef MPLOGSHIM_ARCHIVE_H
#define MPLOGSHIM_ARCHIVE_H

#include "../core/config.h"
#include "../core/name.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct archive_task {
    int directory; /* of the log; O_PATH will do */
    const char *base;
    const struct policy *policy;
    const struct period_zone *zone;

    /* Of the log, read before each listing; a pending archive of a later one waits for its elders. */
    int64_t generation;

    /*
     * Called about once a megabyte while an archive is compressed; NULL: never. If the generation has changed, it may
     * set it above and call archive_list_pending and archive_name_pending, nothing else. Non-zero ends the
     * compression, and is what archive_compress returns.
     */
    int (*between)(void *context);

    /*
     * Around each step that makes, renames or removes files, and the looks that it is based on: nobody else takes one
     * meanwhile. Non-zero is what ends the pass without the step, and nothing is to be left then, because the settle
     * lock is not held any more (somebody deleted the lock file, and another process may be at it under a new one).
     * What takes long is done outside. Both may be NULL: nobody else can be there.
     */
    int (*enter)(void *context);
    void (*leave)(void *context);

    /* An archive has its last form and name: `name` within the directory, `bytes` the file's size. NULL: nobody cares.
     */
    void (*finished)(void *context, const char *name, int64_t bytes);
    void *context;
};

struct archive {
    struct name name;
    bool foreign;    /* a directory, a link, a FIFO: occupies its name and is never touched */
    bool finished;   /* told, or nothing to tell: it had its last form before */
    bool waits;      /* to be compressed or removed, but somebody has it open for writing */
    bool failed;     /* to be compressed, but not again in this pass */
    uint64_t target; /* the number it is to have */
    int64_t size;    /* of what archive_prune and archive_prune_total looked at, else -1 */
    int64_t mtime;   /* ns */
    bool early;      /* pending, and its elders may not be in the list yet */
    int64_t born;    /* pending: when the file was made, ns; 0: not known */
};

/* What a directory holds of one log's archives, oldest first. Zero it before archive_list. */
struct archives {
    struct archive *items;
    size_t count;
    size_t room;
    bool wait;     /* something has to wait, for its elders or for somebody who writes: make another pass later */
    bool clash;    /* two of one number or period, plain and compressed */
    bool squeezed; /* a compression was interrupted: its hidden file is left */
    char (*unused)[NAME_SIZE]; /* names of files that were prepared for a rotation and may not have been used */
    size_t unused_count;
    size_t unused_room;
};

int archive_list(const struct archive_task *task, struct archives *archives);

/* Only what was rotated since archive_list, from `between`. */
int archive_list_pending(const struct archive_task *task, struct archives *archives);

void archive_free(struct archives *archives);

/*
 * Removes what an interrupted compression left: the hidden file, and of an archive that is there plain and compressed
 * with the same content, the plain one. Different ones stay, and archive_name_pending gives them different names.
 */
int archive_repair(const struct archive_task *task, struct archives *archives);

/* Gives pending archives their final names. */
int archive_name_pending(const struct archive_task *task, struct archives *archives);

/* Removes the oldest beyond `backups` and all that are older than `max_age`, but none that is open for writing. */
int archive_prune(const struct archive_task *task, struct archives *archives);

/*
 * Compresses all plain archives, newest first: it is the one that is waited for, and the oldest may be removed before
 * it is its turn. One that is open for writing waits. Without `compress` nothing is done but to tell which archives are
 * finished. An archive that cannot be compressed is left as it is; the first such error is returned after the others
 * were tried, at once if it is one that would meet them all (no space, no descriptors).
 */
int archive_compress(const struct archive_task *task, struct archives *archives);

/*
 * Removes the oldest while together they are larger than `max_total`. One that waits for compression counts as
 * nothing yet.
 */
int archive_prune_total(const struct archive_task *task, struct archives *archives);

/*
 * For a disk so full that nothing can be compressed any more: removes the oldest archive, if all together, as they are,
 * are larger than `max_total`; then archive_compress may be tried again. 1: one was removed; 0: none; -errno.
 */
int archive_make_room(const struct archive_task *task, struct archives *archives);

/*
 * Removes one of the unused files, if it still is unused, and takes it from the list; false if there is none. Under the
 * log's lock, because a rotation may just be preparing it, with a constant number of system calls: once for each time
 * that the lock is taken. The caller has entered (see above): here is not where to wait for it. While there are any,
 * the log is not settled.
 */
bool archive_remove_unused(const struct archive_task *task, struct archives *archives);

#endif
