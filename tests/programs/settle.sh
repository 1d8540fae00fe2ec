#!/bin/bash
# The command by hand, and the helper as the library starts it, on archives and lock files that are made up.
source "$(dirname "$0")/../account/lib.sh"
rules=

# A log that was rotated COUNT times: its lock file with a record of the policy, and pending archives "archive N".
make_log() { # COUNT [KEY=VALUE...]
    local count=$1 number word at=1024 keys=(max_bytes=0 when=OFF interval=1 at=00:00:00 utc=0 backups=0 max_age=0
        max_total=0 naming=number compress=none)
    shift
    directory=$work/log.$BASHPID
    log=$directory/app.log
    lock=$directory/.app.log.lock
    mkdir -p "$directory"
    echo live >"$log"
    printf 'mplogshim 1    \n' >"$lock"
    for word in "${keys[@]}"; do
        for number in "$@"; do
            [ "${number%%=*}" != "${word%%=*}" ] || word=$number
        done
        printf '%-31s\n' "$word" | dd of="$lock" bs=1 seek=$at conv=notrunc status=none
        at=$((at + 32))
    done
    truncate -s $((4096 + count)) "$lock"
    chmod 644 "$lock"
    for ((number = 0; number < count; number++)); do
        echo "archive $((number + 1))" >"$(printf '%s/.app.log.%016x.%d.pending' "$directory" "$number" $((1795190400 + number)))"
    done
}

by_hand() { # ARGUMENTS
    status=0
    plain env ${rules:+MPLOGSHIM_LOGS="$rules"} "$command" settle "$@" >"$work/out" 2>"$work/messages" </dev/null || status=$?
    cat "$work/messages"
    [ ! -s "$work/out" ]
}

# As the library does it: the log's directory is descriptor 3.
helper() { # OPTION
    plain env -i MPLOGSHIM_LOGS="$rules" MPLOGSHIM_DIAG="$work/told" "$command" settle "$1" "$log" \
        3<"$directory" </dev/null >"$work/out" 2>&1
}

# The names in the log's directory, in one line.
expect_files() { # NAME...
    diff <(printf '%s\n' "$@" | sort) <(ls -A "$directory" | sort)
}

# The number in a field of the lock file.
lock_field() { # NAME
    tr '\0' '\n' <"$lock" | sed -nE "s/^$1=\\+0*([0-9]+)\$/\\1/p"
}

pending_archives_get_their_names_by_hand() {
    make_log 3
    by_hand "$log"
    [ "$status" = 0 ]
    expect_files .app.log.lock app.log app.log.1 app.log.2 app.log.3
    [ "$(cat "$directory"/app.log.{1,2,3})" = "$(printf 'archive %d\n' 3 2 1)" ]
    [ "$(lock_field settled)" = 3 ]
    [ ! -s "$work/messages" ]
}

a_log_may_be_named_by_any_path() {
    make_log 1
    (cd "$directory" && by_hand app.log && [ "$status" = 0 ])
    expect_files .app.log.lock app.log app.log.1
    make_log 2
    ln -s "$log" "$work/link.$BASHPID"
    by_hand "$work/link.$BASHPID"
    expect_files .app.log.lock app.log app.log.1 app.log.2 app.log.3
}

a_log_without_a_live_file_is_settled() {
    make_log 2
    rm "$log"
    by_hand "$log"
    [ "$status" = 0 ]
    expect_files .app.log.lock app.log.1 app.log.2
}

the_record_says_what_is_kept() {
    make_log 5 backups=2 compress=gzip:9
    by_hand "$log"
    [ "$status" = 0 ]
    expect_files .app.log.lock app.log app.log.1.gz app.log.2.gz
    [ "$(zcat "$directory"/app.log.{1,2}.gz)" = "$(printf 'archive %d\n' 5 4)" ]
}

a_record_that_others_may_write_only_names_archives() {
    make_log 5 backups=2 naming=time utc=1 compress=gzip:9
    chmod 666 "$lock"
    by_hand "$log"
    [ "$status" = 0 ]
    grep -q 'archives are only named' "$work/messages"
    expect_files .app.log.lock app.log app.log.2026-11-20_16-00-0{0,1,2,3,4}
}

given_settings_hold_over_a_record_that_others_may_write() {
    make_log 5 backups=2
    chmod 666 "$lock"
    rules="$log,backups=3"
    by_hand "$log"
    [ "$status" = 0 ]
    expect_files .app.log.lock app.log app.log.1 app.log.2 app.log.3
}

given_settings_hold_while_no_program_has_the_log_open() {
    make_log 5 backups=4
    rules="$log,backups=3"
    by_hand "$log"
    expect_files .app.log.lock app.log app.log.1 app.log.2 app.log.3
}

a_log_without_a_lock_file_is_left_alone() {
    make_log 0
    rm "$lock"
    by_hand "$log"
    [ "$status" = 1 ]
    grep -q "$log: no lock file" "$work/messages"
    expect_files app.log
}

