/*
 * A file system in memory behind the table of system calls (shim/core/sys.h), with a clock of its own: thousands of
 * whole histories a second, with any call made to fail.
 *
 * One process alone is in it. Directories are those that memory_directory made; a file is known by its full path.
 */
#ifndef MEMORY_H
#define MEMORY_H

#include "fuzz.h"

#include "../../shim/core/sys.h"

#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <linux/fs.h>
#include <unistd.h>

enum { MEMORY_FILES = 2048, MEMORY_NAMES = 2048, MEMORY_FDS = 1100, MEMORY_DEVICE = 77 };

struct memory_file {
    ino_t inode;
    mode_t mode;
    unsigned links;
    char *data; /* of a directory: its path */
    size_t room;
    off_t filled;
    off_t seen; /* for the test: up to here it was looked at */
    off_t size; /* what lies beyond `filled` is zeros */
    int64_t modified;
    int64_t born; /* each file's is later than that of the one before */
};

struct memory_name {
    char *path; /* NULL: gone */
    struct memory_file *file;
};

/* What descriptors share that were duplicated. */
struct memory_open {
    struct memory_file *file;
    int flags;
    off_t offset;
    int users;
};

static struct memory {
    struct memory_file *files[MEMORY_FILES];
    size_t file_count;
    struct memory_name names[MEMORY_NAMES];
    size_t name_count;
    struct memory_open *fds[MEMORY_FDS];
    bool close_on_exec[MEMORY_FDS];
    int64_t real;                   /* ns */
    int64_t monotonic;              /* ns */
    int64_t room;                   /* bytes that the disk still has, or -1 */
    bool others;                    /* somebody else is attached to every lock file */
    bool no_exchange;               /* the file system knows no flags of rename */
    int (*fault)(const char *call); /* -errno for the call, or 0; NULL: none */
} memory;

enum { MEMORY_ROOT = 2 };
static ino_t memory_inodes = MEMORY_ROOT + 1; /* never used twice in a process */

/*
 * The tree.
 */
static inline struct memory_name *memory_find(const char *path)
{
    for (size_t i = 0; i < memory.name_count; i++) {
        if (memory.names[i].path != NULL && strcmp(memory.names[i].path, path) == 0) {
            return &memory.names[i];
        }
    }
    return NULL;
}

static inline struct memory_file *memory_lookup(const char *path)
{
    const struct memory_name *name = memory_find(path);
    return name == NULL ? NULL : name->file;
}

static inline void memory_link(const char *path, struct memory_file *file)
{
    size_t place = 0;
    while (place < memory.name_count && memory.names[place].path != NULL) {
        place++;
    }
    require(place < MEMORY_NAMES);
    memory.name_count += place == memory.name_count;
    memory.names[place] = (struct memory_name){.path = strdup(path), .file = file};
    file->links++;
}

static inline void memory_unlink(struct memory_name *name)
{
    name->file->links--;
    free(name->path);
    name->path = NULL;
}

static inline struct memory_file *memory_make(const char *path, mode_t mode)
{
    struct memory_file *file = calloc(1, sizeof *file);
    require(file != NULL && memory.file_count < MEMORY_FILES);
    file->inode = memory_inodes++;
    file->mode = mode;
    file->modified = memory.real;
    file->born = memory.real + (int64_t)memory.file_count;
    memory.files[memory.file_count++] = file;
    memory_link(path, file);
    return file;
}

static inline void memory_directory(const char *path)
{
    memory_make(path, S_IFDIR | 0755)->data = strdup(path);
}

static inline void memory_store(struct memory_file *file, const void *bytes, size_t size, off_t offset)
{
    off_t end = offset + (off_t)size;
    if (end > file->filled) {
        if ((size_t)end > file->room) {
            file->room = 2 * (size_t)end;
            file->data = realloc(file->data, file->room);
            require(file->data != NULL);
        }
        memset(file->data + file->filled, 0, (size_t)(end - file->filled));
        file->filled = end;
    }
    if (size > 0) {
        memcpy(file->data + offset, bytes, size);
    }
    file->size = end > file->size ? end : file->size;
    file->modified = memory.real;
}

static inline void memory_cut(struct memory_file *file, off_t length)
{
    file->filled = length < file->filled ? length : file->filled;
    file->size = length;
    file->modified = memory.real;
}

