/*
 * stdio_hooks --list
 * stdio_hooks SITUATION FUNCTION LOG
 *
 * Writes "FUNCTION 1" and "FUNCTION 2" as two lines to LOG by one function of stdio, flushing after the first only;
 * exit flushes the second. SITUATION is how the stream came to be on the log. For "inherited", the caller has
 * redirected standard output and standard error to the log. --list prints the pairs of SITUATION and FUNCTION.
 */
#include <errno.h>
#include <fcntl.h>
#include <locale.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <wchar.h>

int _IO_fprintf(FILE *, const char *, ...);
int _IO_fputs(const char *, FILE *);
size_t _IO_fwrite(const void *, size_t, size_t, FILE *);
int _IO_printf(const char *, ...);
int _IO_putc(int, FILE *);
int _IO_puts(const char *);
int _IO_vfprintf(FILE *, const char *, va_list);
int _IO_fflush(FILE *);
int _IO_fclose(FILE *);
FILE *_IO_fopen(const char *, const char *);
FILE *_IO_fdopen(int, const char *);
int __fprintf_chk(FILE *, int, const char *, ...);
int __vfprintf_chk(FILE *, int, const char *, va_list);
int __printf_chk(int, const char *, ...);
int __vprintf_chk(int, const char *, va_list);
int __fwprintf_chk(FILE *, int, const wchar_t *, ...);
int __vfwprintf_chk(FILE *, int, const wchar_t *, va_list);
int __wprintf_chk(int, const wchar_t *, ...);
int __vwprintf_chk(int, const wchar_t *, va_list);

typedef void writer(FILE *stream, const char *text);

/* Through volatile pointers, the functions themselves are called, not the headers' inline versions. */
#define AS_FUNCTION(name) ((__typeof__(&(name)) volatile)(name))

static void each_byte(FILE *stream, const char *text, int (*put)(int, FILE *))
{
    for (; *text != '\0'; text++) {
        put(*text, stream);
    }
}

static void each_byte_out(const char *text, int (*put)(int))
{
    for (; *text != '\0'; text++) {
        put(*text);
    }
}

static void each_character(FILE *stream, const char *text, wint_t (*put)(wchar_t, FILE *))
{
    for (; *text != '\0'; text++) {
        put((wchar_t)*text, stream);
    }
}

static void each_character_out(const char *text, wint_t (*put)(wchar_t))
{
    for (; *text != '\0'; text++) {
        put((wchar_t)*text);
    }
}

static const wchar_t *widened(const char *text)
{
    static wchar_t wide[200];
    size_t length = strlen(text);
    for (size_t i = 0; i <= length; i++) {
        wide[i] = (wchar_t)text[i];
    }
    return wide;
}

static const char *without_newline(const char *text)
{
    static char line[200];
    strcpy(line, text);
    line[strlen(line) - 1] = '\0';
    return line;
}

static void with_list(int (*print)(FILE *, const char *, va_list), FILE *stream, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    print(stream, format, arguments);
    va_end(arguments);
}

static void with_list_out(int (*print)(const char *, va_list), const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    print(format, arguments);
    va_end(arguments);
}

static void with_list_checked(int (*print)(FILE *, int, const char *, va_list), FILE *stream, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    print(stream, 1, format, arguments);
    va_end(arguments);
}

static void with_list_checked_out(int (*print)(int, const char *, va_list), const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    print(1, format, arguments);
    va_end(arguments);
}

static void with_wide_list(int (*print)(FILE *, const wchar_t *, va_list), FILE *stream, const wchar_t *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    print(stream, format, arguments);
    va_end(arguments);
}

static void with_wide_list_out(int (*print)(const wchar_t *, va_list), const wchar_t *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    print(format, arguments);
    va_end(arguments);
}

static void with_wide_list_checked(int (*print)(FILE *, int, const wchar_t *, va_list), FILE *stream,
                                   const wchar_t *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    print(stream, 1, format, arguments);
    va_end(arguments);
}

static void with_wide_list_checked_out(int (*print)(int, const wchar_t *, va_list), const wchar_t *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    print(1, format, arguments);
    va_end(arguments);
}

#define WRITER(name, call)                                                                                             \
    static void write_##name(FILE *stream, const char *text)                                                           \
    {                                                                                                                  \
        (void)stream;                                                                                                  \
        call;                                                                                                          \
    }

