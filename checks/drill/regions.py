"""Three regions as `greenwich up` starts them: killing them, starting them again by hand, and reading all that they hold.

Knows processes, the admin port and a few commands. Deliberately knows nothing of what the data should be.
"""

import json
import os
import pathlib
import shutil
import signal
import subprocess
import time
import urllib.error
import urllib.request
from typing import NamedTuple

from free_ports import free_ports
from resp import Closed, Connection, Error, Silent, parse_address

UP_SECONDS_MAX = 60
STOP_SECONDS_MAX = 20
READY_SECONDS_MAX = 60
READ_SECONDS_MAX = 30
PAGE = 1_000


class Cluster:
    """Regions that end with this object, whoever started their present process."""

    def __init__(self, binary, data, wan):
        self.binary = binary
        self.regions = []
        port = free_ports(24)
        ports = ["--port", port, "--admin-port", port + 8, "--replication-port", port + 16]
        command = [binary, "up", "--data", data, *map(str, ports), *wan]
        self.log = open(f"{data}.log", "wb")
        self.up = subprocess.Popen(command, stdout=self.log, stderr=self.log)
        try:
            self.regions = [Region(found, binary) for found in self._record(os.path.join(data, "up.json"))["regions"]]
        except BaseException:
            self.stop()
            raise

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()

    def _record(self, path):
        """What `up` says of the regions once all are ready."""
        deadline = time.monotonic() + UP_SECONDS_MAX
        while not os.path.exists(path) or not os.path.getsize(path):
            if self.up.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"the regions did not start: {open(self.log.name).read()}")
            time.sleep(0.1)
        return json.load(open(path))

    def verify(self, seconds):
        """Seconds until `greenwich verify` said that all regions are equal, or `None` and what it said instead."""
        admins = [region.admin for region in self.regions]
        command = [self.binary, "verify", "--timeout", f"{seconds:g}s", "--admin", *admins]
        started = time.monotonic()
        done = subprocess.run(command, capture_output=True, text=True)
        took = time.monotonic() - started
        return (took, "") if done.returncode == 0 else (None, done.stdout + done.stderr)

    def stop(self):
        processes = [region.process for region in self.regions if region.process] + [self.up]
        for process in processes:
            process.terminate()
        for process in processes:
            try:
                process.wait(STOP_SECONDS_MAX)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        self.log.close()


class Readiness(NamedTuple):
    """What `/readyz` says."""

    is_ready: bool
    said: str


class Region:
    """One region's node, whose first process belongs to `up`."""

    def __init__(self, found, binary):
        self.name = found["region"]
        self.redis = parse_address(found["redis"])
        self.admin = found["admin"]
        self.binary = binary
        self.config = found["config"]
        self.log = found["log"]
        self.pid = found["pid"]
        self.process = None
        self.logged_before = 0

    def kill(self):
        """`kill -9`. Returns the moment before which the process had not been killed yet."""
        moment = time.monotonic()
        os.kill(self.pid, signal.SIGKILL)
        return moment

    def start(self, environment=None, binary=None):
        """A new process of the region, which ends with this one; of another program, if one is given. Returns when; nothing
        answers between `kill` and then."""
        self.wait_until_dead()
        moment = time.monotonic()
        with open(self.log, "ab") as log:
            self.logged_before = log.tell()
            command = [binary or self.binary, "node", "--exit-with-stdin", "--config", self.config]
            self.process = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=log, stderr=log, env={**os.environ, **(environment or {})}
            )
        self.pid = self.process.pid
        return moment

    def wait_until_dead(self):
        if self.process:
            self.process.wait()
            self.process.stdin.close()
        while _is_alive(self.pid):
            time.sleep(0.01)

    def lose_data(self):
        """Removes all that a node that is dead has left, but for its configuration and its log. Returns the names of it."""
        kept = {pathlib.Path(self.config), pathlib.Path(self.log)}
        lost = [path for path in pathlib.Path(self.config).parent.iterdir() if path not in kept]
        for path in lost:
            shutil.rmtree(path) if path.is_dir() else path.unlink()
        return sorted(path.name for path in lost)

    def wait_until_ready(self, seconds=READY_SECONDS_MAX):
        """Waits for `/readyz` and returns problems: it was never ready, or told a client something about keys before."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            serves = self.serves()
            if self.readiness().is_ready:
                return []
            # It may have become ready between the two questions, but then it is ready at the third.
            if serves and not self.readiness().is_ready:
                return [f"{self.name} told a client about a key before it was ready"]
            time.sleep(0.02)
        return [f"{self.name} was not ready after {seconds:g} s"]

    def serves(self):
        """Whether it tells a client about a key, even that there is none."""
        try:
            with Connection(self.redis, timeout=1) as connection:
                return not isinstance(connection.call("GET", "counter:0").plain(), Error)
        except (OSError, Closed, Silent):
            return False

    def readiness(self):
        try:
            return Readiness(True, urllib.request.urlopen(f"http://{self.admin}/readyz", timeout=2).read().decode())
        except urllib.error.HTTPError as refusal:
            return Readiness(False, refusal.read().decode())
        except (urllib.error.URLError, OSError) as trouble:
            return Readiness(False, str(trouble))

    def status(self):
        """What `greenwich status` says of it."""
        done = subprocess.run([self.binary, "status", "--admin", self.admin], capture_output=True, text=True)
        return done.stdout + done.stderr

    def logged(self):
        """What its present process has logged."""
        with open(self.log, "rb") as log:
            log.seek(self.logged_before)
            return log.read().decode()

    def contents(self):
        """Every key with its value and, where it has one, its deadline in milliseconds."""
        with Connection(self.redis, timeout=READ_SECONDS_MAX) as connection:
            keys = set()
            cursor = None
            while cursor != b"0":
                cursor, page = connection.ask("SCAN", cursor or b"0", "COUNT", PAGE)
                keys.update(page)
            found = {}
            for part in pages(sorted(keys)):
                values = connection.ask("MGET", *part)
                deadlines = connection.pipeline([("PEXPIRETIME", key) for key in part])
                found.update(zip(part, zip(values, deadlines)))
        return {key.decode(): version for key, version in found.items() if version[0] is not None}

    def missing(self, keys):
        """How many of these keys do not exist at one moment."""
        with Connection(self.redis, timeout=READ_SECONDS_MAX) as connection:
            return len(keys) - connection.ask("EXISTS", *keys)

    def alive(self, keys):
        """Those of these keys that exist, asked for by name: one that SCAN does not show counts too."""
        with Connection(self.redis, timeout=READ_SECONDS_MAX) as connection:
            found = []
            for part in pages(keys):
                if connection.ask("EXISTS", *part):
                    found += [key for key in part if connection.ask("EXISTS", key)]
        return found


def pages(keys):
    return (keys[start : start + PAGE] for start in range(0, len(keys), PAGE))


def _is_alive(pid):
    """Whether any thread of the process runs: what has died and waits for its parent does not. Its first thread may be dead
    while others still hold files."""
    try:
        state = open(f"/proc/{pid}/stat").read().rpartition(")")[2].split()[0]
        return state not in "ZX" or len(os.listdir(f"/proc/{pid}/task")) > 1
    except (FileNotFoundError, ProcessLookupError):
        return False
