"""What clients were told in all turns, and what every region must therefore hold once a turn is over.

What a killed node agreed to in its last moments, the *tail*, may be missing: it may not have been sent yet, or only to a
node that was killed as well before it passed it on. All else is certain. Where all regions were dead at one moment, nothing of
before is left: whatever of it exists came back. Pure: it is given writes and contents, asks no server, and knows nothing of
what verify says.
"""

import collections
import itertools
from typing import NamedTuple

from drill.writers import Kind, Write

SHOWN = 5


class Kill(NamedTuple):
    """A region's node was alive until `at` and had a new process from `restarted` on. What it agreed to after `since` may have
    ended with it. Seconds, as the writes have them."""

    region: str
    since: float
    at: float
    restarted: float = float("inf")

    def may_have_taken(self, write):
        return self.region == write.region and self.since <= write.answered and write.sent < self.restarted


class Lost(NamedTuple):
    """Increments that were agreed to and are missing, and how long before the kill the oldest of them was agreed to."""

    increments: int = 0
    oldest_seconds: float = 0.0

    def and_more(self, other):
        return Lost(self.increments + other.increments, max(self.oldest_seconds, other.oldest_seconds))


class Tail(NamedTuple):
    """How many increments may be missing, and what of them is: where that can be told in several ways, the least."""

    increments: int
    lost: Lost


class Ledger:
    def __init__(self, regions):
        self.regions = set(regions)
        # As all regions had them at the end of the last turn; `None` is a value that a key must not have any more.
        self.counters = collections.Counter()
        self.values = {}
        # Keys that must exist, and such as must not.
        self.alive = set()
        self.dead = set()

    def judge(self, writes, kills, found):
        """Compares what was written in a turn, and in all before, with `found`: the value of each key, in all regions.

        `kills` are those of the turn, in their order. Returns problems and the tail, and goes on from what was found.
        """
        begun = start_of_nothing(kills, self.regions)
        if begun is not None:
            self._forget([write for write in writes if write.sent < begun])
            writes = [write for write in writes if write.sent >= begun]
        groups = collections.defaultdict(lambda: collections.defaultdict(list))
        for write in writes:
            groups[write.kind][write.key].append((write, outlives(write, kills)))
        counters, tail = self._judge_counters(groups[Kind.COUNT], kills, found)
        own = self._judge_values(groups[Kind.OWN], found, only_the_last=True)
        shared = self._judge_values(groups[Kind.SHARED], found, only_the_last=False)
        untouched = self._judge_untouched({*groups[Kind.OWN], *groups[Kind.SHARED]}, found)
        ends = self._judge_ends(groups[Kind.NEW], groups[Kind.GONE], found)
        return [problem for problems in (counters, own, shared, untouched, ends) for problem in first_of(problems)], tail

    def lasting(self, writes, kills, until):
        """Keys that nobody deletes, of the turns before and of what was agreed to in this one before `until`."""
        if start_of_nothing(kills, self.regions) is not None:
            return set()
        kept = {key for key, value in self.values.items() if value is not None}
        written = (write for write in writes if write.kind in (Kind.OWN, Kind.SHARED, Kind.COUNT) and outlives(write, kills))
        return kept | {write.key for write in written if write.answered < until}

    def _forget(self, writes):
        """All that was written before ended with the regions: no key of it may exist unless it is written anew."""
        keys = collections.defaultdict(set)
        for write in writes:
            keys[write.kind].add(write.key)
        self.counters = collections.Counter(dict.fromkeys([*self.counters, *keys[Kind.COUNT]], 0))
        self.values = dict.fromkeys([*self.values, *keys[Kind.OWN], *keys[Kind.SHARED]])
        self.dead |= self.alive | keys[Kind.NEW] | keys[Kind.BRIEF] | keys[Kind.GONE]
        self.alive = set()

    def _judge_counters(self, groups, kills, found):
        """All that is certain counts, and of each tail as much as the region had sent: its increments up to one of them."""
        problems, lost, increments = [], Lost(), 0
        for key, writes in sorted(groups.items()):
            certain = self.counters[key] + sum(write.value for write, is_certain in writes if is_certain)
            tail = [write for write, is_certain in writes if not is_certain]
            sums = sums_with(certain, tail, kills)
            value = int(found.get(key, 0))
            if value in sums:
                lost = lost.and_more(sums[value])
            else:
                problems.append(f"{key} is {value:,}: it was {self.counters[key]:,}, with what is certain {certain:,}, and "
                                f"with its tail one of {len(sums)} sums up to {max(sums):,}")
            increments += sum(write.answered is not None for write in tail)
            self.counters[key] = value
        untouched = [key for key in self.counters if key not in groups and int(found.get(key, 0)) != self.counters[key]]
        problems += [f"{key} is {found.get(key)}, and was {self.counters[key]:,} before nobody counted" for key in untouched]
        return problems, Tail(increments, lost)

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

    def _judge_untouched(self, written, found):
        """A key that was not written has the value from before."""
        wrong = [key for key, value in self.values.items() if key not in written and found.get(key) != value]
        return [f"{key} is {found.get(key)!r}, and was {self.values[key]!r} before nobody wrote it" for key in wrong]

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


def outlives(write, kills):
    """Whether it is certain."""
    return write.answered is not None and not any(kill.may_have_taken(write) for kill in kills)


def start_of_nothing(kills, regions):
    """When the first region began anew while all were dead, if they were: nobody can have had anything from before."""
    last = {kill.region: kill for kill in kills}
    if set(last) != regions or max(kill.at for kill in last.values()) > min(kill.restarted for kill in last.values()):
        return None
    return min(kill.restarted for kill in last.values())


def sums_with(certain, tail, kills):
    """Each value that a counter may have, with the least that is lost then.

    What others had of a life is its total at some moment. So of each life the first increments count, up to one of them, and
    so they do of a batch that was not answered: it may not have been executed, although later ones were."""
    series = collections.defaultdict(list)
    for write in tail:
        unanswered_batch = write.sent if write.answered is None else None
        series[end_of_life(write, kills), unanswered_batch].append(write)
    sums = {certain: Lost()}
    for (end, _), writes in series.items():
        longer = {}
        for before, lost_before in sums.items():
            for count, total in enumerate(itertools.accumulate((write.value for write in writes), initial=before)):
                ages = [end.at - write.answered for write in writes[count:] if write.answered is not None]
                lost = lost_before.and_more(Lost(len(ages), max(ages, default=0.0)))
                longer[total] = min(lost, longer.get(total, lost))
        sums = longer
    return sums


def end_of_life(write, kills):
    """The kill that ended the life which was sent this."""
    return next((kill for kill in kills if kill.region == write.region and write.sent < kill.restarted), None)


def false_claims(found, region, now):
    """An increment that nobody made, and the end of a key that exists: both must be missed."""
    exists = next(key for key in sorted(found) if key.startswith("own:"))
    return [Write(Kind.COUNT, "counter:0", 1, region, now, now), Write(Kind.GONE, exists, None, region, now, now)]


def first_of(problems):
    """Some of one kind, and how many there are."""
    more = len(problems) - SHOWN
    return problems[:SHOWN] + ([f"and {more} more of this kind"] if more > 0 else [])
