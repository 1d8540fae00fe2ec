#include "config.h"

#include "config_parser.h"
#include "sys.h"

#include <errno.h>
#include <string.h>

bool config_is_clean(const char *text)
{
    for (; *text != '\0'; text++) {
        unsigned char byte = (unsigned char)*text;
        if (byte < ' ' || byte == 0x7f || (byte == 0xc0 && (unsigned char)text[1] == 0x80))
            return false;
    }
    return true;
}

struct shown config_show(const char *word)
{
    struct shown shown;
    size_t i = 0;
    for (; word[i] != '\0' && i < CONFIG_SHOWN_SIZE - 1; i++)
        shown.text[i] = word[i] >= ' ' && word[i] <= '~' ? word[i] : '?';
    shown.text[i] = '\0';
    if (word[i] != '\0')
        memcpy(shown.text + CONFIG_SHOWN_SIZE - 4, "...", 4);
    return shown;
}

struct shown_path config_show_path(const char *path)
{
    struct shown_path shown;
    size_t length = strlen(path);
    size_t skipped = length < sizeof shown.text ? 0 : length - (sizeof shown.text - 1);
    for (size_t i = 0; i <= length - skipped; i++) {
        char byte = path[skipped + i];
        shown.text[i] = (byte >= ' ' && byte <= '~') || byte == '\0' ? byte : '?';
    }
    if (skipped > 0)
        memcpy(shown.text, "...", 3);
    return shown;
}

/* The beginning of an error line: "MPLOGSHIM_LOGS: rule 2: " or "/etc/x.conf:7: ". Returns its length. */
static size_t write_place(const struct config_parser *parser, struct place place)
{
    if (place.kind == PLACE_RULE)
        return diag_format(parser->error, CONFIG_ERROR_SIZE, "MPLOGSHIM_LOGS: rule %u: ", place.number);
    if (place.kind == PLACE_LINE)
        return diag_format(parser->error, CONFIG_ERROR_SIZE, "%s:%u: ", config_show_path(parser->file).text,
                           place.number);
    if (strncmp(place.variable, config_variable_prefix, CONFIG_VARIABLE_PREFIX_LENGTH) == 0)
        return diag_format(parser->error, CONFIG_ERROR_SIZE, "%s: ", place.variable);

    char name[32]; /* longer than every key */
    size_t length = 0;
    for (; place.variable[length] != '\0' && length < sizeof name - 1; length++)
        name[length] = config_upper(place.variable[length]);
    name[length] = '\0';
    return diag_format(parser->error, CONFIG_ERROR_SIZE, "%s%s: ", config_variable_prefix, name);
}

int config_error(struct config_parser *parser, struct place place, const char *format, ...)
{
    if (parser->error[0] != '\0')
        return -EINVAL;
    size_t length = write_place(parser, place);
    va_list arguments;
    va_start(arguments, format);
    diag_vformat(parser->error + length, CONFIG_ERROR_SIZE - length, format, arguments);
    va_end(arguments);
    return -EINVAL;
}

int config_reserve(struct config_parser *parser, size_t bound)
{
    if (bound > CONFIG_RULES_MAX)
        bound = CONFIG_RULES_MAX;
    size_t rules_size = bound * sizeof(struct rule);
    size_t patterns_size = bound * 2 * PATH_MAX; /* reserved, not used: untouched pages cost nothing */
    if (bound == 0)
        return 0;
    char *memory = sys_keep(rules_size + patterns_size);
    if (!memory) {
        config_error(parser, config_variable_place(parser->file ? "MPLOGSHIM_CONFIG" : "MPLOGSHIM_LOGS"),
                     "no memory for the rules: expected %llu bytes", (unsigned long long)(rules_size + patterns_size));
        return -ENOMEM;
    }
    parser->rules = (struct rule *)(void *)memory;
    parser->next = memory + rules_size;
    parser->end = parser->next + patterns_size;
    return 0;
}

/* An interval of S, M or H counts within a day; days and weeks have a limit that only a mistake exceeds. */
uint32_t config_longest_interval(enum period_unit unit)
{
    switch (unit) {
    case PERIOD_SECOND:
        return 86400;
    case PERIOD_MINUTE:
        return 1440;
    case PERIOD_HOUR:
        return 24;
    case PERIOD_DAY:
        return 36500;
    case PERIOD_WEEK:
    case PERIOD_NONE:
        break;
    }
    return 5200;
}

static bool is_set(uint32_t keys, enum key key)
{
    return (keys >> key) & 1;
}

static int without_when(struct config_parser *parser, const struct settings *settings, enum key key)
{
    return config_error(parser, settings->places[key], "%s does not apply: expected %s with it", config_key_names[key],
                        key == KEY_AT ? "when=D or when=W0 to W6" : "when=S, M, H, D or W0 to W6");
}

/* Keys that depend on each other. A default that does not apply to this rule is silently left out of it. */
static int check_period(struct config_parser *parser, struct settings *settings)
{
    struct period *period = &settings->rule.policy.period;
    bool on = period->unit != PERIOD_NONE;
    bool has_time = period->unit == PERIOD_DAY || period->unit == PERIOD_WEEK;

    parser->applicable |= (uint32_t)on << KEY_INTERVAL | (uint32_t)has_time << KEY_AT;
    if (!on) {
        if (is_set(settings->own, KEY_INTERVAL))
            return without_when(parser, settings, KEY_INTERVAL);
        period->interval = 1;
    }
    if (!has_time) {
        if (is_set(settings->own, KEY_AT))
            return without_when(parser, settings, KEY_AT);
        period->at = 0;
    }
    if (period->interval > config_longest_interval(period->unit))
        return config_error(parser, settings->places[KEY_INTERVAL],
                            "bad interval '%u': expected 1 to %u with this when", period->interval,
                            config_longest_interval(period->unit));
    return 0;
}

