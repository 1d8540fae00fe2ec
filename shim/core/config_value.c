#include "config_parser.h"

#include <string.h>

enum { BACKUPS_MAX = 1000000000, INTERVAL_MAX = 86400 };

static enum config_verdict good_if(bool good)
{
    return good ? VALUE_GOOD : VALUE_BAD;
}

/* The position of a word in a list that ends with NULL, or -1. */
static int find_word(const char *const words[], const char *word)
{
    for (int i = 0; words[i]; i++) {
        if (strcmp(words[i], word) == 0)
            return i;
    }
    return -1;
}

static enum config_verdict parse_max_bytes(const char *text, struct rule *rule)
{
    return good_if(config_parse_size(text, &rule->policy.max_bytes));
}

static bool equal_ignoring_case(const char *text, const char *upper_case)
{
    while (*text != '\0' && config_upper(*text) == *upper_case) {
        text++;
        upper_case++;
    }
    return *text == *upper_case;
}

static enum config_verdict parse_when(const char *text, struct rule *rule)
{
    static const struct {
        const char *name;
        enum period_unit unit;
    } units[] = {{"OFF", PERIOD_NONE}, {"S", PERIOD_SECOND}, {"M", PERIOD_MINUTE},
                 {"H", PERIOD_HOUR},   {"D", PERIOD_DAY},    {"MIDNIGHT", PERIOD_DAY}};

    for (size_t i = 0; i < sizeof units / sizeof units[0]; i++) {
        if (equal_ignoring_case(text, units[i].name)) {
            rule->policy.period.unit = units[i].unit;
            rule->policy.period.weekday = 0;
            return VALUE_GOOD;
        }
    }
    if (config_upper(text[0]) != 'W' || text[1] < '0' || text[1] > '6' || text[2] != '\0')
        return VALUE_BAD;
    rule->policy.period.unit = PERIOD_WEEK;
    rule->policy.period.weekday = (uint32_t)(text[1] - '0');
    return VALUE_GOOD;
}

/* What is too much for the unit is known only when the rule is complete: see config_add_rule. */
static enum config_verdict parse_interval(const char *text, struct rule *rule)
{
    uint64_t number;
    if (!config_parse_number(text, INTERVAL_MAX, &number) || number == 0)
        return VALUE_BAD;
    rule->policy.period.interval = (uint32_t)number;
    return VALUE_GOOD;
}

static enum config_verdict parse_at(const char *text, struct rule *rule)
{
    return good_if(config_parse_time_of_day(text, &rule->policy.period.at));
}

static enum config_verdict parse_utc(const char *text, struct rule *rule)
{
    return good_if(config_parse_boolean(text, &rule->policy.utc));
}

static enum config_verdict parse_backups(const char *text, struct rule *rule)
{
    return good_if(config_parse_number(text, BACKUPS_MAX, &rule->policy.backups));
}

static enum config_verdict parse_naming(const char *text, struct rule *rule)
{
    static const char *const words[] = {[NAMING_NUMBER] = "number", [NAMING_TIME] = "time", NULL};
    int word = find_word(words, text);
    if (word >= 0)
        rule->policy.naming = (enum rule_naming)word;
    return good_if(word >= 0);
}

static enum config_verdict parse_mode(const char *text, struct rule *rule)
{
    int mode = 0;
    for (; *text >= '0' && *text <= '7'; text++) {
        mode = mode * 8 + (*text - '0');
        if (mode > 0777)
            return VALUE_BAD;
    }
    /* Without the owner's write permission, the next process could not open the log that this one made. */
    if (*text != '\0' || (mode & 0200) == 0)
        return VALUE_BAD;
    rule->mode = mode;
    return VALUE_GOOD;
}

static enum config_verdict parse_owner(const char *text, struct rule *rule)
{
    rule->group = (gid_t)-1; /* a default's group goes with its user */
    return good_if(config_parse_owner(text, &rule->owner, &rule->group));
}

