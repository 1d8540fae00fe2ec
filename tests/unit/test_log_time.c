/*
 * Rotation by the clock, with a clock and a time zone of the test's: boundaries, idle times, changes of the clock.
 *
 * The tests begin on Friday, 2026-11-20, at 16:00:00 UTC.
 */
#include "log_test.h"

#include "../../include/mplogshim.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

enum { MINUTE = 60, HOUR = 3600, DAY = 86400 };

static int line;

static int setup(void **state)
{
    (void)state;
    scene_make(&scene);
    scene.rule.policy.naming = NAMING_TIME;
    line = 0;
    return 0;
}

static void begin(enum period_unit unit, uint32_t interval)
{
    scene.rule.policy.period.unit = unit;
    scene.rule.policy.period.interval = interval;
    scene_start(&scene);
    scene_attach(&scene);
}

static void write_line(void)
{
    assert_int_equal(scene_write(&scene, ++line), LINE_LENGTH);
}

static int archives(void)
{
    struct history *history = history_read(scene.directory);
    int count = history->count - 1;
    free(history);
    return count;
}

/* The archives' names without the log's, oldest first; the whole history is there. */
static void assert_archives(const char *expected)
{
    char names[4096] = "";
    scene_settle(&scene);
    assert_true(history_holds(scene.directory, line, 0));
    assert_true(history_is_settled(scene.directory));
    struct history *history = history_read(scene.directory);
    for (int i = 0; i + 1 < history->count; i++) {
        size_t length = strlen(names);
        snprintf(names + length, sizeof names - length, "%s%s", i > 0 ? " " : "",
                 history->files[i].text + strlen(LOG_NAME) + 1);
    }
    free(history);
    assert_string_equal(names, expected);
}

/* One second before the boundary, at it, and in the middle of the next period. */
static void write_around_boundary(int64_t boundary, int64_t length)
{
    write_line();
    scene_pass(boundary - scene_clock.real - 1);
    write_line();
    assert_int_equal(archives(), 0);
    scene_pass(1);
    write_line();
    assert_int_equal(archives(), 1);
    scene_pass(length / 2);
    write_line();
    assert_int_equal(archives(), 1);
}

static void each_unit_rotates_at_its_boundary(void **state)
{
    static const struct {
        enum period_unit unit;
        int64_t length;
        int64_t first; /* boundary after the beginning */
        const char *name;
    } units[] = {
        {PERIOD_SECOND, 1, 1, "2026-11-20_16-00-00"},
        {PERIOD_MINUTE, MINUTE, MINUTE, "2026-11-20_16-00"},
        {PERIOD_HOUR, HOUR, HOUR, "2026-11-20_16"},
        {PERIOD_DAY, DAY, 8 * HOUR, "2026-11-20"},
        {PERIOD_WEEK, 7 * DAY, 2 * DAY + 8 * HOUR, "2026-11-16"},
    };
    for (size_t i = 0; i < sizeof units / sizeof units[0]; i++) {
        if (i > 0) {
            setup(state);
        }
        begin(units[i].unit, 1);
        write_around_boundary(scene_clock.real + units[i].first, units[i].length);
        assert_archives(units[i].name);
        if (i + 1 < sizeof units / sizeof units[0]) {
            scene_teardown(state);
        }
    }
}

static void interval_counts_from_midnight(void **state)
{
    (void)state;
    begin(PERIOD_HOUR, 6);
    write_around_boundary(scene_clock.real + 2 * HOUR, 6 * HOUR);
    assert_archives("2026-11-20_12");
}

static void day_begins_at_the_time_asked_for(void **state)
{
    (void)state;
    scene.rule.policy.period.at = 17 * HOUR + 30 * MINUTE;
    begin(PERIOD_DAY, 1);
    write_around_boundary(scene_clock.real + 90 * MINUTE, DAY);
    assert_archives("2026-11-19");
}

static void boundaries_passed_in_silence_make_one_archive(void **state)
{
    (void)state;
    begin(PERIOD_HOUR, 1);
    write_line();
    scene_pass(50 * HOUR + 10);
    write_line();
    scene_pass(10);
    write_line();
    assert_archives("2026-11-20_16");
    scene_pass(HOUR);
    write_line();
    assert_archives("2026-11-20_16 2026-11-22_18");
}

