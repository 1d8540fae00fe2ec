/*
 * The calls of the command: one file for each (call_NAME.c), and the table of them in main.c.
 *
 * Results go to standard output, messages to standard error.
 */
#ifndef MPLOGSHIM_TOOL_CALL_H
#define MPLOGSHIM_TOOL_CALL_H

enum call_status { CALL_DONE, CALL_FAILED, CALL_WRONG_USE };

struct call {
    const char *name;
    int (*run)(int argc, char *const argv[]); /* argv[0] is the call's name; returns a call_status. NULL: not yet */
    const char *help;                         /* lines, the first of them "usage: ..." */
};

extern const struct call call_settle;

/* "mplogshim: " and the text, as one line on standard error. */
void call_message(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* The same for wrong use, with a hint at --help. Returns CALL_WRONG_USE. */
int call_misused(const struct call *call, const char *format, ...) __attribute__((format(printf, 2, 3)));

#endif
