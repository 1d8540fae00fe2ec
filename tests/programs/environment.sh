#!/bin/bash
# What a program finds around it: tracers, the dynamic linker's variables, an environment that is cleared, a directory
# that is removed, a time zone that changes; and libraries that log before, after and beside the program.
source "$(dirname "$0")/../account/lib.sh"
need "$python" gcc strace gdb valgrind setarch env

# Two writers, started by a command that runs another one.
rotates_under() { # [COMMAND...]
    rm -rf "${directory:-}"
    new_log max_bytes=4K
    start "$@" "$writer" fprintf "$log" 1 150
    start "$@" "$writer" --forks 2 write "$log" 2 75
    finish >"$work/said.$BASHPID" 2>&1 || { cat "$work/said.$BASHPID"; return 1; }
    account --min-rotations 5 --max-bytes 4096 1=150 {2,3}=75 || { echo "under: $*"; return 1; }
}

programs_under_tracers_rotate() {
    rotates_under strace -f -o "$work/trace"
    grep -q RENAME_EXCHANGE "$work/trace"
    rotates_under gdb -q -nx -batch -ex "set follow-fork-mode parent" -ex run --args
    rotates_under valgrind -q --error-exitcode=9
    rotates_under setarch -R
}

variables_of_the_dynamic_linker_change_nothing() {
    rotates_under env LD_BIND_NOW=1
    rotates_under env LD_BIND_NOT=1
    rotates_under env LD_DEBUG=all LD_DEBUG_OUTPUT="$work/bindings"
    rotates_under env GLIBC_TUNABLES=glibc.pthread.rseq=0:glibc.rtld.optional_static_tls=0
    rotates_under env GLIBC_TUNABLES=glibc.malloc.perturb=165:glibc.malloc.tcache_count=0 MALLOC_PERTURB_=77
    rm -f "$work"/bindings*
}

an_auditor_of_the_dynamic_linker_changes_nothing() {
    gcc -shared -fPIC -o "$work/auditor.so" -x c - <<'END'
unsigned la_version(unsigned version)
{
    return version;
}
unsigned long la_symbind64(void *symbol, unsigned index, void *from, void *to, unsigned *flags, const char *name)
{
    (void)index, (void)from, (void)to, (void)flags, (void)name;
    return ((unsigned long *)symbol)[1];
}
unsigned la_objopen(void *map, long space, void *cookie)
{
    (void)map, (void)space, (void)cookie;
    return 3;
}
END
    rotates_under env LD_AUDIT="$work/auditor.so"
}

# As sudo, su - and cron do it: what is started so has no library, and what it inherits goes on appending. A stream of
# its own would be flushed in the middle of lines, into those of others.
what_is_started_with_another_environment_loses_nothing() {
    new_log max_bytes=2K,compress=gzip
    start_redirected bash -c 'for ((n = 1; n <= 100; n++)); do echo "w=1 n=$n end"; done
        env -i "$1" write - 2 100
        env -u LD_PRELOAD "$1" --buffering line fprintf "$2" 3 100
        env -u MPLOGSHIM_LOGS "$1" --buffering line puts - 4 100
        for ((n = 101; n <= 200; n++)); do echo "w=1 n=$n end"; done' - "$writer" "$log"
    start "$writer" write "$log" 5 300
    finish
    account --min-rotations 5 1=200 {2,3,4}=100 5=300
}

a_program_that_clears_its_environment_rotates() {
    new_log max_bytes=2K
    start "$python" -c '
import os, sys
os.environ.clear()
for name in ("LD_PRELOAD", "MPLOGSHIM_LOGS", "MPLOGSHIM_DISABLE"):
    os.putenv(name, "1")
with open(sys.argv[1], "a", buffering=1) as log:
    for n in range(1, 201):
        log.write(f"w=1 n={n} end\n")
' "$log"
    finish
    account --min-rotations 1 --max-bytes 2048 1=200
}

