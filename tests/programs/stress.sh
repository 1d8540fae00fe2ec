#!/bin/bash
# Everything at once, in rounds of a few seconds with settings of their own, each with an exact account of every line:
# programs of many languages, kills, stopped processes, tampering, full disks (stress.py). STRESS_SECONDS (default: 14)
# are shared by all rounds; STRESS_SEED is the first round's. STRESS_KEEP is a directory for what a failed round left.
if [ -z "${STRESS_NAMESPACE-}" ]; then
    as_root=()
    ((EUID == 0)) || as_root=(-U -r)
    STRESS_NAMESPACE=1 exec unshare "${as_root[@]}" -m --propagation private "$0" "$@"
fi
source "$(dirname "$0")/../account/lib.sh"
source "$account_dir/archives.sh"
need "$python" perl mawk
seconds=${STRESS_SECONDS:-14}
seed=${STRESS_SEED:-$(date +%s%N)}
round_most=20
time_limit=300
java=()

# Java and node take a second to start: in longer runs only.
if ((seconds >= 120)); then
    need javac java node
    javac -J-XX:TieredStopAtLevel=1 -J-XX:+UseSerialGC -d "$work/classes" "$account_dir/Writer.java" || exit 1
    java=(--java "$work/classes")
fi

# Takes one of the words by the seed: into $chosen, as a subshell would draw numbers of its own.
one_of() { # WORD...
    local at=$((RANDOM % $# + 1))
    chosen=${!at}
}

# Settings of a round, from its seed: $keys and $naming.
choose_keys() { # SEED
    local key
    RANDOM=$(($1 % 32768))
    one_of number time
    naming=$chosen
    keys=naming=$naming
    for key in 'max_bytes=16K max_bytes=64K max_bytes=256K' 'compress=none compress=gzip:1 compress=gzip' \
        'lines=whole lines=strict' 'lock_timeout=200ms lock_timeout=5s' 'when=S utc=1'; do
        # shellcheck disable=SC2086
        one_of $key
        keys+=,$chosen
    done
}

nothing_but_the_history_is_left() {
    local left
    left=$(find "$directory" -mindepth 1 -maxdepth 1 ! -name app.log ! -name 'app.log.*' ! -name .app.log.lock ! -name aside)
    [ -z "$left" ] || { echo "left over: $left"; return 1; }
    [ -e "$directory/.app.log.lock" ]
}

account_of_round() {
    local writers=() file
    [ ! -e "$records/writers" ] || mapfile -t writers <"$records/writers"
    while read -r file; do
        writers+=(--aside "$directory/aside/$file")
    done < <(find "$directory/aside" -type f -size +0 ! -name lock -printf '%f\n' | sort -t. -k2,2nr)
    account_of_scribes --naming "$naming" "${writers[@]}"
}

keep_what_is_left() {
    [ -z "${STRESS_KEEP-}" ] || cp -a "$directory" "$records" "$STRESS_KEEP"
}

# A round: SECONDS of it, and its account. With a disk of its own, that is filled; else with an administrator.
round() { # SEED SECONDS [--disk]
    choose_keys "$1"
    new_archived_log "$keys"
    trap 'status=$?; ((status == 0)) || keep_what_is_left; end_started' EXIT
    mkdir "$records"
    [ -z "${3-}" ] || mount -t tmpfs -o size=24m stress "$directory"
    echo "round of $2 s, ${3-with an administrator}, $keys"
    STRESS_PRELOAD=$library MPLOGSHIM_LOGS=$rules MPLOGSHIM_STRICT=1 MPLOGSHIM_DIAG="$records/said" \
        plain "$account_dir/stress.py" --seed "$1" "${@:3}" "${java[@]}" "$build" "$log" "$records" "$2"
    MPLOGSHIM_LOGS=$rules settle
    nothing_but_the_history_is_left
    [[ $keys != *compress=gzip* ]] || no_archive_is_plain
    account_of_round
    end_helpers "$directory"
    [ -z "${3-}" ] || wait_until umount "$directory" 2>/dev/null
    rm -r "$directory" "$records"
}

# Rounds for SECONDS, each in a shell of its own.
rounds() { # SECONDS SEED [--disk]
    local end=$((SECONDS + $1)) number=0 length=$1
    while ((number == 0 || SECONDS < end)); do
        length=$((end - SECONDS < round_most ? end - SECONDS : round_most))
        (round $(($2 + number)) $((length > 4 ? length : 4)) "${@:3}")
        number=$((number + 1))
    done
}

with_everything_at_once_every_line_is_there_once_whole_and_in_order() {
    rounds $((seconds * 6 / 10)) "$seed"
}

with_full_disks_every_line_is_there_once_whole_and_in_order() {
    rounds $((seconds * 4 / 10)) $((seed + 1000)) --disk
}

run_tests \
    with_everything_at_once_every_line_is_there_once_whole_and_in_order \
    with_full_disks_every_line_is_there_once_whole_and_in_order
