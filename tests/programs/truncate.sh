#!/bin/bash
# Programs that open their log as if it were to be empty ("w", O_TRUNC, the shell's ">"): all at the same time, and
# while others append to it and rotate it. With truncate=rotate and truncate=ignore every line is kept.
source "$(dirname "$0")/../account/lib.sh"
source "$account_dir/archives.sh"
need "$python" perl tee
opener=$build/tests/opener
opens=60 # of each program

bash_opens='while IFS= read -r line; do printf "%s\n" "$line" >"$1" || exit 1; done'
tee_opens='while IFS= read -r line; do printf "%s\n" "$line" | tee "$1" >/dev/null || exit 1; done'
python_opens='
import sys
for line in sys.stdin:
    with open(sys.argv[1], "w") as log:
        log.write(line)'
perl_opens='while (<STDIN>) { open(my $log, ">", $ARGV[0]) or die; print $log $_; close($log) or die }'

# Starts a command under the shim, with the lines of a writer as its input.
start_with_lines() { # WRITER COMMAND...
    "$writer" write "$records/lines.$1" "$1" "$opens"
    shim "${@:2}" <"$records/lines.$1" &
    started+=($!)
}

# Eight programs that open the log for every line, each in its own way: writers 1 to 8.
start_openers() {
    mkdir "$records"
    start_with_lines 1 "$opener" open "$log"
    start_with_lines 2 "$opener" creat "$log"
    start_with_lines 3 "$opener" fopen "$log"
    start_with_lines 4 "$opener" freopen "$log"
    start_with_lines 5 "$python" -c "$python_opens" "$log"
    start_with_lines 6 perl -e "$perl_opens" "$log"
    start_with_lines 7 bash -c "$bash_opens" - "$log"
    start_with_lines 8 bash -c "$tee_opens" - "$log"
}

# Three that append meanwhile: writers 11 to 13.
start_appenders() {
    start "$writer" write "$log" 11 2000 2000
    start "$writer" --buffering full fprintf "$log" 12 2000 2000
    start "$python" "$account_dir/writer.py" logging "$log" 13 2000 2000
}

opening_rotates() { # KEY=VALUE,... [CHECKER'S OPTION]...
    new_archived_log "$1"
    start_openers
    finish
    settle
    account --min-rotations 100 "${@:2}" {1,2,3,4,5,6,7,8}="$opens"
}

every_line_of_eight_programs_that_open_their_log_empty_is_kept() { opening_rotates truncate=rotate; }
the_same_with_a_size_limit() { opening_rotates max_bytes=256 --max-bytes 256; }
the_same_with_compression_and_names_by_time() { opening_rotates naming=time,compress=gzip:1 --naming time; }

every_line_is_kept_while_others_append() {
    new_archived_log
    start_openers
    start_appenders
    finish
    settle
    account --min-rotations 50 {1,2,3,4,5,6,7,8}="$opens" {11,12,13}=2000
}

every_line_is_kept_while_others_append_and_rotate_and_archives_are_compressed() {
    new_archived_log max_bytes=8K,compress=gzip
    watch_live_path "$log"
    start_openers
    start_appenders
    finish
    stop_watching
    settle
    no_archive_is_plain
    account --max-bytes 8192 --min-rotations 100 {1,2,3,4,5,6,7,8}="$opens" {11,12,13}=2000
}

# All have it open before the first of them writes: only the first of them finds anything to rotate.
programs_that_open_at_the_same_moment_rotate_once() {
    local id how=([1]=open creat fopen fopen+ freopen open fopen creat)
    new_archived_log
    mkdir "$records"
    shim "$writer" write "$log" 100 50
    mkfifo "$records"/input.{1,2,3,4,5,6,7,8}
    for id in 1 2 3 4 5 6 7 8; do
        shim "$opener" "${how[id]}" "$log" "$records/opened.$id" <"$records/input.$id" &
        started+=($!)
    done
    for id in 1 2 3 4 5 6 7 8; do
        exec {fifo}>"$records/input.$id"
        inputs[id]=$fifo
    done
    for id in 1 2 3 4 5 6 7 8; do
        wait_until test -e "$records/opened.$id"
    done
    for id in 1 2 3 4 5 6 7 8; do
        "$writer" write - "$id" 1 >&"${inputs[id]}"
        fifo=${inputs[id]}
        exec {fifo}>&-
    done
    finish
    settle
    account --min-rotations 1 --max-rotations 1 {1,2,3,4,5,6,7,8}=1 100=50
    (($(wc -l <"$log") == 8))
    (($(stat -c %s "$directory/.app.log.lock") == 4096 + 1)) # nor was an empty file rotated, which leaves no archive
}

with_truncate_ignore_nothing_is_rotated_and_every_line_is_kept() {
    new_archived_log truncate=ignore
    start_openers
    start_appenders
    finish
    settle
    account --max-rotations 0 {1,2,3,4,5,6,7,8}="$opens" {11,12,13}=2000
}

with_truncate_ignore_only_size_rotates() {
    new_archived_log truncate=ignore,max_bytes=16K,compress=gzip
    start_openers
    start_appenders
    finish
    settle
    no_archive_is_plain
    account --max-bytes 16384 --min-rotations 60 --max-rotations 120 {1,2,3,4,5,6,7,8}="$opens" {11,12,13}=2000
}

run_tests \
    every_line_of_eight_programs_that_open_their_log_empty_is_kept \
    the_same_with_a_size_limit \
    the_same_with_compression_and_names_by_time \
    every_line_is_kept_while_others_append \
    every_line_is_kept_while_others_append_and_rotate_and_archives_are_compressed \
    programs_that_open_at_the_same_moment_rotate_once \
    with_truncate_ignore_nothing_is_rotated_and_every_line_is_kept \
    with_truncate_ignore_only_size_rotates
