#!/usr/bin/env python3
"""Kills regions under load, one or several, in several ways, and keeps account of what clients were told.

    drill.py --binary target/release/greenwich [--kills 20] [--stories one,ten,…] [--rate 10000] [--seed N]
             [--equal-seconds 10] [--tail-seconds 1] [--older PROGRAM] [--prove-it-fails]

It starts three regions with global distances and 1 % loss, and writes in all of them. Each turn is a story: nodes get `kill -9`
at a random moment; their clients go on elsewhere or wait, and they are started again.

    one     one region, any; so many turns as --kills says, and one turn of each other story
    ten     one region ten times in a row, each time soon after it is ready, or before
    two     two regions at once
    lost    one region, which loses its data directory
    clock   one region, whose clock is an hour back when it is started, and right when it is started again (needs libfaketime)
    source  one region, and a peer of it while it loads what that holds
    all     all regions at once: what they held is lost, they are ready at once, and nothing of before exists
    builds  one region after the other, which goes on with the program of another build (--older), and then with this one again

Then

- until `/readyz` is 200 a node tells a client nothing about keys, and from then on it has what its peers had when it died;
- `greenwich verify` finds all regions equal within the time, under load, and again without;
- every key is read in every region: none differs, nothing that was deleted or has expired exists, every counter and value is
  what the ledger allows. The *tail* is what a killed node agreed to within its last second (--tail-seconds): only that may
  be missing, and it is printed how much was.

The ledger is the clients': nothing that a server says of itself is believed. With --prove-it-fails it claims one increment
and one deletion that never were, which must be noticed. Ends with `N passed, N failed`; exit code 1 when a turn failed.
"""

import argparse
import random
import signal
import statistics
import sys
import tempfile
import time
from typing import NamedTuple

from drill.ledger import Ledger, Tail, false_claims
from drill.regions import Cluster
from drill.stories import STORIES, Stage
from drill.writers import FADING_SECONDS, Load, Pool

WAN = ("--wan", "global", "--loss", "1%")
SHOWN = 5
# A deadline has passed in every region so long after it has in one.
CLOCKS_SECONDS = 1.0


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--binary", required=True, help="the greenwich program")
    parser.add_argument("--kills", type=int, default=20, help="turns of the story `one`")
    parser.add_argument("--stories", type=named, help=f"all that can be told, in turn: {','.join(STORIES)}")
    parser.add_argument("--rate", type=int, default=10_000, help="writes a second in all regions together")
    parser.add_argument("--seed", type=int, default=random.randrange(1 << 32), help="of what is killed when and of the writes")
    parser.add_argument("--equal-seconds", type=float, default=10.0, help="within which regions must be equal")
    parser.add_argument("--tail-seconds", type=float, default=1.0, help="what a node agreed to so long before its end is certain")
    parser.add_argument("--older", help="the greenwich program of the build before, for the story `builds`")
    parser.add_argument("--prove-it-fails", action="store_true", help="falsify the ledger")
    arguments = parser.parse_args()
    stories = chosen(arguments, parser)
    print(f"seed {arguments.seed}, {arguments.rate:,} writes/s, {' '.join(WAN)}", flush=True)
    # Ended by a signal, it still ends what it started.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    turns = []
    with tempfile.TemporaryDirectory() as directory, Cluster(arguments.binary, f"{directory}/data", WAN) as cluster:
        drill = Drill(cluster, arguments)
        for number, story in enumerate(stories, 1):
            turns.append(drill.turn(number, story))
            print(turns[-1], flush=True)
    print(table(turns))
    failed = sum(bool(turn.problems) for turn in turns)
    print(f"{len(turns) - failed} passed, {failed} failed")
    return 1 if failed or not turns else 0


def named(text):
    names = text.split(",")
    if unknown := set(names) - set(STORIES):
        raise argparse.ArgumentTypeError(f"{', '.join(unknown)}: the stories are {', '.join(STORIES)}")
    return names


def chosen(arguments, parser):
    """The story of each turn. One that cannot be told is an error where it was asked for, and is left out where it was not."""
    names = []
    for name in arguments.stories or STORIES:
        lacking = STORIES[name].lacks(arguments.older)
        if lacking and arguments.stories:
            parser.error(f"the story {name} cannot be told: {lacking}")
        if lacking:
            print(f"the story {name} is left out: {lacking}", flush=True)
            continue
        names += [name] * (arguments.kills if name == "one" else 1)
    return names


