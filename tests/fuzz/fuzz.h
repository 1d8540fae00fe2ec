/*
 * What the fuzzers share: a property that does not hold ends the program, and the input is read piece by piece.
 *
 * make fuzz builds them (clang), make fuzz FUZZ_SECONDS=60 runs each for so long; a finding is a file in the directory
 * that it says, to be given to the fuzzer again, and then to go to tests/fuzz/corpus/NAME. tests/fuzz/run replays
 * those.
 */
#ifndef FUZZ_H
#define FUZZ_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* The property is its own name in the message. */
#define require(holds) fuzz_require((holds), #holds, __FILE__, __LINE__)

static inline void fuzz_require(bool holds, const char *property, const char *file, int line)
{
    if (!holds) {
        fprintf(stderr, "%s:%d: does not hold: %s\n", file, line, property);
        abort();
    }
}

/* What is left of the input. */
struct input {
    const uint8_t *data;
    size_t size;
};

/* The next byte, 0 at the end. */
static inline uint8_t input_byte(struct input *input)
{
    if (input->size == 0) {
        return 0;
    }
    input->size--;
    return *input->data++;
}

/* The next bytes as a number, the first one lowest. */
static inline uint64_t input_number(struct input *input, int bytes)
{
    uint64_t number = 0;
    for (int i = 0; i < bytes; i++) {
        number |= (uint64_t)input_byte(input) << (8 * i);
    }
    return number;
}

/* The string up to the next NUL, as a copy of its exact size, to be freed: so that a read beyond it is seen. */
static inline char *input_string(struct input *input)
{
    size_t length = input->size == 0 ? 0 : strnlen((const char *)input->data, input->size);
    char *copy = malloc(length + 1);
    require(copy != NULL);
    if (length > 0) {
        memcpy(copy, input->data, length);
    }
    copy[length] = '\0';
    length += length < input->size;
    input->data += length;
    input->size -= length;
    return copy;
}

#endif
