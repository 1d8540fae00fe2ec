/*
 * Calls that look at a file by its descriptor: the program finds in its log what it has written, also while the end of
 * it is held as an unfinished line.
 */
#include "hook.h"

#include "core/sys.h"

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

/*
 * How many bytes are held after a look at the file's size. Many a program looks at the size of its log after every
 * line: that must not tear lines. So for a descriptor that cannot be read from they are only counted.
 */
static size_t held_after_look(int fd)
{
    size_t held = descriptor_held(fd);
    if (__builtin_expect(held > 0, 0) && descriptor_reads(fd)) {
        write_out(fd);
        held = descriptor_held(fd);
    }
    return held;
}

static bool is_at_end(int fd, off_t position)
{
    struct stat status;
    return sys.fstat(fd, &status) == 0 && status.st_size == position;
}

EXPORT off_t lseek(int fd, off_t offset, int whence)
{
    size_t held = held_after_look(fd);
    off_t result = real.lseek(fd, offset, whence);
    if (held > 0 && result >= 0 && (whence == SEEK_END || (whence == SEEK_CUR && is_at_end(fd, result - offset)))) {
        result += (off_t)held;
    }
    return result;
}
EXPORT_ALIAS(lseek64, lseek);
off_t __lseek(int fd, off_t offset, int whence);
EXPORT_ALIAS(__lseek, lseek);

EXPORT int fstat(int fd, struct stat *status)
{
    size_t held = held_after_look(fd);
    int result = real.fstat(fd, status);
    if (held > 0 && result == 0) {
        status->st_size += (off_t)held;
    }
    return result;
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
    size_t held = held_after_look(fd);
    int result = real.__fxstat(version, fd, status);
    if (held > 0 && result == 0) {
        status->st_size += (off_t)held;
    }
    return result;
}
int __fxstat64(int version, int fd, struct stat *status);
EXPORT_ALIAS(__fxstat64, __fxstat);
