/*
 * mplogshim: what the library, the command and other software agree on.
 *
 * The names of the hidden files beside a log, the layout of the lock file and the version. Nothing in here is
 * process state; everything is read and written through the file system.
 */
#ifndef MPLOGSHIM_H
#define MPLOGSHIM_H

#define MPLOGSHIM_VERSION "0.1.0"

/*
 * The lock file of /dir/app.log is /dir/.app.log.lock, or in lock_dir the log's whole path and
 * ".lock", with '%' for '/', "\p" for '%' and "\b" for '\'.
 *
 *   bytes 0 .. 4095   the page: text, "mplogshim 1\n" and then key=value lines of fixed width at fixed places,
 *                     with NUL between them: begun= (when the live file was begun, seconds of the epoch), settled= (the
 *                     generation up to which archives are settled), failed= (errno of what last kept them from being
 *                     settled, 0: nothing), record= (generation, offset and length of the last record that was about to
 *                     cross a page of the file), keeper= (number of the keeper's socket), asked= (written by a process
 *                     that cannot rotate, for the keeper), rings= (0: there are no buffers of async=1; else when they
 *                     were last looked at, milliseconds of the monotonic clock, times 2^20, plus by whom: 20 bits),
 *                     batch= (the number of the buffer that the last such record came from), and from byte 1024
 *                     on the policy: one line of 32 bytes for each of its keys, in the words of the configuration,
 *                     padded with blanks
 *   bytes 4096 ..     one byte for every rotation: the file's length is the generation; from 2^40 it goes back to 1
 *
 * A changed length never means anything but "look again". fcntl locks on single bytes of the page say who does what.
 * A process that writes to the log by the library keeps none of them by POSIX locks of its own: each write gives all of
 * them back. OFD locks stay.
 */
#define MPLOGSHIM_PAGE_SIZE  4096
#define MPLOGSHIM_PAGE_MAGIC "mplogshim 1\n"

/* Held exclusively around every write and rotation. */
#define MPLOGSHIM_LOCK_WRITE 0
/* Held exclusively while archives are numbered, compressed and removed. */
#define MPLOGSHIM_LOCK_SETTLE 1
/* Shared (OFD): by everybody who has the log open; fork children share their parent's. */
#define MPLOGSHIM_LOCK_ATTACHED 2
/* Held exclusively by the helper of this log while it lives; by its keeper. */
#define MPLOGSHIM_LOCK_HELPER 3
#define MPLOGSHIM_LOCK_KEEPER 4
/*
 * Held shared by who is not attached, and has tried in vain to lock MPLOGSHIM_LOCK_WRITE: while anybody else is
 * attached, or waits like that, a process gives that back after each write.
 */
#define MPLOGSHIM_LOCK_WAITING 5

/*
 * Hidden names: ".app.log.lock", and ".app.log.GGGGGGGGGGGGGGGG.BEGUN.pending" for an archive that has no final name
 * yet: G the generation at which it was rotated, 16 hexadecimal digits; BEGUN when the file was begun, decimal
 * seconds of the epoch. ".app.log.new" is the new file for a moment, where names cannot be exchanged. An empty pending
 * file is one that was prepared and never took the log's place. ".app.log.squeeze" is an archive being compressed:
 * not ".gz.new", which is the new file of a log "app.log.gz". ".app.log.XXXXXXXXXXXXXXXX.ring", beside the lock file
 * and named after it, is the buffer of one process (async=1; ring.h), and 16 hexadecimal digits tell it from the
 * others. While the process lives, its mapping holds a lock (OFD) on the first byte.
 */
#define MPLOGSHIM_LOCK_SUFFIX    ".lock"
#define MPLOGSHIM_RING_SUFFIX    ".ring"
#define MPLOGSHIM_FRESH_SUFFIX   ".new"
#define MPLOGSHIM_PENDING_SUFFIX ".pending"
#define MPLOGSHIM_GZIP_SUFFIX    ".gz"
#define MPLOGSHIM_SQUEEZE_SUFFIX ".squeeze"

/* The longest base name of a log: room for the hidden names (42 more bytes) within NAME_MAX. */
#define MPLOGSHIM_BASE_MAX 208

#endif
