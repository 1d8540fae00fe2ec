/*
 * Archives get their final names outside of the program, and the program sees nothing of it: no child, no signal, no
 * zombie, no descriptor that somebody else holds open; as any process, as a reaper of orphans, and as pid 1.
 */
#include "test.h"

#include <sched.h>
#include <sys/prctl.h>

#define BYTES "app.log,max_bytes=100"

static volatile sig_atomic_t children_ended;

static void on_child(int signal)
{
    (void)signal;
    children_ended = children_ended + 1;
}

static void count_ended_children(void)
{
    struct sigaction action = {.sa_handler = on_child};
    CHECK_EQUAL(sigaction(SIGCHLD, &action, NULL), 0);
}

/* Writes until the log was rotated `rotations` times more. */
static int rotate(int rotations)
{
    int fd = open_log("app.log");
    for (int i = 0; i <= rotations; i++) {
        write_text(fd, lines_of(100, "filler"));
    }
    return fd;
}

static bool is_pending(void)
{
    bool any = false;
    DIR *listing = opendir(test_directory);
    for (struct dirent *entry; listing != NULL && (entry = readdir(listing)) != NULL;) {
        any = any || strstr(entry->d_name, ".pending") != NULL;
    }
    closedir(listing);
    return any;
}

static bool is_named(void)
{
    return !is_pending();
}

static bool has_helper(void)
{
    return outside_count("--helper", in_directory("app.log"), NULL) == 1;
}

static bool has_no_helper(void)
{
    return outside_count("", test_directory, NULL) == 0;
}

/* What the kernel says are children of any thread of this process, zombies included. */
static bool has_no_children(void)
{
    char path[64];
    bool any = false;
    DIR *tasks = opendir("/proc/thread-self/../");
    for (struct dirent *entry; tasks != NULL && (entry = readdir(tasks)) != NULL;) {
        if (isdigit((unsigned char)entry->d_name[0])) {
            snprintf(path, sizeof path, "/proc/self/task/%.20s/children", entry->d_name);
            CHECK(raw_exists(path));
            any = any || *raw_read(path, NULL) != '\0';
        }
    }
    if (tasks == NULL) {
        test_fail(__LINE__, "no /proc/thread-self");
        return false;
    }
    closedir(tasks);
    return !any;
}

static void check_no_child_to_wait_for(void)
{
    siginfo_t information;
    CHECK_ERROR(waitpid(-1, NULL, WNOHANG), ECHILD);
    CHECK_ERROR(waitpid(-1, NULL, 0), ECHILD);
    CHECK_ERROR(waitpid(0, NULL, WNOHANG), ECHILD);
    CHECK_ERROR(waitid(P_ALL, 0, &information, WEXITED | WNOHANG | WNOWAIT), ECHILD);
}

/* However often it is asked for, the log does not rotate again, which would start a helper. */
static int invisible_fd;
static bool has_no_children_after_a_write(void)
{
    CHECK_EQUAL(raw_syscall(SYS_ftruncate, invisible_fd, 0), 0);
    write_text(invisible_fd, "x\n");
    return has_no_children();
}

/* A helper comes, waits for an archive that is open elsewhere, and goes; the program looks on all the time. */
static void check_invisible(void)
{
    count_ended_children();
    int fd = open_log("app.log");
    write_text(fd, lines_of(100, "in use"));
    int outsider = raw_open("app.log", O_WRONLY | O_APPEND);
    write_text(fd, lines_of(90, "filler"));
    check_no_child_to_wait_for();
    CHECK(wait_until(has_helper));
    check_no_child_to_wait_for();
    raw_close(outsider);
    CHECK(wait_until(has_no_helper));
    check_no_child_to_wait_for();
    invisible_fd = fd;
    CHECK(wait_until(has_no_children_after_a_write));
    check_no_child_to_wait_for();
    CHECK_EQUAL(children_ended, 0);
    CHECK(is_named());
    CHECK(exists("app.log.1.gz"));
    CHECK_EQUAL(messages("mplogshim"), 0);
}

static void ordinary_process(void)
{
    check_invisible();
}

static void reaper_of_orphans(void)
{
    CHECK_EQUAL(prctl(PR_SET_CHILD_SUBREAPER, 1), 0);
    check_invisible();
}

