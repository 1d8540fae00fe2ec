#include "config_parser.h"
#include "sys.h"

#include <errno.h>
#include <string.h>

/* Reads "name:password:id:..." lines byte by byte, so that no line is too long (groups have long ones). */
struct account_line {
    unsigned field;
    size_t position; /* in the field */
    bool other_name;
    bool has_id;
    bool bad_id;
    uint64_t id;
};

static void take_byte(struct account_line *line, char byte, const char *name, size_t length)
{
    if (byte == ':') {
        if (line->field == 0 && line->position != length)
            line->other_name = true;
        line->field++;
        line->position = 0;
        return;
    }
    if (line->field == 0 && (line->position >= length || name[line->position] != byte))
        line->other_name = true;
    if (line->field == 2) {
        if (byte < '0' || byte > '9' || line->position >= 10)
            line->bad_id = true;
        else
            line->id = line->id * 10 + (uint64_t)(byte - '0');
        line->has_id = true;
    }
    line->position++;
}

static bool line_is_wanted(const struct account_line *line)
{
    return line->has_id && !line->other_name && !line->bad_id && line->id < UINT32_MAX;
}

static ssize_t read_some(int fd, char *buffer, size_t size)
{
    ssize_t got;
    do {
        got = sys.read(fd, buffer, size);
    } while (got == -EINTR);
    return got;
}

static bool look_up(const char *file, const char *name, size_t length, uint32_t *id)
{
    int fd = sys.openat(AT_FDCWD, file, O_RDONLY | O_CLOEXEC, 0);
    if (fd < 0)
        return false;

    char buffer[4096];
    struct account_line line = {0};
    bool found = false;
    ssize_t got;
    while (!found && (got = read_some(fd, buffer, sizeof buffer)) > 0) {
        for (ssize_t i = 0; i < got && !found; i++) {
            if (buffer[i] != '\n')
                take_byte(&line, buffer[i], name, length);
            else if (!(found = line_is_wanted(&line)))
                line = (struct account_line){0};
        }
    }
    found = found || line_is_wanted(&line);
    sys.close(fd);
    if (found)
        *id = (uint32_t)line.id;
    return found;
}

static bool parse_id(const char *text, size_t length, const char *file, uint32_t *id)
{
    if (length == 0)
        return false;
    uint64_t number = 0;
    for (size_t i = 0; i < length; i++) {
        if (text[i] < '0' || text[i] > '9')
            return look_up(file, text, length, id);
        number = number * 10 + (uint64_t)(text[i] - '0');
        if (number >= UINT32_MAX) /* the highest means "leave it as it is" to chown */
            return false;
    }
    *id = (uint32_t)number;
    return true;
}

bool config_parse_owner(const char *text, uid_t *owner, gid_t *group)
{
    const char *colon = strchr(text, ':');
    size_t user_length = colon ? (size_t)(colon - text) : strlen(text);
    uint32_t uid;
    uint32_t gid;

    if (!parse_id(text, user_length, "/etc/passwd", &uid))
        return false;
    if (colon) {
        if (!parse_id(colon + 1, strlen(colon + 1), "/etc/group", &gid))
            return false;
        *group = gid;
    }
    *owner = uid;
    return true;
}
