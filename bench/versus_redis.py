#!/usr/bin/env python3
"""CPU per command and memory per key of one region beside redis-server, in the same run.

    versus_redis.py --up DATA/up.json [--rounds 5] [--out result.json]
    versus_redis.py --binary target/release/greenwich

Starts redis-server itself. The runs alternate (redis, greenwich, redis, …). CPU is user + system time of the server's
process, replication to the peers included: it is read once the process is quiet again.
Exit code 1 when a target is missed, unless --report-only is given.
"""

import argparse
import contextlib
import json
import statistics
import subprocess
import sys
import time

import regions
from regions import Connection, cpu_seconds, rss_bytes, wait_quiet
from resp import Closed, Silent, encode

KEYS = 1_000_000
VALUE_BYTES = 100
CLIENTS = 50
LOAD_PIPELINE = 1000
# Name, redis-benchmark test, pipeline, requests, target ratio.
CASES = (
    ("GET, pipeline 16", "get", 16, 2_000_000, 0.6),
    ("SET, pipeline 16", "set", 16, 2_000_000, 1.0),
    ("GET, pipeline 1", "get", 1, 300_000, 1.15),
    ("SET, pipeline 1", "set", 1, 300_000, 1.15),
)
MEMORY_TARGET = 1.0
ARRIVAL_SECONDS_MAX = 60


def main():
    arguments = parse_arguments()
    with contextlib.ExitStack() as cleanup:
        redis = cleanup.enter_context(redis_server())
        cluster = cleanup.enter_context(regions.running(arguments.up, arguments.binary))
        subject, peers = cluster[0], cluster[1:]
        report = {"memory": measure_memory(redis, subject), "peers": []}
        wait_for_keys(peers)
        report["links_before"] = regions.link_states(subject)
        print(f"links of {subject.name} before: {report['links_before']}")
        report["cases"] = [measure_case(case, redis, subject, arguments) for case in CASES]
        report["links_after"] = regions.link_states(subject)
        print(f"links of {subject.name} after: {report['links_after']}")
        for region in cluster:
            report["peers"].append({"region": region.name, "keys": key_count(region.redis)})
            print(f"{region.name} holds {report['peers'][-1]['keys']:,} keys")
    if arguments.out:
        with open(arguments.out, "w") as out:
            json.dump(report, out, indent=2)
    met = all(case["met"] for case in report["cases"]) and report["memory"]["met"]
    print("every target is met" if met else "a target is missed")
    return 0 if met or arguments.report_only else 1


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--up", help="up.json of regions that run already")
    source.add_argument("--binary", help="greenwich binary, to start three regions for the time of the run")
    parser.add_argument("--rounds", type=int, default=5, help="runs of each case on each server (default 5)")
    parser.add_argument("--scale", type=float, default=1.0, help="factor on the number of requests (default 1)")
    parser.add_argument("--out", help="file for the result as JSON")
    parser.add_argument("--report-only", action="store_true", help="exit code 0 even when a target is missed")
    return parser.parse_args()


@contextlib.contextmanager
def redis_server():
    port = regions.free_ports(1)
    process = subprocess.Popen(
        ["redis-server", "--port", str(port), "--save", "", "--appendonly", "no"], stdout=subprocess.DEVNULL
    )
    region = regions.Region("redis-server", ("127.0.0.1", port), None, process.pid)
    try:
        wait_for_server(region)
        yield region
    finally:
        process.terminate()
        process.wait(regions.STOP_SECONDS_MAX)


def wait_for_server(region):
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        with contextlib.suppress(OSError, Closed, Silent), Connection(region.redis) as connection:
            connection.ask("PING")
            return
        time.sleep(0.05)
    raise SystemExit(f"{region.name} does not answer")


