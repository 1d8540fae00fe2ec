/*
 * stdio_redirect CASE DIRECTORY
 *
 * What becomes of a stream when the file behind its descriptor changes, as a transcript in DIRECTORY/transcript. The
 * caller has redirected standard output to a file in DIRECTORY; logs are DIRECTORY/ *.log. Run with the library and
 * without: transcript and files must be the same.
 */
#include <errno.h>
#include <fcntl.h>
#include <locale.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdio_ext.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>
#include <wchar.h>

static const char *directory;
static int transcript;

static void note(const char *what, long long result)
{
    int error = errno;
    char line[200];
    int length = snprintf(line, sizeof line, "%s = %lld errno %d\n", what, result, error);
    if (write(transcript, line, (size_t)length) != length) {
        abort();
    }
    errno = 0;
}

static const char *in_directory(const char *name)
{
    static char path[4096];
    snprintf(path, sizeof path, "%s/%s", directory, name);
    return path;
}

static void note_size(const char *name)
{
    struct stat status;
    note(name, stat(in_directory(name), &status) == 0 ? (long long)status.st_size : -1);
}

static void put_on(const char *name, int fd)
{
    int opened = open(in_directory(name), O_WRONLY | O_CREAT | O_APPEND, 0644);
    note("dup2", dup2(opened, fd));
    close(opened);
    errno = 0;
}

static void note_stream(FILE *stream)
{
    note("fileno", fileno(stream));
    note("fpending", (long long)__fpending(stream));
    note("flbf", __flbf(stream) != 0);
    note("ferror", ferror(stream) != 0);
    note("feof", feof(stream) != 0);
}

static void case_saved_pointer(void)
{
    FILE *saved = stdout;
    note("printf", printf("before %d ", 1));
    put_on("a.log", 1);
    note_stream(saved);
    note("fputs", fputs("after 2 ", saved) >= 0);
    putc_unlocked('x', saved);
    putc_unlocked('y', saved);
    putchar_unlocked('z');
    note("printf", printf(" end\n"));
    note_size("a.log");
    note("ftell", ftell(saved));
    note("fflush", fflush(saved));
    note_size("a.log");
    note("ftell", ftell(saved));
    note_stream(saved);
    note("setvbuf", setvbuf(saved, NULL, _IOLBF, 0));
    note("fprintf", fprintf(saved, "line buffered\n"));
    note_size("a.log");
    putc_unlocked('l', saved);
    putc_unlocked('\n', saved);
    note_size("a.log");
    note("fseek", fseek(saved, 0, SEEK_END));
    note("puts", puts("last"));
    note("fclose", fclose(saved));
    note("printf", printf("gone\n"));
    note("fileno", fileno(stdout));
    note("descriptor", fcntl(1, F_GETFD));
    note_size("a.log");
}

static void case_close(void)
{
    FILE *saved = stdout;
    put_on("a.log", 1);
    note("printf", printf("text\nunfinished"));
    note("fclose", fclose(stdout));
    note("descriptor", fcntl(1, F_GETFD));
    note("variable", stdout == saved);
    note("printf", printf("gone\n"));
    note("puts", puts("gone"));
    note("putchar", putchar('x'));
    note("fwrite", (long long)fwrite("gone", 1, 4, stdout));
    note("fflush", fflush(stdout));
    note("fileno", fileno(stdout));
    note("open", open(in_directory("b.log"), O_WRONLY | O_CREAT | O_APPEND, 0644));
    note("freopen", freopen(in_directory("b.log"), "a", stdout) == stdout);
    note("fileno", fileno(stdout));
    note("printf", printf("again\n"));
    note("fflush", fflush(stdout));
    note_size("b.log");
}

static void case_there_and_back(void)
{
    FILE *saved = stdout;
    note("printf", printf("start\n"));
    note("fflush", fflush(stdout));
    put_on("a.log", 1);
    note("printf", printf("log\n"));
    note("fputs", fputs("log by saved pointer\n", saved) >= 0);
    note("fflush", fflush(NULL));
    put_on("plain", 1);
    note("printf", printf("plain\n"));
    note("fputs", fputs("plain by saved pointer\n", saved) >= 0);
    note("printf", printf("plain\n"));
    note("fflush", fflush(stdout));
    note_size("plain");
    put_on("b.log", 1);
    note("printf", printf("second log\n"));
    note("fputs", fputs("second by saved pointer\n", saved) >= 0);
    note_size("b.log");
}

