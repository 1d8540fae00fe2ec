/*
 * Compression of archives in their places.
 *
 * app.log.1 is compressed into a hidden file, which is complete on disk before it becomes app.log.1.gz; then app.log.1
 * goes. Whoever is killed between the last two leaves both, and archive_repair finds out that they are the same.
 */
#include "archive_private.h"
#include "gzip.h"
#include "written.h"

#include "../core/sys.h"

#include <errno.h>
#include <string.h>

/* What is on the disk before the plain archive goes. */
static int sync_directory(const struct archive_task *task)
{
    int fd = archive_open_directory(task);
    if (fd < 0) {
        return fd;
    }
    int error = sys.fsync(fd);
    int closed = sys.close(fd);
    error = error != 0 ? error : closed;
    return error == -EINVAL ? 0 : error; /* a file system without fsync for directories */
}

static int sync_file(const struct archive_task *task, const char *file)
{
    int fd = sys.openat(task->directory, file, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC, 0);
    if (fd < 0) {
        return fd;
    }
    int error = sys.fsync(fd);
    int closed = sys.close(fd);
    return error != 0 ? error : closed;
}

/* 0: nobody has `file` open for writing; -EAGAIN if somebody has. It may take long. */
static int prove_unwritten(const struct archive_task *task, const char *file)
{
    int written = written_by_somebody(task->directory, file);
    return written > 0 ? -EAGAIN : written;
}

/* 0: `file` still is what `status` was; -EAGAIN if not. */
static int prove_unchanged(const struct archive_task *task, const char *file, const struct stat *status)
{
    struct stat now;
    int error = sys.fstatat(task->directory, file, &now, AT_SYMLINK_NOFOLLOW);
    if (error != 0) {
        return error;
    }
    return !S_ISREG(now.st_mode) || !gzip_is_unchanged(status, &now) ? -EAGAIN : 0;
}

/* What is not at its place any more was removed, or got another name: then it is not the compressed one's to replace.
 */
static bool has_other_name(int plain_fd)
{
    struct stat status;
    return plain_fd >= 0 && sys.fstat(plain_fd, &status) == 0 && status.st_nlink > 0;
}

/*
 * The compressed file is on disk, and holds what `status` says the plain one did, which may be open as `plain_fd`: the
 * plain one goes. If somebody has come to write to it, or it cannot be removed, the compressed one goes again. If it is
 * another's turn by now, both stay: the plain one may be gone already.
 */
static int remove_plain(const struct archive_task *task, const char *plain, const char *compressed,
                        const struct stat *status, int plain_fd)
{
    int error = sync_directory(task);
    error = error != 0 ? error : prove_unwritten(task, plain);
    int entered = archive_enter(task);
    if (entered != 0) {
        return entered;
    }
    error = error != 0 ? error : prove_unchanged(task, plain, status);
    error = error != 0 ? error : sys.unlinkat(task->directory, plain, 0);
    if (error == -ENOENT && has_other_name(plain_fd)) {
        error = -EAGAIN;
    }
    if (error != 0 && error != -ENOENT) {
        sys.unlinkat(task->directory, compressed, 0);
    }
    archive_leave(task);
    return error == -ENOENT ? 0 : error;
}

static void forget_twin(struct archives *archives, const struct name *name)
{
    for (size_t i = 0; i < archives->count; i++) {
        struct archive *archive = &archives->items[i];
        if (archive_is_ours(archive) && archive->name.gzip == name->gzip && name_compare(&archive->name, name) == 0) {
            archive_forget(archive);
        }
    }
}

/* 1: both are the same and one of them went; 0: they are different archives; -errno. */
static int repair_twins(const struct archive_task *task, struct archives *archives, const struct name *plain_name)
{
    char plain[NAME_SIZE];
    char compressed[NAME_SIZE];
    struct stat status;
    struct name compressed_name = *plain_name;
    compressed_name.gzip = true;
    int error = archive_file(task, plain_name, plain);
    error = error != 0 ? error : archive_file(task, &compressed_name, compressed);
    error = error != 0 ? error : sys.fstatat(task->directory, plain, &status, AT_SYMLINK_NOFOLLOW);
    int same = error != 0 ? error : gzip_is_same(task->directory, plain, compressed);
    if (same <= 0) {
        return same;
    }
    error = sync_file(task, compressed);
    error = error != 0 ? error : remove_plain(task, plain, compressed, &status, -1);
    if (error != 0 && error != -EAGAIN) {
        return error;
    }
    forget_twin(archives, error == -EAGAIN ? &compressed_name : plain_name);
    return 1;
}

