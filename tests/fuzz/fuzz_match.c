/*
 * Any pattern against any path: no byte outside of both is read (they are exact copies on the heap), a log is never
 * stale at the same time, and a stale path leads to a log.
 *
 * The input is a pattern, a second pattern and a path, each ended by a NUL.
 *
 * clang -std=gnu11 -O1 -g -D_GNU_SOURCE -Iinclude -fsanitize=fuzzer,address,undefined \
 *     -o fuzz_match tests/fuzz/fuzz_match.c shim/core/{match,name}.c
 * ./fuzz_match -max_len=1024 -max_total_time=120 -dict=tests/fuzz/match.dict
 */
#include "../../shim/core/match.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>

static void require(bool holds)
{
    if (!holds)
        abort();
}

/* The next string of the input, as a copy of its exact size. */
static char *take_string(const uint8_t **data, size_t *size)
{
    size_t length = strnlen((const char *)*data, *size);
    char *copy = malloc(length + 1);
    require(copy != NULL);
    memcpy(copy, *data, length);
    copy[length] = '\0';
    length += length < *size;
    *data += length;
    *size -= length;
    return copy;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *first = take_string(&data, &size);
    char *second = take_string(&data, &size);
    char *path = take_string(&data, &size);
    const struct rule rules[2] = {{.pattern = first, .pattern_real = second, .lock_dir = "/l"},
                                  {.pattern = second, .pattern_real = second}};
    const struct config config = {.rules = rules, .count = 2, .diag = DIAG_FILE, .diag_path = "/d/diag"};
    char *log_path = malloc(PATH_MAX);
    require(log_path != NULL);

    const struct rule *live = match_log(&config, path);
    const struct rule *stale = match_stale(&config, path, log_path, PATH_MAX);
    require(!live || match_pattern(live->pattern, path) || match_pattern(live->pattern_real, path));
    require(!live || !stale);
    if (stale) {
        require(match_log(&config, log_path) == stale);
        require(strlen(log_path) < strlen(path));
    }
    /* A path is its own pattern once nothing in it is special. */
    require(strpbrk(path, "*?[\\") || match_pattern(path, path));

    free(log_path);
    free(path);
    free(second);
    free(first);
    return 0;
}
