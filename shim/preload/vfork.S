/*
 * vfork, so that a child that runs in its parent's memory is known while it does.
 *
 * The return address leaves the stack before the system call, because the child returns first and overwrites it; rdi
 * keeps it, as the kernel leaves that register alone.
 */
#if defined(__x86_64__)
/* Where an indirect call may land. No shadow stack is promised: the return address is moved away and back. */
#if defined(__CET__) && (__CET__ & 1)
#define LANDING endbr64
#else
#define LANDING
#endif
        .text
        .globl  vfork
        .type   vfork, @function
vfork:
        LANDING
        subq    $8, %rsp
        call    process_before_vfork
        addq    $8, %rsp
        popq    %rdi
        movl    $58, %eax               /* SYS_vfork */
        syscall
        pushq   %rdi
        testq   %rax, %rax
        jnz     1f
        ret
1:      movq    %rax, %rdi
        subq    $8, %rsp
        call    process_after_vfork
        addq    $8, %rsp
        ret
        .size   vfork, . - vfork
        .globl  __vfork
        .set    __vfork, vfork
        .hidden process_before_vfork
        .hidden process_after_vfork
#endif
        .section .note.GNU-stack, "", %progbits
