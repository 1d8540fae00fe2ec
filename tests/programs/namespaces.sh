#!/bin/bash
# Mounts, file systems and namespaces: containers that share a log directory, copies on write, logs that are a mount.
source "$(dirname "$0")/../account/lib.sh"
need unshare mount mountpoint setpriv bindfs

# Runs a function of this file in mount (and other) namespaces of its own; what is mounted there ends with it.
in_namespaces() { # [OPTION]... FUNCTION
    local options=(--mount --propagation private)
    while [[ $1 == -* ]]; do
        options+=("$1")
        shift
    done
    export library command work directory log rules writer python account_dir
    export -f shim plain "${1?}"
    timeout -k 5 "$time_limit" unshare "${options[@]}" bash -euc "time_limit=$time_limit; $1"
}

# Writers of a log, by their numbers: 200 lines each.
write_lines() { # LOG WRITER...
    local id pids=()
    for id in "${@:2}"; do
        shim "$writer" fprintf "$1" "$id" 200 </dev/null &
        pids+=($!)
    done
    for id in "${pids[@]}"; do
        wait "$id"
    done
}
export -f write_lines

# Each has another /proc, and process numbers that mean something else to the other.
container_of_its_own() {
    mount --bind "$log_directory" "$mount_point"
    write_lines "$mount_point/app.log" $writers
}

start_container() { # DIRECTORY WRITERS [OPTION]...
    mkdir -p "$1"
    mount_point=$1 writers=$2 log_directory=$directory rules="$1/*.log,max_bytes=8K" \
        in_namespaces --pid --fork --mount-proc "${@:3}" container_of_its_own &
    started+=($!)
}

containers_with_process_numbers_of_their_own_share_a_log() {
    new_log max_bytes=8K
    start_container "$work/one" "1 2"
    start_container "$work/two" "3 4" --net --uts --ipc
    finish
    account --min-rotations 10 --max-bytes 8192 {1,2,3,4}=200
}

# To the file system its root is who root is outside, or nobody.
a_container_with_users_of_its_own_shares_a_log_with_programs_outside() {
    new_log max_bytes=8K
    start_container "$work/users" "1 2" --user --map-root-user
    write_lines "$log" 3 4
    finish
    account --min-rotations 10 --max-bytes 8192 {1,2,3,4}=200
}

became_nobody() {
    setpriv --reuid=nobody --regid=nogroup --clear-groups \
        unshare --user --map-root-user bash -euc "time_limit=$time_limit; write_lines \"\$log\" 1 2"
}

# The namespace's root may not do to files of the outer root what root may.
root_of_a_user_namespace_that_is_nobody_outside_writes_on() {
    new_log max_bytes=8K
    chmod 755 "$work" "$directory"
    install -m 755 "$writer" "$directory/writer"
    install -m 666 /dev/null "$log"
    writer=$directory/writer
    if [ -n "$library" ]; then
        install -m 755 "$library" "$directory/library.so"
        library=$directory/library.so
    fi
    in_namespaces became_nobody 2>"$directory/said" || { cat "$directory/said"; return 1; }
    account --max-rotations 0 {1,2}=200
    grep -q "^mplogshim: lock_timeout log=$log " "$directory/said" || { cat "$directory/said"; return 1; }
}

# A container's own file system, at $directory/merged: what is in $directory/lower is its image.
mount_overlay() {
    mkdir "$directory/scratch" "$directory/merged"
    mount -t tmpfs none "$directory/scratch"
    mkdir "$directory/scratch/upper" "$directory/scratch/work"
    mount -t overlay none "$directory/merged" \
        -o "lowerdir=$directory/lower,upperdir=$directory/scratch/upper,workdir=$directory/scratch/work"
}
export -f mount_overlay

