/*
 * guard.c and log.c under names of their own, run by coroutines that stop before every access to a log's mutex and
 * before every system call; and what those calls find: a log whose lock file another process may have locked.
 */
#ifndef LOG_WALK_H
#define LOG_WALK_H

#include <setjmp.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <ucontext.h>

#ifdef __SANITIZE_ADDRESS__
#include <sanitizer/asan_interface.h>
#endif

#define guard_thread             walked_thread
#define guard_abandon_puts       walked_abandon_puts
#define guard_same_process       walked_same_process
#define guard_start              walked_start
#define guard_foreign_memory     walked_foreign_memory
#define guard_foreign_process    walked_foreign_process
#define guard_forked             walked_forked
#define guard_must_stay_out      walked_must_stay_out
#define guard_cancel_again       walked_cancel_again
#define guard_abandon            walked_abandon
#define guard_abandon_for_jump   walked_abandon_for_jump
#define guard_thread_id          walked_thread_id
#define guard_mutex_lock         walked_mutex_lock
#define guard_mutex_unlock       walked_mutex_unlock
#define guard_mutex_hand_on      walked_mutex_hand_on
#define guard_mutex_is_mine      walked_mutex_is_mine
#define guard_mutex_come_no_more walked_mutex_come_no_more
#define log_may_try              walked_may_try
#define log_failed               walked_failed
#define log_tell                 walked_tell
#define log_succeeded            walked_succeeded
#define log_open_lock            walked_open_lock
#define log_lock_file            walked_lock_file
#define log_unlock_file          walked_unlock_file
#define log_hands_on             walked_hands_on
#define log_lock_to_write        walked_lock_to_write
#define log_lock                 walked_lock
#define log_unlock               walked_unlock
#define log_clock                walked_clock
#define log_set_begun            walked_set_begun
#define log_read_begun           walked_read_begun

static __attribute__((noinline)) void step(void);
#define __atomic_load_n(word, order)            (step(), __atomic_load_n(word, order))
#define __atomic_exchange_n(word, value, order) (step(), __atomic_exchange_n(word, value, order))
#define __atomic_compare_exchange_n(word, from, to, weak, order, failed)                                               \
    (step(), __atomic_compare_exchange_n(word, from, to, weak, order, failed))
#include "../../shim/core/guard.c"
#include "../../shim/core/log.c"
#undef __atomic_load_n
#undef __atomic_exchange_n
#undef __atomic_compare_exchange_n

enum { THREADS = 3, STACK = 1 << 15, DEPTH = 400, STATES = 1 << 22, LOCK_FD = 700 };

/*
 * A thread. What it will do depends on where it is, on what it has found since it came to that part of the code, and on
 * what all share; nothing else is kept from one part to the next (milestone).
 */
static struct walker {
    ucontext_t context; /* its beginning */
    jmp_buf here;       /* where it goes on */
    jmp_buf out;        /* where it jumps to */
    bool started;
    enum { READY, WAITS, WOKEN, DONE } status; /* of its wait for the mutex */
    bool jumps;                                /* when it goes on */
    bool has_jumped;
    struct guard_thread guard;
    int left;       /* writes */
    int part;       /* of the write */
    uint64_t at;    /* the step within */
    uint64_t found; /* at the one before */
    int64_t clock;  /* when it last looked */
    int polls;      /* so often it has tried to lock the file */
    int queued;     /* its turn among those who wait for the mutex */
} walkers[THREADS];
static char stacks[THREADS][STACK] __attribute__((aligned(16)));
static jmp_buf scheduler;
static struct walker *self;

static struct log a_log;
static struct rule a_rule;
static int64_t now;
static int queue;                      /* turns taken */
static struct walker *writes;          /* has the mutex */
static bool locked_file, told_waiting; /* by this process, as the kernel knows it */
static bool others_lock;               /* the same of the other process */
static bool other_attached;
static const char *failed_by;

static void fail_walk(const char *why)
{
    failed_by = failed_by == NULL ? why : failed_by;
}

static uint64_t mix(uint64_t hash, uint64_t value)
{
    hash = (hash ^ value) * 0x9e3779b97f4a7c15u;
    return hash ^ hash >> 29;
}

static uint64_t shared_state(void)
{
    uint64_t hash = mix(a_log.mutex, (uint64_t)a_log.locked | (uint64_t)a_log.handed_on << 1);
    hash = mix(hash, a_log.held_for);
    hash = mix(hash, (uint64_t)a_log.held_since);
    hash = mix(hash, (uint64_t)a_log.crowded_until);
    hash = mix(hash, (uint64_t)a_log.trouble[TROUBLE_LOCK]);
    hash = mix(hash, (uint64_t)now);
    return mix(hash, (uint64_t)locked_file | (uint64_t)others_lock << 1 | (uint64_t)told_waiting << 2);
}

