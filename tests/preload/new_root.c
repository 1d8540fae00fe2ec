/*
 * A process in a new root directory: its log is rotated there, and nothing that somebody put there is run.
 */
#include "test.h"

#include <sched.h>
#include <sys/mount.h>

#define BYTES "app.log,max_bytes=100"

static int log_fd;

static void after_chroot(void)
{
    CHECK_EQUAL(mkdir("root", 0755), 0);
    pid_t child = fork();
    if (child == 0) {
        log_fd = open_log("app.log");
        write_text(log_fd, "before\n");
        if (chroot("root") != 0 || chdir("/") != 0) {
            _exit(2);
        }
        write_text(log_fd, lines_of(100, "filler"));
        write_text(log_fd, "after\n");
        _exit(0);
    }
    CHECK_EQUAL(exit_status(child), 0);
    CHECK_EQUAL(archives("app.log"), 2);
    CHECK_TEXT(content("app.log"), "after\n");
}

/* The directories of an absolute path within the new root. */
static void make_directories(const char *wanted)
{
    char path[PATH_MAX + 8] = "root";
    mkdir("root", 0755);
    for (const char *slash = wanted; slash != NULL;) {
        slash = strchr(slash + 1, '/');
        snprintf(path, sizeof path, "root%.*s", slash == NULL ? PATH_MAX : (int)(slash - wanted), wanted);
        mkdir(path, 0755);
    }
}

/* The test's directory within the new root, by the same path. */
static void enter_new_root(void)
{
    make_directories(test_directory);
    CHECK_EQUAL(chroot("root"), 0);
    CHECK_EQUAL(chdir(test_directory), 0);
}

/* The path of a file as it is outside of the new root. */
static char *in_new_root(const char *name)
{
    char *path = malloc(2 * PATH_MAX);
    snprintf(path, 2 * PATH_MAX, "%s/root%s/%s", test_directory, test_directory, name);
    return path;
}

/* There is no /proc in the new root. */
static void opened_after_chroot(void)
{
    pid_t child = fork();
    if (child == 0) {
        enter_new_root();
        log_fd = open("app.log", O_WRONLY | O_CREAT | O_APPEND, 0644);
        for (int i = 0; i < 3; i++) {
            write_text(log_fd, lines_of(100, "filler"));
        }
        _exit(test_failures != 0);
    }
    CHECK_EQUAL(exit_status(child), 0);
    CHECK_EQUAL(raw_size(in_new_root("app.log")), 100);
    CHECK_EQUAL(strlen(history_read(in_new_root("app.log"), NULL)), 300);
    CHECK_EQUAL(messages("is not managed"), 0); /* that the helper is not there is told */
}

/* In the new root lies another directory at the path of the log's; the log is rotated from outside of it meanwhile. */
static void directory_in_new_root(void)
{
    int ready[2];
    int go[2];
    char byte = 'x';
    CHECK_EQUAL(pipe(ready), 0);
    CHECK_EQUAL(pipe(go), 0);
    pid_t child = fork();
    if (child == 0) {
        log_fd = open_log("app.log");
        write_text(log_fd, "before\n");
        enter_new_root();
        CHECK_EQUAL(write(ready[1], &byte, 1), 1);
        CHECK_EQUAL(read(go[0], &byte, 1), 1);
        write_text(log_fd, "in the new root\n");
        _exit(test_failures != 0);
    }
    CHECK_EQUAL(read(ready[0], &byte, 1), 1);
    write_text(open_log("app.log"), lines_of(100, "filler"));
    CHECK_EQUAL(write(go[1], &byte, 1), 1);
    CHECK_EQUAL(exit_status(child), 0);
    CHECK_EQUAL(archives("app.log"), 2);
    CHECK_TEXT(content("app.log"), "in the new root\n");
    CHECK(!raw_exists(in_new_root("app.log")));
}

