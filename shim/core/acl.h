/* Permissions of a file that takes the place of one with an access list (POSIX ACL), or is its copy. */
#ifndef MPLOGSHIM_ACL_H
#define MPLOGSHIM_ACL_H

#include <stdbool.h>
#include <sys/stat.h>

/*
 * Gives `fd` the permissions `mode`, which are those of `like` (whose status is `before`) or, because owner or group
 * differ, less. If that has an access list, its group bits are no group's: they are the list's mask. Then `fd` gets the
 * list, or, where that cannot be, nobody but its owner may use it. 0 or -errno. Async-signal-safe.
 */
int acl_dress(int fd, int like, const struct stat *before, mode_t mode);

/* Whether anybody may read and write a file (whose status is `status`), without a list that may say otherwise of one.
 */
bool acl_is_everybodys(int fd, const struct stat *status);

#endif
