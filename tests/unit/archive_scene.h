/*
 * A directory with archives, described by their names before and after, and settling it as `mplogshim settle` does.
 *
 * Each file holds the name that it had at first, so that a listing shows what became of which.
 */
#ifndef ARCHIVE_SCENE_H
#define ARCHIVE_SCENE_H

#include "temporary.h"

#include "../../shim/core/name.h"
#include "../../shim/core/sys.h"
#include "../../shim/tool/archive.h"
#include "../../shim/tool/written.h"

#include <dirent.h>
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <zlib.h>

#include <cmocka.h>

/* Pending archives of generations 1 to 3: begun 2026-11-20 at 16:00:00, 16:00:00 and 16:00:07. */
#define PENDING1 ".app.log.0000000000000001.1795190400.pending"
#define PENDING2 ".app.log.0000000000000002.1795190400.pending"
#define PENDING3 ".app.log.0000000000000003.1795190407.pending"

enum { LISTING_SIZE = 8192, TOLD_SIZE = 1024 };

/* Result of a pass: nothing is left to do, or something has to wait; or -errno. */
enum { PASS_DONE, PASS_WAITS };

struct place {
    char directory[TEMPORARY_SIZE];
    struct policy policy;
    struct period_zone zone;
    struct archive_task task;
    char told[TOLD_SIZE]; /* "app.log.1 app.log.1.gz ": what was told to be finished */
};

static inline void place_note(void *context, const char *name, int64_t bytes)
{
    struct place *place = context;
    size_t length = strlen(place->told);
    assert_int_equal(temporary_length(place->directory, name), bytes);
    snprintf(place->told + length, sizeof place->told - length, "%s ", name);
}

static inline int place_setup(void **state)
{
    struct place *place = calloc(1, sizeof *place);
    temporary_make(place->directory);
    period_zone_utc(&place->zone);
    place->policy = (struct policy){.naming = NAMING_NUMBER, .period = {.unit = PERIOD_NONE, .interval = 1}};
    place->task = (struct archive_task){
        .policy = &place->policy,
        .zone = &place->zone,
        .directory = open(place->directory, O_PATH | O_DIRECTORY | O_CLOEXEC),
        .base = "app.log",
        .generation = 10,
        .finished = place_note,
        .context = place,
    };
    *state = place;
    return 0;
}

static inline int place_teardown(void **state)
{
    struct place *place = *state;
    sys = sys_real;
    close(place->task.directory);
    temporary_remove(place->directory);
    free(place);
    return 0;
}

#define PLACE_TEST(name) cmocka_unit_test_setup_teardown(name, place_setup, place_teardown)

static inline void place_make(struct place *place, const char *const names[])
{
    for (; *names != NULL; names++) {
        temporary_write(place->directory, *names, *names);
    }
}
#define MAKE(place, ...) place_make(place, (const char *const[]){__VA_ARGS__, NULL})

/* A directory and a link. */
static inline void make_foreign(const struct place *place, const char *directory, const char *link)
{
    struct temporary_path path = temporary_path(place->directory, directory);
    assert_int_equal(mkdir(path.text, 0700), 0);
    path = temporary_path(place->directory, link);
    assert_int_equal(symlink("/dev/null", path.text), 0);
}

/* Seconds of the epoch. */
static inline void set_mtime(const struct place *place, const char *name, int64_t seconds)
{
    const struct timespec times[2] = {{.tv_sec = seconds}, {.tv_sec = seconds}};
    struct temporary_path path = temporary_path(place->directory, name);
    assert_int_equal(utimensat(AT_FDCWD, path.text, times, AT_SYMLINK_NOFOLLOW), 0);
}

/* All steps of a pass but the removal of unused files. */
static inline int pass_steps(const struct archive_task *task, struct archives *archives)
{
    int error = archive_list(task, archives);
    error = error != 0 ? error : archive_repair(task, archives);
    error = error != 0 ? error : archive_name_pending(task, archives);
    error = error != 0 ? error : archive_prune(task, archives);
    if (error != 0) {
        return error;
    }
    error = archive_compress(task, archives);
    int total = archive_prune_total(task, archives);
    return error != 0 ? error : total;
}

static inline int pass(const struct archive_task *task)
{
    struct archives archives = {.items = NULL};
    int error = pass_steps(task, &archives);
    int result = archives.wait ? PASS_WAITS : PASS_DONE;
    archive_free(&archives);
    return error != 0 ? error : result;
}

static inline void assert_settles(struct place *place)
{
    assert_int_equal(pass(&place->task), PASS_DONE);
}

/* The content, decompressed if it is compressed, to be freed. */
static inline char *place_read(const char *directory, const char *name)
{
    enum { SIZE = 1 << 16 };
    struct temporary_path path = temporary_path(directory, name);
    char *text = calloc(1, SIZE);
    gzFile file = gzopen(path.text, "rbe");
    temporary_must(file != NULL && text != NULL, path.text);
    temporary_must(gzread(file, text, SIZE - 1) >= 0 && gzclose(file) == Z_OK, path.text);
    return text;
}

static inline int place_by_name(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

/* "name" for a file that holds its own name, "name<former" for one that was renamed, "name/", "name@", "name|". */
static inline void place_describe(const struct place *place, const char *name, char *out, size_t size)
{
    struct stat status;
    struct temporary_path path = temporary_path(place->directory, name);
    assert_int_equal(lstat(path.text, &status), 0);
    if (!S_ISREG(status.st_mode)) {
        snprintf(out, size, "%s%c", name, S_ISDIR(status.st_mode) ? '/' : S_ISFIFO(status.st_mode) ? '|' : '@');
        return;
    }
    char *text = place_read(place->directory, name);
    bool renamed = strcmp(text, name) != 0;
    snprintf(out, size, "%s%s%s", name, renamed ? "<" : "", renamed ? text : "");
    free(text);
}

static inline void assert_there(const struct place *place, const char *expected)
{
    char *names[64];
    size_t count = 0;
    char listing[LISTING_SIZE] = "";
    DIR *stream = opendir(place->directory);
    assert_non_null(stream);
    for (struct dirent *entry; (entry = readdir(stream)) != NULL;) {
        if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0) {
            assert_in_range(count, 0, 63);
            names[count++] = strdup(entry->d_name);
        }
    }
    closedir(stream);
    qsort(names, count, sizeof names[0], place_by_name);
    for (size_t i = 0; i < count; i++) {
        size_t length = strlen(listing);
        strcpy(listing + length, i > 0 ? " " : "");
        length = strlen(listing);
        place_describe(place, names[i], listing + length, sizeof listing - length);
        free(names[i]);
    }
    assert_string_equal(listing, expected);
}

static inline int open_for_writing(const struct place *place, const char *name)
{
    struct temporary_path path = temporary_path(place->directory, name);
    int fd = open(path.text, O_WRONLY | O_APPEND | O_CLOEXEC);
    assert_true(fd >= 0);
    return fd;
}

#endif
