/*
 * The buffer of async=1 against what it promises: any sequence of putting in, giving up, taking out, closing, forking
 * and dying, each interrupted after any instruction by what other threads and signal handlers do to the same buffer.
 *
 * What was put in comes out once and whole, nothing before what was there when it began to be put in; what was given
 * up or was still being put in when its thread stopped for ever comes out once or not at all; what comes out of a
 * buffer whose process died, in the middle of writing a batch or of noting it, goes on where that one had stopped.
 *
 * The input is where in its numbers the buffer begins, then operations: a byte each, one for when it is interrupted,
 * and operands.
 */
#include "step.h"

#include "../../shim/core/ring.h"
#include "../../shim/core/ring_private.h"

#include <errno.h>
#include <setjmp.h>

enum { RECORDS_MOST = 4000, DEPTH_MOST = 4, THREADS = 4, NUMBER_BYTES = 2, FILE_MOST = 1 << 20, KILLS_MOST = 6 };

struct record {
    uint32_t length;
    unsigned begun; /* by the count of operations; returned: 0 for not (yet) */
    unsigned returned;
    bool came;
};

/* An operation that is going on: interrupted, or the one that runs. */
struct running {
    sigjmp_buf left;
    int thread; /* TAKER */
    int record; /* that it puts in */
};
enum { TAKER = -1 };

static struct {
    struct input *input;
    struct ring ring;
    char *memory;
    size_t size;
    struct record records[RECORDS_MOST];
    int record_count;
    unsigned clock;
    struct running stack[DEPTH_MOST];
    int depth;
    struct ring_put *chains[THREADS];
    uint32_t ids[THREADS];
    uint32_t next_id;
    bool stopped;        /* a thread never goes on with what it was putting in */
    sigjmp_buf killed;   /* out of everything */
    char *file;          /* the log */
    size_t filled;       /* of it */
    size_t read;         /* up to here it was looked at */
    unsigned last_begun; /* of all that came */
    char *image;         /* of a dead process's buffer: its file; NULL: the process lives */
} state;

static char byte_of(int record, uint32_t at)
{
    return (char)(record * 31 + (int)at * 7 + (int)(at >> 8));
}

/*
 * The log, looked at record by record.
 */
static void record_came(int number)
{
    struct record *record = &state.records[number];
    require(!record->came);
    record->came = true;
    require(record->returned == 0 || record->returned > state.last_begun);
    state.last_begun = record->begun > state.last_begun ? record->begun : state.last_begun;
}

static void read_log(void)
{
    while (state.read < state.filled) {
        const unsigned char *at = (const unsigned char *)state.file + state.read;
        if (state.filled - state.read < NUMBER_BYTES) {
            break;
        }
        int number = at[0] | at[1] << 8;
        require(number < state.record_count);
        uint32_t length = state.records[number].length;
        size_t there = state.filled - state.read < length ? state.filled - state.read : length;
        for (uint32_t i = NUMBER_BYTES; i < there; i++) {
            require((char)at[i] == byte_of(number, i));
        }
        if (there < length) {
            break; /* its rest comes first, as nobody else writes */
        }
        record_came(number);
        state.read += length;
    }
}

/*
 * Taking out, as log_async_drain.c and log_ring_resume.c do it.
 */
static size_t append(const struct ring_run *run, size_t from, size_t length)
{
    require(state.filled + length <= FILE_MOST);
    for (int i = 0; i < run->count; i++) {
        const char *piece = run->vector[i].iov_base;
        require(piece >= state.ring.data && run->vector[i].iov_len <= state.ring.data_mask + 1 &&
                piece + run->vector[i].iov_len <= state.ring.data + state.ring.data_mask + 1);
        size_t skip = from < run->vector[i].iov_len ? from : run->vector[i].iov_len;
        size_t part = run->vector[i].iov_len - skip;
        part = part < length ? part : length;
        memcpy(state.file + state.filled, piece + skip, part);
        from -= skip;
        length -= part;
        state.filled += part; /* killed in between: a short write */
    }
    return length;
}

/* As log_ring_note: two writes to the file of a dead process's. */
static void note(void)
{
    if (state.image != NULL) {
        size_t slots = (size_t)(state.ring.data - (char *)state.ring.slots);
        memcpy(state.image, state.ring.page, RING_PAGE);
        memcpy(state.image + RING_PAGE, state.ring.slots, slots);
    }
}

static void begin(const struct ring_run *run, size_t length)
{
    ring_intend(&state.ring, run, length, 1, 2, (int64_t)state.filled);
    note();
}

static void done(const struct ring_run *run, size_t length, size_t written)
{
    const struct ring_intent intent = state.ring.page->intent;
    struct ring_run next;
    if (written == length) {
        ring_settle(&state.ring, written);
    } else {
        size_t whole = run->records > 1 ? ring_whole(&state.ring, run, written, &next) : 0;
        ring_settle(&state.ring, whole);
        if (written > whole) {
            next = whole > 0 ? next : *run;
            next.position = intent.position + (uint32_t)whole;
            ring_intend(&state.ring, &next, written - whole, 1, 2, intent.offset + (int64_t)whole);
        }
    }
    note();
}

