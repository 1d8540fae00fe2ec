/*
 * Who is inside the shim: re-entry from signal handlers, cancellation, fork and vfork children.
 *
 * A thread enters before it touches shared state and leaves after. While it is inside, a signal handler of the
 * program's that interrupts it finds guard_inside() true and makes its calls raw. Everything is async-signal-safe.
 */
#ifndef MPLOGSHIM_GUARD_H
#define MPLOGSHIM_GUARD_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

struct guard_thread {
    int inside;
    uintptr_t frame;         /* the stack address at which it entered */
    int vfork_child;         /* set by vfork (vfork.S) around the child's use of its parent's memory */
    bool child_unasked;      /* its number does not tell: a filter forbids asking, or it is a fork child of the child */
    uint32_t id;             /* gettid(), 0 until needed */
    int cancel_type;         /* what guard_leave puts back */
    void (*abandon)(void *); /* undoes what is held if the thread jumps out of the shim, or NULL; may be begun again */
    void *abandon_argument;
    struct ring_put *puts; /* records that it is putting into buffers just now (ring.h) */
};

extern __thread struct guard_thread guard_thread __attribute__((tls_model("initial-exec")));

/* Once, at start: `forked` runs in a fork child before it enters for the first time. */
void guard_start(void (*forked)(void));

/* What becomes of `puts` when the thread jumps away. */
extern void (*guard_abandon_puts)(struct ring_put **puts);

static inline bool guard_inside(void)
{
    return guard_thread.inside != 0;
}

/* The thread leaves by pthread_exit or _exit out of a signal handler: gives back what it holds. */
void guard_abandon(void);

/*
 * The same for a jump to a frame at `target` (a stack address; NULL: not known), if that lies outside of the shim: a
 * handler that interrupted the shim may also jump about within itself.
 */
void guard_abandon_for_jump(const void *target);

/* Whether this is a child that runs in its parent's memory. */
bool guard_foreign_memory(void);

/* The same by asking the kernel, for children that were made without telling (clone): rare work asks first. */
bool guard_foreign_process(void);

/* Tells at once that this is a fork child (for pthread_atfork; other children are found by guard_enter). */
void guard_forked(void);

/* Zeroed by the kernel in every fork child, however it was made. */
extern volatile uint32_t *guard_same_process;

/* guard_enter, of a thread that is inside or in a vfork; and guard_leave, of one that is cancelled at any moment. */
bool guard_must_stay_out(void);
void guard_cancel_again(int type);

/*
 * Enters; until it leaves, cancellation only is asked for. False if the thread must stay out: it is inside already, or
 * is a vfork child. In its caller, as is the way out: every write goes through both.
 */
static inline __attribute__((always_inline)) bool guard_enter(void)
{
    struct guard_thread *thread = &guard_thread;
#ifdef __x86_64__ /* vfork.S tells */
    bool doubtful = (thread->inside | thread->vfork_child) != 0;
#else
    bool doubtful = true;
#endif
    if (__builtin_expect(doubtful, 0) && guard_must_stay_out()) {
        return false;
    }
    thread->frame = (uintptr_t)__builtin_frame_address(0);
    __atomic_signal_fence(__ATOMIC_SEQ_CST);
    thread->inside = 1;
    __atomic_signal_fence(__ATOMIC_SEQ_CST);
    thread->frame = (uintptr_t)__builtin_frame_address(0); /* a handler that came between has put its own there */
    /*
     * Not the state: glibc's handler for asynchronous cancellation looks at the type alone. Deferred, it acts at
     * cancellation points only, and the shim calls none.
     */
    pthread_setcanceltype(PTHREAD_CANCEL_DEFERRED, &thread->cancel_type);
    if (__builtin_expect(*guard_same_process == 0, 0)) {
        guard_forked();
    }
    return true;
}

static inline __attribute__((always_inline)) void guard_leave(void)
{
    int type = guard_thread.cancel_type; /* before a handler enters, who finds what is set just now */
    __atomic_signal_fence(__ATOMIC_SEQ_CST);
    guard_thread.inside = 0;
    if (__builtin_expect(type != PTHREAD_CANCEL_DEFERRED, 0)) {
        guard_cancel_again(type);
    }
}

/*
 * A lock between threads that knows its owner and a deadline, and survives fork (it is reset in the child). Zero is
 * unlocked. `timeout_ns` 0: for ever. False on timeout.
 */
bool guard_mutex_lock(uint32_t *mutex, uint64_t timeout_ns);
void guard_mutex_unlock(uint32_t *mutex);

/*
 * The owner gives it to whoever waits, together with something that the next owner will find held. False: nobody is
 * about to come, and the caller still has it. True also while one that was woken before has not come yet: nobody is
 * woken then, and until it comes any thread may take it.
 */
bool guard_mutex_hand_on(uint32_t *mutex);

/* For its owner: whether somebody seems to wait for it, or to be on its way. In its caller, as every write asks. */
#define GUARD_MUTEX_OWNER 0x3fffffffu
static inline bool guard_mutex_is_awaited(const uint32_t *mutex)
{
    return (__atomic_load_n(mutex, __ATOMIC_RELAXED) & ~GUARD_MUTEX_OWNER) != 0;
}

/*
 * A thread that jumped away from waiting for it, from handing it on or from unlocking it comes no more, and wakes
 * nobody. True: nobody had it, and now this thread does, to give back what is held with it. False: who has it wakes
 * somebody.
 */
bool guard_mutex_come_no_more(uint32_t *mutex);

/* This thread's number. */
uint32_t guard_thread_id(void);

/* Whether this thread holds it. */
bool guard_mutex_is_mine(const uint32_t *mutex);

#endif
