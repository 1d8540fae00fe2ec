#!/bin/bash
# Programs that give up privileges: their logs are rotated for them, by one keeper for each, which ends with them.
source "$(dirname "$0")/../account/lib.sh"
source "$account_dir/keepers.sh"
need_root
need setpriv runuser start-stop-daemon
exec 8>&1 # what was measured is shown, whatever comes of it

cp "$build/tests/dropper" "$build/tests/writer" "$work"
dropper=$work/dropper
writer=$work/writer
nobody=(setpriv --reuid=nobody --regid=nogroup --clear-groups)

# A log in a directory of root's, and a file for messages that everybody may write.
new_root_log() { # [KEY=VALUE,...]
    prefix=$work/log.$BASHPID
    directory=$prefix/logs
    log=$directory/app.log
    rules="$directory/*.log,$1"
    messages=$prefix/messages
    started=() server=
    trap end_started EXIT
    mkdir -p "$directory"
    install -m 640 -o nobody -g adm /dev/null "$log"
    install -m 666 /dev/null "$messages"
    export MPLOGSHIM_DIAG=$messages
}

# Waits for what was started: it has had one keeper all the time, which ends, and everything is in the log.
finish_with_its_keeper() { # As account's arguments
    finish
    expect_keepers_to_end
    expect_owner_and_mode nobody:adm 640
    account "$@"
}

runs_with_one_keeper() { # WAY
    new_root_log max_bytes=16K
    start "$dropper" "$1" "$log" 1 600 300
    expect_one_keeper_each "$log"
    within 5 has_rotations 3
    expect_same_keepers
}

a_program_that_calls_setuid_is_rotated_by_one_keeper() {
    runs_with_one_keeper setuid
    finish_with_its_keeper --min-rotations 5 1=600
    cat "$messages"
    [ ! -s "$messages" ]
}

a_program_that_calls_setreuid_is_rotated_by_one_keeper() {
    runs_with_one_keeper setreuid
    finish_with_its_keeper --min-rotations 5 1=600
}

a_program_that_calls_setresuid_is_rotated_by_one_keeper() {
    runs_with_one_keeper setresuid
    finish_with_its_keeper --min-rotations 5 1=600
}

a_program_that_goes_back_and_forth_is_rotated_by_one_keeper() {
    runs_with_one_keeper seteuid
    finish_with_its_keeper --min-rotations 5 1=600
}

a_program_that_changes_its_root_directory_is_rotated_by_one_keeper() {
    runs_with_one_keeper chroot
    finish_with_its_keeper --min-rotations 5 1=600
}

children_that_give_up_privileges_share_one_keeper() {
    runs_with_one_keeper fork
    finish_with_its_keeper --min-rotations 8 {1,2,3}=600
}

a_program_that_remains_root_rotates_itself() {
    new_root_log max_bytes=16K
    start "$dropper" stay "$log" 1 300 300
    within 5 has_rotations 2
    has_no_keeper "$log"
    finish_with_its_keeper --min-rotations 3 1=300
}

a_program_that_never_was_root_starts_no_keeper() {
    new_root_log max_bytes=16K
    chown nobody "$directory"
    start "${nobody[@]}" true
    finish
    has_no_keeper "$log"
    start "$writer" write "$log" 1 100 100
    has_no_keeper "$log"
    finish_with_its_keeper --min-rotations 1 1=100
}

a_log_that_a_shell_redirects_is_kept_when_setpriv_gives_up_root() {
    new_root_log max_bytes=16K
    start_redirected "${nobody[@]}" "$writer" fprintf --buffering line - 1 600 300
    expect_one_keeper_each "$log"
    finish_with_its_keeper --min-rotations 5 1=600
}

# The program may open neither the log nor its lock file: the keeper lends it both.
a_log_of_root_s_own_is_kept_when_setpriv_gives_up_root() {
    new_root_log max_bytes=16K
    chown root:root "$log"
    chmod 644 "$log"
    start_redirected "${nobody[@]}" "$dropper" stay - 1 600 300
    within 5 has_rotations 3
    finish
    expect_keepers_to_end
    expect_owner_and_mode root:root 644
    cat "$messages"
    [ ! -s "$messages" ]
    account --min-rotations 5 1=600
}

a_log_that_a_shell_redirects_is_kept_when_runuser_gives_up_root() {
    new_root_log max_bytes=16K
    start_redirected runuser -u nobody -- "$writer" fprintf --buffering line - 1 600 300
    expect_one_keeper_each "$log"
    finish_with_its_keeper --min-rotations 5 1=600
}

