/* What a launched program finds, whatever its launcher was like, and what a launch that fails says. */
#include "launch_scene.h"

#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <sys/mount.h>

static void launches(struct scene *scene)
{
    pid_t process = scene_launch(scene);
    must(process != getpid() && scene_number(scene, "ppid=") != getpid());
    must(scene_number(scene, "sid=") == process);
    must(scene_says(scene, "\ncwd=/\n"));
    must(scene_says(scene, "\numask=18\n"));
}

static void it_has_a_session_of_its_own_and_plain_surroundings(void **state)
{
    (void)state;
    in_child(launches);
}

static void launches_with_own_surroundings(struct scene *scene)
{
    umask(0777);
    must(chdir(scene->directory) == 0 && setenv("PROGRAMS", "own", 1) == 0);
    umask(0);
    scene_launch(scene);
    must(scene_says(scene, "\ncwd=/\n") && scene_says(scene, "\numask=18\n"));
    must(scene_says(scene, "environment=ONLY=this\n"));
    must(temporary_count(scene->directory, "report", "environment=") == 1);
    must(umask(0) == 0);
    char here[TEMPORARY_PATH_SIZE];
    must(getcwd(here, sizeof here) != NULL && strcmp(here, scene->directory) == 0);
}

static void it_has_only_the_environment_that_was_given(void **state)
{
    (void)state;
    in_child(launches_with_own_surroundings);
}

static void ignores_and_blocks_everything(struct scene *scene)
{
    sigset_t all;
    sigset_t now;
    for (int number = 1; number < NSIG; number++) {
        signal(number, number == SIGCHLD ? SIG_DFL : SIG_IGN);
    }
    sigfillset(&all);
    must(sigprocmask(SIG_SETMASK, &all, NULL) == 0);
    scene_launch(scene);
    must(scene_says(scene, "\nignored=0\n") && scene_says(scene, "\nblocked=0\n"));
    must(sigprocmask(SIG_BLOCK, NULL, &now) == 0 && sigismember(&now, SIGTERM) == 1);
    must(signal(SIGHUP, SIG_DFL) == SIG_IGN);
}

static void its_signals_are_default_and_none_is_blocked(void **state)
{
    (void)state;
    in_child(ignores_and_blocks_everything);
}

static void has_limits_and_priority(struct scene *scene)
{
    struct rlimit limit;
    const struct sched_param first = {.sched_priority = 1};
    must(getrlimit(RLIMIT_FSIZE, &limit) == 0);
    limit.rlim_cur = 4096;
    must(setrlimit(RLIMIT_FSIZE, &limit) == 0);
    must(setpriority(PRIO_PROCESS, 0, 3) == 0 && sched_setscheduler(0, SCHED_FIFO, &first) == 0);
    scene_launch(scene);
    must(scene_says(scene, "\nfsize=1\n"));
    must(scene_says(scene, "\nnice=3\n")); /* lower is the command's own decision: the program waits for its execve */
    must(scene_says(scene, "\nscheduler=0\n"));
    must(getpriority(PRIO_PROCESS, 0) == 3 && sched_getscheduler(0) == SCHED_FIFO);
}

static void it_runs_without_real_time_priority_and_the_programs_limits(void **state)
{
    (void)state;
    in_child(has_limits_and_priority);
}

static ino_t inode_of(const char *path)
{
    struct stat status;
    must(stat(path, &status) == 0);
    return status.st_ino;
}

/* Checks one descriptor; `path` NULL: it is closed. */
static void must_have(const struct scene *scene, int fd, const char *path)
{
    char key[32];
    char line[96];
    snprintf(key, sizeof key, "\nfd%d=", fd);
    if (path == NULL) {
        must(temporary_count(scene->directory, "report", key) == 0);
        return;
    }
    snprintf(line, sizeof line, "%sdirectory %lu kept\n", key, (unsigned long)inode_of(path));
    must_be(scene_says(scene, line), line, __LINE__);
}

