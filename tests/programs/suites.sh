#!/bin/bash
# bash's, coreutils' and perl's own tests, with a rule that matches every file that they write: each must end as it does
# without the shim. SUITES=all runs all of them (20 minutes) instead of those that write and read files most.
#
# Tests that end otherwise are in suites.differences, each with its reason. Their sources come by scripts/setup.
source "$(dirname "$0")/../account/lib.sh"
need "$python" bash perl gcc strace
sources=$build/sources
differences=$root/tests/programs/suites.differences
bash_tests="execscript heredoc herestr input-test mapfile posixpipe procsub redir vredir"
coreutils_tests="cp/reflink-auto.sh cp/sparse.sh dd/misc.sh
    dd/reblock.sh misc/cat-buf.sh misc/cat-self.sh
    misc/csplit.sh misc/head-c.sh misc/nohup.sh misc/od.pl misc/printf.sh
    misc/tac-2-nonseekable.sh misc/tee.sh misc/truncate-parameters.sh split/b-chunk.sh split/filter.sh
    tail-2/pipe-f.sh"
perl_tests="dist/IO/t/io_dup.t dist/IO/t/io_file.t dist/IO/t/io_linenum.t dist/IO/t/io_pipe.t dist/IO/t/io_tell.t
    dist/IO/t/io_utf8.t ext/POSIX/t/posix.t t/io/argv.t t/io/dup.t t/io/fflush.t t/io/fs.t t/io/inplace.t t/io/nargv.t
    t/io/open.t t/io/perlio.t t/io/pipe.t t/io/print.t t/io/read.t t/io/say.t t/io/tell.t t/io/utf8.t"

# Without arguments: every test of a suite.
ends_as_without_the_shim() { # SUITE [TEST]...
    local place=$work/suite.$BASHPID
    mkdir "$place"
    "$account_dir/suites.py" "$1" "$sources" "$place" "$library" truncate=allow "${@:2}" >"$work/found" ||
        { cat "$work/found"; return 1; }
    rm -r "$place"
    listed "$@" | diff - <(grep -vxF -f <(echo none; listed "$1?" "${@:2}" | sed 's/?//') "$work/found")
}

# The tests of the list that are among those that were run, in the order of their names.
listed() { # SUITE [TEST]...
    local suite name reason
    while read -r suite name reason; do
        if [[ $suite == "$1" ]] && { (($# == 1)) || [[ " ${*:2} " == *" $name "* ]]; }; then
            echo "$suite $name"
        fi
    done < <(sort "$differences" | grep -v '^#')
    return 0
}

run_suite() { # SUITE [TEST]...
    if [[ ${SUITES:-} == all ]]; then
        ends_as_without_the_shim "$1"
    else
        ends_as_without_the_shim "$@"
    fi
}

# shellcheck disable=SC2086
the_tests_of_bash_end_as_without_the_shim() { run_suite bash $bash_tests; }
# shellcheck disable=SC2086
the_tests_of_coreutils_end_as_without_the_shim() { run_suite coreutils $coreutils_tests; }
# shellcheck disable=SC2086
the_tests_of_perl_end_as_without_the_shim() { run_suite perl $perl_tests; }

run_tests \
    the_tests_of_bash_end_as_without_the_shim \
    the_tests_of_coreutils_end_as_without_the_shim \
    the_tests_of_perl_end_as_without_the_shim
