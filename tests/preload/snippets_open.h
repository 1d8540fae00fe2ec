/* Snippets for the functions of hook_open.c. See scene.h. */
#ifndef TESTS_SNIPPETS_OPEN_H
#define TESTS_SNIPPETS_OPEN_H

#include "scene.h"

#include <sys/mman.h>

extern int __open(const char *path, int flags, ...);
extern int __open64(const char *path, int flags, ...);
extern int __open_2(const char *path, int flags);
extern int __open64_2(const char *path, int flags);
extern int __openat_2(int directory, const char *path, int flags);
extern int __openat64_2(int directory, const char *path, int flags);

/* The descriptor that the call opened on the log: noted, and a line written to it. */
static void opened(int fd)
{
    note(scene.hook, fd);
    scene.fd = fd;
    note_flags("flags", fd);
    long result = write(fd, scene.line, strlen(scene.line));
    expect(scene.line, result);
    note("write", result);
}

static int wanted_flags(void)
{
    return O_WRONLY | O_CLOEXEC | scene.append;
}

static void run_open(scene_function call)
{
    int (*function)(const char *, int, ...) = (int (*)(const char *, int, ...))call;
    opened(function(scene.log, wanted_flags() | O_CREAT, 0640));
    note("no such file", function("/nonexistent/app.log", O_WRONLY));
    note("exists", function(scene.log, O_WRONLY | O_CREAT | O_EXCL, 0640));
}

static void run_open_2(scene_function call)
{
    int (*function)(const char *, int) = (int (*)(const char *, int))call;
    opened(function(scene.log, wanted_flags()));
    note("no such file", function("/nonexistent/app.log", O_WRONLY));
}

/* The directory's own descriptor must not be in the way, or in the transcript. */
static int open_directory(void)
{
    return (int)raw_syscall(SYS_openat, AT_FDCWD, scene.directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0);
}

static void run_openat(scene_function call)
{
    int (*function)(int, const char *, int, ...) = (int (*)(int, const char *, int, ...))call;
    int directory = open_directory();
    opened(function(directory, "app.log", wanted_flags() | O_CREAT, 0640));
    raw_close(directory);
    note("bad directory", function(directory, "app.log", O_WRONLY));
}

static void run_openat_2(scene_function call)
{
    int (*function)(int, const char *, int) = (int (*)(int, const char *, int))call;
    int directory = open_directory();
    opened(function(directory, "app.log", wanted_flags()));
    raw_close(directory);
}

static void run_creat(scene_function call)
{
    int (*function)(const char *, mode_t) = (int (*)(const char *, mode_t))call;
    opened(function(scene.log, 0640));
}

static void run_open_by_handle_at(scene_function call)
{
    (void)call;
    union {
        struct file_handle handle;
        char room[sizeof(struct file_handle) + MAX_HANDLE_SZ];
    } name;
    int mount;
    name.handle.handle_bytes = MAX_HANDLE_SZ;
    int directory = open_directory();
    note("name_to_handle_at", name_to_handle_at(AT_FDCWD, scene.log, &name.handle, &mount, 0));
    int fd = open_by_handle_at(directory, &name.handle, wanted_flags());
    raw_close(directory);
    if (fd < 0) {
        note("not permitted", fd);
        fd = open_log();
    }
    opened(fd);
}

/* A line to the file that was just made under `fd`, which must arrive there and nowhere else. */
static void check_made_file(int fd)
{
    static const char text[] = "not for app.log\n";
    char back[64] = "";
    note("write", write(fd, text, sizeof text - 1));
    note("read back", raw_syscall(SYS_pread64, fd, back, sizeof back, 0));
    note("same", memcmp(back, text, sizeof text - 1));
    note_flags("flags", fd);
    raw_close(fd);
}

/*
 * The log's descriptor is closed behind the library's back (libc does that), so that the number is used again for
 * the file that the call makes; afterwards the log is opened anew.
 */
static void log_closed_behind_the_back(void)
{
    int fd = open_log();
    write_after(fd);
    raw_close(fd);
}

static void made(int fd)
{
    note(scene.hook, fd);
    check_made_file(fd);
    scene.fd = open_log();
    write_after(scene.fd);
}

