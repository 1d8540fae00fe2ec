#!/bin/bash
# Things that lie where the log's files should be, from the start or put there while a program writes: devices, sockets,
# FIFOs, links, directories, other people's files, files that nobody may change. The program never waits for one, and
# nothing is written through one; once they are gone, everything is in its place.
source "$(dirname "$0")/../account/lib.sh"
source "$account_dir/keepers.sh"
need chattr setpriv "$python"
need_root
export MPLOGSHIM_DIAG=off PYTHONDONTWRITEBYTECODE=1

# In the background: it waits most of its time.
start_obstacles() { # OWNER OWNER-OF-DIRECTORIES MODE-OF-DIRECTORIES [COMMAND...]
    directory=$work/log.$BASHPID/$1.$2.$3
    mkdir -p "$directory"
    chmod 755 "${directory%/*}" "$directory"
    rules="$directory/**/app.log,max_bytes=128,compress=gzip"
    "$python" "$account_dir/obstacles.py" "$directory" "${@:1:3}" \
        timeout -k 5 "$time_limit" env MPLOGSHIM_LOGS="$rules" MPLOGSHIM_STRICT=1 \
        ${library:+LD_PRELOAD="$library"} "${@:4}" -- env MPLOGSHIM_LOGS="$rules" "$command" settle &
    started+=($!)
}

# Of nobody and of daemon for a program of root's, and of root for one of nobody's.
things_of_others_in_every_place_are_neither_used_nor_waited_for() {
    started=()
    start_obstacles nobody nobody 755
    start_obstacles daemon nobody 1777
    start_obstacles root root 1777 setpriv --reuid=nobody --regid=nogroup --clear-groups
    finish
}

# Opens each thing in each way, writes, and says what came of it. A log is appended to, so a file that may only be
# appended to is written where the kernel would refuse an open without O_APPEND.
use='
import glob, os
append = os.O_WRONLY | os.O_APPEND
for flags in (append, append | os.O_CREAT, os.O_RDWR | os.O_APPEND, os.O_WRONLY | os.O_TRUNC,
              os.O_WRONLY | os.O_CREAT | os.O_EXCL, append | os.O_NOFOLLOW):
    for path in sorted(glob.glob("*/app.log")):
        if flags & os.O_TRUNC and path.startswith("appending"):
            continue
        try:
            file = os.open(path, flags | os.O_NONBLOCK, 0o644)
            written = os.write(file, b"a line\n" * 3)
            print(path, flags, written, os.fstat(file).st_size)
            os.close(file)
        except OSError as error:
            print(path, flags, error.strerror)
'

make_things() {
    "$python" - "$account_dir" <<'END'
import os, sys
sys.path.insert(0, sys.argv[1])
from obstacles import KINDS, Thing, change_attributes
os.umask(0)
things = []
for kind in KINDS:
    os.mkdir(kind, 0o755)
    things.append(Thing(kind, "app.log", kind, kind, f"{kind}/app.log", f"{kind}/app.log"))
    KINDS[kind](things[-1].path)
change_attributes(things)
END
}

# By root, by nobody, by root again; where truncating is truncating.
use_things() { # plain|shim
    rules="$PWD/*/app.log,max_bytes=1K,truncate=allow"
    make_things
    "$1" "$python" -c "$use"
    "$1" setpriv --reuid=nobody --regid=nogroup --clear-groups "$python" -c "$use"
    "$1" "$python" -c "$use"
    chattr -R -f -i -a . || true # devices and links have no attributes
    find . ! -name '.app.log.lock' -printf '%p %y %U:%G %m %l\n' | sort
    find . -type f -name app.log -exec cksum {} + | sort
}

a_program_finds_at_its_log_s_place_what_it_would_without_the_shim() {
    local kind
    new_log
    trap 'chattr -R -f -i -a "$directory" || true' EXIT
    for kind in plain shim; do
        mkdir "$directory/$kind"
        (cd "$directory/$kind" && use_things "$kind") >"$directory/$kind.said" 2>&1
    done
    grep -q stranger "$directory/plain.said"
    diff "$directory/plain.said" "$directory/shim.said"
}

run_tests \
    things_of_others_in_every_place_are_neither_used_nor_waited_for \
    a_program_finds_at_its_log_s_place_what_it_would_without_the_shim