static enum config_verdict parse_lock(const char *text, struct rule *rule)
{
    static const char *const words[] = {[RULE_LOCK_WRITE] = "write", [RULE_LOCK_ROTATE] = "rotate", NULL};
    int word = find_word(words, text);
    if (word >= 0)
        rule->lock = (enum rule_lock)word;
    return good_if(word >= 0);
}

static enum config_verdict parse_lock_timeout(const char *text, struct rule *rule)
{
    return good_if(config_parse_duration(text, &rule->lock_timeout_ns));
}

static enum config_verdict parse_lock_dir(const char *text, struct rule *rule)
{
    if (text[0] != '/' || !config_is_clean(text))
        return VALUE_BAD;
    rule->lock_dir = text;
    return VALUE_GOOD;
}

static enum config_verdict parse_truncate(const char *text, struct rule *rule)
{
    static const char *const words[] = {
        [TRUNCATE_ROTATE] = "rotate", [TRUNCATE_IGNORE] = "ignore", [TRUNCATE_ALLOW] = "allow", NULL};
    int word = find_word(words, text);
    if (word >= 0)
        rule->truncate = (enum rule_truncate)word;
    return good_if(word >= 0);
}

static enum config_verdict parse_lines(const char *text, struct rule *rule)
{
    static const char *const words[] = {[LINES_WHOLE] = "whole", [LINES_STRICT] = "strict", [LINES_OFF] = "off", NULL};
    int word = find_word(words, text);
    if (word >= 0)
        rule->lines = (enum rule_lines)word;
    return good_if(word >= 0);
}

/* "gzip" is zlib's own default level. */
static enum config_verdict parse_compress(const char *text, struct rule *rule)
{
    enum { LEVEL_DEFAULT = 6 };
    unsigned level = 0;
    if (strcmp(text, "gzip") == 0)
        level = LEVEL_DEFAULT;
    else if (strncmp(text, "gzip:", 5) == 0 && text[5] >= '1' && text[5] <= '9' && text[6] == '\0')
        level = (unsigned)(text[5] - '0');
    else if (strcmp(text, "none") != 0)
        return VALUE_BAD;
    rule->policy.compress = level;
    return VALUE_GOOD;
}

static enum config_verdict parse_max_age(const char *text, struct rule *rule)
{
    return good_if(config_parse_duration(text, &rule->policy.max_age_ns));
}

static enum config_verdict parse_max_total(const char *text, struct rule *rule)
{
    return good_if(config_parse_size(text, &rule->policy.max_total));
}

static enum config_verdict parse_on_event(const char *text, struct rule *rule)
{
    bool none = strcmp(text, "none") == 0;
    if (!none && (text[0] != '/' || text[strlen(text) - 1] == '/' || !config_is_clean(text)))
        return VALUE_BAD;
    rule->on_event = none ? NULL : text;
    return VALUE_GOOD;
}

static enum config_verdict parse_async(const char *text, struct rule *rule)
{
    return good_if(config_parse_boolean(text, &rule->async));
}

static enum config_verdict parse_async_buffer(const char *text, struct rule *rule)
{
    return good_if(config_parse_size(text, &rule->async_buffer) && rule->async_buffer > 0);
}

static enum config_verdict parse_async_flush(const char *text, struct rule *rule)
{
    return good_if(config_parse_duration(text, &rule->async_flush_ns));
}

/* Keys whose feature is not built yet: a good value is refused as such, never ignored; the value that means "off" is
 * fine. */

static enum config_verdict unsupported_unless(bool good, bool off)
{
    return !good ? VALUE_BAD : off ? VALUE_GOOD : VALUE_UNSUPPORTED;
}

static enum config_verdict parse_prefix(const char *text, struct rule *rule)
{
    (void)text;
    (void)rule;
    return VALUE_UNSUPPORTED;
}

static enum config_verdict parse_forward(const char *text, struct rule *rule)
{
    (void)rule;
    if (strncmp(text, "unix:/", 6) == 0)
        return VALUE_UNSUPPORTED;
    if (strncmp(text, "tcp:", 4) != 0 && strncmp(text, "udp:", 4) != 0)
        return VALUE_BAD;
    const char *port = strrchr(text + 4, ':');
    uint64_t number;
    return unsupported_unless(port && port > text + 4 && config_parse_number(port + 1, 65535, &number) && number > 0,
                              false);
}

