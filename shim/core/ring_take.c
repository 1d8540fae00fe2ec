/*
 * Taking records out of a ring: by one thread at a time, who holds the log's mutex.
 */
#include "ring_private.h"

static void set_vector(const struct ring *ring, struct ring_run *run)
{
    uint32_t at = run->position & ring->data_mask;
    size_t straight = ring->data_mask + 1 - at;
    straight = straight < run->length ? straight : run->length;
    run->vector[0] = (struct iovec){.iov_base = ring->data + at, .iov_len = straight};
    run->vector[1] = (struct iovec){.iov_base = ring->data, .iov_len = run->length - straight};
    run->count = run->vector[1].iov_len > 0 ? 2 : 1;
}

void ring_extent(const struct ring *ring, struct ring_run *all)
{
    uint32_t from = ring_position_of(ring_load(&ring->page->tail));
    *all = (struct ring_run){.position = from, .length = ring_position_of(ring_load(&ring->page->head)) - from};
    set_vector(ring, all);
}

/* Whether a record goes on where the run ends, and both may be written at once. */
static bool continues(const struct ring_run *run, uint64_t record, uint64_t alone)
{
    bool is_long = alone > 0 && (ring_length_of(record) > alone || run->length > alone);
    return !is_long && run->length + ring_length_of(record) <= RING_BATCH &&
           ring_position_of(record) == run->position + (uint32_t)run->length;
}

/* None where ring_tidy has come past `end`: what was put in behind it was given up. */
static uint32_t slots_before(const struct ring *ring, uint32_t end)
{
    uint32_t first = ring_slot_of(ring_load(&ring->page->tail));
    uint32_t left = ring_slots_between(first, end);
    return left <= ring_slots_between(first, ring_end(ring)) ? left : 0;
}

bool ring_next(const struct ring *ring, uint32_t end, uint64_t alone, bool late, struct ring_run *run, bool *waits)
{
    uint32_t first = ring_slot_of(ring->page->tail);
    uint32_t count = slots_before(ring, end);
    bool alone_already = false;
    *waits = false;
    run->length = 0;
    for (uint32_t i = 0; i < count; i++) {
        uint64_t record = ring_load(ring_slot_at(ring, first + i));
        bool committed = ring_state_of(record) == SLOT_COMMITTED;
        if (run->length > 0 && (!committed || alone_already || !continues(run, record, alone))) {
            break;
        }
        if (run->length == 0 && !committed) {
            *waits = *waits || ring_state_of(record) == SLOT_RESERVED;
            if (*waits && !late) {
                return false;
            }
            continue;
        }
        if (run->length == 0) {
            *run = (struct ring_run){.first = (first + i) % SLOT_LIMIT, .position = ring_position_of(record)};
            alone_already = alone > 0 && ring_length_of(record) > alone;
        }
        run->length += ring_length_of(record);
        run->records++;
        run->whole = (record & WHOLE) != 0;
    }
    if (run->length > 0) {
        set_vector(ring, run);
    }
    return run->length > 0;
}

/*
 * Adds up records of a run for as long as they fit; `lines`: only up to where lines end, and the first such part in any
 * case. *slot: behind what was added up.
 */
static size_t sum_up(const struct ring *ring, const struct ring_run *run, uint64_t room, bool lines, uint32_t *slot)
{
    size_t sum = 0;
    size_t good = 0;
    uint32_t end = run->first + ring->slot_mask + 1;
    for (uint32_t at = run->first; sum < run->length && at != end; at++) {
        uint64_t record = ring_load(ring_slot_at(ring, at));
        uint32_t length = ring_length_of(record);
        if (length == 0 || (sum + length > room && (good > 0 || !lines))) {
            break;
        }
        sum += length;
        if (!lines || (record & WHOLE) != 0) {
            good = sum;
            *slot = at + 1;
        }
    }
    return good;
}

uint32_t ring_first(const struct ring *ring)
{
    return ring_slot_of(ring->page->tail);
}

bool ring_has_before(const struct ring *ring, uint32_t end)
{
    return slots_before(ring, end) > 0;
}

