/* Reading a log's directory: which archives there are, oldest first. */
#include "archive_private.h"

#include "../core/sys.h"

#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { ENTRIES_SIZE = 32768 };

int archive_file(const struct archive_task *task, const struct name *name, char *out)
{
    switch (name->kind) {
    case NAME_PENDING:
        return name_pending(task->base, name->generation, name->begun, out);
    case NAME_NUMBER:
        return name_number(task->base, name->number, name->gzip, out);
    case NAME_TIME:
        return name_time(task->base, name->period, name->sequence, name->gzip, out);
    case NAME_OTHER:
    case NAME_LOCK:
    case NAME_WORK:
    case NAME_RING:
        break;
    }
    return -EINVAL;
}

int archive_look(const struct archive_task *task, struct archive *archive)
{
    char file[NAME_SIZE];
    struct stat status;
    int error = archive_file(task, &archive->name, file);
    error = error != 0 ? error : sys.fstatat(task->directory, file, &status, AT_SYMLINK_NOFOLLOW);
    if (error == -ENOENT || (error == 0 && !S_ISREG(status.st_mode))) {
        archive_forget(archive);
        return 0;
    }
    if (error == 0) {
        archive->size = status.st_size;
        archive->mtime = (int64_t)status.st_mtim.tv_sec * 1000000000 + status.st_mtim.tv_nsec;
    }
    return error;
}

int archive_open_directory(const struct archive_task *task)
{
    return sys.openat(task->directory, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0);
}

/* Room for one more of the `size`-byte things at *things. */
static int reserve(void **things, size_t count, size_t *room, size_t size)
{
    if (count < *room) {
        return 0;
    }
    size_t larger = *room == 0 ? 16 : *room * 2;
    void *moved = reallocarray(*things, larger, size);
    if (moved == NULL) {
        return -ENOMEM;
    }
    *things = moved;
    *room = larger;
    return 0;
}

static int add(const struct archive_task *task, struct archives *archives, const struct name *name, bool foreign)
{
    void *items = archives->items;
    int error = reserve(&items, archives->count, &archives->room, sizeof archives->items[0]);
    archives->items = items;
    if (error != 0) {
        return error;
    }
    bool finished = task->policy->compress > 0 ? name->gzip : name->kind != NAME_PENDING;
    archives->items[archives->count++] =
        (struct archive){.name = *name, .foreign = foreign, .finished = finished, .size = -1};
    return 0;
}

static int add_unused(struct archives *archives, const char *file)
{
    for (size_t i = 0; i < archives->unused_count; i++) {
        if (strcmp(archives->unused[i], file) == 0) {
            return 0;
        }
    }
    void *unused = archives->unused;
    int error = reserve(&unused, archives->unused_count, &archives->unused_room, sizeof archives->unused[0]);
    archives->unused = unused;
    if (error == 0) {
        strcpy(archives->unused[archives->unused_count++], file);
    }
    return error;
}

/*
 * Rotations go on while the directory is read, and a listing may show the younger of two new files without the older:
 * numbering it alone would turn their order round. One that lies there for long was left over from a lock file that
 * was deleted since, and its generation means nothing.
 */
static bool may_have_elders(const struct archive_task *task, const struct name *name, const struct stat *status)
{
    enum { LONG = 10 };
    struct timespec now = {0, 0};
    sys.clock(CLOCK_REALTIME_COARSE, &now);
    bool young = status->st_ctime > now.tv_sec - LONG && status->st_ctime < now.tv_sec + LONG;
    return young && name->generation >= (uint64_t)task->generation;
}

/* The hidden names that are no archive's, and whose files are the log's. */
struct listing {
    char fresh[NAME_SIZE];
    char squeeze[NAME_SIZE];
    bool sticky; /* everybody can make files here, and each is its maker's alone */
    uid_t of_directory;
    uid_t of_log;
};

static int begin_listing(const struct archive_task *task, struct listing *listing)
{
    struct stat directory;
    struct stat live;
    int error = name_fresh(task->base, listing->fresh);
    error = error != 0 ? error : name_squeeze(task->base, listing->squeeze);
    error = error != 0 ? error : sys.fstat(task->directory, &directory);
    if (error != 0) {
        return error;
    }
    listing->sticky = (directory.st_mode & S_ISVTX) != 0 && (directory.st_mode & (S_IWGRP | S_IWOTH)) != 0;
    listing->of_directory = directory.st_uid;
    bool there = listing->sticky && sys.fstatat(task->directory, task->base, &live, AT_SYMLINK_NOFOLLOW) == 0 &&
                 S_ISREG(live.st_mode);
    listing->of_log = there ? live.st_uid : directory.st_uid;
    return 0;
}

