#!/usr/bin/env python3
"""Kills a region's node again and again under load, and looks whether the data is right afterwards.

    lives.py --up DATA/up.json --binary target/release/greenwich [--rounds 5] [--rate 10000] [--verify-seconds 10]

Every round: writes in every region, `kill -9` of one node at a random moment, a new start of it by hand, and then

- it answers LOADING, or not at all, until `/readyz` is 200;
- `greenwich verify` finds all regions equal, while the load goes on;
- with the load stopped: no key differs between regions, no key that was deleted before the kill is alive, and each
  counter lies between what its surviving writers were told and what all were told. The difference, which died with the
  node, is printed.

The ledger is the clients': nothing that a server says of itself is believed. Ends with `N passed, N failed`.
"""

import argparse
import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request

from resp import Closed, Connection, Error, Silent, parse_address

COUNTERS = 20
PLAIN_KEYS = 2_000
PIPELINE = 20
READY_SECONDS_MAX = 60
SHOWN = 5


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--up", required=True, help="up.json of running regions")
    parser.add_argument("--binary", required=True, help="the greenwich program")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--rate", type=int, default=10_000, help="writes per second in all regions together")
    parser.add_argument("--verify-seconds", type=float, default=10.0)
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    regions = [Region(found, arguments) for found in json.load(open(arguments.up))["regions"]]
    rng = random.Random(arguments.seed)
    with Connection(regions[0].redis) as first:
        first.call("FLUSHALL")
    results = []
    try:
        for number in range(arguments.rounds):
            results.append(run_round(number, regions, rng, arguments))
    finally:
        for region in regions:
            region.stop()
    print(f"{results.count(True)} passed, {results.count(False)} failed")
    return 0 if results and all(results) else 1


class Region:
    """One region's node and what its clients were told."""

    def __init__(self, found, arguments):
        self.name = found["region"]
        self.redis = parse_address(found["redis"])
        self.admin = found["admin"]
        self.pid = found["pid"]
        self.binary = arguments.binary
        self.config = os.path.join(os.path.dirname(os.path.abspath(arguments.up)), self.name, "node.toml")
        self.process = None

    def kill(self):
        os.kill(self.pid, signal.SIGKILL)
        if self.process:
            self.process.wait()

    def start(self):
        log = open(os.path.join(os.path.dirname(self.config), "node.log"), "ab")
        command = [self.binary, "node", "--config", self.config]
        self.process = subprocess.Popen(command, stdout=log, stderr=log)
        self.pid = self.process.pid

    def stop(self):
        if self.process:
            self.process.terminate()
            self.process.wait()

    def is_ready(self):
        try:
            return urllib.request.urlopen(f"http://{self.admin}/readyz", timeout=2).status == 200
        except (urllib.error.URLError, OSError):
            return False


