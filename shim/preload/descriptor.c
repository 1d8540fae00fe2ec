/*
 * From a descriptor to what it is: how an unknown one is looked at.
 */
#include "descriptor.h"

#include "descriptor_private.h"
#include "real.h"

#include "core/guard.h"
#include "core/match.h"
#include "core/own.h"
#include "core/sys.h"

#include <errno.h>
#include <limits.h>
#include <string.h>

static const struct config *config;
static uint32_t look_mutex;

/* A number that became the shim's own is unknown, whatever it was before: descriptor_managed asks. */
static void note_own(int fd)
{
    descriptor_set_state(fd, DESCRIPTOR_UNKNOWN);
}

void descriptor_start(const struct config *rules)
{
    config = rules;
    descriptor_use_table(true);
    own_start(note_own);
}

void descriptor_stop(void)
{
    sys_confined = true;
    descriptor_use_table(false);
}

bool descriptor_foreign_memory(void)
{
    return descriptor_active() && guard_foreign_memory();
}

bool rare_enter(struct rare *rare)
{
    if (!descriptor_active() || !guard_enter()) {
        return false;
    }
    if (guard_foreign_process()) {
        guard_leave();
        return false;
    }
    sys_signals_block(&rare->signals);
    return true;
}

void rare_leave(const struct rare *rare)
{
    sys_signals_restore(&rare->signals);
    guard_leave();
}

void descriptor_forked(void)
{
    look_mutex = 0;
}

static const char *base_name(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash == NULL ? path : slash + 1;
}

/*
 * Two paths of one look. The first look has short ones on the stack, which may be a signal handler's small one, and
 * takes no lock; what it cannot tell is looked at closer, with static room under look_mutex.
 */
enum { SHORT_PATH = 512 };
struct paths {
    char *link; /* the real path */
    char *log;  /* the path of the log that it belongs to */
    size_t size;
};
static SYS_SELDOM char long_link[PATH_MAX];
static SYS_SELDOM char long_log[PATH_MAX];
static const struct paths long_paths = {long_link, long_log, PATH_MAX};

enum look { LOOK_PLAIN, LOOK_LOG, LOOK_CLOSER, LOOK_NO_PROC };

/* The real path of an open descriptor; LOOK_PLAIN for what is no file, LOOK_NO_PROC for what cannot be told. */
static enum look real_path(int fd, const struct paths *paths)
{
    ssize_t length = descriptor_link(fd, paths->link, paths->size);
    if (length < 0) {
        return LOOK_NO_PROC;
    }
    if (length == 0 || paths->link[0] != '/') {
        return LOOK_PLAIN;
    }
    if ((size_t)length >= paths->size) {
        return LOOK_CLOSER;
    }
    paths->link[length] = '\0';
    return LOOK_LOG;
}

static bool lies_at(int fd, const char *path)
{
    struct stat mine;
    struct stat there;
    return sys.fstat(fd, &mine) == 0 && sys.fstatat(AT_FDCWD, path, &there, AT_SYMLINK_NOFOLLOW) == 0 &&
           mine.st_dev == there.st_dev && mine.st_ino == there.st_ino;
}

/*
 * The rule of the log that an open file belongs to, and the log's path. Besides the live file that may be an archive:
 * somebody rotated between the open and this look, or long before (inherited). Only a log that was rotated has
 * archives, and a program that names an archive itself means the archive (/dev/stdout names nothing). FUSE may call a
 * file deleted that is at its place: two processes have just created it.
 */
static const struct rule *rule_of(int fd, const char *given, const struct paths *paths)
{
    const struct rule *rule = match_log(config, paths->link);
    if (rule != NULL) {
        strcpy(paths->log, paths->link);
        return rule;
    }
    rule = match_stale(config, paths->link, paths->log, paths->size);
    if (rule == NULL || (given != NULL && strcmp(base_name(given), base_name(paths->link)) == 0)) {
        return NULL;
    }
    return lies_at(fd, paths->log) || log_was_rotated(paths->log, rule) ? rule : NULL;
}

