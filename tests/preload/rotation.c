/* When a log is rotated, and what goes into which file. */
#include "test.h"

/* max_bytes is 100 unless a test says otherwise. */
static void exactly_full_is_allowed(void)
{
    int fd = open_log("app.log");
    write_text(fd, lines_of(60, "first"));
    write_text(fd, lines_of(40, "second"));
    CHECK_EQUAL(archives("app.log"), 0);
    CHECK_EQUAL(raw_size("app.log"), 100);
    write_text(fd, "x\n");
    CHECK_EQUAL(archives("app.log"), 1);
    CHECK_EQUAL(raw_size("app.log"), 2);
}

static void one_byte_more_rotates_first(void)
{
    int fd = open_log("app.log");
    write_text(fd, lines_of(60, "first"));
    write_text(fd, lines_of(41, "second"));
    CHECK_EQUAL(archives("app.log"), 1);
    CHECK_EQUAL(raw_size("app.log"), 41);
    CHECK_EQUAL(raw_size("app.log.1"), 60);
}

static void first_write_to_an_empty_file_never_rotates(void)
{
    int fd = open_log("app.log");
    write_text(fd, lines_of(100, "first"));
    CHECK_EQUAL(archives("app.log"), 0);
}

static void full_before_the_program_started(void)
{
    make_file("app.log", lines_of(500, "before"));
    int fd = open_log("app.log");
    CHECK_EQUAL(archives("app.log"), 0);
    write_text(fd, "x\n");
    CHECK_EQUAL(archives("app.log"), 1);
    CHECK_TEXT(content("app.log"), "x\n");
}

static bool ends_in_newline(const char *text)
{
    return *text != '\0' && text[strlen(text) - 1] == '\n';
}

/* A record larger than a whole file is cut between its lines; no file but one of one long line is larger. */
static void large_records_are_split_between_lines(void)
{
    int fd = open_log("app.log");
    char name[32];
    char *text = lines_of(990, "large");
    write_text(fd, text);
    CHECK_TEXT(history("app.log"), text);
    CHECK(archives("app.log") >= 9);
    for (size_t i = 1; i <= archives("app.log"); i++) {
        snprintf(name, sizeof name, "app.log.%zu", i);
        CHECK(ends_in_newline(content(name)));
        CHECK(raw_size(name) <= 100);
        CHECK(raw_size(name) > 0);
    }
    CHECK(raw_size("app.log") <= 100);
}

static void one_line_larger_than_a_file_stays_whole(void)
{
    int fd = open_log("app.log");
    char *text = malloc(402);
    memset(text, 'l', 400);
    memcpy(text + 400, "\n", 2);
    write_text(fd, "before\n");
    write_text(fd, text);
    settle("app.log");
    CHECK_TEXT(content("app.log"), text);
    CHECK_TEXT(content("app.log.1"), "before\n");
    write_text(fd, "after\n");
    settle("app.log");
    CHECK_TEXT(content("app.log.1"), text);
    CHECK_TEXT(content("app.log"), "after\n");
}

/* A record that is not larger than max_bytes is in one file, however many lines it has. */
static void records_stay_in_one_file(void)
{
    int fd = open_log("app.log");
    for (int i = 0; i < 7; i++) {
        write_text(fd, lines_of(80, "record"));
        CHECK_EQUAL(raw_size("app.log"), 80);
    }
    CHECK_EQUAL(archives("app.log"), 6);
}

static void mid_line_waits(void)
{
    int fd = open_log("app.log");
    write_text(fd, lines_of(80, "first"));
    write_text(fd, "begin of a line, ");
    write_text(fd, "its middle, ");
    write_text(fd, "more of its middle, ");
    CHECK_EQUAL(archives("app.log"), 0);
    write_text(fd, "its end\n");
    CHECK_EQUAL(archives("app.log"), 0);
    write_text(fd, "next\n");
    CHECK_EQUAL(archives("app.log"), 1);
    CHECK_TEXT(content("app.log"), "next\n");
    CHECK(ends_in_newline(content("app.log.1")));
}

/* The end of the line and another line in one write: the cut comes no earlier than the newline. */
static void mid_line_waits_for_its_newline_within_a_write(void)
{
    int fd = open_log("app.log");
    write_text(fd, lines_of(80, "first"));
    write_text(fd, "begin of a line, ");
    char *more = lines_of(80, "end");
    write_text(fd, more);
    write_text(fd, "next\n");
    CHECK(archives("app.log") >= 1);
    for (size_t i = 1; i <= archives("app.log"); i++) {
        char name[32];
        snprintf(name, sizeof name, "app.log.%zu", i);
        CHECK(ends_in_newline(content(name)));
    }
    CHECK_EQUAL(strlen(history("app.log")), 80 + 17 + 80 + 5);
}

static void mid_line_waits_64k_at_most(void)
{
    int fd = open_log("app.log");
    char text[1001];
    memset(text, 'x', 1000);
    text[1000] = '\0';
    write_text(fd, "begin");
    for (int i = 0; i < 140; i++) {
        write_text(fd, text);
    }
    char oldest[32];
    snprintf(oldest, sizeof oldest, "app.log.%zu", archives("app.log"));
    CHECK(raw_size(oldest) >= 65536 - 1000);
    CHECK(raw_size(oldest) <= 65536 + 1000);
    CHECK_EQUAL(strlen(history("app.log")), 140005);
}

/* Somebody else's file of one unfinished line is no reason never to rotate. */
static void mid_line_of_a_dead_process_does_not_wait(void)
{
    make_file("app.log", lines_of(100, "filler"));
    make_file("app.log", "unfinished");
    int fd = open_log("app.log");
    write_text(fd, "next\n");
    CHECK_EQUAL(archives("app.log"), 1);
    CHECK_TEXT(content("app.log"), "next\n");
}

