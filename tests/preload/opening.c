/* However a descriptor of a log came to be, it is managed; and what is no log never is. */
#include "test.h"

#include <sched.h>
#include <spawn.h>

#include <sys/sendfile.h>
#include <sys/socket.h>

#define RULES "app.log,max_bytes=100;logs/*.log,max_bytes=100"

/* Writing 100 bytes and then a line through `fd` rotates `log`: so it is managed, and on the live file. */
static void check_managed(int fd, const char *log)
{
    size_t before = archives(log);
    char *filler = lines_of(100, "filler");
    CHECK(fd >= 0);
    write_text(fd, filler);
    write_text(fd, "the next file\n");
    CHECK(archives(log) > before);
    CHECK_TEXT(content(log), "the next file\n");
    CHECK(is_on(fd, log));
    free(filler);
}

static void check_unmanaged(int fd, const char *name)
{
    char wanted[256];
    char *filler = lines_of(100, "filler");
    size_t before = strlen(content(name));
    CHECK(fd >= 0);
    write_text(fd, filler);
    write_text(fd, "the same file\n");
    snprintf(wanted, sizeof wanted, "%sthe same file\n", filler);
    CHECK_TEXT(content(name) + before, wanted);
    free(filler);
}

static void *opens_after_the_first_thread(void *null)
{
    char path[40];
    sprintf(path, "/proc/self/fd/%d", *(int *)null);
    while (access(path, F_OK) == 0) {
        usleep(1000); /* the first thread has its descriptors until its end */
    }
    check_managed(open("app.log", O_WRONLY | O_CREAT | O_APPEND, 0644), "app.log");
    _exit(0);
}

static void first_thread_ended(void)
{
    int status = -1;
    static int null;
    null = open("/dev/null", O_RDONLY);
    pid_t child = fork();
    if (child == 0) {
        pthread_t thread;
        pthread_create(&thread, NULL, opens_after_the_first_thread, &null);
        pthread_exit(NULL);
    }
    CHECK_EQUAL(waitpid(child, &status, 0), child);
    CHECK_EQUAL(status, 0);
}

static int shared_number;

/* Opens another file by the number that is the log's in the other threads. */
static void *opens_on_its_own(void *unused)
{
    CHECK_EQUAL(unshare(CLONE_FILES), 0);
    CHECK_EQUAL(raw_syscall(SYS_close, shared_number), 0);
    CHECK_EQUAL(open("plain", O_WRONLY | O_CREAT | O_TRUNC, 0644), shared_number);
    write_text(shared_number, "plain\n");
    return unused;
}

static void own_descriptors_of_a_thread(void)
{
    pthread_t thread;
    shared_number = open_log("app.log");
    write_text(shared_number, "log\n");
    CHECK_EQUAL(pthread_create(&thread, NULL, opens_on_its_own, NULL), 0);
    CHECK_EQUAL(pthread_join(thread, NULL), 0);
    write_text(shared_number, "log\n");
    CHECK_TEXT(content("plain"), "plain\n");
    CHECK_TEXT(history("app.log"), "log\nlog\n");
}

static void truncate_rotates(void)
{
    make_file("app.log", "before\n");
    int fd = open("app.log", O_WRONLY | O_CREAT | O_TRUNC, 0644);
    CHECK_EQUAL(archives("app.log"), 1);
    CHECK_TEXT(content("app.log"), "");
    write_text(fd, "after\n");
    CHECK_TEXT(content("app.log"), "after\n");
    CHECK_TEXT(history("app.log"), "before\nafter\n");
    /* An empty log is not rotated. */
    int second = open("other.log", O_WRONLY | O_CREAT | O_TRUNC, 0644);
    CHECK_EQUAL(archives("other.log"), 0);
    write_text(second, "x\n");
    second = open("other.log", O_RDWR | O_TRUNC);
    CHECK_EQUAL(archives("other.log"), 1);
    CHECK_TEXT(history("other.log"), "x\n");
}