WRITER(fwrite, fwrite(text, 1, strlen(text), stream))
WRITER(_IO_fwrite, _IO_fwrite(text, 1, strlen(text), stream))
WRITER(fwrite_unlocked, (fwrite_unlocked)(text, 1, strlen(text), stream))
WRITER(fputs, fputs(text, stream))
WRITER(_IO_fputs, _IO_fputs(text, stream))
WRITER(fputs_unlocked, fputs_unlocked(text, stream))
WRITER(fputc, each_byte(stream, text, AS_FUNCTION(fputc)))
WRITER(fputc_unlocked, each_byte(stream, text, AS_FUNCTION(fputc_unlocked)))
WRITER(putc, each_byte(stream, text, AS_FUNCTION(putc)))
WRITER(_IO_putc, each_byte(stream, text, _IO_putc))
WRITER(putc_unlocked, each_byte(stream, text, AS_FUNCTION(putc_unlocked)))
WRITER(__overflow, for (; *text != '\0'; text++) putc_unlocked(*text, stream)) /* inlined: calls it for room */
WRITER(
    putw, int word; for (; strlen(text) >= sizeof word; text += sizeof word) {
        memcpy(&word, text, sizeof word);
        putw(word, stream);
    } fputs(text, stream))
WRITER(fprintf, fprintf(stream, "%s", text))
WRITER(_IO_fprintf, _IO_fprintf(stream, "%s", text))
WRITER(__fprintf_chk, __fprintf_chk(stream, 1, "%s", text))
WRITER(vfprintf, with_list(vfprintf, stream, "%s", text))
WRITER(_IO_vfprintf, with_list(_IO_vfprintf, stream, "%s", text))
WRITER(__vfprintf_chk, with_list_checked(__vfprintf_chk, stream, "%s", text))
WRITER(putchar, each_byte_out(text, AS_FUNCTION(putchar)))
WRITER(putchar_unlocked, each_byte_out(text, AS_FUNCTION(putchar_unlocked)))
WRITER(puts, puts(without_newline(text)))
WRITER(_IO_puts, _IO_puts(without_newline(text)))
WRITER(printf, printf("%s", text))
WRITER(_IO_printf, _IO_printf("%s", text))
WRITER(__printf_chk, __printf_chk(1, "%s", text))
WRITER(vprintf, with_list_out(AS_FUNCTION(vprintf), "%s", text))
WRITER(__vprintf_chk, with_list_checked_out(__vprintf_chk, "%s", text))
WRITER(fputwc, each_character(stream, text, AS_FUNCTION(fputwc)))
WRITER(fputwc_unlocked, each_character(stream, text, AS_FUNCTION(fputwc_unlocked)))
WRITER(putwc, each_character(stream, text, AS_FUNCTION(putwc)))
WRITER(putwc_unlocked, each_character(stream, text, AS_FUNCTION(putwc_unlocked)))
WRITER(fputws, fputws(widened(text), stream))
WRITER(fputws_unlocked, fputws_unlocked(widened(text), stream))
WRITER(fwprintf, fwprintf(stream, L"%s", text))
WRITER(__fwprintf_chk, __fwprintf_chk(stream, 1, L"%s", text))
WRITER(vfwprintf, with_wide_list(vfwprintf, stream, L"%s", text))
WRITER(__vfwprintf_chk, with_wide_list_checked(__vfwprintf_chk, stream, L"%s", text))
WRITER(putwchar, each_character_out(text, AS_FUNCTION(putwchar)))
WRITER(putwchar_unlocked, each_character_out(text, AS_FUNCTION(putwchar_unlocked)))
WRITER(wprintf, wprintf(L"%s", text))
WRITER(__wprintf_chk, __wprintf_chk(1, L"%s", text))
WRITER(vwprintf, with_wide_list_out(vwprintf, L"%s", text))
WRITER(__vwprintf_chk, with_wide_list_checked_out(__vwprintf_chk, L"%s", text))
/* These add text of their own: "FUNCTION 1: Success". */
WRITER(perror, errno = 0; perror(without_newline(text)))
WRITER(psignal, psignal(SIGHUP, without_newline(text)))

enum kind { ANY, OUT, ERROR };