# The log is on the lower layer: it becomes another file with the first open for writing.
overlay() {
    mount_overlay
    exec 5<"$directory/merged/app.log" # held open on the lower layer
    write_lines "$directory/merged/app.log" 2 3
    shim bash -c 'for ((n = 1; n <= 200; n++)); do echo "w=4 n=$n end"; done' >>"$directory/merged/app.log"
    wait_for_names "$directory/merged"
    cp "$directory"/merged/app.log* "$directory"
}

wait_for_names() { # DIRECTORY: none is pending any more
    local deadline=$((SECONDS + 120))
    while compgen -G "$1/.app.log.*.pending" >/dev/null; do
        ((SECONDS < deadline)) || return 1
        sleep 0.02
    done
}
export -f wait_for_names

a_log_on_the_lower_layer_of_an_overlay_rotates() {
    new_log max_bytes=8K
    mkdir "$directory/lower"
    "$writer" write "$directory/lower/app.log" 1 50
    rules="$directory/merged/*.log,max_bytes=8K"
    in_namespaces overlay
    library='' account --min-rotations 5 {2,3,4}=200 1=50
    [ "$(wc -l <"$directory/lower/app.log")" = 50 ]
}

# Lock file, live file and archives are on the lower layer: what is opened for writing or renamed becomes another file.
overlay_of_an_earlier_run() {
    mount_overlay
    write_lines "$directory/merged/app.log" 2 3 4 2>"$directory/said"
    MPLOGSHIM_LOGS=$rules "$command" settle "$directory/merged/app.log"
    cp "$directory"/merged/app.log* "$directory"
}

a_log_of_an_image_goes_on_rotating_without_locks_and_its_archives_are_compressed() {
    local archives
    new_log
    mkdir "$directory/lower"
    rules="$directory/lower/*.log,max_bytes=8K" write_lines "$directory/lower/app.log" 1
    wait_for_names "$directory/lower"
    wait_until no_helper_in "$directory/lower"
    archives=$(find "$directory/lower" -name 'app.log.?' | wc -l)
    ((archives >= 3))
    rules="$directory/merged/*.log,max_bytes=8K,lock=rotate,compress=gzip"
    in_namespaces overlay_of_an_earlier_run
    [ ! -s "$directory/said" ] || { cat "$directory/said"; return 1; }
    [ -z "$(find "$directory" -maxdepth 1 -name 'app.log.*' ! -name '*.gz')" ]
    library='' account --min-rotations $((archives + 1)) {1,2,3,4}=200
}

# There the lock of a mapped file goes with its descriptor: others would take over what a living process writes into.
overlay_with_async() {
    local said=$directory/said
    mount_overlay
    cd "$directory/merged" || return
    MPLOGSHIM_DIAG=$said shim bash -c 'echo written >app.log; ! compgen -G ".app.log.*.ring"'
    [ "$(<app.log)" = written ]
    [ "$(grep -c "is written synchronously, in spite of async=1: no buffer: ENOLCK" "$said")" = 1 ]
}

on_an_overlay_async_is_synchronous() {
    new_log
    mkdir "$directory/lower"
    rules="$directory/merged/*.log,async=1,async_flush=1h"
    in_namespaces overlay_with_async
}

# Buffers lie with the lock file: one process lives, one is killed with all its lines in its buffer, and one comes then.
overlay_with_async_and_a_volume() {
    local living
    mount_overlay
    mkdir "$directory/volume"
    mount -t tmpfs none "$directory/volume"
    mkfifo "$directory/end"
    shim bash -c 'exec >>"$1"; for ((n = 1; n <= 200; n++)); do echo "w=2 n=$n end"; done; read -r <"$2"' \
        - "$directory/merged/app.log" "$directory/end" 2>"$directory/said" &
    living=$!
    until compgen -G "$directory/volume/*.ring" >"$directory/rings"; do
        sleep 0.02
    done
    shim bash -c 'exec >>"$1"; for ((n = 1; n <= 200; n++)); do echo "w=3 n=$n end"; done; kill -9 $$' \
        - "$directory/merged/app.log" 2>>"$directory/said" || true
    compgen -G "$directory/volume/*.ring" >"$directory/rings"
    write_lines "$directory/merged/app.log" 4 2>>"$directory/said"
    echo >"$directory/end"
    wait $living
    [ -z "$(find "$directory/volume" -name '*.ring')" ]
    wait_for_names "$directory/merged"
    cp "$directory"/merged/app.log* "$directory"
}

