"""What can befall regions in a turn: which are killed, when, and how they are started again.

Knows regions and waits for them. Deliberately knows nothing of what was written and of what must be there in the end; only
what a node must have the moment that it is ready is asked for, under the names that it is given.
"""

import glob
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Callable, NamedTuple

from drill.ledger import Kill

TIMES = 10
# When no peer holds anything a node is ready at once: far sooner than it would serve without peers (`loading_patience`, 10 s).
BARE_SECONDS_MAX = 5.0
# So often is a node killed again that was ready before it was seen to load.
SEEN_TIMES_MAX = 8
LOADING_SECONDS_MAX = 60.0
# For longer than it would wait for peers that it cannot reach (`loading_patience`, 10 s) a node whose clock is wrong is watched.
WRONG_SECONDS = 12.0
SAMPLE = 5_000
FAKETIME = ("/usr/lib/*/faketime/libfaketime.so.1", "/usr/lib*/faketime/libfaketime.so.1")


def library():
    """The file of libfaketime, if any."""
    return next((file for pattern in FAKETIME for file in glob.glob(pattern)), None)


class Story(NamedTuple):
    tell: Callable
    victims: int
    needs_faketime: bool = False
    needs_older: bool = False

    def lacks(self, older):
        """What has to be installed or given before it can be told, if anything. `older` is another build's program, if any."""
        if self.needs_faketime and not library():
            return "install libfaketime (apt-get install faketime)"
        return "name the program of the build before (--older)" if self.needs_older and not older else None


class Stage:
    """Regions during one turn, what has become of them, and what was wrong."""

    def __init__(self, victims, rng, tail_seconds, lasting, equal, older):
        """`lasting` tells, with all kills until now, which keys living regions have since a moment; `equal` waits until regions
        are, and notes when they are not. `older` is the program of the build before, if any."""
        self.victims, self.rng, self.tail_seconds, self.lasting = victims, rng, tail_seconds, lasting
        self.equal, self.older = equal, older
        self.kills = []
        # Of each region, what its peers hold, and when it was started.
        self.held, self.started = {}, {}
        self.ready = []
        self.problems = []

    def kill(self, *regions, since=None):
        """All at once; returns when none of them lives. `since` when what they agreed to may be lost, if not only the tail is."""
        moments = [region.kill() for region in regions]
        for region, at in zip(regions, moments):
            self.kills.append(Kill(region.name, at - self.tail_seconds if since is None else since, at))
        for region in regions:
            region.wait_until_dead()
        held = sorted(self.lasting(self.kills, min(moments) - self.tail_seconds))
        for region in regions:
            self.held[region.name] = self.rng.sample(held, min(SAMPLE, len(held)))

    def start(self, *regions, environment=None, binary=None):
        for region in regions:
            started = self.started[region.name] = region.start(environment, binary)
            last = max(at for at, kill in enumerate(self.kills) if kill.region == region.name)
            self.kills[last] = self.kills[last]._replace(restarted=started)

    def wait(self, *regions):
        """Until all are ready; each must have then what its peers had when it died."""
        with ThreadPoolExecutor() as waiting:
            list(waiting.map(self._wait, regions))

    def _wait(self, region):
        problems = region.wait_until_ready()
        self.ready.append(time.monotonic() - self.started[region.name])
        held = self.held[region.name]
        missing = 0 if problems or not held else region.missing(held)
        if missing:
            problems.append(f"{region.name} was ready without {missing} of {len(held)} keys that its peers had when it died")
        self.problems += problems

    def pause(self, seconds_max):
        time.sleep(self.rng.uniform(0, seconds_max))


def restart(stage):
    """All victims at once."""
    stage.kill(*stage.victims)
    stage.pause(2)
    stage.start(*stage.victims)
    stage.wait(*stage.victims)


def ten(stage):
    """Ten times in a row, each time soon after it is ready, or before."""
    for _ in range(TIMES - 1):
        stage.kill(*stage.victims)
        stage.start(*stage.victims)
        if stage.rng.random() < 0.5:
            stage.wait(*stage.victims)
            stage.pause(1)
        else:
            stage.pause(2)
    restart(stage)


def everyone(stage):
    """Nobody holds anything afterwards, so nobody has anything to wait for."""
    restart(stage)
    if max(stage.ready) > BARE_SECONDS_MAX:
        stage.problems.append(f"ready {max(stage.ready):.1f} s after the start, though no peer held anything")


def lost(stage):
    """The data directory is lost with the node."""
    [victim] = stage.victims
    stage.kill(victim)
    names = victim.lose_data()
    if "life.toml" not in names:
        stage.problems.append(f"{victim.name} had no life.toml to lose, but {names}")
    stage.start(victim)
    stage.wait(victim)


def clock(stage):
    """The clock is an hour back at the start, which the node must notice, and right at the next one."""
    [victim] = stage.victims
    stage.kill(victim)
    stage.start(victim, environment={"LD_PRELOAD": library(), "FAKETIME": "-3600s", "FAKETIME_DONT_FAKE_MONOTONIC": "1"})
    stage.problems += problems_of_a_wrong_clock(victim)
    # It agrees to nothing that leaves it.
    stage.kill(victim, since=stage.started[victim.name])
    stage.pause(2)
    stage.start(victim)
    stage.wait(victim)


def problems_of_a_wrong_clock(region):
    """It must not serve, and say what is wrong: to whoever asks whether it is ready, to its operator and in its log."""
    deadline = time.monotonic() + WRONG_SECONDS
    while time.monotonic() < deadline:
        if region.serves() or region.readiness().is_ready:
            return [f"{region.name} serves with a wrong clock"]
        time.sleep(0.1)
    texts = {"/readyz": region.readiness().said, "status": region.status(), "its log": region.logged()}
    silent = [name for name, text in texts.items() if "clock skew: " not in text]
    return [f"{region.name} has a wrong clock, and {', '.join(silent)} said nothing of it"] if silent else []


def source(stage):
    """A peer dies, too, while a node that was killed loads what peers hold."""
    victim, peer = stage.victims
    for _ in range(SEEN_TIMES_MAX):
        stage.kill(victim)
        stage.start(victim)
        if is_seen_loading(victim):
            break
        stage.wait(victim)
    else:
        stage.problems.append(f"{victim.name} was never seen to load: there are too few keys")
    stage.kill(peer)
    stage.pause(2)
    stage.start(peer)
    stage.wait(victim, peer)


def is_seen_loading(region):
    """Waits until some keys have arrived and not all. False when it is ready before that is seen."""
    deadline = time.monotonic() + LOADING_SECONDS_MAX
    while time.monotonic() < deadline:
        readiness = region.readiness()
        if readiness.is_ready:
            return False
        if "keys have arrived" in readiness.said and "loading: 0 " not in readiness.said:
            return True
        time.sleep(0.005)
    return False


def builds(stage):
    """The build before takes the place of this one in one region after the other, and this one again: each mixture of the two is
    one cluster for a while."""
    for binary in (stage.older, None):
        for region in stage.victims:
            stage.kill(region)
            stage.start(region, binary=binary)
            stage.wait(region)
            stage.equal(f"with another build in {region.name}", stage.problems)


STORIES = {
    "one": Story(restart, victims=1),
    "ten": Story(ten, victims=1),
    "two": Story(restart, victims=2),
    "lost": Story(lost, victims=1),
    "clock": Story(clock, victims=1, needs_faketime=True),
    "source": Story(source, victims=2),
    "all": Story(everyone, victims=3),
    "builds": Story(builds, victims=3, needs_older=True),
}
