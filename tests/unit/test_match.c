/* Patterns against paths, rules against live logs, and archives back to their logs. */
#include "../../shim/core/match.h"

#include <limits.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#define LENGTH(array) (sizeof(array) / sizeof(array)[0])

/* "+path" matches, "-path" does not. */
static const struct {
    const char *pattern;
    const char *paths[14];
} patterns[] = {
    {"/a/b.log", {"+/a/b.log", "-/a/b.lo", "-/a/b.logs", "-/a/bxlog", "-/a", "-/", "-", "-/A/b.log", "-/x/a/b.log"}},
    {"/a/*.log", {"+/a/b.log", "+/a/bb.log", "-/a/.log", "-/a/b/c.log", "-/a/b.log2", "-/ab.log", "-/a/b.log/c"}},
    {"/a/*", {"+/a/b", "+/a/b.log", "-/a/.b", "-/a/b/c", "-/a", "+/a/b*"}},
    {"/a/b*", {"+/a/b", "+/a/b.x", "+/a/bbb", "-/a/c", "-/a/b/"}},
    {"/a/*b*c", {"+/a/bc", "+/a/xbxc", "+/a/bcbc", "-/a/bcb", "-/a/b/c", "-/a/.bc"}},
    {"/a/*b*b*b", {"+/a/bbb", "+/a/xbbxbb", "-/a/bb", "-/a/b/bb"}},
    {"/*/*/x", {"+/a/b/x", "-/a/x", "-/a/b/c/x", "-/.a/b/x", "-/a/.b/x"}},
    {"/a*/b*/c*", {"+/a/b/c", "+/ax/bx/cx", "-/ax/x/b/c", "-/a/b", "-/axb/c"}},
    {"/a/?", {"+/a/b", "-/a/", "-/a/bb", "-/a/.", "-/a//"}},
    {"/a/?.log", {"+/a/b.log", "-/a/..log", "-/a/bb.log", "-/a/.log"}},
    {"/a/x?y", {"+/a/x.y", "+/a/xxy", "-/a/x/y", "-/a/xy"}},
    {"/a?b", {"-/a/b", "+/axb"}},
    {"/a/[bc].log", {"+/a/b.log", "+/a/c.log", "-/a/d.log", "-/a/bc.log", "-/a/[bc].log"}},
    {"/a/[b-d]", {"+/a/b", "+/a/c", "+/a/d", "-/a/a", "-/a/e", "-/a/-"}},
    {"/a/[!b-d]", {"-/a/c", "+/a/e", "+/a/a", "-/a//", "-/a/.", "+/a/!"}},
    {"/a/[^b]", {"-/a/b", "+/a/c", "+/a/^"}},
    {"/a/[]b]", {"+/a/]", "+/a/b", "-/a/[", "-/a/[]b]"}},
    {"/a/[!]b]", {"-/a/]", "-/a/b", "+/a/c"}},
    {"/a/[]-a]", {"+/a/]", "+/a/^", "+/a/a", "-/a/b", "-/a/-"}},
    {"/a/[b-]", {"+/a/b", "+/a/-", "-/a/c"}},
    {"/a/[-b]", {"+/a/b", "+/a/-", "-/a/c"}},
    {"/a/[d-b]", {"-/a/b", "-/a/c", "-/a/d", "-/a/-"}},
    {"/a/x[.]y", {"+/a/x.y", "-/a/xxy"}},
    {"/a/[.]y", {"-/a/.y"}},
    {"/a/[!x]y", {"-/a/.y", "+/a/zy"}},
    {"/a[/]b", {"-/a/b", "+/a[/]b"}},
    {"/a/[b", {"+/a/[b", "-/a/b"}},
    {"/a/[\\/]x", {"+/a/[/]x", "-/a//x"}},
    {"/a/[", {"+/a/["}},
    {"/a/[]", {"+/a/[]", "-/a/]"}},
    {"/a/[!]", {"+/a/[!]", "-/a/x"}},
    {"/a/[\\]]", {"+/a/]", "-/a/\\"}},
    {"/a/[a\\-z]", {"+/a/a", "+/a/-", "+/a/z", "-/a/b"}},
    {"/a/[\\\\]", {"+/a/\\", "-/a/x"}},
    {"/a/[[]x", {"+/a/[x", "-/a/x"}},
    {"/a/[[:digit:]]", {"+/a/7", "-/a/d", "-/a/:", "-/a/7]"}},
    {"/a/[![:digit:]]", {"-/a/7", "+/a/d"}},
    {"/a/[[:upper:][:digit:]_]", {"+/a/A", "+/a/0", "+/a/_", "-/a/a"}},
    {"/a/[[:alpha:]]", {"+/a/A", "+/a/z", "-/a/0", "-/a/[", "-/a/`", "-/a/@"}},
    {"/a/[[:xdigit:]]", {"+/a/F", "+/a/a", "+/a/9", "-/a/g"}},
    {"/a/[[:space:]]", {"+/a/ ", "+/a/\t", "-/a/x"}},
    {"/a/[[:punct:]]", {"+/a/-", "+/a/~", "+/a/_", "-/a/x", "-/a/."}},
    {"/a/[[:nothing:]]", {"-/a/n", "-/a/:"}},
    {"/a/[[:digit]", {"+/a/d", "+/a/:", "+/a/[", "-/a/7"}},
    {"/a/[\xc0-\xff]", {"+/a/\xe4", "-/a/a"}},
    {"/a/\\*", {"+/a/*", "-/a/b", "-/a/\\*"}},
    {"/a/\\?\\[x]", {"+/a/?[x]", "-/a/bx"}},
    {"/a/b\\,c\\;d", {"+/a/b,c;d", "-/a/b\\,c\\;d"}},
    {"/a/b\\\\c", {"+/a/b\\c", "-/a/b\\\\c", "-/a/bc"}},
    {"/a/\\b", {"+/a/b"}},
    {"/a/b\\", {"+/a/b\\"}},
    {"/a/.*", {"+/a/.b", "+/a/.", "-/a/b", "+/a/..."}},
    {"/a/.*.log", {"+/a/.b.log", "+/a/..log", "-/a/b.log"}},
    {"/a/\\.x", {"+/a/.x"}},
    {"/.a/*", {"+/.a/b", "-/a/b"}},
    {"/a/**", {"+/a/b", "+/a/b/c", "+/a/.b", "+/a/b/.c", "+/a/.b/c", "-/a", "-/b", "-/ab", "-/ab/c"}},
    {"/**", {"+/a", "+/a/b/c", "+/.a"}},
    {"**", {"+/a", "+/a/b/c", "+"}},
    {"/a/**/b.log",
     {"+/a/b.log", "+/a/x/b.log", "+/a/x/y/b.log", "+/a/.x/b.log", "-/a/xb.log", "-/a/x/cb.log", "-/ab.log", "-/b.log",
      "-/a/b.log/c", "+/a/b.log/b.log"}},
    {"/a/**/*.log",
     {"+/a/b.log", "+/a/x/b.log", "+/a/x/y/z.log", "+/a/.x/b.log", "-/a/.b.log", "-/a/x/.b.log", "-/a/b.txt",
      "-/b.log"}},
    {"/a/**/b/**/c", {"+/a/b/c", "+/a/x/b/y/z/c", "+/a/b/b/c/c", "-/a/c", "-/a/b", "-/a/xb/c", "-/a/b/xc"}},
    {"/a/**/x*/y", {"+/a/x/y", "+/a/x1/x2/y", "+/a/q/x/x/y", "-/a/x/z/y", "-/a/y", "-/a/qx/y"}},
    {"/a/**/*b*/c", {"+/a/b/c", "+/a/b/d/xbx/c", "-/a/.b/c", "-/a/b/d/c"}},
    {"/a/**.log", {"+/a/b.log", "+/a/b/c.log", "+/a/.log", "+/a/x/.log", "+/a/x/.c.log", "-/a/b.txt", "-/a.log"}},
    {"/a**/b", {"+/a/b", "+/ax/b", "+/ax/y/b", "+/a/y/b", "-/b", "-/axb"}},
    {"/a/x**y", {"+/a/xy", "+/a/x/y", "+/a/x1/2/3y", "-/a/x", "-/a/y"}},
    {"/a/**x", {"+/a/x", "+/a/b/x", "+/a/b/cx", "-/a/b/xc"}},
    {"/a/**/", {"-/a/b", "+/a/b/"}},
    {"/a/***", {"+/a/b", "+/a/b/c"}},
    {"/a/***/b", {"+/a/b", "+/a/x/b", "-/a/xb"}},
    {"/a/**/**/b", {"+/a/b", "+/a/x/b", "+/a/x/y/b", "-/a/xb"}},
    {"/a/**/?", {"+/a/b", "+/a/x/b", "-/a/x/.", "-/a/xx"}},
    {"/a/**?", {"+/a/b", "+/a/x/b", "+/a/b.", "-/a/."}},
    {"", {"+", "-/", "-a"}},
    {"*", {"+a", "-/a", "+", "-.a"}},
};

