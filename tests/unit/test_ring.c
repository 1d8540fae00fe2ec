/* The buffer of async=1 by itself: putting in, taking out, what a killed process leaves, and what a stranger does. */
#include "../../shim/core/ring_private.h"

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cmocka.h>

enum { THREADS = 4, RECORDS = 40000, LONGEST = 200 };

struct fixture {
    struct ring ring;
    void *memory;
    size_t size;
};

static struct fixture fixture_make(uint64_t bytes)
{
    struct fixture fixture = {.size = ring_file_size(ring_room(bytes))};
    fixture.memory = calloc(1, fixture.size);
    assert_non_null(fixture.memory);
    ring_make(&fixture.ring, fixture.memory, ring_room(bytes), "app.log", 4711);
    return fixture;
}

static int64_t put_as(struct ring *ring, const char *text, uint32_t id)
{
    struct ring_put *chain = NULL;
    size_t length = strlen(text);
    const struct iovec piece = {.iov_base = (void *)(uintptr_t)text, .iov_len = length};
    int64_t used = ring_put(ring, &piece, 1, length,
                            RING_RESERVE | (length > 0 && text[length - 1] == '\n' ? RING_WHOLE : 0), id, &chain);
    assert_null(chain);
    return used;
}

static int64_t put(struct ring *ring, const char *text)
{
    return put_as(ring, text, 1);
}

/* The next run as text, which is taken out. */
static const char *take(struct ring *ring, bool late, bool *waits)
{
    static char text[RING_BATCH + 1];
    struct ring_run run;
    if (!ring_next(ring, ring_end(ring), 0, late, &run, waits)) {
        return "";
    }
    size_t at = 0;
    for (int i = 0; i < run.count; i++) {
        memcpy(text + at, run.vector[i].iov_base, run.vector[i].iov_len);
        at += run.vector[i].iov_len;
    }
    text[at] = '\0';
    ring_intend(ring, &run, run.length, 1, 2, 3);
    ring_settle(ring, run.length);
    return text;
}

static void records_come_out_as_they_went_in(void **state)
{
    bool waits;
    (void)state;
    struct fixture fixture = fixture_make(1);
    assert_int_equal(ring_used(&fixture.ring), 0);
    assert_int_equal(put(&fixture.ring, "one\n"), 4);
    assert_int_equal(put(&fixture.ring, "two\n"), 8);
    assert_int_equal(ring_used(&fixture.ring), 8);
    assert_string_equal(take(&fixture.ring, false, &waits), "one\ntwo\n");
    assert_false(waits);
    assert_int_equal(ring_used(&fixture.ring), 0);
    free(fixture.memory);
}

static void a_full_ring_takes_no_more_until_something_is_taken_out(void **state)
{
    char record[1001];
    bool waits;
    (void)state;
    struct fixture fixture = fixture_make(RING_LEAST);
    memset(record, 'x', sizeof record - 1);
    record[sizeof record - 1] = '\0';
    int count = 0;
    for (int lap = 0; lap < 5; lap++) { /* over the end, again and again */
        while (put(&fixture.ring, record) > 0) {
            count++;
        }
        assert_int_equal(put(&fixture.ring, record), -EAGAIN);
        size_t got = 0;
        for (size_t more; (more = strlen(take(&fixture.ring, false, &waits))) > 0; got += more) {
        }
        assert_int_equal(got, (size_t)(RING_LEAST / 1000) * 1000);
    }
    assert_int_equal(count, 5 * (RING_LEAST / 1000));
    free(fixture.memory);
}

static void slots_run_out_before_bytes_with_small_records(void **state)
{
    (void)state;
    struct fixture fixture = fixture_make(RING_LEAST);
    int count = 0;
    while (put(&fixture.ring, "\n") > 0) {
        count++;
    }
    assert_int_equal(count, fixture.ring.slot_mask + 1);
    free(fixture.memory);
}

