#!/bin/bash
# Writes the numbered lines of line.h with bash: writer.sh WAY LOG WRITER COUNT [RATE]
set -u

way=$1 log=$2 writer=$3 count=$4 rate=${5:-0}

letters=ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-
payloads=$letters$letters$letters$letters$letters$letters

# Sets `line` to line number $1.
make_line() {
    local length=$((20 + (37 * $1 + 11 * writer) % 281))
    local offset=$(((7 * $1 + 13 * writer) % 64))
    local sum=$(((7919 * $1 + 10473 * writer + 31 * length + offset) % 65521))
    line="w=$writer n=$1 len=$length ${payloads:offset:length} sum=$sum"
}

# Sets `text` to lines $1 to $2, with their newlines.
make_text() {
    local number
    text=
    for ((number = $1; number <= $2 && number <= count; number++)); do
        make_line "$number"
        text+=$line$'\n'
    done
}

# Waits after line $1, so that the lines come at the wanted rate: a read that times out needs no process.
exec {quiet}<> <(:)
pace() {
    ((rate > 0 && $1 % 16 == 0)) || return 0
    local microseconds=$((16000000 / rate))
    read -r -t "$((microseconds / 1000000)).$(printf %06d $((microseconds % 1000000)))" -u "$quiet"
    return 0
}

# One redirection for each line.
write_echo_each() {
    for ((n = 1; n <= count; n++)); do
        make_line "$n"
        echo "$line" >>"$log" || exit 1
        pace "$n"
    done
}

# One redirection for all.
write_echo() {
    exec >>"$log"
    write_stdout
}

write_printf() {
    exec >>"$log"
    for ((n = 1; n <= count; n++)); do
        make_line "$n"
        printf '%s\n' "$line" || exit 1
        pace "$n"
    done
}

# To the output that the script was given; LOG is not used.
write_stdout() {
    for ((n = 1; n <= count; n++)); do
        make_line "$n"
        echo "$line" || exit 1
        pace "$n"
    done
}

# What legacy scripts do: both descriptors on the log, errors through the second.
write_stderr() {
    exec >>"$log" 2>&1
    for ((n = 1; n <= count; n++)); do
        make_line "$n"
        if ((n % 2)); then echo "$line"; else echo "$line" >&2; fi || exit 1
        pace "$n"
    done
}

# Here-documents of ten lines through cat.
write_here() {
    for ((n = 1; n <= count; n += 10)); do
        make_text "$n" $((n + 9))
        cat >>"$log" <<END || exit 1
${text%$'\n'}
END
        pace $((n + 15 - (n + 15) % 16))
    done
}

# Subshells of ten lines, on a descriptor opened before them.
write_subshell() {
    exec 7>>"$log"
    for ((n = 1; n <= count; n += 10)); do
        make_text "$n" $((n + 9))
        (printf %s "$text" >&7) || exit 1
        pace $((n + 15 - (n + 15) % 16))
    done
}

# Background jobs, each with its share: writers WRITER, WRITER+1, WRITER+2 on the shell's own descriptor.
write_jobs() {
    exec >>"$log"
    local jobs=() job
    for share in 0 1 2; do
        (
            writer=$((writer + share))
            for ((n = 1; n <= count; n++)); do
                make_line "$n"
                echo "$line" || exit 1
                pace "$n"
            done
        ) &
        jobs+=($!)
    done
    for job in "${jobs[@]}"; do
        wait "$job" || exit 1
    done
}

"write_$way"