static void patterns_match_what_glob_users_expect(void **state)
{
    (void)state;
    for (size_t i = 0; i < LENGTH(patterns); i++) {
        for (size_t j = 0; j < LENGTH(patterns[i].paths) && patterns[i].paths[j]; j++) {
            const char *path = patterns[i].paths[j];
            if (match_pattern(patterns[i].pattern, path + 1) != (path[0] == '+'))
                fail_msg("pattern %s: %s", patterns[i].pattern, path);
        }
    }
}

/* The definition, without any cleverness: exponential, for short texts. */
static bool slow_match(const char *start, const char *pattern, const char *begin, const char *path)
{
    bool component_start = path == begin || path[-1] == '/';
    bool leading_dot = component_start && *path == '.';
    if (pattern[0] == '*' && pattern[1] == '*') {
        bool whole = pattern == start || pattern[-1] == '/';
        const char *rest = pattern + strspn(pattern, "*");
        bool directory = whole && *rest == '/';
        for (;; path++) {
            if (directory ? (path == begin || path[-1] == '/') && slow_match(start, rest + 1, begin, path)
                          : slow_match(start, rest, begin, path))
                return true;
            if (*path == '\0')
                return false;
        }
    }
    if (*pattern == '*' && leading_dot)
        return false;
    if (*pattern == '*')
        return slow_match(start, pattern + 1, begin, path) ||
               (*path != '\0' && *path != '/' && !leading_dot && slow_match(start, pattern, begin, path + 1));
    if (*pattern == '\0' || *path == '\0')
        return *pattern == *path;
    bool same = *pattern == '?' ? *path != '/' && !leading_dot : *pattern == *path;
    return same && slow_match(start, pattern + 1, begin, path + 1);
}

