/*
 * Patterns and rules: see match.h.
 *
 * The matcher goes forward through pattern and path at once and keeps two places to resume at: behind the last '*' of
 * this component, and behind the last "**". Older ones need not be kept: what comes before a wildcard is matched as
 * early as possible, which leaves the wildcard every choice. So it uses no recursion, and time is bounded by a small
 * polynomial.
 */
#include "match.h"

#include "mplogshim.h"
#include "name.h"

#include <limits.h>
#include <string.h>

struct resume {
    const char *pattern; /* NULL: none */
    const char *path;
};

static bool at_component_start(const char *begin, const char *path)
{
    return path == begin || path[-1] == '/';
}

/* What only a '.' in the pattern, or "**", may match. */
static bool is_leading_dot(const char *begin, const char *path)
{
    return *path == '.' && at_component_start(begin, path);
}

/* ASCII alone, whatever the locale: [[:alpha:]] means the same in every program. */
static bool in_class(const char *name, size_t length, unsigned char byte)
{
    static const struct {
        const char *name;
        const char *ranges; /* pairs: first and last byte */
    } classes[] = {{"alnum", "09AZaz"},   {"alpha", "AZaz"},   {"blank", "\t\t  "}, {"cntrl", "\1\37\177\177"},
                   {"digit", "09"},       {"graph", "!~"},     {"lower", "az"},     {"print", " ~"},
                   {"punct", "!/:@[`{~"}, {"space", "\t\r  "}, {"upper", "AZ"},     {"xdigit", "09AFaf"}};

    for (size_t i = 0; i < sizeof classes / sizeof classes[0]; i++) {
        if (strlen(classes[i].name) != length || memcmp(classes[i].name, name, length) != 0)
            continue;
        for (const char *range = classes[i].ranges; *range != '\0'; range += 2) {
            if (byte >= (unsigned char)range[0] && byte <= (unsigned char)range[1])
                return true;
        }
    }
    return false;
}

/* The ']' that closes the bracket at `pattern`, or NULL: then the '[' is an ordinary byte, as in glob(7). */
static const char *bracket_end(const char *pattern)
{
    pattern++;
    if (*pattern == '!' || *pattern == '^')
        pattern++;
    if (*pattern == ']')
        pattern++;
    for (; *pattern != '\0' && *pattern != '/'; pattern++) {
        if (*pattern == ']')
            return pattern;
        if (pattern[0] == '[' && pattern[1] == ':') {
            const char *colon = strstr(pattern + 2, ":]");
            if (colon && !memchr(pattern, '/', (size_t)(colon - pattern)))
                pattern = colon + 1;
        } else if (pattern[0] == '\\' && pattern[1] != '\0' && pattern[1] != '/') {
            pattern++;
        }
    }
    return NULL;
}

/* One byte of a bracket at *item, which may be escaped; *item moves behind it. */
static unsigned char take_bracket_byte(const char **item)
{
    if (**item == '\\')
        ++*item;
    return (unsigned char)*(*item)++;
}

/* Whether `byte` is in the bracket from `pattern` ('[') to `end` (']'). */
static bool in_bracket(const char *pattern, const char *end, unsigned char byte)
{
    const char *item = pattern + 1;
    bool negated = *item == '!' || *item == '^';
    bool found = false;

    item += negated;
    while (item < end && !found) {
        if (item[0] == '[' && item[1] == ':') {
            const char *colon = memmem(item + 2, (size_t)(end - item - 2), ":]", 2);
            if (colon) {
                found = in_class(item + 2, (size_t)(colon - item - 2), byte);
                item = colon + 2;
                continue;
            }
        }
        unsigned char first = take_bracket_byte(&item);
        unsigned char last = first;
        if (item[0] == '-' && item + 1 < end) {
            item++;
            last = take_bracket_byte(&item);
        }
        found = byte >= first && byte <= last;
    }
    return found != negated;
}

