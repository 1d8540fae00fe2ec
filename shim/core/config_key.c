#include "config_parser.h"

#include <errno.h>
#include <string.h>

/* To add a key: a value of enum key, a name here, and in config_value.c how its value is read into struct rule. */

const char *const config_key_names[KEY_COUNT] = {
    [KEY_MAX_BYTES] = "max_bytes",
    [KEY_WHEN] = "when",
    [KEY_INTERVAL] = "interval",
    [KEY_AT] = "at",
    [KEY_UTC] = "utc",
    [KEY_BACKUPS] = "backups",
    [KEY_MAX_AGE] = "max_age",
    [KEY_MAX_TOTAL] = "max_total",
    [KEY_NAMING] = "naming",
    [KEY_COMPRESS] = "compress",
    [KEY_MODE] = "mode",
    [KEY_OWNER] = "owner",
    [KEY_LOCK] = "lock",
    [KEY_LOCK_TIMEOUT] = "lock_timeout",
    [KEY_LOCK_DIR] = "lock_dir",
    [KEY_TRUNCATE] = "truncate",
    [KEY_LINES] = "lines",
    [KEY_ASYNC] = "async",
    [KEY_ASYNC_BUFFER] = "async_buffer",
    [KEY_ASYNC_FLUSH] = "async_flush",
    [KEY_PREFIX] = "prefix",
    [KEY_PREFIX_DEBUG] = "prefix_debug",
    [KEY_PREFIX_INFO] = "prefix_info",
    [KEY_PREFIX_WARNING] = "prefix_warning",
    [KEY_PREFIX_ERROR] = "prefix_error",
    [KEY_PREFIX_CRITICAL] = "prefix_critical",
    [KEY_FORWARD] = "forward",
    [KEY_ON_EVENT] = "on_event",
};

#define KEY_NAMES_LINE                                                                                                 \
    "max_bytes when interval at utc backups max_age max_total naming compress mode owner lock lock_timeout lock_dir "  \
    "truncate lines async async_buffer async_flush prefix prefix_LEVEL forward on_event"

int config_set(struct config_parser *parser, struct settings *settings, struct place place, enum key key,
               const char *value)
{
    const char *name = config_key_names[key];
    struct config_value_help help = config_value_help(key);
    uint32_t bit = UINT32_C(1) << key;

    if (settings->own & bit)
        return config_error(parser, place, "%s is given twice: expected each key once", name);
    if (value[0] == '\0')
        return config_error(parser, place, "empty value for %s: expected %s", name, help.expected);
    if (strlen(value) > CONFIG_WORD_MAX)
        return config_error(parser, place, "value of %s '%s' is too long: expected at most %d bytes", name,
                            config_show(value).text, CONFIG_WORD_MAX);

    switch (config_parse_value(key, value, &settings->rule)) {
    case VALUE_GOOD:
        break;
    case VALUE_BAD:
        return config_error(parser, place, "bad %s '%s': expected %s", name, config_show(value).text, help.expected);
    case VALUE_UNSUPPORTED:
        return config_error(parser, place, "%s '%s' is not supported in this version: expected %s", name,
                            config_show(value).text, help.supported);
    }
    settings->own |= bit;
    settings->given |= bit;
    settings->places[key] = place;
    return 0;
}

/* '\' escapes ',' ';' '#', a blank (which would be trimmed at the end) and itself; before anything else it stands for
 * itself. */
static void unescape(char *text)
{
    char *out = text;
    for (; *text != '\0'; text++) {
        if (text[0] == '\\' && text[1] != '\0' && strchr(",;#\\ ", text[1]))
            text++;
        *out++ = *text;
    }
    *out = '\0';
}

static int find_key(const char *name)
{
    for (int key = 0; key < KEY_COUNT; key++) {
        if (strcmp(config_key_names[key], name) == 0)
            return key;
    }
    return -1;
}

int config_set_pair(struct config_parser *parser, struct settings *settings, struct place place, char *text)
{
    char *equals = strchr(text, '=');
    if (!equals || equals == text)
        return config_error(parser, place, "bad word '%s': expected key=value", config_show(text).text);

    char *value = equals + 1;
    while (config_is_blank(*value))
        value++;
    while (equals > text && config_is_blank(equals[-1]))
        equals--;
    *equals = '\0';

    int key = find_key(text);
    if (key < 0)
        return config_error(parser, place, "unknown key '%s': expected one of " KEY_NAMES_LINE, config_show(text).text);
    unescape(value);
    return config_set(parser, settings, place, (enum key)key, value);
}
