#include "symbol.h"

#include "sys.h"

#include <elf.h>
#include <string.h>

/* The kernel's own library (vDSO) has not had its addresses relocated, nor any other read-only dynamic section. */
static const void *address_of(uintptr_t base, const ElfW(Dyn) * entry)
{
    uintptr_t value = entry->d_un.d_ptr;
    return (const void *)(value < base ? value + base : value);
}

SYS_START bool symbol_table_of(uintptr_t base, const ElfW(Dyn) * dynamic, struct symbol_table *table)
{
    *table = (struct symbol_table){.base = base};
    for (const ElfW(Dyn) *entry = dynamic; entry->d_tag != DT_NULL; entry++) {
        switch (entry->d_tag) {
        case DT_GNU_HASH:
            table->hash = address_of(base, entry);
            break;
        case DT_SYMTAB:
            table->symbols = address_of(base, entry);
            break;
        case DT_STRTAB:
            table->names = address_of(base, entry);
            break;
        case DT_VERSYM:
            table->versions = address_of(base, entry);
            break;
        default:
            break;
        }
    }
    return table->hash != NULL && table->symbols != NULL && table->names != NULL;
}

uint32_t symbol_hash(const char *name)
{
    uint32_t hash = 5381;
    for (; *name != '\0'; name++) {
        hash = hash * 33 + (unsigned char)*name;
    }
    return hash;
}

/* Not the old versions of a symbol, which are hidden from who asks for none in particular. */
static bool is_definition(const struct symbol_table *table, uint32_t index)
{
    enum { HIDDEN = 0x8000 };
    const ElfW(Sym) *symbol = &table->symbols[index];
    return symbol->st_shndx != SHN_UNDEF && symbol->st_value != 0 && ELF64_ST_BIND(symbol->st_info) != STB_LOCAL &&
           (table->versions == NULL || (table->versions[index] & HIDDEN) == 0);
}

/*
 * The layout of DT_GNU_HASH: a header of four words, a Bloom filter of addresses' width, buckets, and the chains of
 * hashes of all symbols from `first` on, of which the last in a chain has the lowest bit set.
 */
SYS_START const ElfW(Sym) * symbol_find(const struct symbol_table *table, const char *name, uint32_t hash)
{
    enum { WORD = 8 * sizeof(ElfW(Addr)) };
    const uint32_t *header = table->hash;
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
        if ((other | 1) == (hash | 1) && strcmp(table->names + table->symbols[index].st_name, name) == 0 &&
            is_definition(table, index)) {
            return &table->symbols[index];
        }
        last = (other & 1) != 0;
    }
    return NULL;
}
