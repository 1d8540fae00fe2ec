/*
 * The POSIX form of a time zone, "CET-1CEST,M3.5.0,M10.5.0/3": the value of TZ, and the end of every zone file.
 *
 * Pure functions. Called by zone.c and its tests.
 */
#ifndef MPLOGSHIM_ZONE_RULE_H
#define MPLOGSHIM_ZONE_RULE_H

#include <stdbool.h>
#include <stdint.h>

/* When in a year the clock is changed. */
struct zone_date {
    char form;      /* 'M': a weekday of a month. 'J': day 1 to 365, never February 29. '0': day 0 to 365 */
    int32_t month;  /* 'M': 1 to 12 */
    int32_t week;   /* 'M': 1 to 4, 5 is the last one of the month */
    int32_t day;    /* 'M': 0 Sunday to 6 */
    int32_t second; /* after that day's midnight, by the clock before the change; may lie on other days */
};

struct zone_rule {
    int32_t standard_offset; /* seconds east of UTC */
    bool has_summer;
    int32_t summer_offset;
    struct zone_date summer_begin;
    struct zone_date summer_end;
};

/* Parses a rule that is followed by `end`. Returns false, with *rule undefined, if it is none. */
bool zone_rule_parse(struct zone_rule *rule, const char *text, char end);

/*
 * Calls add(context, from, offset) for the offset that holds right after `after` (from == after), then for each change
 * in (after, until], in order.
 */
void zone_rule_changes(const struct zone_rule *rule, int64_t after, int64_t until,
                       void (*add)(void *context, int64_t from, int32_t offset), void *context);

#endif