/* The O_APPEND of a log that was opened to be truncated is the library's own: the kernel's refusals are not shown. */
static void truncated_takes_copies(void)
{
    make_file("app.log", "before\n");
    make_file("source", "copied\n");
    int source = open("source", O_RDONLY);
    int fd = open("app.log", O_WRONLY | O_CREAT | O_TRUNC, 0644);
    CHECK_EQUAL(fcntl(fd, F_GETFL) & O_APPEND, 0);
    CHECK_EQUAL(sendfile(fd, source, NULL, 100), 7);
    CHECK_TEXT(history("app.log"), "before\ncopied\n");
}

static void truncate_ignored(void)
{
    make_file("app.log", "before\n");
    int fd = creat("app.log", 0644);
    CHECK_EQUAL(archives("app.log"), 0);
    write_text(fd, "after\n");
    CHECK_TEXT(content("app.log"), "before\nafter\n");
}

static void truncate_allowed(void)
{
    make_file("app.log", "before\n");
    int fd = open("app.log", O_WRONLY | O_TRUNC);
    CHECK_EQUAL(archives("app.log"), 0);
    CHECK_TEXT(content("app.log"), "");
    write_text(fd, "after\n");
    CHECK_TEXT(content("app.log"), "after\n");
}

/* What posix_spawn opens for a child is opened within libc. */
static void truncate_by_posix_spawn(void)
{
    pid_t child;
    int status = -1;
    posix_spawn_file_actions_t actions;
    char *arguments[] = {"echo", "after", NULL};
    make_file("app.log", "before\n");
    make_file("plain", "before\n");
    static const char *const names[] = {"app.log", "plain", "new.log"};
    for (int i = 0; i < 3; i++) {
        CHECK_EQUAL(posix_spawn_file_actions_init(&actions), 0);
        CHECK_EQUAL(posix_spawn_file_actions_addopen(&actions, 1, names[i], O_WRONLY | O_CREAT | O_TRUNC, 0644), 0);
        CHECK_EQUAL(posix_spawn(&child, "/bin/echo", &actions, NULL, arguments, environ), 0);
        CHECK_EQUAL(waitpid(child, &status, 0), child);
        CHECK_EQUAL(status, 0);
        CHECK_EQUAL(posix_spawn_file_actions_destroy(&actions), 0);
    }
    CHECK_TEXT(history("app.log"), "before\nafter\n");
    CHECK_TEXT(content("plain"), "after\n");
    CHECK_TEXT(content("new.log"), "after\n");
}

/* Files are copied over a log as over any other, and its flags are those that the program asked for. */
static void truncate_shows_no_append(void)
{
    make_file("app.log", "before\n");
    make_file("source", "copied\n");
    int source = open("source", O_RDONLY);
    int fd = open("app.log", O_WRONLY | O_CREAT | O_TRUNC, 0644);
    CHECK_EQUAL(fcntl(fd, F_GETFL) & O_APPEND, 0);
    CHECK_EQUAL(sendfile(fd, source, NULL, 100), 7);
    CHECK_TEXT(content("app.log"), "copied\n");
    fd = open("app.log", O_WRONLY | O_TRUNC | O_APPEND);
    CHECK_EQUAL(fcntl(fd, F_GETFL) & O_APPEND, O_APPEND);
    CHECK_ERROR(sendfile(fd, source, NULL, 100), EINVAL);
}

/* Two programs start with "w": neither throws away what the other has written. */
static void truncate_by_several(void)
{
    make_file("app.log", "before\n");
    int first = open("app.log", O_WRONLY | O_CREAT | O_TRUNC, 0644);
    write_text(first, "first\n");
    int second = open("app.log", O_WRONLY | O_CREAT | O_TRUNC, 0644);
    write_text(second, "second\n");
    write_text(first, "first again\n");
    CHECK_TEXT(history("app.log"), "before\nfirst\nsecond\nfirst again\n");
    CHECK_TEXT(content("app.log"), "second\nfirst again\n");
}

