"""Puts things where the files of logs should be, and looks what comes of it.

    obstacles.py DIRECTORY OWNER OWNER_OF_DIRECTORIES MODE COMMAND... -- SETTLE...

For each kind of thing in each place there is one log that it is there for from the start, and one that it comes to
while a program writes. COMMAND runs a program, which gets arguments, under the shim; SETTLE is a command that gets the
logs. The things are OWNER's. Each is as it was after lines were written, nothing was written through it, no write
failed or waited, and when they are taken away all lines are there. Exit status 1, and what is wrong, otherwise.
"""
import collections
import gzip
import os
import pwd
import select
import shutil
import socket
import stat
import subprocess
import sys
import time

LINES = 20  # of each of three turns
PATIENCE = 120  # seconds
SECOND = 1.2  # is what it may take until everybody is on the live path again

# Appends lines to every log that it is given, each time that it reads a line, and says which write failed.
DRIVE = f"""
import os, sys
files = [os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644) for path in sys.argv[1:]]
number = 0
while sys.stdin.readline():
    for number in range(number + 1, number + 1 + {LINES}):
        for path, file in zip(sys.argv[1:], files):
            line = b"w=1 n=%d end\\n" % number
            try:
                assert os.write(file, line) == len(line)
            except OSError as error:
                print(path, number, error.strerror, flush=True)
    print("written", flush=True)
"""

inodes = {}  # of the things, by path
fifos = []  # held open, as a reader would
faults = []


def fault(*words):
    faults.append(" ".join(map(str, words)))


def bind(path):
    directory = os.open(os.path.dirname(path), os.O_PATH)  # the path may be longer than an address
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(f"/proc/self/fd/{directory}/{os.path.basename(path)}")
    os.close(directory)


def make_read_fifo(path):
    os.mkfifo(path, 0o666)
    fifos.append(os.open(path, os.O_RDWR | os.O_NONBLOCK))


def make_file(path, mode=0o644):
    os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL))
    os.chmod(path, mode)


def device(kind, major, minor):
    return lambda path: os.mknod(path, kind | 0o666, os.makedev(major, minor))


KINDS = {
    "null": device(stat.S_IFCHR, 1, 3),
    "full": device(stat.S_IFCHR, 1, 7),
    "block": device(stat.S_IFBLK, 120, 0),  # for experiments: there is none
    "fifo": lambda path: os.mkfifo(path, 0o666),
    "read_fifo": make_read_fifo,
    "socket": bind,
    "directory": os.mkdir,
    "link": lambda path: os.symlink("../victim", path),
    "dangling": lambda path: os.symlink("../nothing", path),
    "stranger": make_file,
    "closed": lambda path: make_file(path, 0),
    "immutable": make_file,
    "appending": make_file,
}
PLAIN = {"stranger", "closed"}
ATTRIBUTES = {"immutable": "+i", "appending": "+a"}
NAMES = ["app.log", ".app.log.lock", "app.log.1", "app.log.1.gz", ".app.log.squeeze"]

Thing = collections.namedtuple("Thing", "kind name place logs log path")


def plan(directory, when):
    things = []
    for kind in KINDS:
        for name in NAMES[when == "first" :]:
            place = f"{directory}/{when}/{kind}@{name}"
            logs = f"{place}/logs"
            things.append(Thing(kind, name, place, logs, f"{logs}/app.log", f"{logs}/{name}"))
    return things


def make_place(thing, owner, mode):
    os.makedirs(thing.logs)
    with open(f"{thing.place}/victim", "w", encoding="ascii") as victim:
        victim.write("precious")
    os.chown(thing.logs, owner.pw_uid, owner.pw_gid)
    os.chmod(thing.logs, mode)


def put(thing, owner):
    if os.path.lexists(thing.path):
        os.rename(thing.path, f"{thing.logs}/before{os.path.splitext(thing.name)[1]}")
    KINDS[thing.kind](thing.path)
    os.lchown(thing.path, owner.pw_uid, owner.pw_gid)
    inodes[thing.path] = os.lstat(thing.path).st_ino


def change_attributes(things):
    for kind, attribute in ATTRIBUTES.items():
        subprocess.run(["chattr", attribute] + [thing.path for thing in things if thing.kind == kind], check=True)


def may_change(thing, sticky):
    """What is taken for a file of the log's: that at the live path, whoever made it, and what looks like an archive."""
    if thing.name == "app.log" or (thing.name == ".app.log.lock" and thing.kind in PLAIN):
        return stat.S_ISREG(os.lstat(thing.path).st_mode)
    return thing.name == ".app.log.squeeze" or (thing.name.startswith("app.log.1") and thing.kind in PLAIN and not sticky)


