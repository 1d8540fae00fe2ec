#!/bin/bash
# Node.js as a logging program: streams that write from a thread pool, synchronous appends, console.log.
source "$(dirname "$0")/../account/lib.sh"
need node
script=$account_dir/writer.js

# Three processes by one way, 2,000 lines each: 1.1 MB in files of 40 KB.
three_processes() { # WAY
    new_log max_bytes=40K
    for id in 1 2 3; do
        start node "$script" "$1" "$log" "$id" 2000
    done
    finish
    account --min-rotations 20 --max-bytes 40960 1=2000 2=2000 3=2000
}

rotation_keeps_every_line_of_three_streams() { three_processes stream; }
rotation_keeps_every_line_of_three_programs_that_open_the_log_for_each_line() { three_processes append; }
rotation_keeps_every_line_of_three_programs_that_write_synchronously() { three_processes sync; }

rotation_keeps_every_line_of_programs_whose_console_is_the_log() {
    new_log max_bytes=40K
    for id in 1 2 3; do
        start_redirected node "$script" console - "$id" 2000
    done
    finish
    account --min-rotations 20 --max-bytes 40960 1=2000 2=2000 3=2000
}

a_program_shows_the_same_with_and_without_the_shim() {
    same_with_and_without_the_shim node -e '
        const fs = require("fs"), { spawnSync } = require("child_process");
        const stream = fs.createWriteStream("app.log", { flags: "a" });
        for (let n = 0; n < 2000; n++) stream.write(`line ${n}\n`);
        stream.end(() => {
            const fd = fs.openSync("app.log", "a");
            for (let n = 0; n < 300; n++) fs.writeSync(fd, `more ${n}\n`);
            const child = spawnSync("sh", ["-c", "echo child; exit 7"], { stdio: ["ignore", fd, "inherit"] });
            console.log(child.status, fs.fstatSync(fd).mode.toString(8));
            fs.closeSync(fd); console.error("end"); process.exit(6);
        });'
}

run_tests \
    rotation_keeps_every_line_of_three_streams \
    rotation_keeps_every_line_of_three_programs_that_open_the_log_for_each_line \
    rotation_keeps_every_line_of_three_programs_that_write_synchronously \
    rotation_keeps_every_line_of_programs_whose_console_is_the_log \
    a_program_shows_the_same_with_and_without_the_shim