/* Nothing but the standard three on /dev/null, and `expected` more. */
static void must_have_no_others(const struct scene *scene, int expected)
{
    for (int fd = 0; fd < LAUNCH_FIRST_DESCRIPTOR; fd++) {
        char line[96];
        snprintf(line, sizeof line, "\nfd%d=device %lu kept\n", fd, (unsigned long)inode_of("/dev/null"));
        must_be(scene_says(scene, line), line, __LINE__);
    }
    must(temporary_count(scene->directory, "report", "\nfd") == LAUNCH_FIRST_DESCRIPTOR + expected);
}

/* Opens a directory at a number; -1: not. */
static void open_at(const char *path, int number)
{
    if (number >= 0) {
        int fd = open(path, O_PATH | O_CLOEXEC);
        must(fd >= 0 && (fd == number || dup3(fd, number, O_CLOEXEC) == number));
        if (fd != number) {
            close(fd);
        }
    }
}

static const int numbers[][2] = {
    {3, 4},  {4, 3},   {0, 1}, {2, 0},   {1, 3},   {4, 1}, {-1, 3},
    {4, -1}, {-1, -1}, {5, 6}, {900, 3}, {7, 901}, {6, 6}, {3, 3},
};
static int at_numbers;
static bool crowded;
static bool above_limit; /* descriptors that were opened before the limit was lowered */

static void hands_descriptors_over(struct scene *scene)
{
    const int *number = numbers[at_numbers];
    const char *second = number[0] == number[1] ? "/usr" : "/etc";
    int pipes[2];
    must(pipe(pipes) == 0);
    for (int fd = 5; crowded && fd < 64; fd++) {
        must(dup2(pipes[1], fd) == fd); /* not close-on-exec */
    }
    must(!crowded || dup2(pipes[0], 2000) == 2000);
    int spare = dup(STDERR_FILENO); /* for messages, if 2 is to be another */
    open_at("/usr", number[0]);
    open_at(second, number[1]);
    struct rlimit limit;
    must(getrlimit(RLIMIT_NOFILE, &limit) == 0);
    const struct rlimit low = {.rlim_cur = above_limit ? 64 : limit.rlim_cur, .rlim_max = limit.rlim_max};
    must(setrlimit(RLIMIT_NOFILE, &low) == 0);
    scene->launch.descriptors[0] = number[0];
    scene->launch.descriptors[1] = number[1];
    must(launch(&scene->launch) == 0);
    must(setrlimit(RLIMIT_NOFILE, &limit) == 0);
    must(fcntl(spare, F_GETFD) >= 0);
    eventually(temporary_exists(scene->directory, "report"));
    must_have(scene, 3, number[0] < 0 ? NULL : "/usr");
    must_have(scene, 4, number[1] < 0 ? NULL : second);
    must_have_no_others(scene, (number[0] >= 0) + (number[1] >= 0));
    must(number[0] < 0 || (fcntl(number[0], F_GETFD) & FD_CLOEXEC) != 0);
}

static void hand_over_all(void)
{
    for (at_numbers = 0; at_numbers < (int)(sizeof numbers / sizeof numbers[0]); at_numbers++) {
        in_child(hands_descriptors_over);
    }
}

static void it_has_the_given_descriptors_as_3_and_4_and_no_others(void **state)
{
    (void)state;
    crowded = false;
    hand_over_all();
    crowded = true;
    hand_over_all();
}

/* Answers system calls with an error, in this process and what it launches. */
static void refuse(const long *calls, size_t count, int error)
{
    enum { MOST = 16 };
    struct sock_filter filter[2 * MOST + 2];
    size_t size = 0;
    filter[size++] = (struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr));
    for (size_t i = 0; i < count; i++) {
        filter[size++] = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (unsigned)calls[i], 0, 1);
        filter[size++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | (unsigned)error);
    }
    filter[size++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
    const struct sock_fprog program = {.len = (unsigned short)size, .filter = filter};
    must(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0);
    must(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) == 0);
}

static void refuse_one(long call, int error)
{
    refuse(&call, 1, error);
}

