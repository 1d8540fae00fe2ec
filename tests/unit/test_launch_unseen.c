/* Nobody sees a launch: not wait, not SIGCHLD, no zombie, whoever the launcher is and whatever becomes of it. */
#include "launch_scene.h"

#include <pthread.h>

enum { CROWD = 8, STAYING = 64, LOOK_AGAIN_MS = 50 };

/* Runs steps as an ordinary process, as one that asked for orphans, and as the first of a namespace. */
static void (*steps_as)(struct scene *scene);

static void as_reaper(struct scene *scene)
{
    must(prctl(PR_SET_CHILD_SUBREAPER, 1) == 0);
    steps_as(scene);
}

static void as_first_of_namespace(struct scene *scene)
{
    int status = -1;
    must(unshare(CLONE_NEWPID) == 0 || unshare(CLONE_NEWUSER | CLONE_NEWPID) == 0);
    pid_t first = fork();
    if (first == 0) {
        must(getpid() == 1);
        launch_forked();
        steps_as(scene);
        _exit(0);
    }
    must(waitpid(first, &status, 0) == first && status == 0);
}

static void as_everybody(void (*steps)(struct scene *scene))
{
    steps_as = steps;
    in_child(steps);
    in_child(as_reaper);
    in_child(as_first_of_namespace);
}

static volatile sig_atomic_t children_told;

static void note_child(int number)
{
    (void)number;
    children_told++;
}

static void must_have_no_child(void)
{
    must(waitpid(-1, NULL, WNOHANG) == -1 && errno == ECHILD);
    must(children_told == 0);
}

static void watches(struct scene *scene)
{
    must(signal(SIGCHLD, note_child) != SIG_ERR);
    for (int round = 0; round < 3; round++) {
        scene_stay(scene, true);
        pid_t process = scene_launch(scene);
        must_have_no_child();
        must(!has_ended(process));
        scene_stay(scene, false);
        for (int i = 0; i < LOOK_AGAIN_MS; i++) {
            must_have_no_child();
            nap();
        }
        eventually(has_ended(process));
        eventually(nothing_is_left());
        must_have_no_child();
    }
}

static void wait_and_sigchld_see_nothing_while_it_runs_and_after(void **state)
{
    (void)state;
    as_everybody(watches);
}

static void watches_with_sigchld_ignored(struct scene *scene)
{
    must(signal(SIGCHLD, SIG_IGN) != SIG_ERR);
    scene_stay(scene, true);
    pid_t process = scene_launch(scene);
    scene_stay(scene, false);
    eventually(has_ended(process));
    eventually(nothing_is_left());
    must_have_no_child();
}

static void nothing_stays_where_sigchld_is_ignored(void **state)
{
    (void)state;
    as_everybody(watches_with_sigchld_ignored);
}

static void *wait_for_any(void *result)
{
    __atomic_store_n((pid_t *)result, wait(NULL), __ATOMIC_RELEASE);
    return NULL;
}

static void watches_in_another_thread(struct scene *scene)
{
    pthread_t thread;
    pid_t waited = 0;
    int held[2];
    must(pipe(held) == 0);
    pid_t child = fork();
    if (child == 0) {
        char nothing;
        close(held[1]);
        _exit(read(held[0], &nothing, 1) != 0); /* until the other end is closed everywhere */
    }
    must(pthread_create(&thread, NULL, wait_for_any, &waited) == 0);
    pid_t process = scene_launch(scene);
    eventually(has_ended(process));
    for (int i = 0; i < LOOK_AGAIN_MS; i++) {
        launch_reap();
        must(__atomic_load_n(&waited, __ATOMIC_ACQUIRE) == 0);
        nap();
    }
    must(count_children(NULL) == 1);
    close(held[1]);
    pthread_join(thread, NULL);
    must(waited == child);
}

static void another_threads_wait_gets_its_own_child_only(void **state)
{
    (void)state;
    as_everybody(watches_in_another_thread);
}

static void closes_a_pipe(struct scene *scene)
{
    int ends[2];
    char byte;
    must(pipe(ends) == 0);
    scene_stay(scene, true);
    scene_launch(scene);
    must(fcntl(ends[0], F_SETFL, O_NONBLOCK) == 0);
    close(ends[1]);
    must(read(ends[0], &byte, 1) == 0); /* at once: nobody else has the other end */
    scene_stay(scene, false);
    eventually(nothing_is_left());
}

static void no_descriptor_of_the_programs_is_held_when_launch_returns(void **state)
{
    (void)state;
    as_everybody(closes_a_pipe);
}

