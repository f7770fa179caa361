#!/usr/bin/env python3
"""Checks a server with an unmodified redis-py: `redis_py.py HOST PORT`.

Every check runs with the client's default settings, then with RESP2 and with RESP3 named.
"""

import asyncio
import os
import signal
import sys
import threading
import time

import redis
import redis.asyncio

SECONDS_MAX = 120
LARGE_BYTES = 5_000_000
CONNECTIONS = 200
PREFIX = f"check:redis-py:{os.getpid()}:"


def key(name):
    return PREFIX + name


def until(condition, seconds=5):
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if condition():
            return True
        time.sleep(0.005)
    return False


def strings(connect):
    r = connect()
    assert r.ping() is True
    assert r.set(key("s"), "v") is True
    assert r.get(key("s")) == b"v"
    assert r.set(key("s"), "w", nx=True) is None
    assert r.set(key("s"), "w", get=True) == b"v"
    assert r.append(key("s"), "x") == 2 and r.strlen(key("s")) == 2
    assert r.getrange(key("s"), 0, 0) == b"w" and r.setrange(key("s"), 1, "yz") == 3
    assert r.mset({key("a"): 1, key("b"): 2}) is True
    assert r.mget(key("a"), key("b"), key("nosuch")) == [b"1", b"2", None]
    assert r.incr(key("n")) == 1 and r.incrby(key("n"), 41) == 42 and r.decr(key("n")) == 41
    assert r.incrbyfloat(key("f"), 1.5) == 1.5
    assert r.getdel(key("s")) == b"wyz" and r.exists(key("s")) == 0
    assert r.delete(key("a"), key("b"), key("nosuch")) == 2
    assert r.type(key("n")) == b"string" and r.rename(key("n"), key("m")) is True
    assert r.copy(key("m"), key("n")) and r.touch(key("m"), key("n")) == 2
    text = connect(decode_responses=True)
    text.set(key("text"), "Grüße")
    assert text.get(key("text")) == "Grüße"


def binary_and_large(connect):
    r = connect()
    everything = bytes(range(256))
    assert r.set(PREFIX.encode() + everything, everything) is True
    assert r.get(PREFIX.encode() + everything) == everything
    large = os.urandom(LARGE_BYTES)
    r.set(key("large"), large)
    assert r.get(key("large")) == large
    assert r.strlen(key("large")) == LARGE_BYTES
    pipe = r.pipeline()
    for _ in range(5):
        pipe.get(key("large"))
    assert all(value == large for value in pipe.execute())


def pipelines(connect):
    r = connect()
    for transaction in (True, False):
        pipe = r.pipeline(transaction=transaction)
        for i in range(1000):
            pipe.set(key(f"p{i}"), i)
            pipe.get(key(f"p{i}"))
        replies = pipe.execute()
        assert replies[0::2] == [True] * 1000
        assert replies[1::2] == [str(i).encode() for i in range(1000)]
        pipe.set(key("text"), "abc").incr(key("text")).get(key("text"))
        replies = pipe.execute(raise_on_error=False)
        assert replies[0] is True and replies[2] == b"abc"
        assert isinstance(replies[1], redis.ResponseError)


