/*
 * Named tests that each run in a process of their own under the library, in a temporary directory of their own.
 *
 * A program has a table of tests and calls test_main. TEST_SHIM is the library (empty: none, to see that the tests
 * notice). In a test's directory, "messages" is what came out on standard error; what fails goes to "failures" by path,
 * since a test may close everything. Output is TAP without numbers: run_preload numbers the tests of all programs.
 */
#ifndef TESTS_TEST_H
#define TESTS_TEST_H

#include "history.h"
#include "outside.h"
#include "raw.h"

#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <sys/wait.h>

struct test {
    const char *name;
    const char *rules;              /* MPLOGSHIM_LOGS; '@' is the test's directory, where relative patterns are too */
    void (*body)(void);             /* runs under the library */
    const char *const *environment; /* more "NAME=value", NULL-terminated; or NULL */
    const char *skip;               /* why it cannot be run here, or NULL */
};

enum { TEST_SECONDS = 300 }; /* for one test that hangs */

/* The directory of the running test, absolute; also its working directory at the start. */
static char test_directory[PATH_MAX];
static int test_failures;

/* The absolute path of a file in the test's directory; each call has its own memory. */
static inline char *in_directory(const char *name)
{
    char *path = malloc(strlen(test_directory) + strlen(name) + 2);
    if (path == NULL) {
        abort();
    }
    sprintf(path, "%s/%s", test_directory, name);
    return path;
}

__attribute__((format(printf, 2, 3))) static inline void test_fail(int line, const char *format, ...)
{
    char text[2048];
    if (++test_failures > 20) {
        return;
    }
    int length = snprintf(text, sizeof text, "#   line %d: ", line);
    va_list arguments;
    va_start(arguments, format);
    length += vsnprintf(text + length, sizeof text - (size_t)length - 1, format, arguments);
    va_end(arguments);
    length = length < (int)sizeof text - 1 ? length : (int)sizeof text - 2;
    text[length++] = '\n';
    char *path = in_directory("failures");
    raw_append(path, text, (size_t)length);
    free(path);
}

#define CHECK(condition)         ((condition) ? (void)0 : test_fail(__LINE__, "%s", #condition))
#define CHECK_EQUAL(got, wanted) test_check_equal(__LINE__, #got, (long)(got), (long)(wanted))
#define CHECK_TEXT(got, wanted)  test_check_text(__LINE__, #got, (got), (wanted))
/* The call fails with -1 and this errno. */
#define CHECK_ERROR(call, error) test_check_error(__LINE__, #call, (errno = 0, (long)(call)), (error))

static inline void test_check_equal(int line, const char *what, long got, long wanted)
{
    if (got != wanted) {
        test_fail(line, "%s is %ld, not %ld", what, got, wanted);
    }
}

static inline void test_check_text(int line, const char *what, const char *got, const char *wanted)
{
    if (strcmp(got, wanted) != 0) {
        size_t same = 0;
        while (got[same] == wanted[same]) {
            same++;
        }
        same = same > 20 ? same - 20 : 0;
        test_fail(line, "%s is, from byte %zu of %zu on, \"%.200s\", not \"%.200s\"", what, same, strlen(got),
                  got + same, wanted + same);
    }
}

static inline void test_check_error(int line, const char *what, long result, int wanted)
{
    int error = errno;
    if (result != -1 || error != wanted) {
        test_fail(line, "%s returns %ld with errno %d, not -1 with %d", what, result, error, wanted);
    }
}

/* Returns when the log's archives have their final names, or cannot get them now. */
static inline void settle(const char *log)
{
    char *path = in_directory(log);
    char *output = in_directory("settled");
    outside_settle(path, output);
    free(path);
    free(output);
}

/* The whole history of a log of the test's directory, settled, and one of its files. */
static inline char *history(const char *log)
{
    char *path = in_directory(log);
    settle(log);
    char *text = history_read(path, NULL);
    free(path);
    return text;
}

static inline char *content(const char *name)
{
    char *path = in_directory(name);
    char *text = raw_read(path, NULL);
    free(path);
    return text;
}

static inline bool exists(const char *name)
{
    char *path = in_directory(name);
    bool there = raw_exists(path);
    free(path);
    return there;
}

static inline size_t archives(const char *log)
{
    char *path = in_directory(log);
    settle(log);
    size_t count = history_archives(path);
    free(path);
    return count;
}

static inline bool is_on(int fd, const char *name)
{
    char *path = in_directory(name);
    bool same = raw_is_on(fd, path);
    free(path);
    return same;
}

