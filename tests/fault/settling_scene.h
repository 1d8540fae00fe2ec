/*
 * A directory in which somebody was killed while settling, and what is to become of it.
 *
 * It holds lines 1 to 20 in four archives, two of them pending; the oldest of them was just compressed when somebody
 * was killed, and another compression was cut off. There are two older ones too many, and a file that was prepared for
 * a rotation. Line 21 is in the live file.
 */
#ifndef SETTLING_SCENE_H
#define SETTLING_SCENE_H

#include "../unit/archive_scene.h"

enum { ARCHIVES = 4, LINES = 5, LAST_LINE = ARCHIVES * LINES };

struct setting {
    const char *name;
    enum rule_naming naming;
    bool no_rename_flags;
};
static const struct setting numbers = {.name = "numbers", .naming = NAMING_NUMBER};
static const struct setting times = {.name = "times", .naming = NAMING_TIME};

/* What was there before, by naming: the newest, the one before, its compressed form, and two too many. */
static const char *const named[2][5] = {
    {"app.log.1", "app.log.2", "app.log.2.gz", "app.log.7", "app.log.9.gz"},
    {"app.log.2026-11-20_15-00-07", "app.log.2026-11-20_15-00-00", "app.log.2026-11-20_15-00-00.gz",
     "app.log.2026-11-19_23-00-00", "app.log.2026-11-19_22-00-00.gz"},
};

static inline void make_lines(char *text, int first, int last)
{
    for (; first <= last; first++) {
        text += sprintf(text, "line %d\n", first);
    }
}

static inline void make_file(const struct place *place, const char *name, int nth)
{
    char text[256] = "";
    make_lines(text, nth * LINES + 1, (nth + 1) * LINES);
    temporary_write(place->directory, name, text);
}

static inline void make_compressed(const struct place *place, const char *name, int nth)
{
    char text[256] = "";
    struct temporary_path path = temporary_path(place->directory, name);
    make_lines(text, nth * LINES + 1, (nth + 1) * LINES);
    gzFile file = gzopen(path.text, "wbe");
    temporary_must(file != NULL && gzputs(file, text) > 0 && gzclose(file) == Z_OK, path.text);
}

static inline struct place *place_of(const struct setting *setting)
{
    void *state;
    const char *const *names = named[setting->naming];
    place_setup(&state);
    struct place *place = state;
    place->policy.naming = setting->naming;
    place->policy.compress = 6;
    place->policy.backups = ARCHIVES;
    place->task.finished = NULL;
    make_file(place, names[1], 0);
    make_compressed(place, names[2], 0);
    make_file(place, names[0], 1);
    make_file(place, PENDING1, 2);
    make_file(place, PENDING3, 3);
    temporary_write(place->directory, names[3], "too many\n");
    temporary_write(place->directory, names[4], "too many\n");
    temporary_write(place->directory, ".app.log.squeeze", "cut o");
    temporary_write(place->directory, ".app.log.0000000000000004.1795190500.pending", "");
    temporary_write(place->directory, "app.log", "line 21\n");
    return place;
}

static inline void discard(struct place *place)
{
    void *state = place;
    place_teardown(&state);
}

/* The archives, oldest first. */
struct found {
    int count;
    int strangers; /* hidden files */
    struct {
        struct name name;
        char file[NAME_SIZE];
    } archives[32];
};

static inline int by_age(const void *a, const void *b)
{
    return name_compare(a, b);
}

static inline void find(const struct place *place, struct found *found)
{
    DIR *stream = opendir(place->directory);
    temporary_must(stream != NULL, place->directory);
    *found = (struct found){.count = 0};
    for (struct dirent *entry; (entry = readdir(stream)) != NULL;) {
        struct name name = name_parse("app.log", entry->d_name);
        if (name.kind == NAME_NUMBER || name.kind == NAME_TIME || name.kind == NAME_PENDING) {
            found->archives[found->count].name = name;
            strcpy(found->archives[found->count++].file, entry->d_name);
        }
        found->strangers += strncmp(entry->d_name, ".app.log", 8) == 0;
    }
    closedir(stream);
    qsort(found->archives, (size_t)found->count, sizeof found->archives[0], by_age);
}

/* The whole text of an archive; NULL if it says that it is compressed and cannot be read to its end. */
static inline char *read_archive(const struct place *place, const char *file)
{
    enum { SIZE = 4096 };
    struct temporary_path path = temporary_path(place->directory, file);
    char *text = calloc(1, SIZE);
    gzFile stream = gzopen(path.text, "rbe");
    temporary_must(stream != NULL && text != NULL, path.text);
    int length = gzread(stream, text, SIZE - 1);
    if (gzclose(stream) != Z_OK || length <= 0) {
        free(text);
        return NULL;
    }
    return text;
}

/* At any moment: each line is somewhere, and what has its name can be read. */
static inline bool is_whole(const struct place *place)
{
    bool seen[LAST_LINE + 1] = {false};
    struct found found;
    find(place, &found);
    for (int i = 0; i < found.count; i++) {
        char *text = read_archive(place, found.archives[i].file);
        if (text == NULL && found.archives[i].name.kind != NAME_PENDING) {
            fprintf(stderr, "%s cannot be read\n", found.archives[i].file);
            return false;
        }
        for (const char *line = text; line != NULL && *line != '\0'; line = strchr(line, '\n') + 1) {
            int number = 0;
            if (sscanf(line, "line %d\n", &number) == 1) {
                seen[number] = true;
            }
        }
        free(text);
    }
    for (int line = 1; line <= LAST_LINE; line++) {
        if (!seen[line]) {
            fprintf(stderr, "line %d is lost\n", line);
            return false;
        }
    }
    return true;
}

/* In the end: each line once, in order, in compressed archives, and nothing is left over. */
static inline bool is_settled(const struct place *place)
{
    struct found found;
    char all[4096] = "";
    char expected[4096] = "";
    find(place, &found);
    bool good = found.count == ARCHIVES && found.strangers == 0 && temporary_exists(place->directory, "app.log");
    for (int i = 0; i < found.count && strlen(all) < sizeof all / 2; i++) {
        char *text = read_archive(place, found.archives[i].file);
        strcat(all, text == NULL ? "" : text);
        good = good && found.archives[i].name.gzip;
        free(text);
    }
    make_lines(expected, 1, LAST_LINE);
    good = good && strcmp(all, expected) == 0;
    for (int i = 0; i < found.count && !good; i++) {
        fprintf(stderr, "%s\n", found.archives[i].file);
    }
    if (!good) {
        fprintf(stderr, "%d hidden files, and these lines:\n%s", found.strangers, all);
    }
    return good;
}

#endif
