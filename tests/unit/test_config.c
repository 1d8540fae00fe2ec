/* Variables and rules: separators and escapes, precedence, switches, limits. */
#include "config_scene.h"

#include <time.h>

/* Whole configurations that are refused. */
static const struct {
    const char *logs;
    const char *start;
    const char *word;
    const char *expected;
} bad_rules[] = {
    {"/a,colour=red", "MPLOGSHIM_LOGS: rule 1: ", "unknown key 'colour'", "expected one of max_bytes when"},
    {"/a,MAX_BYTES=1", "MPLOGSHIM_LOGS: rule 1: ", "unknown key 'MAX_BYTES'", "max_bytes"},
    {"/a,max_bytes", "MPLOGSHIM_LOGS: rule 1: ", "'max_bytes'", "expected key=value"},
    {"/a,", "MPLOGSHIM_LOGS: rule 1: ", "''", "expected key=value"},
    {"/a,,utc=1", "MPLOGSHIM_LOGS: rule 1: ", "''", "expected key=value"},
    {"/a,=1", "MPLOGSHIM_LOGS: rule 1: ", "'=1'", "expected key=value"},
    {"/a, =1", "MPLOGSHIM_LOGS: rule 1: ", "'=1'", "expected key=value"},
    {"/a,b.log", "MPLOGSHIM_LOGS: rule 1: ", "'b.log'", "expected key=value"},
    {"/a,utc=1,utc=1", "MPLOGSHIM_LOGS: rule 1: ", "utc is given twice", "expected each key once"},
    {"/a;/b;/c,utc=1,max_bytes=1,utc=0", "MPLOGSHIM_LOGS: rule 3: ", "utc is given twice", "once"},
    {",max_bytes=1", "MPLOGSHIM_LOGS: rule 1: ", "empty pattern", "expected a path"},
    {"/a;  ,max_bytes=1", "MPLOGSHIM_LOGS: rule 2: ", "empty pattern", "expected a path"},
    {"/a,interval=6", "MPLOGSHIM_LOGS: rule 1: ", "interval", "expected when=S, M, H, D or W0 to W6"},
    {"/a,interval=1,max_bytes=1", "MPLOGSHIM_LOGS: rule 1: ", "interval", "expected when="},
    {"/a,interval=1,when=off", "MPLOGSHIM_LOGS: rule 1: ", "interval", "expected when="},
    {"/a,at=03:00", "MPLOGSHIM_LOGS: rule 1: ", "at does not apply", "expected when=D or when=W0 to W6"},
    {"/a,at=03:00,when=H", "MPLOGSHIM_LOGS: rule 1: ", "at does not apply", "expected when=D"},
    {"/a,at=03:00,when=S", "MPLOGSHIM_LOGS: rule 1: ", "at does not apply", "expected when=D"},
    {"/a,when=H,interval=25", "MPLOGSHIM_LOGS: rule 1: ", "interval '25'", "expected 1 to 24"},
    {"/a,interval=1441,when=M", "MPLOGSHIM_LOGS: rule 1: ", "interval '1441'", "expected 1 to 1440"},
    {"/a,interval=36501,when=D", "MPLOGSHIM_LOGS: rule 1: ", "interval '36501'", "expected 1 to 36500"},
    {"/a,interval=5201,when=W0", "MPLOGSHIM_LOGS: rule 1: ", "interval '5201'", "expected 1 to 5200"},
    {"/a\x01", "MPLOGSHIM_LOGS: rule 1: ", "'/a?'", "expected no control characters"},
    {"/a\x7f.log", "MPLOGSHIM_LOGS: rule 1: ", "'/a?.log'", "expected no control characters"},
    {"/a\tb", "MPLOGSHIM_LOGS: rule 1: ", "'/a?b'", "expected no control characters"},
    {"/a\033[31m", "MPLOGSHIM_LOGS: rule 1: ", "'/a?[31m'", "expected no control characters"},
    {"/a\xc0\x80z", "MPLOGSHIM_LOGS: rule 1: ", "'/a??z'", "expected no control characters"},
    {"/a,max_bytes=1\x01", "MPLOGSHIM_LOGS: rule 1: ", "'1?'", "expected a size"},
    {"/a,lock_dir=/x\x02y", "MPLOGSHIM_LOGS: rule 1: ", "'/x?y'", "expected an absolute path"},
    {"/a,on_event=/x\x02y", "MPLOGSHIM_LOGS: rule 1: ", "'/x?y'", "expected the absolute path of a program"},
    {"/a,on_event=/x,on_event=/y", "MPLOGSHIM_LOGS: rule 1: ", "on_event is given twice", "expected each key once"},
    {"/a\\", "MPLOGSHIM_LOGS: rule 1: ", "'/a\\'", "expected something behind the '\\'"},
    {"/", "MPLOGSHIM_LOGS: rule 1: ", "'/'", "expected the name of a file"},
    {"/var/log/", "MPLOGSHIM_LOGS: rule 1: ", "'/var/log/'", "expected the name of a file"},
    {"/var/log/.", "MPLOGSHIM_LOGS: rule 1: ", "'/var/log/.'", "expected the name of a file"},
    {"/var/log/..", "MPLOGSHIM_LOGS: rule 1: ", "'/var/log/..'", "expected the name of a file"},
    {"/var/**/../x", "MPLOGSHIM_LOGS: rule 1: ", "'/var/**/../x'", "expected no '..' behind '**'"},
    {"/a,1234567890123456789012345678901234567890123456789012345678901234567890=1",
     "MPLOGSHIM_LOGS: rule 1: ", "'12345678901234567890123456789012345678901234...'", "expected one of"},
};

