/* The table of the local time zone, from zone files and rules, against libc's localtime_r. */
#include "../../shim/core/period.h"
#include "../../shim/core/sys.h"
#include "../../shim/core/zone_rule.h"

#include <errno.h>
#include <ftw.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

static const char zone_directory[] = "/usr/share/zoneinfo";
static const int64_t day = 86400;

/* xorshift64*: the same numbers in every run, so that a failure can be repeated. */
static uint64_t random_state = 20261120;

static int64_t random_below(int64_t limit)
{
    random_state ^= random_state >> 12;
    random_state ^= random_state << 25;
    random_state ^= random_state >> 27;
    return (int64_t)(random_state * 2685821657736338717U >> 1) % limit;
}

static void load(struct period_zone *zone, const char *tz, int64_t now)
{
    char setting[512];
    char *environment[] = {"HOME=/", setting, NULL};
    snprintf(setting, sizeof setting, "TZ=%s", tz);
    period_zone_local(zone, environment, now);
}

static int64_t table_offset(const struct period_zone *zone, int64_t time)
{
    size_t i = zone->count - 1;
    while (zone->from[i] > time)
        i--;
    return zone->offset[i];
}

static int64_t libc_offset(int64_t time)
{
    struct tm local;
    time_t seconds = time;
    assert_non_null(localtime_r(&seconds, &local));
    return local.tm_gmtoff;
}

static void assert_offset(const char *tz, const struct period_zone *zone, int64_t time)
{
    if (table_offset(zone, time) != libc_offset(time))
        fail_msg("TZ=%s: at %lld the offset is %lld, not %lld", tz, (long long)time,
                 (long long)table_offset(zone, time), (long long)libc_offset(time));
}

static void assert_like_libc(const char *tz, int64_t now)
{
    struct period_zone zone;
    load(&zone, tz, now);
    setenv("TZ", tz, 1);
    tzset();
    assert_in_range(zone.count, 1, PERIOD_ZONE_CHANGES);
    assert_true(zone.from[0] == INT64_MIN);
    for (size_t i = 1; i < zone.count; i++) {
        assert_true(zone.from[i] > zone.from[i - 1]);
        assert_true(zone.offset[i] != zone.offset[i - 1]);
        assert_offset(tz, &zone, zone.from[i]);
        assert_offset(tz, &zone, zone.from[i] - 1);
    }
    int64_t begin = now - 2 * 365 * day;
    for (int64_t time = begin; time < now + 20 * 365 * day; time += random_below(20 * day))
        assert_offset(tz, &zone, time);
}

static int check_zone_file(const char *path, const struct stat *status, int type, struct FTW *position)
{
    (void)status;
    (void)position;
    char magic[4];
    const char *name = path + sizeof zone_directory;
    FILE *file = type == FTW_F ? fopen(path, "r") : NULL;
    bool is_zone = file != NULL && fread(magic, 1, 4, file) == 4 && memcmp(magic, "TZif", 4) == 0;
    if (file != NULL)
        fclose(file);
    if (is_zone && strncmp(name, "right/", 6) != 0) { /* those count leap seconds, which nothing else here does */
        assert_like_libc(name, 1356998400);           /* 2013 */
        assert_like_libc(name, 1795000000);           /* 2026 */
    }
    return 0;
}

static void every_installed_zone_is_as_libc_has_it(void **state)
{
    (void)state;
    if (access("/usr/share/zoneinfo/Europe/Berlin", R_OK) != 0)
        skip();
    assert_int_equal(nftw(zone_directory, check_zone_file, 16, FTW_PHYS), 0);
}

