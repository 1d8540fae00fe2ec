/* Managed streams: cookie streams of glibc's whose functions write through the shim. */
#include "descriptor.h"
#include "real.h"
#include "stdio_private.h"

#include "core/sys.h"
#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

bool stdio_active;

/* What glibc keeps behind every FILE: its table of functions, and, for cookie streams, the cookie. */
struct cookie_file {
    FILE file;
    const void *functions;
    struct managed_stream *cookie;
};

/* The beginning of what glibc keeps for the wide characters of a stream. */
struct wide_file {
    wchar_t *read_ptr, *read_end, *read_base;
    wchar_t *write_base, *write_ptr, *write_end;
};

/* The table that all cookie streams have: how they are told from glibc's other streams. */
static const void *cookie_functions;

static _Atomic(struct managed_stream *) all_streams;

static enum descriptor_source write_source(const FILE *stream)
{
    return (stream->_flags & STREAM_UNBUFFERED) != 0 ? SOURCE_WRITE : SOURCE_BUFFER;
}

static void skip(struct iovec *vector, size_t done)
{
    for (int i = 0; i < 2; i++) {
        size_t taken = done < vector[i].iov_len ? done : vector[i].iov_len;
        vector[i].iov_base = (char *)vector[i].iov_base + taken;
        vector[i].iov_len -= taken;
        done -= taken;
    }
}

/* Writes both parts. Returns 0 or -errno; what was not written remains in the vector. */
static int write_all(FILE *stream, struct iovec vector[2])
{
    while (vector[0].iov_len + vector[1].iov_len > 0) {
        ssize_t done;
        if (descriptor_managed(stream->_fileno)) {
            done = descriptor_write(stream->_fileno, vector, 2, DESCRIPTOR_APPEND, 0, write_source(stream));
        } else {
            /* write, as glibc's own stream would: a sandbox may allow nothing else. */
            const struct iovec *first = vector[0].iov_len > 0 ? &vector[0] : &vector[1];
            done = real.write(stream->_fileno, first->iov_base, first->iov_len);
            if (done < 0) {
                done = -errno;
            }
        }
        if (done < 0) {
            return (int)done;
        }
        skip(vector, (size_t)done);
    }
    return 0;
}

/*
 * What an original buffered before its twin took over goes out before the twin's own. It is looked at as late as
 * this because the redirection may have happened in a signal handler that interrupted the original's own writing.
 */
static struct iovec pending_of(const FILE *original)
{
    struct iovec pending = {NULL, 0};
    if (original != NULL && original->_mode <= 0 && original->_IO_write_ptr > original->_IO_write_base) {
        pending.iov_base = original->_IO_write_base;
        pending.iov_len = (size_t)(original->_IO_write_ptr - original->_IO_write_base);
    }
    return pending;
}

/* The same of wide characters, which are converted only when they are written. 0 or -errno. */
static int write_wide_pending(struct managed_stream *managed, FILE *original)
{
    enum { PIECE = 1024 };
    char bytes[PIECE + MB_LEN_MAX];
    struct wide_file *wide = (struct wide_file *)original->_wide_data;
    wchar_t *end = wide->write_ptr;
    int result = 0;
    wide->write_ptr = wide->write_base;
    for (wchar_t *next = wide->write_base; next < end && result == 0;) {
        size_t used = 0;
        while (next < end && used < PIECE) {
            size_t length = wcrtomb(bytes + used, *next++, &managed->write_state);
            if (length != (size_t)-1) {
                used += length;
            } else {
                memset(&managed->write_state, 0, sizeof managed->write_state); /* as lost as in glibc */
            }
        }
        struct iovec vector[2] = {{bytes, used}, {NULL, 0}};
        result = write_all(managed->stream, vector);
    }
    return result;
}

/* Written or not, it is gone, as in a stream of glibc's; and putc_unlocked, inlined, must not put anything there. */
static void drop_pending(FILE *original)
{
    original->_IO_write_base = original->_IO_write_ptr = original->_IO_write_end = original->_IO_buf_base;
}

