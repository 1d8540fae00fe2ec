/* What the parts of archive.h share. */
#ifndef MPLOGSHIM_ARCHIVE_PRIVATE_H
#define MPLOGSHIM_ARCHIVE_PRIVATE_H

#include "archive.h"

#include <fcntl.h>
#include <sys/stat.h>

/* An archive that is gone stays in the list, as NAME_OTHER, so that places in it stay what they are. */
static inline void archive_forget(struct archive *archive)
{
    archive->name.kind = NAME_OTHER;
}

static inline bool archive_is_ours(const struct archive *archive)
{
    return !archive->foreign && archive->name.kind != NAME_OTHER;
}

/* The file's name into out[NAME_SIZE]. */
int archive_file(const struct archive_task *task, const struct name *name, char *out);

/* Sets size and mtime. An archive that is gone, or is no file any more, is forgotten; other errors: -errno. */
int archive_look(const struct archive_task *task, struct archive *archive);

/* Opens the directory itself, for reading or for fsync. */
int archive_open_directory(const struct archive_task *task);

/* Two that differ in nothing but ".gz". */
bool archive_is_twin(const struct archive *a, const struct archive *b);

/* 0, or what ends the pass: see archive.h. */
static inline int archive_enter(const struct archive_task *task)
{
    return task->enter == NULL ? 0 : task->enter(task->context);
}

static inline void archive_leave(const struct archive_task *task)
{
    if (task->leave != NULL) {
        task->leave(task->context);
    }
}

#endif
