/* What the tests of the configuration share: loading one from a few variables, and a directory for files. */
#ifndef CONFIG_SCENE_H
#define CONFIG_SCENE_H

#include "../../shim/core/config.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

struct loaded {
    struct config config;
    char error[CONFIG_ERROR_SIZE];
    int result;
};

#define LENGTH(array) (sizeof(array) / sizeof(array)[0])

/* Loads from up to seven "NAME=value" strings, in the starting directory /start. */
static inline struct loaded load_in(const char *directory, const char *const variables[7])
{
    struct loaded loaded;
    char *environment[8] = {NULL};
    for (size_t i = 0; i < 7 && variables[i]; i++)
        environment[i] = (char *)(uintptr_t)variables[i];
    memset(&loaded, 0xa5, sizeof loaded);
    loaded.result = config_load(&loaded.config, environment, directory, loaded.error);
    return loaded;
}

#define LOAD(...) load_in("/start", (const char *const[7]){__VA_ARGS__})

static inline void assert_loaded(const struct loaded *loaded, size_t count)
{
    if (loaded->result != 0)
        fail_msg("refused: %s", loaded->error);
    assert_string_equal(loaded->error, "");
    assert_int_equal(loaded->config.count, count);
}

/* Refused with one line that has all these parts. */
static inline void assert_refused(const struct loaded *loaded, const char *start, const char *word,
                                  const char *expected)
{
    if (loaded->result != -EINVAL)
        fail_msg("result %d instead of a refusal of %s%s", loaded->result, start, word);
    if (strncmp(loaded->error, start, strlen(start)) != 0 || !strstr(loaded->error, word) ||
        !strstr(loaded->error, expected))
        fail_msg("'%s' does not say '%s' ... '%s' ... '%s'", loaded->error, start, word, expected);
    assert_int_equal(loaded->config.count, 0);
    assert_false(loaded->config.needs_zone);
    assert_true(strlen(loaded->error) < CONFIG_ERROR_SIZE);
    for (const char *byte = loaded->error; *byte != '\0'; byte++)
        assert_true(*byte >= ' ' && *byte <= '~');
}

/* A directory of the test's own, with the path of one file in it. */
static char scene_directory[64];
static char scene_file[96];

static inline int make_scene(void **state)
{
    (void)state;
    strcpy(scene_directory, "/tmp/test_config.XXXXXX");
    if (!mkdtemp(scene_directory))
        return -1;
    snprintf(scene_file, sizeof scene_file, "%s/rules.conf", scene_directory);
    return 0;
}

static inline int remove_scene(void **state)
{
    (void)state;
    unlink(scene_file);
    return rmdir(scene_directory);
}

static inline void write_scene_file(const char *text, size_t length)
{
    FILE *file = fopen(scene_file, "w");
    assert_non_null(file);
    assert_int_equal(fwrite(text, 1, length, file), length);
    assert_int_equal(fclose(file), 0);
}

static inline struct loaded load_file(const char *text)
{
    char variable[128];
    write_scene_file(text, strlen(text));
    snprintf(variable, sizeof variable, "MPLOGSHIM_CONFIG=%s", scene_file);
    return LOAD(variable);
}

#endif
