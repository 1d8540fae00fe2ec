/*
 * Linked into everything that is built with a sanitizer (SANITIZE= of the Makefile): what the runtimes would be told by
 * the environment, which helpers and keepers do not inherit, and which is not there yet when the library starts.
 *
 * Reports go to REPORTS.PID: the tests look at what is on standard error, and helpers have none. The library comes
 * before the runtime (LD_PRELOAD), and a program that ends by a signal must end by it.
 */
#include <dlfcn.h>
#include <stddef.h>
#include <unistd.h>

#define OPTION __attribute__((visibility("default"), used))

#define COMMON                                                                                                         \
    "log_path=" REPORTS                                                                                                \
    ":exitcode=99:use_sigaltstack=0:handle_segv=0:handle_sigbus=0:handle_sigfpe=0:handle_abort=0:handle_sigill=0"

OPTION const char *__asan_default_options(void);
OPTION const char *__asan_default_options(void)
{
    return COMMON ":verify_asan_link_order=0:detect_stack_use_after_return=0:detect_leaks=0";
}

/* Takes setbuffer for setbuf: as if BUFSIZ bytes were given, however many are (libasan of gcc 12). */
OPTION const char *__asan_default_suppressions(void);
OPTION const char *__asan_default_suppressions(void)
{
    return "interceptor_name:setbuffer\n";
}

OPTION const char *__ubsan_default_options(void);
OPTION const char *__ubsan_default_options(void)
{
    return COMMON ":print_stacktrace=1";
}

/*
 * The handlers of pthread_atfork run in the child before the runtime knows that it is one: what other threads of the
 * parent have done looks as if it were done just now.
 */
OPTION const char *__tsan_default_suppressions(void);
OPTION const char *__tsan_default_suppressions(void)
{
    return "race:guard_forked\n";
}

OPTION const char *__tsan_default_options(void);
OPTION const char *__tsan_default_options(void)
{
    return COMMON ":die_after_fork=0:report_signal_unsafe=0:report_thread_leaks=0";
}

/*
 * The runtime of UndefinedBehaviorSanitizer takes no notice of log_path, and is a library of its own (gcc 12). The
 * library starts before libc has, which a dlopen would start without an environment: there the program does this, or
 * what is found goes to its standard error.
 */
__attribute__((constructor)) static void undefined_behaviour_is_told_where_others_are(void)
{
    void *runtime = environ != NULL ? dlopen("libubsan.so.1", RTLD_LAZY | RTLD_NOLOAD) : NULL;
    if (runtime != NULL) {
        void (*set_path)(const char *);
        *(void **)&set_path = dlsym(runtime, "__sanitizer_set_report_path");
        set_path(REPORTS);
        dlclose(runtime);
    }
}
