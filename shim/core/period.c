/*
 * Clock boundaries and the names of periods: see period.h.
 *
 * A *mark* is a reading of the wall clock at which a period begins, in seconds since 1970-01-01 00:00 by that clock.
 * Marks are pure arithmetic; the zone's table then says when the clock reaches each one. The boundaries are thus one
 * fixed set of moments, whoever asks and whenever, and no two processes can disagree about them.
 *
 * A segment is the time between two changes of the offset. Where the clock jumps ahead, all skipped marks fall on the
 * moment of the change. Where it is set back, some readings come twice: their marks count the first time only, except
 * that periods no longer than the repeated stretch go on in it (hourly: 25 periods that day, while the 02 to 04 o'clock
 * period of interval=2 lasts three hours).
 */
#include "period.h"

#include <stdbool.h>

enum { MINUTE = 60, HOUR = 3600, DAY = 86400, DAYS_A_WEEK = 7 };

/* Times from the file system may be anything. Those outside the years 0 to 9999 count as the nearest one within. */
static const int64_t time_least = -62167219200;
static const int64_t time_most = 253402300799;

static int64_t clamp(int64_t time)
{
    if (time < time_least)
        return time_least;
    return time > time_most ? time_most : time;
}

/* The greatest multiple of `step` that is not above `value`. C division rounds towards zero, which is up before 1970.
 */
static int64_t round_down(int64_t value, int64_t step)
{
    int64_t rest = value % step;
    return value - (rest < 0 ? rest + step : rest);
}

struct marks {
    int64_t step;
    int64_t first; /* any mark, if the marks do not start anew each day */
    bool daily;    /* they count from each midnight */
};

static struct marks marks_of(const struct period *period)
{
    /* 1970-01-01 was a Thursday: weekday 3 when Monday is 0. */
    int64_t first_weekday = ((int64_t)period->weekday + DAYS_A_WEEK - 3) % DAYS_A_WEEK;
    int64_t interval = period->interval;
    switch (period->unit) {
    case PERIOD_NONE:
    case PERIOD_SECOND:
        return (struct marks){interval, 0, true};
    case PERIOD_MINUTE:
        return (struct marks){interval * MINUTE, 0, true};
    case PERIOD_HOUR:
        return (struct marks){interval * HOUR, 0, true};
    case PERIOD_DAY:
        return (struct marks){interval * DAY, period->at, false};
    case PERIOD_WEEK:
        break;
    }
    return (struct marks){interval * DAYS_A_WEEK * DAY, first_weekday * DAY + period->at, false};
}

/* The last mark at or before a reading of the wall clock. */
static int64_t mark_before(const struct marks *marks, int64_t reading)
{
    int64_t origin = marks->daily ? round_down(reading, DAY) : marks->first;
    return origin + round_down(reading - origin, marks->step);
}

/* The first mark after a reading. */
static int64_t mark_after(const struct marks *marks, int64_t reading)
{
    int64_t next = mark_before(marks, reading) + marks->step;
    int64_t midnight = round_down(reading, DAY) + DAY;
    return marks->daily && next > midnight ? midnight : next;
}

static size_t segment_of(const struct period_zone *zone, int64_t time)
{
    size_t i = zone->count - 1;
    while (i > 0 && zone->from[i] > time)
        i--;
    return i;
}

/* The first reading of segment i > 0. */
static int64_t segment_begin(const struct period_zone *zone, size_t i)
{
    return zone->from[i] + zone->offset[i];
}

/* All readings below this one were shown, or skipped, before segment i > 0. */
static int64_t reached_before(const struct period_zone *zone, size_t i)
{
    int64_t reached = INT64_MIN;
    for (size_t j = 1; j <= i; j++) {
        int64_t end = zone->from[j] + zone->offset[j - 1];
        if (end > reached)
            reached = end;
    }
    return reached;
}

/* The reading from which on marks count in segment i. */
static int64_t first_counted(const struct marks *marks, const struct period_zone *zone, size_t i)
{
    if (i == 0)
        return INT64_MIN;
    int64_t begin = segment_begin(zone, i);
    int64_t reached = reached_before(zone, i);
    if (begin >= reached || (marks->daily && marks->step <= reached - begin))
        return begin;
    return reached;
}