static void exclusive(void)
{
    int fd = open("app.log", O_WRONLY | O_CREAT | O_EXCL, 0600);
    struct stat status;
    check_managed(fd, "app.log");
    CHECK_ERROR(open("app.log", O_WRONLY | O_CREAT | O_EXCL, 0600), EEXIST);
    CHECK_EQUAL(fstat(fd, &status), 0);
    CHECK_EQUAL(status.st_mode & 0777, 0600);
}

static void umask_counts(void)
{
    struct stat status;
    umask(027);
    int fd = open("app.log", O_WRONLY | O_CREAT | O_APPEND, 0666);
    CHECK_EQUAL(fstat(fd, &status), 0);
    CHECK_EQUAL(status.st_mode & 0777, 0640);
    check_managed(fd, "app.log");
    umask(077);
    check_managed(fd, "app.log");
    CHECK_EQUAL(fstat(fd, &status), 0);
    CHECK_EQUAL(status.st_mode & 0777, 0640);
}

static void read_only_is_unmanaged(void)
{
    make_file("app.log", "before\n");
    int fd = open("app.log", O_RDONLY);
    char text[16] = "";
    CHECK_EQUAL(read(fd, text, sizeof text), 7);
    CHECK(!exists(".app.log.lock"));
}

static void read_write(void)
{
    check_managed(open("app.log", O_RDWR | O_CREAT, 0644), "app.log");
}

static void through_symbolic_link(void)
{
    CHECK_EQUAL(symlink("app.log", "link"), 0);
    check_managed(open("link", O_WRONLY | O_CREAT | O_APPEND, 0644), "app.log");
    CHECK_ERROR(open("link", O_WRONLY | O_NOFOLLOW), ELOOP);
    struct stat status;
    CHECK_EQUAL(lstat("link", &status), 0);
    CHECK(S_ISLNK(status.st_mode));
}

static void through_symbolic_link_of_directory(void)
{
    CHECK_EQUAL(mkdir("logs", 0755), 0);
    CHECK_EQUAL(symlink("logs", "elsewhere"), 0);
    check_managed(open("elsewhere/app.log", O_WRONLY | O_CREAT | O_APPEND, 0644), "logs/app.log");
}

/* The rule names the symbolic link of the directory, the program its target. */
static void rule_of_symbolic_link_of_directory(void)
{
    CHECK_EQUAL(mkdir("real", 0755), 0);
    CHECK_EQUAL(symlink("real", "logs"), 0);
    char *program[] = {(char *)(uintptr_t) "sh", (char *)(uintptr_t) "-c",
                       (char *)(uintptr_t) "echo one >>real/app.log; echo two >>logs/app.log", NULL};
    pid_t child = fork();
    if (child == 0) {
        execv("/bin/sh", program);
        _exit(127);
    }
    CHECK_EQUAL(exit_status(child), 0);
    CHECK_EQUAL(archives("real/app.log"), 1);
    CHECK_TEXT(history("real/app.log"), "one\ntwo\n");
}

static void relative_after_chdir(void)
{
    CHECK_EQUAL(mkdir("logs", 0755), 0);
    CHECK_EQUAL(chdir("logs"), 0);
    int fd = open("app.log", O_WRONLY | O_CREAT | O_APPEND, 0644);
    check_managed(fd, "logs/app.log");
    CHECK_EQUAL(chdir("/"), 0);
    check_managed(fd, "logs/app.log");
    CHECK_EQUAL(chdir(test_directory), 0);
    check_managed(open("logs/../logs//./app.log", O_WRONLY | O_APPEND), "logs/app.log");
}