static const char size_expected[] = "a size such as 0, 4096, 512K, 10M or 2G, up to 2^62 bytes";
static const char duration_expected[] = "0 or a duration such as 500ms, 5s, 10m, 2h, 30d or 4w, up to 146 years";
static const char boolean_expected[] = "0 or 1";
static const char prefix_expected[] = "a line prefix";

/* How each key is read, what a bad value hears, and what still may be said of a feature that is not built. */
static const struct key_rule {
    enum config_verdict (*parse)(const char *text, struct rule *rule);
    const char *expected;
    const char *supported;
} key_rules[KEY_COUNT] = {
    [KEY_MAX_BYTES] = {parse_max_bytes, size_expected, NULL},
    [KEY_WHEN] = {parse_when, "S, M, H, D, MIDNIGHT, W0 (Monday) to W6, or off", NULL},
    [KEY_INTERVAL] = {parse_interval, "a whole number from 1 to 86400", NULL},
    [KEY_AT] = {parse_at, "a time of day from 00:00:00 to 23:59:59", NULL},
    [KEY_UTC] = {parse_utc, boolean_expected, NULL},
    [KEY_BACKUPS] = {parse_backups, "a whole number from 0 (keep all) to 1000000000", NULL},
    [KEY_MAX_AGE] = {parse_max_age, duration_expected, NULL},
    [KEY_MAX_TOTAL] = {parse_max_total, size_expected, NULL},
    [KEY_NAMING] = {parse_naming, "number or time", NULL},
    [KEY_COMPRESS] = {parse_compress, "none, gzip, or gzip:1 to gzip:9", NULL},
    [KEY_MODE] = {parse_mode, "octal permission bits up to 0777 with at least owner write (0200), such as 0640", NULL},
    [KEY_OWNER] = {parse_owner, "user[:group], each a number or a name in /etc/passwd and /etc/group", NULL},
    [KEY_LOCK] = {parse_lock, "write or rotate", NULL},
    [KEY_LOCK_TIMEOUT] = {parse_lock_timeout, duration_expected, NULL},
    [KEY_LOCK_DIR] = {parse_lock_dir, "an absolute path", NULL},
    [KEY_TRUNCATE] = {parse_truncate, "rotate, ignore or allow", NULL},
    [KEY_LINES] = {parse_lines, "whole, strict or off", NULL},
    [KEY_ASYNC] = {parse_async, boolean_expected, NULL},
    [KEY_ASYNC_BUFFER] = {parse_async_buffer, "a size above 0, such as 1M", NULL},
    [KEY_ASYNC_FLUSH] = {parse_async_flush, duration_expected, NULL},
    [KEY_PREFIX] = {parse_prefix, prefix_expected, "no such key"},
    [KEY_PREFIX_DEBUG] = {parse_prefix, prefix_expected, "no such key"},
    [KEY_PREFIX_INFO] = {parse_prefix, prefix_expected, "no such key"},
    [KEY_PREFIX_WARNING] = {parse_prefix, prefix_expected, "no such key"},
    [KEY_PREFIX_ERROR] = {parse_prefix, prefix_expected, "no such key"},
    [KEY_PREFIX_CRITICAL] = {parse_prefix, prefix_expected, "no such key"},
    [KEY_FORWARD] = {parse_forward, "unix:/path, tcp:host:port or udp:host:port", "no such key"},
    [KEY_ON_EVENT] = {parse_on_event, "the absolute path of a program, or none", NULL},
};

enum config_verdict config_parse_value(enum key key, const char *text, struct rule *rule)
{
    return key_rules[key].parse(text, rule);
}

struct config_value_help config_value_help(enum key key)
{
    return (struct config_value_help){.expected = key_rules[key].expected, .supported = key_rules[key].supported};
}
