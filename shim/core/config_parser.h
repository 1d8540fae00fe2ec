/*
 * What the files that read a configuration share: the parser's state, keys, places of errors, patterns.
 *
 * Private to config*.c, and to policy.c for keys and values. At start only: no malloc, no stdio, no locale, no getenv.
 * Text that is parsed is a private copy that lives as long as the process, because a program may overwrite its
 * environment (setproctitle); strings in rules point into it.
 */
#ifndef MPLOGSHIM_CONFIG_PARSER_H
#define MPLOGSHIM_CONFIG_PARSER_H

#include "config.h"

#include <limits.h>

/* Limits that only a mistake exceeds. The first is what Linux allows one environment string. */
enum {
    CONFIG_TEXT_MAX = 131072,       /* bytes of MPLOGSHIM_LOGS, or of the file */
    CONFIG_WORD_MAX = PATH_MAX - 1, /* bytes of a pattern or a value */
    CONFIG_RULES_MAX = 1000,
};

enum key {
    KEY_MAX_BYTES,
    KEY_WHEN,
    KEY_INTERVAL,
    KEY_AT,
    KEY_UTC,
    KEY_BACKUPS,
    KEY_MAX_AGE,
    KEY_MAX_TOTAL,
    KEY_NAMING,
    KEY_COMPRESS,
    KEY_MODE,
    KEY_OWNER,
    KEY_LOCK,
    KEY_LOCK_TIMEOUT,
    KEY_LOCK_DIR,
    KEY_TRUNCATE,
    KEY_LINES,
    KEY_ASYNC,
    KEY_ASYNC_BUFFER,
    KEY_ASYNC_FLUSH,
    KEY_PREFIX,
    KEY_PREFIX_DEBUG,
    KEY_PREFIX_INFO,
    KEY_PREFIX_WARNING,
    KEY_PREFIX_ERROR,
    KEY_PREFIX_CRITICAL,
    KEY_FORWARD,
    KEY_ON_EVENT,
    KEY_COUNT
};

/* Where a word stands, for the beginning of an error line. */
enum place_kind { PLACE_VARIABLE, PLACE_RULE, PLACE_LINE };
struct place {
    enum place_kind kind;
    union {
        const char *variable; /* PLACE_VARIABLE: "MPLOGSHIM_DIAG", or for a key its upper-case name alone */
        unsigned number;      /* PLACE_RULE: of MPLOGSHIM_LOGS, from 1; PLACE_LINE: of the file, from 1 */
    };
};

/* Keys collected for one rule, or as defaults. A level starts as a copy of the one below it, with own = 0. */
struct settings {
    struct rule rule;
    uint32_t own;   /* one bit for each key that was set on this level: a second time is an error */
    uint32_t given; /* the same for this level and those below it */
    struct place places[KEY_COUNT];
};

struct config_parser {
    struct config *config;
    char *error;
    const char *directory; /* what relative patterns are relative to, or NULL */
    const char *file;      /* MPLOGSHIM_CONFIG, or NULL */
    struct rule *rules;
    size_t count;
    uint32_t applicable; /* keys that mean something in at least one rule */
    char *next;          /* free memory for patterns */
    char *end;
};

/* config.c */

