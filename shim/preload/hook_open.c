/*
 * open and its family.
 */
#include "hook.h"
#include "stdio.h"

#include <stdarg.h>
#include <sys/mman.h>
#include <unistd.h>

static mode_t mode_argument(int flags, va_list arguments)
{
    bool has_mode = (flags & O_CREAT) != 0 || (flags & O_TMPFILE) == O_TMPFILE;
    return has_mode ? va_arg(arguments, mode_t) : 0;
}

static int open_at(int directory, const char *path, int flags, mode_t mode)
{
    int saved = errno;
    int fd = (int)hook_result(saved, descriptor_open(directory, path, flags, mode));
    stdio_redirected(fd); /* after close(1), open may put a log there */
    return fd;
}

EXPORT int open(const char *path, int flags, ...)
{
    va_list arguments;
    va_start(arguments, flags);
    mode_t mode = mode_argument(flags, arguments);
    va_end(arguments);
    return open_at(AT_FDCWD, path, flags, mode);
}
EXPORT_ALIAS(open64, open);
EXPORT_ALIAS(__open, open);
EXPORT_ALIAS(__open64, open);

EXPORT int openat(int directory, const char *path, int flags, ...)
{
    va_list arguments;
    va_start(arguments, flags);
    mode_t mode = mode_argument(flags, arguments);
    va_end(arguments);
    return open_at(directory, path, flags, mode);
}
EXPORT_ALIAS(openat64, openat);

EXPORT int creat(const char *path, mode_t mode)
{
    return open_at(AT_FDCWD, path, O_CREAT | O_WRONLY | O_TRUNC, mode);
}
EXPORT_ALIAS(creat64, creat);

/* What fortified programs call for open without a mode. */
int __open_2(const char *path, int flags);
EXPORT int __open_2(const char *path, int flags)
{
    return open_at(AT_FDCWD, path, flags, 0);
}
int __open64_2(const char *path, int flags);
EXPORT_ALIAS(__open64_2, __open_2);

int __openat_2(int directory, const char *path, int flags);
EXPORT int __openat_2(int directory, const char *path, int flags)
{
    return open_at(directory, path, flags, 0);
}
int __openat64_2(int directory, const char *path, int flags);
EXPORT_ALIAS(__openat64_2, __openat_2);

/* What a made descriptor is must not be taken from the number's former life. */
static int made_unknown(int fd)
{
    if (fd >= 0) {
        int saved = errno;
        descriptor_replaced(fd);
        errno = saved;
    }
    return fd;
}

static int made_plain(int fd)
{
    if (fd >= 0) {
        int saved = errno;
        descriptor_made_plain(fd);
        errno = saved;
    }
    return fd;
}

EXPORT int open_by_handle_at(int mount, struct file_handle *handle, int flags)
{
    return made_unknown(real.open_by_handle_at(mount, handle, flags));
}

/* Temporary files are nobody's log, whatever their names match. */
EXPORT int mkstemp(char *template)
{
    return made_plain(real.mkstemp(template));
}
EXPORT_ALIAS(mkstemp64, mkstemp);

EXPORT int mkostemp(char *template, int flags)
{
    return made_plain(real.mkostemp(template, flags));
}
EXPORT_ALIAS(mkostemp64, mkostemp);

EXPORT int mkstemps(char *template, int suffix)
{
    return made_plain(real.mkstemps(template, suffix));
}
EXPORT_ALIAS(mkstemps64, mkstemps);

EXPORT int mkostemps(char *template, int suffix, int flags)
{
    return made_plain(real.mkostemps(template, suffix, flags));
}
EXPORT_ALIAS(mkostemps64, mkostemps);

EXPORT int memfd_create(const char *name, unsigned flags)
{
    return made_plain(real.memfd_create(name, flags));
}

EXPORT int shm_open(const char *name, int flags, mode_t mode)
{
    return made_plain(real.shm_open(name, flags, mode));
}
