/*
 * The system call table with a fault in it: one call fails, all calls of one kind fail, or the process dies after one.
 *
 * Calls are counted from faults_arm on, in the order in which the core makes them.
 */
#ifndef FAULTS_H
#define FAULTS_H

#include "../../shim/core/sys.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

enum fault_kind { FAULT_NONE, FAULT_ONE, FAULT_FROM, FAULT_KILL };

enum { FAULT_CALLS = 512, FAULT_KILLED = 9 };

static struct faults {
    enum fault_kind kind;
    int at;               /* the call, counted from 0 */
    int error;            /* what it fails with */
    const char *call;     /* FAULT_FROM: also all later calls of this name fail */
    bool no_rename_flags; /* the file system knows neither RENAME_EXCHANGE nor RENAME_NOREPLACE */
    bool no_links;        /* nor hard links */
    bool armed;
    int count;
    const char **trace;             /* FAULT_CALLS names, or NULL */
    void (*look)(const char *call); /* after each call, or NULL: may make calls of its own */
    const char *current;
} faults;

/* The error that this call is to fail with, or 0. */
static int fault_before(const char *call)
{
    if (!faults.armed) {
        return 0;
    }
    int index = faults.count++;
    faults.current = call;
    if (faults.trace != NULL && index < FAULT_CALLS) {
        faults.trace[index] = call;
    }
    bool here = faults.kind == FAULT_ONE && index == faults.at;
    bool later = faults.kind == FAULT_FROM && index >= faults.at && strcmp(call, faults.call) == 0;
    return here || later ? -faults.error : 0;
}

static void fault_after(void)
{
    if (faults.armed && faults.kind == FAULT_KILL && faults.count - 1 == faults.at) {
        syscall(SYS_exit_group, FAULT_KILLED);
    }
    if (faults.armed && faults.look != NULL) {
        faults.armed = false;
        faults.look(faults.current);
        faults.armed = true;
    }
}

/* Each is the real call between the two functions above: the one thing that takes a macro. */
#define FAULTY(type, name, parameters, arguments)                                                                      \
    static type faulty_##name parameters                                                                               \
    {                                                                                                                  \
        type result = fault_before(#name);                                                                             \
        if (result == 0) {                                                                                             \
            result = sys_real.name arguments;                                                                          \
        }                                                                                                              \
        fault_after();                                                                                                 \
        return result;                                                                                                 \
    }

FAULTY(ssize_t, read, (int fd, void *buffer, size_t size), (fd, buffer, size))
FAULTY(ssize_t, pread, (int fd, void *buffer, size_t size, off_t offset), (fd, buffer, size, offset))
FAULTY(ssize_t, pwrite, (int fd, const void *buffer, size_t size, off_t offset), (fd, buffer, size, offset))
FAULTY(ssize_t, writev, (int fd, const struct iovec *vector, int count), (fd, vector, count))
FAULTY(off_t, lseek, (int fd, off_t offset, int whence), (fd, offset, whence))
FAULTY(int, fstat, (int fd, struct stat *status), (fd, status))
FAULTY(int, fstatat, (int dir, const char *path, struct stat *status, int flags), (dir, path, status, flags))
FAULTY(int, birth, (int dir, const char *path, struct timespec *born), (dir, path, born))
FAULTY(int, ftruncate, (int fd, off_t length), (fd, length))
FAULTY(int, fchmod, (int fd, mode_t mode), (fd, mode))
FAULTY(int, fchown, (int fd, uid_t owner, gid_t group), (fd, owner, group))
FAULTY(ssize_t, fgetxattr, (int fd, const char *name, void *value, size_t size), (fd, name, value, size))
FAULTY(int, futimens, (int fd, const struct timespec times[2]), (fd, times))
FAULTY(int, unlinkat, (int dir, const char *path, int flags), (dir, path, flags))
FAULTY(ssize_t, getdents64, (int dir, void *buffer, size_t size), (dir, buffer, size))
FAULTY(int, flock, (int fd, int operation), (fd, operation))
FAULTY(int, dup3, (int from, int to, int flags), (from, to, flags))

/* Paths from the root are no part of a log's work: the file that messages go to. */
static int faulty_openat(int dir, const char *path, int flags, mode_t mode)
{
    int result = dir == AT_FDCWD ? 0 : fault_before("openat");
    if (result == 0) {
        result = sys_real.openat(dir, path, flags, mode);
    }
    if (dir != AT_FDCWD) {
        fault_after();
    }
    return result;
}

/* Processes die here, but the machine does not: nothing has to wait for the disk. */
static int faulty_fsync(int fd)
{
    (void)fd;
    int result = fault_before("fsync");
    fault_after();
    return result;
}

static const char *fcntl_name(int command, long argument)
{
    if (command == F_SETLK) {
        return ((const struct flock *)argument)->l_type == F_UNLCK ? "unlock" : "lock";
    }
    if (command == F_OFD_SETLK) {
        return "ofd lock";
    }
    return command == F_DUPFD_CLOEXEC ? "dupfd" : "fcntl";
}

static int faulty_fcntl(int fd, int command, long argument)
{
    int result = fault_before(fcntl_name(command, argument));
    if (result == 0) {
        result = sys_real.fcntl(fd, command, argument);
    }
    fault_after();
    return result;
}

/* Linux closes the descriptor even when it reports an error. */
static int faulty_close(int fd)
{
    int error = fault_before("close");
    int result = sys_real.close(fd);
    fault_after();
    return error != 0 ? error : result;
}

static int faulty_renameat2(int from_dir, const char *from, int to_dir, const char *to, unsigned flags)
{
    int result = fault_before("renameat2");
    if (result == 0 && flags != 0 && faults.no_rename_flags) {
        result = -EINVAL;
    }
    if (result == 0) {
        result = sys_real.renameat2(from_dir, from, to_dir, to, flags);
    }
    fault_after();
    return result;
}

static int faulty_linkat(int from_dir, const char *from, int to_dir, const char *to, int flags)
{
    int result = fault_before("linkat");
    if (result == 0) {
        result = faults.no_links ? -EPERM : sys_real.linkat(from_dir, from, to_dir, to, flags);
    }
    fault_after();
    return result;
}

/* Puts the faulty calls into the table; the clocks in it stay. */
static inline void faults_install(const struct faults *wanted)
{
    faults = *wanted;
    sys.openat = faulty_openat;
    sys.close = faulty_close;
    sys.read = faulty_read;
    sys.pread = faulty_pread;
    sys.pwrite = faulty_pwrite;
    sys.writev = faulty_writev;
    sys.lseek = faulty_lseek;
    sys.fstat = faulty_fstat;
    sys.fstatat = faulty_fstatat;
    sys.birth = faulty_birth;
    sys.ftruncate = faulty_ftruncate;
    sys.fchmod = faulty_fchmod;
    sys.fchown = faulty_fchown;
    sys.fgetxattr = faulty_fgetxattr;
    sys.futimens = faulty_futimens;
    sys.fsync = faulty_fsync;
    sys.renameat2 = faulty_renameat2;
    sys.linkat = faulty_linkat;
    sys.unlinkat = faulty_unlinkat;
    sys.getdents64 = faulty_getdents64;
    sys.fcntl = faulty_fcntl;
    sys.flock = faulty_flock;
    sys.dup3 = faulty_dup3;
}

static inline void faults_arm(void)
{
    faults.armed = true;
    faults.count = 0;
}

static inline void faults_disarm(void)
{
    faults.armed = false;
}

#endif
