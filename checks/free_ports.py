#!/usr/bin/env python3
"""Prints the first of COUNT neighbouring ports that are free at the moment, TCP and UDP.

    free_ports.py COUNT
"""

import contextlib
import os
import socket
import sys


def free_ports(count):
    for start in range(20_000 + os.getpid() % 10_000, 60_000, count):
        with contextlib.ExitStack() as sockets:
            try:
                for port in range(start, start + count):
                    for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM):
                        sockets.enter_context(socket.socket(type=kind)).bind(("127.0.0.1", port))
                return start
            except OSError:
                continue
    raise SystemExit("no free ports")


if __name__ == "__main__":
    print(free_ports(int(sys.argv[1])))