static void directory_descriptor(void)
{
    CHECK_EQUAL(mkdir("logs", 0755), 0);
    int directory = open("logs", O_RDONLY | O_DIRECTORY);
    check_managed(openat(directory, "app.log", O_WRONLY | O_CREAT | O_APPEND, 0644), "logs/app.log");
    int path = open("logs", O_PATH | O_DIRECTORY);
    check_managed(openat(path, "second.log", O_WRONLY | O_CREAT | O_APPEND, 0644), "logs/second.log");
    CHECK_ERROR(openat(directory, "nothing/app.log", O_WRONLY), ENOENT);
}

/* The directory is renamed while the log is open: rotation goes on where the log is. */
static void directory_renamed(void)
{
    CHECK_EQUAL(mkdir("logs", 0755), 0);
    int fd = open("logs/app.log", O_WRONLY | O_CREAT | O_APPEND, 0644);
    write_text(fd, "one\n");
    CHECK_EQUAL(rename("logs", "moved"), 0);
    char *filler = lines_of(100, "filler");
    write_text(fd, filler);
    write_text(fd, "two\n");
    char wanted[256];
    snprintf(wanted, sizeof wanted, "one\n%stwo\n", filler);
    CHECK_TEXT(history("moved/app.log"), wanted);
}

static void passed_over_a_socket(void)
{
    int ends[2];
    int fd = open_log("app.log");
    CHECK_EQUAL(socketpair(AF_UNIX, SOCK_STREAM, 0, ends), 0);
    union {
        struct cmsghdr header;
        char room[CMSG_SPACE(2 * sizeof(int))];
    } control = {.header = {.cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS, .cmsg_len = CMSG_LEN(2 * sizeof(int))}};
    char byte = 'x';
    struct iovec vector = {&byte, 1};
    struct msghdr message = {
        .msg_iov = &vector, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof control};
    int passed[2] = {fd, fd};
    memcpy(CMSG_DATA(&control.header), passed, sizeof passed);
    CHECK_EQUAL(sendmsg(ends[0], &message, 0), 1);
    other_process_writes("app.log", lines_of(100, "between"));
    other_process_writes("app.log", lines_of(100, "between"));
    /* The number that it will get was another file's, which the library has seen, and closed behind its back. */
    int data = open("data", O_WRONLY | O_CREAT | O_APPEND, 0644);
    write_text(data, "x\n");
    raw_close(data);
    CHECK_EQUAL(recvmsg(ends[1], &message, 0), 1);
    memcpy(passed, CMSG_DATA(&control.header), sizeof passed);
    CHECK_EQUAL(passed[0], data);
    check_managed(passed[0], "app.log");
    check_managed(passed[1], "app.log");
    check_managed(fd, "app.log");
}

static void archives_are_unmanaged(void)
{
    check_managed(open_log("app.log"), "app.log");
    int archive = open("app.log.1", O_WRONLY | O_APPEND);
    if (archive < 0) {
        test_fail(__LINE__, "no archive app.log.1");
        return;
    }
    check_unmanaged(archive, "app.log.1");
    CHECK(!exists(".app.log.1.lock"));
}

/* Even if the pattern matches them. */
static void own_files_never_match(void)
{
    static const char *const names[] = {"app.log.1",    "app.log.2026-11-20", "app.log.2026-11-20_13.1",
                                        "app.log.7.gz", "app.log.3",          "app.log.2026-11-20_13-05-09.gz"};
    check_managed(open_log("app.log"), "app.log");
    for (size_t i = 0; i < TEST_COUNT(names); i++) {
        int fd = open(names[i], O_WRONLY | O_APPEND | O_CREAT, 0644);
        check_unmanaged(fd, names[i]);
        close(fd);
    }
    CHECK(open(".app.log.lock", O_WRONLY | O_APPEND) >= 0);
    CHECK(!exists(".app.log.1.lock"));
    CHECK(!exists("..app.log.lock.lock"));
    CHECK(!exists("app.log.1.1"));
}

