"""Clients that write in every region and note what they were told.

Each region has one connection, so that what it was sent has an order. Deliberately knows nothing of what should come of
the writes; the ledger does.
"""

import collections
import enum
import random
import threading
import time
from typing import NamedTuple, Optional

from resp import Closed, Connection, Error, Silent, encode

COUNTERS = 200
OWN_KEYS = 20_000
SHARED_KEYS = 5_000
DUE_KEYS = 2_000
BATCH = 20
# A key is that old before it is deleted: all regions have it then.
DELETED_AFTER_SECONDS = 2.0
FADING_SECONDS = 1
ANSWER_SECONDS_MAX = 5.0


class Kind(enum.Enum):
    COUNT = "an increment"
    OWN = "a value of a key that one connection writes"
    SHARED = "a value of a key that all write"
    NEW = "a key that is written once, and deleted later or never"
    BRIEF = "a key that is given a deadline at once"
    GONE = "the end of a key that nobody writes again: it was deleted, or given a deadline that has passed"


class Write(NamedTuple):
    """What a region was sent. `answered` is when it agreed, `None` when no answer came; what it refused is none."""

    kind: Kind
    key: str
    value: object
    region: str
    sent: float
    answered: Optional[float]


class Load:
    """One writer for each region, from its creation until `stop`. While one of the `victims` is away, its writer waits, or goes
    `elsewhere`: to a region that stays, because a region that is killed must have one connection."""

    def __init__(self, turn, regions, victims, elsewhere, arguments, pool):
        rate = arguments.rate / len(regions)
        self.started = time.monotonic()
        self.is_over = threading.Event()
        self.writers = []
        staying = [region for region in regions if region not in victims]
        for number, region in enumerate(regions):
            homes = [region]
            if region in victims and elsewhere and staying:
                homes.append(staying[number % len(staying)])
            rng = random.Random(f"{arguments.seed}:{turn}:{region.name}")
            self.writers.append(Writer(number, turn, homes, region in victims, rate, rng, pool, self.is_over))
        for writer in self.writers:
            writer.start()

    def stop(self):
        """Ends all. Returns what was written, and writes a second that were agreed to."""
        self.is_over.set()
        for writer in self.writers:
            writer.join()
        return self.writes(), sum(writer.agreed for writer in self.writers) / (time.monotonic() - self.started)

    def writes(self):
        """What was written until now, one writer after the other."""
        return [write for writer in self.writers for write in writer.writes]

    def problems(self):
        return [problem for writer in self.writers for problem in writer.problems]


class Pool:
    """Keys that exist for good until one writer takes and deletes them; shared by all writers of all turns."""

    def __init__(self):
        self.keys = collections.deque()

    def add(self, key):
        self.keys.append((key, time.monotonic()))

    def take(self):
        """One that is old enough, if any."""
        try:
            key, since = self.keys.popleft()
        except IndexError:
            return None
        if time.monotonic() - since >= DELETED_AFTER_SECONDS:
            return key
        self.keys.appendleft((key, since))
        return None


class Writer(threading.Thread):
    """Writes to the first of `homes` that serves, at its rate."""

    def __init__(self, number, turn, homes, may_fail, rate, rng, pool, is_over):
        super().__init__(daemon=True)
        self.number, self.turn = number, turn
        self.homes, self.may_fail, self.rate, self.rng, self.pool, self.is_over = homes, may_fail, rate, rng, pool, is_over
        self.writes, self.problems = [], []
        self.agreed = self.serial = 0
        self.next_at = time.monotonic()

    def run(self):
        while not self.is_over.is_set():
            for home in self.homes:
                # Away from home it looks after some batches whether home is back.
                self.visit(home, batches=None if home is self.homes[0] else 20)
                if self.is_over.is_set():
                    return
            if len(self.homes) == 1:
                self.is_over.wait(0.05)

    def visit(self, region, batches):
        try:
            with Connection(region.redis, timeout=ANSWER_SECONDS_MAX) as connection:
                while not self.is_over.is_set() and batches != 0:
                    if not self.write(connection, region):
                        return
                    batches = batches and batches - 1
                    self.next_at = max(self.next_at + BATCH / self.rate, time.monotonic() - 1)
                    time.sleep(max(0.0, self.next_at - time.monotonic()))
        except (OSError, Closed, Silent) as trouble:
            if not (self.may_fail and region is self.homes[0]):
                self.problems.append(f"{region.name}, which was not killed: {trouble}")

    def write(self, connection, region):
        """Sends a batch and notes every answer. Whether the region serves."""
        batch = self.batch(region)
        sent = time.monotonic()
        answered = 0
        try:
            connection.send(b"".join(encode(command) for *_, command in batch))
            replies = []
            for kind, key, value, _ in batch:
                reply = connection.read().plain()
                replies.append(reply)
                answered += 1
                self.note(kind, key, value, region, sent, reply)
        finally:
            self.writes += [Write(kind, key, value, region.name, sent, None) for kind, key, value, _ in batch[answered:]]
        return not any(isinstance(reply, Error) for reply in replies)

    def note(self, kind, key, value, region, sent, reply):
        if isinstance(reply, Error):
            if not (self.may_fail and reply.startswith(b"LOADING")):
                self.problems.append(f"{region.name} answered {bytes(reply)!r} about {key}")
            return
        self.agreed += 1
        # Of a key that the region does not have, DEL answers 0: that says nothing about other regions.
        if kind is Kind.GONE and reply != 1:
            return
        now = time.monotonic()
        self.writes.append(Write(kind, key, value, region.name, sent, now))
        if kind is Kind.NEW:
            self.pool.add(key)

    def batch(self, region):
        """Commands, each with what it means."""
        self.serial += 1
        pick, tag = self.rng.randrange, f"{self.number}.{self.turn}.{self.serial}"
        # A connection's own keys are of one region too: another region's clock may be ahead by a little.
        own = f"own:{self.number}@{region.name}"
        batch = [count(f"counter:{pick(COUNTERS)}", pick(2, 100)) for _ in range(5)]
        batch += [put(Kind.OWN, f"{own}:{pick(OWN_KEYS)}", f"{tag}.{at}") for at in range(5)]
        batch += [put(Kind.SHARED, f"shared:{pick(SHARED_KEYS)}", f"{tag}.{at}") for at in range(3)]
        batch += [put(Kind.SHARED, f"due:{pick(DUE_KEYS)}", f"{tag}.due", "EX", pick(10_000, 99_999))]
        batch += [put(Kind.NEW, f"gone:{tag}.{at}", tag) for at in range(2)]
        batch += [put(Kind.BRIEF, f"fading:{tag}", tag), gone(f"fading:{tag}", "EXPIRE", FADING_SECONDS)]
        batch += [gone(key, "DEL") for key in (self.pool.take(), self.pool.take()) if key]
        return batch


def count(key, amount):
    return Kind.COUNT, key, amount, ("INCRBY", key, amount)


def put(kind, key, value, *options):
    return kind, key, value, ("SET", key, value, *options)


def gone(key, command, *options):
    return Kind.GONE, key, None, (command, key, *options)