/* How many lines of what the library said hold `word`. */
static inline int messages(const char *word)
{
    char *text = content("messages");
    int count = 0;
    for (char *line = strtok(text, "\n"); line != NULL; line = strtok(NULL, "\n")) {
        count += strstr(line, word) != NULL;
    }
    free(text);
    return count;
}

/* Waits until the condition holds; a test fails by it if it never does. */
static inline bool wait_until(bool (*condition)(void))
{
    for (double end = raw_seconds() + 60; raw_seconds() < end; raw_pause()) {
        if (condition()) {
            return true;
        }
    }
    return condition();
}

static inline void write_text(int fd, const char *text)
{
    ssize_t length = (ssize_t)strlen(text);
    errno = 0;
    ssize_t result = write(fd, text, (size_t)length);
    if (result != length) {
        test_fail(0, "write to %d returns %zd with errno %d", fd, result, errno);
    }
}

/* Opens a log of the test's directory for appending. */
static inline int open_log(const char *name)
{
    int fd = open(name, O_WRONLY | O_CREAT | O_APPEND, 0644);
    if (fd < 0) {
        test_fail(0, "open of %s: errno %d", name, errno);
    }
    return fd;
}

static inline int exit_status(pid_t child)
{
    int status = -1;
    while (waitpid(child, &status, 0) < 0 && errno == EINTR) {
    }
    return status;
}

/* A file made without the library. */
static inline void make_file(const char *name, const char *text)
{
    char *path = in_directory(name);
    raw_append(path, text, strlen(text));
    free(path);
}

/* `size` bytes of lines of 20 bytes; the memory is the caller's. */
static inline char *lines_of(size_t size, const char *word)
{
    char *text = malloc(size + 32);
    if (text == NULL) {
        abort();
    }
    for (size_t at = 0; at < size; at += 20) {
        char line[64];
        snprintf(line, sizeof line, "%-10.10s %8zu\n", word, at);
        memcpy(text + at, line, 20);
    }
    if (size > 0) {
        text[size - 1] = '\n';
    }
    text[size] = '\0';
    return text;
}

/* Another program under the library that will append a text to a log, once it is told to. */
struct other_process {
    pid_t pid;
    int go;
};

static inline struct other_process other_process_starts(const char *log, const char *text)
{
    int ends[2];
    struct other_process other;
    if (raw_syscall(SYS_pipe2, ends, O_CLOEXEC) != 0) {
        abort();
    }
    other.go = raw_fcntl(ends[1], F_DUPFD_CLOEXEC, 60); /* out of the way of numbers that tests look at */
    raw_close(ends[1]);
    other.pid = fork();
    if (other.pid == 0) {
        raw_syscall(SYS_dup3, ends[0], 0, 0);
        execl("/proc/self/exe", "other process", "--write", log, text, NULL);
        _exit(127);
    }
    raw_close(ends[0]);
    return other;
}

static inline void other_process_goes_on(struct other_process other)
{
    raw_close(other.go);
    CHECK_EQUAL(exit_status(other.pid), 0);
}

static inline void other_process_writes(const char *log, const char *text)
{
    other_process_goes_on(other_process_starts(log, text));
}

static inline int test_other_process(char **arguments)
{
    char byte;
    while (raw_syscall(SYS_read, 0, &byte, 1) > 0) {
    }
    int fd = open(arguments[2], O_WRONLY | O_CREAT | O_APPEND, 0644);
    size_t length = strlen(arguments[3]);
    return fd >= 0 && write(fd, arguments[3], length) == (ssize_t)length ? 0 : 1;
}

static inline void test_remove(const char *path)
{
    DIR *listing = opendir(path);
    for (struct dirent *entry; listing != NULL && (entry = readdir(listing)) != NULL;) {
        if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0) {
            char name[PATH_MAX + NAME_MAX];
            snprintf(name, sizeof name, "%s/%s", path, entry->d_name);
            if (unlink(name) != 0 && (errno == EISDIR || errno == EPERM)) {
                test_remove(name);
            }
        }
    }
    if (listing != NULL) {
        closedir(listing);
    }
    rmdir(path);
}

/* The rules with the test's directory for every '@'. */
static inline char *test_rules(const char *rules)
{
    char *text = calloc(strlen(rules) + 1, PATH_MAX);
    for (size_t at = 0; text != NULL && *rules != '\0'; rules++) {
        int length = *rules == '@' ? sprintf(text + at, "%s", test_directory) : sprintf(text + at, "%c", *rules);
        at += (size_t)length;
    }
    return text;
}