a_lock_file_without_a_record_is_no_policy() {
    make_log 2
    dd if=/dev/zero of="$lock" bs=1 seek=1024 count=320 conv=notrunc status=none
    by_hand "$log"
    [ "$status" = 1 ]
    grep -q 'no policy' "$work/messages"
    rules="$log,backups=1"
    by_hand "$log"
    [ "$status" = 0 ]
    expect_files .app.log.lock app.log app.log.1
}

without_a_log_all_of_the_configuration_are_settled() {
    local top=$work/log.$BASHPID name kept
    for name in a/x a/y b/x b/deep/er; do
        make_log 2
        mkdir -p "$top.all/$name"
        mv "$directory" "$top.all/$name/logs"
    done
    rm "$top.all/b/x/logs/app.log" # the lock file tells of it
    mv "$top.all/a/y/logs/.app.log.lock" "$top.all/a/y/kept"
    echo other >"$top.all/a/x/logs/other.log" # never rotated
    rules="$top.all/*/*/logs/*.log;$top.all/**.log"
    by_hand
    [ "$status" = 0 ]
    kept=$(cd "$top.all" && find . -type f | sort)
    diff <(echo "$kept") <(cd "$top.all" && printf '%s\n' ./{a/x,b/x,b/deep/er}/logs/{.app.log.lock,app.log.1,app.log.2} \
        ./{a/x,b/deep/er,a/y}/logs/app.log ./a/x/logs/other.log ./a/y/kept \
        "./a/y/logs/.app.log.0000000000000000.1795190400.pending" \
        "./a/y/logs/.app.log.0000000000000001.1795190401.pending" | sort)
    rm -r "$top.all"
}

a_log_that_two_rules_match_is_settled_once() {
    make_log 1
    exec 5>>"$directory/.app.log.0000000000000000.1795190400.pending"
    rules="$directory/*.log,compress=gzip;$directory/**,compress=gzip"
    by_hand
    exec 5>&-
    [ "$(grep -c 'is open for writing' "$work/messages")" = 1 ]
}

without_a_log_and_a_configuration_it_is_wrong_use() {
    make_log 1
    by_hand
    [ "$status" = 2 ]
    by_hand --no-such-option "$log"
    [ "$status" = 2 ]
    rules='a.log,max_bytes=many'
    by_hand "$log"
    [ "$status" = 1 ]
    grep -q 'MPLOGSHIM_LOGS.*many' "$work/messages"
}

