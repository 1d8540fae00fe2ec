# shellcheck shell=bash
# For the tests of keepers, which source it after lib.sh: programs that were started as root and gave that up. Bash.

need setpriv

# Whoever gave up privileges reaches the log and the shim all the same, wherever this was built.
chmod 755 "$work"
if [ -n "$library" ]; then
    mkdir "$work/shim"
    cp "$library" "$command" "$work/shim"
    library=$work/shim/${library##*/}
    command=$work/shim/${command##*/}
fi

# Only root has something to give up: for others these tests are one that says so.
need_root() {
    ((EUID == 0)) && return 0
    echo "1..1"
    echo "ok 1 - who_is_not_root_needs_no_keeper"
    exit 0
}

# At the end of a test that failed: what it had started ends, as nobody waits for it any more.
end_started() {
    local pid
    for pid in "${started[@]}" ${server:+"$server"}; do
        kill -TERM "$pid" && wait "$pid"
    done 2>/dev/null
}

# A dropper, in the background, which goes on until let_end is called: account is told by "${counts[@]}" how far it came.
start_dropper() { # WAY WRITER COUNT RATE
    start "$dropper" "$1" "$log" "$2" "$3" "$4" "$prefix/enough" 2>>"$prefix/counts"
}

# What was started so far ends, and has ended well.
let_end() {
    echo >"$prefix/enough"
    finish || { cat "$prefix/counts"; return 1; }
    mapfile -t counts <"$prefix/counts"
}

# The pids of the keepers of one log.
keepers() { # LOG
    local file words
    for file in /proc/[0-9]*/cmdline; do
        words=()
        mapfile -d '' -t words 2>/dev/null <"$file" || continue
        if [[ ${words[1]-} == settle && ${words[2]-} == --keeper && ${words[3]-} == "$1" ]]; then
            file=${file#/proc/}
            echo "${file%/cmdline}"
        fi
    done
}

has_one_keeper() { # LOG
    [[ $(keepers "$1") =~ ^[0-9]+$ ]]
}

has_no_keeper() { # LOG
    [ -z "$(keepers "$1")" ]
}

# Succeeds if each of the logs has one keeper, or gets it within a moment; they are in $keepers, by log.
expect_one_keeper_each() { # LOG...
    local path
    declare -gA keepers=()
    for path in "$@"; do
        wait_until has_one_keeper "$path"
        keepers[$path]=$(keepers "$path")
    done
}

# Succeeds if the logs still have the keepers that they had.
expect_same_keepers() {
    local path now
    for path in "${!keepers[@]}"; do
        now=$(keepers "$path")
        [ "$now" = "${keepers[$path]}" ] || { echo "keeper of $path was ${keepers[$path]}, is $now"; return 1; }
    done
}

# Everything of the log's history is there, and nobody is at work any more.
expect_keepers_to_end() {
    wait_until no_helper_in "$directory"
}

# How often a log was rotated: the length of its lock file behind its page, which nobody else made longer.
rotations() {
    local size
    size=$(stat -c %s "$directory/.${log##*/}.lock" 2>/dev/null) || size=4096
    echo $((size - 4096))
}

has_rotations() { # COUNT
    (($(rotations) >= $1))
}

# The same as the log's files show it. While they are being renamed one may be counted twice, or not at all.
archives() {
    find "$directory" -maxdepth 1 \( -name "${log##*/}.*" -o -name ".${log##*/}.*.pending" -size +0 \) | wc -l
}

has_archives() { # COUNT
    (($(archives) >= $1))
}

# Succeeds if every file of the log has this owner, group and permissions.
expect_owner_and_mode() { # USER:GROUP MODE
    local file status
    for file in "$log" "$log".*; do
        status=$(stat -c '%U:%G %a' "$file")
        [ "$status" = "$1 $2" ] || { echo "$file is of $status, not of $1 $2"; return 1; }
    done
}

# How many events of a kind are in MPLOGSHIM_DIAG's file for the log.
events() { # KIND
    grep -c "^mplogshim: $1 log=$log " "$messages"
}

# Files that are none of the log's, beside it and in places that a confused keeper might take for them.
make_strangers() {
    local base=${log##*/}
    mkdir "$directory/$base.70"
    ln -s ../stranger "$directory/$base.90"
    strangers=("$directory/../stranger" "$directory/$base.90" "$directory/$base.70/$base.1" "$directory/$base.old"
        "$directory/$base.2.txt" "$directory/.$base.gz" "$directory/other.log.1" "$prefix/$base")
    for stranger in "${strangers[@]}"; do
        echo "$stranger" >"$stranger"
    done
    strangers_before=$(look_at_strangers)
}

look_at_strangers() {
    stat -c '%N %i %U:%G %a %s %y' "${strangers[@]}" "$directory/${log##*/}.70"
    cat "${strangers[@]}"
}

# They are as they were; then they are taken away.
expect_strangers_as_they_were() {
    diff <(echo "$strangers_before") <(look_at_strangers)
    rm "${strangers[@]}"
    rmdir "$directory/${log##*/}.70"
}

# Makes noise in the log's lock file as another user, who has it open; until FILE is there, if that is sooner.
make_noise() { # USER WAY SECONDS [FILE]
    plain setpriv --reuid="$1" --regid="$(id -g "$1")" --clear-groups "$python" "$account_dir/noise.py" "${@:2}" \
        <>"$directory/.${log##*/}.lock"
}