a_log_that_a_shell_redirects_is_kept_when_start_stop_daemon_gives_up_root() {
    new_root_log max_bytes=16K
    start_redirected start-stop-daemon --start --chuid nobody:nogroup --exec "$writer" -- \
        fprintf --buffering line - 1 600 300
    expect_one_keeper_each "$log"
    finish_with_its_keeper --min-rotations 5 1=600
}

# Numbers, one a line: the middle one and the largest, on one line.
summarise() {
    sort -n | awk '{ number[NR] = $1 } END { print number[int((NR + 1) / 2)], number[NR] }'
}

a_keeper_rotates_soon_after_max_bytes_are_passed() {
    new_root_log max_bytes=16K
    local middle largest lines
    shim "$dropper" delay "$log" 1 30 16384 >"$prefix/delays" 2>"$prefix/lines" </dev/null
    read -r middle largest < <(summarise <"$prefix/delays")
    echo "# rotated after $middle ms, $largest ms at most" >&8
    ((${middle%.*} < 100 && ${largest%.*} < 1000))
    finish_with_its_keeper --min-rotations 30 1="$(<"$prefix/lines")"
}

a_keeper_rotates_soon_after_the_clock_s_boundary() {
    new_root_log when=S
    local middle largest archive
    start "$dropper" setuid "$log" 1 12 2
    expect_one_keeper_each "$log"
    for ((i = 0; i < 4; i++)); do
        "$python" - "$log" >>"$prefix/changes" <<'END'
import os, sys, time
inode = os.stat(sys.argv[1]).st_ino
while os.stat(sys.argv[1]).st_ino == inode:
    time.sleep(0.001)
print(f"{time.time() % 1 * 1000:.1f}")
END
    done
    read -r middle largest < <(summarise <"$prefix/changes")
    echo "# rotated $middle ms after the boundary, $largest ms at most" >&8
    ((${middle%.*} < 100 && ${largest%.*} < 900))
    finish_with_its_keeper --naming time --min-rotations 4 1=12
}

a_keeper_rotates_an_idle_log_at_the_clock_s_boundary() {
    new_root_log when=S
    start_redirected "${nobody[@]}" bash -c 'echo "w=1 n=1 end"; sleep 3; echo "w=1 n=2 end"'
    within 2 has_rotations 1
    grep -q 'w=1 n=1 end' "$log".*
    [ ! -s "$log" ]
    finish_with_its_keeper --naming time --min-rotations 1 --max-rotations 2 1=2
}

a_keeper_compresses() {
    new_root_log max_bytes=16K,compress=gzip
    start "$dropper" setuid "$log" 1 600 300
    expect_one_keeper_each "$log"
    no_archive_is_plain_but_the_newest() {
        local plain
        plain=$(find "$directory" -name 'app.log.*' ! -name '*.gz' | wc -l)
        ((plain <= 1 && $(rotations) >= 4))
    }
    within 5 no_archive_is_plain_but_the_newest
    finish
    expect_keepers_to_end
    [ -z "$(find "$directory" -name 'app.log.*' ! -name '*.gz')" ]
    expect_owner_and_mode nobody:adm 640
    account --min-rotations 5 1=600
}

# The numbers of the lines in the log's history are of one writer, without a gap, up to the last one.
expect_last_lines() { # LAST
    "$checker" --cat "$log" | sed -E 's/^w=1 n=([0-9]+) .*/\1/' | awk -v last="$1" '
        NR > 1 && $1 != before + 1 { print "after " before " comes " $1; exit 1 }
        { before = $1 }
        END { if (before != last) { print "the last line is " before; exit 1 } }'
}

a_keeper_removes_what_is_beyond_backups() {
    new_root_log max_bytes=16K,backups=3,compress=gzip:1
    start "$dropper" setuid "$log" 1 600 300
    expect_one_keeper_each "$log"
    finish
    expect_keepers_to_end
    find "$directory" -name 'app.log.*' | sort
    [ "$(find "$directory" -name 'app.log.*' | sort | tr '\n' ' ')" = "$log.1.gz $log.2.gz $log.3.gz " ]
    expect_last_lines 600
}

# Programs for events, as root: who they run as, and what they are told.
install_program() {
    cat >"$prefix/on_event" <<END
#!/bin/sh
echo "\$(id -u) \$MPLOGSHIM_EVENT \$MPLOGSHIM_LOG \$MPLOGSHIM_ARCHIVE" >>$prefix/events
END
    chmod 755 "$prefix/on_event"
    rules+=",on_event=$prefix/on_event"
}

# Root was told of archives, and of nothing else.
expect_only_rotated() {
    [ -s "$prefix/events" ]
    if grep -v "^0 rotated $log $log\.[0-9]*\$" "$prefix/events"; then
        return 1
    fi
}

