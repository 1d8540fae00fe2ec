/*
 * Snippets for the byte functions of stdio: that each reaches the log. See scene.h; what streams otherwise do is
 * the business of stdio_*.c.
 */
#ifndef TESTS_SNIPPETS_STDIO_H
#define TESTS_SNIPPETS_STDIO_H

#include "scene.h"

#include <err.h>
#include <error.h>
#include <stdio_ext.h>
#include <wchar.h>

extern int __printf_chk(int flag, const char *format, ...);
extern int __fprintf_chk(FILE *stream, int flag, const char *format, ...);
extern int __vprintf_chk(int flag, const char *format, va_list arguments);
extern int __vfprintf_chk(FILE *stream, int flag, const char *format, va_list arguments);
extern int _IO_putc(int character, FILE *stream);
extern int _IO_puts(const char *text);
extern int _IO_printf(const char *format, ...);
extern int _IO_fprintf(FILE *stream, const char *format, ...);
extern int _IO_vfprintf(FILE *stream, const char *format, va_list arguments);
extern size_t _IO_fwrite(const void *data, size_t size, size_t count, FILE *stream);
extern int _IO_fputs(const char *text, FILE *stream);
extern FILE *_IO_fopen(const char *path, const char *mode);
extern FILE *_IO_fdopen(int fd, const char *mode);
extern int _IO_setvbuf(FILE *stream, char *buffer, int mode, size_t size);
extern void _IO_setbuffer(FILE *stream, char *buffer, size_t size);
extern int _IO_ferror(FILE *stream);
extern int _IO_feof(FILE *stream);
extern long _IO_ftell(FILE *stream);
extern int _IO_fgetpos(FILE *stream, fpos_t *position);
extern int _IO_fgetpos64(FILE *stream, fpos64_t *position);
extern int _IO_fsetpos(FILE *stream, const fpos_t *position);
extern int _IO_fsetpos64(FILE *stream, const fpos64_t *position);
extern int __overflow(FILE *stream, int character);
extern int _IO_fflush(FILE *stream);
extern int _IO_fclose(FILE *stream);

/* The scene's descriptor as a stream. */
static FILE *scene_stream(void)
{
    FILE *stream = scene.fd == 1 ? stdout : scene.fd == 2 ? stderr : fdopen(scene.fd, "a");
    if (stream == NULL) {
        note("no stream", -1);
        raw_syscall(SYS_exit_group, 1);
    }
    errno = SCENE_ERRNO;
    return stream;
}

/* The text was given to the stream with this result; now it has to reach the log. */
static void streamed(FILE *stream, const char *text, bool accepted)
{
    note(scene.hook, accepted);
    if (accepted) {
        expect_text(text);
    }
    note("fflush", fflush(stream));
    note("error", ferror(stream));
    note("fileno", fileno(stream));
}

static void run_printf(scene_function call)
{
    int (*function)(const char *, ...) = (int (*)(const char *, ...))call;
    streamed(stdout, scene.line, function("%s", scene.line) == (int)strlen(scene.line));
}

static void run_printf_chk(scene_function call)
{
    int (*function)(int, const char *, ...) = (int (*)(int, const char *, ...))call;
    streamed(stdout, scene.line, function(1, "%s", scene.line) == (int)strlen(scene.line));
}

static void run_fprintf(scene_function call)
{
    int (*function)(FILE *, const char *, ...) = (int (*)(FILE *, const char *, ...))call;
    FILE *stream = scene_stream();
    streamed(stream, scene.line, function(stream, "%s", scene.line) == (int)strlen(scene.line));
}

static void run_fprintf_chk(scene_function call)
{
    int (*function)(FILE *, int, const char *, ...) = (int (*)(FILE *, int, const char *, ...))call;
    FILE *stream = scene_stream();
    streamed(stream, scene.line, function(stream, 1, "%s", scene.line) == (int)strlen(scene.line));
}