/* A path relative to a directory's descriptor; -errno. */
static inline int memory_resolve(int directory, const char *path, char *out)
{
    if (path[0] == '/') {
        snprintf(out, PATH_MAX, "%s", path);
        return 0;
    }
    if (directory < 0 || directory >= MEMORY_FDS || memory.fds[directory] == NULL) {
        return -EBADF;
    }
    const struct memory_file *file = memory.fds[directory]->file;
    if (!S_ISDIR(file->mode)) {
        return -ENOTDIR;
    }
    if (strcmp(path, ".") == 0) {
        snprintf(out, PATH_MAX, "%s", file->data);
    } else {
        require(strchr(path, '/') == NULL); /* the shim asks for no more than a name */
        snprintf(out, PATH_MAX, "%s/%s", strcmp(file->data, "/") == 0 ? "" : file->data, path);
    }
    return 0;
}

/*
 * The calls.
 */
static inline int memory_fault(const char *call)
{
    return memory.fault == NULL ? 0 : memory.fault(call);
}

static inline struct memory_open *memory_fd(int fd)
{
    return fd >= 0 && fd < MEMORY_FDS ? memory.fds[fd] : NULL;
}

static inline int memory_take_fd(struct memory_open *description, int least, bool close_on_exec)
{
    for (int fd = least; fd < MEMORY_FDS; fd++) {
        if (memory.fds[fd] == NULL) {
            memory.fds[fd] = description;
            memory.close_on_exec[fd] = close_on_exec;
            description->users++;
            return fd;
        }
    }
    return -EMFILE;
}

static inline int memory_close(int fd)
{
    struct memory_open *description = memory_fd(fd);
    if (description == NULL) {
        return -EBADF;
    }
    memory.fds[fd] = NULL;
    if (--description->users == 0) {
        free(description);
    }
    return memory_fault("close");
}

static inline int memory_openat(int directory, const char *path, int flags, mode_t mode)
{
    char full[PATH_MAX];
    int error = memory_fault("openat");
    error = error != 0 ? error : memory_resolve(directory, path, full);
    if (error != 0) {
        return error;
    }
    struct memory_file *file = memory_lookup(full);
    if (file != NULL && (flags & (O_CREAT | O_EXCL)) == (O_CREAT | O_EXCL)) {
        return -EEXIST;
    }
    if (file == NULL && !(flags & O_CREAT)) {
        return -ENOENT;
    }
    if (file != NULL && S_ISLNK(file->mode)) {
        return -ELOOP;
    }
    if (file != NULL && S_ISDIR(file->mode) && (flags & O_ACCMODE) != O_RDONLY) {
        return -EISDIR;
    }
    if (file != NULL && !S_ISDIR(file->mode) && (flags & O_DIRECTORY)) {
        return -ENOTDIR;
    }
    file = file != NULL ? file : memory_make(full, S_IFREG | (mode & 0777));
    struct memory_open *description = calloc(1, sizeof *description);
    require(description != NULL);
    *description = (struct memory_open){.file = file, .flags = flags & ~(O_CREAT | O_EXCL | O_CLOEXEC | O_NOCTTY)};
    int fd = memory_take_fd(description, 3, flags & O_CLOEXEC);
    require(fd >= 0);
    return fd;
}

static inline ssize_t memory_pread(int fd, void *buffer, size_t size, off_t offset)
{
    const struct memory_open *description = memory_fd(fd);
    int error = description == NULL ? -EBADF : memory_fault("pread");
    if (error != 0) {
        return error;
    }
    const struct memory_file *file = description->file;
    size_t left = offset < file->size ? (size_t)(file->size - offset) : 0;
    size = size < left ? size : left;
    memset(buffer, 0, size);
    if (offset < file->filled) {
        size_t filled = (size_t)(file->filled - offset);
        memcpy(buffer, file->data + offset, size < filled ? size : filled);
    }
    return (ssize_t)size;
}

static inline ssize_t memory_read(int fd, void *buffer, size_t size)
{
    struct memory_open *description = memory_fd(fd);
    ssize_t got = description == NULL ? -EBADF : memory_pread(fd, buffer, size, description->offset);
    if (got > 0) {
        description->offset += got;
    }
    return got;
}

static inline ssize_t memory_pwrite(int fd, const void *buffer, size_t size, off_t offset)
{
    const struct memory_open *description = memory_fd(fd);
    int error = description == NULL ? -EBADF : memory_fault("pwrite");
    if (error != 0) {
        return error;
    }
    require((description->flags & O_ACCMODE) != O_RDONLY && !(description->flags & O_APPEND));
    memory_store(description->file, buffer, size, offset);
    return (ssize_t)size;
}

