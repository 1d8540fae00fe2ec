/*
 * Opening: O_APPEND and `truncate` for logs, and what everything else that is opened is taken for.
 */
#include "descriptor_private.h"

#include "real.h"

#include "mplogshim.h"

#include <errno.h>
#include <string.h>

/* Whether a path is named as a lock file, beside a log or in a lock_dir. */
static bool names_lock_file(const char *path)
{
    const char *slash = strrchr(path, '/');
    const char *base = slash == NULL ? path : slash + 1;
    size_t length = strlen(base);
    size_t suffix = strlen(MPLOGSHIM_LOCK_SUFFIX);
    return (base[0] == '.' || base[0] == '%') && length > suffix &&
           strcmp(base + length - suffix, MPLOGSHIM_LOCK_SUFFIX) == 0;
}

/* What O_TRUNC is about to meet. */
enum truncated { TRUNCATED_OTHER, TRUNCATED_LOG, TRUNCATED_NEW };

/* O_TRUNC was kept from the kernel: do what the rule says, or what O_TRUNC would have done. */
static void truncate_opened(int fd, enum truncated what)
{
    struct rare rare;
    struct writer *writer = descriptor_writer(fd);
    if (writer != NULL && rare_enter(&rare)) {
        log_truncate(writer, fd);
        rare_leave(&rare);
    } else if (writer == NULL && what == TRUNCATED_NEW && sys.lseek(fd, 0, SEEK_END) > 0) {
        sys.ftruncate(fd, 0); /* became somebody's file between the look and the open */
        sys.lseek(fd, 0, SEEK_SET);
    }
}

/* The program did not ask for the O_APPEND that keeps a log from being overwritten: it is as if it were not there. */
static void hide_append(int fd)
{
    struct writer *writer = descriptor_writer(fd);
    if (writer != NULL) {
        writer->appends = false;
        writer->shows_append = false;
    }
}

static bool opens_for_writing(const char *path, int flags)
{
    return (flags & O_ACCMODE) != O_RDONLY && !(flags & (O_PATH | O_DIRECTORY)) && descriptor_active() &&
           (uintptr_t)path >= LOWEST_ADDRESS;
}

/* Without the tables there is only the append, and O_TRUNC is not for the kernel. */
int descriptor_flags_outside(int directory, const char *path, int flags)
{
    const struct rule *rule = opens_for_writing(path, flags) ? descriptor_path_rule(directory, path, flags) : NULL;
    if (rule == NULL) {
        return flags;
    }
    return O_APPEND | (rule->truncate == TRUNCATE_ALLOW ? flags : flags & ~O_TRUNC);
}

/* The kernel must not see O_TRUNC for a log, nor for what does not exist and may be one when it is opened. */
static enum truncated truncated(int directory, const char *path, int flags)
{
    struct stat status;
    if (!(flags & O_TRUNC) || (flags & (O_CREAT | O_EXCL)) == (O_CREAT | O_EXCL)) {
        return TRUNCATED_OTHER;
    }
    if (descriptor_path_is_log(directory, path, flags)) {
        return TRUNCATED_LOG;
    }
    bool is_new = (flags & O_CREAT) && sys.fstatat(directory, path, &status, 0) == -ENOENT;
    return is_new ? TRUNCATED_NEW : TRUNCATED_OTHER;
}

void descriptor_opened(int fd, const char *path)
{
    descriptor_forget(fd);
    if (descriptor_active() && names_lock_file(path) && !descriptor_foreign_memory()) {
        descriptor_set_state(fd, DESCRIPTOR_LOCK);
    }
}

int descriptor_open(int directory, const char *path, int flags, mode_t mode)
{
    bool writing = opens_for_writing(path, flags);
    if (writing && descriptor_foreign_memory()) {
        int foreign = real.openat(directory, path, descriptor_flags_outside(directory, path, flags), mode);
        return foreign < 0 ? -errno : foreign;
    }
    enum truncated what = writing ? truncated(directory, path, flags) : TRUNCATED_OTHER;
    int passed = what == TRUNCATED_OTHER ? flags : flags & ~O_TRUNC;
    if (what == TRUNCATED_LOG) {
        passed |= O_APPEND; /* also if it cannot be managed: nothing in it is overwritten */
    }
    int fd = real.openat(directory, path, passed, mode);
    if (fd < 0) {
        return -errno;
    }
    descriptor_replaced(fd);
    if (descriptor_active() && names_lock_file(path) && !descriptor_foreign_memory()) {
        descriptor_set_state(fd, DESCRIPTOR_LOCK);
        return fd;
    }
    if (!writing) {
        descriptor_made_plain(fd);
        return fd;
    }
    descriptor_look(fd, path);
    if (what == TRUNCATED_LOG && !(flags & O_APPEND)) {
        hide_append(fd);
    }
    if (what != TRUNCATED_OTHER) {
        truncate_opened(fd, what);
    }
    return fd;
}