static const struct {
    const char *name;
    enum kind kind; /* takes a stream, or writes to stdout, or to stderr */
    writer *write;
} writers[] = {
#define ENTRY(name, kind)                                                                                              \
    {                                                                                                                  \
#name, kind, write_##name                                                                                      \
    }
    ENTRY(fwrite, ANY),
    ENTRY(_IO_fwrite, ANY),
    ENTRY(fwrite_unlocked, ANY),
    ENTRY(fputs, ANY),
    ENTRY(_IO_fputs, ANY),
    ENTRY(fputs_unlocked, ANY),
    ENTRY(fputc, ANY),
    ENTRY(fputc_unlocked, ANY),
    ENTRY(putc, ANY),
    ENTRY(_IO_putc, ANY),
    ENTRY(putc_unlocked, ANY),
    ENTRY(__overflow, ANY),
    ENTRY(putw, ANY),
    ENTRY(fprintf, ANY),
    ENTRY(_IO_fprintf, ANY),
    ENTRY(__fprintf_chk, ANY),
    ENTRY(vfprintf, ANY),
    ENTRY(_IO_vfprintf, ANY),
    ENTRY(__vfprintf_chk, ANY),
    ENTRY(putchar, OUT),
    ENTRY(putchar_unlocked, OUT),
    ENTRY(puts, OUT),
    ENTRY(_IO_puts, OUT),
    ENTRY(printf, OUT),
    ENTRY(_IO_printf, OUT),
    ENTRY(__printf_chk, OUT),
    ENTRY(vprintf, OUT),
    ENTRY(__vprintf_chk, OUT),
    ENTRY(fputwc, ANY),
    ENTRY(fputwc_unlocked, ANY),
    ENTRY(putwc, ANY),
    ENTRY(putwc_unlocked, ANY),
    ENTRY(fputws, ANY),
    ENTRY(fputws_unlocked, ANY),
    ENTRY(fwprintf, ANY),
    ENTRY(__fwprintf_chk, ANY),
    ENTRY(vfwprintf, ANY),
    ENTRY(__vfwprintf_chk, ANY),
    ENTRY(putwchar, OUT),
    ENTRY(putwchar_unlocked, OUT),
    ENTRY(wprintf, OUT),
    ENTRY(__wprintf_chk, OUT),
    ENTRY(vwprintf, OUT),
    ENTRY(__vwprintf_chk, OUT),
    ENTRY(perror, ERROR),
    ENTRY(psignal, ERROR),
};
#undef ENTRY
enum { WRITERS = sizeof writers / sizeof writers[0] };

static FILE *must(FILE *stream)
{
    if (stream == NULL) {
        abort();
    }
    return stream;
}

/* Standard output, and standard error, put on the log; the line that was buffered before goes there too. */
static void redirect(const char *log)
{
    int fd = open(log, O_WRONLY | O_CREAT | O_APPEND, 0644);
    dup2(fd, 1);
    dup2(fd, 2);
    close(fd);
}

static FILE *by_fopen(const char *log)
{
    return fopen(log, "a");
}

static FILE *by_fopen64(const char *log)
{
    return fopen64(log, "w");
}

static FILE *by_IO_fopen(const char *log)
{
    return _IO_fopen(log, "a+");
}

static FILE *by_fdopen(const char *log)
{
    return fdopen(open(log, O_WRONLY | O_CREAT, 0644), "w");
}

static FILE *by_IO_fdopen(const char *log)
{
    return _IO_fdopen(open(log, O_RDWR | O_CREAT, 0644), "r+");
}

static FILE *by_freopen(const char *log)
{
    return freopen(log, "w", must(fopen("/dev/null", "w")));
}

static FILE *by_freopen_of_a_log(const char *log)
{
    char other[4096];
    snprintf(other, sizeof other, "%s.other.log", log);
    FILE *stream = freopen(log, "w", must(fopen(other, "a")));
    unlink(other);
    return stream;
}

static FILE *by_freopen64(const char *log)
{
    return freopen64(log, "a", must(fopen("/dev/null", "w")));
}

/* A stream of glibc's own over whose descriptor the log is put. */
static FILE *by_dup2_over_a_stream(const char *log)
{
    FILE *stream = must(fopen("/dev/null", "w"));
    int fd = open(log, O_WRONLY | O_CREAT | O_APPEND, 0644);
    dup2(fd, fileno(stream));
    close(fd);
    return stream;
}

