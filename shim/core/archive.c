#include "archive.h"

#include "name.h"
#include "own.h"
#include "sys.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>

/* What a directory holds of one log's archives, oldest first once sorted. */
struct archive {
    struct name name;
    uint64_t target; /* NAME_NUMBER and pending: the number it is to have */
    bool foreign;    /* a directory, a link: occupies its number and is never touched */
};

struct listing {
    struct archive *archives;
    size_t count;
    size_t room;
    size_t foreign;
    bool wait; /* some are left out for now */
};

static int add(struct listing *listing, const struct name *name, bool foreign)
{
    if (listing->count == listing->room) {
        size_t room = listing->room == 0 ? 64 : listing->room * 2;
        void *larger =
            mmap(NULL, room * sizeof(struct archive), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (larger == MAP_FAILED) {
            return -ENOMEM;
        }
        if (listing->room > 0) {
            memcpy(larger, listing->archives, listing->count * sizeof(struct archive));
            munmap(listing->archives, listing->room * sizeof(struct archive));
        }
        listing->archives = larger;
        listing->room = room;
    }
    listing->foreign += foreign;
    listing->archives[listing->count++] = (struct archive){.name = *name, .foreign = foreign};
    return 0;
}

static void discard(struct listing *listing)
{
    if (listing->room > 0) {
        munmap(listing->archives, listing->room * sizeof(struct archive));
    }
}

/*
 * Rotations go on while the directory is read, and a listing may show the younger of two new files without the older:
 * numbering it alone would turn their order round. One that lies there for long was left over from a lock file that
 * was deleted since, and its generation means nothing.
 */
static bool may_have_elders(const struct archive_task *task, const struct name *parsed, const struct stat *status)
{
    enum { LONG = 10 };
    struct timespec now = {0, 0};
    sys.clock(CLOCK_REALTIME_COARSE, &now);
    bool young = status->st_ctime > now.tv_sec - LONG && status->st_ctime < now.tv_sec + LONG;
    return young && parsed->generation >= (uint64_t)task->generation;
}

/*
 * A pending file that is empty was prepared and not used (or is just being prepared); one that has a second link is
 * the live file in the middle of a rotation without RENAME_EXCHANGE. Neither is an archive yet. 1, 0 or -errno.
 */
static int is_archive(const struct archive_task *task, const char *name, const struct name *parsed, bool *foreign,
                      bool *wait)
{
    struct stat status;
    int error = sys.fstatat(task->directory, name, &status, AT_SYMLINK_NOFOLLOW);
    if (error != 0) {
        return error == -ENOENT ? 0 : error;
    }
    *foreign = !S_ISREG(status.st_mode);
    if (parsed->kind != NAME_PENDING) {
        return 1;
    }
    struct stat live;
    bool is_live = status.st_nlink > 1 && sys.fstatat(task->directory, task->base, &live, AT_SYMLINK_NOFOLLOW) == 0 &&
                   live.st_ino == status.st_ino && live.st_dev == status.st_dev;
    if (!*foreign && (status.st_size == 0 || is_live)) {
        strcpy(task->unused, name);
    }
    if (*foreign || status.st_size == 0 || is_live) {
        return 0;
    }
    *wait = may_have_elders(task, parsed, &status);
    return !*wait;
}

static int consider(const struct archive_task *task, const struct dirent64 *entry, struct listing *listing)
{
    char fresh[NAME_SIZE];
    struct name parsed = name_parse(task->base, entry->d_name);
    bool foreign = entry->d_type != DT_REG;
    if (entry->d_name[0] == '.' && name_fresh(task->base, fresh) == 0 && strcmp(entry->d_name, fresh) == 0) {
        strcpy(task->unused, fresh);
    }
    if (parsed.kind == NAME_OTHER || parsed.kind == NAME_LOCK) {
        return 0;
    }
    if (parsed.kind == NAME_PENDING || entry->d_type == DT_UNKNOWN) {
        bool wait = false;
        int found = is_archive(task, entry->d_name, &parsed, &foreign, &wait);
        listing->wait = listing->wait || wait;
        if (found <= 0) {
            return found;
        }
    }
    return add(listing, &parsed, foreign);
}

static int list(const struct archive_task *task, struct listing *listing)
{
    _Alignas(struct dirent64) char entries[1024];
    int fd = own_open(task->directory, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0);
    if (fd < 0) {
        return fd;
    }
    ssize_t size = 1;
    int error = 0;
    while (error == 0 && size > 0) {
        size = sys.getdents64(fd, entries, sizeof entries);
        error = size < 0 ? (int)size : 0;
        for (ssize_t at = 0; at < size && error == 0;) {
            const struct dirent64 *entry = (const struct dirent64 *)(const void *)(entries + at);
            error = consider(task, entry, listing);
            at += entry->d_reclen;
        }
    }
    sys.close(fd);
    return error;
}

/*
 * First it gets a name that nobody else uses, so that no rotation can put an archive there between the look and the
 * removal, even one that has lost its lock.
 */
void archive_remove_unused(const struct archive_task *task)
{
    struct stat status;
    struct stat live;
    char fresh[NAME_SIZE];
    int dir = task->directory;
    if (name_fresh(task->base, fresh) != 0 || sys.fstatat(dir, task->base, &live, AT_SYMLINK_NOFOLLOW) != 0) {
        return;
    }
    if (strcmp(task->unused, fresh) != 0 && sys_rename_new(dir, task->unused, fresh) != 0) {
        return;
    }
    if (sys.fstatat(dir, fresh, &status, AT_SYMLINK_NOFOLLOW) != 0 || !S_ISREG(status.st_mode)) {
        return;
    }
    bool is_live = status.st_nlink > 1 && live.st_ino == status.st_ino && live.st_dev == status.st_dev;
    if (status.st_size == 0 || is_live) {
        sys.unlinkat(dir, fresh, 0);
    } else if (strcmp(task->unused, fresh) != 0) {
        sys_rename_new(dir, fresh, task->unused);
    }
}

/* Heapsort: libc's qsort may call malloc. Oldest first. */
static void sift_down(struct archive *archives, size_t root, size_t count)
{
    for (size_t child; (child = 2 * root + 1) < count; root = child) {
        if (child + 1 < count && name_compare(&archives[child].name, &archives[child + 1].name) < 0) {
            child++;
        }
        if (name_compare(&archives[root].name, &archives[child].name) >= 0) {
            return;
        }
        struct archive swapped = archives[root];
        archives[root] = archives[child];
        archives[child] = swapped;
    }
}

static void sort(struct listing *listing)
{
    struct archive *archives = listing->archives;
    for (size_t root = listing->count / 2; root-- > 0;) {
        sift_down(archives, root, listing->count);
    }
    for (size_t end = listing->count; end-- > 1;) {
        struct archive swapped = archives[0];
        archives[0] = archives[end];
        archives[end] = swapped;
        sift_down(archives, 0, end);
    }
}

static int make_name(const struct archive_task *task, const struct name *name, char *out)
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
        break;
    }
    return -EINVAL;
}