static void other_files_are_untouched(void)
{
    int fd = open("data", O_RDWR | O_CREAT | O_TRUNC, 0644);
    char text[32] = "";
    CHECK_EQUAL(fcntl(fd, F_GETFL) & O_APPEND, 0);
    write_text(fd, "0123456789");
    CHECK_EQUAL(pwrite(fd, "xy", 2, 3), 2);
    CHECK_EQUAL(lseek(fd, 0, SEEK_SET), 0);
    write_text(fd, "ab");
    CHECK_EQUAL(pread(fd, text, sizeof text, 0), 10);
    CHECK_TEXT(text, "ab2xy56789");
    CHECK(!exists(".data.lock"));
    CHECK_EQUAL(open("/dev/null", O_WRONLY), fd + 1);
    CHECK_ERROR(open("nowhere/app.log", O_WRONLY | O_CREAT, 0644), ENOENT);
    CHECK_EQUAL(mkdir("logs", 0755), 0);
    CHECK_EQUAL(mkdir("logs/directory.log", 0755), 0);
    CHECK_ERROR(open("logs/directory.log", O_WRONLY), EISDIR);
    CHECK_EQUAL(mkfifo("logs/pipe.log", 0644), 0);
    CHECK(open("logs/pipe.log", O_RDWR | O_NONBLOCK) >= 0);
    CHECK(!exists("logs/.pipe.log.lock"));
    CHECK_EQUAL(messages("mplogshim"), 0);
}

/* A file gets the name of a log while it is open, and the log's file another. */
static void renamed_over(void)
{
    int fd = open_log("app.log");
    write_text(fd, "one\n");
    int fresh = open("app.log.new", O_WRONLY | O_CREAT | O_APPEND, 0644);
    write_text(fresh, "new one\n");
    CHECK_EQUAL(rename("app.log.new", "app.log"), 0);
    for (double end = raw_seconds() + STALLED; raw_seconds() < end && !is_on(fd, "app.log"); raw_pause()) {
        write_text(fd, "x\n");
    }
    CHECK(is_on(fd, "app.log"));
    CHECK(strncmp(content("app.log"), "new one\nx\n", 10) == 0);
}

/* Shells and services redirect by 1 and 2 together: one open file, two numbers. */
static void aliases_follow(void)
{
    int fd = open_log("app.log");
    int aliases[5] = {fd, dup(fd), dup2(fd, 20), dup3(fd, 21, O_CLOEXEC), fcntl(fd, F_DUPFD, 30)};
    for (int round = 0; round < 3; round++) {
        for (size_t i = 0; i < TEST_COUNT(aliases); i++) {
            check_managed(aliases[i], "app.log");
        }
        other_process_writes("app.log", lines_of(100, "other"));
        other_process_writes("app.log", "other\n");
    }
    for (size_t i = 0; i < TEST_COUNT(aliases); i++) {
        write_text(aliases[i], "x\n");
        CHECK(is_on(aliases[i], "app.log"));
        CHECK_EQUAL(fcntl(aliases[i], F_GETFD), i == 3 ? FD_CLOEXEC : 0);
    }
    CHECK_EQUAL(strlen(history("app.log")), 15 * strlen("the next file\n") + 18 * 100 + 3 * 6 + 5 * 2);
}

/* fork children that each go on with what they inherited. */
static void children_follow(void)
{
    int fd = open_log("app.log");
    write_text(fd, "parent\n");
    for (int i = 0; i < 3; i++) {
        pid_t child = fork();
        if (child == 0) {
            check_managed(fd, "app.log");
            exit(test_failures);
        }
        CHECK_EQUAL(exit_status(child), 0);
        check_managed(fd, "app.log");
    }
}

