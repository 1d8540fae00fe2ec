#!/bin/bash
# C programs: every libc way of writing, every buffering, threads and forks, lines longer than a buffer.
source "$(dirname "$0")/../account/lib.sh"

# What the ways that write to stderr say of their own around a line.
around=(--prefix '(error: |[^ ]*writer: |[^ ]*writer_fortified: )?' --suffix '(: No such file or directory)?')

# Four processes by one way, 1,000 lines each: 750 KB in files of 32 KB.
four_processes() { # PROGRAM [OPTION]... WAY
    rm -rf "${directory:-}"
    new_log max_bytes=32K
    for id in 1 2 3 4; do
        start "$@" "$log" "$id" 1000
    done
    finish
    account --min-rotations 20 --max-bytes 32768 "${around[@]}" 1=1000 2=1000 3=1000 4=1000 ||
        { echo "by: $*"; return 1; }
}

rotation_keeps_every_line_by_every_way_of_libc() {
    for way in $("$writer" --ways); do
        four_processes "$writer" "$way"
    done
}

rotation_keeps_every_line_by_every_way_of_libc_fortified() {
    for way in $("$writer" --ways); do
        four_processes "$writer_fortified" "$way"
    done
}

rotation_keeps_every_line_of_programs_that_do_not_append() {
    for way in write pwrite pwritev copy_file_range sendfile splice dprintf; do
        four_processes "$writer" --no-append "$way"
    done
}

rotation_keeps_every_line_of_fully_buffered_streams() {
    for way in fprintf fwrite putc fputws printf puts stderr; do
        four_processes "$writer" --buffering full "$way"
    done
}

rotation_keeps_every_line_of_line_buffered_streams() {
    for way in fprintf fputs printf putchar; do
        four_processes "$writer" --buffering line "$way"
    done
}

rotation_keeps_every_line_of_unbuffered_streams() {
    for way in fprintf fputs fwrite printf; do
        four_processes "$writer" --buffering none "$way"
    done
}

rotation_keeps_every_line_of_redirected_programs() {
    for way in write dprintf fprintf printf puts putchar stderr perror; do
        rm -rf "${directory:-}"
        new_log max_bytes=32K
        for id in 1 2 3 4; do
            shim "$writer" "$way" - "$id" 1000 </dev/null >>"$log" 2>&1 &
            started+=($!)
        done
        finish
        account --min-rotations 20 --max-bytes 32768 "${around[@]}" 1=1000 2=1000 3=1000 4=1000
    done
}

rotation_keeps_every_line_of_threads() {
    for way in write fprintf puts; do
        rm -rf "${directory:-}"
        new_log max_bytes=32K
        start "$writer" --threads 4 "$way" "$log" 1 500
        start "$writer" --threads 4 "$way" "$log" 5 500
        finish
        account --min-rotations 20 --max-bytes 32768 {1,2,3,4,5,6,7,8}=500
    done
}

rotation_keeps_every_line_of_forked_children_on_one_descriptor_or_stream() {
    for way in write fprintf puts; do
        rm -rf "${directory:-}"
        new_log max_bytes=32K
        start "$writer" --forks 4 "$way" "$log" 1 500
        start "$writer" --forks 4 "$way" "$log" 5 500
        finish
        account --min-rotations 20 --max-bytes 32768 {1,2,3,4,5,6,7,8}=500
    done
}

rotation_keeps_lines_whole_that_are_longer_than_any_buffer() {
    for way in write fprintf printf; do
        rm -rf "${directory:-}"
        new_log max_bytes=100K
        for id in 1 2 3 4 5 6 7 8; do
            start "$writer" --length 5900-6100 "$way" "$log" "$id" 50
        done
        finish
        account --min-rotations 20 --max-bytes 102400 {1,2,3,4,5,6,7,8}=50
    done
}

a_record_larger_than_a_file_is_split_between_lines_only() {
    new_log max_bytes=1K
    start "$writer" --buffering full fprintf "$log" 1 500
    start "$writer" --length 900-3000 write "$log" 2 100
    finish
    account --min-rotations 100 --max-bytes 1024 1=500 2=100
}

a_program_shows_the_same_with_and_without_the_shim() {
    for way in $("$writer" --ways); do
        same_with_and_without_the_shim "$writer" "$way" app.log 1 200
        same_with_and_without_the_shim bash -c '"$@" >>app.log 2>&1' - "$writer" "$way" - 1 200
    done
    same_with_and_without_the_shim bash -c '"$@" app.log 1 200; "$@" /no/directory/app.log 1 2' - "$writer" fprintf
}

run_tests \
    rotation_keeps_every_line_by_every_way_of_libc \
    rotation_keeps_every_line_by_every_way_of_libc_fortified \
    rotation_keeps_every_line_of_programs_that_do_not_append \
    rotation_keeps_every_line_of_fully_buffered_streams \
    rotation_keeps_every_line_of_line_buffered_streams \
    rotation_keeps_every_line_of_unbuffered_streams \
    rotation_keeps_every_line_of_redirected_programs \
    rotation_keeps_every_line_of_threads \
    rotation_keeps_every_line_of_forked_children_on_one_descriptor_or_stream \
    rotation_keeps_lines_whole_that_are_longer_than_any_buffer \
    a_record_larger_than_a_file_is_split_between_lines_only \
    a_program_shows_the_same_with_and_without_the_shim
