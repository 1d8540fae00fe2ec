/*
 * Wide characters on managed streams.
 *
 * glibc's cookie streams know bytes only: wide output to one is lost. So these convert by the current locale and use
 * the byte functions. Each stream has an orientation here, as glibc's own streams have.
 */
#include "real.h"
#include "stdio_private.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

int wide_orient(struct managed_stream *managed, int wanted)
{
    int orientation = managed->orientation;
    if (orientation == 0 && (managed->stream->_flags & STREAM_PUTTING) != 0) {
        wanted = -1; /* by a function of libc's that no hook has seen */
    }
    if (orientation == 0 && atomic_compare_exchange_strong(&managed->orientation, &orientation, wanted)) {
        orientation = wanted; /* else another thread was first */
    }
    return orientation;
}

static void set_error_flag(struct managed_stream *managed)
{
    managed->stream->_flags |= STREAM_ERROR;
}

wint_t wide_put(struct managed_stream *managed, wchar_t character)
{
    char bytes[MB_LEN_MAX];
    size_t length = wcrtomb(bytes, character, &managed->write_state);
    if (length == (size_t)-1) {
        memset(&managed->write_state, 0, sizeof managed->write_state);
        set_error_flag(managed);
        return WEOF;
    }
    if (length == 1) { /* a newline flushes a line-buffered stream */
        return real.fputc_unlocked((unsigned char)bytes[0], managed->stream) == EOF ? WEOF : (wint_t)character;
    }
    return real.fwrite_unlocked(bytes, 1, length, managed->stream) == length ? (wint_t)character : WEOF;
}

/* Converts into pieces, so that an unbuffered stream is not written byte by byte. Returns 0 or -1. */
static int put_characters(struct managed_stream *managed, const wchar_t *string, size_t count)
{
    enum { PIECE = 1024 };
    char bytes[PIECE + MB_LEN_MAX];
    size_t used = 0;
    bool failed = false;
    for (size_t i = 0; i < count && !failed; i++) {
        size_t length = wcrtomb(bytes + used, string[i], &managed->write_state);
        failed = length == (size_t)-1;
        used += failed ? 0 : length;
        if (used >= PIECE) {
            if (real.fwrite_unlocked(bytes, 1, used, managed->stream) != used) {
                return -1;
            }
            used = 0;
        }
    }
    int error = errno;
    if (used > 0 && real.fwrite_unlocked(bytes, 1, used, managed->stream) != used) {
        return -1;
    }
    if (failed) {
        memset(&managed->write_state, 0, sizeof managed->write_state);
        set_error_flag(managed);
        errno = error;
    }
    return failed ? -1 : 0;
}

int wide_put_string(struct managed_stream *managed, const wchar_t *string)
{
    return put_characters(managed, string, wcslen(string)) == 0 ? 1 : -1;
}

/* vswprintf does not tell how much room it needs: try with more and more. */
static wchar_t *format_long(const wchar_t *format, va_list arguments, int *count)
{
    enum { FIRST = 4096 };
    const size_t most = (size_t)1 << 28;
    for (size_t size = FIRST; size <= most; size *= 4) {
        wchar_t *text = malloc(size * sizeof *text);
        if (text == NULL) {
            return NULL;
        }
        va_list copy;
        va_copy(copy, arguments);
        errno = 0;
        *count = vswprintf(text, size, format, copy);
        va_end(copy);
        if (*count >= 0) {
            return text;
        }
        free(text);
        if (errno != 0 && errno != EOVERFLOW && errno != E2BIG) {
            return NULL;
        }
    }
    errno = EOVERFLOW;
    return NULL;
}

int wide_print(struct managed_stream *managed, const wchar_t *format, va_list arguments)
{
    enum { SHORT = 512 };
    wchar_t text[SHORT];
    int saved = errno;
    va_list copy;
    va_copy(copy, arguments);
    int count = vswprintf(text, SHORT, format, copy);
    va_end(copy);
    if (count >= 0) {
        errno = saved;
        return put_characters(managed, text, (size_t)count) == 0 ? count : -1;
    }
    errno = saved;
    wchar_t *long_text = format_long(format, arguments, &count);
    if (long_text == NULL) {
        set_error_flag(managed);
        return -1;
    }
    errno = saved;
    int result = put_characters(managed, long_text, (size_t)count);
    int error = errno;
    free(long_text);
    errno = error;
    return result == 0 ? count : -1;
}

