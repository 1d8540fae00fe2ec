/*
 * The names of the files around a log: see name.h.
 *
 * Parsing accepts exactly what making produces: any other name in the directory is somebody else's file and must never
 * be numbered, compressed or removed.
 */
#include "name.h"

#include "mplogshim.h"

#include <errno.h>
#include <string.h>

/* A name being made. Once it does not fit any more, it stays too long. */
struct builder {
    char *out;
    size_t length;
    bool too_long;
};

static void append_bytes(struct builder *builder, const char *bytes, size_t count)
{
    if (builder->too_long || count > NAME_MAX - builder->length) {
        builder->too_long = true;
        return;
    }
    memcpy(builder->out + builder->length, bytes, count);
    builder->length += count;
}

static void append(struct builder *builder, const char *text)
{
    append_bytes(builder, text, strlen(text));
}

/* At least `least_digits` digits of `value` in `radix`. */
static void append_number(struct builder *builder, uint64_t value, unsigned radix, size_t least_digits)
{
    char digits[20]; /* 2^64 has 20 decimal digits */
    size_t first = sizeof digits;
    while (value != 0 || sizeof digits - first < least_digits) {
        digits[--first] = "0123456789abcdef"[value % radix];
        value /= radix;
    }
    append_bytes(builder, digits + first, sizeof digits - first);
}

static int finish(struct builder *builder)
{
    builder->out[builder->too_long ? 0 : builder->length] = '\0';
    return builder->too_long ? -ENAMETOOLONG : 0;
}

/* ".app.log.lock" and its like. */
static int make_hidden(const char *base, const char *suffix, char *out)
{
    struct builder builder = {.out = out};
    append(&builder, ".");
    append(&builder, base);
    append(&builder, suffix);
    return finish(&builder);
}

int name_lock(const char *base, char *out)
{
    return make_hidden(base, MPLOGSHIM_LOCK_SUFFIX, out);
}

int name_pending(const char *base, uint64_t generation, int64_t begun, char *out)
{
    struct builder builder = {.out = out};
    append(&builder, ".");
    append(&builder, base);
    append(&builder, ".");
    append_number(&builder, generation, 16, 16);
    append(&builder, begun < 0 ? ".-" : ".");
    append_number(&builder, begun < 0 ? 0 - (uint64_t)begun : (uint64_t)begun, 10, 1);
    append(&builder, MPLOGSHIM_PENDING_SUFFIX);
    return finish(&builder);
}

int name_fresh(const char *base, char *out)
{
    return make_hidden(base, MPLOGSHIM_FRESH_SUFFIX, out);
}

int name_squeeze(const char *base, char *out)
{
    return make_hidden(base, MPLOGSHIM_SQUEEZE_SUFFIX, out);
}

/* Up to the suffix of the lock file's name: a lock_dir has names of its own. */
int name_ring(const char *lock, uint64_t number, char *out)
{
    struct builder builder = {.out = out};
    append_bytes(&builder, lock, strlen(lock) - strlen(MPLOGSHIM_LOCK_SUFFIX));
    append(&builder, ".");
    append_number(&builder, number, 16, 16);
    append(&builder, MPLOGSHIM_RING_SUFFIX);
    return finish(&builder);
}

int name_number(const char *base, uint64_t number, bool gzip, char *out)
{
    struct builder builder = {.out = out};
    append(&builder, base);
    append(&builder, ".");
    append_number(&builder, number, 10, 1);
    append(&builder, gzip ? MPLOGSHIM_GZIP_SUFFIX : "");
    return finish(&builder);
}

int name_time(const char *base, const char *period, uint64_t sequence, bool gzip, char *out)
{
    struct builder builder = {.out = out};
    append(&builder, base);
    append(&builder, ".");
    append(&builder, period);
    if (sequence > 0) {
        append(&builder, ".");
        append_number(&builder, sequence, 10, 1);
    }
    append(&builder, gzip ? MPLOGSHIM_GZIP_SUFFIX : "");
    return finish(&builder);
}

/*
 * Each take_* function reads one part of a name at *text, moves *text behind it and returns true; or returns false and
 * leaves *text as it is.
 */
static bool take(const char **text, const char *expected)
{
    size_t length = strlen(expected);
    if (strncmp(*text, expected, length) != 0)
        return false;
    *text += length;
    return true;
}

