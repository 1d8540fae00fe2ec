/*
 * The way into the kernel: one system call by number. Returns what the kernel returns, a result or -errno, and leaves
 * errno alone.
 *
 * libc's syscall() is itself intercepted, for programs that close descriptors by it, so the shim's own calls go past
 * it where the architecture is known here.
 */
#ifndef MPLOGSHIM_SYS_CALL_H
#define MPLOGSHIM_SYS_CALL_H

/* Inlined in any case: code outside of the process (launch_private.h) must not come by a sanitizer's. */
#define SYS_CALL_INLINE static inline __attribute__((always_inline))

#if defined(__x86_64__)
#define MPLOGSHIM_SYS_CALL 1
SYS_CALL_INLINE long sys_call(long number, long a, long b, long c, long d, long e, long f)
{
    long result;
    register long r10 __asm__("r10") = d;
    register long r8 __asm__("r8") = e;
    register long r9 __asm__("r9") = f;
    __asm__ volatile("syscall"
                     : "=a"(result)
                     : "a"(number), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8), "r"(r9)
                     : "rcx", "r11", "memory");
    return result;
}
#elif defined(__aarch64__)
#define MPLOGSHIM_SYS_CALL 1
SYS_CALL_INLINE long sys_call(long number, long a, long b, long c, long d, long e, long f)
{
    register long x8 __asm__("x8") = number;
    register long x0 __asm__("x0") = a;
    register long x1 __asm__("x1") = b;
    register long x2 __asm__("x2") = c;
    register long x3 __asm__("x3") = d;
    register long x4 __asm__("x4") = e;
    register long x5 __asm__("x5") = f;
    __asm__ volatile("svc 0" : "+r"(x0) : "r"(x8), "r"(x1), "r"(x2), "r"(x3), "r"(x4), "r"(x5) : "memory");
    return x0;
}
#else
#include <errno.h>
#include <unistd.h>
SYS_CALL_INLINE long sys_call(long number, long a, long b, long c, long d, long e, long f)
{
    int saved = errno;
    long result = syscall(number, a, b, c, d, e, f);
    result = result == -1 ? -errno : result;
    errno = saved;
    return result;
}
#endif

#endif
