#!/usr/bin/python3
"""Sends numbered requests to an HTTP server: requests.py PORT WRITERS FIRST_WRITER COUNT [RATE]

Each of WRITERS sends requests /WRITER/1 to /WRITER/COUNT to 127.0.0.1:PORT, RATE a second, each on a connection of its
own, when the server has closed the one before: then it has logged it. Their user agent, which servers put at the end of
a line of their log, is the line of line.h. A server that does not listen yet is waited for.
"""

import multiprocessing
import socket
import sys
import time

sys.dont_write_bytecode = True

from writer import make_line

PATIENCE = 120  # seconds


def connect(port):
    deadline = time.monotonic() + PATIENCE
    while True:
        try:
            return socket.create_connection(("127.0.0.1", port), PATIENCE)
        except ConnectionRefusedError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.02)


def send_request(port, writer, number):
    request = (f"GET /{writer}/{number} HTTP/1.1\r\nHost: localhost\r\nUser-Agent: {make_line(writer, number)}\r\n"
               "Connection: close\r\n\r\n")
    with connect(port) as connection:
        connection.sendall(request.encode())
        with connection.makefile("rb") as stream:
            answer = stream.read()
    if not answer.startswith(b"HTTP/1.1 404 "):
        sys.exit(f"/{writer}/{number}: not the answer that was expected: {answer[:80]}")


def run_writer(port, writer, count, rate):
    begun = time.monotonic()
    for number in range(1, count + 1):
        send_request(port, writer, number)
        if rate:
            time.sleep(max(0, begun + number / rate - time.monotonic()))


def main():
    port, writers, first, count, *rate = map(int, sys.argv[1:])
    children = [multiprocessing.Process(target=run_writer, args=(port, first + i, count, *(rate or [0])))
                for i in range(writers)]
    for child in children:
        child.start()
    for child in children:
        child.join()
    sys.exit(any(child.exitcode for child in children))


main()
