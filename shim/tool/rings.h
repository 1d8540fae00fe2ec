/*
 * The buffers of async=1 that dead processes left: they are written to the log before its archives are touched, because
 * what tells how much of them is there already is the file that they were being written to, perhaps an archive by now.
 */
#ifndef MPLOGSHIM_TOOL_RINGS_H
#define MPLOGSHIM_TOOL_RINGS_H

#include "settle.h"

/* Writes them out; makes the live file for them if it is gone. What is left then is in settle->left. */
void rings_take_over(struct settle *settle);

/* Those that this process can see: another user's only if it is root. */
void rings_find_dead(const struct lockfile *lock, struct rings_left *left);

#endif