/* A full disk takes what it has room for, and says ENOSPC the next time; a fault of 1 takes about half. */
static inline ssize_t memory_writev(int fd, const struct iovec *vector, int count)
{
    struct memory_open *description = memory_fd(fd);
    int error = description == NULL ? -EBADF : memory_fault("writev");
    if (error < 0) {
        return error;
    }
    require((description->flags & O_ACCMODE) != O_RDONLY && count >= 0 && count <= IOV_MAX);
    size_t total = 0;
    for (int i = 0; i < count; i++) {
        total += vector[i].iov_len;
    }
    size_t room = error > 0 ? (total + 1) / 2 : total;
    room = memory.room >= 0 && (size_t)memory.room < room ? (size_t)memory.room : room;
    if (room == 0 && total > 0) {
        return -ENOSPC;
    }
    size_t written = 0;
    for (int i = 0; i < count && written < room; i++) {
        size_t piece = vector[i].iov_len < room - written ? vector[i].iov_len : room - written;
        off_t offset = description->flags & O_APPEND ? description->file->size : description->offset;
        memory_store(description->file, vector[i].iov_base, piece, offset);
        description->offset = offset + (off_t)piece;
        written += piece;
    }
    memory.room -= memory.room >= 0 ? (int64_t)written : 0;
    return (ssize_t)written;
}

static inline ssize_t memory_pwritev2(int fd, const struct iovec *vector, int count, off_t offset, int flags)
{
    (void)flags;
    require(offset == -1);
    return memory_writev(fd, vector, count);
}

static inline off_t memory_lseek(int fd, off_t offset, int whence)
{
    struct memory_open *description = memory_fd(fd);
    int error = description == NULL ? -EBADF : memory_fault("lseek");
    if (error != 0) {
        return error;
    }
    off_t from = whence == SEEK_SET ? 0 : whence == SEEK_CUR ? description->offset : description->file->size;
    description->offset = from + offset;
    return description->offset;
}

static inline void memory_status(const struct memory_file *file, struct stat *status)
{
    *status = (struct stat){.st_dev = MEMORY_DEVICE,
                            .st_ino = file->inode,
                            .st_mode = file->mode,
                            .st_nlink = file->links,
                            .st_uid = geteuid(),
                            .st_gid = getegid(),
                            .st_size = S_ISREG(file->mode) ? file->size : 0,
                            .st_mtim = {.tv_sec = file->modified / 1000000000, .tv_nsec = file->modified % 1000000000},
                            .st_ctim = {.tv_sec = file->modified / 1000000000}};
}

static inline int memory_fstat(int fd, struct stat *status)
{
    const struct memory_open *description = memory_fd(fd);
    int error = description == NULL ? -EBADF : memory_fault("fstat");
    if (error == 0) {
        memory_status(description->file, status);
    }
    return error;
}

static inline int memory_fstatat(int directory, const char *path, struct stat *status, int flags)
{
    char full[PATH_MAX];
    (void)flags;
    int error = memory_fault("fstatat");
    error = error != 0 ? error : memory_resolve(directory, path, full);
    const struct memory_file *file = error == 0 ? memory_lookup(full) : NULL;
    if (error == 0 && file == NULL) {
        error = -ENOENT;
    }
    if (error == 0) {
        memory_status(file, status);
    }
    return error;
}

static inline int memory_birth(int directory, const char *path, struct timespec *born)
{
    char full[PATH_MAX];
    int error = memory_fault("birth");
    error = error != 0 ? error : memory_resolve(directory, path, full);
    const struct memory_file *file = error == 0 ? memory_lookup(full) : NULL;
    if (error == 0 && file == NULL) {
        error = -ENOENT;
    }
    if (error == 0) {
        *born = (struct timespec){.tv_sec = file->born / 1000000000, .tv_nsec = file->born % 1000000000};
    }
    return error;
}

static inline int memory_ftruncate(int fd, off_t length)
{
    const struct memory_open *description = memory_fd(fd);
    int error = description == NULL ? -EBADF : memory_fault("ftruncate");
    if (error == 0) {
        memory_cut(description->file, length);
    }
    return error;
}

static inline int memory_fchmod(int fd, mode_t mode)
{
    const struct memory_open *description = memory_fd(fd);
    int error = description == NULL ? -EBADF : memory_fault("fchmod");
    if (error == 0) {
        description->file->mode = (description->file->mode & S_IFMT) | (mode & 07777);
    }
    return error;
}

static inline ssize_t memory_fgetxattr(int fd, const char *name, void *value, size_t size)
{
    (void)name;
    (void)value;
    (void)size;
    return memory_fd(fd) == NULL ? -EBADF : -ENODATA;
}

