/*
 * stdio_semantics DIRECTORY: what stdio says and does to files named *.log in DIRECTORY, as a transcript on standard
 * output.
 *
 * Run with the library (and rules for DIRECTORY/ *.log) and without: the transcripts must be the same. Files are
 * opened for appending, or are empty, so that a log and a plain file should behave alike.
 */
#include <errno.h>
#include <fcntl.h>
#include <locale.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdio_ext.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include <wchar.h>

enum { LINE = 64 }; /* divides every buffer size, so that a full buffer ends in a newline */

static const char *directory;
static char path[4096];

static void note(const char *what, long long result)
{
    int error = errno;
    printf("%s = %lld errno %d\n", what, result, error);
    fflush(stdout);
    errno = 0;
}

static void note_text(const char *what, const char *text)
{
    printf("%s = %s\n", what, text == NULL ? "(null)" : text);
    errno = 0;
}

static void note_size(const char *what)
{
    struct stat status;
    note(what, stat(path, &status) == 0 ? (long long)status.st_size : -1);
}

static void note_contents(void)
{
    int fd = open(path, O_RDONLY);
    char buffer[300];
    ssize_t size = fd < 0 ? -1 : read(fd, buffer, sizeof buffer - 1);
    buffer[size < 0 ? 0 : size] = '\0';
    close(fd);
    errno = 0;
    note("contents", size);
    note_text("contents", buffer);
}

static const char *begin(const char *name)
{
    printf("--- %s\n", name);
    snprintf(path, sizeof path, "%s/%s.log", directory, name);
    errno = 0;
    return path;
}

static FILE *open_stream(const char *mode)
{
    FILE *stream = fopen(path, mode);
    note(mode, stream != NULL);
    if (stream == NULL) {
        exit(1);
    }
    return stream;
}

static void put_line(FILE *stream, char letter)
{
    char line[LINE];
    memset(line, letter, LINE - 1);
    line[LINE - 1] = '\n';
    note("fwrite", (long long)fwrite(line, 1, LINE, stream));
}

static void prepare(const char *text)
{
    FILE *stream = fopen(path, "a");
    fputs(text, stream);
    fclose(stream);
    errno = 0;
}

static void test_modes(void)
{
    static const char *const modes[] = {"",   "z",  "+a", "ab", "a+b",       "ab+", "ae",
                                        "ax", "wx", "r",  "r+", "abcdefgh+", "a+xe"};
    for (size_t i = 0; i < sizeof modes / sizeof modes[0]; i++) {
        char name[32];
        snprintf(name, sizeof name, "modes%zu", i);
        begin(name);
        FILE *stream = fopen(path, modes[i]);
        note(modes[i], stream != NULL);
        if (stream == NULL) {
            continue;
        }
        note("cloexec", fcntl(fileno(stream), F_GETFD));
        note("access", fcntl(fileno(stream), F_GETFL) & O_ACCMODE);
        note("fputs", fputs("text\n", stream) >= 0);
        rewind(stream);
        note("fgetc", fgetc(stream));
        note("ferror", ferror(stream));
        note("fclose", fclose(stream));
        note("again", (stream = fopen(path, modes[i])) != NULL);
        if (stream != NULL) {
            fclose(stream);
        }
        note_contents();
    }
    begin("missing/file");
    note("fopen", fopen(path, "a") != NULL);
}

