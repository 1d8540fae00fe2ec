/*
 * What the writers of scripts/bench-peers have in common, in C and C++: fast lines, the start together, what was told.
 *
 * Each is called with TOLD WRITER LINES LENGTH as its last arguments. TOLD is a file of one slot for each writer,
 * shared memory that outlives a killed one: how many of its lines were accepted, and what they took. Lines are those of
 * line.h with payloads of LENGTH bytes. It says that it is ready in its slot and waits for the end of its standard
 * input.
 */
#ifndef PEER_H
#define PEER_H

#include "../account/line.h"

#include <err.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

enum { PEER_LENGTH_MAX = 16384, PEER_ROTATE_AT = 10 << 20 };

/* As scripts/bench-peers and peer_python.py read it. Times are nanoseconds. */
struct peer_slot {
    int64_t ready;
    int64_t told; /* lines that were accepted */
    int64_t begin, end, cpu;
    int64_t unused[3]; /* a cache line for each writer */
};

struct peer {
    struct peer_slot *slot;
    unsigned writer, lines, length;
    char letters[PEER_LENGTH_MAX + 64];
};

static inline int64_t peer_wall(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * INT64_C(1000000000) + now.tv_nsec;
}

static inline int64_t peer_cpu(void)
{
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    return (usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) * INT64_C(1000000000) +
           (usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) * INT64_C(1000);
}

/* From the four last arguments. */
static inline void peer_prepare(struct peer *peer, int count, char **arguments)
{
    if (count < 5)
        errx(2, "usage: %s ... TOLD WRITER LINES LENGTH", arguments[0]);
    arguments += count - 4;
    peer->writer = (unsigned)atoi(arguments[1]);
    peer->lines = (unsigned)atoi(arguments[2]);
    peer->length = (unsigned)atoi(arguments[3]);
    if (peer->writer < 1 || peer->length > PEER_LENGTH_MAX)
        errx(2, "no such writer or length");
    int fd = open(arguments[0], O_RDWR | O_CLOEXEC);
    if (fd < 0)
        err(1, "%s", arguments[0]);
    void *slots = mmap(NULL, peer->writer * sizeof(struct peer_slot), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (slots == MAP_FAILED)
        err(1, "mmap");
    close(fd);
    peer->slot = (struct peer_slot *)slots + peer->writer - 1;
    for (size_t i = 0; i < sizeof peer->letters; i++)
        peer->letters[i] = LINE_LETTERS[i % 64];
}

/* When the log is open: until everybody's is. */
static inline void peer_wait(struct peer *peer)
{
    char ignored;
    __atomic_store_n(&peer->slot->ready, 1, __ATOMIC_RELEASE);
    while (read(STDIN_FILENO, &ignored, 1) > 0)
        ;
    peer->slot->cpu = -peer_cpu();
    peer->slot->begin = peer_wall();
}

/* When the log is closed, with all that was buffered. */
static inline void peer_done(struct peer *peer)
{
    peer->slot->end = peer_wall();
    peer->slot->cpu += peer_cpu();
}

static inline void peer_tell(struct peer *peer, unsigned number)
{
    __atomic_store_n(&peer->slot->told, (int64_t)number, __ATOMIC_RELEASE);
}

static inline char *peer_word(char *out, const char *name, unsigned value)
{
    char digits[10];
    int count = 0;
    while (*name)
        *out++ = *name++;
    do
        digits[count++] = (char)('0' + value % 10);
    while ((value /= 10) > 0);
    while (count > 0)
        *out++ = digits[--count];
    return out;
}

/* As line_make, byte for byte, in a tenth of its time, which is that of half a write. */
static inline size_t peer_line(const struct peer *peer, char *out, unsigned number)
{
    unsigned offset = (unsigned)((7ULL * number + 13ULL * peer->writer) % 64);
    unsigned sum = (unsigned)((7919ULL * number + 10473ULL * peer->writer + 31ULL * peer->length + offset) % 65521);
    char *end = peer_word(out, "w=", peer->writer);
    end = peer_word(end, " n=", number);
    end = peer_word(end, " len=", peer->length);
    *end++ = ' ';
    memcpy(end, peer->letters + offset, peer->length);
    end = peer_word(end + peer->length, " sum=", sum);
    *end++ = '\n';
    *end = '\0';
    return (size_t)(end - out);
}

#endif
