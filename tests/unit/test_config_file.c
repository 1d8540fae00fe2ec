/* MPLOGSHIM_CONFIG: sections, comments, precedence, bad files; and owners looked up in the account files. */
#include "config_scene.h"

#include "../../shim/core/sys.h"

#include <sys/stat.h>

static const struct {
    const char *text;
    const char *patterns[4]; /* up to the first NULL */
} files[] = {
    {"", {NULL}},
    {"\n\n# nothing\n", {NULL}},
    {"max_bytes = 1K\n", {NULL}},
    {"[/a]", {"/a"}},
    {"[/a]\n[/b]\n", {"/a", "/b"}},
    {"  [ /a ]  \r\nutc=1\r\n\t[/b]\r\n", {"/a", "/b"}},
    {"[/a]#no", {NULL}},
    {"[/a] # a\n#[/x]\n  # [/y]\n[/b]", {"/a", "/b"}},
    {"[/a#b]\n", {"/a#b"}},
    {"[/a \\#b]\n", {"/a \\#b"}},
    {"[/[0-9]/x]\n", {"/[0-9]/x"}},
    {"[/a,b;c]\n", {"/a,b;c"}},
    {"[a.log]\n", {"/start/a.log"}},
};

static void sections_are_rules(void **state)
{
    (void)state;
    for (size_t i = 0; i < LENGTH(files); i++) {
        struct loaded loaded = load_file(files[i].text);
        size_t count = 0;
        while (count < 4 && files[i].patterns[count])
            count++;
        if (strcmp(files[i].text, "[/a]#no") == 0) { /* a comment needs a blank before it */
            assert_int_equal(loaded.result, -EINVAL);
            continue;
        }
        assert_loaded(&loaded, count);
        for (size_t j = 0; j < count; j++)
            assert_string_equal(loaded.config.rules[j].pattern, files[i].patterns[j]);
    }
}

static void keys_above_the_first_section_are_defaults(void **state)
{
    (void)state;
    struct loaded loaded = load_file("max_bytes = 1K\nwhen=D # daily\nlock_dir = /x y \\# z\n"
                                     "[/a]\nbackups=3\n[/b]\nmax_bytes=2K\nwhen=off\n");
    assert_loaded(&loaded, 2);
    const struct rule *rules = loaded.config.rules;
    assert_int_equal(rules[0].policy.max_bytes, 1024);
    assert_int_equal(rules[0].policy.period.unit, PERIOD_DAY);
    assert_int_equal(rules[0].policy.backups, 3);
    assert_string_equal(rules[0].lock_dir, "/x y # z");
    assert_int_equal(rules[1].policy.max_bytes, 2048);
    assert_int_equal(rules[1].policy.period.unit, PERIOD_NONE);
    assert_int_equal(rules[1].policy.backups, 0);
}

static void the_file_wins_over_variables(void **state)
{
    (void)state;
    char variable[128];
    static const char text[] = "max_bytes=2K\n[/a]\n[/b]\nbackups=9\n";
    write_scene_file(text, strlen(text));
    snprintf(variable, sizeof variable, "MPLOGSHIM_CONFIG=%s", scene_file);
    struct loaded loaded = LOAD(variable, "MPLOGSHIM_MAX_BYTES=1K", "MPLOGSHIM_BACKUPS=5", "MPLOGSHIM_LOGS=");
    assert_loaded(&loaded, 2);
    assert_int_equal(loaded.config.rules[0].policy.max_bytes, 2048);
    assert_int_equal(loaded.config.rules[0].policy.backups, 5);
    assert_int_equal(loaded.config.rules[1].policy.backups, 9);
}

static const struct {
    const char *text;
    unsigned line;
    const char *word;
    const char *expected;
} bad_files[] = {
    {"nonsense\n", 1, "'nonsense'", "expected key=value"},
    {"[/a]\n\n# x\ncolour = red\n", 4, "'colour'", "expected one of max_bytes"},
    {"[/a\n", 1, "'[/a'", "expected [PATTERN]"},
    {"[\n", 1, "'['", "expected [PATTERN]"},
    {"[]\n", 1, "empty pattern", "expected a path"},
    {"[/a]\n[  ]\n", 2, "empty pattern", "expected a path"},
    {"[/a]\n[/b/]\nutc=1\n", 2, "'/b/'", "expected the name of a file"},
    {"[/a]\nutc = 1\nutc = 1\n", 3, "utc is given twice", "expected each key once"},
    {"utc = 1\nutc = 0\n[/a]\n", 2, "utc is given twice", "expected each key once"},
    {"[/a]\ninterval = 6\nmax_bytes=1\n[/b]\n", 2, "interval", "expected when="},
    {"\nat = 03:00\n[/b]\nwhen = H\n", 2, "at", "expected when=D"},
    {"interval = 25\n[/b]\nwhen = H\n", 1, "'25'", "expected 1 to 24"},
    {"[/a]\nutc =\n", 2, "empty value for utc", "expected 0 or 1"},
    {"[/a]\nutc = # nothing\n", 2, "empty value for utc", "expected 0 or 1"},
    {"[/a]\nutc = 1,max_bytes=1\n", 2, "'1,max_bytes=1'", "expected 0 or 1"},
    {"\xef\xbb\xbf[/a]\n", 1, "???[/a]", "expected key=value"},
};