static void boundary_that_passed_while_nobody_ran_rotates_at_the_first_write(void **state)
{
    (void)state;
    scene.rule.policy.period.unit = PERIOD_DAY;
    assert_int_equal(scene_other_process(&scene, 1, 2), 0);
    line = 2;
    scene_pass(DAY);
    begin(PERIOD_DAY, 1);
    assert_int_equal(archives(), 0);
    write_line();
    write_line();
    assert_archives("2026-11-20");
    scene_pass(DAY);
    write_line();
    assert_archives("2026-11-20 2026-11-21");
}

static void log_from_before_the_first_use_belongs_to_its_last_write(void **state)
{
    const struct timespec times[2] = {{.tv_sec = scene_clock.real - 3 * DAY}, {.tv_sec = scene_clock.real - 3 * DAY}};
    (void)state;
    temporary_write(scene.directory, LOG_NAME, "line 000001 .......\n");
    line = 1;
    assert_int_equal(utimensat(AT_FDCWD, scene.path.text, times, 0), 0);
    begin(PERIOD_DAY, 1);
    write_line();
    assert_archives("2026-11-17");
}

static void empty_file_is_not_rotated(void **state)
{
    (void)state;
    begin(PERIOD_HOUR, 1);
    assert_int_equal(scene_append(scene.writer, "gone\n", HOLD_NONE), 5);
    assert_int_equal(truncate(scene.path.text, 0), 0);
    scene_pass(5 * HOUR);
    write_line();
    scene_pass(10 * MINUTE);
    write_line();
    assert_archives("");
    assert_int_equal(temporary_length(scene.directory, LOCK_NAME), MPLOGSHIM_PAGE_SIZE); /* generation 0 */
    scene_pass(HOUR);
    write_line();
    assert_archives("2026-11-20_21");
}

static void size_never_moves_a_boundary(void **state)
{
    (void)state;
    scene.rule.policy.max_bytes = 2 * LINE_LENGTH;
    begin(PERIOD_HOUR, 1);
    for (int i = 0; i < 3; i++) {
        write_line();
    }
    scene_pass(59 * MINUTE);
    write_line(); /* 3 and 4 fill the file */
    write_line(); /* 5, for size */
    assert_int_equal(archives(), 2);
    scene_pass(MINUTE);
    write_line(); /* 6, at 17:00, though 5 is a minute old and there is room */
    assert_archives("2026-11-20_16 2026-11-20_16.1 2026-11-20_16.2");
    scene_pass(HOUR);
    write_line();
    assert_archives("2026-11-20_16 2026-11-20_16.1 2026-11-20_16.2 2026-11-20_17");
}

static void clock_set_back_by_an_hour_makes_no_storm(void **state)
{
    (void)state;
    begin(PERIOD_MINUTE, 1);
    write_line();
    scene_pass(MINUTE);
    write_line();
    assert_archives("2026-11-20_16-00");
    scene_clock.real -= HOUR;
    int before = archives();
    for (int i = 0; i < 60; i++) {
        write_line();
        scene_pass(10);
    }
    assert_in_range(archives() - before, 0, 11); /* at most one for each minute that went by */
    scene_pass(HOUR);
    int after = archives();
    write_line();
    assert_int_equal(archives(), after + 1);
    scene_settle(&scene);
    assert_true(history_is_settled(scene.directory));
}

static void clock_set_back_overwrites_nothing(void **state)
{
    (void)state;
    scene.rule.policy.max_bytes = LINE_LENGTH;
    begin(PERIOD_NONE, 1);
    scene.rule.policy.naming = NAMING_TIME;
    for (int round = 0; round < 3; round++) {
        for (int i = 0; i < 5; i++) {
            write_line();
            scene_pass(1);
        }
        scene_clock.real -= 5; /* the same seconds once more */
    }
    scene_settle(&scene);
    struct history *history = history_read(scene.directory);
    assert_int_equal(history->count, 15);
    free(history);
}

static void clock_that_was_years_ahead_does_not_stop_rotation(void **state)
{
    (void)state;
    scene_clock.real += 3650LL * DAY;
    scene.rule.policy.period.unit = PERIOD_HOUR;
    assert_int_equal(scene_other_process(&scene, 1, 1), 0);
    line = 1;
    scene_clock.real -= 3650LL * DAY;
    begin(PERIOD_HOUR, 1);
    write_line();
    scene_pass(HOUR);
    write_line();
    assert_int_equal(archives(), 1);
    assert_archives("2026-11-20_16");
}

