# shellcheck shell=bash
# For the tests of whole programs (tests/programs/*.sh), which source it: a temporary directory, TAP, the shim, servers
# and the account. Bash.
#
# A test is a function named by what holds. It fails with the first command in it that fails; run_tests runs them.

set -u
umask 022
export LC_ALL=C.UTF-8

only=("$@") # parts of the names of the tests to run; all without

account_dir=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(cd "$account_dir/../.." && pwd)
build=${BUILD:-$root/build}
case $build in
/*) ;;
*) build=$root/$build ;;
esac

library=${LIBRARY-$build/libmplogshim.so} # set but empty: see the tests fail without the shim
command=$build/mplogshim
unset "${!MPLOGSHIM_@}" LD_PRELOAD PYTHONUNBUFFERED NODE_OPTIONS JAVA_TOOL_OPTIONS FAKETIME TZ
# Whose rules say nothing else waits for the lock, however busy the machine: a file may be larger than max_bytes by what
# is written without it.
export MPLOGSHIM_LOCK_TIMEOUT=60s
checker=$build/tests/checker
writer=$build/tests/writer
writer_fortified=$build/tests/writer_fortified
writer_cpp=$build/tests/account/writer_cpp
python=/usr/bin/python3
time_limit=300 # seconds, for any one program: many times what it takes, for machines that are busy

work=$(mktemp -d "${TMPDIR:-/tmp}/mplogshim-test.XXXXXX")
servers=$work/servers # pids, one a line
: >"$servers"
cd "$work" || exit 1

clean_up() {
    local pid
    while read -r pid; do
        kill -TERM "$pid" 2>/dev/null
    done <"$servers"
    end_helpers "$work"
    rm -rf "$work"
}
trap clean_up EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

# The pids of helpers and keepers that work for logs below a directory. They are nobody's children.
helpers_in() { # DIRECTORY
    local file words
    for file in /proc/[0-9]*/cmdline; do
        mapfile -d '' -t words 2>/dev/null <"$file" || continue
        [[ ${words[1]:-} == settle && ${words[3]:-} == "$1"/* ]] && echo "${file//[!0-9]/}"
    done
    return 0
}

no_helper_in() { # DIRECTORY
    [ -z "$(helpers_in "$1")" ]
}

# Before a directory is removed: nobody makes a file in it any more. Those that wait for something are ended.
end_helpers() { # DIRECTORY
    local deadline=$((SECONDS + 3)) pids
    until no_helper_in "$1"; do
        if ((SECONDS > deadline)); then
            mapfile -t pids < <(helpers_in "$1")
            ((${#pids[@]})) && kill -KILL "${pids[@]}" 2>/dev/null
        fi
        sleep 0.02
    done
}

# Returns when every archive of the log has its final name, is compressed, and what is beyond the limits is gone. A log
# that could never be locked has no archives.
settle_log() {
    if [ -n "$library" ] && compgen -G "${log%/*}/.${log##*/}.lock" >/dev/null; then
        MPLOGSHIM_LOGS=$rules plain "$command" settle "$log"
    fi
}

# Runs a command under the shim, with a time limit. $rules are its rules.
shim() {
    timeout -k 5 "$time_limit" env MPLOGSHIM_LOGS="$rules" MPLOGSHIM_STRICT=1 ${library:+LD_PRELOAD="$library"} "$@"
}

# The same without the shim.
plain() {
    timeout -k 5 "$time_limit" "$@"
}

# Names a log in the directory of the test that runs: $log and $directory; and $rules, with the keys given.
new_log() { # [KEY=VALUE,...]
    directory=$work/log.$BASHPID
    mkdir "$directory"
    log=$directory/app.log
    rules="$directory/*.log${1:+,$1}"
    started=()
}

# Starts a command under the shim in the background; finish waits for all that were started, and fails if one failed.
start() {
    shim "$@" </dev/null &
    started+=($!)
}

# The same with standard output appended to the log, as a shell does it for a program that it starts.
start_redirected() {
    shim "$@" </dev/null >>"$log" &
    started+=($!)
}

finish() {
    local pid status=0
    for pid in "${started[@]}"; do
        wait "$pid" || { status=$?; echo "process $pid ended with status $status"; }
    done
    started=()
    return "$status"
}

