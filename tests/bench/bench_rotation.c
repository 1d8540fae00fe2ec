/*
 * How long one rotation holds the log's lock.
 *
 *   bench_rotation LOG ROTATIONS
 *
 * Writes to the log through the core, as a hook would, and makes the log larger than max_bytes before each write, with
 * a hole. Prints, for each write that rotated, the nanoseconds from lock to unlock and those of them that making the
 * new file took, which is the file system's part. Nobody settles meanwhile.
 */
#include "../../include/mplogshim.h"
#include "../../shim/core/guard.h"
#include "../../shim/core/log.h"
#include "../../shim/core/sys.h"

#include <err.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum { MAX_BYTES = 10 << 20, LINE_SIZE = 100 };

static struct period_zone zone;
static int64_t locked_at, held_for, created_in;

static int64_t now(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return time.tv_sec * INT64_C(1000000000) + time.tv_nsec;
}

/* The system call of the core's table, with a look at the clock when the lock around writes comes and goes. */
static int timed_fcntl(int fd, int command, long argument)
{
    const struct flock *lock = (const struct flock *)argument;
    bool writes = command == F_SETLK && lock->l_start == MPLOGSHIM_LOCK_WRITE;
    if (writes && lock->l_type == F_UNLCK)
        held_for = now() - locked_at;
    int result = sys_real.fcntl(fd, command, argument);
    if (writes && lock->l_type == F_WRLCK)
        locked_at = now();
    return result;
}

static int timed_openat(int dir, const char *path, int flags, mode_t mode)
{
    int64_t begin = now();
    int result = sys_real.openat(dir, path, flags, mode);
    if (flags & O_CREAT)
        created_in = now() - begin;
    return result;
}

static struct writer *attach(const char *path, const struct rule *rule, int fd)
{
    struct stat status;
    if (fstat(fd, &status) != 0 || !guard_enter())
        err(1, "%s", path);
    struct writer *writer = log_attach(path, rule, fd, O_WRONLY | O_APPEND, false, &status);
    guard_leave();
    if (writer == NULL)
        errx(1, "log_attach failed");
    return writer;
}

/* Returns how long the lock was held. */
static int64_t write_line(struct writer *writer)
{
    static char line[LINE_SIZE] = {[LINE_SIZE - 1] = '\n'};
    const struct iovec vector = {.iov_base = line, .iov_len = LINE_SIZE};
    held_for = -1;
    if (!guard_enter() || log_write(writer, writer->fd, &vector, 1, -1, 0, HOLD_NONE) != LINE_SIZE)
        errx(1, "log_write failed");
    guard_leave();
    return held_for;
}

int main(int count, char **arguments)
{
    if (count != 3 || arguments[1][0] != '/')
        errx(2, "usage: bench_rotation LOG ROTATIONS");
    const char *path = arguments[1];
    const struct rule rule = {
        .pattern = path,
        .pattern_real = path,
        .policy = {.max_bytes = MAX_BYTES, .period = {.unit = PERIOD_NONE, .interval = 1}, .naming = NAMING_NUMBER},
        .lines = LINES_WHOLE,
        .mode = -1,
        .owner = (uid_t)-1,
        .group = (gid_t)-1,
    };
    int fd = open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0644);
    if (fd < 0)
        err(1, "%s", path);
    sys.fcntl = timed_fcntl;
    sys.openat = timed_openat;
    period_zone_utc(&zone);
    guard_start(log_forked);
    log_start(&zone, NULL);
    struct writer *writer = attach(path, &rule, fd);
    write_line(writer);
    for (int i = 0; i < atoi(arguments[2]); i++) {
        if (ftruncate(fd, MAX_BYTES) != 0)
            err(1, "ftruncate");
        int64_t held = write_line(writer);
        struct stat status;
        if (fstat(fd, &status) != 0 || status.st_size != LINE_SIZE)
            errx(1, "nothing was rotated");
        printf("%lld %lld\n", (long long)held, (long long)created_in);
    }
    return 0;
}
