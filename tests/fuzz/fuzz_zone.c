/*
 * Any bytes as a zone file, and any text as TZ: the table is in order, a rule that is accepted is as libc has it, and
 * by whatever table, periods follow each other without a gap, each with a name.
 *
 * The input: a byte that tells a file ('F' and other odd ones) from a value of TZ, four for the time of the start,
 * eight for the period and a moment in it, and the rest is the file, or the value up to a NUL.
 */
#include "fuzz.h"

#include "../../shim/core/period.h"
#include "../../shim/core/sys.h"
#include "../../shim/core/zone_rule.h"

#include <errno.h>
#include <time.h>

static const int64_t DAY = 86400;
static const int64_t YEAR = 366 * 86400;

static struct input file;
static bool file_there;

enum { FAKE_FD = 1000 };

static int fake_openat(int directory, const char *path, int flags, mode_t mode)
{
    (void)directory;
    (void)mode;
    require(strlen(path) < 1024 && (flags & O_CLOEXEC) && (flags & O_NONBLOCK));
    return file_there ? FAKE_FD : -ENOENT;
}

static ssize_t fake_read(int fd, void *buffer, size_t size)
{
    require(fd == FAKE_FD);
    size = size < file.size ? size : file.size;
    if (size > 0) {
        memcpy(buffer, file.data, size);
    }
    file.data += size;
    file.size -= size;
    return (ssize_t)size;
}

static int fake_close(int fd)
{
    require(fd == FAKE_FD);
    return 0;
}

static void check_table(const struct period_zone *zone, int64_t now)
{
    require(zone->count >= 1 && zone->count <= PERIOD_ZONE_CHANGES && zone->from[0] == INT64_MIN);
    for (size_t i = 1; i < zone->count; i++) {
        require(zone->from[i] > zone->from[i - 1]);
        require(zone->from[i] > now - 2 * YEAR && zone->from[i] <= now + 20 * YEAR);
    }
}

static void check_period(const struct period *period, const struct period_zone *zone, int64_t time)
{
    char name[PERIOD_NAME_SIZE];
    int64_t start = period_start(period, zone, time);
    int64_t end = period_end(period, zone, time);
    require(start <= time && end > time);
    require(period->unit == PERIOD_NONE ||
            (period_start(period, zone, start) == start && period_end(period, zone, start) == end &&
             period_start(period, zone, end - 1) == start && period_start(period, zone, end) == end));
    memset(name, 'x', sizeof name);
    period_name(period, zone, time, name);
    require(strnlen(name, sizeof name) >= 10 && strnlen(name, sizeof name) <= 19);
    require(name[strspn(name, "0123456789-_")] == '\0');
}

static int64_t offset_at(const struct period_zone *zone, int64_t time)
{
    size_t i = zone->count - 1;
    while (zone->from[i] > time) {
        i--;
    }
    return zone->offset[i];
}

/* About the day of the year. */
static int day_of(const struct zone_date *date)
{
    return date->form == 'M' ? (date->month - 1) * 30 + date->week * 7 : date->day;
}

/* Changes in the middle of the year and far from each other: libc looks at no other year's, and takes them in the
 * order that they have in this one. */
static bool is_plain(const struct zone_rule *rule)
{
    enum { FROM_NEW_YEAR = 20, APART = 40, DAYS = 365 };
    int begin = day_of(&rule->summer_begin);
    int end = day_of(&rule->summer_end);
    int apart = begin < end ? end - begin : begin - end;
    return !rule->has_summer || (begin > FROM_NEW_YEAR && begin < DAYS - FROM_NEW_YEAR && end > FROM_NEW_YEAR &&
                                 end < DAYS - FROM_NEW_YEAR && apart > APART);
}

static void check_moment(const struct period_zone *zone, int64_t time)
{
    struct tm local;
    time_t seconds = time;
    require(localtime_r(&seconds, &local) != NULL);
    require(local.tm_gmtoff == offset_at(zone, time));
}

static void check_like_libc(const struct period_zone *zone, int64_t now)
{
    enum { SOME_WEEKS = 10000019 };
    tzset();
    for (int64_t time = now - 2 * YEAR; time < now + 20 * YEAR; time += SOME_WEEKS) {
        check_moment(zone, time);
    }
    for (size_t i = 1; i < zone->count; i++) {
        check_moment(zone, zone->from[i] - 1);
        check_moment(zone, zone->from[i]);
    }
}

static struct period take_period(struct input *input)
{
    uint8_t unit = input_byte(input);
    return (struct period){.unit = (enum period_unit)(unit % (PERIOD_WEEK + 1)),
                           .weekday = unit / 8 % 7,
                           .interval = 1 + (uint32_t)input_number(input, 2) % 1000,
                           .at = (uint32_t)input_number(input, 2) % 86400};
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static char tz[600] = "TZ=";
    static char *const none[] = {"TZDIR=/nonexistent", NULL};
    char *const environment[] = {none[0], tz, NULL};
    struct input input = {data, size};
    struct period_zone zone;
    struct zone_rule rule;
    sys.openat = fake_openat;
    sys.read = fake_read;
    sys.close = fake_close;

    file_there = input_byte(&input) & 1;
    int64_t now = 5 * YEAR + (int64_t)input_number(&input, 4); /* libc has 1970's rules before 1970 too */
    struct period period = take_period(&input);
    int64_t moment = now - 3 * YEAR + (int64_t)input_number(&input, 3) * 50;
    char *text = file_there ? NULL : input_string(&input);
    file = input;
    snprintf(tz, sizeof tz, "TZ=%s", text == NULL ? "some/file" : text);
    period_zone_local(&zone, environment, now);
    check_table(&zone, now);
    check_period(&period, &zone, moment);
    for (size_t i = 1; i < zone.count && i < 8; i++) {
        check_period(&period, &zone, zone.from[i]);
        check_period(&period, &zone, zone.from[i] - 1);
        check_period(&period, &zone, zone.from[i] + DAY);
    }
    if (text != NULL && strlen(text) + 4 < sizeof tz && zone_rule_parse(&rule, text, '\0') && is_plain(&rule)) {
        putenv(none[0]);
        putenv(tz);
        check_like_libc(&zone, now);
    }
    free(text);
    return 0;
}
