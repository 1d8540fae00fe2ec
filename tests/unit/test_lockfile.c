/* The lock file: made safely, found again after anything that is done to it, waited for no longer than asked. */
#include "lockfile_scene.h"

#include "../../shim/core/own.h"

#include <limits.h>

static void new_file_has_a_page_and_the_permissions_of_the_log(void **state)
{
    struct place *place = *state;
    struct stat status;
    assert_opens(place);
    assert_int_equal(fstat(place->lockfile.fd, &status), 0);
    assert_int_equal(status.st_size, MPLOGSHIM_PAGE_SIZE);
    assert_int_equal(status.st_mode & 07777, 0640);
    assert_int_equal(lockfile_generation(&place->lockfile), 0);
    assert_true(fcntl(place->lockfile.fd, F_GETFD) & FD_CLOEXEC);
    assert_true(own_is(place->lockfile.fd));
}

static void permissions_to_execute_are_not_copied(void **state)
{
    struct place *place = *state;
    struct stat status;
    place->log.st_mode = S_IFREG | 07777;
    assert_opens(place);
    assert_int_equal(fstat(place->lockfile.fd, &status), 0);
    assert_int_equal(status.st_mode & 07777, 0666);
}

static void generation_counts_rotations_and_survives_reopening(void **state)
{
    struct place *place = *state;
    assert_opens(place);
    for (int generation = 0; generation < 5; generation++) {
        assert_int_equal(lockfile_generation(&place->lockfile), generation);
        assert_int_equal(lockfile_advance(&place->lockfile, generation), 0);
    }
    assert_opens(place);
    assert_int_equal(lockfile_generation(&place->lockfile), 5);
}

static void field_reads_as_it_was_written(void **state)
{
    static const int64_t values[] = {0, 1, -1, 1795190400, -62167219200, 253402300799, INT64_MAX / 16, INT64_MIN / 16};
    struct place *place = *state;
    int64_t value;
    assert_opens(place);
    assert_false(lockfile_read(&place->lockfile, LOCKFILE_BEGUN, &value));
    assert_false(lockfile_read(&place->lockfile, LOCKFILE_SETTLED, &value));
    for (size_t i = 0; i < sizeof values / sizeof values[0]; i++) {
        assert_int_equal(lockfile_write(&place->lockfile, LOCKFILE_BEGUN, values[i]), 0);
        assert_int_equal(lockfile_write(&place->lockfile, LOCKFILE_SETTLED, -values[i]), 0);
        assert_true(lockfile_read(&place->lockfile, LOCKFILE_BEGUN, &value));
        assert_int_equal(value, values[i]);
        assert_true(lockfile_read(&place->lockfile, LOCKFILE_SETTLED, &value));
        assert_int_equal(value, -values[i]);
    }
    assert_int_equal(lockfile_generation(&place->lockfile), 0);
}

static void field_with_any_byte_changed_is_not_believed(void **state)
{
    struct place *place = *state;
    char page[256];
    assert_opens(place);
    assert_int_equal(lockfile_write(&place->lockfile, LOCKFILE_BEGUN, 1795190400), 0);
    assert_true(pread(place->lockfile.fd, page, sizeof page, 0) == sizeof page);
    const char *line = memmem(page, sizeof page, "begun=", 6);
    assert_non_null(line);
    for (const char *byte = line; byte == line || byte[-1] != '\n'; byte++) {
        static const char noise[] = {'\0', 'x', '\n', '\xff'};
        for (size_t i = 0; i < sizeof noise; i++) {
            int64_t value;
            if (*byte == noise[i]) {
                continue;
            }
            assert_int_equal(pwrite(place->lockfile.fd, &noise[i], 1, byte - page), 1);
            assert_false(lockfile_read(&place->lockfile, LOCKFILE_BEGUN, &value));
        }
        assert_int_equal(pwrite(place->lockfile.fd, byte, 1, byte - page), 1);
    }
}

static void field_of_digits_beyond_64_bits_is_not_believed(void **state)
{
    struct place *place = *state;
    static const char line[] = "begun=+9999999999999999999999999\n";
    char page[256];
    int64_t value;
    assert_opens(place);
    assert_int_equal(lockfile_write(&place->lockfile, LOCKFILE_BEGUN, 0), 0);
    assert_true(pread(place->lockfile.fd, page, sizeof page, 0) == sizeof page);
    const char *begin = memmem(page, sizeof page, "begun=", 6);
    const char *end = memchr(begin, '\n', 64);
    assert_non_null(end);
    assert_true(pwrite(place->lockfile.fd, line, (size_t)(end - begin), begin - page) > 0);
    assert_false(lockfile_read(&place->lockfile, LOCKFILE_BEGUN, &value));
}

