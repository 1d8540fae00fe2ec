/* Wide characters: on a managed stream by stdio_wide.c, on any other by glibc. */
#include "real.h"
#include "stdio_private.h"

/* Locks the stream if wide characters may be used on it. */
static bool lock_wide(struct managed_stream *managed, int *state)
{
    *state = stream_lock(managed->stream);
    if (wide_orient(managed, 1) > 0) {
        return true;
    }
    stream_unlock(managed->stream, *state);
    return false;
}

EXPORT int fwide(FILE *stream, int mode)
{
    struct managed_stream *managed = stdio_route_wide(stream);
    return managed == NULL ? real.fwide(stream, mode) : wide_orient(managed, (mode > 0) - (mode < 0));
}

EXPORT wint_t fputwc(wchar_t character, FILE *stream)
{
    struct managed_stream *managed = stdio_route_wide(stream);
    if (managed == NULL) {
        return real.fputwc(character, stream);
    }
    int state;
    if (!lock_wide(managed, &state)) {
        return WEOF;
    }
    wint_t result = wide_put(managed, character);
    stream_unlock(managed->stream, state);
    return result;
}
EXPORT_ALIAS(putwc, fputwc);

EXPORT wint_t fputwc_unlocked(wchar_t character, FILE *stream)
{
    struct managed_stream *managed = stdio_route_wide(stream);
    if (managed == NULL) {
        return real.fputwc_unlocked(character, stream);
    }
    return wide_orient(managed, 1) > 0 ? wide_put(managed, character) : WEOF;
}
EXPORT_ALIAS(putwc_unlocked, fputwc_unlocked);

EXPORT wint_t putwchar(wchar_t character)
{
    return fputwc(character, stdout);
}

EXPORT wint_t putwchar_unlocked(wchar_t character)
{
    return fputwc_unlocked(character, stdout);
}

EXPORT int fputws(const wchar_t *text, FILE *stream)
{
    struct managed_stream *managed = stdio_route_wide(stream);
    if (managed == NULL) {
        return real.fputws(text, stream);
    }
    int state;
    if (!lock_wide(managed, &state)) {
        return EOF;
    }
    int result = wide_put_string(managed, text);
    stream_unlock(managed->stream, state);
    return result;
}

EXPORT int fputws_unlocked(const wchar_t *text, FILE *stream)
{
    struct managed_stream *managed = stdio_route_wide(stream);
    if (managed == NULL) {
        return real.fputws_unlocked(text, stream);
    }
    return wide_orient(managed, 1) > 0 ? wide_put_string(managed, text) : EOF;
}

static int print_managed(struct managed_stream *managed, const wchar_t *format, va_list arguments)
{
    int state;
    if (!lock_wide(managed, &state)) {
        return EOF;
    }
    int result = wide_print(managed, format, arguments);
    stream_unlock(managed->stream, state);
    return result;
}

EXPORT int vfwprintf(FILE *stream, const wchar_t *format, va_list arguments)
{
    struct managed_stream *managed = stdio_route_wide(stream);
    return managed == NULL ? real.vfwprintf(stream, format, arguments) : print_managed(managed, format, arguments);
}

EXPORT int __vfwprintf_chk(FILE *stream, int flag, const wchar_t *format, va_list arguments)
{
    struct managed_stream *managed = stdio_route_wide(stream);
    return managed == NULL ? real.__vfwprintf_chk(stream, flag, format, arguments)
                           : print_managed(managed, format, arguments);
}

EXPORT int fwprintf(FILE *stream, const wchar_t *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    int result = vfwprintf(stream, format, arguments);
    va_end(arguments);
    return result;
}

EXPORT int __fwprintf_chk(FILE *stream, int flag, const wchar_t *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    int result = __vfwprintf_chk(stream, flag, format, arguments);
    va_end(arguments);
    return result;
}

EXPORT int vwprintf(const wchar_t *format, va_list arguments)
{
    return vfwprintf(stdout, format, arguments);
}

EXPORT int __vwprintf_chk(int flag, const wchar_t *format, va_list arguments)
{
    return __vfwprintf_chk(stdout, flag, format, arguments);
}

EXPORT int wprintf(const wchar_t *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    int result = vfwprintf(stdout, format, arguments);
    va_end(arguments);
    return result;
}