/* Twins of one kind follow each other, with only archives of the other kind between them. */
static int repair_all_twins(const struct archive_task *task, struct archives *archives)
{
    struct archive *last[2] = {NULL, NULL};
    archives->clash = false;
    for (size_t i = 0; i < archives->count; i++) {
        struct archive *archive = &archives->items[i];
        if (archive->name.kind != NAME_NUMBER && archive->name.kind != NAME_TIME) {
            continue;
        }
        struct archive *before = last[archive->name.kind == NAME_TIME];
        last[archive->name.kind == NAME_TIME] = archive;
        if (before == NULL || !archive_is_twin(before, archive)) {
            continue;
        }
        const struct name plain = archive->name.gzip ? before->name : archive->name;
        int same = before->foreign || archive->foreign ? 0 : repair_twins(task, archives, &plain);
        if (same < 0 && same != -ENOENT) {
            return same;
        }
        if (same == 1) {
            before->finished = archive->finished = task->policy->compress == 0; /* it was not told */
        }
        archives->clash = archives->clash || same == 0;
    }
    return 0;
}

static int remove_squeezed(const struct archive_task *task, struct archives *archives)
{
    char hidden[NAME_SIZE];
    int error = name_squeeze(task->base, hidden);
    error = error != 0 ? error : archive_enter(task);
    if (error != 0) {
        return error;
    }
    error = sys.unlinkat(task->directory, hidden, 0);
    archive_leave(task);
    archives->squeezed = error != 0 && error != -ENOENT;
    /* What somebody else put there is in the way of compression only. */
    return error == -ENOENT || error == -EISDIR || error == -EPERM ? 0 : error;
}

int archive_repair(const struct archive_task *task, struct archives *archives)
{
    int error = archives->squeezed ? remove_squeezed(task, archives) : 0;
    if (error != 0 || !archives->clash) {
        return error;
    }
    return repair_all_twins(task, archives);
}

static void tell_finished(const struct archive_task *task, struct archive *archive)
{
    char file[NAME_SIZE];
    int error = archive_look(task, archive);
    archive->finished = true;
    if (error == 0 && archive_is_ours(archive) && task->finished != NULL &&
        archive_file(task, &archive->name, file) == 0) {
        task->finished(task->context, file, archive->size);
    }
}

static bool is_file(const struct archive_task *task, const char *file, const struct stat *status)
{
    struct stat there;
    return sys.fstatat(task->directory, file, &there, AT_SYMLINK_NOFOLLOW) == 0 && there.st_dev == status->st_dev &&
           there.st_ino == status->st_ino;
}

/*
 * Under that hidden name lies what was made here, unless two processes settle at once and cannot have turns there; then
 * nothing of the other's is put into place for long, or removed. `error`: what speaks against it already.
 */
static int rename_hidden(const struct archive_task *task, const char *hidden, const char *compressed,
                         const struct stat *made, int error)
{
    if (!is_file(task, hidden, made)) {
        return -EAGAIN;
    }
    error = error != 0 ? error : sys_rename_new(task->directory, hidden, compressed);
    if (error != 0) {
        sys.unlinkat(task->directory, hidden, 0);
        return error;
    }
    if (!is_file(task, compressed, made)) {
        sys.unlinkat(task->directory, compressed, 0); /* the other's, which is not complete and finds out */
        return -EAGAIN;
    }
    return 0;
}

/* The hidden file is complete: into place, under the name that the archive has by now. */
static int put_in_place(const struct archive_task *task, struct archive *archive, const char *hidden,
                        const struct stat *status, const struct stat *made, int plain_fd)
{
    char plain[NAME_SIZE];
    char compressed[NAME_SIZE];
    struct name name = archive->name;
    name.gzip = true;
    int error = archive_file(task, &archive->name, plain);
    error = error != 0 ? error : archive_file(task, &name, compressed);
    error = error != 0 ? error : prove_unwritten(task, plain);
    int entered = archive_enter(task);
    if (entered != 0) {
        return entered;
    }
    error = error != 0 ? error : prove_unchanged(task, plain, status);
    error = rename_hidden(task, hidden, compressed, made, error);
    archive_leave(task);
    error = error != 0 ? error : remove_plain(task, plain, compressed, status, plain_fd);
    if (error == 0) {
        archive->name = name;
        tell_finished(task, archive);
    }
    return error;
}

