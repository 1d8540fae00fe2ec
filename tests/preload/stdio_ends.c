/*
 * stdio_ends DIRECTORY: what becomes of buffered text when a process ends, forks or runs another program, and streams
 * of a process that was started with its standard descriptors closed, on files named *.log in DIRECTORY.
 *
 * stdio_ends DIRECTORY CLOSED: the process that it starts without the descriptors whose digits are in CLOSED.
 */
#include "stdio_transcript.h"

#include <err.h>
#include <error.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio_ext.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <wchar.h>

static const char *program;

static void wait_for(pid_t child)
{
    int status = -1;
    waitpid(child, &status, 0);
    note("wait status", status & ~0x80); /* no core */
}

/* A child that has unflushed text in a stream of its own and in one of its parent's, and ends by `end`. */
static void end_by(const char *name, void (*end)(FILE *stream))
{
    static char line_buffer[BUFSIZ];
    struct rlimit no_core = {0, 0};
    begin(name);
    FILE *parents = open_stream("a");
    note("fputs", fputs("of the parent\n", parents) >= 0);
    fflush(stdout);
    pid_t child = fork();
    if (child == 0) {
        setrlimit(RLIMIT_CORE, &no_core);
        FILE *stream = fopen(path, "a");
        FILE *other = fopen(path, "a");
        setvbuf(other, line_buffer, _IOLBF, sizeof line_buffer);
        fputs("of the child\nmore of the child\n", stream);
        fputs("line buffered\n", other);
        end(stream);
    }
    wait_for(child);
    note_contents();
    note("fclose", fclose(parents));
    note_contents();
}

static void by_exit(FILE *stream)
{
    (void)stream;
    exit(3);
}

static void by_fast_exit(FILE *stream)
{
    (void)stream;
    _exit(4);
}

static void by_quick_exit(FILE *stream)
{
    (void)stream;
    quick_exit(5);
}

static void by_abort(FILE *stream)
{
    (void)stream;
    abort();
}

static void by_kill(FILE *stream)
{
    (void)stream;
    raise(SIGKILL);
}

static void by_exec(FILE *stream)
{
    (void)stream;
    execl("/bin/true", "true", NULL);
    _exit(127);
}

static void by_exec_after_flush(FILE *stream)
{
    fflush(stream);
    execl("/bin/true", "true", NULL);
    _exit(127);
}

static FILE *late;

static void write_late(void)
{
    fputs("at exit\n", late);
}

static void by_exit_with_handler(FILE *stream)
{
    late = stream;
    atexit(write_late);
    exit(6);
}

/* Streams are flushed by exit also if the program closed the descriptor: to whatever has the number now. */
static void by_exit_after_close(FILE *stream)
{
    close(fileno(stream));
    exit(7);
}

static void by_closing_all(FILE *stream)
{
    (void)stream;
    fcloseall();
    _exit(8);
}

/* What both have in their buffers, both write. */
static void test_forks(void)
{
    begin("forks");
    FILE *stream = open_stream("a");
    note("fputs", fputs("in three buffers\n", stream) >= 0);
    fflush(stdout);
    pid_t child = fork();
    if (child == 0) {
        pid_t grandchild = fork();
        fputs(grandchild == 0 ? "grandchild\n" : "child\n", stream);
        if (grandchild > 0) {
            waitpid(grandchild, NULL, 0);
        }
        exit(0);
    }
    wait_for(child);
    note("fputs", fputs("parent\n", stream) >= 0);
    note("fclose", fclose(stream));
    note_contents();
}

/* A child's stream and its parent's are two handles of one description; each flushes before the other goes on. */
static void test_turns(void)
{
    begin("turns");
    FILE *stream = open_stream("a+");
    for (int i = 0; i < 3; i++) {
        note("fprintf", fprintf(stream, "parent %d\n", i));
        note("fflush", fflush(stream));
        fflush(stdout);
        pid_t child = fork();
        if (child == 0) {
            fprintf(stream, "child %d\n", i);
            exit(fclose(stream));
        }
        wait_for(child);
        note("fseek", fseek(stream, 0, SEEK_END));
        note("ftell", ftell(stream));
    }
    note("fclose", fclose(stream));
    note_contents();
}

static void test_commands(void)
{
    char command[4400], line[100] = "";
    begin("commands");
    FILE *stream = open_stream("a");
    note("fputs", fputs("before\n", stream) >= 0);
    note("fflush", fflush(NULL));
    snprintf(command, sizeof command, "echo of the shell >>'%s'; exit 3", path);
    note("system", system(command));
    snprintf(command, sizeof command, "cat >>'%s'", path);
    FILE *pipe = popen(command, "w");
    note("fputs", fputs("through a pipe\n", pipe) >= 0);
    note("fwide", fwide(pipe, 0));
    note("pclose", pclose(pipe));
    snprintf(command, sizeof command, "tail -n 1 '%s'", path);
    pipe = popen(command, "re");
    note("fgets", fgets(line, sizeof line, pipe) != NULL);
    note_text("fgets", line);
    note("fputs", fputs("x", pipe));
    note("pclose", pclose(pipe));
    note("popen", popen("true", "z") != NULL);
    note("fputs", fputs("after\n", stream) >= 0);
    note("fclose", fclose(stream));
    note_contents();
}

