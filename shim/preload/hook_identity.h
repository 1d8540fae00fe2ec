/*
 * For syscall() in hook_fd.c: the same as the hooks of hook_identity.c do, for calls made by number.
 */
#ifndef MPLOGSHIM_HOOK_IDENTITY_H
#define MPLOGSHIM_HOOK_IDENTITY_H

/* Before a system call that may give up privileges; every other one is let be. */
void identity_before_syscall(long number, const long *arguments);

#endif
