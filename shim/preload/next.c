#include "next.h"

#include "core/sys.h"

#include <elf.h>
#include <stddef.h>

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

/* What a library defines by this name, or NULL. False: that cannot be told. */
static SYS_START bool look(const struct link_map *map, const char *name, uint32_t hash, void **function)
{
    struct symbol_table table;
    if (!symbol_table_of(map->l_addr, map->l_ld, &table)) {
        return false;
    }
    const ElfW(Sym) *symbol = symbol_find(&table, name, hash);
    *function = symbol == NULL ? NULL : (void *)(table.base + symbol->st_value);
    return symbol == NULL || (ELF64_ST_TYPE(symbol->st_info) == STT_FUNC && symbol->st_shndx != SHN_ABS);
}

void next_start(struct next *next, const char *in_libc)
{
    const struct link_map *self = next_self();
    uint32_t hash = symbol_hash(in_libc);
    void *found = NULL;
    *next = (struct next){.first = self == NULL ? NULL : self->l_next};
    const struct link_map *map = next->first;
    while (map != NULL && look(map, in_libc, hash, &found) && found == NULL) {
        map = map->l_next;
    }
    next->libc = found == NULL ? NULL : map;
}

SYS_START void *next_find(const struct next *next, const char *name)
{
    uint32_t hash = symbol_hash(name);
    void *found = NULL;
    for (const struct link_map *map = next->first; next->libc != NULL && found == NULL; map = map->l_next) {
        if (!look(map, name, hash, &found)) {
            return NULL;
        }
        if (map == next->libc) {
            break;
        }
    }
    return found;
}

void *next_find_in_libc(const struct next *next, const char *name)
{
    const struct next alone = {.first = next->libc, .libc = next->libc};
    return next_find(&alone, name);
}

int next_is_first(const char *name)
{
    const struct link_map *self = next_self();
    const struct link_map *map = self == NULL ? NULL : _r_debug.r_map;
    struct symbol_table table;
    uint32_t hash = symbol_hash(name);
    while (map != NULL && map != self) {
        if (!symbol_table_of(map->l_addr, map->l_ld, &table)) {
            return -1;
        }
        if (symbol_find(&table, name, hash) != NULL) {
            return 0;
        }
        map = map->l_next;
    }
    return map == NULL ? -1 : 1;
}
