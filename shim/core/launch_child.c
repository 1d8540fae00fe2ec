/*
 * The child between clone and execve: everything of the program's that it must not take along goes.
 *
 * What fails here without harm for the new program (a session, a priority, a limit) is left as it is.
 */
#include "launch_private.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/resource.h>
#include <sys/syscall.h>

LAUNCH_OUTSIDE static int open_file(const char *path, int flags)
{
    return (int)launch_call(SYS_openat, AT_FDCWD, (long)path, flags, 0);
}

LAUNCH_OUTSIDE static void close_one(int fd)
{
    launch_call(SYS_close, fd, 0, 0, 0);
}

/* -1 if it is not one. */
LAUNCH_OUTSIDE static int number_of(const char *name)
{
    int number = 0;
    if (*name == '\0') {
        return -1;
    }
    for (; *name != '\0'; name++) {
        if (*name < '0' || *name > '9' || number > INT_MAX / 10 - 1) {
            return -1;
        }
        number = number * 10 + (*name - '0');
    }
    return number;
}

/* The kernel's struct linux_dirent64. */
struct entry {
    uint64_t inode;
    int64_t offset;
    uint16_t size;
    uint8_t type;
    char name[];
};

LAUNCH_OUTSIDE static bool close_listed(int first, int last)
{
    _Alignas(struct entry) char entries[1024];
    int directory = open_file("/proc/self/fd", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    long size = -1;
    if (directory < 0) {
        return false;
    }
    while ((size = launch_call(SYS_getdents64, directory, (long)entries, sizeof entries, 0)) > 0) {
        for (long at = 0; at < size;) {
            const struct entry *entry = (const struct entry *)(entries + at);
            int fd = number_of(entry->name);
            if (fd >= first && fd <= last && fd != directory) {
                close_one(fd);
            }
            at += entry->size;
        }
    }
    close_one(directory);
    return size == 0;
}

/* Without close_range and without /proc. A limit of a thousand millions is usual in containers: no more than so many.
 */
LAUNCH_OUTSIDE static void close_counted(int first, int last)
{
    enum { MOST = 1 << 20 };
    struct rlimit limit = {MOST, MOST};
    launch_call(SYS_prlimit64, 0, RLIMIT_NOFILE, 0, (long)&limit);
    int end = limit.rlim_cur < MOST ? (int)limit.rlim_cur : MOST;
    for (int fd = first; fd < end && fd <= last; fd++) {
        close_one(fd);
    }
}

LAUNCH_OUTSIDE void launch_close(int first, int last)
{
    if (first <= last && launch_call(SYS_close_range, first, last, 0, 0) != 0 && !close_listed(first, last)) {
        close_counted(first, last);
    }
}

LAUNCH_OUTSIDE static void close_all_but(const int keep[LAUNCH_DESCRIPTORS])
{
    int first = 0;
    for (;;) {
        int next = -1; /* the lowest to keep from here on */
        for (int i = 0; i < LAUNCH_DESCRIPTORS; i++) {
            if (keep[i] >= first && (next < 0 || keep[i] < next)) {
                next = keep[i];
            }
        }
        if (next < 0) {
            break;
        }
        launch_close(first, next - 1);
        first = next + 1;
    }
    launch_close(first, LAUNCH_NO_LIMIT);
}

/*
 * The program may have its standard descriptors and 3 and 4 closed or open, and any of them may be one that is asked
 * for. So first everything else goes, which also makes room in a full table; then those move up and down again.
 */
LAUNCH_OUTSIDE static int take_descriptors(const int wanted[LAUNCH_DESCRIPTORS])
{
    enum { END = LAUNCH_FIRST_DESCRIPTOR + LAUNCH_DESCRIPTORS };
    int moved[LAUNCH_DESCRIPTORS];
    close_all_but(wanted);
    for (int i = 0; i < LAUNCH_DESCRIPTORS; i++) {
        moved[i] = wanted[i] < 0 ? -1 : (int)launch_call(SYS_fcntl, wanted[i], F_DUPFD, END, 0);
        if (moved[i] < 0 && wanted[i] >= 0) {
            return moved[i];
        }
    }
    launch_close(0, END - 1);
    for (int i = 0; i < LAUNCH_DESCRIPTORS; i++) {
        long placed = moved[i] < 0 ? 0 : launch_call(SYS_dup3, moved[i], LAUNCH_FIRST_DESCRIPTOR + i, 0, 0);
        if (placed < 0) {
            return (int)placed;
        }
    }
    launch_close(END, LAUNCH_NO_LIMIT);
    return 0;
}

/* Without /dev/null (a chroot) something that cannot be read or written, so that no file gets these numbers. */
LAUNCH_OUTSIDE static void fill_standard_descriptors(void)
{
    int fd = open_file("/dev/null", O_RDWR | O_NOCTTY | O_NONBLOCK);
    if (fd < 0) {
        fd = open_file("/", O_PATH | O_DIRECTORY);
    }
    for (int number = 1; fd == 0 && number < LAUNCH_FIRST_DESCRIPTOR; number++) {
        launch_call(SYS_dup3, fd, number, 0, 0);
    }
}

/* Handlers go by the execve; what is ignored would stay so. The mask is emptied last. */
LAUNCH_OUTSIDE static void reset_signals(void)
{
    static const uint64_t by_default[4]; /* the kernel's struct sigaction */
    enum { SIGNALS = 64, SET_SIZE = 8 };
    for (int number = 1; number <= SIGNALS; number++) {
        launch_call(SYS_rt_sigaction, number, (long)by_default, 0, SET_SIZE);
    }
}

LAUNCH_OUTSIDE static void empty_signal_mask(void)
{
    static const uint64_t none;
    launch_call(SYS_rt_sigprocmask, SIG_SETMASK, (long)&none, 0, sizeof none);
}

/*
 * A program of real-time priority does not hand it on. Niceness is for the new program itself: the writing thread waits
 * for this execve, and a nice process would wait for the processor first (25 to 150 ms on a busy machine).
 */
LAUNCH_OUTSIDE static void leave_real_time(void)
{
    long policy = launch_call(SYS_sched_getscheduler, 0, 0, 0, 0);
    if (policy == SCHED_FIFO || policy == SCHED_RR) {
        const struct sched_param ordinary = {.sched_priority = 0};
        launch_call(SYS_sched_setscheduler, 0, SCHED_OTHER, (long)&ordinary, 0);
    }
}

/* Soft limits that a program set for itself would stop the new one: its files are larger, its stack another. */
LAUNCH_OUTSIDE static void raise_limits(void)
{
    static const struct {
        int resource;
        rlim_t least;
    } limits[] = {
        {RLIMIT_FSIZE, RLIM_INFINITY}, {RLIMIT_CPU, RLIM_INFINITY}, {RLIMIT_AS, RLIM_INFINITY},
        {RLIMIT_DATA, RLIM_INFINITY},  {RLIMIT_STACK, 8 << 20},     {RLIMIT_NOFILE, 1024},
    };
    for (size_t i = 0; i < sizeof limits / sizeof limits[0]; i++) {
        struct rlimit limit;
        if (launch_call(SYS_prlimit64, 0, limits[i].resource, 0, (long)&limit) == 0 &&
            limit.rlim_cur < limits[i].least) {
            limit.rlim_cur = limit.rlim_max < limits[i].least ? limit.rlim_max : limits[i].least;
            launch_call(SYS_prlimit64, 0, limits[i].resource, (long)&limit, 0);
        }
    }
}

/* The most telling error: one that is not "no such file", if there is one. */
LAUNCH_OUTSIDE static void execute(const struct launch *launch, int *error)
{
    int telling = -ENOENT;
    for (int i = 0; i < LAUNCH_PATHS; i++) {
        if (launch->paths[i] == NULL) {
            continue;
        }
        __atomic_store_n(error, 0, __ATOMIC_RELEASE); /* there is no later moment to say that it runs */
        int failed =
            (int)launch_call(SYS_execve, (long)launch->paths[i], (long)launch->arguments, (long)launch->environment, 0);
        telling = telling == -ENOENT ? failed : telling;
        __atomic_store_n(error, telling, __ATOMIC_RELEASE);
    }
    __atomic_store_n(error, telling, __ATOMIC_RELEASE);
}

LAUNCH_OUTSIDE void launch_become(const struct launch *launch, int *error)
{
    enum { UMASK = 022 };
    __atomic_store_n(error, -EINTR, __ATOMIC_RELEASE);
    launch_call(SYS_setsid, 0, 0, 0, 0);
    reset_signals();
    launch_call(SYS_umask, UMASK, 0, 0, 0);
    launch_call(SYS_chdir, (long)"/", 0, 0, 0);
    raise_limits();
    int failed = take_descriptors(launch->descriptors);
    if (failed != 0) {
        __atomic_store_n(error, failed, __ATOMIC_RELEASE);
        return;
    }
    leave_real_time();
    fill_standard_descriptors();
    empty_signal_mask();
    execute(launch, error);
}
