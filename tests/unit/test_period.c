/* Clock boundaries and the names of periods, over the clock changes of real zones. */
#include "period_scene.h"

/* "2026-03-29 02:00:00" UTC. */
static int64_t utc(const char *text)
{
    struct tm broken_down = {0};
    const char *end = strptime(text, "%Y-%m-%d %H:%M:%S", &broken_down);
    assert_non_null(end);
    assert_int_equal(*end, '\0');
    return timegm(&broken_down);
}

static void assert_time(const char *what, int64_t time, const char *expected)
{
    char text[64];
    time_t seconds = time;
    struct tm broken_down;
    strftime(text, sizeof text, "%Y-%m-%d %H:%M:%S", gmtime_r(&seconds, &broken_down));
    if (strcmp(text, expected) != 0)
        fail_msg("%s is %s, not %s", what, text, expected);
}

/* The boundaries are exactly `expected`, in UTC, ending with NULL: asked from several moments of each period. */
static void assert_boundaries(const struct period *period, const struct period_zone *zone, const char *const expected[])
{
    for (size_t i = 0; expected[i + 1] != NULL; i++) {
        int64_t start = utc(expected[i]);
        int64_t end = utc(expected[i + 1]);
        const int64_t moments[] = {start, start + 1, start + (end - start) / 2, end - 1};
        for (size_t j = 0; j < sizeof moments / sizeof moments[0]; j++) {
            assert_time("the start", period_start(period, zone, moments[j]), expected[i]);
            assert_time("the end", period_end(period, zone, moments[j]), expected[i + 1]);
        }
    }
}

static void assert_name(const struct period *period, const struct period_zone *zone, const char *begun,
                        const char *expected)
{
    char name[PERIOD_NAME_SIZE];
    period_name(period, zone, utc(begun), name);
    assert_string_equal(name, expected);
}

static void six_hours_are_0_6_12_and_18_o_clock(void **state)
{
    (void)state;
    struct period_zone zone;
    const struct period period = {PERIOD_HOUR, 6, 0, 0};
    period_zone_utc(&zone);
    assert_boundaries(&period, &zone,
                      (const char *[]){"2026-11-20 00:00:00", "2026-11-20 06:00:00", "2026-11-20 12:00:00",
                                       "2026-11-20 18:00:00", "2026-11-21 00:00:00", NULL});
    assert_name(&period, &zone, "2026-11-20 13:59:59", "2026-11-20_12");
}

static void intervals_start_anew_at_midnight(void **state)
{
    (void)state;
    struct period_zone zone;
    period_zone_utc(&zone);
    const struct period hours = {PERIOD_HOUR, 7, 0, 0};
    assert_boundaries(&hours, &zone,
                      (const char *[]){"2026-11-20 00:00:00", "2026-11-20 07:00:00", "2026-11-20 14:00:00",
                                       "2026-11-20 21:00:00", "2026-11-21 00:00:00", "2026-11-21 07:00:00", NULL});
    const struct period minutes = {PERIOD_MINUTE, 700, 0, 0};
    assert_boundaries(&minutes, &zone,
                      (const char *[]){"2026-11-20 00:00:00", "2026-11-20 11:40:00", "2026-11-20 23:20:00",
                                       "2026-11-21 00:00:00", NULL});
    const struct period seconds = {PERIOD_SECOND, 43000, 0, 0};
    assert_boundaries(&seconds, &zone,
                      (const char *[]){"2026-11-20 00:00:00", "2026-11-20 11:56:40", "2026-11-20 23:53:20",
                                       "2026-11-21 00:00:00", NULL});
    const struct period longer_than_a_day = {PERIOD_HOUR, 30, 0, 0};
    assert_boundaries(&longer_than_a_day, &zone,
                      (const char *[]){"2026-11-20 00:00:00", "2026-11-21 00:00:00", "2026-11-22 00:00:00", NULL});
}

static void seconds_and_minutes_are_aligned_to_the_clock(void **state)
{
    (void)state;
    struct period_zone zone;
    period_zone_utc(&zone);
    const struct period seconds = {PERIOD_SECOND, 10, 0, 0};
    assert_boundaries(&seconds, &zone, (const char *[]){"2026-11-20 13:05:00", "2026-11-20 13:05:10", NULL});
    assert_name(&seconds, &zone, "2026-11-20 13:05:19", "2026-11-20_13-05-10");
    const struct period minutes = {PERIOD_MINUTE, 15, 0, 0};
    assert_boundaries(&minutes, &zone, (const char *[]){"2026-11-20 13:00:00", "2026-11-20 13:15:00", NULL});
    assert_name(&minutes, &zone, "2026-11-20 13:29:59", "2026-11-20_13-15");
}

