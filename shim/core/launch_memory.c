/*
 * The memory of a go-between that stays: nothing of the program's but what it runs in.
 */
#include "launch_private.h"

#include <stddef.h>
#include <sys/syscall.h>

/* Where this library (or the program that it is linked into) begins and ends in memory: the linker's own symbols. */
extern const char __ehdr_start[] __attribute__((visibility("hidden")));
extern const char _end[] __attribute__((visibility("hidden")));

enum { PAGE = 4096, RANGES = 3 };

struct range {
    uintptr_t begin;
    uintptr_t end;
};

LAUNCH_OUTSIDE static void set_range(struct range *range, uintptr_t begin, uintptr_t end)
{
    range->begin = begin & ~(uintptr_t)(PAGE - 1);
    range->end = (end + PAGE - 1) & ~(uintptr_t)(PAGE - 1);
}

/* The kernel writes to the thread's restartable sequence area (rseq), which libc has just behind the thread pointer. */
LAUNCH_OUTSIDE static uintptr_t thread_pointer(void)
{
    uintptr_t pointer = 0;
#ifdef __x86_64__
    __asm__("movq %%fs:0, %0" : "=r"(pointer));
#endif
    return pointer;
}

LAUNCH_OUTSIDE static void sort(struct range *ranges)
{
    for (int i = 1; i < RANGES; i++) {
        for (int j = i; j > 0 && ranges[j].begin < ranges[j - 1].begin; j--) {
            const struct range swapped = ranges[j];
            ranges[j] = ranges[j - 1];
            ranges[j - 1] = swapped;
        }
    }
}

/* Elsewhere than on x86-64 the copy stays: how far memory goes, and where rseq is, is not known here. */
LAUNCH_OUTSIDE void launch_forget_memory(const void *kept, size_t size)
{
    const uintptr_t top = 0x7ffffffff000; /* 47 bits, without the last page */
    const uintptr_t thread = thread_pointer();
    struct range ranges[RANGES];
    uintptr_t at = PAGE;
    if (thread == 0) {
        return;
    }
    set_range(&ranges[0], (uintptr_t)__ehdr_start, (uintptr_t)_end);
    set_range(&ranges[1], (uintptr_t)kept, (uintptr_t)kept + size);
    set_range(&ranges[2], thread - PAGE, thread + 2 * (uintptr_t)PAGE);
    sort(ranges);
    for (int i = 0; i < RANGES; i++) {
        if (ranges[i].begin > at) {
            launch_call(SYS_munmap, (long)at, (long)(ranges[i].begin - at), 0, 0);
        }
        at = ranges[i].end > at ? ranges[i].end : at;
    }
    launch_call(SYS_munmap, (long)at, (long)(top - at), 0, 0);
}