static uint64_t random_state = 20261120;

static unsigned random_below(unsigned limit)
{
    random_state ^= random_state >> 12;
    random_state ^= random_state << 25;
    random_state ^= random_state >> 27;
    return (unsigned)((random_state * 2685821657736338717U >> 33) % limit);
}

static void random_text(char *text, const char *alphabet, unsigned longest)
{
    unsigned length = random_below(longest + 1);
    *text++ = '/';
    for (unsigned i = 0; i < length; i++)
        *text++ = alphabet[random_below((unsigned)strlen(alphabet))];
    *text = '\0';
}

static void matching_agrees_with_its_definition_on_random_texts(void **state)
{
    (void)state;
    unsigned matches = 0;
    for (int i = 0; i < 400000; i++) {
        char pattern[16];
        char path[16];
        random_text(pattern, "**?/a./*", 9);
        random_text(path, "aa./", 9);
        bool expected = slow_match(pattern, pattern, path, path);
        matches += expected;
        if (match_pattern(pattern, path) != expected)
            fail_msg("pattern %s, path %s: expected %d", pattern, path, expected);
    }
    assert_true(matches > 10000);
}

static void fill(char *text, const char *part, size_t length)
{
    size_t part_length = strlen(part);
    for (size_t i = 0; i < length; i++)
        text[i] = part[i % part_length];
    text[length] = '\0';
}