static inline void test_start(const struct test *test, const char *program)
{
    char value[PATH_MAX];
    setpgid(0, 0);
    close_range(3, ~0U, 0);
    if (chdir(test_directory) != 0) {
        _exit(126);
    }
    int null = open("/dev/null", O_RDWR);
    int log = open("messages", O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0666);
    dup2(null, 0);
    dup2(null, 1);
    dup2(log, 2);
    close(null);
    close(log);
    fchmod(2, 0666);
    setenv("MPLOGSHIM_LOGS", test_rules(test->rules), 1);
    setenv("MPLOGSHIM_LOCK_TIMEOUT", TEST_LOCK_TIMEOUT, 1);
    for (size_t i = 0; test->environment != NULL && test->environment[i] != NULL; i++) {
        putenv((char *)(uintptr_t)test->environment[i]);
    }
    snprintf(value, sizeof value, "%s", getenv("TEST_SHIM") != NULL ? getenv("TEST_SHIM") : "");
    setenv("LD_PRELOAD", value, 1);
    execl(program, program, "--body", test->name, test_directory, NULL);
    _exit(125);
}

/* Waits for the test; one that hangs is killed with all that it started. */
static inline int test_wait(pid_t child)
{
    int status = -1;
    double end = raw_seconds() + TEST_SECONDS;
    while (waitpid(child, &status, WNOHANG) == 0) {
        if (raw_seconds() > end) {
            kill(-child, SIGKILL);
        }
        raw_pause();
    }
    kill(-child, SIGKILL);
    return status;
}

/* TEST_LEFT_OUT: names, a blank before and behind each (scripts/check-sanitized). */
static inline bool test_is_left_out(const char *name)
{
    const char *names = getenv("TEST_LEFT_OUT") != NULL ? getenv("TEST_LEFT_OUT") : "";
    char word[256];
    snprintf(word, sizeof word, " %s ", name);
    return strstr(names, word) != NULL;
}

static inline bool test_run(const struct test *test, const char *program, const char *parent)
{
    if (test_is_left_out(test->name)) {
        return true;
    }
    if (test->skip != NULL) {
        printf("ok - %s # SKIP %s\n", test->name, test->skip);
        return true;
    }
    fflush(stdout);
    snprintf(test_directory, sizeof test_directory, "%s/mplogshim-test.XXXXXX", parent);
    if (mkdtemp(test_directory) == NULL || chmod(test_directory, 0755) != 0) {
        printf("not ok - %s: no temporary directory\n", test->name);
        return false;
    }
    pid_t child = fork();
    if (child == 0) {
        test_start(test, program);
    }
    int status = test_wait(child);
    char *failures = content("failures");
    char *said = content("messages");
    bool good = status == 0 && *failures == '\0';
    if (!good) {
        printf("%s", failures);
        printf("#   wait status %d; on standard error: \"%.400s\"\n", status, strtok(said, "\n") != NULL ? said : "");
    }
    printf("%sok - %s\n", good ? "" : "not ", test->name);
    fflush(stdout);
    free(failures);
    free(said);
    do { /* a helper may only be starting */
        outside_end(test_directory);
        test_remove(test_directory);
    } while (raw_exists(test_directory));
    return good;
}

/* Runs all tests, or those named on the command line. */
static inline int test_main(int count, char **arguments, const struct test *tests, size_t test_count)
{
    if (count == 4 && strcmp(arguments[1], "--write") == 0) {
        return test_other_process(arguments);
    }
    bool body = count == 4 && strcmp(arguments[1], "--body") == 0;
    const char *parent = getenv("TMPDIR") != NULL ? getenv("TMPDIR") : "/tmp";
    char program[PATH_MAX] = "";
    if (body) {
        snprintf(test_directory, sizeof test_directory, "%s", arguments[3]);
    } else if (readlink("/proc/self/exe", program, sizeof program - 1) < 0) {
        return 1;
    }
    bool all = true;
    for (size_t i = 0; i < test_count; i++) {
        bool wanted = count <= 1;
        for (int n = 1; n < count; n++) {
            wanted = wanted || strcmp(arguments[n], tests[i].name) == 0;
        }
        if (wanted && body) {
            outside_start();
            tests[i].body();
            return test_failures == 0 ? 0 : 1;
        }
        all = (!wanted || test_run(&tests[i], program, parent)) && all;
    }
    return all ? 0 : 1;
}

#define TEST_COUNT(tests) (sizeof(tests) / sizeof((tests)[0]))

#endif
