/* Snippets for the functions of hook_write.c. See scene.h. */
#ifndef TESTS_SNIPPETS_WRITE_H
#define TESTS_SNIPPETS_WRITE_H

#include "scene.h"

#include <execinfo.h>
#include <sys/sendfile.h>
#include <sys/uio.h>

extern ssize_t __write(int fd, const void *buffer, size_t size);
extern ssize_t __pwrite64(int fd, const void *buffer, size_t size, off64_t offset);
extern int __dprintf_chk(int fd, int flag, const char *format, ...);
extern int __vdprintf_chk(int fd, int flag, const char *format, va_list arguments);

static void run_write(scene_function call)
{
    ssize_t (*function)(int, const void *, size_t) = (ssize_t(*)(int, const void *, size_t))call;
    written(scene.line, function(scene.fd, scene.line, strlen(scene.line)));
}

/* The line in pieces, one of them empty. */
static void line_in_pieces(struct iovec vector[3])
{
    size_t half = strlen(scene.line) / 2;
    vector[0] = (struct iovec){scene.line, half};
    vector[1] = (struct iovec){NULL, 0};
    vector[2] = (struct iovec){scene.line + half, strlen(scene.line) - half};
}

static void run_writev(scene_function call)
{
    ssize_t (*function)(int, const struct iovec *, int) = (ssize_t(*)(int, const struct iovec *, int))call;
    struct iovec vector[3];
    line_in_pieces(vector);
    written(scene.line, function(scene.fd, vector, 3));
}

static void run_pwrite(scene_function call)
{
    ssize_t (*function)(int, const void *, size_t, off_t) = (ssize_t(*)(int, const void *, size_t, off_t))call;
    off_t before = lseek(scene.fd, 0, SEEK_CUR);
    written(scene.line, function(scene.fd, scene.line, strlen(scene.line), 0));
    note("position moved", lseek(scene.fd, 0, SEEK_CUR) - before);
}

static void run_pwritev(scene_function call)
{
    ssize_t (*function)(int, const struct iovec *, int, off_t) =
        (ssize_t(*)(int, const struct iovec *, int, off_t))call;
    struct iovec vector[3];
    line_in_pieces(vector);
    off_t before = lseek(scene.fd, 0, SEEK_CUR);
    written(scene.line, function(scene.fd, vector, 3, 5));
    note("position moved", lseek(scene.fd, 0, SEEK_CUR) - before);
}

static void run_pwritev2(scene_function call)
{
    ssize_t (*function)(int, const struct iovec *, int, off_t, int) =
        (ssize_t(*)(int, const struct iovec *, int, off_t, int))call;
    struct iovec vector[3];
    line_in_pieces(vector);
    written(scene.line, function(scene.fd, vector, 3, -1, 0));
    written(scene.line, function(scene.fd, vector, 3, 7, RWF_DSYNC));
}

static void run_dprintf(scene_function call)
{
    int (*function)(int, const char *, ...) = (int (*)(int, const char *, ...))call;
    written(scene.line, function(scene.fd, "%s", scene.line));
}

static void run_dprintf_chk(scene_function call)
{
    int (*function)(int, int, const char *, ...) = (int (*)(int, int, const char *, ...))call;
    written(scene.line, function(scene.fd, 1, "%s", scene.line));
}

static int with_list(int (*function)(int, const char *, va_list), const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    int result = function(scene.fd, format, arguments);
    va_end(arguments);
    return result;
}

static void run_vdprintf(scene_function call)
{
    written(scene.line, with_list((int (*)(int, const char *, va_list))call, "%s", scene.line));
}

static int with_list_chk(int (*function)(int, int, const char *, va_list), const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    int result = function(scene.fd, 1, format, arguments);
    va_end(arguments);
    return result;
}

static void run_vdprintf_chk(scene_function call)
{
    written(scene.line, with_list_chk((int (*)(int, int, const char *, va_list))call, "%s", scene.line));
}

/* A file that holds the line, open for reading at its start. */
static int open_source(void)
{
    char path[PATH_MAX + 32];
    scene_path(path, "source");
    raw_append(path, scene.line, strlen(scene.line));
    return open(path, O_RDONLY);
}

/*
 * The kernel does not move data to a descriptor with O_APPEND, and programs then read and write; the library does,
 * since every log has O_APPEND. Either way the line must be there, and in the same one call without O_APPEND.
 */
static bool moved(ssize_t result)
{
    bool refused = result < 0 && scene.append != 0 && (errno == EINVAL || errno == EBADF);
    if (refused) {
        result = write(scene.fd, scene.line, strlen(scene.line));
    }
    errno = result >= 0 ? SCENE_ERRNO : errno;
    written(scene.line, result);
    return !refused;
}

static void run_copy_file_range(scene_function call)
{
    (void)call;
    int source = open_source();
    errno = SCENE_ERRNO;
    bool all = moved(copy_file_range(source, NULL, scene.fd, NULL, 4096, 0));
    note("end of source", all ? copy_file_range(source, NULL, scene.fd, NULL, 4096, 0) : 0);
    close(source);
}

static void run_sendfile(scene_function call)
{
    ssize_t (*function)(int, int, off_t *, size_t) = (ssize_t(*)(int, int, off_t *, size_t))call;
    int source = open_source();
    off_t offset = 0;
    errno = SCENE_ERRNO;
    bool all = moved(function(scene.fd, source, &offset, 4096));
    note("offset", !all || offset == (off_t)strlen(scene.line));
    note("source position", lseek(source, 0, SEEK_CUR));
    close(source);
}