class Load:
    """Writers of one region: plain keys, deletions, counters. Notes what was acknowledged."""

    def __init__(self, region, number, rate):
        self.region = region
        self.rate = rate
        self.prefix = f"{region.name}:{number}"
        self.deleted = {}
        self.counted = [0] * COUNTERS
        self.unknown = [0] * COUNTERS
        self.errors = set()
        self.is_over = threading.Event()
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.thread.start()

    def run(self):
        rng = random.Random(self.prefix)
        turn = 0
        next_at = time.monotonic()
        while not self.is_over.is_set():
            try:
                with Connection(self.region.redis, timeout=2) as connection:
                    while not self.is_over.is_set():
                        turn += 1
                        self.write(connection, rng, turn)
                        next_at = max(next_at + PIPELINE / self.rate, time.monotonic() - 1)
                        time.sleep(max(0.0, next_at - time.monotonic()))
            except (OSError, Closed, Silent):
                # The node is down, or has just died: tried again until the load is over.
                self.is_over.wait(0.05)

    def write(self, connection, rng, turn):
        counters = [rng.randrange(COUNTERS) for _ in range(PIPELINE // 4)]
        plain = [rng.randrange(PLAIN_KEYS) for _ in range(PIPELINE // 2)]
        short = f"short:{self.prefix}:{turn}"
        commands = [("INCR", f"counter:{counter}") for counter in counters]
        commands += [("SET", f"plain:{key}", f"{self.prefix}:{turn}") for key in plain]
        commands += [("SET", short, turn), ("EXPIRE", short, 2), ("SET", f"gone:{self.prefix}:{turn}", turn)]
        commands += [("DEL", f"gone:{self.prefix}:{turn - 1}")]
        for counter in counters:
            self.unknown[counter] += 1
        replies = connection.pipeline(commands)
        errors = {bytes(reply) for reply in replies if isinstance(reply, Error)}
        self.errors |= errors
        for counter, reply in zip(counters, replies):
            self.unknown[counter] -= 1
            self.counted[counter] += isinstance(reply, int)
        if not errors:
            self.deleted[f"gone:{self.prefix}:{turn - 1}"] = time.monotonic()

    def stop(self):
        self.is_over.set()
        self.thread.join()


def run_round(number, regions, rng, arguments):
    victim = rng.choice(regions)
    loads = [Load(region, number, arguments.rate / len(regions)) for region in regions]
    time.sleep(1 + rng.random())
    died = time.monotonic()
    victim.kill()
    time.sleep(rng.random())
    victim.start()
    started = time.monotonic()
    problems = []
    early = wait_until_ready(victim)
    ready = time.monotonic()
    if ready - started > READY_SECONDS_MAX:
        problems.append(f"not ready after {READY_SECONDS_MAX} s")
    problems += early
    took = verify(regions, arguments)
    if took is None:
        problems.append(f"verify did not find the regions equal within {arguments.verify_seconds:g} s")
    for load in loads:
        load.stop()
    verify(regions, arguments)
    for load in loads:
        strange = {error for error in load.errors if not error.startswith(b"LOADING")}
        problems += [f"{load.region.name} answered {error}" for error in sorted(strange)[:SHOWN]]
    problems += compare(regions)
    problems += resurrected(regions, loads, died)
    tail, wrong = count(regions, loads, victim)
    problems += wrong
    shown = "equal" if took is None else f"equal {took:.1f} s after"
    print(f"round {number}: {victim.name} killed; ready after {ready - started:.2f} s, {shown}; "
          f"{tail} increments died with it; {'; '.join(problems) or 'nothing differs'}")
    return not problems


def wait_until_ready(region):
    """Waits for `/readyz`. Returns what a client saw that it should not have: an answer about keys before that."""
    early = []
    deadline = time.monotonic() + READY_SECONDS_MAX
    while time.monotonic() < deadline:
        answer = None
        try:
            with Connection(region.redis, timeout=1) as connection:
                answer = connection.call("GET", "plain:1").plain()
        except (OSError, Closed, Silent):
            pass
        if region.is_ready():
            break
        if answer is not None and not isinstance(answer, Error) and not region.is_ready():
            early.append(f"answered {answer!r} before it was ready")
        time.sleep(0.02)
    return early[:1]


def verify(regions, arguments):
    """Seconds until `greenwich verify` said that all regions are equal; `None` when it did not."""
    started = time.monotonic()
    admins = [region.admin for region in regions]
    command = [arguments.binary, "verify", "--timeout", f"{arguments.verify_seconds:g}s", "--admin", *admins]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode == 0:
        return time.monotonic() - started
    print(done.stdout + done.stderr)
    return None


def contents(region):
    with Connection(region.redis, timeout=10) as connection:
        keys, cursor = [], b"0"
        while True:
            cursor, page = connection.call("SCAN", cursor, "COUNT", 1000).plain()
            keys += page
            if cursor == b"0":
                break
        values = {}
        for start in range(0, len(keys), 500):
            part = keys[start : start + 500]
            values.update(zip(part, connection.call("MGET", *part).plain()))
        # What expires while it is looked at is no difference.
        return {key: value for key, value in values.items() if not key.startswith(b"short:")}


def compare(regions):
    states = [contents(region) for region in regions]
    names = sorted(set().union(*states))
    differing = [name for name in names if len({state.get(name) for state in states}) > 1]
    return [f"{len(differing)} of {len(names)} keys differ, such as {differing[:SHOWN]}"] if differing else []


def resurrected(regions, loads, died):
    """Keys whose deletion was acknowledged a second before the kill, and which are alive."""
    deleted = [key for load in loads for key, at in load.deleted.items() if at < died - 1]
    alive = []
    for region in regions:
        with Connection(region.redis, timeout=10) as connection:
            for start in range(0, len(deleted), 500):
                part = deleted[start : start + 500]
                values = connection.call("MGET", *part).plain()
                alive += [key for key, value in zip(part, values) if value is not None]
    return [f"{len(alive)} deleted keys are alive, such as {alive[:SHOWN]}"] if alive else []


def count(regions, loads, victim):
    """How many acknowledged increments died with the node, and what is wrong with the counters."""
    wrong, tail = [], 0
    with Connection(regions[0].redis, timeout=10) as connection:
        values = connection.call("MGET", *[f"counter:{at}" for at in range(COUNTERS)]).plain()
    for at, value in enumerate(values):
        told = sum(load.counted[at] for load in loads) + BEFORE[at]
        unknown = sum(load.unknown[at] for load in loads)
        of_victim = sum(load.counted[at] for load in loads if load.region is victim)
        found = int(value or 0)
        if not told - of_victim <= found <= told + unknown:
            wrong.append(f"counter {at} is {found}, of {told} that were acknowledged, {of_victim} by the node that died")
        tail += max(0, told - found)
        BEFORE[at] = found
    return tail, wrong


# What counters were at the end of the round before.
BEFORE = [0] * COUNTERS

if __name__ == "__main__":
    sys.exit(main())