static size_t count_equal(const struct ring_run *run, size_t offset)
{
    size_t equal = 0;
    for (int i = 0; i < run->count; i++) {
        const char *piece = run->vector[i].iov_base;
        for (size_t at = 0; at < run->vector[i].iov_len; at++, equal++) {
            if (offset + equal >= state.filled || state.file[offset + equal] != piece[at]) {
                return equal;
            }
        }
    }
    return equal;
}

static void resume(void)
{
    struct ring_run run;
    struct ring_run cut;
    if (!ring_intended(&state.ring, &run)) {
        return;
    }
    size_t offset = (size_t)state.ring.page->intent.offset;
    size_t written = count_equal(&run, offset);
    size_t whole = ring_whole(&state.ring, &run, written, &cut);
    require(offset + written == state.filled); /* nobody else writes */
    if (written > whole) {
        require(cut.length > written - whole);
        append(&cut, written - whole, cut.length - (written - whole));
        whole += cut.length;
    }
    ring_settle(&state.ring, whole);
    note();
}

/* One batch; `much`: 255 all of it. False: there is none. */
static bool take_batch(bool late, uint64_t alone, uint8_t much)
{
    struct ring_run run;
    bool waits;
    resume();
    ring_tidy(&state.ring);
    if (!ring_next(&state.ring, ring_end(&state.ring), alone, late, &run, &waits)) {
        require(!waits || state.stopped || state.depth > 1);
        return false;
    }
    size_t length = run.records > 1 && alone > 0 ? ring_cut(&state.ring, &run, alone) : run.length;
    require(length > 0 && length <= run.length);
    size_t written = much == UINT8_MAX ? length : length * much / UINT8_MAX;
    begin(&run, length);
    append(&run, 0, written);
    done(&run, length, written);
    return true;
}

static void take_all(bool late)
{
    while (take_batch(late, 0, UINT8_MAX)) {
    }
    read_log();
}

/*
 * Operations, each in a frame that may be left for good.
 */
static void operate(void);

static struct running *enter(int thread)
{
    struct running *own = &state.stack[state.depth++];
    own->thread = thread;
    own->record = -1;
    return own;
}

static bool is_running(int thread)
{
    for (int i = 0; i < state.depth; i++) {
        if (state.stack[i].thread == thread) {
            return true;
        }
    }
    return false;
}

static void put(int thread, unsigned after, uint32_t length, int flags)
{
    static char bytes[DEPTH_MOST][1 << 13];
    char *text = bytes[state.depth];
    struct running *own = enter(thread);
    int number = state.record_count++;
    struct record *record = &state.records[number];
    *record = (struct record){.length = length, .begun = ++state.clock};
    own->record = number;
    text[0] = (char)number;
    text[1] = (char)(number >> 8);
    for (uint32_t i = NUMBER_BYTES; i < length; i++) {
        text[i] = byte_of(number, i);
    }
    uint32_t middle = length / 3;
    const struct iovec vector[] = {{text, middle}, {text + middle, length - middle}};
    const struct iovec all = {text, length};
    if (sigsetjmp(own->left, 0) == 0) {
        uint32_t epoch = state.ring.epoch;
        step_after(after);
        int64_t used = ring_put(&state.ring, flags & 4 ? &all : vector, flags & 4 ? 1 : 2, length,
                                flags & (RING_WHOLE | RING_RESERVE), state.ids[thread], &state.chains[thread]);
        step_stop();
        require(used >= (int64_t)length || used == -EAGAIN || used == -ESHUTDOWN);
        if (used >= 0) { /* in a fork child, too: then it is in the parent's */
            record->returned = ++state.clock;
        } else if (epoch == state.ring.epoch) {
            record->came = true; /* and never may again */
            require(used == -ESHUTDOWN || after > 0 || ring_used(&state.ring) > 0);
        }
        state.depth--;
    }
}

static void take(unsigned after, uint8_t how, uint8_t much)
{
    if (is_running(TAKER) || state.image != NULL) {
        return; /* there is a mutex for it; and a child has nothing to take */
    }
    enter(TAKER);
    step_after(after);
    take_batch(how & 1, how & 2 ? 20U * (how >> 2) : 0, how & 128 ? UINT8_MAX : much);
    step_stop();
    state.depth--;
    read_log();
}

/* What a handler of the thread's leaves by siglongjmp, with all that the thread was in. */
static void jump(void)
{
    int lowest = state.depth - 1;
    int thread = state.stack[lowest].thread;
    while (lowest > 0 && state.stack[lowest - 1].thread == thread) {
        lowest--;
    }
    for (int i = 0; i < lowest; i++) {
        if (state.stack[i].thread == thread) {
            return; /* another thread's frames lie in between */
        }
    }
    if (thread == TAKER) {
        return; /* which has its signals deferred */
    }
    ring_abandon(&state.chains[thread]);
    state.depth = lowest;
    siglongjmp(state.stack[lowest].left, 1);
}

