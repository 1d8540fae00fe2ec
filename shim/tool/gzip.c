#include "gzip.h"

#include "../core/acl.h"
#include "../core/mode.h"
#include "../core/sys.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

enum { BUFFER_SIZE = 256 * 1024, BETWEEN_BYTES = 1024 * 1024, GZIP_WINDOW = MAX_WBITS + 16, MEMORY_LEVEL = 8 };

/* One direction or the other: what is read, what comes out, and zlib between them. */
struct squeeze {
    z_stream stream;
    unsigned char in[BUFFER_SIZE];
    unsigned char out[BUFFER_SIZE];
};

static ssize_t read_some(int fd, void *buffer, size_t size)
{
    ssize_t length;
    do {
        length = sys.read(fd, buffer, size);
    } while (length == -EINTR);
    return length;
}

static int write_all(int fd, unsigned char *bytes, size_t size)
{
    while (size > 0) {
        const struct iovec vector = {.iov_base = bytes, .iov_len = size};
        ssize_t written = sys.writev(fd, &vector, 1);
        if (written == -EINTR) {
            continue;
        }
        if (written <= 0) {
            return written < 0 ? (int)written : -EIO;
        }
        bytes += written;
        size -= (size_t)written;
    }
    return 0;
}

static int open_regular(int directory, const char *name, struct stat *status)
{
    int fd = sys.openat(directory, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC, 0);
    if (fd < 0) {
        return fd;
    }
    int error = sys.fstat(fd, status);
    if (error == 0 && !S_ISREG(status->st_mode)) {
        error = -EINVAL;
    }
    if (error != 0) {
        sys.close(fd);
    }
    return error != 0 ? error : fd;
}

/* Compresses what is in the buffer, all of it, and the end of the stream with Z_FINISH. */
static int squeeze_some(struct squeeze *squeeze, int hidden, size_t length, int flush)
{
    z_stream *stream = &squeeze->stream;
    int error = 0;
    stream->next_in = squeeze->in;
    stream->avail_in = (unsigned)length;
    do {
        stream->next_out = squeeze->out;
        stream->avail_out = BUFFER_SIZE;
        if (deflate(stream, flush) == Z_STREAM_ERROR) {
            return -EIO;
        }
        error = write_all(hidden, squeeze->out, BUFFER_SIZE - stream->avail_out);
    } while (error == 0 && stream->avail_out == 0);
    return error;
}

/* `size`: bytes that the plain file has; more or less is -EAGAIN. */
static int squeeze_all(const struct gzip_task *task, struct squeeze *squeeze, int plain, int hidden, int64_t size)
{
    int64_t done = 0;
    int64_t next = BETWEEN_BYTES;
    int error = 0;
    while (error == 0 && done <= size) {
        ssize_t length = read_some(plain, squeeze->in, BUFFER_SIZE);
        if (length <= 0) {
            error = (int)length;
            break;
        }
        done += length;
        error = squeeze_some(squeeze, hidden, (size_t)length, Z_NO_FLUSH);
        if (error == 0 && done >= next && task->between != NULL) {
            error = task->between(task->context);
            next = done + BETWEEN_BYTES;
        }
    }
    if (error == 0 && done != size) {
        error = -EAGAIN;
    }
    return error != 0 ? error : squeeze_some(squeeze, hidden, 0, Z_FINISH);
}

static int squeeze_file(const struct gzip_task *task, int plain, int hidden, const struct stat *status)
{
    struct squeeze *squeeze = calloc(1, sizeof *squeeze);
    if (squeeze == NULL) {
        return -ENOMEM;
    }
    int error = -ENOMEM;
    gz_header header = {.time = (uLong)status->st_mtim.tv_sec, .os = 3 /* Unix */};
    if (deflateInit2(&squeeze->stream, (int)task->level, Z_DEFLATED, GZIP_WINDOW, MEMORY_LEVEL, Z_DEFAULT_STRATEGY) ==
        Z_OK) {
        deflateSetHeader(&squeeze->stream, &header);
        error = squeeze_all(task, squeeze, plain, hidden, status->st_size);
        deflateEnd(&squeeze->stream);
    }
    free(squeeze);
    return error;
}

static int copy_attributes(int plain, int hidden, const struct stat *status)
{
    const struct timespec times[2] = {status->st_atim, status->st_mtim};
    struct stat made;
    int error = sys.fchown(hidden, status->st_uid, status->st_gid);
    if (error == -EPERM) {
        error = sys.fchown(hidden, (uid_t)-1, status->st_gid);
    }
    error = error == -EPERM ? 0 : error;
    error = error != 0 ? error : sys.fstat(hidden, &made);
    if (error != 0) {
        return error;
    }
    mode_t mode = mode_without(status->st_mode, made.st_uid == status->st_uid, made.st_gid == status->st_gid);
    error = acl_dress(hidden, plain, status, mode);
    return error != 0 ? error : sys.futimens(hidden, times);
}

bool gzip_is_unchanged(const struct stat *before, const struct stat *after)
{
    return before->st_dev == after->st_dev && before->st_ino == after->st_ino && before->st_size == after->st_size &&
           before->st_mtim.tv_sec == after->st_mtim.tv_sec && before->st_mtim.tv_nsec == after->st_mtim.tv_nsec;
}