def transactions(connect):
    r = connect()
    r.set(key("watched"), 0)
    pipe = r.pipeline()
    pipe.watch(key("watched"))
    r.set(key("watched"), 1)
    pipe.multi()
    pipe.set(key("watched"), 2)
    try:
        pipe.execute()
        raise AssertionError("EXEC went through although the watched key changed")
    except redis.WatchError:
        pass
    assert r.get(key("watched")) == b"1"

    def add(pipe):
        value = int(pipe.get(key("sum")) or 0)
        pipe.multi()
        pipe.set(key("sum"), value + 1)

    def adder():
        own = connect()
        for _ in range(50):
            own.transaction(add, key("sum"))

    r.delete(key("sum"))
    threads = [threading.Thread(target=adder) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert r.get(key("sum")) == b"200"


def expiry(connect):
    r = connect()
    r.set(key("e"), "v", px=60)
    assert 0 < r.pttl(key("e")) <= 60
    assert until(lambda: r.get(key("e")) is None)
    assert r.ttl(key("e")) == -2
    r.set(key("e"), "v", ex=100)
    assert 98 <= r.ttl(key("e")) <= 100 and r.persist(key("e")) and r.ttl(key("e")) == -1
    assert r.expire(key("e"), 50, nx=True) and not r.expire(key("e"), 60, nx=True)
    assert r.expire(key("e"), 70, gt=True) and r.expiretime(key("e")) > time.time() + 60
    assert r.getex(key("e"), persist=True) == b"v" and r.ttl(key("e")) == -1


def pubsub(connect):
    r = connect()
    channel = key("channel")
    subscriber = r.pubsub()
    subscriber.subscribe(channel)
    subscriber.psubscribe(key("chan*"))
    kinds = [subscriber.get_message(timeout=5)["type"] for _ in range(2)]
    assert kinds == ["subscribe", "psubscribe"], kinds
    assert r.publish(channel, b"\x00hello") == 2
    messages = [subscriber.get_message(timeout=5) for _ in range(2)]
    assert sorted(message["type"] for message in messages) == ["message", "pmessage"]
    assert all(message["data"] == b"\x00hello" for message in messages)
    assert r.pubsub_numsub(channel) == [(channel.encode(), 1)]
    subscriber.ping()
    assert subscriber.get_message(timeout=5)["type"] == "pong"
    subscriber.unsubscribe()
    subscriber.punsubscribe()
    assert until(lambda: r.publish(channel, "gone") == 0)
    subscriber.close()
    got = []
    listener = r.pubsub(ignore_subscribe_messages=True)
    listener.subscribe(**{channel: lambda message: got.append(message["data"])})
    thread = listener.run_in_thread(sleep_time=0.01)
    assert until(lambda: r.publish(channel, "0") == 1)
    for i in range(1, 100):
        r.publish(channel, str(i))
    assert until(lambda: len(got) == 100), len(got)
    assert got == [str(i).encode() for i in range(100)]
    thread.stop()
    thread.join()


def scan(connect):
    r = connect()
    stays = {key(f"stays:{i}").encode() for i in range(2000)}
    r.mset({name: "v" for name in stays})
    stop = threading.Event()

    def disturb():
        own = connect()
        i = 0
        while not stop.is_set():
            own.set(key(f"goes:{i}"), "v")
            own.delete(key(f"goes:{i - 50}"))
            i += 1

    thread = threading.Thread(target=disturb)
    thread.start()
    try:
        for count in (1, 10, 1000):
            assert stays <= set(r.scan_iter(match=PREFIX + "*", count=count))
        assert stays == set(r.scan_iter(match=key("stays:*"), count=100, _type="string"))
    finally:
        stop.set()
        thread.join()


def errors(connect):
    r = connect()
    r.set(key("text"), "abc")
    for call, part in (
        (lambda: r.incr(key("text")), "value is not an integer or out of range"),
        (lambda: r.execute_command("GET"), "wrong number of arguments for 'get' command"),
        (lambda: r.execute_command("NOSUCH", "a"), "unknown command 'NOSUCH'"),
        (lambda: r.execute_command("SET", "a", "b", "BAD"), "syntax error"),
        (lambda: r.rename(key("nosuch"), key("x")), "no such key"),
    ):
        try:
            call()
        except redis.ResponseError as error:
            assert part in str(error), error
        else:
            raise AssertionError(f"no error: {part}")
    assert r.get(key("text")) == b"abc"


def many_connections(connect):
    clients = [connect() for _ in range(CONNECTIONS)]
    connections = [client.pubsub() for client in clients]
    for i, client in enumerate(clients):
        client.set(key(f"many:{i}"), i)
    assert [client.get(key(f"many:{i}")) for i, client in enumerate(clients)] == [
        str(i).encode() for i in range(CONNECTIONS)
    ]
    for connection, client in zip(connections, clients):
        connection.close()
        client.close()


def server_commands(connect):
    r = connect()
    assert r.info()["redis_version"].startswith("7.")
    assert r.info("replication")["role"] == "master"
    assert r.client_id() > 0 and r.client_setname("check") and r.client_getname() in ("check", b"check")
    assert any(row["name"] == "check" for row in r.client_list())
    assert r.client_info()["name"] == "check"
    assert "maxmemory" in r.config_get("maxmemory")
    assert r.command_count() > 50 and r.command()["get"]["arity"] == 2
    assert r.role()[0] in (b"master", "master")
    assert abs(r.time()[0] - time.time()) < 5
    assert r.dbsize() >= 0 and r.echo("x") == b"x"
    assert r.object("encoding", key("text")) in (b"embstr", None)
    assert r.wait(0, 10) >= 0


def asynchronous(connect):
    options = connect().connection_pool.connection_kwargs

    async def run():
        named = {name: options[name] for name in ("host", "port", "protocol") if name in options}
        r = redis.asyncio.Redis(**named)
        await asyncio.gather(*(r.set(key(f"async:{i}"), i) for i in range(50)))
        assert [int(v) for v in await r.mget([key(f"async:{i}") for i in range(50)])] == list(range(50))
        async with r.pipeline() as pipe:
            assert await pipe.incr(key("async")).incr(key("async")).execute() == [1, 2]
        async with r.pubsub() as subscriber:
            await subscriber.subscribe(key("async"))
            await subscriber.get_message(timeout=5)
            await r.publish(key("async"), "hello")
            assert (await subscriber.get_message(timeout=5))["data"] == b"hello"
        await r.aclose()

    asyncio.run(run())


CHECKS = (
    strings, binary_and_large, pipelines, transactions, expiry, pubsub, scan, errors, many_connections, server_commands,
    asynchronous,
)


def main():
    signal.alarm(SECONDS_MAX)
    host, port = sys.argv[1], int(sys.argv[2])
    failed = 0
    for settings in ({}, {"protocol": 2}, {"protocol": 3}):
        name = "RESP%d" % settings["protocol"] if settings else "default settings"

        def connect(**more):
            return redis.Redis(host=host, port=port, **settings, **more)

        for check in CHECKS:
            try:
                remove(connect())
                check(connect)
                print(f"redis-py {redis.__version__}, {name}: {check.__name__} ok", flush=True)
            except Exception as error:
                failed += 1
                print(f"redis-py {redis.__version__}, {name}: {check.__name__} FAILED: {error!r}", flush=True)
        remove(connect())
    return 1 if failed else 0


def remove(r):
    names = list(r.scan_iter(match=PREFIX + "*", count=1000))
    if names:
        r.delete(*names)


if __name__ == "__main__":
    sys.exit(main())
