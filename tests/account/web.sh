# shellcheck shell=bash
# The tests of web servers in their Debian configuration, whose workers gave up privileges, for tests/programs to source
# after keepers.sh. They say what is their own:
#
#   log_owner log_group log_mode directory_mode   of the logs, as the package makes them
#   logs                                          names of all that are open, "access.log" among them
#   workers                                       how many processes serve at least
#   configure                                     makes a copy of the configuration for $prefix and $port
#   web_server                                    how to start it in the foreground and as a daemon: the arrays
#                                                 $command_line and $daemon
#   reload quit start_again                       while it runs: what the package's scripts do

# Nothing but the order is wrong: a keeper did not answer within a quarter of a second, and its worker went on in the
# file that it had, beside others. Each worker's own order is kept; a writer's requests come to many of them.
was_disturbed() {
    grep -Eq 'lost 0, doubled 0, torn 0, out of order [1-9][0-9]*, unexpected 0|before its first one in archive' <<<"$output"
}

new_web_log() { # [KEY=VALUE,...]
    local name
    prefix=$work/log.$BASHPID
    directory=$prefix/var/log/web
    log=$directory/access.log
    rules="$directory/*.log,$1"
    messages=$prefix/messages
    started=() sent=() server='' next_writer=11
    trap end_started EXIT
    mkdir -p "$prefix/etc" "$prefix/run" "$prefix/var/log"
    install -d -m "$directory_mode" -o root -g adm "$directory"
    for name in "${logs[@]}"; do
        install -m "$log_mode" -o "$log_owner" -g "$log_group" /dev/null "$directory/$name"
    done
    install -m 666 /dev/null "$messages"
    export MPLOGSHIM_DIAG=$messages
    port=$(free_port)
    configure
}

# A port that nobody listens to, and that the kernel gives to nobody who connects.
free_port() {
    "$python" -c '
import random, socket
with open("/proc/sys/net/ipv4/ip_local_port_range") as file:
    first, last = map(int, file.read().split())
ports = [port for port in range(2000, 65536) if not first <= port <= last]
for port in random.sample(ports or range(first, last + 1), 1000):
    with socket.socket() as listener:
        try:
            listener.bind(("127.0.0.1", port))
        except OSError:
            continue
    print(port)
    break'
}

start_web_server() {
    web_server
    start_server "${command_line[@]}"
    send 1 9 1
}

# Sends COUNT requests of each of WRITERS writers, from FIRST on.
send() { # WRITERS FIRST COUNT [RATE]
    plain "$python" "$account_dir/requests.py" "$port" "$@"
}

start_sending() { # As send
    send "$@" &
    started+=($!)
}

# Sends 100 requests of each of eight writers, all of them others than before; for the account they are in $sent.
send_round() { # [RATE]
    local i
    send 8 "$next_writer" 100 "$@"
    for i in {0..7}; do
        sent+=("$((next_writer + i))=100")
    done
    next_writer=$((next_writer + 10))
}

# Sends rounds of requests until a condition holds, however late a keeper is on a busy machine.
send_until() { # CONDITION...
    local round
    for round in {1..100}; do
        ! "$@" || return 0
        send_round 100
    done
    echo "$round rounds of requests in vain for: $*"
    return 1
}

# Ends the server: its keepers end too, and every request is in the log once, as are those of start_web_server.
stop_web_server() { # As account's arguments
    stop_server "$server"
    server=
    end_of_web_server "$@" "${sent[@]}"
}

end_of_web_server() {
    expect_keepers_to_end
    expect_owner_and_mode "$log_owner:$log_group" "$log_mode"
    account --prefix '.*"' --suffix '"' "$@"
}

expect_one_keeper_for_each_log() {
    expect_one_keeper_each "${logs[@]/#/$directory/}"
}

# The pids of the server's processes which are not root's.
workers() {
    local pid
    for pid in $(pgrep -P "$(<"$prefix/run/pid")"); do
        [ "$(stat -c %U "/proc/$pid")" = www-data ] && echo "$pid"
    done
}

