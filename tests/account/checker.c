/*
 * Proves that a log's history holds every line of its writers exactly once, whole, and in each writer's order.
 *
 *   checker [OPTION]... LOG WRITER=COUNT...
 *
 * COUNT may be MIN-MAX for a writer that was killed: lines 1 to MIN must be there, up to MAX may be. It may be @FILE,
 * of a byte for each line: '+' if it was acknowledged and must be there, '?' if it may be. The account goes to standard
 * output, what is wrong to standard error; exit status 0 if all is well, 1 if not, 2 for wrong use.
 */
#include "history.h"
#include "line.h"

#include <errno.h>
#include <getopt.h>
#include <limits.h>
#include <regex.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <zlib.h>

static const char USAGE[] = "usage: checker [OPTION]... LOG WRITER=COUNT...\n"
                            "  --naming number|time   how archives are named (default: number)\n"
                            "  --max-bytes N          no file is larger, unless it holds one line only\n"
                            "  --min-rotations N      there are at least so many archives\n"
                            "  --max-rotations N      and at most so many\n"
                            "  --prefix REGEX         what stands before every line\n"
                            "  --suffix REGEX         what stands behind every line\n"
                            "  --cut N                so many lines are only the beginning of one, of killed writers\n"
                            "  --other REGEX          lines of the program's own: counted, nothing else\n"
                            "  --cat                  print the whole history instead, oldest first\n";

enum { WRITERS_MAX = 4096, EXAMPLES_MAX = 10 };

struct writer {
    unsigned id;
    unsigned least;      /* lines that must be there */
    unsigned most;       /* lines that may be there */
    unsigned last;       /* highest number seen so far */
    unsigned found;      /* different lines */
    unsigned char *seen; /* by number */
    const char *told;    /* a '+' for each that must be there, or NULL */
};

struct totals {
    unsigned long found, lost, doubled, torn, cut, disordered, unexpected, other;
    unsigned long archives, pending, oversized, empty;
    unsigned long long bytes, largest;
};

static struct {
    enum history_naming naming;
    unsigned long long max_bytes;
    unsigned long min_rotations, max_rotations, cut;
    regex_t prefix, suffix, other;
    bool has_prefix, has_suffix, has_other, cat;
} options = {.max_rotations = ULONG_MAX};

static struct writer writers[WRITERS_MAX];
static size_t writer_count;
static struct totals totals;
static unsigned examples;

static void wrong_use(const char *problem, const char *word)
{
    fprintf(stderr, "checker: %s: %s\n%s", problem, word, USAGE);
    exit(2);
}

/* Shows where something is wrong, for the first few times. */
static void example(const char *path, unsigned long row, const char *problem, const char *line)
{
    if (examples++ < EXAMPLES_MAX)
        fprintf(stderr, "checker: %s:%lu: %s: %.160s\n", path, row, problem, line);
}

static struct writer *find_writer(unsigned id)
{
    for (size_t i = 0; i < writer_count; i++) {
        if (writers[i].id == id)
            return &writers[i];
    }
    return NULL;
}

static bool matches(const regex_t *expression, const char *text)
{
    regmatch_t match;
    return regexec(expression, text, 1, &match, 0) == 0 && match.rm_so == 0 && text[match.rm_eo] == '\0';
}

/* Whether `line` starts as line `number` of `writer` is to be, byte for byte; then *rest is what follows. */
static bool is_exact(const char *line, unsigned writer, unsigned number, const char **rest)
{
    static char expected[LINE_SIZE_MAX + 1];
    unsigned length;
    size_t size = line_make_short(expected, writer, number);
    if (strncmp(line, expected, size - 1) != 0) {
        if (sscanf(line, "w=%*u n=%*u len=%u", &length) != 1 || length > LINE_LENGTH_MAX)
            return false;
        size = line_make(expected, writer, number, length);
        if (strncmp(line, expected, size - 1) != 0)
            return false;
    }
    *rest = line + size - 1;
    return true;
}

/* Takes a line (without its newline) apart; false if it is not whole. `line` is changed for a moment only. */
static bool parse_line(char *line, unsigned *writer, unsigned *number)
{
    char *start = strstr(line, "w=");
    const char *rest;
    if (start == NULL || sscanf(start, "w=%u n=%u", writer, number) != 2 || !is_exact(start, *writer, *number, &rest))
        return false;
    *start = '\0';
    bool prefix = options.has_prefix ? matches(&options.prefix, line) : line[0] == '\0';
    *start = 'w';
    return prefix && (options.has_suffix ? matches(&options.suffix, rest) : *rest == '\0');
}

/* Whether a line is the beginning of one, byte for byte: its writer was killed. What was acknowledged is missed then.
 */
static bool is_cut(const char *line)
{
    static char expected[LINE_SIZE_MAX + 1];
    unsigned writer, number, length;
    int head = 0;
    if (sscanf(line, "w=%u n=%u len=%u %n", &writer, &number, &length, &head) < 3 || head == 0)
        return *line != '\0' && line[strspn(line, "w= nle0123456789")] == '\0';
    if (length > LINE_LENGTH_MAX)
        return false;
    size_t size = line_make(expected, writer, number, length);
    return strlen(line) < size - 1 && strncmp(line, expected, strlen(line)) == 0;
}

