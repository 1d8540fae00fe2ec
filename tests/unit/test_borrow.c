/*
 * Borrowing from a keeper that is slow, killed at any step, or somebody else who answers anything: it takes a moment at
 * most, leaves no descriptor behind, and what comes of it is one descriptor or an error.
 */
#include "lockfile_scene.h"

#include "../../shim/core/borrow.h"

#include <grp.h>
#include <signal.h>
#include <stddef.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>

enum { NUMBER = 4711, STRANGER = 4712, LENT_MOST = 8 };

static uint64_t number;

/* Descriptors that are open: neither a try that failed nor one that did not may leave others. */
static int count_descriptors(void)
{
    int count = 0;
    for (int fd = 0; fd < 1024; fd++) {
        count += fcntl(fd, F_GETFD) >= 0;
    }
    return count;
}

static int listen_as_keeper(void)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
    number = ((uint64_t)getpid() << 20 | NUMBER) + (number & 0xfff) + 1;
    socklen_t size = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + borrow_name(number, address.sun_path));
    temporary_must(fd >= 0 && bind(fd, (struct sockaddr *)&address, size) == 0 && listen(fd, 1) == 0, "listen");
    return fd;
}

static int accept_one(int listener)
{
    int client = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
    temporary_must(client >= 0, "accept");
    return client;
}

/* What the borrower says: the byte, and whether a descriptor came with it. */
static char hear(int client, bool *shown)
{
    char byte = '\0';
    char room[CMSG_SPACE(sizeof(int))];
    struct iovec piece = {.iov_base = &byte, .iov_len = 1};
    struct msghdr header = {.msg_iov = &piece, .msg_iovlen = 1, .msg_control = room, .msg_controllen = sizeof room};
    ssize_t got = recvmsg(client, &header, MSG_CMSG_CLOEXEC);
    *shown = got == 1 && header.msg_controllen > 0;
    return got == 1 ? byte : '\0';
}

static void answer(int client, int count, int fd)
{
    char byte = 'y';
    union {
        struct cmsghdr head;
        char room[CMSG_SPACE(LENT_MOST * sizeof(int))];
    } control = {.head = {.cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS}};
    struct iovec piece = {.iov_base = &byte, .iov_len = 1};
    struct msghdr header = {.msg_iov = &piece, .msg_iovlen = 1};
    for (int i = 0; i < count; i++) {
        memcpy(CMSG_DATA(&control.head) + (size_t)i * sizeof fd, &fd, sizeof fd);
    }
    if (count > 0) {
        control.head.cmsg_len = CMSG_LEN((size_t)count * sizeof fd);
        header.msg_control = &control;
        header.msg_controllen = control.head.cmsg_len;
    }
    temporary_must(sendmsg(client, &header, MSG_NOSIGNAL) == 1, "sendmsg");
}

/* A process that plays the keeper, and its end: 0 if it was asked as it should be. */
static pid_t start_keeper(struct place *place, bool (*play)(struct place *place, int listener))
{
    int listener = listen_as_keeper();
    assert_opens(place);
    assert_int_equal(lockfile_write(&place->lockfile, LOCKFILE_KEEPER, (int64_t)number), 0);
    pid_t child = fork();
    if (child == 0) {
        alarm(20);
        _exit(!play(place, listener));
    }
    close(listener);
    return child;
}

static int64_t now(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (int64_t)time.tv_sec * 1000 + time.tv_nsec / 1000000;
}