class Turn(NamedTuple):
    """What came of one story. Seconds; `None` where it did not come."""

    number: int
    story: str
    killed: str
    rate: float
    ready: float
    equal_loaded: float
    equal: float
    keys: int
    dead: int
    tail: Tail
    problems: list

    def __str__(self):
        numbers = f"turn {self.number:2}: {self.story:6} {self.killed} {self.rate:7,.0f} writes/s, ready {seconds(self.ready)}, equal "
        numbers += f"{seconds(self.equal_loaded)} under load, {seconds(self.equal)} without; {self.keys:,} keys, {self.dead:,} dead; "
        numbers += f"tail {self.tail.increments} increments, {self.tail.lost.increments} lost, oldest {self.tail.lost.oldest_seconds * 1e3:.0f} ms"
        return "\n  ".join([numbers, *self.problems] if self.problems else [f"{numbers}; nothing differs"])


class Drill:
    """Turns on one cluster, with what is known from all of them."""

    def __init__(self, cluster, arguments):
        self.cluster = cluster
        self.arguments = arguments
        self.rng = random.Random(arguments.seed)
        self.ledger = Ledger(region.name for region in cluster.regions)
        self.pool = Pool()

    def turn(self, number, story):
        regions = self.cluster.regions
        victims = self.rng.sample(regions, STORIES[story].victims)
        load = Load(number, regions, victims, self.rng.random() < 0.5, self.arguments, self.pool)
        time.sleep(self.rng.uniform(1, 3))
        lasting = lambda *asked: self.ledger.lasting(load.writes(), *asked)
        stage = Stage(victims, self.rng, self.arguments.tail_seconds, lasting, self.equal, self.arguments.older)
        STORIES[story].tell(stage)
        problems = stage.problems
        equal_loaded = self.equal("under load", problems)
        writes, rate = load.stop()
        paused = time.monotonic()
        equal = self.equal("without load", problems)
        problems += load.problems()[:SHOWN]
        time.sleep(max(0.0, paused + FADING_SECONDS + CLOCKS_SECONDS - time.monotonic()))
        states = [region.contents() for region in regions]
        problems += differences(regions, states)
        # An entry that differs has been said to; of a key that only some have, one is looked at.
        found = {key: value.decode() for state in reversed(states) for key, (value, _) in state.items()}
        if self.arguments.prove_it_fails and number == 1:
            writes += false_claims(found, regions[0].name, time.monotonic())
        wrong, tail = self.ledger.judge(writes, stage.kills, found)
        problems += wrong + self.hidden(found)
        killed = ", ".join(victim.name for victim in victims)
        dead = len(self.ledger.dead)
        return Turn(number, story, killed, rate, max(stage.ready), equal_loaded, equal, len(found), dead, tail, problems)

    def equal(self, when, problems):
        """Seconds until all regions are equal; `None`, and why, when they are not within the time."""
        took, said = self.cluster.verify(self.arguments.equal_seconds)
        if took is None:
            problems.append(f"not equal within {self.arguments.equal_seconds:g} s {when}: {said}")
        return took

    def hidden(self, found):
        """Dead keys that are alive and that SCAN did not show."""
        dead = sorted(key for key in self.ledger.dead if key not in found)
        alive = {region.name: region.alive(dead) for region in self.cluster.regions}
        return [f"deleted keys that SCAN does not show are alive in {name}: {keys[:SHOWN]}" for name, keys in alive.items() if keys]


def differences(regions, states):
    names = sorted(set().union(*states))
    differing = [name for name in names if any(state.get(name) != states[0].get(name) for state in states)]
    versions = [", ".join(f"{region.name} {state.get(name)}" for region, state in zip(regions, states)) for name in differing[:SHOWN]]
    shown = [f"{name} differs: {version}" for name, version in zip(differing, versions)]
    return [f"{len(differing)} of {len(names)} keys differ", *shown] if differing else []


def table(turns):
    """The smallest, middle and largest of each figure."""
    rows = {
        "writes/s": [turn.rate for turn in turns],
        "start to ready, s": [turn.ready for turn in turns],
        "ready to equal under load, s": [turn.equal_loaded for turn in turns],
        "equal after the load, s": [turn.equal for turn in turns],
        "increments in the tail": [turn.tail.increments for turn in turns],
        "of these lost": [turn.tail.lost.increments for turn in turns],
        "oldest lost, ms before the kill": [turn.tail.lost.oldest_seconds * 1e3 for turn in turns],
    }
    lines = [f"{'':32}{'min':>10}{'median':>10}{'max':>10}"]
    for name, figures in rows.items():
        known = [figure for figure in figures if figure is not None] or [float("nan")]
        shown = (min(known), statistics.median(known), max(known))
        lines.append(f"{name:32}" + "".join(f"{figure:10,.2f}" if name.endswith(", s") else f"{figure:10,.0f}" for figure in shown))
    return "\n".join(lines)


def seconds(value):
    return "never" if value is None else f"{value:.2f} s"


if __name__ == "__main__":
    sys.exit(main())
