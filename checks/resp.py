"""A Redis connection over a raw socket, for the checks and the bench scripts.

Keeps the exact bytes of every reply, because the checks compare bytes. Knows RESP2 and RESP3 framing and
deliberately nothing about commands, retries or pools.
"""

import socket
import time

READ_BYTES = 1 << 18


class Frame:
    """One reply: its type character, its value (bytes, None or a list of frames) and its exact bytes."""

    __slots__ = ("kind", "value", "raw")

    def __init__(self, kind, value, raw):
        self.kind = kind
        self.value = value
        self.raw = raw

    def is_error(self):
        return self.kind in "-!"

    def plain(self):
        """The reply as Python values: int, bytes, None, list, dict; errors as `Error`."""
        if self.is_error():
            return Error(self.value)
        if self.kind == ":":
            return int(self.value)
        if self.value is None or self.kind in "+$=,#(":
            return self.value
        items = [item.plain() for item in self.value]
        if self.kind == "%":
            return dict(zip(items[::2], items[1::2]))
        return items


class Error(bytes):
    """An error reply, so that it can be told from a string with the same text."""


class Closed(Exception):
    """The server closed the connection; `rest` holds what it sent after the last whole reply."""

    def __init__(self, rest=b""):
        super().__init__("connection closed by the server")
        self.rest = rest


class Silent(Exception):
    """No whole reply arrived in time; `rest` holds what did."""

    def __init__(self, seconds, rest=b""):
        super().__init__(f"no reply within {seconds} s")
        self.rest = rest


def encode(arguments):
    """A command as RESP: strings are sent as UTF-8, integers in decimal, bytes as they are."""
    parts = [b"*%d\r\n" % len(arguments)]
    for argument in arguments:
        if not isinstance(argument, bytes):
            argument = str(argument).encode()
        parts.append(b"$%d\r\n%b\r\n" % (len(argument), argument))
    return b"".join(parts)


def parse_address(text):
    host, _, port = text.rpartition(":")
    return (host or "127.0.0.1", int(port))


class Connection:
    def __init__(self, address, timeout=5.0):
        self.timeout = timeout
        self.socket = socket.create_connection(address, timeout=timeout)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.buffer = bytearray()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        self.socket.close()

    def send(self, data):
        self.socket.settimeout(self.timeout)
        self.socket.sendall(data)

    def call(self, *arguments):
        self.send(encode(arguments))
        return self.read()

    def ask(self, *arguments):
        """A command whose reply must not be an error, as Python values."""
        reply = self.call(*arguments).plain()
        if isinstance(reply, Error):
            raise RuntimeError(f"{arguments[0]}: {reply.decode(errors='replace')}")
        return reply

    def pipeline(self, commands):
        """All commands in one write; their replies as Python values, errors included."""
        self.send(b"".join(encode(command) for command in commands))
        return [self.read().plain() for _ in commands]

    def read(self):
        deadline = time.monotonic() + self.timeout
        while True:
            parsed = _parse(self.buffer, 0)
            if parsed is not None:
                frame, end = parsed
                del self.buffer[:end]
                return frame
            self._fill(deadline)

    def read_to_end(self):
        """Everything the server sends until it closes."""
        deadline = time.monotonic() + self.timeout
        try:
            while True:
                self._fill(deadline)
        except Closed as closed:
            self.buffer.clear()
            return closed.rest

    def _fill(self, deadline):
        remaining = deadline - time.monotonic()
        try:
            if remaining <= 0:
                raise socket.timeout
            self.socket.settimeout(remaining)
            chunk = self.socket.recv(READ_BYTES)
        except socket.timeout:
            raise Silent(self.timeout, bytes(self.buffer)) from None
        except ConnectionError:
            chunk = b""
        if not chunk:
            raise Closed(bytes(self.buffer))
        self.buffer += chunk


def _parse(buffer, at):
    """The frame that starts at `at` and where it ends, or None while it is incomplete."""
    line_end = buffer.find(b"\r\n", at)
    if line_end < 0:
        return None
    kind = chr(buffer[at])
    head = bytes(buffer[at + 1 : line_end])
    end = line_end + 2
    if kind in "+-:_#,(":
        return Frame(kind, head, bytes(buffer[at:end])), end
    if kind in "$=!":
        return _parse_bulk(buffer, at, kind, int(head), end)
    if kind in "*%~>|":
        return _parse_items(buffer, at, kind, int(head), end)
    raise ValueError(f"not a reply: {bytes(buffer[at : at + 40])!r}")


def _parse_bulk(buffer, at, kind, length, start):
    if length < 0:
        return Frame(kind, None, bytes(buffer[at:start])), start
    end = start + length + 2
    if len(buffer) < end:
        return None
    return Frame(kind, bytes(buffer[start : end - 2]), bytes(buffer[at:end])), end


def _parse_items(buffer, at, kind, count, end):
    if count < 0:
        return Frame(kind, None, bytes(buffer[at:end])), end
    items = []
    for _ in range(count * 2 if kind in "%|" else count):
        parsed = _parse(buffer, end)
        if parsed is None:
            return None
        item, end = parsed
        items.append(item)
    return Frame(kind, items, bytes(buffer[at:end])), end