static void clock_that_was_years_ahead_does_not_stop_a_process_that_goes_on(void **state)
{
    (void)state;
    scene_clock.real += 3650LL * DAY;
    begin(PERIOD_HOUR, 1);
    write_line();
    scene_clock.real -= 3650LL * DAY;
    scene_pass(2);
    write_line();
    scene_pass(HOUR);
    write_line();
    scene_pass(HOUR);
    write_line();
    assert_in_range(archives(), 1, 2);
}

/* Central European Time: 2026-10-25 01:00 UTC the clock goes from 03:00 back to 02:00. */
static void set_autumn(void)
{
    scene_zone = (struct period_zone){.count = 2, .from = {INT64_MIN, 1792890000}, .offset = {2 * HOUR, HOUR}};
}

/* 2026-03-29 01:00 UTC it goes from 02:00 ahead to 03:00. */
static void set_spring(void)
{
    scene_zone = (struct period_zone){.count = 2, .from = {INT64_MIN, 1774746000}, .offset = {HOUR, 2 * HOUR}};
}

static void write_every_half_hour(int64_t from, int64_t hours)
{
    scene_clock.real = from;
    begin(scene.rule.policy.period.unit, 1);
    for (int64_t i = 0; i < 2 * hours; i++) {
        write_line();
        scene_pass(HOUR / 2);
    }
}

static void each_hour_of_a_clock_set_back_is_one_file(void **state)
{
    (void)state;
    set_autumn();
    scene.rule.policy.period.unit = PERIOD_HOUR;
    write_every_half_hour(1792890000 - 2 * HOUR, 5); /* 01, 02, 02 again, 03, 04 o'clock */
    assert_archives("2026-10-25_01 2026-10-25_02 2026-10-25_02.1 2026-10-25_03");
}

static void day_of_a_clock_set_back_has_25_hours(void **state)
{
    (void)state;
    set_autumn();
    scene.rule.policy.period.unit = PERIOD_DAY;
    write_every_half_hour(1792890000 - 3 * HOUR, 25); /* from local midnight */
    assert_int_equal(archives(), 0);
    write_line();
    assert_archives("2026-10-25");
}

static void each_hour_of_a_clock_set_ahead_is_one_file(void **state)
{
    (void)state;
    set_spring();
    scene.rule.policy.period.unit = PERIOD_HOUR;
    write_every_half_hour(1774746000 - 2 * HOUR, 4); /* 00, 01, 03, 04 o'clock */
    assert_archives("2026-03-29_00 2026-03-29_01 2026-03-29_03");
}

static void day_of_a_clock_set_ahead_has_23_hours(void **state)
{
    (void)state;
    set_spring();
    scene.rule.policy.period.unit = PERIOD_DAY;
    write_every_half_hour(1774746000 - 2 * HOUR, 23); /* from local midnight */
    assert_int_equal(archives(), 0);
    write_line();
    assert_archives("2026-03-29");
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, scene_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(each_unit_rotates_at_its_boundary),
        TEST(interval_counts_from_midnight),
        TEST(day_begins_at_the_time_asked_for),
        TEST(boundaries_passed_in_silence_make_one_archive),
        TEST(boundary_that_passed_while_nobody_ran_rotates_at_the_first_write),
        TEST(log_from_before_the_first_use_belongs_to_its_last_write),
        TEST(empty_file_is_not_rotated),
        TEST(size_never_moves_a_boundary),
        TEST(clock_set_back_by_an_hour_makes_no_storm),
        TEST(clock_set_back_overwrites_nothing),
        TEST(clock_that_was_years_ahead_does_not_stop_rotation),
        TEST(clock_that_was_years_ahead_does_not_stop_a_process_that_goes_on),
        TEST(each_hour_of_a_clock_set_back_is_one_file),
        TEST(day_of_a_clock_set_back_has_25_hours),
        TEST(each_hour_of_a_clock_set_ahead_is_one_file),
        TEST(day_of_a_clock_set_ahead_has_23_hours),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
