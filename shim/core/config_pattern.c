#include "config_parser.h"
#include "sys.h"
#include "text_builder.h"

#include <errno.h>
#include <string.h>

/* What is escaped in a path, to be a pattern that matches it alone. */
static const char special_in_path[] = "*?[\\";

/* Takes the last component away. False if it crosses directories, because then nobody can say what ".." is. */
static bool remove_component(struct text_builder *builder)
{
    char *slash = memrchr(builder->text, '/', builder->length);
    if (!slash)
        return true;
    bool crosses = strstr(slash, "**") != NULL;
    builder->length = (size_t)(slash - builder->text);
    *slash = '\0';
    return !crosses;
}

/* Whether a component ends in a '\' that escapes what follows it. */
static bool ends_in_escape(const char *component, size_t length)
{
    size_t backslashes = 0;
    while (backslashes < length && component[length - 1 - backslashes] == '\\')
        backslashes++;
    return backslashes % 2 == 1;
}

/* Adds the components of a pattern without "//", "." and "..". Returns NULL or what was expected. */
static const char *add_components(struct text_builder *builder, const char *text)
{
    while (*text != '\0') {
        size_t whole = (size_t)(strchrnul(text, '/') - text);
        bool last = text[whole] == '\0';
        bool escape = ends_in_escape(text, whole);
        size_t length = whole - escape; /* "\/" is a plain '/' */
        bool dot = length == 1 && text[0] == '.';
        bool dots = length == 2 && text[0] == '.' && text[1] == '.';

        if (last && escape)
            return "something behind the '\\' at its end";
        if (last && (dot || dots))
            return "the name of a file at its end";
        if (dots && !remove_component(builder))
            return "no '..' behind '**'";
        if (length > 0 && !dot && !dots) {
            text_add_byte(builder, '/');
            text_add(builder, text, length);
        }
        text += whole + !last;
        if (!last && *text == '\0')
            return "the name of a file at its end";
    }
    return NULL;
}

/* The length of the leading components of a pattern that have no wildcard, unescaped into `path`. */
static size_t literal_prefix(const char *pattern, char path[PATH_MAX])
{
    size_t used = 0;   /* of the pattern, whole components */
    size_t length = 0; /* of the path, the same */
    size_t out = 0;
    size_t i = 0;

    for (;; i++) {
        if (i > 0 && (pattern[i] == '/' || pattern[i] == '\0')) {
            used = i;
            length = out;
        }
        if (pattern[i] == '\0' || strchr("*?[", pattern[i]))
            break;
        if (pattern[i] == '\\')
            i++;
        path[out++] = pattern[i];
    }
    path[length] = '\0';
    return used;
}

/* Whether every component of a path exists and none is a symbolic link: then it is its own real path. */
static bool is_real(char *path)
{
    struct stat status;
    bool real = true;
    for (char *end = path; real && *end != '\0';) {
        end = strchrnul(end + 1, '/');
        char after = *end;
        *end = '\0';
        real = sys.fstatat(AT_FDCWD, path, &status, AT_SYMLINK_NOFOLLOW) == 0 && !S_ISLNK(status.st_mode);
        *end = after;
    }
    return real;
}

/*
 * The real path of `path` as /proc tells the paths of descriptors: that is what it will be compared with. Unlike
 * realpath(3), this never allocates. False if the path does not exist or /proc is not there.
 */
static bool find_real(const char *path, char real[PATH_MAX])
{
    int fd = sys.openat(AT_FDCWD, path, O_PATH | O_CLOEXEC, 0);
    if (fd < 0)
        return false;
    char link[32];
    diag_format(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = sys.readlinkat(AT_FDCWD, link, real, PATH_MAX - 1);
    sys.close(fd);
    if (length <= 0 || length >= PATH_MAX - 1 || real[0] != '/')
        return false;
    real[length] = '\0';
    return true;
}

/*
 * Sets rule->pattern_real if `path`, which is what the first `used` bytes of the pattern mean, has another real path.
 * False if it has none. `path` may lie in the parser's free memory. Seldom: its room on the stack is apart.
 */
static __attribute__((noinline)) bool replace_path(struct config_parser *parser, struct rule *rule, const char *path,
                                                   size_t used)
{
    char real[PATH_MAX];
    if (!find_real(path, real))
        return false;
    if (strcmp(path, real) == 0)
        return true;

    struct text_builder builder = {.text = parser->next, .size = PATH_MAX};
    if (strcmp(real, "/") != 0)
        text_add_escaped(&builder, real, special_in_path);
    text_add(&builder, rule->pattern + used, strlen(rule->pattern + used));
    if (!builder.overflow && builder.length > 0) {
        rule->pattern_real = builder.text;
        parser->next += builder.length + 1;
    }
    return true;
}

/*
 * Resolves the longest existing run of leading literal components of rule->pattern. Mostly there is no link in it,
 * which costs a tenth of asking /proc, and no page of the stack.
 */
static void resolve_pattern(struct config_parser *parser, struct rule *rule)
{
    char *path = parser->next;
    size_t used = literal_prefix(rule->pattern, path);

    rule->pattern_real = rule->pattern;
    while (used > 0 && !is_real(path) && !replace_path(parser, rule, path, used)) {
        char *slash = strrchr(path, '/');
        *slash = '\0';
        used = (size_t)((char *)memrchr(rule->pattern, '/', used) - rule->pattern);
    }
}

const char *config_make_pattern(struct config_parser *parser, const char *text, struct rule *rule)
{
    struct text_builder builder = {.text = parser->next, .size = PATH_MAX};

    if (parser->end - parser->next < 2 * PATH_MAX) /* config_reserve counted; never more than a bug */
        return "fewer patterns";
    if (strlen(text) > CONFIG_WORD_MAX)
        return "at most 4095 bytes";
    if (!config_is_clean(text))
        return "no control characters";
    if (text[0] != '/') {
        if (!parser->directory || parser->directory[0] != '/')
            return "an absolute path, as the starting directory is not known";
        if (parser->directory[1] != '\0')
            text_add_escaped(&builder, parser->directory, special_in_path);
    }
    const char *expected = add_components(&builder, text);
    if (expected)
        return expected;
    if (builder.overflow)
        return "at most 4095 bytes, with the starting directory";
    if (builder.length == 0)
        return "the name of a file at its end";

    rule->pattern = builder.text;
    parser->next += builder.length + 1;
    resolve_pattern(parser, rule);
    return NULL;
}