static void no_pattern_takes_long(void **state)
{
    (void)state;
    static const struct {
        const char *start;
        const char *part;
        const char *end;
    } parts[] = {{"/", "**/", "x"},           {"/", "**/a/", "x"},  {"/", "*a", "/x"},   {"/", "**a", "x"},
                 {"/", "**a*", "x"},          {"/", "*/", "x"},     {"/**", "*a", "/x"}, {"/", "**/*a*", "x"},
                 {"/", "a*/**/", "x"},        {"/**/", "*a/", "x"}, {"/**", "?", "x"},   {"/", "**[!b]", "x"},
                 {"/**", "[[:alpha:]]*", "x"}};
    static const char *const paths[] = {"a", "a/", "aa/", "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa/"};

    struct timespec before;
    struct timespec after;
    for (size_t i = 0; i < LENGTH(parts); i++) {
        for (size_t j = 0; j < LENGTH(paths); j++) {
            static const size_t lengths[] = {30, 300, 4000};
            for (size_t k = 0; k < LENGTH(lengths); k++) {
                char pattern[PATH_MAX + 8];
                char path[PATH_MAX];
                strcpy(pattern, parts[i].start);
                fill(pattern + strlen(pattern), parts[i].part, lengths[k]);
                strcat(pattern, parts[i].end);
                path[0] = '/';
                fill(path + 1, paths[j], 4000);
                clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &before);
                bool matched = match_pattern(pattern, path);
                clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &after);
                double seconds =
                    (double)(after.tv_sec - before.tv_sec) + 1e-9 * (double)(after.tv_nsec - before.tv_nsec);
                assert_false(matched);
                if (seconds > 1)
                    fail_msg("%.0f ms for a pattern of %zu bytes of %s on %s", seconds * 1000, lengths[k],
                             parts[i].part, paths[j]);
            }
        }
    }
}

/* Up to four patterns as rules, in order. */
struct rules {
    struct rule rules[4];
    struct config config;
};

static struct config *make_rules(struct rules *rules, const char *const patterns_of_rules[4])
{
    memset(rules, 0, sizeof *rules);
    for (size_t i = 0; i < 4 && patterns_of_rules[i]; i++) {
        rules->rules[i].pattern = patterns_of_rules[i];
        rules->rules[i].pattern_real = patterns_of_rules[i];
        rules->config.count++;
    }
    rules->config.rules = rules->rules;
    return &rules->config;
}

