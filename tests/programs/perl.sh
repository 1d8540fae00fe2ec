#!/bin/bash
# Perl as a logging program: its own buffers, flushed in mid-line or after every line, syswrite, forked children.
source "$(dirname "$0")/../account/lib.sh"
need perl
script=$account_dir/writer.pl

# Four processes by one way, 1,500 lines each: 1.1 MB in files of 40 KB.
four_processes() { # WAY
    new_log max_bytes=40K
    for id in 1 2 3 4; do
        start perl "$script" "$1" "$log" "$id" 1500
    done
    finish
    account --min-rotations 20 --max-bytes 40960 1=1500 2=1500 3=1500 4=1500
}

rotation_keeps_every_line_of_four_programs_that_print() { four_processes print; }
rotation_keeps_every_line_of_four_programs_that_print_formatted() { four_processes printf; }
rotation_keeps_every_line_of_four_programs_that_flush_every_line() { four_processes flush; }
rotation_keeps_every_line_of_four_programs_that_write_unbuffered() { four_processes syswrite; }
rotation_keeps_every_line_of_four_programs_that_write_through_posix() { four_processes posix; }

rotation_keeps_every_line_of_programs_whose_output_is_the_log() {
    new_log max_bytes=40K
    for id in 1 2 3 4; do
        start_redirected perl "$script" say - "$id" 1500
    done
    finish
    account --min-rotations 20 --max-bytes 40960 1=1500 2=1500 3=1500 4=1500
}

rotation_keeps_every_line_of_forked_children_on_one_file() {
    new_log max_bytes=40K
    start perl "$script" forks "$log" 1 1500
    start perl "$script" forks "$log" 4 1500
    finish
    account --min-rotations 20 --max-bytes 40960 1=1500 2=1500 3=1500 4=1500 5=1500 6=1500
}

a_program_shows_the_same_with_and_without_the_shim() {
    same_with_and_without_the_shim perl -e '
        open(my $log, ">>", "app.log") or die; print fileno($log), "\n";
        print $log "line $_\n" for 1 .. 3000;
        print "tell ", tell($log) > 0 ? "moved" : "not moved", "\n";
        open(STDERR, ">&", $log) or die; warn "a warning\n";
        $log->flush(); system("echo child >>app.log; exit 7"); print $? >> 8, "\n";
        if (!(my $child = fork())) { print $log "the child\n"; close($log); exit 5 } else { waitpid($child, 0); print $? >> 8, "\n" }
        print `ls /proc/self/fd | grep -c "^[0-9]\$"`; $SIG{ALRM} = sub { print "alarm\n" }; kill "ALRM", $$;
        close($log) or print "close: $!\n"; exit 9'
}

run_tests \
    rotation_keeps_every_line_of_four_programs_that_print \
    rotation_keeps_every_line_of_four_programs_that_print_formatted \
    rotation_keeps_every_line_of_four_programs_that_flush_every_line \
    rotation_keeps_every_line_of_four_programs_that_write_unbuffered \
    rotation_keeps_every_line_of_four_programs_that_write_through_posix \
    rotation_keeps_every_line_of_programs_whose_output_is_the_log \
    rotation_keeps_every_line_of_forked_children_on_one_file \
    a_program_shows_the_same_with_and_without_the_shim