static void case_own_buffer(void)
{
    static char buffer[100];
    FILE *saved = stdout;
    note("setvbuf", setvbuf(stdout, buffer, _IOFBF, sizeof buffer));
    note("printf", printf("%90s\n", "before"));
    put_on("a.log", 1);
    note_stream(saved);
    note("fputs", fputs("after\n", saved) >= 0);
    note("fflush", fflush(stdout));
    note_size("a.log");
}

static void case_line_buffered(void)
{
    FILE *saved = stdout;
    setlinebuf(stdout);
    note("printf", printf("unfinished"));
    put_on("a.log", 1);
    note("fputs", fputs(" line\n", saved) >= 0);
    note_size("a.log");
    note("printf", printf("next\n"));
    note_size("a.log");
    note_stream(stdout);
}

static void case_unbuffered(void)
{
    setbuf(stdout, NULL);
    note("printf", printf("start\n"));
    put_on("a.log", 1);
    put_on("a.log", 2);
    note("printf", printf("one\n"));
    note_size("a.log");
    note("fputs", fputs("two\n", stderr) >= 0);
    note_size("a.log");
    errno = ENOENT;
    perror("three");
    note_size("a.log");
    note_stream(stderr);
}

/* A stream for reading and writing, over whose descriptor a log is put. */
static void case_reading_and_writing(void)
{
    char line[100] = "";
    FILE *stream = fopen(in_directory("other"), "w+");
    note("fputs", fputs("other\n", stream) >= 0);
    rewind(stream);
    note("fgetc", fgetc(stream));
    note("fseek", fseek(stream, 0, SEEK_END));
    int fd = open(in_directory("a.log"), O_RDWR | O_CREAT | O_APPEND, 0644);
    note("dup2", dup2(fd, fileno(stream)) >= 0);
    close(fd);
    note("fputs", fputs("line 1\nline 2\n", stream) >= 0);
    note("fflush", fflush(stream));
    note("fseek", fseek(stream, 0, SEEK_SET));
    note("fgets", fgets(line, sizeof line, stream) != NULL && strcmp(line, "line 1\n") == 0);
    note("ftell", ftell(stream));
    note("fseek", fseek(stream, 0, SEEK_END));
    note("fputs", fputs("line 3\n", stream) >= 0);
    rewind(stream);
    note("fread", (long long)fread(line, 1, sizeof line, stream));
    note("feof", feof(stream) != 0);
    note("fseek", fseek(stream, 0, SEEK_END));
    note("fputs", fputs("line 4\nunfinished", stream) >= 0);
    note("fclose", fclose(stream));
    note_size("a.log");
}

static void case_reopened(void)
{
    note("printf", printf("start\n"));
    note("freopen", freopen(in_directory("a.log"), "a", stdout) == stdout);
    note_stream(stdout);
    note("printf", printf("log\n"));
    note("freopen", freopen("/dev/null", "w", stdout) == stdout);
    note("fileno", fileno(stdout));
    note("printf", printf("nowhere\n"));
    note("freopen", freopen(in_directory("b.log"), "w", stdout) == stdout);
    note_stream(stdout);
    note("printf", printf("second log\n"));
    note("freopen", freopen(in_directory("plain"), "w", stdout) == stdout);
    note("printf", printf("plain\n"));
    note("fflush", fflush(stdout));
    note_size("a.log");
    note_size("b.log");
    note_size("plain");
    note("freopen", freopen(in_directory("b.log"), "a", stderr) == stderr);
    note_stream(stderr);
    note("fputs", fputs("standard error\n", stderr) >= 0);
    note_size("b.log");
    note("fflush", fflush(stderr));
    note_size("b.log");
}

