/* The value of every key: what is good, where it arrives, what is refused and how. */
#include "config_scene.h"

#include <stddef.h>

#define KIB    UINT64_C(1024)
#define SECOND UINT64_C(1000000000)

/* One value of one key, and where and what it must be in the rule. */
#define FIELD(field) offsetof(struct rule, field), sizeof(((struct rule *)0)->field)
static const struct good_value {
    const char *text;
    size_t offset;
    size_t size;
    uint64_t value;
} good_values[] = {
    {"max_bytes=0", FIELD(policy.max_bytes), 0},
    {"max_bytes=1", FIELD(policy.max_bytes), 1},
    {"max_bytes=007", FIELD(policy.max_bytes), 7},
    {"max_bytes=4096", FIELD(policy.max_bytes), 4096},
    {"max_bytes=1K", FIELD(policy.max_bytes), KIB},
    {"max_bytes=10M", FIELD(policy.max_bytes), 10 * KIB *KIB},
    {"max_bytes=3G", FIELD(policy.max_bytes), 3 * KIB *KIB *KIB},
    {"max_bytes=0G", FIELD(policy.max_bytes), 0},
    {"max_bytes=4611686018427387904", FIELD(policy.max_bytes), UINT64_C(1) << 62},
    {"max_bytes=4294967296G", FIELD(policy.max_bytes), UINT64_C(1) << 62},
    {"max_bytes=4503599627370496K", FIELD(policy.max_bytes), UINT64_C(1) << 62},
    {"when=S", FIELD(policy.period.unit), PERIOD_SECOND},
    {"when=M", FIELD(policy.period.unit), PERIOD_MINUTE},
    {"when=H", FIELD(policy.period.unit), PERIOD_HOUR},
    {"when=h", FIELD(policy.period.unit), PERIOD_HOUR},
    {"when=D", FIELD(policy.period.unit), PERIOD_DAY},
    {"when=MIDNIGHT", FIELD(policy.period.unit), PERIOD_DAY},
    {"when=Midnight", FIELD(policy.period.unit), PERIOD_DAY},
    {"when=off", FIELD(policy.period.unit), PERIOD_NONE},
    {"when=W0", FIELD(policy.period.unit), PERIOD_WEEK},
    {"when=W0", FIELD(policy.period.weekday), 0},
    {"when=W1", FIELD(policy.period.weekday), 1},
    {"when=w6", FIELD(policy.period.weekday), 6},
    {"when=D", FIELD(policy.period.interval), 1},
    {"when=H,interval=6", FIELD(policy.period.interval), 6},
    {"interval=6,when=H", FIELD(policy.period.interval), 6},
    {"when=H,interval=24", FIELD(policy.period.interval), 24},
    {"when=M,interval=1440", FIELD(policy.period.interval), 1440},
    {"when=S,interval=86400", FIELD(policy.period.interval), 86400},
    {"when=D,interval=36500", FIELD(policy.period.interval), 36500},
    {"when=W3,interval=2", FIELD(policy.period.interval), 2},
    {"when=D", FIELD(policy.period.at), 0},
    {"when=D,at=03:30", FIELD(policy.period.at), 3 * 3600 + 30 * 60},
    {"at=23:59:59,when=W2", FIELD(policy.period.at), 86399},
    {"when=D,at=00:00:00", FIELD(policy.period.at), 0},
    {"utc=0", FIELD(policy.utc), 0},
    {"utc=1", FIELD(policy.utc), 1},
    {"backups=0", FIELD(policy.backups), 0},
    {"backups=7", FIELD(policy.backups), 7},
    {"backups=1000000000", FIELD(policy.backups), 1000000000},
    {"naming=number", FIELD(policy.naming), NAMING_NUMBER},
    {"naming=time", FIELD(policy.naming), NAMING_TIME},
    {"max_bytes=1", FIELD(policy.naming), NAMING_NUMBER},
    {"when=D", FIELD(policy.naming), NAMING_TIME},
    {"when=D,naming=number", FIELD(policy.naming), NAMING_NUMBER},
    {"naming=number,when=D", FIELD(policy.naming), NAMING_NUMBER},
    {"mode=640", FIELD(mode), 0640},
    {"mode=0640", FIELD(mode), 0640},
    {"mode=0777", FIELD(mode), 0777},
    {"mode=200", FIELD(mode), 0200},
    {"utc=0", FIELD(mode), (unsigned)-1},
    {"owner=0", FIELD(owner), 0},
    {"owner=1000", FIELD(owner), 1000},
    {"owner=1000", FIELD(group), (gid_t)-1},
    {"owner=1000:2000", FIELD(group), 2000},
    {"owner=4294967294", FIELD(owner), 4294967294},
    {"utc=0", FIELD(owner), (uid_t)-1},
    {"lock=write", FIELD(lock_timeout_ns), 5 * SECOND},
    {"utc=0", FIELD(lock), RULE_LOCK_WRITE},
    {"lock=write", FIELD(lock), RULE_LOCK_WRITE},
    {"lock=rotate", FIELD(lock), RULE_LOCK_ROTATE},
    {"lock_timeout=0", FIELD(lock_timeout_ns), 0},
    {"lock_timeout=500ms", FIELD(lock_timeout_ns), SECOND / 2},
    {"lock_timeout=0s", FIELD(lock_timeout_ns), 0},
    {"lock_timeout=2s", FIELD(lock_timeout_ns), 2 * SECOND},
    {"lock_timeout=3m", FIELD(lock_timeout_ns), 180 * SECOND},
    {"lock_timeout=1h", FIELD(lock_timeout_ns), 3600 * SECOND},
    {"lock_timeout=1d", FIELD(lock_timeout_ns), 86400 * SECOND},
    {"lock_timeout=1w", FIELD(lock_timeout_ns), 604800 * SECOND},
    {"truncate=rotate", FIELD(truncate), TRUNCATE_ROTATE},
    {"truncate=ignore", FIELD(truncate), TRUNCATE_IGNORE},
    {"truncate=allow", FIELD(truncate), TRUNCATE_ALLOW},
    {"lines=whole", FIELD(lines), LINES_WHOLE},
    {"lines=strict", FIELD(lines), LINES_STRICT},
    {"lines=off", FIELD(lines), LINES_OFF},
    {"utc=0", FIELD(lines), LINES_WHOLE},
    {"backups=1", FIELD(policy.compress), 0},
    {"compress=none", FIELD(policy.compress), 0},
    {"compress=gzip", FIELD(policy.compress), 6},
    {"compress=gzip:1", FIELD(policy.compress), 1},
    {"compress=gzip:9", FIELD(policy.compress), 9},
    {"compress=gzip", FIELD(policy.naming), NAMING_NUMBER},
    {"max_age=0", FIELD(policy.max_age_ns), 0},
    {"max_age=250ms", FIELD(policy.max_age_ns), SECOND / 4},
    {"max_age=30d", FIELD(policy.max_age_ns), 30 * 86400 * SECOND},
    {"max_age=4w", FIELD(policy.max_age_ns), 4 * 604800 * SECOND},
    {"max_age=4611686018427ms", FIELD(policy.max_age_ns), UINT64_C(4611686018427000000)},
    {"max_total=0", FIELD(policy.max_total), 0},
    {"max_total=0K", FIELD(policy.max_total), 0},
    {"max_total=20G", FIELD(policy.max_total), 20 * KIB *KIB *KIB},
    {"max_total=4611686018427387904", FIELD(policy.max_total), UINT64_C(1) << 62},
    {"async=0", FIELD(async), 0},
    {"async=1", FIELD(async), 1},
    {"utc=0", FIELD(async_buffer), KIB *KIB},
    {"async_buffer=64K", FIELD(async_buffer), 64 * KIB},
    {"utc=0", FIELD(async_flush_ns), SECOND / 5},
    {"async_flush=0", FIELD(async_flush_ns), 0},
    {"async_flush=20ms", FIELD(async_flush_ns), SECOND / 50},
    {"on_event=none", FIELD(on_event), 0},
    {"utc=0", FIELD(on_event), 0},
};

