/*
 * For the keeper: rotating a log that its writers may not rotate themselves. It obeys its own rule only, and attaches
 * to nothing.
 */
#ifndef MPLOGSHIM_LOG_KEEP_H
#define MPLOGSHIM_LOG_KEEP_H

#include "log.h"

/*
 * The log at `path`, whose live file is open as `fd` (O_WRONLY | O_APPEND). NULL: not possible, which was told. The
 * lock file is writer->log->lock; it is opened anew when it was deleted or replaced.
 */
struct writer *log_keep(const char *path, const struct rule *rule, int fd, const struct stat *status);

/*
 * Follows the live file, makes it anew if it is gone, and rotates it if it is due by size or clock. 1: rotated; 0: not
 * due, or empty; -EAGAIN: due, but the file ends in mid-line: soon; or -errno, which was told. *boundary: when it will
 * be due by the clock (seconds of the epoch), INT64_MAX if never.
 */
int log_keep_rotate(struct writer *writer, int64_t *boundary);

#endif