/*
 * In a sticky directory a file with an archive's name may be anybody's, who could drive the archives out with it
 * (backups, max_total). Rotations leave files of the log's owner, or of whoever may rotate there.
 */
static bool is_strangers(const struct listing *listing, const struct stat *status)
{
    uid_t owner = status->st_uid;
    return listing->sticky && owner != 0 && owner != geteuid() && owner != listing->of_directory &&
           owner != listing->of_log;
}

static int64_t birth(const struct archive_task *task, const char *file)
{
    struct timespec born;
    return sys.birth(task->directory, file, &born) == 0 ? (int64_t)born.tv_sec * 1000000000 + born.tv_nsec : 0;
}

/*
 * A pending file that is empty was prepared and not used (or is just being prepared); one that has a second link is
 * the live file in the middle of a rotation without RENAME_EXCHANGE. Neither is an archive yet.
 */
static int consider_pending(const struct archive_task *task, const struct listing *listing, struct archives *archives,
                            const char *file, const struct name *name)
{
    struct stat status;
    struct stat live;
    int error = sys.fstatat(task->directory, file, &status, AT_SYMLINK_NOFOLLOW);
    if (error != 0 || !S_ISREG(status.st_mode) || is_strangers(listing, &status)) {
        return error == -ENOENT ? 0 : error;
    }
    bool is_live = status.st_nlink > 1 && sys.fstatat(task->directory, task->base, &live, AT_SYMLINK_NOFOLLOW) == 0 &&
                   live.st_ino == status.st_ino && live.st_dev == status.st_dev;
    if (status.st_size == 0 || is_live) {
        return add_unused(archives, file);
    }
    error = add(task, archives, name, false);
    if (error == 0) {
        struct archive *archive = &archives->items[archives->count - 1];
        archive->early = may_have_elders(task, name, &status);
        archive->born = birth(task, file);
    }
    return error;
}

static int is_foreign(const struct archive_task *task, const struct listing *listing, const struct dirent64 *entry,
                      bool *foreign)
{
    struct stat status;
    *foreign = entry->d_type != DT_REG;
    if (entry->d_type != DT_UNKNOWN && (*foreign || !listing->sticky)) {
        return 0;
    }
    int error = sys.fstatat(task->directory, entry->d_name, &status, AT_SYMLINK_NOFOLLOW);
    *foreign = error != 0 || !S_ISREG(status.st_mode) || is_strangers(listing, &status);
    return error == -ENOENT ? 0 : error;
}

static int consider(const struct archive_task *task, const struct listing *listing, const struct dirent64 *entry,
                    struct archives *archives)
{
    bool foreign;
    const char *file = entry->d_name;
    struct name name = name_parse(task->base, file);
    archives->squeezed = archives->squeezed || strcmp(file, listing->squeeze) == 0;
    if (strcmp(file, listing->fresh) == 0) {
        return add_unused(archives, file);
    }
    if (name.kind == NAME_PENDING) {
        return consider_pending(task, listing, archives, file, &name);
    }
    if (name.kind != NAME_NUMBER && name.kind != NAME_TIME) {
        return 0;
    }
    int error = is_foreign(task, listing, entry, &foreign);
    return error != 0 ? error : add(task, archives, &name, foreign);
}

/* In `between`, all that has a name is in the list already. */
static int consider_new(const struct archive_task *task, const struct listing *listing, const struct dirent64 *entry,
                        struct archives *archives)
{
    struct name name = name_parse(task->base, entry->d_name);
    return name.kind == NAME_PENDING ? consider_pending(task, listing, archives, entry->d_name, &name) : 0;
}

typedef int consider_entry(const struct archive_task *task, const struct listing *listing, const struct dirent64 *entry,
                           struct archives *archives);

