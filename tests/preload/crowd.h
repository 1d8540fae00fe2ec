/*
 * Numbered lines of many writers on one log, "app.log", and the account of them: for test programs that include it.
 */
#ifndef TESTS_CROWD_H
#define TESTS_CROWD_H

#include "test.h"

#include <sys/mman.h>

enum { WRITERS = 80 };

/* Shared with children: how many lines of each writer were acknowledged. */
static volatile int *acknowledged;

static inline void share_counters(void)
{
    acknowledged = mmap(NULL, WRITERS * sizeof(int), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
}

static inline bool write_numbered(int fd, int writer, int number)
{
    char line[64];
    int length = snprintf(line, sizeof line, "writer %02d line %06d of some length\n", writer, number);
    return write(fd, line, (size_t)length) == length;
}

static inline void write_lines(int fd, int writer, int lines)
{
    for (int i = 0; i < lines; i++) {
        if (!write_numbered(fd, writer, i)) {
            test_fail(__LINE__, "writer %d: write: errno %d", writer, errno);
            return;
        }
        acknowledged[writer] = i + 1;
    }
}

/* A whole line of write_numbered. Of a copy: sscanf looks for the end of all the text that it is given. */
static inline bool read_numbered(const char *line, int *writer, int *number)
{
    char copy[40] = "";
    int length = 0;
    memccpy(copy, line, '\n', sizeof copy - 1);
    return sscanf(copy, "writer %2d line %6d of some length%n", writer, number, &length) == 2 && length == 36 &&
           copy[length] == '\n';
}

/*
 * Every line whole, each writer's in order, each once, and as many as were acknowledged: one more if the writer was
 * killed after its write and before it could count it.
 */
static inline void check_account(int writers, int slack)
{
    int next[WRITERS] = {0};
    char *text = history("app.log");
    int bad = 0;
    for (char *line = text; *line != '\0'; line = strchr(line, '\n') + 1) {
        int writer, number;
        if (!read_numbered(line, &writer, &number) || writer < 0 || writer >= writers || number != next[writer]) {
            if (bad++ < 3) {
                test_fail(__LINE__, "torn, lost, doubled or out of order: \"%.60s\"", line);
            }
        } else {
            next[writer]++;
        }
        if (strchr(line, '\n') == NULL) {
            break;
        }
    }
    for (int i = 0; i < writers; i++) {
        if (next[i] < acknowledged[i] || next[i] > acknowledged[i] + slack) {
            test_fail(__LINE__, "writer %d: %d lines found, %d acknowledged", i, next[i], acknowledged[i]);
        }
    }
    CHECK(archives("app.log") >= 3);
    CHECK_EQUAL(messages("mplogshim"), 0);
    free(text);
}

#endif