static void run_mkstemp(scene_function call)
{
    int (*function)(char *) = (int (*)(char *))call;
    char path[PATH_MAX + 32];
    scene_path(path, "made-XXXXXX");
    log_closed_behind_the_back();
    made(function(path));
    unlink(path);
}

static void run_mkostemp(scene_function call)
{
    int (*function)(char *, int) = (int (*)(char *, int))call;
    char path[PATH_MAX + 32];
    scene_path(path, "made-XXXXXX");
    log_closed_behind_the_back();
    made(function(path, O_CLOEXEC));
    unlink(path);
}

/* These names match the rule: the file is a log of its own. */
static void run_mkstemps(scene_function call)
{
    int (*function)(char *, int) = (int (*)(char *, int))call;
    char path[PATH_MAX + 32];
    scene_path(path, "made-XXXXXX.log");
    log_closed_behind_the_back();
    made(function(path, 4));
    unlink(path);
}

static void run_mkostemps(scene_function call)
{
    int (*function)(char *, int, int) = (int (*)(char *, int, int))call;
    char path[PATH_MAX + 32];
    scene_path(path, "made-XXXXXX.log");
    log_closed_behind_the_back();
    made(function(path, 4, O_CLOEXEC));
    unlink(path);
}

static void run_memfd_create(scene_function call)
{
    (void)call;
    log_closed_behind_the_back();
    made(memfd_create("app.log", MFD_CLOEXEC));
}

static void run_shm_open(scene_function call)
{
    (void)call;
    char name[64];
    snprintf(name, sizeof name, "/snippet-%d.log", (int)raw_syscall(SYS_getpid));
    log_closed_behind_the_back();
    made(shm_open(name, O_RDWR | O_CREAT | O_EXCL, 0600));
    shm_unlink(name);
}

static const struct snippet snippets_open[] = {
    {"open", run_open, CALL(open), SIGNAL_SAFE | CANCEL_POINT | OPENS},
    {"open64", run_open, CALL(open64), SIGNAL_SAFE | CANCEL_POINT | OPENS},
    {"__open", run_open, CALL(__open), SIGNAL_SAFE | CANCEL_POINT | OPENS},
    {"__open64", run_open, CALL(__open64), SIGNAL_SAFE | CANCEL_POINT | OPENS},
    {"__open_2", run_open_2, CALL(__open_2), SIGNAL_SAFE | CANCEL_POINT | OPENS},
    {"__open64_2", run_open_2, CALL(__open64_2), SIGNAL_SAFE | CANCEL_POINT | OPENS},
    {"openat", run_openat, CALL(openat), SIGNAL_SAFE | CANCEL_POINT | OPENS},
    {"openat64", run_openat, CALL(openat64), SIGNAL_SAFE | CANCEL_POINT | OPENS},
    {"__openat_2", run_openat_2, CALL(__openat_2), SIGNAL_SAFE | CANCEL_POINT | OPENS},
    {"__openat64_2", run_openat_2, CALL(__openat64_2), SIGNAL_SAFE | CANCEL_POINT | OPENS},
    {"creat", run_creat, CALL(creat), SIGNAL_SAFE | CANCEL_POINT | OPENS | TRUNCATES},
    {"creat64", run_creat, CALL(creat64), SIGNAL_SAFE | CANCEL_POINT | OPENS | TRUNCATES},
    {"open_by_handle_at", run_open_by_handle_at, CALL(open_by_handle_at), OPENS},
    {"mkstemp", run_mkstemp, CALL(mkstemp), OPENS},
    {"mkstemp64", run_mkstemp, CALL(mkstemp64), OPENS},
    {"mkostemp", run_mkostemp, CALL(mkostemp), OPENS},
    {"mkostemp64", run_mkostemp, CALL(mkostemp64), OPENS},
    {"mkstemps", run_mkstemps, CALL(mkstemps), OPENS},
    {"mkstemps64", run_mkstemps, CALL(mkstemps64), OPENS},
    {"mkostemps", run_mkostemps, CALL(mkostemps), OPENS},
    {"mkostemps64", run_mkostemps, CALL(mkostemps64), OPENS},
    {"memfd_create", run_memfd_create, CALL(memfd_create), OPENS},
    {"shm_open", run_shm_open, CALL(shm_open), OPENS},
};

#endif