EXPORT int __wprintf_chk(int flag, const wchar_t *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    int result = __vfwprintf_chk(stdout, flag, format, arguments);
    va_end(arguments);
    return result;
}

EXPORT wint_t fgetwc(FILE *stream)
{
    struct managed_stream *managed = stdio_route_wide(stream);
    if (managed == NULL) {
        return real.fgetwc(stream);
    }
    int state;
    if (!lock_wide(managed, &state)) {
        return WEOF;
    }
    wint_t result = wide_get(managed);
    stream_unlock(managed->stream, state);
    return result;
}
EXPORT_ALIAS(getwc, fgetwc);

EXPORT wint_t fgetwc_unlocked(FILE *stream)
{
    struct managed_stream *managed = stdio_route_wide(stream);
    if (managed == NULL) {
        return real.fgetwc_unlocked(stream);
    }
    return wide_orient(managed, 1) > 0 ? wide_get(managed) : WEOF;
}
EXPORT_ALIAS(getwc_unlocked, fgetwc_unlocked);

EXPORT wchar_t *fgetws(wchar_t *string, int size, FILE *stream)
{
    struct managed_stream *managed = stdio_route_wide(stream);
    if (managed == NULL) {
        return real.fgetws(string, size, stream);
    }
    int state;
    if (!lock_wide(managed, &state)) {
        return NULL;
    }
    wchar_t *result = wide_get_string(managed, string, size);
    stream_unlock(managed->stream, state);
    return result;
}

EXPORT wchar_t *fgetws_unlocked(wchar_t *string, int size, FILE *stream)
{
    struct managed_stream *managed = stdio_route_wide(stream);
    if (managed == NULL) {
        return real.fgetws_unlocked(string, size, stream);
    }
    return wide_orient(managed, 1) > 0 ? wide_get_string(managed, string, size) : NULL;
}

/* glibc's own would crash on a managed stream. A size that is too large for the room is its business to punish. */
EXPORT wchar_t *__fgetws_chk(wchar_t *string, size_t room, int size, FILE *stream)
{
    bool fits = size <= 0 || (size_t)size <= room;
    return fits ? fgetws(string, size, stream) : real.__fgetws_chk(string, room, size, stream);
}

EXPORT wchar_t *__fgetws_unlocked_chk(wchar_t *string, size_t room, int size, FILE *stream)
{
    bool fits = size <= 0 || (size_t)size <= room;
    return fits ? fgetws_unlocked(string, size, stream) : real.__fgetws_unlocked_chk(string, room, size, stream);
}

static int scan(FILE *stream, const wchar_t *format, va_list arguments, int (*next)(FILE *, const wchar_t *, va_list))
{
    struct managed_stream *managed = stdio_route_wide(stream);
    int state;
    if (managed == NULL) {
        return next(stream, format, arguments);
    }
    if (!lock_wide(managed, &state)) {
        return EOF;
    }
    int result = wide_scan(managed, format, arguments, next);
    stream_unlock(managed->stream, state);
    return result;
}

/* The headers make the names of C99 of these. */
extern int gnu_vfwscanf(FILE *stream, const wchar_t *format, va_list arguments) __asm__("vfwscanf");
extern int gnu_fwscanf(FILE *stream, const wchar_t *format, ...) __asm__("fwscanf");

EXPORT int gnu_vfwscanf(FILE *stream, const wchar_t *format, va_list arguments)
{
    return scan(stream, format, arguments, real.vfwscanf);
}

EXPORT int __isoc99_vfwscanf(FILE *stream, const wchar_t *format, va_list arguments)
{
    return scan(stream, format, arguments, real.__isoc99_vfwscanf);
}

EXPORT int gnu_fwscanf(FILE *stream, const wchar_t *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    int result = scan(stream, format, arguments, real.vfwscanf);
    va_end(arguments);
    return result;
}

EXPORT int __isoc99_fwscanf(FILE *stream, const wchar_t *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    int result = scan(stream, format, arguments, real.__isoc99_vfwscanf);
    va_end(arguments);
    return result;
}

EXPORT wint_t ungetwc(wint_t character, FILE *stream)
{
    struct managed_stream *managed = stdio_route_wide(stream);
    if (managed == NULL) {
        return real.ungetwc(character, stream);
    }
    int state;
    if (!lock_wide(managed, &state)) {
        return WEOF;
    }
    wint_t result = wide_unget(managed, character);
    stream_unlock(managed->stream, state);
    return result;
}
