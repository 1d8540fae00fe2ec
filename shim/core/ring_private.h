/*
 * Shared by ring.c (putting in) and ring_take.c (taking out): the words of a ring.
 */
#ifndef MPLOGSHIM_RING_PRIVATE_H
#define MPLOGSHIM_RING_PRIVATE_H

#include "ring.h"

/*
 * The head: position and slot that the next record gets, who made the last reservation (a few bits of the thread's
 * number), and whether there will be another.
 */
enum { POSITION_SHIFT = 32, SLOT_SHIFT = 12, TOKEN_SHIFT = 1, CLOSED = 1, SLOT_LIMIT = 1 << 20, TOKEN_LIMIT = 1 << 11 };

/* A slot: position and length of its record, and its state. 0: free, or reserved by somebody who copies just now. */
enum ring_slot_state { SLOT_RESERVED = 0, SLOT_COMMITTED = 1, SLOT_GONE = 2, SLOT_STATES = 3 };
enum { LENGTH_SHIFT = 8, LENGTH_LIMIT = 1 << 24, WHOLE = 4, OWNER_SHIFT = 8, OWNED = 8 };

static inline uint32_t ring_position_of(uint64_t head)
{
    return (uint32_t)(head >> POSITION_SHIFT);
}

static inline uint32_t ring_slot_of(uint64_t head)
{
    return (uint32_t)(head >> SLOT_SHIFT) % SLOT_LIMIT;
}

static inline uint32_t ring_token_of(uint64_t head)
{
    return (uint32_t)(head >> TOKEN_SHIFT) % TOKEN_LIMIT;
}

static inline uint64_t ring_make_head(uint32_t position, uint32_t slot, uint32_t token)
{
    return (uint64_t)position << POSITION_SHIFT | (uint64_t)(slot % SLOT_LIMIT) << SLOT_SHIFT | token << TOKEN_SHIFT;
}

/* The same for the record behind one of `length` bytes: the slot's bits are the highest of a half, and wrap there. */
static inline uint64_t ring_next_head(uint64_t head, uint32_t length, uint32_t token)
{
    uint32_t slot = ((uint32_t)head >> SLOT_SHIFT << SLOT_SHIFT) + (1 << SLOT_SHIFT);
    return ((head >> POSITION_SHIFT) + length) << POSITION_SHIFT | slot | token << TOKEN_SHIFT;
}
_Static_assert((uint64_t)SLOT_LIMIT << SLOT_SHIFT == (uint64_t)1 << POSITION_SHIFT, "slots are just below positions");

static inline uint64_t ring_make_slot(uint32_t position, uint32_t length, bool whole, enum ring_slot_state state)
{
    return (uint64_t)position << POSITION_SHIFT | (uint64_t)length << LENGTH_SHIFT | (whole ? WHOLE : 0) | state;
}

static inline uint32_t ring_length_of(uint64_t slot)
{
    return (uint32_t)(slot >> LENGTH_SHIFT) % LENGTH_LIMIT;
}

static inline enum ring_slot_state ring_state_of(uint64_t slot)
{
    return slot & SLOT_STATES;
}

/* What a reserved slot is given by others: whose it is. */
static inline uint64_t ring_owned_by(uint32_t token)
{
    return (uint64_t)token << OWNER_SHIFT | OWNED;
}

static inline uint32_t ring_slots_between(uint32_t from, uint32_t to)
{
    return (to - from) % SLOT_LIMIT;
}

static inline uint64_t ring_load(const uint64_t *word)
{
    return __atomic_load_n(word, __ATOMIC_ACQUIRE);
}

static inline void ring_store(uint64_t *word, uint64_t value)
{
    __atomic_store_n(word, value, __ATOMIC_RELEASE);
}

static inline bool ring_exchange(uint64_t *word, uint64_t from, uint64_t to)
{
    return __atomic_compare_exchange_n(word, &from, to, false, __ATOMIC_SEQ_CST, __ATOMIC_RELAXED);
}

static inline uint64_t *ring_slot_at(const struct ring *ring, uint32_t slot)
{
    return &ring->slots[slot & ring->slot_mask];
}

#endif
