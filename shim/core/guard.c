#include "guard.h"

#include "sys.h"
#include "sys_call.h"

#include <errno.h>
#include <linux/futex.h>
#include <pthread.h>
#include <signal.h>
#include <stddef.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

__thread struct guard_thread guard_thread;
void (*guard_abandon_puts)(struct ring_put **puts);

/*
 * One word in a page that the kernel zeroes in every fork child (MADV_WIPEONFORK, Linux 4.14), however it was made:
 * telling a child from its parent costs a load, and getpid a system call. A vfork child shares the page.
 */
volatile uint32_t *guard_same_process;
static uint32_t always_same = 1;
static void (*on_fork)(void);
static int home_pid;

void guard_start(void (*forked)(void))
{
    enum { PAGE = 4096 };
    void *page = sys_reserve(PAGE);
    guard_same_process =
        page != NULL && sys_call(SYS_madvise, (long)page, PAGE, MADV_WIPEONFORK, 0, 0, 0) == 0 ? page : &always_same;
    *guard_same_process = 1;
    on_fork = forked;
    home_pid = sys.getpid();
}

#ifdef __x86_64__ /* vfork.S tells */
/*
 * A handler may run in the parent while its thread is in vfork, before the child is made and after it is gone. A child
 * in a new pid namespace may have any number, but no parent.
 */
static bool is_home(void)
{
    return !guard_thread.child_unasked && sys.getpid() == home_pid && sys_call(SYS_getppid, 0, 0, 0, 0, 0, 0) != 0;
}
#endif

SYS_START bool guard_foreign_memory(void)
{
#ifdef __x86_64__
    return guard_thread.vfork_child != 0 && !is_home();
#else
    return *guard_same_process == 1 && sys.getpid() != home_pid;
#endif
}

bool guard_foreign_process(void)
{
    return guard_same_process != NULL && *guard_same_process == 1 && sys.getpid() != home_pid;
}

void guard_forked(void)
{
    *guard_same_process = 1;
    home_pid = sys.getpid();
    guard_thread.child_unasked |= guard_thread.vfork_child != 0;
    guard_thread.id = 0;
    int saved = errno; /* also of calls that otherwise leave it alone */
    on_fork();
    errno = saved;
}

bool guard_must_stay_out(void)
{
    return guard_thread.inside != 0 || guard_foreign_memory();
}

/*
 * Here it may act at once, if it was asked for meanwhile. What was put back is nobody's any more: who enters next may
 * jump out before its own kind is noted.
 */
void guard_cancel_again(int type)
{
    guard_thread.cancel_type = PTHREAD_CANCEL_DEFERRED;
    pthread_setcanceltype(type, &type);
}

SYS_START void guard_abandon(void)
{
    if (guard_thread.inside == 0 || guard_foreign_memory()) {
        return;
    }
    if (guard_thread.puts != NULL) {
        guard_abandon_puts(&guard_thread.puts);
    }
    if (guard_thread.abandon != NULL) {
        guard_thread.abandon(guard_thread.abandon_argument);
        guard_thread.abandon = NULL; /* behind it: another handler may jump out of this, and does it once more */
    }
    guard_leave();
}

/*
 * Stacks grow downwards: handlers run below what they interrupted, or on a stack of their own. SS_ONSTACK says which
 * stack this call is on. What lies below this call is no frame of this stack: a coroutine has it.
 */
void guard_abandon_for_jump(const void *target)
{
    stack_t alternate = {0};
    uintptr_t to = (uintptr_t)target;
    if (guard_thread.inside == 0) {
        return;
    }
    bool on_alternate =
        sys_call(SYS_sigaltstack, 0, (long)&alternate, 0, 0, 0, 0) == 0 && (alternate.ss_flags & SS_ONSTACK) != 0;
    uintptr_t bottom = (uintptr_t)alternate.ss_sp;
    bool entered_elsewhere = on_alternate && guard_thread.frame - bottom >= alternate.ss_size;
    uintptr_t here = (uintptr_t)__builtin_frame_address(0);
    bool stays = entered_elsewhere ? to - bottom < alternate.ss_size : to >= here && to < guard_thread.frame;
    if (target == NULL || !stays) {
        guard_abandon();
    }
}

