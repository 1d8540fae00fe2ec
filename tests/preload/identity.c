/*
 * A process that gives up its privileges leaves a keeper behind for its logs, whichever call it uses; one that does not
 * has none.
 */
#include "test.h"

#include <grp.h>
#include <linux/capability.h>
#include <sys/fsuid.h>

#define BYTES "app.log,max_bytes=100"

extern int capset(cap_user_header_t header, cap_user_data_t data);

enum { NOBODY = 65534, LOCK_KEEPER = 4 };

static int keepers(void)
{
    return outside_count("--keeper", in_directory("app.log"), NULL);
}

static int log_fd;

static bool is_rotated(void)
{
    return history_archives("app.log") > 0;
}

static bool has_no_keeper(void)
{
    return keepers() == 0;
}

static bool has_keeper(void)
{
    return keepers() == 1;
}

/* Whether a keeper has taken its place: from then on it is asked. */
static bool keeper_is_ready(void)
{
    struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = LOCK_KEEPER, .l_len = 1};
    int fd = raw_open(".app.log.lock", O_RDONLY | O_CLOEXEC);
    bool ready = raw_fcntl(fd, F_GETLK, (long)&lock) == 0 && lock.l_type == F_WRLCK;
    raw_close(fd);
    return ready;
}

/* Who waits for it to look by itself waits for up to a second. */
static bool keeper_was_asked(void)
{
    size_t size;
    char *page = raw_read(".app.log.lock", &size);
    return memmem(page, size, "asked=", 6) != NULL;
}

/*
 * The log is opened, then privileges go: a keeper comes, and the log is rotated although its writer may not.
 * It ends with the program.
 */
static void check_keeper(int (*give_up)(void))
{
    make_file("failures", "");
    CHECK_EQUAL(chmod("failures", 0666), 0);
    pid_t child = fork();
    if (child == 0) {
        log_fd = open_log("app.log");
        write_text(log_fd, "before\n");
        CHECK_EQUAL(keepers(), 0);
        CHECK_EQUAL(give_up(), 0);
        CHECK(wait_until(keeper_is_ready));
        CHECK_EQUAL(keepers(), 1);
        CHECK_EQUAL(open("made", O_WRONLY | O_CREAT | O_CLOEXEC, 0644), -1); /* the privileges are gone indeed */
        write_text(log_fd, lines_of(100, "filler"));
        CHECK(keeper_was_asked());
        CHECK(wait_until(is_rotated));
        write_text(log_fd, "after\n");
        exit(test_failures);
    }
    CHECK_EQUAL(exit_status(child), 0);
    CHECK_TEXT(strstr(history("app.log"), "after\n"), "after\n");
    CHECK_EQUAL(strlen(history("app.log")), 113);
    CHECK(wait_until(has_no_keeper));
    CHECK_EQUAL(messages("mplogshim"), 0);
    CHECK_TEXT(content("failures"), "");
}

static int by_setuid(void)
{
    return setuid(NOBODY);
}

static int by_seteuid(void)
{
    return seteuid(NOBODY);
}

static int by_setreuid(void)
{
    return setreuid(NOBODY, NOBODY);
}

static int by_setresuid(void)
{
    return setresuid(NOBODY, NOBODY, NOBODY);
}

static int by_setfsuid(void)
{
    return setfsuid(NOBODY);
}

static int by_number(void)
{
    return (int)syscall(SYS_setresuid, NOBODY, NOBODY, NOBODY);
}

static int by_groups_first(void)
{
    return setgroups(0, NULL) | setgid(NOBODY) | setuid(NOBODY);
}

/* uid 0 without CAP_DAC_OVERRIDE in a directory of somebody else's is an ordinary user. */
static int by_capset(void)
{
    struct __user_cap_header_struct header = {_LINUX_CAPABILITY_VERSION_3, 0};
    struct __user_cap_data_struct none[2] = {{0, 0, 0}, {0, 0, 0}};
    return capset(&header, none);
}

static int vfork_status;

/* Inlined beside vfork, its variables might be clobbered, gcc says for aarch64. */
static __attribute__((noinline)) void expect_keeper(void)
{
    CHECK(wait_until(keeper_is_ready));
}

