#include "lockfile.h"

#include "../../include/mplogshim.h"
#include "acl.h"
#include "diag.h"
#include "mode.h"
#include "own.h"
#include "policy.h"
#include "sys.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

/* The page: lines of fixed width at fixed places, so that each is rewritten alone by whoever holds its lock. */
enum {
    MAGIC_SIZE = 16,
    FIELD_SIZE = 32,
    RECORD_OFFSET = 128,
    RECORD_SIZE = 64,
    ASKED_OFFSET = 512,
    POLICY_OFFSET = 1024,
    POLICY_SIZE = POLICY_WORDS * POLICY_WORD_SIZE,
};
static const char magic[MAGIC_SIZE + 1] = "mplogshim 1    \n";
static const struct {
    const char *head;
    off_t offset;
} fields[LOCKFILE_FIELDS] = {
    [LOCKFILE_BEGUN] = {"begun=", 16},
    [LOCKFILE_SETTLED] = {"settled=", 48},
    [LOCKFILE_FAILED] = {"failed=", 80},
    [LOCKFILE_KEEPER] = {"keeper=", 256},
    [LOCKFILE_RINGS] = {"rings=", 224},
    [LOCKFILE_BATCH] = {"batch=", RECORD_OFFSET + RECORD_SIZE}, /* both are written at once */
};

static int64_t min_length(int64_t length)
{
    return length < MPLOGSHIM_PAGE_SIZE ? MPLOGSHIM_PAGE_SIZE : length;
}

/* Gives a lock file that this process just created the log's owner and permissions. What is not permitted stays. */
static __attribute__((noinline)) void own_as_log(int fd, int like, const struct stat *log)
{
    struct stat made;
    if (log->st_uid != geteuid() && sys.fchown(fd, log->st_uid, log->st_gid) != 0) {
        sys.fchown(fd, (uid_t)-1, log->st_gid);
    } else if (log->st_gid != getegid()) {
        sys.fchown(fd, (uid_t)-1, log->st_gid);
    }
    if (sys.fstat(fd, &made) == 0) {
        mode_t mode = mode_without(log->st_mode, made.st_uid == log->st_uid, made.st_gid == log->st_gid);
        like < 0 ? sys.fchmod(fd, mode & 0666) : acl_dress(fd, like, log, mode & 0666);
    }
}