static void count_line(const char *path, unsigned long row, char *line)
{
    unsigned id, number;
    if (!parse_line(line, &id, &number)) {
        if (options.has_other && matches(&options.other, line)) {
            totals.other++;
            return;
        }
        if (totals.cut < options.cut && is_cut(line)) {
            totals.cut++;
            return;
        }
        totals.torn++;
        example(path, row, "torn", line);
        return;
    }
    struct writer *writer = find_writer(id);
    if (writer == NULL || number < 1 || number > writer->most) {
        totals.unexpected++;
        example(path, row, "nobody wrote this", line);
    } else if (writer->seen[number]) {
        totals.doubled++;
        example(path, row, "doubled", line);
    } else {
        writer->seen[number] = 1;
        writer->found++;
        totals.found++;
        if (number < writer->last) {
            totals.disordered++;
            example(path, row, "out of order", line);
        } else {
            writer->last = number;
        }
    }
}

/* The whole content of a file, gzipped or not, with a NUL behind it; NULL on an error, also of a gzipped one that is
 * not complete. */
static char *read_file(const char *path, size_t *size)
{
    gzFile file = gzopen(path, "rb");
    if (file == NULL)
        return NULL;
    size_t room = 1 << 20;
    char *content = malloc(room + 1);
    int got = 0;
    *size = 0;
    while (content != NULL && (got = gzread(file, content + *size, (unsigned)(room - *size))) > 0) {
        *size += (size_t)got;
        if (*size == room) {
            room *= 2;
            content = realloc(content, room + 1);
        }
    }
    int closed = gzclose(file);
    if (content == NULL || got < 0 || closed != Z_OK) {
        free(content);
        return NULL;
    }
    content[*size] = '\0';
    return content;
}

/* Counts every line of a file's content; returns how many there are. */
static unsigned long count_lines(const char *path, char *content, size_t size)
{
    unsigned long rows = 0;
    char *end = content + size;
    for (char *line = content; line < end;) {
        char *newline = memchr(line, '\n', (size_t)(end - line));
        rows++;
        if (newline == NULL) {
            totals.torn++;
            example(path, rows, "the file ends in mid-line", line);
            break;
        }
        *newline = '\0';
        if (strlen(line) != (size_t)(newline - line)) {
            totals.torn++;
            example(path, rows, "a NUL byte", line);
        } else {
            count_line(path, rows, line);
        }
        line = newline + 1;
    }
    return rows;
}

static void count_size(const struct history_file *file, size_t size, unsigned long rows)
{
    totals.archives += file->kind == HISTORY_ARCHIVE;
    totals.pending += file->kind == HISTORY_PENDING && size > 0;
    totals.bytes += size;
    if (size > totals.largest)
        totals.largest = size;
    if (size == 0 && file->kind == HISTORY_ARCHIVE) {
        totals.empty++;
        fprintf(stderr, "checker: %s is empty\n", file->path);
    }
    if (options.max_bytes > 0 && size > options.max_bytes && rows > 1) {
        totals.oversized++;
        fprintf(stderr, "checker: %s has %zu bytes, more than %llu\n", file->path, size, options.max_bytes);
    }
}

static int check_file(const struct history_file *file)
{
    size_t size;
    char *content = read_file(file->path, &size);
    if (content == NULL) {
        fprintf(stderr, "checker: %s cannot be read\n", file->path);
        return -EIO;
    }
    if (options.cat)
        fwrite(content, 1, size, stdout);
    else
        count_size(file, size, count_lines(file->path, content, size));
    free(content);
    return 0;
}

static bool must_be_there(const struct writer *writer, unsigned number)
{
    return writer->told == NULL || writer->told[number - 1] == '+';
}

static unsigned long count_lost(void)
{
    unsigned long lost = 0;
    for (size_t i = 0; i < writer_count; i++) {
        for (unsigned number = 1; number <= writers[i].least; number++) {
            if (writers[i].seen[number] || !must_be_there(&writers[i], number))
                continue;
            lost++;
            if (examples++ < EXAMPLES_MAX)
                fprintf(stderr, "checker: lost: writer %u, line %u\n", writers[i].id, number);
        }
    }
    return lost;
}

static void print_account(const struct history *history)
{
    unsigned long written = 0;
    for (size_t i = 0; i < writer_count; i++)
        for (unsigned number = 1; number <= writers[i].least; number++)
            written += must_be_there(&writers[i], number);
    printf("lines written %lu, found %lu: lost %lu, doubled %lu, torn %lu, out of order %lu, unexpected %lu\n", written,
           totals.found, totals.lost, totals.doubled, totals.torn, totals.disordered, totals.unexpected);
    if (options.cut > 0)
        printf("lines cut %lu\n", totals.cut);
    if (options.has_other)
        printf("other lines %lu\n", totals.other);
    printf("files %zu (archives %lu, pending %lu), %llu bytes, the largest %llu\n", history->count, totals.archives,
           totals.pending, totals.bytes, totals.largest);
}