/* In the child of a vfork, as servers start programs for other users. */
static int in_vfork_child(void)
{
    pid_t child = vfork();
    if (child == 0) {
        _exit(setuid(NOBODY) == 0 ? 0 : 1);
    }
    waitpid(child, &vfork_status, 0);
    expect_keeper();
    return setuid(NOBODY) | vfork_status;
}

static void setuid_keeps(void)
{
    check_keeper(by_setuid);
}

static void seteuid_keeps(void)
{
    check_keeper(by_seteuid);
}

static void setreuid_keeps(void)
{
    check_keeper(by_setreuid);
}

static void setresuid_keeps(void)
{
    check_keeper(by_setresuid);
}

static void setfsuid_keeps(void)
{
    check_keeper(by_setfsuid);
}

static void number_keeps(void)
{
    check_keeper(by_number);
}

static void groups_first_keeps(void)
{
    check_keeper(by_groups_first);
}

static void capset_keeps(void)
{
    CHECK_EQUAL(chown(".", NOBODY, NOBODY), 0);
    check_keeper(by_capset);
}

static void vfork_keeps(void)
{
    check_keeper(in_vfork_child);
}

/* Beyond a new root there is no command: the keeper comes first, and names the archives, too. */
static bool all_is_written(void)
{
    return raw_exists("app.log.1") && raw_exists("app.log.2") && strlen(history_read("app.log", NULL)) == 113;
}

static void chroot_keeps(void)
{
    CHECK_EQUAL(mkdir("root", 0755), 0);
    pid_t child = fork();
    if (child == 0) {
        log_fd = open_log("app.log");
        write_text(log_fd, "before\n");
        CHECK_EQUAL(chroot("root"), 0);
        write_text(log_fd, lines_of(100, "filler"));
        CHECK_EQUAL(setuid(NOBODY), 0);
        write_text(log_fd, "after\n");
        pause();
    }
    CHECK(wait_until(all_is_written));
    kill(child, SIGKILL);
    exit_status(child);
    CHECK_EQUAL(strlen(history("app.log")), 113);
}

/* Nothing is given up: no keeper. */
static void tell(int end)
{
    CHECK_EQUAL(raw_syscall(SYS_write, end, "", 1), 1);
}

static void await(int end)
{
    char byte;
    CHECK_EQUAL(raw_syscall(SYS_read, end, &byte, 1), 1);
}

/* Not while it has the log's lock: everybody would wait for that. */
static pid_t stop_keeper(void)
{
    pid_t keeper = 0;
    short held = F_WRLCK;
    CHECK_EQUAL(outside_count("--keeper", in_directory("app.log"), &keeper), 1);
    while (keeper > 0 && held != F_UNLCK) {
        struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = 0, .l_len = 1};
        CHECK_EQUAL(kill(keeper, SIGCONT), 0);
        raw_pause();
        CHECK_EQUAL(kill(keeper, SIGSTOP), 0);
        int fd = raw_open(".app.log.lock", O_RDONLY | O_CLOEXEC);
        raw_fcntl(fd, F_GETLK, (long)&lock);
        raw_close(fd);
        held = lock.l_type;
    }
    return keeper;
}

static bool has_followed(void)
{
    write_text(log_fd, "x\n");
    return is_on(log_fd, "app.log");
}

static void write_beside_a_slow_keeper(int out, int in)
{
    log_fd = open_log("app.log");
    write_text(log_fd, "before\n");
    CHECK_EQUAL(setuid(NOBODY), 0);
    CHECK(wait_until(keeper_is_ready));
    tell(out);
    await(in);
    write_text(log_fd, "behind\n");
    CHECK(!is_on(log_fd, "app.log"));
    tell(out);
    await(in);
    CHECK(wait_until(has_followed));
}

