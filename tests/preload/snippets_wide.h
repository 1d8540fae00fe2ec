/* Snippets for the wide functions of stdio, with a character outside ASCII. See scene.h. */
#ifndef TESTS_SNIPPETS_WIDE_H
#define TESTS_SNIPPETS_WIDE_H

#include "scene.h"
#include "snippets_stdio.h"

#include <locale.h>
#include <wchar.h>

extern int __fwprintf_chk(FILE *stream, int flag, const wchar_t *format, ...);
extern int __wprintf_chk(int flag, const wchar_t *format, ...);
extern int __vfwprintf_chk(FILE *stream, int flag, const wchar_t *format, va_list arguments);
extern wchar_t *__fgetws_chk(wchar_t *string, size_t room, int size, FILE *stream);
extern wchar_t *__fgetws_unlocked_chk(wchar_t *string, size_t room, int size, FILE *stream);
extern int gnu_fwscanf(FILE *stream, const wchar_t *format, ...) __asm__("fwscanf");
extern int gnu_vfwscanf(FILE *stream, const wchar_t *format, va_list arguments) __asm__("vfwscanf");
extern int __isoc99_fwscanf(FILE *stream, const wchar_t *format, ...);
extern int __isoc99_vfwscanf(FILE *stream, const wchar_t *format, va_list arguments);
extern int __vwprintf_chk(int flag, const wchar_t *format, va_list arguments);

#define WIDE_TEXT  L"\u00e9t\u00e9 7\n"
#define WIDE_BYTES "\xc3\xa9t\xc3\xa9 7\n"
enum { WIDE_LENGTH = 6 };

static FILE *wide_stream(FILE *stream)
{
    note("setlocale", setlocale(LC_ALL, "C.UTF-8") != NULL);
    return stream;
}

static void run_wprintf(scene_function call)
{
    int (*function)(const wchar_t *, ...) = (int (*)(const wchar_t *, ...))call;
    FILE *stream = wide_stream(stdout);
    streamed(stream, WIDE_BYTES, function(L"\u00e9t%lc %d\n", 0xe9, 7) == WIDE_LENGTH);
}

static void run_wprintf_chk(scene_function call)
{
    int (*function)(int, const wchar_t *, ...) = (int (*)(int, const wchar_t *, ...))call;
    FILE *stream = wide_stream(stdout);
    streamed(stream, WIDE_BYTES, function(1, L"\u00e9t\u00e9 %d\n", 7) == WIDE_LENGTH);
}

static void run_fwprintf(scene_function call)
{
    int (*function)(FILE *, const wchar_t *, ...) = (int (*)(FILE *, const wchar_t *, ...))call;
    FILE *stream = wide_stream(scene_stream());
    streamed(stream, WIDE_BYTES, function(stream, L"%ls %d\n", L"\u00e9t\u00e9", 7) == WIDE_LENGTH);
}

static void run_fwprintf_chk(scene_function call)
{
    int (*function)(FILE *, int, const wchar_t *, ...) = (int (*)(FILE *, int, const wchar_t *, ...))call;
    FILE *stream = wide_stream(scene_stream());
    streamed(stream, WIDE_BYTES, function(stream, 1, L"\u00e9t\u00e9 %d\n", 7) == WIDE_LENGTH);
}

static int wide_list(int (*function)(const wchar_t *, va_list), const wchar_t *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    int result = function(format, arguments);
    va_end(arguments);
    return result;
}

static void run_vwprintf(scene_function call)
{
    FILE *stream = wide_stream(stdout);
    int result = wide_list((int (*)(const wchar_t *, va_list))call, L"\u00e9t\u00e9 %d\n", 7);
    streamed(stream, WIDE_BYTES, result == WIDE_LENGTH);
}

static int wide_list_chk(int (*function)(int, const wchar_t *, va_list), const wchar_t *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    int result = function(1, format, arguments);
    va_end(arguments);
    return result;
}

static void run_vwprintf_chk(scene_function call)
{
    FILE *stream = wide_stream(stdout);
    int result = wide_list_chk((int (*)(int, const wchar_t *, va_list))call, L"\u00e9t\u00e9 %d\n", 7);
    streamed(stream, WIDE_BYTES, result == WIDE_LENGTH);
}

