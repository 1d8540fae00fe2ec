#!/bin/bash
# Buffers of async=1 that killed programs left, and `mplogshim settle`: where the lock file was deleted, where the live
# file is gone, and where they are another user's. Nobody else attaches.
source "$(dirname "$0")/../account/lib.sh"
need setpriv setfacl
daemon=(setpriv --reuid=daemon --regid=daemon --clear-groups)

new_async_log() { # [KEY=VALUE,...]
    new_log "async=1,async_flush=1h${1:+,$1}"
    chmod 755 "$work"
    lock=$directory/.app.log.lock
    messages=$directory.messages
}

# A program that writes these lines, which only its buffer has, and is killed. RUN: what it is started by.
RUN=()
leave() { # LINE...
    local status=0
    shim "${RUN[@]}" sh -c 'exec >>"$0"; printf "%s\n" "$@"; kill -KILL $$' "$log" "$@" || status=$?
    [ "$status" = 137 ]
    has_buffers 1
}

has_buffers() { # COUNT
    [ "$(find "$directory" -name '.app.log.*.ring' | wc -l)" = "$1" ]
}

settle_by_hand() { # [RULES]: exit status in $status
    status=0
    plain env ${1:+MPLOGSHIM_LOGS="$1"} "$command" settle "$log" >"$messages" 2>&1 </dev/null || status=$?
    cat "$messages"
}

expect_settled() {
    [ "$status" = 0 ]
    [ ! -s "$messages" ]
    has_buffers 0
}

expect_log() { # LINE...
    diff <(printf '%s\n' "$@") "$log"
}

expect_made() { # FILE OWNER:GROUP MODE
    diff <(echo "$2 $3") <(stat -c '%U:%G %a' "$1")
}

# An archive that waits for its name.
leave_archive() { # LINE
    echo "$1" >"$directory/.app.log.0000000000000007.1795190400.pending"
}

a_deleted_lock_file_is_made_anew_for_what_is_left() {
    new_async_log max_bytes=1K
    install -m 640 -o daemon -g adm /dev/null "$log"
    leave one two
    leave_archive zero
    rm "$lock"
    settle_by_hand "$rules"
    expect_settled
    expect_log one two
    [ "$(cat "$log.1")" = zero ]
    expect_made "$lock" daemon:adm 640
}