static void bad_files_get_one_line_with_file_and_line(void **state)
{
    (void)state;
    for (size_t i = 0; i < LENGTH(bad_files); i++) {
        char start[128];
        snprintf(start, sizeof start, "%s:%u: ", scene_file, bad_files[i].line);
        struct loaded loaded = load_file(bad_files[i].text);
        assert_refused(&loaded, start, bad_files[i].word, bad_files[i].expected);
    }
}

static void files_that_cannot_be_read_are_refused(void **state)
{
    (void)state;
    struct loaded loaded = LOAD("MPLOGSHIM_CONFIG=/nowhere/rules.conf");
    assert_refused(&loaded, "MPLOGSHIM_CONFIG: ", "'/nowhere/rules.conf' (ENOENT)", "expected a readable file");
    loaded = LOAD("MPLOGSHIM_CONFIG=");
    assert_refused(&loaded, "MPLOGSHIM_CONFIG: ", "''", "expected a readable file");
    loaded = LOAD("MPLOGSHIM_CONFIG=/tmp");
    assert_refused(&loaded, "MPLOGSHIM_CONFIG: ", "'/tmp' is not a regular file", "expected a file of rules");
    loaded = LOAD("MPLOGSHIM_CONFIG=/dev/zero");
    assert_refused(&loaded, "MPLOGSHIM_CONFIG: ", "'/dev/zero' is not a regular file", "expected");

    char fifo[128];
    char variable[160];
    snprintf(fifo, sizeof fifo, "%s/fifo", scene_directory);
    snprintf(variable, sizeof variable, "MPLOGSHIM_CONFIG=%s", fifo);
    assert_int_equal(mkfifo(fifo, 0600), 0);
    loaded = LOAD(variable); /* and does not wait for a writer */
    unlink(fifo);
    assert_refused(&loaded, "MPLOGSHIM_CONFIG: ", "fifo' is not a regular file", "expected a file of rules");
}

static void logs_and_config_together_are_refused(void **state)
{
    (void)state;
    struct loaded loaded = LOAD("MPLOGSHIM_LOGS=/a", "MPLOGSHIM_CONFIG=/nowhere");
    assert_refused(&loaded, "MPLOGSHIM_LOGS: ", "MPLOGSHIM_CONFIG is set as well", "expected one of the two");
}

static struct loaded load_bytes(const char *text, size_t length)
{
    char variable[128];
    write_scene_file(text, length);
    snprintf(variable, sizeof variable, "MPLOGSHIM_CONFIG=%s", scene_file);
    return LOAD(variable);
}

static void long_files_and_nul_bytes_are_refused(void **state)
{
    (void)state;
    struct loaded loaded = load_bytes("[/a]\0\n", 6);
    assert_refused(&loaded, "MPLOGSHIM_CONFIG: ", "NUL byte in", "expected text");

    enum { SIZE = 1000000 };
    char *text = test_malloc(SIZE);
    memset(text, '\n', SIZE);
    memcpy(text, "[/a]", 4);
    loaded = load_bytes(text, SIZE);
    assert_refused(&loaded, "MPLOGSHIM_CONFIG: ", "rules.conf' is too long", "expected at most 131072 bytes");
    loaded = load_bytes(text, 131073);
    assert_refused(&loaded, "MPLOGSHIM_CONFIG: ", "rules.conf' is too long", "expected at most 131072 bytes");
    loaded = load_bytes(text, 131072);
    assert_loaded(&loaded, 1);

    size_t length = 0;
    for (int i = 0; i < 1001; i++)
        length += (size_t)sprintf(text + length, "[/a/%d.log]\n", i);
    char start[128];
    snprintf(start, sizeof start, "%s:1001: ", scene_file);
    loaded = load_bytes(text, length);
    assert_refused(&loaded, start, "'/a/1000.log'", "expected at most 1000");
    loaded = load_bytes(text, length - strlen("[/a/1000.log]\n"));
    assert_loaded(&loaded, 1000);
    test_free(text);
}