static void truncated_file_gets_its_page_again(void **state)
{
    struct place *place = *state;
    int64_t value;
    assert_opens(place);
    assert_int_equal(lockfile_write(&place->lockfile, LOCKFILE_BEGUN, 7), 0);
    assert_int_equal(lockfile_advance(&place->lockfile, 41), 0);
    assert_int_equal(ftruncate(place->lockfile.fd, 10), 0);
    assert_int_equal(lockfile_generation(&place->lockfile), 0);
    assert_false(lockfile_read(&place->lockfile, LOCKFILE_BEGUN, &value));
    assert_opens(place);
    assert_int_equal(temporary_length(place->directory, LOCK_NAME), MPLOGSHIM_PAGE_SIZE);
}

static void noise_is_neither_believed_nor_made_shorter(void **state)
{
    struct place *place = *state;
    char noise[2 * MPLOGSHIM_PAGE_SIZE];
    int64_t value;
    memset(noise, '7', sizeof noise - 1);
    noise[sizeof noise - 1] = '\0';
    temporary_write(place->directory, LOCK_NAME, noise);
    assert_opens(place);
    assert_int_equal(lockfile_generation(&place->lockfile), MPLOGSHIM_PAGE_SIZE - 1);
    assert_false(lockfile_read(&place->lockfile, LOCKFILE_BEGUN, &value));
    assert_false(lockfile_read(&place->lockfile, LOCKFILE_SETTLED, &value));
}

static void generation_of_a_stranger_goes_back_to_one(void **state)
{
    const int64_t most = INT64_C(1) << 40;
    struct place *place = *state;
    assert_opens(place);
    assert_int_equal(lockfile_advance(&place->lockfile, most - 2), 0);
    assert_int_equal(lockfile_generation(&place->lockfile), most - 1);
    assert_int_equal(lockfile_advance(&place->lockfile, most - 1), 0);
    assert_int_equal(lockfile_generation(&place->lockfile), most);
    assert_int_equal(lockfile_advance(&place->lockfile, most), 0);
    assert_int_equal(lockfile_generation(&place->lockfile), 1);
    assert_int_equal(lockfile_advance(&place->lockfile, INT64_MAX - MPLOGSHIM_PAGE_SIZE), 0);
    assert_int_equal(lockfile_generation(&place->lockfile), 1);
}

static void symbolic_link_is_not_followed(void **state)
{
    struct place *place = *state;
    struct temporary_path target = temporary_path(place->directory, "precious");
    struct temporary_path link = temporary_path(place->directory, LOCK_NAME);
    temporary_write(place->directory, "precious", "as it was");
    assert_int_equal(symlink(target.text, link.text), 0);
    assert_int_equal(lockfile_open(&place->lockfile, -1, &place->log), -ELOOP);
    assert_int_equal(place->lockfile.fd, -1);
    char *text = temporary_read(place->directory, "precious");
    assert_string_equal(text, "as it was");
    free(text);
}

static void dangling_symbolic_link_makes_no_file(void **state)
{
    struct place *place = *state;
    struct temporary_path target = temporary_path(place->directory, "nothing");
    struct temporary_path link = temporary_path(place->directory, LOCK_NAME);
    assert_int_equal(symlink(target.text, link.text), 0);
    assert_int_equal(lockfile_open(&place->lockfile, -1, &place->log), -ELOOP);
    assert_false(temporary_exists(place->directory, "nothing"));
}

static int refusing_fchown(int fd, uid_t owner, gid_t group)
{
    (void)fd;
    (void)owner;
    (void)group;
    return -EPERM;
}

static void link_lock_to(const struct place *place, const char *name)
{
    struct temporary_path other = temporary_path(place->directory, name);
    struct temporary_path lock = temporary_path(place->directory, LOCK_NAME);
    assert_int_equal(link(other.text, lock.text), 0);
}

static void assert_refuses_link_of(struct place *place, const char *text)
{
    struct temporary_path lock = temporary_path(place->directory, LOCK_NAME);
    temporary_write(place->directory, "precious", text);
    link_lock_to(place, "precious");
    assert_int_equal(lockfile_open(&place->lockfile, -1, &place->log), -EMLINK);
    assert_int_equal(place->lockfile.fd, -1);
    char *now = temporary_read(place->directory, "precious");
    assert_string_equal(now, text);
    free(now);
    assert_int_equal(unlink(lock.text), 0);
}

