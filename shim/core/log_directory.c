/*
 * Where a log and its lock file live: the shim's descriptors of the directories, and the lock file's name.
 */
#include "log_private.h"

#include "log_async.h"
#include "name.h"
#include "own.h"
#include "sys.h"

#include "../../include/mplogshim.h"

#include <errno.h>
#include <string.h>

static bool is_directory(const struct directory *directory)
{
    struct stat status;
    return directory->fd >= 0 && sys.fstat(directory->fd, &status) == 0 && status.st_dev == directory->device &&
           status.st_ino == directory->inode;
}

/* Never closes a number that went to the program. */
static void close_directory(struct directory *directory)
{
    if (is_directory(directory)) {
        own_close(&directory->fd);
    } else if (directory->fd >= 0) {
        own_lost(&directory->fd);
    }
}

/* If there is an error, what was open before still is. */
static int take_directory(int fd, struct directory *directory)
{
    struct stat status;
    int error = fd < 0 ? fd : sys.fstat(fd, &status);
    if (error != 0) {
        if (fd >= 0) {
            sys.close(fd);
        }
        return error;
    }
    close_directory(directory);
    directory->device = status.st_dev;
    directory->inode = status.st_ino;
    directory->fd = fd;
    return own_adopt(&directory->fd);
}

enum { DIRECTORY_FLAGS = O_PATH | O_DIRECTORY | O_CLOEXEC };

/* The length of the first component of a path, and of the slashes before it in *slashes. */
static size_t first_component(const char *path, size_t *slashes)
{
    size_t skipped = 0;
    while (path[skipped] == '/') {
        skipped++;
    }
    *slashes = skipped;
    return (size_t)(strchrnul(path + skipped, '/') - (path + skipped));
}

/*
 * The directory of a log by its real path, of which no component is a link. One that is has taken the place of what was
 * there when the path was found, perhaps by somebody who wants files made elsewhere: -ENOTDIR.
 */
static int open_real(const char *path)
{
    char name[NAME_SIZE];
    size_t slashes;
    int fd = own_open(AT_FDCWD, "/", DIRECTORY_FLAGS, 0);
    for (size_t length; fd >= 0 && (length = first_component(path, &slashes)) > 0; path += slashes + length) {
        if (length >= sizeof name) {
            sys.close(fd);
            return -ENAMETOOLONG;
        }
        memcpy(name, path + slashes, length);
        name[length] = '\0';
        int below = own_open(fd, name, DIRECTORY_FLAGS | O_NOFOLLOW, 0);
        sys.close(fd);
        fd = below;
    }
    return fd;
}

/*
 * In lock_dir all logs' lock files lie together: the whole path is the name, with '%' for '/', and "\\p" and "\\b"
 * for '%' and '\\', so that no two paths share one.
 */
static int name_in_lock_directory(const char *path, char *name)
{
    size_t length = 0;
    for (; *path != '\0' && length + 2 + sizeof MPLOGSHIM_LOCK_SUFFIX <= NAME_SIZE; path++) {
        if (*path == '%' || *path == '\\') {
            name[length++] = '\\';
            name[length++] = *path == '%' ? 'p' : 'b';
        } else {
            name[length++] = *path == '/' ? '%' : *path;
        }
    }
    strcpy(name + length, MPLOGSHIM_LOCK_SUFFIX);
    return *path == '\0' ? 0 : -ENAMETOOLONG;
}

int log_open_directory(struct log *log)
{
    int fd = open_real(log->directory_path);
    if (fd >= 0 && log->rule->lock_dir == NULL && is_directory(&log->directory)) {
        log_async_move(log, fd);
    }
    int error = take_directory(fd, &log->directory);
    if (log->rule->lock_dir == NULL) {
        log->lock.directory = log->directory.fd;
    }
    return error;
}

static int open_lock_directory(struct log *log)
{
    if (log->rule->lock_dir == NULL) {
        return 0;
    }
    int error = take_directory(own_open(AT_FDCWD, log->rule->lock_dir, DIRECTORY_FLAGS, 0), &log->lock_directory);
    log->lock.directory = log->lock_directory.fd;
    return error;
}