static void every_form_of_rule_is_as_libc_has_it(void **state)
{
    (void)state;
    static const char *const rules[] = {
        "CET-1CEST,M3.5.0,M10.5.0/3",
        "EST5EDT,M3.2.0,M11.1.0",
        "<+1030>-10:30<+11>-11,M10.1.0,M4.1.0",
        "<-03>3<-02>,M10.3.0/0,M2.3.0/0",
        "IST-1GMT0,M10.5.0,M3.5.0/1",
        "<-02>2<-01>,M3.5.0/-1,M10.5.0/0",
        "EET-2EEST,M3.4.4/50,M10.4.4/50",
        "XYZ3",
        "ABC-5:45:30",
        "AAA+4BBB,J60,J300",
        "AAA4BBB,59,300/4:30:15",
        "NZST-12NZDT,M9.5.0,M4.1.0/3",
        "AAA0BBB,J1/0,J365/12",
        "PST8PDT,M3.2.0/2,M11.1.0/2",
        "AAA4BBB,J59/0,60",
    };
    for (size_t i = 0; i < sizeof rules / sizeof rules[0]; i++) {
        assert_like_libc(rules[i], 1795000000);
        assert_like_libc(rules[i], 1330000000);
    }
}

static void summer_time_that_never_ends_has_no_changes(void **state)
{
    (void)state;
    struct period_zone zone;
    load(&zone, "XXX3EDT4,0/0,J365/23", 1795000000); /* the example of RFC 8536 */
    assert_int_equal(zone.count, 1);
    assert_int_equal(zone.offset[0], -4 * 3600);
}

static void what_is_no_zone_is_utc(void **state)
{
    (void)state;
    static const char *const others[] = {
        "",
        ":",
        "Nowhere/Never",
        "/nonexistent",
        "/",
        "/dev/null",
        "/dev/zero",
        "/etc/passwd",
        "CE-1",
        "CET",
        "CET-25",
        "CET-1CEST,",
        "CET-1CEST,M3.5.0",
        "CET-1CEST,M3.5.0,",
        "CET-1CEST,M13.5.0,M10.5.0",
        "CET-1CEST,M3.6.0,M10.5.0",
        "CET-1CEST,M3.5.7,M10.5.0",
        "CET-1CEST,M3.5.0,M10.5.0/168",
        "CET-1CEST,M3.5.0,M10.5.0x",
        "<+01-1",
        "CET-1:60",
        "CET-1CEST,J0,J5",
        "CET-1CEST,366,5",
        "CET-99999999999999999999",
        "UTC0",
    };
    for (size_t i = 0; i < sizeof others / sizeof others[0]; i++) {
        struct period_zone zone;
        if (strcmp(others[i], "CET") == 0)
            continue; /* tzdata has a file of that name */
        load(&zone, others[i], 1795000000);
        if (zone.count != 1 || zone.offset[0] != 0)
            fail_msg("TZ=%s has %zu changes and begins at %d", others[i], zone.count - 1, zone.offset[0]);
    }
}

static void an_endless_name_is_utc(void **state)
{
    (void)state;
    struct period_zone zone;
    static char setting[100000] = "TZ=";
    char *environment[] = {setting, NULL};
    memset(setting + 3, 'A', sizeof setting - 4);
    period_zone_local(&zone, environment, 1795000000);
    assert_int_equal(zone.count, 1);
    assert_int_equal(zone.offset[0], 0);
}

static void without_tz_the_zone_is_that_of_the_machine(void **state)
{
    (void)state;
    struct period_zone zone;
    char *environment[] = {"TZX=CET-1", "T=CET-1", NULL};
    period_zone_local(&zone, environment, 1795000000);
    unsetenv("TZ");
    tzset();
    for (int64_t time = 1795000000; time < 1795000000 + 1000 * day; time += 10 * day)
        assert_offset("(unset)", &zone, time);
}

static void a_colon_and_tzdir_are_understood(void **state)
{
    (void)state;
    if (access("/usr/share/zoneinfo/Asia/Kathmandu", R_OK) != 0)
        skip();
    struct period_zone zone;
    load(&zone, ":Asia/Kathmandu", 1795000000);
    assert_int_equal(zone.offset[0], 20700);
    load(&zone, ":/usr/share/zoneinfo/Asia/Kathmandu", 1795000000);
    assert_int_equal(zone.offset[0], 20700);
    char *environment[] = {"TZDIR=/usr/share/zoneinfo/Asia", "TZ=Kathmandu", NULL};
    period_zone_local(&zone, environment, 1795000000);
    assert_int_equal(zone.offset[0], 20700);
}

