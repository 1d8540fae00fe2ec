/*
 * A child of the program's own would be seen by its wait and SIGCHLD. So there is a go-between: a process with exit
 * signal 0, which wait and waitpid(-1) pass over. It makes the child that becomes the new program.
 *
 * Ordinarily the go-between is in the memory of the program (no page table is copied, however large the program is),
 * and ends when the child is the new program, and that is init's then. Where orphans come to this process instead, the
 * go-between stays as the parent until the new program has ended. It cannot end unseen by itself: nobody would take its
 * zombie while the program is idle. So it sleeps until launch_reap lets it go. Such a one has memory of its own: it
 * keeps the privileges that the program may be giving up just now, and whoever could write to its memory would have
 * them.
 */
#include "launch_private.h"
#include "sys.h"

#include <errno.h>
#include <limits.h>
#include <linux/futex.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>

enum { SLOTS = 64, STACK_SIZE = 16384, STACK_OF_CHILD = 8192, SECOND = 1000000000, MOMENT = 50000 /* ns */ };

/*
 * Nobody has written to the slot's error. The child does at once, so it is one with a copy of this memory: valgrind and
 * others that emulate system calls make an ordinary fork of a clone.
 */
enum { NOTHING_KNOWN = 1 };

/*
 * One go-between. FREE, STARTING, then FAILED, or RUNNING and ENDED: the new program has; LEAVING: it was told to end.
 */
enum slot_state { SLOT_FREE, SLOT_STARTING, SLOT_FAILED, SLOT_RUNNING, SLOT_ENDED, SLOT_LEAVING };

struct slot {
    uint32_t state;
    int process; /* of the go-between */
    int parent;  /* the process that launched */
    int error;   /* of the child; 0: it has become the program */
    const struct launch *launch;
};

/* Of the go-betweens that stay: shared with them. */
struct slots {
    uint32_t ended; /* how many of them have come to SLOT_ENDED so far */
    struct slot items[SLOTS];
};

static struct slot passing;   /* of the one that does not stay */
static struct slots *staying; /* NULL until needed */
atomic_bool launch_stays;
static uint32_t let_go; /* so many of `ended` were looked after */
static SYS_SELDOM char stack[STACK_SIZE] __attribute__((aligned(16)));
static atomic_bool adopts; /* orphans come to this process, or to one that it is forked from */
static uint32_t launcher;  /* the thread whose turn it is to look after the slots, or 0 */

LAUNCH_OUTSIDE static uint32_t state_of(const struct slot *slot)
{
    return __atomic_load_n(&slot->state, __ATOMIC_ACQUIRE);
}

/* Not FUTEX_PRIVATE_FLAG: two processes. */
LAUNCH_OUTSIDE static void wait_for_change(uint32_t *word, uint32_t value, int64_t nanoseconds)
{
    const struct timespec time = {.tv_sec = nanoseconds / SECOND, .tv_nsec = nanoseconds % SECOND};
    launch_call(SYS_futex, (long)word, FUTEX_WAIT, value, (long)&time);
}

/* From the state `from` only: the other side may have gone on already. */
LAUNCH_OUTSIDE static bool change_state(struct slot *slot, uint32_t from, uint32_t to)
{
    if (!__atomic_compare_exchange_n(&slot->state, &from, to, false, __ATOMIC_ACQ_REL, __ATOMIC_RELAXED)) {
        return false;
    }
    launch_call(SYS_futex, (long)&slot->state, FUTEX_WAKE, INT_MAX, 0);
    return true;
}

LAUNCH_OUTSIDE static int become(void *argument)
{
    enum { NOT_EXECUTED = 127 };
    struct slot *slot = argument;
    launch_become(slot->launch, &slot->error);
    return NOT_EXECUTED;
}

/*
 * Makes the child, which has this process waiting until its execve. Its id, or 0 if it did not come to that.
 */
LAUNCH_OUTSIDE static int make_child(struct slot *slot)
{
    int child = launch_process(become, stack + STACK_OF_CHILD, CLONE_VM | CLONE_VFORK | SIGCHLD, slot);
    if (child < 0) {
        slot->error = child;
        return 0;
    }
    if (__atomic_load_n(&slot->error, __ATOMIC_ACQUIRE) < 0) {
        launch_call(SYS_wait4, child, 0, 0, 0);
        return 0;
    }
    return child;
}

LAUNCH_OUTSIDE static int go_between(void *argument)
{
    struct slot *slot = argument;
    int child = make_child(slot);
    if (child != 0 && __atomic_load_n(&slot->error, __ATOMIC_ACQUIRE) == NOTHING_KNOWN) {
        /* valgrind writes out, at the exit of any process, what its copy of stdio buffers. */
        launch_call(SYS_kill, launch_call(SYS_getpid, 0, 0, 0, 0), SIGKILL, 0, 0);
    }
    return child == 0;
}

