#include "config_parser.h"
#include "sys.h"

#include <errno.h>
#include <string.h>

const char config_variable_prefix[] = "MPLOGSHIM_";

/* The variables that are no keys. The last four are set for the programs of on_event, which may be preloaded too. */
enum special {
    SPECIAL_LOGS,
    SPECIAL_CONFIG,
    SPECIAL_DIAG,
    SPECIAL_STRICT,
    SPECIAL_DISABLE,
    SPECIAL_EVENT,
    SPECIAL_LOG,
    SPECIAL_ARCHIVE,
    SPECIAL_DETAIL,
    SPECIAL_COUNT
};
static const char *const special_names[SPECIAL_COUNT] = {
    [SPECIAL_LOGS] = "MPLOGSHIM_LOGS",       [SPECIAL_CONFIG] = "MPLOGSHIM_CONFIG",
    [SPECIAL_DIAG] = "MPLOGSHIM_DIAG",       [SPECIAL_STRICT] = "MPLOGSHIM_STRICT",
    [SPECIAL_DISABLE] = "MPLOGSHIM_DISABLE", [SPECIAL_EVENT] = "MPLOGSHIM_EVENT",
    [SPECIAL_LOG] = "MPLOGSHIM_LOG",         [SPECIAL_ARCHIVE] = "MPLOGSHIM_ARCHIVE",
    [SPECIAL_DETAIL] = "MPLOGSHIM_DETAIL",
};

/* Values in the program's environment, NULL where a variable is not set. */
struct collected {
    const char *special[SPECIAL_COUNT];
    const char *keys[KEY_COUNT];
    const char *unknown; /* "NAME=value" of the first that is none of them */
};

/* Whether `entry` is "NAME=..." for this name; then the value, else NULL. */
static const char *value_of(const char *entry, const char *name)
{
    size_t length = strlen(name);
    return strncmp(entry, name, length) == 0 && entry[length] == '=' ? entry + length + 1 : NULL;
}

/* The same for the variable of a key: MPLOGSHIM_MAX_BYTES for max_bytes. */
static const char *key_value_of(const char *entry, const char *key)
{
    entry += CONFIG_VARIABLE_PREFIX_LENGTH;
    while (*key != '\0' && *entry == config_upper(*key)) {
        key++;
        entry++;
    }
    return *key == '\0' && *entry == '=' ? entry + 1 : NULL;
}

static void set_first(const char **slot, const char *value)
{
    if (!*slot) /* as getenv: of two with one name, the first counts */
        *slot = value;
}

static void collect_variable(struct collected *collected, const char *entry)
{
    const char *value;
    for (int i = 0; i < SPECIAL_COUNT; i++) {
        if ((value = value_of(entry, special_names[i]))) {
            set_first(&collected->special[i], value);
            return;
        }
    }
    for (int i = 0; i < KEY_COUNT; i++) {
        if ((value = key_value_of(entry, config_key_names[i]))) {
            set_first(&collected->keys[i], value);
            return;
        }
    }
    set_first(&collected->unknown, entry);
}

static void collect_variables(struct collected *collected, char *const environment[])
{
    for (; *environment; environment++) {
        if (strncmp(*environment, config_variable_prefix, CONFIG_VARIABLE_PREFIX_LENGTH) == 0 &&
            strchr(*environment, '='))
            collect_variable(collected, *environment);
    }
    /* Outside of on_event, MPLOGSHIM_LOG is MPLOGSHIM_LOGS misspelt. */
    for (int i = SPECIAL_LOG; i <= SPECIAL_DETAIL && !collected->special[SPECIAL_EVENT]; i++) {
        if (collected->special[i])
            set_first(&collected->unknown, collected->special[i] - strlen(special_names[i]) - 1);
    }
}

static size_t size_of(const char *value)
{
    return value ? strlen(value) + 1 : 0;
}

/* Forgets a value that is too long, after saying so. */
static void limit_value(struct config_parser *parser, const char *name, const char **value, size_t limit)
{
    size_t size = size_of(*value);
    if (size <= limit + 1)
        return;
    config_error(parser, config_variable_place(name), "%llu bytes long: expected at most %llu",
                 (unsigned long long)(size - 1), (unsigned long long)limit);
    *value = NULL;
}

