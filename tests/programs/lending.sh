#!/bin/bash
# A keeper lends the new live file to workers that may not open it: it is killed at each of its steps, or slow while
# others take the log and the lock file away, and it is asked for things by people who have no right to them.
source "$(dirname "$0")/../account/lib.sh"
source "$account_dir/keepers.sh"
need_root
need setpriv strace "$python"
dropper=$build/tests/dropper
export MPLOGSHIM_DIAG=off

# Logs of root's own, one for each word: whoever gave up root can open neither them nor their lock files.
new_lent_logs() { # KEY=VALUE,... WORD...
    local word
    new_log
    trap end_started EXIT
    rules="$directory/*/app.log,$1"
    logs=() enough=$directory/enough
    install -m 644 /dev/null "$enough"
    for word in "${@:2}"; do
        mkdir "$directory/$word"
        install -m 644 /dev/null "$directory/$word/app.log"
        logs+=("$directory/$word/app.log")
    done
}

# One for each log, which goes on until let_end.
start_workers() { # WRITER [WAY]
    for log in "${logs[@]}"; do
        start "$dropper" "${2-setuid}" "$log" "$1" 100 150 "$enough" 2>>"${log%/*}/counts"
    done
}

# Every log was rotated so often, all end, and so do their keepers.
let_end_when_rotated() { # COUNT
    for log in "${logs[@]}"; do
        directory=${log%/*} wait_until has_rotations "$1"
    done
    echo >"$enough"
    finish
    wait_until no_helper_in "${enough%/*}"
}

# Takes hold of each log's keeper: it is killed by the system call that its directory is named by.
kill_keepers_at_their_steps() {
    local step log tracers=()
    for log in "${logs[@]}"; do
        step=${log%/*}
        step=${step##*/}
        plain strace -f -qq -o "$directory/$step.trace" -e trace="$step" -e inject="$step:signal=SIGKILL" -p "${keepers[$log]}" &
        tracers+=($!)
    done
    wait "${tracers[@]}"
    for log in "${logs[@]}"; do
        step=${log%/*}
        grep -q 'killed by SIGKILL' "$directory/${step##*/}.trace" || { echo "not killed: $log"; return 1; }
    done
}

# A worker goes on in the file that it has; with the next one comes a keeper for both.
a_keeper_that_is_killed_at_any_step_of_lending_or_rotating_loses_nothing() {
    new_lent_logs max_bytes=4K recvmsg statx sendmsg fcntl openat renameat2 ftruncate dup3
    start_workers 1
    expect_one_keeper_each "${logs[@]}"
    kill_keepers_at_their_steps
    start_workers 2
    expect_one_keeper_each "${logs[@]}"
    let_end_when_rotated 10
    for log in "${logs[@]}"; do
        mapfile -t counts <"${log%/*}/counts"
        directory=${log%/*} account --min-rotations 6 "${counts[@]}"
    done
}

# One worker stays root, and rotates; the others are lent what it made, by a keeper that takes a tenth of a second for
# each look, while somebody moves the log away and removes the lock file.
a_slow_keeper_from_under_which_log_and_lock_file_are_taken_away_loses_nothing() {
    local i tracer
    new_lent_logs max_bytes=8K app
    directory=$directory/app
    start_workers 1
    start_workers 2
    start_workers 3 stay
    expect_one_keeper_each "$log"
    plain strace -f -qq -o "$work/slow.trace" -e trace=statx,openat,sendmsg \
        -e inject=statx,openat,sendmsg:delay_enter=50000 -p "${keepers[$log]}" &
    tracer=$!
    for ((i = 1; i <= 15; i++)); do
        ((i % 2)) || mv "$log" "$directory/moved.$i.app.log"
        ((i % 3)) || rm -f "$directory/.app.log.lock"
        sleep 0.2
        wait_until test -s "$log"
    done
    wait_until test -e "$directory/.app.log.lock"
    echo >"$enough"
    finish
    kill "$tracer" 2>/dev/null || true # it ends with the keeper
    wait "$tracer" || true
    wait_until no_helper_in "$directory"
    settle_log # the last lock file may have been removed before anybody recorded a policy in it
    mapfile -t counts <"$directory/counts"
    every_line_is_somewhere_once "${counts[@]}"
}

# Asks the log's keeper for everything, and shows everything that anybody has; says what it was lent.
beg='
import array, os, re, socket, sys, tempfile
log, other = sys.argv[1:]
lock = os.path.dirname(log) + "/.app.log.lock"
number = int(re.search(rb"keeper=[+](\d+)", open(lock, "rb").read())[1])
def connect():
    keeper = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    keeper.settimeout(60)
    keeper.connect(f"\0mplogshim/{number}")
    return keeper
removed = tempfile.TemporaryFile()
shown = {
    "the log, for reading": os.open(log, os.O_RDONLY), "its path": os.open(log, os.O_PATH),
    "an archive, for reading": os.open(log + ".1", os.O_RDONLY), "another file": os.open(other, os.O_RDWR),
    "a removed file": removed.fileno(), "a FIFO": os.pipe()[1], "a socket": socket.socket().fileno(),
    "memory": os.memfd_create("app.log"), "null": os.open("/dev/null", os.O_RDWR),
    "the directory": os.open(os.path.dirname(log), os.O_RDONLY),
    "the lock file": os.open(lock, os.O_RDONLY),
}
idle = [connect() for _ in range(100)]
for what in (b"w", b"l", b"x", b"w" * 5000):
    for thing, count in [(thing, count) for thing in shown for count in (1, 100)] + [("nothing", 0)]:
        keeper = connect()
        try:
            if count:
                keeper.sendmsg([what], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [shown[thing]] * count))])
            else:
                keeper.send(what)
            if socket.recv_fds(keeper, 10, 10)[1]:
                print(f"for {thing} and {what[:1]!r} something was lent")
        except ConnectionError:
            pass
        keeper.close()
'

descriptors_of() { # PID: of all its threads, which have some of their own
    find /proc/"$1"/task/*/fd -type l | wc -l
}

has_not_more_descriptors() { # PID COUNT: but for a rotation's own
    (($(descriptors_of "$1") <= $2 + 5))
}

a_keeper_lends_nothing_to_who_shows_what_everybody_has() {
    local before keeper others=("$work/log.others.$BASHPID")
    chmod 755 "$work"
    new_lent_logs max_bytes=8K app
    chmod 755 "$directory" "${log%/*}"
    directory=$directory/app
    mkdir -m 777 "${others[0]}"
    install -m 666 /dev/null "${others[0]}/app.log"
    start_workers 1
    expect_one_keeper_each "$log"
    wait_until has_rotations 2
    keeper=${keepers[$log]}
    before=$(descriptors_of "$keeper")
    (cd / && TMPDIR=${others[0]} setpriv --reuid=nobody --regid=nogroup --clear-groups \
        "$python" -c "$beg" "$log" "${others[0]}/app.log") >"$work/begged" 2>&1 || { cat "$work/begged"; return 1; }
    cat "$work/begged"
    [ ! -s "$work/begged" ]
    wait_until has_not_more_descriptors "$keeper" "$before"
    expect_same_keepers
    let_end_when_rotated 8
    mapfile -t counts <"$directory/counts"
    account --min-rotations 8 "${counts[@]}"
}

run_tests \
    a_keeper_that_is_killed_at_any_step_of_lending_or_rotating_loses_nothing \
    a_slow_keeper_from_under_which_log_and_lock_file_are_taken_away_loses_nothing \
    a_keeper_lends_nothing_to_who_shows_what_everybody_has