static int open_file(struct lockfile *lockfile, int like, const struct stat *log)
{
    const int flags = O_RDWR | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK | O_NOCTTY;
    for (int attempt = 0; attempt < 3; attempt++) {
        int fd = own_open(lockfile->directory, lockfile->name, flags, 0);
        if (fd != -ENOENT || log == NULL) {
            return fd;
        }
        fd = own_open(lockfile->directory, lockfile->name, flags | O_CREAT | O_EXCL, 0600);
        if (fd >= 0) {
            own_as_log(fd, like, log);
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

/* A file that has other names, and no page, is not a lock file: somebody linked it here, to have it written to. */
static bool is_linked_here(int fd, const struct stat *status)
{
    char head[MAGIC_SIZE];
    return status->st_nlink > 1 &&
           (sys.pread(fd, head, sizeof head, 0) != (ssize_t)sizeof head || memcmp(head, magic, sizeof head) != 0);
}

int lockfile_open(struct lockfile *lockfile, int like, const struct stat *log)
{
    struct stat status;
    lockfile_close(lockfile);
    int fd = open_file(lockfile, like, log);
    if (fd < 0) {
        return fd;
    }
    uid_t owner = sys.fstat(fd, &status) == 0 ? status.st_uid : 0;
    lockfile->strange = log != NULL && owner != 0 && owner != geteuid() && owner != log->st_uid;
    return lockfile_take(lockfile, fd);
}

int lockfile_take(struct lockfile *lockfile, int fd)
{
    struct stat status;
    int error = sys.fstat(fd, &status);
    if (error == 0 && !S_ISREG(status.st_mode)) {
        error = S_ISDIR(status.st_mode) ? -EISDIR : -EINVAL;
    }
    if (error == 0 && is_linked_here(fd, &status)) {
        error = -EMLINK;
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
    lockfile->shared = false;
    lockfile->unseen = false;
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
    lockfile->attached = false;
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
        lockfile->attached = false;
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
 * How long is slept before the next attempt, at most. Who has slept for more than a millisecond is one of many; if 31
 * of them woke up each millisecond, that would take the writer in their midst a seventh of its time. Who is in a hurry
 * tries more often, and who was unlucky for a second, on a machine that is busy with other things, most of all.
 */
static int64_t longest_pause(uint64_t timeout_ns, int64_t waited)
{
    enum { ATTEMPTS = 64, LEAST = 1000000, MOST = 4000000, UNLUCKY = 1000000000 };
    uint64_t share = timeout_ns == 0 ? MOST : timeout_ns / ATTEMPTS;
    if (waited >= UNLUCKY) {
        return LEAST / 2;
    }
    return share < LEAST ? LEAST : share < MOST ? (int64_t)share : MOST;
}

/*
 * F_SETLK with sleeps that double from 20 microseconds on: under contention as fast as F_SETLKW, and it can keep a
 * deadline. Who is not attached, and finds the writers' lock taken a second time, says that it waits: processes whose
 * threads hand it on know of the others.
 */
int lockfile_acquire(const struct lockfile *lockfile, int byte, uint64_t timeout_ns)
{
    int error = set_lock(lockfile, byte, F_WRLCK);
    if (!is_busy(error) || timeout_ns == UINT64_MAX) {
        return is_busy(error) ? -EAGAIN : error;
    }
    int64_t begun = sys_now(CLOCK_MONOTONIC);
    int64_t pause = 20000;
    bool tells = byte == MPLOGSHIM_LOCK_WRITE && (!lockfile->attached || lockfile->unseen);
    bool told = false;
    while (is_busy(error)) {
        int64_t waited = sys_now(CLOCK_MONOTONIC) - begun;
        int64_t longest = longest_pause(timeout_ns, waited);
        int64_t left = timeout_ns == 0 ? INT64_MAX : (int64_t)timeout_ns - waited;
        if (left <= 0) {
            error = -ETIMEDOUT;
            break;
        }
        const struct timespec next = {.tv_sec = 0, .tv_nsec = pause < left ? pause : left};
        sys.sleep(&next);
        error = set_lock(lockfile, byte, F_WRLCK);
        if (is_busy(error) && tells && !told) {
            set_lock(lockfile, MPLOGSHIM_LOCK_WAITING, F_RDLCK);
            told = true;
        }
        pause = 2 * pause < longest ? 2 * pause : longest;
    }
    if (told) {
        set_lock(lockfile, MPLOGSHIM_LOCK_WAITING, F_UNLCK);
    }
    return error;
}

void lockfile_release(const struct lockfile *lockfile, int byte)
{
    set_lock(lockfile, byte, F_UNLCK);
}

bool lockfile_is_held(const struct lockfile *lockfile, int byte)
{
    struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = byte, .l_len = 1};
    return sys.fcntl(lockfile->fd, F_GETLK, (long)&lock) == 0 && lock.l_type != F_UNLCK;
}

bool lockfile_is_shared(const struct lockfile *lockfile)
{
    return lockfile_has_others(lockfile) || lockfile_is_held(lockfile, MPLOGSHIM_LOCK_WAITING);
}

/*
 * An OFD lock is the open file description's: unlike a POSIX lock it outlives the process that took it as long as a
 * fork child has the descriptor, and it is not lost when another descriptor of the file is closed.
 */
int lockfile_attach(struct lockfile *lockfile)
{
    struct flock lock = {
        .l_type = F_RDLCK, .l_whence = SEEK_SET, .l_start = MPLOGSHIM_LOCK_ATTACHED, .l_len = 1, .l_pid = 0};
    int error = sys.fcntl(lockfile->fd, F_OFD_SETLK, (long)&lock);
    lockfile->attached = error == 0;
    return error;
}

bool lockfile_has_others(const struct lockfile *lockfile)
{
    struct flock lock = {
        .l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = MPLOGSHIM_LOCK_ATTACHED, .l_len = 1, .l_pid = 0};
    return sys.fcntl(lockfile->fd, F_OFD_GETLK, (long)&lock) == 0 && lock.l_type != F_UNLCK;
}

int64_t lockfile_generation(const struct lockfile *lockfile)
{
    int64_t length = sys.lseek(lockfile->fd, 0, SEEK_END);
    return length < 0 ? length : min_length(length) - MPLOGSHIM_PAGE_SIZE;
}

bool lockfile_is_short(const struct lockfile *lockfile)
{
    int64_t length = sys.lseek(lockfile->fd, 0, SEEK_END);
    return length >= 0 && length < MPLOGSHIM_PAGE_SIZE;
}

/*
 * No log is rotated a million million times: a length beyond that is a stranger's, who may have gone to the end of
 * what the file system allows, where no file can be made longer. Then the count starts anew; at 1, because 0 would say
 * that the log was never rotated. Generations are compared for being the same, so that everybody looks again;
 * an archive that still has a pending name of the large generation counts as newer than those of the small ones.
 */
int lockfile_advance(const struct lockfile *lockfile, int64_t generation)
{
    const int64_t most = INT64_C(1) << 40;
    int64_t next = generation < most ? generation + 1 : 1;
    return sys.ftruncate(lockfile->fd, MPLOGSHIM_PAGE_SIZE + next);
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
    return lockfile_read_from(lockfile->fd, field, value);
}

bool lockfile_read_from(int fd, enum lockfile_field field, int64_t *value)
{
    char line[FIELD_SIZE];
    size_t head = strlen(fields[field].head);
    if (sys.pread(fd, line, sizeof line, fields[field].offset) != (ssize_t)sizeof line) {
        return false;
    }
    return memcmp(line, fields[field].head, head) == 0 && line[FIELD_SIZE - 1] == '\n' &&
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

/* A field: name, "=", sign and digits, newline. */
static void make_field(char line[FIELD_SIZE], const char *name, int64_t value)
{
    size_t head = strlen(name);
    memcpy(line, name, head);
    put_decimal(line + head, FIELD_SIZE - 1 - head, value);
    line[FIELD_SIZE - 1] = '\n';
}

/* At its place. */
static int write_field(const struct lockfile *lockfile, const char *name, off_t offset, int64_t value)
{
    char line[FIELD_SIZE];
    make_field(line, name, value);
    struct sys_signals signals;
    sys_signals_block(&signals); /* RLIMIT_FSIZE may be less than this offset */
    ssize_t written = sys.pwrite(lockfile->fd, line, sizeof line, offset);
    sys_signals_restore(&signals);
    return written < 0 ? (int)written : 0;
}

int lockfile_write(const struct lockfile *lockfile, enum lockfile_field field, int64_t value)
{
    return write_field(lockfile, fields[field].head, fields[field].offset, value);
}

/* What is written says nothing; it differs from the time before so that a person who looks sees that it is alive. */
void lockfile_ask(const struct lockfile *lockfile)
{
    write_field(lockfile, "asked=", ASKED_OFFSET, sys_now(CLOCK_REALTIME_COARSE));
}

/* A line of a policy as it is recorded. */
static void make_policy_line(const struct policy *policy, int which, char line[POLICY_WORD_SIZE])
{
    policy_word(policy, which, line);
    size_t length = strlen(line);
    memset(line + length, ' ', POLICY_WORD_SIZE - 1 - length);
    line[POLICY_WORD_SIZE - 1] = '\n';
}

/* Whether these are the lines of a policy, byte for byte. One at a time: signal stacks are small. */
static bool are_policy_lines(const struct policy *policy, const char lines[POLICY_SIZE])
{
    bool same = true;
    for (int i = 0; i < POLICY_WORDS; i++) {
        char line[POLICY_WORD_SIZE];
        make_policy_line(policy, i, line);
        same = same && memcmp(lines + (size_t)i * POLICY_WORD_SIZE, line, sizeof line) == 0;
    }
    return same;
}

/* Apart, as is the writing: signal stacks are small, and a difference is told when the lines have been read. */
__attribute__((noinline)) bool lockfile_read_policy(const struct lockfile *lockfile, struct policy *policy)
{
    char lines[POLICY_SIZE];
    struct policy read = {.period = {.interval = 1}};
    if (sys.pread(lockfile->fd, lines, sizeof lines, POLICY_OFFSET) != (ssize_t)sizeof lines) {
        return false;
    }
    for (int i = 0; i < POLICY_WORDS; i++) {
        char word[POLICY_WORD_SIZE];
        size_t length = POLICY_WORD_SIZE - 1;
        memcpy(word, lines + (size_t)i * POLICY_WORD_SIZE, length);
        while (length > 0 && word[length - 1] == ' ') {
            length--;
        }
        word[length] = '\0';
        if (!policy_set_word(&read, i, word)) {
            return false;
        }
    }
    if (!policy_is_valid(&read) || !are_policy_lines(&read, lines)) {
        return false;
    }
    *policy = read;
    return true;
}

/* In one call: no reader sees half of it. */
__attribute__((noinline)) int lockfile_write_policy(const struct lockfile *lockfile, const struct policy *policy)
{
    char lines[POLICY_SIZE];
    struct sys_signals signals;
    for (int i = 0; i < POLICY_WORDS; i++) {
        make_policy_line(policy, i, lines + (size_t)i * POLICY_WORD_SIZE);
    }
    sys_signals_block(&signals); /* RLIMIT_FSIZE may be less than this offset */
    ssize_t written = sys.pwrite(lockfile->fd, lines, sizeof lines, POLICY_OFFSET);
    sys_signals_restore(&signals);
    if (written < 0) {
        return (int)written;
    }
    return written == (ssize_t)sizeof lines ? 0 : -EIO;
}

/* "record=" and three decimal numbers of these widths, and a newline. */
enum { RECORD_HEAD = 7, RECORD_GENERATION = 16, RECORD_NUMBER = 20 };

void lockfile_announce(const struct lockfile *lockfile, int64_t generation, int64_t start, int64_t length,
                       int64_t batch)
{
    char line[RECORD_SIZE + FIELD_SIZE];
    memcpy(line, "record=", RECORD_HEAD);
    put_decimal(line + RECORD_HEAD, RECORD_GENERATION, generation);
    put_decimal(line + RECORD_HEAD + RECORD_GENERATION, RECORD_NUMBER, start);
    put_decimal(line + RECORD_HEAD + RECORD_GENERATION + RECORD_NUMBER, RECORD_NUMBER, length);
    line[RECORD_SIZE - 1] = '\n';
    if (batch != 0) {
        make_field(line + RECORD_SIZE, fields[LOCKFILE_BATCH].head, batch);
    }
    sys.pwrite(lockfile->fd, line, batch != 0 ? sizeof line : RECORD_SIZE, RECORD_OFFSET);
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
