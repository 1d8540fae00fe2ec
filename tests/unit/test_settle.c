/* One log is settled: under which locks, by whose policy, what is told and what the lock file says afterwards. */
#include "log_scene.h"

#include "../../include/mplogshim.h"
#include "../../shim/core/policy.h"
#include "../../shim/tool/helper.h"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <sys/prctl.h>
#include <sys/wait.h>

#include <cmocka.h>

enum { BEGUN = 1795190400 /* 2026-11-20 16:00:00 UTC */ };

static struct scene scene;
static struct lockfile lock;
static struct settle settle;
static pid_t holder;

static int setup(void **state)
{
    struct stat status;
    (void)state;
    scene_make(&scene);
    scene_start(&scene);
    sys = sys_real;
    temporary_write(scene.directory, LOG_NAME, "live\n");
    settle = (struct settle){.path = scene.path.text,
                             .base = scene.path.text + strlen(scene.directory) + 1,
                             .directory = open(scene.directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC),
                             .lock = &lock,
                             .rule = scene.rule,
                             .zone = &scene_zone};
    memset(&lock, 0, sizeof lock);
    lock.fd = -1;
    lock.directory = settle.directory;
    strcpy(lock.name, LOCK_NAME);
    temporary_must(fstat(settle.directory, &status) == 0 && guard_enter(), "directory");
    status.st_mode = S_IFREG | 0644;
    temporary_must(lockfile_open(&lock, -1, &status) == 0, "lockfile_open");
    return 0;
}

static void end_holder(void)
{
    if (holder > 0) {
        kill(holder, SIGKILL);
        waitpid(holder, NULL, 0);
    }
    holder = 0;
}

static int teardown(void **state)
{
    (void)state;
    end_holder();
    lockfile_close(&lock);
    close(settle.directory);
    guard_leave();
    sys = sys_real;
    diag_open(DIAG_OFF, NULL);
    temporary_remove(scene.directory);
    return 0;
}

/* Another process holds a byte of the lock file until end_holder. */
static void hold(int byte)
{
    int ready[2];
    char got;
    temporary_must(pipe(ready) == 0 && (holder = fork()) >= 0, "fork");
    if (holder == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        if (lockfile_acquire(&lock, byte, UINT64_MAX) == 0 && write(ready[1], "x", 1) == 1) {
            pause();
        }
        _exit(1);
    }
    close(ready[1]);
    temporary_must(read(ready[0], &got, 1) == 1, "hold");
    close(ready[0]);
}

/* A rotation leaves an archive that has no name yet. */
static void rotate(const char *text)
{
    char name[NAME_SIZE];
    int64_t generation = lockfile_generation(&lock);
    temporary_must(name_pending(LOG_NAME, (uint64_t)generation, BEGUN + generation, name) == 0, "name");
    temporary_write(scene.directory, name, text);
    temporary_must(lockfile_advance(&lock, generation) == 0, "advance");
}

/* A rotation that was killed after its new file was made. */
static void prepare_in_vain(void)
{
    char name[NAME_SIZE];
    int64_t generation = lockfile_generation(&lock);
    temporary_must(name_pending(LOG_NAME, (uint64_t)generation, BEGUN, name) == 0, "name");
    temporary_write(scene.directory, name, "");
    temporary_must(lockfile_advance(&lock, generation) == 0, "advance");
}

static bool archive_is(const char *name, const char *expected)
{
    char *text = temporary_read(scene.directory, name);
    bool same = text != NULL && strcmp(text, expected) == 0;
    free(text);
    return same;
}

static int64_t field(enum lockfile_field which)
{
    int64_t value = -1;
    return lockfile_read(&lock, which, &value) ? value : -1;
}

static void archives_get_their_names_and_the_lock_file_says_so(void **state)
{
    (void)state;
    rotate("first\n");
    rotate("second\n");
    assert_int_equal(settle_pass(&settle), SETTLE_DONE);
    assert_true(archive_is("app.log.1", "second\n"));
    assert_true(archive_is("app.log.2", "first\n"));
    assert_int_equal(field(LOCKFILE_SETTLED), 2);
}

