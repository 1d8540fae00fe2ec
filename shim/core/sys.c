#include "sys.h"

#include "sys_call.h"

#include <errno.h>
#include <linux/fs.h>
#include <linux/futex.h>
#include <linux/magic.h>
#include <poll.h>
#include <stdbool.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/vfs.h>
#include <unistd.h>

/*
 * off_t, struct stat and struct flock are the kernel's own on 64-bit systems, and pread's offset goes in one register.
 */
_Static_assert(sizeof(long) == 8, "mplogshim is for 64-bit systems");

/*
 * System calls by number throughout: libc's functions are cancellation points (a thread cancelled inside the shim would
 * leave locks behind), intercepted by this library, or by another preloaded one: libfaketime takes fstat over and
 * must not be called before its own constructor, fakeroot takes fchown over.
 */
static SYS_START int real_openat(int dir, const char *path, int flags, mode_t mode)
{
    return (int)sys_call(SYS_openat, dir, (long)path, flags, mode, 0, 0);
}

static SYS_START int real_close(int fd)
{
    return (int)sys_call(SYS_close, fd, 0, 0, 0, 0, 0);
}

static SYS_START ssize_t real_read(int fd, void *buffer, size_t size)
{
    return sys_call(SYS_read, fd, (long)buffer, (long)size, 0, 0, 0);
}

static ssize_t real_pread(int fd, void *buffer, size_t size, off_t offset)
{
    return sys_call(SYS_pread64, fd, (long)buffer, (long)size, offset, 0, 0);
}

static ssize_t real_pwrite(int fd, const void *buffer, size_t size, off_t offset)
{
    return sys_call(SYS_pwrite64, fd, (long)buffer, (long)size, offset, 0, 0);
}

static ssize_t real_writev(int fd, const struct iovec *vector, int count)
{
    if (count == 1) {
        return sys_call(SYS_write, fd, (long)vector->iov_base, (long)vector->iov_len, 0, 0, 0);
    }
    return sys_call(SYS_writev, fd, (long)vector, count, 0, 0, 0);
}

static ssize_t real_pwritev2(int fd, const struct iovec *vector, int count, off_t offset, int flags)
{
    /* The kernel takes the offset in two halves; the upper one is unused on 64-bit systems. */
    return sys_call(SYS_pwritev2, fd, (long)vector, count, offset, 0, flags);
}

static off_t real_lseek(int fd, off_t offset, int whence)
{
    return sys_call(SYS_lseek, fd, offset, whence, 0, 0, 0);
}

static SYS_START int real_fstat(int fd, struct stat *status)
{
    return (int)sys_call(SYS_fstat, fd, (long)status, 0, 0, 0, 0);
}

static int real_filesystem(int fd, long *type)
{
    struct statfs status;
    int error = (int)sys_call(SYS_fstatfs, fd, (long)&status, 0, 0, 0, 0);
    *type = error == 0 ? status.f_type : 0;
    return error;
}

static SYS_START int real_fstatat(int dir, const char *path, struct stat *status, int flags)
{
    return (int)sys_call(SYS_newfstatat, dir, (long)path, (long)status, flags, 0, 0);
}

static int real_birth(int dir, const char *path, struct timespec *born)
{
    struct statx status;
    int error = (int)sys_call(SYS_statx, dir, (long)path, AT_SYMLINK_NOFOLLOW, STATX_BTIME, (long)&status, 0);
    if (error == 0) {
        *born = (struct timespec){.tv_sec = status.stx_btime.tv_sec, .tv_nsec = status.stx_btime.tv_nsec};
        error = status.stx_mask & STATX_BTIME ? 0 : -EOPNOTSUPP;
    }
    return error;
}

static ssize_t real_readlinkat(int dir, const char *path, char *buffer, size_t size)
{
    return sys_call(SYS_readlinkat, dir, (long)path, (long)buffer, (long)size, 0, 0);
}

static int real_ftruncate(int fd, off_t length)
{
    return (int)sys_call(SYS_ftruncate, fd, length, 0, 0, 0, 0);
}

static int real_fallocate(int fd, off_t length)
{
    return (int)sys_call(SYS_fallocate, fd, 0, 0, length, 0, 0);
}