wint_t wide_get(struct managed_stream *managed)
{
    for (;;) {
        int byte = getc_unlocked(managed->stream);
        if (byte == EOF) {
            memset(&managed->read_state, 0, sizeof managed->read_state); /* the file may end within a character */
            return WEOF;
        }
        char letter = (char)byte;
        wchar_t character;
        size_t length = mbrtowc(&character, &letter, 1, &managed->read_state);
        if (length == (size_t)-1) {
            memset(&managed->read_state, 0, sizeof managed->read_state);
            set_error_flag(managed);
            return WEOF;
        }
        if (length <= 1) {
            return length == 0 ? L'\0' : (wint_t)character;
        }
    }
}

wchar_t *wide_get_string(struct managed_stream *managed, wchar_t *string, int size)
{
    int count = 0;
    int error_before = managed->stream->_flags & STREAM_ERROR;
    if (size <= 0) {
        return NULL;
    }
    managed->stream->_flags &= ~STREAM_ERROR;
    while (count < size - 1) {
        wint_t character = wide_get(managed);
        if (character == WEOF) {
            break;
        }
        string[count++] = (wchar_t)character;
        if (character == L'\n') {
            break;
        }
    }
    bool failed = (managed->stream->_flags & STREAM_ERROR) != 0 && errno != EAGAIN;
    managed->stream->_flags |= error_before;
    if (failed || (count == 0 && size > 1)) {
        return NULL;
    }
    string[count] = L'\0';
    return string;
}

/*
 * Scanning is glibc's, on a stream of its own that begins where this one is: they share the offset, and nothing is
 * buffered in this one, before nor after.
 */
static int scan_at(struct managed_stream *managed, FILE *plain, const wchar_t *format, va_list arguments,
                   int (*next)(FILE *, const wchar_t *, va_list))
{
    FILE *stream = managed->stream;
    int result = next(plain, format, arguments);
    int error = errno;
    off_t end = real.ftello(plain);
    stream->_flags |= plain->_flags & (STREAM_EOF | STREAM_ERROR);
    real.fclose(plain);
    if (end >= 0) {
        lseek(stream->_fileno, end, SEEK_SET);
    }
    stream->_offset = -1; /* what glibc remembers of it is no longer so */
    errno = error;
    return result;
}

int wide_scan(struct managed_stream *managed, const wchar_t *format, va_list arguments,
              int (*next)(FILE *, const wchar_t *, va_list))
{
    FILE *stream = managed->stream;
    if ((stream->_flags & STREAM_NO_READS) != 0) {
        errno = EBADF;
        return EOF;
    }
    int saved = errno;
    int fd = stream_flush(managed) == 0 ? real.fcntl(stream->_fileno, F_DUPFD_CLOEXEC, 0) : -1;
    FILE *plain = fd >= 0 ? real.fdopen(fd, "r") : NULL;
    if (plain == NULL) {
        if (fd >= 0) {
            real.close(fd);
        }
        set_error_flag(managed);
        return EOF;
    }
    errno = saved;
    return scan_at(managed, plain, format, arguments, next);
}

wint_t wide_unget(struct managed_stream *managed, wint_t character)
{
    char bytes[MB_LEN_MAX];
    mbstate_t state = {0};
    if (character == WEOF) {
        return WEOF;
    }
    size_t length = wcrtomb(bytes, (wchar_t)character, &state);
    if (length == (size_t)-1) {
        return WEOF;
    }
    for (size_t i = length; i > 0; i--) {
        if (ungetc((unsigned char)bytes[i - 1], managed->stream) == EOF) {
            return WEOF;
        }
    }
    return character;
}
