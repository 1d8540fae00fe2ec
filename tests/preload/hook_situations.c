/*
 * Every function of the hook table, in every situation that makes sense for it.
 *
 * Each snippet is run twice, without the library and with it, in a process of its own each. The transcripts (return
 * values, errno, open descriptors and their flags) must be the same; the log's history must be exactly what was
 * written before, followed by what the snippet wrote; and since the log is full when the snippet begins, that must
 * have rotated it.
 */
#include "situation_process.h"

static char base_directory[PATH_MAX];

static const char *const hook_names[] = {
#define HOOK(result, name, parameters, arguments)                 #name,
#define HOOK_VARIADIC(result, name, parameters, named, arguments) #name,
#define HOOK_ONLY(name)                                           #name,
#define HOOK_ALIAS(alias, name)                                   #alias,
#define HOOK_DATA(name)
#include "../../shim/preload/hooks.def"
};

/* The process that another_process_writes() starts. */
static int other_process(const char *what)
{
    char filler[FILLER + 1];
    make_filler(filler, "other");
    int fd = open(getenv("SITUATION_LOG"), O_WRONLY | O_APPEND);
    const char *text = strcmp(what, "filler") == 0 ? filler : "other\n";
    return fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text) ? 0 : 1;
}

static bool makes_sense(const struct snippet *snippet, const struct situation *situation)
{
    int traits = snippet->traits;
    bool standard = situation->source >= STANDARD_BOTH;
    if ((traits & STANDARD) != 0 && !standard) {
        return false;
    }
    if ((traits & OPENS) != 0 && situation->source != OPENED && situation->source != WITHOUT_APPEND) {
        return false;
    }
    switch (situation->context) {
    case PREINIT:
    case SIGNAL_HANDLER:
    case VFORK_CHILD:
        return (traits & SIGNAL_SAFE) != 0 && !(situation->context == PREINIT && (traits & ENDS) != 0);
    case CANCELLED_THREAD:
        return (traits & ENDS) == 0;
    default:
        return true;
    }
}

/* A report that is printed in one piece, as two workers print. */
static char report[1 << 20];
static size_t report_length;

__attribute__((format(printf, 1, 2))) static void say(const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    int length = vsnprintf(report + report_length, sizeof report - report_length, format, arguments);
    va_end(arguments);
    if (length > 0 && report_length + (size_t)length < sizeof report) {
        report_length += (size_t)length;
    }
}

static const char *next_line(const char *text)
{
    const char *end = strchr(text, '\n');
    return end != NULL ? end + 1 : text + strlen(text);
}

/* The first lines that differ of two texts. */
static void say_difference(const char *what, const char *wanted, const char *got)
{
    for (int said = 0; said < 3 && (*wanted != '\0' || *got != '\0');
         wanted = next_line(wanted), got = next_line(got)) {
        size_t length = strcspn(wanted, "\n");
        if (length != strcspn(got, "\n") || memcmp(wanted, got, length) != 0) {
            say("#     %s: expected \"%.*s\", got \"%.*s\"\n", what, (int)length, wanted, (int)strcspn(got, "\n"), got);
            said++;
        }
    }
}

/* Filler before, then what the situation adds, then what the snippet did. */
static bool history_is_right(const struct outcome *outcome, const struct situation *situation, bool say_it)
{
    char *wanted = calloc(1, 2 * (FILLER + 1) + strlen(outcome->expected) + 1);
    bool stale =
        situation->source == STALE || situation->source == INHERITED_STALE || situation->source == STANDARD_STALE;
    make_filler(wanted, "prior");
    if (stale) {
        make_filler(wanted + FILLER, "other");
    }
    strcat(wanted, outcome->expected);
    bool right = strcmp(wanted, outcome->history) == 0;
    if (!right && say_it) {
        say_difference("history", wanted, outcome->history);
    }
    free(wanted);
    return right;
}

/*
 * stdio may act on a pending cancellation or not, before or after it has written, so only that much is certain: both
 * later writes are there, and were made without delay.
 */
static void say_faults_of_cancelled(const struct outcome *outcome)
{
    if (strstr(outcome->transcript, "without delay = 1") == NULL) {
        say("#     a write after the cancellation was kept waiting\n");
    }
    if (strstr(outcome->history, "after\n") == NULL || strstr(outcome->history, "other\n") == NULL) {
        say("#     a write after the cancellation is missing\n");
    }
}

