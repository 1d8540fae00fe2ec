/*
 * The files of one log in the order in which they were written: archives, pending archives, the live file.
 *
 * Written from the contract, not with the shim's own code: it is what proves that code.
 */
#ifndef HISTORY_H
#define HISTORY_H

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum history_naming { HISTORY_NUMBER, HISTORY_TIME };
enum history_kind { HISTORY_ARCHIVE, HISTORY_PENDING, HISTORY_LIVE };

struct history_file {
    enum history_kind kind;
    char path[PATH_MAX];
    char period[32];           /* an archive named by time */
    unsigned long long number; /* of the archive, or its sequence in the period, or a pending one's generation */
};

struct history {
    struct history_file *files; /* oldest first, the live file last */
    size_t count;
    size_t strangers; /* files beside the log that have its name and no form of the contract */
};

/* A decimal number without leading zeros at *text, which is moved behind it. */
static bool history_take_number(const char **text, unsigned long long *number)
{
    if (!isdigit((unsigned char)**text) || **text == '0')
        return false;
    char *end;
    *number = strtoull(*text, &end, 10);
    *text = end;
    return true;
}

/* Digits as in a form ('0' for any digit) at *text, which is moved behind them. */
static bool history_take_digits(const char **text, const char *form)
{
    const char *at = *text;
    for (; *form; form++, at++) {
        if (*form == '0' ? !isdigit((unsigned char)*at) : *at != *form)
            return false;
    }
    *text = at;
    return true;
}

/* "2026-11-20", "2026-11-20_13", "2026-11-20_13-05" or "2026-11-20_13-05-09" at *text, which is moved behind it. */
static bool history_take_period(const char **text, char period[32])
{
    const char *start = *text;
    if (!history_take_digits(text, "0000-00-00"))
        return false;
    if (history_take_digits(text, "_00") && history_take_digits(text, "-00"))
        history_take_digits(text, "-00");
    snprintf(period, 32, "%.*s", (int)(*text - start), start);
    return true;
}

static bool history_parse_archive(struct history_file *file, const char *suffix, enum history_naming naming)
{
    if (naming == HISTORY_NUMBER) {
        if (!history_take_number(&suffix, &file->number))
            return false;
    } else {
        if (!history_take_period(&suffix, file->period))
            return false;
        if (*suffix == '.' && isdigit((unsigned char)suffix[1])) {
            suffix++;
            if (!history_take_number(&suffix, &file->number))
                return false;
        }
    }
    file->kind = HISTORY_ARCHIVE;
    return *suffix == '\0' || strcmp(suffix, ".gz") == 0;
}

static bool history_parse_pending(struct history_file *file, const char *suffix)
{
    char *end;
    file->kind = HISTORY_PENDING;
    file->number = strtoull(suffix, &end, 16);
    if (end != suffix + 16 || *end != '.')
        return false;
    strtoull(end + 1, &end, 10);
    return strcmp(end, ".pending") == 0;
}

/* What `name` is to the log `base`: 1 a file of its history, 0 nothing, -1 a stranger that has its name. */
static int history_parse(struct history_file *file, const char *name, const char *base, enum history_naming naming)
{
    size_t length = strlen(base);
    if (strcmp(name, base) == 0) {
        file->kind = HISTORY_LIVE;
        return 1;
    }
    if (strncmp(name, base, length) == 0 && name[length] == '.')
        return history_parse_archive(file, name + length + 1, naming) ? 1 : -1;
    if (name[0] == '.' && strncmp(name + 1, base, length) == 0 && name[length + 1] == '.') {
        const char *suffix = name + length + 2;
        if (strcmp(suffix, "lock") == 0)
            return 0;
        return history_parse_pending(file, suffix) ? 1 : -1;
    }
    return 0;
}

static int history_compare_numbers(unsigned long long a, unsigned long long b)
{
    return (a > b) - (a < b);
}

static int history_compare(const void *left, const void *right)
{
    const struct history_file *a = left;
    const struct history_file *b = right;
    if (a->kind != b->kind)
        return (int)a->kind - (int)b->kind;
    int periods = strcmp(a->period, b->period);
    if (periods != 0)
        return periods;
    int numbers = history_compare_numbers(a->number, b->number);
    bool newest_is_first = a->kind == HISTORY_ARCHIVE && a->period[0] == '\0';
    return newest_is_first ? -numbers : numbers;
}

static int history_add(struct history *history, const struct history_file *file)
{
    struct history_file *files = realloc(history->files, (history->count + 1) * sizeof *files);
    if (files == NULL)
        return -ENOMEM;
    files[history->count++] = *file;
    history->files = files;
    return 0;
}

static int history_list_directory(struct history *history, DIR *stream, const char *directory, const char *base,
                                  enum history_naming naming)
{
    const struct dirent *entry;
    while ((entry = readdir(stream)) != NULL) {
        struct history_file file = {0};
        int meaning = history_parse(&file, entry->d_name, base, naming);
        if (meaning < 0) {
            fprintf(stderr, "checker: %s/%s is no archive of %s\n", directory, entry->d_name, base);
            history->strangers++;
        } else if (meaning > 0) {
            snprintf(file.path, sizeof file.path, "%s/%s", directory, entry->d_name);
            if (history_add(history, &file) != 0)
                return -ENOMEM;
        }
    }
    return 0;
}

/* Fills in *history for the log at `path`; names every stranger on stderr. 0, or -errno. */
static inline int history_list(struct history *history, const char *path, enum history_naming naming)
{
    char directory[PATH_MAX] = ".";
    const char *slash = strrchr(path, '/');
    const char *base = slash ? slash + 1 : path;
    if (slash)
        snprintf(directory, sizeof directory, "%.*s", slash == path ? 1 : (int)(slash - path), path);

    *history = (struct history){0};
    DIR *stream = opendir(directory);
    if (stream == NULL)
        return -errno;
    int result = history_list_directory(history, stream, directory, base, naming);
    closedir(stream);
    if (history->count > 0)
        qsort(history->files, history->count, sizeof *history->files, history_compare);
    return result;
}

#endif