a_log_in_lock_dir_is_found_by_its_rule() {
    make_log 2
    mkdir "$directory/locks"
    local name=${log//\//%}
    mv "$lock" "$directory/locks/$name.lock"
    rules="$directory/*.log,lock_dir=$directory/locks"
    by_hand
    [ "$status" = 0 ]
    expect_files locks app.log app.log.1 app.log.2
}

what_somebody_has_open_for_writing_stays_and_is_told() {
    make_log 3 compress=gzip:6 backups=2
    exec 5>>"$directory/.app.log.0000000000000002.1795190402.pending"
    by_hand "$log"
    [ "$status" = 0 ]
    grep -q 'app.log.1 is open for writing' "$work/messages"
    expect_files .app.log.lock app.log app.log.1 app.log.2.gz
    [ "$(lock_field settled)" != 3 ]
    exec 5>&-
    by_hand "$log"
    expect_files .app.log.lock app.log app.log.1.gz app.log.2.gz
    [ "$(lock_field settled)" = 3 ]
}

# Takes the byte of the lock file that is for settling, and has it when this is over; until told by let_settle.
hold_settling() {
    mkfifo "$directory.held" "$directory.free"
    "$python" -c '
import fcntl, sys
lock = open(sys.argv[1], "r+b")
fcntl.lockf(lock, fcntl.LOCK_EX, 1, 1)
open(sys.argv[2], "w").close()
open(sys.argv[3]).close()' "$lock" "$directory.held" "$directory.free" &
    holder=$!
    cat "$directory.held"
}

let_settle() {
    : >"$directory.free"
    wait "$holder"
}

by_hand_it_waits_while_somebody_else_settles() {
    make_log 1
    hold_settling
    plain "$command" settle "$log" &
    local waiting=$!
    sleep 0.2
    kill -0 "$waiting"
    expect_files .app.log.lock app.log .app.log.0000000000000000.1795190400.pending
    let_settle
    wait "$waiting"
    expect_files .app.log.lock app.log app.log.1
}

has_lock_open() { # PID
    [ -n "$(find "/proc/$1/fd" -lname "$lock")" ]
}

# Nobody who settles under the old one is waited for.
by_hand_it_goes_on_under_a_lock_file_made_anew() {
    make_log 1
    hold_settling
    "$command" settle "$log" &
    local waiting=$!
    wait_until has_lock_open "$waiting"
    cp -p "$lock" "$directory.new"
    mv "$directory.new" "$lock"
    wait_until [ -e "$log.1" ] || kill "$waiting"
    let_settle
    wait "$waiting"
    expect_files .app.log.lock app.log app.log.1
}

the_helper_settles_by_the_record_and_ends() {
    make_log 3 backups=2
    rules="$log,backups=1"
    helper --helper
    expect_files .app.log.lock app.log app.log.1 app.log.2
    [ "$(lock_field settled)" = 3 ]
}

the_helper_waits_for_an_archive_until_it_is_closed() {
    make_log 1 compress=gzip:6
    rules=$log
    exec 5>>"$directory/.app.log.0000000000000000.1795190400.pending"
    helper --helper 5>&- &
    local pid=$!
    wait_until test -e "$directory/app.log.1"
    echo "archive 2" >"$directory/.app.log.0000000000000001.1795190401.pending"
    truncate -s +1 "$lock" # a rotation meanwhile
    wait_until test -e "$directory/app.log.1.gz"
    exec 5>&-
    wait "$pid"
    expect_files .app.log.lock app.log app.log.1.gz app.log.2.gz
    [ "$(zcat "$directory"/app.log.{1,2}.gz)" = "$(printf 'archive %d\n' 2 1)" ]
}

the_helper_ends_when_told_to() {
    make_log 1 compress=gzip:6
    rules=$log
    exec 5>>"$directory/.app.log.0000000000000000.1795190400.pending"
    env -i MPLOGSHIM_LOGS="$rules" MPLOGSHIM_DIAG=off "$command" settle --helper "$log" 3<"$directory" 5>&- &
    local pid=$!
    wait_until test -e "$directory/app.log.1"
    kill -TERM "$pid"
    wait "$pid"
    exec 5>&-
    expect_files .app.log.lock app.log app.log.1
}

the_helper_needs_a_rule_and_the_log_s_directory() {
    make_log 1
    rules=$work/other.log
    local status=0
    helper --helper || status=$?
    [ "$status" = 2 ]
    rules=$log
    status=0
    MPLOGSHIM_LOGS=$rules plain "$command" settle --helper "$log" 3<"$log" 2>/dev/null || status=$?
    [ "$status" = 2 ]
    expect_files .app.log.lock app.log .app.log.0000000000000000.1795190400.pending
}

the_keeper_ends_when_nobody_is_attached() {
    make_log 2
    rules="$log,max_bytes=1K"
    helper --keeper
    expect_files .app.log.lock app.log app.log.1 app.log.2
    [ "$(cat "$log")" = live ]
}

the_program_for_events_hears_of_each_archive_once() {
    make_log 3 compress=gzip:6
    cat >"$work/heard" <<END
#!/bin/sh
echo "\$MPLOGSHIM_EVENT \$MPLOGSHIM_LOG \$MPLOGSHIM_ARCHIVE \$MPLOGSHIM_DETAIL" >>"$directory.events"
END
    chmod +x "$work/heard"
    rules="$log,compress=gzip:6,on_event=$work/heard"
    by_hand "$log"
    wait_until eval "[ \$(wc -l <'$directory.events') = 3 ]"
    by_hand "$log"
    helper --helper
    sleep 0.1
    local number
    diff <(sort "$directory.events") <(for number in 1 2 3; do
        echo "rotated $log $log.$number.gz bytes=$(stat -c %s "$log.$number.gz")"
    done)
}

every_call_and_every_wrong_use_is_answered() {
    [ "$("$command" --version)" = "mplogshim $(sed -nE 's/.*MPLOGSHIM_VERSION "(.*)"/\1/p' "$root/include/mplogshim.h")" ]
    "$command" --help | grep -q settle
    "$command" settle --help | grep -q 'usage: mplogshim settle'
    local status call
    for call in '' cat nothing --nothing; do
        status=0
        # shellcheck disable=SC2086
        "$command" $call >"$work/out" 2>"$work/messages" || status=$?
        [ "$status" = 2 ]
        [ ! -s "$work/out" ]
        grep -q '^mplogshim: ' "$work/messages"
    done
}

run_tests \
    pending_archives_get_their_names_by_hand \
    a_log_may_be_named_by_any_path \
    a_log_without_a_live_file_is_settled \
    the_record_says_what_is_kept \
    a_record_that_others_may_write_only_names_archives \
    given_settings_hold_over_a_record_that_others_may_write \
    given_settings_hold_while_no_program_has_the_log_open \
    a_log_without_a_lock_file_is_left_alone \
    a_lock_file_without_a_record_is_no_policy \
    without_a_log_all_of_the_configuration_are_settled \
    a_log_that_two_rules_match_is_settled_once \
    without_a_log_and_a_configuration_it_is_wrong_use \
    a_log_in_lock_dir_is_found_by_its_rule \
    what_somebody_has_open_for_writing_stays_and_is_told \
    by_hand_it_waits_while_somebody_else_settles \
    by_hand_it_goes_on_under_a_lock_file_made_anew \
    the_helper_settles_by_the_record_and_ends \
    the_helper_waits_for_an_archive_until_it_is_closed \
    the_helper_ends_when_told_to \
    the_helper_needs_a_rule_and_the_log_s_directory \
    the_keeper_ends_when_nobody_is_attached \
    the_program_for_events_hears_of_each_archive_once \
    every_call_and_every_wrong_use_is_answered