/* What does not sleep when asked to (a system call filter) must not run on instead: false. */
LAUNCH_OUTSIDE static bool nap(int64_t nanoseconds)
{
    const struct timespec time = {.tv_sec = nanoseconds / SECOND, .tv_nsec = nanoseconds % SECOND};
    long slept = launch_call(SYS_clock_nanosleep, CLOCK_MONOTONIC, 0, (long)&time, 0);
    return slept == 0 || slept == -EINTR;
}

/* A second at most, or until the child has ended: SIGCHLD is blocked and not ignored, so it stays pending. */
LAUNCH_OUTSIDE static bool wait_for_child(void)
{
    static const uint64_t child_ended = (uint64_t)1 << (SIGCHLD - 1);
    const struct timespec second = {.tv_sec = 1, .tv_nsec = 0};
    long signal = launch_call(SYS_rt_sigtimedwait, (long)&child_ended, 0, (long)&second, sizeof child_ended);
    return signal > 0 || signal == -EAGAIN || signal == -EINTR || nap(SECOND);
}

LAUNCH_OUTSIDE static bool is_orphan(const struct slot *slot)
{
    long parent = launch_call(SYS_getppid, 0, 0, 0, 0);
    return parent >= 0 && parent != slot->parent;
}

/*
 * The parent of the new program until that ends, then until it is told to leave or nobody is there to tell: the
 * process has ended, or became another program, which keeps nothing of this memory but through this process.
 */
LAUNCH_OUTSIDE static void attend(struct slot *slot, int child, uint64_t begun)
{
    while (!is_orphan(slot)) {
        if (launch_call(SYS_wait4, child, 0, WNOHANG, 0) != 0) {
            break;
        }
        if (!wait_for_child()) {
            return;
        }
    }
    change_state(slot, SLOT_RUNNING, SLOT_ENDED);
    __atomic_add_fetch(&staying->ended, 1, __ATOMIC_RELEASE);
    while (state_of(slot) == SLOT_ENDED && !is_orphan(slot) && launch_stack_begin(slot->parent) == begun) {
        wait_for_change(&slot->state, SLOT_ENDED, SECOND);
    }
}

/* Nothing of the program's is kept open or busy; a signal to its process group is not for this one. */
LAUNCH_OUTSIDE static void detach(void)
{
    static const uint64_t by_default[4]; /* the kernel's struct sigaction */
    launch_call(SYS_rt_sigaction, SIGCHLD, (long)by_default, 0, sizeof(uint64_t));
    launch_call(SYS_setsid, 0, 0, 0, 0);
    launch_call(SYS_chdir, (long)"/", 0, 0, 0);
    launch_call(SYS_prctl, PR_SET_NAME, (long)"mplogshim", 0, 0);
    launch_close(0, LAUNCH_NO_LIMIT);
    launch_forget_memory(staying, sizeof *staying);
}

LAUNCH_OUTSIDE static int go_between_that_stays(void *argument)
{
    struct slot *slot = argument;
    int child = make_child(slot);
    if (child == 0) {
        change_state(slot, SLOT_STARTING, SLOT_FAILED);
        return 0;
    }
    detach();
    const uint64_t begun = launch_stack_begin(slot->parent); /* before the process goes on: it may execve at once */
    change_state(slot, SLOT_STARTING, SLOT_RUNNING);
    attend(slot, child, begun);
    launch_call(SYS_exit_group, 0, 0, 0, 0);
    __builtin_unreachable();
}

/* From here on: the process itself. */

static int own_id(long number)
{
    return (int)launch_call(number, 0, 0, 0, 0);
}

/* A turn whose thread is no more was that of a vfork child that was killed. */
static bool take_turn(void)
{
    uint32_t nobody = 0;
    uint32_t mine = (uint32_t)own_id(SYS_gettid);
    if (__atomic_compare_exchange_n(&launcher, &nobody, mine, false, __ATOMIC_ACQUIRE, __ATOMIC_RELAXED)) {
        return true;
    }
    uint32_t other = nobody;
    return launch_call(SYS_kill, other, 0, 0, 0) == -ESRCH &&
           __atomic_compare_exchange_n(&launcher, &other, mine, false, __ATOMIC_ACQUIRE, __ATOMIC_RELAXED);
}

static void end_turn(void)
{
    __atomic_store_n(&launcher, 0, __ATOMIC_RELEASE);
}

/* Whether the go-between has ended, however it went; then its zombie is taken. */
static bool is_gone(const struct slot *slot)
{
    if (slot->process <= 0) {
        return true; /* a vfork child was killed while it launched */
    }
    if (slot->parent != own_id(SYS_getpid)) { /* in a vfork child, or left by one */
        return launch_call(SYS_kill, slot->process, 0, 0, 0) == -ESRCH;
    }
    return launch_call(SYS_wait4, slot->process, 0, __WCLONE | WNOHANG, 0) != 0; /* also if somebody else took it */
}

