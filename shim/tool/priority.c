#include "priority.h"

#include <fcntl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

/*
 * Where the kernel groups processes by session (autogroup), niceness counts within the session only, and the helper has
 * one of its own: then the session itself must be nice.
 */
void priority_lower(void)
{
    enum { NICER = 10 };
    enum { OF_PROCESS = 1, BEST_EFFORT = 2 << 13, LOWEST = 7 }; /* <linux/ioprio.h> of new systems has names */
    static const char group[] = "10";
    (void)!nice(NICER);
    (void)syscall(SYS_ioprio_set, OF_PROCESS, 0, BEST_EFFORT | LOWEST);
    int fd = open("/proc/self/autogroup", O_WRONLY | O_CLOEXEC);
    if (fd >= 0) {
        (void)!write(fd, group, sizeof group - 1);
        close(fd);
    }
}
