/*
 * The account of scripts/bench-peers: which lines of peer.h's writers are in a directory's files, whatever their names.
 *
 *   peer_account DIRECTORY LENGTH TOLD WRITERS
 *
 * TOLD is the writers' file of slots: how many lines of each were accepted. Prints five numbers: lines accepted; of
 * these lost (nowhere), torn (only pieces are there, the beginning among them), doubled (more than once); and rows
 * that are no line of ours: pieces, and what a peer writes itself. Exit status 0 whatever is found.
 */
#include "peer.h"

#include <ftw.h>
#include <stdbool.h>
#include <sys/stat.h>

enum { WRITERS_MOST = 64, DIRECTORIES_OPEN = 8 };

enum found { FOUND_NOTHING, FOUND_PIECE, FOUND_WHOLE };

struct account {
    unsigned told;
    unsigned char *found; /* by number; one more than was told may be there, and what is beyond is a piece */
};

static struct account accounts[WRITERS_MOST + 1];
static unsigned writers, length;
static unsigned long doubled, strange;

/* Takes "NAME=NUMBER" from *text. Not by sscanf, which measures the whole rest of the file first. */
static bool take(const char **text, const char *name, unsigned *number)
{
    char *end;
    size_t size = strlen(name);
    if (strncmp(*text, name, size) != 0)
        return false;
    unsigned long value = strtoul(*text + size, &end, 10);
    *number = value <= UINT32_MAX ? (unsigned)value : 0;
    *text = end;
    return true;
}

/* Where it is noted what was found of the line whose beginning is at `text`, or NULL; *writer and *number are its. */
static unsigned char *note_of(const char *text, unsigned *writer, unsigned *number)
{
    unsigned given;
    if (!take(&text, "w=", writer) || !take(&text, " n=", number) || !take(&text, " len=", &given) || *text != ' ')
        return NULL;
    if (given != length || *writer < 1 || *writer > writers || *number < 1 || *number > accounts[*writer].told + 1)
        return NULL;
    return &accounts[*writer].found[*number];
}

/* Row with its newline. */
static bool count_whole(const char *row, size_t size)
{
    static char expected[LINE_SIZE_MAX + 1];
    unsigned writer, number;
    unsigned char *note = note_of(row, &writer, &number);
    if (note == NULL || line_make(expected, writer, number, length) != size || memcmp(row, expected, size) != 0)
        return false;
    doubled += *note == FOUND_WHOLE;
    *note = FOUND_WHOLE;
    return true;
}

static void count_pieces(const char *row, const char *end)
{
    unsigned writer, number;
    strange++;
    for (; (row = memmem(row, (size_t)(end - row), "w=", 2)) != NULL; row++) {
        unsigned char *note = note_of(row, &writer, &number);
        if (note != NULL && *note == FOUND_NOTHING)
            *note = FOUND_PIECE;
    }
}

static void count_rows(const char *content, const char *end)
{
    for (const char *row = content, *next; row < end; row = next) {
        const char *newline = memchr(row, '\n', (size_t)(end - row));
        next = newline != NULL ? newline + 1 : end;
        if (!count_whole(row, (size_t)(next - row)))
            count_pieces(row, next);
    }
}

/* What peers keep beside their logs. */
static bool holds_no_lines(const char *name)
{
    size_t size = strlen(name);
    return (size >= 4 && strcmp(name + size - 4, "lock") == 0) || strcmp(name, "state") == 0 ||
           strcmp(name, "config") == 0;
}

static int count_file(const char *path, const struct stat *status, int type, struct FTW *place)
{
    if (type != FTW_F || !S_ISREG(status->st_mode) || holds_no_lines(path + place->base))
        return 0;
    size_t size = (size_t)status->st_size;
    char *content = malloc(size + 1);
    FILE *file = fopen(path, "r");
    if (content == NULL || file == NULL || fread(content, 1, size, file) != size)
        err(1, "%s", path);
    content[size] = '\0';
    count_rows(content, content + size);
    fclose(file);
    free(content);
    return 0;
}

static void read_told(const char *path)
{
    FILE *file = fopen(path, "r");
    struct peer_slot slot;
    if (file == NULL)
        err(1, "%s", path);
    for (unsigned writer = 1; writer <= writers; writer++) {
        if (fread(&slot, sizeof slot, 1, file) != 1)
            errx(1, "%s: no slot of writer %u", path, writer);
        accounts[writer].told = (unsigned)slot.told;
        accounts[writer].found = calloc((size_t)slot.told + 2, 1);
        if (accounts[writer].found == NULL)
            err(1, "calloc");
    }
    fclose(file);
}

static void print_account(void)
{
    unsigned long told = 0, by[FOUND_WHOLE + 1] = {0};
    for (unsigned writer = 1; writer <= writers; writer++) {
        told += accounts[writer].told;
        for (unsigned number = 1; number <= accounts[writer].told; number++)
            by[accounts[writer].found[number]]++;
    }
    printf("%lu %lu %lu %lu %lu\n", told, by[FOUND_NOTHING], by[FOUND_PIECE], doubled, strange);
}

int main(int count, char **arguments)
{
    if (count != 5 || atoi(arguments[4]) < 1 || atoi(arguments[4]) > WRITERS_MOST)
        errx(2, "usage: peer_account DIRECTORY LENGTH TOLD WRITERS");
    length = (unsigned)atoi(arguments[2]);
    writers = (unsigned)atoi(arguments[4]);
    read_told(arguments[3]);
    if (nftw(arguments[1], count_file, DIRECTORIES_OPEN, FTW_PHYS) != 0)
        err(1, "%s", arguments[1]);
    print_account();
    return 0;
}
