/*
 * From a descriptor to what it is: the table, and how an unknown descriptor is looked at.
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

/*
 * One word for each number up to the kernel's default limit (fs.nr_open); reserved memory, touched where used. It is
 * a cache: everything that makes a descriptor and is intercepted sets or clears its word.
 */
enum { TABLE_SIZE = 1 << 20 };
static uintptr_t *table; /* NULL: inert */
static const struct config *config;
static uint32_t look_mutex;
static int highest_managed = -1;

int descriptor_start(const struct config *rules)
{
    config = rules;
    uintptr_t *memory = sys_reserve(TABLE_SIZE * sizeof *table);
    if (memory == NULL) {
        return -ENOMEM;
    }
    table = memory;
    return 0;
}

void descriptor_stop(void)
{
    table = NULL;
}

bool descriptor_active(void)
{
    return table != NULL;
}

bool descriptor_foreign_memory(void)
{
    return table != NULL && guard_foreign_memory();
}

uintptr_t descriptor_state(int fd)
{
    uintptr_t *states = table;
    return states == NULL || (unsigned)fd >= TABLE_SIZE ? DESCRIPTOR_PLAIN
                                                        : __atomic_load_n(&states[fd], __ATOMIC_ACQUIRE);
}

void descriptor_set_state(int fd, uintptr_t state)
{
    uintptr_t *states = table;
    if (states == NULL || (unsigned)fd >= TABLE_SIZE) {
        return;
    }
    if (state > DESCRIPTOR_PLAIN && fd > highest_managed) {
        highest_managed = fd;
    }
    if (states[fd] != state) { /* an untouched page stays untouched */
        __atomic_store_n(&states[fd], state, __ATOMIC_RELEASE);
    }
}

int descriptor_highest_managed(void)
{
    return highest_managed;
}

struct writer *descriptor_writer(int fd)
{
    uintptr_t state = descriptor_state(fd);
    return state > DESCRIPTOR_PLAIN ? (struct writer *)state : NULL;
}

bool rare_enter(struct rare *rare)
{
    if (table == NULL || !guard_enter()) {
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

/* The real path of an open descriptor in link[PATH_MAX]; false for what is no file, or without /proc. */
static bool real_path(int fd, char *link)
{
    char name[32];
    diag_format(name, sizeof name, "/proc/self/fd/%d", fd);
    ssize_t length = sys.readlinkat(AT_FDCWD, name, link, PATH_MAX - 1);
    if (length <= 0 || link[0] != '/') {
        return false;
    }
    link[length] = '\0';
    return true;
}

/*
 * The rule of the log that an open file with this real path belongs to, and the log's path. Besides the live file that
 * may be an archive: somebody rotated between the open and this look, or long before (inherited). Only a log that was
 * rotated has archives, and a program that names an archive itself means the archive.
 */
static const struct rule *rule_of(char *link, const char *given, char *log_path)
{
    const struct rule *rule = match_log(config, link);
    if (rule != NULL) {
        strcpy(log_path, link);
        return rule;
    }
    rule = match_stale(config, link, log_path, PATH_MAX);
    if (rule == NULL || (given != NULL && strcmp(base_name(given), base_name(log_path)) != 0)) {
        return NULL;
    }
    return log_was_rotated(log_path, rule) ? rule : NULL;
}

/* Looks at a descriptor; a log gets O_APPEND and becomes a writer. */
static uintptr_t look(int fd, const char *given)
{
    static char link[PATH_MAX]; /* under look_mutex: signal stacks are small */
    static char log_path[PATH_MAX];
    struct stat status;
    if (!real_path(fd, link)) {
        return DESCRIPTOR_PLAIN;
    }
    const struct rule *rule = rule_of(link, given, log_path);
    int flags = rule == NULL ? -1 : sys.fcntl(fd, F_GETFL, 0);
    if (flags < 0 || (flags & O_ACCMODE) == O_RDONLY || (flags & (O_PATH | O_DIRECT)) || sys.fstat(fd, &status) != 0 ||
        !S_ISREG(status.st_mode)) {
        return DESCRIPTOR_PLAIN;
    }
    struct writer *writer = log_attach(log_path, rule, fd, flags & O_ACCMODE, &status);
    if (writer == NULL) {
        return DESCRIPTOR_PLAIN;
    }
    if (!(flags & O_APPEND)) {
        sys.fcntl(fd, F_SETFL, flags | O_APPEND);
    }
    return (uintptr_t)writer;
}

void descriptor_look(int fd, const char *given)
{
    guard_mutex_lock(&look_mutex, 0);
    descriptor_set_state(fd, look(fd, given));
    guard_mutex_unlock(&look_mutex);
}

static bool look_at_unknown(int fd)
{
    struct rare rare;
    int saved = errno;
    bool managed = false;
    if (rare_enter(&rare)) {
        if (descriptor_state(fd) == DESCRIPTOR_UNKNOWN) {
            descriptor_look(fd, NULL);
        }
        managed = descriptor_state(fd) > DESCRIPTOR_PLAIN;
        rare_leave(&rare);
    }
    errno = saved;
    return managed;
}

bool descriptor_managed(int fd)
{
    uintptr_t state = descriptor_state(fd);
    if (__builtin_expect(state == DESCRIPTOR_PLAIN, 1)) {
        return false;
    }
    return state > DESCRIPTOR_PLAIN || look_at_unknown(fd);
}

/* What opening would open or create: found by way of a descriptor that opens nothing (O_PATH). */
static bool resolve(int directory, const char *path, int flags, char *link)
{
    int fd = sys.openat(directory, path, O_PATH | O_CLOEXEC | (flags & O_NOFOLLOW), 0);
    if (fd >= 0) {
        bool found = real_path(fd, link);
        sys.close(fd);
        return found;
    }
    const char *base = base_name(path);
    size_t parent = (size_t)(base - path);
    if (fd != -ENOENT || !(flags & O_CREAT) || base[0] == '\0' || parent + 2 > PATH_MAX) {
        return false;
    }
    memcpy(link, path, parent);
    strcpy(link + parent, parent == 0 ? "." : "");
    fd = sys.openat(directory, link, O_PATH | O_DIRECTORY | O_CLOEXEC, 0);
    if (fd < 0) {
        return false;
    }
    bool found = real_path(fd, link);
    sys.close(fd);
    size_t length = found ? strlen(link) : 0;
    if (!found || length + 1 + strlen(base) >= PATH_MAX) {
        return false;
    }
    if (length > 1) { /* not the root */
        link[length++] = '/';
    }
    strcpy(link + length, base);
    return true;
}

bool descriptor_resolves_to_log(int directory, const char *path, int flags)
{
    static char link[PATH_MAX];
    static char log_path[PATH_MAX];
    guard_mutex_lock(&look_mutex, 0);
    bool found = resolve(directory, path, flags, link) && rule_of(link, path, log_path) != NULL;
    guard_mutex_unlock(&look_mutex);
    return found;
}

bool descriptor_path_is_log(int directory, const char *path, int flags)
{
    struct rare rare;
    int saved = errno;
    bool found = false;
    if (rare_enter(&rare)) {
        found = descriptor_resolves_to_log(directory, path, flags);
        rare_leave(&rare);
    }
    errno = saved;
    return found;
}