static void bad_rules_get_one_line_that_names_the_word(void **state)
{
    (void)state;
    for (size_t i = 0; i < LENGTH(bad_rules); i++) {
        char logs[256];
        snprintf(logs, sizeof logs, "MPLOGSHIM_LOGS=%s", bad_rules[i].logs);
        struct loaded loaded = LOAD(logs);
        assert_refused(&loaded, bad_rules[i].start, bad_rules[i].word, bad_rules[i].expected);
    }
}

static void a_list_of_all_keys_fits_the_line_of_an_unknown_one(void **state)
{
    (void)state;
    struct loaded loaded =
        LOAD("MPLOGSHIM_LOGS=/a,1234567890123456789012345678901234567890123456789012345678901234567890=1");
    assert_refused(&loaded, "MPLOGSHIM_LOGS: ", "...", " forward on_event");
}

static const struct {
    const char *logs;
    const char *patterns[4]; /* up to the first NULL */
} rule_lists[] = {
    {"/a", {"/a"}},
    {"/a;/b", {"/a", "/b"}},
    {"/a\n/b\n", {"/a", "/b"}},
    {"\n\n  /a ;; \t/b\t\r\n ; ", {"/a", "/b"}},
    {"/a,utc=1;/b,utc=0", {"/a", "/b"}},
    {" /a , utc = 1 , max_bytes = 1K ;/b", {"/a", "/b"}},
    {"/a b.log", {"/a b.log"}},
    {"/a\\,b.log", {"/a\\,b.log"}},
    {"/a\\;b.log", {"/a\\;b.log"}},
    {"/a\\\\b", {"/a\\\\b"}},
    {"/a\\*b", {"/a\\*b"}},
    {"/a\\ ,utc=1", {"/a\\ "}},
    {"/a=b.log", {"/a=b.log"}},
    {"/[a-c]/*.log,utc=1", {"/[a-c]/*.log"}},
    {"", {NULL}},
    {" \n ; ", {NULL}},
};

static void rules_are_separated_by_semicolons_and_newlines(void **state)
{
    (void)state;
    for (size_t i = 0; i < LENGTH(rule_lists); i++) {
        char logs[128];
        snprintf(logs, sizeof logs, "MPLOGSHIM_LOGS=%s", rule_lists[i].logs);
        struct loaded loaded = LOAD(logs);
        size_t count = 0;
        while (count < 4 && rule_lists[i].patterns[count])
            count++;
        assert_loaded(&loaded, count);
        for (size_t j = 0; j < count; j++)
            assert_string_equal(loaded.config.rules[j].pattern, rule_lists[i].patterns[j]);
    }
}

