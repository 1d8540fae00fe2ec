/* A policy in words, and a rule as text: what the configuration can say comes back as it was. */
#include "config_scene.h"

#include "../../shim/core/match.h"
#include "../../shim/core/policy.h"

#include <limits.h>

/* xorshift64*: the same numbers in every run, so that a failure can be repeated. */
static uint64_t random_state = 20261121;

static uint64_t random_next(void)
{
    random_state ^= random_state >> 12;
    random_state ^= random_state << 25;
    random_state ^= random_state >> 27;
    return random_state * 2685821657736338717U;
}

static uint64_t random_below(uint64_t bound)
{
    return random_next() % bound;
}

static const struct policy nothing = {.period = {.interval = 1}};

/* Appends ",key=value" with a value that the configuration takes. */
static void add_random_size(char *text, const char *key)
{
    static const char units[] = "KMG";
    uint64_t kind = random_below(4);
    uint64_t most = (UINT64_C(1) << 62) >> (kind < 3 ? 10 * (kind + 1) : 0);
    uint64_t number = random_below(4) == 0 ? most : (random_next() >> random_below(64)) % (most + 1);
    sprintf(text + strlen(text), ",%s=%llu%.*s", key, (unsigned long long)number, kind < 3, units + kind % 3);
}

static void add_random_duration(char *text, const char *key)
{
    static const struct {
        const char *name;
        uint64_t most;
    } units[] = {{"ms", 4611686018427}, {"s", 4611686018}, {"m", 76861433}, {"h", 1281023}, {"d", 53375}, {"w", 7625}};
    size_t unit = random_below(LENGTH(units));
    uint64_t most = units[unit].most;
    uint64_t number = random_below(4) == 0 ? most : (random_next() >> random_below(64)) % (most + 1);
    sprintf(text + strlen(text), ",%s=%llu%s", key, (unsigned long long)number, units[unit].name);
}

static void add_random_period(char *text)
{
    static const struct {
        const char *when;
        uint64_t most;
        bool has_time;
    } whens[] = {{"S", 86400, false},   {"M", 1440, false}, {"H", 24, false},  {"D", 36500, true},
                 {"Midnight", 2, true}, {"w0", 5200, true}, {"W6", 5200, true}};
    size_t which = random_below(LENGTH(whens));
    sprintf(text + strlen(text), ",when=%s", whens[which].when);
    if (random_below(2))
        sprintf(text + strlen(text), ",interval=%llu",
                (unsigned long long)(random_below(4) ? random_below(whens[which].most) + 1 : whens[which].most));
    if (whens[which].has_time && random_below(2))
        sprintf(text + strlen(text), ",at=%02u:%02u:%02u", (unsigned)random_below(24), (unsigned)random_below(60),
                (unsigned)random_below(60));
}

/* "key=value" of any of the keys of a policy, each with a comma before it. */
static void make_random_keys(char *text)
{
    text[0] = '\0';
    if (random_below(3))
        add_random_period(text);
    if (random_below(2))
        add_random_size(text, "max_bytes");
    if (random_below(2))
        sprintf(text + strlen(text), ",utc=%u", (unsigned)random_below(2));
    if (random_below(2))
        sprintf(text + strlen(text), ",backups=%llu", (unsigned long long)random_below(1000000001));
    if (random_below(2))
        add_random_duration(text, "max_age");
    if (random_below(2))
        add_random_size(text, "max_total");
    if (random_below(2))
        sprintf(text + strlen(text), ",naming=%s", random_below(2) ? "time" : "number");
    if (random_below(2))
        sprintf(text + strlen(text), ",compress=gzip:%u", (unsigned)random_below(9) + 1);
}