static void first_process(void)
{
    CHECK_EQUAL(unshare(CLONE_NEWPID), 0);
    pid_t child = fork();
    if (child == 0) {
        CHECK_EQUAL(getpid(), 1);
        check_invisible();
        exit(test_failures);
    }
    CHECK_EQUAL(exit_status(child), 0);
}

/* The program's own children are seen as ever: one SIGCHLD, one status. */
static void own_children_are_seen(void)
{
    int status;
    count_ended_children();
    pid_t child = fork();
    if (child == 0) {
        rotate(3);
        _exit(5);
    }
    rotate(3);
    do {
        errno = 0;
    } while (waitpid(-1, &status, 0) != child && errno == EINTR);
    CHECK_EQUAL(status, 5 << 8);
    CHECK_EQUAL(children_ended, 1);
    check_no_child_to_wait_for();
}

/* With its last writer the pipe ends, whoever the program has started unseen. */
static void no_descriptor_is_kept(void)
{
    int ends[2];
    char byte;
    CHECK_EQUAL(pipe(ends), 0);
    make_file("app.log", lines_of(100, "in use"));
    int outsider = raw_open("app.log", O_WRONLY | O_APPEND);
    pid_t child = fork();
    if (child == 0) {
        raw_close(outsider);
        CHECK_EQUAL(dup2(ends[1], 50), 50);
        CHECK_EQUAL(dup2(ends[1], 1), 1);
        rotate(1);
        exit(test_failures);
    }
    close(ends[1]);
    CHECK_EQUAL(exit_status(child), 0);
    CHECK_EQUAL(read(ends[0], &byte, 1), 0);
    CHECK(wait_until(has_helper));
    raw_close(outsider);
}

/* Of the program's environment nothing comes along, least of all the library. */
static void helper_is_not_preloaded(void)
{
    char path[64];
    char *text;
    size_t size;
    pid_t helper = 0;
    make_file("app.log", lines_of(100, "in use"));
    int outsider = raw_open("app.log", O_WRONLY | O_APPEND);
    rotate(0); /* one rotation, one helper */
    CHECK(wait_until(has_helper));
    CHECK_EQUAL(outside_count("--helper", in_directory("app.log"), &helper), 1);
    snprintf(path, sizeof path, "/proc/%d/environ", (int)helper);
    text = raw_read(path, &size);
    CHECK(memmem(text, size, "PATH=", 5) != NULL);
    CHECK(memmem(text, size, "LD_PRELOAD", 10) == NULL);
    CHECK(memmem(text, size, "SECRET", 6) == NULL);
    CHECK(memmem(text, size, "TZ=Asia/Tokyo", 13) != NULL);
    snprintf(path, sizeof path, "/proc/%d/maps", (int)helper);
    CHECK(strstr(raw_read(path, NULL), "libmplogshim") == NULL);
    CHECK(getsid(helper) != getsid(0));
    raw_close(outsider);
}

static void names_within_five_seconds(void)
{
    pid_t child = fork();
    if (child == 0) {
        rotate(40);
        exit(0);
    }
    CHECK_EQUAL(exit_status(child), 0);
    double ended = raw_seconds();
    CHECK(wait_until(is_named));
    CHECK(raw_seconds() - ended < STALLED); /* five on a machine that has time for it */
    CHECK(exists("app.log.1") && exists("app.log.40") && !exists("app.log.41"));
    CHECK_EQUAL(strlen(history_read("app.log", NULL)), 41 * 100);
}

/* What `zcat` and `cat` say of all files, oldest first, goes to `output`. */
static char *unpacked_history(void)
{
    char shell[] = "/bin/sh";
    char option[] = "-c";
    char script[] = "cd \"$1\" && for file in $(ls -rv app.log.*) app.log; do "
                    "case $file in *.gz) zcat $file ;; *) cat $file ;; esac; done";
    char *const arguments[] = {shell, option, script, shell, test_directory, NULL};
    CHECK_EQUAL(outside_run(arguments, in_directory("unpacked")), 0);
    return content("unpacked");
}