static void limit_values(struct config_parser *parser, struct collected *collected)
{
    for (int i = 0; i < SPECIAL_EVENT; i++)
        limit_value(parser, special_names[i], &collected->special[i],
                    i == SPECIAL_LOGS ? CONFIG_TEXT_MAX : CONFIG_WORD_MAX);
    for (int i = 0; i < KEY_COUNT; i++)
        limit_value(parser, config_key_names[i], &collected->keys[i], CONFIG_WORD_MAX);
}

static void copy_value(char **next, const char **value)
{
    size_t size = size_of(*value);
    if (size == 0)
        return;
    *value = memcpy(*next, *value, size);
    *next += size;
}

/* Copies the values out of the environment, which a program may overwrite. Returns 0 or -ENOMEM. */
static int copy_values(struct config_parser *parser, struct collected *collected)
{
    size_t total = 0;
    for (int i = 0; i < SPECIAL_EVENT; i++)
        total += size_of(collected->special[i]);
    for (int i = 0; i < KEY_COUNT; i++)
        total += size_of(collected->keys[i]);
    if (total == 0)
        return 0;

    char *next = sys_keep(total);
    if (!next) {
        config_error(parser, config_variable_place(special_names[SPECIAL_LOGS]), "no memory: expected %llu bytes",
                     (unsigned long long)total);
        return -ENOMEM;
    }
    for (int i = 0; i < SPECIAL_EVENT; i++)
        copy_value(&next, &collected->special[i]);
    for (int i = 0; i < KEY_COUNT; i++)
        copy_value(&next, &collected->keys[i]);
    return 0;
}

static void refuse_unknown(struct config_parser *parser, const char *entry)
{
    char name[64];
    size_t length = (size_t)(strchrnul(entry, '=') - entry);
    if (length > sizeof name - 1)
        length = sizeof name - 1;
    memcpy(name, entry, length);
    name[length] = '\0';
    config_error(parser, config_variable_place(config_show(name).text),
                 "unknown variable: expected MPLOGSHIM_LOGS, _CONFIG, _DIAG, _STRICT, _DISABLE, or a key in "
                 "upper case such as MPLOGSHIM_MAX_BYTES");
}

static bool parse_switch(struct config_parser *parser, const struct collected *collected, enum special which)
{
    const char *value = collected->special[which];
    bool on = value && strcmp(value, "1") == 0;
    if (value && !on && strcmp(value, "0") != 0)
        config_error(parser, config_variable_place(special_names[which]), "bad value '%s': expected 0 or 1",
                     config_show(value).text);
    return on;
}

static void parse_diag(struct config_parser *parser, const char *value)
{
    struct config *config = parser->config;
    if (!value || strcmp(value, "stderr") == 0) {
        config->diag = DIAG_STDERR;
    } else if (strcmp(value, "syslog") == 0) {
        config->diag = DIAG_SYSLOG;
    } else if (strcmp(value, "off") == 0) {
        config->diag = DIAG_OFF;
    } else if (value[0] == '/' && config_is_clean(value)) {
        config->diag = DIAG_FILE;
        config->diag_path = value;
    } else {
        config_error(parser, config_variable_place(special_names[SPECIAL_DIAG]),
                     "bad value '%s': expected stderr, syslog, off or an absolute path", config_show(value).text);
    }
}

int config_read_variables(struct config_parser *parser, char *const environment[], struct config_variables *variables)
{
    struct collected collected = {.unknown = NULL};
    collect_variables(&collected, environment);

    /* How errors are reported must be known even when one came before: config_error keeps the first. */
    limit_values(parser, &collected);
    int result = copy_values(parser, &collected);
    if (result != 0)
        return result;
    parse_diag(parser, collected.special[SPECIAL_DIAG]);
    parser->config->strict = parse_switch(parser, &collected, SPECIAL_STRICT);
    variables->disabled = parse_switch(parser, &collected, SPECIAL_DISABLE);
    if (collected.unknown)
        refuse_unknown(parser, collected.unknown);

    variables->logs = (char *)(uintptr_t)collected.special[SPECIAL_LOGS]; /* a copy of our own */
    variables->file = collected.special[SPECIAL_CONFIG];
    memcpy(variables->keys, collected.keys, sizeof variables->keys);
    return parser->error[0] == '\0' ? 0 : -EINVAL;
}
