/* Snippets for the functions that open, close, buffer and ask streams. See scene.h and snippets_stdio.h. */
#ifndef TESTS_SNIPPETS_STREAM_H
#define TESTS_SNIPPETS_STREAM_H

#include "scene.h"
#include "snippets_stdio.h"

static void opened_stream(FILE *stream)
{
    note(scene.hook, stream != NULL);
    if (stream != NULL) {
        scene.fd = fileno(stream);
        note_flags("flags", scene.fd);
        streamed(stream, scene.line, fputs(scene.line, stream) >= 0);
        note("fwide", fwide(stream, 0));
        note("writing", __fwriting(stream));
    }
}

static void run_fopen(scene_function call)
{
    FILE *(*function)(const char *, const char *) = (FILE * (*)(const char *, const char *)) call;
    opened_stream(function(scene.log, "ae"));
    note("no such file", function("/nonexistent/app.log", "a") == NULL);
    note("bad mode", function(scene.log, "?") == NULL);
}

static void run_fopen_truncating(scene_function call)
{
    FILE *(*function)(const char *, const char *) = (FILE * (*)(const char *, const char *)) call;
    opened_stream(function(scene.log, "w"));
}

static void run_fdopen(scene_function call)
{
    FILE *(*function)(int, const char *) = (FILE * (*)(int, const char *)) call;
    opened_stream(function(scene.fd, "a"));
    note("closed", function(50, "a") == NULL);
    note("bad mode", function(scene.fd, "?") == NULL);
}

static void run_freopen(scene_function call)
{
    FILE *(*function)(const char *, const char *, FILE *) = (FILE * (*)(const char *, const char *, FILE *)) call;
    FILE *before = fopen("/dev/null", "w");
    int number = fileno(before);
    errno = SCENE_ERRNO;
    FILE *stream = function(scene.log, "a", before);
    note("same stream", stream == before);
    note("same number", fileno(stream) == number);
    errno = SCENE_ERRNO;
    opened_stream(stream);
    note("again", function(scene.log, "a", stream) == stream);
    note("fputs", fputs("once more\n", stream) >= 0);
    expect_text("once more\n");
    note("fflush", fflush(stream));
}

/* The daemon that reopens its standard output on a log. */
static void run_freopen_stdout(scene_function call)
{
    FILE *(*function)(const char *, const char *, FILE *) = (FILE * (*)(const char *, const char *, FILE *)) call;
    note("freopen", function(scene.log, "a", stdout) == stdout);
    note("printf", printf("%s", scene.line) > 0);
    expect_text(scene.line);
    note("fflush", fflush(stdout));
}

static void run_fclose(scene_function call)
{
    int (*function)(FILE *) = (int (*)(FILE *))call;
    FILE *stream = scene_stream();
    note("fputs", fputs(scene.line, stream) >= 0);
    expect_text(scene.line);
    note(scene.hook, function(stream));
    note("flags", raw_fcntl(scene.fd, F_GETFD, 0));
    int fd = open_log();
    write_after(fd);
}

static void run_fcloseall(scene_function call)
{
    (void)call;
    FILE *stream = scene_stream();
    note("fputs", fputs(scene.line, stream) >= 0);
    expect_text(scene.line);
    note("fcloseall", fcloseall());
    int fd = open_log();
    write_after(fd);
}

/* Buffers that are given away. */
static void run_setvbuf(scene_function call)
{
    int (*function)(FILE *, char *, int, size_t) = (int (*)(FILE *, char *, int, size_t))call;
    static char buffer[4096];
    FILE *stream = scene_stream();
    note("setvbuf", function(stream, buffer, _IOFBF, sizeof buffer));
    streamed(stream, scene.line, fputs(scene.line, stream) >= 0);
}

/* What is left in a buffer is written at exit. */
static void run_exit_with_stream(scene_function call)
{
    void (*function)(int) = (void (*)(int))call;
    FILE *stream = scene_stream();
    note("fputs", fputs(scene.line, stream) >= 0);
    expect_text(scene.line);
    function(4);
}

static void run_setbuf(scene_function call)
{
    (void)call;
    FILE *stream = scene_stream();
    setbuf(stream, NULL);
    note("fputs", fputs(scene.line, stream) >= 0);
    expect_text(scene.line);
}

