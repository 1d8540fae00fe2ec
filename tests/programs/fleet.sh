#!/bin/bash
# One log, one policy: fleets of programs that come with two settings. The first to attach records its own, the others
# follow it and say so; nothing is lost, and no more is removed than the record says.
source "$(dirname "$0")/../account/lib.sh"
source "$account_dir/archives.sh"
need "$python" setpriv

small='max_bytes=64K,backups=50'
large='max_bytes=256K,backups=3,naming=time,compress=gzip'

# Starts a scribe with rules of its own, at 3000 lines a second. What it says is in $records/said.WRITER.
start_with() { # KEYS WRITER COUNT [OPTION]...
    rules="$directory/*.log,$1"
    start_scribe "$2" "$3" "${rate-3000}" "${@:4}" 2>"$records/said.$2"
}

new_fleet() {
    new_archived_log
    mkdir "$records"
}

# Starts the first of a fleet, and waits until it is attached. It stays so, and writes a little, until end_first.
start_first() { # KEYS
    rate=${rate-100} start_with "$1" 1 $endless
    wait_until test -s "$log"
}

endless=1000000000

# What was started with an end has come to it, then the first one ends.
end_first() {
    local pid
    for pid in "${started[@]:1}"; do
        wait "$pid"
    done
    kill -TERM "${started[0]}"
    wait "${started[0]}"
    started=()
}

# It has written a line, so it is attached.
has_written() { # WRITER...
    local writer
    for writer in "$@"; do
        [ -s "$records/told.$writer" ] || return
    done
}

says_mismatch() { # WRITER
    grep -q "^mplogshim: settings_mismatch log=$log " "$records/said.$1"
}

