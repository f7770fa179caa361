"""How two replies are compared where they may legitimately differ. Each matcher says what it still demands."""

CLIENT_FIELDS_SAME = ("name", "flags", "db", "sub", "psub", "multi", "cmd", "user", "resp")
# A row of COMMAND INFO: name, arity, flags, first key, last key, step, categories, tips, key specifications, subcommands.
COMMAND_FIELDS = 10
COMMAND_FLAGS, COMMAND_SUBCOMMANDS = 2, 9
SUBCOMMANDS_NEWER = {b"client|setinfo", b"client|no-touch"}  # Of Redis 7.2.
INFO_FIELDS = {
    "Server": ("redis_version", "redis_mode", "process_id", "run_id", "tcp_port", "uptime_in_seconds"),
    "Clients": ("connected_clients", "maxclients", "blocked_clients"),
    "Memory": ("used_memory", "used_memory_human", "used_memory_rss", "maxmemory", "maxmemory_policy"),
    "Stats": (
        "total_connections_received", "total_commands_processed", "instantaneous_ops_per_sec",
        "expired_keys", "keyspace_hits", "keyspace_misses", "evicted_keys", "pubsub_channels", "pubsub_patterns",
    ),
    "Replication": ("role", "connected_slaves"),
    "CPU": ("used_cpu_sys", "used_cpu_user"),
    "Keyspace": (),
}
CLIENT_FIELDS_PRESENT = ("id", "addr", "laddr", "age", "idle")


def exact(expected, got):
    """The same bytes."""
    if expected.kind in ("end", "scan"):
        return expected.value == got.value
    return expected.raw == got.raw


def integer(expected, got):
    """Both are integers: ids, sizes, counts of servers."""
    return expected.kind == got.kind == ":"


def positive(expected, got):
    """Both are integers above zero."""
    return integer(expected, got) and int(expected.value) > 0 and int(got.value) > 0


def near(expected, got):
    """Integers at most 1 apart: seconds that remain."""
    return integer(expected, got) and abs(int(expected.value) - int(got.value)) <= 1


def near_ms(expected, got):
    """Integers at most 1,000 apart: milliseconds that remain."""
    return integer(expected, got) and abs(int(expected.value) - int(got.value)) <= 1000


def shape(expected, got):
    """The same types and lengths all the way down, whatever the values: TIME."""
    if expected.kind != got.kind:
        return False
    if isinstance(expected.value, list) and isinstance(got.value, list):
        return len(expected.value) == len(got.value) and all(map(shape, expected.value, got.value))
    return (expected.value is None) == (got.value is None)


def kind(expected, got):
    """The same type of reply: RANDOMKEY, texts about the server."""
    return expected.kind == got.kind and (expected.value is None) == (got.value is None)


def unordered(expected, got):
    """The same elements in any order: KEYS, PUBSUB CHANNELS, CONFIG GET."""
    if expected.kind != got.kind or not isinstance(expected.value, list) or not isinstance(got.value, list):
        return exact(expected, got)
    return sorted(item.raw for item in expected.value) == sorted(item.raw for item in got.value)


def pairs(expected, got):
    """The same field and value pairs in any order."""
    wanted, found = ({name: value.raw for name, value in _pairs(reply).items()} for reply in (expected, got))
    return expected.kind == got.kind and wanted == found


def names(expected, got):
    """The same names in a flat list of name and value, whatever the values: CONFIG GET."""
    return expected.kind == got.kind and sorted(_pairs(expected)) == sorted(_pairs(got))


def hello(expected, got):
    """HELLO: the same fields in the same order; the same server, protocol, mode, role and no modules."""
    if expected.kind != got.kind or expected.is_error():
        return exact(expected, got)
    wanted, found = _pairs(expected), _pairs(got)
    same = (b"server", b"proto", b"mode", b"role", b"modules")
    return (
        list(wanted) == list(found)
        and all(wanted[field].raw == found[field].raw for field in same)
        and found[b"id"].kind == ":"
        and found[b"version"].value[:2] == wanted[b"version"].value[:2]
    )


def help(expected, got):
    """HELP: a list of lines that starts with the same line and ends with the description of HELP."""
    if expected.kind != got.kind or expected.is_error():
        return exact(expected, got)
    wanted, found = [line.raw for line in expected.value], [line.raw for line in got.value]
    return wanted[0] == found[0] and wanted[-2:] == found[-2:] and len(found) > 2


def client(expected, got):
    """One CLIENT INFO line: essential fields present, what the client itself decided equal."""
    return expected.kind == got.kind and _same_client(_client_fields(_text(expected)), _client_fields(_text(got)))