static void backslash_escapes_separators_in_values(void **state)
{
    (void)state;
    struct loaded loaded = LOAD("MPLOGSHIM_LOGS=/a,lock_dir=/x\\,y\\;z\\\\w\\q");
    assert_loaded(&loaded, 1);
    assert_string_equal(loaded.config.rules[0].lock_dir, "/x,y;z\\w\\q");
    loaded = LOAD("MPLOGSHIM_LOGS=/a , on_event = /x\\,y \\\\z\\#\\ \t ; /b");
    assert_loaded(&loaded, 2);
    assert_string_equal(loaded.config.rules[0].on_event, "/x,y \\z# ");
    assert_null(loaded.config.rules[1].on_event);
}

static void a_default_is_switched_off_for_one_rule(void **state)
{
    (void)state;
    struct loaded loaded =
        LOAD("MPLOGSHIM_COMPRESS=gzip:9", "MPLOGSHIM_MAX_AGE=7d", "MPLOGSHIM_MAX_TOTAL=1G",
             "MPLOGSHIM_ON_EVENT=/bin/tell", "MPLOGSHIM_LOGS=/a;/b,compress=none,max_age=0,max_total=0,on_event=none");
    assert_loaded(&loaded, 2);
    const struct rule *rules = loaded.config.rules;
    assert_int_equal(rules[0].policy.compress, 9);
    assert_true(rules[0].policy.max_age_ns == UINT64_C(604800000000000));
    assert_true(rules[0].policy.max_total == UINT64_C(1) << 30);
    assert_string_equal(rules[0].on_event, "/bin/tell");
    assert_int_equal(rules[1].policy.compress, 0);
    assert_true(rules[1].policy.max_age_ns == 0);
    assert_true(rules[1].policy.max_total == 0);
    assert_null(rules[1].on_event);
}

static void variables_are_defaults_and_rules_win(void **state)
{
    (void)state;
    struct loaded loaded =
        LOAD("MPLOGSHIM_MAX_BYTES=1K", "MPLOGSHIM_BACKUPS=3", "MPLOGSHIM_WHEN=D", "MPLOGSHIM_LOCK_DIR=/locks,1",
             "MPLOGSHIM_OWNER=5:6", "MPLOGSHIM_LOGS=/a,max_bytes=2K;/b,when=off,owner=7;/c,backups=9,when=W2");
    assert_loaded(&loaded, 3);
    const struct rule *rules = loaded.config.rules;
    assert_int_equal(rules[0].policy.max_bytes, 2048);
    assert_int_equal(rules[0].policy.period.unit, PERIOD_DAY);
    assert_int_equal(rules[0].policy.naming, NAMING_TIME);
    assert_int_equal(rules[0].group, 6);
    assert_int_equal(rules[1].policy.max_bytes, 1024);
    assert_int_equal(rules[1].policy.period.unit, PERIOD_NONE);
    assert_int_equal(rules[1].policy.naming, NAMING_NUMBER);
    assert_int_equal(rules[1].owner, 7);
    assert_int_equal(rules[1].group, (gid_t)-1); /* the default's group goes with the default's user */
    assert_int_equal(rules[1].policy.backups, 3);
    assert_int_equal(rules[2].policy.backups, 9);
    assert_int_equal(rules[2].policy.period.weekday, 2);
    assert_string_equal(rules[2].lock_dir, "/locks,1");
}

static void a_default_of_naming_counts_with_and_without_when(void **state)
{
    (void)state;
    struct loaded loaded = LOAD("MPLOGSHIM_NAMING=number", "MPLOGSHIM_LOGS=/a,when=D;/b");
    assert_loaded(&loaded, 2);
    assert_int_equal(loaded.config.rules[0].policy.naming, NAMING_NUMBER);
    loaded = LOAD("MPLOGSHIM_NAMING=time", "MPLOGSHIM_LOGS=/a,when=D;/b");
    assert_loaded(&loaded, 2);
    assert_int_equal(loaded.config.rules[1].policy.naming, NAMING_TIME);
}