a_deleted_lock_file_in_lock_dir_is_made_anew() {
    new_async_log
    mkdir "$directory.locks"
    rules+=",lock_dir=$directory.locks"
    shim sh -c 'exec >>"$0"; echo one; kill -KILL $$' "$log" || true
    rm "$directory.locks"/*.lock
    settle_by_hand "$rules"
    expect_settled
    expect_log one
    diff <(echo "${log//\//%}.lock") <(ls "$directory.locks")
}

without_a_policy_buffers_are_written_and_archives_wait() {
    new_async_log
    leave one
    rm "$lock"
    settle_by_hand
    expect_settled
    expect_log one
    leave two
    leave_archive zero
    rm "$lock"
    settle_by_hand
    [ "$status" = 1 ]
    grep -q 'no policy' "$messages"
    expect_log one two
    [ ! -e "$log.1" ]
    has_buffers 0
}

a_live_file_that_is_gone_is_made_anew_like_the_one_before() {
    new_async_log
    install -m 640 -o daemon -g adm /dev/null "$log"
    leave one two
    rm "$log"
    settle_by_hand "$rules"
    expect_settled
    expect_log one two
    expect_made "$log" daemon:adm 640
    setfacl -m u:games:rw "$log"
    rm "$lock"
    leave three
    getfacl -c --absolute-names "$log" >"$directory.list"
    rm "$log"
    settle_by_hand "$rules"
    expect_settled
    expect_log three
    getfacl -c --absolute-names "$log" | diff "$directory.list" -
}

a_live_file_that_is_gone_is_made_anew_by_its_rule() {
    new_async_log mode=604,owner=games:adm
    leave one
    rm "$log"
    settle_by_hand "$rules"
    expect_settled
    expect_log one
    expect_made "$log" games:adm 604
}

where_all_is_gone_but_the_buffer_its_owner_gets_the_log() {
    new_async_log
    chown daemon "$directory"
    RUN=("${daemon[@]}")
    leave one
    rm "$log" "$lock"
    settle_by_hand
    expect_settled
    expect_log one
    expect_made "$log" daemon:daemon 600
    expect_made "$lock" daemon:daemon 600
}

# Who may put files where lock files are, and not where the log is, does not get one there.
nobody_gets_a_live_file_by_a_lock_file_in_lock_dir() {
    new_async_log
    install -d -m 777 "$directory.locks"
    rules+=",lock_dir=$directory.locks"
    install -m 666 /dev/null "$log"
    RUN=("${daemon[@]}")
    shim "${RUN[@]}" sh -c 'exec >>"$0"; echo one; kill -KILL $$' "$log" || true
    rm "$log"
    chown daemon "$directory.locks"/*.lock
    settle_by_hand "$rules"
    [ "$status" = 1 ]
    grep -q 'of user 1$' "$messages"
    [ ! -e "$log" ]
    rm "$directory.locks"/*.lock
    settle_by_hand "$rules"
    [ "$status" = 1 ]
    [ ! -e "$log" ]
    [ -z "$(compgen -G "$directory.locks/*.lock")" ]
}

what_cannot_be_written_is_told() {
    new_async_log
    leave one
    rm "$log"
    mkdir "$log"
    settle_by_hand
    [ "$status" = 1 ]
    [ "$(grep -c "$log: not written, and left for others: 1 of the buffers" "$messages")" = 1 ]
    rmdir "$log"
    settle_by_hand
    expect_settled
    expect_log one
}

# A log of root's in a directory where everybody may make files, and what a program of another user has left beside it.
leave_as_daemon() { # LINE...
    new_async_log
    chmod 1777 "$directory"
    install -m 666 /dev/null "$log"
    RUN=("${daemon[@]}")
    leave "$@"
}

what_anybody_left_beside_a_log_for_everybody_is_written_by_settle_alone() {
    leave_as_daemon one two
    shim sh -c 'echo of root >>"$0"' "$log"
    expect_log 'of root'
    has_buffers 1
    settle_by_hand "$rules"
    expect_settled
    expect_log 'of root' one two
    expect_made "$log" root:root 666
}

expect_left() {
    settle_by_hand "$rules"
    [ "$status" = 1 ]
    [ "$(grep -c 'left for others: 1 .*\.ring of user 1$' "$messages")" = 1 ]
    [ ! -s "$log" ]
    has_buffers 1
}

what_another_user_left_beside_a_log_that_not_all_may_use_is_left_and_told() {
    leave_as_daemon one
    chmod 664 "$log"
    expect_left
    chmod 622 "$log"
    expect_left
    chmod 666 "$log"
    setfacl -m u:daemon:r "$log"
    expect_left
    setfacl -b "$log"
    settle_by_hand "$rules"
    expect_settled
    expect_log one
}

# He would learn by it what is in a file that he may not read: "one" comes to the log, or is taken for written.
nobody_finds_out_by_a_buffer_what_he_may_not_read() {
    leave_as_daemon one
    install -m 600 <(echo one) "$log.1"
    "$python" -c '
import os, struct, sys
ring = os.open(sys.argv[1], os.O_RDWR)
status = os.stat(sys.argv[2])
os.pwrite(ring, struct.pack("=IIIIQQq", 1, 0, 0, 4, status.st_dev, status.st_ino, 0), 448) # as ring.h has it
' "$directory"/.app.log.*.ring "$log.1"
    settle_by_hand "$rules"
    expect_settled
    expect_log one
}

# What tells how much of a batch was written before a kill is the log.
who_may_not_read_the_log_has_no_buffer() {
    new_async_log
    chmod 1777 "$directory"
    install -m 622 /dev/null "$log"
    shim "${daemon[@]}" sh -c 'exec >>"$0"; echo one; echo two; kill -KILL $$' "$log" 2>"$messages" || true
    expect_log one two
    has_buffers 0
    [ "$(grep -c 'is written synchronously, in spite of async=1: no buffer: EACCES' "$messages")" = 1 ]
    setfacl -m u:daemon:rw "$log"
    RUN=("${daemon[@]}")
    leave three
}

run_tests \
    a_deleted_lock_file_is_made_anew_for_what_is_left \
    a_deleted_lock_file_in_lock_dir_is_made_anew \
    without_a_policy_buffers_are_written_and_archives_wait \
    a_live_file_that_is_gone_is_made_anew_like_the_one_before \
    a_live_file_that_is_gone_is_made_anew_by_its_rule \
    where_all_is_gone_but_the_buffer_its_owner_gets_the_log \
    nobody_gets_a_live_file_by_a_lock_file_in_lock_dir \
    what_cannot_be_written_is_told \
    what_anybody_left_beside_a_log_for_everybody_is_written_by_settle_alone \
    what_another_user_left_beside_a_log_that_not_all_may_use_is_left_and_told \
    nobody_finds_out_by_a_buffer_what_he_may_not_read \
    who_may_not_read_the_log_has_no_buffer
