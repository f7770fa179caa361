"""The script language of `families/*.txt`: one line, one step.

    == name of the case (resp2)      starts a case; `(resp2)` or `(resp3)` limits it to that protocol
    SET k "\\x00\\xff"                 a command and its one reply, compared byte for byte
    @b GET k                         on another connection, opened when first named; the default is `a`
    ~integer DBSIZE                  the replies are compared by the named matcher
    #3 SUBSCRIBE x y z               the command has three replies
    .read 1                          reads one more reply (a message, say)
    .gather 3                        reads three more replies, which may come in any order
    .silent CLIENT REPLY OFF         sent; nothing is read
    .send "*1\\r\\n"                   raw bytes; nothing is read
    .end                             everything up to the close of the connection
    .scan MATCH a* COUNT 7           a whole SCAN iteration; the sets of keys are compared
    .sleep 50                        milliseconds

Inside words: `<x*70000>` repeats, `<now_s+100>` and `<now_ms-5>` are the unix time at the start of the case.
"""

import re
from dataclasses import dataclass, field

ESCAPES = {"n": b"\n", "r": b"\r", "t": b"\t", "a": b"\a", "b": b"\b", "\\": b"\\", '"': b'"'}
WORD = re.compile(r'"((?:\\.|[^"\\])*)"|(\S+)')
REPEAT = re.compile(rb"<(.)\*(\d+)>", re.DOTALL)
NOW = re.compile(rb"<now_(s|ms)([+-]\d+)?>")


@dataclass
class Step:
    action: str
    words: list
    connection: str = "a"
    matcher: str = "exact"
    replies: int = 1
    line: int = 0

    def at(self, now_ms):
        """The words with the time filled in."""
        return [NOW.sub(lambda found: _time(found, now_ms), word) for word in self.words]


@dataclass
class Case:
    name: str
    protocol: str = ""
    steps: list = field(default_factory=list)

    def is_plain(self):
        """Whether the case is one connection and one reply per command, so that it can be sent in one write."""
        return all(
            step.action == "command" and step.connection == "a" and step.replies == 1 for step in self.steps
        )


def parse_script(text):
    cases = []
    for number, line in enumerate(text.splitlines(), 1):
        line = line.strip()
        if not line or line.startswith("//"):
            continue
        if line.startswith("== "):
            cases.append(_heading(line[3:]))
        else:
            cases[-1].steps.append(_step(line, number))
    return cases


def split_words(text):
    """Words as redis-cli splits them: double quotes with escapes, everything else as it stands."""
    return [
        _expand(_unquote(found[1])) if found[2] is None else _expand(found[2].encode())
        for found in WORD.finditer(text)
    ]


def _heading(text):
    found = re.fullmatch(r"(.*?)\s*\((resp[23])\)", text)
    return Case(found[1], found[2]) if found else Case(text)


def _step(line, number):
    step = Step("command", [], line=number)
    while line[0] in "@~#" and " " in line:
        prefix, line = line.split(None, 1)
        if prefix[0] == "@":
            step.connection = prefix[1:]
        elif prefix[0] == "~":
            step.matcher = prefix[1:]
        else:
            step.replies = int(prefix[1:])
    if line[0] == ".":
        step.action, _, line = line[1:].partition(" ")
    step.words = split_words(line)
    if step.action == "read":
        step.replies = int(step.words[0]) if step.words else 1
    if step.action == "gather":
        step.matcher = "unordered"
    return step


def _unquote(text):
    def escape(found):
        code = found[1]
        if code[0] == "x" and len(code) == 3:
            return chr(int(code[1:], 16))
        return ESCAPES[code].decode("latin-1")

    as_latin = text.encode().decode("latin-1")
    return re.sub(r"\\(x[0-9a-fA-F]{2}|.)", escape, as_latin).encode("latin-1")


def _expand(word):
    return REPEAT.sub(lambda found: found[1] * int(found[2]), word)


def _time(found, now_ms):
    offset = int(found[2] or 0)
    return b"%d" % (now_ms + offset if found[1] == b"ms" else now_ms // 1000 + offset)
