#!/bin/bash
# Java as a logging program: buffered blocks that end in mid-line, streams, channels, System.out.
source "$(dirname "$0")/../account/lib.sh"
need java javac

javac -J-XX:TieredStopAtLevel=1 -J-XX:+UseSerialGC -d "$work/classes" "$account_dir/Writer.java" || exit 1
# Small and quick to start; what it writes with is the same.
java=(java -Xshare:auto -Xmx64m -XX:TieredStopAtLevel=1 -XX:+UseSerialGC -XX:-UsePerfData -cp "$work/classes" Writer)

# Three processes by one way, 2,000 lines each: 1.1 MB in files of 40 KB.
three_processes() { # WAY
    new_log max_bytes=40K
    for id in 1 2 3; do
        start "${java[@]}" "$1" "$log" "$id" 2000
    done
    finish
    account --min-rotations 20 --max-bytes 40960 1=2000 2=2000 3=2000
}

# The same, where the log is what the shell redirected.
three_redirected_processes() { # WAY
    new_log max_bytes=40K
    for id in 1 2 3; do
        start_redirected "${java[@]}" "$1" - "$id" 2000
    done
    finish
    account --min-rotations 20 --max-bytes 40960 1=2000 2=2000 3=2000
}

rotation_keeps_every_line_of_programs_with_a_buffered_writer() { three_processes buffered; }
rotation_keeps_every_line_of_programs_with_a_file_output_stream() { three_processes stream; }
rotation_keeps_every_line_of_programs_with_a_channel() { three_processes channel; }
rotation_keeps_every_line_of_programs_that_open_the_log_for_each_line() { three_processes files; }
rotation_keeps_every_line_of_programs_with_system_out() { three_redirected_processes out; }

a_program_shows_the_same_with_and_without_the_shim() {
    same_with_and_without_the_shim "${java[@]}" buffered app.log 1 1000
    same_with_and_without_the_shim bash -c '"$@" - 1 1000 >>app.log; "$@" x >>app.log' - "${java[@]}" out
}

run_tests \
    rotation_keeps_every_line_of_programs_with_a_buffered_writer \
    rotation_keeps_every_line_of_programs_with_a_file_output_stream \
    rotation_keeps_every_line_of_programs_with_a_channel \
    rotation_keeps_every_line_of_programs_that_open_the_log_for_each_line \
    rotation_keeps_every_line_of_programs_with_system_out \
    a_program_shows_the_same_with_and_without_the_shim