static long day(void)
{
    enum { SECONDS = 86400 };
    return (long)time(NULL) / SECONDS;
}

/*
 * Yesterday's file is rotated by the first write of today, under the name of the day it was begun. At midnight the next
 * write may rotate, too.
 */
static void boundary_while_nobody_ran(void)
{
    char name[64];
    time_t begun = time(NULL) - 2 * 86400;
    struct timespec times[2] = {{begun, 0}, {begun, 0}};
    make_file("app.log", "of the day before yesterday\n");
    CHECK_EQUAL(utimensat(AT_FDCWD, "app.log", times, 0), 0);
    strftime(name, sizeof name, "app.log.%Y-%m-%d", gmtime(&begun));
    int fd = open_log("app.log");
    CHECK_EQUAL(archives("app.log"), 0);
    long before = day();
    write_text(fd, "of today\n");
    settle("app.log");
    CHECK_TEXT(content(name), "of the day before yesterday\n");
    CHECK_TEXT(content("app.log"), "of today\n");
    write_text(fd, "more\n");
    bool passed = day() != before && archives("app.log") == 2;
    CHECK(passed || archives("app.log") == 1);
}

static void empty_files_are_not_rotated_at_a_boundary(void)
{
    time_t begun = time(NULL) - 2 * 86400;
    struct timespec times[2] = {{begun, 0}, {begun, 0}};
    make_file("app.log", "");
    CHECK_EQUAL(utimensat(AT_FDCWD, "app.log", times, 0), 0);
    int fd = open_log("app.log");
    write_text(fd, "of today\n");
    CHECK_EQUAL(archives("app.log"), 0);
    CHECK_TEXT(content("app.log"), "of today\n");
}

/* By the lock file: while archives get their names, one may be counted twice. */
static int rotations(void)
{
    struct stat status;
    return raw_stat(".app.log.lock", &status) ? (int)status.st_size - 4096 : 0;
}

/* A boundary passes while two processes write: one file for each second at most, nothing lost. */
static void boundaries_of_seconds(void)
{
    char text[32];
    size_t length = 0;
    int fd = open_log("app.log");
    time_t begun = time(NULL);
    for (double end = raw_seconds() + 2.5; raw_seconds() < end || rotations() < 2; raw_pause()) {
        snprintf(text, sizeof text, "%zu\n", length);
        write_text(fd, text);
        length += strlen(text);
    }
    CHECK(archives("app.log") >= 2);
    CHECK(archives("app.log") <= (size_t)(time(NULL) - begun));
    CHECK_EQUAL(strlen(history("app.log")), length);
}

/* Somebody who looks at the path all the time never finds it missing. */
static bool volatile stop;
static volatile int missing;

static void *looks(void *unused)
{
    struct stat status;
    while (!stop) {
        missing += syscall(SYS_newfstatat, AT_FDCWD, "app.log", &status, 0) != 0;
    }
    return unused;
}

static void live_path_never_goes_missing(void)
{
    pthread_t thread;
    int fd = open_log("app.log");
    pthread_create(&thread, NULL, looks, NULL);
    for (int i = 0; i < 300; i++) {
        write_text(fd, lines_of(100, "filler"));
    }
    stop = true;
    pthread_join(thread, NULL);
    CHECK_EQUAL(missing, 0);
    CHECK_EQUAL(archives("app.log"), 299);
}

#define BYTES "app.log,max_bytes=100"

int main(int count, char **arguments)
{
    static const struct test tests[] = {
        {"a_file_of_exactly_max_bytes_is_allowed", BYTES, exactly_full_is_allowed, NULL, NULL},
        {"a_write_that_would_take_it_past_max_bytes_rotates_first", BYTES, one_byte_more_rotates_first, NULL, NULL},
        {"the_first_write_to_an_empty_file_never_rotates", BYTES, first_write_to_an_empty_file_never_rotates, NULL,
         NULL},
        {"a_file_that_is_too_large_at_start_is_rotated_by_the_first_write", BYTES, full_before_the_program_started,
         NULL, NULL},
        {"records_larger_than_max_bytes_are_split_between_lines", BYTES, large_records_are_split_between_lines, NULL,
         NULL},
        {"one_line_larger_than_max_bytes_stays_whole", BYTES, one_line_larger_than_a_file_stays_whole, NULL, NULL},
        {"a_record_of_several_lines_is_in_one_file", BYTES, records_stay_in_one_file, NULL, NULL},
        {"a_rotation_waits_for_the_end_of_a_line", BYTES, mid_line_waits, NULL, NULL},
        {"a_rotation_waits_for_the_newline_within_a_write", BYTES, mid_line_waits_for_its_newline_within_a_write, NULL,
         NULL},
        {"a_rotation_waits_for_64k_at_most", BYTES, mid_line_waits_64k_at_most, NULL, NULL},
        {"an_unfinished_line_of_a_dead_process_does_not_hinder", BYTES, mid_line_of_a_dead_process_does_not_wait, NULL,
         NULL},
        {"a_boundary_passed_while_nobody_ran_rotates", "app.log,when=D,utc=1", boundary_while_nobody_ran, NULL, NULL},
        {"an_empty_file_is_not_rotated_at_a_boundary", "app.log,when=D,utc=1",
         empty_files_are_not_rotated_at_a_boundary, NULL, NULL},
        {"a_boundary_of_a_second_rotates_once", "app.log,when=S", boundaries_of_seconds, NULL, NULL},
        {"the_live_path_never_goes_missing", BYTES, live_path_never_goes_missing, NULL, NULL},
    };
    return test_main(count, arguments, tests, TEST_COUNT(tests));
}
