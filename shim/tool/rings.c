#include "rings.h"

#include "../core/guard.h"
#include "../core/log_async.h"
#include "../core/log_keep.h"
#include "../core/sys.h"

#include <dirent.h>
#include <errno.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

enum { FLAGS = O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC };

/* Whether a process has made it, and none has it mapped any more. */
static bool is_dead(int fd, struct stat *status)
{
    struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = 0, .l_len = 1, .l_pid = 0};
    char first;
    return sys.fstat(fd, status) == 0 && S_ISREG(status->st_mode) && sys.pread(fd, &first, 1, 0) == 1 &&
           first != '\0' && sys.fcntl(fd, F_OFD_GETLK, (long)&lock) == 0 && lock.l_type == F_UNLCK;
}

static void look_at(int directory, const char *name, struct rings_left *left)
{
    struct stat status;
    int fd = sys.openat(directory, name, O_RDWR | FLAGS, 0);
    if (fd < 0) {
        return;
    }
    if (is_dead(fd, &status) && left->count++ == 0) {
        strcpy(left->first, name);
        left->owner = status.st_uid;
    }
    sys.close(fd);
}

void rings_find_dead(const struct lockfile *lock, struct rings_left *left)
{
    *left = (struct rings_left){.count = 0};
    int fd = sys.openat(lock->directory, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0);
    DIR *directory = fd < 0 ? NULL : fdopendir(fd);
    if (directory == NULL) {
        return;
    }
    for (const struct dirent *entry; (entry = readdir(directory)) != NULL;) {
        uint64_t number;
        if (name_is_ring(lock->name, entry->d_name, &number)) {
            look_at(lock->directory, entry->d_name, left);
        }
    }
    closedir(directory);
}

/*
 * The live file; or where there is none, what tells how it is to be made: the lock file, which has its owner and
 * permissions, by a descriptor that nothing can be written to. In lock_dir others may put files who may not where the
 * log is.
 */
static int open_log(const struct settle *settle, struct stat *status)
{
    int fd = sys.openat(settle->directory, settle->base, O_WRONLY | O_APPEND | FLAGS, 0);
    bool gone = fd == -ENOENT;
    if (gone) {
        fd = sys.openat(settle->lock->directory, settle->lock->name, O_RDONLY | FLAGS, 0);
    }
    if (fd >= 0 && (sys.fstat(fd, status) != 0 || !S_ISREG(status->st_mode))) {
        return -EINVAL;
    }
    bool strange = gone && settle->rule.lock_dir != NULL && fd >= 0 && status->st_uid != 0;
    return strange && status->st_uid != geteuid() ? -EPERM : fd;
}

/* Nothing is written before the live file is there: what a look makes of the other one is that. */
static void take_over(const struct settle *settle)
{
    struct stat status;
    guard_forked();
    int fd = open_log(settle, &status);
    struct writer *writer = fd < 0 ? NULL : log_keep(settle->path, &settle->rule, fd, &status);
    if (writer == NULL) {
        return;
    }
    log_follow(writer, fd);
    if (sys.fstatat(settle->directory, settle->base, &status, AT_SYMLINK_NOFOLLOW) == 0 &&
        status.st_ino == writer->inode && status.st_dev == writer->device) {
        log_async_take_over(writer->log);
    }
}

/*
 * By a child: it opens the lock file a second time, and the locks of a process on a file go with any close of it. Like
 * a keeper it obeys its own rule, and attaches to nothing.
 */
void rings_take_over(struct settle *settle)
{
    rings_find_dead(settle->lock, &settle->left);
    if (settle->left.count == 0) {
        return;
    }
    pid_t child = fork();
    if (child == 0) {
        take_over(settle);
        _exit(0);
    }
    while (child > 0 && waitpid(child, NULL, 0) < 0 && errno == EINTR) {
    }
    rings_find_dead(settle->lock, &settle->left);
}