static int real_fchmod(int fd, mode_t mode)
{
    return (int)sys_call(SYS_fchmod, fd, mode, 0, 0, 0, 0);
}

static int real_fchown(int fd, uid_t owner, gid_t group)
{
    return (int)sys_call(SYS_fchown, fd, owner, group, 0, 0, 0);
}

static ssize_t real_fgetxattr(int fd, const char *name, void *value, size_t size)
{
    return sys_call(SYS_fgetxattr, fd, (long)name, (long)value, (long)size, 0, 0);
}

static int real_fsetxattr(int fd, const char *name, const void *value, size_t size)
{
    return (int)sys_call(SYS_fsetxattr, fd, (long)name, (long)value, (long)size, 0, 0);
}

static int real_futimens(int fd, const struct timespec times[2])
{
    return (int)sys_call(SYS_utimensat, fd, 0, (long)times, 0, 0, 0);
}

static int real_fsync(int fd)
{
    return (int)sys_call(SYS_fsync, fd, 0, 0, 0, 0, 0);
}

static int real_renameat2(int from_dir, const char *from, int to_dir, const char *to, unsigned flags)
{
    return (int)sys_call(SYS_renameat2, from_dir, (long)from, to_dir, (long)to, flags, 0);
}

static int real_linkat(int from_dir, const char *from, int to_dir, const char *to, int flags)
{
    return (int)sys_call(SYS_linkat, from_dir, (long)from, to_dir, (long)to, flags, 0);
}

static int real_unlinkat(int dir, const char *path, int flags)
{
    return (int)sys_call(SYS_unlinkat, dir, (long)path, flags, 0, 0, 0);
}

static ssize_t real_getdents64(int dir, void *buffer, size_t size)
{
    return sys_call(SYS_getdents64, dir, (long)buffer, (long)size, 0, 0, 0);
}

static int real_fcntl(int fd, int command, long argument)
{
    return (int)sys_call(SYS_fcntl, fd, command, argument, 0, 0, 0);
}

static int real_flock(int fd, int operation)
{
    return (int)sys_call(SYS_flock, fd, operation, 0, 0, 0, 0);
}

static int real_dup3(int from, int to, int flags)
{
    return (int)sys_call(SYS_dup3, from, to, flags, 0, 0, 0);
}

/*
 * A preloaded fake clock (libfaketime) sets itself up from the environment at its first call, and there is none yet
 * while the shim's constructor runs: until then the kernel's clock.
 */
static bool libc_clock;
static int (*kernel_clock)(clockid_t clock, struct timespec *now);

void sys_started(void)
{
    libc_clock = true;
}

void sys_find_clock(void)
{
    if (kernel_clock == NULL) {
        kernel_clock = sys_vdso_clock();
    }
}

static SYS_START int real_clock(clockid_t clock, struct timespec *now)
{
    /* Deadlines are the kernel's: a fake clock may stand still. */
    if (libc_clock && clock != CLOCK_MONOTONIC) {
        return clock_gettime(clock, now) == 0 ? 0 : -errno;
    }
    if (kernel_clock != NULL) {
        return kernel_clock(clock, now);
    }
    return (int)sys_call(SYS_clock_gettime, clock, (long)now, 0, 0, 0, 0);
}

