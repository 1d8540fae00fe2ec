/*
 * The life of the process: start, fork, exit.
 */
#ifndef MPLOGSHIM_PROCESS_H
#define MPLOGSHIM_PROCESS_H

/* For vfork.S: around the system call. The second one returns what vfork returns in the parent, errno set. */
void process_before_vfork(void);
long process_after_vfork(long result);

#endif
