#include "lockfile.h"

#include "../../include/mplogshim.h"
#include "diag.h"
#include "own.h"
#include "sys.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

/* The page: lines of fixed width at fixed places, so that each is rewritten alone by whoever holds its lock. */
enum { MAGIC_SIZE = 16, FIELD_SIZE = 32, RECORD_SIZE = 64, RECORD_OFFSET = 128 };
static const char magic[MAGIC_SIZE + 1] = "mplogshim 1    \n";
static const char *const field_names[LOCKFILE_FIELDS] = {[LOCKFILE_BEGUN] = "begun=", [LOCKFILE_SETTLED] = "settled="};

static int64_t min_length(int64_t length)
{
    return length < MPLOGSHIM_PAGE_SIZE ? MPLOGSHIM_PAGE_SIZE : length;
}

/* Gives a lock file that this process just created the log's owner and permissions. What is not permitted stays. */
static void own_as_log(int fd, const struct stat *log)
{
    if (log->st_uid != geteuid() && sys.fchown(fd, log->st_uid, log->st_gid) != 0) {
        sys.fchown(fd, (uid_t)-1, log->st_gid);
    } else if (log->st_gid != getegid()) {
        sys.fchown(fd, (uid_t)-1, log->st_gid);
    }
    sys.fchmod(fd, log->st_mode & 0666);
}

static int open_file(struct lockfile *lockfile, const struct stat *log)
{
    const int flags = O_RDWR | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK | O_NOCTTY;
    for (int attempt = 0; attempt < 3; attempt++) {
        int fd = own_open(lockfile->directory, lockfile->name, flags, 0);
        if (fd != -ENOENT) {
            return fd;
        }
        fd = own_open(lockfile->directory, lockfile->name, flags | O_CREAT | O_EXCL, 0600);
        if (fd >= 0) {
            own_as_log(fd, log);
        }
        if (fd != -EEXIST) {
            return fd;
        }
    }
    return -EAGAIN;
}

static int write_page(int fd)
{
    struct sys_signals signals;
    sys_signals_block(&signals); /* RLIMIT_FSIZE may be less than a page */
    int error = sys.ftruncate(fd, MPLOGSHIM_PAGE_SIZE);
    if (error == 0) {
        sys.pwrite(fd, magic, MAGIC_SIZE, 0);
    }
    sys_signals_restore(&signals);
    return error;
}

int lockfile_open(struct lockfile *lockfile, const struct stat *log)
{
    struct stat status;
    lockfile_close(lockfile);
    int fd = open_file(lockfile, log);
    if (fd < 0) {
        return fd;
    }
    int error = sys.fstat(fd, &status);
    if (error == 0 && !S_ISREG(status.st_mode)) {
        error = S_ISDIR(status.st_mode) ? -EISDIR : -EINVAL;
    }
    if (error == 0 && status.st_size < MPLOGSHIM_PAGE_SIZE) {
        error = write_page(fd);
    }
    if (error != 0) {
        sys.close(fd);
        return error;
    }
    lockfile->device = status.st_dev;
    lockfile->inode = status.st_ino;
    lockfile->fd = fd;
    return own_adopt(&lockfile->fd);
}

static bool is_file(const struct lockfile *lockfile, const struct stat *status)
{
    return status->st_dev == lockfile->device && status->st_ino == lockfile->inode;
}

void lockfile_close(struct lockfile *lockfile)
{
    struct stat status;
    if (lockfile->fd >= 0 && sys.fstat(lockfile->fd, &status) == 0 && is_file(lockfile, &status)) {
        own_close(&lockfile->fd);
    } else if (lockfile->fd >= 0) {
        own_lost(&lockfile->fd);
    }
}

bool lockfile_is_current(struct lockfile *lockfile)
{
    struct stat mine;
    struct stat there;
    if (lockfile->fd < 0) {
        return false;
    }
    if (sys.fstat(lockfile->fd, &mine) != 0 || !is_file(lockfile, &mine)) {
        own_lost(&lockfile->fd);
        return false;
    }
    int error = sys.fstatat(lockfile->directory, lockfile->name, &there, AT_SYMLINK_NOFOLLOW);
    if (error == -ENOENT || error == -ENOTDIR) {
        return false;
    }
    /* Other errors (a directory that may not be searched any more) say nothing about the file. */
    return error != 0 || is_file(lockfile, &there);
}

static int set_lock(const struct lockfile *lockfile, int byte, short type)
{
    struct flock lock = {.l_type = type, .l_whence = SEEK_SET, .l_start = byte, .l_len = 1};
    return sys.fcntl(lockfile->fd, F_SETLK, (long)&lock);
}

/* Held by somebody else (either error, by POSIX), or not asked to the end. */
static bool is_busy(int error)
{
    return error == -EAGAIN || error == -EACCES || error == -EINTR;
}

/*
 * F_SETLK with sleeps that double from 20 microseconds to 1 millisecond: under contention as fast as F_SETLKW, and it
 * can keep a deadline (DESIGN section 1).
 */