/* The content that the replaced system calls give for any file, in pieces of some bytes. */
static struct {
    unsigned char data[40000];
    size_t size;
    size_t position;
    size_t open;
} fake_file;

static int fake_openat(int directory, const char *path, int flags, mode_t mode)
{
    (void)directory;
    (void)path;
    (void)mode;
    assert_true(flags & O_CLOEXEC);
    assert_true(flags & O_NONBLOCK);
    fake_file.position = 0;
    fake_file.open++;
    return 1000;
}

static ssize_t fake_read(int fd, void *buffer, size_t size)
{
    assert_int_equal(fd, 1000);
    size_t left = fake_file.size - fake_file.position;
    size_t piece = size < 1000 ? size : 1000;
    piece = piece < left ? piece : left;
    memcpy(buffer, fake_file.data + fake_file.position, piece);
    fake_file.position += piece;
    return (ssize_t)piece;
}

static int fake_close(int fd)
{
    assert_int_equal(fd, 1000);
    fake_file.open--;
    return 0;
}

static int use_fake_file(void **state)
{
    (void)state;
    sys.openat = fake_openat;
    sys.read = fake_read;
    sys.close = fake_close;
    return 0;
}

static int use_real_files(void **state)
{
    (void)state;
    sys = sys_real;
    return 0;
}

static void read_into_fake_file(const char *path)
{
    FILE *file = fopen(path, "r");
    if (file == NULL)
        skip();
    fake_file.size = fread(fake_file.data, 1, sizeof fake_file.data, file);
    fclose(file);
}

static void load_fake_file(struct period_zone *zone)
{
    load(zone, "anything", 1795000000);
    assert_int_equal(fake_file.open, 0);
    assert_in_range(zone->count, 1, PERIOD_ZONE_CHANGES);
    for (size_t i = 1; i < zone->count; i++)
        assert_true(zone->from[i] > zone->from[i - 1]);
}

static void a_damaged_file_does_no_harm(void **state)
{
    (void)state;
    static unsigned char intact[sizeof fake_file.data];
    struct period_zone zone;
    read_into_fake_file("/usr/share/zoneinfo/Europe/Berlin");
    size_t size = fake_file.size;
    memcpy(intact, fake_file.data, size);
    load_fake_file(&zone);
    assert_true(zone.count > 40);
    for (fake_file.size = 0; fake_file.size < size; fake_file.size++) {
        load_fake_file(&zone);
        assert_true(fake_file.size >= size - 30 || zone.count == 1); /* the last bytes are the rule */
    }
    for (int i = 0; i < 20000; i++) {
        memcpy(fake_file.data, intact, size);
        for (int64_t changes = 1 + random_below(4); changes > 0; changes--)
            fake_file.data[random_below(random_below(2) ? 100 : (int64_t)size)] = (unsigned char)random_below(256);
        load_fake_file(&zone);
    }
    memset(fake_file.data, 0xff, sizeof fake_file.data);
    memcpy(fake_file.data, "TZif2", 5);
    fake_file.size = sizeof fake_file.data;
    load_fake_file(&zone);
    assert_int_equal(zone.count, 1);
}

/* A file of the first version: one change, from the first to the second of two types, at 1800000000. */
static void make_old_file(unsigned char change_to, unsigned char type_count)
{
    static const unsigned char change[] = {0x6b, 0x49, 0xd2, 0x00};
    static const unsigned char types[] = {0, 0, 0x0e, 0x10, 0, 0, 0xff, 0xff, 0xf1, 0xf0, 1, 0};
    memset(fake_file.data, 0, sizeof fake_file.data);
    memcpy(fake_file.data, "TZif", 4);
    fake_file.data[35] = 1;
    fake_file.data[39] = type_count;
    memcpy(fake_file.data + 44, change, sizeof change);
    fake_file.data[48] = change_to;
    memcpy(fake_file.data + 49, types, sizeof types);
    fake_file.size = 49 + sizeof types;
}

