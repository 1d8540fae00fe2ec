#!/bin/bash
# Rotation by the clock, alone and together with rotation by size, of programs of several languages.
source "$(dirname "$0")/../account/lib.sh"
need "$python" perl faketime
export TZ=UTC0

# Fails if archives were written to after their second was over. A write that was under way at its end may be a little
# late, and few of them, on a busy machine, very late.
archives_end_with_their_second() {
    local archive name period changed count=0 late=0
    for archive in "$log".*; do
        name=${archive#"$log".}
        period=$(date -d "${name:0:10} ${name:11:2}:${name:14:2}:${name:17:2}" +%s)
        changed=$(stat -c %.3Y "$archive")
        count=$((count + 1))
        if ((${changed/./} < period * 1000 || ${changed/./} > period * 1000 + 1500)); then
            echo "$archive was last written to at $(date -d "@$changed" +%H:%M:%S.%N)"
            ((${changed/./} >= period * 1000))
            late=$((late + 1))
        fi
    done
    ((late <= 1 + count / 5))
}

# A log that is rotated each second, and no more often: the account from here on.
begin() { # KEY=VALUE,...
    new_log "$1"
    begun=$EPOCHSECONDS
}

account_each_second() { # As account's
    account --max-rotations $((EPOCHSECONDS - begun)) "$@"
}

every_second_begins_a_file_and_no_line_is_lost() {
    begin when=S
    start "$writer" fprintf --buffering line "$log" 1 1500 500
    start "$account_dir/writer.sh" echo "$log" 2 1500 500
    start "$python" "$account_dir/writer.py" logging "$log" 3 1500 500
    start perl "$account_dir/writer.pl" flush "$log" 4 1500 500
    finish
    account_each_second --naming time --min-rotations 2 {1,2,3,4}=1500
    archives_end_with_their_second
}

a_rotation_by_size_does_not_move_the_boundary_of_the_clock() {
    new_log when=S,max_bytes=16K
    start "$writer" fprintf --buffering line "$log" 1 1500 500
    start "$account_dir/writer.sh" echo "$log" 2 1500 500
    start "$python" "$account_dir/writer.py" logging "$log" 3 1500 500
    start perl "$account_dir/writer.pl" flush "$log" 4 1500 500
    finish
    account --naming time --min-rotations 50 --max-bytes 16384 {1,2,3,4}=1500
    archives_end_with_their_second
}

archives_by_the_clock_may_be_numbered() {
    begin when=S,naming=number
    start "$writer" write "$log" 1 1000 400
    start "$writer_cpp" ofstream_endl "$log" 2 1000 400
    finish
    account_each_second --min-rotations 2 1=1000 2=1000
}

the_first_write_after_an_idle_boundary_rotates() {
    begin when=S
    local second
    shim "$writer" write "$log" 1 5
    second=$(date +%s)
    time_has_passed() { (($(date +%s) > second)); }
    wait_until time_has_passed
    shim "$writer" write "$log" 2 5
    account_each_second --naming time --min-rotations 1 1=5 2=5
}

midnight_begins_a_file_named_by_the_day_before() {
    new_log when=D
    start faketime -f '@2026-11-20 23:59:58' "$python" "$account_dir/writer.py" logging "$log" 1 1600 400
    start faketime -f '@2026-11-20 23:59:58' perl "$account_dir/writer.pl" flush "$log" 2 1600 400
    start faketime -f '@2026-11-20 23:59:58' "$writer" write "$log" 3 1600 400
    finish
    account --naming time --min-rotations 1 --max-rotations 1 {1,2,3}=1600
    [ -s "$log.2026-11-20" ]
}

a_program_that_was_down_over_midnight_rotates_with_its_first_line() {
    new_log when=D
    shim faketime -f '@2026-11-20 13:00:00' "$writer" write "$log" 1 10
    shim faketime -f '@2026-11-22 13:00:00' "$writer" write "$log" 2 10
    shim faketime -f '@2026-11-22 23:00:00' "$writer" write "$log" 3 10
    account --naming time --min-rotations 1 --max-rotations 1 {1,2,3}=10
    [ -s "$log.2026-11-20" ]
}

a_clock_that_is_set_back_rotates_nothing_and_overwrites_nothing() {
    new_log when=H
    for hour in 13 14 13 14 13; do
        shim faketime -f "@2026-11-20 $hour:30:00" "$writer" write "$log" "$((++id))" 10
    done
    account --naming time --min-rotations 1 --max-rotations 3 {1,2,3,4,5}=10
}

id=0
run_tests \
    every_second_begins_a_file_and_no_line_is_lost \
    a_rotation_by_size_does_not_move_the_boundary_of_the_clock \
    archives_by_the_clock_may_be_numbered \
    the_first_write_after_an_idle_boundary_rotates \
    midnight_begins_a_file_named_by_the_day_before \
    a_program_that_was_down_over_midnight_rotates_with_its_first_line \
    a_clock_that_is_set_back_rotates_nothing_and_overwrites_nothing
