/*
 * The whole history of a log, oldest byte first, put together from its archives and its live file.
 *
 * Written apart from the library's own code for names, so that a mistake in that does not hide itself.
 */
#ifndef TESTS_HISTORY_H
#define TESTS_HISTORY_H

#include "raw.h"

#include <ctype.h>
#include <dirent.h>

enum { HISTORY_FILES = 4096 };

/* Order of a file within the history: the class first, then the name. */
struct history_file {
    int class; /* 0 archive by time, 1 by number, 2 pending, 3 live */
    long number;
    char name[NAME_MAX + 1];
};

static inline bool history_classify(const char *base, const char *name, struct history_file *file)
{
    size_t length = strlen(base);
    memset(file, 0, sizeof *file);
    memcpy(file->name, name, strlen(name) + 1);
    if (strcmp(name, base) == 0) {
        file->class = 3;
        return true;
    }
    if (name[0] == '.' && strncmp(name + 1, base, length) == 0 && name[length + 1] == '.' &&
        strcmp(name + strlen(name) - 8, ".pending") == 0) {
        file->class = 2;
        return true;
    }
    if (strncmp(name, base, length) != 0 || name[length] != '.' || !isdigit((unsigned char)name[length + 1])) {
        return false;
    }
    char *end;
    file->number = strtol(name + length + 1, &end, 10);
    file->class = *end == '\0' ? 1 : 0;
    return true;
}

static inline int history_compare(const void *left, const void *right)
{
    const struct history_file *a = left;
    const struct history_file *b = right;
    if (a->class != b->class) {
        return a->class - b->class;
    }
    if (a->class == 1) {
        return a->number < b->number ? 1 : -1;
    }
    return strverscmp(a->name, b->name);
}

/* The files of the log's history in order; returns how many. The live file, if there, is the last. */
static inline size_t history_files(const char *log, struct history_file files[HISTORY_FILES])
{
    char directory[PATH_MAX];
    const char *slash = strrchr(log, '/');
    const char *base = slash != NULL ? slash + 1 : log;
    snprintf(directory, sizeof directory, "%.*s", slash != NULL ? (int)(slash - log) : 1, slash != NULL ? log : ".");
    DIR *listing = opendir(directory);
    size_t count = 0;
    for (struct dirent *entry; listing != NULL && (entry = readdir(listing)) != NULL;) {
        if (count < HISTORY_FILES && history_classify(base, entry->d_name, &files[count])) {
            count++;
        }
    }
    if (listing != NULL) {
        closedir(listing);
    }
    qsort(files, count, sizeof files[0], history_compare);
    return count;
}

static inline size_t history_archives(const char *log)
{
    static struct history_file files[HISTORY_FILES];
    size_t count = history_files(log, files);
    return count > 0 && files[count - 1].class == 3 ? count - 1 : count;
}

/* All bytes, NUL-terminated; to be called when nobody writes. */
static inline char *history_read(const char *log, size_t *size)
{
    static struct history_file files[HISTORY_FILES];
    size_t count = history_files(log, files);
    char *all = malloc(1);
    size_t length = 0;
    for (size_t i = 0; i < count && all != NULL; i++) {
        char path[PATH_MAX + NAME_MAX];
        const char *slash = strrchr(log, '/');
        snprintf(path, sizeof path, "%.*s%s", slash != NULL ? (int)(slash + 1 - log) : 0, log, files[i].name);
        size_t more;
        char *data = raw_read(path, &more);
        all = realloc(all, length + more + 1);
        if (all != NULL) {
            memcpy(all + length, data, more);
            length += more;
        }
        free(data);
    }
    if (all == NULL) {
        abort();
    }
    all[length] = '\0';
    if (size != NULL) {
        *size = length;
    }
    return all;
}

#endif
