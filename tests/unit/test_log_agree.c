/* One log, one policy: who records it, who follows, and what is said of it. */
#include "log_test.h"

#include "../../shim/core/policy.h"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <sys/prctl.h>
#include <sys/wait.h>

#include <cmocka.h>

static pid_t other;
static int to_other;
static int from_other;

static void end_other(void)
{
    if (other > 0) {
        close(to_other);
        waitpid(other, NULL, 0);
        close(from_other);
    }
    other = 0;
}

static int teardown(void **state)
{
    (void)state;
    end_other();
    scene_end(&scene);
    return 0;
}

/* A process that attached before this one did, with a policy of its own, and stays until end_other. */
static void start_other(const struct policy *policy)
{
    int commands[2];
    int answers[2];
    char byte = 'a';
    temporary_must(pipe(commands) == 0 && pipe(answers) == 0, "pipe");
    other = fork();
    temporary_must(other >= 0, "fork");
    if (other == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        close(commands[1]);
        close(answers[0]);
        scene.rule.policy = *policy;
        scene_start(&scene);
        scene_attach(&scene);
        bool good = write(answers[1], &byte, 1) == 1 && read(commands[0], &byte, 1) == 0;
        _exit(!good);
    }
    close(commands[0]);
    close(answers[1]);
    to_other = commands[1];
    from_other = answers[0];
    temporary_must(read(from_other, &byte, 1) == 1, "other process");
}

static struct policy with(uint64_t max_bytes, uint64_t backups)
{
    struct policy policy = scene.rule.policy;
    policy.max_bytes = max_bytes;
    policy.backups = backups;
    return policy;
}

/* This process attaches, as a new one would: nothing is left of a log that it had open before. */
static void begin(struct policy policy)
{
    scene.rule.policy = policy;
    scene_start(&scene);
    scene_attach(&scene);
    assert_true(scene_write_lines(&scene, 1, 1));
}

static const struct policy *in_force(void)
{
    return &scene.writer->log->policy;
}

static void the_first_records_its_policy(void **state)
{
    struct policy recorded;
    (void)state;
    begin(with(100, 3));
    assert_true(lockfile_read_policy(&scene.writer->log->lock, &recorded));
    assert_true(policy_equal(&recorded, &scene.rule.policy));
    assert_int_equal(scene_events(&scene, "settings_mismatch"), 0);
}

static void one_that_comes_later_follows_the_record_and_says_so(void **state)
{
    const struct policy first = with(5 * LINE_LENGTH, 3);
    (void)state;
    start_other(&first);
    begin(with(100 * LINE_LENGTH, 50));
    assert_true(policy_equal(in_force(), &first));
    assert_int_equal(scene_events(&scene, "settings_mismatch"), 1);
    assert_int_equal(temporary_count(scene.directory, DIAG_NAME, "max_bytes=100"), 1);
    assert_int_equal(temporary_count(scene.directory, DIAG_NAME, "max_bytes=2000"), 1);
    assert_int_equal(temporary_count(scene.directory, DIAG_NAME, "backups=3"), 1);
    assert_int_equal(temporary_count(scene.directory, DIAG_NAME, "backups=50"), 1);
    assert_true(scene_write_lines(&scene, 2, 6));
    assert_int_equal(lockfile_generation(&scene.writer->log->lock), 1);
}

static void one_with_the_same_settings_has_nothing_to_say(void **state)
{
    const struct policy first = with(5 * LINE_LENGTH, 3);
    (void)state;
    start_other(&first);
    begin(first);
    assert_int_equal(scene_events(&scene, "settings_mismatch"), 0);
}

static void a_record_that_nobody_stands_for_is_replaced(void **state)
{
    struct policy recorded;
    const struct policy first = with(5 * LINE_LENGTH, 3);
    (void)state;
    start_other(&first);
    end_other();
    begin(with(100 * LINE_LENGTH, 50));
    assert_true(policy_equal(in_force(), &scene.rule.policy));
    assert_true(lockfile_read_policy(&scene.writer->log->lock, &recorded));
    assert_true(policy_equal(&recorded, &scene.rule.policy));
    assert_int_equal(scene_events(&scene, "settings_mismatch"), 0);
}

static void a_killed_process_stands_for_nothing(void **state)
{
    const struct policy first = with(5 * LINE_LENGTH, 3);
    (void)state;
    start_other(&first);
    kill(other, SIGKILL);
    end_other();
    begin(with(100 * LINE_LENGTH, 50));
    assert_true(policy_equal(in_force(), &scene.rule.policy));
}

static void a_record_that_others_may_write_is_not_followed_but_told(void **state)
{
    const struct policy first = with(5 * LINE_LENGTH, 3);
    (void)state;
    start_other(&first);
    struct temporary_path lock = temporary_path(scene.directory, LOCK_NAME);
    assert_int_equal(chmod(lock.text, 0664), 0);
    begin(with(100 * LINE_LENGTH, 50));
    assert_true(policy_equal(in_force(), &scene.rule.policy));
    assert_int_equal(scene_events(&scene, "settings_mismatch"), 1);
}

static void noise_in_place_of_a_record_is_replaced(void **state)
{
    struct policy recorded;
    const struct policy first = with(5 * LINE_LENGTH, 3);
    (void)state;
    start_other(&first);
    struct temporary_path lock = temporary_path(scene.directory, LOCK_NAME);
    int fd = open(lock.text, O_WRONLY | O_CLOEXEC);
    char noise[2048];
    memset(noise, 0xa5, sizeof noise);
    assert_int_equal(pwrite(fd, noise, sizeof noise, 1000), sizeof noise);
    close(fd);
    begin(with(100 * LINE_LENGTH, 50));
    assert_true(policy_equal(in_force(), &scene.rule.policy));
    assert_true(lockfile_read_policy(&scene.writer->log->lock, &recorded));
}

static void a_new_lock_file_is_agreed_on_anew(void **state)
{
    struct policy recorded;
    (void)state;
    begin(with(100 * LINE_LENGTH, 50));
    struct temporary_path lock = temporary_path(scene.directory, LOCK_NAME);
    assert_int_equal(unlink(lock.text), 0);
    scene_pass(2);
    assert_true(scene_write_lines(&scene, 2, 3));
    assert_int_equal(access(lock.text, F_OK), 0);
    assert_true(lockfile_read_policy(&scene.writer->log->lock, &recorded));
    assert_true(policy_equal(&recorded, &scene.rule.policy));
    assert_true(scene.writer->log->lock.attached);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(the_first_records_its_policy, scene_setup, teardown),
        cmocka_unit_test_setup_teardown(one_that_comes_later_follows_the_record_and_says_so, scene_setup, teardown),
        cmocka_unit_test_setup_teardown(one_with_the_same_settings_has_nothing_to_say, scene_setup, teardown),
        cmocka_unit_test_setup_teardown(a_record_that_nobody_stands_for_is_replaced, scene_setup, teardown),
        cmocka_unit_test_setup_teardown(a_killed_process_stands_for_nothing, scene_setup, teardown),
        cmocka_unit_test_setup_teardown(a_record_that_others_may_write_is_not_followed_but_told, scene_setup, teardown),
        cmocka_unit_test_setup_teardown(noise_in_place_of_a_record_is_replaced, scene_setup, teardown),
        cmocka_unit_test_setup_teardown(a_new_lock_file_is_agreed_on_anew, scene_setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