static void defaults_that_apply_to_some_rule_are_left_out_of_the_others(void **state)
{
    (void)state;
    struct loaded loaded = LOAD("MPLOGSHIM_AT=03:00", "MPLOGSHIM_INTERVAL=2", "MPLOGSHIM_LOGS=/a,when=D;/b,when=H;/c");
    assert_loaded(&loaded, 3);
    assert_int_equal(loaded.config.rules[0].policy.period.at, 3 * 3600);
    assert_int_equal(loaded.config.rules[0].policy.period.interval, 2);
    assert_int_equal(loaded.config.rules[1].policy.period.at, 0);
    assert_int_equal(loaded.config.rules[1].policy.period.interval, 2);
    assert_int_equal(loaded.config.rules[2].policy.period.interval, 1);
}

static void defaults_that_apply_to_no_rule_are_refused(void **state)
{
    (void)state;
    struct loaded loaded = LOAD("MPLOGSHIM_INTERVAL=6", "MPLOGSHIM_LOGS=/a;/b");
    assert_refused(&loaded, "MPLOGSHIM_INTERVAL: ", "interval", "expected when=S, M, H, D or W0 to W6");
    loaded = LOAD("MPLOGSHIM_AT=03:00", "MPLOGSHIM_LOGS=/a;/b,when=H");
    assert_refused(&loaded, "MPLOGSHIM_AT: ", "at", "expected when=D or when=W0 to W6");
    loaded = LOAD("MPLOGSHIM_INTERVAL=30", "MPLOGSHIM_LOGS=/a,when=M;/b,when=H");
    assert_refused(&loaded, "MPLOGSHIM_INTERVAL: ", "'30'", "expected 1 to 24");
}

static void the_zone_is_needed_for_local_boundaries_and_names(void **state)
{
    (void)state;
    static const struct {
        const char *logs;
        bool needed;
    } cases[] = {
        {"/a", false},
        {"/a,max_bytes=1", false},
        {"/a,when=D", true},
        {"/a,when=D,naming=number", true},
        {"/a,naming=time", true},
        {"/a,when=D,utc=1", false},
        {"/a,naming=time,utc=1", false},
        {"/a,when=D,utc=1;/b,naming=time", true},
    };
    for (size_t i = 0; i < LENGTH(cases); i++) {
        char logs[128];
        snprintf(logs, sizeof logs, "MPLOGSHIM_LOGS=%s", cases[i].logs);
        struct loaded loaded = LOAD(logs);
        assert_int_equal(loaded.result, 0);
        assert_int_equal(loaded.config.needs_zone, cases[i].needed);
    }
}

static void unknown_variables_are_refused(void **state)
{
    (void)state;
    static const char *const names[] = {"MPLOGSHIM_FOO",      "MPLOGSHIM_",           "MPLOGSHIM_max_bytes",
                                        "MPLOGSHIM_MAX_BYTE", "MPLOGSHIM_MAX_BYTESS", "MPLOGSHIM_LOG",
                                        "MPLOGSHIM_ARCHIVE",  "MPLOGSHIM_DETAIL"};
    for (size_t i = 0; i < LENGTH(names); i++) {
        char variable[64];
        char start[64];
        snprintf(variable, sizeof variable, "%s=/a", names[i]);
        snprintf(start, sizeof start, "%s: ", names[i]);
        struct loaded loaded = LOAD("HOME=/", "MPLOGSHIM_LOGS=/a", variable);
        assert_refused(&loaded, start, "unknown variable", "expected MPLOGSHIM_LOGS");
    }
    struct loaded loaded = LOAD("MPLOGSHIM_\033\n=1");
    assert_refused(&loaded, "MPLOGSHIM_??: ", "unknown variable", "expected");
}