static void case_closed_behind(void)
{
    put_on("a.log", 1);
    note("printf", printf("lost\n"));
    close(1);
    note("fflush", fflush(stdout));
    note("ferror", ferror(stdout) != 0);
    note("fclose", fclose(stdout));
}

static void case_too_large(void)
{
    struct rlimit limit, before;
    put_on("a.log", 1);
    note("printf", printf("fits\n"));
    note("fflush", fflush(stdout));
    note("printf", printf("does not\n"));
    signal(SIGXFSZ, SIG_IGN);
    getrlimit(RLIMIT_FSIZE, &before);
    limit = before;
    limit.rlim_cur = 5;
    setrlimit(RLIMIT_FSIZE, &limit);
    int result = fclose(stdout);
    setrlimit(RLIMIT_FSIZE, &before); /* which is true of the transcript as well */
    note("fclose", result);
}

static void case_wide(void)
{
    FILE *saved = stdout;
    note("wprintf", wprintf(L"start \xe4\n"));
    note("fflush", fflush(stdout));
    put_on("a.log", 1);
    note("wprintf", wprintf(L"log \xe4\n"));
    note("fputws", fputws(L"log \xf6\n", saved) >= 0);
    note("printf", printf("bytes\n"));
    note("fwide", fwide(saved, 0) > 0);
    note("fflush", fflush(stdout));
    note_size("a.log");
}

/* Wide text that was buffered before goes first. */
static void case_wide_pending(void)
{
    FILE *saved = stdout;
    note("wprintf", wprintf(L"pending \xe4\n"));
    put_on("a.log", 1);
    note("fpending", (long long)__fpending(saved));
    note("wprintf", wprintf(L"log \x20ac\n"));
    note("fputws", fputws(L"more\n", saved) >= 0);
    note("fflush", fflush(stdout));
    note_size("a.log");
    note("fpending", (long long)__fpending(saved));
    note("wprintf", wprintf(L"last\n"));
}

/* What was buffered before the redirection goes to the log, through the library, when it is flushed. */
static void case_pending_at_exit(void)
{
    note("printf", printf("pending\n"));
    put_on("a.log", 1);
}

static void case_pending_at_flush(void)
{
    note("printf", printf("pending\n"));
    put_on("a.log", 1);
    note("fflush", fflush(NULL));
}

/* dup2 is async-signal-safe: a handler may put a log under a stream in the middle of anything. */
static void redirect_in_handler(int signal_number)
{
    (void)signal_number;
    int fd = open(in_directory("a.log"), O_WRONLY | O_CREAT | O_APPEND, 0644);
    dup2(fd, 1);
    close(fd);
}

static void case_signal_handler(void)
{
    signal(SIGUSR1, redirect_in_handler);
    note("printf", printf("before "));
    raise(SIGUSR1);
    note("printf", printf("after\n"));
    note("fflush", fflush(stdout));
    note_size("a.log");
}

/* A newline also for an empty file. */
static char last_byte(const char *name)
{
    char last = '\n';
    int fd = open(in_directory(name), O_RDONLY);
    if (lseek(fd, -1, SEEK_END) >= 0 && read(fd, &last, 1) != 1) {
        abort();
    }
    close(fd);
    return last;
}

/* Full buffers are written in mid-line; other processes must not see that, but after an explicit flush. */
static void case_unfinished_lines(void)
{
    const char *rules = getenv("MPLOGSHIM_LOGS");
    bool whole = rules != NULL && strstr(rules, "lines=whole") != NULL;
    int torn = 0;
    put_on("a.log", 1);
    for (int i = 0; i < 500; i++) {
        printf("a line of %d, whose length divides no buffer\n", i);
        ftell(stdout);
        torn += last_byte("a.log") != '\n';
    }
    for (int i = 0; i < 10000; i++) {
        putchar('x');
    }
    torn += last_byte("a.log") != '\n';
    putchar('\n');
    errno = 0;
    note("torn, if they may not be", whole ? torn : 0);
    note("printf", printf("unfinished"));
    note("fflush", fflush(stdout));
    note_size("a.log");
    note("printf", printf(" line\nunfinished"));
    note("fflush", fflush(NULL));
    note_size("a.log");
    note("printf", printf(" again\nunfinished"));
}

