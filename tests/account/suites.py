#!/usr/bin/python3
"""Runs other programs' own test suites with and without the library, and says which tests end otherwise.

    suites.py SUITE SOURCES WORK LIBRARY KEYS [TEST]...

SUITE is one of bash, coreutils, perl; SOURCES the directory with their tests that scripts/setup unpacked; WORK an empty
directory; KEYS more keys of the rule, which matches every file below WORK/run; no TEST means all of them. Every test is
run once without LIBRARY and once with it, in directories of the same name. One line on standard output for each test
that ends otherwise, "SUITE TEST", with what it said on standard error; the last line on standard error counts the tests.
"""

import difflib
import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

SECONDS = int(os.environ.get("SUITES_SECONDS", "300"))  # for one test
ROUNDS = 3  # what depends on time may end otherwise at times: what the library does differs each time
MOST_LINES = int(os.environ.get("SUITES_LINES", "100"))  # of one test's difference


class Bash:
    """A test prints what differs from the output that it should have."""

    def prepare(self, sources, run):
        shutil.copytree(sources / "bash/tests", run / "tests", symlinks=True)
        (run / "bin").mkdir()
        (run / "bin/config.h").touch()
        (run / "bin/bashansi.h").touch()
        for name in ("recho", "zecho", "printenv", "xcase"):
            source = sources / f"bash/support/{name}.c"
            headers = ["-include", "stdlib.h", "-include", "string.h", "-include", "unistd.h"]
            subprocess.run(["gcc", "-w", "-I", run / "bin", *headers, "-o", run / "bin" / name, source], check=True)

    def tests(self, sources):
        names = (path.name[len("run-"):] for path in (sources / "bash/tests").glob("run-*"))
        return sorted(name for name in names if name not in ("all", "minimal"))

    def command(self, sources, run, name):
        more = {"THIS_SH": "/bin/bash", "BUILD_DIR": str(run), "BASH_TSTOUT": str(run / "tmp/output"),
                "PATH": f"{run}/bin:.:{os.environ['PATH']}"}
        return ["sh", f"./run-{name}"], run / "tests", more


class Coreutils:
    """A test ends with 0 (good), 77 (skipped) or another status."""

    def prepare(self, sources, run):
        shutil.copytree(sources / "coreutils", run / "top", symlinks=True)
        defined = ("HAVE_INOTIFY", "HAVE_OPENAT", "HAVE_PTHREAD_T", "HAVE_UTIMENSAT", "HAVE_LINKAT", "HAVE_LUTIMES",
                   "HAVE_CAP", "HAVE_MNTENT_H", "HAVE_SETGROUPS", "HAVE_GETMNTENT", "USE_XATTR", "USE_ACL")
        files = subprocess.run(["dpkg", "-L", "coreutils"], check=True, stdout=subprocess.PIPE, text=True).stdout.split()
        self.installed = [os.path.basename(file) for file in files if os.path.dirname(file) in ("/bin", "/usr/bin")]
        (run / "top/config.h").write_text("".join(f"#define {name} 1\n" for name in defined))
        (run / "bin").mkdir()
        getlimits = run / "bin/getlimits"
        getlimits.write_text("#!/bin/sh\ncat <<'END'\n" + "\n".join(self.limits()) + "\nEND\n")
        getlimits.chmod(0o755)

    def limits(self):
        """What the getlimits that is built for the tests prints."""
        types = {"CHAR": 8, "SCHAR": 8, "SHRT": 16, "INT": 32, "LONG": 64, "SSIZE": 64, "TIME_T": 64, "OFF": 64,
                 "OFF_T": 64, "PID": 32, "PID_T": 32, "INTMAX": 64, "UCHAR": -8, "USHRT": -16, "UINT": -32,
                 "ULONG": -64, "SIZE": -64, "UID": -32, "UID_T": -32, "GID": -32, "GID_T": -32, "UINTMAX": -64}
        for name, bits in types.items():
            most = 2 ** -bits - 1 if bits < 0 else 2 ** (bits - 1) - 1
            yield f"{name}_MAX={most}\n{name}_OFLOW={most + 1}"
            if bits > 0:
                yield f"{name}_MIN={-most - 1}\n{name}_UFLOW={-most - 2}"
        yield "FLT_MIN=1.175494e-38\nFLT_MAX=3.402823e+38\nDBL_MIN=2.225074e-308\nDBL_MAX=1.797693e+308"
        yield "LDBL_MIN=3.362103e-4932\nLDBL_MAX=1.189731e+4932\nIO_BUFSIZE=131072"

    def tests(self, sources):
        makefile = (sources / "coreutils/tests/local.mk").read_text()
        makefile = makefile[makefile.index("\nall_tests ="):]  # before: what root does to file systems
        names = re.findall(r"^  tests/(\S+\.(?:sh|pl|xpl))\s*\\?$", makefile, re.MULTILINE)
        return sorted(set(names))

    def command(self, sources, run, name):
        top = run / "top"
        more = {"abs_top_builddir": str(top), "abs_top_srcdir": str(top), "abs_srcdir": str(top), "srcdir": ".",
                "top_srcdir": ".", "CONFIG_HEADER": str(top / "config.h"), "VERSION": "9.1", "CC": "gcc", "AWK": "awk",
                "EGREP": "grep -E", "PACKAGE_VERSION": "9.1", "PERL": "perl", "SHELL": "/bin/sh", "fail": "0",
                "host_os": "linux-gnu", "VERBOSE": "yes",
                "PATH": f"{run}/bin:{os.environ['PATH']}",
                "built_programs": " ".join(self.installed),
                "CU_TEST_NAME": "coreutils," + name.replace("/", "-"), "LC_ALL": "C"}
        test = f"./tests/{name}"
        if name.endswith(".sh"):
            command = ["/bin/sh", "-c", 'exec 9>&2; exec /bin/sh "$0"', test]
        else:
            taint = ["-T"] if name.endswith(".xpl") else []
            modules = ["-I./tests", "-MCuSkip", "-MCoreutils", f"-MCuTmpdir qw(tests/{name})"]
            command = ["/bin/sh", "-c", 'exec 9>&2; exec "$@"', "sh", "perl", *taint, "-w", *modules, test]
        return command, top, more


