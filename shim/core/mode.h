/* Permissions of a file that takes another one's place, for who may not give it the same owner or group. */
#ifndef MPLOGSHIM_MODE_H
#define MPLOGSHIM_MODE_H

#include <stdbool.h>
#include <sys/stat.h>

/*
 * `mode` of the file before, without what would let anybody do to the new one what he could not do to that: `owner` and
 * `group` say which of the two the new one has too. Pure, async-signal-safe.
 */
mode_t mode_without(mode_t mode, bool owner, bool group);

#endif
