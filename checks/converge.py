#!/usr/bin/env python3
"""Writes the same keys in every region at once and counts what differs between the regions afterwards.

    converge.py --servers 127.0.0.1:6401,127.0.0.1:6402,127.0.0.1:6403 [--rounds 50] [--keys 1000] [--quiet-seconds 2]

Three runs: plain writes, increments of one key, and everything mixed. The servers are flushed first. Independent
servers fail it. Ends with `N passed, N failed`; exit code 1 when a key differs.
"""

import argparse
import random
import sys
import threading
import time

from resp import Closed, Connection, Silent, parse_address

PIPELINE = 100
INCREMENTS = 10_000
SHOWN = 5
FLUSH_MS_MAX = 3000


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--servers", required=True, help="host:port of each region, separated by commas")
    parser.add_argument("--rounds", type=int, default=50)
    parser.add_argument("--keys", type=int, default=1000)
    parser.add_argument("--quiet-seconds", type=float, default=2.0)
    parser.add_argument("--increments", type=int, default=INCREMENTS, help="per region (default 10,000)")
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    servers = [parse_address(text) for text in arguments.servers.split(",")]
    results = []
    for run in (same_keys, increments, mixed):
        try:
            flush(servers)
            results.append(run(servers, arguments))
        except (OSError, RuntimeError, Closed, Silent) as trouble:
            print(f"{run.__name__}: {trouble}")
            results.append(False)
    print(f"{results.count(True)} passed, {results.count(False)} failed")
    return 0 if all(results) else 1


def same_keys(servers, arguments):
    """Every region writes every key in every round; afterwards all hold the same value of each."""
    names = [f"key:{i}" for i in range(arguments.keys)]

    def write(connection, region, turn):
        order = random.Random(f"{arguments.seed}:{region}:{turn}").sample(names, len(names))
        for start in range(0, len(order), PIPELINE):
            part = order[start : start + PIPELINE]
            refuse_errors(connection.pipeline([("SET", name, f"{region}:{turn}:{name}") for name in part]))

    in_parallel(servers, arguments.rounds, write)
    time.sleep(arguments.quiet_seconds)
    states = [dict(zip(names, read_values(server, names))) for server in servers]
    differing = different(states, names)
    lost = [name for name in names if any(state[name] is None for state in states)]
    differing += [name for name in lost if name not in differing]
    writers = {}
    for name in names:
        writer = (states[0][name] or b"nobody").split(b":")[0].decode()
        writers[writer] = writers.get(writer, 0) + 1
    print(f"keys that differ: {len(differing)} of {len(names)}")
    print(f"  last writer by region: {dict(sorted(writers.items()))}; {arguments.rounds} rounds")
    show(differing, states)
    return not differing