# Each of these writers said once that it follows other settings than its own, and both values; none of the others did.
only_these_say_mismatch() { # RECORDED-REGEX OWN-REGEX WRITER...
    local recorded=$1 own=$2 file writer
    shift 2
    for file in "$records"/said.*; do
        writer=${file##*.}
        if [[ " $* " == *" $writer "* ]]; then
            (($(grep -c "^mplogshim: settings_mismatch log=$log " "$file") == 1)) &&
                grep -Eq "^mplogshim: settings_mismatch log=$log .*$recorded.*own.*$own" "$file"
        else
            [ ! -s "$file" ]
        fi || {
            echo "writer $writer said: $(cat "$file")"
            return 1
        }
    done
}

# Sizes as they may be written.
in_small='max_bytes=(64K|65536)'
in_large='max_bytes=(256K|262144)'

archives_named() { # REGEX
    find "$directory" -regextype posix-extended -regex ".*/app\.log\.$1" | wc -l
}

a_mixed_fleet_follows_the_first_and_loses_nothing() {
    local id
    new_fleet
    start_first max_bytes=64K,backups=1000
    for id in 2 3 4; do
        start_with max_bytes=64K,backups=1000 "$id" 3500
    done
    for id in 5 6 7 8; do
        start_with "max_bytes=256K,backups=1000,naming=time,compress=gzip" "$id" 3500
    done
    end_first
    only_these_say_mismatch "$in_small" "$in_large" 5 6 7 8
    settle
    account_of_scribes --max-bytes 65536 --min-rotations 60
    (($(archives_named '[0-9]+') == $(archives)))
}

# With archives named and compressed as it says, and no file smaller than it need be.
the_other_way_round_as_well() {
    local id
    new_fleet
    start_first max_bytes=256K,backups=1000,naming=time,compress=gzip
    for id in 2 3 4; do
        start_with max_bytes=256K,backups=1000,naming=time,compress=gzip "$id" 3500
    done
    for id in 5 6 7 8; do
        start_with max_bytes=64K,backups=1000 "$id" 3500
    done
    end_first
    only_these_say_mismatch "$in_large" "$in_small" 5 6 7 8
    settle
    no_archive_is_plain
    account_of_scribes --naming time --max-bytes 262144 --min-rotations 15
    files_are_as_large_as_may_be
}

# None of 256K was rotated before it was nearly full.
files_are_as_large_as_may_be() {
    local bytes
    bytes=$("$checker" --cat --naming "${1-time}" "$log" | wc -c)
    (($(archives) <= bytes / 250000))
}

# Eight that start at the same moment: one of both settings holds, for all.
of_a_fleet_that_starts_at_once_one_setting_holds() {
    local id
    new_fleet
    for id in 1 2 3 4; do
        start_with max_bytes=64K,backups=1000 "$id" $endless
        start_with max_bytes=256K,backups=1000 $((id + 4)) $endless
    done
    wait_until has_written {1,2,3,4,5,6,7,8}
    enough_rotations() { (($(lockfile_generation) >= enough)); }
    local enough=60
    ! says_mismatch 1 || enough=15
    wait_until enough_rotations
    kill -TERM "${started[@]}"
    finish
    settle
    if says_mismatch 1; then
        only_these_say_mismatch "$in_large" "$in_small" 1 2 3 4
        account_of_scribes --max-bytes 262144 --min-rotations 15
        files_are_as_large_as_may_be number
    else
        only_these_say_mismatch "$in_small" "$in_large" 5 6 7 8
        account_of_scribes --max-bytes 65536 --min-rotations 60
    fi
}

# Of more than 50 archives, those with fewer in their own settings remove none.
no_more_is_removed_than_the_record_says() {
    local id
    new_fleet
    start_first "$small"
    for id in 2 3; do
        start_with "$small" "$id" 4500
    done
    for id in 4 5 6 7 8; do
        start_with "$large" "$id" 4500
    done
    end_first
    settle
    (($(lockfile_generation) > 70))
    (($(archives_named '[0-9]+') == 50))
    (($(archives) == 50))
}

no_less_is_removed_than_the_record_says() {
    local id
    new_fleet
    start_first "$large"
    for id in 2 3; do
        start_with "$large" "$id" 4500
    done
    for id in 4 5 6 7 8; do
        start_with "$small" "$id" 4500
    done
    end_first
    settle
    (($(archives) == 3))
    (($(archives_named '[0-9_-]+(\.[0-9]+)?\.gz') == 3))
}

# The number of rotations: the length of the lock file behind its page.
lockfile_generation() {
    echo $(($(stat -c %s "$directory/.app.log.lock") - 4096))
}

# Then nobody is told of a mismatch, and the new settings hold for what is there already.
a_record_is_replaced_when_nobody_is_attached_any_more() {
    new_fleet
    start_with "$small" 1 5000
    finish
    settle
    (($(archives) > 8))
    start_with "$large" 2 2000
    finish
    settle
    only_these_say_mismatch none none
    (($(archives) == 3))
    (($(stat -c %s "$log") > 65536)) || (($(zcat "$log".*.gz | wc -c) > 3 * 65536))
    start_with "$small" 3 1
    finish
    only_these_say_mismatch none none
}

# As long as one is attached, whoever comes and goes.
a_record_holds_as_long_as_somebody_is_attached() {
    new_fleet
    rate=300 start_first max_bytes=64K
    start_with max_bytes=256K 2 500
    rate=300 start_with max_bytes=64K 3 $endless
    wait_until test -s "$records/said.2"
    wait_until has_written 3
    kill -TERM "${started[0]}" # the one that recorded it
    wait "${started[0]}"
    start_with max_bytes=256K 4 3000
    wait_until test -s "$records/said.4"
    wait "${started[3]}"
    kill -TERM "${started[2]}"
    finish
    only_these_say_mismatch "$in_small" "$in_large" 2 4
    settle
    account_of_scribes --max-bytes 65536 --min-rotations 5
}

# A second program keeps its own settings where others may write the lock file, and says the same.
it_keeps_its_own() { # COMMAND...
    "$@"
    start_with max_bytes=256K 2 $endless
    wait_until says_mismatch 2
    kill -TERM "${started[0]}"
    wait "${started[0]}"
    unset 'started[0]'
    is_larger() { (($(stat -c %s "$log") > 70000)); }
    wait_until is_larger
    has_rotated() { (($(lockfile_generation) >= 1)); }
    wait_until has_rotated
    kill -TERM "${started[1]}"
    finish
    grep -Eq "$in_small.*$in_large|$in_large.*$in_small" "$records/said.2"
    says_nothing_else 2
    settle
    account_of_scribes --max-bytes 262144 --min-rotations 1
    local size largest=0
    for size in $(stat -c %s "$log" "$log".*); do
        largest=$((size > largest ? size : largest))
    done
    ((largest > 65536))
}

says_nothing_else() { # WRITER
    ! grep -v "settings_mismatch" "$records/said.$1"
}

a_record_that_others_may_write_is_not_followed() {
    new_fleet
    rate=200 start_first max_bytes=64K
    it_keeps_its_own chmod 0664 "$directory/.app.log.lock"
}

a_record_of_another_user_is_not_followed() {
    ((EUID == 0)) || { echo "not root: cannot become another user"; return 1; }
    new_fleet
    rate=200 start_first max_bytes=64K
    it_keeps_its_own chown nobody "$directory/.app.log.lock"
}

# What stands in a record that may be followed is data from a stranger all the same.
a_record_of_noise_is_replaced_or_left_alone_and_harms_nothing() {
    local round
    new_fleet
    rate=200 start_first max_bytes=64K
    for round in 1 2 3; do
        head -c 3000 /dev/urandom | dd of="$directory/.app.log.lock" bs=1 seek=1000 conv=notrunc status=none
        start_with max_bytes=256K $((round + 1)) 700
        wait "${started[round]}"
    done
    kill -TERM "${started[0]}"
    finish
    settle
    account_of_scribes --max-bytes 262144
}

run_tests \
    a_mixed_fleet_follows_the_first_and_loses_nothing \
    the_other_way_round_as_well \
    of_a_fleet_that_starts_at_once_one_setting_holds \
    no_more_is_removed_than_the_record_says \
    no_less_is_removed_than_the_record_says \
    a_record_is_replaced_when_nobody_is_attached_any_more \
    a_record_holds_as_long_as_somebody_is_attached \
    a_record_that_others_may_write_is_not_followed \
    a_record_of_another_user_is_not_followed \
    a_record_of_noise_is_replaced_or_left_alone_and_harms_nothing
