/*
 * Waits until somebody changes a lock file: a rotation makes it longer, a worker that may not rotate writes to it.
 */
#ifndef MPLOGSHIM_TOOL_WATCH_H
#define MPLOGSHIM_TOOL_WATCH_H

#include "../core/lockfile.h"

#include <stdbool.h>
#include <stdint.h>

/* Zero it before the first use. */
struct watch {
    bool started;
    int fd; /* of inotify, or -1: there is none, and waiting is only for time */
    int descriptor;
    dev_t device;
    ino_t inode;
};

/* From now on the file that `lockfile` is open on is watched: once before each look at it, or a change is missed. */
void watch_file(struct watch *watch, const struct lockfile *lockfile);

/*
 * Waits until the file was changed, deleted or moved since the last call (true), `timeout_ns` is over or a signal came
 * (false). Where there is no inotify it waits WATCH_BLIND_NS at most, as if the file had changed.
 */
enum { WATCH_BLIND_NS = 100000000 };
bool watch_wait(struct watch *watch, int64_t timeout_ns);

#endif
