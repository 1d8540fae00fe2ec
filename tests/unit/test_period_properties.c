/* What holds for every moment, zone and period: asked at random, and compared with the definition. */
#include "period_scene.h"

/* xorshift64*: the same numbers in every run, so that a failure can be repeated. */
static uint64_t random_state = 20261120;

static int64_t random_below(int64_t limit)
{
    random_state ^= random_state >> 12;
    random_state ^= random_state << 25;
    random_state ^= random_state >> 27;
    return (int64_t)(random_state * 2685821657736338717U >> 1) % limit;
}

static const char *const zones[] = {
    "UTC",
    "Europe/Berlin",
    "America/New_York",
    "Australia/Lord_Howe",
    "Asia/Kathmandu",
    "Africa/Casablanca",
    "America/Sao_Paulo",
    "America/Havana",
    "Pacific/Apia",
    "CET-1CEST,M3.5.0,M10.5.0/3",
};
enum { ZONE_COUNT = sizeof zones / sizeof zones[0] };

static const int64_t table_begin = 1356998400 - 700 * 86400;
static const int64_t table_end = 1356998400 + 7300LL * 86400;

static int64_t local_reading(int64_t time)
{
    struct tm local;
    time_t seconds = time;
    assert_non_null(localtime_r(&seconds, &local));
    return time + local.tm_gmtoff;
}

/* A moment within three days of a change, if there is any. */
static int64_t near_a_change(const struct period_zone *zone)
{
    if (zone->count < 2)
        return table_begin + random_below(table_end - table_begin);
    return zone->from[1 + (size_t)random_below((int64_t)zone->count - 1)] + random_below(6 * 86400) - 3 * 86400;
}

static struct period random_period(void)
{
    static const uint32_t intervals[] = {1, 1, 2, 3, 5, 6, 7, 15, 20, 30, 45, 60, 90, 1000, 4000, 86400};
    return (struct period){
        .unit = (enum period_unit)(1 + random_below(PERIOD_WEEK)),
        .interval = intervals[random_below(sizeof intervals / sizeof intervals[0])],
        .weekday = (uint32_t)random_below(7),
        .at = (uint32_t)(random_below(2) ? random_below(86400) : random_below(8) * 1800),
    };
}

static void assert_period_is_sound(const struct period *period, const struct period_zone *zone, int64_t time)
{
    int64_t start = period_start(period, zone, time);
    int64_t end = period_end(period, zone, time);
    int64_t within = start + random_below(end - start);
    if (!(start <= time && time < end) || period_start(period, zone, end) != end ||
        period_start(period, zone, start) != start || period_end(period, zone, start) != end ||
        period_start(period, zone, within) != start || period_end(period, zone, within) != end ||
        period_end(period, zone, start - 1) != start)
        fail_msg("unit %d interval %u weekday %u at %u time %lld: start %lld end %lld within %lld", (int)period->unit,
                 period->interval, period->weekday, period->at, (long long)time, (long long)start, (long long)end,
                 (long long)within);
}

static void every_moment_is_in_exactly_one_period(void **state)
{
    (void)state;
    for (size_t i = 0; i < ZONE_COUNT; i++) {
        struct period_zone zone;
        use_zone(zones[i], &zone);
        for (int j = 0; j < 40000; j++) {
            struct period period = random_period();
            assert_period_is_sound(&period, &zone,
                                   j % 2 ? near_a_change(&zone) : table_begin + random_below(table_end - table_begin));
        }
    }
}

static void periods_are_sound_with_any_table(void **state)
{
    (void)state;
    for (int i = 0; i < 20000; i++) {
        struct period_zone zone;
        period_zone_utc(&zone);
        int64_t time = random_below(4000000000) - 2000000000;
        for (int64_t count = random_below(8); count > 0; count--) {
            zone.from[zone.count] = time += 1 + random_below(random_below(2) ? 7200 : 20 * 86400);
            zone.offset[zone.count++] = (int32_t)(random_below(2 * 93600) - 93600);
        }
        for (int j = 0; j < 20; j++) {
            struct period period = random_period();
            assert_period_is_sound(&period, &zone, time + random_below(10 * 86400) - 7 * 86400);
        }
    }
}