static void run_splice(scene_function call)
{
    (void)call;
    int ends[2];
    note("pipe", pipe(ends));
    note("fill", write(ends[1], scene.line, strlen(scene.line)));
    moved(splice(ends[0], NULL, scene.fd, NULL, 4096, 0));
    close(ends[0]);
    close(ends[1]);
}

static void run_fsync(scene_function call)
{
    int (*function)(int) = (int (*)(int))call;
    write_unfinished(scene.fd);
    note(scene.hook, function(scene.fd));
    note("all in the file", unfinished_is_there());
    write_after(scene.fd);
}

/* To the length that it has: nothing is cut, and what follows is appended. */
static void run_ftruncate(scene_function call)
{
    int (*function)(int, off_t) = (int (*)(int, off_t))call;
    long result = write(scene.fd, scene.line, strlen(scene.line));
    note(scene.hook, function(scene.fd, lseek(scene.fd, 0, SEEK_END)));
    written(scene.line, result);
}

/* Behind what is there, so that the file does not grow under O_APPEND either. */
static void run_fallocate(scene_function call)
{
    int (*function)(int, int, off_t, off_t) = (int (*)(int, int, off_t, off_t))call;
    note("bad length", function(scene.fd, 0, 0, 0));
    note(scene.hook, function(scene.fd, FALLOC_FL_KEEP_SIZE, 0, 8192));
    written(scene.line, write(scene.fd, scene.line, strlen(scene.line)));
}

static void run_posix_fallocate(scene_function call)
{
    int (*function)(int, off_t, off_t) = (int (*)(int, off_t, off_t))call;
    note("bad offset", function(scene.fd, -1, 1));
    note(scene.hook, function(scene.fd, 0, 1));
    written(scene.line, write(scene.fd, scene.line, strlen(scene.line)));
}

/* Addresses differ from run to run: none, and then a line. */
static void run_backtrace_symbols_fd(scene_function call)
{
    void *none[1] = {NULL};
    (void)call;
    backtrace_symbols_fd(none, 0, scene.fd);
    errno = SCENE_ERRNO;
    written(scene.line, write(scene.fd, scene.line, strlen(scene.line)));
}

static const struct snippet snippets_write[] = {
    {"write", run_write, CALL(write), SIGNAL_SAFE | CANCEL_POINT},
    {"__write", run_write, CALL(__write), SIGNAL_SAFE | CANCEL_POINT},
    {"writev", run_writev, CALL(writev), SIGNAL_SAFE | CANCEL_POINT},
    {"pwrite", run_pwrite, CALL(pwrite), SIGNAL_SAFE | CANCEL_POINT},
    {"pwrite64", run_pwrite, CALL(pwrite64), SIGNAL_SAFE | CANCEL_POINT},
    {"__pwrite64", run_pwrite, CALL(__pwrite64), SIGNAL_SAFE | CANCEL_POINT},
    {"pwritev", run_pwritev, CALL(pwritev), SIGNAL_SAFE | CANCEL_POINT},
    {"pwritev64", run_pwritev, CALL(pwritev64), SIGNAL_SAFE | CANCEL_POINT},
    {"pwritev2", run_pwritev2, CALL(pwritev2), SIGNAL_SAFE | CANCEL_POINT},
    {"pwritev64v2", run_pwritev2, CALL(pwritev64v2), SIGNAL_SAFE | CANCEL_POINT},
    {"dprintf", run_dprintf, CALL(dprintf), 0},
    {"__dprintf_chk", run_dprintf_chk, CALL(__dprintf_chk), 0},
    {"vdprintf", run_vdprintf, CALL(vdprintf), 0},
    {"__vdprintf_chk", run_vdprintf_chk, CALL(__vdprintf_chk), 0},
    {"copy_file_range", run_copy_file_range, CALL(copy_file_range), SIGNAL_SAFE},
    {"sendfile", run_sendfile, CALL(sendfile), SIGNAL_SAFE},
    {"sendfile64", run_sendfile, CALL(sendfile64), SIGNAL_SAFE},
    {"splice", run_splice, CALL(splice), SIGNAL_SAFE},
    {"fsync", run_fsync, CALL(fsync), SIGNAL_SAFE | CANCEL_POINT},
    {"ftruncate", run_ftruncate, CALL(ftruncate), SIGNAL_SAFE},
    {"ftruncate64", run_ftruncate, CALL(ftruncate64), SIGNAL_SAFE},
    {"fallocate", run_fallocate, CALL(fallocate), SIGNAL_SAFE},
    {"fallocate64", run_fallocate, CALL(fallocate64), SIGNAL_SAFE},
    {"posix_fallocate", run_posix_fallocate, CALL(posix_fallocate), SIGNAL_SAFE},
    {"posix_fallocate64", run_posix_fallocate, CALL(posix_fallocate64), SIGNAL_SAFE},
    {"backtrace_symbols_fd", run_backtrace_symbols_fd, CALL(backtrace_symbols_fd), 0},
    {"fdatasync", run_fsync, CALL(fdatasync), SIGNAL_SAFE | CANCEL_POINT},
};

#endif
