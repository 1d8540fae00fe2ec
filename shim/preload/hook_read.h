/*
 * For syscall() in hook_fd.c: what the hooks of hook_read.c do around statx, for calls made by number.
 */
#ifndef MPLOGSHIM_HOOK_READ_H
#define MPLOGSHIM_HOOK_READ_H

#include <stddef.h>

struct statx;

/* What waits for a descriptor that is looked at by an empty path is written out; returns what it holds beyond that. */
size_t look_before(int directory, int flags);

/* The result, once the file's size counts what is held. */
int statx_after(int result, int directory, const char *path, int flags, size_t held, struct statx *status);

#endif
