/*
 * The names of the files around a log: the lock file, pending archives, archives. Make, parse and order them.
 *
 * Works on base names (no directory). Pure functions, async-signal-safe. Layout: include/mplogshim.h.
 */
#ifndef MPLOGSHIM_NAME_H
#define MPLOGSHIM_NAME_H

#include <limits.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { NAME_SIZE = NAME_MAX + 1 };

/* Each makes a name in out[NAME_SIZE] and returns 0, or -ENAMETOOLONG. */
int name_lock(const char *base, char *out);
int name_pending(const char *base, uint64_t generation, int64_t begun, char *out);
int name_number(const char *base, uint64_t number, bool gzip, char *out); /* app.log.7[.gz] */
/* ".app.log.new": where the new file waits when names cannot be exchanged in one step. */
int name_fresh(const char *base, char *out);
/* ".app.log.squeeze": an archive that is being compressed, until it is complete. */
int name_squeeze(const char *base, char *out);
int name_time(const char *base, const char *period, uint64_t sequence, bool gzip,
              char *out); /* app.log.2026-11-20[.1][.gz] */

/* NAME_WORK: what name_fresh and name_squeeze make. */
enum name_kind { NAME_OTHER, NAME_LOCK, NAME_WORK, NAME_RING, NAME_PENDING, NAME_NUMBER, NAME_TIME };

/* Whether it is one of the hidden names, which begin with a '.' that is not the log's. */
static inline bool name_is_hidden(enum name_kind kind)
{
    return kind == NAME_LOCK || kind == NAME_WORK || kind == NAME_RING || kind == NAME_PENDING;
}

/* The buffer `number` of async=1, beside the lock file named `lock`; and whether `name` is one, which then. */
int name_ring(const char *lock, uint64_t number, char *out);
bool name_is_ring(const char *lock, const char *name, uint64_t *number);

/* What a name in a log's directory is to the log `base`. Numbers have no leading zeros and are at least 1. */
struct name {
    enum name_kind kind;
    bool gzip;           /* NAME_NUMBER, NAME_TIME */
    uint64_t generation; /* NAME_PENDING */
    int64_t begun;       /* NAME_PENDING */
    uint64_t number;     /* NAME_NUMBER */
    char period[32];     /* NAME_TIME: "2026-11-20", "2026-11-20_13", "..._13-05" or "..._13-05-09" */
    uint64_t sequence;   /* NAME_TIME: 0 without */
};
struct name name_parse(const char *base, const char *name);

/*
 * The length of the base name of the log that `name` may be an archive or hidden file of, with the parsed parts in
 * *parsed: "app.log.7" -> 7 ("app.log"), ".app.log.lock" -> 7, starting at name + 1 for hidden ones; 0 if it is none. A
 * name such as "app.log.2026-11-20.1" may be read in two ways (sequence 1 of a period of app.log, or number 1 of
 * app.log.2026-11-20); `nth` 0 gives the first reading (the longest suffix), 1 the next, until 0 is returned.
 */
size_t name_base(const char *name, unsigned nth, struct name *parsed);

/* Order of two archives of one log, oldest first: < 0, 0, > 0. Time-named before (older than) numbered ones when mixed;
 * pending ones newest, among them by when they were begun, then by generation. */
int name_compare(const struct name *a, const struct name *b);

#endif