/* Writes out the original's pending bytes and *own, which becomes what could not be written. Returns 0 or -errno. */
static int write_out(struct managed_stream *managed, struct iovec *own)
{
    FILE *original = atomic_load(&managed->original);
    struct iovec vector[2] = {pending_of(original), *own};
    bool pending = vector[0].iov_len > 0;
    int result = original != NULL && original->_mode > 0 ? write_wide_pending(managed, original) : 0;
    result = result == 0 ? write_all(managed->stream, vector) : result;
    if (pending) {
        drop_pending(original);
    }
    *own = vector[1];
    return result;
}

/* The write function: the bytes that were written; fewer than `size` mean an error, never a negative result. */
static ssize_t stream_write(void *cookie, const char *data, size_t size)
{
    int saved = errno;
    struct iovec own = {(void *)(uintptr_t)data, size};
    int result = write_out(cookie, &own);
    errno = result < 0 ? -result : saved;
    return (ssize_t)(size - own.iov_len);
}

static ssize_t stream_read(void *cookie, char *buffer, size_t size)
{
    struct managed_stream *managed = cookie;
    wide_orient(managed, -1); /* wide input has said so before */
    return read(managed->stream->_fileno, buffer, size);
}

/* What comes to the file's end as soon as it is written: the pending bytes of a twin's original, a held line. */
static off64_t behind(const struct managed_stream *managed)
{
    size_t pending = pending_of(atomic_load(&managed->original)).iov_len;
    return (off64_t)(pending + descriptor_held(managed->stream->_fileno));
}

/*
 * The offset is 0 when ftell asks, which must not write anything: many a program looks at the size of its log after
 * every line. Any other seek is only true once nothing is pending or held.
 */
static int stream_seek(void *cookie, off64_t *offset, int whence)
{
    struct managed_stream *managed = cookie;
    int fd = managed->stream->_fileno;
    int saved = errno;
    bool asks = *offset == 0 && whence != SEEK_SET;
    struct iovec own = {NULL, 0};
    int result = asks ? 0 : write_out(managed, &own);
    if (result == 0 && !asks) {
        result = descriptor_empty(fd);
    }
    if (result < 0) {
        errno = -result;
        return -1;
    }
    descriptor_drain(fd);
    errno = saved;
    *offset = real.lseek(fd, *offset, whence);
    if (*offset < 0) {
        return -1;
    }
    *offset += behind(managed);
    return 0;
}

static void release(struct managed_stream *managed)
{
    managed->stream = NULL;
    managed->own_lock = NULL;
    atomic_store(&managed->original, NULL);
    atomic_store(&managed->used, false);
}

/* A twin's descriptor is closed by its original. */
static int stream_close(void *cookie)
{
    struct managed_stream *managed = cookie;
    int fd = managed->stream->_fileno;
    bool twin = managed->own_lock != NULL;
    release(managed);
    if (twin) {
        return 0;
    }
    int saved = errno;
    int result = descriptor_close(fd);
    errno = result < 0 ? -result : saved;
    return result < 0 ? -1 : 0;
}

int stream_fclose(struct managed_stream *managed)
{
    FILE *stream = managed->stream;
    if (stream->_fileno < 0) {
        release(managed); /* the close function will not be called */
    }
    return real.fclose(stream);
}

static FILE *open_cookie(struct managed_stream *managed, const char *mode)
{
    static const cookie_io_functions_t functions = {
        .read = stream_read, .write = stream_write, .seek = stream_seek, .close = stream_close};
    return libc.fopencookie(managed, mode, functions);
}

static struct managed_stream *take(void)
{
    for (struct managed_stream *managed = atomic_load(&all_streams); managed != NULL; managed = managed->next) {
        bool used = false;
        if (atomic_compare_exchange_strong(&managed->used, &used, true)) {
            return managed;
        }
    }
    struct managed_stream *managed = calloc(1, sizeof *managed);
    if (managed == NULL) {
        return NULL;
    }
    atomic_store(&managed->used, true);
    managed->next = atomic_load(&all_streams);
    while (!atomic_compare_exchange_weak(&all_streams, &managed->next, managed)) {
        continue;
    }
    return managed;
}

SYS_START struct managed_stream *stream_new(int fd, int stream_flags)
{
    struct managed_stream *managed = take();
    if (managed == NULL) {
        return NULL;
    }
    managed->orientation = 0;
    managed->closes_on_exec = false;
    memset(&managed->write_state, 0, sizeof managed->write_state);
    memset(&managed->read_state, 0, sizeof managed->read_state);
    FILE *stream = open_cookie(managed, "a+");
    if (stream == NULL) {
        atomic_store(&managed->used, false);
        return NULL;
    }
    stream->_flags &= ~(STREAM_NO_READS | STREAM_NO_WRITES | STREAM_APPENDING);
    stream->_flags |= stream_flags;
    stream->_fileno = fd;
    managed->stream = stream;
    return managed;
}