/* Matches one byte of the path with one element that is no star. Returns what follows in the pattern, or NULL. */
static const char *match_byte(const char *pattern, const char *begin, const char *path)
{
    const char *end;
    switch (*pattern) {
    case '\0':
    case '*': /* at a leading dot */
        return NULL;
    case '?':
        return *path != '/' && !is_leading_dot(begin, path) ? pattern + 1 : NULL;
    case '[':
        if (!(end = bracket_end(pattern)))
            break;
        if (*path == '/' || is_leading_dot(begin, path) || !in_bracket(pattern, end, (unsigned char)*path))
            return NULL;
        return end + 1;
    case '\\':
        if (pattern[1] != '\0')
            pattern++;
        break;
    default:
        break;
    }
    return *pattern == *path ? pattern + 1 : NULL;
}

/* Behind a "**" at `pattern`: further stars say nothing more, and a '/' belongs to it if it is a component of its own.
 */
static const char *skip_globstar(const char *start, const char *pattern)
{
    bool whole = at_component_start(start, pattern);
    while (*pattern == '*')
        pattern++;
    return whole && *pattern == '/' ? pattern + 1 : pattern;
}

/* Where "**" may go on next, so that its "/" was matched if it has one; NULL at the end. */
static const char *next_after_globstar(const struct resume *globstar, const char *end)
{
    const char *path = globstar->path;
    if (path == end)
        return NULL;
    if (globstar->pattern[-1] != '/')
        return path + 1;
    path = memchr(path, '/', (size_t)(end - path));
    return path ? path + 1 : NULL;
}

/* Whether "*" may take one more byte. */
static bool star_may_grow(const struct resume *star, const char *begin, const char *end)
{
    return star->pattern && star->path != end && *star->path != '/' && !is_leading_dot(begin, star->path);
}

/* Matches the bytes from `begin` to `end`: the path of a log is often the beginning of an archive's. */
static bool match_range(const char *pattern, const char *begin, const char *end)
{
    const char *start = pattern;
    const char *path = begin;
    struct resume star = {NULL, NULL};
    struct resume globstar = {NULL, NULL};

    for (;;) {
        if (pattern[0] == '*' && pattern[1] == '*') {
            pattern = skip_globstar(start, pattern);
            globstar = (struct resume){pattern, path};
            star.pattern = NULL;
            continue;
        }
        if (pattern[0] == '*' && (path == end || !is_leading_dot(begin, path))) {
            pattern++;
            star = (struct resume){pattern, path};
            continue;
        }
        /* What is left of the pattern needs more bytes: then it does so from every later place, too. */
        if (path == end)
            return *pattern == '\0';

        const char *next = match_byte(pattern, begin, path);
        if (next) {
            if (*path == '/')
                star.pattern = NULL; /* a component ends in one place only */
            pattern = next;
            path++;
        } else if (star_may_grow(&star, begin, end)) {
            pattern = star.pattern;
            path = ++star.path;
        } else if (globstar.pattern && (path = next_after_globstar(&globstar, end))) {
            pattern = globstar.pattern;
            globstar.path = path;
            star.pattern = NULL;
        } else {
            return false;
        }
    }
}

bool match_pattern(const char *pattern, const char *path)
{
    return match_range(pattern, path, path + strlen(path));
}

static bool rule_matches(const struct rule *rule, const char *begin, const char *end)
{
    return match_range(rule->pattern, begin, end) ||
           (rule->pattern_real != rule->pattern && match_range(rule->pattern_real, begin, end));
}

static const struct rule *find_rule(const struct config *config, const char *begin, const char *end)
{
    for (size_t i = 0; i < config->count; i++) {
        if (rule_matches(&config->rules[i], begin, end))
            return &config->rules[i];
    }
    return NULL;
}

/* The base name, or NULL if there is none. */
static const char *base_of(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash && slash[1] != '\0' ? slash + 1 : NULL;
}

/*
 * Puts the path of a log together from the directory of `path` (up to `base`) and the log's base name. False if it does
 * not fit.
 */