static void nobody_settles_while_another_process_does(void **state)
{
    (void)state;
    rotate("first\n");
    hold(MPLOGSHIM_LOCK_SETTLE);
    assert_int_equal(settle_pass(&settle), SETTLE_BUSY);
    assert_false(temporary_exists(scene.directory, "app.log.1"));
    end_holder();
    assert_int_equal(settle_pass(&settle), SETTLE_DONE);
    assert_true(temporary_exists(scene.directory, "app.log.1"));
}

static void an_archive_that_is_open_for_writing_waits_and_the_log_is_not_settled(void **state)
{
    (void)state;
    settle.rule.policy.compress = 6;
    rotate("first\n");
    assert_int_equal(settle_pass(&settle), SETTLE_DONE);
    rotate("second\n");
    int writer = openat(settle.directory, ".app.log.0000000000000001.1795190401.pending", O_WRONLY | O_APPEND);
    assert_true(writer >= 0);
    assert_int_equal(settle_pass(&settle), SETTLE_WAIT);
    assert_int_equal(settle.waiting, 1);
    assert_false(settle.unnamed);
    assert_true(archive_is("app.log.1", "second\n"));
    assert_int_equal(field(LOCKFILE_SETTLED), 1);
    close(writer);
    assert_int_equal(settle_pass(&settle), SETTLE_DONE);
    assert_false(temporary_exists(scene.directory, "app.log.1"));
    assert_int_equal(field(LOCKFILE_SETTLED), 2);
}

static int fail_to_rename(int from_directory, const char *from, int to_directory, const char *to, unsigned flags)
{
    (void)from_directory, (void)from, (void)to_directory, (void)to, (void)flags;
    return -EIO;
}

static int fail_to_link(int from_directory, const char *from, int to_directory, const char *to, int flags)
{
    (void)from_directory, (void)from, (void)to_directory, (void)to, (void)flags;
    return -EIO;
}

static void a_failure_is_told_once_and_stands_in_the_lock_file_until_it_is_over(void **state)
{
    (void)state;
    rotate("first\n");
    sys.renameat2 = fail_to_rename;
    sys.linkat = fail_to_link;
    for (int i = 0; i < 3; i++) {
        memset(&settle.limits, 0, sizeof settle.limits); /* each time as if a second had passed */
        assert_int_equal(settle_pass(&settle), -EIO);
    }
    assert_int_equal(scene_events(&scene, "archive_failed"), 1);
    assert_int_equal(field(LOCKFILE_FAILED), EIO);
    struct settle next = settle; /* the next helper knows what was told */
    next.told = 0;
    next.may_believe = true;
    memset(&next.limits, 0, sizeof next.limits);
    assert_int_equal(settle_pass(&next), -EIO);
    assert_int_equal(scene_events(&scene, "archive_failed"), 1);
    sys = sys_real;
    assert_int_equal(settle_pass(&settle), SETTLE_DONE);
    assert_int_equal(field(LOCKFILE_FAILED), 0);
    assert_int_equal(field(LOCKFILE_SETTLED), 1);
}

/* Counts the system calls that are made while the log's lock is held. */
static int calls_under_lock;
static int most_under_lock;
static bool is_locked;

static int watch_fcntl(int fd, int command, long argument)
{
    if (command == F_SETLK && fd == lock.fd) {
        const struct flock *request = (const struct flock *)(uintptr_t)argument;
        if (request->l_start == MPLOGSHIM_LOCK_WRITE) {
            is_locked = request->l_type == F_WRLCK;
            calls_under_lock = 0;
        }
    }
    return sys_real.fcntl(fd, command, argument);
}

static void count_call(void)
{
    calls_under_lock += is_locked;
    most_under_lock = calls_under_lock > most_under_lock ? calls_under_lock : most_under_lock;
}

static int watch_fstatat(int directory, const char *path, struct stat *status, int flags)
{
    count_call();
    return sys_real.fstatat(directory, path, status, flags);
}

static int watch_unlinkat(int directory, const char *path, int flags)
{
    count_call();
    return sys_real.unlinkat(directory, path, flags);
}

