/*
 * What preloading the library adds to the start of a process that does nothing.
 *
 *   bench_start COUNT LIBRARY RULES...    prints the median microseconds of spawn to end: without the library first,
 *                                         then with it under each of the rules, a line each
 *   bench_start                           is the process that does nothing
 */
#include <errno.h>
#include <spawn.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>

enum { CASES_MOST = 8, COUNT_MOST = 10000, SETTING_SIZE = 8192 };

static int64_t now(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return time.tv_sec * INT64_C(1000000000) + time.tv_nsec;
}

/* Nanoseconds from the spawn of this same program, without arguments, to its end. */
static int64_t run(char *const environment[])
{
    char *arguments[] = {"bench_start", NULL};
    pid_t child;
    int status = 0;
    int64_t begin = now();
    int error = posix_spawn(&child, "/proc/self/exe", NULL, NULL, arguments, environment);
    if (error == 0)
        while (waitpid(child, &status, 0) < 0 && errno == EINTR)
            ;
    int64_t duration = now() - begin;
    if (error != 0 || status != 0) {
        fprintf(stderr, "bench_start: the process that does nothing failed (%s)\n", strerror(error));
        exit(1);
    }
    return duration;
}

static int compare(const void *a, const void *b)
{
    int64_t first = *(const int64_t *)a;
    int64_t second = *(const int64_t *)b;
    return (first > second) - (first < second);
}

static double median_microseconds(int64_t *durations, size_t count)
{
    qsort(durations, count, sizeof durations[0], compare);
    return (double)durations[count / 2] / 1000;
}

int main(int argc, char *argv[])
{
    static char rules[CASES_MOST][SETTING_SIZE];
    static char preload[SETTING_SIZE];
    static int64_t durations[CASES_MOST][COUNT_MOST];
    if (argc < 4)
        return 0;
    size_t count = (size_t)atol(argv[1]);
    size_t cases = (size_t)argc - 2; /* one for each of the rules, and the first without the library */
    if (count < 1 || count > COUNT_MOST || cases > CASES_MOST)
        return 2;

    snprintf(preload, sizeof preload, "LD_PRELOAD=%s", argv[2]);
    for (size_t i = 1; i < cases; i++)
        snprintf(rules[i], sizeof rules[i], "MPLOGSHIM_LOGS=%s", argv[i + 2]);
    for (size_t j = 0; j < count; j++) {
        for (size_t i = 0; i < cases; i++) {
            char *without[] = {NULL};
            char *with[] = {preload, rules[i], NULL};
            durations[i][j] = run(i == 0 ? without : with);
        }
    }
    for (size_t i = 0; i < cases; i++)
        printf("%.1f\n", median_microseconds(durations[i], count));
    return 0;
}
