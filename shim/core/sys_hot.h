/*
 * The system calls of every write without a function around them, unless a test has replaced them in the table.
 *
 * Behind a system call that goes deep into the kernel, the processor does not know any more where functions return to:
 * the first return costs 230 ns (AMD Zen 4, Linux 6.18), which is a third of a write. In one function the calls of a
 * locked write have one such return, and not five; and sys_hot_steady makes that one cheap.
 */
#ifndef MPLOGSHIM_SYS_HOT_H
#define MPLOGSHIM_SYS_HOT_H

#include "sys.h"
#include "sys_call.h"

#include <sys/syscall.h>

SYS_CALL_INLINE int sys_hot_fcntl(int fd, int command, long argument)
{
    return __builtin_expect(sys.fcntl == sys_real.fcntl, 1) ? (int)sys_call(SYS_fcntl, fd, command, argument, 0, 0, 0)
                                                            : sys.fcntl(fd, command, argument);
}

SYS_CALL_INLINE off_t sys_hot_lseek(int fd, off_t offset, int whence)
{
    return __builtin_expect(sys.lseek == sys_real.lseek, 1) ? sys_call(SYS_lseek, fd, offset, whence, 0, 0, 0)
                                                            : sys.lseek(fd, offset, whence);
}

SYS_CALL_INLINE ssize_t sys_hot_writev(int fd, const struct iovec *vector, int count)
{
    return __builtin_expect(sys.writev == sys_real.writev && count == 1, 1)
               ? sys_call(SYS_write, fd, (long)vector->iov_base, (long)vector->iov_len, 0, 0, 0)
               : sys.writev(fd, vector, count);
}

/*
 * For the function around the calls. It begins with a cache line: at other places it took 2,030 ns in some builds and
 * 2,480 in others, whatever else was in them.
 */
#define SYS_HOT __attribute__((noinline, aligned(64)))

/*
 * Before the first one and behind the last one: calls that do not return fill the processor's stack of return addresses
 * and its history of branches, always with the same. Behind, that the stack holds the wrong addresses costs a few ns a
 * return, and 230 that it holds the kernel's. Before, because the kernel's own returns are guessed by what was called
 * earlier: a locked write of 100 bytes takes 2,030 ns with it, and without it 2,000 in some builds and 2,500 in others.
 * 32 calls are as many as the processor remembers; with 8 or 16 in either place it goes well now and then.
 *
 * Not where a shadow stack has to agree (rdsspq then tells where it is; elsewhere it does nothing). The 128 bytes below
 * the stack pointer are the compiler's, and who walks the stack meanwhile goes by the frame pointer: functions that use
 * this are not inlined, and the Makefile has their files keep it.
 */
SYS_CALL_INLINE void sys_hot_steady(void)
{
#if defined(__x86_64__)
    uint64_t shadow = 0;
    __asm__ volatile("rdsspq %0" : "+r"(shadow));
    if (__builtin_expect(shadow == 0, 1)) {
        __asm__ volatile("sub $128, %%rsp\n\t"
                         ".rept 32\n\t"
                         "call 1f\n\t"
                         "int3\n"
                         "1:\n\t"
                         ".endr\n\t"
                         "add $(128 + 32 * 8), %%rsp" ::
                             : "memory", "cc");
    }
#endif
}

#endif
