/*
 * How much stack the library needs, on top of the program's own call: signal handlers run on stacks of 8 KiB and less,
 * coroutines on 16 KiB.
 *
 * A call is made on a stack that was painted before; what is not of that colour any more was used.
 */
#include "test.h"

#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/uio.h>
#include <ucontext.h>

#define BYTES "app.log,max_bytes=100"

enum { ARENA = 65536, COLOUR = 0xa5 };

/* Less than half of what the smallest usual signal stack, 8 KiB, has left beside the signal's own frame (3 KB with wide
 * registers). */
enum { CALL_MOST = 3072, COPY_MOST = 3 * 3072 };

static unsigned char *arena;
static ucontext_t back;
static void (*measured)(void);
static int log_fd;
static char *filler;

static void run_measured(void)
{
    measured();
}

static void run_on_arena(void (*call)(void))
{
    ucontext_t there;
    getcontext(&there);
    there.uc_stack.ss_sp = arena;
    there.uc_stack.ss_size = ARENA;
    there.uc_link = &back;
    measured = call;
    makecontext(&there, run_measured, 0);
    swapcontext(&back, &there);
}

/* Calls that do not come back are made in a child, which shares the arena. */
enum made_by { BY_PARENT, BY_CHILD };

static size_t stack_of(void (*call)(void), enum made_by who)
{
    size_t unused = 0;
    int sharing = who == BY_CHILD ? MAP_SHARED : MAP_PRIVATE;
    arena = mmap(NULL, ARENA, PROT_READ | PROT_WRITE, sharing | MAP_ANONYMOUS, -1, 0);
    if (arena == MAP_FAILED) {
        abort();
    }
    memset(arena, COLOUR, ARENA);
    pid_t child = who == BY_CHILD ? fork() : 0;
    if (child == 0) {
        run_on_arena(call);
    }
    if (child == 0 && who == BY_CHILD) {
        _exit(0);
    }
    if (who == BY_CHILD) {
        CHECK_EQUAL(exit_status(child), 0);
    }
    while (unused < ARENA && arena[unused] == COLOUR) {
        unused++;
    }
    munmap(arena, ARENA);
    return ARENA - unused;
}

static void nothing(void)
{
}

static void check_stack(int line, const char *what, void (*call)(void), size_t most, enum made_by who)
{
    size_t used = stack_of(call, who) - stack_of(nothing, BY_PARENT);
    if (used > most) {
        test_fail(line, "%s takes %zu bytes of stack, more than %zu", what, used, most);
    }
}

#define CHECK_STACK(call, most)          check_stack(__LINE__, #call, call, most, BY_PARENT)
#define CHECK_STACK_IN_CHILD(call, most) check_stack(__LINE__, #call, call, most, BY_CHILD)

static void a_line(void)
{
    raw_syscall(SYS_getpid);
    if (write(log_fd, "a line\n", 7) != 7) {
        test_fail(__LINE__, "write: errno %d", errno);
    }
}

static void fills(void)
{
    write(log_fd, filler, 100);
}

static void half_a_line(void)
{
    write(log_fd, "a line\nhalf", 11);
}

static void many_pieces(void)
{
    static struct iovec pieces[100];
    static char piece[] = "piece\n";
    for (int i = 0; i < 100; i++) {
        pieces[i] = (struct iovec){.iov_base = piece, .iov_len = 6};
    }
    writev(log_fd, pieces, 100);
}

static void larger_than_a_file(void)
{
    write(log_fd, filler, 1000);
}

static void opens(void)
{
    log_fd = open("app.log", O_WRONLY | O_CREAT | O_APPEND, 0644);
}

static void opens_and_truncates(void)
{
    log_fd = open("app.log", O_WRONLY | O_CREAT | O_APPEND | O_TRUNC, 0644);
}

static void opens_another(void)
{
    close(open("other", O_WRONLY | O_CREAT, 0644));
}

static void opens_hidden(void)
{
    close(open(".app.log.lock", O_RDONLY));
    close(open("app.log.1", O_RDONLY));
    close(open("app.log.1", O_WRONLY));
    close(open(".app.log.00000001.pending", O_WRONLY));
}

static void syncs(void)
{
    fsync(log_fd);
}

static void duplicates(void)
{
    dup2(log_fd, 10);
    close(10);
    close(dup(log_fd));
    close(fcntl(log_fd, F_DUPFD, 10));
}

static void closes(void)
{
    close(log_fd);
}

static void ends(void)
{
    _exit(0);
}

static void forks(void)
{
    pid_t child = fork();
    if (child == 0) {
        _exit(0);
    }
    exit_status(child);
}

static void executes(void)
{
    execl("/bin/true", "true", NULL);
}

