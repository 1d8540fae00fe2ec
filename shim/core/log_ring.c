#include "log_ring.h"

#include "acl.h"
#include "log_locks.h"
#include "log_private.h"
#include "own.h"
#include "sys.h"
#include "sys_call.h"

#include <errno.h>
#include <linux/fs.h>
#include <linux/magic.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

/* Waits for nobody. Not a POSIX lock, which any close of the file in this process would drop. */
static int take_lock(int fd)
{
    struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = 0, .l_len = 1, .l_pid = 0};
    int error = sys.fcntl(fd, F_OFD_SETLK, (long)&lock);
    return error == -EACCES ? -EAGAIN : error;
}

/*
 * Zeros from where the file ends on. Written, and in large pieces, because the kernel makes pages of a file that are
 * first touched in memory one by one, for 3 microseconds each, and looks far ahead at the first of them (400).
 */
static int write_zeros(int fd, size_t size)
{
    enum { PIECES = 16 };
    static SYS_SELDOM char zeros[RING_PAGE]; /* not among the constants, which each start has in its pages */
    struct iovec pieces[PIECES];
    for (int i = 0; i < PIECES; i++) {
        pieces[i] = (struct iovec){.iov_base = zeros, .iov_len = sizeof zeros};
    }
    for (size_t done = 0; done < size;) {
        size_t left = (size - done) / sizeof zeros;
        ssize_t written = sys.writev(fd, pieces, left < PIECES ? (int)left : PIECES);
        if (written <= 0) {
            return written < 0 ? (int)written : -ENOSPC;
        }
        done += (size_t)written;
    }
    return 0;
}

/*
 * All blocks are there before the first record is, so that no store can fail (SIGBUS). The pages of more than most
 * buffers have are left until they are needed.
 */
static int allocate(int fd, size_t size)
{
    const size_t made_at_once = 2 << 20;
    int error = sys.fallocate(fd, (off_t)size);
    if (error != 0 && error != -EOPNOTSUPP && error != -ENOSYS) {
        return error;
    }
    return write_zeros(fd, error == 0 && size > made_at_once ? made_at_once : size);
}

/* Who looks for rings of the dead may have found it before it was locked, and removed it. */
static bool is_at_its_place(const struct log *log, const char *name, int fd)
{
    struct stat mine;
    struct stat there;
    return sys.fstat(fd, &mine) == 0 && sys.fstatat(log->lock.directory, name, &there, AT_SYMLINK_NOFOLLOW) == 0 &&
           mine.st_dev == there.st_dev && mine.st_ino == there.st_ino;
}

/*
 * These never write a block in its old place: storing into memory whose blocks were there all along needs new ones, and
 * on a full disk ends the process (SIGBUS). ZFS finds out when it is too late to tell anybody.
 */
static bool needs_room_to_store(int fd)
{
    enum { BCACHEFS = (int)0xca451a4e, UBIFS = 0x24051905, ZFS = 0x2fc12fc1 };
    static const int copying[] = {(int)BTRFS_SUPER_MAGIC, NILFS_SUPER_MAGIC, BCACHEFS, UBIFS, ZFS};
    long type;
    if (sys.filesystem(fd, &type) != 0) {
        return false;
    }
    for (size_t i = 0; i < sizeof copying / sizeof copying[0]; i++) {
        if ((int)type == copying[i]) {
            return true;
        }
    }
    return false;
}

static int create(const struct log *log, uint64_t *number, char *name)
{
    enum { ATTEMPTS = 8 };
    const int flags = O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC;
    int fd = -EEXIST;
    for (int attempt = 0; attempt < ATTEMPTS && fd == -EEXIST; attempt++) {
        *number = (uint64_t)sys_now(CLOCK_REALTIME) ^ ((uint64_t)sys.getpid() << 40 & INT64_MAX);
        int error = name_ring(log->lock.name, *number, name);
        if (error != 0) {
            return error;
        }
        fd = own_open(log->lock.directory, name, flags, 0600);
    }
    return fd;
}

