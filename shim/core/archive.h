/*
 * Archives of one log: from pending to final names, and removal by `backups`.
 *
 * Runs outside the log's lock, under the settle lock, one process at a time. Each step leaves a state that the next
 * call goes on from. Async-signal-safe; memory comes from mmap and is given back.
 */
#ifndef MPLOGSHIM_ARCHIVE_H
#define MPLOGSHIM_ARCHIVE_H

#include "config.h"
#include "lockfile.h"

struct archive_task {
    const struct rule *rule;
    const struct period_zone *zone;
    int64_t generation; /* of the log, read before; a pending archive of a later one waits for its elders */
    int directory;      /* of the log */
    const char *base;
    unsigned renames; /* at most so many in this call */
    char *unused;     /* NAME_SIZE bytes: the name of an empty pending file that was found, or "" */
};

/*
 * Removes the file that was found unused, if it still is empty. Under the log's lock, because a rotation may just be
 * preparing it.
 */
void archive_remove_unused(const struct archive_task *task);

/*
 * ARCHIVE_DONE: all archives have their final names; ARCHIVE_MORE: the renames are used up; ARCHIVE_WAIT: one is too
 * young to be named before its elders; or -errno. Never overwrites a file.
 */
enum archive_result { ARCHIVE_DONE, ARCHIVE_MORE, ARCHIVE_WAIT };
int archive_settle(const struct archive_task *task);

#endif
