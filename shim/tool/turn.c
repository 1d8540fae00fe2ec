#include "turn.h"

#include "../core/sys.h"

#include <errno.h>
#include <stdint.h>
#include <sys/file.h>

static int lock_now(const struct turn *turn)
{
    int error = sys.flock(turn->fd, LOCK_EX | LOCK_NB);
    return error == -EINTR ? -EAGAIN : error;
}

static int begin(struct turn *turn)
{
    turn->fd = sys.openat(turn->directory, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0);
    return turn->fd < 0 ? turn->fd : lock_now(turn);
}

void turn_end(struct turn *turn)
{
    if (turn->fd >= 0) {
        sys.close(turn->fd);
    }
    turn->fd = -1;
}

bool turn_try(struct turn *turn)
{
    if (begin(turn) != -EAGAIN || turn->hopeless) {
        return true;
    }
    turn_end(turn);
    return false;
}

/* By the sleeps of lockfile_acquire. */
void turn_take(struct turn *turn)
{
    const int64_t patience = 2000000000;
    int error = begin(turn);
    if (error != -EAGAIN || turn->hopeless) {
        return;
    }
    int64_t end = sys_now(CLOCK_MONOTONIC) + patience;
    struct timespec pause = {.tv_sec = 0, .tv_nsec = 20000};
    while (error == -EAGAIN && !turn->hopeless) {
        sys.sleep(&pause);
        pause.tv_nsec = pause.tv_nsec >= 500000 ? 1000000 : pause.tv_nsec * 2;
        error = lock_now(turn);
        turn->hopeless = error == -EAGAIN && sys_now(CLOCK_MONOTONIC) >= end;
    }
}
