/*
 * The operations on descriptors: close and duplicate, by which numbers come and go.
 */
#include "descriptor_private.h"

#include "real.h"

#include "core/own.h"

#include <errno.h>
#include <limits.h>
#include <unistd.h>

/*
 * Until the number is closed or replaced, `meanwhile` is its state: for who would find it unknown, other threads that
 * write to it would make it the log's again, and a rotation might then put the log into the place of what the program
 * puts there.
 */
static int let_go(int fd, bool replaced, uintptr_t meanwhile)
{
    struct writer *writer = descriptor_writer(fd);
    int error = 0;
    if (writer != NULL) {
        error = replaced ? log_rescue(writer) : log_empty(writer, fd);
        descriptor_set_state(fd, meanwhile);
        log_detach(writer);
    }
    return error == -ESTALE ? 0 : error;
}

/*
 * Takes a descriptor out of the table, held bytes first: by way of the descriptor itself, or, if the number has become
 * something else behind our back, by one of the shim's own. The error of writing those.
 */
static int forget(int fd, bool replaced, uintptr_t meanwhile)
{
    struct rare rare;
    int error = 0;
    uintptr_t state = descriptor_state(fd);
    if ((state == DESCRIPTOR_PLAIN || state == DESCRIPTOR_LOCK) && !descriptor_foreign_memory()) {
        descriptor_set_state(fd, DESCRIPTOR_UNKNOWN);
    } else if (state > DESCRIPTOR_LOCK && rare_enter(&rare)) {
        error = let_go(fd, replaced, meanwhile);
        rare_leave(&rare);
    }
    return error;
}

int descriptor_forget(int fd)
{
    return forget(fd, false, DESCRIPTOR_UNKNOWN);
}

void descriptor_replaced(int fd)
{
    forget(fd, true, DESCRIPTOR_UNKNOWN);
}

_Static_assert(sizeof(struct rare) <= sizeof((struct closing){0}.rare), "closing has room for rare");

void descriptor_before_close(int fd, struct closing *closing)
{
    struct stat status;
    struct rare *rare = (struct rare *)(void *)closing->rare;
    closing->log = NULL;
    if (descriptor_state(fd) != DESCRIPTOR_LOCK || !rare_enter(rare)) {
        return;
    }
    if (sys.fstat(fd, &status) == 0) {
        closing->log = log_keep_off_lock(&status);
    }
    if (closing->log == NULL) {
        rare_leave(rare);
    }
}

void descriptor_after_close(struct closing *closing)
{
    if (closing->log != NULL) {
        log_allow_lock(closing->log);
        rare_leave((struct rare *)(void *)closing->rare);
    }
}

int descriptor_close(int fd)
{
    struct rare rare;
    struct closing closing = {.log = NULL};
    int error = 0;
    if (descriptor_writer(fd) != NULL && rare_enter(&rare)) {
        error = let_go(fd, false, DESCRIPTOR_PLAIN);
        rare_leave(&rare);
    }
    descriptor_before_close(fd, &closing);
    int closed = real.close(fd) == 0 ? 0 : -errno;
    descriptor_after_close(&closing);
    descriptor_forget_plain(fd);
    return closed != 0 ? closed : error;
}

void descriptor_made_plain(int fd)
{
    if (descriptor_state(fd) == DESCRIPTOR_PLAIN || descriptor_foreign_memory()) {
        return;
    }
    descriptor_replaced(fd);
    descriptor_set_state(fd, DESCRIPTOR_PLAIN);
}

void descriptor_duplicated(int from, int fd)
{
    struct rare rare;
    if (descriptor_state(from) == DESCRIPTOR_PLAIN) {
        descriptor_made_plain(fd);
        return;
    }
    descriptor_replaced(fd);
    if (descriptor_state(from) == DESCRIPTOR_LOCK && !descriptor_foreign_memory()) {
        descriptor_set_state(fd, DESCRIPTOR_LOCK);
    }
    struct writer *writer = descriptor_writer(from);
    if (writer != NULL && rare_enter(&rare)) {
        struct writer *copy = log_attach_duplicate(writer, fd);
        descriptor_set_state(fd, copy == NULL ? DESCRIPTOR_UNKNOWN : (uintptr_t)copy);
        rare_leave(&rare);
    }
}

int descriptor_dup3(int from, int to, int flags)
{
    if (descriptor_is_own(from)) {
        return -EBADF;
    }
    if (descriptor_is_own(to)) {
        descriptor_vacate(to);
    }
    struct closing closing = {.log = NULL};
    descriptor_before_close(to, &closing);
    if (closing.log == NULL) {
        forget(to, false, DESCRIPTOR_PLAIN);
    }
    int fd = flags == 0 ? real.dup2(from, to) : real.dup3(from, to, flags);
    int error = errno;
    descriptor_after_close(&closing);
    descriptor_forget_plain(to);
    if (fd < 0) {
        return -error;
    }
    descriptor_duplicated(from, to);
    return fd;
}

/*
 * Looked for before, because a descriptor too many would have to be closed, which drops the program's own locks on the
 * file. Only near the shim's numbers: below, the first free one is found long before.
 */
int descriptor_dup_from(int fd, int command, long lowest)
{
    enum { NEAR = 128 };
    int own = lowest >= 0 && lowest < INT_MAX ? own_next((int)lowest) : INT_MAX;
    if (own - lowest >= NEAR || descriptor_foreign_memory()) {
        return real.fcntl(fd, command, lowest);
    }
    int number = (int)lowest;
    while (number < own && sys.fcntl(number, F_GETFD, 0) >= 0) {
        number++;
    }
    if (number < own || sys.fcntl(fd, F_GETFD, 0) < 0) {
        return real.fcntl(fd, command, lowest);
    }
    int made = descriptor_dup3(fd, own, command == F_DUPFD_CLOEXEC ? O_CLOEXEC : 0);
    return made >= 0 ? made : real.fcntl(fd, command, lowest);
}

bool descriptor_is_own(int fd)
{
    return own_is(fd);
}

int descriptor_vacate(int fd)
{
    struct rare rare;
    if (!rare_enter(&rare)) {
        return 0; /* a vfork child: close-on-exec, and its table of descriptors is its own */
    }
    int error = own_vacate(fd);
    if (error == 0) {
        descriptor_set_state(fd, DESCRIPTOR_LOCK); /* it may be one, until it is closed */
    }
    rare_leave(&rare);
    return error;
}
