/* Threads cancelled while they write: what they were told is written is there, and no lock stays behind. */
#include "test.h"

#include <stdatomic.h>

#define SMALL "app.log,max_bytes=2000"

enum { LINE = 37 };

static int log_fd;
static atomic_int acknowledged;
static atomic_int next_number;
static int cancel_type;

static void *writes_until_cancelled(void *unused)
{
    int old;
    (void)unused;
    pthread_setcanceltype(cancel_type, &old);
    while (true) {
        char line[64];
        next_number = next_number + 1;
        int length = snprintf(line, sizeof line, "writer 00 line %06d of some length\n", next_number);
        if (write(log_fd, line, (size_t)length) == length) {
            acknowledged = next_number;
        }
    }
    return NULL;
}

/* Whole lines only, numbers rising, each acknowledged one there. */
static void check_lines(int cancelled)
{
    char *text = history("app.log");
    int last = 0;
    int missing = 0;
    for (char *line = text; *line != '\0'; line += LINE) {
        int number;
        if (strcspn(line, "\n") != LINE - 1 || sscanf(line, "writer 00 line %6d", &number) != 1 || number <= last) {
            test_fail(__LINE__, "torn, doubled or out of order: \"%.60s\"", line);
            break;
        }
        missing += number - last - 1;
        last = number;
    }
    /* A line of each cancelled thread may be missing: that write never returned. */
    CHECK(missing <= cancelled);
    CHECK(last >= acknowledged);
    CHECK(archives("app.log") >= 3);
    CHECK_EQUAL(messages("mplogshim"), 0);
}

static void handler_exits(int signal)
{
    (void)signal;
    pthread_exit(PTHREAD_CANCELED);
}

static int cancel_by_handler(pthread_t thread)
{
    return pthread_kill(thread, SIGUSR1);
}

static int (*cancel)(pthread_t thread) = pthread_cancel;

static void cancelled_many_times(void)
{
    enum { TIMES = 100 };
    double longest = 0;
    log_fd = open_log("app.log");
    for (int i = 0; i < TIMES; i++) {
        pthread_t thread;
        void *result = NULL;
        int begin = acknowledged;
        pthread_create(&thread, NULL, writes_until_cancelled, NULL);
        while (acknowledged < begin + 1 + i % 5) {
        }
        CHECK_EQUAL(cancel(thread), 0);
        CHECK_EQUAL(pthread_join(thread, &result), 0);
        CHECK(result == PTHREAD_CANCELED);
        double begun = raw_seconds();
        char line[64];
        next_number = next_number + 1;
        snprintf(line, sizeof line, "writer 00 line %06d of some length\n", next_number);
        write_text(log_fd, line);
        acknowledged = next_number;
        longest = raw_seconds() - begun > longest ? raw_seconds() - begun : longest;
    }
    CHECK(longest < STALLED);
    double begun = raw_seconds();
    other_process_writes("app.log", "writer 00 line 999999 of some length\n");
    CHECK(raw_seconds() - begun < STALLED);
    next_number = 999999;
    char *all = history("app.log");
    CHECK(strstr(all, "999999") != NULL);
    /* Off again, for the account. */
    struct stat status;
    CHECK(raw_stat("app.log", &status));
    CHECK_EQUAL(truncate("app.log", status.st_size - LINE), 0);
    check_lines(TIMES);
}

static void deferred(void)
{
    cancel_type = PTHREAD_CANCEL_DEFERRED;
    cancelled_many_times();
}

static void asynchronous(void)
{
    cancel_type = PTHREAD_CANCEL_ASYNCHRONOUS;
    cancelled_many_times();
}

/* A handler that interrupts the library ends its thread. */
static void exits_in_a_handler(void)
{
    signal(SIGUSR1, handler_exits);
    cancel = cancel_by_handler;
    cancelled_many_times();
}

static void (*final_call)(void);
static volatile bool cleaned;

static void clean(void *unused)
{
    (void)unused;
    cleaned = true;
}

static void *calls_with_cancellation_pending(void *unused)
{
    (void)unused;
    pthread_cleanup_push(clean, NULL);
    pthread_cancel(pthread_self());
    final_call();
    pthread_cleanup_pop(0);
    return NULL;
}

static void call_write(void)
{
    write_text(log_fd, "must not be written\n");
}

static void call_fsync(void)
{
    fsync(log_fd);
}

static void call_close(void)
{
    close(log_fd);
}

static void call_open(void)
{
    open("app.log", O_WRONLY | O_APPEND);
}

/* A cancellation point acts on what is pending before it does anything, and runs the cleanup handlers. */
static void pending(void)
{
    void (*const calls[])(void) = {call_write, call_fsync, call_open, call_close};
    log_fd = open_log("app.log");
    write_text(log_fd, "line\n");
    for (size_t i = 0; i < TEST_COUNT(calls); i++) {
        pthread_t thread;
        void *result = NULL;
        cleaned = false;
        final_call = calls[i];
        pthread_create(&thread, NULL, calls_with_cancellation_pending, NULL);
        pthread_join(thread, &result);
        CHECK(result == PTHREAD_CANCELED);
        CHECK(cleaned);
        CHECK_TEXT(content("app.log"), "line\n");
        CHECK_EQUAL(open("/dev/null", O_RDONLY), 4 + (int)i);
    }
}

int main(int count, char **arguments)
{
    static const struct test tests[] = {
        {"a_thread_cancelled_while_writing_leaves_no_lock", SMALL, deferred, NULL, NULL},
        {"a_thread_cancelled_asynchronously_while_writing_leaves_no_lock", SMALL, asynchronous, NULL, NULL},
        {"a_thread_that_exits_in_a_handler_leaves_no_lock", SMALL, exits_in_a_handler, NULL, NULL},
        {"cancellation_points_act_before_they_write", SMALL, pending, NULL, NULL},
    };
    return test_main(count, arguments, tests, TEST_COUNT(tests));
}
