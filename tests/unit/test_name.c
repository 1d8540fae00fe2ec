/* The names of the files around a log: made, recognised, ordered. */
#include "../../shim/core/name.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* xorshift64*: the same numbers in every run, so that a failure can be repeated. */
static uint64_t random_state = 20261120;

static uint64_t random_next(void)
{
    random_state ^= random_state >> 12;
    random_state ^= random_state << 25;
    random_state ^= random_state >> 27;
    return random_state * 2685821657736338717U;
}

/* All magnitudes are equally likely: small numbers matter as much as those of 20 digits. */
static uint64_t random_number(void)
{
    return random_next() >> random_next() % 64;
}

static const char *const bases[] = {"app.log",      "a",           ".hidden", "7",        "app.log.7",
                                    "x.2026-11-20", "a b%.gz",     "..",      "app.lock", "app.log.gz",
                                    ".app.log",     "app.squeeze", "app.new"};

static const char *random_base(void)
{
    return bases[random_next() % (sizeof bases / sizeof bases[0])];
}

static void random_period(char period[32])
{
    static const char *const formats[] = {"2026-11-20", "2024-02-29_00", "0000-12-31_23-59", "9999-01-01_13-05-09"};
    strcpy(period, formats[random_next() % 4]);
}

/* Makes a name of any kind, and what parsing it must give. */
static struct name make_random(const char *base, char *out)
{
    struct name name;
    memset(&name, 0, sizeof name);
    switch (random_next() % 5) {
    case 0:
        name.kind = NAME_LOCK;
        assert_int_equal(name_lock(base, out), 0);
        break;
    case 4:
        name.kind = NAME_WORK;
        assert_int_equal(random_next() % 2 ? name_fresh(base, out) : name_squeeze(base, out), 0);
        break;
    case 1:
        name.kind = NAME_PENDING;
        name.generation = random_number();
        name.begun = (int64_t)random_number();
        if (random_next() % 2)
            name.begun = (int64_t)(0 - (uint64_t)name.begun);
        assert_int_equal(name_pending(base, name.generation, name.begun, out), 0);
        break;
    case 2:
        name.kind = NAME_NUMBER;
        name.number = random_number() | 1;
        name.gzip = random_next() % 2;
        assert_int_equal(name_number(base, name.number, name.gzip, out), 0);
        break;
    default:
        name.kind = NAME_TIME;
        random_period(name.period);
        name.sequence = random_next() % 2 ? random_number() : 0;
        name.gzip = random_next() % 2;
        assert_int_equal(name_time(base, name.period, name.sequence, name.gzip, out), 0);
    }
    return name;
}

/* `text` is what was parsed: which of the two names of work it is, is not among its parts. */
static int make_again(const char *base, const struct name *name, const char *text, char *out)
{
    switch (name->kind) {
    case NAME_LOCK:
        return name_lock(base, out);
    case NAME_WORK:
        return text[strlen(text) - 1] == 'w' ? name_fresh(base, out) : name_squeeze(base, out);
    case NAME_PENDING:
        return name_pending(base, name->generation, name->begun, out);
    case NAME_NUMBER:
        return name_number(base, name->number, name->gzip, out);
    case NAME_TIME:
        return name_time(base, name->period, name->sequence, name->gzip, out);
    case NAME_RING:
    case NAME_OTHER:
        break;
    }
    fail_msg("there is no name of this kind");
    return -1;
}

static void assert_names_equal(const struct name *a, const struct name *b)
{
    assert_int_equal(a->kind, b->kind);
    assert_int_equal(a->gzip, b->gzip);
    assert_true(a->generation == b->generation);
    assert_true(a->begun == b->begun);
    assert_true(a->number == b->number);
    assert_string_equal(a->period, b->period);
    assert_true(a->sequence == b->sequence);
}

