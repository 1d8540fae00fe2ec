#include "guard.h"

#include "sys.h"

#include <linux/futex.h>
#include <pthread.h>
#include <stddef.h>
#include <sys/mman.h>

__thread struct guard_thread guard_thread;

/*
 * One word in a page that the kernel zeroes in every fork child (MADV_WIPEONFORK, Linux 4.14), however it was made:
 * telling a child from its parent costs a load, and getpid a system call. A vfork child shares the page.
 */
static volatile uint32_t *same_process;
static uint32_t always_same = 1;
static void (*on_fork)(void);
static int home_pid;

void guard_start(void (*forked)(void))
{
    enum { PAGE = 4096 };
    void *page = sys_reserve(PAGE);
    same_process = page != NULL && madvise(page, PAGE, MADV_WIPEONFORK) == 0 ? page : &always_same;
    *same_process = 1;
    on_fork = forked;
    home_pid = sys.getpid();
}

bool guard_foreign_memory(void)
{
#ifdef __x86_64__ /* vfork.S tells */
    return guard_thread.vfork_child != 0;
#else
    return *same_process == 1 && sys.getpid() != home_pid;
#endif
}

void guard_forked(void)
{
    *same_process = 1;
    home_pid = sys.getpid();
    on_fork();
}

bool guard_enter(void)
{
    if (guard_thread.inside != 0 || guard_foreign_memory()) {
        return false;
    }
    int state;
    pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &state);
    guard_thread.cancel_state = state;
    guard_thread.inside = 1;
    __atomic_signal_fence(__ATOMIC_SEQ_CST);
    if (__builtin_expect(*same_process == 0, 0)) {
        guard_forked();
    }
    return true;
}

void guard_leave(void)
{
    __atomic_signal_fence(__ATOMIC_SEQ_CST);
    guard_thread.inside = 0;
    pthread_setcancelstate(guard_thread.cancel_state, NULL);
}

void guard_abandon(void)
{
    if (guard_thread.inside == 0 || guard_foreign_memory()) {
        return;
    }
    void (*abandon)(void *) = guard_thread.abandon;
    if (abandon != NULL) {
        guard_thread.abandon = NULL;
        abandon(guard_thread.abandon_argument);
    }
    guard_leave();
}

/* Mutex states, after U. Drepper, "Futexes Are Tricky", mutex 2: 0 free, 1 held, 2 held and waited for. */
bool guard_mutex_lock(uint32_t *mutex, uint64_t timeout_ns)
{
    uint32_t expected = 0;
    if (__atomic_compare_exchange_n(mutex, &expected, 1, false, __ATOMIC_ACQUIRE, __ATOMIC_RELAXED)) {
        return true;
    }
    int64_t deadline = timeout_ns == 0 ? INT64_MAX : sys_now(CLOCK_MONOTONIC) + (int64_t)timeout_ns;
    while (__atomic_exchange_n(mutex, 2, __ATOMIC_ACQUIRE) != 0) {
        int64_t left = timeout_ns == 0 ? 1000000000 : deadline - sys_now(CLOCK_MONOTONIC);
        if (left <= 0) {
            return false;
        }
        const struct timespec wait = {.tv_sec = left / 1000000000, .tv_nsec = left % 1000000000};
        sys.futex(mutex, FUTEX_WAIT, 2, &wait);
    }
    return true;
}

void guard_mutex_unlock(uint32_t *mutex)
{
    if (__atomic_exchange_n(mutex, 0, __ATOMIC_RELEASE) == 2) {
        sys.futex(mutex, FUTEX_WAKE, 1, NULL);
    }
}