def clients(expected, got):
    """CLIENT LIST: as many lines; the lines, ordered by id, equal as `client` has it."""
    if expected.kind != got.kind or expected.is_error():
        return exact(expected, got)
    wanted, found = ([_client_fields(line) for line in _text(reply).splitlines()] for reply in (expected, got))
    return len(wanted) == len(found) and all(map(_same_client, wanted, found))


def scan_page(expected, got):
    """One SCAN reply: a cursor and a list of keys."""
    if expected.is_error() or got.is_error():
        return exact(expected, got)
    return all(
        reply.kind == "*" and [item.kind for item in reply.value] == ["$", "*"] and reply.value[0].value.isdigit()
        for reply in (expected, got)
    )


def role(expected, got):
    """ROLE: `master`, an offset and a list of replicas, of which the other server may have any number."""
    return all(
        reply.kind == "*"
        and reply.value[0].value == b"master"
        and [item.kind for item in reply.value] == ["$", ":", "*"]
        for reply in (expected, got)
    )


def info(expected, got):
    """INFO: of the sections in `INFO_FIELDS` the same ones, each with its essential fields, and no empty value."""
    if expected.kind != got.kind or expected.is_error():
        return exact(expected, got)
    wanted, found = _sections(_text(expected)), _sections(_text(got))
    return all(
        section in found and all(found[section].get(field) for field in fields)
        for section, fields in INFO_FIELDS.items()
        if section in wanted
    ) and all(section in wanted for section in found if section in INFO_FIELDS)


def keyspace(expected, got):
    """INFO keyspace: the same databases with the same numbers of keys and of keys with a deadline."""
    counts = [
        {name: value.split(",")[:2] for name, value in _sections(_text(reply)).get("Keyspace", {}).items()}
        for reply in (expected, got)
    ]
    return expected.kind == got.kind and counts[0] == counts[1]


def command_info(expected, got):
    """COMMAND INFO of one command: everything is equal, flags in any order; subcommands may be missing."""
    rows = [reply.value[0] if reply.value else None for reply in (expected, got)]
    return None not in rows and expected.kind == got.kind and _same_row(*rows)


def _same_row(expected, got):
    if expected.value is None or len(got.value) != COMMAND_FIELDS or len(expected.value) != COMMAND_FIELDS:
        return False
    for place, (wanted, found) in enumerate(zip(expected.value, got.value)):
        if place == COMMAND_FLAGS:
            same = wanted.kind == found.kind and unordered(wanted, found)
        elif place == COMMAND_SUBCOMMANDS:
            there = {row.value[0].value: row for row in wanted.value}
            same = wanted.kind == found.kind and all(
                name in SUBCOMMANDS_NEWER or _same_row(there[name], row)
                for name, row in ((row.value[0].value, row) for row in found.value)
            )
        else:
            same = wanted.raw == found.raw
        if not same:
            return False
    return True


def command_docs(expected, got):
    """COMMAND DOCS of one command: a map with a summary, and the same group and first version."""
    docs = [_pairs(reply) for reply in (expected, got)]
    if expected.kind != got.kind or not docs[0] or list(docs[0]) != list(docs[1]):
        return False
    rows = [(_pairs(docs[0][name]), _pairs(docs[1][name])) for name in docs[0]]
    return all(
        found.get(b"summary")
        and all(key in found and wanted[key].raw == found[key].raw for key in (b"group", b"since"))
        for wanted, found in rows
    )


def _text(reply):
    """The text of a bulk string, or of a verbatim string without its `txt:`."""
    if reply.kind == "=" and reply.value[:4] != b"txt:":
        raise ValueError("a verbatim string that is not marked as text")
    return reply.value[4 if reply.kind == "=" else 0 :].decode()


def _sections(text):
    sections = {}
    for line in text.splitlines():
        if line.startswith("# "):
            sections[line[2:]] = {}
        elif ":" in line:
            name, value = line.split(":", 1)
            sections[next(reversed(sections))][name] = value
    return sections


def _pairs(reply):
    items = reply.value if isinstance(reply.value, list) else []
    return {name.value: value for name, value in zip(items[::2], items[1::2])}


def _client_fields(line):
    return dict(part.split("=", 1) for part in line.split())


def _same_client(wanted, found):
    return all(found.get(name) == wanted[name] for name in CLIENT_FIELDS_SAME) and all(
        found.get(name) for name in CLIENT_FIELDS_PRESENT
    )


def same(name, expected, got):
    """Whether the matcher of this name accepts `got`; an answer that it cannot read is refused."""
    try:
        return MATCHERS[name](expected, got)
    except (AttributeError, IndexError, KeyError, TypeError, ValueError):
        return False


MATCHERS = {
    matcher.__name__: matcher
    for matcher in (
        exact, integer, positive, near, near_ms, shape, kind, unordered, pairs, names, hello, help, client, clients,
        scan_page, role, info, keyspace, command_info, command_docs,
    )
}