static void executes_from_vfork(void)
{
    pid_t child = vfork();
    if (child == 0) {
        execl("/bin/true", "true", NULL);
        _exit(127);
    }
    exit_status(child);
}

static void writes_from_vfork(void)
{
    pid_t child = vfork();
    if (child == 0) {
        write(log_fd, "a line\n", 7);
        _exit(0);
    }
    exit_status(child);
}

static void copies(void)
{
    int from = open("data", O_RDONLY);
    int to = open("app.log", O_WRONLY);
    off_t at = 0;
    CHECK_EQUAL(sendfile(to, from, &at, 1000), 1000);
    close(from);
    close(to);
}

/* Nobody has looked at this number yet. */
static void writes_to_an_unknown_number(void)
{
    write(30, "a line\n", 7);
}

static void many_calls(void)
{
    filler = lines_of(1000, "filler");
    make_file("data", filler);
    CHECK_STACK(opens, CALL_MOST);
    CHECK_STACK(a_line, CALL_MOST);
    CHECK_STACK(fills, CALL_MOST); /* rotates, and starts the helper */
    CHECK_STACK(fills, CALL_MOST);
    CHECK_STACK(half_a_line, CALL_MOST);
    CHECK_STACK(half_a_line, CALL_MOST);
    CHECK_STACK(syncs, CALL_MOST);
    CHECK_STACK(many_pieces, CALL_MOST);
    CHECK_STACK(larger_than_a_file, CALL_MOST);
    other_process_writes("app.log", filler);
    CHECK_STACK(a_line, CALL_MOST);
    raw_syscall(SYS_dup3, log_fd, 30, 0);
    CHECK_STACK(writes_to_an_unknown_number, CALL_MOST);
    CHECK_STACK(opens_another, CALL_MOST);
    CHECK_STACK(opens_hidden, CALL_MOST);
    CHECK_STACK(duplicates, CALL_MOST);
    CHECK_STACK(copies, COPY_MOST);
    half_a_line();
    CHECK_STACK(forks, CALL_MOST);
    CHECK_STACK_IN_CHILD(ends, CALL_MOST);
    CHECK_STACK_IN_CHILD(executes, CALL_MOST);
    CHECK_STACK_IN_CHILD(fills, CALL_MOST);
    CHECK_STACK(writes_from_vfork, CALL_MOST);
    half_a_line();
    CHECK_STACK(executes_from_vfork, CALL_MOST);
    half_a_line();
    CHECK_STACK(closes, CALL_MOST);
    CHECK_STACK(opens_and_truncates, CALL_MOST);
    CHECK(archives("app.log") > 10);
}

/* A new second, in which the log, its directory and the lock file are looked at again. */
static void next_second(void)
{
    double begun = raw_seconds();
    while (raw_seconds() < begun + 1.01) {
        raw_pause();
    }
}

static void meddled_with(void)
{
    opens();
    a_line();
    CHECK_EQUAL(rename("app.log", "elsewhere"), 0);
    next_second();
    CHECK_STACK(a_line, CALL_MOST);
    CHECK(is_on(log_fd, "app.log"));
    CHECK_EQUAL(unlink(".app.log.lock"), 0);
    next_second();
    CHECK_STACK(a_line, CALL_MOST);
    CHECK(exists(".app.log.lock"));
}

/* A rotation that fails is told. */
static void in_trouble(void)
{
    filler = lines_of(1000, "filler");
    opens();
    a_line();
    CHECK_EQUAL(rename("app.log", "elsewhere"), 0);
    CHECK_EQUAL(mkdir("app.log", 0755), 0);
    next_second();
    CHECK_STACK(a_line, CALL_MOST);
}

static void follows_another_policy(void)
{
    filler = lines_of(1000, "filler");
    CHECK_STACK(opens, CALL_MOST);
    CHECK_STACK(a_line, CALL_MOST);
    CHECK_STACK(fills, CALL_MOST);
}

static pid_t attached;

/* Another process with settings of its own is attached. */
static void mismatch(void)
{
    int ready[2];
    char byte;
    CHECK_EQUAL(pipe(ready), 0);
    attached = fork();
    if (attached == 0) {
        setenv("MPLOGSHIM_LOGS",
               "app.log,max_bytes=5K,backups=9,compress=gzip,naming=time,when=H,interval=3,max_age=9d,max_total=7M", 1);
        dup2(ready[1], 1);
        execl("/bin/sh", "sh", "-c", "exec 5>>app.log; echo line >&5; echo ready; exec sleep 60", NULL);
        _exit(127);
    }
    read(ready[0], &byte, 1);
    follows_another_policy();
    kill(attached, SIGKILL);
    exit_status(attached);
    CHECK_EQUAL(exists(".app.log.lock"), 1);
}

