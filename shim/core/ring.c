#include "ring_private.h"

#include "line.h"
#include "sys.h"
#include "sys_call.h"

#include <errno.h>
#include <string.h>
#include <sys/syscall.h>

enum { BYTES_A_SLOT = 64, SLOTS_MOST = SLOT_LIMIT / 2, KEPT_PART = 16 /* of all */ };

static const char magic[16] = "mplogshim ring\n";

uint32_t ring_room(uint64_t bytes)
{
    uint32_t room = RING_LEAST;
    while (room < bytes && room < RING_MOST) {
        room *= 2;
    }
    return room;
}

static uint32_t slots_for(uint32_t room)
{
    uint32_t slots = room / BYTES_A_SLOT;
    return slots > SLOTS_MOST ? SLOTS_MOST : slots;
}

size_t ring_file_size(uint32_t room)
{
    return RING_PAGE + slots_for(room) * sizeof(uint64_t) + room;
}

/* By what is known of it outside: the header may change under who reads it. */
static void place(struct ring *ring, void *memory, uint32_t room)
{
    uint32_t slots = slots_for(room);
    ring->page = memory;
    ring->slots = (uint64_t *)(void *)((char *)memory + RING_PAGE);
    ring->data = (char *)(ring->slots + slots);
    ring->slot_mask = slots - 1;
    ring->data_mask = room - 1;
    ring->bytes_most[false] = room - room / KEPT_PART;
    ring->bytes_most[true] = room;
    ring->slots_most[false] = slots - slots / KEPT_PART;
    ring->slots_most[true] = slots;
    ring->quarter = room / 4;
    ring->longest = room / 4 < LENGTH_LIMIT ? room / 4 : LENGTH_LIMIT - 1;
}

_Static_assert(sizeof(struct ring_page) <= RING_PAGE, "the header is a page");

void ring_make(struct ring *ring, void *memory, uint32_t room, const char *base, uint32_t process)
{
    place(ring, memory, room);
    struct ring_page *page = ring->page;
    page->slots = slots_for(room);
    page->size = room;
    page->process = process;
    memcpy(page->base, base, strnlen(base, RING_BASE_SIZE - 1));
    __atomic_signal_fence(__ATOMIC_SEQ_CST);
    memcpy(page->magic, magic, sizeof magic);
}

/*
 * Records lie between tail and head, one behind the other with gaps where one was given up; what does not is noise. A
 * slot that was only reserved never was a record, as its process is dead.
 */
static bool are_slots_sane(const struct ring *ring, uint64_t tail, uint64_t head)
{
    uint32_t used = 0;
    uint32_t all = ring_position_of(head) - ring_position_of(tail);
    uint32_t count = ring_slots_between(ring_slot_of(tail), ring_slot_of(head));
    if (all > ring->data_mask + 1 || count > ring->slot_mask + 1) {
        return false;
    }
    for (uint32_t i = 0; i < count; i++) {
        uint64_t *slot = ring_slot_at(ring, ring_slot_of(tail) + i);
        if (ring_state_of(*slot) != SLOT_COMMITTED) {
            *slot = ring_make_slot(ring_position_of(tail) + used, 0, false, SLOT_GONE);
            continue;
        }
        uint32_t from = ring_position_of(*slot) - ring_position_of(tail);
        if (from < used || from > all || ring_length_of(*slot) > all - from) {
            return false;
        }
        used = from + ring_length_of(*slot);
    }
    return true;
}

static bool is_intent_sane(const struct ring *ring)
{
    const struct ring_intent *intent = &ring->page->intent;
    return intent->state <= RING_WRITTEN && intent->length <= ring->data_mask + 1 && intent->offset >= 0;
}

