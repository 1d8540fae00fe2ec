/*
 * Running something up to its Nth instruction, and something else there: what a signal, another thread or a kill may
 * meet, at any place of it. Without sanitizer or debugger: the processor traps after each instruction. Elsewhere than
 * on x86-64 nothing is interrupted.
 */
#ifndef STEP_H
#define STEP_H

#include "fuzz.h"

#include <signal.h>
#include <ucontext.h>

enum { STEP_FLAG = 0x100 };

static volatile unsigned step_left;
static void (*step_interrupt)(void);

/* Within `step_interrupt` nothing is counted; it may begin to count anew, and need not return. */
static void step_trap(int signal, siginfo_t *info, void *context)
{
    (void)signal;
    (void)info;
#ifdef __x86_64__
    if (step_left == 0 || --step_left == 0) {
        ((ucontext_t *)context)->uc_mcontext.gregs[REG_EFL] &= ~(greg_t)STEP_FLAG;
        step_interrupt();
    }
#else
    (void)context;
#endif
}

static inline void step_start(void (*interrupt)(void))
{
    struct sigaction action = {.sa_sigaction = step_trap, .sa_flags = SA_SIGINFO | SA_NODEFER};
    step_interrupt = interrupt;
    require(sigaction(SIGTRAP, &action, NULL) == 0);
}

/* From here on, 0: not at all. Past what leaf functions keep below the stack pointer. */
static inline __attribute__((always_inline)) void step_after(unsigned instructions)
{
    step_left = instructions;
#ifdef __x86_64__
    if (instructions > 0) {
        __asm__ volatile("lea -128(%%rsp), %%rsp; pushfq; orq $0x100, (%%rsp); popfq; lea 128(%%rsp), %%rsp" ::
                             : "memory", "cc");
    }
#endif
}

static inline __attribute__((always_inline)) void step_stop(void)
{
#ifdef __x86_64__
    __asm__ volatile("lea -128(%%rsp), %%rsp; pushfq; andq $~0x100, (%%rsp); popfq; lea 128(%%rsp), %%rsp" ::
                         : "memory", "cc");
#endif
    step_left = 0;
}

#endif