static uint64_t read_field(const struct rule *rule, const struct good_value *good)
{
    const unsigned char *field = (const unsigned char *)rule + good->offset;
    uint64_t value = 0;
    for (size_t i = 0; i < good->size; i++)
        value |= (uint64_t)field[i] << (8 * i);
    return value;
}

static void good_values_arrive_in_the_rule(void **state)
{
    (void)state;
    for (size_t i = 0; i < LENGTH(good_values); i++) {
        char logs[128];
        snprintf(logs, sizeof logs, "MPLOGSHIM_LOGS=/l/*.log,%s", good_values[i].text);
        struct loaded loaded = LOAD(logs);
        assert_loaded(&loaded, 1);
        uint64_t value = read_field(&loaded.config.rules[0], &good_values[i]);
        if (value != good_values[i].value)
            fail_msg("%s gave %llu", good_values[i].text, (unsigned long long)value);
    }
}

#define UNSUPPORTED "is not supported in this version: expected "
static const struct {
    const char *key;
    const char *value;
    const char *expected;
} bad_values[] = {
    {"max_bytes", "10X", "expected a size such as"},
    {"max_bytes", "10m", "expected a size"},
    {"max_bytes", "10MB", "expected a size"},
    {"max_bytes", "10 M", "expected a size"},
    {"max_bytes", "-1", "expected a size"},
    {"max_bytes", "+1", "expected a size"},
    {"max_bytes", "1.5M", "expected a size"},
    {"max_bytes", "0x10", "expected a size"},
    {"max_bytes", "K", "expected a size"},
    {"max_bytes", "4611686018427387905", "up to 2^62 bytes"},
    {"max_bytes", "4294967297G", "up to 2^62 bytes"},
    {"max_bytes", "18446744073709551616", "up to 2^62 bytes"},
    {"max_bytes", "18446744073709551617K", "up to 2^62 bytes"},
    {"max_bytes", "99999999999999999999999999999999", "up to 2^62 bytes"},
    {"max_bytes", "", "empty value for max_bytes: expected a size"},
    {"when", "W9", "W0 (Monday) to W6"},
    {"when", "W7", "W0 (Monday) to W6"},
    {"when", "W", "W0 (Monday) to W6"},
    {"when", "W01", "W0 (Monday) to W6"},
    {"when", "X", "expected S, M, H, D, MIDNIGHT"},
    {"when", "DD", "expected S, M, H, D, MIDNIGHT"},
    {"when", "midnigh", "expected S, M, H, D, MIDNIGHT"},
    {"when", "midnights", "expected S, M, H, D, MIDNIGHT"},
    {"when", "", "expected S, M, H, D, MIDNIGHT"},
    {"interval", "0", "expected a whole number from 1"},
    {"interval", "-1", "expected a whole number from 1"},
    {"interval", "1h", "expected a whole number from 1"},
    {"interval", "86401", "to 86400"},
    {"interval", "4294967297", "to 86400"},
    {"at", "24:00:00", "expected a time of day"},
    {"at", "12:60:00", "expected a time of day"},
    {"at", "12:00:60", "expected a time of day"},
    {"at", "12", "expected a time of day"},
    {"at", "12:", "expected a time of day"},
    {"at", "12:0", "expected a time of day"},
    {"at", "1:00", "expected a time of day"},
    {"at", "12:00:", "expected a time of day"},
    {"at", "12:00:00Z", "expected a time of day"},
    {"at", "12-00", "expected a time of day"},
    {"utc", "yes", "expected 0 or 1"},
    {"utc", "2", "expected 0 or 1"},
    {"utc", "01", "expected 0 or 1"},
    {"backups", "-1", "expected a whole number from 0"},
    {"backups", "1000000001", "to 1000000000"},
    {"backups", "7d", "expected a whole number from 0"},
    {"backups", "7K", "expected a whole number from 0"},
    {"naming", "date", "expected number or time"},
    {"naming", "Time", "expected number or time"},
    {"naming", "numbe", "expected number or time"},
    {"mode", "888", "expected octal permission bits"},
    {"mode", "1777", "up to 0777"},
    {"mode", "7777777777777777777777", "up to 0777"},
    {"mode", "444", "with at least owner write (0200)"},
    {"mode", "0", "with at least owner write (0200)"},
    {"mode", "rw-r--r--", "expected octal permission bits"},
    {"owner", ":", "expected user[:group]"},
    {"owner", ":0", "expected user[:group]"},
    {"owner", "0:", "expected user[:group]"},
    {"owner", "0:0:0", "expected user[:group]"},
    {"owner", "4294967295", "expected user[:group]"},
    {"owner", "99999999999999999999", "expected user[:group]"},
    {"owner", "nobody-of-this-name", "/etc/passwd"},
    {"lock_timeout", "5", "expected 0 or a duration"},
    {"lock_timeout", "5sec", "expected 0 or a duration"},
    {"lock_timeout", "s", "expected 0 or a duration"},
    {"lock_timeout", "-5s", "expected 0 or a duration"},
    {"lock_timeout", "5S", "expected 0 or a duration"},
    {"lock_timeout", "7626w", "up to 146 years"},
    {"lock_timeout", "99999999999999999999ms", "up to 146 years"},
    {"lock_dir", "locks", "expected an absolute path"},
    {"lock_dir", "./locks", "expected an absolute path"},
    {"truncate", "yes", "expected rotate, ignore or allow"},
    {"lines", "on", "expected whole, strict or off"},
    {"compress", "zstd", "expected none, gzip, or gzip:1 to gzip:9"},
    {"compress", "gzip:0", "expected none, gzip"},
    {"compress", "gzip:10", "expected none, gzip"},
    {"compress", "gzip:", "expected none, gzip"},
    {"compress", "gzip:01", "expected none, gzip"},
    {"compress", "gzip:1x", "expected none, gzip"},
    {"compress", "GZIP", "expected none, gzip"},
    {"compress", "0", "expected none, gzip"},
    {"max_age", "7", "expected 0 or a duration"},
    {"max_age", "7626w", "up to 146 years"},
    {"max_age", "-1d", "expected 0 or a duration"},
    {"max_total", "1T", "expected a size"},
    {"max_total", "4611686018427387905", "up to 2^62 bytes"},
    {"lock", "none", "expected write or rotate"},
    {"async", "on", "expected 0 or 1"},
    {"async_buffer", "x", "expected a size above 0"},
    {"async_buffer", "0", "expected a size above 0"},
    {"async_flush", "200", "expected 0 or a duration"},
    {"prefix", "%H:%M ", UNSUPPORTED},
    {"prefix_debug", "x", UNSUPPORTED},
    {"prefix_info", "x", UNSUPPORTED},
    {"prefix_warning", "x", UNSUPPORTED},
    {"prefix_error", "x", UNSUPPORTED},
    {"prefix_critical", "x", UNSUPPORTED},
    {"forward", "tls:host:6514", "expected unix:/path, tcp:host:port or udp:host:port"},
    {"forward", "tcp:host", "expected unix:/path"},
    {"forward", "tcp::514", "expected unix:/path"},
    {"forward", "tcp:host:0", "expected unix:/path"},
    {"forward", "tcp:host:65536", "expected unix:/path"},
    {"forward", "unix:dev/log", "expected unix:/path"},
    {"forward", "unix:/dev/log", UNSUPPORTED},
    {"forward", "udp:[::1]:514", UNSUPPORTED},
    {"on_event", "mail", "expected the absolute path of a program, or none"},
    {"on_event", "./mail", "expected the absolute path of a program, or none"},
    {"on_event", "None", "expected the absolute path of a program, or none"},
    {"on_event", "0", "expected the absolute path of a program, or none"},
    {"on_event", "/", "expected the absolute path of a program, or none"},
    {"on_event", "/usr/bin/", "expected the absolute path of a program, or none"},
    {"on_event", "", "empty value for on_event: expected the absolute path of a program, or none"},
};

