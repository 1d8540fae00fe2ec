/*
 * A program that looks at what it wrote: what is held of an unfinished line belongs to the file, as far as it can see.
 *
 * Who reads finds it there, written out. Who asks where the end is, or goes somewhere, gets it added: many a program
 * looks at the size of its log after every line, or seeks to where it believes the end to be before each write (Mono),
 * and that must not cut lines. What waits in a buffer (async=1) is written out for any of them, as it cuts none. Should
 * the held bytes not go out, they stay held, and the next write tells why.
 */
#include "hook.h"

#include "hook_read.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

/* The shim's own descriptors are none to the program. */
static bool is_hidden(int fd)
{
    bool hidden = __builtin_expect(descriptor_is_own(fd), 0);
    if (hidden) {
        errno = EBADF;
    }
    return hidden;
}

static void drain(int fd)
{
    if (__builtin_expect(descriptor_waits(fd), 0)) {
        int saved = errno;
        descriptor_drain(fd);
        errno = saved;
    }
}

static bool write_out(int fd)
{
    if (__builtin_expect(descriptor_held(fd) > 0 || descriptor_waits(fd), 0)) {
        int saved = errno;
        descriptor_empty(fd);
        errno = saved;
    }
    return !is_hidden(fd);
}

EXPORT ssize_t read(int fd, void *buffer, size_t size)
{
    return write_out(fd) ? real.read(fd, buffer, size) : -1;
}
EXPORT_ALIAS(__read, read);

EXPORT ssize_t pread(int fd, void *buffer, size_t size, off_t offset)
{
    return write_out(fd) ? real.pread(fd, buffer, size, offset) : -1;
}
EXPORT_ALIAS(pread64, pread);
EXPORT_ALIAS(__pread64, pread);

EXPORT ssize_t readv(int fd, const struct iovec *vector, int count)
{
    return write_out(fd) ? real.readv(fd, vector, count) : -1;
}

EXPORT ssize_t preadv(int fd, const struct iovec *vector, int count, off_t offset)
{
    return write_out(fd) ? real.preadv(fd, vector, count, offset) : -1;
}
EXPORT_ALIAS(preadv64, preadv);

EXPORT ssize_t preadv2(int fd, const struct iovec *vector, int count, off_t offset, int flags)
{
    return write_out(fd) ? real.preadv2(fd, vector, count, offset, flags) : -1;
}
EXPORT_ALIAS(preadv64v2, preadv2);

/* What fortified programs call for read and pread. */
EXPORT ssize_t __read_chk(int fd, void *buffer, size_t size, size_t room)
{
    return write_out(fd) ? real.__read_chk(fd, buffer, size, room) : -1;
}

EXPORT ssize_t __pread_chk(int fd, void *buffer, size_t size, off_t offset, size_t room)
{
    return write_out(fd) ? real.__pread_chk(fd, buffer, size, offset, room) : -1;
}
ssize_t __pread64_chk(int fd, void *buffer, size_t size, off_t offset, size_t room);
EXPORT_ALIAS(__pread64_chk, __pread_chk);

EXPORT off_t lseek(int fd, off_t offset, int whence)
{
    if (is_hidden(fd)) {
        return -1;
    }
    drain(fd);
    if (__builtin_expect(descriptor_held(fd) > 0, 0)) {
        int saved = errno;
        return hook_result(saved, descriptor_seek(fd, offset, whence));
    }
    return real.lseek(fd, offset, whence);
}
EXPORT_ALIAS(lseek64, lseek);
off_t __lseek(int fd, off_t offset, int whence);
EXPORT_ALIAS(__lseek, lseek);

/*
 * The size counts what is held. A descriptor that may be read from may also be mapped as far as the size goes: there it
 * must be in the file.
 */
static size_t held_after_look(int fd)
{
    drain(fd);
    size_t held = descriptor_held(fd);
    if (__builtin_expect(held > 0, 0) && descriptor_reads(fd)) {
        write_out(fd);
        held = descriptor_held(fd);
    }
    return held;
}

static int add_held(int result, size_t held, struct stat *status)
{
    if (result == 0) {
        status->st_size += (off_t)held;
    }
    return result;
}

EXPORT int fstat(int fd, struct stat *status)
{
    if (is_hidden(fd)) {
        return -1;
    }
    size_t held = held_after_look(fd);
    return add_held(real.fstat(fd, status), held, status);
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
    if (is_hidden(fd)) {
        return -1;
    }
    size_t held = held_after_look(fd);
    return add_held(real.__fxstat(version, fd, status), held, status);
}
int __fxstat64(int version, int fd, struct stat *status);
EXPORT_ALIAS(__fxstat64, __fxstat);

/* Rust and libuv look at a descriptor in the ways of paths: an empty one. */
size_t look_before(int directory, int flags)
{
    return __builtin_expect((flags & AT_EMPTY_PATH) != 0, 0) ? held_after_look(directory) : 0;
}

/* The path is not looked at before the call succeeds: only the kernel may find out that a pointer is bad. */
static bool was_of_descriptor(int result, const char *path, int flags)
{
    const char *volatile given = path; /* may be NULL, whatever the attributes in libc's headers say */
    return result == 0 && __builtin_expect((flags & AT_EMPTY_PATH) != 0, 0) && (given == NULL || *given == '\0');
}

static int fstatat_after(int result, int directory, const char *path, int flags, size_t held, struct stat *status)
{
    if (!was_of_descriptor(result, path, flags)) {
        return result;
    }
    return is_hidden(directory) ? -1 : add_held(result, held, status);
}

int statx_after(int result, int directory, const char *path, int flags, size_t held, struct statx *status)
{
    if (!was_of_descriptor(result, path, flags)) {
        return result;
    }
    if (is_hidden(directory)) {
        return -1;
    }
    if ((status->stx_mask & STATX_SIZE) != 0) {
        status->stx_size += held;
    }
    return result;
}

EXPORT int fstatat(int directory, const char *path, struct stat *status, int flags)
{
    size_t held = look_before(directory, flags);
    return fstatat_after(real.fstatat(directory, path, status, flags), directory, path, flags, held, status);
}

/* The same structure under another name. */
EXPORT int fstatat64(int directory, const char *path, struct stat64 *status, int flags)
{
    return fstatat(directory, path, (struct stat *)status, flags);
}

int __fxstatat(int version, int directory, const char *path, struct stat *status, int flags);
EXPORT int __fxstatat(int version, int directory, const char *path, struct stat *status, int flags)
{
    size_t held = look_before(directory, flags);
    int result = real.__fxstatat(version, directory, path, status, flags);
    return fstatat_after(result, directory, path, flags, held, status);
}
int __fxstatat64(int version, int directory, const char *path, struct stat *status, int flags);
EXPORT_ALIAS(__fxstatat64, __fxstatat);

EXPORT int statx(int directory, const char *path, int flags, unsigned mask, struct statx *status)
{
    size_t held = look_before(directory, flags);
    int result = real.statx(directory, path, flags, mask, status);
    return statx_after(result, directory, path, flags, held, status);
}
