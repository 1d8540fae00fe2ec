#!/bin/bash
# redis-server, which opens and closes its log for each line: several servers on one log.
source "$(dirname "$0")/../account/lib.sh"
need redis-server redis-cli

# Before each line: pid, role, time, level. Lines of the server's own have no number.
prefix='[0-9]+:[XCSM] [0-9]{2} [A-Z][a-z]{2} [0-9]{4} [0-9:.]+ [#*.-] '
other='[0-9]+:[XCSM] .*'

# Starts a server whose socket is $1/socket.
serve() { # DIRECTORY LOG
    mkdir "$1"
    start_server redis-server --port 0 --unixsocket "$1/socket" --dir "$1" --save '' --logfile "$2" --loglevel notice \
        --daemonize no --set-proc-title no --always-show-logo no
}

# Has the server on $1/socket log lines 1 to $3 as writer $2, 100 by each script.
ask() { # DIRECTORY WRITER COUNT
    local first
    wait_until redis-cli -s "$1/socket" ping >/dev/null 2>&1
    for ((first = 1; first <= $3; first += 100)); do
        redis-cli -s "$1/socket" --eval "$account_dir/writer.lua" , "$2" "$first" $((first + 99))
    done | grep -vx 'done' && return 1
    return 0
}

rotation_keeps_every_line_of_four_servers_on_one_log() {
    new_log max_bytes=40K
    local pids=(0) asking=() id
    for id in 1 2 3 4; do
        serve "$directory/$id" "$log"
        pids+=("$server")
    done
    for id in 1 2 3 4; do
        ask "$directory/$id" "$id" 1500 &
        asking+=($!)
    done
    for id in "${asking[@]}"; do
        wait "$id"
    done
    # Not by a signal: the handler writes its line in six pieces, and only lines=strict would keep these together.
    for id in 1 2 3 4; do
        stop_server "${pids[id]}" redis-cli -s "$directory/$id/socket" shutdown nosave
    done
    account --min-rotations 20 --max-bytes 40960 --prefix "$prefix" --other "$other" 1=1500 2=1500 3=1500 4=1500
}

the_server_shows_the_same_with_and_without_the_shim() {
    local kind
    for kind in plain shim; do
        directory=$work/$kind.$BASHPID
        mkdir "$directory"
        rules=$directory/app.log,max_bytes=4K
        (
            [ "$kind" = shim ] || library=
            status=0
            {
                serve "$directory/data" "$directory/app.log"
                ask "$directory/data" 1 200
                # Not its time limit, which would pass the signal on to it twice.
                stop_server "$server" kill -TERM "$(<"/proc/$server/task/$server/children")" || status=$?
            } >"$directory/output" 2>"$directory/errors"
            echo "$status" >"$directory/status"
        )
        log=$directory/app.log
        [ "$kind" = plain ] || settle_log
        "$checker" --cat "$log" |
            sed -E 's/^[0-9]+:([XCSM] [0-9]+ [A-Z][a-z]+ [0-9]+ [0-9:.]+|signal-handler \([0-9]+\)) //; s/pid=[0-9]+//; s/at [^ ]*socket//' >"$directory/history"
    done
    local file
    for file in output errors status history; do
        diff "$work/plain.$BASHPID/$file" "$work/shim.$BASHPID/$file"
    done
}

run_tests \
    rotation_keeps_every_line_of_four_servers_on_one_log \
    the_server_shows_the_same_with_and_without_the_shim