int lockfile_acquire(const struct lockfile *lockfile, int byte, uint64_t timeout_ns)
{
    int error = set_lock(lockfile, byte, F_WRLCK);
    if (!is_busy(error) || timeout_ns == UINT64_MAX) {
        return is_busy(error) ? -EAGAIN : error;
    }
    int64_t deadline = timeout_ns == 0 ? INT64_MAX : sys_now(CLOCK_MONOTONIC) + (int64_t)timeout_ns;
    struct timespec pause = {.tv_sec = 0, .tv_nsec = 20000};
    while (is_busy(error)) {
        if (deadline != INT64_MAX && sys_now(CLOCK_MONOTONIC) >= deadline) {
            return -ETIMEDOUT;
        }
        sys.sleep(&pause);
        pause.tv_nsec = pause.tv_nsec >= 500000 ? 1000000 : pause.tv_nsec * 2;
        error = set_lock(lockfile, byte, F_WRLCK);
    }
    return error;
}

void lockfile_release(const struct lockfile *lockfile, int byte)
{
    set_lock(lockfile, byte, F_UNLCK);
}

int64_t lockfile_generation(const struct lockfile *lockfile)
{
    int64_t length = sys.lseek(lockfile->fd, 0, SEEK_END);
    return length < 0 ? length : min_length(length) - MPLOGSHIM_PAGE_SIZE;
}

int lockfile_advance(const struct lockfile *lockfile, int64_t generation)
{
    return sys.ftruncate(lockfile->fd, MPLOGSHIM_PAGE_SIZE + generation + 1);
}

static off_t field_offset(enum lockfile_field field)
{
    return MAGIC_SIZE + FIELD_SIZE * (off_t)field;
}

static bool parse_decimal(const char *text, size_t length, int64_t *value)
{
    bool negative = text[0] == '-';
    int64_t number = 0;
    if (text[0] != '-' && text[0] != '+') {
        return false;
    }
    for (size_t i = 1; i < length; i++) {
        if (text[i] < '0' || text[i] > '9' || number > (INT64_MAX - 9) / 10) {
            return false;
        }
        number = number * 10 + (text[i] - '0');
    }
    *value = negative ? -number : number;
    return true;
}

bool lockfile_read(const struct lockfile *lockfile, enum lockfile_field field, int64_t *value)
{
    char line[FIELD_SIZE];
    size_t head = strlen(field_names[field]);
    if (sys.pread(lockfile->fd, line, sizeof line, field_offset(field)) != (ssize_t)sizeof line) {
        return false;
    }
    return memcmp(line, field_names[field], head) == 0 && line[FIELD_SIZE - 1] == '\n' &&
           parse_decimal(line + head, FIELD_SIZE - 1 - head, value);
}

/* `value` as a sign and decimal digits that fill text[size]. */
static void put_decimal(char *text, size_t size, int64_t value)
{
    uint64_t rest = value < 0 ? 0 - (uint64_t)value : (uint64_t)value;
    text[0] = value < 0 ? '-' : '+';
    for (size_t i = size - 1; i > 0; i--) {
        text[i] = (char)('0' + rest % 10);
        rest /= 10;
    }
}

int lockfile_write(const struct lockfile *lockfile, enum lockfile_field field, int64_t value)
{
    char line[FIELD_SIZE];
    size_t head = strlen(field_names[field]);
    memcpy(line, field_names[field], head);
    put_decimal(line + head, FIELD_SIZE - 1 - head, value);
    line[FIELD_SIZE - 1] = '\n';
    ssize_t written = sys.pwrite(lockfile->fd, line, sizeof line, field_offset(field));
    return written < 0 ? (int)written : 0;
}

/* "record=" and three decimal numbers of these widths, and a newline. */
enum { RECORD_HEAD = 7, RECORD_GENERATION = 16, RECORD_NUMBER = 20 };

void lockfile_announce(const struct lockfile *lockfile, int64_t generation, int64_t start, int64_t length)
{
    char line[RECORD_SIZE];
    memcpy(line, "record=", RECORD_HEAD);
    put_decimal(line + RECORD_HEAD, RECORD_GENERATION, generation);
    put_decimal(line + RECORD_HEAD + RECORD_GENERATION, RECORD_NUMBER, start);
    put_decimal(line + RECORD_HEAD + RECORD_GENERATION + RECORD_NUMBER, RECORD_NUMBER, length);
    line[RECORD_SIZE - 1] = '\n';
    sys.pwrite(lockfile->fd, line, sizeof line, RECORD_OFFSET);
}

bool lockfile_is_broken(const struct lockfile *lockfile, int64_t generation, int64_t size)
{
    char line[RECORD_SIZE];
    int64_t of;
    int64_t start;
    int64_t length;
    if (sys.pread(lockfile->fd, line, sizeof line, RECORD_OFFSET) != (ssize_t)sizeof line ||
        memcmp(line, "record=", RECORD_HEAD) != 0 || !parse_decimal(line + RECORD_HEAD, RECORD_GENERATION, &of) ||
        !parse_decimal(line + RECORD_HEAD + RECORD_GENERATION, RECORD_NUMBER, &start) ||
        !parse_decimal(line + RECORD_HEAD + RECORD_GENERATION + RECORD_NUMBER, RECORD_NUMBER, &length)) {
        return false;
    }
    return of == generation && start < size && length > size - start;
}