static void days_count_from_the_epoch(void **state)
{
    (void)state;
    struct period_zone zone;
    period_zone_utc(&zone);
    const struct period daily = {PERIOD_DAY, 1, 0, 0};
    assert_boundaries(&daily, &zone,
                      (const char *[]){"2024-02-28 00:00:00", "2024-02-29 00:00:00", "2024-03-01 00:00:00", NULL});
    const struct period every_ten = {PERIOD_DAY, 10, 0, 0};
    assert_boundaries(&every_ten, &zone,
                      (const char *[]){"1969-12-22 00:00:00", "1970-01-01 00:00:00", "1970-01-11 00:00:00", NULL});
    const struct period evening = {PERIOD_DAY, 1, 0, 18 * 3600 + 30 * 60 + 5};
    assert_boundaries(&evening, &zone, (const char *[]){"2026-11-20 18:30:05", "2026-11-21 18:30:05", NULL});
    assert_name(&evening, &zone, "2026-11-21 18:30:04", "2026-11-20");
    assert_name(&evening, &zone, "2026-11-21 18:30:05", "2026-11-21");
}

static void weeks_begin_on_their_weekday(void **state)
{
    (void)state;
    struct period_zone zone;
    period_zone_utc(&zone);
    /* 2026-11-16 is a Monday; W0 to W6 begin on it and the days after it. */
    for (uint32_t weekday = 0; weekday < 7; weekday++) {
        const struct period weekly = {PERIOD_WEEK, 1, weekday, 0};
        int64_t start = utc("2026-11-16 00:00:00") + weekday * 86400;
        assert_true(period_start(&weekly, &zone, start) == start);
        assert_true(period_end(&weekly, &zone, start) == start + 7 * 86400);
        assert_true(period_start(&weekly, &zone, start - 1) == start - 7 * 86400);
        assert_true(period_end(&weekly, &zone, start - 1) == start);
    }
    const struct period every_second = {PERIOD_WEEK, 2, 3, 3600};
    assert_boundaries(&every_second, &zone,
                      (const char *[]){"1969-12-18 01:00:00", "1970-01-01 01:00:00", "1970-01-15 01:00:00", NULL});
    const struct period sunday = {PERIOD_WEEK, 1, 6, 23 * 3600};
    assert_name(&sunday, &zone, "2026-11-22 22:59:59", "2026-11-15");
    assert_name(&sunday, &zone, "2026-11-22 23:00:00", "2026-11-22");
}

static void without_a_unit_there_is_no_boundary(void **state)
{
    (void)state;
    struct period_zone zone;
    const struct period none = {PERIOD_NONE, 1, 0, 0};
    period_zone_utc(&zone);
    assert_true(period_start(&none, &zone, 1234567890) == 1234567890);
    assert_true(period_end(&none, &zone, 1234567890) == INT64_MAX);
    assert_name(&none, &zone, "2026-11-20 13:05:09", "2026-11-20_13-05-09");
}

static void a_day_with_a_clock_change_has_its_23_or_25_hours(void **state)
{
    (void)state;
    struct period_zone zone;
    const struct period daily = {PERIOD_DAY, 1, 0, 0};
    use_zone("CET-1CEST,M3.5.0,M10.5.0/3", &zone);
    assert_boundaries(&daily, &zone, (const char *[]){"2026-03-28 23:00:00", "2026-03-29 22:00:00", NULL});
    assert_boundaries(&daily, &zone, (const char *[]){"2026-10-24 22:00:00", "2026-10-25 23:00:00", NULL});
    assert_name(&daily, &zone, "2026-10-25 22:59:59", "2026-10-25");
}

static void a_skipped_boundary_is_at_the_change(void **state)
{
    (void)state;
    struct period_zone zone;
    use_zone("CET-1CEST,M3.5.0,M10.5.0/3", &zone);
    const struct period daily = {PERIOD_DAY, 1, 0, 2 * 3600 + 30 * 60};
    assert_boundaries(&daily, &zone,
                      (const char *[]){"2026-03-28 01:30:00", "2026-03-29 01:00:00", "2026-03-30 00:30:00", NULL});
    assert_name(&daily, &zone, "2026-03-29 01:00:00", "2026-03-29");
    const struct period hourly = {PERIOD_HOUR, 1, 0, 0};
    assert_boundaries(&hourly, &zone,
                      (const char *[]){"2026-03-29 00:00:00", "2026-03-29 01:00:00", "2026-03-29 02:00:00", NULL});
    assert_name(&hourly, &zone, "2026-03-29 00:59:59", "2026-03-29_01");
    assert_name(&hourly, &zone, "2026-03-29 01:00:00", "2026-03-29_03");
    const struct period six_hours = {PERIOD_HOUR, 6, 0, 0};
    assert_boundaries(&six_hours, &zone,
                      (const char *[]){"2026-03-28 23:00:00", "2026-03-29 04:00:00", "2026-03-29 10:00:00", NULL});
}

