/* The POSIX form of a time zone: see zone_rule.h. */
#include "zone_rule.h"

#include "sys.h"

#include <stddef.h>

enum { MINUTE = 60, HOUR = 3600, DAY = 86400 };

static bool is_digit(char character)
{
    return character >= '0' && character <= '9';
}

static bool is_letter(char character)
{
    return (character >= 'a' && character <= 'z') || (character >= 'A' && character <= 'Z');
}

/* The take_* functions read something at *text and move *text behind it. */
static bool take_character(const char **text, char expected)
{
    if (**text != expected)
        return false;
    ++*text;
    return true;
}

/* Three letters or more, or anything of that length in angle brackets. */
static SYS_START bool take_abbreviation(const char **text)
{
    const char *begin = *text;
    if (take_character(text, '<')) {
        while (is_letter(**text) || is_digit(**text) || **text == '+' || **text == '-')
            ++*text;
        return *text - begin >= 4 && take_character(text, '>');
    }
    while (is_letter(**text))
        ++*text;
    return *text - begin >= 3;
}

static bool take_number(const char **text, int32_t least, int32_t most, int32_t *value)
{
    int32_t number = 0;
    const char *begin = *text;
    for (; is_digit(**text) && number <= most; ++*text)
        number = number * 10 + (**text - '0');
    *value = number;
    return *text > begin && number >= least && number <= most;
}

/* [+-]hours[:minutes[:seconds]] */
static SYS_START bool take_duration(const char **text, int32_t hours_most, int32_t *seconds)
{
    int32_t hours;
    int32_t minutes = 0;
    int32_t rest = 0;
    bool negative = take_character(text, '-');
    if (!negative)
        (void)take_character(text, '+');
    if (!take_number(text, 0, hours_most, &hours))
        return false;
    if (take_character(text, ':')) {
        if (!take_number(text, 0, 59, &minutes) || (take_character(text, ':') && !take_number(text, 0, 59, &rest)))
            return false;
    }
    *seconds = hours * HOUR + minutes * MINUTE + rest;
    if (negative)
        *seconds = -*seconds;
    return true;
}

/* "M3.5.0/3", "J60", "59" */
static bool take_date(const char **text, struct zone_date *date)
{
    *date = (struct zone_date){.form = '0', .second = 2 * HOUR};
    if (take_character(text, 'M')) {
        date->form = 'M';
        if (!take_number(text, 1, 12, &date->month) || !take_character(text, '.') ||
            !take_number(text, 1, 5, &date->week) || !take_character(text, '.') || !take_number(text, 0, 6, &date->day))
            return false;
    } else if (take_character(text, 'J')) {
        date->form = 'J';
        if (!take_number(text, 1, 365, &date->day))
            return false;
    } else if (!take_number(text, 0, 365, &date->day)) {
        return false;
    }
    return !take_character(text, '/') || take_duration(text, 167, &date->second);
}

SYS_START bool zone_rule_parse(struct zone_rule *rule, const char *text, char end)
{
    /* Without dates, glibc takes those of the United States. */
    static const struct zone_date second_sunday_in_march = {'M', 3, 2, 0, 2 * HOUR};
    static const struct zone_date first_sunday_in_november = {'M', 11, 1, 0, 2 * HOUR};
    *rule = (struct zone_rule){.summer_begin = second_sunday_in_march, .summer_end = first_sunday_in_november};
    if (!take_abbreviation(&text) || !take_duration(&text, 24, &rule->standard_offset))
        return false;
    rule->standard_offset = -rule->standard_offset; /* POSIX counts west of Greenwich */
    if (*text == end)
        return true;

    rule->has_summer = true;
    rule->summer_offset = rule->standard_offset + HOUR;
    if (!take_abbreviation(&text))
        return false;
    if (*text != ',' && *text != end) {
        if (!take_duration(&text, 24, &rule->summer_offset))
            return false;
        rule->summer_offset = -rule->summer_offset;
    }
    if (*text == end)
        return true;
    return take_character(&text, ',') && take_date(&text, &rule->summer_begin) && take_character(&text, ',') &&
           take_date(&text, &rule->summer_end) && *text == end;
}

static bool is_leap(int64_t year)
{
    return (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
}

/* Howard Hinnant's days_from_civil, https://howardhinnant.github.io/date_algorithms.html, for years from 1 on. */
static int64_t days_from_civil(int64_t year, int64_t month, int64_t day)
{
    if (month <= 2)
        year--;
    int64_t era = year / 400;
    int64_t year_of_era = year - era * 400;
    int64_t day_of_year = (153 * (month > 2 ? month - 3 : month + 9) + 2) / 5 + day - 1;
    int64_t day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    return era * 146097 + day_of_era - 719468;
}

/* The day of the date in one year, as days since 1970-01-01. */
static int64_t date_in_year(const struct zone_date *date, int64_t year)
{
    int64_t january = days_from_civil(year, 1, 1);
    if (date->form == '0')
        return january + date->day;
    if (date->form == 'J')
        return january + date->day - 1 + (is_leap(year) && date->day > 59);
    int64_t first = days_from_civil(year, date->month, 1);
    int64_t next = date->month == 12 ? days_from_civil(year + 1, 1, 1) : days_from_civil(year, date->month + 1, 1);
    int64_t weekday = ((first + 4) % 7 + 7) % 7; /* 1970-01-01 was a Thursday */
    int64_t day = first + (date->day - weekday + 7) % 7 + 7 * (date->week - 1);
    return day < next ? day : day - 7;
}

struct change {
    int64_t from;
    int32_t offset;
};

/* The two changes of a year, the earlier one first: south of the equator summer ends before it begins. */
static void changes_of_year(const struct zone_rule *rule, int64_t year, struct change changes[2])
{
    struct change begin = {date_in_year(&rule->summer_begin, year) * DAY + rule->summer_begin.second -
                               rule->standard_offset,
                           rule->summer_offset};
    struct change end = {date_in_year(&rule->summer_end, year) * DAY + rule->summer_end.second - rule->summer_offset,
                         rule->standard_offset};
    changes[0] = begin.from < end.from ? begin : end;
    changes[1] = begin.from < end.from ? end : begin;
}

void zone_rule_changes(const struct zone_rule *rule, int64_t after, int64_t until,
                       void (*add)(void *context, int64_t from, int32_t offset), void *context)
{
    const int64_t average_year = 31556952;
    if (!rule->has_summer) {
        add(context, after, rule->standard_offset);
        return;
    }
    /* From two years before: the offset at `after` is that of the last change before it. */
    struct change last = {after, rule->standard_offset};
    bool first_added = false;
    for (int64_t year = 1970 + after / average_year - 2; year <= 1970 + until / average_year + 1; year++) {
        struct change changes[2];
        changes_of_year(rule, year, changes);
        for (size_t i = 0; i < 2; i++) {
            if (changes[i].from <= after) {
                last.offset = changes[i].offset;
                continue;
            }
            if (!first_added)
                add(context, last.from, last.offset);
            first_added = true;
            if (changes[i].from <= until)
                add(context, changes[i].from, changes[i].offset);
        }
    }
}
