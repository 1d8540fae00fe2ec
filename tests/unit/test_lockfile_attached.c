/* Who else is there: locks and attachments of other processes, and whose file it is. */
#include "lockfile_scene.h"

#include "../../shim/core/own.h"

#include <signal.h>
#include <sys/prctl.h>

static void held_means_by_another_process_on_that_byte(void **state)
{
    struct place *place = *state;
    assert_false(lockfile_is_held(&place->lockfile, MPLOGSHIM_LOCK_HELPER)); /* not open */
    assert_opens(place);
    assert_false(lockfile_is_held(&place->lockfile, MPLOGSHIM_LOCK_HELPER));
    struct holder holder = hold(place, MPLOGSHIM_LOCK_HELPER);
    assert_true(lockfile_is_held(&place->lockfile, MPLOGSHIM_LOCK_HELPER));
    assert_false(lockfile_is_held(&place->lockfile, MPLOGSHIM_LOCK_ATTACHED));
    assert_false(lockfile_is_held(&place->lockfile, MPLOGSHIM_LOCK_KEEPER));
    assert_int_equal(lockfile_acquire(&place->lockfile, MPLOGSHIM_LOCK_KEEPER, UINT64_MAX), 0);
    assert_false(lockfile_is_held(&place->lockfile, MPLOGSHIM_LOCK_KEEPER)); /* its own */
    let_go(&holder);
    assert_false(lockfile_is_held(&place->lockfile, MPLOGSHIM_LOCK_HELPER));
}

/* Another open of the same lock file. */
static void open_again(const struct place *place, struct lockfile *again)
{
    memset(again, 0, sizeof *again);
    again->fd = -1;
    again->directory = place->lockfile.directory;
    strcpy(again->name, LOCK_NAME);
    assert_int_equal(lockfile_open(again, -1, &place->log), 0);
}

static void others_are_those_attached_by_another_open(void **state)
{
    struct place *place = *state;
    struct lockfile again;
    assert_opens(place);
    open_again(place, &again);
    assert_false(lockfile_has_others(&place->lockfile));
    assert_int_equal(lockfile_attach(&place->lockfile), 0);
    assert_true(place->lockfile.attached);
    assert_false(lockfile_has_others(&place->lockfile));
    assert_true(lockfile_has_others(&again));
    assert_false(again.attached);
    assert_int_equal(lockfile_attach(&again), 0);
    assert_true(lockfile_has_others(&place->lockfile));
    assert_true(lockfile_has_others(&again));
    lockfile_close(&place->lockfile);
    assert_false(place->lockfile.attached);
    assert_false(lockfile_has_others(&again));
    lockfile_close(&again);
}

static void attachment_ends_with_the_open_file(void **state)
{
    struct place *place = *state;
    assert_opens(place);
    assert_int_equal(lockfile_attach(&place->lockfile), 0);
    assert_opens(place);
    assert_false(place->lockfile.attached);
    assert_int_equal(lockfile_attach(&place->lockfile), 0);
    int number = place->lockfile.fd;
    assert_int_equal(dup2(place->lockfile.directory, number), number);
    assert_false(lockfile_is_current(&place->lockfile));
    assert_false(place->lockfile.attached);
    close(number);
}

/* A child that sleeps until it is killed, once `begin` was successful in it. */
static pid_t sleeper(struct place *place, int (*begin)(struct place *place))
{
    int ready[2];
    char nothing;
    assert_int_equal(pipe2(ready, O_CLOEXEC), 0);
    pid_t child = fork();
    if (child == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        close(ready[0]);
        if (begin(place) == 0 && write(ready[1], "", 1) == 1) {
            close(ready[1]);
            for (;;) {
                pause();
            }
        }
        _exit(1);
    }
    close(ready[1]);
    assert_true(child > 0);
    assert_int_equal(read(ready[0], &nothing, 1), 1);
    close(ready[0]);
    return child;
}

static void end_by_kill(pid_t child)
{
    assert_int_equal(kill(child, SIGKILL), 0);
    assert_int_equal(waitpid(child, NULL, 0), child);
}

static int do_nothing(struct place *place)
{
    (void)place;
    return 0;
}

static void fork_children_share_the_attachment_until_the_last_is_killed(void **state)
{
    struct place *place = *state;
    struct lockfile again;
    assert_opens(place);
    assert_int_equal(lockfile_attach(&place->lockfile), 0);
    pid_t child = sleeper(place, do_nothing);
    assert_false(lockfile_has_others(&place->lockfile));
    lockfile_close(&place->lockfile);
    open_again(place, &again);
    assert_true(lockfile_has_others(&again));
    end_by_kill(child);
    assert_false(lockfile_has_others(&again));
    lockfile_close(&again);
}

static int open_and_attach(struct place *place)
{
    int error = lockfile_open(&place->lockfile, -1, &place->log);
    return error != 0 ? error : lockfile_attach(&place->lockfile);
}