static void a_repeated_boundary_of_a_day_happens_once(void **state)
{
    (void)state;
    struct period_zone zone;
    use_zone("CET-1CEST,M3.5.0,M10.5.0/3", &zone);
    const struct period daily = {PERIOD_DAY, 1, 0, 2 * 3600 + 30 * 60};
    assert_boundaries(&daily, &zone,
                      (const char *[]){"2026-10-24 00:30:00", "2026-10-25 00:30:00", "2026-10-26 01:30:00", NULL});
    const struct period sundays = {PERIOD_WEEK, 1, 6, 2 * 3600};
    assert_boundaries(&sundays, &zone,
                      (const char *[]){"2026-10-18 00:00:00", "2026-10-25 00:00:00", "2026-11-01 01:00:00", NULL});
}

static void hours_and_minutes_go_on_in_the_repeated_hour(void **state)
{
    (void)state;
    struct period_zone zone;
    use_zone("CET-1CEST,M3.5.0,M10.5.0/3", &zone);
    const struct period hourly = {PERIOD_HOUR, 1, 0, 0};
    int64_t time = utc("2026-10-24 22:00:00");
    for (int hours = 0; hours < 25; hours++) {
        assert_true(period_start(&hourly, &zone, time + 3599) == time);
        assert_true(period_end(&hourly, &zone, time) == time + 3600);
        time += 3600;
    }
    assert_time("the next midnight", time, "2026-10-25 23:00:00");
    assert_name(&hourly, &zone, "2026-10-25 00:30:00", "2026-10-25_02");
    assert_name(&hourly, &zone, "2026-10-25 01:30:00", "2026-10-25_02");
    const struct period minutes = {PERIOD_MINUTE, 20, 0, 0};
    assert_boundaries(&minutes, &zone,
                      (const char *[]){"2026-10-25 00:40:00", "2026-10-25 01:00:00", "2026-10-25 01:20:00",
                                       "2026-10-25 01:40:00", "2026-10-25 02:00:00", NULL});
}

static void a_period_longer_than_the_repeated_hour_begins_once(void **state)
{
    (void)state;
    struct period_zone zone;
    use_zone("CET-1CEST,M3.5.0,M10.5.0/3", &zone);
    const struct period two_hours = {PERIOD_HOUR, 2, 0, 0};
    assert_boundaries(&two_hours, &zone,
                      (const char *[]){"2026-10-24 22:00:00", "2026-10-25 00:00:00", "2026-10-25 03:00:00",
                                       "2026-10-25 05:00:00", NULL});
}

static void lord_howe_repeats_half_an_hour(void **state)
{
    (void)state;
    struct period_zone zone;
    use_zone("Australia/Lord_Howe", &zone);
    /* 2026-04-05 02:00 +11 becomes 01:30 +10:30, at 15:00 UTC of the day before. */
    const struct period hourly = {PERIOD_HOUR, 1, 0, 0};
    assert_boundaries(&hourly, &zone,
                      (const char *[]){"2026-04-04 14:00:00", "2026-04-04 15:30:00", "2026-04-04 16:30:00", NULL});
    const struct period minutes = {PERIOD_MINUTE, 30, 0, 0};
    assert_boundaries(&minutes, &zone,
                      (const char *[]){"2026-04-04 14:00:00", "2026-04-04 14:30:00", "2026-04-04 15:00:00",
                                       "2026-04-04 15:30:00", NULL});
}

static void a_midnight_that_is_skipped_or_repeated_begins_one_day(void **state)
{
    (void)state;
    struct period_zone zone;
    const struct period daily = {PERIOD_DAY, 1, 0, 0};
    use_zone("America/Sao_Paulo", &zone);
    /* 2017-10-15 began at 01:00; on 2018-02-17 the hour from 23:00 came twice. */
    assert_boundaries(&daily, &zone,
                      (const char *[]){"2017-10-14 03:00:00", "2017-10-15 03:00:00", "2017-10-16 02:00:00", NULL});
    assert_name(&daily, &zone, "2017-10-15 03:00:00", "2017-10-15");
    assert_boundaries(&daily, &zone,
                      (const char *[]){"2018-02-17 02:00:00", "2018-02-18 03:00:00", "2018-02-19 03:00:00", NULL});
    assert_name(&daily, &zone, "2018-02-18 02:30:00", "2018-02-17");
    use_zone("America/Havana", &zone);
    /* 2026-11-01 01:00 becomes 00:00: midnight comes twice, the day begins with the first. */
    assert_boundaries(&daily, &zone,
                      (const char *[]){"2026-10-31 04:00:00", "2026-11-01 04:00:00", "2026-11-02 05:00:00", NULL});
}