/* Root's process rotates; who may not open what it made is lent it, soon. */
static void slow_keeper(void)
{
    int there[2];
    int back[2];
    make_file("failures", "");
    CHECK_EQUAL(chmod("failures", 0666), 0);
    CHECK(pipe(there) == 0 && pipe(back) == 0);
    pid_t child = fork();
    if (child == 0) {
        close(there[0]);
        close(back[1]);
        write_beside_a_slow_keeper(there[1], back[0]);
        exit(test_failures);
    }
    close(there[1]);
    close(back[0]);
    await(there[0]);
    pid_t keeper = stop_keeper();
    log_fd = open_log("app.log");
    write_text(log_fd, lines_of(100, "filler"));
    tell(back[1]);
    await(there[0]);
    CHECK_EQUAL(messages("mplogshim"), 0);
    CHECK_EQUAL(kill(keeper, SIGCONT), 0);
    tell(back[1]);
    CHECK_EQUAL(exit_status(child), 0);
    CHECK_TEXT(content("failures"), "");
}

static void no_change_no_keeper(void)
{
    log_fd = open_log("app.log");
    write_text(log_fd, "before\n");
    CHECK_EQUAL(setuid(0), 0);
    CHECK_EQUAL(seteuid(0), 0);
    CHECK_EQUAL(seteuid(getuid()), 0);
    CHECK_EQUAL(setreuid((uid_t)-1, (uid_t)-1), 0);
    CHECK_EQUAL(setreuid(0, 0), 0);
    CHECK_EQUAL(setresuid((uid_t)-1, (uid_t)-1, 0), 0);
    CHECK_EQUAL(setfsuid((uid_t)-1), 0);
    CHECK_EQUAL(syscall(SYS_setuid, 0), 0);
    CHECK_EQUAL(keepers(), 0);
}

static void no_log_no_keeper(void)
{
    write_text(open("data", O_WRONLY | O_CREAT, 0666), "data\n");
    CHECK_EQUAL(setuid(NOBODY), 0);
    CHECK_EQUAL(outside_count("", test_directory, NULL), 0);
}

/* A log that never becomes due needs nobody. */
static void never_due_no_keeper(void)
{
    log_fd = open_log("app.log");
    write_text(log_fd, "before\n");
    CHECK_EQUAL(setuid(NOBODY), 0);
    CHECK_EQUAL(keepers(), 0);
}

/* What the shell opened and the program has never touched; a log of the user's in a directory of root's. */
static void redirected(void)
{
    make_file("app.log", "");
    CHECK_EQUAL(chown("app.log", NOBODY, NOBODY), 0);
    pid_t child = fork();
    if (child == 0) {
        int fd = raw_open("app.log", O_WRONLY | O_APPEND | O_CREAT);
        raw_syscall(SYS_dup3, fd, 1, 0);
        execlp("setpriv", "setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "sh", "-c",
               "i=0; while [ $i -lt 9 ] || ! [ -e app.log.1 ]; do i=$((i + 1)); echo a line of twenty $((i % 10))..;"
               "[ $i -lt 250 ] || exit; sleep 0.1; done; exit $i",
               NULL);
        _exit(127);
    }
    int lines = WEXITSTATUS(exit_status(child));
    CHECK(lines >= 9 && lines < 250);
    CHECK(archives("app.log") >= 1);
    CHECK_EQUAL(strlen(history("app.log")), (size_t)lines * 21);
    CHECK_EQUAL(messages("mplogshim"), 0);
}

/* As Samba does, for each of its clients: there and back, thousands of times a second. */
static void there_and_back(void)
{
    log_fd = open_log("app.log");
    write_text(log_fd, "before\n");
    double begun = raw_seconds();
    for (int i = 0; i < 20000; i++) {
        if (seteuid(NOBODY) != 0 || seteuid(0) != 0) {
            test_fail(__LINE__, "errno %d", errno);
        }
    }
    CHECK(raw_seconds() - begun < STALLED);
    CHECK(wait_until(has_keeper));
}

/* libc's setuid changes every thread; so must it still. */
static volatile uid_t of_thread;
static volatile bool changed;

static void *waits_for_the_change(void *unused)
{
    while (!changed) {
        raw_pause();
    }
    of_thread = (uid_t)raw_syscall(SYS_geteuid);
    return unused;
}

static void all_threads_change(void)
{
    pthread_t thread;
    log_fd = open_log("app.log");
    write_text(log_fd, "before\n");
    CHECK_EQUAL(pthread_create(&thread, NULL, waits_for_the_change, NULL), 0);
    CHECK_EQUAL(setuid(NOBODY), 0);
    changed = true;
    pthread_join(thread, NULL);
    CHECK_EQUAL(of_thread, NOBODY);
}

