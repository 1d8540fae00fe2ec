/*
 * vfork, so that a child that runs in its parent's memory is known while it does.
 *
 * The return address leaves the stack before the system call, because the child returns first and overwrites it; rdi
 * keeps it, as the kernel leaves that register alone.
 */
#if defined(__x86_64__)
        .text
        .globl  vfork
        .type   vfork, @function
vfork:
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
