#include "own.h"

#include "guard.h"
#include "sys.h"
#include "sys_call.h"

#include <errno.h>
#include <stddef.h>
#include <sys/resource.h>
#include <sys/syscall.h>

enum { OWN_MAX = 4096 };

static uint32_t lock;
static SYS_SELDOM int *holders[OWN_MAX];
static int holder_count;
static int lowest = INT32_MAX;

/*
 * Where the shim's numbers start: high, but below 1024 where the limit allows more, because the kernel's table grows
 * to the highest number and fork copies it.
 */
static int base_number(void)
{
    struct rlimit limit;
    if (sys_call(SYS_prlimit64, 0, RLIMIT_NOFILE, 0, (long)&limit, 0, 0) != 0 || limit.rlim_cur >= 1024) {
        return 1024 - 96;
    }
    int limited = (int)limit.rlim_cur;
    return limited > 192 ? limited - 64 : limited - limited / 4;
}

/* Lower where the limit is lower than it looked, or the high numbers are all taken. */
static int move_high(int fd)
{
    int base = base_number();
    int moved = sys.fcntl(fd, F_DUPFD_CLOEXEC, base);
    for (; (moved == -EINVAL || moved == -EMFILE) && base > 3; base /= 2) {
        moved = sys.fcntl(fd, F_DUPFD_CLOEXEC, base / 2);
    }
    return moved;
}

enum { STANDARD_NUMBERS = 3 };

/*
 * Once a standard number was found free, they are filled while the shim opens something: with O_PATH descriptors, which
 * answer a write as a closed one does.
 */
static bool standard_numbers_free;

static int fill_standard_numbers(int filled[STANDARD_NUMBERS])
{
    int count = 0;
    while (standard_numbers_free && count < STANDARD_NUMBERS) {
        int fd = sys.openat(AT_FDCWD, "/", O_PATH | O_CLOEXEC, 0);
        if (fd >= STANDARD_NUMBERS) {
            sys.close(fd);
        }
        if (fd < 0 || fd >= STANDARD_NUMBERS) {
            break;
        }
        filled[count++] = fd;
    }
    return count;
}

SYS_START int own_open(int directory, const char *path, int flags, mode_t mode)
{
    int filled[STANDARD_NUMBERS];
    int count = fill_standard_numbers(filled);
    int fd = sys.openat(directory, path, flags, mode);
    while (count > 0) {
        sys.close(filled[--count]);
    }
    if (fd < 0 || fd >= STANDARD_NUMBERS) {
        return fd;
    }
    standard_numbers_free = true;
    int moved = sys.fcntl(fd, F_DUPFD_CLOEXEC, STANDARD_NUMBERS);
    sys.close(fd);
    return moved;
}

static int find(int fd)
{
    int count = __atomic_load_n(&holder_count, __ATOMIC_ACQUIRE);
    for (int i = 0; i < count; i++) {
        if (*holders[i] == fd) {
            return i;
        }
    }
    return -1;
}

static void forget(const int *holder)
{
    for (int i = 0; i < holder_count; i++) {
        if (holders[i] == holder) {
            holders[i] = holders[--holder_count];
            return;
        }
    }
}

static void (*on_number)(int fd);

void own_start(void (*notify)(int fd))
{
    on_number = notify;
}

static void note_number(int fd)
{
    if (on_number != NULL) {
        on_number(fd);
    }
    if (fd < lowest) {
        __atomic_store_n(&lowest, fd, __ATOMIC_RELAXED);
    }
}

int own_adopt(int *holder)
{
    int moved = move_high(*holder);
    sys.close(*holder);
    *holder = -1;
    if (moved < 0) {
        return moved;
    }
    guard_mutex_lock(&lock, 0);
    bool fits = holder_count < OWN_MAX;
    if (fits) {
        *holder = moved;
        holders[holder_count] = holder; /* who looks without the lock finds it complete */
        __atomic_store_n(&holder_count, holder_count + 1, __ATOMIC_RELEASE);
        note_number(moved);
    }
    guard_mutex_unlock(&lock);
    if (!fits) {
        sys.close(moved);
    }
    return fits ? 0 : -EMFILE;
}

void own_close(int *holder)
{
    guard_mutex_lock(&lock, 0);
    int fd = *holder;
    forget(holder);
    *holder = -1;
    guard_mutex_unlock(&lock);
    if (fd >= 0) {
        sys.close(fd);
    }
}

void own_lost(int *holder)
{
    guard_mutex_lock(&lock, 0);
    forget(holder);
    *holder = -1;
    guard_mutex_unlock(&lock);
}

/* Without the lock, so that a signal handler may jump out of it: at worst it misses a number that moves just now. */
SYS_START bool own_is(int fd)
{
    return fd >= 0 && fd >= __atomic_load_n(&lowest, __ATOMIC_RELAXED) && find(fd) >= 0;
}

int own_next(int from)
{
    int next = INT32_MAX;
    int count = __atomic_load_n(&holder_count, __ATOMIC_ACQUIRE);
    for (int i = 0; i < count; i++) {
        if (*holders[i] >= from && *holders[i] < next) {
            next = *holders[i];
        }
    }
    return next;
}

int own_vacate(int fd)
{
    guard_mutex_lock(&lock, 0);
    int at = find(fd);
    int moved = 0;
    if (at >= 0) {
        int *holder = holders[at];
        moved = sys.fcntl(fd, F_DUPFD_CLOEXEC, fd + 1);
        if (moved < 0) {
            moved = move_high(fd);
        }
        if (moved < 0) {
            forget(holder);
        } else {
            note_number(moved);
        }
        *holder = moved < 0 ? -1 : moved;
    }
    guard_mutex_unlock(&lock);
    return moved < 0 ? moved : 0;
}

void own_forked(void)
{
    lock = 0;
}
