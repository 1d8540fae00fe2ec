"""The rows of scripts/bench-peers: each way to have a log rotate at 10 MB, and how its processes are started."""

import dataclasses
import os

ROTATE_AT = 10 << 20
FILES_MOST = 1000  # kept by those that must be told to keep all


@dataclasses.dataclass
class Place:
    """Where one run of a row happens. Peers put their files below `logs`, and nothing else does."""
    directory: str
    programs: str  # build/tests/bench
    library: str

    @property
    def logs(self):
        return os.path.join(self.directory, "logs")

    @property
    def log(self):
        return os.path.join(self.logs, "app.log")

    def path(self, name):
        return os.path.join(self.directory, name)

    def write(self, name, text):
        with open(self.path(name), "w", encoding="utf-8") as file:
            file.write(text)


@dataclasses.dataclass
class Row:
    """A writer is called with TOLD WRITER LINES LENGTH behind its words; "{log}" in them is the log's path."""
    name: str
    title: str
    group: str
    writer: tuple
    logger: object = None  # function(place) -> words of what reads the pipe
    beside: object = None  # function(place) -> words of what runs beside the writers until the file "stop" is there
    keys: str = ""  # the library is preloaded, with these keys
    share: int = 1  # of the lines: slow rows write fewer
    base: str = "plain"  # of the row that it is compared with
    packages: tuple = ()

    @property
    def buffered(self):
        """Lines wait in the program: what a kill then loses, nobody was told to write."""
        return self.group == BUFFERED

    def writer_command(self, place):
        program = self.writer[0]
        words = [os.path.join(os.path.dirname(__file__) if program.endswith(".py") else place.programs, program)]
        return words + [word.format(log=place.log) for word in self.writer[1:]]

    def environment(self, place):
        if not self.keys:
            return {}
        return {"LD_PRELOAD": place.library, "MPLOGSHIM_LOGS": f"{place.log},{self.keys}", "MPLOGSHIM_STRICT": "1"}


def rotatelogs(place):
    return ["rotatelogs", "-f", place.log, "10M"]


def cronolog(place):
    """It knows no size: a file for each second."""
    return ["cronolog", "--period=1 seconds", place.log + ".%Y%m%d-%H%M%S"]


def multilog(place):
    return ["multilog", f"s{ROTATE_AT}", f"n{FILES_MOST}", place.logs]


def svlogd(place):
    place.write("logs/config", f"s{ROTATE_AT}\nn0\n")
    return ["svlogd", place.logs]


def s6_log(place):
    return ["s6-log", "-l", "0", "--", f"n{FILES_MOST}", f"s{ROTATE_AT}", place.logs]


def logrotate(place):
    place.write("logrotate.conf",
                f"{place.log} {{\n size 10M\n rotate {FILES_MOST}\n copytruncate\n missingok\n nocompress\n}}\n")
    loop = 'until [ -e "$1/stop" ]; do logrotate -s "$1/state" "$1/logrotate.conf"; sleep 0.05; done'
    return ["sh", "-c", loop, "sh", place.directory]


WRITE = ("peer_write", "write", "{log}")
PIPE = ("peer_write", "write", "-")
SHIM = f"max_bytes={ROTATE_AT}"
BUFFERED = "buffered in the program"
PYTHON = "Python's logging, compared with FileHandler"

ROWS = (
    Row("plain", "`>>`, no rotation", "", WRITE),
    Row("shim", "mplogshim", "", WRITE, keys=SHIM),
    Row("shim_rotate", "mplogshim, `lock=rotate`", "", WRITE, keys=SHIM + ",lock=rotate"),
    Row("shim_async", "mplogshim, `async=1`", "", WRITE, keys=SHIM + ",async=1"),
    Row("rotatelogs", "`\\| rotatelogs`", "", PIPE, logger=rotatelogs, packages=("apache2-utils",)),
    Row("cronolog", "`\\| cronolog` (each second)", "", PIPE, logger=cronolog, packages=("cronolog",)),
    Row("multilog", "`\\| multilog`", "", PIPE, logger=multilog, packages=("daemontools",)),
    Row("svlogd", "`\\| svlogd`", "", PIPE, logger=svlogd, packages=("runit",)),
    Row("s6_log", "`\\| s6-log`", "", PIPE, logger=s6_log, packages=("s6",)),
    Row("logrotate", "logrotate, `copytruncate`", "", WRITE, beside=logrotate, packages=("logrotate",)),
    Row("log4cplus", "log4cplus, with its lock file", "", ("peer_log4cplus", "{log}"), share=2,
        packages=("liblog4cplus-dev",)),
    Row("stdio", "stdio `>>`, no rotation", BUFFERED, ("peer_write", "stdio", "{log}")),
    Row("shim_stdio", "stdio, mplogshim", BUFFERED, ("peer_write", "stdio", "{log}"), keys=SHIM),
    Row("spdlog", "spdlog", BUFFERED, ("peer_spdlog", "{log}"), packages=("libspdlog-dev",)),
    Row("glog", "glog (a file for each process)", BUFFERED, ("peer_glog", "{log}"),
        packages=("libgoogle-glog-dev",)),
    Row("py_file", "FileHandler, no rotation", PYTHON, ("peer_python.py", "file", "{log}"), share=3, base="py_file",
        packages=("python3",)),
    Row("py_shim", "FileHandler, mplogshim", PYTHON, ("peer_python.py", "file", "{log}"), keys=SHIM, share=3,
        base="py_file"),
    Row("py_rotating", "RotatingFileHandler", PYTHON, ("peer_python.py", "rotating", "{log}"), share=3, base="py_file"),
    Row("py_rotating_shim", "RotatingFileHandler of 20 MB, mplogshim", PYTHON, ("peer_python.py", "larger", "{log}"),
        keys=SHIM, share=3, base="py_file"),
    Row("py_concurrent", "concurrent-log-handler", PYTHON, ("peer_python.py", "concurrent", "{log}"), share=3,
        base="py_file", packages=("python3-concurrent-log-handler", "python3-portalocker")),
)