/* The same with the other keys of a rule. */
static void make_random_rule_keys(char *text)
{
    static const char *const lines[] = {"whole", "strict", "off"};
    static const char *const truncate[] = {"rotate", "ignore", "allow"};
    static const char *const paths[] = {"/x",   "/a b", "/a\\,b\\;c",      "/a\\\\",
                                        "/\\#", "/\\ ", "/\xc3\xa4=*?[x]", "/a\\\\\\ "};
    make_random_keys(text);
    if (random_below(2))
        sprintf(text + strlen(text), ",lines=%s", lines[random_below(3)]);
    if (random_below(2))
        sprintf(text + strlen(text), ",lock=%s", random_below(2) ? "rotate" : "write");
    if (random_below(2))
        sprintf(text + strlen(text), ",truncate=%s", truncate[random_below(3)]);
    if (random_below(2))
        sprintf(text + strlen(text), ",mode=%o", (unsigned)random_below(512) | 0200);
    if (random_below(2))
        sprintf(text + strlen(text), ",owner=%u", (unsigned)random_below(UINT32_MAX));
    else if (random_below(2))
        sprintf(text + strlen(text), ",owner=%u:%u", (unsigned)random_below(UINT32_MAX),
                (unsigned)random_below(UINT32_MAX));
    if (random_below(2))
        add_random_duration(text, "lock_timeout");
    if (random_below(2))
        sprintf(text + strlen(text), ",lock_dir=%s", paths[random_below(LENGTH(paths))]);
    if (random_below(2))
        sprintf(text + strlen(text), ",on_event=%s", paths[random_below(LENGTH(paths))]);
}

static const struct rule *load_rule(struct loaded *loaded, const char *pattern, const char *keys)
{
    char logs[1024];
    snprintf(logs, sizeof logs, "MPLOGSHIM_LOGS=%s%s", pattern, keys);
    *loaded = LOAD(logs);
    assert_loaded(loaded, 1);
    return &loaded->config.rules[0];
}

static void words_look_as_the_configuration_says_them(void **state)
{
    (void)state;
    static const char *const cases[][1 + POLICY_WORDS] = {
        {"", "max_bytes=0", "when=OFF", "interval=1", "at=00:00:00", "utc=0", "backups=0", "max_age=0", "max_total=0",
         "naming=number", "compress=none"},
        {",max_bytes=10M,when=W3,interval=2,at=03:05,utc=1,backups=7,max_age=30d,max_total=1G,compress=gzip",
         "max_bytes=10485760", "when=W3", "interval=2", "at=03:05:00", "utc=1", "backups=7", "max_age=30d",
         "max_total=1073741824", "naming=time", "compress=gzip:6"},
        {",when=midnight,at=23:59:58,naming=number,max_age=14d", "max_bytes=0", "when=D", "interval=1", "at=23:59:58",
         "utc=0", "backups=0", "max_age=2w", "max_total=0", "naming=number", "compress=none"},
        {",when=S,interval=86400,max_age=90m", "max_bytes=0", "when=S", "interval=86400", "at=00:00:00", "utc=0",
         "backups=0", "max_age=90m", "max_total=0", "naming=time", "compress=none"},
        {",when=M,max_age=36h", "max_bytes=0", "when=M", "interval=1", "at=00:00:00", "utc=0", "backups=0",
         "max_age=36h", "max_total=0", "naming=time", "compress=none"},
        {",when=H,max_age=1001ms", "max_bytes=0", "when=H", "interval=1", "at=00:00:00", "utc=0", "backups=0",
         "max_age=1001ms", "max_total=0", "naming=time", "compress=none"},
    };
    for (size_t i = 0; i < LENGTH(cases); i++) {
        struct loaded loaded;
        const struct rule *rule = load_rule(&loaded, "/a", cases[i][0]);
        for (int index = 0; index < POLICY_WORDS; index++) {
            char word[POLICY_WORD_SIZE];
            policy_word(&rule->policy, index, word);
            assert_string_equal(word, cases[i][1 + index]);
        }
    }
}

static void every_policy_of_the_configuration_survives_its_words(void **state)
{
    (void)state;
    for (int i = 0; i < 5000; i++) {
        char keys[1024];
        struct loaded loaded;
        make_random_keys(keys);
        const struct policy *policy = &load_rule(&loaded, "/a", keys)->policy;
        struct policy again = nothing;
        assert_true(policy_is_valid(policy));
        int first = (int)random_below(POLICY_WORDS); /* in any order */
        for (int j = 0; j < POLICY_WORDS; j++) {
            char room[POLICY_WORD_SIZE + 1];
            int index = (first + j) % POLICY_WORDS;
            memset(room, '#', sizeof room);
            policy_word(policy, index, room);
            assert_non_null(memchr(room, '\0', POLICY_WORD_SIZE));
            assert_int_equal(room[POLICY_WORD_SIZE], '#');
            assert_true(strlen(room) < POLICY_WORD_SIZE - 1); /* a line of the lock file has a newline too */
            assert_true(policy_set_word(&again, index, room));
        }
        if (!policy_equal(policy, &again))
            fail_msg("%s", keys);
        assert_true(policy_is_valid(&again));
    }
}