/* Reads come in pieces of one byte, after an interruption. */
static bool interrupted;

static ssize_t read_slowly(int fd, void *buffer, size_t size)
{
    interrupted = !interrupted;
    return interrupted ? -EINTR : sys_real.read(fd, buffer, size < 1 ? size : 1);
}

static ssize_t read_badly(int fd, void *buffer, size_t size)
{
    (void)fd;
    (void)buffer;
    (void)size;
    return -EIO;
}

static void files_are_read_to_their_end(void **state)
{
    (void)state;
    sys.read = read_slowly;
    struct loaded loaded = load_file("[/a]\nmax_bytes=1K\n[/b]");
    sys.read = read_badly;
    struct loaded failed = load_file("[/a]\n");
    sys.read = sys_real.read;
    assert_loaded(&loaded, 2);
    assert_refused(&failed, "MPLOGSHIM_CONFIG: cannot read '", "(EIO)", "expected a readable file");
}

/* The account files are taken from here, with every read of one byte, which crosses all buffer borders. */
static const char passwd[] = "root:x:0:0:root:/root:/bin/bash\n"
                             "web:x:33:34:web:/var/www:/bin/false\n"
                             "web2:x:1000:1000::/:/bin/sh\n"
                             "broken\n"
                             "empty:x::1::/:\n"
                             "text:x:12a:1::/:\n"
                             "huge:x:4294967295:1::/:\n"
                             "huger:x:99999999999999999999:1::/:\n"
                             "x:web3:77:1::/:\n"
                             ":x:5:5::/:\n"
                             "web2:x:2000:1000::/:/bin/sh\n"
                             "last:x:42";
static const char group[] = "root:x:0:\nadm:x:4:syslog,web\nlogs:x:555:adm\n";

static int open_account_file(int directory, const char *path, int flags, mode_t mode)
{
    if (strcmp(path, "/etc/passwd") != 0 && strcmp(path, "/etc/group") != 0)
        return sys_real.openat(directory, path, flags, mode);
    const char *text = path[5] == 'p' ? passwd : group;
    write_scene_file(text, strlen(text));
    return sys_real.openat(directory, scene_file, flags, mode);
}

static const struct {
    const char *owner;
    uid_t uid;
    gid_t gid;
} owners[] = {
    {"root", 0, (gid_t)-1}, {"web", 33, (gid_t)-1}, {"web:adm", 33, 4},        {"web:logs", 33, 555},
    {"web:7", 33, 7},       {"9:adm", 9, 4},        {"web2", 1000, (gid_t)-1}, {"last", 42, (gid_t)-1},
};
static const char *const bad_owners[] = {"we",   "web3",  "web:root2", "adm:adm",  "broken",   "empty", "text",
                                         "huge", "huger", "x:web3",    "web:x:33", "root:web", "WEB",   "web:lo"};

static void owners_are_looked_up_in_the_account_files(void **state)
{
    (void)state;
    sys.openat = open_account_file;
    sys.read = read_slowly;
    for (size_t i = 0; i < LENGTH(owners); i++) {
        char variable[64];
        snprintf(variable, sizeof variable, "MPLOGSHIM_OWNER=%s", owners[i].owner);
        struct loaded loaded = LOAD(variable, "MPLOGSHIM_LOGS=/a");
        assert_loaded(&loaded, 1);
        assert_int_equal(loaded.config.rules[0].owner, owners[i].uid);
        assert_int_equal(loaded.config.rules[0].group, owners[i].gid);
    }
    for (size_t i = 0; i < LENGTH(bad_owners); i++) {
        char variable[64];
        snprintf(variable, sizeof variable, "MPLOGSHIM_OWNER=%s", bad_owners[i]);
        struct loaded loaded = LOAD(variable, "MPLOGSHIM_LOGS=/a");
        assert_refused(&loaded, "MPLOGSHIM_OWNER: ", bad_owners[i], "expected user[:group]");
    }
    sys.openat = sys_real.openat;
    sys.read = sys_real.read;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sections_are_rules),
        cmocka_unit_test(keys_above_the_first_section_are_defaults),
        cmocka_unit_test(the_file_wins_over_variables),
        cmocka_unit_test(bad_files_get_one_line_with_file_and_line),
        cmocka_unit_test(files_that_cannot_be_read_are_refused),
        cmocka_unit_test(logs_and_config_together_are_refused),
        cmocka_unit_test(long_files_and_nul_bytes_are_refused),
        cmocka_unit_test(files_are_read_to_their_end),
        cmocka_unit_test(owners_are_looked_up_in_the_account_files),
    };
    return cmocka_run_group_tests(tests, make_scene, remove_scene);
}