static void a_file_of_the_first_version_is_read(void **state)
{
    (void)state;
    struct period_zone zone;
    make_old_file(1, 2);
    load_fake_file(&zone);
    assert_int_equal(zone.count, 2);
    assert_int_equal(zone.offset[0], 3600);
    assert_true(zone.from[1] == 1800000000);
    assert_int_equal(zone.offset[1], -3600);
}

static void a_type_that_is_not_there_makes_a_file_void(void **state)
{
    (void)state;
    struct period_zone zone;
    make_old_file(2, 2);
    load_fake_file(&zone);
    assert_int_equal(zone.count, 1);
    assert_int_equal(zone.offset[0], 0);
    make_old_file(0, 0);
    fake_file.data[35] = 0;
    load_fake_file(&zone);
    assert_int_equal(zone.offset[0], 0);
}

static void more_changes_than_the_table_holds_are_left_out(void **state)
{
    (void)state;
    struct period_zone zone;
    enum { COUNT = 1000 };
    make_old_file(1, 2);
    fake_file.data[34] = COUNT >> 8;
    fake_file.data[35] = COUNT & 0xff;
    unsigned char *data = fake_file.data + 44;
    for (uint32_t i = 0; i < COUNT; i++, data += 4) {
        uint32_t time = 1800000000 + i * 1000;
        for (int j = 0; j < 4; j++)
            data[j] = (unsigned char)(time >> (24 - 8 * j));
    }
    for (size_t i = 0; i < COUNT; i++)
        *data++ = (unsigned char)((i + 1) % 2);
    memcpy(data, (const unsigned char[]){0, 0, 0x0e, 0x10, 0, 0, 0, 0, 0, 0, 0, 0}, 12);
    fake_file.size = (size_t)(data + 12 - fake_file.data);
    load_fake_file(&zone);
    assert_int_equal(zone.count, PERIOD_ZONE_CHANGES);
}

static int failing_openat(int directory, const char *path, int flags, mode_t mode)
{
    (void)directory;
    (void)path;
    (void)flags;
    (void)mode;
    return -EMFILE;
}

static ssize_t failing_read(int fd, void *buffer, size_t size)
{
    (void)fd;
    (void)buffer;
    (void)size;
    return -EIO;
}

static void a_zone_that_cannot_be_read_is_utc(void **state)
{
    (void)state;
    struct period_zone zone;
    sys.read = failing_read;
    load_fake_file(&zone);
    assert_int_equal(zone.count, 1);
    sys.openat = failing_openat;
    load_fake_file(&zone);
    assert_int_equal(zone.count, 1);
    assert_int_equal(zone.offset[0], 0);
    load(&zone, "EST5", 1795000000); /* a rule needs no file */
    assert_int_equal(zone.offset[0], -5 * 3600);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_installed_zone_is_as_libc_has_it),
        cmocka_unit_test(every_form_of_rule_is_as_libc_has_it),
        cmocka_unit_test(summer_time_that_never_ends_has_no_changes),
        cmocka_unit_test(what_is_no_zone_is_utc),
        cmocka_unit_test(an_endless_name_is_utc),
        cmocka_unit_test(without_tz_the_zone_is_that_of_the_machine),
        cmocka_unit_test(a_colon_and_tzdir_are_understood),
        cmocka_unit_test_setup_teardown(a_damaged_file_does_no_harm, use_fake_file, use_real_files),
        cmocka_unit_test_setup_teardown(a_file_of_the_first_version_is_read, use_fake_file, use_real_files),
        cmocka_unit_test_setup_teardown(a_type_that_is_not_there_makes_a_file_void, use_fake_file, use_real_files),
        cmocka_unit_test_setup_teardown(more_changes_than_the_table_holds_are_left_out, use_fake_file, use_real_files),
        cmocka_unit_test_setup_teardown(a_zone_that_cannot_be_read_is_utc, use_fake_file, use_real_files),
    };
    return cmocka_run_group_tests_name("zone", tests, NULL, NULL);
}
