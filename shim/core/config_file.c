#include "config_parser.h"
#include "sys.h"

#include <errno.h>
#include <string.h>

/* Reads what is in `fd` and a NUL. Returns the length, which may be CONFIG_TEXT_MAX + 1 (too long), or -errno. */
static ssize_t read_text(int fd, char text[CONFIG_TEXT_MAX + 2])
{
    size_t length = 0;
    while (length <= CONFIG_TEXT_MAX) {
        ssize_t got = sys.read(fd, text + length, CONFIG_TEXT_MAX + 1 - length);
        if (got == -EINTR)
            continue;
        if (got < 0)
            return got;
        if (got == 0)
            break;
        length += (size_t)got;
    }
    text[length] = '\0';
    return (ssize_t)length;
}

/* Opens, checks and reads the file; *text is memory that stays. Returns 0, -EINVAL with the error line, or -ENOMEM. */
static int load_text(struct config_parser *parser, char **text)
{
    struct place place = config_variable_place("MPLOGSHIM_CONFIG");
    struct shown_path shown = config_show_path(parser->file);

    /* A FIFO must neither hang the program nor be emptied by the first of many. */
    int fd = sys.openat(AT_FDCWD, parser->file, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK, 0);
    if (fd < 0)
        return config_error(parser, place, "cannot open '%s' (%s): expected a readable file of rules", shown.text,
                            diag_errno(-fd));
    struct stat status;
    if (sys.fstat(fd, &status) < 0 || !S_ISREG(status.st_mode)) {
        sys.close(fd);
        return config_error(parser, place, "'%s' is not a regular file: expected a file of rules", shown.text);
    }
    *text = sys_reserve(CONFIG_TEXT_MAX + 2);
    ssize_t length = *text ? read_text(fd, *text) : -ENOMEM;
    sys.close(fd);

    if (length == -ENOMEM) {
        config_error(parser, place, "no memory to read '%s': expected %d bytes", shown.text, CONFIG_TEXT_MAX);
        return -ENOMEM;
    }
    if (length < 0)
        return config_error(parser, place, "cannot read '%s' (%s): expected a readable file of rules", shown.text,
                            diag_errno((int)-length));
    if (length > CONFIG_TEXT_MAX)
        return config_error(parser, place, "'%s' is too long: expected at most %d bytes", shown.text, CONFIG_TEXT_MAX);
    if (strlen(*text) != (size_t)length)
        return config_error(parser, place, "NUL byte in '%s': expected text", shown.text);
    return 0;
}

/* Takes blanks at both ends and a comment away: '#' at the start, or behind a blank; "\#" is a '#'. */
static char *trim_line(char *line)
{
    while (config_is_blank(*line))
        line++;
    char *end = line; /* behind the last byte that stays */
    for (char *byte = line; *byte != '\0'; byte++) {
        if (*byte == '#' && (byte == line || byte != end))
            break;
        bool escape = byte[0] == '\\' && byte[1] != '\0';
        byte += escape;
        if (escape || !config_is_blank(*byte))
            end = byte + 1;
    }
    *end = '\0';
    return line;
}

static size_t count_sections(const char *text)
{
    size_t count = 0;
    for (; text; text = strchr(text, '\n')) {
        while (*text == '\n' || config_is_blank(*text))
            text++;
        count += *text == '[';
    }
    return count;
}

/* A section that has begun: its rule is complete at the next one or at the end. */
struct section {
    char *pattern; /* NULL above the first section */
    struct place place;
    struct settings settings;
};

static int end_section(struct config_parser *parser, struct settings *defaults, struct section *section)
{
    int result = 0;
    if (section->pattern)
        result = config_add_rule(parser, section->place, section->pattern, &section->settings);
    else
        *defaults = section->settings;
    return result;
}

static int begin_section(struct config_parser *parser, const struct settings *defaults, struct section *section,
                         struct place place, char *line)
{
    size_t length = strlen(line);
    if (length < 2 || line[length - 1] != ']')
        return config_error(parser, place, "bad section '%s': expected [PATTERN]", config_show(line).text);
    line[length - 1] = '\0';
    section->pattern = trim_line(line + 1);
    section->place = place;
    section->settings = *defaults;
    section->settings.own = 0;
    return 0;
}

static int parse_lines(struct config_parser *parser, struct settings *defaults, char *text)
{
    struct place place = {.kind = PLACE_LINE, .number = 0};
    struct section section = {.pattern = NULL, .settings = *defaults};
    section.settings.own = 0;

    while (text) {
        char *line = text;
        text = strchr(line, '\n');
        if (text)
            *text++ = '\0';
        place.number++;

        line = trim_line(line);
        int result = 0;
        if (*line == '[') {
            result = end_section(parser, defaults, &section);
            if (result == 0)
                result = begin_section(parser, defaults, &section, place, line);
        } else if (*line != '\0') {
            result = config_set_pair(parser, &section.settings, place, line);
        }
        if (result != 0)
            return result;
    }
    return end_section(parser, defaults, &section);
}

int config_read_file(struct config_parser *parser, struct settings *defaults)
{
    char *text = NULL;
    int result = load_text(parser, &text);
    if (result == 0)
        result = config_reserve(parser, count_sections(text));
    if (result == 0)
        result = parse_lines(parser, defaults, text);
    return result;
}