/* Runs a snippet in a situation without and with the library and compares. */
static bool compare(size_t snippet, size_t situation, const char *directory)
{
    const struct snippet *what = snippet_at(snippet);
    const struct situation *where = &situations[situation];
    bool stale = where->source == STALE || where->source == INHERITED_STALE || where->source == STANDARD_STALE;
    struct outcome plain = run(directory, snippet, situation, false);
    struct outcome shimmed = run(directory, snippet, situation, true);
    size_t before = report_length;
    say("#   %s:\n", where->name);
    size_t headed = report_length;
    bool uncertain = where->context == CANCELLED_THREAD && (what->traits & CANCEL_POINT) == 0;
    if (uncertain) {
        say_faults_of_cancelled(&shimmed);
    } else if (plain.status != 0 || *plain.expected == '\0' ||
               (!history_is_right(&plain, where, false) && where->source != WITHOUT_APPEND &&
                (what->traits & TRUNCATES) == 0)) {
        say("#     the snippet itself fails without the library, status %d\n", plain.status);
        history_is_right(&plain, where, true);
    }
    if (shimmed.status != 0) {
        say("#     wait status %d\n", shimmed.status);
    }
    if (!uncertain) {
        if (strcmp(plain.transcript, shimmed.transcript) != 0) {
            say_difference("results", plain.transcript, shimmed.transcript);
        }
        history_is_right(&shimmed, where, true);
    }
    /* A vfork child that opens a log of its own does not attach: its memory is the parent's. */
    bool attached = where->context != VFORK_CHILD || (what->traits & OPENS) == 0;
    if (attached && shimmed.archives != (stale ? 2U : 1U)) {
        say("#     %zu archives, expected %u\n", shimmed.archives, stale ? 2U : 1U);
    }
    if (attached && !shimmed.lock_file) {
        say("#     no lock file\n");
    }
    if (*shimmed.messages != '\0') {
        say("#     says \"%.*s\"\n", (int)strcspn(shimmed.messages, "\n"), shimmed.messages);
    }
    free_outcome(&plain);
    free_outcome(&shimmed);
    if (report_length == headed) {
        report_length = before;
        return true;
    }
    return false;
}

static bool every_situation(size_t snippet, const char *directory)
{
    int good = 0;
    int bad = 0;
    report_length = 0;
    for (size_t situation = 0; situation < COUNT(situations); situation++) {
        if (makes_sense(snippet_at(snippet), &situations[situation])) {
            if (compare(snippet, situation, directory)) {
                good++;
            } else {
                bad++;
            }
        }
    }
    say("%s - %s does what it does without the library in each of %d situations", bad == 0 ? "ok" : "not ok",
        snippet_at(snippet)->hook, good + bad);
    say(bad == 0 ? "\n" : ": not in %d\n", bad);
    return raw_syscall(SYS_write, 1, report, report_length) == (long)report_length && bad == 0;
}

static bool every_hook_has_a_snippet(void)
{
    bool all = true;
    for (size_t i = 0; i < COUNT(hook_names); i++) {
        bool found = false;
        for (size_t n = 0; snippet_at(n) != NULL && !found; n++) {
            found = strcmp(snippet_at(n)->hook, hook_names[i]) == 0;
        }
        if (!found) {
            printf("# no snippet for %s\n", hook_names[i]);
            all = false;
        }
    }
    printf("%s - every_hook_of_the_table_has_a_snippet\n", all ? "ok" : "not ok");
    fflush(stdout);
    return all;
}

/* Two workers share the snippets. Names on the command line select snippets. */
static bool worker(size_t first, size_t step, int count, char **names)
{
    char directory[PATH_MAX + 16];
    bool all = true;
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGCHLD);
    sigprocmask(SIG_BLOCK, &set, NULL);
    snprintf(directory, sizeof directory, "%s/%zu", base_directory, first);
    if (mkdir(directory, 0700) != 0) {
        return false;
    }
    for (size_t snippet = first; snippet_at(snippet) != NULL; snippet += step) {
        bool wanted = count <= 1;
        for (int i = 1; i < count; i++) {
            wanted = wanted || strcmp(names[i], snippet_at(snippet)->hook) == 0;
        }
        if (wanted) {
            all = every_situation(snippet, directory) && all;
        }
    }
    rmdir(directory);
    return all;
}

static int main_worker(int count, char **names)
{
    const char *parent = getenv("TMPDIR") != NULL ? getenv("TMPDIR") : "/tmp";
    shim = getenv("TEST_SHIM") != NULL ? getenv("TEST_SHIM") : "";
    early = getenv("TEST_EARLY") != NULL ? getenv("TEST_EARLY") : "";
    outside_start();
    snprintf(base_directory, sizeof base_directory, "%s/hook_situations.XXXXXX", parent);
    if (mkdtemp(base_directory) == NULL || *early == '\0') {
        printf("Bail out! no temporary directory, or TEST_EARLY (libearly.so) is not set\n");
        return 1;
    }
    bool all = count > 1 || every_hook_has_a_snippet();
    pid_t second = fork();
    if (second == 0) {
        _exit(worker(1, 2, count, names) ? 0 : 1);
    }
    all = worker(0, 2, count, names) && all;
    int status = -1;
    waitpid(second, &status, 0);
    rmdir(base_directory);
    return all && status == 0 ? 0 : 1;
}

static bool done_before_constructors;

static void before_constructors(int count, char **arguments, char **environment)
{
    (void)count;
    (void)arguments;
    done_before_constructors = situation_run(environment, PREINIT, PREINIT);
}

__attribute__((section(".preinit_array"), used)) static void (*const preinit)(int, char **,
                                                                              char **) = before_constructors;

int main(int count, char **names)
{
    if (getenv("SITUATION_OTHER") != NULL) {
        return other_process(getenv("SITUATION_OTHER"));
    }
    if (getenv("SITUATION_LOG") == NULL) {
        return main_worker(count, names);
    }
    if (done_before_constructors) {
        errno = SCENE_ERRNO;
        write_after(scene.fd);
    }
    situation_run(environ, MAIN, MAIN);
    situation_run(environ, SIGNAL_HANDLER, UNCANCELLED_THREAD);
    return 0;
}
