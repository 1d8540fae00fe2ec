/* The shim's own descriptors: high, known, moved out of the way, and never closed when they are not ours any more. */
#include "../../shim/core/own.h"

#include "../../shim/core/guard.h"
#include "../../shim/core/sys.h"

#include <errno.h>
#include <limits.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

enum { PROGRAMS_FIRST = 64 }; /* a program's next descriptors are below this */

static int open_null(void)
{
    int fd = open("/dev/null", O_WRONLY | O_CLOEXEC);
    assert_in_range(fd, 0, PROGRAMS_FIRST);
    return fd;
}

static bool is_open(int fd)
{
    return fcntl(fd, F_GETFD) >= 0;
}

static int teardown(void **state)
{
    (void)state;
    sys = sys_real;
    return 0;
}

static void adopted_descriptor_sits_high_and_frees_its_number(void **state)
{
    int low = open_null();
    int holder = low;
    (void)state;
    assert_int_equal(own_adopt(&holder), 0);
    assert_true(holder > PROGRAMS_FIRST);
    assert_false(is_open(low));
    assert_true(fcntl(holder, F_GETFD) & FD_CLOEXEC);
    assert_true(own_is(holder));
    assert_false(own_is(low));
    assert_false(own_is(holder + 1));
    assert_false(own_is(-1));
    int next = open_null();
    assert_int_equal(next, low);
    close(next);
    own_close(&holder);
}

static void closed_descriptor_is_forgotten(void **state)
{
    int holder = open_null();
    (void)state;
    assert_int_equal(own_adopt(&holder), 0);
    int number = holder;
    own_close(&holder);
    assert_int_equal(holder, -1);
    assert_false(is_open(number));
    assert_false(own_is(number));
    assert_int_equal(own_next(0), INT_MAX);
    own_close(&holder); /* again: nothing happens */
    assert_int_equal(holder, -1);
}

static void lost_descriptor_is_forgotten_and_not_closed(void **state)
{
    int holder = open_null();
    (void)state;
    assert_int_equal(own_adopt(&holder), 0);
    int number = holder;
    own_lost(&holder);
    assert_int_equal(holder, -1);
    assert_true(is_open(number));
    assert_false(own_is(number));
    close(number);
}

static void next_visits_all_of_them_in_order(void **state)
{
    int holders[5];
    int last = -1;
    (void)state;
    for (int i = 0; i < 5; i++) {
        holders[i] = open_null();
        assert_int_equal(own_adopt(&holders[i]), 0);
    }
    own_close(&holders[2]);
    int visited = 0;
    for (int fd = own_next(0); fd != INT_MAX; fd = own_next(fd + 1)) {
        assert_true(fd > last && own_is(fd));
        last = fd;
        visited++;
    }
    assert_int_equal(visited, 4);
    for (int i = 0; i < 5; i++) {
        own_close(&holders[i]);
    }
}

static void number_that_the_program_wants_is_vacated(void **state)
{
    int holder = open_null();
    struct stat before;
    struct stat after;
    (void)state;
    assert_int_equal(own_adopt(&holder), 0);
    int wanted = holder;
    assert_int_equal(fstat(holder, &before), 0);
    assert_int_equal(own_vacate(wanted), 0);
    assert_int_not_equal(holder, wanted);
    assert_true(own_is(holder));
    assert_false(own_is(wanted));
    assert_true(fcntl(holder, F_GETFD) & FD_CLOEXEC);
    assert_int_equal(fstat(holder, &after), 0);
    assert_int_equal(after.st_rdev, before.st_rdev);
    close(wanted);
    own_close(&holder);
}

static void number_that_is_nobodys_is_vacated_already(void **state)
{
    (void)state;
    assert_int_equal(own_vacate(5), 0);
    assert_int_equal(own_vacate(100000), 0);
}

static int no_descriptors(int fd, int command, long argument)
{
    return command == F_DUPFD_CLOEXEC ? -EMFILE : sys_real.fcntl(fd, command, argument);
}

static void descriptor_that_cannot_be_moved_is_closed_and_told(void **state)
{
    int low = open_null();
    int holder = low;
    (void)state;
    sys.fcntl = no_descriptors;
    assert_int_equal(own_adopt(&holder), -EMFILE);
    assert_int_equal(holder, -1);
    assert_false(is_open(low));
}

static void descriptor_that_cannot_be_vacated_is_given_up(void **state)
{
    int holder = open_null();
    (void)state;
    assert_int_equal(own_adopt(&holder), 0);
    int wanted = holder;
    sys.fcntl = no_descriptors;
    assert_int_equal(own_vacate(wanted), -EMFILE);
    assert_int_equal(holder, -1);
    assert_false(own_is(wanted));
    sys_real.close(wanted); /* the program's dup2 does that */
}

/* In a child, because a limit that was lowered stays low for others' tests too. */
static void low_limit_still_leaves_room_for_the_program(void **state)
{
    static const rlim_t limits[] = {16, 64, 256, 1024, 1025};
    (void)state;
    for (size_t i = 0; i < sizeof limits / sizeof limits[0]; i++) {
        int status = -1;
        pid_t child = fork();
        if (child == 0) {
            struct rlimit limit;
            getrlimit(RLIMIT_NOFILE, &limit);
            limit.rlim_cur = limits[i];
            setrlimit(RLIMIT_NOFILE, &limit);
            int holder = open("/dev/null", O_WRONLY | O_CLOEXEC);
            bool good = own_adopt(&holder) == 0 && holder >= (int)limits[i] / 2 && holder < (int)limits[i];
            _exit(!good);
        }
        assert_int_equal(waitpid(child, &status, 0), child);
        assert_int_equal(status, 0);
    }
}

static void own_is_works_inside_the_guard_too(void **state)
{
    int holder = open_null();
    (void)state;
    assert_int_equal(own_adopt(&holder), 0);
    assert_true(guard_enter());
    assert_true(own_is(holder));
    assert_false(own_is(holder + 1));
    guard_leave();
    own_close(&holder);
}

#define TEST(name) cmocka_unit_test_teardown(name, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(adopted_descriptor_sits_high_and_frees_its_number),  TEST(closed_descriptor_is_forgotten),
        TEST(lost_descriptor_is_forgotten_and_not_closed),        TEST(next_visits_all_of_them_in_order),
        TEST(number_that_the_program_wants_is_vacated),           TEST(number_that_is_nobodys_is_vacated_already),
        TEST(descriptor_that_cannot_be_moved_is_closed_and_told), TEST(descriptor_that_cannot_be_vacated_is_given_up),
        TEST(low_limit_still_leaves_room_for_the_program),        TEST(own_is_works_inside_the_guard_too),
    };
    guard_start(own_forked);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
