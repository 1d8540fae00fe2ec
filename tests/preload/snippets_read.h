/* Snippets for the functions of hook_read.c. See scene.h. */
#ifndef TESTS_SNIPPETS_READ_H
#define TESTS_SNIPPETS_READ_H

#include "scene.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/uio.h>

extern ssize_t __read(int fd, void *buffer, size_t size);
extern ssize_t __pread64(int fd, void *buffer, size_t size, off64_t offset);
extern ssize_t __read_chk(int fd, void *buffer, size_t size, size_t room);
extern ssize_t __pread_chk(int fd, void *buffer, size_t size, off_t offset, size_t room);
extern ssize_t __pread64_chk(int fd, void *buffer, size_t size, off64_t offset, size_t room);
extern off_t __lseek(int fd, off_t offset, int whence);
extern int __fxstat(int version, int fd, struct stat *status);
extern int __fxstat64(int version, int fd, struct stat64 *status);
extern int __fxstatat(int version, int directory, const char *path, struct stat *status, int flags);
extern int __fxstatat64(int version, int directory, const char *path, struct stat64 *status, int flags);

static char read_room[64];

enum {
#ifdef __x86_64__
    FXSTAT_VERSION = 1
#else
    FXSTAT_VERSION = 0
#endif
};

/* The descriptor is open for writing only: reading fails, and what was held is in the file all the same. */
static void looked(long result)
{
    note(scene.hook, result);
    note("all in the file", unfinished_is_there());
    write_after(scene.fd);
}

static void run_read(scene_function call)
{
    ssize_t (*function)(int, void *, size_t) = (ssize_t(*)(int, void *, size_t))call;
    write_unfinished(scene.fd);
    looked(function(scene.fd, read_room, sizeof read_room));
}

static void run_pread(scene_function call)
{
    ssize_t (*function)(int, void *, size_t, off_t) = (ssize_t(*)(int, void *, size_t, off_t))call;
    write_unfinished(scene.fd);
    looked(function(scene.fd, read_room, sizeof read_room, 0));
}

static void run_readv(scene_function call)
{
    (void)call;
    struct iovec vector = {read_room, sizeof read_room};
    write_unfinished(scene.fd);
    looked(readv(scene.fd, &vector, 1));
}

static void run_preadv(scene_function call)
{
    ssize_t (*function)(int, const struct iovec *, int, off_t) =
        (ssize_t(*)(int, const struct iovec *, int, off_t))call;
    struct iovec vector = {read_room, sizeof read_room};
    write_unfinished(scene.fd);
    looked(function(scene.fd, &vector, 1, 0));
}

static void run_preadv2(scene_function call)
{
    ssize_t (*function)(int, const struct iovec *, int, off_t, int) =
        (ssize_t(*)(int, const struct iovec *, int, off_t, int))call;
    struct iovec vector = {read_room, sizeof read_room};
    write_unfinished(scene.fd);
    looked(function(scene.fd, &vector, 1, 0, 0));
}

static void run_read_chk(scene_function call)
{
    (void)call;
    write_unfinished(scene.fd);
    looked(__read_chk(scene.fd, read_room, 10, sizeof read_room));
}

static void run_pread_chk(scene_function call)
{
    ssize_t (*function)(int, void *, size_t, off_t, size_t) = (ssize_t(*)(int, void *, size_t, off_t, size_t))call;
    write_unfinished(scene.fd);
    looked(function(scene.fd, read_room, 10, 0, sizeof read_room));
}

/*
 * A descriptor that cannot be read from: the size and the position count what is held, which stays so. Only with
 * O_APPEND the file grows by what is written without the library, too.
 */
static void grown(long before, long after)
{
    note("grown", scene.append != 0 ? after - before : 0);
    write_after(scene.fd);
}

/* A question, a move, and back: as if all were in the file, which it need not be. */
static void run_lseek(scene_function call)
{
    off_t (*function)(int, off_t, int) = (off_t(*)(int, off_t, int))call;
    write_unfinished(scene.fd);
    off_t end = function(scene.fd, 0, SEEK_END);
    note("where it is", function(scene.fd, 0, SEEK_CUR) - end);
    note("before the end", function(scene.fd, -1, SEEK_END) - end);
    note("back", function(scene.fd, 1, SEEK_CUR) - end);
    note("fsync", fsync(scene.fd));
    looked(end == raw_size(scene.log));
}