static bool make_log_path(const char *path, const char *base, const char *log_base, size_t log_length, char *log_path,
                          size_t size)
{
    size_t directory = (size_t)(base - path);
    if (directory + log_length >= size)
        return false;
    memcpy(log_path, path, directory);
    memcpy(log_path + directory, log_base, log_length);
    log_path[directory + log_length] = '\0';
    return true;
}

/* Apart, and with no more space than the path needs: this may run on the small stack of a signal handler. */
static __attribute__((noinline)) bool hidden_file_of_log(const struct config *config, const char *path,
                                                         const char *base, size_t log_length)
{
    char log_path[(size_t)(base - path) + log_length + 1];
    return make_log_path(path, base, base + 1, log_length, log_path, sizeof log_path) &&
           find_rule(config, log_path, log_path + strlen(log_path));
}

/* Whether a path is a file of ours: a hidden one or an archive of any log that a rule means. */
static bool belongs_to_log(const struct config *config, const char *path, const char *base)
{
    struct name parsed;
    size_t length;
    for (unsigned nth = 0; (length = name_base(base, nth, &parsed)) > 0; nth++) {
        if (length > MPLOGSHIM_BASE_MAX)
            continue;
        if (name_is_hidden(parsed.kind) ? hidden_file_of_log(config, path, base, length)
                                        : find_rule(config, path, base + length) != NULL)
            return true;
    }
    return false;
}

/* Whether a path is a lock file in some rule's lock_dir: there, names are the paths of logs with '%' for '/'. */
static bool is_in_lock_dir(const struct config *config, const char *path, const char *base)
{
    size_t directory = (size_t)(base - path);
    for (size_t i = 0; i < config->count && *base == '%'; i++) {
        const char *lock_dir = config->rules[i].lock_dir;
        size_t length = lock_dir ? strlen(lock_dir) : 0;
        while (length > 0 && lock_dir[length - 1] == '/')
            length--;
        if (lock_dir && length + 1 == directory && memcmp(lock_dir, path, length) == 0)
            return true;
    }
    return false;
}

static const char deleted[] = " (deleted)";
enum { DELETED_LENGTH = sizeof deleted - 1 };

static bool ends_in_deleted(const char *path, size_t length)
{
    return length > DELETED_LENGTH && strcmp(path + length - DELETED_LENGTH, deleted) == 0;
}

const struct rule *match_log(const struct config *config, const char *path)
{
    const char *base = base_of(path);
    size_t length = strlen(path);
    if (!base || path + length - base > MPLOGSHIM_BASE_MAX || ends_in_deleted(path, length))
        return NULL;
    const struct rule *rule = find_rule(config, path, path + length);
    if (!rule || belongs_to_log(config, path, base) || is_in_lock_dir(config, path, base))
        return NULL;
    if (config->diag == DIAG_FILE && strcmp(config->diag_path, path) == 0)
        return NULL;
    return rule;
}

const struct rule *match_stale(const struct config *config, const char *path, char *log_path, size_t size)
{
    char name[NAME_SIZE];
    const char *base = base_of(path);
    if (!base)
        return NULL;
    size_t length = strlen(base);
    bool gone = ends_in_deleted(base, length);
    if (gone)
        length -= DELETED_LENGTH;
    if (length >= sizeof name)
        return NULL;
    memcpy(name, base, length);
    name[length] = '\0';

    const struct rule *rule;
    if (gone && make_log_path(path, base, name, length, log_path, size) && (rule = match_log(config, log_path)))
        return rule;

    struct name parsed;
    size_t log_length;
    for (unsigned nth = 0; (log_length = name_base(name, nth, &parsed)) > 0; nth++) {
        if (parsed.gzip || parsed.kind == NAME_LOCK || parsed.kind == NAME_WORK || parsed.kind == NAME_RING)
            continue;
        if (make_log_path(path, base, name + name_is_hidden(parsed.kind), log_length, log_path, size) &&
            (rule = match_log(config, log_path)))
            return rule;
    }
    return NULL;
}