int config_add_rule(struct config_parser *parser, struct place place, const char *pattern, struct settings *settings)
{
    struct rule *rule = &settings->rule;

    if (pattern[0] == '\0')
        return config_error(parser, place, "empty pattern: expected a path such as /var/log/app/*.log");
    if (parser->count >= CONFIG_RULES_MAX)
        return config_error(parser, place, "too many rules at '%s': expected at most %d", config_show(pattern).text,
                            CONFIG_RULES_MAX);
    const char *expected = config_make_pattern(parser, pattern, rule);
    if (expected)
        return config_error(parser, place, "bad pattern '%s': expected %s", config_show(pattern).text, expected);
    int result = check_period(parser, settings);
    if (result != 0)
        return result;

    bool periodic = rule->policy.period.unit != PERIOD_NONE;
    if (!is_set(settings->given, KEY_NAMING))
        rule->policy.naming = periodic ? NAMING_TIME : NAMING_NUMBER;
    if (!rule->policy.utc && (periodic || rule->policy.naming == NAMING_TIME))
        parser->config->needs_zone = true;
    parser->rules[parser->count++] = *rule;
    return 0;
}

/*
 * Cuts the next word off a copy of MPLOGSHIM_LOGS: up to a ',' ';' or newline that is not escaped, without blanks
 * around it. Escapes stay in it: a pattern keeps them for the matcher. *separator is what ended it, NUL at the end.
 */
static char *take_word(char **cursor, char *separator)
{
    char *word = *cursor;
    while (config_is_blank(*word))
        word++;
    char *end = word;
    char *byte = word;
    for (; *byte != '\0' && *byte != ',' && *byte != ';' && *byte != '\n'; byte++) {
        bool escape = byte[0] == '\\' && byte[1] != '\0' && byte[1] != '\n';
        byte += escape;
        if (escape || !config_is_blank(*byte))
            end = byte + 1;
    }
    *separator = *byte;
    *cursor = byte + (*byte != '\0');
    *end = '\0';
    return word;
}

static size_t count_separators(const char *text)
{
    size_t count = 0;
    for (; *text != '\0'; text++)
        count += *text == ';' || *text == '\n';
    return count;
}

static int parse_logs(struct config_parser *parser, const struct settings *defaults, char *text)
{
    struct place place = {.kind = PLACE_RULE, .number = 1};
    char separator = ';';
    int result = config_reserve(parser, count_separators(text) + 1);

    while (result == 0 && separator != '\0') {
        char *pattern = take_word(&text, &separator);
        if (*pattern == '\0' && separator != ',')
            continue; /* nothing between two separators, as at the end of a line */
        struct settings settings = *defaults;
        settings.own = 0;
        while (result == 0 && separator == ',')
            result = config_set_pair(parser, &settings, place, take_word(&text, &separator));
        if (result == 0)
            result = config_add_rule(parser, place, pattern, &settings);
        place.number++;
    }
    return result;
}

static int parse_defaults(struct config_parser *parser, const struct config_variables *variables,
                          struct settings *defaults)
{
    *defaults = (struct settings){.rule = {.policy = {.period = {.interval = 1}},
                                           .mode = -1,
                                           .owner = (uid_t)-1,
                                           .group = (gid_t)-1,
                                           .lock_timeout_ns = 5 * UINT64_C(1000000000),
                                           .async_buffer = UINT64_C(1) << 20,
                                           .async_flush_ns = UINT64_C(200000000)}};
    for (int key = 0; key < KEY_COUNT; key++) {
        if (!variables->keys[key])
            continue;
        int result = config_set(parser, defaults, config_variable_place(config_key_names[key]), (enum key)key,
                                variables->keys[key]);
        if (result != 0)
            return result;
    }
    return 0;
}

/* A default that applies to no rule at all is a mistake. */
static int check_defaults(struct config_parser *parser, const struct settings *defaults)
{
    static const enum key keys[] = {KEY_INTERVAL, KEY_AT};
    for (size_t i = 0; i < sizeof keys / sizeof keys[0] && parser->count > 0; i++) {
        if (is_set(defaults->given, keys[i]) && !is_set(parser->applicable, keys[i]))
            return without_when(parser, defaults, keys[i]);
    }
    return 0;
}

static int parse_rules(struct config_parser *parser, const struct config_variables *variables)
{
    bool logs = variables->logs && variables->logs[0] != '\0';
    struct settings defaults;

    if (logs && variables->file)
        return config_error(parser, config_variable_place("MPLOGSHIM_LOGS"),
                            "MPLOGSHIM_CONFIG is set as well: expected one of the two");
    int result = parse_defaults(parser, variables, &defaults);
    if (result != 0)
        return result;
    if (variables->file) {
        parser->file = variables->file;
        result = config_read_file(parser, &defaults);
    } else if (logs) {
        result = parse_logs(parser, &defaults, variables->logs);
    }
    return result == 0 ? check_defaults(parser, &defaults) : result;
}

int config_load(struct config *config, char *const environment[], const char *directory, char error[CONFIG_ERROR_SIZE])
{
    struct config_parser parser = {.config = config, .error = error, .directory = directory};
    struct config_variables variables = {.disabled = false};
    *config = (struct config){.diag = DIAG_STDERR};
    error[0] = '\0';

    int result = config_read_variables(&parser, environment, &variables);
    if (variables.disabled) {
        error[0] = '\0';
        return 0;
    }
    if (result == 0)
        result = parse_rules(&parser, &variables);
    sys_keep_until(parser.next);
    if (result == 0) {
        config->rules = parser.rules;
        config->count = parser.count;
    } else {
        config->needs_zone = false;
    }
    return result;
}
