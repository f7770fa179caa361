#!/usr/bin/env python3
"""Takes one region away for a while under load, and shows what the others notice of it.

    outage.py --binary target/release/greenwich [--seconds 60] [--rate 5000]
    outage.py --up DATA/up.json --cut 'COMMAND' --heal 'COMMAND'

The region's process is stopped with SIGSTOP and goes on with SIGCONT, unless commands are given that cut its link.
The first region is written all the time: values, and one counter. Compared are the latencies there before, during
and after; then every region must hold the same, and the counter every increment once. Exit code 1 when not.
"""

import argparse
import os
import signal
import statistics
import subprocess
import sys
import threading
import time

from regions import Connection, link_states, read_status, running
from resp import Error

KEYS = 100_000
BATCH = 50
COUNTER = "outage:counter"
WARM_UP_SECONDS = 3
CATCH_UP_SECONDS_MAX = 120
SAMPLE_SECONDS = 1.0


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--up", help="up.json of regions that run already")
    parser.add_argument("--binary", default="target/release/greenwich", help="to start three regions for the time of the run")
    parser.add_argument("--seconds", type=float, default=60, help="length of the outage, and of the times before and after")
    parser.add_argument("--rate", type=int, default=5000, help="writes a second")
    parser.add_argument("--cut", help="shell command that takes the second region away; default SIGSTOP")
    parser.add_argument("--heal", help="shell command that brings it back; default SIGCONT")
    arguments = parser.parse_args()
    with running(arguments.up, arguments.binary) as regions:
        return run(regions, arguments)


def run(regions, arguments):
    source, victim, *_ = regions
    with Connection(source.redis) as connection:
        connection.ask("FLUSHALL")
    load = Load(source, arguments.rate)
    time.sleep(WARM_UP_SECONDS)
    phases = {"before": load.during(arguments.seconds)}
    sweeps = sweep_count(source)
    switch(arguments.cut, victim, signal.SIGSTOP)
    try:
        phases["during"] = load.during(arguments.seconds, lambda: read_status(source)["log"]["bytes"])
        state = link_states(source)[victim.name]
    finally:
        switch(arguments.heal, victim, signal.SIGCONT)
    phases["after"] = load.during(arguments.seconds)
    load.stop()
    ended = time.monotonic()
    caught_up = wait_for_lag(regions)
    for name, latencies in phases.items():
        cuts = statistics.quantiles(latencies, n=1000)
        print(f"{name}: {len(latencies):,} batches of {BATCH}; latency p50 {cuts[499] * 1e3:.2f} ms, p99 {cuts[989] * 1e3:.2f} ms, "
              f"max {max(latencies) * 1e3:.1f} ms")
    print(f"link to {victim.name} at the end of the outage: {state}")
    print(f"log at its largest: {max(load.log_bytes) / 1e6:.1f} MB of {read_status(source)['log']['limit_bytes'] / 1e6:.0f} MB")
    print(f"sweeps over all keys that it needed: {sweep_count(source) - sweeps}")
    print(f"every region had everything {caught_up - ended:.1f} s after the last write" if caught_up else "a region did NOT catch up")
    equal = compare(regions, load.increments)
    return 0 if equal and caught_up else 1


class Load:
    """Writes batches to a region at a steady rate, on a thread of its own, and notes how long each took."""

    def __init__(self, region, rate):
        self.region = region
        self.interval = BATCH / rate
        self.latencies = []
        self.log_bytes = [0]
        self.increments = 0
        self.is_over = False
        self.thread = threading.Thread(target=self.write)
        self.thread.start()

    def write(self):
        value, number, due = b"v" * 100, 0, time.monotonic()
        with Connection(self.region.redis) as connection:
            while not self.is_over:
                # As many keys as are held in all are written in turn, each batch with one increment.
                commands = [("SET", f"key:{(number + i) % KEYS}", value + b"%d" % number) for i in range(BATCH - 1)]
                number += BATCH - 1
                time.sleep(max(0.0, due - time.monotonic()))
                replies = connection.pipeline([*commands, ("INCR", COUNTER)])
                if any(isinstance(reply, Error) for reply in replies):
                    raise SystemExit("a write was refused")
                # From the time at which it was due: a stall is seen by all that it holds up.
                self.latencies.append(time.monotonic() - due)
                self.increments += 1
                due += self.interval

    def during(self, seconds, look=None):
        """The latencies of the next `seconds`."""
        start, deadline = len(self.latencies), time.monotonic() + seconds
        while time.monotonic() < deadline:
            time.sleep(min(SAMPLE_SECONDS, max(0.0, deadline - time.monotonic())))
            if not self.thread.is_alive():
                raise SystemExit("the load ended early")
            if look:
                self.log_bytes.append(look())
        return self.latencies[start:]

    def stop(self):
        self.is_over = True
        self.thread.join()


def switch(command, region, number):
    if command:
        subprocess.run(command, shell=True, check=True)
    else:
        os.kill(region.pid, number)


def sweep_count(region):
    return sum(link["sweeps"] for link in read_status(region)["links"])


def wait_for_lag(regions):
    """When no link had anything left to send, or None."""
    deadline = time.monotonic() + CATCH_UP_SECONDS_MAX
    while time.monotonic() < deadline:
        links = [link for region in regions for link in read_status(region)["links"]]
        if all(link["state"] == "up" and link["lag_updates"] == 0 for link in links):
            return time.monotonic()
        time.sleep(0.1)
    return None


def compare(regions, increments):
    """Whether every region holds the same values, and every increment once."""
    states = []
    for region in regions:
        with Connection(region.redis, timeout=60) as connection:
            names = [f"key:{i}" for i in range(KEYS)]
            values = [value for start in range(0, KEYS, 1000)
                      for value in connection.pipeline([("GET", name) for name in names[start:start + 1000]])]
            states.append((values, int(connection.ask("GET", COUNTER))))
    differing = sum(len(set(column)) > 1 for column in zip(*(values for values, _ in states)))
    counters = [counter for _, counter in states]
    print(f"keys that differ: {differing} of {KEYS}; counter {counters}, {increments} increments")
    return differing == 0 and set(counters) == {increments}


if __name__ == "__main__":
    sys.exit(main())
