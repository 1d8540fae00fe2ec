/*
 * stdio on managed descriptors: cookie streams whose functions write through the shim.
 *
 * glibc's stdio calls its internal write, so a FILE of a log must be another kind of FILE. Called by the hooks, and by
 * process and descriptor when a standard descriptor becomes a log. Not async-signal-safe, as stdio is not.
 */
#ifndef MPLOGSHIM_STDIO_H
#define MPLOGSHIM_STDIO_H

#include <stdio.h>

/* At start: gives stdout and stderr streams of the shim's if descriptors 1 and 2 are logs. Never flushes anything. */
void stdio_start(void);

/*
 * Descriptor `fd` may have become a log by dup2, open and the like: if it is 1 or 2, replaces stdout or stderr. Keeps
 * errno, does nothing in a vfork child, and is async-signal-safe.
 */
void stdio_redirected(int fd);

/*
 * At exit: writes out every managed stream that still buffers something, so that afterwards held lines can be
 * written out for good.
 */
void stdio_finish(void);

#endif
