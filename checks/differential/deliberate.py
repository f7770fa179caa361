"""Where the server under test differs from redis-server 7.0.15 on purpose: which command, which answer, why."""

import re
from dataclasses import dataclass


@dataclass
class Deliberate:
    command: re.Pattern
    answer: re.Pattern
    reason: str


def _command(pattern):
    return re.compile(pattern.encode(), re.IGNORECASE | re.DOTALL)


DIFFERENCES = [
    Deliberate(
        _command(r"(\S+ )*x{65536}( .*)?"),
        re.compile(rb"-ERR [^\r\n]*\r\n"),
        "a key is limited to 65,535 bytes",
    ),
    Deliberate(
        _command(r"SELECT \d+"),
        re.compile(rb"-ERR DB index is out of range\r\n"),
        "there is one database, index 0",
    ),
    Deliberate(
        _command(r"COPY .* DB \d+( REPLACE)?"),
        re.compile(rb"-ERR DB index is out of range\r\n"),
        "there is one database, index 0",
    ),
    Deliberate(
        _command(r"CLIENT SETINFO LIB-(NAME|VER) \S*"),
        re.compile(rb"\+OK\r\n"),
        "CLIENT SETINFO as Redis 7.2 has it, because current clients send it",
    ),
    Deliberate(
        _command(r"CLIENT SETINFO .*"),
        re.compile(rb"-ERR (lib-(name|ver) cannot contain|Unrecognized option|wrong number of arguments)[^\r\n]*\r\n"),
        "CLIENT SETINFO as Redis 7.2 has it, because current clients send it",
    ),
    Deliberate(
        _command(r"CLIENT NO-TOUCH( \S*)?"),
        re.compile(rb"\+OK\r\n|-ERR (syntax error|wrong number of arguments for 'client\|no-touch' command)\r\n"),
        "CLIENT NO-TOUCH as Redis 7.2 has it",
    ),
]


def reason(words, got):
    """Why this answer is accepted although it differs, or None."""
    command = b" ".join(words)
    for difference in DIFFERENCES:
        if difference.command.fullmatch(command) and difference.answer.fullmatch(got.raw):
            return difference.reason
    return None