static void test_fdopen(void)
{
    begin("fdopen");
    int fd = open(path, O_WRONLY | O_CREAT | O_APPEND, 0644);
    note("fdopen r", fdopen(fd, "r") != NULL);
    note("fdopen r+", fdopen(fd, "r+") != NULL);
    note("fdopen a+", fdopen(fd, "a+") != NULL);
    note("fdopen z", fdopen(fd, "z") != NULL);
    note("fdopen bad", fdopen(1000, "a") != NULL);
    FILE *stream = fdopen(fd, "a");
    note("fileno", fileno(stream) == fd);
    note("ftell", ftell(stream));
    put_line(stream, 'a');
    note("ftell", ftell(stream));
    note_size("size");
    note("fflush", fflush(stream));
    note_size("size");
    note("lseek", lseek(fd, 0, SEEK_CUR));
    note("fclose", fclose(stream));
    note("closed", fcntl(fd, F_GETFD));

    fd = open(path, O_RDWR | O_APPEND);
    stream = fdopen(fd, "r+");
    note("fgetc", fgetc(stream));
    note("ftell", ftell(stream));
    note("fclose", fclose(stream));
    fd = open(path, O_RDWR | O_APPEND);
    stream = fdopen(fd, "w");
    note("ftell", ftell(stream));
    note("fseek", fseek(stream, 3, SEEK_SET));
    note("fputs", fputs("to the end all the same\n", stream) >= 0);
    note("ftell", ftell(stream));
    note("fflush", fflush(stream));
    note("ftell", ftell(stream));
    note("fgetc", fgetc(stream));
    note("ferror", ferror(stream));
    close(fd);
    note("fclose of a closed one", fclose(stream));
    fd = open(path, O_RDWR | O_APPEND);
    stream = fdopen(fd, "w");
    put_line(stream, 'b');
    close(fd);
    note("fclose of a closed one with data", fclose(stream));
    fd = open(path, O_RDWR | O_APPEND);
    stream = fdopen(fd, "r");
    note("fputc on reading stream", fputc('x', stream));
    note("ferror", ferror(stream));
    note("fclose", fclose(stream));
    note_contents();
}

static void note_buffer(FILE *stream)
{
    note("fbufsize", (long long)__fbufsize(stream));
    note("flbf", __flbf(stream) != 0);
    note("fpending", (long long)__fpending(stream));
    note("freading", __freading(stream) != 0);
    note("fwriting", __fwriting(stream) != 0);
    note("freadable", __freadable(stream) != 0);
    note("fwritable", __fwritable(stream) != 0);
}

static void test_full_buffering(void)
{
    begin("full");
    FILE *stream = open_stream("a");
    put_line(stream, 'a');
    note_buffer(stream);
    for (int i = 1; i < 100; i++) {
        put_line(stream, (char)('a' + i % 26));
    }
    note_size("size");
    note("fpending", (long long)__fpending(stream));
    note("ftell", ftell(stream));
    static char big[LINE * 200 + 1];
    for (int i = 0; i < LINE * 200; i++) {
        big[i] = i % LINE == LINE - 1 ? '\n' : 'x';
    }
    note("fwrite", (long long)fwrite(big, LINE, 200, stream));
    note_size("size");
    note("fputs", fputs(big, stream) >= 0);
    note_size("size");
    note("fwrite 0", (long long)fwrite(big, 0, 5, stream));
    note("fprintf", fprintf(stream, "%s%n", big, &(int){0}));
    note_size("size");
    note("fflush", fflush(stream));
    note_size("size");
    __fpurge(stream);
    put_line(stream, 'y');
    __fpurge(stream);
    note("fpending", (long long)__fpending(stream));
    note("fclose", fclose(stream));
    note_size("size");
}

static void test_line_buffering(void)
{
    begin("line");
    FILE *stream = open_stream("a");
    note("setvbuf", setvbuf(stream, NULL, _IOLBF, 0));
    note("fputs", fputs("one\n", stream) >= 0);
    note_size("size");
    note("fputc", fputc('t', stream));
    note_size("size");
    note("fputs", fputs("wo\nthree", stream) >= 0);
    note("putc", putc('\n', stream));
    note_size("size");
    note_buffer(stream);
    note("setvbuf", setvbuf(stream, NULL, _IOFBF, 100));
    note("fputs", fputs("four\n", stream) >= 0);
    note_size("size");
    setlinebuf(stream);
    note_buffer(stream);
    note("putw", putw(0x41414141, stream));
    note("putc", putc('\n', stream));
    note_size("size");
    note("fclose", fclose(stream));
    note_contents();
}

