#!/bin/bash
# Python as a logging program: logging handlers, buffered files, os.write, threads, forked and vforked children.
source "$(dirname "$0")/../account/lib.sh"
need "$python"
script=$account_dir/writer.py

# Four processes by one way, 1,500 lines each: 1.1 MB in files of 40 KB.
four_processes() { # WAY
    new_log max_bytes=40K
    for id in 1 2 3 4; do
        start "$python" "$script" "$1" "$log" "$id" 1500
    done
    finish
    account --min-rotations 20 --max-bytes 40960 1=1500 2=1500 3=1500 4=1500
}

rotation_keeps_every_line_of_four_file_handlers() { four_processes logging; }
rotation_keeps_every_line_of_four_programs_that_print_to_a_buffered_file() { four_processes print; }
rotation_keeps_every_line_of_four_programs_with_line_buffered_files() { four_processes linewise; }
rotation_keeps_every_line_of_four_programs_that_write_to_a_descriptor() { four_processes os_write; }
rotation_keeps_every_line_of_four_programs_that_open_the_log_for_each_line() { four_processes open_each; }

rotation_keeps_every_line_of_programs_whose_output_is_the_log() {
    new_log max_bytes=40K
    for id in 1 2 3 4; do
        start_redirected "$python" "$script" print - "$id" 1500
    done
    finish
    account --min-rotations 20 --max-bytes 40960 1=1500 2=1500 3=1500 4=1500
}

rotation_keeps_every_line_of_threads_on_one_handler() {
    new_log max_bytes=40K
    start "$python" "$script" threads "$log" 1 1500
    start "$python" "$script" threads "$log" 4 1500
    finish
    account --min-rotations 20 --max-bytes 40960 1=1500 2=1500 3=1500 4=1500 5=1500 6=1500
}

rotation_keeps_every_line_of_forked_children_on_one_handler() {
    new_log max_bytes=40K
    start "$python" "$script" multiprocessing "$log" 1 1500
    start "$python" "$script" multiprocessing "$log" 4 1500
    finish
    account --min-rotations 20 --max-bytes 40960 1=1500 2=1500 3=1500 4=1500 5=1500 6=1500
}

rotation_keeps_every_line_of_programs_and_the_children_that_they_spawn() {
    new_log max_bytes=8K
    start "$python" "$script" subprocess "$log" 1 500
    start "$python" "$script" subprocess "$log" 3 500
    finish
    account --min-rotations 20 --max-bytes 8192 1=500 2=500 3=500 4=500
}

a_program_shows_the_same_with_and_without_the_shim() {
    same_with_and_without_the_shim "$python" -c '
import os, subprocess, sys
log = open("app.log", "a")
print(log.fileno(), log.tell(), log.name)
for number in range(2000): print("line", number, file=log)
log.flush()
os.write(log.fileno(), b"a line of its own\n")
print(os.get_inheritable(log.fileno()), oct(os.fstat(log.fileno()).st_mode))
print(subprocess.run("echo child; exit 7", shell=True, stdout=log).returncode)
print(subprocess.run(["/no/program"], stdout=log) if False else "none")
child = os.fork()
if child == 0:
    print("from the child", file=log, flush=True); os._exit(5)
print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
try: os.wait()
except ChildProcessError as error: print(error)
print(sorted(int(fd) for fd in os.listdir("/proc/self/fd") if int(fd) < 20))
log.close(); print("end", file=sys.stderr); sys.exit(4)'
}

run_tests \
    rotation_keeps_every_line_of_four_file_handlers \
    rotation_keeps_every_line_of_four_programs_that_print_to_a_buffered_file \
    rotation_keeps_every_line_of_four_programs_with_line_buffered_files \
    rotation_keeps_every_line_of_four_programs_that_write_to_a_descriptor \
    rotation_keeps_every_line_of_four_programs_that_open_the_log_for_each_line \
    rotation_keeps_every_line_of_programs_whose_output_is_the_log \
    rotation_keeps_every_line_of_threads_on_one_handler \
    rotation_keeps_every_line_of_forked_children_on_one_handler \
    rotation_keeps_every_line_of_programs_and_the_children_that_they_spawn \
    a_program_shows_the_same_with_and_without_the_shim