static bool is_digit(char character)
{
    return character >= '0' && character <= '9';
}

/* A decimal number without leading zeros. */
static bool take_number(const char **text, uint64_t *value)
{
    const char *end = *text;
    uint64_t number = 0;
    for (; is_digit(*end); end++) {
        uint64_t digit = (uint64_t)(*end - '0');
        if (__builtin_mul_overflow(number, 10U, &number) || __builtin_add_overflow(number, digit, &number))
            return false;
    }
    if (end == *text || (**text == '0' && end - *text > 1))
        return false;
    *text = end;
    *value = number;
    return true;
}

static bool take_time(const char **text, int64_t *value)
{
    const char *end = *text;
    uint64_t number;
    bool negative = take(&end, "-");
    if (!take_number(&end, &number) || number > (uint64_t)INT64_MAX + negative || (negative && number == 0))
        return false;
    *value = negative ? (int64_t)(0 - number) : (int64_t)number;
    *text = end;
    return true;
}

static bool take_generation(const char **text, uint64_t *value)
{
    uint64_t generation = 0;
    for (size_t i = 0; i < 16; i++) {
        char character = (*text)[i];
        if (is_digit(character))
            generation = generation << 4 | (uint64_t)(character - '0');
        else if (character >= 'a' && character <= 'f')
            generation = generation << 4 | (uint64_t)(character - 'a' + 10);
        else
            return false;
    }
    *text += 16;
    *value = generation;
    return true;
}

/* Apart: this may run on the small stack of a signal handler. */
static __attribute__((noinline)) bool take_ring(const char **text, uint64_t *number)
{
    return take(text, ".") && take_generation(text, number) && strcmp(*text, MPLOGSHIM_RING_SUFFIX) == 0;
}

bool name_is_ring(const char *lock, const char *name, uint64_t *number)
{
    size_t stem = strlen(lock) - strlen(MPLOGSHIM_LOCK_SUFFIX);
    const char *rest = name;
    if (strncmp(name, lock, stem) != 0)
        return false;
    rest += stem;
    return take_ring(&rest, number);
}

/* `separator` and exactly `digits` digits with a value from `least` to `most`. */
static bool take_field(const char **text, const char *separator, size_t digits, unsigned least, unsigned most,
                       unsigned *value)
{
    const char *end = *text;
    unsigned number = 0;
    if (!take(&end, separator))
        return false;
    for (size_t i = 0; i < digits; i++, end++) {
        if (!is_digit(*end))
            return false;
        number = number * 10 + (unsigned)(*end - '0');
    }
    if (number < least || number > most)
        return false;
    *text = end;
    *value = number;
    return true;
}

static unsigned days_of_month(unsigned year, unsigned month)
{
    if (month == 2)
        return (year % 4 == 0 && year % 100 != 0) || year % 400 == 0 ? 29 : 28;
    return month == 4 || month == 6 || month == 9 || month == 11 ? 30 : 31;
}

/* "2026-11-20", and as much of "_13-05-09" as follows. */
static bool take_period(const char **text, char period[static 32])
{
    const char *end = *text;
    unsigned year;
    unsigned month;
    unsigned day;
    unsigned ignored;
    if (!take_field(&end, "", 4, 0, 9999, &year) || !take_field(&end, "-", 2, 1, 12, &month) ||
        !take_field(&end, "-", 2, 1, days_of_month(year, month), &day))
        return false;
    if (take_field(&end, "_", 2, 0, 23, &ignored) && take_field(&end, "-", 2, 0, 59, &ignored))
        (void)take_field(&end, "-", 2, 0, 59, &ignored);
    memcpy(period, *text, (size_t)(end - *text));
    period[end - *text] = '\0';
    *text = end;
    return true;
}

static bool take_sequence(const char **text, uint64_t *value)
{
    const char *end = *text;
    uint64_t number;
    if (!take(&end, ".") || !take_number(&end, &number) || number == 0)
        return false;
    *text = end;
    *value = number;
    return true;
}

