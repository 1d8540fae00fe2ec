/* What archives, live files and lock files are called and belong to, and which archives are kept. */
#include "test.h"

#include <sys/xattr.h>

#define BYTES "app.log,max_bytes=100"

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

/* A program that nobody could intercept still writes to an archive: it is not removed until that has closed it. */
static bool one_too_many_is_left(void)
{
    return history_archives("app.log") == 3 && exists("app.log.1") && exists("app.log.2");
}

static void archives_in_use_are_kept(void)
{
    int fd = open_log("app.log");
    write_text(fd, lines_of(100, "first"));
    int outsider = raw_open("app.log", O_WRONLY | O_APPEND);
    for (int i = 0; i < 6; i++) {
        write_text(fd, lines_of(100, "filler"));
    }
    CHECK_EQUAL(raw_syscall(SYS_write, outsider, "late\n", 5), 5);
    CHECK(wait_until(one_too_many_is_left));
    CHECK(strstr(history_read("app.log", NULL), "late\n") != NULL);
    raw_close(outsider);
    write_text(fd, lines_of(100, "filler"));
    CHECK_EQUAL(archives("app.log"), 2);
    CHECK(strstr(history("app.log"), "late\n") == NULL);
}

/* Files that only look like archives are never removed or overwritten. */
static void others_files_are_kept(void)
{
    static const char *const names[] = {"app.log.bak",   "app.log.1x",  "app.log.01", "app.log-1",
                                        "app.log.old.1", "other.log.1", "app.logs.1", "app.log.2026-13-77"};
    for (size_t i = 0; i < TEST_COUNT(names); i++) {
        make_file(names[i], names[i]);
    }
    make_file("app.log.1", "an archive from before\n");
    int fd = open_log("app.log");
    for (int i = 1; i <= 9; i++) {
        write_text(fd, lines_of(100, "filler"));
    }
    settle("app.log");
    CHECK(exists("app.log.1") && exists("app.log.2") && !exists("app.log.3"));
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
    settle("app.log");
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
    CHECK_EQUAL(archives("app.log"), 3);
    for (int i = 0; i < 3; i++) {
        CHECK(exists(wanted[i]));
        CHECK_EQUAL(content(wanted[i])[0], 'a' + i);
    }
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

/*
 * As setfacl -m u:1:rw,g::-,o::- makes it: the group may do nothing, though the permission bits, which are the mask,
 * seem to say so.
 */
static void access_list_as_before(void)
{
    static const char name[] = "system.posix_acl_access";
    static const unsigned char list[] = {
        2,  0, 0, 0,                         /* version */
        1,  0, 6, 0, 0xff, 0xff, 0xff, 0xff, /* owner rw- */
        2,  0, 6, 0, 1,    0,    0,    0,    /* user 1 rw- */
        4,  0, 0, 0, 0xff, 0xff, 0xff, 0xff, /* group --- */
        16, 0, 6, 0, 0xff, 0xff, 0xff, 0xff, /* mask rw- */
        32, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, /* others --- */
    };
    unsigned char got[256];
    struct stat status;
    CHECK_EQUAL(mknod("app.log", S_IFREG | 0600, 0), 0);
    CHECK_EQUAL(setxattr("app.log", name, list, sizeof list, 0), 0);
    int fd = open("app.log", O_WRONLY | O_APPEND);
    write_text(fd, lines_of(100, "first"));
    CHECK_EQUAL(getxattr(".app.log.lock", name, got, sizeof got), sizeof list);
    CHECK_EQUAL(memcmp(got, list, sizeof list), 0);
    write_text(fd, "second\n");
    settle("app.log");
    CHECK_EQUAL(archives("app.log"), 1);
    CHECK_EQUAL(fgetxattr(fd, name, got, sizeof got), sizeof list);
    CHECK_EQUAL(memcmp(got, list, sizeof list), 0);
    CHECK_EQUAL(fstat(fd, &status), 0);
    CHECK_EQUAL(status.st_mode & 07777, 0660);
    CHECK_EQUAL(getxattr("app.log.1.gz", name, got, sizeof got), sizeof list);
    CHECK_EQUAL(memcmp(got, list, sizeof list), 0);
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
    settle("app.log");
    DIR *listing = opendir(".");
    int count = 0;
    for (struct dirent *entry; (entry = readdir(listing)) != NULL;) {
        count += strstr(entry->d_name, "app.log") != NULL;
    }
    closedir(listing);
    CHECK_EQUAL(count, 1 + 4 + 1);
    CHECK_TEXT(content("messages"), "");
}

int main(int count, char **arguments)
{
    static struct test tests[] = {
        {"numbers_shift_at_every_rotation", BYTES, numbers_shift, NULL, NULL},
        {"as_many_archives_as_backups_are_kept", BYTES ",backups=3", backups_are_kept, NULL, NULL},
        {"an_archive_that_somebody_writes_is_not_removed", BYTES ",backups=2", archives_in_use_are_kept, NULL, NULL},
        {"files_that_are_no_archives_are_kept", BYTES ",backups=2", others_files_are_kept, NULL, NULL},
        {"earlier_archives_are_shifted_and_never_overwritten", BYTES, earlier_archives_are_shifted, NULL, NULL},
        {"names_by_time_have_the_second_of_the_beginning", BYTES ",naming=time", names_by_time, NULL, NULL},
        {"a_second_archive_of_a_day_is_numbered", BYTES ",when=D,utc=1", names_by_day, NULL, NULL},
        {"mode_and_owner_are_as_before", BYTES, mode_and_owner_as_before, NULL, NULL},
        {"an_access_list_is_as_before", BYTES ",compress=gzip", access_list_as_before, NULL, NULL},
        {"mode_and_owner_are_as_the_rule_says", BYTES ",mode=0664,owner=1:2", mode_and_owner_by_rule, NULL, NULL},
        {"the_lock_file_has_the_permissions_of_the_log", BYTES, lock_file_is_dressed_as_the_log, NULL, NULL},
        {"lock_files_are_in_lock_dir", BYTES ",lock_dir=@/locks", locks_elsewhere, NULL, NULL},
        {"nothing_but_log_archives_and_lock_file_is_left", BYTES, nothing_else_is_left, NULL, NULL},
    };
    for (size_t i = 0; i < TEST_COUNT(tests); i++) {
        if (tests[i].body == mode_and_owner_by_rule) {
            tests[i].skip = geteuid() == 0 ? NULL : "needs root";
        }
    }
    return test_main(count, arguments, tests, TEST_COUNT(tests));
}
