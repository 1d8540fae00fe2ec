/*
 * What a pattern matches, by trying everything: written from the contract (README, glob(7)), not from the shim's own
 * matcher, and slow. For fuzz_match.c.
 */
#ifndef REFERENCE_MATCH_H
#define REFERENCE_MATCH_H

#include "fuzz.h"

struct reference {
    const char *pattern;
    const char *path;
    size_t path_size; /* with its NUL */
    bool *failed;     /* by place in the pattern and in the path: known not to match from there */
};

static inline bool reference_leading_dot(const char *path, const char *at)
{
    return *at == '.' && (at == path || at[-1] == '/');
}

static inline bool reference_in_class(const char *name, size_t length, int byte)
{
    static const char *const classes[][2] = {
        {"lower", "abcdefghijklmnopqrstuvwxyz"},
        {"upper", "ABCDEFGHIJKLMNOPQRSTUVWXYZ"},
        {"digit", "0123456789"},
        {"blank", " \t"},
        {"space", " \t\n\v\f\r"},
        {"xdigit", "0123456789abcdefABCDEF"},
        {"alpha", "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"},
        {"alnum", "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"},
        {"punct", "!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~"},
    };
#define IS(word) (length == sizeof word - 1 && memcmp(name, word, length) == 0)
    if (IS("cntrl")) {
        return (byte > 0 && byte < ' ') || byte == 127;
    }
    if (IS("graph")) {
        return byte > ' ' && byte < 127;
    }
    if (IS("print")) {
        return byte >= ' ' && byte < 127;
    }
#undef IS
    for (size_t i = 0; i < sizeof classes / sizeof classes[0]; i++) {
        if (strlen(classes[i][0]) == length && memcmp(classes[i][0], name, length) == 0) {
            return strchr(classes[i][1], byte) != NULL;
        }
    }
    return false;
}

/*
 * Reads the bracket at `pattern` ('[') into a set of bytes. Returns what follows it, or NULL: it is none, because there
 * is no ']' for it in this component.
 */
static inline const char *reference_bracket(const char *pattern, bool set[256])
{
    const char *at = pattern + 1;
    bool negated = *at == '!' || *at == '^';
    memset(set, 0, 256);
    at += negated;
    for (bool first = true; first || *at != ']'; first = false) {
        if (at[0] == '[' && at[1] == ':') {
            const char *end = strstr(at + 2, ":]");
            const char *slash = strchr(at, '/');
            if (end != NULL && (slash == NULL || end < slash)) {
                for (int byte = 1; byte < 256; byte++) {
                    set[byte] |= reference_in_class(at + 2, (size_t)(end - at - 2), byte);
                }
                at = end + 2;
                continue;
            }
        }
        int ends[2];
        for (int end = 0; end < 2; end++) {
            at += at[0] == '\\' && at[1] != '\0' && at[1] != '/';
            if (*at == '\0' || *at == '/') {
                return NULL;
            }
            ends[end] = (unsigned char)*at++;
            if (end == 0 && (at[0] != '-' || at[1] == ']')) {
                ends[++end] = ends[0];
            } else if (end == 0) {
                at++;
            }
        }
        for (int byte = ends[0]; byte <= ends[1]; byte++) {
            set[byte] = true;
        }
    }
    for (int byte = 0; byte < 256; byte++) {
        set[byte] = set[byte] != negated;
    }
    return at + 1;
}

static inline bool reference_from(struct reference *reference, const char *pattern, const char *at);

static inline bool reference_stars(struct reference *reference, const char *pattern, const char *at)
{
    bool whole = pattern == reference->pattern || pattern[-1] == '/';
    pattern += strspn(pattern, "*");
    bool components = whole && *pattern == '/';
    for (pattern += components;; at++) {
        if (reference_from(reference, pattern, at)) {
            return true;
        }
        while (components && *at != '\0' && *at != '/') {
            at++;
        }
        if (*at == '\0') {
            return false;
        }
    }
}

static inline bool reference_try(struct reference *reference, const char *pattern, const char *at)
{
    bool set[256];
    const char *behind;
    bool dot = reference_leading_dot(reference->path, at);
    if (pattern[0] == '*' && pattern[1] == '*') {
        return reference_stars(reference, pattern, at);
    }
    if (pattern[0] == '*') {
        bool found = false;
        for (; !dot && !found; at++) {
            found = reference_from(reference, pattern + 1, at);
            if (*at == '\0' || *at == '/') {
                break;
            }
        }
        return found;
    }
    if (pattern[0] == '\0' || *at == '\0') {
        return pattern[0] == *at;
    }
    if (pattern[0] == '?') {
        return *at != '/' && !dot && reference_from(reference, pattern + 1, at + 1);
    }
    if (pattern[0] == '[' && (behind = reference_bracket(pattern, set)) != NULL) {
        return *at != '/' && !dot && set[(unsigned char)*at] && reference_from(reference, behind, at + 1);
    }
    pattern += pattern[0] == '\\' && pattern[1] != '\0';
    return *pattern == *at && reference_from(reference, pattern + 1, at + 1);
}

static inline bool reference_from(struct reference *reference, const char *pattern, const char *at)
{
    size_t place = (size_t)(pattern - reference->pattern) * reference->path_size + (size_t)(at - reference->path);
    if (reference->failed[place]) {
        return false;
    }
    bool matches = reference_try(reference, pattern, at);
    reference->failed[place] = !matches;
    return matches;
}

static inline bool reference_match(const char *pattern, const char *path)
{
    struct reference reference = {.pattern = pattern, .path = path, .path_size = strlen(path) + 1};
    reference.failed = calloc((strlen(pattern) + 1) * reference.path_size, sizeof *reference.failed);
    require(reference.failed != NULL);
    bool matches = reference_from(&reference, pattern, path);
    free(reference.failed);
    return matches;
}

#endif
