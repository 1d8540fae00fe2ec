#!/bin/bash
# Others at work on the log while programs write to it and rotate it: logrotate, editors, an administrator's shell, and
# somebody in a shared directory who means harm. No line is lost, and everybody is on the live path again.
source "$(dirname "$0")/../account/lib.sh"
need logrotate sed setpriv "$python"
export MPLOGSHIM_DIAG=off # the lock is not always to be had here

# Every line of the writers WRITER=COUNT is in one of the regular files of the directory, once, whole.
every_line_is_somewhere_once() { # WRITER=COUNT...
    local pair
    for pair in "$@"; do
        plain "$writer" write - "${pair%%=*}" "${pair##*=}" >>"$directory.expected"
    done
    find "$directory" -type f -name '*app.log*' ! -name '*.lock' ! -name '*victim*' -exec gzip -dcf {} + |
        sort >"$directory.found"
    diff <(sort "$directory.expected") "$directory.found" | head -n 20 >"$directory.difference"
    cat "$directory.difference"
    [ ! -s "$directory.difference" ]
}

logrotate_now() { # CONFIGURATION
    printf '%s {\n size 1\n rotate 1000\n missingok\n notifempty\n dateext\n dateformat -%%s\n %s\n}\n' "$log" "$1" \
        >"$directory.conf"
    chmod 644 "$directory.conf"
    plain logrotate --state "$directory.state" "$directory.conf"
}

end_files() {
    rm -f "$directory".{conf,state,expected,found,difference,stop,input}
}

logrotate_with_create_compression_and_scripts_beside_the_shim_loses_nothing() {
    local round
    new_log max_bytes=16K,naming=number
    for id in 1 2; do
        start "$writer" write "$log" "$id" 3000 1000
    done
    for round in 1 2 3; do
        wait_until test -s "$log"
        logrotate_now 'create
 compress
 delaycompress
 sharedscripts
 prerotate
  true
 endscript
 postrotate
  true
 endscript'
        sleep 1.1 # its names have seconds
    done
    finish
    settle_log
    (($(find "$directory" -name 'app.log-*' | wc -l) >= 2))
    every_line_is_somewhere_once 1=3000 2=3000
    end_files
}

# Replaces the log's content as editors do: a new file, renamed over it.
idle_writers_next_line_is_in_the_live_file_after() { # COMMAND...
    new_log max_bytes=1G
    mkfifo "$directory.input"
    shim bash -c 'exec 5>>"$1"; while read -r line; do echo "$line" >&5; done' - "$log" <"$directory.input" &
    started+=($!)
    exec {input}>"$directory.input"
    echo first >&"$input"
    wait_until grep -q first "$log"
    "$@"
    sleep 1.2 # a second is what it may take
    echo second >&"$input"
    wait_until grep -q second "$log"
    exec {input}>&-
    finish
    [ "$(find "$directory" -name '*app.log*' -type f -exec grep -c second {} + | awk -F: '{ sum += $NF } END { print sum }')" = 1 ]
}

edit() { sed -i 's/first/edited/' "$log"; }
write_as_vi() { mv "$log" "$log~" && cp "$log~" "$log" && rm "$log~"; }
empty() { : >"$log"; }
remove() { rm "$log"; }
remove_directory() { mv "$directory" "$directory.moved" && mkdir "$directory" && cp "$directory.moved/app.log" "$log"; rm -r "$directory.moved"; }

after_sed_a_slow_writer_is_right_at_once() { idle_writers_next_line_is_in_the_live_file_after edit; }
after_vi_a_slow_writer_is_right_at_once() { idle_writers_next_line_is_in_the_live_file_after write_as_vi; }
after_it_was_emptied_a_slow_writer_is_right_at_once() { idle_writers_next_line_is_in_the_live_file_after empty; }
after_it_was_removed_a_slow_writer_is_right_at_once() { idle_writers_next_line_is_in_the_live_file_after remove; }
after_its_directory_was_made_anew_a_slow_writer_is_right_at_once() {
    idle_writers_next_line_is_in_the_live_file_after remove_directory
}

# Exchanges names with things that somebody made for it, as fast as it goes with a moment in between.
swap='
import ctypes, itertools, os, sys, time
libc = ctypes.CDLL(None, use_errno=True)
directory, stop = sys.argv[1], sys.argv[2]
os.chdir(directory)
os.mkfifo("evil.fifo", 0o666)
os.symlink("victim", "evil.link")
pairs = [("app.log", "evil.link"), ("app.log", "evil.fifo"), ("app.log", "evil.second"), (".app.log.lock", "evil.link"),
         (".app.log.lock", "evil.second"), (".app.log.lock", "evil.fifo")]
for a, b in itertools.cycle(pairs):
    if os.path.exists(stop):
        break
    for _ in range(2):
        libc.renameat2(-100, a.encode(), -100, b.encode(), 2)
        time.sleep(0.002)
'

somebody_who_exchanges_names_has_nothing_written_through_links() {
    ((EUID == 0)) || { echo "not root: nobody to be attacked"; return 0; }
    new_log max_bytes=8K,lock_timeout=100ms
    chmod 755 "$work"
    chmod 777 "$directory"
    echo precious >"$directory/victim"
    ln "$directory/victim" "$directory/evil.second"
    local before after
    before=$(stat -c '%U:%G %a %s %Y' "$directory/victim")
    shim "$writer" write "$log" 9 10
    plain setpriv --reuid=nobody --regid=nogroup --clear-groups "$python" -c "$swap" "$directory" "$directory.stop" &
    local swapper=$!
    echo "$swapper" >>"$servers"
    for id in 1 2; do
        start "$writer" write "$log" "$id" 1500 1000 # it waits for no FIFO, and no write fails
    done
    finish
    : >"$directory.stop"
    wait "$swapper"
    after=$(stat -c '%U:%G %a %s %Y' "$directory/victim")
    [ "$before" = "$after" ] || { echo "the victim was $before, is $after"; return 1; }
    [ "$(cat "$directory/victim")" = precious ]
    end_files
}

run_tests \
    logrotate_with_create_compression_and_scripts_beside_the_shim_loses_nothing \
    after_sed_a_slow_writer_is_right_at_once \
    after_vi_a_slow_writer_is_right_at_once \
    after_it_was_emptied_a_slow_writer_is_right_at_once \
    after_it_was_removed_a_slow_writer_is_right_at_once \
    after_its_directory_was_made_anew_a_slow_writer_is_right_at_once \
    somebody_who_exchanges_names_has_nothing_written_through_links
