/*
 * The system calls that the shim itself makes, as one table that tests replace to make any of them fail.
 *
 * Every entry returns what the kernel returns: a result >= 0, or -errno. None is a cancellation point, none is
 * a libc function that this library intercepts, and all are async-signal-safe. errno may be clobbered; hooks save it.
 */
#ifndef MPLOGSHIM_SYS_H
#define MPLOGSHIM_SYS_H

#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <time.h>

struct sys_calls {
    int (*openat)(int dir, const char *path, int flags, mode_t mode);
    int (*close)(int fd);
    ssize_t (*read)(int fd, void *buffer, size_t size);
    ssize_t (*pread)(int fd, void *buffer, size_t size, off_t offset);
    ssize_t (*pwrite)(int fd, const void *buffer, size_t size, off_t offset);
    ssize_t (*writev)(int fd, const struct iovec *vector, int count);
    ssize_t (*pwritev2)(int fd, const struct iovec *vector, int count, off_t offset, int flags);
    off_t (*lseek)(int fd, off_t offset, int whence);
    int (*fstat)(int fd, struct stat *status);
    int (*filesystem)(int fd, long *type); /* statfs's f_type */
    int (*fstatat)(int dir, const char *path, struct stat *status, int flags);
    int (*birth)(int dir, const char *path, struct timespec *born); /* no link is followed; -EOPNOTSUPP: not known */
    ssize_t (*readlinkat)(int dir, const char *path, char *buffer, size_t size);
    int (*ftruncate)(int fd, off_t length);
    int (*fallocate)(int fd, off_t length); /* the file gets that long, and its blocks are there */
    int (*fchmod)(int fd, mode_t mode);
    int (*fchown)(int fd, uid_t owner, gid_t group);
    ssize_t (*fgetxattr)(int fd, const char *name, void *value, size_t size);
    int (*fsetxattr)(int fd, const char *name, const void *value, size_t size);
    int (*futimens)(int fd, const struct timespec times[2]); /* of access, of modification */
    int (*fsync)(int fd);
    int (*renameat2)(int from_dir, const char *from, int to_dir, const char *to, unsigned flags);
    int (*linkat)(int from_dir, const char *from, int to_dir, const char *to, int flags);
    int (*unlinkat)(int dir, const char *path, int flags);
    ssize_t (*getdents64)(int dir, void *buffer, size_t size);
    int (*fcntl)(int fd, int command, long argument); /* also F_SETLK, with a pointer as argument */
    int (*flock)(int fd, int operation);
    int (*dup3)(int from, int to, int flags);
    int (*clock)(clockid_t clock, struct timespec *now); /* libc's clock_gettime: the vDSO, or a preloaded fake clock */
    int64_t (*tick)(
        void); /* nanoseconds of CLOCK_MONOTONIC_COARSE, always the kernel's: at most one step a millisecond */
    int (*sleep)(const struct timespec *duration); /* may return early */
    int (*futex)(uint32_t *word, int operation, uint32_t value, const struct timespec *timeout);
    int (*probe)(const void *eight_bytes); /* -EFAULT if they cannot be read; any other error if they can */
    int (*getpid)(void);
    int (*poll_writable)(int fd); /* > 0: a write to it would not wait now */
    /* Shared memory of a file, at `address` or (NULL) anywhere, that fork children do not have. */
    long (*map)(void *address, size_t size, int fd);
};

extern struct sys_calls sys;

/* The same table with the real calls, for tests that put an entry back. */
extern const struct sys_calls sys_real;

/*
 * Blocks every signal of this thread around rare work (rotation, messages), and takes SIGXFSZ, SIGPIPE and SIGIO that
 * the work itself raised out of the pending set again, so that they never reach the program. Thread-safe.
 */
struct sys_signals {
    uint64_t before; /* the kernel's 64 signals; libc's set is 16 times as large, and signal stacks are small */
    uint64_t pending;
};
void sys_signals_block(struct sys_signals *signals);
void sys_signals_restore(const struct sys_signals *signals);

/* Defers every signal of this thread and lets them come again: around work that must not be left half way. */
uint64_t sys_signals_defer(void);
void sys_signals_resume(uint64_t before);

/* A seccomp filter was installed: no call may be made any more but the program's own writes. */
extern volatile bool sys_confined;

/* The program's environment is there: from now on time comes from libc's clock_gettime. */
void sys_started(void);

/* The kernel's time (sys.tick) is wanted often: from now on without a call, where there is a vDSO. */
void sys_find_clock(void);

/* The vDSO's clock_gettime, or NULL. */
int (*sys_vdso_clock(void))(clockid_t clock, struct timespec *now);

/* Nanoseconds of a clock. */
int64_t sys_now(clockid_t clock);

/*
 * Renames within a directory, never over an existing file: -EEXIST. Where the file system cannot do that in one step,
 * in two: callers hold a lock that keeps others who follow the rules away.
 */
int sys_rename_new(int directory, const char *from, const char *to);

/*
 * Whether somebody has a file open for writing, by the one test that there is: a read lease is granted while nobody
 * has. `name` in `directory`. 1, 0, or -errno where leases are not to be had. With all signals blocked: a lease that
 * somebody breaks while it is tried sends SIGIO, which sys_signals_restore takes.
 */
int sys_is_written(int directory, const char *name);

/* The working directory in buffer[size], or NULL if it has no path (removed, or outside of the root). */
const char *sys_working_directory(char *buffer, size_t size);

/*
 * For large static memory that is seldom touched: it lies apart from the small variables, which then share few pages.
 * Each page that a process touches costs it 2 microseconds.
 */
#define SYS_SELDOM __attribute__((section(".bss.seldom")))

/*
 * For functions that run in every start, and in the end of a process that has no log, but that others call as well:
 * they lie together (preload/layout.ld). Those that nothing else calls the compiler knows by itself.
 */
#define SYS_START __attribute__((section(".text.start")))

/* For an array of which mostly the beginning is touched: that shares the last page of the small variables. */
#define SYS_FIRST __attribute__((section(".bss.first")))

/* Zeroed memory of whole pages that is never given back, or NULL. Reserved only: pages cost nothing until touched. */
void *sys_reserve(size_t size);

/*
 * The same for the small things that a start keeps: one after the other, they share a page, and none has to be mapped.
 * Large ones are reserved. One thread at a time. Not zeroed, where something was that is not kept.
 */
void *sys_keep(size_t size);

/* Of the last piece, only what lies before `end` is kept. */
void sys_keep_until(const void *end);

/* Puts such memory where something else was, or should be. */
void sys_blank(void *memory, size_t size);

/* But for what nobody else has seen. */
void sys_give_back(void *memory, size_t size);

#endif
