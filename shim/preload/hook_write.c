/*
 * write and its family.
 */
#include "hook.h"

#include <limits.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static ssize_t write_vector(int fd, const struct iovec *vector, int count, off_t offset, int flags)
{
    int saved = errno;
    return hook_result(saved, descriptor_write(fd, vector, count, offset, flags, SOURCE_WRITE));
}

/* A piece of the program's; at the end of the log, or with an offset, which is a side effect. */
static __attribute__((noinline)) ssize_t write_piece(int fd, const void *buffer, size_t size, off_t offset)
{
    const struct iovec piece = {.iov_base = (void *)(uintptr_t)buffer, .iov_len = size};
    return write_vector(fd, &piece, 1, offset, 0);
}

static __attribute__((noinline)) ssize_t append(struct writer *writer, int fd, const void *buffer, size_t size)
{
    int saved = errno;
    return hook_result(saved, descriptor_append(writer, fd, buffer, size));
}

static __attribute__((noinline)) ssize_t put(struct writer *writer, int fd, const void *buffer, size_t size)
{
    ssize_t taken = descriptor_put(writer, fd, buffer, size);
    return __builtin_expect(taken >= 0, 1) ? taken : append(writer, fd, buffer, size);
}

/* The number is high or unknown, or everything is raw. */
static __attribute__((noinline)) ssize_t write_otherwise(int fd, const void *buffer, size_t size)
{
    if (!descriptor_takes_write(fd) || size > SSIZE_MAX) {
        return real.write(fd, buffer, size);
    }
    return write_piece(fd, buffer, size, DESCRIPTOR_APPEND);
}

/* What goes to a log or to a plain file, which most writes do, goes on from here without coming back. */
EXPORT ssize_t write(int fd, const void *buffer, size_t size)
{
    uintptr_t state = descriptor_near_state(fd);
    if (state > DESCRIPTOR_LOCK && size <= SSIZE_MAX) {
        struct writer *writer = (struct writer *)state;
        return descriptor_buffers(writer) ? put(writer, fd, buffer, size) : append(writer, fd, buffer, size);
    }
    if (state == DESCRIPTOR_PLAIN) {
        return real.write(fd, buffer, size);
    }
    return write_otherwise(fd, buffer, size);
}
EXPORT_ALIAS(__write, write);

EXPORT ssize_t writev(int fd, const struct iovec *vector, int count)
{
    if (!descriptor_takes_write(fd)) {
        return real.writev(fd, vector, count);
    }
    return write_vector(fd, vector, count, DESCRIPTOR_APPEND, 0);
}

EXPORT ssize_t pwrite(int fd, const void *buffer, size_t size, off_t offset)
{
    if (offset < 0 || !descriptor_takes_write(fd)) {
        return real.pwrite(fd, buffer, size, offset);
    }
    return write_piece(fd, buffer, size, offset);
}
EXPORT_ALIAS(pwrite64, pwrite);
EXPORT_ALIAS(__pwrite64, pwrite);

EXPORT ssize_t pwritev(int fd, const struct iovec *vector, int count, off_t offset)
{
    if (offset < 0 || !descriptor_takes_write(fd)) {
        return real.pwritev(fd, vector, count, offset);
    }
    return write_vector(fd, vector, count, offset, 0);
}
EXPORT_ALIAS(pwritev64, pwritev);

EXPORT ssize_t pwritev2(int fd, const struct iovec *vector, int count, off_t offset, int flags)
{
    if (offset < -1 || !descriptor_takes_write(fd)) {
        return real.pwritev2(fd, vector, count, offset, flags);
    }
    return write_vector(fd, vector, count, offset, flags);
}
EXPORT_ALIAS(pwritev64v2, pwritev2);

/* dprintf's text as one record. */
static int print(int fd, const char *format, va_list arguments)
{
    char small[1024];
    char *text = small;
    va_list again;
    va_copy(again, arguments);
    int length = vsnprintf(small, sizeof small, format, arguments);
    if (length >= (int)sizeof small) {
        text = malloc((size_t)length + 1);
        length = text == NULL ? -1 : vsnprintf(text, (size_t)length + 1, format, again);
    }
    va_end(again);
    ssize_t written = length;
    for (int done = 0; done < length && written >= 0;) {
        written = write_piece(fd, text + done, (size_t)(length - done), DESCRIPTOR_APPEND);
        done += (int)(written > 0 ? written : 0);
    }
    if (text != small) {
        int saved = errno;
        free(text);
        errno = saved;
    }
    return written < 0 ? -1 : length;
}

EXPORT int vdprintf(int fd, const char *format, va_list arguments)
{
    return descriptor_managed(fd) ? print(fd, format, arguments) : real.vdprintf(fd, format, arguments);
}

EXPORT int __vdprintf_chk(int fd, int flag, const char *format, va_list arguments)
{
    return descriptor_managed(fd) ? print(fd, format, arguments) : real.__vdprintf_chk(fd, flag, format, arguments);
}

EXPORT int dprintf(int fd, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    int length = vdprintf(fd, format, arguments);
    va_end(arguments);
    return length;
}

EXPORT int __dprintf_chk(int fd, int flag, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    int length = __vdprintf_chk(fd, flag, format, arguments);
    va_end(arguments);
    return length;
}

/* A program that opened its log with O_APPEND gets the kernel's refusal, as ever, and writes instead. */
static bool is_for_log(int fd)
{
    return descriptor_managed(fd) && !descriptor_appends(fd);
}