static int watch_renameat2(int from_directory, const char *from, int to_directory, const char *to, unsigned flags)
{
    count_call();
    return sys_real.renameat2(from_directory, from, to_directory, to, flags);
}

static int watch_openat(int directory, const char *path, int flags, mode_t mode)
{
    count_call();
    return sys_real.openat(directory, path, flags, mode);
}

static ssize_t watch_getdents64(int directory, void *buffer, size_t size)
{
    count_call();
    return sys_real.getdents64(directory, buffer, size);
}

static void what_was_prepared_in_vain_goes_with_a_constant_number_of_calls_under_the_lock(void **state)
{
    enum { FILES = 60, MOST = 8 };
    (void)state;
    for (int i = 0; i < FILES; i++) {
        rotate("an archive\n");
        prepare_in_vain();
    }
    most_under_lock = 0;
    sys.fcntl = watch_fcntl;
    sys.fstatat = watch_fstatat;
    sys.unlinkat = watch_unlinkat;
    sys.renameat2 = watch_renameat2;
    sys.openat = watch_openat;
    sys.getdents64 = watch_getdents64;
    assert_int_equal(settle_pass(&settle), SETTLE_DONE);
    assert_false(is_locked);
    assert_in_range(most_under_lock, 1, MOST);
    assert_true(history_is_settled(scene.directory));
    assert_true(temporary_exists(scene.directory, "app.log.60"));
    assert_false(temporary_exists(scene.directory, "app.log.61"));
}

static void a_lock_that_is_held_for_ever_keeps_nobody_from_naming_archives(void **state)
{
    (void)state;
    settle.rule.lock_timeout_ns = 20000000;
    rotate("first\n");
    prepare_in_vain();
    hold(MPLOGSHIM_LOCK_WRITE);
    assert_int_equal(settle_pass(&settle), -ETIMEDOUT);
    assert_true(archive_is("app.log.1", "first\n"));
    assert_int_equal(scene_events(&scene, "archive_failed"), 1);
    assert_int_not_equal(field(LOCKFILE_SETTLED), 2);
    end_holder();
    assert_int_equal(settle_pass(&settle), SETTLE_DONE);
    assert_true(history_is_settled(scene.directory));
}

static void waiting_for_ever_is_not_for_who_settles(void **state)
{
    (void)state;
    settle.rule.lock_timeout_ns = 0;
    assert_in_range(settle_patience(&settle), 1, UINT64_C(10000000000));
}

static const struct policy recorded = {
    .period = {.interval = 1}, .backups = 3, .naming = NAMING_TIME, .utc = true, .compress = 9};

static void record(mode_t mode)
{
    temporary_must(lockfile_write_policy(&lock, &recorded) == 0, "record");
    temporary_must(fchmod(lock.fd, mode) == 0, "mode");
}

static void a_record_that_nobody_else_can_write_is_followed(void **state)
{
    (void)state;
    record(0644);
    assert_int_equal(settle_choose_policy(&settle, &scene.rule.policy, &scene_zone), 0);
    assert_true(policy_equal(&settle.rule.policy, &recorded));
    assert_false(settle.timid);
    assert_int_equal(settle_choose_policy(&settle, NULL, &scene_zone), 0);
    assert_true(policy_equal(&settle.rule.policy, &recorded));
    assert_false(settle.timid);
}

static void a_record_that_others_can_write_gives_way_to_the_own_settings(void **state)
{
    (void)state;
    record(0666);
    settle.rule.policy = recorded;
    assert_int_equal(settle_choose_policy(&settle, &scene.rule.policy, &scene_zone), 0);
    assert_true(policy_equal(&settle.rule.policy, &scene.rule.policy));
    assert_false(settle.timid);
}

static void where_only_others_say_what_to_keep_archives_are_named_and_nothing_more(void **state)
{
    (void)state;
    record(0666);
    for (int i = 0; i < 5; i++) {
        rotate("an archive\n");
    }
    assert_int_equal(settle_choose_policy(&settle, NULL, &scene_zone), 0);
    assert_true(settle.timid);
    assert_int_equal(settle_pass(&settle), SETTLE_DONE);
    struct history *history = history_read(scene.directory);
    assert_int_equal(history->count, 6); /* and the live file */
    for (int i = 0; i < 5; i++) {
        assert_int_equal(history->files[i].name.kind, NAME_TIME);
        assert_false(history->files[i].name.gzip);
    }
    free(history);
    assert_int_not_equal(field(LOCKFILE_SETTLED), 5); /* who knows more has work left */
}

