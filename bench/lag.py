#!/usr/bin/env python3
"""Replication lag: from a write in one region to its visibility in another, under a steady rate of updates.

    lag.py --from 127.0.0.1:6401 --to 127.0.0.1:6402 --one-way-ms 40 [--rate 10000] [--seconds 20]

Probe keys carry their own send time; the reader polls all that are under way without pause. Printed are percentiles
minus the one-way delay, and the reader's own polling interval, which is the error of the measurement.
"""

import argparse
import json
import multiprocessing
import random
import sys
import time

from regions import Connection, parse_address
from resp import encode

KEYS = 100_000
VALUE_BYTES = 100
TICK_SECONDS = 0.001
PROBE_EVERY_SECONDS = 0.005
WARM_UP_SECONDS = 2.0
LATE_SECONDS_MAX = 5.0
PREPARED = 20_000


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--from", dest="source", type=parse_address, required=True, help="host:port that is written")
    parser.add_argument("--to", dest="target", type=parse_address, required=True, help="host:port that is read")
    parser.add_argument("--one-way-ms", type=float, required=True, help="delay of the link, subtracted")
    parser.add_argument("--rate", type=int, default=10_000, help="updates a second (default 10,000)")
    parser.add_argument("--seconds", type=float, default=20, help="measured time after the warm-up")
    parser.add_argument("--out", help="file for the result as JSON")
    arguments = parser.parse_args()
    run = f"{random.randrange(1 << 32):08x}"
    start = time.monotonic() + 0.5
    written = multiprocessing.Queue()
    writer = multiprocessing.Process(target=write, args=(arguments, run, start, written))
    writer.start()
    lags_ms, missing, polls, reading_seconds = read(arguments, run, start)
    updates, writing_seconds = written.get(timeout=30)
    writer.join()
    return report(arguments, lags_ms, missing, updates / writing_seconds, reading_seconds / max(polls, 1) * 1000)


def probe_count(arguments):
    return int((WARM_UP_SECONDS + arguments.seconds) / PROBE_EVERY_SECONDS)


def write(arguments, run, start, written):
    """Sends what is due at every tick: updates, and a probe every few ticks. Late ticks are made up for."""
    chance = random.Random(1)
    prepared = [
        encode((b"SET", b"key:%012d" % chance.randrange(KEYS), chance.randbytes(VALUE_BYTES))) for _ in range(PREPARED)
    ]
    total_seconds = WARM_UP_SECONDS + arguments.seconds
    sent, probes, replies_due = 0, 0, 0
    with Connection(arguments.source, timeout=30) as connection:
        time.sleep(max(0.0, start - time.monotonic()))
        while (elapsed := time.monotonic() - start) < total_seconds:
            due = int(elapsed * arguments.rate)
            batch = [prepared[i % PREPARED] for i in range(sent, due)]
            while probes * PROBE_EVERY_SECONDS <= elapsed and probes < probe_count(arguments):
                batch.append(encode((b"SET", probe_name(run, probes), b"%d" % time.monotonic_ns())))
                probes += 1
            connection.send(b"".join(batch))
            replies_due += len(batch)
            sent = max(sent, due)
            while replies_due:
                if connection.read().is_error():
                    raise SystemExit("a SET was refused")
                replies_due -= 1
            time.sleep(max(0.0, TICK_SECONDS - (time.monotonic() - start - elapsed)))
        written.put((sent, time.monotonic() - start))


def read(arguments, run, start):
    """Lags of the probes after the warm-up, how many never came, and how often was polled in which time."""
    outstanding, lags_ms, polls = {}, [], 0
    following, count = 0, probe_count(arguments)
    end = start + WARM_UP_SECONDS + arguments.seconds + LATE_SECONDS_MAX
    with Connection(arguments.target, timeout=30) as connection:
        time.sleep(max(0.0, start - time.monotonic()))
        began = time.monotonic()
        while (now := time.monotonic()) < end and (outstanding or following < count):
            while following < count and following * PROBE_EVERY_SECONDS <= now - start:
                outstanding[following] = probe_name(run, following)
                following += 1
            if not outstanding:
                continue
            polls += 1
            values = connection.ask("MGET", *outstanding.values())
            seen = time.monotonic_ns()
            for probe, value in zip(list(outstanding), values):
                if value is not None:
                    del outstanding[probe]
                    if probe * PROBE_EVERY_SECONDS >= WARM_UP_SECONDS:
                        lags_ms.append((seen - int(value)) / 1e6)
        return lags_ms, len(outstanding), polls, time.monotonic() - began


def probe_name(run, probe):
    return b"probe:%s:%d" % (run.encode(), probe)


def report(arguments, lags_ms, missing, rate, poll_ms):
    if not lags_ms:
        print("no probe arrived")
        return 1
    lags_ms.sort()
    over = {
        name: lags_ms[min(int(len(lags_ms) * share), len(lags_ms) - 1)] - arguments.one_way_ms
        for name, share in (("p50", 0.5), ("p90", 0.9), ("p99", 0.99), ("max", 1.0))
    }
    print(f"{len(lags_ms)} probes, {missing} never arrived; {rate:,.0f} updates/s written; polled every {poll_ms:.2f} ms")
    print("lag over one way: " + ", ".join(f"{name} {value:+.2f} ms" for name, value in over.items()))
    if arguments.out:
        with open(arguments.out, "w") as out:
            json.dump({"over_one_way_ms": over, "probes": len(lags_ms), "missing": missing, "updates_per_second": rate,
                       "poll_ms": poll_ms, "one_way_ms": arguments.one_way_ms}, out, indent=2)
    return 1 if missing else 0


if __name__ == "__main__":
    sys.exit(main())
