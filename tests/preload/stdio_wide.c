/*
 * stdio_wide DIRECTORY: wide characters: orientation, conversion and its errors, positions, reading and scanning, on
 * files named *.log in DIRECTORY. Every descriptor has O_APPEND.
 */
#include "stdio_transcript.h"

#include <locale.h>
#include <stdarg.h>
#include <stdio_ext.h>
#include <wchar.h>

int __isoc99_fwscanf(FILE *, const wchar_t *, ...);
int __isoc99_vfwscanf(FILE *, const wchar_t *, va_list);
wchar_t *__fgetws_chk(wchar_t *, size_t, int, FILE *);

#define AS_FUNCTION(name) ((__typeof__(&(name)) volatile)(name))

static FILE *open_appending(const char *mode)
{
    FILE *stream = open_stream(mode);
    fcntl(fileno(stream), F_SETFL, fcntl(fileno(stream), F_GETFL) | O_APPEND);
    errno = 0;
    return stream;
}

static void note_wide(const char *what, const wchar_t *text)
{
    printf("%s =", what);
    for (; text != NULL && *text != L'\0'; text++) {
        printf(" %x", (unsigned)*text);
    }
    printf("%s\n", text == NULL ? " (null)" : "");
    errno = 0;
}

/* The file's bytes, whatever they mean. */
static void note_bytes(void)
{
    unsigned char bytes[200];
    int fd = open(path, O_RDONLY);
    ssize_t size = read(fd, bytes, sizeof bytes);
    close(fd);
    printf("bytes:");
    for (ssize_t i = 0; i < size; i++) {
        printf(" %02x", bytes[i]);
    }
    printf("\n");
    errno = 0;
}

static void note_state(FILE *stream)
{
    note("fwide", (fwide(stream, 0) > 0) - (fwide(stream, 0) < 0));
    note("feof", feof(stream) != 0);
    note("ferror", ferror(stream) != 0);
}

/* The first call of either kind decides. */
static void test_orientation(void)
{
    wchar_t wide[10];
    begin("orientation");
    FILE *stream = open_appending("a+");
    note_state(stream);
    note("fgetc", fgetc(stream));
    note_state(stream);
    note("fgetwc", (long long)fgetwc(stream));
    note("fgetws", fgetws(wide, 5, stream) != NULL);
    note("fputwc", (long long)fputwc(L'x', stream));
    note("fputws", fputws(L"x", stream) >= 0);
    note("fwprintf", fwprintf(stream, L"x"));
    note("fwide", fwide(stream, 1) < 0);
    note_state(stream);
    stream = freopen(path, "a+", stream);
    errno = 0;
    note_state(stream);
    note("fputws", fputws(L"wide\n", stream) >= 0);
    note_state(stream);
    note("puts", fputs("x", stream));
    note("fprintf", fprintf(stream, "x"));
    note("fwrite", (long long)fwrite("x", 1, 1, stream));
    note("putw", putw(1, stream));
    note_state(stream);
    note("fclose", fclose(stream));
    note_bytes();
}

static void test_getting(const char *name, const char *mode)
{
    wchar_t wide[40];
    begin(name);
    prepare("\xc3\xa4 1\n\xe2\x82\xac 2\nline 3\nline 4\nlast");
    FILE *stream = open_appending(mode);
    rewind(stream);
    note("getwc", (long long)AS_FUNCTION(getwc)(stream));
    note("ftell", ftell(stream));
    note("ungetwc", (long long)ungetwc(L'\xe4', stream));
    note("ftell", ftell(stream));
    note("getwc_unlocked", (long long)AS_FUNCTION(getwc_unlocked)(stream));
    note("fgetwc_unlocked", (long long)AS_FUNCTION(fgetwc_unlocked)(stream));
    note_wide("fgetws", fgetws(wide, 40, stream));
    note_wide("fgetws_unlocked", fgetws_unlocked(wide, 2, stream));
    note_wide("__fgetws_chk", __fgetws_chk(wide, 40, 40, stream));
    note("ftell", ftell(stream));
    note_wide("fgetws", fgetws(wide, 40, stream));
    note("fseek", fseek(stream, 0, SEEK_END));
    note("fgetwc at end", (long long)fgetwc(stream));
    note_state(stream);
    note("fputws", fputws(L"\n\x20ac\n", stream) >= 0);
    note("fclose", fclose(stream));
    note_bytes();
}

