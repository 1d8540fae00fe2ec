/* Whether a lock file says what only this process's user or root can have written. */
#include "lockfile.h"

#include "sys.h"
#include "sys_call.h"

#include <sys/syscall.h>

/*
 * Where there is an access control list, the group's bits are its mask: no entry of it can write without them. One with
 * a second name may be another log's, linked here for the sake of its policy.
 */
bool lockfile_is_trusted(const struct lockfile *lockfile)
{
    struct stat status;
    if (sys.fstat(lockfile->fd, &status) != 0) {
        return false;
    }
    uid_t self = (uid_t)sys_call(SYS_geteuid, 0, 0, 0, 0, 0, 0); /* libc's may be another preloaded library's */
    return (status.st_uid == 0 || status.st_uid == self) && status.st_nlink <= 1 &&
           (status.st_mode & (S_IWGRP | S_IWOTH | S_ISVTX)) == 0;
}

void lockfile_distrust(const struct lockfile *lockfile)
{
    struct stat status;
    if (sys.fstat(lockfile->fd, &status) == 0 && (status.st_mode & S_ISVTX) == 0) {
        sys.fchmod(lockfile->fd, (status.st_mode & 0777) | S_ISVTX);
    }
}