static void compressed_archives(void)
{
    char wanted[2048] = "";
    int fd = open_log("app.log");
    for (int i = 0; i < 12; i++) {
        char text[101];
        memset(text, 'a' + i, 99);
        memcpy(text + 99, "\n", 2);
        write_text(fd, text);
        strcat(wanted, text);
    }
    settle("app.log");
    for (int i = 1; i <= 11; i++) {
        char name[32];
        snprintf(name, sizeof name, "app.log.%d", i);
        CHECK(!exists(name));
        strcat(name, ".gz");
        CHECK(exists(name));
    }
    CHECK(!exists("app.log.12.gz"));
    CHECK_TEXT(unpacked_history(), wanted);
    CHECK_EQUAL(messages("mplogshim"), 0);
}

static bool told_of_all;
static bool eight_events(void)
{
    int count = 0;
    for (const char *at = content("events"); (at = strchr(at, '\n')) != NULL; at++) {
        count++;
    }
    told_of_all = count == 8;
    return told_of_all;
}

/* One run for each archive, when that has its final name. */
static void events_of_archives(void)
{
    static struct history_file files[HISTORY_FILES];
    char line[2 * PATH_MAX];
    make_file("tell", "#!/bin/sh\n"
                      "cd \"${0%/*}\" || exit\n"
                      "test -s \"$MPLOGSHIM_ARCHIVE\" && there=there || there=missing\n"
                      "echo \"$MPLOGSHIM_EVENT $MPLOGSHIM_LOG $MPLOGSHIM_ARCHIVE $there ${LD_PRELOAD-}\" >>events\n");
    CHECK_EQUAL(chmod("tell", 0755), 0);
    rotate(8);
    CHECK(wait_until(eight_events));
    size_t count = history_files(in_directory("app.log"), files);
    CHECK_EQUAL(count, 9);
    for (size_t i = 0; i + 1 < count; i++) {
        snprintf(line, sizeof line, "rotated %s/app.log %s/%s there \n", test_directory, test_directory, files[i].name);
        CHECK(strstr(content("events"), line) != NULL);
    }
}

static void copy_file(const char *from, const char *name)
{
    size_t size;
    char *data = raw_read(from, &size);
    char *copy = in_directory(name);
    CHECK(size > 0);
    raw_append(copy, data, size);
    free(copy);
}

/* A second library, beside which there is no command. */
static void copy_library(void)
{
    copy_file(getenv("TEST_SHIM"), "library.so");
    CHECK_EQUAL(setenv("LD_PRELOAD", in_directory("library.so"), 1), 0);
}

/* Writes `rotations` files full as another program; its messages are this one's. */
static void another_program_rotates(int rotations)
{
    other_process_writes("app.log", lines_of((size_t)(rotations + 1) * 100, "filler"));
}

static void no_command(void)
{
    CHECK(!raw_exists("/usr/local/bin/mplogshim")); /* where one is looked for as well */
    copy_library();
    another_program_rotates(20);
    CHECK_EQUAL(messages("archive_failed log="), 1);
    CHECK_EQUAL(messages("mplogshim"), 1);
    CHECK(is_pending());
    CHECK_EQUAL(history_archives("app.log"), 20);
    CHECK_EQUAL(archives("app.log"), 20); /* settled by hand */
    CHECK(is_named());
    CHECK_EQUAL(strlen(history("app.log")), 2100);
}

/* The command is beside the library, however that was named. */
static void library_by_a_relative_name(void)
{
    copy_library();
    copy_file(outside_command, "mplogshim");
    CHECK_EQUAL(chmod("mplogshim", 0755), 0);
    CHECK_EQUAL(setenv("LD_PRELOAD", "./library.so", 1), 0);
    another_program_rotates(5);
    CHECK(wait_until(is_named));
    CHECK(exists("app.log.5"));
    CHECK_EQUAL(messages("mplogshim"), 0);
}

/* The helper reckons as the program did. */
static void local_names(void)
{
    static struct history_file files[HISTORY_FILES];
    char earlier[32];
    char later[32];
    time_t now = time(NULL);
    strftime(earlier, sizeof earlier, "app.log.%Y-%m-%d_%H", localtime(&now));
    rotate(1);
    CHECK(wait_until(is_named));
    now = time(NULL);
    strftime(later, sizeof later, "app.log.%Y-%m-%d_%H", localtime(&now));
    CHECK_EQUAL(history_files(in_directory("app.log"), files), 2);
    CHECK(strncmp(files[0].name, earlier, strlen(earlier)) == 0 || strncmp(files[0].name, later, strlen(later)) == 0);
}

