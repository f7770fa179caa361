#!/usr/bin/env python3
"""Misbehaves towards one server in every known way while a healthy client keeps asking.

    bad_input.py --server 127.0.0.1:6401 [--pid PID] [--config-set 'NAME VALUE'] [--memory-mb-max 300]

Each misbehaviour must end in an error, a disconnect or patience, with bounded memory (measured with --pid), while
the healthy client gets right answers in time. redis-server needs
`--config-set 'client-output-buffer-limit normal 64mb 64mb 1'` for the reader that never reads.
Ends with `N passed, N failed`; exit code 1 when something failed.
"""

import argparse
import contextlib
import random
import socket
import sys
import threading
import time

from resp import Closed, Connection, Silent, encode, parse_address

QUICK_CONNECTIONS = 10_000
HALF_OPEN = 200
LARGE_VALUE_BYTES = 1_000_000
UNREAD_REPLIES = 2_000
SETTLE_SECONDS = 1.0
LATENCY_MS_MAX = 500


def main():
    arguments = parse_arguments()
    if arguments.config_set:
        name, value = arguments.config_set.split(" ", 1)
        with Connection(arguments.server) as connection:
            connection.ask("CONFIG", "SET", name, value)
    passed = failed = 0
    for attack in ATTACKS:
        with contextlib.ExitStack() as cleanup:
            trouble = misbehave(attack, arguments, cleanup)
        name = attack.__name__.replace("_", " ")
        if trouble:
            failed += 1
            print(f"{name}: FAILED: {'; '.join(trouble)}", flush=True)
        else:
            passed += 1
            print(f"{name}: ok", flush=True)
    print(f"{passed} passed, {failed} failed")
    return 1 if failed else 0


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--server", type=parse_address, required=True)
    parser.add_argument("--pid", type=int, help="process of the server, to measure its resident memory")
    parser.add_argument("--config-set", help="a CONFIG SET sent first")
    parser.add_argument("--memory-mb-max", type=int, default=300, help="growth allowed at any moment (default 300)")
    parser.add_argument("--latency-ms-max", type=float, default=LATENCY_MS_MAX, help="of the healthy client")
    parser.add_argument("--patience", type=float, default=30, help="seconds that the server has to disconnect")
    return parser.parse_args()


class Healthy:
    """A well-behaved client in a thread of its own: sets, reads back, and remembers the slowest answer."""

    def __init__(self, arguments):
        self.server = arguments.server
        self.pid = arguments.pid
        self.stop = threading.Event()
        self.troubles = []
        self.latencies_ms = []
        self.rss_max = 0
        self.thread = threading.Thread(target=self._run)
        self.thread.start()

    def end(self):
        self.stop.set()
        self.thread.join()

    def _run(self):
        try:
            with Connection(self.server, timeout=10) as connection:
                turn = 0
                while not self.stop.is_set():
                    turn += 1
                    started = time.perf_counter()
                    replies = connection.pipeline([("SET", "healthy", turn), ("GET", "healthy")])
                    self.latencies_ms.append((time.perf_counter() - started) * 1000)
                    if replies != [b"OK", b"%d" % turn]:
                        self.troubles.append(f"the healthy client got {replies!r}")
                        return
                    self.rss_max = max(self.rss_max, rss_bytes(self.pid))
                    time.sleep(0.002)
        except (OSError, Closed, Silent) as trouble:
            self.troubles.append(f"the healthy client: {trouble!r}")


def misbehave(attack, arguments, cleanup):
    """Runs one attack beside a healthy client; what was wrong, as a list of sentences."""
    rss_before = rss_bytes(arguments.pid)
    healthy = Healthy(arguments)
    troubles = []
    try:
        trouble = attack(arguments, cleanup)
        if trouble:
            troubles.append(trouble)
    except (OSError, RuntimeError, Closed, Silent) as trouble:
        troubles.append(repr(trouble))
    time.sleep(0.1)
    healthy.end()
    troubles += healthy.troubles
    slowest = max(healthy.latencies_ms, default=0)
    growth_mb = (healthy.rss_max - rss_before) / 1e6
    grown = f", memory +{growth_mb:.0f} MB at most" if arguments.pid else ""
    print(f"  {len(healthy.latencies_ms)} healthy answers, slowest {slowest:.1f} ms{grown}")
    if slowest > arguments.latency_ms_max:
        troubles.append(f"the healthy client waited {slowest:.0f} ms")
    if growth_mb > arguments.memory_mb_max:
        troubles.append(f"memory grew by {growth_mb:.0f} MB")
    return troubles