/* A stream that was not used while it was a log is line buffered on a terminal, as any that is used there first. */
static void case_terminal(void)
{
    char text[32];
    int master = posix_openpt(O_RDWR | O_NOCTTY);
    if (master < 0 || grantpt(master) != 0 || unlockpt(master) != 0) {
        abort();
    }
    int terminal = open(ptsname(master), O_RDWR | O_NOCTTY);
    put_on("a.log", 1);
    note("dup2", dup2(terminal, 1));
    printf("a question\n");
    struct pollfd shown = {.fd = master, .events = POLLIN};
    note("poll", poll(&shown, 1, 1000));
    note("read", shown.revents != 0 ? read(master, text, sizeof text) : 0);
    note("line buffered", __flbf(stdout) != 0);
    note("fclose", fclose(stdout));
}

enum { THREADS = 4, LINES = 2000 };

static void *write_lines(void *argument)
{
    FILE *stream = argument;
    for (int i = 0; i < LINES; i++) {
        flockfile(stream);
        putc_unlocked('a', stream);
        fputs_unlocked("bcdefgh", stream);
        putc_unlocked('\n', stream);
        funlockfile(stream);
        fprintf(stream == stderr ? stdout : stream, "%s\n", "bcdefgha");
    }
    return NULL;
}

/* flockfile on the saved pointer excludes users of the variable. */
static void case_threads(void)
{
    FILE *saved = stdout;
    pthread_t threads[THREADS];
    printf("start\n");
    put_on("a.log", 1);
    for (int i = 0; i < THREADS; i++) {
        pthread_create(&threads[i], NULL, write_lines, i % 2 == 0 ? saved : stdout);
    }
    for (int i = 0; i < THREADS; i++) {
        pthread_join(threads[i], NULL);
    }
    note("fflush", fflush(stdout));
    note_size("a.log");
    char line[100];
    int bad = 0;
    FILE *log = fopen(in_directory("a.log"), "r");
    for (int i = 0; fgets(line, sizeof line, log) != NULL; i++) {
        bad += i > 0 && strcmp(line, "abcdefgh\n") != 0 && strcmp(line, "bcdefgha\n") != 0;
    }
    fclose(log);
    note("bad lines", bad);
    /* Their order is the threads' own business. */
    unlink(in_directory("a.log"));
}

static const struct {
    const char *name;
    void (*run)(void);
} cases[] = {
    {"saved_pointer", case_saved_pointer},
    {"close", case_close},
    {"there_and_back", case_there_and_back},
    {"own_buffer", case_own_buffer},
    {"line_buffered", case_line_buffered},
    {"unbuffered", case_unbuffered},
    {"reading_and_writing", case_reading_and_writing},
    {"reopened", case_reopened},
    {"closed_behind", case_closed_behind},
    {"too_large", case_too_large},
    {"wide", case_wide},
    {"wide_pending", case_wide_pending},
    {"pending_at_exit", case_pending_at_exit},
    {"pending_at_flush", case_pending_at_flush},
    {"signal_handler", case_signal_handler},
    {"unfinished_lines", case_unfinished_lines},
    {"terminal", case_terminal},
    {"threads", case_threads},
};
enum { CASES = sizeof cases / sizeof cases[0] };

int main(int count, char *arguments[])
{
    if (count == 2 && strcmp(arguments[1], "--list") == 0) {
        for (size_t i = 0; i < CASES; i++) {
            printf("%s\n", cases[i].name);
        }
        return 0;
    }
    if (count != 3) {
        fputs("usage: stdio_redirect CASE DIRECTORY\n", stderr);
        return 2;
    }
    directory = arguments[2];
    setlocale(LC_ALL, "C.UTF-8");
    transcript = open(in_directory("transcript"), O_WRONLY | O_CREAT | O_APPEND, 0644);
    for (size_t i = 0; i < CASES; i++) {
        if (strcmp(cases[i].name, arguments[1]) == 0) {
            errno = 0;
            cases[i].run();
            return 0;
        }
    }
    return 2;
}
