/* When a log is rotated, what goes into which file, and what the files are called and belong to. */
#include "test.h"

#include <grp.h>

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
    CHECK_TEXT(content("app.log"), text);
    CHECK_TEXT(content("app.log.1"), "before\n");
    write_text(fd, "after\n");
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

static void numbers_shift(void)
{
    int fd = open_log("app.log");
    for (int i = 1; i <= 12; i++) {
        char text[101];
        memset(text, 'a' + i, 99);
        memcpy(text + 99, "\n", 2);
        write_text(fd, text);
    }
    CHECK_EQUAL(archives("app.log"), 11);
    CHECK_EQUAL(content("app.log")[0], 'a' + 12);
    CHECK_EQUAL(content("app.log.1")[0], 'a' + 11);
    CHECK_EQUAL(content("app.log.2")[0], 'a' + 10);
    CHECK_EQUAL(content("app.log.11")[0], 'a' + 1);
    CHECK(!exists("app.log.12"));
    CHECK(!exists("app.log.0"));
}

static void backups_are_kept(void)
{
    int fd = open_log("app.log");
    for (int i = 1; i <= 9; i++) {
        write_text(fd, lines_of(100, "filler"));
    }
    CHECK_EQUAL(archives("app.log"), 3);
    CHECK(exists("app.log.1") && exists("app.log.2") && exists("app.log.3"));
    CHECK(!exists("app.log.4"));
}

/* Files that only look like archives are never removed or overwritten. */
static void others_files_are_kept(void)
{
    static const char *const names[] = {"app.log.bak",  "app.log.1x",          "app.log.01", "app.log-1",
                                        "app.log.old.1", "other.log.1", "app.logs.1", "app.log.2026-13-77"};
    for (size_t i = 0; i < TEST_COUNT(names); i++) {
        make_file(names[i], names[i]);
    }
    make_file("app.log.1", "an archive from before\n");
    int fd = open_log("app.log");
    for (int i = 1; i <= 9; i++) {
        write_text(fd, lines_of(100, "filler"));
    }
    for (size_t i = 0; i < TEST_COUNT(names); i++) {
        CHECK_TEXT(content(names[i]), names[i]);
    }
}

/* Without backups= nothing is ever removed: what was there before is shifted. */
static void earlier_archives_are_shifted(void)
{
    make_file("app.log.1", "newest\n");
    make_file("app.log.2", "older\n");
    make_file("app.log.4", "oldest\n");
    int fd = open_log("app.log");
    write_text(fd, lines_of(100, "first"));
    write_text(fd, "second\n");
    CHECK_EQUAL(archives("app.log"), 4);
    CHECK_EQUAL(raw_size("app.log.1"), 100);
    CHECK_TEXT(content("app.log.2"), "newest\n");
    CHECK_TEXT(content("app.log.3"), "older\n");
    char wanted[256];
    snprintf(wanted, sizeof wanted, "oldest\nolder\nnewest\n%ssecond\n", lines_of(100, "first"));
    CHECK_TEXT(history("app.log"), wanted);
}

/* naming=time without when: the second at which the file was begun; another of that second gets a number. */
static void names_by_time(void)
{
    static struct history_file files[HISTORY_FILES];
    int fd = open_log("app.log");
    for (int i = 0; i < 6; i++) {
        write_text(fd, lines_of(100, "filler"));
    }
    size_t count = history_files(in_directory("app.log"), files);
    CHECK_EQUAL(count, 6);
    for (size_t i = 0; i + 1 < count; i++) {
        int year, month, day, hour, minute, second, number, length = 0;
        const char *period = files[i].name + strlen("app.log.");
        CHECK_EQUAL(sscanf(period, "%4d-%2d-%2d_%2d-%2d-%2d%n", &year, &month, &day, &hour, &minute, &second, &length),
                    6);
        CHECK_EQUAL(length, 19);
        CHECK(period[length] == '\0' || sscanf(period + length, ".%d", &number) == 1);
        CHECK_EQUAL(files[i].class, 0);
    }
}

/* A second archive of one day is .1, the third .2, and the history stays in order. */
static void names_by_day(void)
{
    char wanted[8][64];
    char day[32];
    time_t now = time(NULL);
    struct tm date;
    strftime(day, sizeof day, "%Y-%m-%d", gmtime_r(&now, &date));
    int fd = open_log("app.log");
    for (int i = 0; i < 4; i++) {
        char text[101];
        memset(text, 'a' + i, 99);
        memcpy(text + 99, "\n", 2);
        write_text(fd, text);
        snprintf(wanted[i], sizeof wanted[i], i == 0 ? "app.log.%s" : "app.log.%s.%d", day, i);
    }
    now = time(NULL);
    if (gmtime(&now)->tm_mday != date.tm_mday) {
        return; /* midnight came in between */
    }
    for (int i = 0; i < 3; i++) {
        CHECK(exists(wanted[i]));
        CHECK_EQUAL(content(wanted[i])[0], 'a' + i);
    }
    CHECK_EQUAL(archives("app.log"), 3);
}

/* Yesterday's file is rotated by the first write of today, under the name of the day it was begun. */
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
    write_text(fd, "of today\n");
    CHECK_TEXT(content(name), "of the day before yesterday\n");
    CHECK_TEXT(content("app.log"), "of today\n");
    write_text(fd, "more\n");
    CHECK_EQUAL(archives("app.log"), 1);
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

/* A boundary passes while two processes write: one file for each second at most, nothing lost. */
static void boundaries_of_seconds(void)
{
    char text[32];
    size_t length = 0;
    int fd = open_log("app.log");
    for (double end = raw_seconds() + 2.5; raw_seconds() < end; raw_pause()) {
        snprintf(text, sizeof text, "%zu\n", length);
        write_text(fd, text);
        length += strlen(text);
    }
    CHECK(archives("app.log") >= 2);
    CHECK(archives("app.log") <= 4);
    CHECK_EQUAL(strlen(history("app.log")), length);
}