static void a_record_that_is_too_long_and_a_closed_ring_are_refused(void **state)
{
    (void)state;
    struct fixture fixture = fixture_make(RING_LEAST);
    char *record = calloc(1, fixture.ring.longest + 2);
    memset(record, 'x', fixture.ring.longest + 1);
    assert_int_equal(put(&fixture.ring, record), -EMSGSIZE);
    ring_close(&fixture.ring);
    assert_int_equal(put(&fixture.ring, "x\n"), -ESHUTDOWN);
    ring_open(&fixture.ring);
    assert_int_equal(put(&fixture.ring, "x\n"), 2);
    free(record);
    free(fixture.memory);
}

/* The length has so many bits in its slot: one more, and it would be 0. */
static void the_longest_record_of_a_large_ring_comes_out_whole(void **state)
{
    enum { LIMIT = 1 << 24 };
    bool waits;
    struct ring_run run;
    struct ring_put *chain = NULL;
    (void)state;
    struct fixture fixture = fixture_make(4L * LIMIT);
    assert_int_equal(fixture.ring.data_mask, 4 * LIMIT - 1);
    struct iovec piece = {.iov_base = calloc(1, LIMIT), .iov_len = LIMIT};
    assert_int_equal(ring_put(&fixture.ring, &piece, 1, LIMIT, RING_WHOLE, 1, &chain), -EMSGSIZE);
    piece.iov_len = LIMIT - 1;
    assert_int_equal(ring_put(&fixture.ring, &piece, 1, LIMIT - 1, RING_WHOLE, 1, &chain), LIMIT - 1);
    assert_true(ring_next(&fixture.ring, ring_end(&fixture.ring), 0, false, &run, &waits));
    assert_int_equal(run.length, LIMIT - 1);
    free(piece.iov_base);
    free(fixture.memory);
}

static struct ring *forked;
static char *hidden;

static void fork_in_handler(int signal)
{
    (void)signal;
    ring_forked(forked);
    ring_open(forked);
    mprotect(hidden, 4096, PROT_READ | PROT_WRITE);
}

