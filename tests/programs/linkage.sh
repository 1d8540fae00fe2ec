#!/bin/bash
# Programs of every kind of linking: they rotate, or nothing at all happens to them.
source "$(dirname "$0")/../account/lib.sh"
need gcc clang musl-gcc ld.lld ld.gold mold

# Sets $built to the writer, made by a compiler with these options.
build_writer() { # COMPILER [OPTION]...
    built=$work/writer.built
    "$1" -std=gnu11 -D_GNU_SOURCE "${@:2}" -pthread -o "$built" "$account_dir/writer.c" -lz
}

rotates_when_built_with() { # COMPILER [OPTION]...
    rm -rf "${directory:-}"
    new_log max_bytes=8K
    build_writer "$@"
    start "$built" fprintf "$log" 1 150
    start "$built" write "$log" 2 150
    start_redirected "$built" puts - 3 150
    start "$built" --forks 2 dprintf "$log" 4 75
    finish
    account --min-rotations 5 --max-bytes 8192 {1,2,3}=150 {4,5}=75 || { echo "built with: $*"; return 1; }
}

programs_that_are_fortified_rotate() {
    rotates_when_built_with gcc -O2 -D_FORTIFY_SOURCE=3
    rotates_when_built_with clang -O2 -D_FORTIFY_SOURCE=2 -fcf-protection=full -fstack-protector-all
}

programs_of_every_linker_rotate() {
    rotates_when_built_with clang -O1 -fuse-ld=lld
    rotates_when_built_with gcc -O1 -fuse-ld=gold
    rotates_when_built_with clang -O1 -fuse-ld=mold
}

programs_that_bind_their_symbols_early_late_or_to_themselves_rotate() {
    rotates_when_built_with gcc -O1 -Wl,-z,now -Wl,-z,relro -Wl,-Bsymbolic
    rotates_when_built_with gcc -O1 -no-pie -Wl,-z,lazy -Wl,-z,norelro -Wl,--hash-style=sysv -rdynamic
    rotates_when_built_with gcc -O1 -fno-plt -static-libgcc -Wl,--no-as-needed -flto
}

# Its own write goes past the library, appends where the file is, and so nothing is lost.
a_program_with_functions_of_its_own_rotates_by_the_others() {
    new_log max_bytes=8K
    start "$build/tests/own_libc" "$log" 1 500
    start "$build/tests/own_libc" "$log" 2 500
    start "$writer" write "$log" 3 300
    finish
    # A line by its own write goes to the file that was the live one when it was opened, and so may be out of order.
    account 1=500 2=500 3=300 >"$directory/account" 2>&1 || true
    grep -q "found 1300: lost 0, doubled 0, torn 0" "$directory/account" || { cat "$directory/account"; return 1; }
    [ -e "$log.5" ]
}

# The same output, exit status and file as without the shim, and nothing else.
nothing_happens_to() { # PROGRAM
    rm -rf "${directory:-}"
    new_log max_bytes=1K
    plain "$1" "$directory/plain" >"$directory/output.plain" 2>&1 && return 1
    shim "$1" "$log" >"$directory/output" 2>&1 && return 1
    diff "$directory/plain" "$log"
    diff "$directory/output.plain" "$directory/output"
    [ "$(ls -A "$directory")" = $'app.log\noutput\noutput.plain\nplain' ] || { ls -A "$directory"; return 1; }
}

# Many a call that libmplogshim.so has, but none that starts a program that it would work in; exit status 3.
write_many_calls() {
    cat >"$work/calls.c" <<'END'
#define _GNU_SOURCE
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>
#include <wchar.h>
static void *thread(void *fd)
{
    dprintf(*(int *)fd, "thread\n");
    return fd;
}
int main(int count, char **arguments)
{
    pthread_t id;
    jmp_buf here;
    int fd = open(arguments[1], O_WRONLY | O_CREAT | O_APPEND | O_TRUNC, 0644);
    (void)count;
    dup2(fd, 1);
    printf("printf %d\n", 1);
    puts("puts");
    fwrite("fwrite\n", 1, 7, stdout);
    fflush(stdout);
    FILE *file = fdopen(dup(fd), "a");
    setvbuf(file, NULL, _IOLBF, BUFSIZ);
    for (int i = 0; i < 100; i++)
        fprintf(file, "line %d of some length\n", i);
    fclose(file);
    file = fopen(arguments[1], "a");
    fputws(L"wide\n", file);
    fclose(file);
    if (freopen(arguments[1], "a", stdout) != NULL)
        puts("reopened");
    fflush(NULL);
    pthread_create(&id, NULL, thread, &fd);
    pthread_join(id, NULL);
    if (setjmp(here) == 0)
        longjmp(here, 1);
    if (fork() == 0) {
        dprintf(fd, "child\n");
        _exit(0);
    }
    wait(NULL);
    if (vfork() == 0)
        _exit(0);
    wait(NULL);
    fprintf(stderr, "error\n");
    fsync(fd);
    lseek(fd, 0, SEEK_CUR);
    fcntl(fd, F_GETFL);
    return write(fd, "end\n", 4) == 4 ? 3 : 0;
}
END
}