static void test_no_buffering(void)
{
    begin("none");
    FILE *stream = open_stream("a");
    note("setvbuf", setvbuf(stream, NULL, _IONBF, 0));
    note("fputs", fputs("one\n", stream) >= 0);
    note_size("size");
    note("fputc", fputc('t', stream));
    note_size("size");
    note("fprintf", fprintf(stream, "wo %d %s\n", 2, "words"));
    note_size("size");
    note_buffer(stream);
    note("ftell", ftell(stream));
    char buffer[128];
    note("setvbuf", setvbuf(stream, buffer, _IOFBF, sizeof buffer));
    put_line(stream, 'a');
    note_size("size");
    put_line(stream, 'b');
    note_size("size");
    put_line(stream, 'c');
    note_size("size");
    note_buffer(stream);
    setbuf(stream, NULL);
    note_size("size");
    setbuffer(stream, buffer, 10);
    note("fputs", fputs("five\n", stream) >= 0);
    note_size("size");
    note("setvbuf", setvbuf(stream, NULL, 77, 0));
    note("fclose", fclose(stream));
    note_contents();
}

static void note_position(FILE *stream, const char *what)
{
    note(what, ftell(stream));
    note("ftello", ftello(stream));
    note("feof", feof(stream));
}

static void test_positions(const char *name, const char *mode)
{
    fpos_t position;
    begin(name);
    prepare("line 1\nline 2\n");
    FILE *stream = open_stream(mode);
    note_position(stream, "at start");
    note("fputs", fputs("line 3\n", stream) >= 0);
    note_position(stream, "after fputs");
    note_size("size");
    note("fseek set", fseek(stream, 3, SEEK_SET));
    note_position(stream, "after fseek");
    note_size("size");
    note("fseek cur", fseek(stream, 2, SEEK_CUR));
    note_position(stream, "after fseek");
    note("fgetpos", fgetpos(stream, &position));
    note("fseek end", fseek(stream, -2, SEEK_END));
    note_position(stream, "after fseek");
    note("fsetpos", fsetpos(stream, &position));
    note_position(stream, "after fsetpos");
    note("fseek negative", fseek(stream, -100, SEEK_SET));
    note("fseek negative", fseek(stream, -100, SEEK_CUR));
    note("fseek whence", fseek(stream, 0, 33));
    note("fseeko", fseeko(stream, 1, SEEK_SET));
    note("fputs", fputs("line 4\n", stream) >= 0);
    note_position(stream, "after fputs");
    note("fflush", fflush(stream));
    note_position(stream, "after fflush");
    rewind(stream);
    note_position(stream, "after rewind");
    note("fclose", fclose(stream));
    note_contents();
}

static void test_reading(const char *name, const char *mode)
{
    char line[100];
    begin(name);
    prepare("line 1\nline 2\nline 3\n");
    FILE *stream = open_stream(mode);
    note_text("fgets", fgets(line, sizeof line, stream));
    note_position(stream, "after fgets");
    note_buffer(stream);
    note("fgetc", fgetc(stream));
    note("ungetc", ungetc('L', stream));
    note_position(stream, "after ungetc");
    note("ungetc other", ungetc('x', stream));
    note("ungetc other", ungetc('y', stream));
    note_position(stream, "after ungetc");
    note("fgetc", fgetc(stream));
    note_text("fgets", fgets(line, sizeof line, stream));
    note("fseek", fseek(stream, 0, SEEK_CUR));
    note("fputs", fputs("line 4\n", stream) >= 0);
    note_position(stream, "after fputs");
    note("fflush", fflush(stream));
    note("fgetc at end", fgetc(stream));
    note_position(stream, "at end");
    note("ferror", ferror(stream));
    clearerr(stream);
    note("feof", feof(stream));
    rewind(stream);
    note("fread", (long long)fread(line, 1, 10, stream));
    note_position(stream, "after fread");
    note("fseek", fseek(stream, 8, SEEK_SET));
    note("getc", getc(stream));
    note("fputs", fputs("line 5\n", stream) >= 0);
    note("fseek", fseek(stream, 0, SEEK_SET));
    memset(line, 0, sizeof line);
    note("fread", (long long)fread(line, 1, sizeof line - 1, stream));
    note_text("fread", line);
    note_position(stream, "after fread");
    note("ungetc", ungetc('z', stream));
    note("feof", feof(stream));
    note("fclose", fclose(stream));
    note_contents();
}