/*
 * The word is the owner's thread id, with the highest bit when somebody may be waiting, as in the kernel's own
 * convention for robust futexes: taking it and saying who took it is one step, so that a thread which jumps away at
 * any moment knows what it leaves behind. The next bit: a waiting thread was woken, and has not come yet; it is set
 * before the waking, and cleared by whoever comes, whether there is something for it or not.
 */
#define WAITERS 0x80000000u
#define COMING  0x40000000u
#define OWNER   GUARD_MUTEX_OWNER
_Static_assert(OWNER == ~(WAITERS | COMING), "all that is not the owner says that somebody waits");

uint32_t guard_thread_id(void)
{
    if (guard_thread.id == 0) {
        guard_thread.id = (uint32_t)sys_call(SYS_gettid, 0, 0, 0, 0, 0, 0);
    }
    return guard_thread.id;
}

static bool exchange(uint32_t *mutex, uint32_t *value, uint32_t next)
{
    return __atomic_compare_exchange_n(mutex, value, next, false, __ATOMIC_ACQ_REL, __ATOMIC_RELAXED);
}

/* Now and then who waits looks for itself: who was to wake it may have jumped away, or have been stopped. */
static bool wait_for(uint32_t *mutex, uint32_t value, int64_t left)
{
    const int64_t longest = 50000000;
    if (left <= 0) {
        return false;
    }
    const struct timespec wait = {.tv_nsec = left < longest ? left : longest};
    sys.futex(mutex, FUTEX_WAIT, value, &wait);
    return true;
}

bool guard_mutex_lock(uint32_t *mutex, uint64_t timeout_ns)
{
    uint32_t value = 0;
    uint32_t mine = guard_thread_id();
    if (__atomic_compare_exchange_n(mutex, &value, mine, false, __ATOMIC_ACQUIRE, __ATOMIC_RELAXED)) {
        return true;
    }
    int64_t deadline = timeout_ns == 0 ? 0 : sys_now(CLOCK_MONOTONIC) + (int64_t)timeout_ns;
    bool waited = false; /* from then on others may wait that nobody else knows of */
    for (;;) {
        if ((value & OWNER) == 0) {
            if (exchange(mutex, &value, mine | (waited ? WAITERS : value))) {
                return true;
            }
            continue;
        }
        uint32_t owned = (value & OWNER) | WAITERS;
        if (value != owned && !exchange(mutex, &value, owned)) {
            continue;
        }
        waited = true;
        if (!wait_for(mutex, owned, timeout_ns == 0 ? INT64_MAX : deadline - sys_now(CLOCK_MONOTONIC))) {
            return false;
        }
        value = __atomic_load_n(mutex, __ATOMIC_RELAXED);
    }
}

void guard_mutex_unlock(uint32_t *mutex)
{
    if (__atomic_exchange_n(mutex, 0, __ATOMIC_RELEASE) & WAITERS) {
        sys.futex(mutex, FUTEX_WAKE, 1, NULL);
    }
}

bool guard_mutex_hand_on(uint32_t *mutex)
{
    uint32_t value = __atomic_load_n(mutex, __ATOMIC_RELAXED);
    do {
        if ((value & ~OWNER) == 0) {
            return false;
        }
    } while (!exchange(mutex, &value, COMING));
    return (value & COMING) != 0 || sys.futex(mutex, FUTEX_WAKE, 1, NULL) > 0 || !guard_mutex_come_no_more(mutex);
}

bool guard_mutex_come_no_more(uint32_t *mutex)
{
    uint32_t mine = guard_thread_id();
    uint32_t value = __atomic_load_n(mutex, __ATOMIC_RELAXED);
    bool is_free;
    do {
        is_free = (value & OWNER) == 0;
    } while (!exchange(mutex, &value, (is_free ? mine : value & OWNER) | WAITERS));
    return is_free;
}

bool guard_mutex_is_mine(const uint32_t *mutex)
{
    return (__atomic_load_n(mutex, __ATOMIC_RELAXED) & OWNER) == guard_thread_id();
}