def increments(servers, arguments):
    """Every region increments one key; the sum is the same everywhere and no increment is lost."""
    batch = 50

    def write(connection, _region, _turn):
        refuse_errors(connection.pipeline([("INCR", "counter")] * batch))

    in_parallel(servers, arguments.increments // batch, write, together=False)
    time.sleep(arguments.quiet_seconds)
    totals = [int(read_values(server, ["counter"])[0] or 0) for server in servers]
    expected = arguments.increments // batch * batch * len(servers)
    print(f"totals: {', '.join(f'{total:,}' for total in totals)}; expected {expected:,} in every region")
    return all(total == expected for total in totals)


def mixed(servers, arguments):
    """Sets, deletes, deadlines, appends, increments, renames and transactions on shared keys."""
    names = [f"mixed:{i}" for i in range(arguments.keys)]

    def write(connection, region, turn):
        chance = random.Random(f"{arguments.seed}:mixed:{region}:{turn}")
        for name in chance.sample(names, len(names) // 4):
            connection.pipeline(mixed_commands(chance, name, chance.choice(names), f"{region}:{turn}"))

    in_parallel(servers, arguments.rounds, write)
    time.sleep(arguments.quiet_seconds)
    states = [read_entries(server, names) for server in servers]
    differing = different(states, names)
    keys = [sorted(list_keys(server)) for server in servers]
    present = sum(value is not None for value, _ in states[0].values())
    with_deadline = sum(deadline is not None and deadline > 0 for _, deadline in states[0].values())
    print(f"keys that differ after mixed commands: {len(differing)} of {len(names)}")
    print(f"  {present} keys exist, {with_deadline} with a deadline; KEYS returns {', '.join(str(len(k)) for k in keys)}")
    show(differing, states)
    return not differing and all(listed == keys[0] for listed in keys)


def mixed_commands(chance, name, other, value):
    """One to five commands; errors (an increment of a text, say) are part of the mix."""
    return chance.choice([
        lambda: [("SET", name, value)],
        lambda: [("SET", name, value, "PX", chance.randint(1, 500))],
        lambda: [("SET", name, value, "EX", chance.randint(100, 1000))],
        lambda: [("DEL", name)],
        lambda: [("EXPIRE", name, chance.randint(100, 1000)), ("PERSIST", other)],
        lambda: [("PEXPIRE", name, chance.randint(1, 500))],
        lambda: [("APPEND", name, value)],
        lambda: [("SET", name, 0), ("INCR", name), ("INCRBY", name, 5)],
        lambda: [("INCR", name), ("DECRBY", name, 3)],
        lambda: [("INCRBYFLOAT", name, "0.5")],
        lambda: [("SETRANGE", name, 2, value), ("GETDEL", other)],
        lambda: [("RENAME", name, other)],
        lambda: [("COPY", name, other, "REPLACE"), ("GETEX", name, "PERSIST")],
        lambda: [("MULTI",), ("SET", name, value), ("SET", other, value), ("INCR", name), ("EXEC",)],
        lambda: [("MULTI",), ("DEL", name), ("APPEND", other, value), ("EXEC",)],
        lambda: [("MSET", name, value, other, value)],
    ])()


def in_parallel(servers, rounds, write, together=True):
    """One thread and connection per region; with `together` all start each round at the same moment."""
    barrier = threading.Barrier(len(servers))
    troubles = []

    def writer(region, server):
        try:
            with Connection(server, timeout=30) as connection:
                barrier.wait()
                for turn in range(rounds):
                    if together:
                        barrier.wait()
                    write(connection, region, turn)
        except (OSError, RuntimeError, Closed, Silent, threading.BrokenBarrierError) as trouble:
            troubles.append(f"region {region}: {trouble!r}")
            barrier.abort()

    threads = [threading.Thread(target=writer, args=pair) for pair in enumerate(servers)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if troubles:
        raise RuntimeError("; ".join(troubles))


def flush(servers):
    """Empties every region and waits until all others have applied it: a flush that a later write overtakes would
    replace the base that increments went to."""
    for server in servers:
        with Connection(server, timeout=30) as connection:
            connection.ask("FLUSHALL")
            connection.ask("WAIT", len(servers) - 1, FLUSH_MS_MAX)


def refuse_errors(replies):
    for reply in replies:
        if isinstance(reply, bytes) and type(reply) is not bytes:
            raise RuntimeError(reply.decode(errors="replace"))


def read_values(server, names):
    with Connection(server, timeout=30) as connection:
        return connection.ask("MGET", *names)


def read_entries(server, names):
    """Value and deadline of each key."""
    with Connection(server, timeout=30) as connection:
        commands = [command for name in names for command in (("GET", name), ("PEXPIRETIME", name))]
        replies = connection.pipeline(commands)
    refuse_errors(replies)
    return dict(zip(names, zip(replies[0::2], replies[1::2])))


def list_keys(server):
    with Connection(server, timeout=30) as connection:
        return connection.ask("KEYS", "*")


def different(states, names):
    return [name for name in names if any(state[name] != states[0][name] for state in states)]


def show(differing, states):
    for name in differing[:SHOWN]:
        print(f"  {name}: {' | '.join(repr(state[name])[:100] for state in states)}")


if __name__ == "__main__":
    sys.exit(main())
