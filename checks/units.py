#!/usr/bin/env python3
"""Writes keys together in one region, and reads them together in the others, which must never see a part.

    units.py --servers 127.0.0.1:6401,127.0.0.1:6402,127.0.0.1:6403 [--rounds 1000]

Three runs: units of two keys that share a key with the next; amounts moved around a ring of counters; and a transaction that no
link would take, which is refused and stops nothing. The servers are flushed first. Ends with `N passed, N failed`.
"""

import argparse
import sys
import threading
import time

from resp import Closed, Connection, Silent, parse_address

RINGS = 50
KEYS = 3
ARRIVAL_SECONDS_MAX = 10
LARGE_BYTES = 400_000_000
SHOWN = 3


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--servers", required=True, help="host:port of each region, separated by commas")
    parser.add_argument("--rounds", type=int, default=1000)
    arguments = parser.parse_args()
    servers = [parse_address(text) for text in arguments.servers.split(",")]
    results = []
    for run in (overlapping, transfers, large):
        try:
            with Connection(servers[0]) as connection:
                connection.ask("FLUSHALL")
            results.append(run(servers, arguments))
        except (OSError, RuntimeError, Closed, Silent) as trouble:
            print(f"{run.__name__}: {trouble}")
            results.append(False)
    print(f"{results.count(True)} passed, {results.count(False)} failed")
    return 0 if all(results) else 1


def names(kind, ring):
    return [f"{kind}:{ring}:{at}" for at in range(KEYS)]


def overlapping(servers, arguments):
    """Unit n writes the number n to two neighbours of a ring; every third write is a plain one."""
    pairs = {}

    def write(connection, turn):
        commands = []
        for ring in range(RINGS):
            keys, at = names("o", ring), turn % KEYS
            pairs[turn] = (at, (at + 1) % KEYS)
            if turn % 4 == 3:
                pairs[turn] = (at, at)
            commands.append(["MSET"] + [part for k in pairs[turn] for part in (keys[k], turn)])
        connection.pipeline(commands)

    def is_torn(values):
        numbers = [int(value or 0) for value in values]
        return any(numbers[other] < number for number in numbers if number for other in pairs[number])

    return watch(servers, arguments, "o", write, is_torn)


def transfers(servers, arguments):
    """Moves amounts from each counter of a ring to the next: they sum to nothing."""

    def write(connection, turn):
        commands = []
        for ring in range(RINGS):
            keys, at = names("t", ring), turn % KEYS
            commands += [["MULTI"], ["DECRBY", keys[at], turn], ["INCRBY", keys[(at + 1) % KEYS], turn], ["EXEC"]]
        connection.pipeline(commands)

    return watch(servers, arguments, "t", write, lambda values: sum(int(value or 0) for value in values) != 0)


def watch(servers, arguments, kind, write, is_torn):
    done = threading.Event()
    seen, torn, failed = [], [], []

    def read(server):
        try:
            with Connection(server) as connection:
                while not done.is_set():
                    replies = connection.pipeline([["MGET"] + names(kind, ring) for ring in range(RINGS)])
                    seen.append(len(replies))
                    torn.extend((server, values) for values in replies if is_torn(values))
        except (OSError, Closed, Silent) as trouble:
            failed.append(trouble)

    readers = [threading.Thread(target=read, args=(server,)) for server in servers[1:]]
    for reader in readers:
        reader.start()
    with Connection(servers[0]) as connection:
        for turn in range(1, arguments.rounds + 1):
            write(connection, turn)
    arrived = wait_until(lambda: all(state(server, kind) == state(servers[0], kind) for server in servers[1:]))
    done.set()
    for reader in readers:
        reader.join()
    for server, values in torn[:SHOWN]:
        print(f"{server}: {values}")
    print(f"{write.__qualname__.split('.')[0]}: {len(torn)} of {sum(seen)} reads saw a part of a unit"
          f"{'' if arrived else '; the regions did NOT become equal'}{''.join(f'; {trouble}' for trouble in failed)}")
    return arrived and not torn and not failed


def large(servers, _):
    """Three values that no link takes together are refused, and what is written next arrives."""
    keys = ["large:a", "large:b", "large:c"]
    commands = [["MULTI"]] + [["SETRANGE", key, LARGE_BYTES, "x"] for key in keys] + [["EXEC"]]
    with Connection(servers[0]) as connection:
        refusal = connection.pipeline(commands)[-1]
        exists = connection.ask("EXISTS", *keys)
        connection.ask("SET", "large:next", "v")
    arrived = wait_until(lambda: all(holds(server, "large:next", b"v") for server in servers[1:]))
    print(f"large: EXEC answers {refusal!r}; what was written after it {'arrives' if arrived else 'does NOT arrive'}"[:200])
    return isinstance(refusal, bytes) and b"together" in refusal and exists == 0 and arrived


def holds(server, key, value):
    with Connection(server) as connection:
        return connection.ask("GET", key) == value


def state(server, kind):
    with Connection(server) as connection:
        return [connection.ask("MGET", *names(kind, ring)) for ring in range(RINGS)]


def wait_until(is_so):
    deadline = time.monotonic() + ARRIVAL_SECONDS_MAX
    while time.monotonic() < deadline:
        if is_so():
            return True
        time.sleep(0.1)
    return False


if __name__ == "__main__":
    sys.exit(main())