static inline int memory_fchown(int fd, uid_t owner, gid_t group)
{
    (void)owner;
    (void)group;
    return memory_fd(fd) == NULL ? -EBADF : memory_fault("fchown");
}

static inline int memory_futimens(int fd, const struct timespec times[2])
{
    const struct memory_open *description = memory_fd(fd);
    int error = description == NULL ? -EBADF : memory_fault("futimens");
    if (error == 0) {
        description->file->modified = (int64_t)times[1].tv_sec * 1000000000 + times[1].tv_nsec;
    }
    return error;
}

static inline int memory_fsync(int fd)
{
    return memory_fd(fd) == NULL ? -EBADF : memory_fault("fsync");
}

static inline int memory_renameat2(int from_dir, const char *from, int to_dir, const char *to, unsigned flags)
{
    char old_path[PATH_MAX];
    char new_path[PATH_MAX];
    int error = memory_fault("renameat2");
    error = error != 0 ? error : memory_resolve(from_dir, from, old_path);
    error = error != 0 ? error : memory_resolve(to_dir, to, new_path);
    error = error == 0 && flags != 0 && memory.no_exchange ? -EINVAL : error;
    struct memory_name *old_name = error == 0 ? memory_find(old_path) : NULL;
    struct memory_name *new_name = error == 0 ? memory_find(new_path) : NULL;
    if (error != 0 || old_name == NULL || (flags == RENAME_EXCHANGE && new_name == NULL)) {
        return error != 0 ? error : -ENOENT;
    }
    if (flags == RENAME_NOREPLACE && new_name != NULL) {
        return -EEXIST;
    }
    struct memory_file *file = old_name->file;
    if (flags == RENAME_EXCHANGE) {
        old_name->file = new_name->file;
        new_name->file = file;
        return 0;
    }
    if (new_name != NULL && new_name->file == file) {
        return 0;
    }
    if (new_name != NULL) {
        memory_unlink(new_name);
    }
    memory_link(new_path, file);
    memory_unlink(old_name);
    return 0;
}

static inline int memory_linkat(int from_dir, const char *from, int to_dir, const char *to, int flags)
{
    char old_path[PATH_MAX];
    char new_path[PATH_MAX];
    (void)flags;
    int error = memory_fault("linkat");
    error = error != 0 ? error : memory_resolve(from_dir, from, old_path);
    error = error != 0 ? error : memory_resolve(to_dir, to, new_path);
    if (error != 0 || memory_lookup(old_path) == NULL || memory_lookup(new_path) != NULL) {
        return error != 0 ? error : memory_lookup(old_path) == NULL ? -ENOENT : -EEXIST;
    }
    memory_link(new_path, memory_lookup(old_path));
    return 0;
}

static inline int memory_unlinkat(int directory, const char *path, int flags)
{
    char full[PATH_MAX];
    (void)flags;
    int error = memory_fault("unlinkat");
    error = error != 0 ? error : memory_resolve(directory, path, full);
    struct memory_name *name = error == 0 ? memory_find(full) : NULL;
    if (error == 0 && name == NULL) {
        error = -ENOENT;
    }
    if (error == 0 && S_ISDIR(name->file->mode)) {
        error = -EISDIR;
    }
    if (error == 0) {
        memory_unlink(name);
    }
    return error;
}

/* As many entries as fit, from the place in the table on at which the last call stopped. */
static inline ssize_t memory_getdents64(int fd, void *buffer, size_t size)
{
    struct memory_open *description = memory_fd(fd);
    int error = description == NULL ? -EBADF : memory_fault("getdents64");
    if (error != 0) {
        return error;
    }
    size_t used = 0;
    size_t length = strlen(description->file->data);
    for (; (size_t)description->offset < memory.name_count; description->offset++) {
        const struct memory_name *name = &memory.names[description->offset];
        if (name->path == NULL || strncmp(name->path, description->file->data, length) != 0 ||
            name->path[length] != '/') {
            continue;
        }
        const char *base = name->path + length + 1;
        size_t record = (offsetof(struct dirent64, d_name) + strlen(base) + 8) & ~(size_t)7;
        if (used + record > size) {
            break;
        }
        struct dirent64 *entry = (struct dirent64 *)(void *)((char *)buffer + used);
        entry->d_ino = name->file->inode;
        entry->d_reclen = (unsigned short)record;
        entry->d_type = (unsigned char)IFTODT(name->file->mode);
        memcpy(entry->d_name, base, strlen(base) + 1);
        used += record;
    }
    return (ssize_t)used;
}