static void variables_of_others_do_not_count(void **state)
{
    (void)state;
    struct loaded loaded = LOAD("XMPLOGSHIM_FOO=1", "MPLOGSHIMFOO=1", "mplogshim_foo=1", "MPLOGSHIM_FOO", "=", "");
    assert_loaded(&loaded, 0);
    /* What an event's program finds in its environment, should it be preloaded as well. */
    loaded = LOAD("MPLOGSHIM_EVENT=rotated", "MPLOGSHIM_LOG=/a", "MPLOGSHIM_ARCHIVE=/a.1",
                  "MPLOGSHIM_DETAIL=", "MPLOGSHIM_LOGS=/a");
    assert_loaded(&loaded, 1);
}

static void of_two_variables_with_one_name_the_first_counts(void **state)
{
    (void)state;
    struct loaded loaded =
        LOAD("MPLOGSHIM_LOGS=/a", "MPLOGSHIM_LOGS=/b", "MPLOGSHIM_MAX_BYTES=1", "MPLOGSHIM_MAX_BYTES=x");
    assert_loaded(&loaded, 1);
    assert_string_equal(loaded.config.rules[0].pattern, "/a");
    assert_int_equal(loaded.config.rules[0].policy.max_bytes, 1);
}

static void the_switches_say_what_happens_to_errors(void **state)
{
    (void)state;
    struct loaded loaded = LOAD("MPLOGSHIM_STRICT=1", "MPLOGSHIM_DIAG=/var/log/diag", "MPLOGSHIM_LOGS=/a,x=y");
    assert_refused(&loaded, "MPLOGSHIM_LOGS: ", "'x'", "expected");
    assert_true(loaded.config.strict);
    assert_int_equal(loaded.config.diag, DIAG_FILE);
    assert_string_equal(loaded.config.diag_path, "/var/log/diag");

    static const struct {
        const char *variable;
        enum diag_target target;
    } targets[] = {{"MPLOGSHIM_DIAG=stderr", DIAG_STDERR},
                   {"MPLOGSHIM_DIAG=syslog", DIAG_SYSLOG},
                   {"MPLOGSHIM_DIAG=off", DIAG_OFF},
                   {"MPLOGSHIM_STRICT=0", DIAG_STDERR}};
    for (size_t i = 0; i < LENGTH(targets); i++) {
        loaded = LOAD(targets[i].variable, "MPLOGSHIM_LOGS=/a");
        assert_loaded(&loaded, 1);
        assert_false(loaded.config.strict);
        assert_int_equal(loaded.config.diag, targets[i].target);
    }
}

static void bad_switches_are_refused(void **state)
{
    (void)state;
    static const char *const bad[][3] = {
        {"MPLOGSHIM_DIAG=x.log", "'x.log'", "expected stderr, syslog, off or an absolute path"},
        {"MPLOGSHIM_DIAG=", "''", "expected stderr, syslog, off or an absolute path"},
        {"MPLOGSHIM_DIAG=/x\ny", "'/x?y'", "expected stderr, syslog, off or an absolute path"},
        {"MPLOGSHIM_STRICT=yes", "'yes'", "expected 0 or 1"},
        {"MPLOGSHIM_STRICT=", "''", "expected 0 or 1"},
        {"MPLOGSHIM_DISABLE=true", "'true'", "expected 0 or 1"},
        {"MPLOGSHIM_DISABLE=11", "'11'", "expected 0 or 1"},
    };
    for (size_t i = 0; i < LENGTH(bad); i++) {
        char start[64];
        snprintf(start, sizeof start, "%.*s: ", (int)strcspn(bad[i][0], "="), bad[i][0]);
        struct loaded loaded = LOAD("MPLOGSHIM_LOGS=/a", bad[i][0]);
        assert_refused(&loaded, start, bad[i][1], bad[i][2]);
    }
    /* Several mistakes: the other switches still say how the first is told. */
    struct loaded loaded = LOAD("MPLOGSHIM_DIAG=bad", "MPLOGSHIM_STRICT=1", "MPLOGSHIM_FOO=1");
    assert_refused(&loaded, "MPLOGSHIM_DIAG: ", "'bad'", "expected stderr");
    assert_true(loaded.config.strict);
    assert_int_equal(loaded.config.diag, DIAG_STDERR);
}

