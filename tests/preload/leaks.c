/* What a long life under the library costs: no descriptor, no memory, also when threads open and close what others
 * write. */
#include "test.h"

#include <stdatomic.h>

static int open_descriptors(void)
{
    int count = 0;
    DIR *listing = opendir("/proc/self/fd");
    while (listing != NULL && readdir(listing) != NULL) {
        count++;
    }
    if (listing != NULL) {
        closedir(listing);
    }
    return count;
}

/* KiB of memory that is not shared with files. */
static long memory(void)
{
    char *text = raw_read("/proc/self/status", NULL);
    const char *line = strstr(text, "RssAnon:");
    long size = line != NULL ? strtol(line + strlen("RssAnon:"), NULL, 10) : -1;
    free(text);
    return size;
}

/* Does it a few times, so that what is made once is there, then many times: nothing is added. */
static void adds_nothing(void (*step)(int), int many)
{
    enum { FIRST = 50, ROOM = 512 /* KiB: the heap's own ups and downs */ };
    for (int i = 0; i < FIRST; i++) {
        step(i);
    }
    const int descriptors = open_descriptors();
    const long size = memory();
    for (int i = 0; i < many; i++) {
        step(i);
    }
    CHECK_EQUAL(open_descriptors(), descriptors);
    CHECK(size > 0);
    if (memory() > size + ROOM) {
        test_fail(__LINE__, "%ld KiB, and %ld KiB before", memory(), size);
    }
    CHECK_EQUAL(messages("mplogshim"), 0);
}

static void opens_and_closes(int number)
{
    int fd = open_log("app.log");
    if (number % 10 == 0) {
        write_text(fd, "a line of some length, so that there are rotations\n");
        int copy = dup(fd);
        write_text(copy, "a line\nand the beginning of another");
        CHECK_EQUAL(close(copy), 0);
    }
    CHECK_EQUAL(close(fd), 0);
}

static void ten_thousand_opens(void)
{
    adds_nothing(opens_and_closes, 10000);
}

static void opens_and_closes_a_stream(int number)
{
    FILE *stream = fopen("app.log", "a");
    CHECK(stream != NULL);
    fprintf(stream, "line %d\n", number);
    CHECK_EQUAL(fclose(stream), 0);
}

static void thousands_of_streams(void)
{
    adds_nothing(opens_and_closes_a_stream, 3000);
}

static int log_fd;

static void rotates(int number)
{
    char line[64];
    snprintf(line, sizeof line, "a line that is as long as a file may be: %06d\n", number);
    write_text(log_fd, line);
}

static void a_thousand_rotations(void)
{
    log_fd = open_log("app.log");
    adds_nothing(rotates, 1000);
}

static void opens_another_log(int number)
{
    char name[64];
    snprintf(name, sizeof name, "%d.log", number % 40);
    int fd = open_log(name);
    write_text(fd, "a line\n");
    CHECK_EQUAL(close(fd), 0);
}

static void more_logs_than_stay_open(void)
{
    adds_nothing(opens_another_log, 400);
}

enum { THREADS = 6, LINES = 100 };
static atomic_int lines_written;

static void *writes_to_its_own_and_the_shared(void *unused)
{
    (void)unused;
    for (int i = 0; i < LINES; i++) {
        int own = i % 3 == 0 ? dup(log_fd) : open("app.log", O_WRONLY | O_CREAT | O_APPEND, 0644);
        if (write(own, "a line by its own descriptor\n", 29) == 29 &&
            write(log_fd, "a line by the shared\n", 21) == 21) {
            atomic_fetch_add(&lines_written, 2);
        }
        close(own);
    }
    return NULL;
}

static void threads_that_open_and_close(void)
{
    pthread_t threads[THREADS];
    const int before = open_descriptors();
    log_fd = open_log("app.log");
    for (int i = 0; i < THREADS; i++) {
        CHECK_EQUAL(pthread_create(&threads[i], NULL, writes_to_its_own_and_the_shared, NULL), 0);
    }
    for (int i = 0; i < THREADS; i++) {
        pthread_join(threads[i], NULL);
    }
    CHECK_EQUAL(close(log_fd), 0);
    CHECK_EQUAL(lines_written, 2 * THREADS * LINES);
    char *text = history("app.log");
    int lines = 0;
    for (const char *at = text; (at = strchr(at, '\n')) != NULL; at++) {
        lines++;
    }
    CHECK_EQUAL(lines, lines_written);
    CHECK(open_descriptors() <= before + 4); /* the log's own */
    free(text);
}

static const struct test tests[] = {
    {"ten_thousand_opens_leave_no_descriptor_and_no_memory", "app.log,max_bytes=20K", ten_thousand_opens, NULL, NULL},
    {"thousands_of_streams_leave_no_descriptor_and_no_memory", "app.log,max_bytes=8K,backups=2", thousands_of_streams,
     NULL, NULL},
    {"a_thousand_rotations_leave_no_descriptor_and_no_memory", "app.log,max_bytes=50,backups=5", a_thousand_rotations,
     NULL, NULL},
    {"more_logs_than_stay_open_leave_no_descriptor_and_no_memory", "*.log", more_logs_than_stay_open, NULL, NULL},
    {"threads_that_open_and_close_what_others_write_lose_nothing", "app.log,max_bytes=2K", threads_that_open_and_close,
     NULL, NULL},
};

int main(int count, char **arguments)
{
    return test_main(count, arguments, tests, TEST_COUNT(tests));
}
