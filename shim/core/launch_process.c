/*
 * One more process, by clone.
 */
#include "launch_private.h"

#include <errno.h>
#include <sched.h>
#include <sys/syscall.h>

int (*launch_clone)(int (*function)(void *), void *stack, int flags, void *argument, ...) = clone;

#ifdef __x86_64__
/*
 * libc's own hands function and argument over on the new stack. valgrind makes an ordinary fork of this, which goes on
 * where the old stack is: the child would run on in the program. So they are in registers.
 */
LAUNCH_OUTSIDE int launch_process(int (*function)(void *), char *new_stack, int flags, void *argument)
{
    long result;
    register long no_parent_word __asm__("rdx") = 0;
    register long no_child_word __asm__("r10") = 0;
    register long no_thread __asm__("r8") = 0;
    register void *handed __asm__("r12") = argument;
    register int (*called)(void *) __asm__("r13") = function;
    __asm__ volatile("syscall\n\t"
                     "testq %%rax, %%rax\n\t"
                     "jnz 1f\n\t"
                     "xorl %%ebp, %%ebp\n\t"
                     "andq $-16, %%rsp\n\t"
                     "movq %%r12, %%rdi\n\t"
                     "callq *%%r13\n\t"
                     "movl %%eax, %%edi\n\t"
                     "movl $60, %%eax\n\t" /* SYS_exit */
                     "syscall\n\t"
                     "hlt\n"
                     "1:"
                     : "=a"(result)
                     : "a"((long)SYS_clone), "D"((long)flags), "S"(new_stack), "r"(no_parent_word), "r"(no_child_word),
                       "r"(no_thread), "r"(handed), "r"(called)
                     : "rcx", "r11", "memory");
    return (int)result;
}
#else
/* The thread that launches waits, so libc's clone may write to its errno. */
LAUNCH_OUTSIDE int launch_process(int (*function)(void *), char *new_stack, int flags, void *argument)
{
    int process = launch_clone(function, new_stack, flags, argument);
    return process < 0 ? -errno : process;
}
#endif