/* Whoever may make links here would have root write a page over any file of its. */
static void second_name_of_another_file_is_refused_and_not_written_to(void **state)
{
    struct place *place = *state;
    char large[2 * MPLOGSHIM_PAGE_SIZE];
    memset(large, 'x', sizeof large - 1);
    large[sizeof large - 1] = '\0';
    assert_refuses_link_of(place, "");
    assert_refuses_link_of(place, "as it was");
    assert_refuses_link_of(place, large);
}

static void lock_file_with_a_second_name_serves_but_its_policy_is_not_believed(void **state)
{
    struct place *place = *state;
    assert_opens(place);
    assert_true(lockfile_is_trusted(&place->lockfile));
    struct temporary_path other = temporary_path(place->directory, ".other.log.lock");
    struct temporary_path lock = temporary_path(place->directory, LOCK_NAME);
    assert_int_equal(rename(lock.text, other.text), 0);
    link_lock_to(place, ".other.log.lock");
    assert_opens(place);
    assert_false(lockfile_is_trusted(&place->lockfile));
}

/* Who puts a lock file beside a log of root's does not say when the log is due. */
static void lock_file_of_somebody_who_has_not_the_log_is_strange(void **state)
{
    enum { SOMEBODY = 4711 };
    struct place *place = *state;
    struct temporary_path path = temporary_path(place->directory, LOCK_NAME);
    assert_opens(place);
    assert_false(place->lockfile.strange);
    if (geteuid() != 0) {
        return; /* only root can make a file another one's */
    }
    assert_int_equal(chown(path.text, SOMEBODY, (gid_t)-1), 0);
    assert_opens(place);
    assert_true(place->lockfile.strange);
    place->log.st_uid = SOMEBODY;
    assert_opens(place);
    assert_false(place->lockfile.strange);
}

static void new_file_lets_nobody_write_who_could_not_write_to_the_log(void **state)
{
    struct stat status;
    struct place *place = *state;
    struct temporary_path path = temporary_path(place->directory, LOCK_NAME);
    place->log.st_mode = S_IFREG | 0660;
    place->log.st_gid = getegid() + 4711;
    sys.fchown = refusing_fchown;
    assert_opens(place);
    assert_int_equal(stat(path.text, &status), 0);
    assert_int_equal(status.st_mode & 07777, 0600);
}

static void directory_and_fifo_are_refused(void **state)
{
    struct place *place = *state;
    struct temporary_path path = temporary_path(place->directory, LOCK_NAME);
    assert_int_equal(mkdir(path.text, 0700), 0);
    assert_int_equal(lockfile_open(&place->lockfile, -1, &place->log), -EISDIR);
    assert_int_equal(rmdir(path.text), 0);
    assert_int_equal(mkfifo(path.text, 0600), 0);
    assert_int_equal(lockfile_open(&place->lockfile, -1, &place->log), -EINVAL);
    assert_int_equal(place->lockfile.fd, -1);
}

static int opens_left;

/* Somebody else's file comes and goes just between the two ways to open it. */
static int coming_and_going(int dir, const char *path, int flags, mode_t mode)
{
    if (opens_left-- > 0) {
        return flags & O_CREAT ? -EEXIST : -ENOENT;
    }
    return sys_real.openat(dir, path, flags, mode);
}

static void file_that_comes_and_goes_is_opened_or_given_up(void **state)
{
    struct place *place = *state;
    sys.openat = coming_and_going;
    opens_left = 4;
    assert_opens(place);
    opens_left = INT_MAX;
    assert_int_equal(lockfile_open(&place->lockfile, -1, &place->log), -EAGAIN);
}

static void current_until_it_is_deleted_or_replaced(void **state)
{
    struct place *place = *state;
    struct temporary_path path = temporary_path(place->directory, LOCK_NAME);
    struct temporary_path other = temporary_path(place->directory, "other");
    assert_false(lockfile_is_current(&place->lockfile));
    assert_opens(place);
    assert_true(lockfile_is_current(&place->lockfile));
    temporary_write(place->directory, "other", "");
    assert_int_equal(rename(other.text, path.text), 0);
    assert_false(lockfile_is_current(&place->lockfile));
    assert_opens(place);
    assert_true(lockfile_is_current(&place->lockfile));
    assert_int_equal(unlink(path.text), 0);
    assert_false(lockfile_is_current(&place->lockfile));
}

static int unsearchable(int dir, const char *path, struct stat *status, int flags)
{
    (void)dir, (void)path, (void)status, (void)flags;
    return -EACCES;
}