static int wide_stream_list(int (*function)(FILE *, const wchar_t *, va_list), FILE *stream, const wchar_t *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    int result = function(stream, format, arguments);
    va_end(arguments);
    return result;
}

static void run_vfwprintf(scene_function call)
{
    FILE *stream = wide_stream(scene_stream());
    int result = wide_stream_list((int (*)(FILE *, const wchar_t *, va_list))call, stream, L"\u00e9t\u00e9 %d\n", 7);
    streamed(stream, WIDE_BYTES, result == WIDE_LENGTH);
}

static int wide_stream_list_chk(int (*function)(FILE *, int, const wchar_t *, va_list), FILE *stream,
                                const wchar_t *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    int result = function(stream, 1, format, arguments);
    va_end(arguments);
    return result;
}

static void run_vfwprintf_chk(scene_function call)
{
    FILE *stream = wide_stream(scene_stream());
    int result =
        wide_stream_list_chk((int (*)(FILE *, int, const wchar_t *, va_list))call, stream, L"\u00e9t\u00e9 %d\n", 7);
    streamed(stream, WIDE_BYTES, result == WIDE_LENGTH);
}

static void run_fputwc(scene_function call)
{
    wint_t (*function)(wchar_t, FILE *) = (wint_t(*)(wchar_t, FILE *))call;
    FILE *stream = wide_stream(scene_stream());
    bool good = true;
    for (const wchar_t *at = WIDE_TEXT; *at != L'\0'; at++) {
        good = good && function(*at, stream) == (wint_t)*at;
    }
    streamed(stream, WIDE_BYTES, good);
}

static void run_putwchar(scene_function call)
{
    wint_t (*function)(wchar_t) = (wint_t(*)(wchar_t))call;
    FILE *stream = wide_stream(stdout);
    streamed(stream, "\xc3\xa9\n", function(L'\u00e9') == L'\u00e9' && function(L'\n') == L'\n');
}

static void run_fputws(scene_function call)
{
    int (*function)(const wchar_t *, FILE *) = (int (*)(const wchar_t *, FILE *))call;
    FILE *stream = wide_stream(scene_stream());
    streamed(stream, WIDE_BYTES, function(WIDE_TEXT, stream) >= 0);
}

static void run_fwide(scene_function call)
{
    (void)call;
    FILE *stream = wide_stream(scene_stream());
    note("undecided", fwide(stream, 0));
    note("made wide", fwide(stream, 1) > 0);
    streamed(stream, WIDE_BYTES, fputws(WIDE_TEXT, stream) >= 0);
    note("stays wide", fwide(stream, -1) > 0);
}

/* The log opened for reading too ("a+"), at its beginning. */
static FILE *reading_stream(void)
{
    note("setlocale", setlocale(LC_ALL, "C.UTF-8") != NULL);
    FILE *stream = fopen(scene.log, "a+");
    note("fopen", stream != NULL);
    rewind(stream);
    errno = SCENE_ERRNO;
    return stream;
}

/* What the reading call saw was noted; then a line is written by the same stream. */
static void write_after_reading(FILE *stream)
{
    scene.fd = fileno(stream);
    note("fseek", fseek(stream, 0, SEEK_END));
    streamed(stream, WIDE_BYTES, fputws(WIDE_TEXT, stream) >= 0);
}

static void run_fgetwc(scene_function call)
{
    wint_t (*function)(FILE *) = (wint_t(*)(FILE *))call;
    FILE *stream = reading_stream();
    note(scene.hook, (long)function(stream));
    note(scene.hook, (long)function(stream));
    write_after_reading(stream);
}

static void run_fgetws(scene_function call)
{
    wchar_t *(*function)(wchar_t *, int, FILE *) = (wchar_t * (*)(wchar_t *, int, FILE *)) call;
    wchar_t text[64] = L"";
    FILE *stream = reading_stream();
    note(scene.hook, function(text, 64, stream) == text);
    note("length", (long)wcslen(text));
    note("first", (long)text[0]);
    write_after_reading(stream);
}

static void run_fgetws_chk(scene_function call)
{
    wchar_t *(*function)(wchar_t *, size_t, int, FILE *) = (wchar_t * (*)(wchar_t *, size_t, int, FILE *)) call;
    wchar_t text[64] = L"";
    FILE *stream = reading_stream();
    note(scene.hook, function(text, 64, 64, stream) == text);
    note("length", (long)wcslen(text));
    note("first", (long)text[0]);
    write_after_reading(stream);
}

