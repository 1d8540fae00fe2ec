/* Which archives are kept: removal by `backups`, `max_age` and `max_total`, and of files that no rotation used. */
#include "archive_private.h"
#include "written.h"

#include "../core/sys.h"

#include <errno.h>
#include <string.h>

/* Removes the archive unless somebody writes to it; then it waits. */
static int remove_archive(const struct archive_task *task, struct archives *archives, struct archive *archive)
{
    char file[NAME_SIZE];
    int error = archive_file(task, &archive->name, file);
    int written = error != 0 ? error : written_by_somebody(task->directory, file);
    if (written > 0) {
        archive->waits = true;
        archives->wait = true;
        return 0;
    }
    error = written < 0 ? written : archive_enter(task);
    if (error == 0) {
        error = sys.unlinkat(task->directory, file, 0);
        archive_leave(task);
    }
    if (error == 0 || error == -ENOENT) {
        archive_forget(archive);
        return 0;
    }
    return error;
}

static size_t count_ours(const struct archives *archives)
{
    size_t count = 0;
    for (size_t i = 0; i < archives->count; i++) {
        count += archive_is_ours(&archives->items[i]);
    }
    return count;
}

/* 1, 0 or -errno. A file from the future is young. */
static int is_too_old(const struct archive_task *task, struct archive *archive, int64_t now)
{
    if (task->policy->max_age_ns == 0) {
        return 0;
    }
    int error = archive_look(task, archive);
    if (error != 0 || !archive_is_ours(archive)) {
        return error;
    }
    return archive->mtime < now && (uint64_t)(now - archive->mtime) > task->policy->max_age_ns;
}

int archive_prune(const struct archive_task *task, struct archives *archives)
{
    int result = 0;
    int64_t now = sys_now(CLOCK_REALTIME);
    size_t ours = count_ours(archives);
    uint64_t surplus = task->policy->backups == 0 || ours <= task->policy->backups ? 0 : ours - task->policy->backups;
    for (size_t i = 0; i < archives->count; i++) {
        struct archive *archive = &archives->items[i];
        if (!archive_is_ours(archive)) {
            continue;
        }
        int found = surplus > 0 ? 1 : is_too_old(task, archive, now);
        int error = found > 0 ? remove_archive(task, archives, archive) : found;
        surplus -= surplus > 0;
        result = result != 0 ? result : error;
    }
    return result;
}

/* What it has on the disk, once it has its last form. */
static int64_t counted_size(const struct archive_task *task, const struct archive *archive)
{
    bool grows_smaller =
        task->policy->compress > 0 && !archive->name.gzip; /* it waits, or could not be compressed yet */
    return grows_smaller ? 0 : archive->size;
}

static int measure(const struct archive_task *task, struct archives *archives, uint64_t *total)
{
    *total = 0;
    for (size_t i = 0; i < archives->count; i++) {
        struct archive *archive = &archives->items[i];
        int error = archive_is_ours(archive) ? archive_look(task, archive) : 0;
        if (error != 0) {
            return error;
        }
        *total += archive_is_ours(archive) ? (uint64_t)counted_size(task, archive) : 0;
    }
    return 0;
}

int archive_prune_total(const struct archive_task *task, struct archives *archives)
{
    uint64_t total = 0;
    int result = task->policy->max_total == 0 ? 0 : measure(task, archives, &total);
    if (result != 0) {
        return result;
    }
    for (size_t i = 0; i < archives->count && total > task->policy->max_total; i++) {
        struct archive *archive = &archives->items[i];
        if (archive_is_ours(archive)) {
            total -= (uint64_t)counted_size(task, archive);
            int error = remove_archive(task, archives, archive);
            result = result != 0 ? result : error;
        }
    }
    return result;
}

int archive_make_room(const struct archive_task *task, struct archives *archives)
{
    uint64_t total = 0;
    size_t oldest = archives->count;
    for (size_t i = archives->count; i-- > 0 && task->policy->max_total > 0;) {
        struct archive *archive = &archives->items[i];
        int error = archive_is_ours(archive) ? archive_look(task, archive) : 0;
        if (error != 0) {
            return error;
        }
        if (archive_is_ours(archive)) {
            total += (uint64_t)archive->size;
            archive->failed = false;
            oldest = i;
        }
    }
    if (total <= task->policy->max_total || oldest == archives->count) {
        return 0;
    }
    int error = remove_archive(task, archives, &archives->items[oldest]);
    return error != 0 ? error : !archive_is_ours(&archives->items[oldest]);
}

/* The name that nobody else uses comes first: the others need it. */
static void take_unused(struct archives *archives, const char *fresh, char *file)
{
    size_t at = archives->unused_count - 1;
    for (size_t i = 0; i < archives->unused_count; i++) {
        at = strcmp(archives->unused[i], fresh) == 0 ? i : at;
    }
    strcpy(file, archives->unused[at]);
    archives->unused_count--;
    memmove(archives->unused[at], archives->unused[archives->unused_count], NAME_SIZE);
}

/*
 * Whether somebody has a file open for writing, and may yet write to it: an archive that was truncated while it was
 * rotated, or what a rotation is preparing that has lost its lock. Under the log's lock there is no time to look any
 * further where leases are not to be had.
 */
static bool is_open(const struct archive_task *task, const char *file)
{
    struct sys_signals signals;
    sys_signals_block(&signals);
    int written = sys_is_written(task->directory, file);
    sys_signals_restore(&signals);
    return written > 0;
}

/*
 * First it gets a name that nobody else uses, so that no rotation can put an archive there between the look and the
 * removal, even one that has lost its lock.
 */
static int remove_unused(const struct archive_task *task, const char *file, const char *fresh)
{
    struct stat status;
    struct stat live;
    int directory = task->directory;
    bool renamed = strcmp(file, fresh) != 0;
    int error = sys.fstatat(directory, task->base, &live, AT_SYMLINK_NOFOLLOW);
    if (error == 0 && renamed) {
        error = sys_rename_new(directory, file, fresh);
    }
    error = error != 0 ? error : sys.fstatat(directory, fresh, &status, AT_SYMLINK_NOFOLLOW);
    if (error != 0 || !S_ISREG(status.st_mode)) {
        return error;
    }
    bool is_live = status.st_nlink > 1 && live.st_ino == status.st_ino && live.st_dev == status.st_dev;
    bool used = !is_live && (is_open(task, fresh) || sys.fstatat(directory, fresh, &status, AT_SYMLINK_NOFOLLOW) != 0 ||
                             status.st_size > 0);
    if (!used) {
        return sys.unlinkat(directory, fresh, 0);
    }
    error = renamed ? sys_rename_new(directory, fresh, file) : 0;
    return error != 0 ? error : -EBUSY; /* it is in use after all */
}

bool archive_remove_unused(const struct archive_task *task, struct archives *archives)
{
    char fresh[NAME_SIZE];
    char file[NAME_SIZE];
    if (archives->unused_count == 0 || name_fresh(task->base, fresh) != 0) {
        archives->unused_count = 0;
        return false;
    }
    take_unused(archives, fresh, file);
    int error = remove_unused(task, file, fresh);
    if (error != 0 && error != -ENOENT) {
        archives->wait = true;
    }
    return true;
}