static void *changes_by_number(void *unused)
{
    CHECK_EQUAL(syscall(SYS_setresuid, -1L, NOBODY, -1L), 0);
    of_thread = (uid_t)raw_syscall(SYS_geteuid);
    return unused;
}

static void one_thread_changes_by_number(void)
{
    pthread_t thread;
    log_fd = open_log("app.log");
    CHECK_EQUAL(pthread_create(&thread, NULL, changes_by_number, NULL), 0);
    pthread_join(thread, NULL);
    CHECK_EQUAL(of_thread, NOBODY);
    CHECK_EQUAL(raw_syscall(SYS_geteuid), 0);
}

/* A vfork child's call leaves nothing behind in its parent's memory. */
static void vfork_leaves_the_parent_alone(void)
{
    log_fd = open_log("app.log");
    write_text(log_fd, "before\n");
    for (int i = 0; i < 5; i++) {
        pid_t child = vfork();
        if (child == 0) {
            _exit(setuid(NOBODY) == 0 && geteuid() == NOBODY ? 0 : 1);
        }
        CHECK_EQUAL(exit_status(child), 0);
        write_text(log_fd, lines_of(60, "filler"));
    }
    CHECK_EQUAL(geteuid(), 0);
    CHECK(wait_until(has_keeper));
    CHECK_EQUAL(strlen(history("app.log")), 7 + 5 * 60);
    CHECK(archives("app.log") >= 3);
    CHECK_EQUAL(messages("mplogshim"), 0);
}

int main(int count, char **arguments)
{
    static struct test tests[] = {
        {"setuid_leaves_a_keeper", BYTES, setuid_keeps, NULL, NULL},
        {"seteuid_leaves_a_keeper", BYTES, seteuid_keeps, NULL, NULL},
        {"setreuid_leaves_a_keeper", BYTES, setreuid_keeps, NULL, NULL},
        {"setresuid_leaves_a_keeper", BYTES, setresuid_keeps, NULL, NULL},
        {"setfsuid_leaves_a_keeper", BYTES, setfsuid_keeps, NULL, NULL},
        {"setresuid_by_number_leaves_a_keeper", BYTES, number_keeps, NULL, NULL},
        {"capset_leaves_a_keeper", BYTES, capset_keeps, NULL, NULL},
        {"groups_changed_before_the_user_leave_a_keeper", BYTES, groups_first_keeps, NULL, NULL},
        {"setuid_in_a_vfork_child_leaves_a_keeper", BYTES, vfork_keeps, NULL, NULL},
        {"chroot_leaves_a_keeper", BYTES, chroot_keeps, NULL, NULL},
        {"a_keeper_that_is_slow_to_lend_is_waited_for_without_a_word", BYTES, slow_keeper, NULL, NULL},
        {"a_call_that_changes_nothing_leaves_no_keeper", BYTES, no_change_no_keeper, NULL, NULL},
        {"a_program_without_logs_leaves_no_keeper", BYTES, no_log_no_keeper, NULL, NULL},
        {"a_log_that_never_rotates_has_no_keeper", "app.log", never_due_no_keeper, NULL, NULL},
        {"a_log_redirected_by_a_shell_has_a_keeper", BYTES, redirected, NULL, NULL},
        {"a_program_that_changes_its_user_all_the_time_is_not_slowed_down", BYTES, there_and_back, NULL, NULL},
        {"setuid_changes_every_thread", BYTES, all_threads_change, NULL, NULL},
        {"setresuid_by_number_changes_one_thread", BYTES, one_thread_changes_by_number, NULL, NULL},
        {"setuid_in_a_vfork_child_leaves_the_parent_as_it_is", BYTES, vfork_leaves_the_parent_alone, NULL, NULL},
    };
    for (size_t i = 0; i < TEST_COUNT(tests); i++) {
        tests[i].skip = geteuid() == 0 ? NULL : "needs root";
    }
    return test_main(count, arguments, tests, TEST_COUNT(tests));
}