static void a_word_that_the_configuration_refuses_changes_nothing(void **state)
{
    (void)state;
    static const struct {
        int index;
        const char *word;
    } bad[] = {
        {0, ""},
        {0, "max_bytes"},
        {0, "max_bytes="},
        {0, "=1"},
        {0, "max_bytes=-1"},
        {0, "max_bytes=1 "},
        {0, "max_bytes= 1"},
        {0, "max_bytes=1T"},
        {0, "max_bytes=4611686018427387905"},
        {0, "max_byte=1"},
        {0, "max_bytes2=1"},
        {0, "max_bytes 1"},
        {0, "max_bytes:1"},
        {0, "MAX_BYTES=1"},
        {0, "when=D"},
        {1, "when=W7"},
        {1, "when="},
        {1, "max_bytes=1"},
        {2, "interval=0"},
        {2, "interval=86401"},
        {3, "at=24:00:00"},
        {3, "at=3"},
        {4, "utc=2"},
        {5, "backups=1000000001"},
        {6, "max_age=1"},
        {6, "max_age=7626w"},
        {7, "max_total=1x"},
        {8, "naming=date"},
        {9, "compress=gzip:0"},
        {9, "compress=gzip:10"},
        {9, "compress=bzip2"},
        {9, "on_event=/bin/true"},
    };
    struct loaded loaded;
    const struct policy before = load_rule(&loaded, "/a", ",when=W3,at=01:00,max_age=7d,compress=gzip:9")->policy;
    for (size_t i = 0; i < LENGTH(bad); i++) {
        struct policy policy = before;
        if (policy_set_word(&policy, bad[i].index, bad[i].word) || !policy_equal(&policy, &before))
            fail_msg("'%s' was taken", bad[i].word);
    }
}

static void a_policy_is_valid_exactly_if_the_configuration_takes_its_keys(void **state)
{
    (void)state;
    static const char *const whens[] = {"OFF", "S", "M", "H", "D", "W0", "W6"};
    static const char *const intervals[] = {"1",    "2",    "24",    "25",    "1440", "1441",
                                            "5200", "5201", "36500", "36501", "86400"};
    static const char *const ats[] = {"00:00:00", "00:00:01"};
    for (size_t i = 0; i < LENGTH(whens); i++) {
        for (size_t j = 0; j < LENGTH(intervals); j++) {
            for (size_t k = 0; k < LENGTH(ats); k++) {
                /* An interval of 1 and midnight say nothing: what cannot be said is left out. */
                char words[3][POLICY_WORD_SIZE];
                char logs[128];
                sprintf(words[0], "when=%s", whens[i]);
                sprintf(words[1], "interval=%s", intervals[j]);
                sprintf(words[2], "at=%s", ats[k]);
                sprintf(logs, "MPLOGSHIM_LOGS=/a,%s%s%s%s%s", words[0], j ? "," : "", j ? words[1] : "", k ? "," : "",
                        k ? words[2] : "");
                struct policy policy = nothing;
                for (int word = 0; word < 3; word++)
                    assert_true(policy_set_word(&policy, word + 1, words[word]));
                struct loaded loaded = LOAD(logs);
                if ((loaded.result == 0) != policy_is_valid(&policy))
                    fail_msg("%s: %s", logs, loaded.error);
            }
        }
    }
}

static void policies_are_equal_only_if_every_key_is(void **state)
{
    (void)state;
    static const char *const others[] = {"max_bytes=1", "when=D",     "interval=2",  "at=01:00",    "utc=1",
                                         "backups=1",   "max_age=1s", "max_total=1", "naming=time", "compress=gzip"};
    struct policy weekly = nothing;
    struct policy again = nothing;
    for (int i = 0; i < POLICY_WORDS; i++) {
        char text[128];
        struct policy other = nothing;
        assert_true(policy_set_word(&other, i, others[i]));
        assert_false(policy_equal(&nothing, &other));
        assert_false(policy_equal(&other, &nothing));
        policy_differences(&nothing, &other, text, sizeof text);
        assert_non_null(strstr(text, " own "));
    }
    assert_true(policy_set_word(&weekly, 1, "when=W1") && policy_set_word(&again, 1, "when=W2"));
    assert_false(policy_equal(&weekly, &again));
    assert_true(policy_set_word(&again, 1, "when=W1"));
    assert_true(policy_equal(&weekly, &again));
}