static int64_t real_tick(void)
{
    struct timespec now = {0, 0};
    if (kernel_clock != NULL) {
        kernel_clock(CLOCK_MONOTONIC_COARSE, &now);
    } else {
        sys_call(SYS_clock_gettime, CLOCK_MONOTONIC_COARSE, (long)&now, 0, 0, 0, 0);
    }
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

static int real_sleep(const struct timespec *duration)
{
    return (int)sys_call(SYS_clock_nanosleep, CLOCK_MONOTONIC, 0, (long)duration, 0, 0, 0);
}

static int real_futex(uint32_t *word, int operation, uint32_t value, const struct timespec *timeout)
{
    return (int)sys_call(SYS_futex, (long)word, (long)(operation | FUTEX_PRIVATE_FLAG), value, (long)timeout, 0, 0);
}

/* The kernel copies the signal set in before it looks at what is to be done with it. */
static int real_probe(const void *eight_bytes)
{
    enum { NO_SUCH_WAY = 99, SET_SIZE = 8 };
    return (int)sys_call(SYS_rt_sigprocmask, NO_SUCH_WAY, (long)eight_bytes, 0, SET_SIZE, 0, 0);
}

static SYS_START int real_getpid(void)
{
    return (int)sys_call(SYS_getpid, 0, 0, 0, 0, 0, 0);
}

static int real_poll_writable(int fd)
{
    struct pollfd poll = {.fd = fd, .events = POLLOUT};
    const struct timespec now = {0, 0};
    long ready = sys_call(SYS_ppoll, (long)&poll, 1, (long)&now, 0, 0, 0);
    if (ready <= 0) {
        return (int)ready;
    }
    return (poll.revents & POLLOUT) != 0;
}

static long real_map(void *address, size_t size, int fd)
{
    int flags = MAP_SHARED | (address != NULL ? MAP_FIXED : 0);
    long memory = sys_call(SYS_mmap, (long)address, (long)size, PROT_READ | PROT_WRITE, flags, fd, 0);
    if (memory < 0 && memory > -4096) {
        return memory;
    }
    int error = (int)sys_call(SYS_madvise, memory, (long)size, MADV_DONTFORK, 0, 0, 0);
    if (error != 0) {
        sys_call(SYS_munmap, memory, (long)size, 0, 0, 0, 0);
    }
    return error != 0 ? error : memory;
}

#define REAL_CALLS                                                                                                     \
    {                                                                                                                  \
        .openat = real_openat, .close = real_close, .read = real_read, .pread = real_pread, .pwrite = real_pwrite,     \
        .writev = real_writev, .pwritev2 = real_pwritev2, .lseek = real_lseek, .fstat = real_fstat,                    \
        .filesystem = real_filesystem, .fstatat = real_fstatat, .birth = real_birth, .readlinkat = real_readlinkat,    \
        .ftruncate = real_ftruncate, .fallocate = real_fallocate, .fchmod = real_fchmod, .fchown = real_fchown,        \
        .fgetxattr = real_fgetxattr, .fsetxattr = real_fsetxattr, .futimens = real_futimens, .fsync = real_fsync,      \
        .renameat2 = real_renameat2, .linkat = real_linkat, .unlinkat = real_unlinkat, .getdents64 = real_getdents64,  \
        .fcntl = real_fcntl, .flock = real_flock, .dup3 = real_dup3, .clock = real_clock, .tick = real_tick,           \
        .sleep = real_sleep, .futex = real_futex, .probe = real_probe, .getpid = real_getpid,                          \
        .poll_writable = real_poll_writable, .map = real_map,                                                          \
    }

struct sys_calls sys = REAL_CALLS;
const struct sys_calls sys_real = REAL_CALLS;

volatile bool sys_confined;

enum { KERNEL_SIGSET_SIZE = 8 };

uint64_t sys_signals_defer(void)
{
    const uint64_t all = UINT64_MAX; /* also the two that libc keeps for cancellation and setuid */
    uint64_t before = 0;
    sys_call(SYS_rt_sigprocmask, SIG_SETMASK, (long)&all, (long)&before, KERNEL_SIGSET_SIZE, 0, 0);
    return before;
}

void sys_signals_resume(uint64_t before)
{
    sys_call(SYS_rt_sigprocmask, SIG_SETMASK, (long)&before, 0, KERNEL_SIGSET_SIZE, 0, 0);
}

void sys_signals_block(struct sys_signals *signals)
{
    signals->before = sys_signals_defer();
    signals->pending = 0;
    sys_call(SYS_rt_sigpending, (long)&signals->pending, KERNEL_SIGSET_SIZE, 0, 0, 0, 0);
}

void sys_signals_restore(const struct sys_signals *signals)
{
    static const int own[] = {SIGXFSZ, SIGPIPE, SIGIO};
    uint64_t pending = 0;
    if (sys_confined) {
        sys_signals_resume(signals->before);
        return;
    }
    sys_call(SYS_rt_sigpending, (long)&pending, KERNEL_SIGSET_SIZE, 0, 0, 0, 0);
    for (size_t i = 0; i < sizeof own / sizeof own[0]; i++) {
        const uint64_t one = (uint64_t)1 << (own[i] - 1);
        if ((pending & one) != 0 && (signals->pending & one) == 0) {
            const struct timespec now = {0, 0};
            sys_call(SYS_rt_sigtimedwait, (long)&one, 0, (long)&now, KERNEL_SIGSET_SIZE, 0, 0);
        }
    }
    sys_signals_resume(signals->before);
}

int64_t sys_now(clockid_t clock)
{
    struct timespec now = {0, 0};
    sys.clock(clock, &now);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

int sys_rename_new(int directory, const char *from, const char *to)
{
    struct stat status;
    int error = sys.renameat2(directory, from, directory, to, RENAME_NOREPLACE);
    if (error != -EINVAL && error != -ENOSYS && error != -EOPNOTSUPP) {
        return error;
    }
    error = sys.fstatat(directory, to, &status, AT_SYMLINK_NOFOLLOW);
    if (error != -ENOENT) {
        return error == 0 ? -EEXIST : error;
    }
    return sys.renameat2(directory, from, directory, to, 0);
}

/* NFSv4 without a delegation, and CIFS without an oplock, answer as if somebody wrote. */
static bool is_lease_never_granted(int fd)
{
    enum { CIFS = (int)0xff534d42, SMB2 = (int)0xfe534d42 };
    long type;
    return sys.filesystem(fd, &type) == 0 && (type == NFS_SUPER_MAGIC || (int)type == CIFS || (int)type == SMB2);
}

int sys_is_written(int directory, const char *name)
{
    /* To this thread, which has the signal blocked: another thread of the program's has not. */
    const struct f_owner_ex owner = {.type = F_OWNER_TID, .pid = (pid_t)sys_call(SYS_gettid, 0, 0, 0, 0, 0, 0)};
    int fd = sys.openat(directory, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY, 0);
    if (fd < 0) {
        return fd;
    }
    int error = sys.fcntl(fd, F_SETOWN_EX, (long)&owner);
    if (error == 0) {
        error = sys.fcntl(fd, F_SETLEASE, F_RDLCK);
    }
    if (error == 0) {
        sys.fcntl(fd, F_SETLEASE, F_UNLCK);
    }
    error = error == -EAGAIN && is_lease_never_granted(fd) ? -EOPNOTSUPP : error;
    sys.close(fd);
    return error == -EAGAIN || error == -EBUSY ? 1 : error;
}

void *sys_reserve(size_t size)
{
    const int flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE;
    long memory = sys_call(SYS_mmap, 0, (long)size, PROT_READ | PROT_WRITE, flags, -1, 0);
    return memory < 0 && memory > -4096 ? NULL : (void *)memory;
}

enum { KEPT_SIZE = 65536, KEPT_ALIGNMENT = 16, KEPT_PAGE = 4096 };
static SYS_SELDOM char kept_pages[KEPT_SIZE + KEPT_PAGE];
static size_t kept_used;

/* From the beginning of a page on. Not by its alignment, which would be that of all variables. */
static char *kept_begin(void)
{
    return kept_pages + (KEPT_PAGE - (uintptr_t)kept_pages % KEPT_PAGE) % KEPT_PAGE;
}

SYS_START void *sys_keep(size_t size)
{
    size_t end = kept_used + size;
    if (size > KEPT_SIZE || end > KEPT_SIZE) {
        return sys_reserve(size);
    }
    void *memory = kept_begin() + kept_used;
    kept_used = (end + KEPT_ALIGNMENT - 1) / KEPT_ALIGNMENT * KEPT_ALIGNMENT;
    return memory;
}

SYS_START void sys_keep_until(const void *end)
{
    size_t used = (uintptr_t)end - (uintptr_t)kept_begin();
    if (used <= kept_used) {
        kept_used = (used + KEPT_ALIGNMENT - 1) / KEPT_ALIGNMENT * KEPT_ALIGNMENT;
    }
}

void sys_blank(void *memory, size_t size)
{
    const int flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED;
    sys_call(SYS_mmap, (long)memory, (long)size, PROT_READ | PROT_WRITE, flags, -1, 0);
}

void sys_give_back(void *memory, size_t size)
{
    sys_call(SYS_munmap, (long)memory, (long)size, 0, 0, 0, 0);
}

const char *sys_working_directory(char *buffer, size_t size)
{
    return sys_call(SYS_getcwd, (long)buffer, (long)size, 0, 0, 0, 0) > 0 && buffer[0] == '/' ? buffer : NULL;
}