def malformed_requests(arguments, _cleanup):
    """Each ends with an error that says `Protocol error`, and a disconnect."""
    requests = [
        b"*abc\r\n", b"*1\r\n$abc\r\n", b"*1\r\n:5\r\n", b"*1\r\n$-5\r\n", b"*99999999999999999999\r\n",
        b"*1\r\n$99999999999999999999\r\n", b"*2\r\n$3\r\nGET\r\n+x\r\n", b'SET k "open\r\n', b"*1\r\n\r\n",
        b"*" + b"1" * 70_000, b"*1\r\n$" + b"1" * 70_000, b"a" * 70_000,
    ]
    for request in requests:
        with Connection(arguments.server) as connection:
            connection.send(request)
            answer = connection.read_to_end()
            # A server that closes with input unread resets the connection, which may swallow its last words.
            if not answer.startswith(b"-ERR Protocol error") and not (len(request) > 60_000 and not answer):
                return f"{request[:40]!r} was answered {answer[:80]!r}"
    return None


def random_bytes(arguments, _cleanup):
    """Bytes without any sense, as RESP and not, in many connections: an end or an error, never a hang-up of others."""
    chance = random.Random(1)
    for turn in range(300):
        start = chance.choice([b"", b"*3\r\n$3\r\nSET\r\n", b"*", b"$", b"*2\r\n", b"\r\n", b"\x16\x03\x01", b"GET / HTTP/1.1\r\n"])
        with Connection(arguments.server) as connection:
            with contextlib.suppress(OSError):
                connection.send(start + chance.randbytes(chance.randint(1, 3000)) + b"\r\n")
    return None