static void a_mark_that_comes_three_times_begins_one_day(void **state)
{
    (void)state;
    /* From 03:00 back to 02:00, from 02:10 on back to 01:10: 02:30 comes at 02:30, not again 50 and 110 minutes later.
     */
    struct period_zone zone = {3, {INT64_MIN, 3 * 3600, 3 * 3600 + 600}, {0, -3600, -7200}};
    const struct period daily = {PERIOD_DAY, 1, 0, 9000};
    assert_boundaries(&daily, &zone, (const char *[]){"1970-01-01 02:30:00", "1970-01-02 04:30:00", NULL});
}

static void a_day_that_comes_twice_is_one_period(void **state)
{
    (void)state;
    struct period_zone zone = {2, {INT64_MIN, 86400}, {0, -86400}};
    const struct period daily = {PERIOD_DAY, 1, 0, 3600};
    assert_boundaries(&daily, &zone, (const char *[]){"1970-01-01 01:00:00", "1970-01-03 01:00:00", NULL});
}

static void a_skipped_day_is_no_period(void **state)
{
    (void)state;
    struct period_zone zone;
    use_zone("Pacific/Apia", &zone);
    /* 2011-12-29 24:00 -10 is 2011-12-31 00:00 +14. */
    const struct period daily = {PERIOD_DAY, 1, 0, 0};
    assert_boundaries(&daily, &zone,
                      (const char *[]){"2011-12-29 10:00:00", "2011-12-30 10:00:00", "2011-12-31 10:00:00", NULL});
    assert_name(&daily, &zone, "2011-12-30 09:59:59", "2011-12-29");
    assert_name(&daily, &zone, "2011-12-30 10:00:00", "2011-12-31");
    const struct period fridays = {PERIOD_WEEK, 1, 4, 12 * 3600}; /* the skipped day was a Friday */
    assert_boundaries(&fridays, &zone,
                      (const char *[]){"2011-12-23 22:00:00", "2011-12-30 10:00:00", "2012-01-05 22:00:00", NULL});
}

static void impossible_times_are_survived(void **state)
{
    (void)state;
    static const int64_t times[] = {INT64_MIN,    INT64_MIN + 1, -62167219201,  -62167219200,
                                    253402300799, 253402300800,  INT64_MAX - 1, INT64_MAX};
    struct period_zone zone;
    use_zone("CET-1CEST,M3.5.0,M10.5.0/3", &zone);
    for (unsigned unit = PERIOD_NONE; unit <= PERIOD_WEEK; unit++) {
        for (size_t i = 0; i < sizeof times / sizeof times[0]; i++) {
            const struct period period = {(enum period_unit)unit, i % 2 ? 1 : UINT32_MAX, 6, 86399};
            char name[PERIOD_NAME_SIZE];
            period_name(&period, &zone, times[i], name);
            assert_in_range(strlen(name), 10, 19);
            assert_true(name[4] == '-');
            (void)period_start(&period, &zone, times[i]);
            assert_true(period_end(&period, &zone, times[i]) > times[i] || times[i] == INT64_MAX);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(six_hours_are_0_6_12_and_18_o_clock),
        cmocka_unit_test(intervals_start_anew_at_midnight),
        cmocka_unit_test(seconds_and_minutes_are_aligned_to_the_clock),
        cmocka_unit_test(days_count_from_the_epoch),
        cmocka_unit_test(weeks_begin_on_their_weekday),
        cmocka_unit_test(without_a_unit_there_is_no_boundary),
        cmocka_unit_test(a_day_with_a_clock_change_has_its_23_or_25_hours),
        cmocka_unit_test(a_skipped_boundary_is_at_the_change),
        cmocka_unit_test(a_repeated_boundary_of_a_day_happens_once),
        cmocka_unit_test(hours_and_minutes_go_on_in_the_repeated_hour),
        cmocka_unit_test(a_period_longer_than_the_repeated_hour_begins_once),
        cmocka_unit_test(lord_howe_repeats_half_an_hour),
        cmocka_unit_test(a_midnight_that_is_skipped_or_repeated_begins_one_day),
        cmocka_unit_test(a_mark_that_comes_three_times_begins_one_day),
        cmocka_unit_test(a_day_that_comes_twice_is_one_period),
        cmocka_unit_test(a_skipped_day_is_no_period),
        cmocka_unit_test(impossible_times_are_survived),
    };
    return cmocka_run_group_tests_name("period", tests, NULL, NULL);
}
