/* Whether somebody has a file open for writing: by a lease, and by /proc where there are no leases. */
#include "archive_scene.h"

#include <signal.h>
#include <sys/wait.h>

static int is_written(const struct place *place, const char *name)
{
    return written_by_somebody(place->task.directory, name);
}

/* A process that has the file open until it is ended. */
static pid_t open_elsewhere(const struct place *place, const char *name, int flags)
{
    int ready[2];
    char byte;
    struct temporary_path path = temporary_path(place->directory, name);
    assert_int_equal(pipe2(ready, O_CLOEXEC), 0);
    pid_t child = fork();
    if (child == 0) {
        int fd = open(path.text, flags | O_CLOEXEC);
        if (fd >= 0 && write(ready[1], "x", 1) == 1) {
            pause();
        }
        _exit(1);
    }
    close(ready[1]);
    assert_int_equal(read(ready[0], &byte, 1), 1);
    close(ready[0]);
    return child;
}

static void end(pid_t child)
{
    assert_int_equal(kill(child, SIGKILL), 0);
    assert_int_equal(waitpid(child, NULL, 0), child);
}

static void make_old(const struct place *place, const char *name)
{
    set_mtime(place, name, time(NULL) - 120);
}

static int lease_error;

static int fcntl_without_leases(int fd, int command, long argument)
{
    return command == F_SETLEASE ? lease_error : sys_real.fcntl(fd, command, argument);
}

static void without_leases(int error)
{
    lease_error = error;
    sys.fcntl = fcntl_without_leases;
}

static void writers_are_found_and_readers_are_none(struct place *place)
{
    static const int flags[] = {O_WRONLY, O_RDWR, O_WRONLY | O_APPEND};
    MAKE(place, "a", "b");
    make_old(place, "a");
    assert_int_equal(is_written(place, "a"), 0);
    for (size_t i = 0; i < sizeof flags / sizeof flags[0]; i++) {
        pid_t writer = open_elsewhere(place, "a", flags[i]);
        assert_int_equal(is_written(place, "a"), 1);
        end(writer);
        assert_int_equal(is_written(place, "a"), 0);
    }
    pid_t reader = open_elsewhere(place, "a", O_RDONLY);
    pid_t other = open_elsewhere(place, "b", O_WRONLY);
    assert_int_equal(is_written(place, "a"), 0);
    end(reader);
    end(other);
    int fd = open_for_writing(place, "a");
    assert_int_equal(is_written(place, "a"), 1);
    close(fd);
}

static void writer_is_found_by_a_lease(void **state)
{
    struct place *place = *state;
    writers_are_found_and_readers_are_none(place);
    pid_t writer = open_elsewhere(place, "a", O_WRONLY);
    struct temporary_path from = temporary_path(place->directory, "a");
    struct temporary_path to = temporary_path(place->directory, "c");
    assert_int_equal(rename(from.text, to.text), 0);
    assert_int_equal(is_written(place, "c"), 1);
    end(writer);
}

static void writer_is_found_in_proc_where_there_are_no_leases(void **state)
{
    static const int errors[] = {-EACCES, -EINVAL, -ENOLCK, -EOPNOTSUPP, -ENOSYS};
    for (size_t i = 0; i < sizeof errors / sizeof errors[0]; i++) {
        without_leases(errors[i]);
        writers_are_found_and_readers_are_none(*state);
    }
}

static void no_lease_and_no_signal_is_left(void **state)
{
    struct place *place = *state;
    sigset_t pending;
    MAKE(place, "a");
    for (int i = 0; i < 100; i++) {
        assert_int_equal(is_written(place, "a"), 0);
        close(open_for_writing(place, "a"));
    }
    assert_int_equal(sigpending(&pending), 0);
    assert_int_equal(sigismember(&pending, SIGIO), 0);
}

/* Whoever runs the tests may not look into every process: as if those that he may not look into were gone. */
static int openat_of_all(int dir, const char *path, int flags, mode_t mode)
{
    int fd = sys_real.openat(dir, path, flags, mode);
    return strcmp(path, "fdinfo") == 0 && fd == -EACCES ? -ENOENT : fd;
}

static void young_file_is_not_written_where_everybody_could_be_asked(void **state)
{
    struct place *place = *state;
    without_leases(-EINVAL);
    sys.openat = openat_of_all;
    MAKE(place, "a");
    assert_int_equal(is_written(place, "a"), 0);
    close(open_for_writing(place, "a"));
    assert_int_equal(is_written(place, "a"), 0);
}

