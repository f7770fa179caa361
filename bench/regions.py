"""The regions that the bench scripts measure: read from `up.json`, or started with `greenwich up`.

The only place that knows what `up.json` and the status of the admin port look like.
"""

import contextlib
import json
import os
import pathlib
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from dataclasses import dataclass

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "checks"))

from resp import Connection, parse_address  # noqa: E402 - the path above comes first

READY_SECONDS_MAX = 60
STOP_SECONDS_MAX = 15
QUIET_WINDOW_SECONDS = 0.3
QUIET_CPU_SHARE = 0.05
QUIET_SECONDS_MAX = 20
TICKS = os.sysconf("SC_CLK_TCK")


@dataclass
class Region:
    name: str
    redis: tuple
    admin: tuple
    pid: int


def read_up(path):
    """The regions of an `up.json`: a list of objects, alone or under `regions` or `nodes`."""
    document = json.loads(pathlib.Path(path).read_text())
    rows = document if isinstance(document, list) else document.get("regions") or document.get("nodes")
    return [
        Region(
            first(row, "region", "name"),
            parse_address(str(first(row, "redis_address", "redis"))),
            parse_address(str(first(row, "admin_address", "admin"))),
            int(row["pid"]),
        )
        for row in rows
    ]


def first(row, *names):
    for name in names:
        if name in row:
            return row[name]
    raise KeyError(f"none of {', '.join(names)} in {row}")


@contextlib.contextmanager
def running(up_json, binary, *options):
    """The regions of a running cluster, or of one started for the time of the `with` block."""
    if up_json:
        yield read_up(up_json)
        return
    with tempfile.TemporaryDirectory(prefix="greenwich-bench-") as data:
        port, admin = free_ports(8), free_ports(8)
        command = [binary, "up", "--data", data, "--port", str(port), "--admin-port", str(admin), *options]
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        try:
            regions = wait_ready(process, pathlib.Path(data) / "up.json")
            yield regions
        finally:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(STOP_SECONDS_MAX)
            except subprocess.TimeoutExpired:
                process.kill()


def wait_ready(process, path):
    deadline = time.monotonic() + READY_SECONDS_MAX
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise SystemExit(f"greenwich up ended: {process.stderr.read().decode(errors='replace')[-2000:]}")
        if path.exists():
            regions = read_up(path)
            with contextlib.suppress(OSError):
                for region in regions:
                    with Connection(region.redis) as connection:
                        connection.ask("PING")
                return regions
        time.sleep(0.05)
    raise SystemExit(f"greenwich up was not ready within {READY_SECONDS_MAX} s")


def free_ports(count):
    """The first of `count` neighbouring ports that are free at the moment."""
    for start in range(20_000 + os.getpid() % 10_000, 60_000, count):
        with contextlib.ExitStack() as sockets:
            try:
                for port in range(start, start + count):
                    listener = sockets.enter_context(socket.socket())
                    listener.bind(("127.0.0.1", port))
                return start
            except OSError:
                continue
    raise SystemExit("no free ports")


def read_status(region):
    with urllib.request.urlopen(f"http://{region.admin[0]}:{region.admin[1]}/status", timeout=5) as response:
        return json.load(response)


def link_states(region):
    """The state of each link of a region, by peer."""
    links = read_status(region).get("links", [])
    rows = [dict(row, peer=peer) for peer, row in links.items()] if isinstance(links, dict) else links
    return {str(row.get("peer") or row.get("region")): str(row.get("state")) for row in rows}


def update_counts(region):
    """Updates that a region sent to its peers and updates that it coalesced, since its start, over all links."""
    return {
        name: sum_of(read_status(region), name) for name in ("updates_sent", "updates_coalesced")
    }


def sum_of(document, name):
    """The sum of every field of this name, wherever it is in the document."""
    if isinstance(document, dict):
        return sum(value if key == name else sum_of(value, name) for key, value in document.items())
    if isinstance(document, list):
        return sum(sum_of(item, name) for item in document)
    return 0


def cpu_seconds(pid):
    """User and system time of a process, all threads."""
    fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def rss_bytes(pid):
    for line in pathlib.Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) * 1024
    raise ValueError(f"no VmRSS of {pid}")


def wait_quiet(pid):
    """Until a process hardly uses CPU, so that work left behind by a run is counted with that run."""
    deadline = time.monotonic() + QUIET_SECONDS_MAX
    while time.monotonic() < deadline:
        before = cpu_seconds(pid)
        time.sleep(QUIET_WINDOW_SECONDS)
        if cpu_seconds(pid) - before <= QUIET_CPU_SHARE * QUIET_WINDOW_SECONDS:
            return
