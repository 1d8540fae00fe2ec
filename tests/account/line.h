/*
 * The numbered and checksummed line that every writer of the tests writes and the checker proves.
 *
 *   w=WRITER n=NUMBER len=LENGTH PAYLOAD sum=SUM
 *
 * A line follows from its writer and number, with arithmetic that every language can do, so the checker knows each byte
 * of it:
 *
 *   LENGTH  = shortest + (37 * NUMBER + 11 * WRITER) % (longest - shortest + 1)
 *   offset  = (7 * NUMBER + 13 * WRITER) % 64
 *   PAYLOAD = LENGTH bytes of the 64 letters (A-Z a-z 0-9 _ -), repeated, from offset on
 *   SUM     = (7919 * NUMBER + 10473 * WRITER + 31 * LENGTH + offset) % 65521
 *
 * Programs that can do no more than count (seq) write the short form, "w=WRITER n=NUMBER end".
 */
#ifndef LINE_H
#define LINE_H

#include <stddef.h>
#include <stdio.h>

enum {
    LINE_SHORTEST = 20,
    LINE_LONGEST = 300,
    LINE_LENGTH_MAX = 1 << 20,            /* of a payload */
    LINE_SIZE_MAX = LINE_LENGTH_MAX + 128 /* of a line, with its newline */
};

static const char LINE_LETTERS[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-";

/* The length of the payload of line `number` of `writer`. */
static inline unsigned line_length(unsigned writer, unsigned number, unsigned shortest, unsigned longest)
{
    return shortest + (unsigned)((37ULL * number + 11ULL * writer) % (longest - shortest + 1));
}

/* Makes the line, with its newline and a NUL, in out[LINE_SIZE_MAX + 1]; returns its size without the NUL. */
static inline size_t line_make(char *out, unsigned writer, unsigned number, unsigned length)
{
    unsigned offset = (unsigned)((7ULL * number + 13ULL * writer) % 64);
    unsigned sum = (unsigned)((7919ULL * number + 10473ULL * writer + 31ULL * length + offset) % 65521);
    size_t size = (size_t)sprintf(out, "w=%u n=%u len=%u ", writer, number, length);
    for (unsigned i = 0; i < length; i++)
        out[size++] = LINE_LETTERS[(offset + i) % 64];
    return size + (size_t)sprintf(out + size, " sum=%u\n", sum);
}

/* The same for the short form. */
static inline size_t line_make_short(char *out, unsigned writer, unsigned number)
{
    return (size_t)sprintf(out, "w=%u n=%u end\n", writer, number);
}

#endif