static void differences_name_both_values(void **state)
{
    (void)state;
    struct loaded loaded;
    char text[512];
    const struct policy recorded = load_rule(&loaded, "/a", ",max_bytes=1K,backups=3,utc=1")->policy;
    const struct policy own = load_rule(&loaded, "/a", ",max_bytes=4K,backups=7,utc=1")->policy;
    policy_differences(&recorded, &own, text, sizeof text);
    assert_string_equal(text, "max_bytes=1024 own max_bytes=4096, backups=3 own backups=7");
    policy_differences(&own, &own, text, sizeof text);
    assert_string_equal(text, "");
}

static void differences_that_do_not_fit_are_left_out_whole(void **state)
{
    (void)state;
    struct loaded loaded;
    const struct policy recorded = load_rule(&loaded, "/a", ",max_bytes=1K,backups=3,max_total=5")->policy;
    const struct policy own = load_rule(&loaded, "/a", ",max_bytes=4K,backups=7,max_total=6")->policy;
    char whole[256];
    policy_differences(&recorded, &own, whole, sizeof whole);
    for (size_t size = 6; size <= sizeof whole; size++) {
        char text[sizeof whole + 1];
        memset(text, '#', sizeof text);
        policy_differences(&recorded, &own, text, size);
        assert_non_null(memchr(text, '\0', size));
        assert_int_equal(text[size], '#');
        if (strcmp(text, whole) == 0)
            continue;
        size_t kept = strlen(text) - 3;
        assert_string_equal(text + kept, "...");
        assert_memory_equal(text, whole, kept);
        assert_true(kept == 0 || memcmp(text + kept - 2, ", ", 2) == 0);
    }
}

static void assert_same_path(const char *a, const char *b)
{
    assert_int_equal(a == NULL, b == NULL);
    if (a)
        assert_string_equal(a, b);
}

static void assert_same_rule(const struct rule *a, const struct rule *b)
{
    assert_true(policy_equal(&a->policy, &b->policy));
    assert_int_equal(a->lines, b->lines);
    assert_int_equal(a->truncate, b->truncate);
    assert_int_equal(a->mode, b->mode);
    assert_int_equal(a->owner, b->owner);
    assert_int_equal(a->group, b->group);
    assert_true(a->lock_timeout_ns == b->lock_timeout_ns);
    assert_same_path(a->lock_dir, b->lock_dir);
    assert_same_path(a->on_event, b->on_event);
}

enum { TEXT_SIZE = 3 * PATH_MAX + 1024 };

static struct loaded load_text(const struct rule *rule, const char *path)
{
    static const char head[] = "MPLOGSHIM_LOGS=";
    static char text[sizeof head + TEXT_SIZE];
    strcpy(text, head);
    assert_int_equal(policy_rule_text(rule, path, text + sizeof head - 1, TEXT_SIZE), 0);
    struct loaded loaded = LOAD(text);
    if (loaded.result != 0)
        fail_msg("%s for %s", loaded.error, text);
    assert_int_equal(loaded.config.count, 1);
    return loaded;
}

/* A path as /proc could tell it, of one to four components that are no "." or "..". */
static void make_random_path(char *path)
{
    static const char odd[] = "*?[]!^-\\,;#= \t\n\r\x01\x1b\x7f\xc0\x80\xc3\xa4\"'$%~.:abA1";
    char *end = path;
    for (uint64_t component = random_below(4) + 1; component > 0; component--) {
        *end++ = '/';
        char *begin = end;
        for (uint64_t length = random_below(12) + 1; length > 0; length--)
            *end++ = odd[random_below(sizeof odd - 1)];
        if (begin[0] == '.' && (end - begin == 1 || (end - begin == 2 && begin[1] == '.')))
            *end++ = 'x';
    }
    *end = '\0';
}

static bool has_control(const char *path)
{
    for (; *path != '\0'; path++) {
        unsigned char byte = (unsigned char)*path;
        if (byte < ' ' || byte == 0x7f || (byte == 0xc0 && (unsigned char)path[1] == 0x80))
            return true;
    }
    return false;
}

