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

REGIONS_MAX = 8
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
    """The regions of an `up.json`."""
    return [
        Region(row["region"], parse_address(row["redis"]), parse_address(row["admin"]), row["pid"])
        for row in json.loads(pathlib.Path(path).read_text())["regions"]
    ]


@contextlib.contextmanager
def running(up_json, binary, *options):
    """The regions of a running cluster, or of one started for the time of the `with` block."""
    if up_json:
        yield read_up(up_json)
        return
    with tempfile.TemporaryDirectory(prefix="greenwich-bench-") as data:
        start = free_ports(3 * REGIONS_MAX)
        ports = {"--port": start, "--admin-port": start + REGIONS_MAX, "--replication-port": start + 2 * REGIONS_MAX}
        command = [binary, "up", "--data", data, *options]
        command += [word for option, port in ports.items() for word in (option, str(port))]
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        try:
            yield wait_ready(process, pathlib.Path(data) / "up.json")
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
            return read_up(path)
        time.sleep(0.05)
    raise SystemExit(f"greenwich up was not ready within {READY_SECONDS_MAX} s")


def free_ports(count):
    """The first of `count` neighbouring ports that are free at the moment, TCP and UDP."""
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


def read_status(region):
    with urllib.request.urlopen(f"http://{region.admin[0]}:{region.admin[1]}/status", timeout=5) as response:
        return json.load(response)


def link_states(region):
    """The state of each link of a region, by peer."""
    return {link["region"]: link["state"] for link in read_status(region)["links"]}


def update_counts_by_peer(region):
    """Updates that a region sent to each peer, and updates that it coalesced instead, since its start."""
    return {link["region"]: link["updates"] for link in read_status(region)["links"]}


def cpu_seconds(pid):
    """User and system time of a process, all threads."""
    fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def rss_bytes(pid):
    for line in pathlib.Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) * 1024
    raise ValueError(f"no VmRSS of {pid}")


def wait_quiet(pid, seconds_max=QUIET_SECONDS_MAX):
    """Until a process hardly uses CPU, so that work left behind by a run is counted with that run.

    Ends the script when that does not come: what it would measure afterwards would be wrong.
    """
    deadline = time.monotonic() + seconds_max
    while True:
        before = cpu_seconds(pid)
        time.sleep(QUIET_WINDOW_SECONDS)
        share = (cpu_seconds(pid) - before) / QUIET_WINDOW_SECONDS
        if share <= QUIET_CPU_SHARE:
            return
        if time.monotonic() >= deadline:
            raise SystemExit(
                f"process {pid} still uses {share:.0%} of a CPU after {seconds_max} s, quiet is at most "
                f"{QUIET_CPU_SHARE:.0%}: the measurement is worth nothing"
            )