/* The thread never runs again, or not for as long as this goes on. */
static void stop(void)
{
    int thread = state.stack[state.depth - 1].thread;
    for (int i = 0; i < state.depth - 1; i++) {
        if (state.stack[i].thread == thread) {
            return;
        }
    }
    if (thread == TAKER) {
        siglongjmp(state.killed, 1); /* there is no other */
    }
    state.chains[thread] = NULL;
    state.ids[thread] = state.next_id++;
    state.stopped = true;
    state.depth--;
    siglongjmp(state.stack[state.depth].left, 1);
}

/* This goes on as the child, of one thread, whose memory is empty; all that was put in is in the parent's. */
static void fork_child(void)
{
    for (int i = 0; i < state.depth; i++) {
        if (state.stack[i].thread == TAKER || state.stack[i].thread != state.stack[0].thread || state.image != NULL) {
            return;
        }
    }
    char *parent = malloc(state.size);
    require(parent != NULL);
    memcpy(parent, state.memory, state.size);
    memset(state.memory, 0, state.size);
    ring_forked(&state.ring);
    state.image = parent;
}

static void interrupted(void)
{
    uint8_t what = input_byte(state.input);
    for (int i = what % 4; i > 0 && state.depth < DEPTH_MOST; i--) {
        operate();
    }
    if (what >> 2 == 1) {
        siglongjmp(state.killed, 1);
    } else if (what >> 2 == 2) {
        fork_child();
    } else if (what & 128) {
        jump();
    } else if ((what & 96) == 96) {
        stop();
    }
}

static void operate(void)
{
    uint8_t operation = input_byte(state.input);
    uint8_t when = input_byte(state.input);
    unsigned after = when < 160 ? when : (when - 159U) * 10;
    int thread = (operation >> 4) % THREADS;
    switch (operation & 15) {
    case 11:
        for (int i = input_byte(state.input) * 4; i > 0 && state.record_count < RECORDS_MOST; i--) {
            put(thread, 0, NUMBER_BYTES, RING_WHOLE | RING_RESERVE | 4);
        }
        break;
    case 12:
        take(after, 128, 0);
        break;
    case 13:
        take(after, input_byte(state.input), input_byte(state.input));
        break;
    case 14:
        if (state.image == NULL) { /* a child makes a new one */
            ring_open(&state.ring);
        }
        break;
    case 15:
        ring_close(&state.ring);
        break;
    default:
        if (state.record_count < RECORDS_MOST) {
            uint8_t size = input_byte(state.input);
            uint32_t length = size < 128 ? size : (size - 127U) * 64;
            put(thread, after, length < NUMBER_BYTES ? NUMBER_BYTES : length, operation & 7);
        }
    }
}

/* Everything that was put in is there, and what is left of the buffer is nothing. */
static void check_account(void)
{
    require(ring_used(&state.ring) == 0);
    require(state.read == state.filled);
    for (int i = 0; i < state.record_count; i++) {
        require(state.records[i].came || state.records[i].returned == 0);
    }
}

/* The next process takes a copy, and may be killed in turn; its file is what it has noted. */
static volatile int kills; /* that are still allowed */

static void die(void)
{
    siglongjmp(state.killed, 1);
}

static void take_over(void)
{
    step_interrupt = die;
    sigsetjmp(state.killed, 0); /* comes here anew after each kill */
    memcpy(state.memory, state.image, state.size);
    state.depth = 1;
    state.stopped = false;
    require(ring_take_over(&state.ring, state.memory, state.size, "app.log") == 0);
    unsigned after = kills-- > 0 ? (unsigned)input_number(state.input, 2) % 2048 : 0;
    step_after(after);
    while (take_batch(false, 0, UINT8_MAX)) {
    }
    step_stop();
    read_log();
    check_account();
}

static void set_up(void)
{
    state.size = ring_file_size(ring_room(RING_LEAST));
    state.memory = calloc(1, state.size);
    state.file = malloc(FILE_MOST);
    require(state.memory != NULL && state.file != NULL);
    ring_make(&state.ring, state.memory, ring_room(RING_LEAST), "app.log", 4711);
    uint32_t position = (uint32_t)input_byte(state.input) * 64;
    uint32_t slot = input_byte(state.input);
    uint64_t begin_at = ring_make_head(slot & 1 ? 0 - position : position, slot & 2 ? 0 - slot : slot, 0);
    state.ring.page->head = state.ring.page->tail = begin_at;
    for (int i = 0; i < THREADS; i++) {
        state.ids[i] = state.next_id++;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct input input = {data, size};
    memset(&state, 0, sizeof state);
    state.input = &input;
    set_up();
    step_start(interrupted);
    kills = KILLS_MOST;
    if (sigsetjmp(state.killed, 0) == 0) {
        while (state.input->size > 0 && state.image == NULL && state.filled < FILE_MOST / 2) {
            operate();
        }
        if (state.image == NULL && !state.stopped) {
            state.depth = 1;
            take_all(false);
            check_account();
        }
    }
    step_stop();
    if (state.image == NULL) {
        state.image = malloc(state.size);
        require(state.image != NULL);
        memcpy(state.image, state.memory, state.size);
    }
    take_over();
    free(state.image);
    free(state.memory);
    free(state.file);
    return 0;
}