static void directory_that_may_not_be_searched_says_nothing_about_the_file(void **state)
{
    struct place *place = *state;
    assert_opens(place);
    sys.fstatat = unsearchable;
    assert_true(lockfile_is_current(&place->lockfile));
}

static void number_that_became_another_file_is_never_closed(void **state)
{
    struct place *place = *state;
    assert_opens(place);
    int number = place->lockfile.fd;
    assert_int_equal(dup2(place->lockfile.directory, number), number);
    assert_false(lockfile_is_current(&place->lockfile));
    assert_int_equal(place->lockfile.fd, -1);
    assert_false(own_is(number));
    assert_true(fcntl(number, F_GETFD) >= 0);
    close(number);
    assert_opens(place);
    number = place->lockfile.fd;
    assert_int_equal(dup2(place->lockfile.directory, number), number);
    lockfile_close(&place->lockfile);
    assert_true(fcntl(number, F_GETFD) >= 0);
    close(number);
}

static void lock_of_another_process_is_waited_for_as_long_as_asked(void **state)
{
    struct place *place = *state;
    assert_opens(place);
    struct holder holder = hold(place, MPLOGSHIM_LOCK_WRITE);
    assert_int_equal(lockfile_acquire(&place->lockfile, MPLOGSHIM_LOCK_WRITE, UINT64_MAX), -EAGAIN);
    assert_int_equal(scene_clock.slept, 0);
    assert_int_equal(lockfile_acquire(&place->lockfile, MPLOGSHIM_LOCK_WRITE, 2000000000), -ETIMEDOUT);
    assert_int_equal(scene_clock.slept, 2000000000);
    assert_int_equal(lockfile_acquire(&place->lockfile, MPLOGSHIM_LOCK_SETTLE, UINT64_MAX), 0);
    lockfile_release(&place->lockfile, MPLOGSHIM_LOCK_SETTLE);
    let_go(&holder);
    assert_int_equal(lockfile_acquire(&place->lockfile, MPLOGSHIM_LOCK_WRITE, UINT64_MAX), 0);
}

static struct holder slow_holder;
static int sleeps;
static int64_t longest_sleep;
static int64_t last_sleep;

static int sleep_until_it_lets_go(const struct timespec *duration)
{
    assert_int_equal(duration->tv_sec, 0);
    assert_true(sleeps > 0 || duration->tv_nsec == 20000);
    assert_true(duration->tv_nsec >= longest_sleep || scene_clock.slept >= 1000000000);
    longest_sleep = duration->tv_nsec > longest_sleep ? duration->tv_nsec : longest_sleep;
    last_sleep = duration->tv_nsec;
    if (++sleeps == 1000) {
        let_go(&slow_holder);
    }
    return scene_sleep(duration);
}

static void lock_is_had_when_its_holder_lets_go(void **state)
{
    struct place *place = *state;
    assert_opens(place);
    slow_holder = hold(place, MPLOGSHIM_LOCK_WRITE);
    sys.sleep = sleep_until_it_lets_go;
    assert_int_equal(lockfile_acquire(&place->lockfile, MPLOGSHIM_LOCK_WRITE, 0), 0);
    assert_int_equal(sleeps, 1000);
    assert_int_equal(longest_sleep, 4000000);
    assert_int_equal(last_sleep, 500000); /* who was unlucky for a second */
}

static int sleep_and_count(const struct timespec *duration)
{
    sleeps++;
    longest_sleep = duration->tv_nsec > longest_sleep ? duration->tv_nsec : longest_sleep;
    return scene_sleep(duration);
}

static void short_wait_is_of_many_attempts(void **state)
{
    struct place *place = *state;
    assert_opens(place);
    struct holder holder = hold(place, MPLOGSHIM_LOCK_WRITE);
    sys.sleep = sleep_and_count;
    sleeps = 0;
    longest_sleep = 0;
    assert_int_equal(lockfile_acquire(&place->lockfile, MPLOGSHIM_LOCK_WRITE, 100000000), -ETIMEDOUT);
    assert_in_range(sleeps, 60, 80);
    assert_in_range(longest_sleep, 1000000, 2000000);
    assert_int_equal(scene_clock.slept, 100000000);
    let_go(&holder);
}

/* By another open file: its own locks are no other's. */
static int watching = -1;
static bool was_told;