static void killed_processes_are_attached_no_more(void **state)
{
    struct place *place = *state;
    assert_opens(place);
    pid_t first = sleeper(place, open_and_attach);
    pid_t second = sleeper(place, open_and_attach);
    assert_true(lockfile_has_others(&place->lockfile));
    assert_int_equal(lockfile_attach(&place->lockfile), 0);
    end_by_kill(first);
    assert_true(lockfile_has_others(&place->lockfile));
    end_by_kill(second);
    assert_false(lockfile_has_others(&place->lockfile));
}

static void attachment_leaves_the_other_locks_alone(void **state)
{
    struct place *place = *state;
    assert_opens(place);
    pid_t other = sleeper(place, open_and_attach);
    static const int bytes[] = {MPLOGSHIM_LOCK_WRITE, MPLOGSHIM_LOCK_SETTLE, MPLOGSHIM_LOCK_HELPER,
                                MPLOGSHIM_LOCK_KEEPER};
    for (size_t i = 0; i < sizeof bytes / sizeof bytes[0]; i++) {
        assert_false(lockfile_is_held(&place->lockfile, bytes[i]));
        assert_int_equal(lockfile_acquire(&place->lockfile, bytes[i], UINT64_MAX), 0);
    }
    end_by_kill(other);
}

static int refusing_fcntl(int fd, int command, long argument)
{
    (void)fd, (void)argument;
    return command == F_OFD_SETLK || command == F_OFD_GETLK || command == F_GETLK
               ? -ENOLCK
               : sys_real.fcntl(fd, command, argument);
}

static void nobody_is_there_where_locks_are_not_to_be_had(void **state)
{
    struct place *place = *state;
    assert_opens(place);
    pid_t other = sleeper(place, open_and_attach);
    struct holder holder = hold(place, MPLOGSHIM_LOCK_HELPER);
    sys.fcntl = refusing_fcntl;
    assert_int_equal(lockfile_attach(&place->lockfile), -ENOLCK);
    assert_false(place->lockfile.attached);
    assert_false(lockfile_has_others(&place->lockfile));
    assert_false(lockfile_is_held(&place->lockfile, MPLOGSHIM_LOCK_HELPER));
    let_go(&holder);
    end_by_kill(other);
}

static uid_t file_owner;
static mode_t file_mode;
static int file_error;

static int pretended_fstat(int fd, struct stat *status)
{
    int error = sys_real.fstat(fd, status);
    status->st_uid = file_owner;
    status->st_mode = file_mode;
    return file_error != 0 ? file_error : error;
}

static bool is_trusted(const struct place *place, uid_t owner, mode_t mode)
{
    file_owner = owner;
    file_mode = S_IFREG | mode;
    return lockfile_is_trusted(&place->lockfile);
}

/* As a user that is not root: 0 if all is as it should be, else the number of the first that is not. */
static int check_trust(const struct place *place)
{
    static const mode_t closed[] = {0600, 0640, 0644, 0400, 0755};
    static const mode_t open[] = {0620, 0602, 0622, 0666, 0660, 0020, 0002};
    uid_t self = geteuid();
    int number = 1;
    for (size_t i = 0; i < sizeof closed / sizeof closed[0]; i++, number++) {
        if (!is_trusted(place, self, closed[i]) || !is_trusted(place, 0, closed[i]) ||
            is_trusted(place, self + 1, closed[i])) {
            return number;
        }
    }
    for (size_t i = 0; i < sizeof open / sizeof open[0]; i++, number++) {
        if (is_trusted(place, self, open[i]) || is_trusted(place, 0, open[i])) {
            return number;
        }
    }
    file_error = -EIO;
    return is_trusted(place, self, 0600) ? number : 0;
}

static void trusted_is_what_only_the_user_and_root_can_write(void **state)
{
    enum { SOME_USER = 4711 };
    struct place *place = *state;
    assert_opens(place);
    assert_int_equal(fchmod(place->lockfile.fd, 0600), 0);
    assert_true(lockfile_is_trusted(&place->lockfile));
    assert_int_equal(fchmod(place->lockfile.fd, 0660), 0);
    assert_false(lockfile_is_trusted(&place->lockfile));
    pid_t child = fork();
    if (child == 0) {
        if (geteuid() == 0 && seteuid(SOME_USER) != 0) {
            _exit(100);
        }
        sys.fstat = pretended_fstat;
        _exit(check_trust(place));
    }
    assert_ends_well(child);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(held_means_by_another_process_on_that_byte),
        TEST(others_are_those_attached_by_another_open),
        TEST(attachment_ends_with_the_open_file),
        TEST(fork_children_share_the_attachment_until_the_last_is_killed),
        TEST(killed_processes_are_attached_no_more),
        TEST(attachment_leaves_the_other_locks_alone),
        TEST(nobody_is_there_where_locks_are_not_to_be_had),
        TEST(trusted_is_what_only_the_user_and_root_can_write),
    };
    guard_start(own_forked);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
