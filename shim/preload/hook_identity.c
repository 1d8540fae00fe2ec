/*
 * Calls by which a process gives up the privileges that it was started with: what it needs them for outside of itself
 * is started first. All else is the program's.
 */
#include "hook_identity.h"

#include "hook.h"

#include "descriptor_private.h"

#include <grp.h>
#include <sys/fsuid.h>
#include <sys/syscall.h>
#include <unistd.h>

static const uid_t unchanged = (uid_t)-1;

static void before_giving_up(void)
{
    if (descriptor_active() && geteuid() == 0) {
        int saved = errno;
        descriptor_keep();
        errno = saved;
    }
}

/*
 * The effective user, by whom the kernel judges what a process may do with files, is about to be `effective`. libc
 * changes that of the threads that it knows: the shim's own ends before, and is made anew when it is needed.
 */
static void before_change(uid_t effective)
{
    descriptor_stop_thread();
    if (effective != 0 && effective != unchanged) {
        before_giving_up();
    }
}

/* A thread that wrote in between may have made the shim's anew, still as who it was. */
static int after_change(int result)
{
    descriptor_stop_thread();
    return result;
}

/* In the new root there is no command that could be started, now for archives or later for a keeper. */
static void before_new_root(void)
{
    before_giving_up();
    if (descriptor_active()) {
        int saved = errno;
        descriptor_hold_proc();
        errno = saved;
    }
}

/*
 * By number these change one thread only, which is what programs want that call them so (Samba: a user for each
 * thread): that is left to them.
 */
void identity_before_syscall(long number, const long *arguments)
{
    switch (number) {
    case SYS_setuid:
    case SYS_setfsuid:
        before_change((uid_t)arguments[0]);
        break;
    case SYS_setreuid:
    case SYS_setresuid:
        before_change((uid_t)arguments[1]);
        break;
    case SYS_setgid:
    case SYS_setregid:
    case SYS_setresgid:
    case SYS_setfsgid:
    case SYS_setgroups:
        descriptor_stop_thread();
        break;
    case SYS_capset:
        descriptor_stop_thread();
        before_giving_up();
        break;
    case SYS_unshare:
    case SYS_setns:
        descriptor_stop_thread();
        break;
    case SYS_chroot:
        before_new_root();
        break;
    default:
        break;
    }
}

EXPORT int setuid(uid_t user)
{
    before_change(user);
    return after_change(real.setuid(user));
}

EXPORT int seteuid(uid_t effective)
{
    before_change(effective);
    return after_change(real.seteuid(effective));
}

EXPORT int setreuid(uid_t user, uid_t effective)
{
    before_change(effective);
    return after_change(real.setreuid(user, effective));
}

EXPORT int setresuid(uid_t user, uid_t effective, uid_t saved)
{
    before_change(effective);
    return after_change(real.setresuid(user, effective, saved));
}

/* What only file servers call, and only for files. */
EXPORT int setfsuid(uid_t user)
{
    before_change(user);
    return real.setfsuid(user);
}

/* Groups: privileges may stay, but the shim's own thread would keep those that go. */
EXPORT int setgid(gid_t group)
{
    descriptor_stop_thread();
    return after_change(real.setgid(group));
}

EXPORT int setegid(gid_t effective)
{
    descriptor_stop_thread();
    return after_change(real.setegid(effective));
}

EXPORT int setregid(gid_t group, gid_t effective)
{
    descriptor_stop_thread();
    return after_change(real.setregid(group, effective));
}

EXPORT int setresgid(gid_t group, gid_t effective, gid_t saved)
{
    descriptor_stop_thread();
    return after_change(real.setresgid(group, effective, saved));
}

EXPORT int setfsgid(gid_t group)
{
    descriptor_stop_thread();
    return real.setfsgid(group);
}

EXPORT int setgroups(size_t count, const gid_t *groups)
{
    descriptor_stop_thread();
    return after_change(real.setgroups(count, groups));
}

EXPORT int initgroups(const char *user, gid_t group)
{
    descriptor_stop_thread();
    return after_change(real.initgroups(user, group));
}

/* Root without its capabilities is an ordinary user; which of them go is not looked at. */
int capset(void *header, void *data);
EXPORT int capset(void *header, void *data)
{
    descriptor_stop_thread(); /* which would keep them */
    before_giving_up();
    return real.capset(header, data);
}

/* Of these some are for processes of one thread only: the shim's is none of the program's. */
EXPORT int unshare(int flags)
{
    descriptor_stop_thread();
    return real.unshare(flags);
}

EXPORT int setns(int fd, int type)
{
    descriptor_stop_thread();
    return real.setns(fd, type);
}

EXPORT int chroot(const char *path)
{
    before_new_root();
    return real.chroot(path);
}