static int read_directory(const struct archive_task *task, struct archives *archives, consider_entry *consider_one)
{
    _Alignas(struct dirent64) char entries[ENTRIES_SIZE];
    struct listing listing;
    int error = begin_listing(task, &listing);
    int fd = error != 0 ? error : archive_open_directory(task);
    if (fd < 0) {
        return fd;
    }
    for (ssize_t size = 1; error == 0 && size > 0;) {
        size = sys.getdents64(fd, entries, sizeof entries);
        error = size < 0 ? (int)size : 0;
        for (ssize_t at = 0; at < size && error == 0;) {
            const struct dirent64 *entry = (const struct dirent64 *)(const void *)(entries + at);
            error = consider_one(task, &listing, entry, archives);
            at += entry->d_reclen;
        }
    }
    sys.close(fd);
    return error;
}

/*
 * Oldest first; the compressed one of twins before the plain one, which was begun to be compressed later. Generations
 * start anew when the lock file is deleted: of pending files begun in one second, the times at which they were made
 * tell more, where the file system knows them.
 */
static int by_age(const void *a, const void *b)
{
    const struct archive *left = a;
    const struct archive *right = b;
    int order = name_compare(&left->name, &right->name);
    if (left->name.kind == NAME_PENDING && right->name.kind == NAME_PENDING && left->name.begun == right->name.begun &&
        left->born != right->born && left->born != 0 && right->born != 0) {
        return left->born < right->born ? -1 : 1;
    }
    return order != 0 ? order : right->name.gzip - left->name.gzip;
}

/* Sorts what was added from `first` on. What has to wait for its elders has all that are younger wait, too. */
static void sort(struct archives *archives, size_t first)
{
    if (archives->count > first) {
        qsort(archives->items + first, archives->count - first, sizeof archives->items[0], by_age);
    }
    for (size_t i = first; i < archives->count; i++) {
        if (archives->items[i].early) {
            archives->wait = true;
            archives->count = i;
        }
    }
}

static size_t count_kind(const struct archives *archives, enum name_kind kind)
{
    size_t count = 0;
    for (size_t i = 0; i < archives->count; i++) {
        count += archives->items[i].name.kind == kind;
    }
    return count;
}

/*
 * Numbered and time-named ones beside each other, after `naming` was changed: each kind keeps its order, and the times
 * of their last writes tell which of the two is the older.
 */
static int merge_kinds(const struct archive_task *task, struct archives *archives)
{
    size_t times = count_kind(archives, NAME_TIME);
    size_t numbers = count_kind(archives, NAME_NUMBER);
    if (times == 0 || numbers == 0) {
        return 0;
    }
    int error = 0;
    for (size_t i = 0; i < times + numbers && error == 0; i++) {
        error = archives->items[i].foreign ? 0 : archive_look(task, &archives->items[i]);
    }
    struct archive *merged = error == 0 ? reallocarray(NULL, times + numbers, sizeof *merged) : NULL;
    if (merged == NULL) {
        return error != 0 ? error : -ENOMEM;
    }
    const struct archive *time = archives->items;
    const struct archive *number = archives->items + times;
    const struct archive *end = number + numbers;
    for (size_t i = 0; i < times + numbers; i++) {
        bool time_first =
            number == end || (time < archives->items + times && (time->foreign || time->mtime <= number->mtime));
        merged[i] = time_first ? *time++ : *number++;
    }
    memcpy(archives->items, merged, (times + numbers) * sizeof *merged);
    free(merged);
    return 0;
}

bool archive_is_twin(const struct archive *a, const struct archive *b)
{
    return a->name.kind == b->name.kind && a->name.gzip != b->name.gzip &&
           (a->name.kind == NAME_NUMBER || a->name.kind == NAME_TIME) && name_compare(&a->name, &b->name) == 0;
}

int archive_list(const struct archive_task *task, struct archives *archives)
{
    int error = read_directory(task, archives, consider);
    if (error != 0 || archives->count == 0) {
        return error;
    }
    sort(archives, 0);
    for (size_t i = 1; i < archives->count; i++) {
        archives->clash = archives->clash || archive_is_twin(&archives->items[i - 1], &archives->items[i]);
    }
    return merge_kinds(task, archives);
}

int archive_list_pending(const struct archive_task *task, struct archives *archives)
{
    for (size_t i = 0; i < archives->count; i++) {
        if (archives->items[i].name.kind == NAME_PENDING) {
            archive_forget(&archives->items[i]);
        }
    }
    size_t known = archives->count;
    int error = read_directory(task, archives, consider_new);
    sort(archives, known);
    return error;
}

void archive_free(struct archives *archives)
{
    free(archives->items);
    free(archives->unused);
    *archives = (struct archives){.items = NULL};
}