/* The file "marks" is as long as programs were launched. */
static void will_mark(struct scene *scene)
{
    static char path[TEMPORARY_PATH_SIZE];
    static char call[] = "mark";
    struct temporary_path marks = temporary_path(scene->directory, "marks");
    strcpy(path, marks.text);
    scene->arguments[1] = call;
    scene->arguments[2] = path;
}

enum { EACH_LAUNCHES = 12 };

static void *launch_many(void *argument)
{
    const struct scene *scene = argument;
    for (int i = 0; i < EACH_LAUNCHES; i++) {
        int error;
        while ((error = launch(&scene->launch)) == -EBUSY || error == -EAGAIN) {
            launch_reap();
            nap();
        }
        must_be(error == 0, "launch of one of many", -error);
    }
    return NULL;
}

static void launches_from_threads(struct scene *scene)
{
    pthread_t threads[CROWD];
    must(signal(SIGCHLD, note_child) != SIG_ERR);
    will_mark(scene);
    for (int i = 0; i < CROWD; i++) {
        must(pthread_create(&threads[i], NULL, launch_many, scene) == 0);
    }
    for (int i = 0; i < CROWD; i++) {
        pthread_join(threads[i], NULL);
    }
    eventually(temporary_length(scene->directory, "marks") == (long)CROWD * EACH_LAUNCHES);
    eventually(nothing_is_left());
    must_have_no_child();
}

static void eight_threads_launch_at_once(void **state)
{
    (void)state;
    as_everybody(launches_from_threads);
}

static void launches_in_a_vfork_child(struct scene *scene)
{
    volatile int error = 1;
    int status = -1;
    pid_t child = vfork();
    if (child == 0) {
        error = launch(&scene->launch);
        _exit(3);
    }
    must(error == 0 && waitpid(-1, &status, 0) == child && WEXITSTATUS(status) == 3);
    eventually(temporary_exists(scene->directory, "report"));
    must(scene_number(scene, "ppid=") != getpid());
    eventually(has_ended((pid_t)scene_number(scene, "pid=")));
    scene_of_true(scene);
    must(launch(&scene->launch) == 0);
    eventually(nothing_is_left());
    must(waitpid(-1, NULL, WNOHANG) == -1 && errno == ECHILD);
}

static void a_vfork_child_launches_too(void **state)
{
    (void)state;
    in_child(launches_in_a_vfork_child);
}

static void launches_one_more_than_can_stay(struct scene *scene)
{
    for (int round = 0; round < 2; round++) {
        scene_stay(scene, true);
        for (int i = 0; i < STAYING; i++) {
            scene_launch(scene);
        }
        must(launch(&scene->launch) == -EAGAIN);
        must(count_children(NULL) == STAYING);
        scene_stay(scene, false);
        eventually(nothing_is_left());
        must(waitpid(-1, NULL, __WALL | WNOHANG) == -1 && errno == ECHILD);
    }
}

static void launches_one_more_as_reaper(struct scene *scene)
{
    must(prctl(PR_SET_CHILD_SUBREAPER, 1) == 0);
    launches_one_more_than_can_stay(scene);
}

static void where_orphans_come_home_64_run_at_a_time_and_one_more_is_an_error(void **state)
{
    (void)state;
    in_child(launches_one_more_as_reaper);
}

static void loses_go_betweens(struct scene *scene)
{
    must(prctl(PR_SET_CHILD_SUBREAPER, 1) == 0);
    for (int i = 0; i < STAYING + 2; i++) {
        pid_t between = 0;
        scene_stay(scene, true);
        pid_t process = scene_launch(scene);
        must(count_children(&between) == 1 && between != process);
        must(kill(between, SIGKILL) == 0);
        scene_stay(scene, false);
        eventually(waitpid(process, NULL, 0) == process); /* an orphan like any other, once the other is gone */
        must(count_children(NULL) <= 1); /* what is left of the one that was killed, until the next launch */
        scene_stay(scene, true);
        scene_launch(scene);
        must(kill(between, 0) != 0);
        scene_stay(scene, false);
        eventually(nothing_is_left());
    }
}

static void a_go_between_that_was_killed_leaves_its_place(void **state)
{
    (void)state;
    in_child(loses_go_betweens);
}

