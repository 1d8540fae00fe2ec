/*
 * Compresses one archive with zlib: streaming, into a hidden file that is complete on disk when it is done.
 *
 * `between` (may be NULL) is called about once a megabyte, so that a long compression holds nothing else up; it may
 * rename the archive. Functions return 0 or -errno. System calls through sys.h, so that tests make them fail.
 */
#ifndef MPLOGSHIM_TOOL_GZIP_H
#define MPLOGSHIM_TOOL_GZIP_H

#include <stdbool.h>
#include <sys/stat.h>
#include <sys/types.h>

struct gzip_task {
    int directory;
    const char *plain;             /* name of the archive */
    const char *hidden;            /* name of the file in the making; one that is left over is removed first */
    unsigned level;                /* 1 to 9 */
    int (*between)(void *context); /* non-zero: stop with that */
    int (*enter)(void *context);   /* before the hidden file is made or removed; non-zero: stop, and leave it */
    void (*leave)(void *context);  /* afterwards; both may be NULL */
    void *context;
};

/*
 * Makes task->hidden complete on disk, with times, owner and permissions of the plain file: 0, and *plain_fd is open on
 * the plain file (for the caller to find its name again by, and to close), *status is what it was while it was read,
 * and *made is the hidden file; or -errno and no hidden file is left, unless `enter` forbade to remove
 * it. -EAGAIN: the plain file changed meanwhile.
 */
int gzip_make(const struct gzip_task *task, int *plain_fd, struct stat *status, struct stat *made);

/* Whether nothing was written between two looks at one file. */
bool gzip_is_unchanged(const struct stat *before, const struct stat *after);

/* Whether the compressed file holds exactly the plain one's bytes. 1, 0 or -errno. */
int gzip_is_same(int directory, const char *plain, const char *compressed);

#endif
