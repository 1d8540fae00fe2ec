#!/bin/bash
# Where other ways of sharing or rotating a log lose or tear lines: each of these must show none here.
source "$(dirname "$0")/../account/lib.sh"
need "$python" setpriv

# logrotate's copytruncate: 5 % of the lines lost.
four_writers_at_full_speed_lose_nothing() {
    new_log max_bytes=256K
    for id in 1 2 3 4; do
        start "$writer" write "$log" "$id" 10000
    done
    finish
    account --min-rotations 20 --max-bytes 262144 {1,2,3,4}=10000
}

# Pipe loggers: thousands of lines torn, because a pipe takes 4 KiB in one piece.
eight_writers_of_lines_longer_than_a_pipe_takes_in_one_piece_tear_nothing() {
    new_log max_bytes=512K
    for id in 1 2 3 4 5 6 7 8; do
        start "$writer" --length 6000-6000 write "$log" "$id" 300
    done
    finish
    account --min-rotations 20 --max-bytes 524288 {1,2,3,4,5,6,7,8}=300
}

# Pipe loggers: kill -9 loses hundreds of lines that a program was told are written, and ends the other programs.
a_killed_writer_loses_nothing_that_it_was_told_is_written() {
    new_log max_bytes=16K
    local counts=() id told pid
    acknowledged() { (($(cat "$directory/told.$id" 2>/dev/null || echo 0) > 300 * id)); }
    start "$writer" write "$log" 100 20000
    for id in 1 2 3 4 5; do
        LD_PRELOAD=$library MPLOGSHIM_LOGS=$rules "$writer" --acknowledge "$directory/told.$id" write "$log" "$id" 1000000 &
        pid=$!
        wait_until acknowledged
        kill -KILL "$pid"
        wait "$pid" || true
        read -r told <"$directory/told.$id"
        counts+=("$id=$told-$((told + 1))")
    done
    finish
    account --min-rotations 20 --max-bytes 16384 "${counts[@]}" 100=20000
}

# Rotating handlers that each go by their own settings: a third of the lines lost.
processes_with_different_settings_lose_nothing() {
    new_log
    for id in 1 2 3 4; do
        rules="$directory/*.log,max_bytes=$((id * 16))K"
        start "$writer" fprintf "$log" "$id" 5000 2>/dev/null
    done
    finish
    account --min-rotations 20 {1,2,3,4}=5000
}

# Moving a log away without a signal to its writers: they go on in the old file for good.
a_log_that_is_moved_away_is_followed_by_all_writers_within_a_second() {
    new_log max_bytes=1G
    local round moved waited least=1000000 counts
    : >"$directory.enough"
    for id in 1 2 3; do
        start "$writer" --until "$directory.enough" --buffering line fprintf "$log" "$id" 1600 800 2>>"$directory.counts"
    done
    for round in 4 3 2; do
        wait_until test -s "$log"
        mv "$log" "$log.$round"
        moved=$(date +%s%N)
        wait_until test -s "$log"
        waited=$((($(date +%s%N) - moved) / 1000000))
        least=$((waited < least ? waited : least))
    done
    echo >"$directory.enough"
    finish
    echo "followed after $least ms" # a second, and what a busy machine adds, which it does not do each time
    ((least < 2000))
    mapfile -t counts <"$directory.counts"
    # The archives that the administrator made count as such: the first that was moved away is the oldest.
    account --min-rotations 3 --max-rotations 3 "${counts[@]}"
}

# Three writers as a user who may write to the log and to nothing beside it; what they say is in $directory/said.N.
unprivileged_writers() {
    chmod 755 "$work" "$directory"
    install -o nobody -m 644 /dev/null "$log"
    install -m 755 "$writer" "$directory/writer" # where another user can reach them
    if [ -n "$library" ]; then
        install -m 755 "$library" "$directory/library.so"
        library=$directory/library.so
    fi
    local id begun=$SECONDS
    for id in 1 2 3; do
        start setpriv --reuid=nobody --regid=nogroup --clear-groups \
            "$directory/writer" write "$log" "$id" 1000 2>"$directory/said.$id"
    done
    finish || { head "$directory"/said.*; return 1; }
    # At most one a second of each event for each program.
    (($(cat "$directory"/said.* | wc -l) <= 2 * 3 * (SECONDS - begun + 1)))
    account --max-rotations 0 {1,2,3}=1000
}

# A handler that fails when it cannot rotate: here the lines go on into the file that there is.
without_permission_to_rotate_every_line_is_written_and_one_line_says_so() {
    ((EUID == 0)) || { echo "not root: cannot become another user"; return 0; }
    new_log max_bytes=8K
    rules+=,lock_dir=$directory/locks
    install -d -o nobody "$directory/locks"
    unprivileged_writers
    grep -h "^mplogshim: rotate_failed log=$log " "$directory"/said.*
}

without_permission_to_lock_every_line_is_written_and_one_line_says_so() {
    ((EUID == 0)) || { echo "not root: cannot become another user"; return 0; }
    new_log max_bytes=8K
    unprivileged_writers
    grep -h "^mplogshim: lock_timeout log=$log " "$directory"/said.*
}