a_keeper_runs_on_event_for_each_archive() {
    new_root_log max_bytes=16K
    install_program
    start "$dropper" setuid "$log" 1 600 300
    expect_one_keeper_each "$log"
    finish_with_its_keeper --min-rotations 5 1=600
    sort "$prefix/events" | uniq -c
    expect_only_rotated
    # One a second, which says how many were left out: as many as the program ran.
    (($(wc -l <"$prefix/events") >= 2 && $(wc -l <"$prefix/events") <= $(rotations)))
}

a_policy_in_the_lock_file_is_nothing_to_a_keeper() {
    new_root_log max_bytes=16K
    install_program
    make_strangers
    shim "$dropper" setuid "$log" 9 1 </dev/null
    expect_keepers_to_end
    make_noise nobody lies 1.5 & # before and after the keeper starts
    local noise=$!
    start "$dropper" setuid "$log" 1 900 300
    wait "$noise"
    expect_one_keeper_each "$log"
    finish
    expect_keepers_to_end
    expect_only_rotated
    expect_strangers_as_they_were
    expect_owner_and_mode nobody:adm 640
    account --min-rotations 5 --max-rotations 12 9=1 1=900
}

a_second_program_shares_the_keeper_of_the_first() {
    runs_with_one_keeper setuid
    start "$dropper" setuid "$log" 2 600 300
    start "$dropper" fork "$log" 3 600 300
    within 5 has_rotations 8
    expect_one_keeper_each "$log"
    expect_same_keepers
    finish_with_its_keeper --min-rotations 10 {1,2,3,4,5}=600
}

a_program_whose_keeper_was_killed_goes_on_and_says_so_once() {
    runs_with_one_keeper setuid
    kill -KILL "${keepers[$log]}"
    within 5 has_no_keeper "$log"
    finish
    cat "$messages"
    [ "$(events rotate_failed)" = 1 ]
    expect_owner_and_mode nobody:adm 640
    account --min-rotations 3 --max-rotations 5 1=600
}

the_next_program_gets_a_new_keeper_for_all() {
    runs_with_one_keeper setuid
    kill -KILL "${keepers[$log]}"
    within 5 has_no_keeper "$log"
    has_failed() { (($(events rotate_failed) == 1)); }
    within 5 has_failed
    local before
    before=$(rotations)
    start "$dropper" setuid "$log" 2 600 300
    expect_one_keeper_each "$log"
    within 5 has_rotations $((before + 3))
    finish_with_its_keeper --min-rotations 6 1=600 2=600
    cat "$messages"
    [ "$(events rotate_failed) $(events rotate_recovered)" = "1 1" ]
}

without_the_command_a_program_goes_on_and_says_so_once() {
    new_root_log max_bytes=16K
    [ ! -e /usr/local/bin/mplogshim ]
    local alone=$prefix/alone
    mkdir "$alone"
    cp "$library" "$alone"
    library=$alone/${library##*/} start "$dropper" setuid "$log" 1 600 300
    finish
    cat "$messages"
    [ "$(events rotate_failed)" = 1 ]
    account --max-rotations 0 1=600
}

run_tests \
    a_program_that_calls_setuid_is_rotated_by_one_keeper \
    a_program_that_calls_setreuid_is_rotated_by_one_keeper \
    a_program_that_calls_setresuid_is_rotated_by_one_keeper \
    a_program_that_goes_back_and_forth_is_rotated_by_one_keeper \
    a_program_that_changes_its_root_directory_is_rotated_by_one_keeper \
    children_that_give_up_privileges_share_one_keeper \
    a_program_that_remains_root_rotates_itself \
    a_program_that_never_was_root_starts_no_keeper \
    a_log_that_a_shell_redirects_is_kept_when_setpriv_gives_up_root \
    a_log_of_root_s_own_is_kept_when_setpriv_gives_up_root \
    a_log_that_a_shell_redirects_is_kept_when_runuser_gives_up_root \
    a_log_that_a_shell_redirects_is_kept_when_start_stop_daemon_gives_up_root \
    a_keeper_rotates_soon_after_max_bytes_are_passed \
    a_keeper_rotates_soon_after_the_clock_s_boundary \
    a_keeper_rotates_an_idle_log_at_the_clock_s_boundary \
    a_keeper_compresses \
    a_keeper_removes_what_is_beyond_backups \
    a_keeper_runs_on_event_for_each_archive \
    a_policy_in_the_lock_file_is_nothing_to_a_keeper \
    a_second_program_shares_the_keeper_of_the_first \
    a_program_whose_keeper_was_killed_goes_on_and_says_so_once \
    the_next_program_gets_a_new_keeper_for_all \
    without_the_command_a_program_goes_on_and_says_so_once