nothing_happens_to_static_programs() {
    write_many_calls
    gcc -O1 -static -pthread -o "$work/calls" "$work/calls.c"
    nothing_happens_to "$work/calls"
    gcc -O1 -static-pie -fPIE -pthread -o "$work/calls" "$work/calls.c"
    nothing_happens_to "$work/calls"
}

# Without weak symbols musl's linker ends the program: libc of another kind has not all of glibc's functions.
nothing_happens_to_programs_of_musl() {
    write_many_calls
    musl-gcc -O1 -o "$work/calls" "$work/calls.c"
    nothing_happens_to "$work/calls"
    musl-gcc -O1 -static -o "$work/calls" "$work/calls.c"
    nothing_happens_to "$work/calls"
}

# A program without libc that is linked dynamically, so that a library can be preloaded into it.
write_bare() {
    cat >"$work/bare.c" <<'END'
static long call(long number, long a, long b, long c)
{
    long result;
#ifdef __x86_64__
    __asm__ volatile("syscall" : "=a"(result) : "a"(number), "D"(a), "S"(b), "d"(c) : "rcx", "r11", "memory");
#else
    __asm__ volatile("int $0x80" : "=a"(result) : "a"(number), "b"(a), "c"(b), "d"(c) : "memory");
#endif
    return result;
}
void _start(void)
{
    static const char text[] = "line\n";
    call(sizeof(long) == 8 ? 1 : 4, 1, (long)text, 5);
    call(sizeof(long) == 8 ? 231 : 252, 3, 0, 0);
}
END
}

nothing_happens_to_a_program_without_libc() {
    local status=0
    new_log max_bytes=1
    write_bare
    gcc -O1 -nostdlib -pie -fPIE -Wl,--dynamic-linker=/lib64/ld-linux-x86-64.so.2 -o "$work/bare" "$work/bare.c"
    shim "$work/bare" >>"$log" 2>"$directory/said" || status=$?
    ((status == 3))
    [ "$(<"$log")" = line ]
    [ ! -s "$directory/said" ]
}

# ld.so says why it does not load the library, and goes on.
a_32_bit_program_is_told_why_nothing_happens() {
    local status=0
    new_log max_bytes=1
    write_bare
    gcc -m32 -O1 -nostdlib -no-pie -fno-pic -Wl,--dynamic-linker=/lib/ld-linux.so.2 -Wl,--no-as-needed \
        -o "$work/bare" "$work/bare.c" /lib32/libc.so.6
    shim "$work/bare" >>"$log" 2>"$directory/said" || status=$?
    ((status == 3))
    [ "$(<"$log")" = line ]
    grep -q "cannot be preloaded (wrong ELF class: ELFCLASS64): ignored" "$directory/said"
}

# The library is where such a program may have it from, with the bit that it must have: ld.so loads it.
preload_into_set_user_id_program() {
    if [ -n "$library" ]; then
        mount --bind "$directory/library.so" /usr/lib/x86_64-linux-gnu/libeatmydata.so
    fi
    cd /
    setpriv --reuid=nobody --regid=nogroup --clear-groups timeout "$time_limit" env MPLOGSHIM_LOGS="$rules" MPLOGSHIM_STRICT=1 \
        LD_PRELOAD=libeatmydata.so "$directory/calls" "$log" || (($? == 3))
}

# It would write where somebody else wants it, with the rights of its owner.
nothing_happens_to_a_set_user_id_program() {
    new_log max_bytes=1K,owner=nonsense
    chmod 755 "$work" "$directory"
    write_many_calls
    gcc -O1 -pthread -o "$work/calls" "$work/calls.c"
    install -m 4755 "$work/calls" "$directory/calls"
    install -o nobody -m 666 /dev/null "$log"
    [ -z "$library" ] || install -m 4755 "$library" "$directory/library.so"
    export directory log rules library time_limit
    export -f preload_into_set_user_id_program
    unshare --mount --propagation private bash -euc preload_into_set_user_id_program >"$directory/said" 2>&1 ||
        { cat "$directory/said"; return 1; }
    [ "$(cat "$directory/said")" = error ]
    [ "$(wc -l <"$log")" -ge 100 ]
    [ -z "$(find "$directory" -name '.app.log*')" ]
}

run_tests \
    programs_that_are_fortified_rotate \
    programs_of_every_linker_rotate \
    programs_that_bind_their_symbols_early_late_or_to_themselves_rotate \
    a_program_with_functions_of_its_own_rotates_by_the_others \
    nothing_happens_to_static_programs \
    nothing_happens_to_programs_of_musl \
    nothing_happens_to_a_program_without_libc \
    a_32_bit_program_is_told_why_nothing_happens \
    nothing_happens_to_a_set_user_id_program
