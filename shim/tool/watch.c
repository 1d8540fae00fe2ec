#include "watch.h"

#include "../core/diag.h"
#include "../core/sys.h"

#include <poll.h>
#include <stddef.h>
#include <sys/inotify.h>
#include <time.h>
#include <unistd.h>

void watch_file(struct watch *watch, const struct lockfile *lockfile)
{
    char path[40];
    if (!watch->started) {
        watch->started = true;
        watch->descriptor = -1;
        watch->fd = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
    }
    if (watch->fd < 0 || lockfile->fd < 0 ||
        (watch->descriptor >= 0 && watch->device == lockfile->device && watch->inode == lockfile->inode)) {
        return;
    }
    if (watch->descriptor >= 0) {
        inotify_rm_watch(watch->fd, watch->descriptor);
    }
    /* The very file that is open, whatever has taken its place. Its link count is an attribute. */
    diag_format(path, sizeof path, "/proc/self/fd/%d", lockfile->fd);
    watch->descriptor = inotify_add_watch(watch->fd, path, IN_MODIFY | IN_ATTRIB | IN_DELETE_SELF | IN_MOVE_SELF);
    watch->device = lockfile->device;
    watch->inode = lockfile->inode;
}

static struct timespec timespec_of(int64_t nanoseconds)
{
    enum { SECOND = 1000000000 };
    return (struct timespec){.tv_sec = nanoseconds / SECOND, .tv_nsec = nanoseconds % SECOND};
}

bool watch_wait(struct watch *watch, int64_t timeout_ns)
{
    _Alignas(struct inotify_event) char events[4096];
    struct pollfd waiting = {.fd = watch->fd, .events = POLLIN};
    bool blind = watch->fd < 0 || watch->descriptor < 0;
    int64_t most = blind && timeout_ns > WATCH_BLIND_NS ? WATCH_BLIND_NS : timeout_ns;
    struct timespec timeout = timespec_of(most < 0 ? 0 : most);
    int ready = ppoll(&waiting, blind ? 0 : 1, &timeout, NULL);
    while (ready > 0 && read(watch->fd, events, sizeof events) > 0) {
    }
    return ready > 0 || (blind && ready == 0);
}