int log_name_lock(const struct rule *rule, const char *path, char *name)
{
    return rule->lock_dir == NULL ? name_lock(strrchr(path, '/') + 1, name) : name_in_lock_directory(path, name);
}

int log_open_directories(struct log *log)
{
    int error = log_name_lock(log->rule, log->path, log->lock.name);
    error = error != 0 ? error : log_open_directory(log);
    return error != 0 ? error : open_lock_directory(log);
}

void log_close_directories(struct log *log)
{
    close_directory(&log->directory);
    close_directory(&log->lock_directory);
}

static struct stat first_root;

void log_note_root(void)
{
    if (sys.fstatat(AT_FDCWD, "/", &first_root, 0) != 0) {
        first_root.st_ino = 0;
    }
}

bool log_has_first_root(void)
{
    struct stat root;
    return sys.fstatat(AT_FDCWD, "/", &root, 0) == 0 && root.st_ino == first_root.st_ino &&
           root.st_dev == first_root.st_dev;
}

/* Whether the path of the log's directory leads to another one. Where nothing can be seen, it does not. */
static bool is_other_directory(const struct log *log, struct stat *there)
{
    return sys.fstatat(AT_FDCWD, log->directory_path, there, 0) == 0 && S_ISDIR(there->st_mode) &&
           (there->st_dev != log->directory.device || there->st_ino != log->directory.inode);
}

/*
 * Whether another directory has taken the place of the log's: it was moved away and made anew. Not so in a chroot, or
 * where something is mounted over it: there the log is where it was opened.
 */
static bool has_successor(const struct log *log)
{
    struct stat there;
    return is_other_directory(log, &there) && there.st_dev == log->directory.device && log_has_first_root();
}

__attribute__((noinline)) bool log_is_elsewhere(const struct log *log, const struct stat *file)
{
    struct stat there;
    if (log->directory.fd < 0 || (sys.fstatat(log->directory.fd, log->base, &there, AT_SYMLINK_NOFOLLOW) == 0 &&
                                  there.st_dev == file->st_dev && there.st_ino == file->st_ino)) {
        return false;
    }
    return is_other_directory(log, &there) && !has_successor(log);
}

void log_prove_directories(struct log *log)
{
    if (!is_directory(&log->directory) || has_successor(log)) {
        int error = log_open_directory(log);
        if (error != 0 && log->directory.fd >= 0) {
            log_failed(log, TROUBLE_DIRECTORY, "directory", error); /* it goes on where it is */
        }
    } else {
        log_succeeded(log, TROUBLE_DIRECTORY);
    }
    if (log->rule->lock_dir != NULL && !is_directory(&log->lock_directory)) {
        open_lock_directory(log);
    }
    /* The number may have been moved out of the program's way since. */
    log->lock.directory = log->rule->lock_dir != NULL ? log->lock_directory.fd : log->directory.fd;
}

/* The lock file's path of a log that is not open. */
static int lock_path(const char *path, const struct rule *rule, char *out, size_t size)
{
    const char *base = strrchr(path, '/') + 1;
    size_t length = rule->lock_dir != NULL ? strlen(rule->lock_dir) + 1 : (size_t)(base - path);
    if (length + NAME_SIZE > size) {
        return -ENAMETOOLONG;
    }
    if (rule->lock_dir == NULL) {
        memcpy(out, path, length);
        return name_lock(base, out + length);
    }
    memcpy(out, rule->lock_dir, length - 1);
    out[length - 1] = '/';
    return name_in_lock_directory(path, out + length);
}

bool log_has_rotations(const char *path, const struct rule *rule)
{
    static SYS_SELDOM char name[PATH_MAX]; /* under the registry's mutex: signal stacks are small */
    struct stat status;
    return lock_path(path, rule, name, sizeof name) == 0 &&
           sys.fstatat(AT_FDCWD, name, &status, AT_SYMLINK_NOFOLLOW) == 0 && S_ISREG(status.st_mode) &&
           status.st_size > MPLOGSHIM_PAGE_SIZE;
}