static FILE *inherited(const char *log)
{
    (void)log;
    return stdout;
}

static FILE *by_dup2(const char *log)
{
    redirect(log);
    return stdout;
}

/* The pointer that the program kept from before, as libstdc++ does. */
static FILE *by_dup2_and_saved(const char *log)
{
    FILE *saved = stdout;
    redirect(log);
    return saved;
}

static FILE *by_freopen_of_stdout(const char *log)
{
    stderr = freopen(log, "a", stderr);
    return freopen(log, "a", stdout) == stdout ? stdout : NULL;
}

static FILE *by_freopen_and_assigned(const char *log)
{
    freopen(log, "a", stderr);
    stdout = freopen(log, "a", stdout);
    return stdout;
}

static FILE *by_closing_and_reopening(const char *log)
{
    fclose(stdout);
    fclose(stderr);
    open(log, O_WRONLY | O_CREAT | O_APPEND, 0644);
    open(log, O_WRONLY | O_CREAT | O_APPEND, 0644);
    stdout = fdopen(1, "a");
    stderr = fdopen(2, "a");
    return stdout;
}

/* The lowest free number is 1, then 2: no dup2 tells. */
static FILE *by_closing_and_opening(const char *log)
{
    close(1);
    open(log, O_WRONLY | O_CREAT | O_APPEND, 0644);
    close(2);
    open(log, O_WRONLY | O_CREAT | O_APPEND, 0644);
    return stdout;
}

static FILE *by_closing_and_duplicating(const char *log)
{
    int fd = open(log, O_WRONLY | O_CREAT | O_APPEND, 0644);
    close(1);
    dup(fd);
    close(2);
    fcntl(fd, F_DUPFD, 2);
    return stdout;
}

static const struct {
    const char *name;
    bool standard;
    FILE *(*open)(const char *log);
} situations[] = {
    {"fopen", false, by_fopen},
    {"fopen64", false, by_fopen64},
    {"_IO_fopen", false, by_IO_fopen},
    {"fdopen", false, by_fdopen},
    {"_IO_fdopen", false, by_IO_fdopen},
    {"freopen", false, by_freopen},
    {"freopen_of_a_log", false, by_freopen_of_a_log},
    {"freopen64", false, by_freopen64},
    {"dup2_over_a_stream", false, by_dup2_over_a_stream},
    {"inherited", true, inherited},
    {"dup2", true, by_dup2},
    {"dup2_and_saved", true, by_dup2_and_saved},
    {"freopen_of_stdout", true, by_freopen_of_stdout},
    {"freopen_and_assigned", true, by_freopen_and_assigned},
    {"closing_and_reopening", true, by_closing_and_reopening},
    {"closing_and_opening", true, by_closing_and_opening},
    {"closing_and_duplicating", true, by_closing_and_duplicating},
};
enum { SITUATIONS = sizeof situations / sizeof situations[0] };

static void list(void)
{
    for (size_t i = 0; i < SITUATIONS; i++) {
        for (size_t j = 0; j < WRITERS; j++) {
            if (situations[i].standard || writers[j].kind == ANY) {
                printf("%s %s\n", situations[i].name, writers[j].name);
            }
        }
    }
}

int main(int count, char *arguments[])
{
    if (count == 2 && strcmp(arguments[1], "--list") == 0) {
        list();
        return 0;
    }
    if (count != 4) {
        fputs("usage: stdio_hooks SITUATION FUNCTION LOG\n", stderr);
        return 2;
    }
    setlocale(LC_ALL, "C.UTF-8");
    size_t situation = 0, function = 0;
    while (situation < SITUATIONS && strcmp(situations[situation].name, arguments[1]) != 0) {
        situation++;
    }
    while (function < WRITERS && strcmp(writers[function].name, arguments[2]) != 0) {
        function++;
    }
    if (situation == SITUATIONS || function == WRITERS) {
        return 2;
    }

    FILE *stream = must(situations[situation].open(arguments[3]));
    char line[100];
    snprintf(line, sizeof line, "%s 1\n", arguments[2]);
    writers[function].write(stream, line);
    if (situation % 2 == 0) {
        fflush(stream);
    } else {
        _IO_fflush(stream);
    }
    snprintf(line, sizeof line, "%s 2\n", arguments[2]);
    writers[function].write(stream, line);
    return 0;
}