/* Whether any whole minute in (above, up_to] of the wall clock is a mark, asked of each one. */
static bool mark_between(const struct period *period, int64_t above, int64_t up_to)
{
    static const int64_t unit_seconds[] = {0, 1, 60, 3600, 86400, 7 * 86400};
    int64_t step = unit_seconds[period->unit] * period->interval;
    for (int64_t reading = above + 60; reading <= up_to; reading += 60) {
        int64_t of_day = reading % 86400;
        int64_t day = reading / 86400;
        if (period->unit < PERIOD_DAY
                ? of_day % step == 0
                : of_day == period->at &&
                      (period->unit == PERIOD_DAY ? day % period->interval == 0
                                                  : day % 7 == (period->weekday + 4) % 7 &&
                                                        (day - (period->weekday + 4) % 7) / 7 % period->interval == 0))
            return true;
    }
    return false;
}

/*
 * Walks minute by minute over a change, with nothing but localtime_r and the definition: a boundary is where a mark is
 * reached for the first time, or again if the period fits into the repeated stretch.
 */
static void assert_like_definition(const struct period *period, const struct period_zone *zone, int64_t from,
                                   int64_t days)
{
    static const int64_t unit_seconds[] = {0, 1, 60, 3600, 86400, 7 * 86400};
    int64_t step = unit_seconds[period->unit] * period->interval;
    int64_t reading = local_reading(from - 60);
    int64_t reached = reading;
    bool again = false;
    for (int64_t time = from; time < from + days * 86400; time += 60) {
        int64_t next = local_reading(time);
        if (next < reading) {
            again = period->unit < PERIOD_DAY && step <= reached + 60 - next;
            reading = next - 60;
        }
        bool first_time = next > reached;
        bool expected =
            first_time ? mark_between(period, reached, next) : again && mark_between(period, next - 60, next);
        reading = next;
        reached = first_time ? next : reached;
        if ((period_end(period, zone, time - 1) == time) != expected ||
            (period_start(period, zone, time) == time) != expected)
            fail_msg("unit %d interval %u weekday %u at %u time %lld: %s", (int)period->unit, period->interval,
                     period->weekday, period->at, (long long)time, expected ? "no boundary" : "a boundary");
    }
}

static void boundaries_around_changes_are_those_of_the_definition(void **state)
{
    (void)state;
    static const struct period periods[] = {
        {PERIOD_MINUTE, 1, 0, 0},      {PERIOD_MINUTE, 7, 0, 0},      {PERIOD_MINUTE, 30, 0, 0},
        {PERIOD_HOUR, 1, 0, 0},        {PERIOD_HOUR, 2, 0, 0},        {PERIOD_HOUR, 7, 0, 0},
        {PERIOD_DAY, 1, 0, 0},         {PERIOD_DAY, 1, 0, 2 * 3600},  {PERIOD_DAY, 1, 0, 9000},
        {PERIOD_DAY, 2, 0, 1800},      {PERIOD_WEEK, 1, 6, 2 * 3600}, {PERIOD_WEEK, 1, 5, 0},
        {PERIOD_DAY, 1, 0, 23 * 3600}, {PERIOD_WEEK, 2, 6, 0},
    };
    for (size_t i = 0; i < ZONE_COUNT; i++) {
        struct period_zone zone;
        use_zone(zones[i], &zone);
        for (size_t change = 1; change < zone.count && change < 9; change++)
            for (size_t j = 0; j < sizeof periods / sizeof periods[0]; j++)
                assert_like_definition(&periods[j], &zone, zone.from[change] - 86400 - zone.from[change] % 60, 3);
    }
}

static void names_are_dates_of_the_calendar(void **state)
{
    (void)state;
    struct period_zone zone;
    const struct period none = {PERIOD_NONE, 1, 0, 0};
    period_zone_utc(&zone);
    for (int i = 0; i < 100000; i++) {
        int64_t time = random_below(253402300800 + 62167219200) - 62167219200;
        if (i == 0)
            time = 951868799; /* 2000-02-29 23:59:59, the last day of 400 years */
        char expected[64];
        char name[PERIOD_NAME_SIZE];
        struct tm date;
        time_t seconds = time;
        gmtime_r(&seconds, &date);
        snprintf(expected, sizeof expected, "%04d-%02d-%02d_%02d-%02d-%02d", date.tm_year + 1900, date.tm_mon + 1,
                 date.tm_mday, date.tm_hour, date.tm_min, date.tm_sec);
        period_name(&none, &zone, time, name);
        assert_string_equal(name, expected);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_moment_is_in_exactly_one_period),
        cmocka_unit_test(periods_are_sound_with_any_table),
        cmocka_unit_test(boundaries_around_changes_are_those_of_the_definition),
        cmocka_unit_test(names_are_dates_of_the_calendar),
    };
    return cmocka_run_group_tests_name("period properties", tests, NULL, NULL);
}
