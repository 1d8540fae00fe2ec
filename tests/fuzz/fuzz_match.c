/*
 * Any pattern against any path: the answer is that of a matcher that tries everything; no byte outside of both is read
 * (they are exact copies on the heap), a log is never stale at the same time, and a stale path leads to a log.
 *
 * The input is a pattern, a second pattern and a path, each ended by a NUL.
 */
#include "fuzz.h"
#include "reference_match.h"

#include "../../shim/core/match.h"

#include <limits.h>

static void check_against_reference(const char *pattern, const char *path)
{
    const size_t MOST = 1 << 12; /* it takes its time */
    if (strlen(pattern) * strlen(path) < MOST) {
        require(match_pattern(pattern, path) == reference_match(pattern, path));
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct input input = {data, size};
    char *first = input_string(&input);
    char *second = input_string(&input);
    char *path = input_string(&input);
    const struct rule rules[2] = {{.pattern = first, .pattern_real = second, .lock_dir = "/l"},
                                  {.pattern = second, .pattern_real = second}};
    const struct config config = {.rules = rules, .count = 2, .diag = DIAG_FILE, .diag_path = "/d/diag"};
    char *log_path = malloc(PATH_MAX);
    require(log_path != NULL);

    check_against_reference(first, path);
    check_against_reference(second, path);
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