/* The message of it comes at most once a second, however often the program opens its log. */
static void direct_is_told_seldom(void)
{
    double begun = raw_seconds();
    for (int i = 0; i < 200; i++) {
        int fd = open("app.log", O_WRONLY | O_CREAT | O_DIRECT, 0644);
        CHECK(fd >= 0);
        write_text(fd, ""); /* when it is looked at */
        CHECK_EQUAL(close(fd), 0);
    }
    CHECK(messages("is not managed: it was opened with O_DIRECT") >= 1);
    CHECK(messages("is not managed") <= 2 + (int)(raw_seconds() - begun));
}

int main(int count, char **arguments)
{
    static const char *const ignore[] = {"MPLOGSHIM_TRUNCATE=ignore", NULL};
    static const char *const allow[] = {"MPLOGSHIM_TRUNCATE=allow", NULL};
    static const struct test tests[] = {
        {"a_log_opened_when_the_first_thread_has_ended_is_managed", RULES, first_thread_ended, NULL, NULL},
        {"a_thread_with_descriptors_of_its_own_opens_what_it_names", RULES, own_descriptors_of_a_thread, NULL, NULL},
        {"o_trunc_rotates_by_default", "*.log", truncate_rotates, NULL, NULL},
        {"a_log_opened_to_be_truncated_takes_copies", "*.log", truncated_takes_copies, NULL, NULL},
        {"o_trunc_appends_with_truncate_ignore", "app.log", truncate_ignored, ignore, NULL},
        {"o_trunc_truncates_with_truncate_allow", "app.log", truncate_allowed, allow, NULL},
        {"o_trunc_shows_the_flags_that_were_asked_for", "app.log", truncate_shows_no_append, NULL, NULL},
        {"o_trunc_by_posix_spawn_loses_nothing", "*.log", truncate_by_posix_spawn, NULL, NULL},
        {"o_trunc_by_several_loses_nothing", "app.log", truncate_by_several, NULL, NULL},
        {"o_direct_is_told_once_a_second", RULES, direct_is_told_seldom, NULL, NULL},
        {"o_excl_works_on_a_log", RULES, exclusive, NULL, NULL},
        {"permissions_of_a_new_log_follow_the_umask_and_stay", RULES, umask_counts, NULL, NULL},
        {"a_log_opened_for_reading_is_not_managed", RULES, read_only_is_unmanaged, NULL, NULL},
        {"a_log_opened_for_reading_and_writing_is_managed", RULES, read_write, NULL, NULL},
        {"a_log_is_managed_through_a_symbolic_link", RULES, through_symbolic_link, NULL, NULL},
        {"a_log_is_managed_through_a_symbolic_link_of_its_directory", RULES, through_symbolic_link_of_directory, NULL,
         NULL},
        {"a_rule_may_name_a_symbolic_link_of_the_directory", "logs/*.log,max_bytes=4",
         rule_of_symbolic_link_of_directory, NULL, NULL},
        {"a_relative_path_after_chdir_is_managed", RULES, relative_after_chdir, NULL, NULL},
        {"a_log_is_managed_by_openat", RULES, directory_descriptor, NULL, NULL},
        {"a_log_goes_on_when_its_directory_is_renamed", RULES, directory_renamed, NULL, NULL},
        {"a_log_received_over_a_socket_is_managed", RULES, passed_over_a_socket, NULL, NULL},
        {"archives_are_not_managed", RULES, archives_are_unmanaged, NULL, NULL},
        {"archives_and_lock_files_never_match", "*,max_bytes=100;.*,max_bytes=100", own_files_never_match, NULL, NULL},
        {"other_files_are_untouched", RULES, other_files_are_untouched, NULL, NULL},
        {"a_log_replaced_by_rename_is_followed", "app.log,max_bytes=1M", renamed_over, NULL, NULL},
        {"all_aliases_follow_a_rotation", RULES, aliases_follow, NULL, NULL},
        {"fork_children_follow_rotations", RULES, children_follow, NULL, NULL},
    };
    return test_main(count, arguments, tests, TEST_COUNT(tests));
}