bool ring_has_header(const void *memory, size_t size, const char *base)
{
    const struct ring_page *page = memory;
    return size >= RING_PAGE && memcmp(page->magic, magic, sizeof magic) == 0 && page->size >= RING_LEAST &&
           page->size <= RING_MOST && (page->size & (page->size - 1)) == 0 && page->slots == slots_for(page->size) &&
           size == ring_file_size(page->size) && strnlen(page->base, RING_BASE_SIZE) < RING_BASE_SIZE &&
           strncmp(page->base, base, RING_BASE_SIZE - 1) == 0;
}

int ring_take_over(struct ring *ring, void *memory, size_t size, const char *base)
{
    const struct ring_page *page = memory;
    if (!ring_has_header(memory, size, base)) {
        return -EINVAL;
    }
    place(ring, memory, page->size);
    return is_intent_sane(ring) && are_slots_sane(ring, page->tail, page->head) ? 0 : -EINVAL;
}

static void copy_in(const struct ring *ring, const struct iovec *vector, int count, size_t length, uint32_t position)
{
    uint32_t at = position & ring->data_mask;
    size_t straight = ring->data_mask + 1 - at;
    if (count == 1 && length <= straight) {
        memcpy(ring->data + at, vector->iov_base, length);
        return;
    }
    straight = straight < length ? straight : length;
    line_copy(vector, count, 0, straight, ring->data + at);
    line_copy(vector, count, straight, length - straight, ring->data);
}

/*
 * Before a reservation hides whose the last one was, that is written into its slot, if that one still copies: so a
 * thread that jumps away can always find out whether it had reserved (ring_abandon).
 */
static inline void note_owner(const struct ring *ring, uint64_t head)
{
    uint64_t *last = ring_slot_at(ring, ring_slot_of(head) - 1);
    if (__builtin_expect(ring_load(last) == SLOT_RESERVED, 0)) {
        ring_exchange(last, SLOT_RESERVED, ring_owned_by(ring_token_of(head)));
    }
}

/*
 * Another thread was faster. Trying again at once would take the line of the cache away from it, which it needs for its
 * next record too, and then back; a microsecond later it has put several in.
 */
static void stand_back(void)
{
    enum { PAUSES = 64 };
    for (int i = 0; i < PAUSES; i++) {
#if defined(__x86_64__)
        __builtin_ia32_pause();
#elif defined(__aarch64__)
        __asm__ volatile("isb" ::: "memory");
#else
        __atomic_signal_fence(__ATOMIC_SEQ_CST);
#endif
    }
}

int64_t ring_put(struct ring *ring, const struct iovec *vector, int count, size_t length, int flags, uint32_t id,
                 struct ring_put **chain)
{
    struct ring_page *page = ring->page;
    uint32_t epoch = ring->epoch;
    struct ring_put put = {.ring = ring, .length = (uint32_t)length, .token = id % TOKEN_LIMIT, .outer = *chain};
    bool all = (flags & RING_RESERVE) != 0;
    if (length > ring->longest) {
        return -EMSGSIZE;
    }
    for (;;) {
        uint64_t tail = ring_load(&page->tail); /* before the head: it may be further by then, but never less far */
        uint64_t head = ring_load(&page->head);
        uint32_t position = ring_position_of(head);
        uint32_t used = position - ring_position_of(tail) + (uint32_t)length; /* then */
        uint32_t slots = ring_slots_between(ring_slot_of(tail), ring_slot_of(head));
        bool closed = (head & CLOSED) != 0;
        if (__builtin_expect(closed || used > ring->bytes_most[all] || slots >= ring->slots_most[all], 0)) {
            *chain = put.outer;
            return closed ? -ESHUTDOWN : -EAGAIN;
        }
        if (slots > 0) {
            note_owner(ring, head);
        }
        uint64_t next = ring_next_head(head, (uint32_t)length, put.token);
        put.head = head;
        __atomic_signal_fence(__ATOMIC_SEQ_CST);
        *chain = &put; /* cppcheck-suppress autoVariables ; until this returns */
        __atomic_signal_fence(__ATOMIC_SEQ_CST);
        if (__builtin_expect(ring_exchange(&page->head, head, next), 1)) {
            copy_in(ring, vector, count, length, position);
            ring_store(ring_slot_at(ring, ring_slot_of(head)),
                       ring_make_slot(position, (uint32_t)length, (flags & RING_WHOLE) != 0, SLOT_COMMITTED));
            *chain = put.outer;
            bool forked = __atomic_load_n(&ring->epoch, __ATOMIC_RELAXED) != epoch;
            return forked ? -ESHUTDOWN : (int64_t)used;
        }
        stand_back();
    }
}