# A process that is stopped, or a stranger, while it holds the lock: everybody else waits for ever.
a_lock_that_is_never_given_back_holds_nobody_up_for_longer_than_the_timeout() {
    new_log max_bytes=8K,lock_timeout=100ms
    local holder
    shim "$writer" write "$log" 1 10
    "$python" -c '
import fcntl, os, sys, time
lock = os.open(sys.argv[1], os.O_RDWR)
fcntl.lockf(lock, fcntl.LOCK_EX, 1, 0)
open(sys.argv[2], "w").close()
time.sleep(600)' "$directory/.app.log.lock" "$directory/held" &
    holder=$!
    echo "$holder" >>"$servers"
    wait_until test -e "$directory/held"
    shim "$writer" write "$log" 2 10 2>"$directory/said"
    kill "$holder"
    wait "$holder" || true
    grep -q "^mplogshim: lock_timeout log=$log" "$directory/said"
    shim "$writer" write "$log" 3 500
    account --min-rotations 5 1=10 2=10 3=500
}

# A handler for every client, each with a file and a rotation of its own: 56 of 57 files had one writer each.
a_server_that_opens_its_log_for_every_client_fills_one_file_after_the_other() {
    new_log max_bytes=64K
    local client clients=() first
    for first in 100 200; do
        # shellcheck disable=SC2016
        start "$python" -c '
import importlib.util, logging, sys, threading
spec = importlib.util.spec_from_file_location("writer", sys.argv[1])
writer = importlib.util.module_from_spec(spec)
spec.loader.exec_module(writer)
log, first = sys.argv[2], int(sys.argv[3])
handlers = [logging.FileHandler(log) for client in range(57)]
for number in range(1, 101):
    for client, handler in enumerate(handlers):
        handler.emit(logging.makeLogRecord({"msg": writer.make_line(first + client, number)}))' \
            "$account_dir/writer.py" "$log" "$first"
        for ((client = 0; client < 57; client++)); do
            clients+=("$((first + client))=100")
        done
    done
    finish
    # 2.2 MB in files that are all filled: 33, and not a file for each client.
    account --min-rotations 31 --max-rotations 35 --max-bytes 65536 "${clients[@]}"
}

# Compression of 100 MB under the lock: everybody waits 2.6 s. Here the one who compresses does not even move.
nobody_waits_for_a_compression() {
    new_log max_bytes=64K,compress=gzip:9
    local helper
    compressing() { helper=$(helpers_in "$directory") && [ -n "$helper" ] && [ -e "$directory/.app.log.squeeze" ]; }
    start "$writer" write "$log" 1 200 100 # so that somebody is attached
    wait_until test -s "$log"
    head -c 30000000 /dev/urandom >"$log.1" # takes seconds
    start "$writer" write "$log" 2 1000
    wait_until compressing
    kill -STOP $helper
    start "$writer" write "$log" 3 2000
    start "$writer" write "$log" 4 2000
    finish
    (($(find "$directory" -name '.app.log.*.pending' | wc -l) >= 8)) # nobody numbered them meanwhile
    kill -KILL $helper # which leaves its work to the next
    settle_log
    zcat "$(ls -v "$log".*.gz | tail -n 1)" | head -c 30000000 | wc -c | grep -qx 30000000
    rm "$(ls -v "$log".*.gz | tail -n 1)"
    [ ! -e "$directory/.app.log.squeeze" ]
    account --min-rotations 13 1=200 2=1000 3=2000 4=2000
}

# One whose failed open of the lock file leaked a mutex: it never rotated again.
a_lock_file_that_cannot_be_opened_at_first_is_used_when_it_can() {
    new_log "max_bytes=8K,lock_dir=$work/log.locks"
    : >"$directory.enough"
    start "$writer" --until "$directory.enough" write "$log" 1 1 400 2>"$directory/said"
    wait_until grep -q "^mplogshim: lock_timeout log=$log " "$directory/said"
    mkdir "$work/log.locks"
    wait_until grep -q "^mplogshim: lock_recovered log=$log" "$directory/said"
    wait_until test -e "$log.5"
    echo >"$directory.enough"
    finish
    account --min-rotations 5 "$(grep '^1=' "$directory/said")"
}

run_tests \
    four_writers_at_full_speed_lose_nothing \
    eight_writers_of_lines_longer_than_a_pipe_takes_in_one_piece_tear_nothing \
    a_killed_writer_loses_nothing_that_it_was_told_is_written \
    processes_with_different_settings_lose_nothing \
    a_log_that_is_moved_away_is_followed_by_all_writers_within_a_second \
    without_permission_to_rotate_every_line_is_written_and_one_line_says_so \
    without_permission_to_lock_every_line_is_written_and_one_line_says_so \
    a_lock_that_is_never_given_back_holds_nobody_up_for_longer_than_the_timeout \
    a_server_that_opens_its_log_for_every_client_fills_one_file_after_the_other \
    nobody_waits_for_a_compression \
    a_lock_file_that_cannot_be_opened_at_first_is_used_when_it_can