def a_bulk_of_10_gb(arguments, _cleanup):
    with Connection(arguments.server) as connection:
        connection.send(b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$10000000000\r\n")
        answer = connection.read_to_end()
        return None if answer.startswith(b"-ERR") else f"answered {answer[:80]!r}"


def bulks_declared_and_never_sent(arguments, cleanup):
    """A hundred clients that announce 400 MB each and send nothing of it: no memory for promises."""
    for _ in range(100):
        connection = cleanup.enter_context(Connection(arguments.server))
        connection.send(b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$400000000\r\nbeginning")
    time.sleep(SETTLE_SECONDS)
    return None


def array_headers_of_a_million(arguments, cleanup):
    """A hundred clients that announce a million elements: an error, a disconnect or patience."""
    for _ in range(100):
        connection = cleanup.enter_context(Connection(arguments.server))
        connection.send(b"*1000000\r\n$3\r\nDEL\r\n$1\r\nk\r\n")
    time.sleep(SETTLE_SECONDS)
    return None


def a_million_elements(arguments, _cleanup):
    """All of them really sent: the count, an error or a disconnect."""
    with Connection(arguments.server, timeout=30) as connection:
        with contextlib.suppress(OSError):
            connection.send(b"*1000001\r\n$6\r\nEXISTS\r\n" + b"$1\r\nk\r\n" * 1_000_000)
        try:
            answer = connection.read()
        except Closed:
            return None
        return None if answer.kind == ":" or answer.is_error() else f"answered {answer.raw[:80]!r}"


def nested_arrays(arguments, _cleanup):
    with Connection(arguments.server) as connection:
        with contextlib.suppress(OSError):
            connection.send(b"*1\r\n" * 100_000)
        answer = connection.read_to_end()
        return None if not answer or answer.startswith(b"-ERR Protocol error") else f"answered {answer[:80]!r}"


def a_byte_at_a_time(arguments, _cleanup):
    """Slow is not wrong: the command is answered once it is whole."""
    with Connection(arguments.server, timeout=20) as connection:
        for byte in encode(("SET", "slow", "v" * 20)):
            connection.send(bytes([byte]))
            time.sleep(0.03)
        answer = connection.read().raw
        return None if answer == b"+OK\r\n" else f"answered {answer!r}"


def a_reader_that_never_reads(arguments, _cleanup):
    """Asks for 2 GB and reads nothing: cut off, or made to wait with little held for it."""
    with Connection(arguments.server) as connection:
        connection.ask("SET", "large", b"x" * LARGE_VALUE_BYTES)
    request = encode(("GET", "large"))
    never = socket.create_connection(arguments.server)
    try:
        never.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
        never.setblocking(False)
        cut = send_without_reading(never, request * UNREAD_REPLIES, arguments.patience)
        print(f"  the reader that never reads was {'disconnected' if cut else 'made to wait'}")
        return None
    finally:
        never.close()
        with Connection(arguments.server) as connection:
            connection.ask("DEL", "large")


def a_writer_that_never_reads(arguments, _cleanup):
    """Sends small commands without end and never reads: cut off, or made to wait."""
    never = socket.create_connection(arguments.server)
    try:
        never.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
        never.setblocking(False)
        cut = send_without_reading(never, encode(("ECHO", "e" * 200)) * 500_000, 5)
        print(f"  the writer that never reads was {'disconnected' if cut else 'made to wait'}")
        return None
    finally:
        never.close()


def send_without_reading(never, data, seconds):
    """Sends what the server takes; True when it closed the connection within the time."""
    deadline = time.monotonic() + seconds
    sent = 0
    while time.monotonic() < deadline:
        try:
            sent += never.send(data[sent : sent + 65536] or b"*1\r\n$4\r\nPING\r\n")
        except BlockingIOError:
            time.sleep(0.01)
        except OSError:
            return True
        if sent > len(data):
            time.sleep(0.1)
    return False


def a_subscriber_that_never_reads(arguments, _cleanup):
    """Messages of 200 MB for one that does not read: the publisher is not held up."""
    subscriber = Connection(arguments.server)
    subscriber.ask("SUBSCRIBE", "flood")
    with Connection(arguments.server, timeout=30) as publisher:
        message = b"m" * 100_000
        for _ in range(200):
            publisher.pipeline([("PUBLISH", "flood", message)] * 10)
    subscriber.close()
    return None


def ten_thousand_quick_connects(arguments, _cleanup):
    for turn in range(QUICK_CONNECTIONS):
        connection = socket.create_connection(arguments.server, timeout=10)
        if turn % 3 == 0:
            connection.sendall(b"*1\r\n$4\r\nPING\r\n")
        # Closing with a reset leaves no port behind to wait.
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0")
        connection.close()
    return None


def half_open_connections(arguments, cleanup):
    """Clients that stop in the middle of a command, shut their side, or both."""
    for turn in range(HALF_OPEN):
        connection = cleanup.enter_context(Connection(arguments.server))
        connection.send([b"", b"*2\r\n$3\r\nGE", b"PIN", b"*1\r\n$4\r\nPING\r\n"][turn % 4])
        if turn % 2:
            connection.socket.shutdown(socket.SHUT_WR)
    time.sleep(SETTLE_SECONDS)
    with Connection(arguments.server) as connection:
        return None if connection.ask("PING") == b"PONG" else "no PONG"


def a_transaction_without_end(arguments, cleanup):
    """Commands queued by the hundred thousand and never executed, then an ordinary command elsewhere."""
    connection = cleanup.enter_context(Connection(arguments.server, timeout=30))
    connection.ask("MULTI")
    for _ in range(100):
        try:
            replies = connection.pipeline([("SET", "k", "v" * 100)] * 1000)
        except (OSError, Closed):
            return None
        if replies[-1] != b"QUEUED":
            return None
    return None


ATTACKS = (
    malformed_requests, random_bytes, a_bulk_of_10_gb, bulks_declared_and_never_sent, array_headers_of_a_million,
    a_million_elements, nested_arrays, a_byte_at_a_time, a_reader_that_never_reads, a_writer_that_never_reads,
    a_subscriber_that_never_reads, ten_thousand_quick_connects, half_open_connections, a_transaction_without_end,
)


def rss_bytes(pid):
    if not pid:
        return 0
    with open(f"/proc/{pid}/status") as status:
        for line in status:
            if line.startswith("VmRSS:"):
                return int(line.split()[1]) * 1024
    return 0


if __name__ == "__main__":
    sys.exit(main())
