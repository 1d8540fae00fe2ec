#!/bin/bash
# lock=rotate: writes without the file lock, while the log is rotated every few milliseconds and its archives are
# compressed. A file may be larger than max_bytes by what was written within a tick of the clock.
source "$(dirname "$0")/../account/lib.sh"
source "$account_dir/archives.sh"
need "$python"
kills=${LOCKLESS_KILLS:-60}
time_limit=$((300 + kills))

# Processes, threads, children and interpreters at full speed; and where lines are strict, byte by byte.
crowd_writes() {
    start "$writer" fprintf "$log" 1 1500
    start_redirected "$writer_cpp" cout - 2 1500
    start "$writer" --forks 3 write "$log" 3 1500
    start "$writer" --threads 3 write "$log" 6 1500
    start "$writer" --threads 2 --buffering full fprintf "$log" 9 1500
    start "$writer" --length 3000-9000 write "$log" 11 200
    start "$python" "$account_dir/writer.py" logging "$log" 12 1000
    [[ $rules != *strict* ]] || start "$writer" --buffering none putc "$log" 13 500
    finish
}

crowd_loses_nothing_with() { # KEYS [WRITER=LINES]...
    new_log "lock=rotate,max_bytes=8K,$1"
    crowd_writes
    account --min-rotations 10 {1,2,3,4,5,6,7,8,9,10}=1500 11=200 12=1000 "${@:2}"
}

a_crowd_loses_nothing() {
    crowd_loses_nothing_with compress=gzip:1
}

a_crowd_loses_nothing_with_strict_lines() {
    crowd_loses_nothing_with lines=strict 13=500
}

a_crowd_loses_nothing_with_some_that_lock_every_write() {
    new_log max_bytes=8K
    local plain_rules=$rules
    start "$writer" --threads 2 fprintf "$log" 1 1500
    start "$writer" write "$log" 3 1500
    rules="$directory/*.log,max_bytes=8K,lock=rotate"
    start "$writer" --threads 2 write "$log" 4 1500
    start "$writer" --forks 2 fprintf "$log" 6 1500
    finish
    rules=$plain_rules
    account --min-rotations 10 {1,2,3,4,5,6,7}=1500
}

# Lines that are larger than a page, too: what a kill cuts short there is the killed writer's own.
kills_lose_nothing() {
    new_archived_log lock=rotate,max_bytes=16K,compress=gzip
    mkdir "$records"
    STORM_PRELOAD=$library MPLOGSHIM_LOGS=$rules MPLOGSHIM_STRICT=1 MPLOGSHIM_DIAG="$records/said" \
        plain "$account_dir/storm.py" "$scribe" "$log" "$records" "$kills"
    settle
    no_archive_is_plain
    account_of_scribes --min-rotations 5
}

run_tests \
    a_crowd_loses_nothing \
    a_crowd_loses_nothing_with_strict_lines \
    a_crowd_loses_nothing_with_some_that_lock_every_write \
    kills_lose_nothing
