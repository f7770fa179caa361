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


ENCODING = "OBJECT ENCODING is the one that Redis picks for a value that is SET whole: there is one way to store a string"
NO_EVICTION = "a memory limit and an eviction policy are refused, because nothing is evicted"

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
    Deliberate(
        _command(r"INCRBYFLOAT k (1|1e17)"),
        re.compile(rb"\$21\r\n100000000000000000001\r\n|\$26\r\n100000000000000000\.3000001\r\n"),
        "INCRBYFLOAT adds exact decimals, so that every region gets the same sum; Redis rounds to an 80-bit double",
    ),
    Deliberate(
        _command(r"OBJECT ENCODING (short|ranged)"),
        re.compile(rb"\$6\r\nembstr\r\n"),
        ENCODING,
    ),
    Deliberate(
        _command(r"OBJECT ENCODING (whole|int|copied)"),
        re.compile(rb"\$3\r\nint\r\n"),
        ENCODING,
    ),
    Deliberate(
        _command(r"CONFIG SET (maxmemory 1gb|maxmemory-policy allkeys-lru)"),
        re.compile(rb"-ERR CONFIG SET failed \(possibly related to argument '[a-z-]+'\) - can't set immutable config\r\n"),
        NO_EVICTION,
    ),
    Deliberate(
        _command(r"CONFIG GET maxmemory"),
        re.compile(rb"(\*2|%1)\r\n\$9\r\nmaxmemory\r\n\$1\r\n0\r\n"),
        NO_EVICTION,
    ),
    Deliberate(
        _command(r"CONFIG GET maxmemory-policy"),
        re.compile(rb"(\*2|%1)\r\n\$16\r\nmaxmemory-policy\r\n\$10\r\nnoeviction\r\n"),
        NO_EVICTION,
    ),
]


def reason(words, got):
    """Why this answer is accepted although it differs, or None."""
    command = b" ".join(words)
    for difference in DIFFERENCES:
        if difference.command.fullmatch(command) and difference.answer.fullmatch(got.raw):
            return difference.reason
    return None
