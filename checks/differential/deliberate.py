"""Where the server under test differs from redis-server 7.0.15 on purpose: which command, which answer, why."""

import re
from dataclasses import dataclass
from fractions import Fraction

ROUNDING = Fraction(1, 2**60)  # Redis keeps 64 bits of a sum, so a few roundings stay below this part of it.


@dataclass
class Deliberate:
    command: re.Pattern
    answer: re.Pattern
    reason: str
    is_rounded: bool = False  # The answer is the expected number, but for the rounding of the last increment.


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
        _command(r"OBJECT IDLETIME (read|touched)"),
        re.compile(rb":[23]\r\n"),
        "OBJECT IDLETIME counts from the last write: a clock of reads would be a store in each of them",
    ),
    Deliberate(
        _command(r"INCRBYFLOAT \S+ -?\d+(\.\d+)?(e\d+)?"),
        re.compile(rb"\$\d+\r\n-?\d+(\.\d+)?\r\n"),
        "INCRBYFLOAT adds exact decimals, so that every region gets the same sum; Redis rounds to an 80-bit double",
        is_rounded=True,
    ),
    Deliberate(
        _command(r"INCRBYFLOAT \S+ (1e22|-0x1p71|1e4932)"),
        re.compile(rb"-ERR increment would produce NaN or Infinity\r\n"),
        "a counter holds exact decimals up to 1.7e21; Redis holds rounded ones up to 1.2e4932",
    ),
    Deliberate(
        _command(r'SET k v (NX\0|E\0X 10)'),
        re.compile(rb"-ERR syntax error\r\n"),
        "an option is compared whole; Redis compares C strings, which end at a NUL",
    ),
    Deliberate(
        _command(r"OBJECT REFCOUNT (made|copied|whole)"),
        re.compile(rb":2147483647\r\n"),
        ENCODING,
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


def reason(words, expected, got):
    """Why this answer is accepted although it differs, or None."""
    command = b" ".join(words)
    for difference in DIFFERENCES:
        if difference.command.fullmatch(command) and difference.answer.fullmatch(got.raw):
            if not difference.is_rounded or _is_rounded(Fraction(words[-1].decode()), expected, got):
                return difference.reason
    return None


def _is_rounded(increment, expected, got):
    """Whether two sums differ by no more than the rounding of the largest number that they come from."""
    if expected.is_error():
        return False
    wanted, found = Fraction(expected.value.decode()), Fraction(got.value.decode())
    return abs(wanted - found) <= ROUNDING * max(abs(wanted), abs(found), abs(increment))
