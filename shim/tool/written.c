#include "written.h"

#include "../core/sys.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* What is known after some of the processes. */
struct search {
    const struct stat *wanted;
    bool found;
    bool unknown; /* some process may not be looked into */
};

/* Reads a small file of /proc. */
static int read_small(int directory, const char *path, char *text, size_t size)
{
    int fd = sys.openat(directory, path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW, 0);
    if (fd < 0) {
        return fd;
    }
    ssize_t length = sys.read(fd, text, size - 1);
    sys.close(fd);
    text[length > 0 ? length : 0] = '\0';
    return length < 0 ? (int)length : 0;
}

/* The number behind "\nkey:\t", or `otherwise`. */
static unsigned long long field(const char *text, const char *key, int base, unsigned long long otherwise)
{
    const char *at = strstr(text, key);
    return at == NULL ? otherwise : strtoull(at + strlen(key), NULL, base);
}

/* Whether there is nothing to be seen because it is gone: every process comes and goes as it likes. */
static bool is_gone(int error)
{
    return error == -ENOENT || error == -ESRCH;
}

/*
 * The kernel's own words about the descriptor come first: a look at the file itself would wait for a file system that
 * hangs, whoever's it is. Before Linux 5.14 they leave the inode out.
 */
static int look_at_descriptor(int process, const char *number, struct search *search)
{
    char path[64];
    char text[1024];
    struct stat status;
    snprintf(path, sizeof path, "fdinfo/%.32s", number);
    int error = read_small(process, path, text, sizeof text);
    if (error != 0) {
        return error;
    }
    bool writable = (field(text, "flags:", 8, O_RDWR) & O_ACCMODE) != O_RDONLY;
    if (!writable || field(text, "\nino:", 10, search->wanted->st_ino) != search->wanted->st_ino) {
        return 0;
    }
    snprintf(path, sizeof path, "fd/%.32s", number);
    error = sys.fstatat(process, path, &status, 0);
    search->found = search->found ||
                    (error == 0 && status.st_dev == search->wanted->st_dev && status.st_ino == search->wanted->st_ino);
    return error;
}

typedef int look_at(int directory, const char *name, struct search *search);

/* Calls `look` for every number in a directory of /proc. */
static int for_each_number(int fd, int directory, look_at *look, struct search *search)
{
    _Alignas(struct dirent64) char entries[4096];
    int error = 0;
    for (ssize_t size = 1; size > 0 && error == 0 && !search->found;) {
        size = sys.getdents64(fd, entries, sizeof entries);
        error = size < 0 ? (int)size : 0;
        for (ssize_t at = 0; at < size && error == 0 && !search->found;) {
            const struct dirent64 *entry = (const struct dirent64 *)(const void *)(entries + at);
            error = isdigit((unsigned char)entry->d_name[0]) ? look(directory, entry->d_name, search) : 0;
            error = is_gone(error) ? 0 : error;
            at += entry->d_reclen;
        }
    }
    return error;
}

static int look_at_process(int directory, const char *number, struct search *search)
{
    int process = sys.openat(directory, number, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW, 0);
    if (process < 0) {
        return process;
    }
    int fd = sys.openat(process, "fdinfo", O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW, 0);
    int error = fd < 0 ? fd : for_each_number(fd, process, look_at_descriptor, search);
    if (fd >= 0) {
        sys.close(fd);
    }
    sys.close(process);
    if (error == -EACCES || error == -EPERM) {
        search->unknown = true;
        error = 0;
    }
    return error;
}

/* With hidepid, other users' processes are not even listed; process 1 then is not there either. */
static int look_everywhere(struct search *search)
{
    struct stat status;
    int directory = sys.openat(AT_FDCWD, "/proc", O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0);
    if (directory < 0) {
        search->unknown = true;
        return directory == -ENOENT || directory == -EACCES ? 0 : directory;
    }
    search->unknown = sys.fstatat(directory, "1", &status, 0) != 0;
    int error = for_each_number(directory, directory, look_at_process, search);
    sys.close(directory);
    return error;
}

/*
 * By its last write: the last change of its state would be that of its last name, and archives are numbered anew at
 * every rotation.
 */
static bool is_young(const struct stat *status)
{
    enum { MINUTE = 60 };
    struct timespec now = {0, 0};
    sys.clock(CLOCK_REALTIME, &now);
    return status->st_mtim.tv_sec > now.tv_sec - MINUTE && status->st_mtim.tv_sec < now.tv_sec + MINUTE;
}

static bool is_without_leases(int error)
{
    return error == -EACCES || error == -EPERM || error == -EINVAL || error == -ENOSYS || error == -EOPNOTSUPP ||
           error == -ENOLCK || error == -ENOTTY;
}

int written_by_somebody(int directory, const char *name)
{
    struct stat status;
    struct sys_signals signals;
    int error = sys.fstatat(directory, name, &status, AT_SYMLINK_NOFOLLOW);
    if (error != 0 || !S_ISREG(status.st_mode)) {
        return error != 0 ? error : -EINVAL;
    }
    sys_signals_block(&signals);
    int written = sys_is_written(directory, name);
    sys_signals_restore(&signals);
    if (written >= 0 || !is_without_leases(written)) {
        return written;
    }
    struct search search = {.wanted = &status};
    error = look_everywhere(&search);
    if (error != 0 || search.found) {
        return error != 0 ? error : 1;
    }
    /* Another user's file may be open in any process that may not be looked into, one's own hardly for so long. */
    return search.unknown && (status.st_uid != geteuid() || is_young(&status));
}