/* The lock is the mapping's from then on: it goes with it, and fork children do not have it. */
static int fill(struct log *log, struct log_ring *own, const char *name, int fd, uint32_t room)
{
    size_t size = ring_file_size(room);
    int error = take_lock(fd);
    if (error == -EAGAIN) {
        return -ESTALE; /* who looks for rings of the dead has it */
    }
    error = error == 0 && needs_room_to_store(fd) ? -EOPNOTSUPP : error;
    error = error != 0 ? error : allocate(fd, size);
    if (error == 0 && !is_at_its_place(log, name, fd)) {
        error = -ESTALE;
    }
    if (error != 0) {
        return error;
    }
    long memory = sys.map(own->size == size ? own->ring.page : NULL, size, fd);
    if (memory < 0 && memory > -RING_PAGE) {
        return (int)memory;
    }
    ring_make(&own->ring, (void *)memory, room, log->base, (uint32_t)sys.getpid());
    own->size = size;
    own->waited = own->written = -1;
    own->file = -1;
    return 0;
}

/*
 * What overlayfs maps is the file below, and not the one that was locked: there the lock goes with the descriptor, and
 * others would take the buffer for a dead process's.
 */
static bool is_locked_by_mapping(const struct log *log, const char *name)
{
    struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = 0, .l_len = 1, .l_pid = 0};
    int fd = own_open(log->lock.directory, name, O_RDWR | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC, 0);
    bool locked = fd >= 0 && sys.fcntl(fd, F_OFD_GETLK, (long)&lock) == 0 && lock.l_type != F_UNLCK;
    if (fd >= 0) {
        sys.close(fd);
    }
    return locked;
}

static int make(struct log *log, struct log_ring *own)
{
    char name[NAME_SIZE];
    uint64_t number;
    struct stat status;
    int fd = create(log, &number, name);
    int error = fd < 0 ? fd : sys.fstat(fd, &status);
    error = error != 0 ? error : fill(log, own, name, fd, ring_room(log->rule->async_buffer));
    if (error == 0) {
        own->number = number;
        own->device = status.st_dev;
        own->inode = status.st_ino;
    } else if (fd >= 0 && error != -ESTALE) { /* -EAGAIN: no more memory may be locked (mlockall) */
        sys.unlinkat(log->lock.directory, name, 0);
    }
    if (fd >= 0) {
        sys.close(fd);
    }
    if (error == 0 && !is_locked_by_mapping(log, name)) {
        sys.unlinkat(log->lock.directory, name, 0);
        sys_blank(own->ring.page, own->size); /* empty; it is given up by who asked for it */
        error = -ENOLCK;
    }
    return error;
}

/* Whether the log can be read as its permissions look, without trying. */
static bool looks_readable(const struct log *log)
{
    struct stat status;
    uid_t self = (uid_t)sys_call(SYS_geteuid, 0, 0, 0, 0, 0, 0);
    if (self == 0 || log->writers == NULL || sys.fstat(log->writers->fd, &status) != 0) {
        return true;
    }
    const mode_t everybody = S_IRUSR | S_IRGRP | S_IROTH;
    return (status.st_mode & everybody) == everybody || (status.st_uid == self && (status.st_mode & S_IRUSR) != 0);
}

/*
 * How much of a batch is in the log when a process was killed, the log alone tells: for who may not read it, lines
 * would come twice. 0, or -EACCES. Closing the file drops what the program has locked of it.
 */
static __attribute__((noinline)) int prove_readable(struct log *log)
{
    if (looks_readable(log)) {
        return 0;
    }
    program_locks_note(log);
    int fd = log_open_plain(log, O_RDONLY);
    if (fd >= 0) {
        sys.close(fd);
        program_locks_take(log);
    }
    return fd == -EACCES || fd == -EPERM ? -EACCES : 0;
}

