#!/usr/bin/env python3
"""Writes one key a thousand times in about ten milliseconds and prints how many updates crossed to the peers.

    coalesce.py --up DATA/up.json [--writes 1000] [--milliseconds 10] [--crossings-max 20]

Exit code 1 when more than a few updates crossed to any one peer, or a peer does not hold the last value in time.
"""

import argparse
import json
import pathlib
import sys
import time
import urllib.request
from dataclasses import dataclass

from resp import Connection, encode, parse_address

BURSTS = 10
ARRIVAL_SECONDS_MAX = 10
# Usually 5 to 11: at most one each millisecond. Twice that leaves room for a busy machine.
CROSSINGS_MAX = 20


@dataclass
class Region:
    redis: tuple
    admin: tuple


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--up", required=True, help="up.json of the running regions")
    parser.add_argument("--writes", type=int, default=1000)
    parser.add_argument("--milliseconds", type=float, default=10)
    parser.add_argument(
        "--crossings-max", type=int, default=CROSSINGS_MAX,
        help=f"updates that may cross to each peer (default {CROSSINGS_MAX})",
    )
    arguments = parser.parse_args()
    source, *peers = read_up(arguments.up)
    before = update_counts_by_peer(source)
    took_ms, last = write(source, arguments)
    arrived = wait_for_value(peers, last)
    after = update_counts_by_peer(source)
    print(f"{arguments.writes} writes of one key in {took_ms:.1f} ms")
    is_few = True
    for peer, counts in after.items():
        sent, coalesced = (counts[name] - before[peer][name] for name in ("sent", "coalesced"))
        few = sent <= arguments.crossings_max
        is_few = is_few and few
        print(f"{sent} updates crossed to {peer}, {coalesced} were coalesced (at most {arguments.crossings_max} may "
              f"cross){'' if few else '  MISSED'}")
    print("every peer holds the last value" if arrived else "a peer does NOT hold the last value")
    return 0 if arrived and is_few else 1


def read_up(path):
    """The regions of an `up.json`."""
    regions = json.loads(pathlib.Path(path).read_text())["regions"]
    return [Region(parse_address(row["redis"]), parse_address(row["admin"])) for row in regions]


def update_counts_by_peer(region):
    """Updates that a region sent to each peer, and updates that it coalesced instead, since its start."""
    with urllib.request.urlopen(f"http://{region.admin[0]}:{region.admin[1]}/status", timeout=5) as response:
        return {link["region"]: link["updates"] for link in json.load(response)["links"]}


def write(source, arguments):
    """Ten writes to the socket, evenly spread; how long they took in ms, and the last value."""
    per_burst = arguments.writes // BURSTS
    bursts = [
        b"".join(encode(("SET", "hot", f"{time.time_ns()}:{burst * per_burst + i}")) for i in range(per_burst))
        for burst in range(BURSTS - 1)
    ]
    last = f"{time.time_ns()}:last".encode()
    rest = arguments.writes - per_burst * (BURSTS - 1)
    bursts.append(b"".join(encode(("SET", "hot", last)) for _ in range(rest)))
    with Connection(source.redis) as connection:
        started = time.monotonic()
        for number, burst in enumerate(bursts):
            time.sleep(max(0.0, started + number * arguments.milliseconds / BURSTS / 1000 - time.monotonic()))
            connection.send(burst)
        for _ in range(arguments.writes):
            connection.read()
        return (time.monotonic() - started) * 1000, last


def wait_for_value(peers, value):
    deadline = time.monotonic() + ARRIVAL_SECONDS_MAX
    while time.monotonic() < deadline:
        held = []
        for peer in peers:
            with Connection(peer.redis) as connection:
                held.append(connection.ask("GET", "hot"))
        if all(found == value for found in held):
            return True
        time.sleep(0.05)
    return False


if __name__ == "__main__":
    sys.exit(main())
