/*
 * Opening what lies at the live path, where somebody else may put anything at any moment: a link, a FIFO that nobody
 * reads, a second name of another file. The look at what was opened comes before the first byte.
 */
#include "log_private.h"

#include "diag.h"
#include "own.h"
#include "sys.h"

#include <errno.h>

/*
 * In a directory where others make files, a file with two names may be one of the process's own that somebody gave the
 * log's name. (A rotation without RENAME_EXCHANGE that was killed leaves two, until the next one.)
 */
static bool is_somebodys(const struct log *log, const struct stat *status)
{
    struct stat directory;
    return status->st_nlink > 1 && sys.fstat(log->directory.fd, &directory) == 0 &&
           (directory.st_mode & (S_IWGRP | S_IWOTH)) != 0;
}

int log_open_plain(const struct log *log, int flags)
{
    struct stat status;
    int fd = own_open(log->directory.fd, log->base, flags | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC, 0);
    if (fd < 0) {
        return fd == -ENXIO ? -EINVAL : fd; /* a FIFO without a reader, or a socket */
    }
    int error = sys.fstat(fd, &status);
    if (error == 0 && !S_ISREG(status.st_mode)) {
        error = -EINVAL;
    }
    if (error == 0 && is_somebodys(log, &status)) {
        error = -EMLINK;
    }
    if (error != 0) {
        sys.close(fd);
        return error;
    }
    return fd;
}

/*
 * The program would see O_NOFOLLOW in its flags, and O_NONBLOCK: the same file is opened once more by the descriptor
 * itself, unless it asked for O_NOFOLLOW, which that does not take. There, and where there is no /proc, only the one
 * that matters goes.
 */
int log_open_as(const struct log *log, int flags)
{
    char path[40];
    int fd = log_open_plain(log, flags);
    if (fd < 0) {
        return fd;
    }
    diag_format(path, sizeof path, "/proc/thread-self/fd/%d", fd);
    int plain = (flags & O_NOFOLLOW) != 0 ? -ELOOP : own_open(AT_FDCWD, path, flags, 0);
    if (plain >= 0) {
        sys.close(fd);
        return plain;
    }
    if ((flags & O_NONBLOCK) == 0) {
        sys.fcntl(fd, F_SETFL, flags);
    }
    return fd;
}