static void reaps_a_stopped_go_between(struct scene *scene)
{
    pid_t between = 0;
    must(prctl(PR_SET_CHILD_SUBREAPER, 1) == 0);
    scene_stay(scene, true);
    pid_t process = scene_launch(scene);
    must(count_children(&between) == 1);
    scene_stay(scene, false);
    eventually(kill(process, 0) != 0);
    must(kill(between, SIGSTOP) == 0);
    eventually(process_state(between) == 'T' || process_state(between) == 't'); /* traced */
    int64_t begun = now_ns();
    for (int i = 0; i < 100; i++) {
        launch_reap();
    }
    must(now_ns() - begun < 2000 * (int64_t)MILLISECOND);
    scene_of_true(scene);
    must(launch(&scene->launch) == 0);
    must(kill(between, SIGCONT) == 0);
    eventually(nothing_is_left());
}

static void a_go_between_that_was_stopped_holds_nobody_up(void **state)
{
    (void)state;
    in_child(reaps_a_stopped_go_between);
}

static void forks_while_it_runs(struct scene *scene)
{
    int status = -1;
    must(prctl(PR_SET_CHILD_SUBREAPER, 1) == 0);
    scene_stay(scene, true);
    scene_launch(scene);
    must(count_children(NULL) == 1);
    pid_t child = fork();
    if (child == 0) {
        launch_forked();
        must(count_children(NULL) == 0);
        for (int i = 0; i < STAYING; i++) { /* its places are all free */
            scene_launch(scene);
        }
        must(launch(&scene->launch) == -EAGAIN);
        scene_stay(scene, false);
        eventually(nothing_is_left());
        _exit(0);
    }
    must(waitpid(child, &status, 0) == child && status == 0);
    eventually(nothing_is_left());
    must(waitpid(-1, NULL, __WALL | WNOHANG) == -1 && errno == ECHILD);
}

static void a_fork_child_has_nothing_of_its_parents_launches(void **state)
{
    (void)state;
    in_child(forks_while_it_runs);
}

/* The program that the launcher became: `between` ends, and with it the memory of the one before. */
static int after_exec(pid_t between)
{
    must(waitpid(-1, NULL, WNOHANG) == -1 && errno == ECHILD);
    eventually(process_state(between) == 'Z');
    must(waitpid(-1, NULL, WNOHANG) == -1 && errno == ECHILD);
    must(waitpid(between, NULL, (int)__WCLONE) == between);
    return 0;
}

static void executes_another(struct scene *scene)
{
    char number[16];
    pid_t between = 0;
    must(prctl(PR_SET_CHILD_SUBREAPER, 1) == 0);
    scene_stay(scene, true);
    scene_launch(scene);
    must(count_children(&between) == 1);
    scene_stay(scene, false);
    snprintf(number, sizeof number, "%d", between);
    execl(scene->program, "after", "after-exec", number, (char *)NULL);
    must(false);
}

static void a_go_between_ends_when_its_parent_became_another_program(void **state)
{
    (void)state;
    in_child(executes_another);
}

static void ends_while_it_runs(struct scene *scene)
{
    pid_t between = 0;
    int status = -1;
    pid_t child = fork();
    scene_stay(scene, true);
    if (child == 0) {
        launch_forked();
        must(prctl(PR_SET_CHILD_SUBREAPER, 1) == 0);
        scene_launch(scene);
        must(count_children(&between) == 1);
        char text[16];
        snprintf(text, sizeof text, "%d", between);
        temporary_write(scene->directory, "between", text);
        _exit(0);
    }
    must(waitpid(child, &status, 0) == child && status == 0);
    char *text = temporary_read(scene->directory, "between");
    between = (pid_t)strtol(text, NULL, 10);
    pid_t process = (pid_t)scene_number(scene, "pid=");
    free(text);
    eventually(has_ended(between)); /* it had memory of a process that is gone */
    must(!has_ended(process));
    scene_stay(scene, false);
    eventually(has_ended(process));
}

static void a_go_between_ends_when_its_parent_has_ended(void **state)
{
    (void)state;
    in_child(ends_while_it_runs);
}

static void *launch_for_ever(void *argument)
{
    const struct scene *scene = argument;
    for (;;) {
        int error = launch(&scene->launch);
        must(error == 0 || error == -EAGAIN);
        launch_reap();
    }
    return NULL;
}