static int rename_archive(const struct archive_task *task, struct name *from, const struct name *to)
{
    char old_name[NAME_SIZE];
    char new_name[NAME_SIZE];
    int error = make_name(task, from, old_name);
    error = error != 0 ? error : make_name(task, to, new_name);
    if (error != 0) {
        return error;
    }
    error = sys_rename_new(task->directory, old_name, new_name);
    if (error == 0) {
        *from = *to;
    }
    return error;
}

/* Removes the oldest archives beyond `backups` that nobody writes any more; they leave the listing. */
static int prune(const struct archive_task *task, struct listing *listing)
{
    uint64_t keep = task->rule->backups;
    size_t archives = listing->count - listing->foreign;
    size_t left = 0;
    for (size_t i = 0; i < listing->count; i++) {
        char name[NAME_SIZE];
        struct archive *archive = &listing->archives[i];
        if (keep == 0 || archive->foreign || archives <= keep) {
            listing->archives[left++] = *archive;
            continue;
        }
        int error = make_name(task, &archive->name, name);
        if (error == 0 && sys_is_written(task->directory, name) > 0) {
            listing->wait = true; /* by a program that nobody could intercept: it goes when that has closed it */
            listing->archives[left++] = *archive;
            archives--;
            continue;
        }
        error = error != 0 ? error : sys.unlinkat(task->directory, name, 0);
        if (error != 0 && error != -ENOENT) {
            return error;
        }
        archives--;
    }
    listing->count = left;
    return 0;
}

