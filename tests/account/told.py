#!/usr/bin/python3
"""The account of scribes: every byte that a write was told to be taken is in one file of the log's history, once.

    told.py [--naming number|time] [--max-bytes N] [--min-rotations N] [--min-errors N] [--writer W=COUNT]...
            [--aside FILE]... LOG [TOLD...]
    told.py --answers TOLD

Each TOLD is the record of one scribe (scribe.c), and named by its writer's number: "told.7". A file of the log must
hold whole writes and nothing else, each writer's in order. Of a write that nobody was told about, because its scribe
was killed in it, all may be there, or nothing, or a beginning that ends with a page of the file, which is where the
kernel stops; the next writer ends that line, with a newline, as it does when a full disk cut a line there. --writer adds
a writer of the lines 1 to COUNT that is no scribe; 0-COUNT: it was killed, and any number of them may be there. --aside
adds a file that an administrator took away; its place in the history follows from its lines, if of several the one that
was taken away last comes first. The account goes to standard output, what is wrong to standard error; exit status 0 if
all is well, 1 if not. --answers shows what the writes were answered: how many got all that they asked for ("3 x
whole"), then what the next ones were, and so on.
"""

import argparse
import collections
import errno
import gzip
import itertools
import os
import re
import struct
import sys

LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-" * 300
ATTEMPT = struct.Struct("=IIIi")
NOT_TOLD = -0x80000000
PAGE = 4096
WRITER = re.compile(rb"w=(\d+) n=(\d+) ")
EXAMPLES_MOST = 10

Piece = collections.namedtuple("Piece", "data told")


def make_line(writer, number, length):
    offset = (7 * number + 13 * writer) % 64
    checksum = (7919 * number + 10473 * writer + 31 * length + offset) % 65521
    return f"w={writer} n={number} len={length} {LETTERS[offset:offset + length]} sum={checksum}\n".encode()


def writer_of(path):
    return int(os.path.basename(path).rsplit(".", 1)[1])


def read_attempts(path):
    """(number, offset, length, told) of each write, in order."""
    with open(path, "rb") as file:
        while len(record := file.read(ATTEMPT.size)) == ATTEMPT.size:
            attempt = ATTEMPT.unpack(record)
            if attempt[0] == 0:
                return
            yield attempt


def answer(writer, number, offset, length, told):
    if told == NOT_TOLD:
        return "killed"
    if told < 0:
        return errno.errorcode[-told]
    asked = len(make_line(writer, number, length)) - offset
    return "whole" if told == asked else f"{told} of {asked} bytes"


def print_answers(path):
    writer = writer_of(path)
    answers = (answer(writer, *attempt) for attempt in read_attempts(path))
    for text, group in itertools.groupby(answers):
        print(f"{len(list(group))} x {text}")


class Scribe:
    """What one writer wrote, and how much of it was found."""

    def __init__(self, writer):
        self.writer = writer
        self.pieces = []
        self.errors = 0
        self.next = 0

    @classmethod
    def of_record(cls, path):
        scribe = cls(writer_of(path))
        for number, offset, length, told in read_attempts(path):
            if told == NOT_TOLD or told > 0:
                line = make_line(scribe.writer, number, length)[offset:]
                scribe.pieces.append(Piece(line if told == NOT_TOLD else line[:told], told != NOT_TOLD))
            else:
                scribe.errors += told < 0
        return scribe

    @classmethod
    def of_lines(cls, words):
        """W=COUNT or W=0-COUNT, of the lines that every writer of the tests writes."""
        writer, count = words.split("=")
        scribe = cls(int(writer))
        killed = count.startswith("0-")
        for number in range(1, int(count.removeprefix("0-")) + 1):
            line = make_line(scribe.writer, number, 20 + (37 * number + 11 * scribe.writer) % 281)
            scribe.pieces.append(Piece(line, not killed))
        return scribe

    def piece(self):
        return self.pieces[self.next] if self.next < len(self.pieces) else None