static void ends_while_launching(struct scene *scene)
{
    scene_of_true(scene);
    must(prctl(PR_SET_CHILD_SUBREAPER, 1) == 0); /* what they leave comes here */
    for (int round = 0; round < 20; round++) {
        int status = -1;
        pid_t child = fork();
        if (child == 0) {
            pthread_t thread;
            const struct timespec some = {.tv_sec = 0, .tv_nsec = 100000 * (round + 1)};
            launch_forked();
            must(round % 2 == 0 || prctl(PR_SET_CHILD_SUBREAPER, 1) == 0);
            must(pthread_create(&thread, NULL, launch_for_ever, scene) == 0);
            nanosleep(&some, NULL);
            _exit(0);
        }
        must(waitpid(child, &status, 0) == child && status == 0);
    }
    eventually(waitpid(-1, NULL, __WALL | WNOHANG) == -1 && errno == ECHILD);
}

static void a_process_may_end_at_any_moment_of_a_launch(void **state)
{
    (void)state;
    in_child(ends_while_launching);
}

static int compare(const void *one, const void *other)
{
    int64_t difference = *(const int64_t *)one - *(const int64_t *)other;
    return difference < 0 ? -1 : difference > 0;
}

enum { SAMPLES = 100 };

/* The least disturbed one tells: the machine may be busy. */
static int64_t time_of_launch(int64_t *median, const struct scene *scene)
{
    int64_t times[SAMPLES];
    for (int i = 0; i < SAMPLES; i++) {
        int64_t begun = now_ns();
        must(launch(&scene->launch) == 0);
        times[i] = now_ns() - begun;
    }
    qsort(times, SAMPLES, sizeof times[0], compare);
    *median = times[SAMPLES / 2];
    return times[0];
}

static void launches_a_thousand(struct scene *scene)
{
    must(signal(SIGCHLD, note_child) != SIG_ERR);
    scene_of_true(scene);
    int64_t begun = now_ns();
    for (int i = 0; i < 1000; i++) {
        must(launch(&scene->launch) == 0);
        while (getpid() == 1 && !nothing_is_left()) {
        }
    }
    printf("# %s: %ld us for each of 1,000\n", getpid() == 1 ? "first of a namespace, until it has ended" : "ordinary",
           (long)((now_ns() - begun) / 1000000));
    fflush(stdout);
    must(nothing_is_left());
    must_have_no_child();
}

static void a_thousand_in_a_row_leave_nothing(void **state)
{
    (void)state;
    steps_as = launches_a_thousand;
    in_child(launches_a_thousand);
    in_child(as_first_of_namespace);
}

static void launches_from_large_memory(struct scene *scene)
{
    enum { LARGE = 512 << 20 };
    scene_of_true(scene);
    int64_t small_median;
    int64_t large_median;
    int64_t small = time_of_launch(&small_median, scene);
    char *memory = mmap(NULL, LARGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    must(memory != MAP_FAILED);
    madvise(memory, LARGE, MADV_NOHUGEPAGE); /* pages of 4 KiB: the most to copy */
    memset(memory, 1, LARGE);
    int64_t large = time_of_launch(&large_median, scene);
    printf("# median %ld us, with 512 MB of memory %ld us\n", (long)(small_median / 1000), (long)(large_median / 1000));
    fflush(stdout);
    must(large < 4 * small);
}

static void large_memory_makes_it_no_slower(void **state)
{
    (void)state;
    in_child(launches_from_large_memory);
}

int main(int argc, char **argv, char **environment)
{
    if (argc > 2 && strcmp(argv[1], "after-exec") == 0) {
        return after_exec((pid_t)strtol(argv[2], NULL, 10));
    }
    if (argc > 1) {
        return launched_main(argv, environment);
    }
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(wait_and_sigchld_see_nothing_while_it_runs_and_after),
        cmocka_unit_test(nothing_stays_where_sigchld_is_ignored),
        cmocka_unit_test(another_threads_wait_gets_its_own_child_only),
        cmocka_unit_test(no_descriptor_of_the_programs_is_held_when_launch_returns),
        cmocka_unit_test(eight_threads_launch_at_once),
        cmocka_unit_test(a_vfork_child_launches_too),
        cmocka_unit_test(where_orphans_come_home_64_run_at_a_time_and_one_more_is_an_error),
        cmocka_unit_test(a_go_between_that_was_killed_leaves_its_place),
        cmocka_unit_test(a_go_between_that_was_stopped_holds_nobody_up),
        cmocka_unit_test(a_fork_child_has_nothing_of_its_parents_launches),
        cmocka_unit_test(a_go_between_ends_when_its_parent_became_another_program),
        cmocka_unit_test(a_go_between_ends_when_its_parent_has_ended),
        cmocka_unit_test(a_process_may_end_at_any_moment_of_a_launch),
        cmocka_unit_test(a_thousand_in_a_row_leave_nothing),
        cmocka_unit_test(large_memory_makes_it_no_slower),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