static void run_fwscanf(scene_function call)
{
    int (*function)(FILE *, const wchar_t *, ...) = (int (*)(FILE *, const wchar_t *, ...))call;
    wchar_t text[64] = L"";
    FILE *stream = reading_stream();
    note(scene.hook, function(stream, L"%63ls", text));
    note("length", (long)wcslen(text));
    note("first", (long)text[0]);
    write_after_reading(stream);
}

static int scan_list(int (*function)(FILE *, const wchar_t *, va_list), FILE *stream, const wchar_t *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    int result = function(stream, format, arguments);
    va_end(arguments);
    return result;
}

static void run_vfwscanf(scene_function call)
{
    wchar_t text[64] = L"";
    FILE *stream = reading_stream();
    note(scene.hook, scan_list((int (*)(FILE *, const wchar_t *, va_list))call, stream, L"%63ls", text));
    note("length", (long)wcslen(text));
    note("first", (long)text[0]);
    write_after_reading(stream);
}

static void run_ungetwc(scene_function call)
{
    (void)call;
    FILE *stream = reading_stream();
    note("fgetwc", (long)fgetwc(stream));
    note("ungetwc", (long)ungetwc(L'\u00e9', stream));
    note("fgetwc", (long)fgetwc(stream));
    write_after_reading(stream);
}

static const struct snippet snippets_wide[] = {
    {"wprintf", run_wprintf, CALL(wprintf), STANDARD},
    {"__wprintf_chk", run_wprintf_chk, CALL(__wprintf_chk), STANDARD},
    {"vwprintf", run_vwprintf, CALL(vwprintf), STANDARD},
    {"__vwprintf_chk", run_vwprintf_chk, CALL(__vwprintf_chk), STANDARD},
    {"putwchar", run_putwchar, CALL(putwchar), STANDARD},
    {"putwchar_unlocked", run_putwchar, CALL(putwchar_unlocked), STANDARD},
    {"fwprintf", run_fwprintf, CALL(fwprintf), 0},
    {"__fwprintf_chk", run_fwprintf_chk, CALL(__fwprintf_chk), 0},
    {"vfwprintf", run_vfwprintf, CALL(vfwprintf), 0},
    {"__vfwprintf_chk", run_vfwprintf_chk, CALL(__vfwprintf_chk), 0},
    {"fputwc", run_fputwc, CALL(fputwc), 0},
    {"fputwc_unlocked", run_fputwc, CALL(fputwc_unlocked), 0},
    {"putwc", run_fputwc, CALL(putwc), 0},
    {"putwc_unlocked", run_fputwc, CALL(putwc_unlocked), 0},
    {"fputws", run_fputws, CALL(fputws), 0},
    {"fputws_unlocked", run_fputws, CALL(fputws_unlocked), 0},
    {"fwide", run_fwide, CALL(fwide), 0},
    {"fgetwc", run_fgetwc, CALL(fgetwc), OPENS},
    {"getwc", run_fgetwc, CALL(getwc), OPENS},
    {"fgetwc_unlocked", run_fgetwc, CALL(fgetwc_unlocked), OPENS},
    {"getwc_unlocked", run_fgetwc, CALL(getwc_unlocked), OPENS},
    {"fgetws", run_fgetws, CALL(fgetws), OPENS},
    {"fgetws_unlocked", run_fgetws, CALL(fgetws_unlocked), OPENS},
    {"__fgetws_chk", run_fgetws_chk, CALL(__fgetws_chk), OPENS},
    {"__fgetws_unlocked_chk", run_fgetws_chk, CALL(__fgetws_unlocked_chk), OPENS},
    {"fwscanf", run_fwscanf, CALL(gnu_fwscanf), OPENS},
    {"__isoc99_fwscanf", run_fwscanf, CALL(__isoc99_fwscanf), OPENS},
    {"vfwscanf", run_vfwscanf, CALL(gnu_vfwscanf), OPENS},
    {"__isoc99_vfwscanf", run_vfwscanf, CALL(__isoc99_vfwscanf), OPENS},
    {"ungetwc", run_ungetwc, CALL(ungetwc), OPENS},
};

#endif
