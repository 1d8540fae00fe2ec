#!/bin/bash
# Programs under valgrind: it finds nothing wrong in the library, and their logs rotate.
source "$(dirname "$0")/../account/lib.sh"
need valgrind

checked() { # KEYS WAY...
    local way
    for way in "${@:2}"; do
        new_log "max_bytes=4K,compress=gzip$1"
        shim valgrind -q --error-exitcode=77 "$writer" --threads 3 "$way" "$log" 1 40 2>"$directory/said" ||
            { cat "$directory/said"; return 1; }
        ! grep -v "sigprocmask: unknown 'how' field" "$directory/said" || return 1
        wait_until test -e "$log.1.gz"
        account --min-rotations 3 --max-bytes 4096 {1,2,3}=40
        rm -rf "$directory"
    done
}

valgrind_finds_nothing_in_writes_to_a_log() {
    checked "" write
}

valgrind_finds_nothing_in_writes_into_a_buffer() {
    checked ,async=1 write
}

valgrind_finds_nothing_in_streams_of_a_log() {
    checked "" fprintf fputws
}

nothing_is_lost_by_the_command() {
    new_log max_bytes=4K,compress=gzip
    shim "$writer" write "$log" 1 100
    wait_until test -e "$log.1.gz"
    wait_until no_helper_in "$directory"
    MPLOGSHIM_LOGS=$rules plain valgrind -q --leak-check=full --show-leak-kinds=all --error-exitcode=77 \
        "$command" settle "$log"
}

run_tests \
    valgrind_finds_nothing_in_writes_to_a_log \
    valgrind_finds_nothing_in_writes_into_a_buffer \
    valgrind_finds_nothing_in_streams_of_a_log \
    nothing_is_lost_by_the_command
