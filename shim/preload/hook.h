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

#endif