bool stream_learn(const struct managed_stream *managed)
{
    const struct cookie_file *file = (const struct cookie_file *)managed->stream;
    cookie_functions = file->functions;
    return file->cookie == managed && file->functions != NULL;
}

struct managed_stream *stream_managed(FILE *stream)
{
    struct cookie_file *file = (struct cookie_file *)stream;
    /* A cookie stream of the program's own has a _fileno of -2; a closed one of ours has -1. */
    return file->functions == cookie_functions && stream->_fileno >= -1 ? file->cookie : NULL;
}

struct managed_stream *stream_next(struct managed_stream *previous)
{
    struct managed_stream *managed = previous == NULL ? atomic_load(&all_streams) : previous->next;
    while (managed != NULL && managed->stream == NULL) {
        managed = managed->next;
    }
    return managed;
}

void stream_set_buffer(FILE *stream, char *memory, size_t size)
{
    char *buffer = memory != NULL ? memory : malloc(size);
    if (buffer == NULL) {
        return; /* glibc will try again, and in the end do without */
    }
    stream->_flags = memory != NULL ? stream->_flags | STREAM_USER_BUFFER : stream->_flags & ~STREAM_USER_BUFFER;
    stream->_IO_buf_base = buffer;
    stream->_IO_buf_end = buffer + size;
    stream->_IO_read_base = stream->_IO_read_ptr = stream->_IO_read_end = buffer;
    stream->_IO_write_base = stream->_IO_write_ptr = stream->_IO_write_end = buffer;
}

/* The size as in glibc's _IO_file_doallocate: st_blksize if that is smaller than BUFSIZ. */
static size_t buffer_size(FILE *stream)
{
    struct stat status;
    if (sys.fstat(stream->_fileno, &status) != 0) {
        return BUFSIZ;
    }
    if (S_ISCHR(status.st_mode) && isatty(stream->_fileno)) {
        stream->_flags |= STREAM_LINE_BUFFERED;
    }
    return status.st_blksize > 0 && status.st_blksize < BUFSIZ ? (size_t)status.st_blksize : BUFSIZ;
}

void stream_choose_buffer(FILE *stream, char *memory)
{
    int saved = errno;
    if ((stream->_flags & STREAM_UNBUFFERED) == 0) {
        stream_set_buffer(stream, memory, buffer_size(stream));
    }
    errno = saved;
}

void stream_reset(struct managed_stream *managed, int fd, int stream_flags)
{
    FILE *stream = managed->stream;
    real.__fpurge(stream);
    real.setvbuf(stream, NULL, _IONBF, 0); /* frees the buffer */
    stream->_flags &= ~(STREAM_UNBUFFERED | STREAM_LINE_BUFFERED | STREAM_NO_READS | STREAM_NO_WRITES |
                        STREAM_APPENDING | STREAM_PUTTING | STREAM_EOF | STREAM_ERROR);
    stream->_flags |= stream_flags;
    stream->_IO_buf_base = stream->_IO_buf_end = NULL;
    stream->_IO_read_base = stream->_IO_read_ptr = stream->_IO_read_end = NULL;
    stream->_IO_write_base = stream->_IO_write_ptr = stream->_IO_write_end = NULL;
    stream->_fileno = fd;
    managed->orientation = 0;
    memset(&managed->write_state, 0, sizeof managed->write_state);
    memset(&managed->read_state, 0, sizeof managed->read_state);
}

int stream_flush(struct managed_stream *managed)
{
    FILE *stream = managed->stream;
    int saved = errno;
    if (real.fflush_unlocked(stream) == EOF) {
        return EOF;
    }
    /* If the stream had nothing of its own to write, its write function was not called. */
    struct iovec own = {NULL, 0};
    int result = write_out(managed, &own);
    errno = result < 0 ? -result : saved;
    if (result == 0) {
        return 0;
    }
    stream->_flags |= STREAM_ERROR;
    return EOF;
}