static void with_neither_a_record_nor_settings_there_is_no_policy(void **state)
{
    (void)state;
    assert_int_equal(settle_choose_policy(&settle, NULL, &scene_zone), -ENODATA);
    assert_int_equal(settle_choose_policy(&settle, &scene.rule.policy, &scene_zone), 0);
    assert_false(settle.timid);
}

static void while_the_record_cannot_be_read_nothing_is_removed(void **state)
{
    (void)state;
    record(0644);
    struct policy own = scene.rule.policy;
    own.backups = 1;
    rotate("first\n");
    rotate("second\n");
    settle.rule.lock_timeout_ns = 20000000;
    hold(MPLOGSHIM_LOCK_WRITE);
    assert_int_equal(settle_choose_policy(&settle, &own, &scene_zone), -ETIMEDOUT);
    assert_true(settle.timid);
    settle_pass(&settle);
    assert_true(archive_is("app.log.2", "first\n"));
}

/* While the first archive is compressed, the log is rotated; what that leaves has its name before the next look. */
static int looks;
static bool named_in_time;

static void rotate_once(void *context)
{
    (void)context;
    if (looks++ == 0) {
        rotate("meanwhile\n");
    } else if (looks == 2) {
        named_in_time = archive_is("app.log.1", "meanwhile\n");
    }
}

static void a_rotation_while_an_archive_is_compressed_gets_its_name_at_once(void **state)
{
    enum { SIZE = 6 * 1024 * 1024 };
    (void)state;
    char *text = malloc(SIZE + 1);
    assert_non_null(text);
    for (int i = 0; i < SIZE; i++) {
        text[i] = (char)('a' + i % 26);
    }
    text[SIZE] = '\0';
    rotate(text);
    free(text);
    settle.rule.policy.compress = 1;
    settle.between = rotate_once;
    looks = 0;
    named_in_time = false;
    int result;
    do {
        result = settle_pass(&settle);
    } while (result == SETTLE_WAIT);
    assert_int_equal(result, SETTLE_DONE);
    assert_true(named_in_time);
    assert_true(temporary_exists(scene.directory, "app.log.2.gz"));
    assert_int_equal(field(LOCKFILE_SETTLED), 2);
}

static void stop_now(void *context)
{
    (void)context;
    settle_stop();
}

