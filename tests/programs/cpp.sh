#!/bin/bash
# C++ streams: std::ofstream, and std::cout on a redirected descriptor, with and without stdio behind them.
source "$(dirname "$0")/../account/lib.sh"

# Four processes by one way, 1,500 lines each: 1.1 MB in files of 40 KB.
four_processes() { # WAY
    new_log max_bytes=40K
    for id in 1 2 3 4; do
        start "$writer_cpp" "$1" "$log" "$id" 1500
    done
    finish
    account --min-rotations 20 --max-bytes 40960 1=1500 2=1500 3=1500 4=1500
}

# The same, where the log is what the shell redirected.
four_redirected_processes() { # WAY
    new_log max_bytes=40K
    for id in 1 2 3 4; do
        shim "$writer_cpp" "$1" - "$id" 1500 </dev/null >>"$log" 2>&1 &
        started+=($!)
    done
    finish
    account --min-rotations 20 --max-bytes 40960 1=1500 2=1500 3=1500 4=1500
}

rotation_keeps_every_line_of_four_programs_with_ofstream() { four_processes ofstream; }
rotation_keeps_every_line_of_four_programs_with_ofstream_that_flush_every_line() { four_processes ofstream_endl; }
rotation_keeps_every_line_of_four_programs_with_cout() { four_redirected_processes cout; }
rotation_keeps_every_line_of_four_programs_with_cout_that_flush_every_line() { four_redirected_processes cout_endl; }
rotation_keeps_every_line_of_four_programs_with_cout_without_stdio() { four_redirected_processes cout_unsynced; }

a_program_shows_the_same_with_and_without_the_shim() {
    for way in ofstream ofstream_endl; do
        same_with_and_without_the_shim "$writer_cpp" "$way" app.log 1 500
    done
    # cerr and clog are unbuffered: a line and its newline are two writes, whole only where nobody writes in between.
    for way in cout cout_endl cout_unsynced cerr clog; do
        same_with_and_without_the_shim bash -c '"$@" >>app.log 2>&1' - "$writer_cpp" "$way" - 1 500
    done
}

run_tests \
    rotation_keeps_every_line_of_four_programs_with_ofstream \
    rotation_keeps_every_line_of_four_programs_with_ofstream_that_flush_every_line \
    rotation_keeps_every_line_of_four_programs_with_cout \
    rotation_keeps_every_line_of_four_programs_with_cout_that_flush_every_line \
    rotation_keeps_every_line_of_four_programs_with_cout_without_stdio \
    a_program_shows_the_same_with_and_without_the_shim
