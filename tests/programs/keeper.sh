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
    install -m 666 /dev/null "$prefix/enough"
    export MPLOGSHIM_DIAG=$messages
}

# What was started ends: it has had one keeper all the time, which ends, and everything is in the log.
finish_with_its_keeper() { # As account's arguments
    let_end
    end_with_keeper "$@" "${counts[@]}"
}

end_with_keeper() { # As account's arguments
    expect_keepers_to_end
    expect_owner_and_mode nobody:adm 640
    account "$@"
}

# Waits until the log was rotated so often, by one and the same keeper.
is_rotated_by_one_keeper() { # COUNT
    expect_one_keeper_each "$log"
    wait_until has_rotations "$1"
    expect_same_keepers
}

runs_with_one_keeper() { # WAY [COUNT]
    new_root_log max_bytes=16K
    start_dropper "$1" 1 300 300
    is_rotated_by_one_keeper "${2-5}"
}

a_program_that_calls_setuid_is_rotated_by_one_keeper() {
    runs_with_one_keeper setuid
    finish_with_its_keeper --min-rotations 5
    cat "$messages"
    [ ! -s "$messages" ]
}

a_program_that_calls_setreuid_is_rotated_by_one_keeper() {
    runs_with_one_keeper setreuid
    finish_with_its_keeper --min-rotations 5
}

a_program_that_calls_setresuid_is_rotated_by_one_keeper() {
    runs_with_one_keeper setresuid
    finish_with_its_keeper --min-rotations 5
}

a_program_that_goes_back_and_forth_is_rotated_by_one_keeper() {
    runs_with_one_keeper seteuid
    finish_with_its_keeper --min-rotations 5
}

a_program_that_changes_its_root_directory_is_rotated_by_one_keeper() {
    runs_with_one_keeper chroot
    finish_with_its_keeper --min-rotations 5
}

children_that_give_up_privileges_share_one_keeper() {
    runs_with_one_keeper fork 8
    finish_with_its_keeper --min-rotations 8
}

a_program_that_remains_root_rotates_itself() {
    new_root_log max_bytes=16K
    start_dropper stay 1 300 300
    wait_until has_rotations 2
    has_no_keeper "$log"
    finish_with_its_keeper --min-rotations 3
}

a_program_that_never_was_root_starts_no_keeper() {
    new_root_log max_bytes=16K
    chown nobody "$directory"
    start "${nobody[@]}" true
    finish
    has_no_keeper "$log"
    start "$writer" --until "$prefix/enough" write "$log" 1 100 100 2>>"$prefix/counts"
    wait_until has_rotations 1
    has_no_keeper "$log"
    finish_with_its_keeper --min-rotations 1
}

a_log_that_a_shell_redirects_is_kept_when_setpriv_gives_up_root() {
    new_root_log max_bytes=16K
    start_redirected "${nobody[@]}" "$writer" --until "$prefix/enough" fprintf --buffering line - 1 300 300 2>>"$prefix/counts"
    is_rotated_by_one_keeper 5
    finish_with_its_keeper --min-rotations 5
}

# The program may open neither the log nor its lock file: the keeper lends it both.
a_log_of_root_s_own_is_kept_when_setpriv_gives_up_root() {
    new_root_log max_bytes=16K
    chown root:root "$log"
    chmod 644 "$log"
    start_redirected "${nobody[@]}" "$dropper" stay - 1 300 300 "$prefix/enough" 2>>"$prefix/counts"
    wait_until has_rotations 5
    let_end
    expect_keepers_to_end
    expect_owner_and_mode root:root 644
    cat "$messages"
    [ ! -s "$messages" ]
    account --min-rotations 5 "${counts[@]}"
}

a_log_that_a_shell_redirects_is_kept_when_runuser_gives_up_root() {
    new_root_log max_bytes=16K
    start_redirected runuser -u nobody -- "$writer" --until "$prefix/enough" fprintf --buffering line - 1 300 300 2>>"$prefix/counts"
    is_rotated_by_one_keeper 5
    finish_with_its_keeper --min-rotations 5
}

a_log_that_a_shell_redirects_is_kept_when_start_stop_daemon_gives_up_root() {
    new_root_log max_bytes=16K
    start_redirected start-stop-daemon --start --chuid nobody:nogroup --exec "$writer" -- \
        --until "$prefix/enough" fprintf --buffering line - 1 300 300 2>>"$prefix/counts"
    is_rotated_by_one_keeper 5
    finish_with_its_keeper --min-rotations 5
}

# Numbers, one a line: the middle one and the largest, on one line.
summarise() {
    sort -n | awk '{ number[NR] = $1 } END { print number[int((NR + 1) / 2)], number[NR] }'
}

# Whoever is starved by a busy machine is late: what was measured is measured again. A keeper that looked from time to time
# would be late each time.
a_keeper_is_soon_after_max_bytes() {
    local middle largest
    round=$((round + 1))
    shim "$dropper" delay "$log" "$round" 30 16384 >"$prefix/delays" 2>"$prefix/lines" </dev/null || return
    counts+=("$round=$(<"$prefix/lines")")
    read -r middle largest < <(summarise <"$prefix/delays")
    echo "# rotated after $middle ms, $largest ms at most" >&8
    ((${middle%.*} < 100 && ${largest%.*} < 1000))
}

a_keeper_rotates_soon_after_max_bytes_are_passed() {
    local round=0
    new_root_log max_bytes=16K
    counts=()
    wait_until a_keeper_is_soon_after_max_bytes
    end_with_keeper --min-rotations 30 "${counts[@]}"
}