# Starts a server under the shim in a session of its own; its pid (that of its time limit, which passes signals on) is
# in $server.
start_server() {
    setsid timeout -k 5 "$time_limit" env MPLOGSHIM_LOGS="$rules" MPLOGSHIM_STRICT=1 \
        ${library:+LD_PRELOAD="$library"} "$@" </dev/null &
    server=$!
    echo "$server" >>"$servers"
}

# Ends a server, by a command or with SIGTERM, and waits for its end: its exit status.
stop_server() { # PID [COMMAND...]
    local status=0
    if (($# > 1)); then
        "${@:2}"
    else
        kill -TERM "$1"
    fi
    wait "$1" || status=$?
    sed -i "/^$1\$/d" "$servers"
    return "$status"
}

# Waits until a command succeeds, for two minutes at most: what takes that long never comes, on the slowest machine.
wait_until() {
    local deadline=$((SECONDS + 120))
    until "$@"; do
        if ((SECONDS > deadline)); then
            echo "waited in vain for: $*"
            return 1
        fi
        sleep 0.02
    done
}

# The account of the log, which nobody writes any more: fails if a line is lost, doubled, torn or out of order.
# Arguments as the checker's.
account() {
    settle_log
    local options=()
    while [[ ${1:-} == -* ]]; do
        options+=("$1" "$2")
        shift 2
    done
    "$checker" "${options[@]}" "$log" "$@"
}

# The account of a log whose files others moved about: every line of the writers is in one of the regular files of its
# directory, once, whole.
every_line_is_somewhere_once() { # WRITER=COUNT...
    local pair
    for pair in "$@"; do
        plain "$writer" write - "${pair%%=*}" "${pair##*=}"
    done | sort >"$directory.expected"
    find "$directory" -type f -name '*app.log*' ! -name '*.lock' ! -name '*victim*' -exec gzip -dcf {} + |
        sort | diff "$directory.expected" - | head -n 20 >"$directory.difference"
    cat "$directory.difference"
    [ ! -s "$directory.difference" ]
    rm "$directory".{expected,difference}
}

# Runs a command with and without the shim, each in a directory of its own in which it logs to app.log: what it prints,
# its exit status and the bytes that it logs must be the same, whatever the number of files. $rules are relative.
same_with_and_without_the_shim() {
    local kind
    rules='app.log,max_bytes=4K'
    for kind in plain shim; do
        directory=$work/$kind.$BASHPID
        mkdir "$directory"
        (
            cd "$directory" || exit
            status=0
            "$kind" "$@" </dev/null >output 2>errors || status=$?
            echo "$status" >status
            log=$directory/app.log
            [ "$kind" = plain ] || settle_log
            "$checker" --cat app.log >history
        )
    done
    local file
    for file in output errors status history; do
        diff -a "$work/plain.$BASHPID/$file" "$directory/$file"
    done
    if [ -n "$library" ] && [ ! -e "$directory/app.log.1" ]; then
        echo "under the shim, nothing was rotated: $*"
        ls -lA "$directory"
        return 1
    fi
    end_helpers "$directory"
    rm -r "$work/plain.$BASHPID" "$directory"
}

# Fails the whole file, in one test, if a program is not installed.
need() {
    local program
    for program in "$@"; do
        if ! type -P "$program" >/dev/null; then
            echo "1..1"
            echo "not ok 1 - $program is installed"
            exit 1
        fi
    done
}

is_wanted() { # NAME
    local part
    for part in "${only[@]}"; do
        [[ $1 == *"$part"* ]] && return 0
    done
    ((${#only[@]} == 0))
}

# After a test that failed, and said so in $output: whether a machine that is far too busy comes to that as well. Then the
# test is made again, a few times: it is not so each time.
was_disturbed() {
    false
}

# Runs the test functions that are named and wanted, and exits.
run_tests() {
    local number=0 failed=0 name output status attempt wanted=()
    for name in "$@"; do
        is_wanted "$name" && wanted+=("$name")
    done
    set -- "${wanted[@]}"
    echo "1..$#"
    for name in "$@"; do
        number=$((number + 1))
        for attempt in {1..5}; do
            output=$(
                set -e
                "$name" 2>&1
            )
            status=$?
            end_helpers "$work"
            ((status != 0 && attempt < 5)) && was_disturbed || break
            echo "# $name: disturbed, made again"
            rm -rf "$work"/log.*
        done
        rm -rf "$work"/log.*
        if ((status == 0)); then
            echo "ok $number - $name"
        else
            failed=1
            sed 's/^/# /; 60q' <<<"$output"
            echo "not ok $number - $name"
        fi
    done
    exit "$failed"
}
