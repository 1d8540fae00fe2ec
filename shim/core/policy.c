#include "policy.h"

#include "config_parser.h"
#include "text_builder.h"

#include <errno.h>
#include <string.h>

/* The words of a policy are the first keys of the configuration, in its order. */
_Static_assert(KEY_MAX_BYTES == 0 && KEY_COMPRESS == POLICY_WORDS - 1, "a policy's keys come first");

#define MILLISECOND UINT64_C(1000000)
#define SECOND      (1000 * MILLISECOND)

enum { VALUE_SIZE = 24 };

/* In the largest unit that says it exactly. The configuration knows nothing below a millisecond. */
static void write_duration(uint64_t nanoseconds, char value[VALUE_SIZE])
{
    static const struct {
        const char *name;
        uint64_t nanoseconds;
    } units[] = {{"w", 604800 * SECOND}, {"d", 86400 * SECOND}, {"h", 3600 * SECOND},
                 {"m", 60 * SECOND},     {"s", SECOND},         {"ms", MILLISECOND}};
    size_t i = 0;
    while (i + 1 < sizeof units / sizeof units[0] && nanoseconds % units[i].nanoseconds != 0)
        i++;
    diag_format(value, VALUE_SIZE, "%llu%s", (unsigned long long)(nanoseconds / units[i].nanoseconds),
                nanoseconds == 0 ? "" : units[i].name);
}

static void write_number(uint64_t number, char value[VALUE_SIZE])
{
    diag_format(value, VALUE_SIZE, "%llu", (unsigned long long)number);
}

static void write_when(const struct period *period, char value[VALUE_SIZE])
{
    static const char *const names[] = {[PERIOD_NONE] = "OFF", [PERIOD_SECOND] = "S", [PERIOD_MINUTE] = "M",
                                        [PERIOD_HOUR] = "H",   [PERIOD_DAY] = "D",    [PERIOD_WEEK] = "W"};
    if (period->unit == PERIOD_WEEK)
        diag_format(value, VALUE_SIZE, "%s%u", names[period->unit], period->weekday);
    else
        diag_format(value, VALUE_SIZE, "%s", names[period->unit]);
}

static void write_at(uint32_t at, char value[VALUE_SIZE])
{
    diag_format(value, VALUE_SIZE, "%u%u:%u%u:%u%u", at / 36000, at / 3600 % 10, at / 600 % 6, at / 60 % 10,
                at / 10 % 6, at % 10);
}

static void write_compress(unsigned level, char value[VALUE_SIZE])
{
    if (level == 0)
        diag_format(value, VALUE_SIZE, "none");
    else
        diag_format(value, VALUE_SIZE, "gzip:%u", level);
}

static void write_value(const struct policy *policy, int index, char value[VALUE_SIZE])
{
    switch (index) {
    case KEY_MAX_BYTES:
        write_number(policy->max_bytes, value);
        break;
    case KEY_WHEN:
        write_when(&policy->period, value);
        break;
    case KEY_INTERVAL:
        write_number(policy->period.interval, value);
        break;
    case KEY_AT:
        write_at(policy->period.at, value);
        break;
    case KEY_UTC:
        write_number(policy->utc, value);
        break;
    case KEY_BACKUPS:
        write_number(policy->backups, value);
        break;
    case KEY_MAX_AGE:
        write_duration(policy->max_age_ns, value);
        break;
    case KEY_MAX_TOTAL:
        write_number(policy->max_total, value);
        break;
    case KEY_NAMING:
        diag_format(value, VALUE_SIZE, "%s", policy->naming == NAMING_TIME ? "time" : "number");
        break;
    default:
        write_compress(policy->compress, value);
        break;
    }
}

void policy_word(const struct policy *policy, int index, char *word)
{
    char value[VALUE_SIZE];
    write_value(policy, index, value);
    diag_format(word, POLICY_WORD_SIZE, "%s=%s", config_key_names[index], value);
}

bool policy_set_word(struct policy *policy, int index, const char *word)
{
    const char *name = config_key_names[index];
    size_t length = strlen(name);
    struct rule rule = {.policy = *policy};
    if (strncmp(word, name, length) != 0 || word[length] != '=' ||
        config_parse_value((enum key)index, word + length + 1, &rule) != VALUE_GOOD)
        return false;
    *policy = rule.policy;
    return true;
}

bool policy_is_valid(const struct policy *policy)
{
    const struct period *period = &policy->period;
    bool has_time = period->unit == PERIOD_DAY || period->unit == PERIOD_WEEK;
    if (period->unit == PERIOD_NONE ? period->interval != 1
                                    : period->interval < 1 || period->interval > config_longest_interval(period->unit))
        return false;
    return has_time || period->at == 0;
}

static bool period_equal(const struct period *a, const struct period *b)
{
    return a->unit == b->unit && a->interval == b->interval && a->weekday == b->weekday && a->at == b->at;
}

