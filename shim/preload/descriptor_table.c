#include "descriptor_table.h"

#include "core/sys.h"

#include <stdatomic.h>
#include <stddef.h>

/*
 * Up to the kernel's default limit (fs.nr_open), in pages that are made when one of their descriptors is looked at;
 * small, because programs that lock all of their memory would lock it too. The first one is of nearly every descriptor
 * of nearly every process.
 */
enum { TABLE_SIZE = 1 << 20 };
unsigned descriptor_near;
SYS_FIRST uintptr_t descriptor_first_page[DESCRIPTOR_PAGE];
static SYS_SELDOM uintptr_t *more_pages[TABLE_SIZE / DESCRIPTOR_PAGE];
static atomic_int highest_managed = -1;

void descriptor_use_table(bool used)
{
    __atomic_store_n(&descriptor_near, used ? DESCRIPTOR_PAGE : 0, __ATOMIC_RELAXED);
}

bool descriptor_active(void)
{
    return __atomic_load_n(&descriptor_near, __ATOMIC_RELAXED) != 0;
}

/* The page with the number's word, or NULL if it is not there yet. */
static uintptr_t *page_of(int fd)
{
    return fd < DESCRIPTOR_PAGE ? descriptor_first_page
                                : __atomic_load_n(&more_pages[fd / DESCRIPTOR_PAGE], __ATOMIC_ACQUIRE);
}

static bool has_word(int fd)
{
    return descriptor_active() && (unsigned)fd < TABLE_SIZE;
}

__attribute__((noinline)) uintptr_t descriptor_far_state(int fd)
{
    if (!has_word(fd)) {
        return DESCRIPTOR_PLAIN;
    }
    const uintptr_t *page = page_of(fd);
    return page == NULL ? DESCRIPTOR_UNKNOWN : __atomic_load_n(&page[fd % DESCRIPTOR_PAGE], __ATOMIC_ACQUIRE);
}

static uintptr_t *make_page(uintptr_t **slot)
{
    uintptr_t *none = NULL;
    uintptr_t *page = sys_reserve(DESCRIPTOR_PAGE * sizeof *page);
    if (page != NULL && !__atomic_compare_exchange_n(slot, &none, page, false, __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE)) {
        sys_give_back(page, DESCRIPTOR_PAGE * sizeof *page); /* another thread was faster */
        page = none;
    }
    return page;
}

SYS_START void descriptor_set_state(int fd, uintptr_t state)
{
    if (!has_word(fd)) {
        return;
    }
    uintptr_t *page = page_of(fd);
    if (page == NULL && state != DESCRIPTOR_UNKNOWN) {
        page = make_page(&more_pages[fd / DESCRIPTOR_PAGE]);
    }
    if (page == NULL) {
        return; /* no memory: it stays unknown and is looked at each time */
    }
    int highest = highest_managed;
    while (state >= DESCRIPTOR_LOCK && fd > highest && !atomic_compare_exchange_weak(&highest_managed, &highest, fd)) {
    }
    __atomic_store_n(&page[fd % DESCRIPTOR_PAGE], state, __ATOMIC_RELEASE);
}

void descriptor_forget_plain(int fd)
{
    uintptr_t plain = DESCRIPTOR_PLAIN;
    uintptr_t *page = has_word(fd) ? page_of(fd) : NULL;
    if (page != NULL) {
        __atomic_compare_exchange_n(&page[fd % DESCRIPTOR_PAGE], &plain, DESCRIPTOR_UNKNOWN, false, __ATOMIC_ACQ_REL,
                                    __ATOMIC_RELAXED);
    }
}

int descriptor_highest_managed(void)
{
    return highest_managed;
}
