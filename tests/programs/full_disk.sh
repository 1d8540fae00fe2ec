#!/bin/bash
# Full disks: a tmpfs, and an ext4 in a file, in a namespace of mounts of this test's own. The space is taken up by a
# file beside the log, the ballast, and given back.
if [ -z "${FULL_DISK_NAMESPACE-}" ]; then
    as_root=()
    ((EUID == 0)) || as_root=(-U -r)
    FULL_DISK_NAMESPACE=1 exec unshare "${as_root[@]}" -m --propagation private "$0" "$@"
fi
source "$(dirname "$0")/../account/lib.sh"
source "$account_dir/archives.sh"
PATH=$PATH:/usr/sbin:/sbin
need "$python" mkfs.ext4

# A new log on a disk of its own, of so many KiB of room at least.
new_disk() { # KIND KIB [KEY=VALUE,...]
    new_archived_log "${3-}"
    mkdir "$records"
    mount_disk "$1" "$2"
}

mount_disk() { # KIND KIB
    local image=$records/image
    case $1 in
    tmpfs)
        mount -t tmpfs -o "size=$2k" full-disk "$directory"
        ;;
    tmpfs-inodes)
        mount -t tmpfs -o "nr_inodes=$2" full-disk "$directory"
        ;;
    ext4)
        truncate -s $(($2 + 512))K "$image"
        mkfs.ext4 -q -b 4096 -m 0 -N 128 -O '^has_journal' "$image"
        mount -o loop "$image" "$directory"
        ;;
    esac
}

# Gives the disk back; nobody may use it any more. A test that fails leaves that to the end of its shell.
end_disk() {
    wait_until no_helper_in "$directory"
    wait_until umount "$directory" 2>/dev/null
}

# To the last block: of a large write, ext4 takes nothing if it has no room for all of it.
fill_disk() {
    cat /dev/zero >"$directory/ballast" 2>/dev/null || true
    dd if=/dev/zero bs=4096 oflag=append conv=notrunc of="$directory/ballast" 2>/dev/null || true
}

free_disk() {
    rm -f "$directory/ballast"
}

fill_inodes() {
    local number=0
    mkdir -p "$directory/ballast"
    while : 2>/dev/null >"$directory/ballast/$number"; do
        number=$((number + 1))
    done
}

free_inodes() {
    rm -r "$directory/ballast"
}

# An errno that the scribes were told, so far.
some_scribe_was_told() { # ERRNO
    local record
    for record in "$records"/told.*; do
        "$python" "$told" --answers "$record" | grep -q "x $1\$" && return 0
    done
    return 1
}

# How often the scribes were told an errno, so far.
scribes_were_told() { # ERRNO COUNT
    local record told_so_far
    told_so_far=$(for record in "$records"/told.*; do
        "$python" "$told" --answers "$record"
    done | awk -v answer="$1" '$3 == answer { sum += $1 } END { print sum + 0 }')
    ((told_so_far >= $2))
}

# Those that are to go on for as long as the test needs have no end of their own.
endless=1000000000

end_scribes() {
    kill -TERM "${started[@]}"
    finish
}

nobody_was_told() { # ERRNO
    ! some_scribe_was_told "$1"
}

archives_are() { # COUNT
    (($(archives) == $1))
}

archives_are_at_least() { # COUNT
    (($(archives) >= $1))
}

is_managed() { # KIND
    [ "$1" = plain ] || [ -z "$library" ] || [ -e "$directory/.app.log.lock" ]
}

# One scribe writes until the disk is full, with and without the shim: what each write is answered must be the same.
same_answers_on_a_full() { # KIND
    local kind
    for kind in plain shim; do
        new_log max_bytes=1G
        records=$work/log.records.$kind
        mkdir "$records"
        trap end_started EXIT
        mount_disk "$1" 1024
        [ $kind = shim ] || head -c 4096 /dev/zero >"$directory/as_large_as_a_lock_file"
        "$kind" "$scribe" --give-up 3 "$log" 1 100000 "$records/told.1" 2>>"$work/said"
        "$python" "$told" --answers "$records/told.1" >"$records/answers"
        is_managed "$kind"
        account_of_scribes --min-errors 3
        end_disk
        rmdir "$directory"
    done
    diff "$work/log.records.plain/answers" "$work/log.records.shim/answers"
    [ -z "$library" ] || grep -c "^mplogshim: write_failed log=$log " "$work/said"
}

