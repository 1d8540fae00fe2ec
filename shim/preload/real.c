#include "real.h"

#include "next.h"

#include "core/sys.h"

#include <dlfcn.h>
#include <errno.h>
#include <gnu/libc-version.h>
#include <sched.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <time.h>

#pragma GCC diagnostic ignored "-Wmissing-noreturn"

/* Written once, before there are threads. */
static struct next libraries;

typedef void *__attribute__((may_alias)) any_pointer;
static void resolve(any_pointer *pointer, const char *name);

#define HOOK(result, name, parameters, arguments)                                                                      \
    static result resolve_##name parameters                                                                            \
    {                                                                                                                  \
        resolve((any_pointer *)&real.name, #name);                                                                     \
        return real.name arguments;                                                                                    \
    }
#define HOOK_VARIADIC(result, name, parameters, named, arguments) HOOK(result, name, named, arguments)
#define HOOK_ONLY(name)
#define HOOK_ALIAS(alias, name)
#define HOOK_DATA(name)
#include "hooks.def"
#undef HOOK
#undef HOOK_VARIADIC

#define HOOK(result, name, parameters, arguments)                 .name = resolve_##name,
#define HOOK_VARIADIC(result, name, parameters, named, arguments) .name = (result(*) parameters)resolve_##name,
struct real_functions real = {
#include "hooks.def"
};
#undef HOOK
#undef HOOK_VARIADIC

/* Stands in for a function that this libc does not have: nobody can have linked against it. */
static long missing(void)
{
    errno = ENOSYS;
    return -1;
}

/*
 * Read out of the libraries, so that it may wait for the first call, in whatever place that is. A process calls ten of
 * them, and looking all 150 up takes 20 microseconds, by dlsym 60.
 */
static void *look_up(const char *name)
{
    void *next = next_find(&libraries, name);
    next = next == NULL ? dlsym(RTLD_NEXT, name) : next;
    if (next == NULL) {
        long (*stand_in)(void) = missing;
        __builtin_memcpy(&next, &stand_in, sizeof next);
    }
    return next;
}

/*
 * Threads that do so at once find the same, and a call reads one word, the old one or the new. Apart, as the stack of a
 * call should not grow.
 */
static SYS_START __attribute__((noinline)) void resolve(any_pointer *pointer, const char *name)
{
    int saved = errno;
    __atomic_store_n(pointer, look_up(name), __ATOMIC_RELAXED);
    errno = saved;
}

struct libc_functions libc = {.clone = clone};

/* libc is the library that has a function which nobody else would. It is not there in a program of musl's. */
#pragma weak gnu_get_libc_version

bool real_is_glibc(void)
{
    return gnu_get_libc_version != NULL;
}

#if defined(__x86_64__)
#define FIRST_VERSION "GLIBC_2.2.5"
#elif defined(__aarch64__)
#define FIRST_VERSION "GLIBC_2.17"
#else
#define FIRST_VERSION "" /* not known here */
#endif

#pragma weak dlvsym

/*
 * By the version, which only libc's own has, where its table is not known. Not by opening libc: before its constructor
 * has run, which is after this library's, dlopen would run it, without arguments and environment.
 */
static void *look_up_in_libc(const char *name, void *linked)
{
    void *own = next_find_in_libc(&libraries, name);
    if (own == NULL && dlvsym != NULL) {
        own = dlvsym(RTLD_NEXT, name, FIRST_VERSION);
    }
    return own == NULL ? linked : own;
}

#define LOOK_UP_IN_LIBC(name)                                                                                          \
    next = look_up_in_libc(#name, (void *)(uintptr_t)name);                                                            \
    __builtin_memcpy(&libc.name, &next, sizeof next)

EXPORT const char mplogshim_first_copy = 0;

/* By its own name for it, which no other copy can have. */
extern const char this_copy __attribute__((alias("mplogshim_first_copy"), visibility("hidden")));

bool real_is_reached(void)
{
    int first = libraries.libc == NULL ? -1 : next_is_first("mplogshim_first_copy");
    if (first >= 0) {
        return first == 1;
    }
    void *program = dlopen(NULL, RTLD_LAZY | RTLD_NOLOAD);
    return program == NULL || dlsym(program, "mplogshim_first_copy") == &this_copy;
}

bool real_has_libc_clock(void)
{
    Dl_info clock;
    Dl_info libc_itself;
    return dladdr((const void *)(uintptr_t)clock_gettime, &clock) != 0 &&
           dladdr((const void *)(uintptr_t)gnu_get_libc_version, &libc_itself) != 0 &&
           clock.dli_fbase == libc_itself.dli_fbase;
}

const char *real_library_path(void)
{
    Dl_info found;
    const struct link_map *self = next_self();
    if (self != NULL) {
        return self->l_name;
    }
    return dladdr((const void *)&real, &found) != 0 ? found.dli_fname : NULL;
}

/* ThreadSanitizer wants words that are read while others write them to be read by other means than a call. */
#ifdef __SANITIZE_THREAD__
#define SEES_EVERY_WORD true
#else
#define SEES_EVERY_WORD false
#endif

/* Where only dlsym can tell, everything is looked up now: it takes a lock. */
static void resolve_all(void)
{
#define HOOK(result, name, parameters, arguments)                 resolve((any_pointer *)&real.name, #name);
#define HOOK_VARIADIC(result, name, parameters, named, arguments) HOOK(result, name, named, arguments)
#include "hooks.def"
}

void real_start(void)
{
    int saved = errno;
    void *next;
    next_start(&libraries, "gnu_get_libc_version");
    if (libraries.libc == NULL || SEES_EVERY_WORD) {
        resolve_all();
    }
    LOOK_UP_IN_LIBC(fopencookie);
    LOOK_UP_IN_LIBC(clone);
    errno = saved;
}