on_an_overlay_async_with_its_lock_directory_on_a_volume_loses_nothing() {
    new_log
    mkdir "$directory/lower"
    "$writer" write "$directory/lower/app.log" 1 50
    rules="$directory/merged/*.log,max_bytes=8K,async=1,async_flush=1h,lock_dir=$directory/volume"
    in_namespaces overlay_with_async_and_a_volume
    [ "$(wc -l <"$directory/rings")" = 2 ] || { cat "$directory/rings"; return 1; }
    [ "$(grep -c '^mplogshim: ' "$directory/said")" = 0 ] || { cat "$directory/said"; return 1; }
    library='' account --min-rotations 5 {2,3,4}=200 1=50
}

# A process serves every call.
fuse() {
    local server
    mkdir "$directory/served" "$directory/mounted"
    bindfs -f "$directory/served" "$directory/mounted" &
    server=$!
    until mountpoint -q "$directory/mounted"; do
        sleep 0.02
    done
    write_lines "$directory/mounted/app.log" 1 2 3
    wait_for_names "$directory/mounted"
    cp "$directory"/mounted/app.log* "$directory"
    umount -l "$directory/mounted"
    kill "$server" 2>/dev/null || true # it ends with the mount
    wait "$server" || true
}

a_log_on_a_file_system_of_fuse_rotates() {
    new_log
    rules="$directory/mounted/*.log,max_bytes=8K"
    in_namespaces fuse
    library='' account --min-rotations 5 --max-bytes 8192 {1,2,3}=200
}

# Nothing can take its place.
mounted_file() {
    touch "$directory/outside.log" "$log"
    mount --bind "$directory/outside.log" "$log"
    write_lines "$log" 1 2 2>"$directory/said"
    shim "$writer" puts - 3 200 >>"$log" 2>>"$directory/said"
    wait_for_names "$directory"
}

a_log_that_is_itself_a_mount_is_written_and_one_line_says_that_it_cannot_rotate() {
    new_log max_bytes=8K
    rules="$log,max_bytes=8K"
    in_namespaces mounted_file
    [ ! -s "$log" ]
    mv "$directory/outside.log" "$log"
    library='' account --max-rotations 0 {1,2,3}=200
    [ "$(grep -c "^mplogshim: rotate_failed log=$log step=exchange error=EBUSY" "$directory/said")" = 3 ]
    (($(wc -l <"$directory/said") <= 2 * 3))
    [ "$(find "$directory" -name '.app.log.*' ! -name .app.log.lock)" = "" ]
}

# Another file comes over the log while a program writes it, and goes again.
mount_comes_and_goes() {
    mkfifo "$directory/turns" "$directory/done"
    shim bash -c 'exec 5>>"$1" 6>"$2"; n=0
        while read -r; do for ((i = 0; i < 100; i++)); do echo "w=1 n=$((++n)) end" >&5; done; echo >&6; done' \
        - "$log" "$directory/done" <"$directory/turns" 2>"$directory/said" &
    exec 7>"$directory/turns" 8<"$directory/done"
    turn() { echo >&7 && read -r -t 20 -u 8; }
    turn
    touch "$directory/outside.log"
    mount --bind "$directory/outside.log" "$log"
    sleep 1.2 # a second is what it may take
    turn
    umount -l "$log" # the program has it open
    sleep 1.2
    turn
    exec 7>&-
    wait $!
    wait_for_names "$directory"
}