static void names_look_as_documented(void **state)
{
    (void)state;
    char out[NAME_SIZE];
    assert_int_equal(name_lock("app.log", out), 0);
    assert_string_equal(out, ".app.log.lock");
    assert_int_equal(name_fresh("app.log", out), 0);
    assert_string_equal(out, ".app.log.new");
    assert_int_equal(name_squeeze("app.log", out), 0);
    assert_string_equal(out, ".app.log.squeeze");
    uint64_t number;
    assert_int_equal(name_ring(".app.log.lock", 0xabc, out), 0);
    assert_string_equal(out, ".app.log.0000000000000abc.ring");
    assert_true(name_is_ring(".app.log.lock", out, &number));
    assert_int_equal(number, 0xabc);
    assert_false(name_is_ring(".app.lock", out, &number));
    assert_false(name_is_ring(".app.log.lock", ".app.log.abc.ring", &number));
    assert_int_equal(name_ring("%d%app.log.lock", 1, out), 0); /* in a lock_dir */
    assert_string_equal(out, "%d%app.log.0000000000000001.ring");
    assert_int_equal(name_pending("app.log", 0xabc, 1700000000, out), 0);
    assert_string_equal(out, ".app.log.0000000000000abc.1700000000.pending");
    assert_int_equal(name_pending("app.log", UINT64_MAX, INT64_MIN, out), 0);
    assert_string_equal(out, ".app.log.ffffffffffffffff.-9223372036854775808.pending");
    assert_int_equal(name_number("app.log", 7, false, out), 0);
    assert_string_equal(out, "app.log.7");
    assert_int_equal(name_number("app.log", UINT64_MAX, true, out), 0);
    assert_string_equal(out, "app.log.18446744073709551615.gz");
    assert_int_equal(name_time("app.log", "2026-11-20_13-05-09", 0, false, out), 0);
    assert_string_equal(out, "app.log.2026-11-20_13-05-09");
    assert_int_equal(name_time("app.log", "2026-11-20", 2, true, out), 0);
    assert_string_equal(out, "app.log.2026-11-20.2.gz");
}

static void a_name_that_does_not_fit_is_an_error(void **state)
{
    (void)state;
    char out[NAME_SIZE + 1];
    char base[NAME_SIZE];
    out[NAME_SIZE] = 'x';
    for (size_t length = 1; length <= NAME_MAX; length++) {
        memset(base, 'a', length);
        base[length] = '\0';
        assert_int_equal(name_lock(base, out), length + 6 > NAME_MAX ? -ENAMETOOLONG : 0);
        assert_int_equal(name_fresh(base, out), length + 5 > NAME_MAX ? -ENAMETOOLONG : 0);
        assert_int_equal(name_squeeze(base, out), length + 9 > NAME_MAX ? -ENAMETOOLONG : 0);
        assert_int_equal(name_pending(base, 1, -1700000000, out), length + 38 > NAME_MAX ? -ENAMETOOLONG : 0);
        assert_int_equal(name_number(base, 10, true, out), length + 6 > NAME_MAX ? -ENAMETOOLONG : 0);
        assert_int_equal(name_time(base, "2026-11-20", 12, false, out), length + 14 > NAME_MAX ? -ENAMETOOLONG : 0);
    }
    assert_int_equal(out[NAME_SIZE], 'x');
}

static void what_is_made_is_recognised(void **state)
{
    (void)state;
    for (int i = 0; i < 100000; i++) {
        char text[NAME_SIZE];
        const char *base = random_base();
        struct name made = make_random(base, text);
        struct name parsed = name_parse(base, text);
        assert_names_equal(&made, &parsed);
    }
}

/* Changes a name a little in one to three places. */
static void mutate(char *text)
{
    static const char characters[] = "0019afAFgz.-_+ lock";
    for (uint64_t changes = random_next() % 3 + 1; changes > 0; changes--) {
        size_t length = strlen(text);
        size_t place = random_next() % (length + 1);
        char character = characters[random_next() % (sizeof characters - 1)];
        switch (random_next() % 3) {
        case 0:
            if (place < length)
                text[place] = character;
            break;
        case 1:
            memmove(text + place + 1, text + place, length + 1 - place);
            text[place] = character;
            break;
        default:
            if (place < length)
                memmove(text + place, text + place + 1, length - place);
        }
    }
}