static void run_setbuffer(scene_function call)
{
    void (*function)(FILE *, char *, size_t) = (void (*)(FILE *, char *, size_t))call;
    static char buffer[512];
    FILE *stream = scene_stream();
    function(stream, buffer, sizeof buffer);
    streamed(stream, scene.line, fputs(scene.line, stream) >= 0);
}

static void run_setlinebuf(scene_function call)
{
    (void)call;
    FILE *stream = scene_stream();
    setlinebuf(stream);
    note("fputs", fputs(scene.line, stream) >= 0);
    expect_text(scene.line);
}

/* Functions that ask or are of no consequence, here with a line in the buffer. */
static void run_asking(scene_function call)
{
    int (*function)(FILE *) = (int (*)(FILE *))call;
    FILE *stream = scene_stream();
    note(scene.hook, function(stream));
    bool accepted = fputs(scene.line, stream) >= 0;
    note(scene.hook, function(stream));
    streamed(stream, scene.line, accepted);
    note(scene.hook, function(stream));
}

static void run_asking_size(scene_function call)
{
    size_t (*function)(FILE *) = (size_t(*)(FILE *))call;
    FILE *stream = scene_stream();
    bool accepted = fputs(scene.line, stream) >= 0;
    note(scene.hook, (long)function(stream));
    streamed(stream, scene.line, accepted);
    note(scene.hook, (long)function(stream));
}

static void run_asking_nothing(scene_function call)
{
    void (*function)(FILE *) = (void (*)(FILE *))call;
    FILE *stream = scene_stream();
    function(stream);
    streamed(stream, scene.line, fputs(scene.line, stream) >= 0);
    function(stream);
    note(scene.hook, 0);
}

static void run_fpurge(scene_function call)
{
    (void)call;
    FILE *stream = scene_stream();
    setvbuf(stream, NULL, _IOFBF, 4096);
    note("fputs", fputs("thrown away\n", stream) >= 0);
    __fpurge(stream);
    streamed(stream, scene.line, fputs(scene.line, stream) >= 0);
}

/* What putc_unlocked becomes where it is a macro and the buffer is full. */
static void run_overflow(scene_function call)
{
    int (*function)(FILE *, int) = (int (*)(FILE *, int))call;
    FILE *stream = scene_stream();
    streamed(stream, "o\n", function(stream, 'o') == 'o' && function(stream, '\n') == '\n');
}

static void run_fseek(scene_function call)
{
    int (*function)(FILE *, long, int) = (int (*)(FILE *, long, int))call;
    FILE *stream = scene_stream();
    note(scene.hook, function(stream, 0, SEEK_END));
    streamed(stream, scene.line, fputs(scene.line, stream) >= 0);
    note("bad whence", function(stream, 0, 99));
}

/* The position of a stream that has just written is the end of the file, whichever file that is. */
static void run_ftell(scene_function call)
{
    long (*function)(FILE *) = (long (*)(FILE *))call;
    FILE *stream = scene_stream();
    streamed(stream, scene.line, fputs(scene.line, stream) >= 0);
    note(scene.hook, function(stream) == lseek(fileno(stream), 0, SEEK_CUR));
}

static void run_position(int (*get)(FILE *, fpos_t *), int (*set)(FILE *, const fpos_t *))
{
    fpos_t position;
    FILE *stream = scene_stream();
    note("fgetpos", get(stream, &position));
    note("fsetpos", set(stream, &position));
    streamed(stream, scene.line, fputs(scene.line, stream) >= 0);
}

static void run_fgetpos(scene_function call)
{
    run_position((int (*)(FILE *, fpos_t *))call, fsetpos);
}

static void run_fsetpos(scene_function call)
{
    run_position(fgetpos, (int (*)(FILE *, const fpos_t *))call);
}

static ssize_t cookie_write(void *cookie, const char *data, size_t size)
{
    return write(*(int *)cookie, data, size);
}

/* The program's own kind of stream, which ends in a log. */
static void run_fopencookie(scene_function call)
{
    (void)call;
    cookie_io_functions_t functions = {NULL, cookie_write, NULL, NULL};
    FILE *stream = fopencookie(&scene.fd, "w", functions);
    note("fopencookie", stream != NULL);
    note("fputs", fputs(scene.line, stream) >= 0);
    expect_text(scene.line);
    note("fclose", fclose(stream));
    write_after(scene.fd);
}

