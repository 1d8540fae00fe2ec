/* A directory for one test, and the files in it. Everything is gone when temporary_remove returns. */
#ifndef TEMPORARY_H
#define TEMPORARY_H

#include <fcntl.h>
#include <ftw.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { TEMPORARY_SIZE = 64, TEMPORARY_PATH_SIZE = 512 };

struct temporary_path {
    char text[TEMPORARY_PATH_SIZE];
};

static inline void temporary_must(bool done, const char *what)
{
    if (!done) {
        perror(what);
        abort();
    }
}

static inline void temporary_make(char directory[TEMPORARY_SIZE])
{
    strcpy(directory, "/tmp/mplogshim-test-XXXXXX");
    temporary_must(mkdtemp(directory) != NULL, "mkdtemp");
}

static inline int temporary_remove_one(const char *path, const struct stat *status, int kind, struct FTW *place)
{
    (void)status;
    (void)kind;
    (void)place;
    return remove(path);
}

static inline void temporary_remove(const char *directory)
{
    temporary_must(nftw(directory, temporary_remove_one, 16, FTW_DEPTH | FTW_PHYS) == 0, directory);
}

static inline struct temporary_path temporary_path(const char *directory, const char *name)
{
    struct temporary_path path;
    int length = snprintf(path.text, sizeof path.text, "%s/%s", directory, name);
    temporary_must(length > 0 && (size_t)length < sizeof path.text, name);
    return path;
}

static inline void temporary_write(const char *directory, const char *name, const char *text)
{
    struct temporary_path path = temporary_path(directory, name);
    int fd = open(path.text, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0644);
    temporary_must(fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text), path.text);
    close(fd);
}

/* The file's text, NUL-terminated, to be freed; NULL if there is no such regular file. */
static inline char *temporary_read(const char *directory, const char *name)
{
    struct stat status;
    struct temporary_path path = temporary_path(directory, name);
    int fd = open(path.text, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    if (fd < 0 || fstat(fd, &status) != 0 || !S_ISREG(status.st_mode)) {
        if (fd >= 0) {
            close(fd);
        }
        return NULL;
    }
    char *text = calloc(1, (size_t)status.st_size + 1);
    temporary_must(text != NULL && read(fd, text, (size_t)status.st_size) == status.st_size, path.text);
    close(fd);
    return text;
}

static inline bool temporary_exists(const char *directory, const char *name)
{
    struct stat status;
    struct temporary_path path = temporary_path(directory, name);
    return lstat(path.text, &status) == 0;
}

/* Bytes of the file, or -1 if there is none. */
static inline long temporary_length(const char *directory, const char *name)
{
    struct stat status;
    struct temporary_path path = temporary_path(directory, name);
    return lstat(path.text, &status) == 0 ? (long)status.st_size : -1;
}

/* How many times `word` occurs in the file; 0 if there is none. */
static inline int temporary_count(const char *directory, const char *name, const char *word)
{
    char *text = temporary_read(directory, name);
    int count = 0;
    for (char *at = text; at != NULL && (at = strstr(at, word)) != NULL; at += strlen(word)) {
        count++;
    }
    free(text);
    return count;
}

#endif
