#!/usr/bin/env python3
"""Writes keys together in one region, and reads them together in the others, which must never see a part.

    units.py --servers 127.0.0.1:6401,127.0.0.1:6402,127.0.0.1:6403 [--rounds 1000] [--up DATA/up.json]

Three runs: units of two keys that share a key with the next; amounts moved around a ring of counters; and a transaction that no
link would take, which is refused and stops nothing. With --up also a fourth: the last region's node stands still until the
log of the first has dropped what it lacks, and is read while it is swept to. The servers are flushed first. Ends with
`N passed, N failed`.
"""

import argparse
import itertools
import json
import os
import re
import signal
import sys
import threading
import time
import urllib.request

from resp import Closed, Connection, Silent, parse_address

RINGS = 50
KEYS = 3
ARRIVAL_SECONDS_MAX = 10
LARGE_BYTES = 400_000_000
# Long keys fill a log soon. Of so many, none shares a record with its last write.
FILLERS = 3_000
FILLER_KEY_BYTES = 30_000
STANDSTILL_SECONDS = 5
SWEEP_SECONDS_MAX = 120
SHOWN = 3


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--servers", required=True, help="host:port of each region, separated by commas")
    parser.add_argument("--rounds", type=int, default=1000)
    parser.add_argument("--up", help="up.json of these servers")
    arguments = parser.parse_args()
    servers = [parse_address(text) for text in arguments.servers.split(",")]
    results = []
    for run in (overlapping, transfers, large) + ((swept,) if arguments.up else ()):
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
        connection.pipeline([overlap(ring, turn, pairs) for ring in range(RINGS)])

    return watch(servers, arguments, "o", write, lambda values: is_in_part(values, pairs))


def overlap(ring, turn, pairs):
    keys, at = names("o", ring), turn % KEYS
    pairs[turn] = (at, at if turn % 4 == 3 else (at + 1) % KEYS)
    return ["MSET"] + [part for k in pairs[turn] for part in (keys[k], turn)]


def is_in_part(values, pairs):
    numbers = [int(value or 0) for value in values]
    return any(numbers[other] < number for number in numbers if number for other in pairs[number])


def transfers(servers, arguments):
    """Moves amounts from each counter of a ring to the next: they sum to nothing."""

    def write(connection, turn):
        connection.pipeline([command for ring in range(RINGS) for command in transfer(ring, turn)])

    return watch(servers, arguments, "t", write, lambda values: sum(int(value or 0) for value in values) != 0)


def transfer(ring, turn):
    keys, at = names("t", ring), turn % KEYS
    return [["MULTI"], ["DECRBY", keys[at], turn], ["INCRBY", keys[(at + 1) % KEYS], turn], ["EXEC"]]


def swept(servers, arguments):
    """Units of the first kind go on while the last region stands still, falls off the log, and is swept to."""
    regions = json.load(open(arguments.up))["regions"]
    pairs, last = {}, regions[-1]
    sweeps = sweeps_of(regions[0], last)

    def write(connection, turn):
        connection.pipeline([overlap(ring, turn, pairs) for ring in range(RINGS)])
        if turn == arguments.rounds // 4:
            os.kill(last["pid"], signal.SIGSTOP)
            fill(connection, regions[0])
        if turn == arguments.rounds // 2:
            time.sleep(STANDSTILL_SECONDS)
            os.kill(last["pid"], signal.SIGCONT)
            # What is written meanwhile would soon hide what the sweep tears.
            wait_until(lambda: state(servers[-1], "o") == state(servers[0], "o"), SWEEP_SECONDS_MAX)

    try:
        ok = watch([servers[0], servers[-1]], arguments, "o", write, lambda values: is_in_part(values, pairs), SWEEP_SECONDS_MAX)
    finally:
        os.kill(last["pid"], signal.SIGCONT)
    more = sweeps_of(regions[0], last) - sweeps
    print(f"swept: {more:.0f} sweeps of {regions[0]['region']} to {last['region']}")
    return ok and more > 0


def fill(connection, region):
    """Writes long keys until the log is as full as it may be, and has dropped its oldest part."""
    deadline = time.monotonic() + SWEEP_SECONDS_MAX
    for number in itertools.cycle(range(0, FILLERS, 100)):
        keys = [f"filler:{n}:".ljust(FILLER_KEY_BYTES, ".") for n in range(number, number + 100)]
        connection.pipeline([["SET", key, "v"] for key in keys])
        is_full = metric(region, "greenwich_log_bytes") > 0.95 * metric(region, "greenwich_log_limit_bytes")
        if (is_full and number == 0) or time.monotonic() > deadline:
            return


def sweeps_of(region, peer):
    return metric(region, "greenwich_link_sweeps_total", f'peer="{peer["region"]}"')


def metric(region, name, label=""):
    text = urllib.request.urlopen(f"http://{region['admin']}/metrics", timeout=10).read().decode()
    return sum(float(value) for labels, value in re.findall(rf"^{name}(\S*) (\S+)$", text, re.M) if label in labels)


def watch(servers, arguments, kind, write, is_torn, arrival_seconds=ARRIVAL_SECONDS_MAX):
    done = threading.Event()
    seen, torn, failed = [], [], []

    def read(server):
        try:
            # One that stands still answers when it goes on.
            with Connection(server, timeout=arrival_seconds) as connection:
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
    arrived = wait_until(lambda: all(state(server, kind) == state(servers[0], kind) for server in servers[1:]), arrival_seconds)
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


def wait_until(is_so, seconds=ARRIVAL_SECONDS_MAX):
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if is_so():
            return True
        time.sleep(0.1)
    return False


if __name__ == "__main__":
    sys.exit(main())