static void a_rule_as_text_is_the_same_rule_for_exactly_its_log(void **state)
{
    (void)state;
    int exact = 0;
    for (int i = 0; i < 5000; i++) {
        char keys[1024];
        char path[128];
        struct loaded own;
        make_random_rule_keys(keys);
        make_random_path(path);
        const struct rule *rule = load_rule(&own, "/a", keys);
        struct loaded loaded = load_text(rule, path);
        assert_same_rule(rule, &loaded.config.rules[0]);
        assert_int_equal(loaded.config.needs_zone, own.config.needs_zone);
        assert_true(match_pattern(loaded.config.rules[0].pattern, path));
        assert_ptr_equal(match_log(&loaded.config, path), &loaded.config.rules[0]);
        if (has_control(path))
            continue;
        exact++;
        for (char *byte = path + 1; *byte != '\0'; byte++) {
            char before = *byte;
            *byte = before == 'x' ? 'y' : 'x';
            assert_false(match_pattern(loaded.config.rules[0].pattern, path));
            *byte = before;
        }
        strcat(path, "x");
        assert_false(match_pattern(loaded.config.rules[0].pattern, path));
    }
    assert_true(exact > 500);
}

static void the_longest_rule_fits_what_callers_have(void **state)
{
    (void)state;
    static char paths[3][PATH_MAX];
    struct loaded own;
    struct rule rule = *load_rule(&own, "/a",
                                  ",when=W6,interval=5200,at=23:59:59,max_bytes=4611686018427387904,"
                                  "max_total=4611686018427387904,backups=1000000000,max_age=4611686018427ms,utc=1,"
                                  "compress=gzip:9,mode=0777,owner=4294967294:4294967294,"
                                  "lock_timeout=4611686018427ms,truncate=rotate,lines=strict");
    for (size_t i = 0; i < 3; i++) {
        memset(paths[i], "xyz"[i], PATH_MAX - 1);
        for (size_t j = 0; j < PATH_MAX - 1; j += 200)
            paths[i][j] = '/';
    }
    rule.lock_dir = paths[1];
    rule.on_event = paths[2];
    struct loaded loaded = load_text(&rule, paths[0]);
    assert_same_rule(&rule, &loaded.config.rules[0]);
    assert_non_null(match_log(&loaded.config, paths[0]));
}

static void a_path_whose_escapes_are_too_long_still_matches(void **state)
{
    (void)state;
    static const char specials[] = "*?[]\\,; ";
    struct loaded own;
    const struct rule *rule = load_rule(&own, "/a", "");
    for (const char *special = specials; *special != '\0'; special++) {
        char path[PATH_MAX];
        memset(path, *special, sizeof path);
        for (size_t i = 0; i < sizeof path; i += 100)
            path[i] = '/';
        path[PATH_MAX - 1] = '\0';
        struct loaded loaded = load_text(rule, path);
        assert_ptr_equal(match_log(&loaded.config, path), &loaded.config.rules[0]);
    }
}

static void text_that_does_not_fit_is_an_error(void **state)
{
    (void)state;
    struct loaded own;
    const struct rule *rule = load_rule(&own, "/a", ",lock_dir=/l,on_event=/e");
    char whole[512];
    assert_int_equal(policy_rule_text(rule, "/d/app.log", whole, sizeof whole), 0);
    for (size_t size = 0; size <= sizeof whole - 1; size++) {
        char text[sizeof whole];
        memset(text, '#', sizeof text);
        assert_int_equal(policy_rule_text(rule, "/d/app.log", text, size), size > strlen(whole) ? 0 : -ENAMETOOLONG);
        assert_int_equal(text[size], '#');
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(words_look_as_the_configuration_says_them),
        cmocka_unit_test(every_policy_of_the_configuration_survives_its_words),
        cmocka_unit_test(a_word_that_the_configuration_refuses_changes_nothing),
        cmocka_unit_test(a_policy_is_valid_exactly_if_the_configuration_takes_its_keys),
        cmocka_unit_test(policies_are_equal_only_if_every_key_is),
        cmocka_unit_test(differences_name_both_values),
        cmocka_unit_test(differences_that_do_not_fit_are_left_out_whole),
        cmocka_unit_test(a_rule_as_text_is_the_same_rule_for_exactly_its_log),
        cmocka_unit_test(the_longest_rule_fits_what_callers_have),
        cmocka_unit_test(a_path_whose_escapes_are_too_long_still_matches),
        cmocka_unit_test(text_that_does_not_fit_is_an_error),
    };
    return cmocka_run_group_tests(tests, make_scene, remove_scene);
}