static void bad_values_are_refused_in_a_rule(void **state)
{
    (void)state;
    for (size_t i = 0; i < LENGTH(bad_values); i++) {
        char logs[256];
        snprintf(logs, sizeof logs, "MPLOGSHIM_LOGS=/a;/l/*.log,%s=%s", bad_values[i].key, bad_values[i].value);
        struct loaded loaded = LOAD(logs);
        /* Blanks at the end of a word do not count. */
        char word[128];
        snprintf(word, sizeof word, "%s", bad_values[i].value);
        while (word[0] != '\0' && word[strlen(word) - 1] == ' ')
            word[strlen(word) - 1] = '\0';
        assert_refused(&loaded, "MPLOGSHIM_LOGS: rule 2: ", word, bad_values[i].expected);
        assert_non_null(strstr(loaded.error, bad_values[i].key));
    }
}

static void bad_values_are_refused_in_a_variable(void **state)
{
    (void)state;
    for (size_t i = 0; i < LENGTH(bad_values); i++) {
        char variable[256];
        snprintf(variable, sizeof variable, "MPLOGSHIM_%s=%s", bad_values[i].key, bad_values[i].value);
        for (char *byte = variable; *byte != '='; byte++)
            *byte = *byte >= 'a' && *byte <= 'z' ? (char)(*byte - 32) : *byte;
        char start[128];
        snprintf(start, sizeof start, "%.*s: ", (int)strcspn(variable, "="), variable);

        struct loaded loaded = LOAD(variable, "MPLOGSHIM_LOGS=/a");
        assert_refused(&loaded, start, bad_values[i].value, bad_values[i].expected);
        loaded = LOAD(variable); /* also without any rule */
        assert_refused(&loaded, start, bad_values[i].value, bad_values[i].expected);
    }
}

static void bad_values_are_refused_in_a_file(void **state)
{
    (void)state;
    for (size_t i = 0; i < LENGTH(bad_values); i++) {
        char text[256];
        char start[128];
        char value[128];
        snprintf(text, sizeof text, "# rules\n\n[/l/*.log]\n  %s = %s\n", bad_values[i].key, bad_values[i].value);
        snprintf(start, sizeof start, "%s:4: ", scene_file);
        snprintf(value, sizeof value, "%s", bad_values[i].value);
        value[strcspn(value, " ") == strlen(value) - 1 ? strlen(value) - 1 : strlen(value)] = '\0';
        struct loaded loaded = load_file(text);
        assert_refused(&loaded, start, value[0] ? value : "", bad_values[i].expected);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(good_values_arrive_in_the_rule),
        cmocka_unit_test(bad_values_are_refused_in_a_rule),
        cmocka_unit_test(bad_values_are_refused_in_a_variable),
        cmocka_unit_test(bad_values_are_refused_in_a_file),
    };
    return cmocka_run_group_tests(tests, make_scene, remove_scene);
}