static void a_process_that_is_to_end_leaves_nothing_half_done(void **state)
{
    enum { SIZE = 4 * 1024 * 1024 };
    (void)state;
    int status;
    char *text = calloc(1, SIZE + 1);
    assert_non_null(text);
    memset(text, 'x', SIZE);
    rotate(text);
    pid_t child = fork();
    if (child == 0) {
        settle.rule.policy.compress = 1;
        settle.between = stop_now;
        bool stopped = settle_pass(&settle) == -ECANCELED && settle_pass(&settle) == -ECANCELED;
        _exit(!(stopped && archive_is("app.log.1", text)));
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
    assert_true(archive_is("app.log.1", text));
    assert_false(temporary_exists(scene.directory, ".app.log.gz.new"));
    assert_int_equal(scene_events(&scene, "archive_failed"), 0);
    free(text);
}

/* helper_run opens the lock file itself. */
static int run_helper(void)
{
    int status;
    pid_t child = fork();
    if (child == 0) {
        lock.fd = -1;
        _exit(helper_run(&settle));
    }
    temporary_must(waitpid(child, &status, 0) == child, "waitpid");
    return status;
}

static void a_helper_settles_and_ends(void **state)
{
    (void)state;
    rotate("first\n");
    assert_int_equal(run_helper(), 0);
    assert_true(archive_is("app.log.1", "first\n"));
    assert_int_equal(field(LOCKFILE_SETTLED), 1);
}

static void a_second_helper_leaves_the_work_to_the_first(void **state)
{
    (void)state;
    rotate("first\n");
    hold(MPLOGSHIM_LOCK_HELPER);
    assert_int_equal(run_helper(), 0);
    assert_false(temporary_exists(scene.directory, "app.log.1"));
}

static void a_helper_without_a_lock_file_makes_none(void **state)
{
    (void)state;
    assert_int_equal(unlinkat(settle.directory, LOCK_NAME, 0), 0);
    assert_int_equal(run_helper(), 0);
    assert_false(temporary_exists(scene.directory, LOCK_NAME));
}

/* Just when the helper has given its byte up, somebody rotates who has still seen it held. */
static int rotate_at_the_last_moment(int fd, int command, long argument)
{
    static bool done;
    const struct flock *request = (const struct flock *)(uintptr_t)argument;
    bool gives_up = command == F_SETLK && request->l_type == F_UNLCK && request->l_start == MPLOGSHIM_LOCK_HELPER;
    if (gives_up && !done) {
        done = true;
        rotate("at the last moment\n");
    }
    return sys_real.fcntl(fd, command, argument);
}

static void a_rotation_while_the_helper_ends_is_not_forgotten(void **state)
{
    (void)state;
    rotate("first\n");
    sys.fcntl = rotate_at_the_last_moment;
    assert_int_equal(run_helper(), 0);
    assert_true(archive_is("app.log.1", "at the last moment\n"));
    assert_true(archive_is("app.log.2", "first\n"));
}

/* The helper sleeps: the next file is full already. */
static int rotate_meanwhile(const struct timespec *duration)
{
    static bool done;
    if (!done) {
        done = true;
        rotate("meanwhile\n");
    }
    return sys_real.sleep(duration);
}

static void the_helper_of_a_log_in_use_stays_for_the_next_rotation(void **state)
{
    (void)state;
    rotate("first\n");
    assert_int_equal(lockfile_attach(&lock), 0);
    sys.sleep = rotate_meanwhile;
    assert_int_equal(run_helper(), 0);
    assert_true(archive_is("app.log.1", "meanwhile\n"));
    assert_true(archive_is("app.log.2", "first\n"));
}

static void the_helper_of_a_log_that_nobody_has_open_ends_at_once(void **state)
{
    (void)state;
    rotate("first\n");
    sys.sleep = rotate_meanwhile;
    assert_int_equal(run_helper(), 0);
    assert_true(archive_is("app.log.1", "first\n"));
    assert_int_equal(lockfile_generation(&lock), 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
        TEST(archives_get_their_names_and_the_lock_file_says_so),
        TEST(nobody_settles_while_another_process_does),
        TEST(an_archive_that_is_open_for_writing_waits_and_the_log_is_not_settled),
        TEST(a_failure_is_told_once_and_stands_in_the_lock_file_until_it_is_over),
        TEST(what_was_prepared_in_vain_goes_with_a_constant_number_of_calls_under_the_lock),
        TEST(a_lock_that_is_held_for_ever_keeps_nobody_from_naming_archives),
        TEST(waiting_for_ever_is_not_for_who_settles),
        TEST(a_record_that_nobody_else_can_write_is_followed),
        TEST(a_record_that_others_can_write_gives_way_to_the_own_settings),
        TEST(where_only_others_say_what_to_keep_archives_are_named_and_nothing_more),
        TEST(with_neither_a_record_nor_settings_there_is_no_policy),
        TEST(while_the_record_cannot_be_read_nothing_is_removed),
        TEST(a_rotation_while_an_archive_is_compressed_gets_its_name_at_once),
        TEST(a_process_that_is_to_end_leaves_nothing_half_done),
        TEST(a_helper_settles_and_ends),
        TEST(a_second_helper_leaves_the_work_to_the_first),
        TEST(a_helper_without_a_lock_file_makes_none),
        TEST(a_rotation_while_the_helper_ends_is_not_forgotten),
        TEST(the_helper_of_a_log_in_use_stays_for_the_next_rotation),
        TEST(the_helper_of_a_log_that_nobody_has_open_ends_at_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
