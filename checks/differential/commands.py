"""Cases made from lists of commands: the wrong arity of each, and the table that COMMAND INFO and DOCS show."""

from resp import Connection

from .script import Case, Step

SURFACE = """
    hello auth ping echo quit reset select command info config time role dbsize flushall flushdb keys scan randomkey
    type exists del unlink touch rename renamenx copy expire pexpire expireat pexpireat ttl pttl expiretime
    pexpiretime persist object memory set get getex getdel getset setnx setex psetex mset mget msetnx setrange
    getrange substr append strlen incr decr incrby decrby incrbyfloat lcs multi exec discard watch unwatch
    subscribe psubscribe unsubscribe punsubscribe publish pubsub wait client
""".split()

SUBCOMMANDS = {
    "client": "id info list getname setname no-evict kill reply".split(),
    "command": "count info docs list getkeys".split(),
    "config": "get set resetstat".split(),
    "object": "encoding freq idletime refcount help".split(),
    "memory": "usage".split(),
    "pubsub": "channels numsub numpat".split(),
}

ARGUMENTS_MANY = 7


def arity_cases(reference):
    """Each command of the surface with too few and, where its arity is fixed, too many arguments."""
    case = Case("wrong number of arguments")
    capitals = Case("wrong number of arguments, capitals")
    with Connection(reference) as connection:
        for name in SURFACE:
            info = connection.ask("COMMAND", "INFO", name)[0]
            _add_wrong(case, [name], info[1])
            _add_wrong(capitals, [name.upper()], info[1])
            subcommands = {row[0].decode().split("|")[1]: row[1] for row in info[9]}
            for subcommand in SUBCOMMANDS.get(name, ()):
                _add_wrong(case, [name, subcommand], subcommands[subcommand])
            if name in SUBCOMMANDS:
                case.steps.append(_command(name, "nosuchsubcommand", "x"))
                case.steps.append(_command(name.upper(), "NoSuch Subcommand"))
    queued = Case("wrong number of arguments in a transaction")
    for name in ("get", "set", "incr", "client", "object"):
        queued.steps += [_command("multi"), _command(name), _command("exec")]
    return [case, capitals, queued]


def table_cases(server):
    """What COMMAND says about each command that the tested server lists."""
    with Connection(server) as connection:
        reply = connection.call("COMMAND", "LIST")
    listed = [] if reply.is_error() else sorted(name.decode() for name in reply.plain())
    missing = sorted(set(SURFACE) - set(listed))
    rows = Case("COMMAND INFO row by row")
    docs = Case("COMMAND DOCS row by row")
    for name in [name for name in listed if "|" not in name] + missing:
        rows.steps.append(_command("COMMAND", "INFO", name, matcher="command_info"))
        docs.steps.append(_command("COMMAND", "DOCS", name, matcher="command_docs"))
    return [rows, docs]


def _add_wrong(case, words, arity):
    needed = abs(arity) - len(words)
    if needed > 0:
        case.steps.append(_command(*words, *["x"] * (needed - 1)))
    if arity > 0:
        case.steps.append(_command(*words, *["x"] * (needed + 1)))
        case.steps.append(_command(*words, *["x"] * (needed + ARGUMENTS_MANY)))


def _command(*words, matcher="exact"):
    return Step("command", [word.encode() for word in words], matcher=matcher)
