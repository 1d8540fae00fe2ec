/*
 * From a path to its rule: never for an archive of a log or one of the shim's own files.
 *
 * Paths are absolute and real, as /proc/self/fd tells them. Async-signal-safe, thread-safe, no allocation.
 */
#ifndef MPLOGSHIM_MATCH_H
#define MPLOGSHIM_MATCH_H

#include "config.h"

#include <stdbool.h>

/* Whether an absolute path matches one pattern: * ? [...] within a component, ** across them; \ escapes. */
bool match_pattern(const char *pattern, const char *path);

/* The first rule that `path` matches as a live log, or NULL. */
const struct rule *match_log(const struct config *config, const char *path);

/*
 * If `path` is named like an archive or a pending archive (not .gz, not a lock file) of a log that some rule matches,
 * that rule, and the log's path in log_path[size]; else NULL. A trailing " (deleted)", as /proc tells it, is allowed,
 * also on the path of a live log itself. The caller must still prove that the log was ever rotated.
 */
const struct rule *match_stale(const struct config *config, const char *path, char *log_path, size_t size);

#endif