a_mount_that_comes_over_a_log_and_goes_again_is_followed() {
    new_log
    rules="$log,max_bytes=1K"
    in_namespaces mount_comes_and_goes
    cat "$directory/said"
    diff <(seq -f 'w=1 n=%g end' 101 200) "$directory/outside.log"
    rm "$directory/outside.log"
    "$checker" --cat "$log" | diff <(seq -f 'w=1 n=%g end' 1 100; seq -f 'w=1 n=%g end' 201 300) -
    (($(find "$directory" -name 'app.log.*' | wc -l) >= 2))
    grep -q "^mplogshim: rotate_failed log=$log step=exchange error=EBUSY" "$directory/said"
    grep -q "^mplogshim: rotate_recovered log=$log" "$directory/said"
}

# The log is on another file system than its directory.
writable_file_of_a_read_only_directory() {
    touch "$log"
    mkdir "$work/disk"
    mount -t tmpfs none "$work/disk"
    touch "$work/disk/app.log"
    mount --bind "$directory" "$directory"
    mount -o remount,bind,ro "$directory"
    mount --bind "$work/disk/app.log" "$log"
    write_lines "$log" 1 2 2>"$work/said"
    cp "$log" "$work/copy.log"
}

a_log_in_a_read_only_directory_is_written_and_one_line_says_that_it_cannot_be_locked() {
    new_log max_bytes=8K
    in_namespaces writable_file_of_a_read_only_directory
    mv "$work/copy.log" "$log"
    [ "$(grep -c "^mplogshim: lock_timeout log=$log step=open error=EROFS" "$work/said")" = 2 ] || { cat "$work/said"; return 1; }
    library='' account --max-rotations 0 {1,2}=200
}

# Into a root without /proc that has the same directory, with the log open, and then opened anew.
pivoted() {
    mkdir "$directory/root"
    mount -t tmpfs none "$directory/root"
    mkdir -p "$directory/root$directory" "$directory/root/old"
    shim unshare --mount --propagation unchanged "$python" -c '
import ctypes, os, sys
log, root = sys.argv[1:]
libc = ctypes.CDLL(None, use_errno=True)
def write(writer, first, last, file):
    for n in range(first, last + 1):
        print(f"w={writer} n={n} end", file=file, flush=True)
before = open(log, "a")
write(1, 1, 100, before)
os.chdir(root)
assert libc.syscall(155, b".", b"old") == 0, ctypes.get_errno()
os.chdir("/")
write(1, 101, 200, before)
write(2, 1, 100, open(log, "a"))
' "$log" "$directory/root" 2>"$directory/said"
    mv "$directory/root$directory/app.log" "$directory/new.log"
}

a_program_that_pivots_its_root_rotates_its_log_and_says_that_it_cannot_manage_another() {
    new_log max_bytes=1K
    in_namespaces pivoted
    account --min-rotations 2 --max-bytes 1024 1=200
    log=$directory/new.log
    library='' account --max-rotations 0 2=100
    grep -q "^mplogshim: .*/app.log is not managed, nor is any other log: there is no /proc" "$directory/said"
}

run_tests \
    containers_with_process_numbers_of_their_own_share_a_log \
    a_container_with_users_of_its_own_shares_a_log_with_programs_outside \
    root_of_a_user_namespace_that_is_nobody_outside_writes_on \
    a_log_on_the_lower_layer_of_an_overlay_rotates \
    a_log_of_an_image_goes_on_rotating_without_locks_and_its_archives_are_compressed \
    on_an_overlay_async_is_synchronous \
    on_an_overlay_async_with_its_lock_directory_on_a_volume_loses_nothing \
    a_log_on_a_file_system_of_fuse_rotates \
    a_log_that_is_itself_a_mount_is_written_and_one_line_says_that_it_cannot_rotate \
    a_mount_that_comes_over_a_log_and_goes_again_is_followed \
    a_log_in_a_read_only_directory_is_written_and_one_line_says_that_it_cannot_be_locked \
    a_program_that_pivots_its_root_rotates_its_log_and_says_that_it_cannot_manage_another