static void test_scanning(void)
{
    int number = 0;
    char word[20] = "";
    char *line = NULL;
    size_t room = 0;
    begin("scanning");
    FILE *stream = open_stream("w+");
    note("fprintf", fprintf(stream, "%d %s\nnext line\n", 42, "word"));
    rewind(stream);
    note("fscanf", fscanf(stream, "%d %19s", &number, word));
    note("number", number);
    note_text("word", word);
    note("getline", (long long)getline(&line, &room, stream));
    note("getline", (long long)getline(&line, &room, stream));
    note_text("line", line);
    note("getline", (long long)getline(&line, &room, stream));
    note("feof", feof(stream));
    free(line);
    note("fclose", fclose(stream));
    note_contents();
}

static void test_errors(void)
{
    begin("errors");
    struct rlimit limit, before;
    getrlimit(RLIMIT_FSIZE, &before);
    signal(SIGXFSZ, SIG_IGN);
    FILE *stream = open_stream("a");
    put_line(stream, 'a');
    note("fflush", fflush(stream));
    limit = before;
    limit.rlim_cur = LINE;
    setrlimit(RLIMIT_FSIZE, &limit);
    put_line(stream, 'b');
    note("ferror", ferror(stream));
    note("fflush", fflush(stream));
    note("ferror", ferror(stream) != 0);
    note("fpending", (long long)__fpending(stream));
    clearerr(stream);
    note("ferror", ferror(stream));
    put_line(stream, 'c');
    note("fseek", fseek(stream, 0, SEEK_SET));
    note("ferror", ferror(stream) != 0);
    clearerr(stream);
    note("setvbuf", setvbuf(stream, NULL, _IONBF, 0));
    clearerr(stream);
    note("fputc", fputc('x', stream));
    note("ferror", ferror(stream) != 0);
    note("fprintf", fprintf(stream, "text\n"));
    note("fputs", fputs("text\n", stream));
    note("fwrite", (long long)fwrite("text\n", 1, 5, stream));
    setrlimit(RLIMIT_FSIZE, &before);
    note("fputs", fputs("text\n", stream) >= 0);
    note("ferror", ferror(stream) != 0);
    note("fclose", fclose(stream));
    stream = open_stream("a");
    put_line(stream, 'd');
    setrlimit(RLIMIT_FSIZE, &limit);
    note("fclose", fclose(stream));
    setrlimit(RLIMIT_FSIZE, &before);
    note_contents();
}

static void test_freopen(void)
{
    char first[4096];
    strcpy(first, begin("freopen"));
    FILE *stream = open_stream("a");
    int fd = fileno(stream);
    note("fputs", fputs("first\n", stream) >= 0);
    note("setvbuf", setvbuf(stream, NULL, _IOLBF, 0));
    begin("freopen2");
    note("freopen", freopen(path, "a+", stream) == stream);
    note("fileno", fileno(stream) - fd);
    note("flbf", __flbf(stream) != 0);
    note("ftell", ftell(stream));
    note("fputs", fputs("second\n", stream) >= 0);
    note_size("size");
    rewind(stream);
    note("fgetc", fgetc(stream));
    note_contents();
    note("freopen NULL", freopen(NULL, "a", stream) == stream);
    note("fileno", fileno(stream) - fd);
    note("fgetc", fgetc(stream));
    note("ferror", ferror(stream) != 0);
    note("fputs", fputs("third\n", stream) >= 0);
    note("freopen r", freopen(path, "r", stream) == stream);
    note("ferror", ferror(stream) != 0);
    note("fgetc", fgetc(stream));
    note("fputc", fputc('x', stream));
    note("freopen null", freopen("/dev/null", "w", stream) == stream);
    note("fileno", fileno(stream) - fd);
    note("fputs", fputs("nowhere\n", stream) >= 0);
    note("fflush", fflush(stream));
    note("freopen", freopen(first, "ae", stream) == stream);
    note("fileno", fileno(stream) - fd);
    note("cloexec", fcntl(fd, F_GETFD));
    note("fputs", fputs("fourth\n", stream) >= 0);
    note("freopen bad mode", freopen(first, "z", stream) != NULL);
    note("closed", fcntl(fd, F_GETFD));
    note("fileno", fileno(stream));
    note("fputs", fputs("x\n", stream));
    note("fclose", fclose(stream));
    note_contents();
    stream = fopen(first, "a");
    note("fputs", fputs("fifth\n", stream) >= 0);
    note("freopen missing", freopen("/nonexistent/file", "w", stream) != NULL);
    note("fileno", fileno(stream));
    note("freopen again", freopen(first, "a", stream) == stream);
    note("fputs", fputs("sixth\n", stream) >= 0);
    note("fclose", fclose(stream));
    strcpy(path, first);
    note_contents();
}

