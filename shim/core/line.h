/*
 * Whole lines: where a record of several pieces may be cut. Pure functions on iovecs, async-signal-safe.
 */
#ifndef MPLOGSHIM_LINE_H
#define MPLOGSHIM_LINE_H

#include <stddef.h>
#include <sys/uio.h>

/* Bytes in all pieces together; SIZE_MAX if that does not fit ssize_t. */
size_t line_total(const struct iovec *vector, int count);

/* Bytes up to and including the last newline within the first `length` bytes; 0 if there is none. */
size_t line_complete(const struct iovec *vector, int count, size_t length);

/* Bytes up to and including the first newline; `length` if there is none within it. */
size_t line_first(const struct iovec *vector, int count, size_t length);

/* Makes slice[count] of the bytes [skip, skip + length) and returns how many pieces that has (none empty). */
int line_slice(const struct iovec *vector, int count, size_t skip, size_t length, struct iovec *slice);

/* Copies the bytes [skip, skip + length) to `to`. */
void line_copy(const struct iovec *vector, int count, size_t skip, size_t length, char *to);

#endif