static int scan(FILE *stream, const wchar_t *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    int result = __isoc99_vfwscanf(stream, format, arguments);
    va_end(arguments);
    return result;
}

static void test_scanning(void)
{
    int number = 0;
    wchar_t word[20] = L"", line[40];
    begin("scanning");
    prepare("12 w\xc3\xb6rd rest\n34 x\n");
    FILE *stream = open_appending("r+");
    note("fwscanf", __isoc99_fwscanf(stream, L"%d %19ls", &number, word));
    note("number", number);
    note_wide("word", word);
    note("ftell", ftell(stream));
    note("no number", fwscanf(stream, L"%d", &number));
    note_wide("fgetws", fgetws(line, 40, stream));
    note("vfwscanf", scan(stream, L"%d%ls", &number, word));
    note("number", number);
    note("at end", __isoc99_fwscanf(stream, L"%d", &number));
    note_state(stream);
    note("fseek", fseek(stream, 0, SEEK_END));
    note("fputws", fputws(L"more\n", stream) >= 0);
    note("fclose", fclose(stream));
    stream = open_stream("a");
    note("of a stream for writing", __isoc99_fwscanf(stream, L"%d", &number));
    note_state(stream);
    note("fclose", fclose(stream));
    stream = open_appending("r+");
    note("fgetc", fgetc(stream));
    note("of a stream of bytes", __isoc99_fwscanf(stream, L"%d", &number));
    note_state(stream);
    note("fclose", fclose(stream));
    note_bytes();
}

/* Bytes that stand for no character are an error, again and again. */
static void test_wrong_bytes(void)
{
    wchar_t wide[40];
    begin("wrong_bytes");
    prepare("ab\xff\xfe 4\n");
    FILE *stream = open_appending("r+");
    note("fgetwc", (long long)fgetwc(stream));
    note("fgetwc", (long long)fgetwc(stream));
    note("fgetwc", (long long)fgetwc(stream));
    note_state(stream);
    note("fgetws", fgetws(wide, 40, stream) != NULL);
    note("fclose", fclose(stream));
    begin("half_a_character");
    prepare("a\xe2\x82");
    stream = open_appending("r+");
    note("fgetwc", (long long)fgetwc(stream));
    note("fgetwc", (long long)fgetwc(stream));
    note_state(stream);
    note("fclose", fclose(stream));
}

static void test_wrong_characters(void)
{
    begin("wrong_characters");
    FILE *stream = open_stream("a");
    note("fwprintf %s", fwprintf(stream, L"%s\n", "b\xc3\xa4"));
    note("fwprintf wrong %s", fwprintf(stream, L"%s\n", "\xff"));
    note("fputwc", (long long)fputwc(L'\n', stream));
    note("fclose", fclose(stream));
    note_bytes();
}

static void test_buffering(void)
{
    begin("wide_buffering");
    FILE *stream = open_stream("a");
    note("setvbuf", setvbuf(stream, NULL, _IOLBF, 0));
    note("fputws", fputws(L"one \xe4\n", stream) >= 0);
    note_size("size");
    note("fputwc", (long long)fputwc(L'\xe4', stream));
    note_size("size");
    note("fwprintf", fwprintf(stream, L"%d\n", 2));
    note_size("size");
    note("flbf", __flbf(stream) != 0);
    note("ftell", ftell(stream));
    note("fclose", fclose(stream));
    stream = open_stream("a");
    note("fputws", fputws(L"three\n", stream) >= 0);
    note_size("size");
    note("fpending", (long long)__fpending(stream));
    note("fflush", fflush(stream));
    note_size("size");
    note("fputws", fputws(L"gone\n", stream) >= 0);
    __fpurge(stream);
    note("fpending", (long long)__fpending(stream));
    note("fclose", fclose(stream));
    note_bytes();
}

int main(int count, char *arguments[])
{
    if (count != 2) {
        fputs("usage: stdio_wide DIRECTORY\n", stderr);
        return 2;
    }
    directory = arguments[1];
    if (setlocale(LC_ALL, "C.UTF-8") == NULL) {
        return 1;
    }
    test_orientation();
    test_getting("getting", "r+");
    test_getting("getting2", "a+");
    test_wrong_bytes();
    test_scanning();
    test_wrong_characters();
    test_buffering();
    return 0;
}
