#include "rings.h"

#include "../core/guard.h"
#include "../core/log_async.h"
#include "../core/log_keep.h"
#include "../core/sys.h"

#include <dirent.h>
#include <errno.h>
#include <sys/wait.h>
#include <unistd.h>

/* Whether no process has it mapped any more. */
static bool is_dead(int directory, const char *name)
{
    struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = 0, .l_len = 1, .l_pid = 0};
    int fd = sys.openat(directory, name, O_RDWR | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC, 0);
    if (fd < 0) {
        return false;
    }
    bool dead = sys.fcntl(fd, F_OFD_GETLK, (long)&lock) == 0 && lock.l_type == F_UNLCK;
    sys.close(fd);
    return dead;
}

static bool any_is_dead(const struct lockfile *lock)
{
    bool any = false;
    int fd = sys.openat(lock->directory, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0);
    DIR *directory = fd < 0 ? NULL : fdopendir(fd);
    if (directory == NULL) {
        return false;
    }
    for (struct dirent *entry; !any && (entry = readdir(directory)) != NULL;) {
        uint64_t number;
        any = name_is_ring(lock->name, entry->d_name, &number) && is_dead(lock->directory, entry->d_name);
    }
    closedir(directory);
    return any;
}

static void take_over(const struct settle *settle)
{
    struct stat status;
    guard_forked();
    int fd = sys.openat(settle->directory, settle->base,
                        O_WRONLY | O_APPEND | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC, 0);
    if (fd >= 0 && sys.fstat(fd, &status) == 0 && S_ISREG(status.st_mode)) {
        const struct writer *writer = log_keep(settle->path, &settle->rule, fd, &status);
        if (writer != NULL) {
            log_async_take_over(writer->log);
        }
    }
}

/*
 * By a child: it opens the lock file a second time, and the locks of a process on a file go with any close of it. Like
 * a keeper it obeys its own rule, and attaches to nothing.
 */
void rings_take_over(struct settle *settle)
{
    if (!any_is_dead(settle->lock)) {
        return;
    }
    pid_t child = fork();
    if (child == 0) {
        take_over(settle);
        _exit(0);
    }
    while (child > 0 && waitpid(child, NULL, 0) < 0 && errno == EINTR) {
    }
}
