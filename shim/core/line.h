/*
 * Whole lines: where a record of several pieces may be cut. Pure functions on iovecs, async-signal-safe.
 */
#ifndef MPLOGSHIM_LINE_H
#define MPLOGSHIM_LINE_H

#include <limits.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/uio.h>

/* Bytes in all pieces together; SIZE_MAX if that does not fit ssize_t. Nearly every record has one. */
size_t line_total_of_many(const struct iovec *vector, int count);
static inline size_t line_total(const struct iovec *vector, int count)
{
    bool one = count == 1 && vector->iov_len <= SSIZE_MAX;
    return __builtin_expect(one, 1) ? vector->iov_len : line_total_of_many(vector, count);
}

/* Whether the last byte of all pieces is a newline. */
bool line_is_whole_of_many(const struct iovec *vector, int count);
static inline bool line_is_whole(const struct iovec *vector, int count)
{
    bool one = count == 1 && vector->iov_len > 0;
    return __builtin_expect(one, 1) ? ((const char *)vector->iov_base)[vector->iov_len - 1] == '\n'
                                    : line_is_whole_of_many(vector, count);
}

/* Bytes up to and including the last newline within the first `length` bytes; 0 if there is none. */
size_t line_complete(const struct iovec *vector, int count, size_t length);

/* Bytes up to and including the first newline; `length` if there is none within it. */
size_t line_first(const struct iovec *vector, int count, size_t length);

/* Makes slice[count] of the bytes [skip, skip + length) and returns how many pieces that has (none empty). */
int line_slice(const struct iovec *vector, int count, size_t skip, size_t length, struct iovec *slice);

/* Copies the bytes [skip, skip + length) to `to`. */
void line_copy(const struct iovec *vector, int count, size_t skip, size_t length, char *to);

#endif
