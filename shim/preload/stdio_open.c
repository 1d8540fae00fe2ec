/* Opening, closing and flushing streams that are, or may be, managed. */
#include "descriptor.h"
#include "real.h"
#include "stdio.h"
#include "stdio_private.h"

#include <errno.h>
#include <unistd.h>

/* Of pthread_cleanup_push; the library must load with a libc that has none, though it does nothing there. */
#pragma weak __pthread_register_cancel
#pragma weak __pthread_unregister_cancel
#pragma weak __pthread_unwind_next

/* A managed stream on a managed descriptor. */
static FILE *open_managed(int fd, int stream_flags)
{
    struct managed_stream *managed = stream_new(fd, stream_flags);
    if (managed == NULL) {
        return NULL;
    }
    stream_choose_buffer(managed->stream, NULL);
    return managed->stream;
}

static FILE *open_log(const char *path, const char *text, const struct stream_mode *mode)
{
    int saved = errno;
    int fd = descriptor_open(AT_FDCWD, path, mode->open_flags, 0666);
    if (fd < 0) {
        errno = -fd;
        return NULL;
    }
    FILE *stream = descriptor_managed(fd) ? open_managed(fd, mode->stream_flags) : real.fdopen(fd, text);
    if (stream == NULL) {
        int error = errno;
        descriptor_close(fd);
        errno = error;
        return NULL;
    }
    struct managed_stream *managed = stream_managed(stream);
    if (managed != NULL) {
        managed->closes_on_exec = (mode->open_flags & O_CLOEXEC) != 0;
    }
    if ((mode->stream_flags & STREAM_NO_READS) != 0) {
        lseek(fd, 0, SEEK_END); /* as glibc does for "a": ftell tells the size */
    }
    errno = saved;
    return stream;
}

FILE *stdio_fopen(const char *path, const char *text, FILE *(*next)(const char *, const char *))
{
    struct stream_mode mode;
    if (!stdio_active || stream_mode_parse(text, MODE_FOPEN, &mode) != 0) {
        return next(path, text);
    }
    int saved = errno;
    if ((mode.stream_flags & STREAM_NO_WRITES) == 0 && descriptor_path_is_log(AT_FDCWD, path, mode.open_flags)) {
        errno = saved;
        return open_log(path, text, &mode);
    }
    errno = saved;
    FILE *stream = next(path, text);
    if (stream != NULL) {
        descriptor_opened(stream->_fileno, path); /* whatever had this number was closed by libc */
    }
    if (stream != NULL) {
        errno = saved;
    }
    return stream;
}

FILE *stdio_fdopen(int fd, const char *text)
{
    struct stream_mode mode;
    int saved = errno;
    bool managed = stdio_active && stream_mode_parse(text, MODE_FDOPEN, &mode) == 0 &&
                   (mode.stream_flags & STREAM_NO_WRITES) == 0 && descriptor_managed(fd);
    errno = saved;
    if (!managed) {
        return real.fdopen(fd, text);
    }
    /* A managed descriptor is open for writing, and has O_APPEND. */
    int flags = real.fcntl(fd, F_GETFL);
    if (flags < 0) {
        return NULL;
    }
    if ((flags & O_ACCMODE) == O_WRONLY && (mode.stream_flags & STREAM_NO_READS) == 0) {
        errno = EINVAL;
        return NULL;
    }
    if ((mode.stream_flags & STREAM_APPENDING) != 0) {
        descriptor_show_append(fd, true); /* glibc sets it */
    }
    return open_managed(fd, mode.stream_flags);
}

static int close_plain(FILE *stream)
{
    int saved = errno;
    struct closing closing = {.log = NULL};
    if ((stream->_flags & STREAM_IS_FILE) != 0 && stream->_fileno >= 0) {
        descriptor_before_close(stream->_fileno, &closing);
        if (closing.log == NULL) {
            descriptor_forget(stream->_fileno);
        }
    }
    errno = saved;
    int result = real.fclose(stream);
    saved = errno;
    descriptor_after_close(&closing);
    errno = saved;
    return result;
}

int stdio_fclose(FILE *stream)
{
    if (!stdio_active) {
        return real.fclose(stream);
    }
    bool closed;
    int result = twin_close(stream, &closed);
    if (closed) {
        return result;
    }
    if (twin_is_standard(stream)) { /* closed before; glibc must not free it */
        errno = EBADF;
        return EOF;
    }
    struct managed_stream *managed = stream_managed(stream);
    return managed != NULL ? stream_fclose(managed) : close_plain(stream);
}

/* An explicit flush also means the unfinished line. */
static int flush_managed(struct managed_stream *managed)
{
    FILE *stream = managed->stream;
    int saved = errno;
    if (stream_flush(managed) == EOF) {
        return EOF;
    }
    int result = descriptor_release(stream->_fileno);
    errno = result < 0 ? -result : saved;
    if (result == 0) {
        return 0;
    }
    stream->_flags |= STREAM_ERROR;
    return EOF;
}

static void unlock(void *stream)
{
    funlockfile(stream);
}

/* A cancellation point, as glibc's. */
static int flush_locked(struct managed_stream *managed)
{
    int result;
    flockfile(managed->stream);
    pthread_cleanup_push(unlock, managed->stream);
    result = flush_managed(managed);
    pthread_cleanup_pop(1);
    return result;
}

int stdio_fflush(FILE *stream, int (*next)(FILE *))
{
    struct managed_stream *managed = stdio_active ? stream_managed(twin_route(stream)) : NULL;
    if (managed == NULL) {
        return next(stream);
    }
    return next == real.fflush_unlocked ? flush_managed(managed) : flush_locked(managed);
}

int stdio_fflush_all(void)
{
    if (!stdio_active) {
        return real.fflush(NULL);
    }
    int result = 0;
    int saved = errno;
    for (struct managed_stream *managed = stream_next(NULL); managed != NULL; managed = stream_next(managed)) {
        if (atomic_load(&managed->original) == NULL) {
            continue;
        }
        int state = stream_lock(managed->stream);
        result |= stream_flush(managed);
        stream_unlock(managed->stream, state);
    }
    int error = errno;
    if (real.fflush(NULL) == EOF) {
        result = EOF;
        error = errno;
    }
    int released = descriptor_release_all();
    if (released < 0) {
        result = EOF;
        error = -released;
    }
    errno = result == EOF ? error : saved;
    return result;
}