static void closes_without_close_range(struct scene *scene)
{
    refuse_one(SYS_close_range, ENOSYS);
    hands_descriptors_over(scene);
}

/* An empty directory in place of `path`, seen by this process and what it launches only. */
static void hide(const char *path)
{
    must(unshare(CLONE_NEWNS) == 0 && mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0);
    must(mount("none", path, "tmpfs", 0, NULL) == 0);
}

static void closes_without_proc(struct scene *scene)
{
    hide("/proc");
    closes_without_close_range(scene);
}

static void others_are_closed_without_close_range_and_without_proc_too(void **state)
{
    (void)state;
    crowded = true;
    at_numbers = 1;
    in_child(closes_without_close_range);
    in_child(closes_without_proc);
    above_limit = true;
    in_child(closes_without_close_range);
    at_numbers = 10;
    in_child(closes_without_close_range);
    above_limit = false;
}

static void launches_with_a_full_table(struct scene *scene)
{
    const struct rlimit limit = {.rlim_cur = 64, .rlim_max = 64};
    must(setrlimit(RLIMIT_NOFILE, &limit) == 0);
    open_at("/usr", 0);
    open_at("/usr", 1);
    while (dup(0) >= 0) {
    }
    must(errno == EMFILE);
    scene->launch.descriptors[0] = 0;
    scene->launch.descriptors[1] = 1;
    must(launch(&scene->launch) == 0);
    close(40);
    close(41);
    eventually(temporary_exists(scene->directory, "report"));
    must_have(scene, 3, "/usr");
    must_have_no_others(scene, 2);
}

static void a_full_table_of_descriptors_does_not_stop_it(void **state)
{
    (void)state;
    in_child(launches_with_a_full_table);
}

static void launches_without_devices(struct scene *scene)
{
    hide("/dev");
    scene_launch(scene);
    for (int fd = 0; fd < LAUNCH_FIRST_DESCRIPTOR; fd++) {
        must_have(scene, fd, "/");
    }
}

static void without_dev_null_no_file_gets_a_standard_number(void **state)
{
    (void)state;
    in_child(launches_without_devices);
}

static void tries_paths(struct scene *scene)
{
    temporary_write(scene->directory, "text", "no program");
    struct temporary_path text = temporary_path(scene->directory, "text");
    struct temporary_path report_path = temporary_path(scene->directory, "report");
    const char *program = scene->launch.paths[0];
    const struct {
        const char *paths[LAUNCH_PATHS];
        int result;
    } cases[] = {
        {{"/nonexistent", NULL}, -ENOENT},
        {{"/nonexistent", "/none/either"}, -ENOENT},
        {{NULL, NULL}, -ENOENT},
        {{text.text, "/nonexistent"}, -EACCES},
        {{"/nonexistent", text.text}, -EACCES},
        {{NULL, text.text}, -EACCES},
        {{"/nonexistent", program}, 0},
        {{text.text, program}, 0},
        {{NULL, program}, 0},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        unlink(report_path.text);
        errno = 77;
        scene->launch.paths[0] = cases[i].paths[0];
        scene->launch.paths[1] = cases[i].paths[1];
        must(launch(&scene->launch) == cases[i].result);
        must(errno == 77);
        eventually(cases[i].result != 0 || temporary_exists(scene->directory, "report"));
        eventually(nothing_is_left());
        must(waitpid(-1, NULL, __WALL | WNOHANG) == -1 && errno == ECHILD);
    }
}

static void tries_paths_as_reaper(struct scene *scene)
{
    must(prctl(PR_SET_CHILD_SUBREAPER, 1) == 0);
    tries_paths(scene);
}

static void the_first_path_that_can_be_executed_is_taken_and_errors_are_told(void **state)
{
    (void)state;
    in_child(tries_paths);
    in_child(tries_paths_as_reaper);
}

static void hands_over_a_closed_descriptor(struct scene *scene)
{
    scene->launch.descriptors[1] = 77;
    must(launch(&scene->launch) == -EBADF);
    must(count_children(NULL) == 0);
}