size_t ring_cut(const struct ring *ring, const struct ring_run *run, uint64_t room)
{
    uint32_t slot;
    size_t length = run->length <= room ? run->length : sum_up(ring, run, room, true, &slot);
    return length > 0 ? length : run->length;
}

size_t ring_whole(const struct ring *ring, const struct ring_run *run, size_t length, struct ring_run *next)
{
    uint32_t slot = run->first;
    size_t whole = sum_up(ring, run, length, false, &slot);
    uint64_t record = ring_load(ring_slot_at(ring, slot));
    *next = (struct ring_run){.first = slot, .position = run->position + (uint32_t)whole, .records = 1};
    if (ring_state_of(record) == SLOT_COMMITTED && ring_position_of(record) == next->position) {
        next->length = ring_length_of(record);
    }
    set_vector(ring, next);
    return whole;
}

void ring_tidy(struct ring *ring)
{
    uint64_t tail = ring->page->tail;
    uint32_t end = ring_end(ring);
    uint32_t position = ring_position_of(tail);
    uint32_t slot = ring_slot_of(tail);
    while (slot != end) {
        uint64_t *at = ring_slot_at(ring, slot);
        uint64_t record = ring_load(at);
        if (ring_state_of(record) != SLOT_GONE) {
            break;
        }
        position = ring_position_of(record) + ring_length_of(record);
        ring_store(at, SLOT_RESERVED);
        slot = (slot + 1) % SLOT_LIMIT;
    }
    ring_store(&ring->page->tail, ring_make_head(position, slot, 0));
}

/* Marks records as done with, the last one perhaps only in part. Doing it again does no harm. */
static void take_out(struct ring *ring, uint32_t first, uint32_t position, uint32_t length)
{
    uint32_t start = ring_slot_of(ring->page->tail);
    uint32_t count = ring_slots_between(start, ring_end(ring));
    uint32_t skipped = ring_slots_between(start, first);
    for (uint32_t i = skipped < count ? skipped : 0; i < count; i++) {
        uint64_t *slot = ring_slot_at(ring, start + i);
        uint64_t record = ring_load(slot);
        if (ring_state_of(record) != SLOT_COMMITTED) {
            continue;
        }
        uint32_t from = ring_position_of(record) - position;
        if (from >= length) {
            break;
        }
        uint32_t done = length - from;
        if (done >= ring_length_of(record)) {
            ring_store(slot, (record & ~(uint64_t)SLOT_STATES) | SLOT_GONE);
        } else {
            ring_store(slot, ring_make_slot(ring_position_of(record) + done, ring_length_of(record) - done,
                                            (record & WHOLE) != 0, SLOT_COMMITTED));
        }
    }
    ring_tidy(ring);
}

static void set_state(struct ring *ring, enum ring_intent_state state)
{
    __atomic_store_n(&ring->page->intent.state, (uint32_t)state, __ATOMIC_RELEASE);
}

void ring_intend(struct ring *ring, const struct ring_run *run, size_t length, uint64_t device, uint64_t inode,
                 int64_t offset)
{
    struct ring_intent *intent = &ring->page->intent;
    intent->first = run->first;
    intent->position = run->position;
    intent->length = (uint32_t)length;
    intent->device = device;
    intent->inode = inode;
    intent->offset = offset;
    set_state(ring, RING_WRITING);
}

void ring_settle(struct ring *ring, size_t length)
{
    const struct ring_intent *intent = &ring->page->intent;
    ring->page->intent.length = (uint32_t)length;
    set_state(ring, RING_WRITTEN);
    take_out(ring, intent->first, intent->position, (uint32_t)length);
    set_state(ring, RING_NOTHING);
}

bool ring_intended(struct ring *ring, struct ring_run *run)
{
    const struct ring_intent *intent = &ring->page->intent;
    if (intent->state == RING_WRITTEN) {
        ring_settle(ring, intent->length);
    }
    if (intent->state != RING_WRITING) {
        return false;
    }
    *run = (struct ring_run){.first = intent->first, .position = intent->position, .length = intent->length};
    set_vector(ring, run);
    return true;
}