/* Messages of libc's own: they flush standard output where POSIX and the manual say so, and go to the log whole. */
static void test_messages(void)
{
    begin("messages");
    int kept = dup(2), log = open(path, O_WRONLY | O_CREAT | O_APPEND, 0644);
    siginfo_t information = {.si_signo = SIGHUP, .si_code = SI_USER};
    fflush(stdout);
    dup2(log, 2);
    close(log);
    error_print_progname = NULL;
    errno = ENOENT;
    perror("perror");
    errno = EINVAL;
    perror(NULL);
    psignal(SIGTERM, NULL);
    psignal(9999, "unknown");
    psiginfo(&information, NULL);
    errno = EACCES;
    warn("%s", "warn");
    warnx("%d", 7);
    error_at_line(0, EIO, "file", 12, "error_at_line");
    note("fwide", fwide(stderr, 0) < 0);
    note("fileno", fileno(stderr));
    note("ferror", ferror(stderr) != 0);
    note("fputs", fputs("unfinished", stderr) >= 0);
    note("fflush", fflush(stderr));
    dup2(kept, 2);
    close(kept);
    note("fputs", fputs("", stderr) >= 0);
    note_contents();
}

/* Without descriptors 0, 1 or 2, a log gets one of these numbers. */
static void run_closed(void)
{
    int first = open(path, O_WRONLY | O_APPEND | O_CREAT, 0644);
    char results[200];
    int printed = printf("printf %d\n", first);
    int flushed = fflush(stdout) == 0 ? 0 : errno;
    int said = fprintf(stderr, "stderr %d\n", first);
    int got = fgetc(stdin);
    FILE *stream = fopen(path, "a");
    int length =
        snprintf(results, sizeof results, "%d: printf %d, fflush %d, stderr %d, stdin %d, fopen %d, errors %d\n", first,
                 printed, flushed, said > 0, got, fileno(stream), ferror(stdout) != 0 || ferror(stderr) != 0);
    fwrite(results, 1, (size_t)length, stream);
    fclose(stream);
    exit(fputs("at the end\n", stdout) < 0);
}

static void test_closed(const char *closed)
{
    char name[32];
    snprintf(name, sizeof name, "closed%s", closed);
    begin(name);
    fflush(stdout);
    pid_t child = fork();
    if (child == 0) {
        char log[4200];
        snprintf(log, sizeof log, "%s", path);
        int output = open("/dev/null", O_RDWR);
        dup2(output, 0);
        dup2(output, 1);
        dup2(output, 2);
        close(output);
        for (const char *digit = closed; *digit != '\0'; digit++) {
            close(*digit - '0');
        }
        execl(program, program, log, closed, NULL);
        _exit(127);
    }
    wait_for(child);
    note_contents();
}

/* Closing the number under a stream: what was buffered goes nowhere, or to who has the number then. */
static void test_closed_under(void)
{
    begin("closed_under");
    FILE *stream = open_stream("a");
    int fd = fileno(stream);
    note("fputs", fputs("lost\n", stream) >= 0);
    note("close", close(fd));
    note("fflush", fflush(stream));
    note("ferror", ferror(stream) != 0);
    note("fputs", fputs("found\n", stream) >= 0);
    char first[4200];
    snprintf(first, sizeof first, "%s", path);
    begin("closed_under2");
    note("open", open(path, O_WRONLY | O_CREAT | O_APPEND, 0644) == fd);
    note("fflush", fflush(stream));
    note_contents();
    note("fclose", fclose(stream));
    snprintf(path, sizeof path, "%s", first);
    note_contents();
}

int main(int count, char *arguments[])
{
    program = arguments[0];
    if (count == 3) {
        snprintf(path, sizeof path, "%s", arguments[1]);
        run_closed();
    }
    if (count != 2) {
        fputs("usage: stdio_ends DIRECTORY [CLOSED]\n", stderr);
        return 2;
    }
    directory = arguments[1];
    end_by("exit", by_exit);
    end_by("fast_exit", by_fast_exit);
    end_by("quick_exit", by_quick_exit);
    end_by("abort", by_abort);
    end_by("kill", by_kill);
    end_by("exec", by_exec);
    end_by("exec_after_flush", by_exec_after_flush);
    end_by("exit_with_handler", by_exit_with_handler);
    end_by("exit_after_close", by_exit_after_close);
    end_by("closing_all", by_closing_all);
    test_forks();
    test_turns();
    test_commands();
    test_messages();
    test_closed("0");
    test_closed("1");
    test_closed("2");
    test_closed("12");
    test_closed("012");
    test_closed_under();
    return 0;
}
