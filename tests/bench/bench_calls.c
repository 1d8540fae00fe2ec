/*
 * One call on a file that is no log, again and again: scripts/bench-callgrind counts its instructions.
 *
 *   bench_calls write|open|dup|fork COUNT
 *
 * `open` and `dup` close what they made.
 */
#include <fcntl.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static bool call(const char *which, int fd)
{
    if (strcmp(which, "write") == 0)
        return write(fd, "text\n", 5) == 5;
    if (strcmp(which, "open") == 0)
        return close(open("/dev/null", O_RDONLY)) == 0;
    if (strcmp(which, "dup") == 0)
        return close(dup(fd)) == 0;
    pid_t child = fork();
    if (child == 0)
        _exit(0);
    return waitpid(child, NULL, 0) == child;
}

int main(int argc, char *argv[])
{
    int fd = open("/dev/null", O_WRONLY);
    if (argc != 3 || fd < 0)
        return 2;
    for (long i = atol(argv[2]); i > 0; i--)
        if (!call(argv[1], fd))
            return 1;
    return 0;
}
