/*
 * The path of an open descriptor, as /proc tells it: also in a new root that has no /proc, by a descriptor of the one
 * that was there. Where there never was one, no log can be told from other files, and that is said.
 */
#include "descriptor_private.h"

#include "core/match.h"
#include "core/own.h"

#include <errno.h>
#include <string.h>

static int proc = -1;
static struct stat proc_status;

/* The number may have become another file. */
static bool proc_is_held(void)
{
    struct stat status;
    return proc >= 0 && sys.fstat(proc, &status) == 0 && status.st_dev == proc_status.st_dev &&
           status.st_ino == proc_status.st_ino;
}

void descriptor_hold_proc(void)
{
    struct rare rare;
    if (descriptor_foreign_memory() || !rare_enter(&rare)) {
        return;
    }
    if (!proc_is_held()) {
        if (proc >= 0) {
            own_lost(&proc);
        }
        proc = own_open(AT_FDCWD, "/proc", O_PATH | O_DIRECTORY | O_CLOEXEC, 0);
        if (proc >= 0 && sys.fstat(proc, &proc_status) == 0) {
            own_adopt(&proc);
        }
    }
    rare_leave(&rare);
}

static ssize_t read_link(const char *process, int fd, char *link, size_t size)
{
    static const size_t root = sizeof "/proc/" - 1;
    char name[40];
    diag_format(name, sizeof name, "/proc/%s/fd/%d", process, fd);
    ssize_t length = sys.readlinkat(AT_FDCWD, name, link, size);
    return length < 0 && proc_is_held() ? sys.readlinkat(proc, name + root, link, size) : length;
}

/*
 * The thread's own descriptors: "self" are those of the first thread, which may have ended, and then has none, or has
 * others since an unshare.
 */
ssize_t descriptor_link(int fd, char *link, size_t size)
{
    ssize_t length = read_link("thread-self", fd, link, size);
    return length < 0 ? read_link("self", fd, link, size) : length;
}

void descriptor_say_unknown(const struct config *config, const char *given, char *path, size_t size)
{
    static bool said;
    size_t length = 0;
    if (given[0] != '/') {
        if (sys_working_directory(path, size) == NULL) {
            return;
        }
        length = strlen(path);
        length += diag_format(path + length, size - length, "/");
    }
    diag_format(path + length, size - length, "%s", given);
    if (match_log(config, path) != NULL && !__atomic_exchange_n(&said, true, __ATOMIC_RELAXED)) {
        diag_message("%s is not managed, nor is any other log: there is no /proc to tell descriptors by", path);
    }
}