/* Whether everything is as it should be; says what is not. */
static bool is_good(const struct history *history)
{
    unsigned long rotations = totals.archives + totals.pending;
    bool good = true;
    if (totals.lost + totals.doubled + totals.torn + totals.disordered + totals.unexpected > 0)
        good = false;
    if (totals.oversized + totals.empty + history->strangers > 0)
        good = false;
    if (rotations < options.min_rotations || rotations > options.max_rotations) {
        fprintf(stderr, "checker: %lu rotations, not %lu or more and %lu or less\n", rotations, options.min_rotations,
                options.max_rotations);
        good = false;
    }
    if (history->count == 0 || history->files[history->count - 1].kind != HISTORY_LIVE) {
        fprintf(stderr, "checker: there is no live file\n");
        good = false;
    }
    return good;
}

static unsigned long long number_argument(const char *text)
{
    char *end;
    errno = 0;
    unsigned long long number = strtoull(text, &end, 10);
    if (errno != 0 || end == text || *end != '\0')
        wrong_use("not a number", text);
    return number;
}

static bool regex_argument(regex_t *expression, const char *text)
{
    if (regcomp(expression, text, REG_EXTENDED) != 0)
        wrong_use("not a regular expression", text);
    return true;
}

/* Takes WRITER=@FILE, if it is that. */
static bool told_argument(const char *text, struct writer *writer)
{
    size_t size;
    int name = 0;
    if (sscanf(text, "%u=@%n", &writer->id, &name) != 1 || name == 0)
        return false;
    writer->told = read_file(text + name, &size);
    if (writer->told == NULL || size > UINT_MAX)
        wrong_use("cannot be read", text);
    writer->least = writer->most = (unsigned)size;
    return true;
}

static void writer_argument(const char *text)
{
    struct writer writer = {0};
    int fields = told_argument(text, &writer) ? 2 : sscanf(text, "%u=%u-%u", &writer.id, &writer.least, &writer.most);
    if (fields < 2 || writer_count == WRITERS_MAX || find_writer(writer.id) != NULL)
        wrong_use("not a new WRITER=COUNT", text);
    if (fields == 2)
        writer.most = writer.least;
    writer.seen = calloc((size_t)writer.most + 1, 1);
    if (writer.seen == NULL)
        wrong_use("too many lines", text);
    writers[writer_count++] = writer;
}

static void option_argument(int option)
{
    switch (option) {
    case 'n':
        if (strcmp(optarg, "number") != 0 && strcmp(optarg, "time") != 0)
            wrong_use("not a naming", optarg);
        options.naming = strcmp(optarg, "time") == 0 ? HISTORY_TIME : HISTORY_NUMBER;
        break;
    case 'b':
        options.max_bytes = number_argument(optarg);
        break;
    case 'r':
        options.min_rotations = number_argument(optarg);
        break;
    case 'R':
        options.max_rotations = number_argument(optarg);
        break;
    case 'p':
        options.has_prefix = regex_argument(&options.prefix, optarg);
        break;
    case 's':
        options.has_suffix = regex_argument(&options.suffix, optarg);
        break;
    case 'C':
        options.cut = number_argument(optarg);
        break;
    case 'o':
        options.has_other = regex_argument(&options.other, optarg);
        break;
    case 'c':
        options.cat = true;
        break;
    default:
        fputs(USAGE, stderr);
        exit(2);
    }
}

static const struct option long_options[] = {
    {"naming", required_argument, NULL, 'n'},
    {"max-bytes", required_argument, NULL, 'b'},
    {"min-rotations", required_argument, NULL, 'r'},
    {"max-rotations", required_argument, NULL, 'R'},
    {"prefix", required_argument, NULL, 'p'},
    {"suffix", required_argument, NULL, 's'},
    {"cut", required_argument, NULL, 'C'},
    {"other", required_argument, NULL, 'o'},
    {"cat", no_argument, NULL, 'c'},
    {0},
};

int main(int count, char **arguments)
{
    int option;
    while ((option = getopt_long(count, arguments, "", long_options, NULL)) != -1)
        option_argument(option);
    if (optind == count)
        wrong_use("missing", "LOG");
    const char *log = arguments[optind++];
    for (; optind < count; optind++)
        writer_argument(arguments[optind]);

    struct history history;
    int error = history_list(&history, log, options.naming);
    if (error != 0) {
        fprintf(stderr, "checker: %s: %s\n", log, strerror(-error));
        return 1;
    }
    bool readable = true;
    for (size_t i = 0; i < history.count; i++)
        readable = check_file(&history.files[i]) == 0 && readable;
    if (options.cat)
        return readable ? 0 : 1;
    totals.lost = count_lost();
    print_account(&history);
    return is_good(&history) && readable ? 0 : 1;
}
