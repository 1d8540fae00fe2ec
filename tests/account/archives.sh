# shellcheck shell=bash
# For the tests of archives, which source it after lib.sh: scribes, settling, and what must not be left over. Bash.

scribe=$build/tests/scribe
told=$account_dir/told.py

# Starts a scribe under the shim, in the background; SIGTERM to ${started[-1]} ends it. What it is told is in
# $records/told.WRITER.
start_scribe() { # WRITER COUNT RATE [OPTION]...
    mkdir -p "$records"
    timeout -k 5 "$time_limit" env MPLOGSHIM_LOGS="$rules" MPLOGSHIM_STRICT=1 ${library:+LD_PRELOAD="$library"} \
        "$scribe" "${@:4}" "$log" "$1" "$2" "$records/told.$1" "$3" </dev/null &
    started+=($!)
}

# The account of all scribes. Options as told.py's.
account_of_scribes() {
    "$python" "$told" "$@" "$log" "$records"/told.*
}

# A new log, and a place for the scribes' records beside its directory.
new_archived_log() { # [KEY=VALUE,...]
    new_log "$@"
    records=$work/log.records.$BASHPID
    trap end_started EXIT
}

# At the end of a test that failed: what it had started ends, and what it had mounted goes.
end_started() {
    set +e
    ((${#started[@]} == 0)) || kill -TERM "${started[@]}" 2>/dev/null
    [ -z "${watch_end-}" ] || : >"$watch_end"
    wait
    ! mountpoint -q "$directory" || umount -l "$directory"
}

# Whatever is hidden beside the log but its lock file.
hidden_files() {
    find "$directory" -name '.*.log.*' ! -name '.*.log.lock'
}

nothing_is_hidden() {
    [ -z "$(hidden_files)" ]
}

no_archive_is_plain() {
    local plain
    plain=$(find "$directory" -name '*.log.*' ! -name '*.gz' ! -name '.*')
    [ -z "$plain" ] || { echo "not compressed: $plain"; return 1; }
}

# Of one that is just being compressed there are two files.
archives() {
    find "$directory" -name '*.log.*' ! -name '.*' -printf '%f\n' | sed 's/\.gz$//' | sort -u | wc -l
}

# Finishes all pending work of a log that nobody writes any more, by the policy that its lock file records: afterwards
# everything has its final name, and nobody is at work.
settle() {
    [ -z "$library" ] || plain "$command" settle "$log"
    wait_until no_helper_in "$directory"
    if ! nothing_is_hidden; then
        echo "left over after settling:"
        hidden_files
        return 1
    fi
}

# Looks at a path, once it is there, a few thousand times a second until `stop_watching`, which fails if it was missing.
watch_live_path() { # PATH
    watch_end=$work/stop.$BASHPID
    "$python" -c '
import os, sys, time
while not (os.path.exists(sys.argv[1]) or os.path.exists(sys.argv[2])):
    time.sleep(0.0003)
while not os.path.exists(sys.argv[2]):
    try:
        os.stat(sys.argv[1])
    except OSError as error:
        sys.exit(f"the live path was missing: {error}")
    time.sleep(0.0003)' "$1" "$watch_end" &
    watcher=$!
    echo "$watcher" >>"$servers"
}

stop_watching() {
    local status=0
    : >"$watch_end"
    wait "$watcher" || status=$?
    sed -i "/^$watcher\$/d" "$servers"
    rm -f "$watch_end"
    watch_end=
    return "$status"
}
