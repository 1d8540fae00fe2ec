#!/bin/bash
# coreutils, sed and awk as writers of a log: blocks of any size that end in mid-line, copies made in the kernel.
source "$(dirname "$0")/../account/lib.sh"
need mawk sed seq dd tee

# Sets $input to a file with 1,000 lines of each of the writers, 190 KB for one.
make_input() { # WRITER...
    input=$directory/input
    local id
    for id in "$@"; do
        "$writer" write "$input.$id" "$id" 1000
    done
}

rotation_keeps_every_line_of_cat() {
    new_log max_bytes=32K
    make_input 1 2 3 4
    for id in 1 2 3 4; do
        start_redirected cat "$input.$id"
    done
    finish
    account --min-rotations 20 --max-bytes 32768 1=1000 2=1000 3=1000 4=1000
}

rotation_keeps_every_line_of_cat_to_a_descriptor_that_does_not_append() {
    new_log max_bytes=32K
    make_input 1 2 3 4
    for id in 1 2 3 4; do
        shim cat "$input.$id" 1<>"$log" &
        started+=($!)
    done
    finish
    account --min-rotations 20 --max-bytes 32768 1=1000 2=1000 3=1000 4=1000
}

rotation_keeps_every_line_of_tee() {
    new_log max_bytes=32K
    make_input 1 2 3 4
    for id in 1 2 3 4; do
        start bash -c 'cat "$1" | tee -a "$2" >/dev/null' - "$input.$id" "$log"
    done
    finish
    account --min-rotations 20 --max-bytes 32768 1=1000 2=1000 3=1000 4=1000
}

rotation_keeps_every_line_of_dd() {
    new_log max_bytes=32K
    make_input 1 2 3 4
    for id in 1 2 3 4; do
        start dd if="$input.$id" of="$log" bs=1000 oflag=append conv=notrunc status=none
    done
    finish
    account --min-rotations 20 --max-bytes 32768 1=1000 2=1000 3=1000 4=1000
}

rotation_keeps_every_line_of_seq() {
    new_log max_bytes=4K
    for id in 1 2 3 4; do
        start_redirected seq -f "w=$id n=%.0f end" 1500
    done
    finish
    account --min-rotations 20 --max-bytes 4096 1=1500 2=1500 3=1500 4=1500
}

rotation_keeps_every_line_of_head_and_tail() {
    new_log max_bytes=32K
    make_input 1 2 3 4
    start_redirected head -n 1000 "$input.1"
    start_redirected tail -n 1000 "$input.2"
    start_redirected sort -s -t= -k3n "$input.3"
    start_redirected cut -b 1- "$input.4"
    finish
    account --min-rotations 20 --max-bytes 32768 1=1000 2=1000 3=1000 4=1000
}

rotation_keeps_every_line_of_awk() {
    new_log max_bytes=32K
    start mawk -v log_file="$log" -v writer=1 -v count=1000 -f "$account_dir/writer.awk"
    start mawk -v log_file="$log" -v writer=2 -v count=1000 -f "$account_dir/writer.awk"
    start_redirected mawk -v writer=3 -v count=1000 -f "$account_dir/writer.awk"
    start_redirected mawk -v writer=4 -v count=1000 -f "$account_dir/writer.awk"
    finish
    account --min-rotations 20 --max-bytes 32768 1=1000 2=1000 3=1000 4=1000
}

opening_with_truncation_loses_nothing_of_sed() {
    new_log max_bytes=32K
    make_input 1 2 3 4
    for id in 1 2 3 4; do
        start sed -n "w $log" "$input.$id"
    done
    finish
    account --min-rotations 20 --max-bytes 32768 1=1000 2=1000 3=1000 4=1000
}

coreutils_show_the_same_with_and_without_the_shim() {
    same_with_and_without_the_shim bash -c 'seq 5000 | tee -a app.log | tail -n 1'
    same_with_and_without_the_shim bash -c 'seq 1 9000 >input; dd if=input of=app.log oflag=append conv=notrunc bs=777 2>/dev/null; dd if=/no/file of=app.log'
    same_with_and_without_the_shim bash -c 'seq 1 9000 >input; cat input input no-such-file >>app.log'
    same_with_and_without_the_shim bash -c 'seq 1 9000 >input; cp input other; head -c 20000 other >>app.log; wc -c <input'
}

run_tests \
    rotation_keeps_every_line_of_cat \
    rotation_keeps_every_line_of_cat_to_a_descriptor_that_does_not_append \
    rotation_keeps_every_line_of_tee \
    rotation_keeps_every_line_of_dd \
    rotation_keeps_every_line_of_seq \
    rotation_keeps_every_line_of_head_and_tail \
    rotation_keeps_every_line_of_awk \
    opening_with_truncation_loses_nothing_of_sed \
    coreutils_show_the_same_with_and_without_the_shim
