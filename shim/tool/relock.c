#include "relock.h"

#include "rings.h"

#include "../core/sys.h"

#include <dirent.h>
#include <errno.h>
#include <string.h>
#include <unistd.h>

/* The archive that waits for its name and was the live file last: its name, "" if there is none, and what it says. */
struct pending {
    char file[NAME_SIZE];
    struct name name;
};

static void find_pending(const struct settle *settle, struct pending *newest)
{
    struct stat status;
    newest->file[0] = '\0';
    int fd = sys.openat(settle->directory, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0);
    DIR *directory = fd < 0 ? NULL : fdopendir(fd);
    if (directory == NULL) {
        return;
    }
    for (const struct dirent *entry; (entry = readdir(directory)) != NULL;) {
        struct name name = name_parse(settle->base, entry->d_name);
        if (name.kind == NAME_PENDING && (newest->file[0] == '\0' || name_compare(&name, &newest->name) > 0) &&
            sys.fstatat(settle->directory, entry->d_name, &status, AT_SYMLINK_NOFOLLOW) == 0 &&
            S_ISREG(status.st_mode)) {
            strcpy(newest->file, entry->d_name);
            newest->name = name;
        }
    }
    closedir(directory);
}

bool relock_any_pending(const struct settle *settle)
{
    struct pending newest;
    find_pending(settle, &newest);
    return newest.file[0] != '\0';
}

static int open_plain(int directory, const char *name, int flags, struct stat *status)
{
    int fd = sys.openat(directory, name, flags | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC, 0);
    int error = fd < 0 ? fd : sys.fstat(fd, status);
    error = error == 0 && !S_ISREG(status->st_mode) ? -EINVAL : error;
    if (fd >= 0 && error != 0) {
        sys.close(fd);
    }
    return error != 0 && fd >= 0 ? error : fd;
}

/*
 * In lock_dir others may put files who may not where the log is: the owner of one there is not who the log is to
 * belong to.
 */
static bool may_own(const struct settle *settle, const struct stat *status)
{
    return settle->rule.lock_dir == NULL || status->st_uid == 0 || status->st_uid == geteuid();
}

/* What tells whose the lock file is: the live file, what was it last, or at least a buffer of who wrote it. */
static int open_model(const struct settle *settle, const struct pending *pending, const char *ring, struct stat *status)
{
    int fd = open_plain(settle->directory, settle->base, O_WRONLY | O_APPEND, status);
    if (fd == -ENOENT && pending->file[0] != '\0') {
        fd = open_plain(settle->directory, pending->file, O_RDONLY, status);
    }
    if (fd == -ENOENT && ring[0] != '\0') {
        fd = open_plain(settle->lock->directory, ring, O_RDONLY, status);
        if (fd >= 0 && !may_own(settle, status)) {
            sys.close(fd);
            return -EPERM;
        }
    }
    return fd;
}

/* Generations go on behind those that are there: none of their archives waits for elders. */
static void go_on_behind(const struct lockfile *lock, const struct pending *newest)
{
    const uint64_t most = UINT64_C(1) << 40; /* a larger one is nobody's */
    if (newest->file[0] != '\0' && newest->name.generation < most && lockfile_generation(lock) == 0) {
        lockfile_advance(lock, (int64_t)newest->name.generation);
    }
}

int relock(struct settle *settle)
{
    struct pending newest;
    struct rings_left left;
    struct stat status;
    find_pending(settle, &newest);
    rings_find_dead(settle->lock, &left);
    if (newest.file[0] == '\0' && left.count == 0) {
        return -ENOENT;
    }
    int fd = open_model(settle, &newest, left.first, &status);
    if (fd < 0) {
        return fd;
    }
    int error = lockfile_open(settle->lock, fd, &status);
    sys.close(fd);
    if (error == 0) {
        go_on_behind(settle->lock, &newest);
    }
    return error;
}
