#include "find.h"

#include "../core/log_private.h"
#include "../core/match.h"
#include "../core/name.h"
#include "../core/sys.h"

#include "../../include/mplogshim.h"

#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <string.h>

enum { DEPTH_MAX = 64 };

struct walk {
    const struct config *config;
    const struct rule *rule;
    void (*found)(const char *path, void *context);
    void *context;
    int error;
    char path[PATH_MAX];
};

static bool has_lock_file(const struct rule *rule, const char *path)
{
    char name[NAME_SIZE];
    char lock[PATH_MAX];
    struct stat status;
    size_t directory = rule->lock_dir != NULL ? strlen(rule->lock_dir) : (size_t)(strrchr(path, '/') - path);
    if (log_name_lock(rule, path, name) != 0 || directory + 1 + strlen(name) >= sizeof lock) {
        return false;
    }
    memcpy(lock, rule->lock_dir != NULL ? rule->lock_dir : path, directory);
    lock[directory] = '/';
    strcpy(lock + directory + 1, name);
    return sys.fstatat(AT_FDCWD, lock, &status, AT_SYMLINK_NOFOLLOW) == 0 && S_ISREG(status.st_mode);
}

/* Appends "/name" to the path of `length` bytes; the new length, or 0 if there is no room. */
static size_t append(struct walk *walk, size_t length, const char *name, size_t name_length)
{
    if (length + 1 + name_length >= sizeof walk->path) {
        return 0;
    }
    walk->path[length] = '/';
    memcpy(walk->path + length + 1, name, name_length);
    walk->path[length + 1 + name_length] = '\0';
    return length + 1 + name_length;
}

/* The path may be that of a log of this rule's; another rule that comes first has it when it is that one's turn. */
static void consider(struct walk *walk)
{
    if (match_log(walk->config, walk->path) == walk->rule && has_lock_file(walk->rule, walk->path)) {
        walk->found(walk->path, walk->context);
    }
}

/*
 * Beside the log, its lock file tells of a log whose live file is missing; in lock_dir lie those of others, too, so
 * there the live file is what is looked for.
 */
static void consider_entry(struct walk *walk, size_t length, const char *name)
{
    const size_t suffix = sizeof MPLOGSHIM_LOCK_SUFFIX - 1;
    size_t name_length = strlen(name);
    if (walk->rule->lock_dir != NULL) {
        if (append(walk, length, name, name_length) > 0) {
            consider(walk);
        }
    } else if (name[0] == '.' && name_length > suffix + 1 &&
               strcmp(name + name_length - suffix, MPLOGSHIM_LOCK_SUFFIX) == 0 &&
               append(walk, length, name + 1, name_length - suffix - 1) > 0) {
        consider(walk);
    }
    walk->path[length] = '\0';
}

static bool is_directory(int directory, const struct dirent *entry)
{
    struct stat status;
    if (entry->d_type != DT_UNKNOWN) {
        return entry->d_type == DT_DIR;
    }
    return sys.fstatat(directory, entry->d_name, &status, AT_SYMLINK_NOFOLLOW) == 0 && S_ISDIR(status.st_mode);
}

/* The directory walk->path, of `length` bytes, and `depth` levels below. */
static void walk_directory(struct walk *walk, size_t length, unsigned depth)
{
    int fd = sys.openat(AT_FDCWD, length == 0 ? "/" : walk->path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC, 0);
    DIR *directory = fd < 0 ? NULL : fdopendir(fd);
    if (directory == NULL) {
        if (fd != -ENOENT && fd != -ENOTDIR) {
            walk->error = fd < 0 ? fd : -ENOMEM;
        }
        return;
    }
    for (const struct dirent *entry; (entry = readdir(directory)) != NULL;) {
        const char *name = entry->d_name;
        if (!is_directory(fd, entry)) {
            consider_entry(walk, length, name);
        } else if (depth > 0 && strcmp(name, ".") != 0 && strcmp(name, "..") != 0) {
            size_t below = append(walk, length, name, strlen(name));
            if (below > 0) {
                walk_directory(walk, below, depth - 1);
            }
            walk->path[length] = '\0';
        }
    }
    closedir(directory);
}

/* The length of the directory with which the pattern begins before its first wildcard, put into walk->path. */
static size_t literal_beginning(struct walk *walk, const char *pattern, const char **rest)
{
    size_t length = 0;
    size_t directory = 0;
    *rest = pattern;
    for (const char *at = pattern; *at != '\0' && strchr("*?[", *at) == NULL && length + 1 < sizeof walk->path; at++) {
        if (*at == '/') {
            directory = length;
            *rest = at + 1;
        }
        at += *at == '\\' && at[1] != '\0';
        walk->path[length++] = *at;
    }
    walk->path[directory] = '\0';
    return directory;
}

static void walk_pattern(struct walk *walk)
{
    const char *rest;
    size_t length = literal_beginning(walk, walk->rule->pattern_real, &rest);
    unsigned depth = 0;
    for (const char *at = rest; *at != '\0'; at++) {
        depth += *at == '/';
    }
    walk_directory(walk, length, strstr(rest, "**") != NULL ? DEPTH_MAX : depth);
}

int find_logs(const struct config *config, void (*found)(const char *path, void *context), void *context)
{
    struct walk walk = {.config = config, .found = found, .context = context};
    for (size_t i = 0; i < config->count; i++) {
        walk.rule = &config->rules[i];
        walk_pattern(&walk);
    }
    return walk.error;
}
