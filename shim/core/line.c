#include "line.h"

#include <limits.h>
#include <stdint.h>
#include <string.h>
#include <sys/types.h>

size_t line_total_of_many(const struct iovec *vector, int count)
{
    size_t total = 0;
    for (int i = 0; i < count; i++) {
        if (vector[i].iov_len > (size_t)SSIZE_MAX - total) {
            return SIZE_MAX;
        }
        total += vector[i].iov_len;
    }
    return total;
}

bool line_is_whole_of_many(const struct iovec *vector, int count)
{
    while (count > 0 && vector[count - 1].iov_len == 0) {
        count--;
    }
    return count > 0 && ((const char *)vector[count - 1].iov_base)[vector[count - 1].iov_len - 1] == '\n';
}

size_t line_complete(const struct iovec *vector, int count, size_t length)
{
    size_t before = line_total(vector, count);
    for (int i = count - 1; i >= 0; i--) {
        before -= vector[i].iov_len;
        if (before >= length || vector[i].iov_len == 0) {
            continue; /* an empty piece may be nowhere */
        }
        size_t piece = vector[i].iov_len < length - before ? vector[i].iov_len : length - before;
        const char *start = vector[i].iov_base;
        const char *newline = memrchr(start, '\n', piece);
        if (newline != NULL) {
            return before + (size_t)(newline - start) + 1;
        }
    }
    return 0;
}

size_t line_first(const struct iovec *vector, int count, size_t length)
{
    size_t before = 0;
    for (int i = 0; i < count && before < length; i++) {
        size_t piece = vector[i].iov_len < length - before ? vector[i].iov_len : length - before;
        const char *start = vector[i].iov_base;
        const char *newline = piece == 0 ? NULL : memchr(start, '\n', piece);
        if (newline != NULL) {
            return before + (size_t)(newline - start) + 1;
        }
        before += piece;
    }
    return length;
}

int line_slice(const struct iovec *vector, int count, size_t skip, size_t length, struct iovec *slice)
{
    int pieces = 0;
    for (int i = 0; i < count && length > 0; i++) {
        if (skip >= vector[i].iov_len) {
            skip -= vector[i].iov_len;
            continue;
        }
        size_t piece = vector[i].iov_len - skip < length ? vector[i].iov_len - skip : length;
        slice[pieces++] = (struct iovec){.iov_base = (char *)vector[i].iov_base + skip, .iov_len = piece};
        length -= piece;
        skip = 0;
    }
    return pieces;
}

void line_copy(const struct iovec *vector, int count, size_t skip, size_t length, char *to)
{
    for (int i = 0; i < count && length > 0; i++) {
        if (skip >= vector[i].iov_len) {
            skip -= vector[i].iov_len;
            continue;
        }
        size_t piece = vector[i].iov_len - skip < length ? vector[i].iov_len - skip : length;
        memcpy(to, (const char *)vector[i].iov_base + skip, piece);
        to += piece;
        length -= piece;
        skip = 0;
    }
}