static bool is_occupied(const struct listing *listing, uint64_t number)
{
    for (size_t i = 0; i < listing->count && listing->foreign > 0; i++) {
        const struct archive *archive = &listing->archives[i];
        if (archive->foreign && archive->name.kind == NAME_NUMBER && archive->name.number == number) {
            return true;
        }
    }
    return false;
}

/*
 * naming=number: from the newest on, each archive gets the lowest number that keeps the order and that it does not
 * already exceed; so gaps fill, and a shift that was interrupted goes on where it stopped. Renames run from the
 * highest number down, so that each target is free.
 */
static int give_numbers(const struct archive_task *task, struct listing *listing)
{
    uint64_t next = 1;
    size_t pending = 0;
    for (size_t i = listing->count; i-- > 0;) {
        pending += listing->archives[i].name.kind == NAME_PENDING;
    }
    if (pending == 0) {
        return 0;
    }
    for (size_t i = listing->count; i-- > 0;) {
        struct archive *archive = &listing->archives[i];
        if (archive->foreign || archive->name.kind == NAME_TIME) {
            continue;
        }
        while (is_occupied(listing, next)) {
            next++;
        }
        uint64_t number = archive->name.kind == NAME_NUMBER ? archive->name.number : 0;
        archive->target = number > next ? number : next;
        next = archive->target + 1;
    }
    unsigned renames = task->renames;
    for (size_t i = 0; i < listing->count; i++) {
        struct archive *archive = &listing->archives[i];
        if (archive->target == 0 || (archive->name.kind == NAME_NUMBER && archive->target == archive->name.number)) {
            continue;
        }
        if (renames-- == 0) {
            return ARCHIVE_MORE;
        }
        const struct name to = {.kind = NAME_NUMBER, .number = archive->target, .gzip = archive->name.gzip};
        int error = rename_archive(task, &archive->name, &to);
        if (error != 0) {
            return error;
        }
    }
    return 0;
}

/* The first free sequence number of a period: one more than the highest, 0 (no suffix) if the period has none. */
static uint64_t next_sequence(const struct listing *listing, const char *period)
{
    uint64_t next = 0;
    for (size_t i = 0; i < listing->count; i++) {
        const struct name *name = &listing->archives[i].name;
        if (name->kind == NAME_TIME && strcmp(name->period, period) == 0 && name->sequence >= next) {
            next = name->sequence + 1;
        }
    }
    return next;
}

/* naming=time: pending archives, oldest first, get the name of their period. */
static int give_times(const struct archive_task *task, struct listing *listing)
{
    unsigned renames = task->renames;
    for (size_t i = 0; i < listing->count; i++) {
        struct archive *archive = &listing->archives[i];
        struct name to = {.kind = NAME_TIME};
        if (archive->name.kind != NAME_PENDING) {
            continue;
        }
        if (renames-- == 0) {
            return ARCHIVE_MORE;
        }
        period_name(&task->rule->period, task->zone, archive->name.begun, to.period);
        to.sequence = next_sequence(listing, to.period);
        int error = rename_archive(task, &archive->name, &to);
        if (error != 0) {
            return error;
        }
    }
    return 0;
}

int archive_settle(const struct archive_task *task)
{
    struct listing listing = {.archives = NULL};
    int result = list(task, &listing);
    if (result == 0) {
        sort(&listing);
        result = prune(task, &listing);
    }
    if (result == 0) {
        result = task->rule->naming == NAMING_TIME ? give_times(task, &listing) : give_numbers(task, &listing);
    }
    discard(&listing);
    return result == ARCHIVE_DONE && listing.wait ? ARCHIVE_WAIT : result;
}