/* `between` of the caller, whose result ends all. */
struct interlude {
    const struct archive_task *task;
    int result;
};

static int between(void *context)
{
    struct interlude *interlude = context;
    interlude->result = interlude->task->between(interlude->task->context);
    return interlude->result;
}

static int enter(void *context)
{
    const struct interlude *interlude = context;
    return archive_enter(interlude->task);
}

static void leave(void *context)
{
    const struct interlude *interlude = context;
    archive_leave(interlude->task);
}

/* The list may grow, and its archives get other names, while one of them is compressed. */
static int compress_one(const struct archive_task *task, struct archives *archives, size_t index,
                        struct interlude *interlude)
{
    char plain[NAME_SIZE];
    char hidden[NAME_SIZE];
    struct stat status;
    struct stat made;
    int fd;
    int error = archive_file(task, &archives->items[index].name, plain);
    error = error != 0 ? error : name_squeeze(task->base, hidden);
    if (error != 0) {
        return error;
    }
    error = prove_unwritten(task, plain);
    if (error != 0) {
        return error;
    }
    const struct gzip_task gzip = {.directory = task->directory,
                                   .plain = plain,
                                   .hidden = hidden,
                                   .level = task->policy->compress,
                                   .between = task->between != NULL ? between : NULL,
                                   .enter = enter,
                                   .leave = leave,
                                   .context = interlude};
    error = gzip_make(&gzip, &fd, &status, &made);
    if (error != 0) {
        return error;
    }
    error = put_in_place(task, &archives->items[index], hidden, &status, &made, fd);
    sys.close(fd); /* until here its inode is nobody else's */
    return error;
}

/* The next archive would meet it too. -ESTALE: see `enter`. */
static bool is_everybodys(int error)
{
    return error == -ENOSPC || error == -EDQUOT || error == -EMFILE || error == -ENFILE || error == -ENOMEM ||
           error == -EROFS || error == -ESTALE;
}

static bool is_to_be_compressed(const struct archive *archive)
{
    return archive_is_ours(archive) && archive->name.kind != NAME_PENDING && !archive->name.gzip && !archive->waits &&
           !archive->failed;
}

/* The newest that is left, before the place *at; those that were rotated meanwhile come first. */
static bool next_to_compress(const struct archives *archives, size_t *known, size_t *at)
{
    if (archives->count != *known) {
        *known = *at = archives->count;
    }
    while (*at > 0) {
        if (is_to_be_compressed(&archives->items[--*at])) {
            return true;
        }
    }
    return false;
}

static int compress_all(const struct archive_task *task, struct archives *archives)
{
    struct interlude interlude = {.task = task};
    int result = 0;
    size_t known = archives->count;
    for (size_t at = known; next_to_compress(archives, &known, &at);) {
        int error = compress_one(task, archives, at, &interlude);
        struct archive *archive = &archives->items[at];
        if (interlude.result != 0) {
            return interlude.result;
        }
        if (error == -EAGAIN) {
            archive->waits = archives->wait = true;
        } else if (error == -ENOENT) {
            archive_forget(archive);
        } else if (error != 0) {
            archive->failed = true;
            result = result != 0 ? result : error;
        }
        if (is_everybodys(error)) {
            break;
        }
    }
    return result;
}

int archive_compress(const struct archive_task *task, struct archives *archives)
{
    int result = task->policy->compress > 0 ? compress_all(task, archives) : 0;
    for (size_t i = 0; i < archives->count; i++) {
        struct archive *archive = &archives->items[i];
        bool last_form = task->policy->compress == 0 || archive->name.gzip;
        if (archive_is_ours(archive) && archive->name.kind != NAME_PENDING && last_form && !archive->finished) {
            tell_finished(task, archive);
        }
    }
    return result;
}
