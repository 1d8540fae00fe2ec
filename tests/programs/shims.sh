#!/bin/bash
# Other preloaded libraries, before and after this one in LD_PRELOAD, this one twice, and sanitizers' runtimes.
source "$(dirname "$0")/../account/lib.sh"
need "$python" gcc clang

libraries=/usr/lib/x86_64-linux-gnu
shim_library=$library

# Sets $library to both, or to the other one alone where the shim is left out.
preload() { # before|after OTHER
    case $1 in
    before) library=$2${shim_library:+:$shim_library} ;;
    after) library=${shim_library:+$shim_library:}$2 ;;
    esac
}

# A crew on one log: streams, descriptors, threads, children, and two interpreters.
crew_writes() {
    start "$writer" fprintf "$log" 1 150
    start_redirected "$writer_cpp" cout - 2 150
    start "$writer" --forks 2 write "$log" 3 75
    start "$writer" --threads 2 puts "$log" 5 75
    start_redirected bash -c 'for ((n = 1; n <= 150; n++)); do printf "w=7 n=%d end\n" $n; done'
    start "$python" "$account_dir/writer.py" logging "$log" 8 100
    finish
    library=$shim_library
}

crew_shares_with() { # LIBRARY
    local order
    ls ${1//:/ } >/dev/null # each is installed
    for order in before after; do
        rm -rf "${directory:-}"
        new_log max_bytes=4K
        preload "$order" "$1"
        crew_writes || { echo "with $1 $order"; return 1; }
        account --min-rotations 10 --max-bytes 4096 1=150 2=150 {3,4,5,6}=75 7=150 8=100 || { echo "with $1 $order"; return 1; }
    done
}

libraries_that_take_functions_over_may_come_before_or_after() {
    crew_shares_with "$libraries/libeatmydata.so"
    crew_shares_with "$libraries/faketime/libfaketime.so.1"
    crew_shares_with "$libraries/libuid_wrapper.so"
    crew_shares_with "$libraries/libproxychains.so.4"
    crew_shares_with "$libraries/fakechroot/libfakechroot.so"
    crew_shares_with "$libraries/libfakeroot/libfakeroot-sysv.so"
    crew_shares_with /usr/libexec/coreutils/libstdbuf.so
}

allocators_may_come_before_or_after() {
    crew_shares_with "$libraries/libjemalloc.so.2"
    crew_shares_with "$libraries/libtcmalloc_minimal.so.4"
}

several_libraries_at_once() {
    local list=$libraries/libeatmydata.so:$libraries/libjemalloc.so.2
    crew_shares_with "$list:/usr/libexec/coreutils/libstdbuf.so"
}

# Sets $behind to a library with a write of its own, which says so, built with these options.
build_behind() { # [OPTION]...
    behind=$work/libbehind.so
    cat >"$work/behind.c" <<'END'
#include <sys/syscall.h>
#include <unistd.h>
static long own_write(int fd, const void *data, size_t size)
{
    syscall(SYS_write, fd, "behind ", 7);
    return syscall(SYS_write, fd, data, size);
}
#ifdef IFUNC
static void *choose(void)
{
    return own_write;
}
ssize_t write(int fd, const void *data, size_t size) __attribute__((ifunc("choose")));
#else
ssize_t WRITE(int fd, const void *data, size_t size)
{
    return own_write(fd, data, size);
}
#endif
#ifdef VERSION
#define TEXT_OF(name) #name
#define TEXT(name) TEXT_OF(name)
__asm__(".symver " TEXT(WRITE) ", write" VERSION);
#endif
END
    echo 'OLD { }; NEW { };' >"$work/behind.map"
    gcc -fPIC -shared -fno-builtin -DWRITE=write "$@" -o "$behind" "$work/behind.c"
}

# What `write` of a descriptor that is no log comes to, behind the library and as the loader says.
calls_come_to() { # TEXT [OPTION]...
    build_behind "${@:2}"
    [ "$(LD_PRELOAD=$shim_library:$behind "$work/writes")" = "$1" ] || { echo "built with: ${*:2}"; return 1; }
}

functions_of_a_library_behind_it_are_found_however_it_was_linked() {
    echo '#include <unistd.h>
int main(void) { return write(1, "text", 4) != 4; }' >"$work/writes.c"
    gcc -fno-builtin -o "$work/writes" "$work/writes.c"
    calls_come_to 'behind text' -Wl,--hash-style=gnu
    calls_come_to 'behind text' -Wl,--hash-style=sysv
    calls_come_to 'behind text' -DIFUNC
    calls_come_to 'behind text' -UWRITE -DWRITE=new -DVERSION='"@@NEW"' -Wl,--version-script="$work/behind.map"
    calls_come_to text -UWRITE -DWRITE=old -DVERSION='"@OLD"' -Wl,--version-script="$work/behind.map"
}

# It calls libc past everybody who comes after it.
a_library_that_lets_nobody_behind_it_see_its_calls_may_come_after() {
    new_log max_bytes=4K
    preload after "$libraries/libsocket_wrapper.so"
    crew_writes
    account --min-rotations 10 --max-bytes 4096 1=150 2=150 {3,4,5,6}=75 7=150 8=100
}

a_library_that_lets_nobody_behind_it_see_its_calls_loses_nothing_before_it() {
    new_log max_bytes=4K
    preload before "$libraries/libsocket_wrapper.so"
    crew_writes
    account 1=150 2=150 {3,4,5,6}=75 7=150 8=100
}

# Prints how many descriptors of the log's lock file a program has.
count_locks='exec 9>>"$1"; echo line >&9; ls -l /proc/$$/fd | grep -c "/\.app\.log\.lock$"'

# Two that are active would drop each other's locks by closing their own descriptor of the lock file.
of_several_copies_only_one_is_active() {
    local list copies=$work/copies
    mkdir "$copies"
    cp "$command" "$copies"
    cp "${shim_library:?}" "$copies/copy.so"
    ln -s "$shim_library" "$copies/link.so"
    for list in "$shim_library:$copies/copy.so" "$copies/copy.so:$shim_library" "$shim_library:$copies/link.so" \
        "$shim_library:$shim_library"; do
        rm -rf "${directory:-}"
        new_log max_bytes=4K
        library=$list
        [ "$(shim bash -c "$count_locks" - "$directory/app.log")" = 1 ] || { echo "with $list"; return 1; }
        rm -rf "$directory"
        mkdir "$directory"
        crew_writes
        account --min-rotations 10 --max-bytes 4096 1=150 2=150 {3,4,5,6}=75 7=150 8=100
    done
}

# Opens a library in each way, and then says how many descriptors of the lock file there are.
opener='
import ctypes, os, sys
way, library, log = sys.argv[1:]
libc = ctypes.CDLL(None)
libc.dlmopen.restype = ctypes.c_void_p
if way == "dlmopen":
    opened = libc.dlmopen(ctypes.c_long(-1), library.encode(), 2)
else:
    opened = ctypes.CDLL(library, ctypes.RTLD_GLOBAL if way == "global" else ctypes.RTLD_LOCAL)
assert opened
for number in range(1, 201):
    with open(log, "a") as file:
        print(f"w=1 n={number} end", file=file)
    print(f"w=2 n={number} end", flush=True)
print(sum(os.path.realpath(f"/proc/self/fd/{fd}").endswith(".lock") for fd in os.listdir("/proc/self/fd")), file=sys.stderr)
'

a_copy_that_the_program_opens_is_inert() {
    local way of
    cp "${shim_library:?}" "$work/opened.so"
    for way in local global dlmopen; do
        for of in "$shim_library" "$work/opened.so"; do
            rm -rf "${directory:-}"
            new_log max_bytes=4K
            shim "$python" -c "$opener" $way "$of" "$log" >>"$log" 2>"$directory/locks"
            [ "$(<"$directory/locks")" = 1 ] || { echo "$way $of: $(<"$directory/locks")"; return 1; }
            account --min-rotations 1 --max-bytes 4096 {1,2}=200
        done
    done
}

# Nobody would call it: half of a program's calls through it would be worse than none.
opened_and_not_preloaded_it_is_inert() {
    local way
    for way in local global dlmopen; do
        rm -rf "${directory:-}"
        new_log max_bytes=4K
        MPLOGSHIM_LOGS=$rules plain "$python" -c "$opener" $way "$shim_library" "$log" >>"$log" 2>"$directory/locks"
        [ "$(<"$directory/locks")" = 0 ]
        [ "$(ls -A "$directory")" = $'app.log\nlocks' ]
        account --max-rotations 0 {1,2}=200
    done
}

# Sets $sanitized to the writer, built with a sanitizer: its runtime is in it (clang) or in a library (gcc).
build_sanitized() { # COMPILER SANITIZER
    sanitized=$work/writer.$1.$2
    "$1" -std=gnu11 -O1 -D_GNU_SOURCE -fsanitize="$2" -pthread -o "$sanitized" "$account_dir/writer.c" -lz
}

sanitized_programs_write() {
    new_log max_bytes=4K
    start "$sanitized" write "$log" 1 100
    start_redirected "$sanitized" puts - 2 100
    start "$sanitized" --threads 3 fprintf "$log" 3 50
    start "$sanitized" --forks 2 fputws "$log" 6 50
    finish
    library=$shim_library
    account --min-rotations 10 --max-bytes 4096 {1,2}=100 {3,4,5,6,7}=50
}

programs_with_address_sanitizer_rotate() {
    build_sanitized clang address
    sanitized_programs_write
}

# It must be the first of all; it says so itself if it is not.
programs_with_address_sanitizer_in_a_library_that_is_preloaded_first_rotate() {
    build_sanitized gcc address
    preload before "$(gcc -print-file-name=libasan.so)"
    sanitized_programs_write
}

# libc's constructor is told them after this library's has run, and must not run any earlier.
programs_with_a_sanitizer_have_their_name_and_environment() {
    local program=$work/environment runtime
    printf '%s\n' '#include <errno.h>' '#include <stdio.h>' '#include <stdlib.h>' 'int main(void) {' \
        'printf("%s %s\n", program_invocation_short_name, getenv("HERE")); }' >"$program.c"
    gcc -D_GNU_SOURCE -fsanitize=address -o "$program" "$program.c"
    runtime=$(gcc -print-file-name=libasan.so)
    [ "$(LD_PRELOAD="$runtime $shim_library" HERE=yes plain "$program")" = 'environment yes' ]
}

# Its functions must not be called before it has started, and this library starts before everybody.
programs_with_thread_sanitizer_rotate() {
    export TSAN_OPTIONS=ignore_noninstrumented_modules=1
    build_sanitized clang thread
    sanitized_programs_write
}

# It takes clone for a fork, after which it allows no threads, and puts its own cookies into streams.
programs_with_thread_sanitizer_in_a_library_rotate() {
    export TSAN_OPTIONS=ignore_noninstrumented_modules=1
    build_sanitized gcc thread
    sanitized_programs_write
}

programs_with_undefined_behaviour_sanitizer_rotate() {
    build_sanitized gcc undefined
    sanitized_programs_write
}

run_tests \
    libraries_that_take_functions_over_may_come_before_or_after \
    allocators_may_come_before_or_after \
    several_libraries_at_once \
    functions_of_a_library_behind_it_are_found_however_it_was_linked \
    a_library_that_lets_nobody_behind_it_see_its_calls_may_come_after \
    a_library_that_lets_nobody_behind_it_see_its_calls_loses_nothing_before_it \
    of_several_copies_only_one_is_active \
    a_copy_that_the_program_opens_is_inert \
    opened_and_not_preloaded_it_is_inert \
    programs_with_address_sanitizer_rotate \
    programs_with_address_sanitizer_in_a_library_that_is_preloaded_first_rotate \
    programs_with_a_sanitizer_have_their_name_and_environment \
    programs_with_thread_sanitizer_rotate \
    programs_with_thread_sanitizer_in_a_library_rotate \
    programs_with_undefined_behaviour_sanitizer_rotate