# Names are in the zone that the program was started in, whatever it sets later.
a_time_zone_that_the_program_sets_changes_no_name() {
    new_log max_bytes=1K,naming=time
    start env TZ=UTC0 "$python" -c '
import os, sys, time
os.environ["TZ"] = "XXX-13"
time.tzset()
with open(sys.argv[1], "a", buffering=1) as log:
    for n in range(1, 201):
        log.write(f"w=1 n={n} end\n")
' "$log"
    finish
    account --naming time --min-rotations 2 1=200
    local archive stamp
    for archive in "$log".*; do
        stamp=${archive#"$log".}
        stamp=$(date -ud "${stamp:0:10} ${stamp:11:2}:${stamp:14:2}:${stamp:17:2}" +%s)
        (($(date +%s) - stamp < 3600 && stamp <= $(date +%s)))
    done
}

a_program_whose_directory_was_removed_rotates_by_absolute_rules() {
    new_log max_bytes=4K
    mkdir "$work/gone"
    (
        cd "$work/gone" || exit
        rmdir "$work/gone"
        start "$writer" fprintf "$log" 1 200
        finish
    )
    account --min-rotations 5 --max-bytes 4096 1=200
}

relative_rules_in_a_directory_that_was_removed_are_told_in_one_line() {
    new_log
    mkdir "$work/gone"
    (
        cd "$work/gone" || exit
        rmdir "$work/gone"
        plain env MPLOGSHIM_LOGS='*.log,max_bytes=4K' ${library:+LD_PRELOAD="$library"} "$writer" write "$log" 1 200
    ) 2>"$directory/said"
    [ "$(wc -l <"$directory/said")" = 1 ]
    grep -q "^mplogshim: .*expected an absolute path, as the starting directory is not known" "$directory/said"
    account --max-rotations 0 1=200
}

# It logs when it is loaded, by a handler of the program's exit, and when it is unloaded; and when it is asked to.
build_library_that_logs() {
    gcc -O1 -shared -fPIC -o "$work/logs.so" -x c - <<'END'
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
static int fd, number;
static FILE *stream;
void log_lines(int count)
{
    while (count-- > 0) {
        number++;
        if (number % 2)
            dprintf(fd, "w=1 n=%d end\n", number);
        else if (fprintf(stream, "w=1 n=%d end\n", number) < 0)
            abort();
    }
}
static void at_exit(void)
{
    log_lines(100);
}
__attribute__((constructor)) static void loaded(int count, char **arguments, char **environment)
{
    (void)count, (void)arguments;
    const char *log = NULL;
    for (; *environment != NULL; environment++)
        if (sscanf(*environment, "LOGS_TO=%m[^\n]", &log) == 1)
            break;
    fd = open(log, O_WRONLY | O_CREAT | O_APPEND, 0644);
    stream = fdopen(dup(fd), "a");
    setvbuf(stream, NULL, _IOLBF, BUFSIZ);
    log_lines(100);
    atexit(at_exit);
}
__attribute__((destructor)) static void unloaded(void)
{
    log_lines(100);
}
END
}

libraries_that_log_before_the_program_and_after_it_rotate() {
    local list shim_library=$library
    build_library_that_logs
    for list in "$work/logs.so${library:+:$library}" "${library:+$library:}$work/logs.so"; do
        rm -rf "${directory:-}"
        new_log max_bytes=1K
        library=$list
        LOGS_TO=$log start "$writer" write "$log" 2 50
        finish
        library=$shim_library
        account --min-rotations 2 --max-bytes 1024 1=300 2=50 || { echo "with $list"; return 1; }
    done
}

load_and_log='
import ctypes, os, sys
way, library = sys.argv[1:]
if way == "dlmopen":
    libc = ctypes.CDLL(None)
    libc.dlmopen.restype = libc.dlsym.restype = ctypes.c_void_p
    handle = ctypes.c_void_p(libc.dlmopen(ctypes.c_long(-1), library.encode(), 2))
    log_lines = ctypes.CFUNCTYPE(None, ctypes.c_int)(libc.dlsym(handle, b"log_lines"))
else:
    log_lines = ctypes.CDLL(library, getattr(os, way)).log_lines
log_lines(200)
'

libraries_that_are_opened_and_log_rotate() {
    local way
    build_library_that_logs
    for way in RTLD_LOCAL RTLD_GLOBAL RTLD_LAZY RTLD_NODELETE; do
        rm -rf "${directory:-}"
        new_log max_bytes=1K
        LOGS_TO=$log start "$python" -c "$load_and_log" $way "$work/logs.so"
        finish
        account --min-rotations 2 --max-bytes 1024 1=500 || { echo "by $way"; return 1; }
    done
}

# They call a libc past everybody, or one of their own.
libraries_that_are_opened_aside_and_log_lose_nothing() {
    local way lines
    build_library_that_logs
    for way in RTLD_DEEPBIND dlmopen; do
        rm -rf "${directory:-}"
        new_log max_bytes=4K
        LOGS_TO=$log start "$python" -c "$load_and_log" $way "$work/logs.so"
        start "$writer" write "$log" 2 200
        finish
        lines=500
        [ $way = RTLD_DEEPBIND ] || lines=300 # what was opened so hears of no exit
        account --min-rotations 2 1=$lines-500 2=200 >"$directory/account" 2>&1 || { cat "$directory/account"; return 1; }
    done
}

run_tests \
    programs_under_tracers_rotate \
    variables_of_the_dynamic_linker_change_nothing \
    an_auditor_of_the_dynamic_linker_changes_nothing \
    what_is_started_with_another_environment_loses_nothing \
    a_program_that_clears_its_environment_rotates \
    a_time_zone_that_the_program_sets_changes_no_name \
    a_program_whose_directory_was_removed_rotates_by_absolute_rules \
    relative_rules_in_a_directory_that_was_removed_are_told_in_one_line \
    libraries_that_log_before_the_program_and_after_it_rotate \
    libraries_that_are_opened_and_log_rotate \
    libraries_that_are_opened_aside_and_log_lose_nothing