static void nothing_is_recognised_that_is_not_made(void **state)
{
    (void)state;
    for (int i = 0; i < 300000; i++) {
        char text[NAME_SIZE];
        char again[NAME_SIZE];
        const char *base = random_base();
        (void)make_random(base, text);
        mutate(text);
        struct name parsed = name_parse(base, text);
        if (parsed.kind == NAME_OTHER)
            continue;
        assert_int_equal(make_again(base, &parsed, text, again), 0);
        assert_string_equal(again, text);
    }
}

static void other_files_are_left_alone(void **state)
{
    (void)state;
    static const char *const others[] = {
        "app.log",
        "app.log.",
        "app.log.old",
        "app.log.2.txt",
        "app.log.01",
        "app.log.0",
        "app.log.7.gz.bak",
        "app.log.7.",
        "app.log.7.bz2",
        "app.log.7gz",
        "app.log.-7",
        "app.log.+7",
        "app.log. 7",
        "app.log.7 ",
        "app.log.1.gz.gz",
        "app.log.7.1",
        "app.log.18446744073709551616",
        "app.log.18446744073709551617",
        "app.log.99999999999999999999999",
        "app.log.gz",
        "app.logx.7",
        "xapp.log.7",
        "app.lo",
        "",
        ".",
        ".app.log",
        ".app.log.7",
        ".app.log.lock.gz",
        ".app.log.lock.1",
        ".app.log.LOCK",
        ".app.log.gz.new",
        ".app.log.gz.squeeze",
        ".app.log.new.1",
        ".app.log.squeeze.gz",
        "app.log.new",
        "app.log.squeeze",
        "..app.log.squeeze",
        "app.log.lock",
        "..app.log.lock",
        "app.log.2026-13-20",
        "app.log.2026-00-20",
        "app.log.2026-11-31",
        "app.log.2026-02-29",
        "app.log.1900-02-29",
        "app.log.2026-11-00",
        "app.log.2026-1-2",
        "app.log.2026-1120",
        "app.log.2026-11-20_24",
        "app.log.2026-11-20_13-60",
        "app.log.2026-11-20_13-05-60",
        "app.log.2026-11-20_13-05-09-01",
        "app.log.2026-11-20-13",
        "app.log.2026-11-20_",
        "app.log.2026-11-20.0",
        "app.log.2026-11-20.01",
        "app.log.2026-11-20.18446744073709551616",
        "app.log.2026-11-20.1.1",
        "app.log.2026-11-20.1.txt",
        "app.log.2026-11-20.gz.1",
        "app.log.+026-11-20",
        "app.log.2026-11- 2",
        ".app.log.000000000000abc.17.pending",
        ".app.log.00000000000000abc.17.pending",
        ".app.log.0000000000000ABC.17.pending",
        ".app.log.0000000000000abc.017.pending",
        ".app.log.0000000000000abc.-0.pending",
        ".app.log.0000000000000abc.+1.pending",
        ".app.log.0000000000000abc..pending",
        ".app.log.0000000000000abc.9223372036854775808.pending",
        ".app.log.0000000000000abc.-9223372036854775809.pending",
        ".app.log.0000000000000abc.17.pending.gz",
        "app.log.0000000000000abc.17.pending",
        ".app.log.0000000000000abc.pending",
    };
    for (size_t i = 0; i < sizeof others / sizeof others[0]; i++) {
        struct name parsed = name_parse("app.log", others[i]);
        if (parsed.kind != NAME_OTHER)
            fail_msg("\"%s\" is taken for kind %d", others[i], (int)parsed.kind);
    }
}

static void the_earliest_and_latest_moments_are_recognised(void **state)
{
    (void)state;
    const int64_t extremes[] = {INT64_MIN, INT64_MAX};
    for (size_t i = 0; i < 2; i++) {
        char text[NAME_SIZE];
        assert_int_equal(name_pending("app.log", 0, extremes[i], text), 0);
        struct name parsed = name_parse("app.log", text);
        assert_int_equal(parsed.kind, NAME_PENDING);
        assert_true(parsed.begun == extremes[i]);
    }
}

