/*
 * A descriptor of the live file from the log's keeper, for a process that may not open it itself any more: Apache's
 * workers write to a file of root's in a directory that they may not even search.
 */
#ifndef MPLOGSHIM_BORROW_H
#define MPLOGSHIM_BORROW_H

#include "lockfile.h"

/*
 * Shows the keeper `fd`, open for writing on a file of this log's history, and gets one on the live file, with the same
 * access and O_APPEND. Waits a quarter of a second at most for each step. The descriptor, close-on-exec, or -errno;
 * -ESRCH: there is no keeper, or it is neither root's nor of this process's user. Async-signal-safe.
 */
int borrow_live(const struct lockfile *lockfile, int fd);

/*
 * The same for the lock file, for a program that was started after privileges were given up, and may not open it:
 * `directory` and `name` as of a struct lockfile. It must be readable, to find the keeper by. One that is marked
 * (lockfile_distrust) has a keeper, or gets one in a moment: with `patient`, that is waited for, a tenth of a second.
 */
int borrow_lock(int directory, const char *name, int fd, bool patient);

/* What is asked for: the byte of the message. */
#define BORROW_LIVE 'w'
#define BORROW_LOCK 'l'

/* The name of a keeper's socket (abstract, SOCK_SEQPACKET) by the number that is recorded in the lock file: with the
 * NUL in front. Returns its length. */
enum { BORROW_NAME_SIZE = 40 };
unsigned borrow_name(uint64_t number, char *name);

#endif