/* Who looks for rings of the dead may take it for one, before it is locked. */
int log_ring_make(struct log *log, struct log_ring *own)
{
    enum { ATTEMPTS = 16 };
    struct sys_signals signals;
    int error = prove_readable(log);
    if (error != 0) {
        return error;
    }
    error = -ESTALE;
    sys_signals_block(&signals); /* RLIMIT_FSIZE may be less than its size */
    for (int attempt = 0; attempt < ATTEMPTS && error == -ESTALE; attempt++) {
        error = make(log, own);
    }
    if (error == 0) {
        lockfile_write(&log->lock, LOCKFILE_RINGS, 1);
    }
    sys_signals_restore(&signals);
    return error;
}

bool log_ring_is_there(const struct log *log, const struct log_ring *own)
{
    char name[NAME_SIZE];
    struct stat there;
    int error = name_ring(log->lock.name, own->number, name);
    error = error != 0 ? error : sys.fstatat(log->lock.directory, name, &there, AT_SYMLINK_NOFOLLOW);
    return error != 0 ? error != -ENOENT : there.st_dev == own->device && there.st_ino == own->inode;
}

void log_ring_move(const struct log *log, const struct log_ring *own, int to)
{
    char name[NAME_SIZE];
    if (log_ring_is_there(log, own) && name_ring(log->lock.name, own->number, name) == 0) {
        sys.renameat2(log->lock.directory, name, to, name, RENAME_NOREPLACE);
    }
}

/*
 * Who may have filled it: this process's user, or for root also whom the log belongs to. One name, nobody else's.
 *
 * Outside of programs, root takes over what anybody left beside a log that everybody may write to: in the directory of
 * the log he could only put it where he can reach that, too.
 */
static int judge(const struct log *log, const struct stat *status, int fd, const struct stat *live, bool *strange)
{
    uid_t self = (uid_t)sys_call(SYS_geteuid, 0, 0, 0, 0, 0, 0);
    if (!S_ISREG(status->st_mode) || status->st_nlink != 1 || (status->st_mode & (S_IWGRP | S_IWOTH)) != 0) {
        return -EPERM;
    }
    *strange = status->st_uid != self && (self != 0 || live == NULL || status->st_uid != live->st_uid);
    if (!*strange) {
        return 0;
    }
    bool may = self == 0 && log_keeping && log->rule->lock_dir == NULL && live != NULL && acl_is_everybodys(fd, live);
    return may ? 0 : -EPERM;
}

/* The bytes of the file from `from` up to `to`, at their place. */
static int read_part(int fd, char *memory, size_t from, size_t to)
{
    for (size_t done = from; done < to;) {
        ssize_t got = sys.pread(fd, memory + done, to - done, (off_t)done);
        if (got <= 0) {
            return got < 0 ? (int)got : -EINVAL;
        }
        done += (size_t)got;
    }
    return 0;
}

/* What may hold records: one in which nothing waits is read fast, however large it is. */
static int read_records(int fd, char *memory, const struct ring *ring)
{
    struct ring_run all;
    int error = 0;
    ring_extent(ring, &all);
    for (int i = 0; i < all.count && error == 0; i++) {
        size_t from = (size_t)((char *)all.vector[i].iov_base - memory);
        error = read_part(fd, memory, from, from + all.vector[i].iov_len);
    }
    return error;
}

static int read_ring(int fd, char *memory, const char *base, struct log_ring *dead)
{
    int error = read_part(fd, memory, 0, RING_PAGE);
    if (error == 0 && !ring_has_header(memory, dead->size, base)) {
        error = -EINVAL;
    }
    if (error == 0) {
        const struct ring_page *page = (const struct ring_page *)(const void *)memory;
        error = read_part(fd, memory, RING_PAGE, RING_PAGE + page->slots * sizeof(uint64_t));
    }
    error = error != 0 ? error : ring_take_over(&dead->ring, memory, dead->size, base);
    return error != 0 ? error : read_records(fd, memory, &dead->ring);
}