/* AddressSanitizer knows of no such stacks, and takes what was marked on them for another's. */
static _Noreturn void jump(jmp_buf to)
{
#ifdef __SANITIZE_ADDRESS__
    __asan_unpoison_memory_region(stacks, sizeof stacks);
#endif
    _longjmp(to, 1);
}

static void stop(struct walker *walker)
{
    if (_setjmp(walker->here) == 0) {
        jump(scheduler);
    }
}

/* Another thread may go on here; and this one, when it does, may jump. */
static __attribute__((noinline)) void step(void)
{
    struct walker *me = self;
    me->at = mix(me->at, (uintptr_t)__builtin_return_address(0));
    stop(me);
    me->at = 0;
    me->found = a_log.mutex;
    if (me->jumps) {
        me->jumps = false;
        me->has_jumped = true;
        writes = writes == me ? NULL : writes;
        guard_abandon();
        jump(me->out);
    }
}

static int walk_futex(uint32_t *word, int operation, uint32_t value, const struct timespec *timeout)
{
    (void)timeout;
    step();
    if (operation == FUTEX_WAKE) {
        struct walker *first = NULL;
        for (int i = 0; i < THREADS; i++) {
            if (walkers[i].status == WAITS && (first == NULL || walkers[i].queued < first->queued)) {
                first = &walkers[i];
            }
        }
        if (first != NULL) {
            first->status = WOKEN;
        }
        self->found = mix(self->found, first != NULL);
        return first != NULL;
    }
    if (*word != value) {
        return -EAGAIN;
    }
    self->status = WAITS;
    self->queued = queue++;
    step();
    self->part = 1; /* once more, for one who has waited */
    return 0;
}

static int answer_fcntl(int command, struct flock *lock)
{
    self->at = mix(self->at, (uint64_t)command << 16 | (uint64_t)lock->l_type << 8 | (uint64_t)lock->l_start);
    step();
    self->found = (uint64_t)others_lock;
    if (command == F_OFD_GETLK || command == F_GETLK) {
        bool held = lock->l_start == MPLOGSHIM_LOCK_ATTACHED && other_attached;
        lock->l_type = held ? F_RDLCK : F_UNLCK;
    } else if (lock->l_start == MPLOGSHIM_LOCK_WAITING) {
        told_waiting = lock->l_type != F_UNLCK;
    } else if (lock->l_type != F_UNLCK && others_lock) {
        return -EAGAIN;
    } else {
        locked_file = lock->l_type != F_UNLCK;
    }
    return 0;
}

/* Nobody knows yet what came of it when a handler jumps. */
static int walk_fcntl(int fd, int command, long argument)
{
    assert_int_equal(fd, LOCK_FD);
    int result = answer_fcntl(command, (struct flock *)(intptr_t)argument);
    self->at = (uint64_t)(result == 0);
    step();
    return result;
}

static int walk_sleep(const struct timespec *duration)
{
    (void)duration;
    self->polls++;
    step();
    return 0;
}

static int walk_clock(clockid_t clock, struct timespec *time)
{
    (void)clock;
    self->clock = now;
    *time = (struct timespec){.tv_sec = now / SECOND, .tv_nsec = now % SECOND};
    return 0;
}

static void enter_both(void)
{
    if (writes != NULL) {
        fail_walk("two threads have the mutex");
    }
    writes = self;
    if (a_log.locked != locked_file) {
        fail_walk("what is believed of the file lock is not so");
    }
}

static void milestone(int part)
{
    self->part = part;
    self->found = 0;
    self->polls = 0;
}

/* As record_write does (log_record.c). */
static void write_once(void)
{
    if (log_lock_to_write(&a_log) != 0) {
        return;
    }
    enter_both();
    milestone(2);
    if (a_log.locked || log_lock_file(&a_log) == 0) {
        milestone(3);
        step();
        if (!locked_file || others_lock || !a_log.locked) {
            fail_walk("who writes does not have the file lock");
        }
        if (!log_hands_on(&a_log, 100)) {
            log_unlock_file(&a_log);
        }
    }
    writes = NULL;
    milestone(4);
    log_unlock(&a_log);
}

/* What is done with the log besides. */
static void look_once(void)
{
    if (log_lock(&a_log) == 0) {
        enter_both();
        milestone(5);
        step();
        if (locked_file) {
            fail_walk("who does not write has the file lock");
        }
        writes = NULL;
        log_unlock(&a_log);
    }
}

static void run_walker(void)
{
    struct walker *me = self;
    while (me->left > 0) {
        me->left--;
        me->part = 0;
        me->found = 0;
        me->polls = 0;
        me->has_jumped = false;
        if (_setjmp(me->out) == 0) {
            guard_thread.inside = 1;
            me == &walkers[THREADS - 1] ? look_once() : write_once();
            if (guard_thread.abandon != NULL) {
                fail_walk("a later jump would give back what it does not have");
            }
            guard_leave();
        }
    }
    me->status = DONE;
    stop(me);
}

#endif
