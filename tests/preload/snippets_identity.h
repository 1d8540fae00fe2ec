/*
 * Snippets for the functions of hook_identity.c. See scene.h.
 *
 * While the privileges are gone nothing can be noted: the transcript is in a directory of root's. Where the tests run
 * without privileges, the calls fail with the library as without it.
 */
#ifndef TESTS_SNIPPETS_IDENTITY_H
#define TESTS_SNIPPETS_IDENTITY_H

#include "scene.h"

#include <grp.h>
#include <linux/capability.h>
#include <sched.h>
#include <sys/fsuid.h>

extern int capget(cap_user_header_t header, cap_user_data_t data);
extern int capset(cap_user_header_t header, cap_user_data_t data);

enum { NOBODY = 65534 };

/* One line before, which rotates, one while it is somebody else, and one after. */
static void write_as_somebody_else(long (*become)(uid_t user))
{
    write_after(scene.fd);
    long there = become(NOBODY);
    int there_errno = errno;
    errno = SCENE_ERRNO;
    ssize_t result = write(scene.fd, scene.line, strlen(scene.line));
    int write_errno = errno;
    errno = SCENE_ERRNO;
    long back = become(0);
    note("back", back);
    errno = there_errno;
    note(scene.hook, there);
    errno = write_errno;
    written(scene.line, result);
    write_after(scene.fd);
}

static long become_effective(uid_t user)
{
    return seteuid(user);
}

static void run_seteuid(scene_function call)
{
    (void)call;
    note("nobody at all", seteuid((uid_t)-1));
    write_as_somebody_else(become_effective);
}

static long become_by_setreuid(uid_t user)
{
    return setreuid((uid_t)-1, user);
}

static void run_setreuid(scene_function call)
{
    (void)call;
    note("unchanged", setreuid((uid_t)-1, (uid_t)-1));
    write_as_somebody_else(become_by_setreuid);
}

static long become_by_setresuid(uid_t user)
{
    return setresuid((uid_t)-1, user, (uid_t)-1);
}

static void run_setresuid(scene_function call)
{
    (void)call;
    note("unchanged", setresuid((uid_t)-1, (uid_t)-1, (uid_t)-1));
    write_as_somebody_else(become_by_setresuid);
}

static long become_for_files(uid_t user)
{
    return setfsuid(user);
}

static void run_setfsuid(scene_function call)
{
    (void)call;
    note("asked", setfsuid((uid_t)-1));
    write_as_somebody_else(become_for_files);
}

static long become_by_number(uid_t user)
{
    return syscall(SYS_setresuid, -1L, (long)user, -1L);
}

static void run_syscall_identity(scene_function call)
{
    (void)call;
    note("unchanged", syscall(SYS_setreuid, -1L, -1L));
    write_as_somebody_else(become_by_number);
}

/* There is no way back: it stays who it is. */
static void run_setuid(scene_function call)
{
    (void)call;
    write_after(scene.fd);
    note("nobody at all", setuid((uid_t)-1));
    note("myself", setuid(geteuid()));
    written(scene.line, write(scene.fd, scene.line, strlen(scene.line)));
}

/* Groups: what the process has of them it may have once more. */
static void run_groups(scene_function call, long (*change)(gid_t group))
{
    (void)call;
    write_after(scene.fd);
    note("nobody at all", change((gid_t)-1));
    note("the same", change(getegid()));
    written(scene.line, write(scene.fd, scene.line, strlen(scene.line)));
}

static long change_group(gid_t group)
{
    return setgid(group);
}

static void run_setgid(scene_function call)
{
    run_groups(call, change_group);
}

static long change_effective_group(gid_t group)
{
    return setegid(group);
}

static void run_setegid(scene_function call)
{
    run_groups(call, change_effective_group);
}

static long change_by_setregid(gid_t group)
{
    return setregid((gid_t)-1, group);
}

static void run_setregid(scene_function call)
{
    run_groups(call, change_by_setregid);
}

static long change_by_setresgid(gid_t group)
{
    return setresgid((gid_t)-1, group, (gid_t)-1);
}

static void run_setresgid(scene_function call)
{
    run_groups(call, change_by_setresgid);
}

static long change_for_files(gid_t group)
{
    return setfsgid(group);
}

static void run_setfsgid(scene_function call)
{
    run_groups(call, change_for_files);
}

static long change_others(gid_t group)
{
    return setgroups(1, &group);
}

static void run_setgroups(scene_function call)
{
    note("too many", setgroups((size_t)1 << 30, NULL));
    run_groups(call, change_others);
}

static long change_users(gid_t group)
{
    return initgroups("root", group);
}

static void run_initgroups(scene_function call)
{
    run_groups(call, change_users);
}

static void run_capset(scene_function call)
{
    (void)call;
    struct __user_cap_header_struct header = {_LINUX_CAPABILITY_VERSION_3, 0};
    struct __user_cap_data_struct data[2];
    note("capget", capget(&header, data));
    note("the same", capset(&header, data));
    header.version = 1;
    note("no such version", capset(&header, data));
    written(scene.line, write(scene.fd, scene.line, strlen(scene.line)));
}

static void run_unshare(scene_function call)
{
    (void)call;
    note("no such flag", unshare(-1));
    note("the working directory", unshare(CLONE_FS));
    written(scene.line, write(scene.fd, scene.line, strlen(scene.line)));
}

static void run_setns(scene_function call)
{
    (void)call;
    note("no descriptor", setns(-1, 0));
    note("no namespace", setns(scene.fd, 0));
    written(scene.line, write(scene.fd, scene.line, strlen(scene.line)));
}

static void run_chroot(scene_function call)
{
    (void)call;
    note("no such directory", chroot("/nonexistent"));
    note("the same", chroot("/"));
    written(scene.line, write(scene.fd, scene.line, strlen(scene.line)));
}

static const struct snippet snippets_identity[] = {
    {"setuid", run_setuid, CALL(setuid), SIGNAL_SAFE},
    {"seteuid", run_seteuid, CALL(seteuid), SIGNAL_SAFE},
    {"setreuid", run_setreuid, CALL(setreuid), SIGNAL_SAFE},
    {"setresuid", run_setresuid, CALL(setresuid), SIGNAL_SAFE},
    {"setfsuid", run_setfsuid, CALL(setfsuid), SIGNAL_SAFE},
    {"setgid", run_setgid, CALL(setgid), SIGNAL_SAFE},
    {"setegid", run_setegid, CALL(setegid), SIGNAL_SAFE},
    {"setregid", run_setregid, CALL(setregid), SIGNAL_SAFE},
    {"setresgid", run_setresgid, CALL(setresgid), SIGNAL_SAFE},
    {"setfsgid", run_setfsgid, CALL(setfsgid), SIGNAL_SAFE},
    {"setgroups", run_setgroups, CALL(setgroups), SIGNAL_SAFE},
    {"initgroups", run_initgroups, CALL(initgroups), 0},
    {"syscall", run_syscall_identity, CALL(syscall), SIGNAL_SAFE},
    {"capset", run_capset, CALL(capset), SIGNAL_SAFE},
    {"unshare", run_unshare, CALL(unshare), SIGNAL_SAFE},
    {"setns", run_setns, CALL(setns), SIGNAL_SAFE},
    {"chroot", run_chroot, CALL(chroot), SIGNAL_SAFE},
};

#endif