writers_are_answered_as_without_the_shim_on_a_full_tmpfs() { same_answers_on_a_full tmpfs; }
writers_are_answered_as_without_the_shim_on_a_full_ext4() { same_answers_on_a_full ext4; }

# Four scribes over several times in which there is no space, with rotation and compression under way.
a_full_disk_loses_nothing() { # KIND [,KEY=VALUE]...
    local id round
    new_disk "$1" 8192 "max_bytes=64K,compress=gzip${2-}"
    watch_live_path "$log"
    for id in 1 2 3 4; do
        start_scribe "$id" $endless 400 2>>"$records/said"
    done
    wait_until test -e "$log"
    for round in 1 2 3; do
        wait_until archives_are_at_least $((round * 2))
        fill_disk
        wait_until scribes_were_told ENOSPC $((round * 2))
        free_disk
    done
    wait_until archives_are_at_least 10
    end_scribes
    stop_watching
    settle
    no_archive_is_plain
    account_of_scribes --min-rotations 10 --min-errors 6
    end_disk
}

a_full_tmpfs_loses_nothing_and_all_goes_on_when_space_returns() { a_full_disk_loses_nothing tmpfs; }
a_full_ext4_loses_nothing_and_all_goes_on_when_space_returns() { a_full_disk_loses_nothing ext4; }
a_full_ext4_loses_nothing_that_waits_in_buffers() { a_full_disk_loses_nothing ext4 ,async=1,async_buffer=64K; }

checksums() {
    (cd "$directory" && sha1sum app.log.*)
}

compression_on_a_full_disk() { # KIND
    new_disk "$1" 3072 max_bytes=256K
    start_scribe 1 5500 0
    finish
    settle
    archives_are 4 || archives_are 3
    checksums >"$records/before"
    rules=${rules/max_bytes=256K/max_bytes=256K,compress=gzip}
    start_scribe 2 1 0
    finish
    fill_disk
    if MPLOGSHIM_LOGS=$rules MPLOGSHIM_DIAG=$records/said plain "$command" settle "$log" 2>"$records/errors"; then
        echo "settling without space did not fail"
        return 1
    fi
    nothing_is_hidden
    checksums | diff "$records/before" -
    cat "$records/errors" >>"$records/said"
    grep "archive_failed log=$log .*ENOSPC" "$records/said"
    free_disk
    settle
    no_archive_is_plain
    account_of_scribes --min-rotations 3
    end_disk
}

compression_without_space_leaves_the_plain_archives_of_a_tmpfs() { compression_on_a_full_disk tmpfs; }
compression_without_space_leaves_the_plain_archives_of_an_ext4() { compression_on_a_full_disk ext4; }

# Not even a page for the lock file.
a_start_on_a_full_disk() { # KIND
    local id
    new_disk "$1" 1024 max_bytes=64K
    touch "$log"
    fill_disk
    for id in 1 2 3; do
        start_scribe "$id" 700 700 2>>"$records/said"
    done
    wait_until some_scribe_was_told ENOSPC
    free_disk
    finish
    settle
    account_of_scribes --min-rotations 2 --min-errors 1
    end_disk
}

programs_that_start_on_a_full_tmpfs_rotate_when_space_returns() { a_start_on_a_full_disk tmpfs; }
programs_that_start_on_a_full_ext4_rotate_when_space_returns() { a_start_on_a_full_disk ext4; }

without_inodes_lines_go_on_into_the_same_file_until_there_are_some() {
    local id archived
    new_disk tmpfs-inodes 1000 max_bytes=16K
    watch_live_path "$log"
    for id in 1 2; do
        start_scribe "$id" $endless 400 2>>"$records/said"
    done
    wait_until archives_are_at_least 2
    fill_inodes
    wait_until grep -q "^mplogshim: rotate_failed log=$log .*ENOSPC" "$records/said"
    archived=$(archives)
    free_inodes
    wait_until archives_are_at_least $((archived + 2))
    wait_until grep -q "^mplogshim: rotate_recovered log=$log" "$records/said"
    wait_until archives_are_at_least 11
    end_scribes
    stop_watching
    nobody_was_told ENOSPC
    settle
    account_of_scribes --min-rotations 10
    end_disk
}