static void run_fstat(scene_function call)
{
    int (*function)(int, struct stat *) = (int (*)(int, struct stat *))call;
    struct stat status;
    write_after(scene.fd);
    off_t end = raw_size(scene.log);
    write_unfinished(scene.fd);
    note(scene.hook, function(scene.fd, &status));
    grown(end, status.st_size);
}

static void run_fxstat(scene_function call)
{
    int (*function)(int, int, struct stat *) = (int (*)(int, int, struct stat *))call;
    struct stat status;
    write_after(scene.fd);
    off_t end = raw_size(scene.log);
    write_unfinished(scene.fd);
    note(scene.hook, function(FXSTAT_VERSION, scene.fd, &status));
    grown(end, status.st_size);
}

static void run_fstatat(scene_function call)
{
    int (*function)(int, const char *, struct stat *, int) = (int (*)(int, const char *, struct stat *, int))call;
    struct stat status;
    write_after(scene.fd);
    off_t end = raw_size(scene.log);
    write_unfinished(scene.fd);
    note(scene.hook, function(scene.fd, "", &status, AT_EMPTY_PATH));
    grown(end, status.st_size);
}

static void run_fxstatat(scene_function call)
{
    int (*function)(int, int, const char *, struct stat *, int) =
        (int (*)(int, int, const char *, struct stat *, int))call;
    struct stat status;
    write_after(scene.fd);
    off_t end = raw_size(scene.log);
    write_unfinished(scene.fd);
    note(scene.hook, function(FXSTAT_VERSION, scene.fd, "", &status, AT_EMPTY_PATH));
    grown(end, status.st_size);
}

static void run_statx(scene_function call)
{
    (void)call;
    struct statx status;
    write_after(scene.fd);
    off_t end = raw_size(scene.log);
    write_unfinished(scene.fd);
    note(scene.hook, statx(scene.fd, "", AT_EMPTY_PATH, STATX_SIZE, &status));
    grown(end, (long)status.stx_size);
}

static const struct snippet snippets_read[] = {
    {"read", run_read, CALL(read), SIGNAL_SAFE | CANCEL_POINT},
    {"__read", run_read, CALL(__read), SIGNAL_SAFE | CANCEL_POINT},
    {"pread", run_pread, CALL(pread), SIGNAL_SAFE | CANCEL_POINT},
    {"pread64", run_pread, CALL(pread64), SIGNAL_SAFE | CANCEL_POINT},
    {"__pread64", run_pread, CALL(__pread64), SIGNAL_SAFE | CANCEL_POINT},
    {"readv", run_readv, CALL(readv), SIGNAL_SAFE | CANCEL_POINT},
    {"preadv", run_preadv, CALL(preadv), SIGNAL_SAFE | CANCEL_POINT},
    {"preadv64", run_preadv, CALL(preadv64), SIGNAL_SAFE | CANCEL_POINT},
    {"preadv2", run_preadv2, CALL(preadv2), SIGNAL_SAFE | CANCEL_POINT},
    {"preadv64v2", run_preadv2, CALL(preadv64v2), SIGNAL_SAFE | CANCEL_POINT},
    {"__read_chk", run_read_chk, CALL(__read_chk), SIGNAL_SAFE | CANCEL_POINT},
    {"__pread_chk", run_pread_chk, CALL(__pread_chk), SIGNAL_SAFE | CANCEL_POINT},
    {"__pread64_chk", run_pread_chk, CALL(__pread64_chk), SIGNAL_SAFE | CANCEL_POINT},
    {"lseek", run_lseek, CALL(lseek), SIGNAL_SAFE},
    {"lseek64", run_lseek, CALL(lseek64), SIGNAL_SAFE},
    {"__lseek", run_lseek, CALL(__lseek), SIGNAL_SAFE},
    {"fstat", run_fstat, CALL(fstat), SIGNAL_SAFE},
    {"fstat64", run_fstat, CALL(fstat64), SIGNAL_SAFE},
    {"__fxstat", run_fxstat, CALL(__fxstat), SIGNAL_SAFE},
    {"__fxstat64", run_fxstat, CALL(__fxstat64), SIGNAL_SAFE},
    {"fstatat", run_fstatat, CALL(fstatat), SIGNAL_SAFE},
    {"fstatat64", run_fstatat, CALL(fstatat64), SIGNAL_SAFE},
    {"__fxstatat", run_fxstatat, CALL(__fxstatat), SIGNAL_SAFE},
    {"__fxstatat64", run_fxstatat, CALL(__fxstatat64), SIGNAL_SAFE},
    {"statx", run_statx, CALL(statx), SIGNAL_SAFE},
};

#endif
