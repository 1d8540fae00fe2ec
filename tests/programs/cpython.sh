#!/bin/bash
# CPython's own test suite, with and without the shim: the same result, test by test. What must differ, because a log
# always appends, is listed in cpython_appending, and does differ.
#
# A choice of modules, or with CPYTHON_WHOLE=1 the whole suite, also as root, which takes an hour.
source "$(dirname "$0")/../account/lib.sh"
need "$python" setpriv gcc unzip
list=$root/tests/programs/cpython_appending
compare_junit=$account_dir/compare_junit.py
append=$build/tests/preload/libappend.so

if ! "$python" -c 'import test.regrtest, test.test_io' 2>/dev/null; then
    echo "1..1"
    echo "not ok 1 - CPython's test suite is installed"
    exit 1
fi

# These have the most to do with files, descriptors, processes and standard output.
modules=(test_os test_io test_fileio test_file test_bufio test_univnewlines test_posix test_shutil test_tempfile
    test_subprocess test_fork1 test_pty test_openpty test_mmap test_fcntl test_fileinput test_filecmp test_print
    test_cmd_line test_runpy test_atexit test_mailbox test_zipimport test_gzip test_dbm test_dbm_dumb
    test_dbm_ndbm test_aifc test_wave test_sunau test_zipapp test_pkgutil test_codecs test_file_eintr
    test_threadsignals)
# Not comparable: to root they wait for ever where virtual machines have no way to their own host.
ignored='*VSOCK*'
# Left out of the whole: these write nothing of their own and take a quarter of the time.
left_out=(test_gdb test_peg_generator test_lib2to3 test_idle test_tools test_unparse)
ordinary=65534
time_limit=800
if [ "${CPYTHON_WHOLE:-0}" = 1 ]; then
    modules=()
    time_limit=7200
fi

# The library and the command where an ordinary user finds them.
if [ -n "$library" ]; then
    mkdir "$work/library"
    cp "$library" "$command" "$work/library"
    library=$work/library/${library##*/}
fi
cp "$append" "$work/libappend.so"
chmod -R a+rX "$work"

# One run of the suite, its results in $work/KIND.USER/NUMBER.xml. The suite fails if one of its tests does: here that
# says nothing. Its own output goes to $work/KIND.USER/output/suite.log.
run_suite() { # KIND USER NUMBER NAME=VALUE... -- MODULE...
    local results=$work/$1.$2 variables=() files as_user=() status=0 which=("${left_out[@]}")
    files=$results/files
    rm -rf "$files"
    mkdir -p "$files" "$results/output" "$results/locks"
    ((EUID != 0)) || chown -R "$2:$2" "$results"
    ((EUID != 0 || $2 == 0)) || as_user=(setpriv --reuid "$2" --regid "$2" --clear-groups)
    local number=$3
    shift 3
    while [ "$1" != -- ]; do
        variables+=("${1//@/$results}")
        shift
    done
    shift
    which=("${@:--x}")
    (($#)) || which+=("${left_out[@]}")
    (
        cd "$files" || exit
        exec setsid --wait "${as_user[@]}" env -i PATH=/usr/bin:/bin LC_ALL=C.UTF-8 HOME="$files" TMPDIR="$files" \
            "${variables[@]}" timeout -k 5 "$time_limit" "$python" -m test -u subprocess -j2 --timeout 400 \
            --ignore "$ignored" --tempdir "$files" --junit-xml "$results/output/junit.xml" "${which[@]}"
    ) </dev/null >>"$results/output/suite.log" 2>&1 || status=$?
    mv "$results/output/junit.xml" "$results/$number.xml" || { echo "the suite ended with $status"; return 1; }
    end_helpers "$results"
    rm -rf "$files"
}

# Both runs, unless there is one without the shim already. What depends on time may fail at times: modules in which
# something is not as it should be are run again, by both, and the last run counts: what the shim does is there each time.
compare() { # KIND USER LIST NAME=VALUE...
    local kind=$1 user=$2 expected=$3 again number
    shift 3
    [ -d "$work/plain.$user" ] || run_suite plain "$user" 1 -- "${modules[@]}"
    run_suite "$kind" "$user" 1 "$@" -- "${modules[@]}"
    rm -f "$work/plain.$user/"[2-9].xml
    for number in 2 3 4 5; do
        again=$("$compare_junit" --modules "$work/plain.$user" "$work/$kind.$user" "$expected" "${modules[@]}") && break
        read -r -a again <<<"$again"
        run_suite plain "$user" $number -- "${again[@]}"
        run_suite "$kind" "$user" $number "$@" -- "${again[@]}"
    done
    "$compare_junit" "$work/plain.$user" "$work/$kind.$user" "$expected" "${modules[@]}"
}

# The variables of the shim, with these rules.
under_the_shim() { # RULES
    shim_variables=(MPLOGSHIM_LOGS="$1" MPLOGSHIM_STRICT=1 MPLOGSHIM_DIAG=@/output/said ${library:+LD_PRELOAD="$library"})
}

the_same_but_for_appending() { # USER
    under_the_shim '@/files/**,truncate=allow,lock_dir=@/locks'
    compare everything "$1" "$list" "${shim_variables[@]}"
}

# What the suite itself prints is rotated, and so is what its tests write to logs.
the_same() { # USER
    under_the_shim '@/files/**/*.log,lock_dir=@/locks;@/output/suite.log,max_bytes=256'
    compare logs "$1" /dev/null "${shim_variables[@]}"
    [ -z "$library" ] || [ -e "$work/logs.$1/output/suite.log.3" ]
}

the_suite_shows_the_same_where_it_writes_to_logs() { the_same "$ordinary"; }
the_suite_shows_the_same_where_every_file_is_a_log_but_for_appending() { the_same_but_for_appending "$ordinary"; }
the_suite_shows_the_same_to_root_where_it_writes_to_logs() { the_same 0; }
the_suite_shows_the_same_to_root_where_every_file_is_a_log_but_for_appending() { the_same_but_for_appending 0; }

# Nothing of the shim is loaded here: files are opened with O_APPEND, and that is all.
what_is_listed_comes_of_appending_alone() {
    local listed
    mapfile -t listed < <("$compare_junit" --modules "$work/plain.$ordinary" "$work/plain.$ordinary" "$list" | tr ' ' '\n')
    run_suite appending "$ordinary" 1 LD_PRELOAD="$work/libappend.so" APPEND_BELOW=@/files/ -- "${listed[@]}"
    "$compare_junit" --listed "$work/plain.$ordinary" "$work/appending.$ordinary" "$list" "${listed[@]}"
}

tests=(the_suite_shows_the_same_where_it_writes_to_logs
    the_suite_shows_the_same_where_every_file_is_a_log_but_for_appending)
if [ "${CPYTHON_WHOLE:-0}" = 1 ]; then
    tests+=(what_is_listed_comes_of_appending_alone)
    ((EUID == 0)) && tests+=(the_suite_shows_the_same_to_root_where_it_writes_to_logs
        the_suite_shows_the_same_to_root_where_every_file_is_a_log_but_for_appending)
fi
run_tests "${tests[@]}"