/* In the child of a handler that forked in the midst of it, the record went to memory that is the parent's. */
static void a_record_that_a_fork_interrupts_is_to_be_put_in_anew(void **state)
{
    struct ring_put *chain = NULL;
    (void)state;
    struct fixture fixture = fixture_make(RING_LEAST);
    forked = &fixture.ring;
    hidden = mmap(NULL, 4096, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    const struct iovec piece = {.iov_base = hidden, .iov_len = 10};
    signal(SIGSEGV, fork_in_handler);
    assert_int_equal(ring_put(&fixture.ring, &piece, 1, 10, RING_WHOLE, 1, &chain), -ESHUTDOWN);
    signal(SIGSEGV, SIG_DFL);
    assert_null(chain);
    assert_int_equal(ring_put(&fixture.ring, &piece, 1, 10, RING_WHOLE, 1, &chain), 20);
    munmap(hidden, 4096);
    free(fixture.memory);
}

/* What a thread has reserved that was stopped before it could copy: the head is further, and the slot is empty. */
static struct ring_put reserve(struct ring *ring, uint32_t length, uint32_t id)
{
    uint64_t head = ring->page->head;
    struct ring_put stopped = {.ring = ring, .head = head, .length = length, .token = id};
    ring->page->head = (head + ((uint64_t)length << 32) + (1 << 12)) & ~(uint64_t)0xfff;
    ring->page->head |= id << 1;
    return stopped;
}

static void what_is_being_put_in_holds_up_who_is_patient_only(void **state)
{
    bool waits;
    (void)state;
    struct fixture fixture = fixture_make(1);
    put(&fixture.ring, "one\n");
    (void)reserve(&fixture.ring, 4, 7);
    put(&fixture.ring, "three\n");
    assert_string_equal(take(&fixture.ring, false, &waits), "one\n");
    assert_string_equal(take(&fixture.ring, false, &waits), "");
    assert_true(waits);
    assert_string_equal(take(&fixture.ring, true, &waits), "three\n");
    assert_string_equal(take(&fixture.ring, true, &waits), "");
    assert_true(waits);
    free(fixture.memory);
}

static void who_jumps_away_after_reserving_holds_up_nobody(void **state)
{
    bool waits;
    (void)state;
    for (int others = 0; others < 3; others++) { /* the last one to reserve, or not */
        struct fixture fixture = fixture_make(1);
        put(&fixture.ring, "one\n");
        struct ring_put stopped = reserve(&fixture.ring, 4, 7);
        struct ring_put *chain = &stopped;
        for (int i = 0; i < others; i++) {
            put_as(&fixture.ring, "more\n", 8);
        }
        ring_abandon(&chain);
        assert_null(chain);
        ring_tidy(&fixture.ring);
        assert_true(ring_used(&fixture.ring) > 0);
        assert_string_equal(take(&fixture.ring, false, &waits), "one\n");
        assert_false(waits);
        assert_string_equal(take(&fixture.ring, false, &waits), others == 0   ? ""
                                                                : others == 1 ? "more\n"
                                                                              : "more\nmore\n");
        assert_false(waits);
        assert_int_equal(ring_used(&fixture.ring), 0);
        free(fixture.memory);
    }
}

/* In a handler that puts something in itself, and jumps out of that. */
static void who_jumps_away_from_two_at_a_time_gives_both_up(void **state)
{
    bool waits;
    (void)state;
    struct fixture fixture = fixture_make(1);
    struct ring_put interrupted = reserve(&fixture.ring, 4, 7);
    put_as(&fixture.ring, "more\n", 7);
    struct ring_put handlers = reserve(&fixture.ring, 4, 7);
    handlers.outer = &interrupted;
    struct ring_put *chain = &handlers;
    ring_abandon(&chain);
    ring_tidy(&fixture.ring);
    assert_string_equal(take(&fixture.ring, false, &waits), "more\n");
    assert_false(waits);
    assert_int_equal(ring_used(&fixture.ring), 0);
    free(fixture.memory);
}

/* Slots that were used before are as new ones. */
static void so_does_who_jumps_away_when_all_slots_were_used(void **state)
{
    bool waits;
    (void)state;
    struct fixture fixture = fixture_make(1);
    for (uint32_t i = 0; i <= fixture.ring.slot_mask + 1; i++) {
        put(&fixture.ring, "one\n");
        assert_string_equal(take(&fixture.ring, false, &waits), "one\n");
    }
    struct ring_put stopped = reserve(&fixture.ring, 4, 7);
    struct ring_put *chain = &stopped;
    ring_abandon(&chain);
    ring_tidy(&fixture.ring);
    assert_int_equal(ring_used(&fixture.ring), 0);
    free(fixture.memory);
}

static void what_was_given_up_alone_leaves_nothing(void **state)
{
    (void)state;
    struct ring again;
    struct fixture fixture = fixture_make(1);
    struct ring_put stopped = reserve(&fixture.ring, 4, 7);
    struct ring_put *chain = &stopped;
    ring_abandon(&chain);
    ring_tidy(&fixture.ring);
    assert_int_equal(ring_used(&fixture.ring), 0);
    (void)reserve(&fixture.ring, 4, 7); /* killed here */
    assert_int_equal(ring_take_over(&again, fixture.memory, fixture.size, "app.log"), 0);
    ring_tidy(&again);
    assert_int_equal(ring_used(&again), 0);
    free(fixture.memory);
}

static void what_was_given_up_behind_the_end_is_not_waited_for(void **state)
{
    bool waits;
    struct ring_run run;
    (void)state;
    struct fixture fixture = fixture_make(1);
    put(&fixture.ring, "one\n");
    uint32_t end = ring_end(&fixture.ring);
    struct ring_put stopped = reserve(&fixture.ring, 4, 7);
    struct ring_put *chain = &stopped;
    ring_abandon(&chain);
    assert_true(ring_next(&fixture.ring, end, 0, false, &run, &waits));
    ring_intend(&fixture.ring, &run, run.length, 1, 2, 0);
    ring_settle(&fixture.ring, run.length); /* which frees both */
    assert_int_equal(ring_used(&fixture.ring), 0);
    assert_false(ring_next(&fixture.ring, end, 0, false, &run, &waits));
    assert_false(waits);
    assert_false(ring_has_before(&fixture.ring, end));
    free(fixture.memory);
}

static void who_jumps_away_before_reserving_takes_nothing_of_others(void **state)
{
    bool waits;
    (void)state;
    struct fixture fixture = fixture_make(1);
    struct ring_put stopped = {.ring = &fixture.ring, .head = fixture.ring.page->head, .length = 4, .token = 7};
    struct ring_put *chain = &stopped;
    ring_abandon(&chain); /* nobody has reserved */
    struct ring_put other = reserve(&fixture.ring, 5, 8);
    chain = &stopped;
    ring_abandon(&chain); /* another thread has */
    put_as(&fixture.ring, "more\n", 9);
    chain = &stopped;
    ring_abandon(&chain); /* and is not the last one */
    assert_string_equal(take(&fixture.ring, false, &waits), "");
    assert_true(waits);
    chain = &other;
    ring_abandon(&chain);
    assert_string_equal(take(&fixture.ring, false, &waits), "more\n");
    free(fixture.memory);
}

/* Another thread, that has reserved where one whose number ends in the same bits was about to. */
static struct twin {
    struct ring *ring;
    atomic_uint id;
    struct ring_put put;
    atomic_bool reserved;
    bool takes;              /* it takes out at once what it has put in */
    pthread_mutex_t takeout; /* as a log's lock: one at a time takes out */
} twin = {.takeout = PTHREAD_MUTEX_INITIALIZER};

static void *reserve_and_commit(void *unused)
{
    const struct timespec moment = {.tv_nsec = 20000000};
    atomic_store(&twin.id, (unsigned)syscall(SYS_gettid));
    twin.put = reserve(twin.ring, 4, twin.id % TOKEN_LIMIT);
    atomic_store(&twin.reserved, true);
    nanosleep(&moment, NULL);
    memcpy(twin.ring->data, "two\n", 4);
    ring_store(ring_slot_at(twin.ring, ring_slot_of(twin.put.head)), ring_make_slot(0, 4, true, SLOT_COMMITTED));
    if (twin.takes) {
        bool waits;
        pthread_mutex_lock(&twin.takeout);
        assert_string_equal(take(twin.ring, false, &waits), "two\n");
        pthread_mutex_unlock(&twin.takeout);
    }
    return unused;
}

static struct fixture jump_beside_twin(bool takes)
{
    pthread_t thread;
    struct fixture fixture = fixture_make(1);
    atomic_store(&twin.reserved, false);
    twin.ring = &fixture.ring;
    twin.takes = takes;
    struct ring_put stopped = {.ring = &fixture.ring, .head = fixture.ring.page->head, .length = 4};
    assert_int_equal(pthread_create(&thread, NULL, reserve_and_commit, NULL), 0);
    while (!atomic_load(&twin.reserved)) {
        sched_yield();
    }
    stopped.token = twin.id % TOKEN_LIMIT;
    struct ring_put *chain = &stopped;
    ring_abandon(&chain);
    pthread_mutex_lock(&twin.takeout);
    ring_tidy(&fixture.ring);
    pthread_mutex_unlock(&twin.takeout);
    pthread_join(thread, NULL);
    return fixture;
}

static void who_jumps_away_takes_nothing_of_one_whose_number_ends_alike(void **state)
{
    bool waits;
    (void)state;
    struct fixture fixture = jump_beside_twin(false);
    assert_string_equal(take(&fixture.ring, false, &waits), "two\n");
    free(fixture.memory);
}

static void nor_gives_up_a_slot_that_was_taken_out_meanwhile(void **state)
{
    (void)state;
    struct fixture fixture = jump_beside_twin(true);
    assert_int_equal(ring_load(ring_slot_at(&fixture.ring, 0)), SLOT_RESERVED);
    free(fixture.memory);
}

static void runs_are_cut_between_records_that_end_lines(void **state)
{
    bool waits;
    struct ring_run run;
    (void)state;
    struct fixture fixture = fixture_make(1);
    put(&fixture.ring, "a long line that does not fit\n");
    put(&fixture.ring, "in pie");
    put(&fixture.ring, "ces\n");
    put(&fixture.ring, "last\n");
    assert_true(ring_next(&fixture.ring, ring_end(&fixture.ring), 0, false, &run, &waits));
    assert_int_equal(run.length, 45);
    assert_int_equal(run.records, 4);
    assert_int_equal(ring_cut(&fixture.ring, &run, 0), 30);
    assert_int_equal(ring_cut(&fixture.ring, &run, 39), 30);
    assert_int_equal(ring_cut(&fixture.ring, &run, 40), 40);
    assert_int_equal(ring_cut(&fixture.ring, &run, 44), 40);
    assert_int_equal(ring_cut(&fixture.ring, &run, 45), 45);
    assert_true(ring_next(&fixture.ring, ring_end(&fixture.ring), 20, false, &run, &waits));
    assert_int_equal(run.length, 30); /* longer than a file may be: alone */
    assert_int_equal(run.records, 1);
    free(fixture.memory);
}

/* The parts of a batch that are in the file when its writer dies or fails. */
static void what_of_a_batch_is_written_is_taken_out_once(void **state)
{
    static const char *const left[] = {"one\ntwo\n", "ne\ntwo\n", "e\ntwo\n", "\ntwo\n", "two\n",
                                       "wo\n",       "o\n",       "\n",       ""};
    (void)state;
    for (size_t done = 0; done <= 8; done++) {
        bool waits;
        struct ring_run run;
        struct fixture fixture = fixture_make(1);
        put(&fixture.ring, "one\n");
        put(&fixture.ring, "two\n");
        assert_false(ring_intended(&fixture.ring, &run));
        assert_true(ring_next(&fixture.ring, ring_end(&fixture.ring), 0, false, &run, &waits));
        ring_intend(&fixture.ring, &run, run.length, 1, 2, 3);
        assert_true(ring_intended(&fixture.ring, &run));
        assert_int_equal(run.length, 8);
        assert_memory_equal(run.vector[0].iov_base, "one\ntwo\n", 8);
        ring_settle(&fixture.ring, done);
        assert_false(ring_intended(&fixture.ring, &run));
        assert_string_equal(take(&fixture.ring, false, &waits), left[done]);
        free(fixture.memory);
    }
}

static void a_dead_process_that_had_written_a_batch_is_believed(void **state)
{
    bool waits;
    struct ring_run run;
    struct ring again;
    (void)state;
    struct fixture fixture = fixture_make(1);
    put(&fixture.ring, "one\n");
    put(&fixture.ring, "two\n");
    assert_true(ring_next(&fixture.ring, ring_end(&fixture.ring), 0, false, &run, &waits));
    ring_intend(&fixture.ring, &run, 4, 1, 2, 3);
    fixture.ring.page->intent.state = RING_WRITTEN; /* killed here */
    assert_int_equal(ring_take_over(&again, fixture.memory, fixture.size, "app.log"), 0);
    assert_false(ring_intended(&again, &run));
    assert_string_equal(take(&again, false, &waits), "two\n");
    free(fixture.memory);
}

static void what_a_dead_process_was_still_putting_in_never_was(void **state)
{
    bool waits;
    struct ring again;
    (void)state;
    struct fixture fixture = fixture_make(1);
    put(&fixture.ring, "one\n");
    (void)reserve(&fixture.ring, 4, 7);
    put(&fixture.ring, "three\n");
    (void)reserve(&fixture.ring, 5, 7);
    ring_close(&fixture.ring);
    assert_int_equal(ring_take_over(&again, fixture.memory, fixture.size, "app.log"), 0);
    assert_string_equal(take(&again, false, &waits), "one\n");
    assert_string_equal(take(&again, false, &waits), "three\n");
    assert_false(waits);
    assert_int_equal(ring_used(&again), 0);
    free(fixture.memory);
}

static uint64_t random_state = 20261121;

static uint32_t random_next(void)
{
    random_state ^= random_state >> 12;
    random_state ^= random_state << 25;
    random_state ^= random_state >> 27;
    return (uint32_t)((random_state * 2685821657736338717U) >> 32);
}

/* Reads all of it as a taker does. Sanitizers see what is read outside of it. */
static void read_noise(struct ring *ring)
{
    bool waits;
    struct ring_run run;
    struct ring_run next;
    volatile char sum = 0;
    if (ring_intended(ring, &run)) {
        for (int i = 0; i < run.count; i++) {
            for (size_t j = 0; j < run.vector[i].iov_len; j++) {
                sum = (char)(sum + ((const char *)run.vector[i].iov_base)[j]);
            }
        }
        ring_settle(ring, ring_whole(ring, &run, random_next() % 64, &next));
    }
    for (int i = 0; i < 1000 && ring_next(ring, ring_end(ring), random_next() % 64, true, &run, &waits); i++) {
        size_t length = ring_cut(ring, &run, random_next() % 64);
        assert_true(length > 0 && length <= run.length);
        for (int j = 0; j < run.count; j++) {
            assert_true((char *)run.vector[j].iov_base >= ring->data);
            assert_true((char *)run.vector[j].iov_base + run.vector[j].iov_len <= ring->data + ring->data_mask + 1);
        }
        ring_intend(ring, &run, length, 1, 2, 3);
        ring_settle(ring, length);
    }
}

static void noise_in_a_strangers_ring_does_no_harm(void **state)
{
    (void)state;
    int taken = 0;
    for (int round = 0; round < 3000; round++) {
        struct ring again;
        struct fixture fixture = fixture_make(RING_LEAST);
        for (uint32_t i = random_next() % 30; i > 0; i--) {
            put(&fixture.ring, "some line\n");
        }
        for (uint32_t i = 1 + random_next() % 4; i > 0; i--) {
            uint32_t limit = random_next() % 2 == 0 ? sizeof(struct ring_page) : RING_PAGE + 256;
            ((unsigned char *)fixture.memory)[random_next() % limit] = (unsigned char)random_next();
        }
        size_t size = random_next() % 10 == 0 ? random_next() % fixture.size : fixture.size;
        if (ring_take_over(&again, fixture.memory, size, "app.log") == 0) {
            taken++;
            read_noise(&again);
        }
        free(fixture.memory);
    }
    assert_true(taken > 100);
}

static void a_ring_of_another_log_is_not_taken(void **state)
{
    struct ring again;
    (void)state;
    struct fixture fixture = fixture_make(1);
    assert_int_equal(ring_take_over(&again, fixture.memory, fixture.size, "app.lo"), -EINVAL);
    assert_int_equal(ring_take_over(&again, fixture.memory, fixture.size, "app.log"), 0);
    free(fixture.memory);
}

static struct fixture shared;
static atomic_int running;

/* "3 00001234 xxxx\n" of any length. */
static void *put_many(void *number)
{
    uint32_t id = *(uint32_t *)number;
    char text[LONGEST + 32];
    for (unsigned i = 0; i < RECORDS; i++) {
        int length = snprintf(text, sizeof text, "%u %08u ", id, i);
        memset(text + length, 'a' + (int)id, i % LONGEST);
        strcpy(text + length + i % LONGEST, "\n");
        while (put_as(&shared.ring, text, id) == -EAGAIN) {
            sched_yield();
        }
    }
    running--;
    return NULL;
}

/* Every line is whole, and those of each thread come in their order. */
static void account(const char *text, unsigned *next)
{
    while (*text != '\0') {
        unsigned id;
        unsigned number;
        assert_int_equal(sscanf(text, "%u %8u ", &id, &number), 2);
        assert_true(id < THREADS);
        assert_int_equal(number, next[id]++);
        text += 11;
        assert_int_equal(strspn(text, (char[]){(char)('a' + id), '\0'}), number % LONGEST);
        text += number % LONGEST;
        assert_int_equal(*text++, '\n');
    }
}

static void threads_lose_nothing_and_keep_their_order(void **state)
{
    pthread_t threads[THREADS];
    uint32_t numbers[THREADS];
    unsigned next[THREADS] = {0};
    bool waits;
    (void)state;
    shared = fixture_make(RING_LEAST);
    running = THREADS;
    for (uint32_t i = 0; i < THREADS; i++) {
        numbers[i] = i;
        assert_int_equal(pthread_create(&threads[i], NULL, put_many, &numbers[i]), 0);
    }
    while (running > 0 || ring_used(&shared.ring) > 0) {
        const char *text = take(&shared.ring, false, &waits);
        account(text, next);
        if (*text == '\0') {
            sched_yield();
        }
    }
    for (int i = 0; i < THREADS; i++) {
        pthread_join(threads[i], NULL);
        assert_int_equal(next[i], RECORDS);
    }
    free(shared.memory);
}

/*
 * The same with signal handlers that put in by themselves while their thread is at it, and jump away from that at
 * times, as the library does when a handler of the program's jumps: the record that it jumped away from comes once or
 * not at all, and nobody waits for it.
 */
enum { INTERRUPTED_RECORDS = 4000, JUMPS_EVERY = 3, JUMPS_LEAST = 10 };
static __thread struct ring_put *interrupted_chain;
static __thread sigjmp_buf before_put;
static __thread volatile sig_atomic_t may_jump;
static __thread volatile unsigned handled; /* records that this thread's handler has put in */
static __thread uint32_t own_id;

/* "3 h 00001234\n" of handlers, "3 p 00001234\n" of threads. */
static int64_t put_numbered(char kind, unsigned number)
{
    char text[32];
    int length = snprintf(text, sizeof text, "%u %c %08u\n", own_id, kind, number);
    const struct iovec piece = {.iov_base = text, .iov_len = (size_t)length};
    return ring_put(&shared.ring, &piece, 1, (size_t)length, RING_WHOLE | (kind == 'h' ? RING_RESERVE : 0), own_id,
                    &interrupted_chain);
}

static void put_in_handler(int signal)
{
    (void)signal;
    if (put_numbered('h', handled) >= 0) {
        handled++;
    }
    if (may_jump && handled % JUMPS_EVERY == 0) {
        ring_abandon(&interrupted_chain);
        siglongjmp(before_put, 1);
    }
}

struct putter {
    uint32_t id;
    pid_t thread;
    unsigned put;
    unsigned handled;
    unsigned jumped;
};

static void *put_interrupted(void *argument)
{
    struct putter *putter = argument;
    own_id = putter->id;
    __atomic_store_n(&putter->thread, (pid_t)syscall(SYS_gettid), __ATOMIC_RELEASE);
    for (volatile unsigned i = 0; i < INTERRUPTED_RECORDS || putter->jumped < JUMPS_LEAST;) {
        if (sigsetjmp(before_put, 1) == 0) {
            may_jump = 1;
            int64_t used = put_numbered('p', i);
            may_jump = 0;
            putter->put += used >= 0;
            i += used >= 0;
        } else {
            may_jump = 0;
            putter->jumped++;
            i++; /* that one may be there, or not */
        }
    }
    sigset_t all;
    sigfillset(&all);
    pthread_sigmask(SIG_BLOCK, &all, NULL);
    putter->handled = handled;
    running--;
    return NULL;
}

/* How many records of a text there are of threads and of handlers: each whole, and each one's in their order. */
static void account_interrupted(const char *text, unsigned *puts, unsigned *next, unsigned *next_handled)
{
    for (; *text != '\0'; text += 13) {
        unsigned id;
        unsigned number;
        char kind;
        assert_int_equal(sscanf(text, "%u %c %8u", &id, &kind, &number), 3);
        assert_int_equal(text[12], '\n');
        assert_true(id < THREADS);
        if (kind == 'h') {
            assert_int_equal(number, next_handled[id]++);
        } else {
            assert_true(number >= next[id]);
            next[id] = number + 1;
            puts[id]++;
        }
    }
}

static void signal_each(struct putter *putters)
{
    for (int i = 0; i < THREADS; i++) {
        pid_t thread = __atomic_load_n(&putters[i].thread, __ATOMIC_ACQUIRE);
        if (thread != 0) {
            syscall(SYS_tgkill, getpid(), thread, SIGUSR1);
        }
    }
}

static void threads_that_are_interrupted_and_jump_lose_nothing(void **state)
{
    pthread_t threads[THREADS];
    struct putter putters[THREADS] = {{0}};
    unsigned puts[THREADS] = {0};
    unsigned next[THREADS] = {0};
    unsigned next_handled[THREADS] = {0};
    bool waits = false;
    (void)state;
    shared = fixture_make(RING_LEAST);
    signal(SIGUSR1, put_in_handler);
    running = THREADS;
    for (uint32_t i = 0; i < THREADS; i++) {
        putters[i].id = i;
        assert_int_equal(pthread_create(&threads[i], NULL, put_interrupted, &putters[i]), 0);
    }
    while (running > 0 || ring_used(&shared.ring) > 0) {
        signal_each(putters);
        ring_tidy(&shared.ring);
        bool ended = running == 0; /* before the look: who is seen in the midst of a record may end meanwhile */
        const char *text = take(&shared.ring, false, &waits);
        account_interrupted(text, puts, next, next_handled);
        assert_false(ended && waits);
        if (*text == '\0') {
            sched_yield();
        }
    }
    for (int i = 0; i < THREADS; i++) {
        pthread_join(threads[i], NULL);
        assert_int_equal(next_handled[i], putters[i].handled);
        assert_in_range(puts[i], putters[i].put, putters[i].put + putters[i].jumped);
    }
    free(shared.memory);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(records_come_out_as_they_went_in),
        cmocka_unit_test(a_full_ring_takes_no_more_until_something_is_taken_out),
        cmocka_unit_test(slots_run_out_before_bytes_with_small_records),
        cmocka_unit_test(a_record_that_is_too_long_and_a_closed_ring_are_refused),
        cmocka_unit_test(the_longest_record_of_a_large_ring_comes_out_whole),
        cmocka_unit_test(a_record_that_a_fork_interrupts_is_to_be_put_in_anew),
        cmocka_unit_test(what_is_being_put_in_holds_up_who_is_patient_only),
        cmocka_unit_test(who_jumps_away_after_reserving_holds_up_nobody),
        cmocka_unit_test(who_jumps_away_from_two_at_a_time_gives_both_up),
        cmocka_unit_test(so_does_who_jumps_away_when_all_slots_were_used),
        cmocka_unit_test(what_was_given_up_alone_leaves_nothing),
        cmocka_unit_test(what_was_given_up_behind_the_end_is_not_waited_for),
        cmocka_unit_test(who_jumps_away_before_reserving_takes_nothing_of_others),
        cmocka_unit_test(who_jumps_away_takes_nothing_of_one_whose_number_ends_alike),
        cmocka_unit_test(nor_gives_up_a_slot_that_was_taken_out_meanwhile),
        cmocka_unit_test(runs_are_cut_between_records_that_end_lines),
        cmocka_unit_test(what_of_a_batch_is_written_is_taken_out_once),
        cmocka_unit_test(a_dead_process_that_had_written_a_batch_is_believed),
        cmocka_unit_test(what_a_dead_process_was_still_putting_in_never_was),
        cmocka_unit_test(noise_in_a_strangers_ring_does_no_harm),
        cmocka_unit_test(a_ring_of_another_log_is_not_taken),
        cmocka_unit_test(threads_lose_nothing_and_keep_their_order),
        cmocka_unit_test(threads_that_are_interrupted_and_jump_lose_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