/* The same path leads to another log there, also while the one outside is open. */
static void opened_anew(bool close_first)
{
    log_fd = open_log("app.log");
    write_text(log_fd, "before\n");
    enter_new_root();
    if (close_first) {
        close(log_fd);
    }
    int other = open_log("app.log");
    write_text(other, lines_of(100, "inside"));
    write_text(other, "inside\n");
    if (!close_first) {
        write_text(log_fd, lines_of(100, "outside"));
        write_text(log_fd, "outside\n");
    }
    _exit(test_failures != 0);
}

static void opened_inside_and_outside(void)
{
    for (int close_first = 0; close_first < 2; close_first++) {
        pid_t child = fork();
        if (child == 0) {
            opened_anew(close_first);
        }
        CHECK_EQUAL(exit_status(child), 0);
        CHECK_TEXT(raw_read(in_new_root("app.log"), NULL), "inside\n");
        CHECK_EQUAL(strlen(history_read(in_new_root("app.log"), NULL)), 107 * (close_first + 1));
        CHECK_EQUAL(strlen(history_read("app.log", NULL)), 7 + 100 + 8 + (close_first ? 7 : 0));
    }
}

/* A program in the new root that says that it ran. */
static void put_program(const char *path)
{
    static const char text[] = "#!/bin/sh\necho $0 >>/ran\n";
    char name[2 * PATH_MAX];
    char directory[PATH_MAX];
    snprintf(directory, sizeof directory, "%s", path);
    *strrchr(directory, '/') = '\0';
    make_directories(directory);
    snprintf(name, sizeof name, "root%s", path);
    make_file(name, text);
    CHECK_EQUAL(chmod(name, 0755), 0);
}

/* With what a shell needs. */
static void show_system_in_new_root(void)
{
    static const char *const directories[] = {"/usr", "/bin", "/lib", "/lib64"};
    CHECK_EQUAL(unshare(CLONE_NEWNS), 0);
    CHECK_EQUAL(mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL), 0);
    for (size_t i = 0; i < TEST_COUNT(directories); i++) {
        char place[16];
        make_directories(directories[i]);
        snprintf(place, sizeof place, "root%s", directories[i]);
        CHECK(!raw_exists(directories[i]) || mount(directories[i], place, NULL, MS_BIND, NULL) == 0);
    }
}

/* Programs are meant where they were when the process began. One that is started at once would be told of no error. */
static void programs_in_new_root(void)
{
    pid_t child = fork();
    if (child == 0) {
        show_system_in_new_root();
        put_program(outside_command);
        put_program(in_directory("tell"));
        enter_new_root();
        log_fd = open("app.log", O_WRONLY | O_CREAT | O_APPEND, 0644);
        for (int i = 0; i < 3; i++) {
            write_text(log_fd, lines_of(100, "filler"));
        }
        _exit(test_failures != 0);
    }
    CHECK_EQUAL(exit_status(child), 0);
    CHECK_EQUAL(strlen(history_read(in_new_root("app.log"), NULL)), 300);
    CHECK_EQUAL(messages("archive_failed"), 1);
    CHECK_EQUAL(messages("step=helper error=EXDEV"), 1);
    CHECK_EQUAL(messages("/tell cannot be run: EXDEV"), 1);
    CHECK(!exists("root/ran"));
}

int main(int count, char **arguments)
{
    static struct test tests[] = {
        {"a_program_that_changes_its_root_goes_on_rotating", BYTES, after_chroot, NULL, NULL},
        {"a_log_stays_where_it_was_opened_whatever_lies_at_its_path_in_a_new_root", BYTES, directory_in_new_root, NULL,
         NULL},
        {"a_log_opened_in_a_new_root_without_proc_rotates", BYTES, opened_after_chroot, NULL, NULL},
        {"a_path_leads_to_another_log_in_a_new_root", BYTES, opened_inside_and_outside, NULL, NULL},
        {"no_program_is_run_that_lies_in_a_new_root", BYTES ",on_event=@/tell", programs_in_new_root, NULL, NULL},
    };
    for (size_t i = 0; i < TEST_COUNT(tests); i++) {
        tests[i].skip = geteuid() == 0 ? NULL : "needs root";
    }
    return test_main(count, arguments, tests, TEST_COUNT(tests));
}