has_all_workers() {
    (($(workers | wc -l) >= workers))
}

expect_directory_of_root() {
    if setpriv --reuid=www-data --regid=www-data --clear-groups touch "$directory/new" 2>/dev/null; then
        echo "workers could rotate themselves"
        return 1
    fi
}

workers_without_privileges_rotate_by_size_and_keep_owner_and_mode() {
    new_web_log max_bytes=64K
    start_web_server
    wait_until has_all_workers
    [ "$(pgrep -c -P "$(<"$prefix/run/pid")")" = "$(workers | wc -l)" ]
    expect_directory_of_root
    send_until has_rotations 6
    stop_web_server --min-rotations 6 9=1
    cat "$messages"
    [ ! -s "$messages" ]
}

workers_at_full_speed_lose_nothing() {
    new_web_log max_bytes=32K
    start_web_server
    send 8 1 600
    send_until has_rotations 3
    stop_web_server --min-rotations 3 9=1 {1,2,3,4,5,6,7,8}=600
}

workers_without_privileges_rotate_by_the_clock() {
    new_web_log when=S
    start_web_server
    send 4 1 60 20
    send_until has_rotations 3
    stop_web_server --naming time --min-rotations 3 9=1 {1,2,3,4}=60
}

archives_are_compressed_and_keep_owner_and_mode() {
    new_web_log max_bytes=32K,compress=gzip
    start_web_server
    send_until has_rotations 3
    stop_web_server --min-rotations 3 9=1
    [ -z "$(find "$directory" -name 'access.log.*' ! -name '*.gz')" ]
}

each_log_has_one_keeper_that_stays_while_the_server_runs() {
    new_web_log max_bytes=64K
    start_web_server
    expect_one_keeper_for_each_log
    send_until has_rotations 2
    expect_same_keepers
    stop_web_server --min-rotations 2 9=1
}

a_reload_makes_no_second_keeper_and_loses_nothing() {
    new_web_log max_bytes=64K
    start_web_server
    expect_one_keeper_for_each_log
    start_sending 8 1 300 100
    for _ in 1 2 3; do
        sleep 0.5
        reload
        expect_one_keeper_for_each_log
    done
    finish
    send_until has_rotations 4
    stop_web_server --min-rotations 4 9=1 {1,2,3,4,5,6,7,8}=300
}

a_second_start_while_it_runs_makes_no_second_keeper() {
    new_web_log max_bytes=64K
    start_web_server
    expect_one_keeper_for_each_log
    start_sending 8 1 200 100
    start_again || true
    expect_one_keeper_for_each_log
    expect_same_keepers
    finish
    send_until has_rotations 2
    stop_web_server --min-rotations 2 9=1 {1,2,3,4,5,6,7,8}=200
}

a_start_right_after_the_end_has_one_keeper() {
    new_web_log max_bytes=64K
    start_web_server
    send 8 1 100
    stop_server "$server"
    web_server
    start_server "${command_line[@]}"
    send_round 100
    expect_one_keeper_for_each_log
    send_until has_rotations 2
    stop_web_server --min-rotations 2 9=1 {1,2,3,4,5,6,7,8}=100
}

# No worker is in a file before the live one, and no rotation is about to come.
workers_have_followed() {
    local pid
    (($(stat -c %s "$log") < 32768)) || return
    for pid in $(workers); do
        [ -z "$(find "/proc/$pid/fd" -lname "$log.*" -o -lname "$directory/.access.log.*.pending")" ] || return
    done
}

a_killed_keeper_is_told_and_replaced_at_the_next_reload() {
    new_web_log max_bytes=32K
    start_web_server
    send 8 1 60 100
    expect_one_keeper_for_each_log
    send_until workers_have_followed
    kill -KILL "${keepers[@]}"
    wait_until has_no_keeper "$log"
    local before failures
    before=$(rotations)
    send_round 100
    failures=$(events rotate_failed)
    send_round 100
    cat "$messages"
    ((failures >= 1 && failures <= 8)) # each of the workers once
    (($(events rotate_failed) <= 8))
    [ "$(rotations)" = "$before" ]
    reload
    expect_one_keeper_for_each_log
    send_until has_rotations $((before + 2))
    stop_web_server --min-rotations 2 9=1 {1,2,3,4,5,6,7,8}=60
}