/* Whether another thread of the process has the same few bits in its number. */
static bool has_twin(uint32_t token)
{
    enum { NUMBERS = 1 << 22 /* the kernel's limit */ };
    long self = sys_call(SYS_gettid, 0, 0, 0, 0, 0, 0);
    bool found = false;
    for (long other = token; other < NUMBERS && !found; other += TOKEN_LIMIT) {
        found = other > 0 && other != self && sys_call(SYS_tgkill, sys.getpid(), other, 0, 0, 0, 0) == 0;
    }
    return found;
}

/* Whether the slot that a thread was about to reserve is that of one with its few bits, and not committed yet. */
static bool is_reserved(const struct ring_put *put)
{
    const struct ring *ring = put->ring;
    uint64_t tail = ring_load(&ring->page->tail);
    uint64_t head = ring_load(&ring->page->head);
    uint32_t mine = ring_slot_of(put->head);
    if (ring_slots_between(ring_slot_of(tail), mine) >= ring_slots_between(ring_slot_of(tail), ring_slot_of(head))) {
        return false; /* nobody has, or it is done with */
    }
    uint64_t slot = ring_load(ring_slot_at(ring, mine));
    bool is_last = ring_slots_between(mine, ring_slot_of(head)) == 1;
    bool mine_or_twin = slot == SLOT_RESERVED && is_last && ring_token_of(head) == put->token;
    return mine_or_twin || slot == ring_owned_by(put->token);
}

/*
 * What looks like this thread's own reservation may be that of one whose number is equal modulo TOKEN_LIMIT: a copy
 * that is still made is over in a moment, and may be taken out in another, while this thread's own, which it jumped out
 * of, never will be.
 */
static bool has_reserved(const struct ring_put *put)
{
    enum { PAUSES = 10000 };
    const struct timespec pause = {.tv_nsec = 100000};
    bool reserved = is_reserved(put);
    if (reserved && has_twin(put->token)) {
        for (int i = 0; i < PAUSES && reserved; i++) {
            sys.sleep(&pause);
            reserved = is_reserved(put);
        }
    }
    return reserved;
}

void ring_abandon(struct ring_put **chain)
{
    for (const struct ring_put *put = *chain; put != NULL; put = put->outer) {
        if (has_reserved(put)) {
            ring_store(ring_slot_at(put->ring, ring_slot_of(put->head)),
                       ring_make_slot(ring_position_of(put->head), put->length, false, SLOT_GONE));
        }
    }
    *chain = NULL;
}

void ring_close(struct ring *ring)
{
    __atomic_fetch_or(&ring->page->head, CLOSED, __ATOMIC_SEQ_CST);
}

void ring_open(struct ring *ring)
{
    __atomic_fetch_and(&ring->page->head, ~(uint64_t)CLOSED, __ATOMIC_SEQ_CST);
}

void ring_forked(struct ring *ring)
{
    ring_close(ring);
    __atomic_add_fetch(&ring->epoch, 1, __ATOMIC_RELAXED);
}

uint32_t ring_used(const struct ring *ring)
{
    uint64_t tail = ring_load(&ring->page->tail);
    uint64_t head = ring_load(&ring->page->head);
    uint32_t bytes = ring_position_of(head) - ring_position_of(tail);
    return ring_slot_of(head) == ring_slot_of(tail) ? 0 : bytes > 0 ? bytes : 1;
}

uint32_t ring_end(const struct ring *ring)
{
    return ring_slot_of(ring_load(&ring->page->head));
}