/* Whether the change that begins segment i skips a mark. */
static bool skips_mark(const struct marks *marks, const struct period_zone *zone, size_t i)
{
    if (i == 0)
        return false;
    int64_t begin = segment_begin(zone, i);
    int64_t reached = reached_before(zone, i);
    return reached < begin && mark_before(marks, begin - 1) >= reached;
}

int64_t period_start(const struct period *period, const struct period_zone *zone, int64_t time)
{
    if (period->unit == PERIOD_NONE)
        return time;
    struct marks marks = marks_of(period);
    time = clamp(time);
    for (size_t i = segment_of(zone, time);; i--) {
        int64_t mark = mark_before(&marks, time + zone->offset[i]);
        if (mark >= first_counted(&marks, zone, i))
            return mark - zone->offset[i];
        if (skips_mark(&marks, zone, i))
            return zone->from[i];
        time = zone->from[i] - 1;
    }
}

int64_t period_end(const struct period *period, const struct period_zone *zone, int64_t time)
{
    if (period->unit == PERIOD_NONE || time >= time_most)
        return INT64_MAX;
    struct marks marks = marks_of(period);
    time = clamp(time);
    size_t i = segment_of(zone, time);
    int64_t reading = time + zone->offset[i];
    for (;; i++) {
        int64_t counted = first_counted(&marks, zone, i);
        if (reading < counted)
            reading = counted - 1;
        int64_t end = mark_after(&marks, reading) - zone->offset[i];
        if (i + 1 == zone->count || end < zone->from[i + 1])
            return end;
        if (skips_mark(&marks, zone, i + 1))
            return zone->from[i + 1];
        reading = segment_begin(zone, i + 1) - 1;
    }
}

struct civil {
    int64_t year;
    int64_t month;
    int64_t day;
};

/* Howard Hinnant's civil_from_days, https://howardhinnant.github.io/date_algorithms.html, days since 1970-01-01. */
static struct civil civil_from_days(int64_t days)
{
    enum { DAYS_AN_ERA = 146097, DAYS_TO_EPOCH = 719468 }; /* 400 years; from 0000-03-01 to 1970-01-01 */
    int64_t shifted = days + DAYS_TO_EPOCH;
    int64_t era_begin = round_down(shifted, DAYS_AN_ERA);
    int64_t day_of_era = shifted - era_begin;
    int64_t year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36524 - day_of_era / 146096) / 365;
    int64_t day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100); /* from March 1 */
    int64_t month_from_march = (5 * day_of_year + 2) / 153;
    struct civil civil = {
        .year = year_of_era + era_begin / DAYS_AN_ERA * 400,
        .month = month_from_march < 10 ? month_from_march + 3 : month_from_march - 9,
        .day = day_of_year - (153 * month_from_march + 2) / 5 + 1,
    };
    if (civil.month <= 2)
        civil.year++;
    return civil;
}

/* Writes `separator` (unless NUL) and `digits` decimal digits; returns the end, which it terminates. */
static char *append_number(char *end, char separator, int64_t value, int digits)
{
    if (separator != '\0')
        *end++ = separator;
    for (int i = digits - 1; i >= 0; i--) {
        end[i] = (char)('0' + value % 10);
        value /= 10;
    }
    end[digits] = '\0';
    return end + digits;
}

void period_name(const struct period *period, const struct period_zone *zone, int64_t begun,
                 char name[PERIOD_NAME_SIZE])
{
    int64_t start = clamp(period_start(period, zone, begun));
    int64_t reading = clamp(start + zone->offset[segment_of(zone, start)]);
    int64_t midnight = round_down(reading, DAY);
    int64_t second = reading - midnight;
    struct civil civil = civil_from_days(midnight / DAY);

    char *end = append_number(name, '\0', civil.year, 4);
    end = append_number(end, '-', civil.month, 2);
    end = append_number(end, '-', civil.day, 2);
    if (period->unit == PERIOD_DAY || period->unit == PERIOD_WEEK)
        return;
    end = append_number(end, '_', second / HOUR, 2);
    if (period->unit == PERIOD_HOUR)
        return;
    end = append_number(end, '-', second / MINUTE % MINUTE, 2);
    if (period->unit == PERIOD_MINUTE)
        return;
    append_number(end, '-', second % MINUTE, 2);
}

void period_zone_utc(struct period_zone *zone)
{
    zone->count = 1;
    zone->from[0] = INT64_MIN;
    zone->offset[0] = 0;
}