static void leap_days_are_plausible(void **state)
{
    (void)state;
    assert_int_equal(name_parse("a", "a.2024-02-29").kind, NAME_TIME);
    assert_int_equal(name_parse("a", "a.2000-02-29").kind, NAME_TIME);
    assert_int_equal(name_parse("a", "a.2100-02-29").kind, NAME_OTHER);
}

static void hidden_names_of_different_logs_never_collide(void **state)
{
    (void)state;
    static const char *const ends[] = {"",
                                       ".gz",
                                       ".new",
                                       ".squeeze",
                                       ".lock",
                                       ".pending",
                                       ".gz.new",
                                       ".7",
                                       ".7.gz",
                                       ".0000000000000001.5",
                                       ".0000000000000001.5.pending"};
    enum { ENDS = sizeof ends / sizeof ends[0], KINDS = 4, COUNT = 2 * ENDS * KINDS };
    static char made[COUNT][NAME_SIZE];
    size_t count = 0;
    for (size_t i = 0; i < 2 * ENDS; i++) {
        char base[64];
        strcat(strcpy(base, i < ENDS ? "app.log" : ".app.log"), ends[i % ENDS]);
        assert_int_equal(name_lock(base, made[count++]), 0);
        assert_int_equal(name_fresh(base, made[count++]), 0);
        assert_int_equal(name_squeeze(base, made[count++]), 0);
        assert_int_equal(name_pending(base, 1, 5, made[count++]), 0);
    }
    for (size_t i = 0; i < count; i++)
        for (size_t j = 0; j < i; j++)
            assert_string_not_equal(made[i], made[j]);
}

/* The base name that a reading is about, without the dot of a hidden name. */
static void copy_base(const char *name, size_t length, const struct name *parsed, char *base)
{
    memcpy(base, name + name_is_hidden(parsed->kind), length);
    base[length] = '\0';
}

static void the_log_of_an_archive_is_found(void **state)
{
    (void)state;
    struct name parsed;
    assert_int_equal(name_base("app.log.7", 0, &parsed), 7);
    assert_int_equal(parsed.kind, NAME_NUMBER);
    assert_true(parsed.number == 7);
    assert_int_equal(name_base("app.log.7", 1, &parsed), 0);
    assert_int_equal(parsed.kind, NAME_OTHER);
    assert_int_equal(name_base(".app.log.lock", 0, &parsed), 7);
    assert_int_equal(parsed.kind, NAME_LOCK);
    assert_int_equal(name_base(".app.log.new", 0, &parsed), 7);
    assert_int_equal(parsed.kind, NAME_WORK);
    assert_int_equal(name_base(".app.log.gz.new", 0, &parsed), 10);
    assert_int_equal(name_base(".app.log.squeeze", 0, &parsed), 7);
    assert_int_equal(parsed.kind, NAME_WORK);
    assert_int_equal(name_base(".app.log.7", 0, &parsed), 8); /* the archive of a hidden log */
    assert_int_equal(parsed.kind, NAME_NUMBER);
    assert_int_equal(name_base(".app.log.0000000000000001.-5.pending", 0, &parsed), 7);
    assert_int_equal(parsed.kind, NAME_PENDING);
    assert_true(parsed.begun == -5);
}

static void a_name_with_two_readings_gives_both(void **state)
{
    (void)state;
    struct name parsed;
    assert_int_equal(name_base("app.log.2026-11-20.1.gz", 0, &parsed), 7);
    assert_int_equal(parsed.kind, NAME_TIME);
    assert_true(parsed.sequence == 1);
    assert_true(parsed.gzip);
    assert_int_equal(name_base("app.log.2026-11-20.1.gz", 1, &parsed), 18);
    assert_int_equal(parsed.kind, NAME_NUMBER);
    assert_true(parsed.number == 1);
    assert_int_equal(name_base("app.log.2026-11-20.1.gz", 2, &parsed), 0);
}

static void a_name_without_a_base_has_no_reading(void **state)
{
    (void)state;
    static const char *const others[] = {"",
                                         ".",
                                         "..",
                                         ".lock",
                                         "..lock",
                                         ".new",
                                         "..new",
                                         ".squeeze",
                                         "..squeeze",
                                         ".7",
                                         ".2026-11-20",
                                         "app.log",
                                         ".0000000000000001.5.pending",
                                         "..0000000000000001.5.pending"};
    struct name parsed;
    for (size_t i = 0; i < sizeof others / sizeof others[0]; i++)
        assert_int_equal(name_base(others[i], 0, &parsed), 0);
}

