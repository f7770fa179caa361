#!/usr/bin/env python3
"""Runs every script of `differential/families` against two servers in lockstep and compares their replies.

    differential.py --reference 127.0.0.1:6399 --server 127.0.0.1:6401 [--family strings] [--pass resp3]

Ends with `N passed, N failed`; exit code 1 when something failed. Both servers are flushed before every case.
"""

import argparse
import pathlib
import sys

from differential import commands
from differential.engine import PASSES, Lockstep
from differential.script import parse_script
from resp import parse_address

FAMILIES = pathlib.Path(__file__).parent / "differential" / "families"


def main():
    arguments = parse_arguments()
    passed = failed = 0
    deliberate = {}
    for family, cases in families(arguments).items():
        here_passed, differences = 0, []
        for mode in arguments.passes or PASSES:
            tally = Lockstep(arguments.reference, arguments.server, mode, arguments.timeout).run(family, cases)
            here_passed += tally.passed
            differences += tally.differences
            for reason, count in tally.deliberate.items():
                deliberate[reason] = deliberate.get(reason, 0) + count
        print(f"{family}: {here_passed} passed, {len(differences)} failed", flush=True)
        show(differences, arguments.show)
        passed += here_passed
        failed += len(differences)
    for reason, count in deliberate.items():
        print(f"deliberate difference, met {count} times: {reason}")
    print(f"{passed} passed, {failed} failed")
    return 1 if failed or not passed else 0


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--reference", type=parse_address, required=True, help="host:port of redis-server")
    parser.add_argument("--server", type=parse_address, required=True, help="host:port of the server under test")
    parser.add_argument("--family", action="append", help="only this family (repeatable)")
    parser.add_argument("--pass", dest="passes", action="append", choices=PASSES, help="only this pass (repeatable)")
    parser.add_argument("--show", type=int, default=10, help="differences shown per family (default 10)")
    parser.add_argument("--timeout", type=float, default=3.0, help="seconds to wait for a reply (default 3)")
    return parser.parse_args()


def families(arguments):
    found = {path.stem: parse_script(path.read_text()) for path in sorted(FAMILIES.glob("*.txt"))}
    found["arity"] = commands.arity_cases(arguments.reference)
    found["command-table"] = commands.table_cases(arguments.server)
    if arguments.family:
        unknown = set(arguments.family) - set(found)
        if unknown:
            sys.exit(f"no such family: {', '.join(sorted(unknown))}; there are {', '.join(found)}")
        found = {name: found[name] for name in arguments.family}
    return found


def show(differences, limit):
    for difference in differences[:limit]:
        print(f"  {difference.place}: {difference.command}")
        print(f"    expected {difference.expected}")
        print(f"    got      {difference.got}")
    if len(differences) > limit:
        print(f"  … and {len(differences) - limit} more")


if __name__ == "__main__":
    sys.exit(main())
