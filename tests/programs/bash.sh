#!/bin/bash
# bash as a logging program: every way in which scripts write logs, several processes at once, over rotations.
source "$(dirname "$0")/../account/lib.sh"
script=$account_dir/writer.sh

# Four processes by one way, 300 lines each: 225 KB in files of 8 KB.
four_processes() { # WAY
    new_log max_bytes=8K
    for id in 1 2 3 4; do
        start "$script" "$1" "$log" "$id" 300
    done
    finish
    account --min-rotations 20 --max-bytes 8192 1=300 2=300 3=300 4=300
}

rotation_keeps_every_line_of_four_scripts_that_redirect_every_echo() { four_processes echo_each; }
rotation_keeps_every_line_of_four_scripts_that_redirect_a_loop() { four_processes echo; }
rotation_keeps_every_line_of_four_scripts_that_redirect_themselves() { four_processes printf; }
rotation_keeps_every_line_of_four_scripts_with_both_descriptors_on_the_log() { four_processes stderr; }
rotation_keeps_every_line_of_four_scripts_with_here_documents() { four_processes here; }
rotation_keeps_every_line_of_four_scripts_with_subshells() { four_processes subshell; }

rotation_keeps_every_line_of_background_jobs_on_one_descriptor() {
    new_log max_bytes=8K
    start "$script" jobs "$log" 1 300
    start "$script" jobs "$log" 4 300
    finish
    account --min-rotations 20 --max-bytes 8192 1=300 2=300 3=300 4=300 5=300 6=300
}

rotation_keeps_every_line_of_scripts_whose_output_was_redirected_before_they_started() {
    new_log max_bytes=8K
    for id in 1 2 3 4; do
        start_redirected "$script" stdout - "$id" 300
    done
    finish
    account --min-rotations 20 --max-bytes 8192 1=300 2=300 3=300 4=300
}

# Where the descriptor's file may have been rotated away before the script opens it anew.
rotation_keeps_every_line_of_scripts_that_open_their_output_by_name() {
    new_log max_bytes=8K
    start_redirected "$script" echo_each /dev/stdout 1 300
    start_redirected "$script" echo /dev/fd/1 2 300
    start_redirected "$script" echo_each /proc/self/fd/1 3 300
    start_redirected "$script" printf /dev/stdout 4 300
    finish
    account --min-rotations 20 --max-bytes 8192 1=300 2=300 3=300 4=300
}

a_script_shows_the_same_with_and_without_the_shim() {
    same_with_and_without_the_shim bash -c '
        echo started; echo "one of $$" | sed s/[0-9]*//g >>app.log
        for n in {1..300}; do echo "line $n of the first kind" >>app.log; done
        { printf "%s\n" {1..900}; echo "and an error" >&2; } >>app.log 2>&1
        cat >>app.log <<<"here"
        (exec 5>>app.log; echo five >&5; exec 5>&-; echo six >&5) || echo "closed: $?"
        ls app.log no-such-file >>app.log; echo "ls: $?"
        read -r first <app.log && echo "reads: $first" | wc -c >/dev/null
        false | true; echo "${PIPESTATUS[*]}"; trap "echo bye >>app.log" EXIT
        exit 3'
    same_with_and_without_the_shim bash -c 'set -e; for n in {1..500}; do echo "line $n" >>app.log; done; false'
}

run_tests \
    rotation_keeps_every_line_of_four_scripts_that_redirect_every_echo \
    rotation_keeps_every_line_of_four_scripts_that_redirect_a_loop \
    rotation_keeps_every_line_of_four_scripts_that_redirect_themselves \
    rotation_keeps_every_line_of_four_scripts_with_both_descriptors_on_the_log \
    rotation_keeps_every_line_of_four_scripts_with_here_documents \
    rotation_keeps_every_line_of_four_scripts_with_subshells \
    rotation_keeps_every_line_of_background_jobs_on_one_descriptor \
    rotation_keeps_every_line_of_scripts_whose_output_was_redirected_before_they_started \
    rotation_keeps_every_line_of_scripts_that_open_their_output_by_name \
    a_script_shows_the_same_with_and_without_the_shim