static const struct {
    const char *patterns[4];
    const char *path;
    int rule; /* the index, or -1 */
} logs[] = {
    {{NULL}, "/d/app.log", -1},
    {{"/d/*.log"}, "/d/app.log", 0},
    {{"/x/*.log", "/d/*.log"}, "/d/app.log", 1},
    {{"/d/a*.log", "/d/*.log"}, "/d/app.log", 0},
    {{"/d/*.log", "/d/a*.log"}, "/d/app.log", 0},
    {{"/d/b*.log", "/x", "/d/**", "/d/*"}, "/d/app.log", 2},
    {{"/d/*.log"}, "/d/sub/app.log", -1},
    {{"/d/*.log"}, "/d/", -1},
    {{"/d/**"}, "/d/", -1},
    {{"/d/**"}, "app.log", -1},
    {{"**"}, "app.log", -1},
    {{"**"}, "", -1},
    {{"/d/*"}, "/d/app.log", 0},
    /* Archives of a log that matches. */
    {{"/d/*"}, "/d/app.log.1", -1},
    {{"/d/*"}, "/d/app.log.7", -1},
    {{"/d/*"}, "/d/app.log.12345", -1},
    {{"/d/*"}, "/d/app.log.7.gz", -1},
    {{"/d/*"}, "/d/app.log.2026-11-20", -1},
    {{"/d/*"}, "/d/app.log.2026-11-20_13", -1},
    {{"/d/*"}, "/d/app.log.2026-11-20_13-05", -1},
    {{"/d/*"}, "/d/app.log.2026-11-20_13-05-09", -1},
    {{"/d/*"}, "/d/app.log.2026-11-20.2", -1},
    {{"/d/*"}, "/d/app.log.2026-11-20.2.gz", -1},
    {{"/d/**"}, "/d/x/y/app.log.7", -1},
    {{"/d/*.log", "/d/*.log.*"}, "/d/app.log.7", -1},
    {{"/d/*.log.*", "/d/*.log"}, "/d/app.log.7", -1},
    {{"/d/app.log", "/d/app.log.7"}, "/d/app.log.7", -1},
    /* The log may match by any reading of the name. */
    {{"/d/app.log.2026-11-20*"}, "/d/app.log.2026-11-20.1", -1},
    {{"/d/app.log", "/d/*20.1"}, "/d/app.log.2026-11-20.1", -1},
    /* Names that only look like archives. */
    {{"/d/app.log.*"}, "/d/app.log.7", 0},
    {{"/d/app.log.*"}, "/d/app.log.2026-11-20", 0},
    {{"/d/*"}, "/d/app.log.07", 0},
    {{"/d/*"}, "/d/app.log.0", 0},
    {{"/d/*"}, "/d/app.log.x", 0},
    {{"/d/*"}, "/d/app.log.gz", 0},
    {{"/d/*"}, "/d/app-7", 0},
    {{"/d/*"}, "/d/7", 0},
    {{"/d/*"}, "/d/2026-11-20", 0},
    {{"/d/*"}, "/d/app.log.2026-13-20", 0},
    {{"/x/app.log", "/d/app.log.*"}, "/d/app.log.7", 1},
    /* Hidden files. */
    {{"/d/*"}, "/d/.app.log.lock", -1},
    {{"/d/**"}, "/d/.app.log.lock", -1},
    {{"/d/**"}, "/d/.app.log.0000000000000007.1700000000.pending", -1},
    {{"/d/**"}, "/d/.app.log.new", -1},
    {{"/d/**"}, "/d/.app.log.squeeze", -1},
    {{"/d/**"}, "/d/.app.log.0123456789abcdef.ring", -1},
    {{"/d/**"}, "/d/.app.log.0123456789abcde.ring", 0},
    {{"/d/**"}, "/d/.app.log.gz.new", -1},
    {{"/d/**"}, "/d/.app.log.gz.squeeze", -1},
    {{"/d/**"}, "/d/..app.log.squeeze", -1},
    {{"/d/**"}, "/d/.app.log.gz.lock", -1},
    {{"/d/.*", "/d/app.log.gz"}, "/d/.app.log.gz.new", -1},
    {{"/d/.*", "/d/app.log.gz"}, "/d/.app.log.gz.squeeze", -1},
    {{"/d/.*", "/d/app.log"}, "/d/.app.log.squeeze", -1},
    {{"/d/.*", "/d/app.log"}, "/d/.app.log.gz.squeeze", 0},
    {{"/d/.*"}, "/d/.app.log.lock", 0}, /* /d/app.log is no log then */
    {{"/d/.*"}, "/d/.app.log.new", 0},
    {{"/d/.*"}, "/d/..app.log.new", -1},
    {{"/d/.*", "/d/app*"}, "/d/.app.log.lock", -1},
    {{"/d/**"}, "/d/.app.log", 0},
    {{"/d/**"}, "/d/.app.log.007.1700000000.pending", 0},
    {{"/d/**"}, "/d/..lock", 0},
    {{"/d/**"}, "/d/app.lock", 0},
    /* As /proc tells what is no more. */
    {{"/d/*"}, "/d/app.log (deleted)", -1},
    {{"/d/**"}, "/d/app.log.7 (deleted)", -1},
    {{"/d/*"}, "/d/app (deleted).log", 0},
};

static void the_first_matching_rule_counts_and_archives_never_match(void **state)
{
    (void)state;
    for (size_t i = 0; i < LENGTH(logs); i++) {
        struct rules rules;
        const struct config *config = make_rules(&rules, logs[i].patterns);
        const struct rule *rule = match_log(config, logs[i].path);
        if (rule != (logs[i].rule < 0 ? NULL : &config->rules[logs[i].rule]))
            fail_msg("%s with %s: rule %td", logs[i].path, logs[i].patterns[0], rule ? rule - config->rules : -1);
    }
}

static void real_patterns_match_as_well(void **state)
{
    (void)state;
    struct rules rules;
    struct config *config = make_rules(&rules, (const char *const[4]){"/link/*", "/other/*"});
    rules.rules[0].pattern_real = "/real/*";
    assert_ptr_equal(match_log(config, "/link/app.log"), &rules.rules[0]);
    assert_ptr_equal(match_log(config, "/real/app.log"), &rules.rules[0]);
    assert_ptr_equal(match_log(config, "/other/app.log"), &rules.rules[1]);
    assert_null(match_log(config, "/real/app.log.7"));
}

