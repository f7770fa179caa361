"""Runs cases in lockstep against two servers and records where their replies differ."""

import time
from dataclasses import dataclass, field

from resp import Closed, Connection, Frame, Silent, encode

from . import deliberate, matchers

PASSES = ("resp2", "resp3", "pipelined", "fragmented")
FRAGMENT_BYTES = 3
FRAGMENTED_MAX_BYTES = 600
SHOWN_BYTES = 300
CASE_PASSWORD = "secret"
SCAN_ROUNDS_MAX = 100_000


@dataclass
class Tally:
    passed: int = 0
    differences: list = field(default_factory=list)
    deliberate: dict = field(default_factory=dict)


@dataclass
class Difference:
    place: str
    command: str
    expected: str
    got: str


class Lockstep:
    """The two servers, the pass, and the open connections of the running case."""

    def __init__(self, reference, server, mode, timeout):
        self.addresses = (reference, server)
        self.mode = mode
        self.timeout = timeout
        self.pairs = {}

    def run(self, family, cases):
        tally = Tally()
        for case in cases:
            if self._takes(case):
                self._run_case(family, case, tally)
        return tally

    def _takes(self, case):
        if self.mode in ("pipelined", "fragmented"):
            return case.is_plain() and case.protocol != "resp3"
        return case.protocol in ("", self.mode)

    def _run_case(self, family, case, tally):
        now_ms = int(time.time() * 1000)
        place = f"{family} [{self.mode}] {case.name}"
        try:
            self._clear()
            if self.mode in ("pipelined", "fragmented"):
                self._run_at_once(case, now_ms, place, tally)
            else:
                for step in case.steps:
                    if not self._run_step(step, now_ms, f"{place}, line {step.line}", tally):
                        break
        except (OSError, RuntimeError, Closed, Silent, ValueError) as trouble:
            tally.differences.append(Difference(place, "(the case as a whole)", "an answer", repr(trouble)))
        finally:
            for pair in self.pairs.values():
                for connection in pair:
                    connection.close()
            self.pairs.clear()

    def _clear(self):
        for address in self.addresses:
            with Connection(address, self.timeout) as connection:
                if connection.call("FLUSHALL").raw.startswith(b"-NOAUTH"):
                    # A case about passwords ended early: the ones after it must not suffer.
                    connection.ask("AUTH", CASE_PASSWORD)
                    connection.ask("CONFIG", "SET", "requirepass", "")

    def _pair(self, name):
        if name not in self.pairs:
            self.pairs[name] = [Connection(address, self.timeout) for address in self.addresses]
            if self.mode == "resp3":
                for connection in self.pairs[name]:
                    connection.call("HELLO", "3")  # Refused while a password is set: RESP2 then.
        return self.pairs[name]

    def _run_step(self, step, now_ms, place, tally):
        """False when the two connections are out of step, so that the case cannot go on."""
        words = step.at(now_ms)
        if step.action == "sleep":
            time.sleep(int(words[0]) / 1000)
            return True
        pair = self._pair(step.connection)
        if step.action == "command":
            _send_all(pair, encode(words))
        elif step.action == "silent":
            _send_all(pair, encode(words))
            return True
        elif step.action == "send":
            _send_all(pair, b"".join(words))
            return True
        for _ in range(step.replies):
            answers = [_answer(step.action, connection, words) for connection in pair]
            if not record(step, words, answers, place, tally):
                return False
        return True

    def _run_at_once(self, case, now_ms, place, tally):
        commands = [step.at(now_ms) for step in case.steps]
        data = b"".join(encode(words) for words in commands)
        if self.mode == "fragmented" and len(data) > FRAGMENTED_MAX_BYTES:
            return
        size = FRAGMENT_BYTES if self.mode == "fragmented" else len(data)
        pair = self._pair("a")
        for connection in pair:
            for start in range(0, len(data), size):
                connection.send(data[start : start + size])
        for step, words in zip(case.steps, commands):
            answers = [_answer("command", connection, words) for connection in pair]
            if not record(step, words, answers, f"{place}, line {step.line}", tally):
                break


def record(step, words, answers, place, tally):
    """Counts one comparison; False when one side failed to answer at all."""
    expected, got = answers
    silent = isinstance(expected, Exception) or isinstance(got, Exception)
    if silent:
        same = type(expected) is type(got) and expected.rest == got.rest
    else:
        same = matchers.same(step.matcher, expected, got)
    if same:
        tally.passed += 1
        return not silent
    reason = None if silent else deliberate.reason(words, expected, got)
    if reason:
        tally.deliberate[reason] = tally.deliberate.get(reason, 0) + 1
        tally.passed += 1
    else:
        shown = " ".join(_show(word) for word in words) if words else f".{step.action}"
        tally.differences.append(Difference(place, shown[:SHOWN_BYTES], _text(expected), _text(got)))
    return not silent


def _send_all(pair, data):
    for connection in pair:
        try:
            connection.send(data)
        except OSError:
            pass  # The reply that is missing then is what gets reported.


def _answer(action, connection, words):
    try:
        if action == "end":
            return Frame("end", connection.read_to_end(), b"")
        if action == "gather":
            return Frame("*", [connection.read() for _ in range(int(words[0]))], b"")
        if action == "scan":
            return _scan(connection, words)
        return connection.read()
    except (Closed, Silent) as trouble:
        return trouble
    except (RuntimeError, ValueError) as trouble:
        return Frame("end", repr(trouble).encode(), b"")


def _scan(connection, words):
    cursor, keys = b"0", set()
    for _ in range(SCAN_ROUNDS_MAX):
        cursor, found = connection.ask(b"SCAN", cursor, *words)
        keys.update(found)
        if cursor == b"0":
            return Frame("scan", sorted(keys), b"%d keys: %r" % (len(keys), sorted(keys)))
    raise ValueError("the SCAN iteration does not end")


def _show(word):
    text = word.decode("latin-1")
    return text if text and text.isascii() and text.isprintable() and " " not in text else repr(word)[1:]


def _text(answer):
    if isinstance(answer, Exception):
        return f"({answer}) {answer.rest[:SHOWN_BYTES]!r}"
    raw = answer.raw or answer.value
    if isinstance(raw, list):
        raw = b"".join(frame.raw for frame in raw)
    return repr(raw[:SHOWN_BYTES]) + (f" … {len(raw)} bytes" if len(raw) > SHOWN_BYTES else "")