static int fill(const struct gzip_task *task, int plain, int hidden, const struct stat *status)
{
    struct stat after;
    int error = squeeze_file(task, plain, hidden, status);
    error = error != 0 ? error : sys.fstat(plain, &after);
    if (error == 0 && !gzip_is_unchanged(status, &after)) {
        error = -EAGAIN;
    }
    error = error != 0 ? error : copy_attributes(plain, hidden, status);
    return error != 0 ? error : sys.fsync(hidden);
}

static int enter(const struct gzip_task *task)
{
    return task->enter == NULL ? 0 : task->enter(task->context);
}

static void leave(const struct gzip_task *task)
{
    if (task->leave != NULL) {
        task->leave(task->context);
    }
}

/* In the place of one that is left over. */
static int create_hidden(const struct gzip_task *task)
{
    int error = enter(task);
    if (error != 0) {
        return error;
    }
    error = sys.unlinkat(task->directory, task->hidden, 0);
    if (error == 0 || error == -ENOENT) {
        error = sys.openat(task->directory, task->hidden, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
    }
    leave(task);
    return error;
}

static void remove_hidden(const struct gzip_task *task)
{
    if (enter(task) == 0) {
        sys.unlinkat(task->directory, task->hidden, 0);
        leave(task);
    }
}

static int make_hidden(const struct gzip_task *task, int plain, const struct stat *status, struct stat *made)
{
    int hidden = create_hidden(task);
    if (hidden < 0) {
        return hidden;
    }
    int error = fill(task, plain, hidden, status);
    error = error != 0 ? error : sys.fstat(hidden, made);
    int closed = sys.close(hidden);
    error = error != 0 ? error : closed;
    if (error != 0) {
        remove_hidden(task);
    }
    return error;
}

int gzip_make(const struct gzip_task *task, int *plain_fd, struct stat *status, struct stat *made)
{
    int plain = open_regular(task->directory, task->plain, status);
    if (plain < 0) {
        return plain;
    }
    int error = make_hidden(task, plain, status, made);
    if (error != 0) {
        sys.close(plain);
        return error;
    }
    *plain_fd = plain;
    return 0;
}

/* The next `size` bytes of the plain file are those of `bytes`: 1, 0 or -errno. */
static int is_next(int plain, const unsigned char *bytes, size_t size)
{
    unsigned char buffer[16384];
    while (size > 0) {
        ssize_t length = read_some(plain, buffer, size < sizeof buffer ? size : sizeof buffer);
        if (length <= 0 || memcmp(buffer, bytes, (size_t)length) != 0) {
            return length < 0 ? (int)length : 0;
        }
        bytes += length;
        size -= (size_t)length;
    }
    return 1;
}

/* Expands what is in the buffer and compares it. *end: the compressed stream is complete. */
static int compare_some(struct squeeze *squeeze, int plain, bool *end)
{
    z_stream *stream = &squeeze->stream;
    int same = 1;
    do {
        stream->next_out = squeeze->out;
        stream->avail_out = BUFFER_SIZE;
        int result = inflate(stream, Z_NO_FLUSH);
        *end = result == Z_STREAM_END;
        if (result == Z_MEM_ERROR) {
            return -ENOMEM;
        }
        if (result != Z_OK && result != Z_BUF_ERROR && !*end) {
            return 0;
        }
        same = is_next(plain, squeeze->out, BUFFER_SIZE - stream->avail_out);
    } while (same == 1 && !*end && stream->avail_out == 0);
    return same;
}

/* One stream, as gzip_make makes it, and nothing behind it. */
static int compare_all(struct squeeze *squeeze, int plain, int compressed)
{
    bool end = false;
    int same = 1;
    while (same == 1) {
        ssize_t length = read_some(compressed, squeeze->in, BUFFER_SIZE);
        if (length <= 0 || end) {
            same = length < 0 ? (int)length : length == 0 && end;
            break;
        }
        squeeze->stream.next_in = squeeze->in;
        squeeze->stream.avail_in = (unsigned)length;
        same = compare_some(squeeze, plain, &end);
        same = same == 1 ? squeeze->stream.avail_in == 0 : same;
    }
    if (same == 1) {
        ssize_t more = read_some(plain, squeeze->in, 1);
        same = more < 0 ? (int)more : more == 0;
    }
    return same;
}

static int compare_files(int plain, int compressed)
{
    struct squeeze *squeeze = calloc(1, sizeof *squeeze);
    if (squeeze == NULL) {
        return -ENOMEM;
    }
    int same = -ENOMEM;
    if (inflateInit2(&squeeze->stream, GZIP_WINDOW) == Z_OK) {
        same = compare_all(squeeze, plain, compressed);
        inflateEnd(&squeeze->stream);
    }
    free(squeeze);
    return same;
}

int gzip_is_same(int directory, const char *plain, const char *compressed)
{
    struct stat status;
    int plain_fd = open_regular(directory, plain, &status);
    int compressed_fd = plain_fd < 0 ? plain_fd : open_regular(directory, compressed, &status);
    int same = compressed_fd < 0 ? compressed_fd : compare_files(plain_fd, compressed_fd);
    if (compressed_fd >= 0) {
        sys.close(compressed_fd);
    }
    if (plain_fd >= 0) {
        sys.close(plain_fd);
    }
    return same;
}