/* Borrows the live file, showing one: a descriptor or an error, within two seconds. */
static int borrow_one(struct place *place)
{
    int shown = openat(place->lockfile.directory, "shown", O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    assert_true(shown >= 0);
    int before = count_descriptors();
    int64_t begun = now();
    int lent = borrow_live(&place->lockfile, shown);
    assert_in_range(now() - begun, 0, 2000);
    assert_int_equal(count_descriptors(), before + (lent >= 0));
    close(shown);
    return lent;
}

static bool lend(struct place *place, int client, int count)
{
    bool shown;
    bool asked = hear(client, &shown) == BORROW_LIVE && shown;
    int fd = openat(place->lockfile.directory, "lent", O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    answer(client, count, fd);
    return asked;
}

static bool lend_one(struct place *place, int listener)
{
    return lend(place, accept_one(listener), 1);
}

static void assert_was_lent(struct place *place, int lent)
{
    struct stat status;
    struct stat expected;
    assert_true(lent > STDERR_FILENO);
    assert_int_equal(fcntl(lent, F_GETFD), FD_CLOEXEC);
    assert_int_equal(fstat(lent, &status), 0);
    assert_int_equal(fstatat(place->lockfile.directory, "lent", &expected, 0), 0);
    assert_int_equal(status.st_ino, expected.st_ino);
    close(lent);
}

static void what_a_keeper_lends_is_had(void **state)
{
    pid_t keeper = start_keeper(*state, lend_one);
    assert_was_lent(*state, borrow_one(*state));
    assert_ends_well(keeper);
}

static bool lend_several(struct place *place, int listener)
{
    bool asked = true;
    for (int count = 2; count <= LENT_MOST; count++) {
        asked = lend(place, accept_one(listener), count) && asked;
    }
    return asked;
}

static void of_several_descriptors_one_is_taken(void **state)
{
    pid_t keeper = start_keeper(*state, lend_several);
    for (int count = 2; count <= LENT_MOST; count++) {
        assert_was_lent(*state, borrow_one(*state));
    }
    assert_ends_well(keeper);
}

static bool refuse(struct place *place, int listener)
{
    return lend(place, accept_one(listener), 0);
}

static void refusal_is_an_error(void **state)
{
    pid_t keeper = start_keeper(*state, refuse);
    assert_int_equal(borrow_one(*state), -EACCES);
    assert_ends_well(keeper);
}

static bool die_before_accepting(struct place *place, int listener)
{
    struct sockaddr_un address;
    socklen_t size = sizeof address;
    (void)place;
    (void)listener;
    return getsockname(listener, (struct sockaddr *)&address, &size) == 0;
}

static bool die_after_accepting(struct place *place, int listener)
{
    (void)place;
    accept_one(listener);
    return true;
}

static bool die_after_hearing(struct place *place, int listener)
{
    bool shown;
    (void)place;
    return hear(accept_one(listener), &shown) == BORROW_LIVE;
}

static void keeper_that_dies_at_any_step_is_an_error(void **state)
{
    bool (*const steps[])(struct place *, int) = {die_before_accepting, die_after_accepting, die_after_hearing};
    for (size_t i = 0; i < sizeof steps / sizeof steps[0]; i++) {
        pid_t keeper = start_keeper(*state, steps[i]);
        assert_in_range(-borrow_one(*state), 1, 200);
        assert_ends_well(keeper);
        assert_int_equal(borrow_one(*state), -ESRCH); /* nobody listens any more */
    }
}

static bool say_nothing(struct place *place, int listener)
{
    (void)place;
    accept_one(listener);
    pause();
    return true;
}

static bool accept_nobody(struct place *place, int listener)
{
    (void)place;
    (void)listener;
    pause();
    return true;
}

static void assert_is_waited_for_a_moment(struct place *place, bool (*play)(struct place *, int), int attempts)
{
    pid_t keeper = start_keeper(place, play);
    for (int attempt = 0; attempt < attempts; attempt++) {
        assert_in_range(-borrow_one(place), 1, 200);
    }
    assert_int_equal(kill(keeper, SIGKILL), 0);
    assert_int_equal(waitpid(keeper, NULL, 0), keeper);
}

static void keeper_that_is_stopped_is_waited_for_a_moment(void **state)
{
    assert_is_waited_for_a_moment(*state, say_nothing, 1);
    assert_is_waited_for_a_moment(*state, accept_nobody, 3); /* more than may wait for being accepted */
}

/* It listens under the name as somebody else, and is shown nothing. */
static bool listen_as_stranger(struct place *place, int listener)
{
    bool shown;
    (void)place;
    return hear(accept_one(listener), &shown) == '\0' && !shown;
}

static void stranger_is_shown_nothing(void **state)
{
    if (geteuid() != 0) {
        return; /* only root has somebody else at hand */
    }
    assert_int_equal(seteuid(STRANGER), 0);
    int listener = listen_as_keeper();
    assert_int_equal(seteuid(0), 0);
    assert_opens(*state);
    struct place *place = *state;
    assert_int_equal(lockfile_write(&place->lockfile, LOCKFILE_KEEPER, (int64_t)number), 0);
    pid_t child = fork();
    if (child == 0) {
        alarm(20);
        _exit(!listen_as_stranger(place, listener));
    }
    close(listener);
    assert_int_equal(borrow_one(place), -ESRCH);
    assert_ends_well(child);
}

static void number_that_is_nobodys_is_an_error(void **state)
{
    struct place *place = *state;
    const int64_t numbers[] = {0, -1, 1, INT64_MAX, INT64_MIN + 1};
    assert_opens(place);
    for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++) {
        assert_int_equal(lockfile_write(&place->lockfile, LOCKFILE_KEEPER, numbers[i]), 0);
        assert_int_equal(borrow_one(place), -ESRCH);
    }
}

static void count_signal(int signal)
{
    (void)signal;
}

static void set_timer(long microseconds)
{
    const struct timeval period = {.tv_usec = microseconds};
    const struct itimerval timer = {.it_interval = period, .it_value = period};
    assert_int_equal(setitimer(ITIMER_REAL, &timer, NULL), 0);
}

static bool lend_slowly(struct place *place, int listener)
{
    bool shown;
    int client = accept_one(listener);
    bool asked = hear(client, &shown) == BORROW_LIVE && shown;
    usleep(30000);
    answer(client, 1, openat(place->lockfile.directory, "lent", O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600));
    return asked;
}

/* A receive with a timeout is never restarted by the kernel, whatever the handler asks for. */
static void signals_that_interrupt_it_change_nothing(void **state)
{
    const struct sigaction count = {.sa_handler = count_signal, .sa_flags = SA_RESTART};
    struct sigaction before;
    pid_t keeper = start_keeper(*state, lend_slowly);
    assert_int_equal(sigaction(SIGALRM, &count, &before), 0);
    set_timer(1000);
    int lent = borrow_one(*state);
    set_timer(0);
    assert_was_lent(*state, lent);
    assert_ends_well(keeper);
    set_timer(1000);
    assert_is_waited_for_a_moment(*state, say_nothing, 1);
    set_timer(0);
    assert_int_equal(sigaction(SIGALRM, &before, NULL), 0);
}

/* Real time passes in these tests. */
static int setup_with_clock(void **state)
{
    int result = setup(state);
    sys = sys_real;
    return result;
}

#define CLOCK_TEST(name) cmocka_unit_test_setup_teardown(name, setup_with_clock, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CLOCK_TEST(what_a_keeper_lends_is_had),
        CLOCK_TEST(of_several_descriptors_one_is_taken),
        CLOCK_TEST(refusal_is_an_error),
        CLOCK_TEST(keeper_that_dies_at_any_step_is_an_error),
        CLOCK_TEST(keeper_that_is_stopped_is_waited_for_a_moment),
        CLOCK_TEST(stranger_is_shown_nothing),
        CLOCK_TEST(number_that_is_nobodys_is_an_error),
        CLOCK_TEST(signals_that_interrupt_it_change_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
