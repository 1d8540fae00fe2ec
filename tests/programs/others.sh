#!/bin/bash
# Others at work on the log while programs write to it and rotate it: logrotate, editors, an administrator's shell, and
# somebody in a shared directory who means harm. No line is lost, and everybody is on the live path again.
source "$(dirname "$0")/../account/lib.sh"
need logrotate sed setpriv "$python"
export MPLOGSHIM_DIAG=off # the lock is not always to be had here

# A log of its own for each way of logrotate's, with and without rotation by the shim, and four writers to each. Without
# delaycompress, it must wait until everybody is on the live path again.
logrotate_ways=(
    [0]='create
 postrotate
  while find /proc/[0-9]*/fd -lname "DIRECTORY/app.log-*" 2>/dev/null | grep -q .; do sleep 0.05; done
 endscript'
    [1]='copy
 nocompress'
    [2]='copytruncate
 prerotate
  xargs -a DIRECTORY/writers kill -STOP || true # some may have ended
 endscript
 postrotate
  xargs -a DIRECTORY/writers kill -CONT || true
 endscript'
    [3]='copytruncate
 delaycompress'
    [4]='create
 delaycompress'
)

start_writers_of_each_way() {
    local way own id place
    for own in own none; do
        for way in 4 3 2 1 0; do
            place=$directory/$own/$way
            mkdir -p "$place"
            for id in 1 2 3 4; do
                start bash -c 'echo $$ >>"$1/writers"; exec "$2" write "$1/app.log" "$3" 800 200' - "$place" "$writer" "$id"
            done
            printf '%s {\n size 1\n rotate 1000\n compress\n dateext\n dateformat -%%s\n %s\n}\n' \
                "$place/app.log" "${logrotate_ways[way]//DIRECTORY/$place}" >>"$directory.conf"
        done
    done
    chmod 644 "$directory.conf"
}

nobody_writes_to_what_logrotate_made() {
    [ -z "$(find /proc/[0-9]*/fd -lname "$directory/*/app.log-*" 2>/dev/null)" ]
}

# The copies of a log that is not rotated otherwise are what it was then; they do not count.
check_copies() {
    local copy
    for copy in "$directory"/none/1/app.log-*; do
        cmp -n "$(stat -c %s "$copy")" "$copy" "$directory/none/1/app.log"
    done
    rm "$directory"/*/1/app.log-*
}

# What was written between copying and truncating is gone, once in a rotation for each writer, and a copy may end in the
# middle of a line. All else is there once, whole, in order.
check_after_copytruncate() { # DIRECTORY
    local file
    for file in "$1"/app.log*; do
        gzip -dcf "$file" >"$directory.text"
        [[ $file != *log-* || -z $(tail -c 1 "$directory.text") ]] || sed -i '$d' "$directory.text"
        cat "$directory.text"
    done | sort >"$directory.found"
    for id in 1 2 3 4; do
        plain "$writer" write - "$id" 800
    done | sort | comm -13 - "$directory.found" | head -n 3 >"$directory.difference"
    cat "$directory.difference"
    [ ! -s "$directory.difference" ]
    sed -E 's/^w=([0-9]+) n=([0-9]+) .*/\1 \2/' "$directory.found" | sort -k1,1n -k2,2n | awk '
        $1 != writer { writer = $1; last = 0 }
        $2 > last + 1 { lost[writer]++ }
        { last = $2 }
        END { for (w in lost) if (lost[w] > 2) { print "writer " w " lost lines " lost[w] " times"; exit 1 } }'
}

every_way_of_logrotate_beside_the_shim_loses_nothing_but_its_own() {
    local way own all
    new_log
    all=$directory
    rules="$all/own/*/app.log,max_bytes=8K;$all/none/*/app.log"
    start_writers_of_each_way
    for way in "$all"/*/*/; do
        wait_until test -s "$way/app.log"
    done
    for _ in 1 2; do
        plain logrotate --state "$all.state" "$all.conf"
        sleep 1 # its names have seconds
        wait_until nobody_writes_to_what_logrotate_made
    done
    finish
    MPLOGSHIM_LOGS=$rules plain "$command" settle "$all"/*/*/app.log
    rm "$all"/*/*/writers
    check_copies
    for own in own none; do
        check_after_copytruncate "$all/$own/3"
        for way in 0 1 2 4; do
            echo "way $way, $own"
            directory=$all/$own/$way every_line_is_somewhere_once {1,2,3,4}=800
        done
    done
    end_files
}

end_files() {
    rm -f "$directory".{conf,state,text,found,difference,stop,input}
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
    every_way_of_logrotate_beside_the_shim_loses_nothing_but_its_own \
    after_sed_a_slow_writer_is_right_at_once \
    after_vi_a_slow_writer_is_right_at_once \
    after_it_was_emptied_a_slow_writer_is_right_at_once \
    after_it_was_removed_a_slow_writer_is_right_at_once \
    after_its_directory_was_made_anew_a_slow_writer_is_right_at_once \
    somebody_who_exchanges_names_has_nothing_written_through_links
