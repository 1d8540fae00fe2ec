/*
 * A name in the hash table of a loaded library. Pure reading of mapped memory: no lock, no call.
 */
#ifndef MPLOGSHIM_SYMBOL_H
#define MPLOGSHIM_SYMBOL_H

#include <link.h>
#include <stdbool.h>
#include <stdint.h>

/* What is needed of a loaded library to look a name up in it. */
struct symbol_table {
    uintptr_t base;
    const ElfW(Sym) * symbols;
    const char *names;
    const ElfW(Half) * versions; /* or NULL */
    const uint32_t *hash;
};

/* By the dynamic section of a library that is loaded at `base`. False: it has no table of this kind (DT_GNU_HASH). */
bool symbol_table_of(uintptr_t base, const ElfW(Dyn) * dynamic, struct symbol_table *table);

uint32_t symbol_hash(const char *name);

/* What the library defines by this name, in no particular version, or NULL. `hash` is the name's. */
const ElfW(Sym) * symbol_find(const struct symbol_table *table, const char *name, uint32_t hash);

#endif