/* What others left undone is begun with the log's next rotation. */
static void next_rotation_makes_up(void)
{
    char *library = strdup(getenv("LD_PRELOAD"));
    copy_library();
    another_program_rotates(5);
    CHECK(is_pending());
    setenv("LD_PRELOAD", library, 1);
    another_program_rotates(0);
    CHECK(wait_until(is_named));
    CHECK(exists("app.log.6"));
}

static void undone_and_opened(void (*end)(void))
{
    char *library = strdup(getenv("LD_PRELOAD"));
    copy_library();
    another_program_rotates(5);
    CHECK(is_pending());
    setenv("LD_PRELOAD", library, 1);
    pid_t child = fork();
    if (child == 0) {
        open_log("app.log");
        end();
    }
    CHECK_EQUAL(exit_status(child), 0);
    CHECK(wait_until(is_named));
    CHECK(exists("app.log.5"));
}

static void exits(void)
{
    exit(0);
}

static void exits_at_once(void)
{
    _exit(0);
}

static void execs(void)
{
    unsetenv("LD_PRELOAD");
    execl("/bin/true", "true", NULL);
}

static void exit_makes_up(void)
{
    undone_and_opened(exits);
}

static void exit_at_once_makes_up(void)
{
    undone_and_opened(exits_at_once);
}

static void exec_makes_up(void)
{
    undone_and_opened(execs);
}

int main(int count, char **arguments)
{
    static const char *const environment[] = {"SECRET=1", "TZ=Asia/Tokyo", NULL};
    static struct test tests[] = {
        {"a_process_sees_nothing_of_its_helper", BYTES ",compress=gzip", ordinary_process, NULL, NULL},
        {"a_reaper_of_orphans_sees_nothing_of_its_helper", BYTES ",compress=gzip", reaper_of_orphans, NULL, NULL},
        {"pid_1_sees_nothing_of_its_helper", BYTES ",compress=gzip", first_process, NULL, NULL},
        {"a_program_s_own_children_are_seen_as_ever", BYTES, own_children_are_seen, NULL, NULL},
        {"a_pipe_ends_with_the_program_while_its_helper_lives", BYTES ",compress=gzip", no_descriptor_is_kept, NULL,
         NULL},
        {"a_helper_has_nothing_of_the_program_s_environment_but_the_time_zone", BYTES ",compress=gzip",
         helper_is_not_preloaded, environment, NULL},
        {"archives_have_their_names_within_five_seconds_of_the_end", BYTES, names_within_five_seconds, NULL, NULL},
        {"compressed_archives_hold_every_line", BYTES ",compress=gzip", compressed_archives, NULL, NULL},
        {"on_event_runs_once_for_each_archive", BYTES ",naming=time,on_event=@/tell", events_of_archives, NULL, NULL},
        {"without_a_command_one_line_says_so_and_writing_goes_on", BYTES, no_command, NULL, NULL},
        {"a_library_loaded_by_a_relative_name_finds_its_command", BYTES, library_by_a_relative_name, NULL, NULL},
        {"archives_are_named_in_the_time_zone_of_the_program", BYTES ",naming=time", local_names, environment, NULL},
        {"the_next_rotation_starts_what_was_left_undone", BYTES, next_rotation_makes_up, NULL, NULL},
        {"exit_starts_what_was_left_undone", BYTES, exit_makes_up, NULL, NULL},
        {"_exit_starts_what_was_left_undone", BYTES, exit_at_once_makes_up, NULL, NULL},
        {"exec_starts_what_was_left_undone", BYTES, exec_makes_up, NULL, NULL},
    };
    for (size_t i = 0; i < TEST_COUNT(tests); i++) {
        if (tests[i].body == first_process) {
            tests[i].skip = geteuid() == 0 ? NULL : "needs root";
        }
    }
    return test_main(count, arguments, tests, TEST_COUNT(tests));
}