/* What the real path in `paths` belongs to. Only a closer look asks the file system about archives. */
static enum look judge(int fd, const char *given, const struct paths *paths, const struct rule **rule)
{
    if (paths == &long_paths) {
        *rule = rule_of(fd, given, paths);
        return *rule == NULL ? LOOK_PLAIN : LOOK_LOG;
    }
    *rule = match_log(config, paths->link);
    if (*rule != NULL) {
        return LOOK_LOG;
    }
    return match_stale(config, paths->link, paths->log, paths->size) != NULL ? LOOK_CLOSER : LOOK_PLAIN;
}

static enum look look_at(int fd, const char *given, const struct paths *paths, const struct rule **rule)
{
    enum look found = real_path(fd, paths);
    if (found == LOOK_NO_PROC) {
        if (given != NULL) {
            descriptor_say_unknown(config, given, paths->log, paths->size);
        }
        return LOOK_PLAIN;
    }
    return found == LOOK_LOG ? judge(fd, given, paths, rule) : found;
}

/* A log gets O_APPEND and becomes a writer. Apart, because signal stacks are small. */
static __attribute__((noinline)) uintptr_t attach(int fd, const struct rule *rule, const char *path, bool inherited)
{
    struct stat status;
    int flags = sys.fcntl(fd, F_GETFL, 0);
    if (flags < 0 || (flags & O_ACCMODE) == O_RDONLY || (flags & O_PATH) || sys.fstat(fd, &status) != 0 ||
        !S_ISREG(status.st_mode)) {
        return DESCRIPTOR_PLAIN;
    }
    if (flags & O_DIRECT) {
        static _Atomic int64_t said;
        if (diag_is_due(&said)) {
            diag_message("%s is not managed: it was opened with O_DIRECT", path);
        }
        return DESCRIPTOR_PLAIN;
    }
    struct writer *writer =
        log_attach(path, rule, fd, flags & (O_ACCMODE | O_APPEND | O_SYNC | O_DSYNC), inherited, &status);
    if (writer == NULL) {
        return DESCRIPTOR_PLAIN;
    }
    if (!(flags & O_APPEND)) {
        sys.fcntl(fd, F_SETFL, flags | O_APPEND);
    }
    return (uintptr_t)writer;
}

/*
 * An inherited descriptor whose path, as the kernel tells it, leads elsewhere: its directory is covered by a mount, or
 * lies outside of the root. The log at that path is another one.
 */
static __attribute__((noinline)) bool leads_elsewhere(int fd)
{
    const struct rule *rule;
    for (int attempt = 0; attempt < 3; attempt++) {
        if (strcmp(long_link, long_log) != 0) {
            return false; /* an archive by now: the log is in the same directory */
        }
        if (lies_at(fd, long_link)) {
            return false;
        }
        /* Rotated, moved or removed just now? Then the kernel tells another path. */
        if (look_at(fd, NULL, &long_paths, &rule) != LOOK_LOG) {
            return true;
        }
    }
    diag_message("%s is not managed: it is not what lies at that path", long_log);
    return true;
}

/* Apart, so that the stack is free of its paths again when a log is attached: signal handlers have small ones. */
static __attribute__((noinline)) bool surely_plain(int fd, const char *given)
{
    char link[SHORT_PATH];
    char log[SHORT_PATH];
    const struct paths paths = {link, log, SHORT_PATH};
    const struct rule *rule;
    return look_at(fd, given, &paths, &rule) == LOOK_PLAIN;
}

/* The path of a new descriptor costs the kernel 7 microseconds: for pipes and sockets it is not asked for. */
static SYS_START __attribute__((noinline)) bool is_no_file(int fd)
{
    struct stat status;
    return sys.fstat(fd, &status) == 0 && !S_ISREG(status.st_mode);
}

/* Most descriptors are no logs, and finding that out needs no lock. */
SYS_START void descriptor_look(int fd, const char *given)
{
    struct rare rare;
    if (is_no_file(fd) || surely_plain(fd, given)) {
        if (!descriptor_foreign_memory()) {
            descriptor_set_state(fd, DESCRIPTOR_PLAIN);
        }
        return;
    }
    if (!rare_enter(&rare)) {
        return;
    }
    guard_mutex_lock(&look_mutex, 0);
    if (descriptor_state(fd) == DESCRIPTOR_UNKNOWN) {
        const struct rule *rule;
        bool is_log = look_at(fd, given, &long_paths, &rule) == LOOK_LOG && (given != NULL || !leads_elsewhere(fd));
        descriptor_set_state(fd, is_log ? attach(fd, rule, long_log, given == NULL) : DESCRIPTOR_PLAIN);
    }
    guard_mutex_unlock(&look_mutex);
    rare_leave(&rare);
}

