"""What clients were told in all turns, and what every region must therefore hold once a turn is over.

What the killed node agreed to in its last moments, the *tail*, may be missing: it may not have been sent yet. All else is
certain. Pure: it is given writes and contents, asks no server, and knows nothing of what verify says.
"""

import collections
import itertools
from typing import NamedTuple

from drill.writers import Kind

SHOWN = 5


class Kill(NamedTuple):
    """A region's node was alive until `at` and had a new process from `restarted` on. Seconds, as the writes have them."""

    region: str
    at: float
    restarted: float


class Tail(NamedTuple):
    """Increments that may be missing, those that are, and how long before the kill the oldest of these was agreed to."""

    increments: int
    lost: int
    oldest_seconds: float


class Ledger:
    def __init__(self, tail_seconds):
        self.tail_seconds = tail_seconds
        # As all regions had them at the end of the last turn.
        self.counters = collections.Counter()
        self.values = {}
        # Keys that must exist, and such as must not.
        self.alive = set()
        self.dead = set()

    def judge(self, writes, kill, found):
        """Compares what was written in a turn, and in all before, with `found`: the value of each key, in all regions.

        Returns problems and the tail, and goes on from what was found.
        """
        groups = collections.defaultdict(lambda: collections.defaultdict(list))
        for write in writes:
            groups[write.kind][write.key].append((write, self._is_certain(write, kill)))
        counters, tail = self._judge_counters(groups[Kind.COUNT], kill, found)
        own = self._judge_values(groups[Kind.OWN], found, only_the_last=True)
        shared = self._judge_values(groups[Kind.SHARED], found, only_the_last=False)
        ends = self._judge_ends(groups[Kind.NEW], groups[Kind.GONE], found)
        return [problem for problems in (counters, own, shared, ends) for problem in first_of(problems)], tail

    def falsify(self, found):
        """Claims an increment that nobody made, and the end of a key that exists: both must be missed."""
        self.counters["counter:0"] += 1
        self.dead.add(next(key for key in sorted(found) if key.startswith("own:")))

    def _is_certain(self, write, kill):
        if write.answered is None:
            return False
        return write.region != kill.region or write.answered < kill.at - self.tail_seconds or write.sent >= kill.restarted

    def _judge_counters(self, groups, kill, found):
        """All that is certain counts, and of the tail as much as the region had sent: its increments up to one of them."""
        problems, missing, increments = [], [], 0
        for key, writes in sorted(groups.items()):
            certain = self.counters[key] + sum(write.value for write, is_certain in writes if is_certain)
            tail = [write for write, is_certain in writes if not is_certain]
            sums = list(itertools.accumulate((write.value for write in tail), initial=certain))
            value = int(found.get(key, 0))
            if value in sums:
                missing += [write for write in tail[sums.index(value) :] if write.answered is not None]
            else:
                problems.append(f"{key} is {value:,}: it was {self.counters[key]:,}, with what is certain {certain:,}, and may be "
                                f"one of {sums} with its tail")
            increments += sum(write.answered is not None for write in tail)
            self.counters[key] = value
        untouched = [key for key in self.counters if key not in groups and int(found.get(key, 0)) != self.counters[key]]
        problems += [f"{key} is {found.get(key)}, and was {self.counters[key]:,} before nobody counted" for key in untouched]
        oldest = max((kill.at - write.answered for write in missing), default=0.0)
        return problems, Tail(increments, len(missing), oldest)

    def _judge_values(self, groups, found, only_the_last):
        """A key has a value that it was given after the last turn, and the last that is certain or one of the tail after that
        where one connection writes it. It has the one from before where nothing is certain."""
        problems = []
        for key, writes in groups.items():
            certain = [at for at, (_, is_certain) in enumerate(writes) if is_certain]
            since = certain[-1] if only_the_last and certain else 0
            possible = {write.value for write, _ in writes[since:]} | (set() if certain else {self.values.get(key)})
            if found.get(key) not in possible:
                problems.append(f"{key} is {found.get(key)!r}, which is none of {sorted(map(str, possible))[:SHOWN]}")
            self.values[key] = found.get(key)
        return problems

    def _judge_ends(self, new, gone, found):
        self.alive.update(key for key, writes in new.items() if writes[0][1])
        self.alive.difference_update(gone)
        self.dead.update(key for key, writes in gone.items() if any(is_certain for _, is_certain in writes))
        lost = sorted(key for key in self.alive if key not in found)
        undead = sorted(key for key in self.dead if key in found)
        # What may have been lost with the node is certain once it is seen.
        self.dead.update(key for key in gone if key not in found)
        self.alive.update(key for key in (*new, *gone) if key in found and key not in self.dead)
        problems = [f"{len(lost)} keys that were written are missing, such as {lost[:SHOWN]}"] if lost else []
        shown = [f"{key} ({found[key]})" for key in undead[:SHOWN]]
        return problems + ([f"{len(undead)} deleted keys are alive, such as {shown}"] if undead else [])


def first_of(problems):
    """Some of one kind, and how many there are."""
    more = len(problems) - SHOWN
    return problems[:SHOWN] + ([f"and {more} more of this kind"] if more > 0 else [])
