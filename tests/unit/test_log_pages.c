/*
 * A writer that was killed in the middle of a record leaves the beginning of a line, up to the end of a page. What it
 * had announced tells the next writer, who ends that line with a newline, but only if it lacks one.
 */
#include "log_test.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

enum { PAGE = 4096 };
static char page[PAGE + 1];

static int setup(void **state)
{
    (void)state;
    memset(page, 'x', PAGE);
    scene_make(&scene);
    scene_start(&scene);
    scene_attach(&scene);
    return 0;
}

static void append(const char *text)
{
    assert_int_equal(scene_append(scene.writer, text, HOLD_NONE), strlen(text));
}

static void announce_more_than_is_there(void)
{
    lockfile_announce(&scene.writer->log->lock, scene.writer->generation, PAGE - 100, 200, 0);
}

static void append_by_another(const char *text)
{
    int fd = open(scene.path.text, O_WRONLY | O_APPEND | O_CLOEXEC);
    assert_int_equal(write(fd, text, strlen(text)), strlen(text));
    close(fd);
}

static void line_is_not_ended_by_what_another_file_at_the_path_ends_in(void **state)
{
    (void)state;
    page[PAGE - 1] = '\n';
    append(page);
    announce_more_than_is_there();
    struct temporary_path aside = temporary_path(scene.directory, "aside");
    assert_int_equal(rename(scene.path.text, aside.text), 0);
    page[PAGE - 1] = 'x';
    temporary_write(scene.directory, LOG_NAME, page);
    append("next\n");
    assert_int_equal(temporary_length(scene.directory, "aside"), PAGE + 5);
}

static void leave_a_page_in_mid_line(void)
{
    append("begun\n");
    assert_int_equal(truncate(scene.path.text, 0), 0);
    append_by_another(page);
    announce_more_than_is_there();
}

static void line_that_was_cut_at_a_pages_end_is_ended(void **state)
{
    (void)state;
    leave_a_page_in_mid_line();
    append("next\n");
    assert_int_equal(temporary_length(scene.directory, LOG_NAME), PAGE + 1 + 5);
}

/* As the next writer sees it if a kill cuts the second line at the page's end. */
static void line_that_crosses_a_page_is_announced_first(void **state)
{
    const struct lockfile *lock = &scene.writer->log->lock;
    (void)state;
    append("begun\n");
    page[PAGE - 100] = '\0';
    append(page);
    assert_false(lockfile_is_broken(lock, scene.writer->generation, PAGE));
    append("a line of more than the hundred bytes that are left of the page, so that it begins in it and ends in the "
           "next one\n");
    assert_true(lockfile_is_broken(lock, scene.writer->generation, PAGE));
    page[PAGE - 100] = 'x';
}

static ssize_t read_while_it_is_written_on(int fd, void *buffer, size_t size, off_t offset)
{
    ssize_t result = sys_real.pread(fd, buffer, size, offset);
    if (offset == PAGE - 1) {
        append_by_another("rest\n");
    }
    return result;
}

/* By somebody who could not wait for the lock any longer. */
static void line_that_is_still_being_written_is_not_ended(void **state)
{
    (void)state;
    leave_a_page_in_mid_line();
    sys.pread = read_while_it_is_written_on;
    append("next\n");
    assert_int_equal(temporary_length(scene.directory, LOG_NAME), PAGE + 5 + 5);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, scene_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(line_is_not_ended_by_what_another_file_at_the_path_ends_in),
        TEST(line_that_crosses_a_page_is_announced_first),
        TEST(line_that_was_cut_at_a_pages_end_is_ended),
        TEST(line_that_is_still_being_written_is_not_ended),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