SYS_START __attribute__((noinline)) bool descriptor_unknown_managed(int fd)
{
    int saved = errno;
    if (!own_is(fd)) {
        descriptor_look(fd, NULL);
    }
    errno = saved;
    return descriptor_state(fd) > DESCRIPTOR_LOCK;
}

__attribute__((noinline)) bool descriptor_unknown_takes_write(int fd)
{
    return descriptor_unknown_managed(fd) ||
           (descriptor_state(fd) == DESCRIPTOR_UNKNOWN && (own_is(fd) || descriptor_foreign_memory()));
}

bool descriptor_appends(int fd)
{
    const struct writer *writer = descriptor_writer(fd);
    return writer != NULL && writer->appends;
}

bool descriptor_shows_append(int fd)
{
    const struct writer *writer = descriptor_writer(fd);
    return writer == NULL || writer->shows_append;
}

void descriptor_show_append(int fd, bool shows)
{
    struct writer *writer = descriptor_writer(fd);
    if (writer != NULL && !descriptor_foreign_memory()) {
        writer->shows_append = shows;
    }
}

/* Opens what a path leads to without opening it (O_PATH), or its directory if it does not exist; the rest in *base. */
static int open_place(int directory, const char *path, int flags, const struct paths *paths, const char **base)
{
    *base = NULL;
    int fd = sys.openat(directory, path, O_PATH | O_CLOEXEC | (flags & O_NOFOLLOW), 0);
    if (fd != -ENOENT || !(flags & O_CREAT)) {
        return fd;
    }
    *base = base_name(path);
    size_t parent = (size_t)(*base - path);
    if (**base == '\0' || parent + 2 > paths->size) {
        return **base == '\0' ? -ENOENT : -ENAMETOOLONG;
    }
    memcpy(paths->link, path, parent);
    strcpy(paths->link + parent, parent == 0 ? "." : "");
    return sys.openat(directory, paths->link, O_PATH | O_DIRECTORY | O_CLOEXEC, 0);
}

/* Whether opening would open, or create, a log's file. */
static enum look resolve(int directory, const char *path, int flags, const struct paths *paths,
                         const struct rule **rule)
{
    const char *base;
    int fd = open_place(directory, path, flags, paths, &base);
    if (fd < 0) {
        return fd == -ENAMETOOLONG ? LOOK_CLOSER : LOOK_PLAIN;
    }
    enum look found = real_path(fd, paths);
    sys.close(fd);
    if (found == LOOK_LOG && base != NULL) {
        size_t length = strlen(paths->link);
        if (length + strlen(base) + 2 > paths->size) {
            return LOOK_CLOSER;
        }
        if (length > 1) { /* not the root */
            paths->link[length++] = '/';
        }
        strcpy(paths->link + length, base);
    }
    return found == LOOK_LOG ? judge(-1, path, paths, rule) : found;
}

const struct rule *descriptor_path_rule(int directory, const char *path, int flags)
{
    char link[SHORT_PATH];
    char log[SHORT_PATH];
    const struct paths paths = {link, log, SHORT_PATH};
    const struct rule *rule = NULL;
    struct rare rare;
    if (!descriptor_active()) {
        return NULL;
    }
    int saved = errno;
    enum look found = resolve(directory, path, flags, &paths, &rule);
    if (found == LOOK_CLOSER && rare_enter(&rare)) {
        guard_mutex_lock(&look_mutex, 0);
        found = resolve(directory, path, flags, &long_paths, &rule);
        guard_mutex_unlock(&look_mutex);
        rare_leave(&rare);
    }
    errno = saved;
    return found == LOOK_LOG ? rule : NULL;
}

bool descriptor_path_is_log(int directory, const char *path, int flags)
{
    return descriptor_path_rule(directory, path, flags) != NULL;
}
