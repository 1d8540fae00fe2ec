/*
 * Locks that a program itself has on its log (flock, lockf, fcntl): they are neither lost nor waited for when the log
 * is rotated, by this process or another one, and go along to the new live file.
 */
#include "test.h"

#include <sys/file.h>

#define BYTES "app.log,max_bytes=100"

/* Whether another process could lock a range of the file that lies at the live path, in this way, just now. */
static bool other_can_flock(int how)
{
    pid_t child = fork();
    if (child == 0) {
        int fd = raw_open("app.log", O_RDWR);
        raw_syscall(SYS_exit_group, raw_syscall(SYS_flock, fd, how | LOCK_NB) == 0 ? 0 : 1);
    }
    return exit_status(child) == 0;
}

static bool other_can_lock(short type, off_t start, off_t length)
{
    pid_t child = fork();
    if (child == 0) {
        struct flock lock = {.l_type = type, .l_whence = SEEK_SET, .l_start = start, .l_len = length};
        int fd = raw_open("app.log", O_RDWR);
        raw_syscall(SYS_exit_group, raw_fcntl(fd, F_SETLK, (long)&lock) == 0 ? 0 : 1);
    }
    return exit_status(child) == 0;
}

static int lock_range(int fd, int command, short type, off_t start, off_t length)
{
    struct flock lock = {.l_type = type, .l_whence = SEEK_SET, .l_start = start, .l_len = length};
    return fcntl(fd, command, &lock);
}

static int open_rdwr(void)
{
    return open("app.log", O_RDWR | O_CREAT | O_APPEND, 0644);
}

/* Rotates by this process's own write, and then follows another one's rotation. */
static void check_over_rotations(int fd, void (*check)(void))
{
    write_text(fd, "first\n");
    check();
    write_text(fd, lines_of(100, "own"));
    CHECK_EQUAL(archives("app.log"), 1);
    check();
    other_process_writes("app.log", lines_of(100, "other"));
    write_text(fd, "last\n");
    CHECK(is_on(fd, "app.log"));
    CHECK(archives("app.log") >= 2);
    check();
    CHECK_EQUAL(messages("mplogshim"), 0);
}

static void is_flocked(void)
{
    CHECK(!other_can_flock(LOCK_SH));
}

static void exclusive_flock(void)
{
    int fd = open_log("app.log");
    CHECK_EQUAL(flock(fd, LOCK_EX), 0);
    check_over_rotations(fd, is_flocked);
    CHECK_EQUAL(flock(fd, LOCK_UN), 0);
    CHECK(other_can_flock(LOCK_EX));
}

static void is_flocked_for_reading(void)
{
    CHECK(other_can_flock(LOCK_SH));
    CHECK(!other_can_flock(LOCK_EX));
}

static void shared_flock(void)
{
    int fd = open_log("app.log");
    CHECK_EQUAL(flock(fd, LOCK_SH), 0);
    check_over_rotations(fd, is_flocked_for_reading);
}

static void ranges_are_locked(void)
{
    CHECK(!other_can_lock(F_RDLCK, 10, 1));
    CHECK(!other_can_lock(F_RDLCK, 19, 1));
    CHECK(other_can_lock(F_WRLCK, 20, 80));
    CHECK(other_can_lock(F_RDLCK, 100, 1));
    CHECK(!other_can_lock(F_WRLCK, 1000000, 1));
    CHECK(other_can_lock(F_WRLCK, 0, 10));
}

static void check_ranges(int command)
{
    int fd = open_rdwr();
    CHECK_EQUAL(lock_range(fd, command, F_WRLCK, 10, 10), 0);
    CHECK_EQUAL(lock_range(fd, command, F_RDLCK, 100, 0), 0);
    check_over_rotations(fd, ranges_are_locked);
    CHECK_EQUAL(lock_range(fd, command, F_UNLCK, 0, 0), 0);
    CHECK(other_can_lock(F_WRLCK, 0, 0));
}

static void posix_ranges(void)
{
    check_ranges(F_SETLK);
}

static void ofd_ranges(void)
{
    check_ranges(F_OFD_SETLK);
}

static void is_locked_whole(void)
{
    CHECK(!other_can_lock(F_RDLCK, 0, 1));
}

/* Taken by one of several descriptors: the kernel drops them when any is closed, which the move to a new file does. */
static void posix_among_several(void)
{
    int first = open_rdwr();
    int second = open_rdwr();
    int third = dup(second);
    write_text(third, "third\n");
    CHECK_EQUAL(lock_range(second, F_SETLKW, F_WRLCK, 0, 0), 0);
    check_over_rotations(first, is_locked_whole);
    write_text(third, lines_of(100, "third"));
    write_text(second, lines_of(100, "second"));
    is_locked_whole();
}

/*
 * `flock -n 9 || exit; ... >&9` in a shell: the lock was taken by a program that has ended, on an inherited descriptor,
 * and the one that rotates is yet another.
 */
