/*
 * The command: finds the call by its name.
 */
#include "call.h"

#include "../../include/mplogshim.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

/* Those without a function are not in this version. */
static const struct call run = {.name = "run"};
static const struct call check = {.name = "check"};
static const struct call status = {.name = "status"};
static const struct call rotate = {.name = "rotate"};
static const struct call cat = {.name = "cat"};
static const struct call pipe_call = {.name = "pipe"};
static const struct call *const calls[] = {&run, &check, &status, &rotate, &call_settle, &cat, &pipe_call};
enum { CALLS = sizeof calls / sizeof calls[0] };

static const char help[] = "usage: mplogshim CALL [ARGUMENT]...\n"
                           "       mplogshim CALL --help\n"
                           "       mplogshim --version\n"
                           "\n"
                           "calls:\n"
                           "  settle [LOG]...   finish all pending work of logs and return when done\n";

static const struct call *find_call(const char *name)
{
    for (size_t i = 0; i < CALLS; i++) {
        if (strcmp(calls[i]->name, name) == 0) {
            return calls[i];
        }
    }
    return NULL;
}

/* What was asked for was printed, or was not: a full disk, a closed standard output. */
static int print(const char *text)
{
    if (fputs(text, stdout) == EOF || fflush(stdout) != 0) {
        call_message("standard output cannot be written");
        return CALL_FAILED;
    }
    return CALL_DONE;
}

static bool is_help(const char *word)
{
    return strcmp(word, "--help") == 0 || strcmp(word, "-h") == 0;
}

int main(int argc, char *argv[])
{
    if (argc < 2) {
        return call_misused(NULL, "a call is missing");
    }
    if (is_help(argv[1])) {
        return print(help);
    }
    if (strcmp(argv[1], "--version") == 0) {
        return print("mplogshim " MPLOGSHIM_VERSION "\n");
    }
    const struct call *call = find_call(argv[1]);
    if (call == NULL) {
        return call_misused(NULL, "no such call: %s", argv[1]);
    }
    if (call->run == NULL) {
        return call_misused(NULL, "%s is not in this version", call->name);
    }
    if (argc > 2 && is_help(argv[2])) {
        return print(call->help);
    }
    return call->run(argc - 1, argv + 1);
}
