#!/bin/bash
# The account of scripts/bench-peers, fed with logs of which is known what is lost and torn in them.
source "$(dirname "$0")/../account/lib.sh"
account=$build/tests/bench/peer_account
line_length=40

# Writers 1 and 2 write 100 lines each, one after the other, and the account of that is as given.
write_log() {
    new_log
    head -c 128 /dev/zero >"$work/log.told" # two slots
    local id
    for id in 1 2; do
        plain "$build/tests/bench/peer_write" write "$log" "$work/log.told" "$id" 100 "$line_length" </dev/null
    done
}

account_is() { # TOLD LOST TORN DOUBLED STRANGE
    local found
    found=$("$account" "$directory" "$line_length" "$work/log.told" 2)
    echo "$found" # for who reads why it failed
    [ "$found" = "$*" ]
}

the_account_of_a_whole_log_shows_nothing_lost_and_its_lines_are_those_of_all_tests() {
    write_log
    account_is 200 0 0 0 0
    "$checker" "$log" 1=100 2=100
}

lines_are_found_in_whatever_files_a_peer_makes_and_not_in_its_lock() {
    write_log
    mkdir "$directory/@archives"
    sed -n '1,60p' "$log" >"$directory/@archives/@4000000065.s"
    sed -n '61,150p' "$log" >"$directory/app.1.log"
    sed -n 151p "$log" >"$directory/.__app.lock"
    sed -i 1,150d "$log"
    account_is 200 0 0 0 0
    sed -i 1d "$log"
    account_is 200 1 0 0 0
}

lost_lines_are_counted_and_only_those_that_were_accepted() {
    write_log
    sed -i '11,20d; 200d' "$log" # lines 11 to 20 of writer 1, and the last one of writer 2
    account_is 200 11 0 0 0
    printf '\143' | dd of="$work/log.told" bs=1 seek=72 conv=notrunc status=none # writer 2 was told of 99
    account_is 199 10 0 0 0
}

torn_lines_are_counted_by_their_beginnings_and_are_not_lost() {
    write_log
    # Line 5 of writer 1 in the middle of its line 3, as by two writes of one pipe; line 7 is cut off at its end.
    awk 'NR == 3 { third = $0; next } NR == 5 { print substr(third, 1, 30) $0; print substr(third, 31); next }
        NR == 7 { printf "%s", substr($0, 1, 30); next } { print }' "$log" >"$log.torn"
    mv "$log.torn" "$log"
    # Torn: 3, 5, 7 and 8, which now is the rest of 7's row. Three rows are no line.
    account_is 200 0 4 0 3
    truncate -s -1 "$log" # the last line has no end
    account_is 200 0 5 0 4
}

a_changed_byte_tears_a_line_a_copy_doubles_it_and_the_copy_of_a_piece_does_no_harm() {
    write_log
    sed -i '50s/[A-Z]/+/; 60p' "$log"
    account_is 200 0 1 1 1
    sed -n 70p "$log" | cut -c1-30 >>"$log"
    account_is 200 0 1 1 2
}

run_tests \
    the_account_of_a_whole_log_shows_nothing_lost_and_its_lines_are_those_of_all_tests \
    lines_are_found_in_whatever_files_a_peer_makes_and_not_in_its_lock \
    lost_lines_are_counted_and_only_those_that_were_accepted \
    torn_lines_are_counted_by_their_beginnings_and_are_not_lost \
    a_changed_byte_tears_a_line_a_copy_doubles_it_and_the_copy_of_a_piece_does_no_harm