static int stream_list(int (*function)(FILE *, const char *, va_list), FILE *stream, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    int result = function(stream, format, arguments);
    va_end(arguments);
    return result;
}

static void run_vfprintf(scene_function call)
{
    FILE *stream = scene_stream();
    int result = stream_list((int (*)(FILE *, const char *, va_list))call, stream, "%s", scene.line);
    streamed(stream, scene.line, result == (int)strlen(scene.line));
}

static int stream_list_chk(int (*function)(FILE *, int, const char *, va_list), FILE *stream, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    int result = function(stream, 1, format, arguments);
    va_end(arguments);
    return result;
}

static void run_vfprintf_chk(scene_function call)
{
    FILE *stream = scene_stream();
    int result = stream_list_chk((int (*)(FILE *, int, const char *, va_list))call, stream, "%s", scene.line);
    streamed(stream, scene.line, result == (int)strlen(scene.line));
}

static int standard_list(int (*function)(const char *, va_list), const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    int result = function(format, arguments);
    va_end(arguments);
    return result;
}

static void run_vprintf(scene_function call)
{
    int result = standard_list((int (*)(const char *, va_list))call, "%s", scene.line);
    streamed(stdout, scene.line, result == (int)strlen(scene.line));
}

static int standard_list_chk(int (*function)(int, const char *, va_list), const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    int result = function(1, format, arguments);
    va_end(arguments);
    return result;
}

static void run_vprintf_chk(scene_function call)
{
    int result = standard_list_chk((int (*)(int, const char *, va_list))call, "%s", scene.line);
    streamed(stdout, scene.line, result == (int)strlen(scene.line));
}

static void run_puts(scene_function call)
{
    int (*function)(const char *) = (int (*)(const char *))call;
    streamed(stdout, "put\n", function("put") >= 0);
}

static void run_fputs(scene_function call)
{
    int (*function)(const char *, FILE *) = (int (*)(const char *, FILE *))call;
    FILE *stream = scene_stream();
    streamed(stream, scene.line, function(scene.line, stream) >= 0);
}

static void run_fputc(scene_function call)
{
    int (*function)(int, FILE *) = (int (*)(int, FILE *))call;
    FILE *stream = scene_stream();
    bool good = true;
    for (const char *at = scene.line; *at != '\0'; at++) {
        good = good && function(*at, stream) == (unsigned char)*at;
    }
    streamed(stream, scene.line, good);
}

static void run_putchar(scene_function call)
{
    int (*function)(int) = (int (*)(int))call;
    streamed(stdout, "p\n", function('p') == 'p' && function('\n') == '\n');
}

static void run_putw(scene_function call)
{
    (void)call;
    FILE *stream = scene_stream();
    int word;
    memcpy(&word, "wrd\n", sizeof word);
    streamed(stream, "wrd\n", putw(word, stream) == 0);
}

static void run_fwrite(scene_function call)
{
    size_t (*function)(const void *, size_t, size_t, FILE *) = (size_t(*)(const void *, size_t, size_t, FILE *))call;
    FILE *stream = scene_stream();
    size_t length = strlen(scene.line);
    streamed(stream, scene.line, function(scene.line, 1, length, stream) == length);
}

static void run_fflush(scene_function call)
{
    int (*function)(FILE *) = (int (*)(FILE *))call;
    FILE *stream = scene_stream();
    char text[160];
    snprintf(text, sizeof text, "%sunfinished", scene.line);
    note("fputs", fputs(text, stream) >= 0);
    expect_text(text);
    note(scene.hook, function(stream));
    note("all in the file", unfinished_is_there());
    note("of all streams", function(NULL));
}

static void run_flushlbf(scene_function call)
{
    (void)call;
    FILE *stream = scene_stream();
    char text[160];
    snprintf(text, sizeof text, "%sunfinished", scene.line);
    setlinebuf(stream);
    note("fputs", fputs(text, stream) >= 0);
    expect_text(text);
    _flushlbf();
    note("_flushlbf", unfinished_is_there());
}