/* One that is stopped, or traced, is left for later. */
static void reap(struct slot *slot)
{
    enum { TRIES = 200 };
    bool gone = is_gone(slot);
    bool leaves = !gone && slot->parent == own_id(SYS_getpid) && change_state(slot, SLOT_ENDED, SLOT_LEAVING);
    for (int i = 0; i < TRIES && leaves && !gone; i++) {
        nap(MOMENT);
        gone = is_gone(slot);
    }
    if (gone) {
        slot->state = SLOT_FREE;
    }
}

static void reap_all(void)
{
    if (staying == NULL) {
        return;
    }
    uint32_t ended = __atomic_load_n(&staying->ended, __ATOMIC_ACQUIRE);
    bool left = false;
    for (int i = 0; i < SLOTS; i++) {
        if (state_of(&staying->items[i]) != SLOT_FREE) {
            reap(&staying->items[i]);
            left = left || state_of(&staying->items[i]) == SLOT_LEAVING;
        }
    }
    let_go = left ? ended - 1 : ended; /* what is left is looked for again */
}

static struct slot *find_slot(void)
{
    if (staying == NULL) {
        const int flags = MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE;
        long memory = sys_call(SYS_mmap, 0, (long)sizeof *staying, PROT_READ | PROT_WRITE, flags, -1, 0);
        staying = memory < 0 && memory > -4096 ? NULL : (void *)memory;
        let_go = 0;
        launch_stays = true;
    }
    for (int i = 0; i < SLOTS && staying != NULL; i++) {
        if (state_of(&staying->items[i]) == SLOT_FREE) {
            return &staying->items[i];
        }
    }
    return NULL;
}

static void prepare(struct slot *slot, const struct launch *launch)
{
    *slot =
        (struct slot){.state = SLOT_STARTING, .parent = own_id(SYS_getpid), .error = NOTHING_KNOWN, .launch = launch};
}

static int launch_and_let_go(const struct launch *launch)
{
    int status = 0;
    prepare(&passing, launch);
    int process = launch_process(go_between, stack + STACK_SIZE, CLONE_VM | CLONE_VFORK, &passing);
    if (process < 0) {
        return process;
    }
    while (launch_call(SYS_wait4, process, (long)&status, __WCLONE, 0) == -EINTR) {
    }
    if (passing.error == NOTHING_KNOWN) {
        return status == SIGKILL ? 0 : -EINTR; /* by itself */
    }
    return passing.error;
}

static int launch_and_attend(const struct launch *launch)
{
    struct slot *slot = find_slot();
    if (slot == NULL) {
        return -EAGAIN;
    }
    prepare(slot, launch);
    slot->process = launch_process(go_between_that_stays, stack + STACK_SIZE, 0, slot);
    int error = slot->process < 0 ? slot->process : 0;
    bool gone = error != 0;
    while (!gone && state_of(slot) == SLOT_STARTING) {
        wait_for_change(&slot->state, SLOT_STARTING, SECOND / 10); /* it may have been killed: nobody wakes then */
        gone = state_of(slot) == SLOT_STARTING && is_gone(slot);
    }
    if (!gone && state_of(slot) != SLOT_FAILED) {
        return 0;
    }
    if (error == 0) {
        error = slot->error == NOTHING_KNOWN ? -EINTR : slot->error;
    }
    while (!gone) {
        nap(MOMENT);
        gone = is_gone(slot);
    }
    slot->state = SLOT_FREE;
    return error;
}

/*
 * Whether orphans come to this process: it is the first of its namespace, or asked for them, or may not know. Fork
 * children of such a process go on the same way, because what they launch would become its child.
 */
static bool adopts_orphans(void)
{
    int asked = 0;
    adopts = adopts || own_id(SYS_getpid) == 1 ||
             launch_call(SYS_prctl, PR_GET_CHILD_SUBREAPER, (long)&asked, 0, 0) != 0 || asked != 0;
    return adopts;
}

bool launch_before_fork(void)
{
    return adopts_orphans();
}

static int launch_in_turn(const struct launch *launch)
{
    reap_all();
    return adopts_orphans() ? launch_and_attend(launch) : launch_and_let_go(launch);
}

int launch(const struct launch *launch)
{
    if (!take_turn()) {
        return -EBUSY;
    }
    int saved = errno;                      /* libc's clone is the only one here to change it */
    uint64_t signals = sys_signals_defer(); /* no handler of the program's runs in the processes made here */
    int error = launch_in_turn(launch);
    sys_signals_resume(signals);
    errno = saved;
    end_turn();
    return error;
}

void launch_reap(void)
{
    const struct slots *shared = __atomic_load_n(&staying, __ATOMIC_RELAXED);
    if (shared != NULL && __atomic_load_n(&shared->ended, __ATOMIC_RELAXED) != let_go && take_turn()) {
        reap_all();
        end_turn();
    }
}

/* The parent's slots are left alone: they are shared with it. */
void launch_forked(void)
{
    if (staying != NULL) {
        sys_give_back(staying, sizeof *staying);
        staying = NULL;
    }
    launcher = 0;
    adopts = adopts || own_id(SYS_getppid) == 1;
}
