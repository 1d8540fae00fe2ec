#include "next.h"

#include <elf.h>

/* The loader's list of what is loaded: at start in the order of the search. Not there with other libcs. */
#pragma weak _r_debug

/* The dynamic section of this library: every library has one of its own by this name. */
extern __attribute__((visibility("hidden"))) ElfW(Dyn) _DYNAMIC[];

const struct link_map *next_self(void)
{
    const struct link_map *map = &_r_debug == NULL ? NULL : _r_debug.r_map;
    while (map != NULL && map->l_ld != _DYNAMIC) {
        map = map->l_next;
    }
    return map;
}

/* Of a program with more libraries the first ones are searched: what is not found there, the loader finds. */
void next_start(struct next *next)
{
    const struct link_map *map = next_self();
    next->count = 0;
    for (map = map == NULL ? NULL : map->l_next; map != NULL && next->count < NEXT_LIBRARIES; map = map->l_next) {
        if (!symbol_table_of(map->l_addr, map->l_ld, &next->libraries[next->count])) {
            next->count = 0;
            return;
        }
        next->count++;
    }
}

void *next_find(const struct next *next, const char *name)
{
    uint32_t hash = symbol_hash(name);
    for (size_t i = 0; i < next->count; i++) {
        const ElfW(Sym) *symbol = symbol_find(&next->libraries[i], name, hash);
        if (symbol != NULL) {
            bool function = ELF64_ST_TYPE(symbol->st_info) == STT_FUNC && symbol->st_shndx != SHN_ABS;
            return function ? (void *)(next->libraries[i].base + symbol->st_value) : NULL;
        }
    }
    return NULL;
}