static void test_wide(void)
{
    wchar_t text[40];
    begin("wide");
    FILE *stream = open_stream("a+");
    note("fwide", fwide(stream, 0));
    note("fwprintf", fwprintf(stream, L"wide %ls %d \x20ac\n", L"\xe4\xf6", 7));
    note("fwide", fwide(stream, -1) > 0);
    note("fputws", fputws(L"more\n", stream) >= 0);
    note("fputwc", (long long)fputwc(L'\xe9', stream));
    note("putwc", (long long)putwc(L'\n', stream));
    note("fputs", fputs("bytes\n", stream));
    note("fprintf", fprintf(stream, "bytes\n"));
    note("fwrite", (long long)fwrite("bytes\n", 1, 6, stream));
    note("fflush", fflush(stream));
    rewind(stream);
    note("fgetwc", (long long)fgetwc(stream));
    note("ungetwc", (long long)ungetwc(L'\xdf', stream));
    note("fgetws", fgetws(text, 40, stream) != NULL);
    note("length", (long long)wcslen(text));
    note("last", (long long)text[wcslen(text) - 2]);
    note("fgetws", fgetws(text, 3, stream) != NULL);
    note("length", (long long)wcslen(text));
    note("fgetws", fgetws(text, 40, stream) != NULL);
    note("fgetws", fgetws(text, 40, stream) != NULL);
    note("fgetws", fgetws(text, 40, stream) != NULL);
    note("feof", feof(stream));
    note("fclose", fclose(stream));
    stream = open_stream("a");
    note("fputs", fputs("bytes\n", stream) >= 0);
    note("fwide", fwide(stream, 1) > 0);
    note("fputws", fputws(L"wide\n", stream));
    note("fputwc", (long long)fputwc(L'w', stream));
    note("fwprintf", fwprintf(stream, L"wide\n"));
    note("fclose", fclose(stream));
    wchar_t *big = calloc(100001, sizeof *big);
    wmemset(big, L'\x20ac', 100000);
    stream = open_stream("a");
    note("fwprintf big", fwprintf(stream, L"%ls\n", big));
    note("fclose", fclose(stream));
    free(big);
    note_size("size");
    note_contents();
}

/* The size that a program reckons its log to have, which looks after every line. */
static void test_counting(void)
{
    long size = 0, wrong = 0;
    begin("counting");
    FILE *stream = open_stream("a");
    for (int i = 0; i < 1000; i++) {
        size += fprintf(stream, "line %d of a log with lines of %d lengths\n", i, 3);
        wrong += ftell(stream) != size;
    }
    note("wrong", wrong);
    note("fputs", fputs("unfinished", stream) >= 0);
    note("ftell", ftell(stream) - size);
    note("fflush", fflush(stream));
    note_size("size");
    note("fclose", fclose(stream));
}

/* What a child inherits in a buffer, both write. */
static void test_fork(void)
{
    begin("fork");
    FILE *stream = open_stream("a");
    note("fputs", fputs("twice\n", stream) >= 0);
    fflush(stdout);
    pid_t child = fork();
    if (child == 0) {
        fputs("child\n", stream);
        fclose(stream);
        _exit(0);
    }
    waitpid(child, NULL, 0);
    note("fputs", fputs("parent\n", stream) >= 0);
    note("fflush all", fflush(NULL));
    note_size("size");
    note("fclose", fclose(stream));
    note_contents();
}

int main(int count, char *arguments[])
{
    if (count != 2) {
        fputs("usage: stdio_semantics DIRECTORY\n", stderr);
        return 2;
    }
    directory = arguments[1];
    if (setlocale(LC_ALL, "C.UTF-8") == NULL) {
        return 1;
    }
    test_modes();
    test_fdopen();
    test_full_buffering();
    test_line_buffering();
    test_no_buffering();
    test_positions("positions", "a");
    test_positions("positions2", "a+");
    test_positions("positions3", "ab");
    test_reading("reading", "a+");
    test_scanning();
    test_errors();
    test_freopen();
    test_wide();
    test_counting();
    test_fork();
    return 0;
}
