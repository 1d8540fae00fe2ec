/*
 * The table of the local time zone, made at start: see period_zone_local in period.h.
 *
 * Reads the compiled zone file (RFC 8536) or the POSIX rule by itself. libc must not be asked: in a constructor that
 * runs before libc's own there is no environment, so localtime_r would take /etc/localtime for TZ, and remember that
 * for the program's own first call.
 */
#include "diag.h"
#include "own.h"
#include "period.h"
#include "sys.h"
#include "zone_rule.h"

#include <stdbool.h>
#include <string.h>

enum { FILE_MOST = 32768, PATH_SIZE = 1024, HEADER_SIZE = 44, YEAR = 366 * 86400 };

/* The table in the making: changes outside the window are of no interest. */
struct window {
    struct period_zone *zone;
    int64_t begin;
    int64_t end;
};

static SYS_START void add_change(void *context, int64_t from, int32_t offset)
{
    const struct window *window = context;
    struct period_zone *zone = window->zone;
    if (from > window->end)
        return;
    if (from <= window->begin) {
        zone->offset[0] = offset;
        return;
    }
    while (zone->count > 1 && from <= zone->from[zone->count - 1]) /* summer time that ends as the next begins */
        zone->count--;
    if (zone->offset[zone->count - 1] == offset || zone->count == PERIOD_ZONE_CHANGES)
        return;
    zone->from[zone->count] = from;
    zone->offset[zone->count++] = offset;
}

static int64_t big_endian(const unsigned char *bytes, size_t size)
{
    uint64_t value = bytes[0] & 0x80 ? UINT64_MAX : 0;
    for (size_t i = 0; i < size; i++)
        value = value << 8 | bytes[i];
    return (int64_t)value;
}

/* One of the two blocks of a zone file: `times` of `time_size` bytes each, the type of each, the types. */
struct block {
    size_t time_size;
    size_t time_count;
    size_t type_count;
    const unsigned char *times;
    const unsigned char *type_indexes;
    const unsigned char *types;
    const unsigned char *end;
};

/* Finds the parts of the block at `data`, which must all lie before `limit`. */
static SYS_START bool parse_block(struct block *block, size_t time_size, const unsigned char *data,
                                  const unsigned char *limit)
{
    enum { TYPE_SIZE = 6 };
    if (limit - data < HEADER_SIZE || memcmp(data, "TZif", 4) != 0)
        return false;
    size_t counts[6]; /* of UT indicators, standard indicators, leap seconds, times, types, characters */
    for (size_t i = 0; i < 6; i++) {
        counts[i] = (size_t)big_endian(data + 20 + 4 * i, 4);
        if (counts[i] > FILE_MOST)
            return false;
    }
    block->time_size = time_size;
    block->time_count = counts[3];
    block->type_count = counts[4];
    block->times = data + HEADER_SIZE;
    size_t size = counts[3] * (time_size + 1) + counts[4] * TYPE_SIZE + counts[5] + counts[2] * (time_size + 4) +
                  counts[1] + counts[0];
    if (counts[4] == 0 || size > (size_t)(limit - block->times))
        return false;
    block->type_indexes = block->times + counts[3] * time_size;
    block->types = block->type_indexes + counts[3];
    block->end = block->times + size;
    for (size_t i = 0; i < counts[3]; i++)
        if (block->type_indexes[i] >= counts[4])
            return false;
    return true;
}

static int32_t type_offset(const struct block *block, size_t type)
{
    return (int32_t)big_endian(block->types + 6 * type, 4);
}

/* Adds the changes of a block, and those of the rule "\n...\n" behind it for the time after them. */
static void add_block(struct window *window, const struct block *block, const char *footer)
{
    struct zone_rule rule;
    int64_t last = INT64_MIN;
    window->zone->offset[0] = type_offset(block, 0);
    for (size_t i = 0; i < block->time_count; i++) {
        last = big_endian(block->times + i * block->time_size, block->time_size);
        add_change(window, last, type_offset(block, block->type_indexes[i]));
    }
    if (footer[0] == '\n' && zone_rule_parse(&rule, footer + 1, '\n'))
        zone_rule_changes(&rule, last > window->begin ? last : window->begin, window->end, add_change, window);
}

/* A zone file's content, with a NUL behind it. */
static bool add_file(struct window *window, const unsigned char *data, size_t size)
{
    struct block block;
    const unsigned char *limit = data + size;
    if (!parse_block(&block, 4, data, limit))
        return false;
    bool old = data[4] == '\0'; /* version 1: 32 bits, no rule */
    if (!old && !parse_block(&block, 8, block.end, limit))
        return false;
    add_block(window, &block, old ? "" : (const char *)block.end);
    return true;
}

/* At start, or under the registry's mutex. */
static SYS_START bool load_file(struct window *window, const char *path)
{
    size_t size = 0;
    /* O_NONBLOCK: whatever TZ names, the start of the program does not wait for it. */
    int fd = own_open(AT_FDCWD, path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK, 0);
    if (fd < 0)
        return false;
    unsigned char *data = sys_keep(FILE_MOST + 1);
    for (ssize_t got = data == NULL ? 0 : 1; got > 0 && size<FILE_MOST; size += got> 0 ? (size_t)got : 0)
        got = sys.read(fd, data + size, FILE_MOST - size);
    sys.close(fd);
    if (data == NULL)
        return false;
    data[size] = '\0';
    bool good = add_file(window, data, size);
    sys_keep_until(data);
    return good;
}

static bool load_rule(struct window *window, const char *text)
{
    struct zone_rule rule;
    if (!zone_rule_parse(&rule, text, '\0'))
        return false;
    zone_rule_changes(&rule, window->begin, window->end, add_change, window);
    return true;
}

static SYS_START const char *lookup(char *const environment[], const char *name)
{
    size_t length = strlen(name);
    for (size_t i = 0; environment[i] != NULL; i++)
        if (strncmp(environment[i], name, length) == 0 && environment[i][length] == '=')
            return environment[i] + length + 1;
    return NULL;
}

/* As glibc reads TZ: a file, below TZDIR unless absolute; else a rule; else UTC. Unset: /etc/localtime. */
static SYS_START void load(struct window *window, const char *tz, const char *directory)
{
    char path[PATH_SIZE];
    if (tz == NULL) {
        (void)load_file(window, "/etc/localtime");
        return;
    }
    if (tz[0] == ':')
        tz++;
    if (tz[0] == '\0')
        return;
    if (directory == NULL || directory[0] == '\0')
        directory = "/usr/share/zoneinfo";
    if (strlen(directory) + strlen(tz) + 2 > sizeof path)
        return;
    bool absolute = tz[0] == '/';
    diag_format(path, sizeof path, "%s%s%s", absolute ? "" : directory, absolute ? "" : "/", tz);
    if (!load_file(window, path))
        (void)load_rule(window, tz);
}

void period_zone_local(struct period_zone *zone, char *const environment[], int64_t now)
{
    struct window window = {zone, now - 2 * (int64_t)YEAR, now + 20 * (int64_t)YEAR};
    period_zone_utc(zone);
    load(&window, lookup(environment, "TZ"), lookup(environment, "TZDIR"));
}