a_keeper_is_soon_after_the_boundary() {
    local middle largest
    "$python" - "$log" >"$prefix/changes" <<'END'
import os, sys, time
for change in range(4):
    inode = os.stat(sys.argv[1]).st_ino
    while os.stat(sys.argv[1]).st_ino == inode:
        time.sleep(0.001)
    print(f"{time.time() % 1 * 1000:.1f}")
END
    read -r middle largest < <(summarise <"$prefix/changes")
    echo "# rotated $middle ms after the boundary, $largest ms at most" >&8
    ((${middle%.*} < 100 && ${largest%.*} < 900))
}

a_keeper_rotates_soon_after_the_clock_s_boundary() {
    new_root_log when=S
    start_dropper setuid 1 1 4
    expect_one_keeper_each "$log"
    wait_until a_keeper_is_soon_after_the_boundary
    finish_with_its_keeper --naming time --min-rotations 4
}

# The program waits, with its log open, until the test has seen that its first line was rotated.
a_keeper_rotates_an_idle_log_at_the_clock_s_boundary() {
    new_root_log when=S
    mkfifo -m 666 "$prefix/go"
    start_redirected "${nobody[@]}" bash -c 'echo "w=1 n=1 end"; read -r <"$1"; echo "w=1 n=2 end"' - "$prefix/go"
    first_line_is_in_an_archive() { grep -q 'w=1 n=1 end' "$log".*; }
    wait_until first_line_is_in_an_archive 2>/dev/null
    [ ! -s "$log" ]
    echo >"$prefix/go"
    finish
    end_with_keeper --naming time --min-rotations 1 --max-rotations 2 1=2
}

a_keeper_compresses() {
    new_root_log max_bytes=16K,compress=gzip
    start_dropper setuid 1 300 300
    expect_one_keeper_each "$log"
    no_archive_is_plain_but_the_newest() {
        local plain
        plain=$(find "$directory" -name 'app.log.*' ! -name '*.gz' | wc -l)
        ((plain <= 1)) && has_rotations 5
    }
    wait_until no_archive_is_plain_but_the_newest
    let_end
    expect_keepers_to_end
    [ -z "$(find "$directory" -name 'app.log.*' ! -name '*.gz')" ]
    expect_owner_and_mode nobody:adm 640
    account --min-rotations 5 "${counts[@]}"
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
    start_dropper setuid 1 300 300
    is_rotated_by_one_keeper 5
    let_end
    expect_keepers_to_end
    find "$directory" -name 'app.log.*' | sort
    [ "$(find "$directory" -name 'app.log.*' | sort | tr '\n' ' ')" = "$log.1.gz $log.2.gz $log.3.gz " ]
    expect_last_lines "${counts[0]#*=}"
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
    start_dropper setuid 1 300 300
    was_told_again() { (($(wc -l <"$prefix/events") >= 2)); }
    wait_until was_told_again 2>/dev/null
    is_rotated_by_one_keeper 5
    finish_with_its_keeper --min-rotations 5
    sort "$prefix/events" | uniq -c
    expect_only_rotated
    # One a second, which says how many were left out: as many as the program ran.
    (($(wc -l <"$prefix/events") <= $(rotations)))
}

a_policy_in_the_lock_file_is_nothing_to_a_keeper() {
    new_root_log max_bytes=16K
    install_program
    make_strangers
    shim "$dropper" setuid "$log" 9 1 </dev/null
    expect_keepers_to_end
    make_noise nobody lies 1.5 & # before and after the keeper starts
    local noise=$!
    start_dropper setuid 1 600 300
    wait "$noise"
    expect_one_keeper_each "$log"
    wait_until has_archives 6
    let_end
    expect_keepers_to_end
    expect_only_rotated
    expect_strangers_as_they_were
    expect_owner_and_mode nobody:adm 640
    account --min-rotations 5 9=1 "${counts[@]}"
    # Nor by far more often than the sizes call for.
    (($(archives) <= $("$checker" --cat "$log" | wc -c) / 16384 + 2))
}

a_second_program_shares_the_keeper_of_the_first() {
    runs_with_one_keeper setuid 2
    start_dropper setuid 2 300 300
    start_dropper fork 3 300 300
    wait_until has_rotations 10
    expect_one_keeper_each "$log"
    expect_same_keepers
    finish_with_its_keeper --min-rotations 10
}

kill_keeper() {
    kill -KILL "${keepers[$log]}"
    wait_until has_no_keeper "$log"
}

has_failed() {
    (($(events rotate_failed) == 1))
}

a_program_whose_keeper_was_killed_goes_on_and_says_so_once() {
    runs_with_one_keeper setuid 3
    kill_keeper
    wait_until has_failed
    local before
    before=$(rotations)
    let_end
    cat "$messages"
    [ "$(events rotate_failed)" = 1 ]
    [ "$(rotations)" = "$before" ]
    expect_owner_and_mode nobody:adm 640
    account --min-rotations 3 "${counts[@]}"
}

the_next_program_gets_a_new_keeper_for_all() {
    runs_with_one_keeper setuid 3
    kill_keeper
    wait_until has_failed
    local before
    before=$(rotations)
    start_dropper setuid 2 300 300
    expect_one_keeper_each "$log"
    wait_until has_rotations $((before + 3))
    finish_with_its_keeper --min-rotations 6
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
