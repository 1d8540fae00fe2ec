/* Where a record of several pieces may be cut: each function against a naive one on the bytes put together. */
#include "../../shim/core/line.h"

#include <limits.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { PIECES = 9, BYTES = 64, ROUNDS = 20000 };

/* xorshift64*: the same numbers in every run, so that a failure can be repeated. */
static uint64_t random_state = 20261120;

static size_t random_below(size_t limit)
{
    random_state ^= random_state >> 12;
    random_state ^= random_state << 25;
    random_state ^= random_state >> 27;
    return (size_t)((random_state * 2685821657736338717U) >> 33) % limit;
}

struct record {
    char bytes[BYTES]; /* all pieces together */
    char spread[2 * BYTES];
    struct iovec vector[PIECES];
    int count;
    size_t total;
};

/* Pieces with gaps between them, some empty, with many newlines or few. */
static struct record *make_random(struct record *record)
{
    memset(record, 0, sizeof *record);
    size_t at = 0;
    size_t rarity = 1 + random_below(30);
    record->count = (int)random_below(PIECES);
    for (int i = 0; i < record->count; i++) {
        size_t length = random_below(8);
        at += random_below(3);
        record->vector[i] = (struct iovec){.iov_base = length > 0 ? record->spread + at : NULL, .iov_len = length};
        for (size_t j = 0; j < length; j++) {
            char byte = random_below(rarity) == 0 ? '\n' : (char)('a' + random_below(26));
            record->spread[at++] = byte;
            record->bytes[record->total++] = byte;
        }
        record->spread[at++] = '\n'; /* what a read past the piece would find */
    }
    return record;
}

static size_t naive_complete(const struct record *record, size_t length)
{
    size_t complete = 0;
    for (size_t i = 0; i < length && i < record->total; i++) {
        if (record->bytes[i] == '\n') {
            complete = i + 1;
        }
    }
    return complete;
}

static size_t naive_first(const struct record *record, size_t length)
{
    for (size_t i = 0; i < length && i < record->total; i++) {
        if (record->bytes[i] == '\n') {
            return i + 1;
        }
    }
    return length;
}

static void total_is_the_sum_of_all_pieces(void **state)
{
    struct record record;
    (void)state;
    for (int round = 0; round < ROUNDS; round++) {
        make_random(&record);
        assert_int_equal(line_total(record.vector, record.count), record.total);
    }
}

static void total_beyond_what_a_write_can_return_is_told(void **state)
{
    char byte;
    struct iovec vector[] = {{&byte, SSIZE_MAX}, {&byte, 0}, {&byte, 1}};
    (void)state;
    assert_int_equal(line_total(vector, 0), 0);
    assert_int_equal(line_total(vector, 2), SSIZE_MAX);
    assert_true(line_total(vector, 3) == SIZE_MAX);
    vector[2].iov_len = SIZE_MAX;
    assert_true(line_total(vector, 3) == SIZE_MAX);
}

static void complete_ends_behind_the_last_newline(void **state)
{
    struct record record;
    (void)state;
    for (int round = 0; round < ROUNDS; round++) {
        make_random(&record);
        size_t length = random_below(record.total + 1);
        assert_int_equal(line_complete(record.vector, record.count, length), naive_complete(&record, length));
        assert_int_equal(line_complete(record.vector, record.count, record.total),
                         naive_complete(&record, record.total));
    }
}

static void first_ends_behind_the_first_newline_or_at_the_length(void **state)
{
    struct record record;
    (void)state;
    for (int round = 0; round < ROUNDS; round++) {
        make_random(&record);
        size_t length = random_below(record.total + 1);
        assert_int_equal(line_first(record.vector, record.count, length), naive_first(&record, length));
    }
}

static void slice_is_the_same_bytes_in_no_more_pieces(void **state)
{
    struct record record;
    (void)state;
    for (int round = 0; round < ROUNDS; round++) {
        struct iovec slice[PIECES];
        size_t at;
        make_random(&record);
        size_t skip = random_below(record.total + 1);
        size_t length = random_below(record.total - skip + 1);
        int pieces = line_slice(record.vector, record.count, skip, length, slice);
        assert_in_range(pieces, 0, record.count);
        at = skip;
        for (int i = 0; i < pieces; i++) {
            assert_int_not_equal(slice[i].iov_len, 0);
            assert_memory_equal(slice[i].iov_base, record.bytes + at, slice[i].iov_len);
            at += slice[i].iov_len;
        }
        assert_int_equal(at, skip + length);
    }
}

static void copy_writes_the_bytes_asked_for_and_no_others(void **state)
{
    struct record record;
    (void)state;
    for (int round = 0; round < ROUNDS; round++) {
        char copy[BYTES + 2];
        char expected[BYTES + 2];
        make_random(&record);
        size_t skip = random_below(record.total + 1);
        size_t length = random_below(record.total - skip + 1);
        memset(copy, '#', sizeof copy);
        memset(expected, '#', sizeof expected);
        memcpy(expected + 1, record.bytes + skip, length);
        line_copy(record.vector, record.count, skip, length, copy + 1);
        assert_memory_equal(copy, expected, sizeof copy);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(total_is_the_sum_of_all_pieces),
        cmocka_unit_test(total_beyond_what_a_write_can_return_is_told),
        cmocka_unit_test(complete_ends_behind_the_last_newline),
        cmocka_unit_test(first_ends_behind_the_first_newline_or_at_the_length),
        cmocka_unit_test(slice_is_the_same_bytes_in_no_more_pieces),
        cmocka_unit_test(copy_writes_the_bytes_asked_for_and_no_others),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
