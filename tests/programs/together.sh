#!/bin/bash
# Programs of every language together on one log.
source "$(dirname "$0")/../account/lib.sh"
need "$python" perl java javac node mawk redis-server redis-cli

javac -J-XX:TieredStopAtLevel=1 -J-XX:+UseSerialGC -d "$work/classes" "$account_dir/Writer.java" || exit 1
java=(java -Xshare:auto -Xmx64m -XX:TieredStopAtLevel=1 -XX:+UseSerialGC -XX:-UsePerfData -cp "$work/classes" Writer)

# Before each line of redis: pid, role, time, level. Lines of the server's own have no number.
redis=(--prefix '([0-9]+:[XCSM] [0-9]{2} [A-Z][a-z]{2} [0-9]{4} [0-9:.]+ [#*.-] )?'
    --other '[0-9]+:[XCSM] .*')

# Starts seventeen programs, with COUNT lines for each of the writers 1 to 19 at full speed, and waits for them.
everybody_writes() { # COUNT
    start "$writer" --buffering full fprintf "$log" 1 "$1"
    start "$writer" --forks 2 write "$log" 2 "$1"
    start_redirected "$writer" printf - 4 "$1"
    start "$writer_cpp" ofstream "$log" 5 "$1"
    start_redirected "$writer_cpp" cout - 6 "$1"
    start "$account_dir/writer.sh" echo "$log" 7 "$1"
    start "$account_dir/writer.sh" echo_each "$log" 8 "$1"
    start_redirected "$account_dir/writer.sh" stdout - 9 "$1"
    start "$python" "$account_dir/writer.py" logging "$log" 10 "$1"
    start_redirected "$python" "$account_dir/writer.py" print - 11 "$1"
    start perl "$account_dir/writer.pl" print "$log" 12 "$1"
    start perl "$account_dir/writer.pl" syswrite "$log" 13 "$1"
    start "${java[@]}" buffered "$log" 14 "$1"
    start node "$account_dir/writer.js" stream "$log" 15 "$1"
    start mawk -v log_file="$log" -v writer=16 -v count="$1" -f "$account_dir/writer.awk"
    "$writer" write "$directory/input" 17 "$1"
    start_redirected cat "$directory/input"
    start_redirected seq -f 'w=18 n=%.0f end' "$1"
    start_server redis-server --port 0 --unixsocket "$directory/socket" --dir "$directory" --save '' --logfile "$log" \
        --daemonize no --set-proc-title no
    wait_until redis-cli -s "$directory/socket" ping >/dev/null 2>&1
    redis-cli -s "$directory/socket" --eval "$account_dir/writer.lua" , 19 1 "$1" >/dev/null
    stop_server "$server" redis-cli -s "$directory/socket" shutdown nosave # whose handler of SIGTERM writes in pieces
    finish
}

rotation_by_size_keeps_every_line_of_every_language() {
    new_log max_bytes=64K
    everybody_writes 1000
    account --min-rotations 20 --max-bytes 65536 "${redis[@]}" {1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18,19}=1000
}

rotation_by_size_and_clock_keeps_every_line_of_every_language() {
    new_log max_bytes=64K,when=S
    everybody_writes 1000
    account --naming time --min-rotations 20 --max-bytes 65536 "${redis[@]}" \
        {1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18,19}=1000
}

run_tests \
    rotation_by_size_keeps_every_line_of_every_language \
    rotation_by_size_and_clock_keeps_every_line_of_every_language
