#include "real.h"

#include <dlfcn.h>
#include <errno.h>
#include <stddef.h>

#pragma GCC diagnostic ignored "-Wmissing-noreturn"

#define HOOK(result, name, parameters, arguments)                                                                      \
    static result resolve_##name parameters                                                                            \
    {                                                                                                                  \
        real_resolve();                                                                                                \
        return real.name arguments;                                                                                    \
    }
#define HOOK_VARIADIC(result, name, parameters, named, arguments) HOOK(result, name, named, arguments)
#define HOOK_ONLY(name)
#define HOOK_ALIAS(alias, name)
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

static void *look_up(const char *name)
{
    void *next = dlsym(RTLD_NEXT, name);
    if (next == NULL) {
        long (*stand_in)(void) = missing;
        __builtin_memcpy(&next, &stand_in, sizeof next);
    }
    return next;
}

const char *real_library_path(void)
{
    Dl_info found;
    return dladdr((const void *)&real, &found) != 0 ? found.dli_fname : NULL;
}

void real_resolve(void)
{
    int saved = errno;
    void *next;
#define HOOK(result, name, parameters, arguments)                                                                      \
    next = look_up(#name);                                                                                             \
    __builtin_memcpy(&real.name, &next, sizeof next);
#define HOOK_VARIADIC(result, name, parameters, named, arguments) HOOK(result, name, named, arguments)
#include "hooks.def"
    errno = saved;
}