class Account:
    """Goes through the files of a log, oldest first, and takes them apart into the scribes' writes."""

    def __init__(self, scribes):
        self.scribes = {scribe.writer: scribe for scribe in scribes}
        self.problems = 0
        self.taken = self.begun = self.bytes = 0
        self.doubtful = []  # scribes, and how far they were, of whom a newline was found that may be a mend

    def problem(self, text):
        self.problems += 1
        if self.problems <= EXAMPLES_MOST:
            print(f"told.py: {text}", file=sys.stderr)

    def take(self, data, at):
        """The end of the write at `at`, which is the next one of some scribe; None if it is not."""
        named = WRITER.match(data, at)
        writer = named and self.scribes.get(int(named[1]))
        scribe = self.fitting([writer], data, at) if writer else None
        scribe = scribe or self.fitting(self.scribes.values(), data, at)  # a write may be as short as a byte
        if scribe is None:
            return None
        end = at + len(scribe.piece().data)
        scribe.next += 1
        self.taken += 1
        if end == self.take_mend(data, at):
            self.doubtful.append((scribe, scribe.next))
        return end

    def take_doubtful(self, data, at):
        """The newline of a scribe, cut off before it, that was taken for found where the line was mended."""
        for scribe, position in self.doubtful:
            if scribe.next == position and data[at:at + 1] == b"\n":
                self.doubtful.remove((scribe, position))
                return at + 1
        return None

    @staticmethod
    def fitting(scribes, data, at):
        fitting = [scribe for scribe in scribes if scribe.piece() and data.startswith(scribe.piece().data, at)]
        return max(fitting, key=lambda scribe: len(scribe.piece().data), default=None)

    def take_beginning(self, data, at):
        """The beginning of a write whose scribe was killed in it: up to a page's end, and a newline."""
        for scribe in self.scribes.values():
            piece = scribe.piece()
            if piece is None or piece.told:
                continue
            size = len(os.path.commonprefix([piece.data, data[at:at + len(piece.data)]]))
            end = at + size
            if size > 0 and end % PAGE == 0 and (end == len(data) or data[end:end + 1] == b"\n"):
                scribe.next += 1
                self.begun += 1
                return end + 1 if end < len(data) else end
        return None

    @staticmethod
    def take_mend(data, at):
        """The newline that keeps a line whole which follows a short write."""
        mended = at > 0 and at % PAGE == 0 and data[at - 1:at] != b"\n" and data[at:at + 1] == b"\n"
        return at + 1 if mended else None

    def check_file(self, path, data):
        at = 0
        while at < len(data):
            end = (self.take(data, at) or self.take_beginning(data, at) or self.take_mend(data, at) or
                   self.take_doubtful(data, at))
            if end is None:
                self.problem(f"{path}:{at}: nobody's next write: {data[at:at + 120]!r}")
                end = self.skip(data, at)
            at = end
        self.bytes += len(data)

    def skip(self, data, at):
        """Behind the line at `at`; a writer whose line it is goes on from there, so that each thing is told once."""
        end = data.find(b"\n", at) + 1 or len(data)
        named = WRITER.match(data, at)
        scribe = named and self.scribes.get(int(named[1]))
        if scribe:
            later = [i for i in range(scribe.next, len(scribe.pieces)) if scribe.pieces[i].data == data[at:end]]
            if later:
                lost = sum(piece.told for piece in scribe.pieces[scribe.next:later[0]])
                self.problem(f"writer {scribe.writer}: {lost} writes are not here, before line {named[2].decode()}")
                scribe.next = later[0] + 1
        return end

    def finish(self):
        for scribe in self.scribes.values():
            rest = [piece for piece in scribe.pieces[scribe.next:] if piece.told and piece.data]
            if rest:
                self.problem(f"lost: {len(rest)} writes of writer {scribe.writer}, the first {rest[0].data[:60]!r}")