static const struct snippet snippets_stream[] = {
    {"fopen", run_fopen, CALL(fopen), OPENS},
    {"_IO_fopen", run_fopen, CALL(_IO_fopen), OPENS},
    {"fopen64", run_fopen, CALL(fopen64), OPENS},
    {"fopen \"w\"", run_fopen_truncating, CALL(fopen), OPENS | TRUNCATES},
    {"fdopen", run_fdopen, CALL(fdopen), 0},
    {"_IO_fdopen", run_fdopen, CALL(_IO_fdopen), 0},
    {"freopen", run_freopen, CALL(freopen), OPENS},
    {"freopen64", run_freopen, CALL(freopen64), OPENS},
    {"freopen of stdout", run_freopen_stdout, CALL(freopen), STANDARD},
    {"fopencookie", run_fopencookie, CALL(fopencookie), 0},
    {"fclose", run_fclose, CALL(fclose), LEAVES},
    {"_IO_fclose", run_fclose, CALL(_IO_fclose), LEAVES},
    {"fcloseall", run_fcloseall, CALL(fcloseall), LEAVES},
    {"setvbuf", run_setvbuf, CALL(setvbuf), 0},
    {"setbuf", run_setbuf, CALL(setbuf), 0},
    {"setbuffer", run_setbuffer, CALL(setbuffer), 0},
    {"setlinebuf", run_setlinebuf, CALL(setlinebuf), 0},
    {"exit of a stream", run_exit_with_stream, CALL(exit), ENDS},
    {"_IO_setvbuf", run_setvbuf, CALL(_IO_setvbuf), 0},
    {"_IO_setbuffer", run_setbuffer, CALL(_IO_setbuffer), 0},
    {"fileno", run_asking, CALL(fileno), 0},
    {"fileno_unlocked", run_asking, CALL(fileno_unlocked), 0},
    {"ferror", run_asking, CALL(ferror), 0},
    {"_IO_ferror", run_asking, CALL(_IO_ferror), 0},
    {"ferror_unlocked", run_asking, CALL(ferror_unlocked), 0},
    {"feof", run_asking, CALL(feof), 0},
    {"_IO_feof", run_asking, CALL(_IO_feof), 0},
    {"feof_unlocked", run_asking, CALL(feof_unlocked), 0},
    {"__flbf", run_asking, CALL(__flbf), 0},
    {"__fwriting", run_asking, CALL(__fwriting), 0},
    {"__fbufsize", run_asking_size, CALL(__fbufsize), 0},
    {"__fpending", run_asking_size, CALL(__fpending), 0},
    {"clearerr", run_asking_nothing, CALL(clearerr), 0},
    {"clearerr_unlocked", run_asking_nothing, CALL(clearerr_unlocked), 0},
    {"rewind", run_asking_nothing, CALL(rewind), 0},
    {"__fpurge", run_fpurge, CALL(__fpurge), 0},
    {"__overflow", run_overflow, CALL(__overflow), 0},
    {"fseek", run_fseek, CALL(fseek), 0},
    {"fseeko", run_fseek, CALL(fseeko), 0},
    {"fseeko64", run_fseek, CALL(fseeko64), 0},
    {"ftell", run_ftell, CALL(ftell), 0},
    {"_IO_ftell", run_ftell, CALL(_IO_ftell), 0},
    {"ftello", run_ftell, CALL(ftello), 0},
    {"ftello64", run_ftell, CALL(ftello64), 0},
    {"fgetpos", run_fgetpos, CALL(fgetpos), 0},
    {"_IO_fgetpos", run_fgetpos, CALL(_IO_fgetpos), 0},
    {"fgetpos64", run_fgetpos, CALL(fgetpos64), 0},
    {"_IO_fgetpos64", run_fgetpos, CALL(_IO_fgetpos64), 0},
    {"fsetpos", run_fsetpos, CALL(fsetpos), 0},
    {"_IO_fsetpos", run_fsetpos, CALL(_IO_fsetpos), 0},
    {"fsetpos64", run_fsetpos, CALL(fsetpos64), 0},
    {"_IO_fsetpos64", run_fsetpos, CALL(_IO_fsetpos64), 0},
};

#endif
