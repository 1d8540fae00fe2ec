/*
 * The next definition of a function behind this library: what dlsym(RTLD_NEXT) finds, read out of the libraries' own
 * hash tables for a tenth of its price. Used by real.c, at start.
 *
 * Takes no lock and calls nothing, so it may run before any constructor has.
 */
#ifndef MPLOGSHIM_NEXT_H
#define MPLOGSHIM_NEXT_H

#include "core/symbol.h"

#include <stddef.h>

enum { NEXT_LIBRARIES = 64 };
struct next {
    size_t count;
    struct symbol_table libraries[NEXT_LIBRARIES];
};

/*
 * The libraries that come after this one in the order in which the loader searches them. None (then nothing is found)
 * where that is not to be known: this library was opened by the program itself or is in another namespace, or one of
 * the others has no hash table of this kind.
 */
void next_start(struct next *next);

/* Where the function is, or NULL: not there, or only the loader itself can tell (an IFUNC). */
void *next_find(const struct next *next, const char *name);

/* This library as the loader knows it, or NULL. */
const struct link_map *next_self(void);

#endif
