/*
 * One snippet, run in one situation, in a process of its own: hook_situations.c starts it, libearly.c runs it from
 * another library's constructor. What is to be run stands in the environment.
 */
#ifndef TESTS_SITUATIONS_H
#define TESTS_SITUATIONS_H

#include "snippets_descriptor.h"
#include "snippets_identity.h"
#include "snippets_libc.h"
#include "snippets_open.h"
#include "snippets_process.h"
#include "snippets_read.h"
#include "snippets_stdio.h"
#include "snippets_stream.h"
#include "snippets_wide.h"
#include "snippets_write.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

/* How the log's descriptor came to be. */
enum source {
    OPENED,          /* by the program */
    WITHOUT_APPEND,  /* by the program, without O_APPEND */
    STALE,           /* by the program, and another process has rotated since */
    INHERITED,       /* by whoever exec'ed the program */
    INHERITED_STALE, /* and another process has rotated before the exec */
    STANDARD_BOTH,   /* 1 and 2 are the log */
    STANDARD_STALE,
};

/* Who makes the call. */
enum context {
    MAIN,
    PREINIT,         /* the program's .preinit_array: before every constructor */
    EARLIER_LIBRARY, /* the constructor of a library that is preloaded before this one */
    LATER_LIBRARY,   /* after it, as one that the program is linked with */
    SIGNAL_HANDLER,
    VFORK_CHILD,
    FORK_CHILD,
    SECOND_THREAD,
    CANCELLED_THREAD,   /* a cancellation is pending, and enabled */
    UNCANCELLED_THREAD, /* a cancellation is pending, and disabled */
};

struct situation {
    const char *name;
    enum source source;
    enum context context;
};

static const struct situation situations[] = {
    {"plain", OPENED, MAIN},
    {"opened without O_APPEND", WITHOUT_APPEND, MAIN},
    {"rotated since opened", STALE, MAIN},
    {"inherited", INHERITED, MAIN},
    {"inherited and rotated", INHERITED_STALE, MAIN},
    {"1 and 2 on the log", STANDARD_BOTH, MAIN},
    {"1 and 2 on the log and rotated", STANDARD_STALE, MAIN},
    {"before constructors", OPENED, PREINIT},
    {"earlier library's constructor", OPENED, EARLIER_LIBRARY},
    {"later library's constructor", OPENED, LATER_LIBRARY},
    {"later library's constructor, 1 and 2", STANDARD_STALE, LATER_LIBRARY},
    {"signal handler", OPENED, SIGNAL_HANDLER},
    {"signal handler, rotated", STALE, SIGNAL_HANDLER},
    {"vfork child", OPENED, VFORK_CHILD},
    {"vfork child, rotated", STALE, VFORK_CHILD},
    {"fork child", OPENED, FORK_CHILD},
    {"fork child, rotated", STALE, FORK_CHILD},
    {"fork child, 1 and 2", STANDARD_BOTH, FORK_CHILD},
    {"second thread", OPENED, SECOND_THREAD},
    {"second thread, 1 and 2", STANDARD_BOTH, SECOND_THREAD},
    {"cancellation pending", OPENED, CANCELLED_THREAD},
    {"cancellation pending, rotated", STALE, CANCELLED_THREAD},
    {"cancellation pending, 1 and 2", STANDARD_BOTH, CANCELLED_THREAD},
    {"cancellation disabled", OPENED, UNCANCELLED_THREAD},
    {"cancellation disabled, 1 and 2", STANDARD_BOTH, UNCANCELLED_THREAD},
};

static const struct {
    const struct snippet *snippets;
    size_t count;
} snippet_tables[] = {
    {snippets_write, COUNT(snippets_write)},
    {snippets_open, COUNT(snippets_open)},
    {snippets_descriptor, COUNT(snippets_descriptor)},
    {snippets_process, COUNT(snippets_process)},
    {snippets_identity, COUNT(snippets_identity)},
    {snippets_stdio, COUNT(snippets_stdio)},
    {snippets_stream, COUNT(snippets_stream)},
    {snippets_wide, COUNT(snippets_wide)},
    {snippets_libc, COUNT(snippets_libc)},
    {snippets_read, COUNT(snippets_read)},
};

/* The n-th snippet of all, or NULL. */
static const struct snippet *snippet_at(size_t n)
{
    for (size_t table = 0; table < COUNT(snippet_tables); table++) {
        if (n < snippet_tables[table].count) {
            return &snippet_tables[table].snippets[n];
        }
        n -= snippet_tables[table].count;
    }
    return NULL;
}

static const struct snippet *current;
static const struct situation *place;

static const char *variable(char *const environment[], const char *name)
{
    size_t length = strlen(name);
    for (size_t i = 0; environment != NULL && environment[i] != NULL; i++) {
        if (strncmp(environment[i], name, length) == 0 && environment[i][length] == '=') {
            return environment[i] + length + 1;
        }
    }
    return NULL;
}

/* Lets another process write to the log, which rotates it; through the library if this process has it. */
static void other_process_writes(const char *what)
{
    pid_t child = fork();
    if (child == 0) {
        setenv("SITUATION_OTHER", what, 1);
        execl("/proc/self/exe", "other process", NULL);
        _exit(127);
    }
    errno = SCENE_ERRNO;
    note_child(child);
}

static void run_snippet(void)
{
    errno = SCENE_ERRNO;
    current->run(current->call);
}