static void files_of_the_shim_never_match(void **state)
{
    (void)state;
    struct rules rules;
    struct config *config = make_rules(&rules, (const char *const[4]){"/d/**"});
    rules.rules[0].lock_dir = "/d/locks//";
    config->diag = DIAG_FILE;
    config->diag_path = "/d/diag.log";
    assert_null(match_log(config, "/d/diag.log"));
    assert_null(match_log(config, "/d/locks/%d%app.log"));
    assert_non_null(match_log(config, "/d/locks/app.log"));
    assert_non_null(match_log(config, "/d/%d%app.log"));
    assert_non_null(match_log(config, "/d/locks/x/%d%app.log"));
    config->diag = DIAG_STDERR;
    assert_non_null(match_log(config, "/d/diag.log"));
}

static void names_without_room_for_hidden_names_never_match(void **state)
{
    (void)state;
    struct rules rules;
    struct config *config = make_rules(&rules, (const char *const[4]){"/d/**"});
    char path[NAME_MAX + 64] = "/d/";
    char log_path[PATH_MAX];

    memset(path + 3, 'x', 208);
    assert_non_null(match_log(config, path));
    strcpy(path + 3 + 208, ".1");
    assert_null(match_log(config, path));
    assert_non_null(match_stale(config, path, log_path, sizeof log_path));
    assert_int_equal(strlen(log_path), 3 + 208);

    strcpy(path + 3 + 208, "x");
    assert_null(match_log(config, path));
    strcpy(path + 3 + 209, ".1");
    assert_null(match_log(config, path));
    assert_null(match_stale(config, path, log_path, sizeof log_path));
    strcpy(path + 3 + 209, " (deleted)");
    assert_null(match_stale(config, path, log_path, sizeof log_path));
    memset(path + 3, 'x', 255);
    strcpy(path + 3 + 255, ".1 (deleted)");
    assert_null(match_stale(config, path, log_path, sizeof log_path));
}

static const struct {
    const char *patterns[4];
    const char *path;
    const char *log; /* NULL: none */
    int rule;
} stale[] = {
    {{"/d/*.log"}, "/d/app.log.7", "/d/app.log", 0},
    {{"/d/*.log"}, "/d/app.log.1 (deleted)", "/d/app.log", 0},
    {{"/d/*.log"}, "/d/app.log (deleted)", "/d/app.log", 0},
    {{"/d/*.log"}, "/d/app.log.2026-11-20", "/d/app.log", 0},
    {{"/d/*.log"}, "/d/app.log.2026-11-20_13", "/d/app.log", 0},
    {{"/d/*.log"}, "/d/app.log.2026-11-20_13-05-09 (deleted)", "/d/app.log", 0},
    {{"/d/*.log"}, "/d/app.log.2026-11-20.1", "/d/app.log", 0},
    {{"/d/*.log"}, "/d/.app.log.00000000000000ff.1700000000.pending", "/d/app.log", 0},
    {{"/d/*.log"}, "/d/.app.log.00000000000000ff.1700000000.pending (deleted)", "/d/app.log", 0},
    {{"/d/.*"}, "/d/..app.log.00000000000000ff.1700000000.pending", "/d/.app.log", 0},
    {{"/x", "/d/**"}, "/d/a/b/app.log.7", "/d/a/b/app.log", 1},
    {{"/d/*"}, "/d/app.log.7", "/d/app.log", 0},
    {{"/d/*"}, "/d/app.log.7 (deleted)", "/d/app.log", 0},
    {{"/d/*"}, "/d/app.log.2026-11-20.1", "/d/app.log", 0},
    {{"/d/app.log.2026-11-20"}, "/d/app.log.2026-11-20.1", "/d/app.log.2026-11-20", 0},
    {{"/d/app.log"}, "/d/app.log.2026-11-20.1", "/d/app.log", 0},
    {{"/d/app.log", "/d/app.log.2*"}, "/d/app.log.2026-11-20.1", "/d/app.log", 0},
    {{"/d/app.log.*"}, "/d/app.log.7 (deleted)", "/d/app.log.7", 0},
    /* Live, compressed, a lock file, or nobody's. */
    {{"/d/*.log"}, "/d/app.log", NULL, 0},
    {{"/d/*.log"}, "/d/app.log.7.gz", NULL, 0},
    {{"/d/*.log"}, "/d/app.log.7.gz (deleted)", NULL, 0},
    {{"/d/*.log"}, "/d/app.log.2026-11-20.gz", NULL, 0},
    {{"/d/*.log"}, "/d/.app.log.lock", NULL, 0},
    {{"/d/*.log"}, "/d/.app.log.lock (deleted)", NULL, 0},
    {{"/d/**"}, "/d/.app.log.lock (deleted)", NULL, 0},
    {{"/d/*.log"}, "/d/.app.log.new", NULL, 0},
    {{"/d/*.log"}, "/d/.app.log.squeeze", NULL, 0},
    {{"/d/**"}, "/d/.app.log.new (deleted)", NULL, 0},
    {{"/d/**"}, "/d/.app.log.squeeze (deleted)", NULL, 0},
    {{"/d/.*"}, "/d/.app.log.squeeze.7", "/d/.app.log.squeeze", 0},
    {{"/d/**"}, "/d/.app.log.squeeze.7", NULL, 0},
    {{"/d/*.log"}, "/d/app.txt.7", NULL, 0},
    {{"/d/*.log"}, "/x/app.log.7", NULL, 0},
    {{"/d/*.log"}, "/d/app.log.07", NULL, 0},
    {{"/d/*.log"}, "/d/app.log.7(deleted)", NULL, 0},
    {{"/d/*.log"}, "/d/app.log.7 (deleted) (deleted)", NULL, 0},
    {{"/d/*.log"}, "/d/.app.log.ff.1700000000.pending", NULL, 0},
    {{"/d/*"}, "/d/ (deleted)", NULL, 0},
    {{"/d/**"}, "/d/", NULL, 0},
    {{"**"}, "app.log.7", NULL, 0},
    {{"**"}, "", NULL, 0},
    {{NULL}, "/d/app.log.7", NULL, 0},
};

