/* Opening, closing, flushing, buffering and positioning of streams. */
#define __NO_INLINE__ 1 /* the inline versions of the headers would be in the way of ours */
#include "descriptor.h"
#include "real.h"
#include "stdio_private.h"

#include <errno.h>
#include <stdio_ext.h>

EXPORT FILE *fopen(const char *path, const char *mode)
{
    return stdio_fopen(path, mode, real.fopen);
}
EXPORT_ALIAS(_IO_fopen, fopen);

EXPORT FILE *fopen64(const char *path, const char *mode)
{
    return stdio_fopen(path, mode, real.fopen64);
}

EXPORT FILE *fdopen(int fd, const char *mode)
{
    return stdio_fdopen(fd, mode);
}
EXPORT_ALIAS(_IO_fdopen, fdopen);

EXPORT FILE *freopen(const char *path, const char *mode, FILE *stream)
{
    return stdio_freopen(path, mode, stream, real.freopen);
}

EXPORT FILE *freopen64(const char *path, const char *mode, FILE *stream)
{
    return stdio_freopen(path, mode, stream, real.freopen64);
}

EXPORT int fclose(FILE *stream)
{
    return stdio_fclose(stream);
}
EXPORT_ALIAS(_IO_fclose, fclose);

/* glibc's flushes every stream, and closes none. */
EXPORT int fcloseall(void)
{
    int flushed = stdio_fflush_all();
    int result = real.fcloseall();
    return flushed == EOF ? EOF : result;
}

EXPORT int fflush(FILE *stream)
{
    return stream == NULL ? stdio_fflush_all() : stdio_fflush(stream, real.fflush);
}
EXPORT_ALIAS(_IO_fflush, fflush);

EXPORT int fflush_unlocked(FILE *stream)
{
    return stream == NULL ? stdio_fflush_all() : stdio_fflush(stream, real.fflush_unlocked);
}

/* An explicit flush as well: it also means the unfinished lines. */
EXPORT void _flushlbf(void)
{
    int saved = errno;
    real._flushlbf();
    descriptor_release_all();
    errno = saved;
}

EXPORT int setvbuf(FILE *stream, char *buffer, int mode, size_t size)
{
    FILE *routed = stdio_route(stream);
    if (mode == _IOFBF && buffer == NULL) {
        stdio_prepare(routed);
    }
    return real.setvbuf(routed, buffer, mode, size);
}
EXPORT_ALIAS(_IO_setvbuf, setvbuf);

EXPORT void setbuffer(FILE *stream, char *buffer, size_t size)
{
    real.setbuffer(stdio_route(stream), buffer, size);
}
EXPORT_ALIAS(_IO_setbuffer, setbuffer);

EXPORT void setbuf(FILE *stream, char *buffer)
{
    real.setbuf(stdio_route(stream), buffer);
}

EXPORT void setlinebuf(FILE *stream)
{
    real.setlinebuf(stdio_route(stream));
}

/* The program may read from a stream that has a twin: end of file and read errors are the stream's own. */

EXPORT int ferror(FILE *stream)
{
    FILE *routed = stdio_route(stream);
    return real.ferror(stream) | (routed != stream ? real.ferror(routed) : 0);
}
EXPORT_ALIAS(_IO_ferror, ferror);

EXPORT int ferror_unlocked(FILE *stream)
{
    FILE *routed = stdio_route(stream);
    return real.ferror_unlocked(stream) | (routed != stream ? real.ferror_unlocked(routed) : 0);
}

EXPORT int feof(FILE *stream)
{
    FILE *routed = stdio_route(stream);
    return real.feof(stream) | (routed != stream ? real.feof(routed) : 0);
}
EXPORT_ALIAS(_IO_feof, feof);

EXPORT int feof_unlocked(FILE *stream)
{
    FILE *routed = stdio_route(stream);
    return real.feof_unlocked(stream) | (routed != stream ? real.feof_unlocked(routed) : 0);
}

EXPORT void clearerr(FILE *stream)
{
    FILE *routed = stdio_route(stream);
    real.clearerr(stream);
    if (routed != stream) {
        real.clearerr(routed);
    }
}

EXPORT void clearerr_unlocked(FILE *stream)
{
    FILE *routed = stdio_route(stream);
    real.clearerr_unlocked(stream);
    if (routed != stream) {
        real.clearerr_unlocked(routed);
    }
}

EXPORT int fseek(FILE *stream, long offset, int whence)
{
    return real.fseek(stdio_route_position(stream), offset, whence);
}

EXPORT int fseeko(FILE *stream, off_t offset, int whence)
{
    return real.fseeko(stdio_route_position(stream), offset, whence);
}
EXPORT_ALIAS(fseeko64, fseeko);

EXPORT long ftell(FILE *stream)
{
    return real.ftell(stdio_route_position(stream));
}
EXPORT_ALIAS(_IO_ftell, ftell);

EXPORT off_t ftello(FILE *stream)
{
    return real.ftello(stdio_route_position(stream));
}
EXPORT_ALIAS(ftello64, ftello);

EXPORT void rewind(FILE *stream)
{
    real.rewind(stdio_route_position(stream));
}

EXPORT int fgetpos(FILE *stream, fpos_t *position)
{
    return real.fgetpos(stdio_route_position(stream), position);
}
EXPORT_ALIAS(_IO_fgetpos, fgetpos);

EXPORT int fgetpos64(FILE *stream, fpos64_t *position)
{
    return real.fgetpos64(stdio_route_position(stream), position);
}
EXPORT_ALIAS(_IO_fgetpos64, fgetpos64);

EXPORT int fsetpos(FILE *stream, const fpos_t *position)
{
    return real.fsetpos(stdio_route_position(stream), position);
}
EXPORT_ALIAS(_IO_fsetpos, fsetpos);

EXPORT int fsetpos64(FILE *stream, const fpos64_t *position)
{
    return real.fsetpos64(stdio_route_position(stream), position);
}
EXPORT_ALIAS(_IO_fsetpos64, fsetpos64);

EXPORT size_t __fpending(FILE *stream)
{
    FILE *routed = stdio_route(stream);
    return real.__fpending(stream) + (routed != stream ? real.__fpending(routed) : 0);
}

EXPORT void __fpurge(FILE *stream)
{
    FILE *routed = stdio_route(stream);
    real.__fpurge(stream);
    if (routed != stream) {
        real.__fpurge(routed);
        stdio_route(stream); /* that made room in its buffer */
    }
}

EXPORT size_t __fbufsize(FILE *stream)
{
    return real.__fbufsize(stdio_route(stream));
}

EXPORT int __flbf(FILE *stream)
{
    return real.__flbf(stdio_route(stream));
}

EXPORT int __fwriting(FILE *stream)
{
    return real.__fwriting(stdio_route(stream));
}
