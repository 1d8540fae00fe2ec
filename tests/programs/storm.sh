#!/bin/bash
# kill -9 of writers and of the helpers that settle their archives, at random moments, for as long as it takes:
# STORM_KILLS kills altogether (default: 240). What was acknowledged is there, and nothing is left over.
source "$(dirname "$0")/../account/lib.sh"
source "$account_dir/archives.sh"
need "$python"
kills=${STORM_KILLS:-240}
time_limit=$((300 + kills))

# A storm of KILLS over a log with the keys given; then everything must have settled.
storm() { # KILLS KEY=VALUE,... [OPTION]...
    new_archived_log "$2"
    mkdir "$records"
    STORM_PRELOAD=$library MPLOGSHIM_LOGS=$rules MPLOGSHIM_STRICT=1 MPLOGSHIM_DIAG="$records/said" \
        plain "$account_dir/storm.py" "${@:3}" "$scribe" "$log" "$records" "$1"
    settle
    [ -e "$directory/.app.log.lock" ]
}

kills_lose_nothing_and_leave_nothing_over_with_numbers_and_gzip() {
    storm $((kills * 3 / 8)) max_bytes=16K,compress=gzip
    no_archive_is_plain
    account_of_scribes --max-bytes 16384 --min-rotations 20
}

kills_lose_nothing_and_leave_nothing_over_with_times_and_gzip() {
    storm $((kills * 3 / 8)) max_bytes=64K,naming=time,compress=gzip:1
    no_archive_is_plain
    account_of_scribes --naming time --max-bytes 65536 --min-rotations 10
}

kills_lose_nothing_and_leave_nothing_over_with_a_clock_and_no_compression() {
    storm $((kills / 4)) max_bytes=32K,when=S,naming=number
    account_of_scribes --max-bytes 32768 --min-rotations 10
}

# Workers in a directory and with a log of root's: each keeper that is killed leaves them on the file that they have,
# until the next worker starts another one. The log is root's own, so the new file is lent to each of them.
kills_of_workers_and_of_their_keepers_lose_nothing() {
    ((EUID == 0)) || { echo "not root: nobody has a keeper"; return 0; }
    storm $((kills / 6)) max_bytes=16K --drop
    account_of_scribes --min-rotations 5
}

run_tests \
    kills_lose_nothing_and_leave_nothing_over_with_numbers_and_gzip \
    kills_lose_nothing_and_leave_nothing_over_with_times_and_gzip \
    kills_lose_nothing_and_leave_nothing_over_with_a_clock_and_no_compression \
    kills_of_workers_and_of_their_keepers_lose_nothing