static void mode_and_owner_as_before(void)
{
    struct stat status;
    int fd = open("app.log", O_WRONLY | O_CREAT | O_APPEND, 0600);
    CHECK_EQUAL(fchmod(fd, 0604), 0);
    if (geteuid() == 0) {
        CHECK_EQUAL(fchown(fd, 1234, 2345), 0);
    }
    umask(0777);
    write_text(fd, lines_of(100, "first"));
    write_text(fd, "second\n");
    CHECK_EQUAL(archives("app.log"), 1);
    CHECK_EQUAL(fstat(fd, &status), 0);
    CHECK_EQUAL(status.st_mode & 07777, 0604);
    if (geteuid() == 0) {
        CHECK_EQUAL(status.st_uid, 1234);
        CHECK_EQUAL(status.st_gid, 2345);
    }
    CHECK(raw_stat("app.log.1", &status));
    CHECK_EQUAL(status.st_mode & 07777, 0604);
    CHECK(raw_stat(".app.log.lock", &status));
    CHECK_EQUAL(status.st_mode & 0777 & ~0666U, 0);
}

static void mode_and_owner_by_rule(void)
{
    struct stat status;
    int fd = open("app.log", O_WRONLY | O_CREAT | O_APPEND, 0600);
    write_text(fd, lines_of(100, "first"));
    write_text(fd, "second\n");
    CHECK_EQUAL(fstat(fd, &status), 0);
    CHECK_EQUAL(status.st_mode & 07777, 0664);
    CHECK_EQUAL(status.st_uid, 1);
    CHECK_EQUAL(status.st_gid, 2);
}

static void lock_file_is_dressed_as_the_log(void)
{
    struct stat status;
    int fd = open("app.log", O_WRONLY | O_CREAT | O_APPEND, 0640);
    write_text(fd, "x\n");
    CHECK(raw_stat(".app.log.lock", &status));
    CHECK_EQUAL(status.st_mode & 07777, 0640);
    CHECK(status.st_size >= 4096);
}

static void locks_elsewhere(void)
{
    CHECK_EQUAL(mkdir("locks", 0755), 0);
    int fd = open_log("app.log");
    write_text(fd, lines_of(100, "first"));
    write_text(fd, "second\n");
    CHECK_EQUAL(archives("app.log"), 1);
    CHECK(!exists(".app.log.lock"));
    DIR *listing = opendir("locks");
    int count = 0;
    for (struct dirent *entry; (entry = readdir(listing)) != NULL;) {
        count += strstr(entry->d_name, "app.log") != NULL;
    }
    closedir(listing);
    CHECK_EQUAL(count, 1);
}

static void nothing_else_is_left(void)
{
    int fd = open_log("app.log");
    for (int i = 0; i < 5; i++) {
        write_text(fd, lines_of(100, "filler"));
    }
    close(fd);
    DIR *listing = opendir(".");
    int count = 0;
    for (struct dirent *entry; (entry = readdir(listing)) != NULL;) {
        count += strstr(entry->d_name, "app.log") != NULL;
    }
    closedir(listing);
    CHECK_EQUAL(count, 1 + 4 + 1);
    CHECK_TEXT(content("messages"), "");
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
    const char *root = geteuid() == 0 ? NULL : "needs root";
    static struct test tests[] = {
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
        {"numbers_shift_at_every_rotation", BYTES, numbers_shift, NULL, NULL},
        {"as_many_archives_as_backups_are_kept", BYTES ",backups=3", backups_are_kept, NULL, NULL},
        {"files_that_are_no_archives_are_kept", BYTES ",backups=2", others_files_are_kept, NULL, NULL},
        {"earlier_archives_are_shifted_and_never_overwritten", BYTES, earlier_archives_are_shifted, NULL, NULL},
        {"names_by_time_have_the_second_of_the_beginning", BYTES ",naming=time", names_by_time, NULL, NULL},
        {"a_second_archive_of_a_day_is_numbered", BYTES ",when=D,utc=1", names_by_day, NULL, NULL},
        {"a_boundary_passed_while_nobody_ran_rotates", "app.log,when=D,utc=1", boundary_while_nobody_ran, NULL, NULL},
        {"an_empty_file_is_not_rotated_at_a_boundary", "app.log,when=D,utc=1",
         empty_files_are_not_rotated_at_a_boundary, NULL, NULL},
        {"a_boundary_of_a_second_rotates_once", "app.log,when=S", boundaries_of_seconds, NULL, NULL},
        {"mode_and_owner_are_as_before", BYTES, mode_and_owner_as_before, NULL, NULL},
        {"mode_and_owner_are_as_the_rule_says", BYTES ",mode=0664,owner=1:2", mode_and_owner_by_rule, NULL, NULL},
        {"the_lock_file_has_the_permissions_of_the_log", BYTES, lock_file_is_dressed_as_the_log, NULL, NULL},
        {"lock_files_are_in_lock_dir", BYTES ",lock_dir=@/locks", locks_elsewhere, NULL, NULL},
        {"nothing_but_log_archives_and_lock_file_is_left", BYTES, nothing_else_is_left, NULL, NULL},
        {"the_live_path_never_goes_missing", BYTES, live_path_never_goes_missing, NULL, NULL},
    };
    for (size_t i = 0; i < TEST_COUNT(tests); i++) {
        if (tests[i].body == mode_and_owner_by_rule) {
            tests[i].skip = root;
        }
    }
    return test_main(count, arguments, tests, TEST_COUNT(tests));
}
