/*
 * The kernel's clock without a system call: the function that it maps into every process (vDSO). Not libc's, which a
 * preloaded fake clock may have taken the place of.
 */
#include "symbol.h"
#include "sys.h"

#include <elf.h>
#include <stddef.h>
#include <string.h>
#include <sys/auxv.h>

#ifdef __aarch64__
static const char clock_name[] = "__kernel_clock_gettime";
#else
static const char clock_name[] = "__vdso_clock_gettime";
#endif

#pragma weak getauxval

static bool table_of(const ElfW(Ehdr) * header, struct symbol_table *table)
{
    const ElfW(Phdr) *segments = (const ElfW(Phdr) *)(const void *)((const char *)header + header->e_phoff);
    const ElfW(Phdr) *dynamic = NULL;
    uintptr_t base = (uintptr_t)header;
    for (int i = 0; i < header->e_phnum; i++) {
        if (segments[i].p_type == PT_LOAD) {
            base = (uintptr_t)header + segments[i].p_offset - segments[i].p_vaddr;
        } else if (segments[i].p_type == PT_DYNAMIC) {
            dynamic = &segments[i];
        }
    }
    return dynamic != NULL &&
           symbol_table_of(base, (const ElfW(Dyn) *)(const void *)((const char *)header + dynamic->p_offset), table);
}

int (*sys_vdso_clock(void))(clockid_t clock, struct timespec *now)
{
    struct symbol_table table;
    int (*function)(clockid_t, struct timespec *) = NULL;
    const ElfW(Ehdr) *header = getauxval == NULL ? NULL : (const ElfW(Ehdr) *)getauxval(AT_SYSINFO_EHDR);
    if (header != NULL && table_of(header, &table)) {
        const ElfW(Sym) *symbol = symbol_find(&table, clock_name, symbol_hash(clock_name));
        uintptr_t address = symbol == NULL ? 0 : table.base + symbol->st_value;
        memcpy(&function, &address, sizeof function);
    }
    return function;
}