/* No more, because coroutines have small stacks. */
enum { COPIED_AT_ONCE = 4096 };

/*
 * The kernel refuses to copy into an O_APPEND descriptor, which every log is: copied by hand, in pieces that the
 * line rules keep whole.
 */
static ssize_t copy_to_log(int in, off_t *in_offset, int log, size_t size)
{
    char buffer[COPIED_AT_ONCE];
    size_t copied = 0;
    while (copied < size) {
        size_t want = size - copied < sizeof buffer ? size - copied : sizeof buffer;
        ssize_t got = in_offset != NULL ? pread(in, buffer, want, *in_offset) : read(in, buffer, want);
        if (got <= 0) {
            return copied > 0 ? (ssize_t)copied : got;
        }
        ssize_t put = write_piece(log, buffer, (size_t)got, DESCRIPTOR_APPEND);
        if (put < got && in_offset == NULL) {
            lseek(in, (put < 0 ? 0 : put) - got, SEEK_CUR); /* what was not written was not copied */
        }
        if (put < 0) {
            return copied > 0 ? (ssize_t)copied : -1;
        }
        copied += (size_t)put;
        if (in_offset != NULL) {
            *in_offset += put;
        }
        if (put < got || (size_t)got < want) {
            break;
        }
    }
    return (ssize_t)copied;
}

/* What is copied out of a log is read from it: see hook_read.c. */
static void write_out(int in)
{
    if (__builtin_expect(descriptor_held(in) > 0 || descriptor_waits(in), 0)) {
        int saved = errno;
        descriptor_empty(in);
        errno = saved;
    }
}

EXPORT ssize_t copy_file_range(int in, off_t *in_offset, int out, off_t *out_offset, size_t size, unsigned flags)
{
    write_out(in);
    if (!is_for_log(out) || flags != 0) {
        return real.copy_file_range(in, in_offset, out, out_offset, size, flags);
    }
    ssize_t copied = copy_to_log(in, in_offset, out, size);
    if (copied > 0 && out_offset != NULL) {
        *out_offset += copied;
    }
    return copied;
}

EXPORT ssize_t sendfile(int out, int in, off_t *offset, size_t size)
{
    write_out(in);
    if (!is_for_log(out)) {
        return real.sendfile(out, in, offset, size);
    }
    return copy_to_log(in, offset, out, size);
}
EXPORT_ALIAS(sendfile64, sendfile);

EXPORT ssize_t splice(int in, off_t *in_offset, int out, off_t *out_offset, size_t size, unsigned flags)
{
    const unsigned known = SPLICE_F_MOVE | SPLICE_F_NONBLOCK | SPLICE_F_MORE;
    write_out(in);
    if (!is_for_log(out) || (flags & ~known) != 0) {
        return real.splice(in, in_offset, out, out_offset, size, flags);
    }
    struct pollfd ready = {.fd = in, .events = POLLIN};
    if ((flags & SPLICE_F_NONBLOCK) && poll(&ready, 1, 0) == 0) {
        errno = EAGAIN;
        return -1;
    }
    /* From a pipe: one read's worth, as splice takes what is there. */
    ssize_t copied = copy_to_log(in, in_offset, out, size < COPIED_AT_ONCE ? size : COPIED_AT_ONCE);
    if (copied > 0 && out_offset != NULL) {
        *out_offset += copied;
    }
    return copied;
}

EXPORT int fsync(int fd)
{
    int saved = errno;
    int error = descriptor_is_own(fd) ? -EBADF : descriptor_empty(fd);
    if (hook_result(saved, error) < 0) {
        return -1;
    }
    return real.fsync(fd);
}

EXPORT int fdatasync(int fd)
{
    int saved = errno;
    int error = descriptor_is_own(fd) ? -EBADF : descriptor_empty(fd);
    if (hook_result(saved, error) < 0) {
        return -1;
    }
    return real.fdatasync(fd);
}

/* What is held belongs before the cut. */
EXPORT int ftruncate(int fd, off_t length)
{
    int saved = errno;
    int error = descriptor_is_own(fd) ? -EBADF : descriptor_empty(fd);
    if (hook_result(saved, error) < 0) {
        return -1;
    }
    return real.ftruncate(fd, length);
}
EXPORT_ALIAS(ftruncate64, ftruncate);

/*
 * A program that did not ask for O_APPEND writes over what it has reserved. In a log it appends, so the space is
 * reserved behind the end: the file does not grow by zeros.
 */
static bool reserves(int fd)
{
    return descriptor_managed(fd) && !descriptor_appends(fd);
}

EXPORT int fallocate(int fd, int mode, off_t offset, off_t length)
{
    return real.fallocate(fd, mode == 0 && reserves(fd) ? FALLOC_FL_KEEP_SIZE : mode, offset, length);
}
EXPORT_ALIAS(fallocate64, fallocate);

/* libc's own would write the zeros where the file system cannot reserve. */
EXPORT int posix_fallocate(int fd, off_t offset, off_t length)
{
    int saved = errno;
    if (!reserves(fd)) {
        return real.posix_fallocate(fd, offset, length);
    }
    int error = real.fallocate(fd, FALLOC_FL_KEEP_SIZE, offset, length) == 0 ? 0 : errno;
    errno = saved;
    return error == EOPNOTSUPP || error == ENOSYS ? 0 : error;
}
EXPORT_ALIAS(posix_fallocate64, posix_fallocate);