/* A snippet that does not come back gets a child to end. */
static void run_snippet_to_the_end(void)
{
    if ((current->traits & ENDS) == 0) {
        run_snippet();
        return;
    }
    pid_t child = fork();
    if (child == 0) {
        run_snippet();
        _exit(97);
    }
    note_child(child);
}

static void handler(int signal)
{
    (void)signal;
    run_snippet_to_the_end();
}

static void in_signal_handler(void)
{
    struct sigaction action = {.sa_handler = handler};
    sigaction(SIGUSR1, &action, NULL);
    raise(SIGUSR1);
}

static void in_vfork_child(void)
{
    pid_t child = vfork();
    if (child == 0) {
        run_snippet();
        _exit(0);
    }
    errno = SCENE_ERRNO;
    note_child(child);
}

static void in_fork_child(void)
{
    pid_t child = fork();
    if (child == 0) {
        run_snippet();
        exit(0);
    }
    note_child(child);
}

static void *thread_body(void *unused)
{
    if (place->context == CANCELLED_THREAD) {
        pthread_cancel(pthread_self());
    } else if (place->context == UNCANCELLED_THREAD) {
        pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, NULL);
        pthread_cancel(pthread_self());
    }
    run_snippet_to_the_end();
    return unused;
}

/* Runs the snippet in a thread; whatever happened to that, nobody who writes afterwards is kept waiting. */
static void in_thread(void)
{
    pthread_t thread;
    void *result = NULL;
    if (pthread_create(&thread, NULL, thread_body, NULL) != 0) {
        note("no thread", -1);
        return;
    }
    int joined = pthread_join(thread, &result);
    errno = SCENE_ERRNO;
    note("pthread_join", joined);
    /* Whether stdio acts on a cancellation is not for us to say: POSIX lets it. */
    if (place->context != CANCELLED_THREAD || (current->traits & CANCEL_POINT) != 0) {
        note("cancelled", result == PTHREAD_CANCELED);
    }
    if (place->context == CANCELLED_THREAD) {
        double begun = raw_seconds();
        if (scene.fd < 0) {
            scene.fd = open_log();
        }
        write_after(scene.fd);
        other_process_writes("line");
        expect_text("other\n");
        note("without delay", raw_seconds() - begun < STALLED);
    }
}

static bool is_live(int fd)
{
    return raw_is_on(fd, scene.log);
}

/* What must be true afterwards, whatever the snippet was. */
static void final_notes(void)
{
    bool of_child = place->context == FORK_CHILD || place->context == VFORK_CHILD;
    if (scene.fd >= 0 && of_child && (current->traits & OPENS) == 0) {
        write_after(scene.fd);
    }
    if (place->source == STANDARD_BOTH || place->source == STANDARD_STALE) {
        if (raw_fcntl(2, F_GETFD, 0) >= 0) {
            write_after(2);
            note("2 on the live file", is_live(2));
        }
    }
    if (scene.fd >= 0 && place->context != PREINIT && (current->traits & LEAVES) == 0 &&
        ((current->traits & ENDS) == 0 || of_child)) {
        note("on the live file", is_live(scene.fd));
    }
    for (int fd = 0; fd < 100; fd++) {
        if (raw_fcntl(fd, F_GETFD, 0) >= 0) {
            char what[32];
            snprintf(what, sizeof what, "descriptor %d", fd);
            errno = SCENE_ERRNO;
            note_flags(what, fd);
        }
    }
}

static void open_source_of_scene(void)
{
    scene.append = place->source == WITHOUT_APPEND ? 0 : O_APPEND;
    scene.fd = -1;
    if (place->source >= STANDARD_BOTH) {
        scene.fd = 1;
    } else if (place->source >= INHERITED) {
        scene.fd = 3;
    } else if ((current->traits & OPENS) == 0) {
        scene.fd = open_log();
        lseek(scene.fd, 0, SEEK_END); /* so that it appends all the same, without O_APPEND and the library */
    }
    if (place->source == STALE) {
        other_process_writes("filler");
    }
}

static void run_in_context(void)
{
    switch (place->context) {
    case SIGNAL_HANDLER:
        in_signal_handler();
        break;
    case VFORK_CHILD:
        in_vfork_child();
        break;
    case FORK_CHILD:
        in_fork_child();
        break;
    case SECOND_THREAD:
    case CANCELLED_THREAD:
    case UNCANCELLED_THREAD:
        in_thread();
        break;
    default:
        run_snippet_to_the_end();
    }
}

/* Does what the environment asks for, if it is for one of the contexts first to last. */
static bool situation_run(char *const environment[], enum context first, enum context last)
{
    const char *snippet = variable(environment, "SITUATION_SNIPPET");
    const char *situation = variable(environment, "SITUATION_PLACE");
    const char *directory = variable(environment, "SITUATION_DIRECTORY");
    if (snippet == NULL || situation == NULL || directory == NULL || variable(environment, "SITUATION_OTHER")) {
        return false;
    }
    current = snippet_at(strtoul(snippet, NULL, 10));
    place = &situations[strtoul(situation, NULL, 10)];
    if (current == NULL || place->context < first || place->context > last) {
        return false;
    }
    unsetenv("SITUATION_SNIPPET"); /* or a shell started by the snippet would run it again in a constructor */
    scene.hook = current->hook;
    snprintf(scene.directory, sizeof scene.directory, "%s", directory);
    snprintf(scene.log, sizeof scene.log, "%s/app.log", directory);
    snprintf(scene.line, sizeof scene.line, "%s, %s\n", current->hook, place->name);
    errno = SCENE_ERRNO;
    open_source_of_scene();
    run_in_context();
    final_notes();
    return true;
}

#endif
