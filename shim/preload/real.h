/*
 * The next definition of every intercepted function: libc's, or another preloaded library's.
 *
 * Usable at any moment: each pointer starts at a resolver that puts the definition in its place, so a call costs no
 * branch.
 */
#ifndef MPLOGSHIM_REAL_H
#define MPLOGSHIM_REAL_H

#include <aio.h>
#include <fcntl.h>
#include <pty.h>
#include <setjmp.h>
#include <signal.h>
#include <spawn.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <wchar.h>

/* A macro where the compiler optimizes. */
#undef fwrite_unlocked

#define HOOK(result, name, parameters, arguments)                 result(*name) parameters;
#define HOOK_VARIADIC(result, name, parameters, named, arguments) result(*name) parameters;
#define HOOK_ONLY(name)
#define HOOK_ALIAS(alias, name)
#define HOOK_DATA(name)
struct real_functions {
#include "hooks.def"
};
#undef HOOK
#undef HOOK_VARIADIC
#undef HOOK_ONLY
#undef HOOK_ALIAS
#undef HOOK_DATA

extern struct real_functions real;

/* Finds the libraries of which the pointers are read, each when it is first used; else looks all of them up at once.
 * Called by the constructor; a call before that asks dlsym. */
void real_start(void);

/*
 * libc's own functions, whoever else has some by these names: sanitizers put a cookie of theirs for ours, and take a
 * clone for a fork.
 */
struct libc_functions {
    FILE *(*fopencookie)(void *cookie, const char *mode, cookie_io_functions_t functions);
    int (*clone)(int (*function)(void *), void *stack, int flags, void *argument, ...);
};
extern struct libc_functions libc;

/* Another libc has other streams: the library is inert then. */
bool real_is_glibc(void);

/*
 * Whether the program's calls come to this copy of the library: not to a second one (preloaded under another path), nor
 * to one that the program opened itself, in its own namespace or in another (dlmopen). Two that are active would drop
 * each other's locks.
 */
bool real_is_reached(void);

/* Whether clock_gettime is libc's own, and no fake one. */
bool real_has_libc_clock(void);

/* The library's own file as it was named when it was loaded: perhaps relative to the starting directory; or NULL. */
const char *real_library_path(void);

/* For the definition of a hook, and of another name of a hook defined in the same file. */
#define EXPORT __attribute__((visibility("default")))
#ifndef __clang__
#pragma GCC diagnostic ignored "-Wmissing-attributes" /* an alias need not be leaf and nothrow as its target */
#endif
#define EXPORT_ALIAS(other, name) extern __typeof__(name) other EXPORT __attribute__((alias(#name)))

#endif
