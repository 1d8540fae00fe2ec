/*
 * stdio_opening DIRECTORY: opening, closing, reopening, failing, and wide characters, on files named *.log in
 * DIRECTORY.
 */
#include "stdio_transcript.h"

#include <locale.h>
#include <signal.h>
#include <stdio_ext.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <wchar.h>

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
    note("ftell", ftell(stream));
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
    note("ftell", ftell(stream));
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
    note("ftell", ftell(stream));
    note("fputs", fputs("sixth\n", stream) >= 0);
    note("fclose", fclose(stream));
    strcpy(path, first);
    note_contents();
}

/* Once "e", always so: glibc's streams remember it. */
static void test_freopen_cloexec(void)
{
    static const char *const modes[] = {"a", "ae"};
    for (int first = 0; first < 2; first++) {
        for (int second = 0; second < 2; second++) {
            char name[40];
            snprintf(name, sizeof name, "cloexec%d%d", first, second);
            begin(name);
            FILE *stream = fopen(path, modes[first]);
            note("freopen", freopen(path, modes[second], stream) == stream);
            note("cloexec", fcntl(fileno(stream), F_GETFD));
            note("freopen", freopen(path, "a", stream) == stream);
            note("cloexec", fcntl(fileno(stream), F_GETFD));
            note("fclose", fclose(stream));
        }
    }
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
        fputs("usage: stdio_opening DIRECTORY\n", stderr);
        return 2;
    }
    directory = arguments[1];
    if (setlocale(LC_ALL, "C.UTF-8") == NULL) {
        return 1;
    }
    test_modes();
    test_fdopen();
    test_errors();
    test_freopen();
    test_freopen_cloexec();
    test_wide();
    test_fork();
    return 0;
}