static void lock_of_a_shell(void)
{
    static const char script[] = "exec 9>>app.log; flock -n 9 || exit 3\n"
                                 "for i in 1 2 3 4 5 6 7 8 9; do echo \"a line of the shell's $i\" >&9; done\n"
                                 "flock -n app.log true && exit 4\n"
                                 "exit 0\n";
    pid_t child = fork();
    if (child == 0) {
        execlp("bash", "bash", "-c", script, NULL);
        _exit(127);
    }
    CHECK_EQUAL(exit_status(child), 0);
    CHECK(archives("app.log") >= 1);
    CHECK_EQUAL(strlen(history("app.log")), 9 * 24);
}

/* Programs that lock around each line, in threads and processes: nobody waits for ever, and every line is there. */
enum { LINES = 300, PROCESSES = 4 };

static void lock_write_unlock(int fd, int how, int number)
{
    char line[40];
    for (int i = 0; i < LINES; i++) {
        snprintf(line, sizeof line, "process %d line %06d\n", number, i);
        int locked = how == 0 ? flock(fd, LOCK_EX) : lock_range(fd, F_SETLKW, F_WRLCK, 0, 0);
        write_text(fd, line);
        int unlocked = how == 0 ? flock(fd, LOCK_UN) : lock_range(fd, F_SETLKW, F_UNLCK, 0, 0);
        if (locked != 0 || unlocked != 0) {
            test_fail(__LINE__, "errno %d", errno);
        }
    }
}

static void check_around_each_line(int how)
{
    pid_t children[PROCESSES];
    for (int i = 0; i < PROCESSES; i++) {
        children[i] = fork();
        if (children[i] == 0) {
            lock_write_unlock(open_rdwr(), how, i);
            exit(test_failures);
        }
    }
    for (int i = 0; i < PROCESSES; i++) {
        CHECK_EQUAL(exit_status(children[i]), 0);
    }
    int next[PROCESSES] = {0};
    for (char *at = history("app.log"); *at != '\0'; at = strchr(at, '\n') + 1) {
        int number = at[8] - '0';
        if (strncmp(at, "process ", 8) != 0 || number < 0 || number >= PROCESSES || atoi(at + 15) != next[number]++) {
            test_fail(__LINE__, "unexpected line \"%.21s\"", at);
            break;
        }
    }
    for (int i = 0; i < PROCESSES; i++) {
        CHECK_EQUAL(next[i], LINES);
    }
    CHECK_EQUAL(messages("mplogshim"), 0);
}

static void flock_around_each_line(void)
{
    check_around_each_line(0);
}

static void fcntl_around_each_line(void)
{
    check_around_each_line(1);
}

/* The kernel drops a POSIX lock at any close of the file: the library must not close one. */
static void duplicate_near_own_numbers(void)
{
    int fd = open_rdwr();
    write_text(fd, "line\n");
    CHECK_EQUAL(lock_range(fd, F_SETLK, F_WRLCK, 0, 0), 0);
    for (int number = 900; number < 1000; number++) {
        CHECK_EQUAL(fcntl(fd, F_DUPFD, number), number);
    }
    CHECK(!other_can_lock(F_WRLCK, 0, 0));
}

/* One descriptor follows to the new live file, which another one has locked already. */
static void follower(void)
{
    int old = open_rdwr();
    write_text(old, "first\n");
    CHECK_EQUAL(rename("app.log", "elsewhere"), 0);
    int fd = open_rdwr();
    CHECK_EQUAL(lock_range(fd, F_SETLK, F_WRLCK, 0, 0), 0);
    for (double begun = raw_seconds(); raw_seconds() < begun + 1.1;) {
        raw_pause(); /* within a second it has looked */
    }
    write_text(old, "second\n");
    CHECK(is_on(old, "app.log"));
    CHECK(!other_can_lock(F_WRLCK, 0, 0));
}

int main(int count, char **arguments)
{
    static const struct test tests[] = {
        {"an_exclusive_flock_goes_along", BYTES, exclusive_flock, NULL, NULL},
        {"a_shared_flock_goes_along", BYTES, shared_flock, NULL, NULL},
        {"fcntl_locks_of_ranges_go_along", BYTES, posix_ranges, NULL, NULL},
        {"locks_of_open_file_descriptions_go_along", BYTES, ofd_ranges, NULL, NULL},
        {"an_fcntl_lock_survives_the_moves_of_other_descriptors", BYTES, posix_among_several, NULL, NULL},
        {"a_lock_that_a_shell_has_goes_along", BYTES, lock_of_a_shell, NULL, NULL},
        {"an_fcntl_lock_survives_duplicates_near_the_library_s_numbers", BYTES, duplicate_near_own_numbers, NULL, NULL},
        {"an_fcntl_lock_survives_a_descriptor_that_follows", "app.log", follower, NULL, NULL},
        {"a_flock_around_each_line_is_never_waited_for_in_vain", "app.log,max_bytes=1000", flock_around_each_line, NULL,
         NULL},
        {"an_fcntl_lock_around_each_line_is_never_waited_for_in_vain", "app.log,max_bytes=1000", fcntl_around_each_line,
         NULL, NULL},
    };
    return test_main(count, arguments, tests, TEST_COUNT(tests));
}
