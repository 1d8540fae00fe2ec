/*
 * Calls that look at a file by its descriptor: what is held of an unfinished line is written out first, so that the
 * program finds in its log what it has written.
 */
#include "hook.h"

#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

static void write_out(int fd)
{
    if (__builtin_expect(descriptor_held(fd) > 0, 0)) {
        int saved = errno;
        descriptor_release(fd);
        errno = saved;
    }
}

EXPORT ssize_t read(int fd, void *buffer, size_t size)
{
    write_out(fd);
    return real.read(fd, buffer, size);
}
EXPORT_ALIAS(__read, read);

EXPORT ssize_t pread(int fd, void *buffer, size_t size, off_t offset)
{
    write_out(fd);
    return real.pread(fd, buffer, size, offset);
}
EXPORT_ALIAS(pread64, pread);
EXPORT_ALIAS(__pread64, pread);

EXPORT ssize_t readv(int fd, const struct iovec *vector, int count)
{
    write_out(fd);
    return real.readv(fd, vector, count);
}

EXPORT ssize_t preadv(int fd, const struct iovec *vector, int count, off_t offset)
{
    write_out(fd);
    return real.preadv(fd, vector, count, offset);
}
EXPORT_ALIAS(preadv64, preadv);

EXPORT ssize_t preadv2(int fd, const struct iovec *vector, int count, off_t offset, int flags)
{
    write_out(fd);
    return real.preadv2(fd, vector, count, offset, flags);
}
EXPORT_ALIAS(preadv64v2, preadv2);

/* What fortified programs call for read and pread. */
EXPORT ssize_t __read_chk(int fd, void *buffer, size_t size, size_t room)
{
    write_out(fd);
    return real.__read_chk(fd, buffer, size, room);
}

EXPORT ssize_t __pread_chk(int fd, void *buffer, size_t size, off_t offset, size_t room)
{
    write_out(fd);
    return real.__pread_chk(fd, buffer, size, offset, room);
}
ssize_t __pread64_chk(int fd, void *buffer, size_t size, off_t offset, size_t room);
EXPORT_ALIAS(__pread64_chk, __pread_chk);

EXPORT off_t lseek(int fd, off_t offset, int whence)
{
    write_out(fd);
    return real.lseek(fd, offset, whence);
}
EXPORT_ALIAS(lseek64, lseek);
off_t __lseek(int fd, off_t offset, int whence);
EXPORT_ALIAS(__lseek, lseek);

EXPORT int fstat(int fd, struct stat *status)
{
    write_out(fd);
    return real.fstat(fd, status);
}

/* The same structure under another name. */
EXPORT int fstat64(int fd, struct stat64 *status)
{
    return fstat(fd, (struct stat *)status);
}

/* fstat of programs built with glibc before 2.33. */
int __fxstat(int version, int fd, struct stat *status);
EXPORT int __fxstat(int version, int fd, struct stat *status)
{
    write_out(fd);
    return real.__fxstat(version, fd, status);
}
int __fxstat64(int version, int fd, struct stat *status);
EXPORT_ALIAS(__fxstat64, __fxstat);
