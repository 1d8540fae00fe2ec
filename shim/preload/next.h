/*
 * The next definition of a function behind this library: what dlsym(RTLD_NEXT) finds, read out of the libraries' own
 * hash tables for a tenth of its price. Used by real.c alone.
 *
 * Takes no lock and calls nothing: it may run before any constructor has, and in a signal handler.
 */
#ifndef MPLOGSHIM_NEXT_H
#define MPLOGSHIM_NEXT_H

#include "core/symbol.h"

/*
 * The libraries that come after this one in the order in which the loader searches them, up to libc. All are there from
 * the start of the process, and so are never unloaded.
 */
struct next {
    const struct link_map *first;
    const struct link_map *libc; /* NULL: not known, and nothing is found */
};

/*
 * libc is the first library that has the function `in_libc`. Not to be known if this library was opened by the program
 * itself or is in another namespace, or if one of the others has no hash table of this kind.
 */
void next_start(struct next *next, const char *in_libc);

/* Where the function is, or NULL: not there, or only the loader itself can tell (an IFUNC). */
void *next_find(const struct next *next, const char *name);

/* The same in libc, whoever else has the name before it. */
void *next_find_in_libc(const struct next *next, const char *name);

/*
 * 1: nothing before this library defines `name`, so that what the program finds is what this library defines; 0:
 * another does; -1: not to be known here. Only while libc is known.
 */
int next_is_first(const char *name);

/* This library as the loader knows it, or NULL. */
const struct link_map *next_self(void);

#endif