static void run_perror(scene_function call)
{
    (void)call;
    errno = ENOENT;
    perror("perror");
    errno = SCENE_ERRNO; /* glibc's own leaves some value of its insides */
    note("perror", 0);
    expect_text("perror: No such file or directory\n");
}

static void run_psignal(scene_function call)
{
    (void)call;
    psignal(SIGTERM, "psignal");
    note("psignal", 0);
    expect_text("psignal: Terminated\n");
}

static void run_warnx(scene_function call)
{
    char text[128];
    (void)call;
    warnx("%s", "warned");
    note("warnx", 0);
    snprintf(text, sizeof text, "%s: warned\n", program_invocation_short_name);
    expect_text(text);
}

static void run_error(scene_function call)
{
    char text[PATH_MAX + 32];
    (void)call;
    error(0, 0, "%s", "reported");
    note("error", 0);
    snprintf(text, sizeof text, "%s: reported\n", program_invocation_name);
    expect_text(text);
}

static const struct snippet snippets_stdio[] = {
    {"printf", run_printf, CALL(printf), STANDARD},
    {"_IO_printf", run_printf, CALL(_IO_printf), STANDARD},
    {"__printf_chk", run_printf_chk, CALL(__printf_chk), STANDARD},
    {"vprintf", run_vprintf, CALL(vprintf), STANDARD},
    {"__vprintf_chk", run_vprintf_chk, CALL(__vprintf_chk), STANDARD},
    {"puts", run_puts, CALL(puts), STANDARD},
    {"_IO_puts", run_puts, CALL(_IO_puts), STANDARD},
    {"putchar", run_putchar, CALL(putchar), STANDARD},
    {"putchar_unlocked", run_putchar, CALL(putchar_unlocked), STANDARD},
    {"perror", run_perror, CALL(perror), STANDARD},
    {"psignal", run_psignal, CALL(psignal), STANDARD},
    {"warnx", run_warnx, CALL(warnx), STANDARD},
    {"error", run_error, CALL(error), STANDARD},
    {"fprintf", run_fprintf, CALL(fprintf), 0},
    {"_IO_fprintf", run_fprintf, CALL(_IO_fprintf), 0},
    {"__fprintf_chk", run_fprintf_chk, CALL(__fprintf_chk), 0},
    {"vfprintf", run_vfprintf, CALL(vfprintf), 0},
    {"_IO_vfprintf", run_vfprintf, CALL(_IO_vfprintf), 0},
    {"__vfprintf_chk", run_vfprintf_chk, CALL(__vfprintf_chk), 0},
    {"fputs", run_fputs, CALL(fputs), 0},
    {"_IO_fputs", run_fputs, CALL(_IO_fputs), 0},
    {"fputs_unlocked", run_fputs, CALL(fputs_unlocked), 0},
    {"fputc", run_fputc, CALL(fputc), 0},
    {"fputc_unlocked", run_fputc, CALL(fputc_unlocked), 0},
    {"putc", run_fputc, CALL(putc), 0},
    {"_IO_putc", run_fputc, CALL(_IO_putc), 0},
    {"putc_unlocked", run_fputc, CALL(putc_unlocked), 0},
    {"putw", run_putw, CALL(putw), 0},
    {"fwrite", run_fwrite, CALL(fwrite), 0},
    {"_IO_fwrite", run_fwrite, CALL(_IO_fwrite), 0},
    {"fwrite_unlocked", run_fwrite, CALL(fwrite_unlocked), 0},
    {"fflush", run_fflush, CALL(fflush), 0},
    {"_IO_fflush", run_fflush, CALL(_IO_fflush), 0},
    {"_flushlbf", run_flushlbf, CALL(_flushlbf), 0},
    {"fflush_unlocked", run_fflush, CALL(fflush_unlocked), 0},
};

#endif
