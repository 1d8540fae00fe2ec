#!/usr/bin/python3
"""Sends numbered requests to an HTTP server on a Unix socket: http_client.py SOCKET CONNECTIONS FIRST_WRITER COUNT

Each connection stays open and sends requests 1 to COUNT, each when the one before it was answered; the line of line.h
is in its X-Line header, for the server to log.
"""

import multiprocessing
import socket
import sys

sys.dont_write_bytecode = True

from writer import make_line


def read_answer(stream):
    status = stream.readline()
    if b" 204 " not in status:
        sys.exit(f"not the answer that was expected: {status}")
    while stream.readline() not in (b"\r\n", b""):
        pass


def run_connection(path, writer, count):
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(path)
        stream = connection.makefile("rb")
        for number in range(1, count + 1):
            request = f"GET /{writer}/{number} HTTP/1.1\r\nHost: test\r\nX-Line: {make_line(writer, number)}\r\n\r\n"
            connection.sendall(request.encode())
            read_answer(stream)


def main():
    path, connections, first, count = sys.argv[1], *map(int, sys.argv[2:])
    children = [multiprocessing.Process(target=run_connection, args=(path, first + i, count))
                for i in range(connections)]
    for child in children:
        child.start()
    for child in children:
        child.join()
        if child.exitcode != 0:
            sys.exit(1)


main()