static void archives_lead_back_to_their_log(void **state)
{
    (void)state;
    for (size_t i = 0; i < LENGTH(stale); i++) {
        struct rules rules;
        char log_path[PATH_MAX] = "";
        const struct config *config = make_rules(&rules, stale[i].patterns);
        const struct rule *rule = match_stale(config, stale[i].path, log_path, sizeof log_path);
        if (!stale[i].log != !rule)
            fail_msg("%s with %s: %s", stale[i].path, stale[i].patterns[0], rule ? log_path : "no log");
        if (rule) {
            assert_string_equal(log_path, stale[i].log);
            assert_ptr_equal(rule, &config->rules[stale[i].rule]);
        }
    }
}

static void a_log_path_that_does_not_fit_is_no_match(void **state)
{
    (void)state;
    struct rules rules;
    struct config *config = make_rules(&rules, (const char *const[4]){"/d/*.log"});
    static const char *const paths[] = {"/d/app.log.7", "/d/app.log (deleted)",
                                        "/d/.app.log.00000000000000ff.1700000000.pending"};
    for (size_t i = 0; i < LENGTH(paths); i++) {
        for (size_t size = 0; size <= 11; size++) {
            char log_path[16];
            memset(log_path, '#', sizeof log_path);
            assert_int_equal(match_stale(config, paths[i], log_path, size) != NULL, size == 11);
            for (size_t j = size; j < sizeof log_path; j++)
                assert_int_equal(log_path[j], '#');
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(patterns_match_what_glob_users_expect),
        cmocka_unit_test(matching_agrees_with_its_definition_on_random_texts),
        cmocka_unit_test(no_pattern_takes_long),
        cmocka_unit_test(the_first_matching_rule_counts_and_archives_never_match),
        cmocka_unit_test(real_patterns_match_as_well),
        cmocka_unit_test(files_of_the_shim_never_match),
        cmocka_unit_test(names_without_room_for_hidden_names_never_match),
        cmocka_unit_test(archives_lead_back_to_their_log),
        cmocka_unit_test(a_log_path_that_does_not_fit_is_no_match),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