static void the_base_that_made_a_name_is_among_its_readings(void **state)
{
    (void)state;
    for (int i = 0; i < 50000; i++) {
        char text[NAME_SIZE];
        char base[NAME_SIZE];
        char again[NAME_SIZE];
        const char *made_for = random_base();
        struct name made = make_random(made_for, text);
        struct name parsed;
        size_t length;
        bool found = false;
        for (unsigned nth = 0; (length = name_base(text, nth, &parsed)) > 0; nth++) {
            assert_true(nth < 4);
            copy_base(text, length, &parsed, base);
            assert_int_equal(make_again(base, &parsed, text, again), 0);
            assert_string_equal(again, text);
            if (strcmp(base, made_for) == 0) {
                assert_names_equal(&made, &parsed);
                found = true;
            }
        }
        assert_true(found);
    }
}

static int compare_texts(const char *a, const char *b)
{
    struct name first = name_parse("app.log", a);
    struct name second = name_parse("app.log", b);
    int order = name_compare(&first, &second);
    int reversed = name_compare(&second, &first);
    assert_int_equal((order > 0) - (order < 0), (reversed < 0) - (reversed > 0));
    return order;
}

static void archives_are_ordered_oldest_first(void **state)
{
    (void)state;
    static const char *const ordered[] = {
        "app.log.2025-12-31_23-59-59",
        "app.log.2026-11-20",
        "app.log.2026-11-20.1.gz",
        "app.log.2026-11-20.2",
        "app.log.2026-11-20.10",
        "app.log.2026-11-20_00",
        "app.log.2026-11-20_13",
        "app.log.2026-11-20_13-05",
        "app.log.2026-11-21",
        "app.log.18446744073709551615",
        "app.log.10.gz",
        "app.log.9",
        "app.log.1",
        ".app.log.0000000000000007.-1.pending",
        ".app.log.0000000000000002.5.pending",
        ".app.log.0000000000000010.5.pending",
        ".app.log.ffffffffffffffff.5.pending",
        ".app.log.0000000000000000.9.pending", /* the lock file was deleted in between */
    };
    const size_t count = sizeof ordered / sizeof ordered[0];
    for (size_t i = 0; i < count; i++) {
        for (size_t j = 0; j < count; j++) {
            int order = compare_texts(ordered[i], ordered[j]);
            if ((order > 0) - (order < 0) != (i > j) - (i < j))
                fail_msg("\"%s\" against \"%s\" gives %d", ordered[i], ordered[j], order);
        }
    }
}

static void compression_does_not_change_an_archives_place(void **state)
{
    (void)state;
    assert_int_equal(compare_texts("app.log.7", "app.log.7.gz"), 0);
    assert_int_equal(compare_texts("app.log.2026-11-20.1", "app.log.2026-11-20.1.gz"), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names_look_as_documented),
        cmocka_unit_test(a_name_that_does_not_fit_is_an_error),
        cmocka_unit_test(what_is_made_is_recognised),
        cmocka_unit_test(nothing_is_recognised_that_is_not_made),
        cmocka_unit_test(other_files_are_left_alone),
        cmocka_unit_test(the_earliest_and_latest_moments_are_recognised),
        cmocka_unit_test(leap_days_are_plausible),
        cmocka_unit_test(hidden_names_of_different_logs_never_collide),
        cmocka_unit_test(the_log_of_an_archive_is_found),
        cmocka_unit_test(a_name_with_two_readings_gives_both),
        cmocka_unit_test(a_name_without_a_base_has_no_reading),
        cmocka_unit_test(the_base_that_made_a_name_is_among_its_readings),
        cmocka_unit_test(archives_are_ordered_oldest_first),
        cmocka_unit_test(compression_does_not_change_an_archives_place),
    };
    return cmocka_run_group_tests_name("name", tests, NULL, NULL);
}
