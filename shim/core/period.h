/*
 * Clock boundaries and the names of periods.
 *
 * Pure arithmetic on a table of time zone changes that is made at start (period_zone_local, in zone.c), so that
 * everything else here is async-signal-safe and thread-safe. Times are seconds of the epoch.
 */
#ifndef MPLOGSHIM_PERIOD_H
#define MPLOGSHIM_PERIOD_H

#include <stddef.h>
#include <stdint.h>

enum period_unit { PERIOD_NONE, PERIOD_SECOND, PERIOD_MINUTE, PERIOD_HOUR, PERIOD_DAY, PERIOD_WEEK };

struct period {
    enum period_unit unit;
    uint32_t interval; /* every so many units, at least 1 */
    uint32_t weekday;  /* PERIOD_WEEK: 0 Monday to 6 Sunday */
    uint32_t at;       /* PERIOD_DAY and PERIOD_WEEK: seconds after midnight by the wall clock, 0 to 86,399 */
};

enum { PERIOD_ZONE_CHANGES = 128 };

/* UTC offsets of a time zone: offset[i] seconds east of UTC holds from from[i] on; from[0] is INT64_MIN. */
struct period_zone {
    size_t count;
    int64_t from[PERIOD_ZONE_CHANGES];
    int32_t offset[PERIOD_ZONE_CHANGES];
};

/* All of time at offset 0. */
void period_zone_utc(struct period_zone *zone);

/*
 * The local zone (TZ and TZDIR in `environment`, else /etc/localtime; UTC if they name nothing that is there) from two
 * years before `now` to twenty years after it. Reads one file, asks nothing of libc. One call at a time.
 */
void period_zone_local(struct period_zone *zone, char *const environment[], int64_t now);

/* The start of the period that contains `time`; with PERIOD_NONE, `time` itself. */
int64_t period_start(const struct period *period, const struct period_zone *zone, int64_t time);

/* The first boundary after `time`: always greater than `time`; with PERIOD_NONE, INT64_MAX. */
int64_t period_end(const struct period *period, const struct period_zone *zone, int64_t time);

/* The name that naming=time gives a file begun at `begun`, at most 19 characters and a NUL: "2026-11-20_13-05-09". */
enum { PERIOD_NAME_SIZE = 32 };
void period_name(const struct period *period, const struct period_zone *zone, int64_t begun,
                 char name[PERIOD_NAME_SIZE]);

#endif
