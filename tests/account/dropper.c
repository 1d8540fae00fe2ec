/*
 * A daemon that opens its log as root, gives that up, and goes on writing the numbered lines of line.h.
 *
 *   dropper WAY LOG WRITER COUNT [RATE [FILE]]
 *
 * WAY is the call by which it becomes nobody. "fork" opens the log and has three children of writers WRITER, WRITER+1
 * and WRITER+2 do that; "seteuid" goes back to root, and away again, every ten lines; "stay" remains root; "chroot"
 * makes the log's directory its root first. LOG "-" is the standard output. RATE is in lines a second.
 * After COUNT lines it goes on until FILE has content (until.h).
 *
 *   dropper delay LOG WRITER COUNT MAX_BYTES
 *
 * becomes nobody, then for COUNT times writes until MAX_BYTES are passed, and prints after how many milliseconds
 * another file was at the path.
 */
#include "line.h"
#include "until.h"

#include <err.h>
#include <fcntl.h>
#include <grp.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { NOBODY = 65534, CHILDREN = 3, LINES_OF_ONE_USER = 10 };

static unsigned count, rate;
static const char *way;
static char line[LINE_SIZE_MAX + 1];

static void sleep_for(unsigned long long nanoseconds)
{
    struct timespec pause = {(time_t)(nanoseconds / 1000000000), (long)(nanoseconds % 1000000000)};
    nanosleep(&pause, NULL);
}

static double now(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + (double)time.tv_nsec / 1e9;
}

static void give_up_root(void)
{
    int result = 0;
    if (strcmp(way, "stay") == 0)
        return;
    if (setgroups(0, NULL) != 0 || setgid(NOBODY) != 0)
        err(1, "setgid");
    if (strcmp(way, "setreuid") == 0)
        result = setreuid(NOBODY, NOBODY);
    else if (strcmp(way, "setresuid") == 0)
        result = setresuid(NOBODY, NOBODY, NOBODY);
    else if (strcmp(way, "seteuid") == 0)
        result = seteuid(NOBODY);
    else
        result = setuid(NOBODY);
    if (result != 0)
        err(1, "%s", way);
}

/* The directory of the log is as good as any other. */
static void leave_root_directory(const char *path)
{
    char *directory = strdup(path);
    *strrchr(directory, '/') = '\0';
    if (chroot(directory) != 0)
        err(1, "chroot");
}

static void change_user(unsigned number)
{
    if (strcmp(way, "seteuid") == 0 && number % LINES_OF_ONE_USER == 0 && seteuid(geteuid() == 0 ? NOBODY : 0) != 0)
        err(1, "seteuid");
}

static size_t write_line(int fd, unsigned writer, unsigned number)
{
    size_t size = line_make(line, writer, number, line_length(writer, number, LINE_SHORTEST, LINE_LONGEST));
    if (write(fd, line, size) != (ssize_t)size)
        err(1, "write");
    return size;
}

static void write_lines(int fd, unsigned writer)
{
    unsigned number = 0;
    while (number < count || until_goes_on()) {
        write_line(fd, writer, ++number);
        change_user(number);
        if (rate > 0)
            sleep_for(1000000000ULL / rate);
    }
    until_tell(writer, number);
}

static int write_in_children(int fd, unsigned writer)
{
    int failed = 0;
    for (unsigned i = 0; i < CHILDREN; i++) {
        pid_t pid = fork();
        if (pid < 0)
            err(1, "fork");
        if (pid == 0) {
            give_up_root();
            write_lines(fd, writer + i);
            exit(0);
        }
    }
    for (int status; wait(&status) > 0;)
        failed |= status;
    return failed != 0;
}

static ino_t inode_of(const char *path)
{
    struct stat status;
    if (stat(path, &status) != 0)
        err(1, "%s", path);
    return status.st_ino;
}

static void measure_delay(int fd, const char *path, unsigned writer, unsigned max_bytes)
{
    unsigned number = 1;
    for (unsigned rotation = 0; rotation < count; rotation++) {
        ino_t inode = inode_of(path);
        for (size_t size = 0; size <= max_bytes;)
            size += write_line(fd, writer, number++);
        double passed = now();
        while (inode_of(path) == inode && now() - passed < 10)
            sleep_for(500000);
        printf("%.1f\n", (now() - passed) * 1000);
    }
    fprintf(stderr, "%u\n", number - 1);
}

int main(int argument_count, char **arguments)
{
    if (argument_count < 5)
        errx(2, "usage: dropper WAY LOG WRITER COUNT [RATE [FILE]]");
    const char *path = arguments[2];
    unsigned writer = (unsigned)atoi(arguments[3]);
    way = arguments[1];
    count = (unsigned)atoi(arguments[4]);
    rate = argument_count > 5 ? (unsigned)atoi(arguments[5]) : 0;
    if (argument_count > 6)
        until_open(arguments[6]);
    int fd = strcmp(path, "-") == 0 ? STDOUT_FILENO : open(path, O_WRONLY | O_APPEND | O_CREAT, 0644);
    if (fd < 0)
        err(1, "%s", path);
    if (strcmp(way, "fork") == 0)
        return write_in_children(fd, writer);
    if (strcmp(way, "chroot") == 0)
        leave_root_directory(path);
    give_up_root();
    if (strcmp(way, "delay") == 0)
        measure_delay(fd, path, writer, rate);
    else
        write_lines(fd, writer);
    return 0;
}