def history_key(name, base, naming):
    """Where a file belongs in the order, oldest first; None for what is no file of the history."""
    if name == base:
        return (3,)
    pending = re.fullmatch(rf"\.{re.escape(base)}\.([0-9a-fA-F]{{16}})\.-?\d+\.pending", name)
    if pending:
        return (2, int(pending[1], 16))
    form = r"([1-9]\d*)" if naming == "number" else r"(\d{4}-\d\d-\d\d(?:_\d\d(?:-\d\d(?:-\d\d)?)?)?)(?:\.([1-9]\d*))?"
    archive = re.fullmatch(rf"{re.escape(base)}\.{form}(?:\.gz)?", name)
    if not archive:
        return None
    return (1, -int(archive[1])) if naming == "number" else (1, archive[1], int(archive[2] or 0))


def place_aside(files, aside):
    """Each file that was taken away comes before the first one in which one of its writers went on.

    That may be another one that was taken away, later.
    """
    numbers = {}
    for path in [path for _, path in files] + aside:
        lines = [(int(writer), int(number)) for writer, number in WRITER.findall(read_file(path))]
        numbers[path] = {writer: [n for w, n in lines if w == writer] for writer in {w for w, _ in lines}}
    for path in aside:
        mine = numbers[path]
        place = (i for i, (_, other) in enumerate(files)
                 if any(max(numbers[other][writer]) > max(mine[writer]) for writer in mine.keys() & numbers[other].keys()))
        files.insert(next(place, len(files)), ((1,), path))


def read_file(path):
    with (gzip.open if path.endswith(".gz") else open)(path, "rb") as file:
        return file.read()


def read_history(log, naming, aside, account):
    directory, base = os.path.split(log)
    files = []
    for name in os.listdir(directory):
        key = history_key(name, base, naming)
        if key:
            files.append((key, os.path.join(directory, name)))
        elif name.lstrip(".").startswith(base + ".") and name != f".{base}.lock":
            account.problem(f"{name} is left over")
    files.sort()
    if aside:
        place_aside(files, aside)
    for key, path in files:
        try:
            yield key, path, read_file(path)
        except (OSError, EOFError) as error:
            account.problem(f"{path} cannot be read: {error}")


def parse_arguments():
    parser = argparse.ArgumentParser()
    parser.add_argument("--naming", choices=("number", "time"), default="number")
    parser.add_argument("--max-bytes", type=int, default=0)
    parser.add_argument("--min-rotations", type=int, default=0)
    parser.add_argument("--min-errors", type=int, default=0)
    parser.add_argument("--answers", action="store_true")
    parser.add_argument("--writer", action="append", default=[])
    parser.add_argument("--aside", action="append", default=[])
    parser.add_argument("files", nargs="+")
    return parser.parse_args()


def main():
    arguments = parse_arguments()
    if arguments.answers:
        print_answers(arguments.files[0])
        return 0
    log, *told = arguments.files
    scribes = [Scribe.of_record(path) for path in told] + [Scribe.of_lines(words) for words in arguments.writer]
    account = Account(scribes)
    archives = pending = 0
    for key, path, data in read_history(log, arguments.naming, arguments.aside, account):
        archives += key[0] == 1
        pending += key[0] == 2 and len(data) > 0
        if key[0] < 3 and not data:
            account.problem(f"{path} is empty")
        if arguments.max_bytes and len(data) > arguments.max_bytes:
            account.problem(f"{path} has {len(data)} bytes, more than {arguments.max_bytes}")
        account.check_file(path, data)
    account.finish()
    if archives + pending < arguments.min_rotations:
        account.problem(f"{archives + pending} rotations, not {arguments.min_rotations} or more")
    errors = sum(scribe.errors for scribe in account.scribes.values())
    if errors < arguments.min_errors:
        account.problem(f"{errors} errors were told, not {arguments.min_errors} or more")
    print(f"writes found {account.taken}, {account.begun} begun and killed; errors told {errors}; problems "
          f"{account.problems}; {account.bytes} bytes in {archives} archives, {pending} pending, and the live file")
    return 1 if account.problems else 0


if __name__ == "__main__":
    sys.exit(main())