def measure_memory(redis, subject):
    """Loads exactly one million keys into both and reads the resident memory."""
    result = {}
    for side, region in (("redis", redis), ("greenwich", subject)):
        with Connection(region.redis, timeout=60) as connection:
            connection.ask("FLUSHALL")
            empty = rss_bytes(region.pid)
            load(connection)
        wait_quiet(region.pid)
        full = rss_bytes(region.pid)
        count = key_count(region.redis)
        if count != KEYS:
            raise SystemExit(f"{region.name} holds {count} keys instead of {KEYS}")
        result[side] = {"rss_empty_bytes": empty, "rss_bytes": full, "bytes_per_key": (full - empty) / KEYS}
        print(f"{region.name}: {full / 1e6:.1f} MB with {KEYS:,} keys, {result[side]['bytes_per_key']:.0f} B per key "
              f"over {empty / 1e6:.1f} MB when empty")
    result["ratio"] = result["greenwich"]["rss_bytes"] / result["redis"]["rss_bytes"]
    result["met"] = result["ratio"] <= MEMORY_TARGET
    print(f"resident memory: {result['ratio']:.2f}× redis-server (target ≤ {MEMORY_TARGET}×)"
          f"{'' if result['met'] else '  MISSED'}", flush=True)
    return result


def load(connection):
    """Keys of 16 bytes, the ones that redis-benchmark asks for, with values of 100 bytes."""
    value = b"v" * VALUE_BYTES
    for start in range(0, KEYS, LOAD_PIPELINE):
        connection.send(b"".join(encode((b"SET", b"key:%012d" % i, value)) for i in range(start, start + LOAD_PIPELINE)))
        for _ in range(LOAD_PIPELINE):
            if connection.read().is_error():
                raise SystemExit("a SET was refused while loading")


def wait_for_keys(peers):
    deadline = time.monotonic() + ARRIVAL_SECONDS_MAX
    while missing := [peer.name for peer in peers if key_count(peer.redis) < KEYS]:
        if time.monotonic() >= deadline:
            raise SystemExit(f"not every key arrived within {ARRIVAL_SECONDS_MAX} s in {', '.join(missing)}")
        time.sleep(0.2)
    for peer in peers:
        wait_quiet(peer.pid)


def measure_case(case, redis, subject, arguments):
    name, test, pipeline, requests, target = case
    requests = max(int(requests * arguments.scale), CLIENTS * pipeline)
    spent = {"redis": [], "greenwich": []}
    for _ in range(arguments.rounds):
        for side, region in (("redis", redis), ("greenwich", subject)):
            spent[side].append(cpu_us_per_command(region, test, pipeline, requests))
    ratios = [ours / theirs for ours, theirs in zip(spent["greenwich"], spent["redis"])]
    median = statistics.median(ratios)
    met = median <= target
    print(f"{name}: redis-server {statistics.median(spent['redis']):.2f} µs, "
          f"greenwich {statistics.median(spent['greenwich']):.2f} µs of CPU per command; "
          f"{median:.2f}× ({min(ratios):.2f}–{max(ratios):.2f}), target ≤ {target}×{'' if met else '  MISSED'}", flush=True)
    return {"name": name, "requests": requests, "cpu_us": spent, "ratios": ratios, "ratio": median, "target": target,
            "met": met}


def cpu_us_per_command(region, test, pipeline, requests):
    wait_quiet(region.pid)
    before = cpu_seconds(region.pid)
    command = [
        "redis-benchmark", "-h", region.redis[0], "-p", str(region.redis[1]), "-t", test, "-n", str(requests),
        "-P", str(pipeline), "-c", str(CLIENTS), "-d", str(VALUE_BYTES), "-r", str(KEYS), "--csv",
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600)
    if done.returncode or "error" in (done.stdout + done.stderr).lower():
        raise SystemExit(f"redis-benchmark failed: {done.stdout}{done.stderr}")
    wait_quiet(region.pid)
    return (cpu_seconds(region.pid) - before) / requests * 1e6


def key_count(address):
    with Connection(address) as connection:
        return connection.ask("DBSIZE")


if __name__ == "__main__":
    sys.exit(main())
