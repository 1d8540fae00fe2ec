/*
 * The logs that a configuration means, by the lock files that they have.
 */
#ifndef MPLOGSHIM_TOOL_FIND_H
#define MPLOGSHIM_TOOL_FIND_H

#include "../core/config.h"

/*
 * Calls `found` with the path of each log that a rule matches and that has a lock file, its live file or not, once.
 * Looks in the directories below the beginning of each pattern that has no wildcards; follows no symbolic links, as
 * patterns mean real paths. 0, or -errno of a directory that could not be read, after the others.
 */
int find_logs(const struct config *config, void (*found)(const char *path, void *context), void *context);

#endif
