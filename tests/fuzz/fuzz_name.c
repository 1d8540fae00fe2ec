/*
 * Names of archives and hidden files: what is made is parsed back, what is parsed is made the same again, their order
 * is one, and no file is taken for another log's archive or for a live log at once.
 *
 * The input is the base name of a log, any other name, each ended by a NUL, and then three sets of numbers from which
 * names are made.
 */
#include "fuzz.h"

#include "../../include/mplogshim.h"
#include "../../shim/core/name.h"
#include "../../shim/core/period.h"

enum { NAMES = 3 };

/* One of any number, which is not kept of a parsed name. */
static int make_ring(const char *base, char *out)
{
    char lock[NAME_SIZE];
    int error = name_lock(base, lock);
    return error != 0 ? error : name_ring(lock, 0, out);
}

/* Makes the file name that `name` describes. */
static int make(const char *base, const struct name *name, char *out)
{
    switch (name->kind) {
    case NAME_NUMBER:
        return name_number(base, name->number, name->gzip, out);
    case NAME_TIME:
        return name_time(base, name->period, name->sequence, name->gzip, out);
    case NAME_PENDING:
        return name_pending(base, name->generation, name->begun, out);
    case NAME_LOCK:
        return name_lock(base, out);
    case NAME_RING:
        return make_ring(base, out);
    case NAME_WORK:
    case NAME_OTHER:
        break;
    }
    return name_fresh(base, out);
}

static bool same(const struct name *a, const struct name *b)
{
    return a->kind == b->kind && a->gzip == b->gzip && a->generation == b->generation && a->begun == b->begun &&
           a->number == b->number && a->sequence == b->sequence && strcmp(a->period, b->period) == 0;
}

static bool is_archive(const struct name *name)
{
    return name->kind == NAME_NUMBER || name->kind == NAME_TIME || name->kind == NAME_PENDING;
}

/* A name as the shim makes it: of any kind, from any numbers. */
static struct name take_name(struct input *input)
{
    static const enum name_kind kinds[] = {NAME_NUMBER, NAME_TIME, NAME_PENDING, NAME_LOCK, NAME_WORK};
    struct name name = {.kind = kinds[input_byte(input) % 5]};
    struct period_zone utc;
    struct period period = {.interval = 1};
    uint8_t form = input_byte(input);
    uint64_t number = input_number(input, form & 1 ? 8 : 1);
    int64_t time = (int64_t)input_number(input, form & 2 ? 4 : 5) - 1000;
    if (name.kind == NAME_NUMBER) {
        name.number = number == 0 ? 1 : number;
        name.gzip = form & 4;
    } else if (name.kind == NAME_TIME) {
        period_zone_utc(&utc);
        period.unit = (enum period_unit)(form >> 4) % (PERIOD_WEEK + 1);
        period_name(&period, &utc, time & ((INT64_C(1) << 37) - 1) /* the year 6325 */, name.period);
        name.sequence = form & 8 ? number : 0;
        name.gzip = form & 4;
    } else if (name.kind == NAME_PENDING) {
        name.generation = number;
        name.begun = form & 8 ? (int64_t)(number * 31) : time;
    }
    return name;
}

/* Every reading of a name is one by name_parse too, and the other way round. */
static void check_readings(const char *base, const char *file, const struct name *parsed)
{
    struct name reading;
    size_t length;
    bool found = false;
    char log[NAME_SIZE];
    for (unsigned nth = 0; (length = name_base(file, nth, &reading)) > 0; nth++) {
        bool hidden = name_is_hidden(reading.kind);
        require(length + hidden < strlen(file));
        memcpy(log, file + hidden, length);
        log[length] = '\0';
        struct name again = name_parse(log, file);
        require(same(&again, &reading));
        found = found || strcmp(log, base) == 0;
    }
    require(found == (parsed->kind != NAME_OTHER));
}

static void check_any(const char *base, const char *file)
{
    char again[NAME_SIZE];
    struct name parsed = name_parse(base, file);
    if (strlen(file) >= NAME_SIZE) {
        return;
    }
    if (parsed.kind == NAME_WORK) {
        require((name_fresh(base, again) == 0 && strcmp(again, file) == 0) ||
                (name_squeeze(base, again) == 0 && strcmp(again, file) == 0));
    } else if (parsed.kind != NAME_OTHER) {
        require(make(base, &parsed, again) == 0);
        require(strcmp(again, file) == 0);
    }
    check_readings(base, file, &parsed);
}

/* Two logs in one directory: who has a name in common is not a log, but an archive of the other. */
static void check_two_logs(const char *base, const char *other, const char *file)
{
    struct name parsed = name_parse(other, file);
    struct name between = name_parse(base, other);
    struct name back = name_parse(other, base);
    require(parsed.kind == NAME_OTHER || between.kind != NAME_OTHER || back.kind != NAME_OTHER);
}

static void check_made(const char *base, const char *other, const struct name *name)
{
    char file[NAME_SIZE];
    int error = make(base, name, file);
    require(error == 0 || strlen(base) > MPLOGSHIM_BASE_MAX);
    if (error != 0) {
        require(file[0] == '\0');
        return;
    }
    struct name parsed = name_parse(base, file);
    require(same(&parsed, name));
    require(strcmp(file, base) != 0);
    check_any(base, file);
    if (other[0] != '\0' && strcmp(other, base) != 0 && !strchr(other, '/')) {
        check_two_logs(base, other, file);
    }
}

static int sign(int order)
{
    return (order > 0) - (order < 0);
}

static void check_order(const struct name names[NAMES])
{
    for (int i = 0; i < NAMES; i++) {
        require(name_compare(&names[i], &names[i]) == 0);
        for (int j = 0; j < NAMES; j++) {
            int order = sign(name_compare(&names[i], &names[j]));
            struct name twin = names[j];
            twin.gzip = names[i].gzip;
            require(order == -sign(name_compare(&names[j], &names[i])));
            require(!is_archive(&names[i]) || !is_archive(&names[j]) || (order == 0) == same(&names[i], &twin));
            for (int k = 0; k < NAMES; k++) {
                int next = sign(name_compare(&names[j], &names[k]));
                require(order != next || sign(name_compare(&names[i], &names[k])) == order);
            }
        }
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct input input = {data, size};
    struct name names[NAMES];
    char *base = input_string(&input);
    char *other = input_string(&input);
    if (base[0] != '\0' && !strchr(base, '/')) {
        struct name live = name_parse(base, base);
        require(live.kind == NAME_OTHER);
        check_any(base, other);
        for (int i = 0; i < NAMES; i++) {
            names[i] = take_name(&input);
            check_made(base, other, &names[i]);
        }
        check_order(names);
    }
    free(other);
    free(base);
    return 0;
}