static void disabled_is_inert_whatever_else_is_set(void **state)
{
    (void)state;
    struct loaded loaded = LOAD("MPLOGSHIM_DISABLE=1", "MPLOGSHIM_LOGS=/a");
    assert_loaded(&loaded, 0);
    loaded = LOAD("MPLOGSHIM_LOGS=,,,", "MPLOGSHIM_FOO=1", "MPLOGSHIM_DISABLE=1", "MPLOGSHIM_STRICT=1");
    assert_loaded(&loaded, 0);
    loaded = LOAD("MPLOGSHIM_DISABLE=0", "MPLOGSHIM_LOGS=/a");
    assert_loaded(&loaded, 1);
}

static void nothing_set_is_inert(void **state)
{
    (void)state;
    struct loaded loaded = LOAD(NULL);
    assert_loaded(&loaded, 0);
    loaded = LOAD("MPLOGSHIM_MAX_BYTES=10M", "MPLOGSHIM_INTERVAL=2");
    assert_loaded(&loaded, 0);
}

static void a_configuration_outlives_the_environment(void **state)
{
    (void)state;
    char logs[] = "MPLOGSHIM_LOGS=/a/*.log,lock_dir=/locks";
    char diag[] = "MPLOGSHIM_DIAG=/diag";
    char timeout[] = "MPLOGSHIM_LOCK_TIMEOUT=1s";
    char on_event[] = "MPLOGSHIM_ON_EVENT=/bin/tell";
    struct loaded loaded = LOAD(logs, diag, timeout, on_event);
    memset(logs, 'x', sizeof logs); /* as setproctitle does */
    memset(diag, 'x', sizeof diag);
    memset(on_event, 'x', sizeof on_event);
    assert_loaded(&loaded, 1);
    assert_string_equal(loaded.config.rules[0].pattern, "/a/*.log");
    assert_string_equal(loaded.config.rules[0].lock_dir, "/locks");
    assert_string_equal(loaded.config.diag_path, "/diag");
    assert_string_equal(loaded.config.rules[0].on_event, "/bin/tell");
}

/* "NAME=" and `count` times `part`. */
static char *repeat(const char *name, const char *part, size_t count)
{
    size_t length = strlen(part);
    char *text = test_malloc(strlen(name) + 2 + count * length);
    char *end = stpcpy(stpcpy(text, name), "=");
    for (size_t i = 0; i < count; i++)
        end = stpcpy(end, part);
    return text;
}

static void values_of_a_megabyte_are_refused(void **state)
{
    (void)state;
    static const char *const names[][2] = {{"MPLOGSHIM_LOGS", "131072"},   {"MPLOGSHIM_MAX_BYTES", "4095"},
                                           {"MPLOGSHIM_LOCK_DIR", "4095"}, {"MPLOGSHIM_DIAG", "4095"},
                                           {"MPLOGSHIM_CONFIG", "4095"},   {"MPLOGSHIM_STRICT", "4095"},
                                           {"MPLOGSHIM_ON_EVENT", "4095"}};
    for (size_t i = 0; i < LENGTH(names); i++) {
        char *variable = repeat(names[i][0], "/", 1000000);
        char start[64];
        char limit[64];
        snprintf(start, sizeof start, "%s: ", names[i][0]);
        snprintf(limit, sizeof limit, "expected at most %s", names[i][1]);
        struct loaded loaded = LOAD("MPLOGSHIM_STRICT=1", variable);
        if (strcmp(names[i][0], "MPLOGSHIM_STRICT") == 0)
            loaded = LOAD(variable);
        else
            assert_true(loaded.config.strict);
        assert_refused(&loaded, start, "1000000 bytes", limit);
        test_free(variable);
    }
}