static int openat_without_permission(int dir, const char *path, int flags, mode_t mode)
{
    return strcmp(path, "fdinfo") == 0 ? -EACCES : sys_real.openat(dir, path, flags, mode);
}

static int openat_without_proc(int dir, const char *path, int flags, mode_t mode)
{
    return strcmp(path, "/proc") == 0 ? -ENOENT : sys_real.openat(dir, path, flags, mode);
}

static int fstatat_without_process_one(int dir, const char *path, struct stat *status, int flags)
{
    return strcmp(path, "1") == 0 ? -ENOENT : sys_real.fstatat(dir, path, status, flags);
}

static void where_nobody_can_tell_a_file_counts_as_written_for_a_minute(void **state)
{
    struct place *place = *state;
    for (int i = 0; i < 3; i++) {
        sys = sys_real;
        without_leases(-EINVAL);
        MAKE(place, "a");
        if (i == 0) {
            sys.openat = openat_without_permission;
        } else if (i == 1) {
            sys.openat = openat_without_proc;
        } else {
            sys.openat = openat_of_all;
            sys.fstatat = fstatat_without_process_one;
        }
        assert_int_equal(is_written(place, "a"), 1);
        make_old(place, "a");
        assert_int_equal(is_written(place, "a"), 0);
        set_mtime(place, "a", time(NULL) + 3600);
        assert_int_equal(is_written(place, "a"), 0);
    }
}

/* Of an old file, in a process that may be looked into, beside one that may not. */
static int refused;

static int openat_that_refuses_once(int dir, const char *path, int flags, mode_t mode)
{
    return strcmp(path, "fdinfo") == 0 && refused++ == 0 ? -EACCES : sys_real.openat(dir, path, flags, mode);
}

static void writer_is_found_beside_processes_that_may_not_be_looked_into(void **state)
{
    struct place *place = *state;
    MAKE(place, "a");
    make_old(place, "a");
    refused = 0;
    without_leases(-EACCES);
    sys.openat = openat_that_refuses_once;
    pid_t writer = open_elsewhere(place, "a", O_WRONLY);
    assert_int_equal(is_written(place, "a"), 1);
    assert_true(refused > 1);
    end(writer);
}

/* Before Linux 5.14. */
static ssize_t read_without_inode(int fd, void *buffer, size_t size)
{
    ssize_t length = sys_real.read(fd, buffer, size - 1);
    if (length > 0) {
        ((char *)buffer)[length] = '\0';
        char *inode = strstr(buffer, "ino:");
        length = inode != NULL ? inode - (char *)buffer : length;
    }
    return length;
}

static void kernel_that_leaves_the_inode_out_is_asked_otherwise(void **state)
{
    without_leases(-EINVAL);
    sys.read = read_without_inode;
    writers_are_found_and_readers_are_none(*state);
}

static void what_is_no_regular_file_is_an_error_and_makes_nobody_wait(void **state)
{
    struct place *place = *state;
    struct temporary_path path = temporary_path(place->directory, "fifo");
    make_foreign(place, "directory", "link");
    assert_int_equal(mkfifo(path.text, 0600), 0);
    assert_int_equal(is_written(place, "fifo"), -EINVAL);
    assert_int_equal(is_written(place, "directory"), -EINVAL);
    assert_int_equal(is_written(place, "link"), -EINVAL);
    assert_int_equal(is_written(place, "nothing"), -ENOENT);
}

static int openat_without_descriptors(int dir, const char *path, int flags, mode_t mode)
{
    (void)dir, (void)path, (void)flags, (void)mode;
    return -EMFILE;
}

static void lack_of_descriptors_is_an_error(void **state)
{
    struct place *place = *state;
    MAKE(place, "a");
    sys.openat = openat_without_descriptors;
    assert_int_equal(is_written(place, "a"), -EMFILE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        PLACE_TEST(writer_is_found_by_a_lease),
        PLACE_TEST(writer_is_found_in_proc_where_there_are_no_leases),
        PLACE_TEST(no_lease_and_no_signal_is_left),
        PLACE_TEST(young_file_is_not_written_where_everybody_could_be_asked),
        PLACE_TEST(where_nobody_can_tell_a_file_counts_as_written_for_a_minute),
        PLACE_TEST(writer_is_found_beside_processes_that_may_not_be_looked_into),
        PLACE_TEST(kernel_that_leaves_the_inode_out_is_asked_otherwise),
        PLACE_TEST(what_is_no_regular_file_is_an_error_and_makes_nobody_wait),
        PLACE_TEST(lack_of_descriptors_is_an_error),
    };
    return cmocka_run_group_tests_name("written", tests, NULL, NULL);
}