def look(thing, sticky):
    victim = os.stat(f"{thing.place}/victim")
    seen = [sorted(os.listdir(thing.place)), victim.st_mode, victim.st_uid, victim.st_size, victim.st_mtime_ns]
    if not may_change(thing, sticky):
        status = os.lstat(thing.path)
        seen += [status.st_ino, status.st_mode, status.st_rdev, status.st_uid, status.st_gid, status.st_size]
    elif thing.name in ("app.log", ".app.log.lock"):
        status = os.lstat(thing.path)
        seen += [status.st_mode, status.st_uid, status.st_gid]
    return seen


def take_away(thing):
    """But for a plain file that became one of the log's, and has lines."""
    if not os.path.lexists(thing.path) or os.lstat(thing.path).st_ino != inodes[thing.path]:
        return
    if os.path.isdir(thing.path) and not os.path.islink(thing.path):
        os.rmdir(thing.path)
    elif thing.name == "app.log" and thing.kind in PLAIN | set(ATTRIBUTES):
        os.rename(thing.path, f"{thing.logs}/meanwhile")
    else:
        os.unlink(thing.path)


def make_removable(directory):
    subprocess.run(["chattr", "-R", "-f", "-i", "-a", directory], check=False)


def start_driver(command, logs):
    return subprocess.Popen(
        command + ["/usr/bin/python3", "-c", DRIVE] + logs, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1
    )


def write_to_all(driver):
    driver.stdin.write("\n")
    driver.stdin.flush()
    if not select.select([driver.stdout], [], [], PATIENCE)[0]:
        sys.exit("the program waits")
    for answer in driver.stdout:
        if answer == "written\n":
            return
        fault("write failed:", answer.strip())
    sys.exit("the program ended")


def helpers_in(directory):
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{pid}/cmdline", "rb") as file:
                words = file.read().split(b"\0")
        except OSError:
            continue
        if words[1:2] == [b"settle"] and words[3].startswith(directory.encode()):
            return True
    return False


def wait_for_helpers(directory):
    deadline = time.monotonic() + PATIENCE
    while helpers_in(directory):
        if time.monotonic() > deadline:
            sys.exit("a helper does not end")
        time.sleep(0.02)


def lines_of(path):
    with (gzip.open if path.endswith(".gz") else open)(path, "rb") as file:
        return file.read().splitlines()


def check_account(thing):
    lines = []
    for name in os.listdir(thing.logs):
        path = f"{thing.logs}/{name}"
        if os.path.isfile(path) and not name.endswith(".lock"):
            lines += lines_of(path)
        if name.endswith((".pending", ".squeeze")):
            fault("left over:", path)
    if sorted(lines) != sorted(b"w=1 n=%d end" % number for number in range(1, 1 + 3 * LINES)):
        fault(f"{len(lines)} lines in", thing.logs)


def run(directory, owner, of_directories, mode, command, settle):
    first, later = plan(directory, "first"), plan(directory, "later")
    things = first + later
    logs = [thing.log for thing in things]
    for thing in things:
        make_place(thing, of_directories, mode)
    for thing in first:
        put(thing, owner)
    change_attributes(first)
    driver = start_driver(command, logs)
    write_to_all(driver)
    wait_for_helpers(f"{directory}/later")
    for thing in later:
        put(thing, owner)
    change_attributes(later)
    before = [look(thing, mode & stat.S_ISVTX) for thing in things]
    time.sleep(SECOND)
    write_to_all(driver)
    for thing, was in zip(things, before):
        seen = look(thing, mode & stat.S_ISVTX)
        if seen != was:
            fault(thing.path, "was", was, "is", seen)
    for fifo in fifos:
        if select.select([fifo], [], [], 0)[0]:
            fault("a FIFO was written to")
    make_removable(directory)
    for thing in things:
        take_away(thing)
    time.sleep(SECOND)
    write_to_all(driver)
    driver.stdin.close()
    if driver.wait() != 0:
        fault("the program ended with", driver.returncode)
    subprocess.run(settle + logs, check=True)
    for thing in things:
        check_account(thing)


def main():
    directory, owner, of_directories, mode, *words = sys.argv[1:]
    end = words.index("--")
    try:
        run(directory, pwd.getpwnam(owner), pwd.getpwnam(of_directories), int(mode, 8), words[:end], words[end + 1 :])
    finally:
        make_removable(directory)
    print("\n".join(faults))
    sys.exit(bool(faults))


if __name__ == "__main__":
    main()
