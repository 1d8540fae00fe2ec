/* Output of bytes: every function of stdio that writes to a stream goes to where twin_route says. */
#define __NO_INLINE__ 1 /* the inline versions of the headers would be in the way of ours */
#include "real.h"
#include "stdio_private.h"

#include <limits.h>
#include <stdio_ext.h>
#include <string.h>

EXPORT size_t fwrite(const void *data, size_t size, size_t count, FILE *stream)
{
    FILE *routed = stdio_route_bytes(stream);
    return routed == NULL ? 0 : real.fwrite(data, size, count, routed);
}
EXPORT_ALIAS(_IO_fwrite, fwrite);

EXPORT size_t fwrite_unlocked(const void *data, size_t size, size_t count, FILE *stream)
{
    FILE *routed = stdio_route_bytes(stream);
    return routed == NULL ? 0 : real.fwrite_unlocked(data, size, count, routed);
}

EXPORT int fputs(const char *text, FILE *stream)
{
    FILE *routed = stdio_route_bytes(stream);
    return routed == NULL ? EOF : real.fputs(text, routed);
}
EXPORT_ALIAS(_IO_fputs, fputs);

EXPORT int fputs_unlocked(const char *text, FILE *stream)
{
    FILE *routed = stdio_route_bytes(stream);
    return routed == NULL ? EOF : real.fputs_unlocked(text, routed);
}

EXPORT int fputc(int character, FILE *stream)
{
    FILE *routed = stdio_route_bytes(stream);
    return routed == NULL ? EOF : real.fputc(character, routed);
}

EXPORT int fputc_unlocked(int character, FILE *stream)
{
    FILE *routed = stdio_route_bytes(stream);
    return routed == NULL ? EOF : real.fputc_unlocked(character, routed);
}

EXPORT int putc(int character, FILE *stream)
{
    FILE *routed = stdio_route_bytes(stream);
    return routed == NULL ? EOF : real.putc(character, routed);
}
EXPORT_ALIAS(_IO_putc, putc);

EXPORT int putc_unlocked(int character, FILE *stream)
{
    FILE *routed = stdio_route_bytes(stream);
    return routed == NULL ? EOF : real.putc_unlocked(character, routed);
}

EXPORT int putchar(int character)
{
    return putc(character, stdout);
}

EXPORT int putchar_unlocked(int character)
{
    return putc_unlocked(character, stdout);
}

EXPORT int putw(int word, FILE *stream)
{
    FILE *routed = stdio_route_bytes(stream);
    return routed == NULL ? EOF : real.putw(word, routed);
}

/* putc_unlocked and putchar_unlocked, inlined in the program, call this when the buffer has no room. */
EXPORT int __overflow(FILE *stream, int character)
{
    FILE *routed = stdio_route(stream);
    stdio_prepare(routed);
    if (routed != stream && character != EOF) {
        return real.putc_unlocked(character, routed);
    }
    return real.__overflow(routed, character);
}

/* libc's puts is about the variable stdout; another stream takes its place only after a program assigned that. */
EXPORT int puts(const char *text)
{
    FILE *routed = stdio_route_bytes(stdout);
    if (routed == stdout) {
        return real.puts(text);
    }
    if (routed == NULL) {
        return EOF;
    }
    size_t length = strlen(text);
    int state = stream_lock(routed);
    bool written = real.fwrite_unlocked(text, 1, length, routed) == length && real.putc_unlocked('\n', routed) != EOF;
    stream_unlock(routed, state);
    if (!written) {
        return EOF;
    }
    return length < INT_MAX ? (int)length + 1 : INT_MAX;
}
EXPORT_ALIAS(_IO_puts, puts);

EXPORT int vfprintf(FILE *stream, const char *format, va_list arguments)
{
    FILE *routed = stdio_route_bytes(stream);
    return routed == NULL ? EOF : real.vfprintf(routed, format, arguments);
}
EXPORT_ALIAS(_IO_vfprintf, vfprintf);

EXPORT int __vfprintf_chk(FILE *stream, int flag, const char *format, va_list arguments)
{
    FILE *routed = stdio_route_bytes(stream);
    return routed == NULL ? EOF : real.__vfprintf_chk(routed, flag, format, arguments);
}

EXPORT int fprintf(FILE *stream, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    int result = vfprintf(stream, format, arguments);
    va_end(arguments);
    return result;
}
EXPORT_ALIAS(_IO_fprintf, fprintf);

EXPORT int __fprintf_chk(FILE *stream, int flag, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    int result = __vfprintf_chk(stream, flag, format, arguments);
    va_end(arguments);
    return result;
}

EXPORT int vprintf(const char *format, va_list arguments)
{
    return vfprintf(stdout, format, arguments);
}

EXPORT int __vprintf_chk(int flag, const char *format, va_list arguments)
{
    return __vfprintf_chk(stdout, flag, format, arguments);
}

EXPORT int printf(const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    int result = vfprintf(stdout, format, arguments);
    va_end(arguments);
    return result;
}
EXPORT_ALIAS(_IO_printf, printf);

EXPORT int __printf_chk(int flag, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    int result = __vfprintf_chk(stdout, flag, format, arguments);
    va_end(arguments);
    return result;
}