static void long_words_are_refused(void **state)
{
    (void)state;
    char *pattern = repeat("MPLOGSHIM_LOGS", "/a", 2048);
    struct loaded loaded = LOAD(pattern);
    assert_refused(&loaded, "MPLOGSHIM_LOGS: rule 1: ", "/a/a...'", "expected at most 4095 bytes");
    pattern[strlen(pattern) - 2] = '\0';
    loaded = LOAD(pattern);
    assert_loaded(&loaded, 1);
    test_free(pattern);

    pattern = repeat("MPLOGSHIM_LOGS", "a/", 2046);
    pattern[strlen(pattern) - 1] = '\0';
    loaded = LOAD(pattern); /* "/start/" in front of it is too much */
    assert_refused(&loaded, "MPLOGSHIM_LOGS: rule 1: ", "'a/a/a/a", "expected at most 4095 bytes");
    test_free(pattern);

    char *value = repeat("MPLOGSHIM_LOGS=/a,lock_dir", "/", 4096);
    loaded = LOAD(value);
    assert_refused(&loaded, "MPLOGSHIM_LOGS: rule 1: ", "lock_dir", "expected at most 4095 bytes");
    test_free(value);
}

static void a_thousand_rules_load_and_one_more_is_refused(void **state)
{
    (void)state;
    char *logs = repeat("MPLOGSHIM_LOGS", "/a/*.log;", 1000);
    struct loaded loaded = LOAD(logs);
    assert_loaded(&loaded, 1000);
    assert_string_equal(loaded.config.rules[999].pattern, "/a/*.log");
    test_free(logs);

    static const size_t too_many[] = {1001, 10000};
    for (size_t i = 0; i < LENGTH(too_many); i++) {
        logs = repeat("MPLOGSHIM_LOGS", "/a/*.log;", too_many[i]);
        loaded = LOAD(logs);
        assert_refused(&loaded, "MPLOGSHIM_LOGS: rule 1001: ", "too many rules at '/a/*.log'", "expected at most 1000");
        test_free(logs);
    }
}

static int64_t load_time(const char *variable)
{
    struct timespec before;
    struct timespec after;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &before);
    struct loaded loaded = LOAD(variable);
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &after);
    (void)loaded;
    return (after.tv_sec - before.tv_sec) * 1000000000 + after.tv_nsec - before.tv_nsec;
}

static void long_configurations_take_linear_time(void **state)
{
    (void)state;
    /* Quadratic parsing of 128 KiB takes seconds. */
    static const char *const parts[] = {";", "\n", " ", "a", "/", "\\", "\\\\", "/..", "=,", "/a;", "[", "/a,utc=1;"};
    for (size_t i = 0; i < LENGTH(parts); i++) {
        char *logs = repeat("MPLOGSHIM_LOGS", parts[i], 131072 / strlen(parts[i]));
        assert_true(load_time(logs) < 500000000);
        test_free(logs);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bad_rules_get_one_line_that_names_the_word),
        cmocka_unit_test(a_list_of_all_keys_fits_the_line_of_an_unknown_one),
        cmocka_unit_test(rules_are_separated_by_semicolons_and_newlines),
        cmocka_unit_test(backslash_escapes_separators_in_values),
        cmocka_unit_test(a_default_is_switched_off_for_one_rule),
        cmocka_unit_test(variables_are_defaults_and_rules_win),
        cmocka_unit_test(a_default_of_naming_counts_with_and_without_when),
        cmocka_unit_test(defaults_that_apply_to_some_rule_are_left_out_of_the_others),
        cmocka_unit_test(defaults_that_apply_to_no_rule_are_refused),
        cmocka_unit_test(the_zone_is_needed_for_local_boundaries_and_names),
        cmocka_unit_test(unknown_variables_are_refused),
        cmocka_unit_test(variables_of_others_do_not_count),
        cmocka_unit_test(of_two_variables_with_one_name_the_first_counts),
        cmocka_unit_test(the_switches_say_what_happens_to_errors),
        cmocka_unit_test(bad_switches_are_refused),
        cmocka_unit_test(disabled_is_inert_whatever_else_is_set),
        cmocka_unit_test(nothing_set_is_inert),
        cmocka_unit_test(a_configuration_outlives_the_environment),
        cmocka_unit_test(values_of_a_megabyte_are_refused),
        cmocka_unit_test(long_words_are_refused),
        cmocka_unit_test(a_thousand_rules_load_and_one_more_is_refused),
        cmocka_unit_test(long_configurations_take_linear_time),
    };
    return cmocka_run_group_tests(tests, make_scene, remove_scene);
}