static void a_closed_descriptor_is_an_error(void **state)
{
    (void)state;
    in_child(hands_over_a_closed_descriptor);
}

static void launches_at_the_limit(struct scene *scene)
{
    const struct rlimit limit = {.rlim_cur = 1, .rlim_max = 1};
    must(setrlimit(RLIMIT_NPROC, &limit) == 0);
    must(geteuid() != 0 || setuid(54321) == 0);
    must(launch(&scene->launch) == -EAGAIN);
    must(count_children(NULL) == 0);
}

static void the_limit_of_processes_is_told(void **state)
{
    (void)state;
    in_child(launches_at_the_limit);
}

static long refused;

static void cannot_launch(struct scene *scene)
{
    refuse_one(refused, EPERM);
    errno = 77;
    must(launch(&scene->launch) == -EPERM && errno == 77);
    must(count_children(NULL) == 0);
    must(launch(&scene->launch) == -EPERM);
}

static void cannot_launch_as_reaper(struct scene *scene)
{
    must(prctl(PR_SET_CHILD_SUBREAPER, 1) == 0);
    cannot_launch(scene);
}

static void a_filter_of_system_calls_is_told(void **state)
{
    static const long calls[] = {SYS_clone, SYS_execve};
    (void)state;
    for (size_t i = 0; i < sizeof calls / sizeof calls[0]; i++) {
        refused = calls[i];
        in_child(cannot_launch);
        in_child(cannot_launch_as_reaper);
    }
}

static void launches_without_the_rest(struct scene *scene)
{
    static const long calls[] = {
        SYS_setsid,   SYS_umask, SYS_chdir, SYS_sched_getscheduler, SYS_prctl, SYS_getppid, SYS_sched_setscheduler,
        SYS_prlimit64};
    static char report_path[TEMPORARY_PATH_SIZE];
    static char name[] = "touch"; /* needs less than this program may when it is built with a sanitizer */
    strcpy(report_path, temporary_path(scene->directory, "report").text);
    scene->launch.paths[0] = "/usr/bin/touch";
    scene->arguments[0] = name;
    scene->arguments[1] = report_path;
    scene->arguments[2] = NULL;
    refuse(calls, sizeof calls / sizeof calls[0], EPERM);
    must(launch(&scene->launch) == 0);
    eventually(temporary_exists(scene->directory, "report"));
    eventually(nothing_is_left());
}

static void launches_without_the_rest_as_reaper(struct scene *scene)
{
    must(prctl(PR_SET_CHILD_SUBREAPER, 1) == 0);
    launches_without_the_rest(scene);
}

static void other_refused_calls_do_not_stop_it(void **state)
{
    (void)state;
    in_child(launches_without_the_rest);
    in_child(launches_without_the_rest_as_reaper);
}

int main(int argc, char **argv, char **environment)
{
    if (argc > 1) {
        return launched_main(argv, environment);
    }
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(it_has_a_session_of_its_own_and_plain_surroundings),
        cmocka_unit_test(it_has_only_the_environment_that_was_given),
        cmocka_unit_test(its_signals_are_default_and_none_is_blocked),
        cmocka_unit_test(it_runs_without_real_time_priority_and_the_programs_limits),
        cmocka_unit_test(it_has_the_given_descriptors_as_3_and_4_and_no_others),
        cmocka_unit_test(others_are_closed_without_close_range_and_without_proc_too),
        cmocka_unit_test(a_full_table_of_descriptors_does_not_stop_it),
        cmocka_unit_test(without_dev_null_no_file_gets_a_standard_number),
        cmocka_unit_test(the_first_path_that_can_be_executed_is_taken_and_errors_are_told),
        cmocka_unit_test(a_closed_descriptor_is_an_error),
        cmocka_unit_test(the_limit_of_processes_is_told),
        cmocka_unit_test(a_filter_of_system_calls_is_told),
        cmocka_unit_test(other_refused_calls_do_not_stop_it),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