/* Writes the error line: the place, then the formatted text; the first one counts. Returns -EINVAL. */
int config_error(struct config_parser *parser, struct place place, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

static inline struct place config_variable_place(const char *variable)
{
    return (struct place){.kind = PLACE_VARIABLE, .variable = variable};
}

/* A word of the user's as an error line shows it: shortened, unprintable bytes as '?'. */
enum { CONFIG_SHOWN_SIZE = 48 };
struct shown {
    char text[CONFIG_SHOWN_SIZE];
};
struct shown config_show(const char *word);

/* Makes room for at most `bound` rules and their patterns. Returns 0 or -ENOMEM. */
int config_reserve(struct config_parser *parser, size_t bound);

/* Checks the keys of one rule together and appends the rule. `pattern` is as written, trimmed. Returns 0 or -EINVAL. */
int config_add_rule(struct config_parser *parser, struct place place, const char *pattern, struct settings *settings);

/* The longest interval that a unit may have, in units. */
uint32_t config_longest_interval(enum period_unit unit);

static inline bool config_is_blank(char byte)
{
    return byte == ' ' || byte == '\t' || byte == '\r';
}

static inline char config_upper(char byte)
{
    return byte >= 'a' && byte <= 'z' ? (char)(byte - 'a' + 'A') : byte;
}

/* Whether no control characters are in `text`, nor C0 80, which is how some runtimes spell a NUL. */
bool config_is_clean(const char *text);

/* A path of the user's in an error line: its end, because that tells files apart. */
enum { CONFIG_SHOWN_PATH_SIZE = 112 };
struct shown_path {
    char text[CONFIG_SHOWN_PATH_SIZE];
};
struct shown_path config_show_path(const char *path);

/* config_variables.c */

extern const char config_variable_prefix[];
enum { CONFIG_VARIABLE_PREFIX_LENGTH = 10 };

/* What the environment says; NULL where a variable is not set. */
struct config_variables {
    bool disabled;
    char *logs;
    const char *file;
    const char *keys[KEY_COUNT];
};

/*
 * Copies the variables out of the environment, and sets what the configuration says of errors (diag, strict), whatever
 * else is wrong. Returns 0, -EINVAL or -ENOMEM; `disabled` counts in each case.
 */
int config_read_variables(struct config_parser *parser, char *const environment[], struct config_variables *variables);

/* config_key.c */

extern const char *const config_key_names[KEY_COUNT];

/* Parses "key = value", cutting `text` up, and sets it. Returns 0 or -EINVAL. */
int config_set_pair(struct config_parser *parser, struct settings *settings, struct place place, char *text);

/* Sets one key; `value` must live as long as the rule. Returns 0 or -EINVAL. */
int config_set(struct config_parser *parser, struct settings *settings, struct place place, enum key key,
               const char *value);

/* config_value.c */

enum config_verdict { VALUE_GOOD, VALUE_BAD, VALUE_UNSUPPORTED };

/* Reads the value of one key into the rule; a part of it may have changed when it is not good. */
enum config_verdict config_parse_value(enum key key, const char *text, struct rule *rule);

/* What an error line says was expected: of a bad value, and of one whose feature is not built in this version. */
struct config_value_help {
    const char *expected;
    const char *supported;
};
struct config_value_help config_value_help(enum key key);

/* config_number.c: each is false, with *result undefined, for anything else than the whole text being one. */

bool config_parse_number(const char *text, uint64_t maximum, uint64_t *number);
bool config_parse_boolean(const char *text, bool *value);
bool config_parse_size(const char *text, uint64_t *bytes);
bool config_parse_duration(const char *text, uint64_t *nanoseconds);
bool config_parse_time_of_day(const char *text, uint32_t *seconds);

/* config_owner.c */

/*
 * "user[:group]", numbers or names, into ids; the group is left alone if there is none. Names are looked up in
 * /etc/passwd and /etc/group themselves: NSS loads libraries and allocates, which a constructor of a preloaded library
 * must not.
 */
bool config_parse_owner(const char *text, uid_t *owner, gid_t *group);

/* config_pattern.c */

/*
 * Makes a pattern absolute and normalised, and finds its form with symbolic links resolved, in the parser's memory.
 * Returns NULL and sets rule->pattern and ->pattern_real, or what is wrong and what was expected.
 */
const char *config_make_pattern(struct config_parser *parser, const char *text, struct rule *rule);

/* config_file.c */

/* Reads MPLOGSHIM_CONFIG (parser->file). `defaults` are those of the variables. Returns 0, -EINVAL or -ENOMEM. */
int config_read_file(struct config_parser *parser, struct settings *defaults);

#endif
