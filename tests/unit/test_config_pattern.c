/* Patterns of rules: absolute, normalised, with symbolic links resolved. */
#include "config_scene.h"

#include "../../shim/core/sys.h"

#include <limits.h>

static int no_open(int directory, const char *path, int flags, mode_t mode)
{
    (void)directory;
    (void)path;
    (void)flags;
    (void)mode;
    return -EMFILE;
}

static void patterns_stay_as_they_are_when_nothing_can_be_resolved(void **state)
{
    (void)state;
    sys.openat = no_open;
    struct loaded loaded = LOAD("MPLOGSHIM_LOGS=/tmp/x/*.log");
    sys.openat = sys_real.openat;
    assert_loaded(&loaded, 1);
    assert_string_equal(loaded.config.rules[0].pattern, "/tmp/x/*.log");
    assert_string_equal(loaded.config.rules[0].pattern_real, "/tmp/x/*.log");
}

static const struct {
    const char *directory;
    const char *pattern;
    const char *normalised;
} patterns[] = {
    {"/start", "/a/b", "/a/b"},
    {"/start", "//a///b", "/a/b"},
    {"/start", "/./a/./b", "/a/b"},
    {"/start", "/a/../b", "/b"},
    {"/start", "/a/b/../../c", "/c"},
    {"/start", "/../../a", "/a"},
    {"/start", "/a/*/../b", "/a/b"},
    {"/start", "/a/\\*\\*/../b", "/a/b"},
    {"/start", "/a/**/b", "/a/**/b"},
    {"/start", "/a/...", "/a/..."},
    {"/start", "/a/..b", "/a/..b"},
    {"/start", "/a/.b", "/a/.b"},
    {"/start", "/a\\/b", "/a/b"},
    {"/start", "\\/b", "/start/b"},
    {"/start", "/a/.\\/b", "/a/b"},
    {"/start", "/a/..\\/b", "/b"},
    {"/start", "/a\\\\/b", "/a\\\\/b"},
    {"/start", "b", "/start/b"},
    {"/start", "./b", "/start/b"},
    {"/start", "../b", "/b"},
    {"/start", "../../b", "/b"},
    {"/start", "*.log", "/start/*.log"},
    {"/start", "**/*.log", "/start/**/*.log"},
    {"/", "b", "/b"},
    {"/", "../b", "/b"},
    {"/x [1]/*?\\y", "b", "/x \\[1]/\\*\\?\\\\y/b"},
    {"/x*", "../b", "/b"},
    {NULL, "/a", "/a"},
};

static void patterns_become_absolute_and_normalised(void **state)
{
    (void)state;
    for (size_t i = 0; i < LENGTH(patterns); i++) {
        char logs[128];
        snprintf(logs, sizeof logs, "MPLOGSHIM_LOGS=%s", patterns[i].pattern);
        struct loaded loaded = load_in(patterns[i].directory, (const char *const[7]){logs});
        assert_loaded(&loaded, 1);
        assert_string_equal(loaded.config.rules[0].pattern, patterns[i].normalised);
    }
}

static void relative_patterns_need_the_starting_directory(void **state)
{
    (void)state;
    struct loaded loaded = load_in(NULL, (const char *const[7]){"MPLOGSHIM_LOGS=a.log"});
    assert_refused(&loaded, "MPLOGSHIM_LOGS: rule 1: ", "'a.log'", "expected an absolute path");
}

/* real/[x]/ and link -> real/[x], looked at through link. */
static void patterns_through_symbolic_links_are_resolved(void **state)
{
    (void)state;
    char real[128];
    char inner[160];
    char link_path[128];
    char resolved[PATH_MAX];
    snprintf(real, sizeof real, "%s/real", scene_directory);
    snprintf(inner, sizeof inner, "%s/[x]", real);
    snprintf(link_path, sizeof link_path, "%s/link", scene_directory);
    assert_int_equal(mkdir(real, 0700), 0);
    assert_int_equal(mkdir(inner, 0700), 0);
    assert_int_equal(symlink("real/[x]", link_path), 0);
    assert_non_null(realpath(real, resolved));

    static const char *const rests[][2] = {
        {"*.log", "*.log"},         {"a.log", "a.log"},         {"missing/b/c.log", "missing/b/c.log"},
        {"no*/b.log", "no*/b.log"}, {"**/x[0-9]", "**/x[0-9]"}, {"sp\\ ace/*", "sp\\ ace/*"},
    };
    for (size_t i = 0; i < LENGTH(rests); i++) {
        char logs[512];
        char expected[PATH_MAX + 64];
        snprintf(logs, sizeof logs, "MPLOGSHIM_LOGS=%s/%s", link_path, rests[i][0]);
        snprintf(expected, sizeof expected, "%s/\\[x]/%s", resolved, rests[i][1]);
        struct loaded loaded = LOAD(logs);
        assert_loaded(&loaded, 1);
        assert_string_equal(loaded.config.rules[0].pattern, logs + strlen("MPLOGSHIM_LOGS="));
        assert_string_equal(loaded.config.rules[0].pattern_real, expected);
    }
    /* Without a link in it, both are the same pointer, so that a path is compared once. */
    char own[PATH_MAX + 64];
    snprintf(own, sizeof own, "MPLOGSHIM_LOGS=%s/*.log", resolved);
    struct loaded loaded = LOAD(own);
    assert_loaded(&loaded, 1);
    assert_ptr_equal(loaded.config.rules[0].pattern_real, loaded.config.rules[0].pattern);

    unlink(link_path);
    rmdir(inner);
    rmdir(real);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(patterns_stay_as_they_are_when_nothing_can_be_resolved),
        cmocka_unit_test(patterns_become_absolute_and_normalised),
        cmocka_unit_test(relative_patterns_need_the_starting_directory),
        cmocka_unit_test(patterns_through_symbolic_links_are_resolved),
    };
    return cmocka_run_group_tests(tests, make_scene, remove_scene);
}
