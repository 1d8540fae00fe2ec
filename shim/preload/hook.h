/*
 * What every hook does with the result of a descriptor_* call: -errno becomes errno and -1, else errno is untouched.
 */
#ifndef MPLOGSHIM_HOOK_H
#define MPLOGSHIM_HOOK_H

#include "descriptor.h"
#include "real.h"

#include <errno.h>

static inline ssize_t hook_result(int saved_errno, ssize_t result)
{
    errno = result < 0 ? (int)-result : saved_errno;
    return result < 0 ? -1 : result;
}

/* One piece through descriptor_write, errno kept or set. */
static inline ssize_t hook_write(int fd, const void *buffer, size_t size, off_t offset)
{
    int saved = errno;
    const struct iovec piece = {.iov_base = (void *)buffer, .iov_len = size};
    return hook_result(saved, descriptor_write(fd, &piece, 1, offset, 0, SOURCE_WRITE));
}

#endif
