#include "thread.h"

#include "guard.h"
#include "sys.h"
#include "sys_call.h"

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <stddef.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>

#if defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define SANITIZED 1
#endif
#elif defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SANITIZED 1
#endif

#ifndef SANITIZED

/* glibc's clone by its other name: sanitizers of the program's have one of their own. musl, where nothing is done, has
 * none. */
int __clone(int (*function)(void *), void *stack, int flags, void *argument, ...);
#pragma weak __clone

enum { PAGE = 4096, ROOM = 4096 /* more than glibc's struct pthread, and for what else lies about */ };

/* Where in a thread's storage something lies, from the thread pointer on. */
static ptrdiff_t offset_of(const void *variable)
{
    return (const char *)variable - (const char *)__builtin_thread_pointer();
}

static size_t page_up(ptrdiff_t size)
{
    return ((size_t)size + PAGE - 1) / PAGE * PAGE;
}

/* How far the storage that is used here reaches on both sides of the thread pointer. */
static void measure(size_t *below, size_t *above)
{
    const ptrdiff_t used[] = {offset_of(&guard_thread), offset_of(&errno)};
    ptrdiff_t lowest = 0;
    ptrdiff_t highest = 0;
    for (size_t i = 0; i < sizeof used / sizeof used[0]; i++) {
        lowest = used[i] < lowest ? used[i] : lowest;
        highest = used[i] > highest ? used[i] : highest;
    }
    *below = page_up(ROOM - lowest);
    *above = page_up(ROOM + highest);
}

/* A guard page, the stack, and the storage. */
static char *reserve(size_t size)
{
    char *memory = sys_reserve(size);
    if (memory != NULL && sys_call(SYS_mprotect, (long)memory, PAGE, PROT_NONE, 0, 0, 0) != 0) {
        sys_give_back(memory, size);
        memory = NULL;
    }
    return memory;
}

/* What compiled code reads of it: itself, and the number that guards stack frames. */
static void *make_storage(char *at)
{
#ifdef __x86_64__
    enum { SELF = 0, THREAD = 16, CANARY = 40 };
    memcpy(at + SELF, &at, sizeof at);
    memcpy(at + THREAD, &at, sizeof at);
    memcpy(at + CANARY, (const char *)__builtin_thread_pointer() + CANARY, sizeof at);
#endif
    return at;
}

int thread_start(int (*function)(void *), void *argument, uint32_t *id, void **memory)
{
    enum {
        FLAGS = CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SIGHAND | CLONE_THREAD | CLONE_SYSVSEM | CLONE_SETTLS |
                CLONE_PARENT_SETTID | CLONE_CHILD_CLEARTID
    };
    size_t below;
    size_t above;
    measure(&below, &above);
    size_t size = PAGE + THREAD_STACK_SIZE + below + above;
    if (*memory == NULL) {
        *memory = reserve(size);
    }
    if (*memory == NULL) {
        return -ENOMEM;
    }
    char *top = (char *)*memory + PAGE + THREAD_STACK_SIZE;
    memset(top, 0, below + above);
    int saved = errno;
    uint64_t signals = sys_signals_defer(); /* which it inherits */
    int made = __clone(function, top, FLAGS, argument, id, make_storage(top + below), id);
    int error = made < 0 ? -errno : 0;
    sys_signals_resume(signals);
    errno = saved;
    return error;
}

#else

/* A sanitizer must know every thread. */
struct start {
    int (*function)(void *);
    void *argument;
    uint32_t *id;
};

static void *run(void *start)
{
    const struct start own = *(struct start *)start;
    own.function(own.argument);
    __atomic_store_n(own.id, 0, __ATOMIC_RELEASE);
    return NULL;
}

int thread_start(int (*function)(void *), void *argument, uint32_t *id, void **memory)
{
    static struct start start;
    pthread_t thread;
    (void)memory;
    start = (struct start){.function = function, .argument = argument, .id = id};
    uint64_t signals = sys_signals_defer();
    __atomic_store_n(id, 1, __ATOMIC_RELEASE);
    int error = pthread_create(&thread, NULL, run, &start);
    sys_signals_resume(signals);
    if (error != 0) {
        __atomic_store_n(id, 0, __ATOMIC_RELEASE);
        return -error;
    }
    pthread_detach(thread);
    return 0;
}

#endif
