/*
 * The buffer of async=1: records of one process on one log, in memory that outlives the process (log_ring.c makes it
 * of a file). Any number of threads put records in; whoever holds the log's mutex takes them out, in order.
 *
 * Putting is lock-free and async-signal-safe: it waits for nobody, whatever thread or handler was interrupted where. A
 * record is there once its slot says so; what a killed process was still copying never was. What is read from a dead
 * process's buffer is data from a stranger: ring_take_over looks at all of it first.
 */
#ifndef MPLOGSHIM_RING_H
#define MPLOGSHIM_RING_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

/*
 * The batch: below 128 KB, Linux puts what is written at once into pieces of memory of at most 64 KB, which were in use
 * a moment ago; larger ones were not, and in a virtual machine the host may have to find them first (up to 220 ns for
 * each 100 bytes, where the rest of a line takes 60). Half as large, the calls around a batch cost twice as much.
 */
enum {
    RING_LEAST = 1 << 15,    /* bytes of records */
    RING_MOST = 1 << 30,     /* positions are modulo 2^32 */
    RING_PAGE = 4096,        /* the header */
    RING_BASE_SIZE = 256,    /* the name of the log, with its NUL */
    RING_BATCH = 124 * 1024, /* taken out at once, at most, unless one record is larger */
};
_Static_assert(RING_BATCH < 128 * 1024, "larger batches meet cold memory");

/*
 * What is about to be written, and then that it is: whoever takes the buffer over compares with the file. In the
 * state WRITING, the bytes from `position` on, `length` of them, were to be written behind `offset` of that file.
 */
enum ring_intent_state { RING_NOTHING, RING_WRITING, RING_WRITTEN };
struct ring_intent {
    uint32_t state;
    uint32_t first; /* slot */
    uint32_t position;
    uint32_t length;
    uint64_t device;
    uint64_t inode;
    int64_t offset;
};

/* The beginning of the file; then the slots, then the bytes. */
struct ring_page {
    char magic[16];
    uint32_t slots; /* a power of two, as is `size` */
    uint32_t size;
    uint32_t process;
    char base[RING_BASE_SIZE];
    _Alignas(64) uint64_t head;
    _Alignas(64) uint64_t tail;
    _Alignas(64) struct ring_intent intent;
};

struct ring {
    struct ring_page *page; /* NULL: there is none */
    uint64_t *slots;
    char *data;
    uint32_t slot_mask;
    uint32_t data_mask;
    uint32_t bytes_most[2]; /* that may be in it: as far as no handler needs them (RING_RESERVE), and all */
    uint32_t slots_most[2];
    uint32_t quarter; /* bytes: so many are worth waking somebody for */
    uint32_t longest; /* record that may be put in */
    uint32_t epoch;   /* changes in a fork child: what is being put in is the parent's */
};

/* The size of records' room for so many bytes as are asked for, and of the whole file. */
uint32_t ring_room(uint64_t bytes);
size_t ring_file_size(uint32_t room);

/* Makes an empty one in zeroed memory of ring_file_size(room) bytes. */
void ring_make(struct ring *ring, void *memory, uint32_t room, const char *base, uint32_t process);

/*
 * The same of what a dead process left, in a private copy of `size` bytes, of which those of the records may still be
 * missing. -EINVAL if any of it is not as this makes it, or it is that of another log; which the header alone tells of
 * nearly all noise.
 */
bool ring_has_header(const void *page, size_t size, const char *base);
int ring_take_over(struct ring *ring, void *memory, size_t size, const char *base);

/*
 * One record on its way in, on the stack of who puts it: what its thread knows of it if it jumps away (guard.h), in
 * a chain with those that it interrupted.
 */
struct ring_put {
    struct ring *ring;
    uint64_t head;
    uint32_t length;
    uint32_t token;
    struct ring_put *outer;
};

/*
 * Puts a record of `length` bytes in. Returns the bytes that are in the buffer then; -EAGAIN: no room; -EMSGSIZE: too
 * long for it; -ESHUTDOWN: closed. `chain` is the thread's, `id` the thread.
 */
enum ring_put_flags {
    RING_WHOLE = 1,   /* it ends in a newline */
    RING_RESERVE = 2, /* also where room is kept for signal handlers, which cannot wait for what they interrupted */
};
int64_t ring_put(struct ring *ring, const struct iovec *vector, int count, size_t length, int flags, uint32_t id,
                 struct ring_put **chain);

/* The thread jumps away from whatever it was putting in: nobody waits for it. */
void ring_abandon(struct ring_put **chain);

/* From now on nothing is put in any more, or it is again. */
void ring_close(struct ring *ring);
void ring_open(struct ring *ring);

/*
 * In a fork child, whose memory was blanked: whatever is being put in, or is about to be, by what the handler that
 * forked had interrupted, comes to -ESHUTDOWN.
 */
void ring_forked(struct ring *ring);

/* Bytes that are in it; 0 only if there is no record. */
uint32_t ring_used(const struct ring *ring);

/* The slot of the next record: what was put in before is before that. */
uint32_t ring_end(const struct ring *ring);

/*
 * From here on: by who takes records out, one at a time.
 *
 * Records that lie behind one another: at most RING_BATCH bytes, and one alone if it is longer than `alone` (0: none).
 */
struct ring_run {
    struct iovec vector[2];
    int count;
    uint32_t first; /* slot */
    uint32_t position;
    size_t length;
    uint32_t records;
    bool whole; /* the last of them ends in a newline */
};

/*
 * The next run before the slot `end` (ring_end). False: there is none now; *waits if a record is still being put in.
 * `late`: those behind such a record will do.
 */
bool ring_next(const struct ring *ring, uint32_t end, uint64_t alone, bool late, struct ring_run *run, bool *waits);

/* Where the bytes of all records lie: its vector and its length. */
void ring_extent(const struct ring *ring, struct ring_run *all);

/* Frees what was given up and lies before every record. No signal handler may jump out of it. */
void ring_tidy(struct ring *ring);

/* The first slot that is not done with. */
uint32_t ring_first(const struct ring *ring);

/* Whether records that were put in before that slot are still there. */
bool ring_has_before(const struct ring *ring, uint32_t end);

/* How much of a run goes into `room` bytes: whole records that end with whole lines; the first of them in any case. */
size_t ring_cut(const struct ring *ring, const struct ring_run *run, uint64_t room);

/* How many of the first `length` bytes of a run are whole records; *next: the bytes of the one after those alone. */
size_t ring_whole(const struct ring *ring, const struct ring_run *run, size_t length, struct ring_run *next);

/*
 * The first `length` bytes of the run are about to be written behind `offset` of a file; and then: the first `length`
 * of those are there. No signal handler may jump out of these.
 */
void ring_intend(struct ring *ring, const struct ring_run *run, size_t length, uint64_t device, uint64_t inode,
                 int64_t offset);
void ring_settle(struct ring *ring, size_t length);

/* What was about to be written when somebody was stopped at it, or failed. False: nothing. */
bool ring_intended(struct ring *ring, struct ring_run *run);

#endif