static int sleep_and_look_who_waits(const struct timespec *duration)
{
    struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = MPLOGSHIM_LOCK_WAITING, .l_len = 1};
    assert_int_equal(fcntl(watching, F_OFD_GETLK, &lock), 0);
    was_told = lock.l_type != F_UNLCK;
    assert_true(was_told == (sleeps > 0));
    sleeps++;
    return scene_sleep(duration);
}

static void who_waits_for_writers_says_so(void **state)
{
    struct place *place = *state;
    char name[64];
    assert_opens(place);
    snprintf(name, sizeof name, "/proc/self/fd/%d", place->lockfile.fd);
    watching = open(name, O_RDWR | O_CLOEXEC);
    struct holder holder = hold(place, MPLOGSHIM_LOCK_WRITE);
    sys.sleep = sleep_and_look_who_waits;
    sleeps = 0;
    assert_int_equal(lockfile_acquire(&place->lockfile, MPLOGSHIM_LOCK_WRITE, 100000000), -ETIMEDOUT);
    assert_true(was_told);
    place->lockfile.attached = place->lockfile.unseen = true;
    sleeps = 0;
    assert_int_equal(lockfile_acquire(&place->lockfile, MPLOGSHIM_LOCK_WRITE, 100000000), -ETIMEDOUT);
    assert_true(was_told);
    place->lockfile.attached = place->lockfile.unseen = false;
    assert_false(lockfile_is_shared(&place->lockfile)); /* by another process */
    struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = MPLOGSHIM_LOCK_WAITING, .l_len = 1};
    assert_int_equal(fcntl(watching, F_OFD_GETLK, &lock), 0);
    assert_int_equal(lock.l_type, F_UNLCK);
    let_go(&holder);
    holder = hold(place, MPLOGSHIM_LOCK_WAITING);
    assert_true(lockfile_is_shared(&place->lockfile));
    let_go(&holder);
    close(watching);
}

static int fcntl_failures;
static int fcntl_error;

static int failing_fcntl(int fd, int command, long argument)
{
    return command == F_SETLK && fcntl_failures-- > 0 ? fcntl_error : sys_real.fcntl(fd, command, argument);
}

static void interrupted_attempt_is_made_again(void **state)
{
    struct place *place = *state;
    assert_opens(place);
    sys.fcntl = failing_fcntl;
    fcntl_error = -EINTR;
    fcntl_failures = 3;
    assert_int_equal(lockfile_acquire(&place->lockfile, MPLOGSHIM_LOCK_WRITE, 1000000000), 0);
}

static void file_system_without_locks_is_told_at_once(void **state)
{
    struct place *place = *state;
    assert_opens(place);
    sys.fcntl = failing_fcntl;
    fcntl_error = -ENOLCK;
    fcntl_failures = 1;
    assert_int_equal(lockfile_acquire(&place->lockfile, MPLOGSHIM_LOCK_WRITE, 0), -ENOLCK);
    assert_int_equal(scene_clock.slept, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(new_file_has_a_page_and_the_permissions_of_the_log),
        TEST(permissions_to_execute_are_not_copied),
        TEST(generation_counts_rotations_and_survives_reopening),
        TEST(field_reads_as_it_was_written),
        TEST(field_with_any_byte_changed_is_not_believed),
        TEST(field_of_digits_beyond_64_bits_is_not_believed),
        TEST(truncated_file_gets_its_page_again),
        TEST(noise_is_neither_believed_nor_made_shorter),
        TEST(generation_of_a_stranger_goes_back_to_one),
        TEST(symbolic_link_is_not_followed),
        TEST(dangling_symbolic_link_makes_no_file),
        TEST(second_name_of_another_file_is_refused_and_not_written_to),
        TEST(lock_file_with_a_second_name_serves_but_its_policy_is_not_believed),
        TEST(lock_file_of_somebody_who_has_not_the_log_is_strange),
        TEST(new_file_lets_nobody_write_who_could_not_write_to_the_log),
        TEST(directory_and_fifo_are_refused),
        TEST(file_that_comes_and_goes_is_opened_or_given_up),
        TEST(current_until_it_is_deleted_or_replaced),
        TEST(directory_that_may_not_be_searched_says_nothing_about_the_file),
        TEST(number_that_became_another_file_is_never_closed),
        TEST(lock_of_another_process_is_waited_for_as_long_as_asked),
        TEST(lock_is_had_when_its_holder_lets_go),
        TEST(short_wait_is_of_many_attempts),
        TEST(who_waits_for_writers_says_so),
        TEST(interrupted_attempt_is_made_again),
        TEST(file_system_without_locks_is_told_at_once),
    };
    guard_start(own_forked);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