class Perl:
    """A test prints a line "ok" or "not ok" for every point. Of the modules, those that open and write files."""

    MODULES = ("t/io", "dist/IO/t", "dist/PathTools/t", "ext/POSIX/t", "ext/PerlIO-encoding/t", "ext/PerlIO-scalar/t",
               "ext/PerlIO-via/t", "cpan/File-Temp/t")

    def prepare(self, sources, run):
        top = run / "perl"
        shutil.copytree(sources / "perl", top, symlinks=True)
        (top / "perl").symlink_to("/usr/bin/perl")
        installed = subprocess.run(["perl", "-e", "print join qq(\n), grep { m{^/usr/(lib|share)/[^/]*} } @INC"],
                                   check=True, stdout=subprocess.PIPE, text=True).stdout.split()
        for directory in installed:
            self.link_all(Path(directory), top / "lib")

    def link_all(self, installed, lib):
        for directory, _, files in os.walk(installed):
            target = lib / Path(directory).relative_to(installed)
            target.mkdir(parents=True, exist_ok=True)
            for name in files:
                if not os.path.lexists(target / name):
                    (target / name).symlink_to(Path(directory) / name)

    def tests(self, sources):
        root = sources / "perl"
        return sorted(str(path.relative_to(root)) for module in self.MODULES for path in (root / module).glob("*.t"))

    def command(self, sources, run, name):
        parts = Path(name).parts
        if parts[0] in ("t", "lib"):
            return ["../perl", "-I../lib", str(Path("..") / name)], run / "perl/t", {"PERL_CORE": "1"}
        module = Path(*parts[:2])
        return ["../../perl", "-I../../lib", str(Path(*parts[2:]))], run / "perl" / module, {"PERL_CORE": "1"}


SUITES = {"bash": Bash, "coreutils": Coreutils, "perl": Perl}


def run_test(command, directory, environment, output):
    """The exit status, or "timeout"; standard output and standard error together go to the file `output`."""
    with open(output, "ab") as file:
        process = subprocess.Popen(command, cwd=directory, env=environment, stdin=subprocess.DEVNULL, stdout=file,
                                   stderr=subprocess.STDOUT, start_new_session=True)
        try:
            status = process.wait(SECONDS)
        except subprocess.TimeoutExpired:
            status = "timeout"
        try:
            os.killpg(process.pid, signal.SIGKILL)  # the session that was made above
        except ProcessLookupError:
            pass
        process.wait()
    return status


def outcome(suite, status, text):
    """What must be the same, in lines."""
    if suite == "coreutils":
        return [f"status {status}"]
    if suite == "perl":
        points = re.findall(r"^(not ok|ok) (\d+)", text, re.MULTILINE)
        return [f"{result} {number}" for result, number in points] + [f"status {status}"]
    text = re.sub(r"process group \(\d+\)|line \d+: +\d+ ", "PID ", text)
    return text.splitlines() + [f"status {status}"]


def run_all(suite, sources, work, names, more):
    """The outcome of each test, and all that it said."""
    kind = SUITES[suite]()
    run = work / "run"
    outcomes = {}
    run.mkdir()
    (run / "tmp").mkdir()
    kind.prepare(sources, run)
    for number, name in enumerate(names):
        command, directory, extra = kind.command(sources, run, name)
        output = run / f"output.{number}"
        environment = {"HOME": str(run), "TMPDIR": str(run / "tmp"), "LC_ALL": "C", "TERM": "dumb",
                       "PATH": os.environ["PATH"], **more, **extra}
        status = run_test(command, directory, environment, output)
        text = output.read_text(errors="replace")
        outcomes[name] = (outcome(suite, status, text), text)
    if "KEEP" in os.environ:
        shutil.move(run, os.environ["KEEP"])
    subprocess.run(["chmod", "-R", "u+rwX", run], check=False)
    shutil.rmtree(run, ignore_errors=True)
    return outcomes


def main():
    suite, sources, work, library, keys = sys.argv[1:6]
    sources, work = Path(sources).resolve(), Path(work).resolve()
    names = sys.argv[6:] or SUITES[suite]().tests(sources)
    (work / "locks").mkdir()
    rules = {"LD_PRELOAD": library, "MPLOGSHIM_LOGS": f"{work}/run/**,lock_dir={work}/locks,{keys}", "MPLOGSHIM_STRICT": "1",
             "MPLOGSHIM_DIAG": str(work / "said")}
    good, differing = None, names
    for _ in range(ROUNDS):
        plain = run_all(suite, sources, work, differing, {})
        shim = run_all(suite, sources, work, differing, rules)
        if good is None:
            good = sum(outcome[0][-1] == "status 0" for outcome in plain.values())
        differing = [name for name in differing if plain[name][0] != shim[name][0]]
        if not differing:
            break
    for name in differing:
        print(suite, name, flush=True)
        difference = list(difflib.unified_diff(
            plain[name][1].splitlines(), shim[name][1].splitlines(), "without", "with", "", "", 1, ""))
        sys.stderr.writelines(line[:300] + "\n" for line in difference[:MOST_LINES])
    if not any((work / "locks").iterdir()):
        sys.exit("no file was a log: nothing was tested")
    print(f"{len(names)} tests, {good} of them good without the library", file=sys.stderr)


main()