bool policy_equal(const struct policy *a, const struct policy *b)
{
    return a->max_bytes == b->max_bytes && period_equal(&a->period, &b->period) && a->utc == b->utc &&
           a->backups == b->backups && a->max_age_ns == b->max_age_ns && a->max_total == b->max_total &&
           a->naming == b->naming && a->compress == b->compress;
}

void policy_differences(const struct policy *recorded, const struct policy *own, char *text, size_t size)
{
    static const char more[] = ", ...";
    size_t length = 0;
    text[0] = '\0';
    for (int i = 0; i < POLICY_WORDS; i++) {
        char of_record[POLICY_WORD_SIZE];
        char of_own[POLICY_WORD_SIZE];
        policy_word(recorded, i, of_record);
        policy_word(own, i, of_own);
        if (strcmp(of_record, of_own) == 0)
            continue;
        const char *separator = length == 0 ? "" : ", ";
        size_t needed = strlen(separator) + strlen(of_record) + strlen(" own ") + strlen(of_own);
        if (length + needed + sizeof more > size) {
            diag_format(text + length, size - length, "%s", length == 0 ? more + 2 : more);
            return;
        }
        length += diag_format(text + length, size - length, "%s%s own %s", separator, of_record, of_own);
    }
}

/* Whether a byte of a path is one that config_is_clean refuses in a pattern. */
static bool is_unclean(const char *path)
{
    unsigned char byte = (unsigned char)path[0];
    return byte < ' ' || byte == 0x7f || (byte == 0xc0 && (unsigned char)path[1] == 0x80);
}

static const char special_in_pattern[] = "*?[]\\,; ";

static bool is_special(const char *path)
{
    return strchr(special_in_pattern, *path) != NULL;
}

static void add_pattern(struct text_builder *builder, const char *path)
{
    size_t length = 0;
    for (const char *byte = path; *byte != '\0'; byte++)
        length += is_special(byte) ? 2 : 1;
    bool escape = length <= CONFIG_WORD_MAX;

    for (; *path != '\0'; path++) {
        if (is_unclean(path) || (is_special(path) && !escape)) {
            text_add_byte(builder, '?');
            continue;
        }
        if (is_special(path))
            text_add_byte(builder, '\\');
        text_add_byte(builder, *path);
    }
}

static void add_policy(struct text_builder *builder, const struct policy *policy)
{
    for (int i = 0; i < POLICY_WORDS; i++) {
        char word[POLICY_WORD_SIZE];
        enum period_unit unit = policy->period.unit;
        if ((i == KEY_INTERVAL && unit == PERIOD_NONE) || (i == KEY_AT && unit != PERIOD_DAY && unit != PERIOD_WEEK))
            continue; /* would be refused without when */
        policy_word(policy, i, word);
        text_add_byte(builder, ',');
        text_add(builder, word, strlen(word));
    }
}

static void add_words(struct text_builder *builder, const struct rule *rule)
{
    static const char *const lines[] = {[LINES_WHOLE] = "whole", [LINES_STRICT] = "strict", [LINES_OFF] = "off"};
    static const char *const truncate[] = {
        [TRUNCATE_ROTATE] = "rotate", [TRUNCATE_IGNORE] = "ignore", [TRUNCATE_ALLOW] = "allow"};
    char text[128];
    char duration[VALUE_SIZE];
    write_duration(rule->lock_timeout_ns, duration);
    diag_format(text, sizeof text, ",lock=%s,lines=%s,truncate=%s,lock_timeout=%s",
                rule->lock == RULE_LOCK_ROTATE ? "rotate" : "write", lines[rule->lines], truncate[rule->truncate],
                duration);
    text_add(builder, text, strlen(text));
}

static void add_owner(struct text_builder *builder, const struct rule *rule)
{
    char text[64];
    if (rule->mode >= 0) {
        diag_format(text, sizeof text, ",mode=%o", (unsigned)rule->mode);
        text_add(builder, text, strlen(text));
    }
    if (rule->owner != (uid_t)-1) {
        diag_format(text, sizeof text, ",owner=%u", rule->owner);
        text_add(builder, text, strlen(text));
        if (rule->group != (gid_t)-1) {
            diag_format(text, sizeof text, ":%u", rule->group);
            text_add(builder, text, strlen(text));
        }
    }
}

static void add_path(struct text_builder *builder, const char *key, const char *path)
{
    if (path) {
        text_add_byte(builder, ',');
        text_add(builder, key, strlen(key));
        text_add_byte(builder, '=');
        text_add_escaped(builder, path, ",;#\\ ");
    }
}

int policy_rule_text(const struct rule *rule, const char *path, char *text, size_t size)
{
    struct text_builder builder = {.text = text, .size = size, .overflow = size == 0};
    if (size > 0)
        text[0] = '\0';
    add_pattern(&builder, path);
    add_policy(&builder, &rule->policy);
    add_words(&builder, rule);
    add_owner(&builder, rule);
    add_path(&builder, config_key_names[KEY_LOCK_DIR], rule->lock_dir);
    add_path(&builder, config_key_names[KEY_ON_EVENT], rule->on_event);
    return builder.overflow ? -ENAMETOOLONG : 0;
}