without_an_inode_for_the_lock_file_lines_are_written() {
    local id
    new_disk tmpfs-inodes 1000 max_bytes=16K
    touch "$log"
    fill_inodes
    for id in 1 2; do
        start_scribe "$id" $endless 400 2>>"$records/said"
    done
    wait_until test -s "$log"
    free_inodes
    wait_until test -e "$directory/.app.log.lock"
    wait_until archives_are_at_least 4
    end_scribes
    nobody_was_told ENOSPC
    settle
    account_of_scribes --min-rotations 3
    end_disk
}

# As many answers of writes, to the same limit, with and without the shim.
same_answers_under_a_limit() { # LIMIT KEYS
    local kind
    for kind in plain shim; do
        new_log "$2"
        records=$work/log.records.$kind
        mkdir "$records"
        "$kind" "$scribe" --file-size "$1" --give-up 3 "$log" 1 10000 "$records/told.1" 2>>"$records/said"
        "$python" "$told" --answers "$records/told.1" >"$records/answers"
        is_managed "$kind"
        account_of_scribes --min-errors 3
        rm -r "$directory"
    done
    diff "$work/log.records.plain/answers" "$work/log.records.shim/answers"
}

a_limit_on_the_size_of_files_is_answered_as_without_the_shim() {
    same_answers_under_a_limit 100000 max_bytes=1G
}

# The lock file may not grow: nothing can be rotated.
a_limit_that_the_lock_file_meets_first_is_answered_as_without_the_shim() {
    same_answers_under_a_limit 4096 max_bytes=2K
}

# The log's files stay below the limit, and the shim's own work is within it.
a_limit_above_max_bytes_is_never_met() {
    new_archived_log max_bytes=64K,compress=gzip
    start_scribe 1 3000 0 --file-size 65536
    start_scribe 2 3000 0 --file-size 65536
    finish
    nobody_was_told EFBIG
    settle
    no_archive_is_plain
    account_of_scribes --max-bytes 65536 --min-rotations 10
}

# A program that does not ignore SIGXFSZ is ended by its own write over the limit, and by nothing else.
the_signal_of_a_limit_comes_with_the_same_write_as_without_the_shim() {
    local kind status
    for kind in plain shim; do
        new_log max_bytes=2K
        records=$work/log.records.$kind
        mkdir "$records"
        status=0
        "$kind" "$scribe" --die-of-file-size 4096 "$log" 1 10000 "$records/told.1" 2>"$records/said" || status=$?
        ((status == 128 + $(kill -l XFSZ)))
        "$python" "$told" --answers "$records/told.1" >"$records/answers"
        is_managed "$kind"
        tail -n 1 "$records/answers" | grep -qx "1 x killed"
        rm -r "$directory"
    done
    diff "$work/log.records.plain/answers" "$work/log.records.shim/answers"
}

run_tests \
    writers_are_answered_as_without_the_shim_on_a_full_tmpfs \
    writers_are_answered_as_without_the_shim_on_a_full_ext4 \
    a_full_tmpfs_loses_nothing_and_all_goes_on_when_space_returns \
    a_full_ext4_loses_nothing_and_all_goes_on_when_space_returns \
    a_full_ext4_loses_nothing_that_waits_in_buffers \
    compression_without_space_leaves_the_plain_archives_of_a_tmpfs \
    compression_without_space_leaves_the_plain_archives_of_an_ext4 \
    programs_that_start_on_a_full_tmpfs_rotate_when_space_returns \
    programs_that_start_on_a_full_ext4_rotate_when_space_returns \
    without_inodes_lines_go_on_into_the_same_file_until_there_are_some \
    without_an_inode_for_the_lock_file_lines_are_written \
    a_limit_on_the_size_of_files_is_answered_as_without_the_shim \
    a_limit_that_the_lock_file_meets_first_is_answered_as_without_the_shim \
    a_limit_above_max_bytes_is_never_met \
    the_signal_of_a_limit_comes_with_the_same_write_as_without_the_shim