/* A copy: nobody can change it, or cut it off, after it was looked at. A stranger may not take as much memory. */
static int copy(const struct log *log, int fd, struct log_ring *dead)
{
    enum { OF_STRANGERS = 1 << 26 };
    struct stat status;
    int error = sys.fstat(fd, &status);
    size_t most = ring_file_size(dead->strange ? OF_STRANGERS : RING_MOST);
    if (error != 0 || status.st_size < RING_PAGE || (uint64_t)status.st_size > most) {
        return error != 0 ? error : -EINVAL;
    }
    dead->size = (size_t)status.st_size;
    char *memory = sys_reserve(dead->size);
    if (memory == NULL) {
        return -ENOMEM;
    }
    error = read_ring(fd, memory, log->base, dead);
    if (error != 0) {
        sys_give_back(memory, dead->size);
    }
    return error;
}

/* Its process was killed while it made it: there is no page. */
static bool was_never_made(int fd)
{
    struct stat status;
    char first = 0;
    return sys.fstat(fd, &status) == 0 && (sys.pread(fd, &first, 1, 0) <= 0 || first == '\0');
}

/* Its file, if this process may trust it. A descriptor, or -errno. */
static int open_judged(const struct log *log, struct log_ring *dead, int access, int of_log, const struct stat *live,
                       char *name)
{
    struct stat status;
    int error = name_ring(log->lock.name, dead->number, name);
    if (error != 0) {
        return error;
    }
    int fd = own_open(log->lock.directory, name, access | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC, 0);
    if (fd < 0) {
        return fd;
    }
    error = sys.fstat(fd, &status);
    error = error != 0 ? error : judge(log, &status, of_log, live, &dead->strange);
    if (error != 0) {
        sys.close(fd);
    }
    return error != 0 ? error : fd;
}

int log_ring_open(struct log *log, uint64_t number, int of_log, const struct stat *live, struct log_ring *dead)
{
    char name[NAME_SIZE];
    *dead = (struct log_ring){.number = number, .waited = -1, .written = -1, .file = -1};
    int fd = open_judged(log, dead, O_RDWR, of_log, live, name);
    if (fd < 0) {
        return fd;
    }
    int error = take_lock(fd);
    error = error == 0 && !is_at_its_place(log, name, fd) ? -EAGAIN : error; /* somebody was faster */
    error = error != 0 ? error : copy(log, fd, dead);
    if (error == -EINVAL && was_never_made(fd)) {
        sys.unlinkat(log->lock.directory, name, 0);
        error = -ENODATA;
    }
    if (error != 0) {
        sys.close(fd);
        return error;
    }
    dead->file = fd;
    error = own_adopt(&dead->file); /* it may be held for as long as the log's lock is waited for */
    if (error != 0) {
        sys_give_back(dead->ring.page, dead->size);
    }
    return error;
}

int log_ring_read(struct log *log, uint64_t number, int of_log, const struct stat *live, struct log_ring *dead)
{
    char name[NAME_SIZE];
    *dead = (struct log_ring){.number = number, .waited = -1, .written = -1, .file = -1};
    int fd = open_judged(log, dead, O_RDONLY, of_log, live, name);
    if (fd < 0) {
        return fd;
    }
    int error = copy(log, fd, dead);
    sys.close(fd);
    return error;
}

/*
 * The first record may have been taken out in part: its slot says so, before the page says that it is done; killed in
 * between, the next one compares with the file, and does the same again.
 */
int log_ring_note(const struct log_ring *ring)
{
    if (ring->file < 0) {
        return 0;
    }
    size_t slots = ((size_t)ring->ring.slot_mask + 1) * sizeof *ring->ring.slots;
    ssize_t written = sys.pwrite(ring->file, ring->ring.slots, slots, RING_PAGE);
    if (written == (ssize_t)slots) {
        written = sys.pwrite(ring->file, ring->ring.page, RING_PAGE, 0);
        return written == RING_PAGE ? 0 : written < 0 ? (int)written : -EIO;
    }
    return written < 0 ? (int)written : -EIO;
}

void log_ring_remove(const struct log *log, const struct log_ring *ring)
{
    char name[NAME_SIZE];
    if (name_ring(log->lock.name, ring->number, name) == 0) {
        sys.unlinkat(log->lock.directory, name, 0);
    }
}

void log_ring_close(struct log_ring *dead)
{
    sys_give_back(dead->ring.page, dead->size);
    own_close(&dead->file);
    dead->ring.page = NULL;
}