static inline bool memory_is_written(const struct memory_file *file)
{
    for (int fd = 0; fd < MEMORY_FDS; fd++) {
        if (memory.fds[fd] != NULL && memory.fds[fd]->file == file && (memory.fds[fd]->flags & O_ACCMODE) != O_RDONLY) {
            return true;
        }
    }
    return false;
}

static inline int memory_fcntl(int fd, int command, long argument)
{
    struct memory_open *description = memory_fd(fd);
    struct flock *lock = (struct flock *)argument;
    int error = description == NULL ? -EBADF : memory_fault("fcntl");
    if (error != 0) {
        return error;
    }
    switch (command) {
    case F_GETFL:
        return description->flags;
    case F_GETFD:
        return memory.close_on_exec[fd] ? FD_CLOEXEC : 0;
    case F_DUPFD_CLOEXEC:
        return memory_take_fd(description, (int)argument, true);
    case F_GETLK:
        lock->l_type = F_UNLCK;
        return 0;
    case F_OFD_GETLK:
        lock->l_type = memory.others ? F_RDLCK : F_UNLCK;
        return 0;
    case F_SETLEASE:
        return argument == F_RDLCK && memory_is_written(description->file) ? -EAGAIN : 0;
    default:
        return 0; /* locks are granted */
    }
}

static inline int memory_flock(int fd, int operation)
{
    (void)operation; /* granted */
    return memory_fd(fd) == NULL ? -EBADF : memory_fault("flock");
}

static inline int memory_dup3(int from, int to, int flags)
{
    struct memory_open *description = memory_fd(from);
    int error = description == NULL ? -EBADF : memory_fault("dup3");
    if (error != 0) {
        return error;
    }
    description->users++;
    if (memory.fds[to] != NULL && --memory.fds[to]->users == 0) {
        free(memory.fds[to]);
    }
    memory.fds[to] = description;
    memory.close_on_exec[to] = flags & O_CLOEXEC;
    return to;
}

static inline int memory_clock(clockid_t clock, struct timespec *now)
{
    bool real = clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE;
    int64_t time = real ? memory.real : memory.monotonic;
    *now = (struct timespec){time / 1000000000, time % 1000000000};
    return 0;
}

static inline void memory_pass(int64_t nanoseconds)
{
    memory.real += nanoseconds;
    memory.monotonic += nanoseconds;
}

static inline int memory_sleep(const struct timespec *duration)
{
    memory_pass((int64_t)duration->tv_sec * 1000000000 + duration->tv_nsec);
    return 0;
}

/* An empty file system with a root, into the table. */
static inline void memory_start(void)
{
    memset(&memory, 0, sizeof memory);
    memory.room = -1;
    memory.real = INT64_C(1795190400) * 1000000000;
    memory.monotonic = INT64_C(1000) * 1000000000;
    memory_directory("/");
    memory.files[0]->inode = MEMORY_ROOT; /* the shim remembers it */
    sys = sys_real;
    sys.openat = memory_openat;
    sys.close = memory_close;
    sys.read = memory_read;
    sys.pread = memory_pread;
    sys.pwrite = memory_pwrite;
    sys.writev = memory_writev;
    sys.pwritev2 = memory_pwritev2;
    sys.lseek = memory_lseek;
    sys.fstat = memory_fstat;
    sys.fstatat = memory_fstatat;
    sys.birth = memory_birth;
    sys.ftruncate = memory_ftruncate;
    sys.fchmod = memory_fchmod;
    sys.fchown = memory_fchown;
    sys.fgetxattr = memory_fgetxattr;
    sys.futimens = memory_futimens;
    sys.fsync = memory_fsync;
    sys.renameat2 = memory_renameat2;
    sys.linkat = memory_linkat;
    sys.unlinkat = memory_unlinkat;
    sys.getdents64 = memory_getdents64;
    sys.fcntl = memory_fcntl;
    sys.flock = memory_flock;
    sys.dup3 = memory_dup3;
    sys.clock = memory_clock;
    sys.sleep = memory_sleep;
}

static inline void memory_end(void)
{
    memory.fault = NULL;
    for (int fd = 0; fd < MEMORY_FDS; fd++) {
        if (memory.fds[fd] != NULL) {
            memory_close(fd);
        }
    }
    for (size_t i = 0; i < memory.name_count; i++) {
        free(memory.names[i].path);
    }
    for (size_t i = 0; i < memory.file_count; i++) {
        free(memory.files[i]->data);
        free(memory.files[i]);
    }
    memset(&memory, 0, sizeof memory);
}

#endif
