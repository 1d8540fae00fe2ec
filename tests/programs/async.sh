#!/bin/bash
# async=1 with kill -9 at random moments: ASYNC_KILLS kills of writers (default: 60), half of them while they write as
# fast as they can. Every line whose write returned is in the log, once and whole, and no buffer is left over.
source "$(dirname "$0")/../account/lib.sh"
source "$account_dir/archives.sh"
need "$python"
kills=${ASYNC_KILLS:-60}
time_limit=$((300 + kills))

# A storm of KILLS over scribes of so many lines a second; then everything must have settled.
storm() { # KILLS RATE KEY=VALUE,... [OPTION]...
    new_archived_log "async=1,$3"
    mkdir "$records"
    STORM_PRELOAD=$library MPLOGSHIM_LOGS=$rules MPLOGSHIM_STRICT=1 MPLOGSHIM_DIAG="$records/said" \
        plain "$account_dir/storm.py" --rate "$2" --writers-only "${@:4}" "$scribe" "$log" "$records" "$1"
    settle
    [ -e "$directory/.app.log.lock" ]
    [ ! -s "$records/said" ] || { cat "$records/said"; return 1; }
}

kills_lose_no_line_that_waits_in_a_buffer() {
    storm $((kills / 2)) 2000 max_bytes=64K
    account_of_scribes --max-bytes 65536 --min-rotations 5
}

kills_in_the_middle_of_batches_double_and_tear_nothing() {
    storm $((kills / 2)) 1000000 max_bytes=4M,async_buffer=256K
    account_of_scribes --max-bytes 4194304 --min-rotations 2
}

who_is_killed_while_it_takes_over_what_the_dead_left_doubles_and_tears_nothing() {
    storm $((kills / 2)) 1000000 max_bytes=4M,async_buffer=256K --takers
    account_of_scribes --max-bytes 4194304
}

run_tests \
    kills_lose_no_line_that_waits_in_a_buffer \
    kills_in_the_middle_of_batches_double_and_tear_nothing \
    who_is_killed_while_it_takes_over_what_the_dead_left_doubles_and_tears_nothing
