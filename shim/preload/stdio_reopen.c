/* freopen: glibc's own would crash on a managed stream, and knows nothing of logs. */
#include "descriptor.h"
#include "real.h"
#include "stdio.h"
#include "stdio_private.h"

#include "core/diag.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

enum { PATH_SIZE = 32, MODE_SIZE = 256 };

/* The variable that the program reads the stream from: freopen may put a twin there. */
static FILE **variable_of(const FILE *stream)
{
    if (stream == stdout) {
        return &stdout;
    }
    return stream == stderr ? &stderr : NULL;
}

/* Puts a file on the stream's descriptor number, or another if it has none. The number, or -errno: then it is closed.
 */
static int reopen_descriptor(const char *path, const struct stream_mode *mode, int fd)
{
    int opened = descriptor_open(AT_FDCWD, path, mode->open_flags, 0666);
    if (fd < 0 || opened == fd) {
        return opened;
    }
    if (opened < 0) {
        descriptor_close(fd);
        return opened;
    }
    int result = descriptor_dup3(opened, fd, mode->open_flags & O_CLOEXEC);
    descriptor_close(opened);
    if (result < 0) {
        descriptor_close(fd);
    }
    return result < 0 ? result : fd;
}

/* What glibc leaves of a stream that could not be opened again: closed, but still to be passed to fclose. */
static void mark_closed(struct managed_stream *managed, int error)
{
    FILE *original = atomic_load(&managed->original);
    stream_reset(managed, -1, STREAM_NO_READS | STREAM_NO_WRITES);
    if (original != NULL) {
        original->_fileno = -1;
    }
    errno = error;
}

static FILE *reopen_managed(const char *path, const char *text, struct managed_stream *managed)
{
    FILE *stream = managed->stream;
    FILE *original = atomic_load(&managed->original);
    int fd = stream->_fileno;
    struct stream_mode mode;
    int saved = errno;
    stream_flush(managed); /* an error of this is ignored */
    descriptor_empty(fd);

    int result = stream_mode_parse(text, MODE_FOPEN, &mode);
    char own_path[PATH_SIZE];
    if (path == NULL) {
        diag_format(own_path, sizeof own_path, "/proc/self/fd/%d", fd);
    }
    if (result == 0) {
        managed->closes_on_exec = managed->closes_on_exec || (mode.open_flags & O_CLOEXEC) != 0;
        mode.open_flags |= managed->closes_on_exec ? O_CLOEXEC : 0;
        result = reopen_descriptor(path != NULL ? path : own_path, &mode, fd);
    } else {
        descriptor_close(fd);
    }
    if (result < 0) {
        mark_closed(managed, -result);
        return NULL;
    }
    fd = result;
    if ((mode.stream_flags & STREAM_NO_READS) != 0) {
        lseek(fd, 0, SEEK_END); /* as stdio_fopen */
    }
    stream_reset(managed, fd, mode.stream_flags);
    stream_choose_buffer(stream, NULL);
    if (original != NULL) {
        original->_fileno = fd;
    }
    errno = saved;
    return stream;
}

/* The same mode for a second open of a log: there is nothing to truncate any more, nor to be made. */
static const char *appending_mode(const char *text, char mode[MODE_SIZE])
{
    size_t length = 0;
    for (const char *letter = text; *letter != '\0' && length < MODE_SIZE - 1; letter++) {
        if (*letter != 'x' || letter - text >= MODE_FOPEN) {
            mode[length++] = *letter;
        }
    }
    mode[length] = '\0';
    if (mode[0] == 'w') {
        mode[0] = 'a';
    }
    return mode;
}

/* glibc does the work; but what opening a log means (`truncate`, the rule's mode and owner) is done before. */
static FILE *reopen_plain(const char *path, const char *text, FILE *stream,
                          FILE *(*next)(const char *, const char *, FILE *))
{
    struct stream_mode mode;
    char appending[MODE_SIZE];
    int saved = errno;
    if ((stream->_flags & STREAM_IS_FILE) != 0 && stream->_fileno >= 0) {
        descriptor_forget(stream->_fileno);
    }
    if (path != NULL && stream_mode_parse(text, MODE_FOPEN, &mode) == 0 &&
        (mode.stream_flags & STREAM_NO_WRITES) == 0 && descriptor_path_is_log(AT_FDCWD, path, mode.open_flags)) {
        int opened = descriptor_open(AT_FDCWD, path, mode.open_flags, 0666);
        if (opened >= 0) {
            descriptor_close(opened);
            text = appending_mode(text, appending);
        }
    }
    errno = saved;
    FILE *result = next(path, text, stream);
    if (result != NULL) {
        saved = errno;
        descriptor_forget(result->_fileno);
        stdio_route(result); /* makes the twin, if it is a log now */
        errno = saved;
    }
    return result;
}

/*
 * Returns the stream that was given, but for stdout and stderr what the variable says now: programs write
 * `stdout = freopen(...)`, and compare the result with stdout.
 */
FILE *stdio_freopen(const char *path, const char *text, FILE *stream, FILE *(*next)(const char *, const char *, FILE *))
{
    if (!stdio_active) {
        return next(path, text, stream);
    }
    FILE **variable = variable_of(stream);
    FILE *routed = stdio_route(stream);
    struct managed_stream *managed = stream_managed(routed);
    FILE *result;
    if (managed == NULL) {
        result = reopen_plain(path, text, stream, next);
    } else {
        int state = stream_lock(routed);
        result = reopen_managed(path, text, managed);
        stream_unlock(routed, state);
    }
    if (result == NULL) {
        return NULL;
    }
    return variable != NULL ? *variable : stream;
}