# The command beside the library takes its time before it is one.
a_keeper_that_is_slow_to_start_is_waited_for_without_a_word() {
    local slow=$work/slow
    rm -rf "$slow"
    cp -r "${library%/*}" "$slow"
    mv "$slow/mplogshim" "$slow/mplogshim.real"
    cat >"$slow/mplogshim" <<END
#!/bin/bash
sleep 0.3
exec -a mplogshim $slow/mplogshim.real "\$@"
END
    chmod 755 "$slow/mplogshim"
    library=$slow/${library##*/}
    new_web_log max_bytes=64K
    start_web_server
    send_until has_rotations 1
    stop_web_server --min-rotations 1 9=1
    cat "$messages"
    [ ! -s "$messages" ]
}

# The lines of requests in the log's history, without what the server put before and behind them.
logged_requests() { # FILE...
    sed -E 's/.*"(w=[^"]*)"$/\1/' "$@"
}

# Succeeds if the log has each request of the writers once. Processes that the lock file misleads write to the file
# before for a while, so the order is not looked at.
account_in_any_order() { # WRITER=COUNT...
    settle_log
    "$checker" --cat "$log" | logged_requests | sort >"$prefix/found"
    "$python" - "$account_dir" "$@" <<'END' | sort >"$prefix/expected"
import sys
sys.dont_write_bytecode = True
sys.path.insert(0, sys.argv[1])
from writer import make_line
for argument in sys.argv[2:]:
    writer, count = map(int, argument.split("="))
    for number in range(1, count + 1):
        print(make_line(writer, number))
END
    if ! diff "$prefix/expected" "$prefix/found" >"$prefix/differences"; then
        echo "requests lost (<) or doubled (>):"
        cut -c1-40 "$prefix/differences" | sed 10q
        return 1
    fi
}

# Each writer's first request in each of the archives, oldest first: "ARCHIVE WRITER NUMBER".
first_requests() {
    local number
    for ((number = $(archives); number > 0; number--)); do
        logged_requests "$log.$number" | sed -nE "s/^w=([1-4]) n=([0-9]+) .*/$number \1 \2/p" |
            sort -k2,2n -k3,3n | sort -k2,2n -u
    done
}

# Succeeds if each archive was begun after the one before it, by the numbers of each writer's requests.
expect_archives_in_order() {
    first_requests | awk -v slack=8 '
        $3 + slack < before[$2] {
            print "writer " $2 " has request " before[$2] " before its first one in archive " $1 ", " $3
            bad = 1
        }
        { before[$2] = $3 }
        END { exit bad }'
}

# A worker makes noise for a second and a half; soon after it stops, everything is as it was before.
make_noise_under_load() { # WAY
    new_web_log max_bytes=16K
    start_web_server
    expect_one_keeper_for_each_log
    make_strangers
    start_sending 4 1 300 100
    wait_until has_archives 1
    make_noise www-data "$1" 1.5
    expect_to_rotate_again
    expect_strangers_as_they_were
}

# What is sent now is rotated, by the keepers that there were.
expect_to_rotate_again() {
    local before
    before=$(archives)
    finish
    send_until has_archives $((before + 1))
    expect_same_keepers
}

survives_noise() { # WAY
    make_noise_under_load "$1"
    settle_log # by root, who has rules of his own: a record that workers could write is nothing to him
    stop_server "$server"
    server=
    expect_keepers_to_end
    expect_owner_and_mode "$log_owner:$log_group" "$log_mode"
    account_in_any_order 9=1 {1,2,3,4}=300 "${sent[@]}"
    expect_archives_in_order
}

a_keeper_does_nothing_wrong_when_a_worker_fills_the_lock_file_with_noise() {
    survives_noise bytes
}

a_keeper_does_nothing_wrong_when_a_worker_empties_the_lock_file() {
    survives_noise empty
}

a_keeper_does_nothing_wrong_when_a_worker_makes_the_lock_file_huge() {
    survives_noise huge
}

a_keeper_does_nothing_wrong_when_a_worker_writes_lies_into_the_lock_file() {
    survives_noise lies
}

a_keeper_does_nothing_wrong_when_a_worker_holds_the_lock() {
    make_noise_under_load hold
    send_until has_rotations 6
    stop_web_server --min-rotations 6 9=1 {1,2,3,4}=300
}

a_keeper_does_nothing_wrong_when_a_worker_holds_the_lock_past_the_timeout() {
    new_web_log max_bytes=16K,lock_timeout=300ms
    start_web_server
    expect_one_keeper_for_each_log
    start_sending 4 1 300 100
    wait_until has_archives 1
    make_noise www-data hold 1.5
    expect_to_rotate_again
    send_until has_rotations 6
    stop_web_server --min-rotations 6 9=1 {1,2,3,4}=300
}

has_pending() { # COUNT: archives that nobody has given their names
    (($(find "$directory" -name ".${log##*/}.*.pending" | wc -l) >= $1))
}

a_keeper_does_nothing_wrong_when_a_worker_holds_the_lock_of_settling() {
    new_web_log max_bytes=16K
    start_web_server
    expect_one_keeper_for_each_log
    send_until has_rotations 1
    make_noise www-data settle 1000 "$prefix/enough" &
    started+=($!)
    send_until has_pending 4 # rotated all the same
    touch "$prefix/enough"
    expect_to_rotate_again
    stop_web_server --min-rotations 6 9=1
}

a_daemon_as_the_package_starts_it_is_kept_until_it_quits() {
    new_web_log max_bytes=64K
    local pid
    web_server
    setsid env MPLOGSHIM_LOGS="$rules" MPLOGSHIM_STRICT=1 ${library:+LD_PRELOAD="$library"} "${daemon[@]}" </dev/null
    wait_until test -s "$prefix/run/pid"
    pid=$(<"$prefix/run/pid")
    echo "$pid" >>"$servers"
    server=$pid
    expect_one_keeper_for_each_log
    send_round 100
    reload
    send_round 100
    expect_one_keeper_for_each_log
    send_until has_rotations 2
    quit
    has_ended() { [ ! -e "/proc/$pid" ]; }
    wait_until has_ended
    sed -i "/^$pid\$/d" "$servers"
    server=
    end_of_web_server --min-rotations 2 "${sent[@]}"
}

web_tests=(
    workers_without_privileges_rotate_by_size_and_keep_owner_and_mode
    workers_at_full_speed_lose_nothing
    workers_without_privileges_rotate_by_the_clock
    archives_are_compressed_and_keep_owner_and_mode
    each_log_has_one_keeper_that_stays_while_the_server_runs
    a_reload_makes_no_second_keeper_and_loses_nothing
    a_second_start_while_it_runs_makes_no_second_keeper
    a_start_right_after_the_end_has_one_keeper
    a_killed_keeper_is_told_and_replaced_at_the_next_reload
    a_keeper_that_is_slow_to_start_is_waited_for_without_a_word
    a_keeper_does_nothing_wrong_when_a_worker_fills_the_lock_file_with_noise
    a_keeper_does_nothing_wrong_when_a_worker_empties_the_lock_file
    a_keeper_does_nothing_wrong_when_a_worker_makes_the_lock_file_huge
    a_keeper_does_nothing_wrong_when_a_worker_writes_lies_into_the_lock_file
    a_keeper_does_nothing_wrong_when_a_worker_holds_the_lock
    a_keeper_does_nothing_wrong_when_a_worker_holds_the_lock_past_the_timeout
    a_keeper_does_nothing_wrong_when_a_worker_holds_the_lock_of_settling
    a_daemon_as_the_package_starts_it_is_kept_until_it_quits
)