/* A stack that ends at a page which nobody may touch. */
static char *guarded_stack(size_t size)
{
    char *memory = mmap(NULL, size + ARENA, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED || mprotect(memory + ARENA, size, PROT_READ | PROT_WRITE) != 0) {
        abort();
    }
    return memory + ARENA;
}

static void handler_does_everything(int signal)
{
    (void)signal;
    opens();
    for (int i = 0; i < 20; i++) {
        a_line();
    }
    half_a_line();
    syncs();
    many_pieces();
    duplicates();
    forks();
    executes_from_vfork();
    closes();
    opens_and_truncates();
    a_line();
}

static void on_a_signal_stack(void)
{
    enum { SIZE = 8192 };
    const stack_t stack = {.ss_sp = guarded_stack(SIZE), .ss_size = SIZE};
    const struct sigaction action = {.sa_handler = handler_does_everything, .sa_flags = SA_ONSTACK};
    CHECK_EQUAL(sigaltstack(&stack, NULL), 0);
    sigaction(SIGUSR1, &action, NULL);
    for (int i = 0; i < 5; i++) {
        raise(SIGUSR1);
    }
    CHECK_EQUAL(archives("app.log"), 10);
    CHECK_TEXT(content("app.log"), "a line\n");
}

enum { COROUTINES = 50, TURNS = 20 };

static ucontext_t coroutines[COROUTINES];
static FILE *stream;

static void coroutine(int number)
{
    for (int i = 0; i < TURNS; i++) {
        fprintf(stream, "coroutine %02d line %03d by %s\n", number, i, "stdio");
        fflush(stream);
        dprintf(log_fd, "coroutine %02d line %03d by %s\n", number, i, "write");
        swapcontext(&coroutines[number], &back);
    }
}

/* As of runtimes with many light threads, each on a stack of its own; and the account of what they wrote. */
static void on_coroutines(void)
{
    enum { SIZE = 16384 };
    log_fd = open_log("app.log");
    stream = fopen("app.log", "a");
    for (int i = 0; i < COROUTINES; i++) {
        getcontext(&coroutines[i]);
        coroutines[i].uc_stack.ss_sp = guarded_stack(SIZE);
        coroutines[i].uc_stack.ss_size = SIZE;
        coroutines[i].uc_link = &back;
        makecontext(&coroutines[i], (void (*)(void))coroutine, 1, i);
    }
    for (int turn = 0; turn < COROUTINES * TURNS; turn++) {
        swapcontext(&back, &coroutines[turn % COROUTINES]);
    }
    const char *at = history("app.log");
    for (int turn = 0; turn < COROUTINES * TURNS; turn++) {
        char wanted[128];
        int length = snprintf(wanted, sizeof wanted, "coroutine %02d line %03d by stdio\n", turn % COROUTINES,
                              turn / COROUTINES);
        length += snprintf(wanted + length, sizeof wanted - (size_t)length, "coroutine %02d line %03d by write\n",
                           turn % COROUTINES, turn / COROUTINES);
        if (strncmp(at, wanted, (size_t)length) != 0) {
            test_fail(__LINE__, "turn %d: %.80s", turn, at);
            return;
        }
        at += length;
    }
    CHECK_TEXT(at, "");
    CHECK(archives("app.log") > 10);
}

/* Functions found at their first call take 3 KB for that, whoever calls them first. */
#define BOUND_AT_START "LD_BIND_NOW=1"

int main(int count, char **arguments)
{
    static const char *const bound[] = {BOUND_AT_START, NULL};
    static const char *const to_syslog[] = {BOUND_AT_START, "MPLOGSHIM_DIAG=syslog", NULL};
    static const struct test tests[] = {
        {"calls_on_a_log_take_little_stack", BYTES, many_calls, bound, NULL},
        {"a_log_that_was_moved_takes_little_stack", BYTES, meddled_with, bound, NULL},
        {"messages_take_little_stack", BYTES, in_trouble, bound, NULL},
        {"messages_to_syslog_take_little_stack", BYTES, in_trouble, to_syslog, NULL},
        {"a_mismatch_takes_little_stack", BYTES, mismatch, bound, NULL},
        {"a_mismatch_told_to_syslog_takes_little_stack", BYTES, mismatch, to_syslog, NULL},
        {"programs_of_events_take_little_stack", "app.log,max_bytes=100,on_event=/bin/true", in_trouble, bound, NULL},
        {"a_handler_on_a_stack_of_8_kib_may_do_everything", BYTES, on_a_signal_stack, NULL, NULL},
        {"coroutines_on_stacks_of_16_kib_lose_nothing", "app.log,max_bytes=2000", on_coroutines, NULL, NULL},
    };
    return test_main(count, arguments, tests, TEST_COUNT(tests));
}