/* What follows the base name of an archive: ".7.gz", ".2026-11-20.1". */
static struct name parse_archive(const char *suffix)
{
    static const struct name other = {.kind = NAME_OTHER};
    struct name name = other;
    if (!take(&suffix, "."))
        return other;
    if (take_period(&suffix, name.period)) {
        name.kind = NAME_TIME;
        (void)take_sequence(&suffix, &name.sequence);
    } else if (take_number(&suffix, &name.number) && name.number > 0) {
        name.kind = NAME_NUMBER;
    }
    name.gzip = take(&suffix, MPLOGSHIM_GZIP_SUFFIX);
    return name.kind != NAME_OTHER && *suffix == '\0' ? name : other;
}

/* What follows the base name in a hidden name: ".lock", ".0000000000000007.1700000000.pending". */
static struct name parse_hidden(const char *suffix)
{
    static const struct name other = {.kind = NAME_OTHER};
    struct name name = {.kind = NAME_PENDING};
    const char *rest = suffix;
    if (strcmp(suffix, MPLOGSHIM_LOCK_SUFFIX) == 0)
        return (struct name){.kind = NAME_LOCK};
    bool ring = take_ring(&rest, &name.generation);
    name.generation = 0;
    if (ring || strcmp(suffix, MPLOGSHIM_FRESH_SUFFIX) == 0 || strcmp(suffix, MPLOGSHIM_SQUEEZE_SUFFIX) == 0)
        return (struct name){.kind = ring ? NAME_RING : NAME_WORK};
    if (take(&suffix, ".") && take_generation(&suffix, &name.generation) && take(&suffix, ".") &&
        take_time(&suffix, &name.begun) && strcmp(suffix, MPLOGSHIM_PENDING_SUFFIX) == 0)
        return name;
    return other;
}

struct name name_parse(const char *base, const char *name)
{
    const char *archive = name;
    const char *hidden = name;
    struct name parsed = {.kind = NAME_OTHER};
    if (take(&archive, base))
        parsed = parse_archive(archive);
    if (parsed.kind == NAME_OTHER && take(&hidden, ".") && take(&hidden, base))
        parsed = parse_hidden(hidden);
    return parsed;
}

/* Reads the part of a name from `suffix` on as either kind of suffix. The base name before it is not empty. */
static size_t parse_suffix(const char *name, const char *suffix, struct name *parsed)
{
    if (suffix > name) {
        *parsed = parse_archive(suffix);
        if (parsed->kind != NAME_OTHER)
            return (size_t)(suffix - name);
    }
    if (suffix > name + 1 && name[0] == '.') {
        *parsed = parse_hidden(suffix);
        if (parsed->kind != NAME_OTHER)
            return (size_t)(suffix - name) - 1;
    }
    return 0;
}

size_t name_base(const char *name, unsigned nth, struct name *parsed)
{
    for (const char *dot = strchr(name, '.'); dot != NULL; dot = strchr(dot + 1, '.')) {
        size_t length = parse_suffix(name, dot, parsed);
        if (length > 0 && nth-- == 0)
            return length;
    }
    *parsed = (struct name){.kind = NAME_OTHER};
    return 0;
}

static int compare(uint64_t a, uint64_t b)
{
    return (a > b) - (a < b);
}

/* Oldest first. */
static unsigned rank(enum name_kind kind)
{
    switch (kind) {
    case NAME_TIME:
        return 0;
    case NAME_NUMBER:
        return 1;
    case NAME_PENDING:
        return 2;
    case NAME_LOCK:
    case NAME_WORK:
    case NAME_RING:
    case NAME_OTHER:
        break;
    }
    return 3;
}

int name_compare(const struct name *a, const struct name *b)
{
    if (a->kind != b->kind)
        return compare(rank(a->kind), rank(b->kind));
    switch (a->kind) {
    case NAME_TIME: {
        int order = strcmp(a->period, b->period);
        return order != 0 ? order : compare(a->sequence, b->sequence);
    }
    case NAME_NUMBER:
        return compare(b->number, a->number); /* .1 is the newest */
    case NAME_PENDING:
        /* Generations start anew when the lock file is deleted; within one second they alone tell. */
        return a->begun != b->begun ? (a->begun > b->begun) - (a->begun < b->begun)
                                    : compare(a->generation, b->generation);
    case NAME_LOCK:
    case NAME_WORK:
    case NAME_RING:
    case NAME_OTHER:
        break;
    }
    return 0;
}
