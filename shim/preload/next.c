#include "next.h"

#include <elf.h>
#include <stdbool.h>
#include <string.h>

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

/* The kernel's own library (vDSO) has not had its addresses relocated, nor any other read-only dynamic section. */
static const void *address_of(const struct link_map *map, const ElfW(Dyn) * entry)
{
    uintptr_t value = entry->d_un.d_ptr;
    return (const void *)(value < map->l_addr ? value + map->l_addr : value);
}

/* False: it cannot be searched like this. */
static bool describe(const struct link_map *map, struct next_library *library)
{
    *library = (struct next_library){.base = map->l_addr};
    for (const ElfW(Dyn) *entry = map->l_ld; entry->d_tag != DT_NULL; entry++) {
        switch (entry->d_tag) {
        case DT_GNU_HASH:
            library->hash = address_of(map, entry);
            break;
        case DT_SYMTAB:
            library->symbols = address_of(map, entry);
            break;
        case DT_STRTAB:
            library->names = address_of(map, entry);
            break;
        case DT_VERSYM:
            library->versions = address_of(map, entry);
            break;
        default:
            break;
        }
    }
    return library->hash != NULL && library->symbols != NULL && library->names != NULL;
}

/* Of a program with more libraries the first ones are searched: what is not found there, the loader finds. */
void next_start(struct next *next)
{
    const struct link_map *map = next_self();
    next->count = 0;
    for (map = map == NULL ? NULL : map->l_next; map != NULL && next->count < NEXT_LIBRARIES; map = map->l_next) {
        if (!describe(map, &next->libraries[next->count])) {
            next->count = 0;
            return;
        }
        next->count++;
    }
}

static uint32_t hash_of(const char *name)
{
    uint32_t hash = 5381;
    for (; *name != '\0'; name++) {
        hash = hash * 33 + (unsigned char)*name;
    }
    return hash;
}

/* Not the old versions of a symbol, which are hidden from who asks for none in particular. */
static bool is_definition(const struct next_library *library, uint32_t index)
{
    enum { HIDDEN = 0x8000 };
    const ElfW(Sym) *symbol = &library->symbols[index];
    return symbol->st_shndx != SHN_UNDEF && symbol->st_value != 0 && ELF64_ST_BIND(symbol->st_info) != STB_LOCAL &&
           (library->versions == NULL || (library->versions[index] & HIDDEN) == 0);
}

/*
 * The layout of DT_GNU_HASH: a header of four words, a Bloom filter of addresses' width, buckets, and the chains of
 * hashes of all symbols from `first` on, of which the last in a chain has the lowest bit set.
 */
static const ElfW(Sym) * find_in(const struct next_library *library, const char *name, uint32_t hash)
{
    enum { WORD = 8 * sizeof(ElfW(Addr)) };
    const uint32_t *header = library->hash;
    uint32_t buckets = header[0];
    uint32_t first = header[1];
    uint32_t words = header[2];
    const ElfW(Addr) *filter = (const ElfW(Addr) *)(const void *)(header + 4);
    const uint32_t *bucket = (const uint32_t *)(const void *)(filter + words);
    const uint32_t *chain = bucket + buckets;
    ElfW(Addr) word = filter[hash / WORD & (words - 1)];
    if (buckets == 0 || (word >> hash % WORD & word >> (hash >> header[3]) % WORD & 1) == 0) {
        return NULL;
    }
    uint32_t index = bucket[hash % buckets];
    for (bool last = index < first; !last; index++) {
        uint32_t other = chain[index - first];
        if ((other | 1) == (hash | 1) && strcmp(library->names + library->symbols[index].st_name, name) == 0 &&
            is_definition(library, index)) {
            return &library->symbols[index];
        }
        last = (other & 1) != 0;
    }
    return NULL;
}

void *next_find(const struct next *next, const char *name)
{
    uint32_t hash = hash_of(name);
    for (size_t i = 0; i < next->count; i++) {
        const ElfW(Sym) *symbol = find_in(&next->libraries[i], name, hash);
        if (symbol != NULL) {
            bool function = ELF64_ST_TYPE(symbol->st_info) == STT_FUNC && symbol->st_shndx != SHN_ABS;
            return function ? (void *)(next->libraries[i].base + symbol->st_value) : NULL;
        }
    }
    return NULL;
}
