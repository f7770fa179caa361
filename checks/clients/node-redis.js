// Checks a server with an unmodified node-redis: `node node-redis.js HOST PORT`.
// Every check runs with the client's default settings, then with RESP2 and with RESP3 named.
"use strict";

const { createClient, createClientPool, RESP_TYPES } = require("redis");
const { version } = require("redis/package.json");
const { assert, equal, fails, prefix, run, until } = require("./checking.js");

const [host, port] = [process.argv[2], Number(process.argv[3])];
const LARGE_BYTES = 5_000_000;
const CONNECTIONS = 100;
const key = (name) => prefix("node-redis") + name;
const binary = (client) => client.withTypeMapping({ [RESP_TYPES.BLOB_STRING]: Buffer });

async function open(settings) {
  const client = createClient({ socket: { host, port }, ...settings });
  client.on("error", () => {}); // A failed command rejects; the event would end the process.
  return client.connect();
}

async function remove(client) {
  for await (const keys of client.scanIterator({ MATCH: key("*"), COUNT: 1000 })) {
    if (keys.length) await client.del(keys);
  }
}

const checks = {
  async strings(connect) {
    const c = await connect();
    equal(await c.ping(), "PONG", "PING");
    equal(await c.set(key("s"), "v"), "OK", "SET");
    equal(await c.set(key("s"), "w", { condition: "NX" }), null, "SET NX");
    equal(await c.set(key("s"), "w", { GET: true }), "v", "SET GET");
    equal(await c.append(key("s"), "xy"), 3, "APPEND");
    equal(await c.getRange(key("s"), 0, -1), "wxy", "GETRANGE");
    equal(await c.setRange(key("s"), 1, "z"), 3, "SETRANGE");
    equal(await c.mSet({ [key("a")]: "1", [key("b")]: "2" }), "OK", "MSET");
    equal(await c.mGet([key("a"), key("b"), key("nosuch")]), ["1", "2", null], "MGET");
    equal(await c.incrBy(key("n"), 41), 41, "INCRBY");
    equal(await c.incr(key("n")), 42, "INCR");
    equal(Number(await c.incrByFloat(key("f"), 1.5)), 1.5, "INCRBYFLOAT");
    equal(await c.getDel(key("s")), "wzy", "GETDEL");
    equal(await c.del([key("a"), key("b"), key("nosuch")]), 2, "DEL");
    equal(await c.type(key("n")), "string", "TYPE");
    equal(await c.rename(key("n"), key("m")), "OK", "RENAME");
    equal(await c.exists([key("n"), key("m")]), 1, "EXISTS");
  },

  async binaryAndLarge(connect) {
    const c = await connect();
    const everything = Buffer.from(Array.from({ length: 256 }, (_, i) => i));
    await c.set(key("binary"), everything);
    assert(everything.equals(await binary(c).get(key("binary"))), "binary value");
    const large = Buffer.alloc(LARGE_BYTES, "large value ");
    await c.set(key("large"), large);
    assert(large.equals(await binary(c).get(key("large"))), "large value");
    equal(await c.strLen(key("large")), LARGE_BYTES, "STRLEN");
  },

  async pipelines(connect) {
    const c = await connect();
    const names = Array.from({ length: 1000 }, (_, i) => key(`p${i}`));
    await Promise.all(names.map((name, i) => c.set(name, String(i))));
    equal(await Promise.all(names.map((name) => c.get(name))), names.map((_, i) => String(i)), "automatic");
    const pipeline = c.multi();
    for (const name of names) pipeline.get(name);
    equal(await pipeline.execAsPipeline(), names.map((_, i) => String(i)), "execAsPipeline");
  },

  async transactions(connect) {
    const c = await connect();
    equal(await c.multi().set(key("t"), "1").incr(key("t")).get(key("t")).exec(), ["OK", 2, "2"], "MULTI");
    const other = await connect();
    await c.watch(key("t"));
    await other.set(key("t"), "5");
    const aborted = await c.multi().set(key("t"), "6").exec().then(() => null, (error) => error);
    equal(aborted && aborted.constructor.name, "WatchError", "WATCH");
    equal(await c.get(key("t")), "5", "after the aborted transaction");
    await c.del(key("sum"));
    await Promise.all(Array.from({ length: 4 }, async () => {
      const adder = await connect();
      for (let done = 0; done < 50; ) {
        await adder.watch(key("sum"));
        const value = Number((await adder.get(key("sum"))) || 0);
        const added = await adder.multi().set(key("sum"), String(value + 1)).exec().then(() => 1, (error) => {
          if (error.constructor.name !== "WatchError") throw error;
          return 0;
        });
        done += added;
      }
    }));
    equal(await c.get(key("sum")), "200", "four adders that retry");
    await c.set(key("text"), "abc");
    const mixed = await c.multi().incr(key("text")).get(key("text")).exec().then(() => null, (error) => error);
    assert(mixed && mixed.replies && mixed.replies[1] === "abc", "an error inside a transaction");
  },

  async expiry(connect) {
    const c = await connect();
    await c.set(key("e"), "v", { expiration: { type: "PX", value: 60 } });
    await until(async () => (await c.get(key("e"))) === null, "the key expires");
    equal(await c.ttl(key("e")), -2, "TTL");
    await c.set(key("e"), "v", { expiration: { type: "EX", value: 100 } });
    assert((await c.pTTL(key("e"))) > 98_000, "PTTL");
    equal(await c.expire(key("e"), 50, "NX"), 0, "EXPIRE NX");
    equal(await c.expire(key("e"), 200, "GT"), 1, "EXPIRE GT");
    equal(await c.getEx(key("e"), { type: "PERSIST" }), "v", "GETEX PERSIST");
    equal(await c.ttl(key("e")), -1, "TTL after PERSIST");
  },

  async pubsub(connect) {
    const c = await connect();
    const subscriber = await connect();
    const [got, patterned] = [[], []];
    await subscriber.subscribe(key("channel"), (message) => got.push(message));
    await subscriber.pSubscribe(key("chan*"), (message, channel) => patterned.push(channel + message));
    for (let i = 0; i < 100; i++) equal(await c.publish(key("channel"), String(i)), 2, "PUBLISH");
    await until(() => got.length === 100 && patterned.length === 100, "100 messages");
    equal(got, Array.from({ length: 100 }, (_, i) => String(i)), "in order");
    equal(await c.pubSubNumSub([key("channel")]), { [key("channel")]: 1 }, "PUBSUB NUMSUB");
    await subscriber.unsubscribe(key("channel"));
    await subscriber.pUnsubscribe();
    equal(await c.publish(key("channel"), "gone"), 0, "PUBLISH to nobody");
    equal(await subscriber.get(key("nosuch")), null, "the subscriber is an ordinary client again");
  },

  async scan(connect) {
    const c = await connect();
    const stays = Array.from({ length: 1000 }, (_, i) => key(`stays:${i}`)).sort();
    await c.mSet(Object.fromEntries(stays.map((name) => [name, "v"])));
    for (const COUNT of [1, 100]) {
      const found = new Set();
      for await (const keys of c.scanIterator({ MATCH: key("stays:*"), COUNT, TYPE: "string" })) {
        for (const name of keys) found.add(name);
        await c.set(key(`goes:${found.size}`), "v");
      }
      equal([...found].sort(), stays, `every key, COUNT ${COUNT}`);
    }
  },

  async errors(connect) {
    const c = await connect();
    await c.set(key("text"), "abc");
    await fails(c.incr(key("text")), "value is not an integer or out of range");
    await fails(c.sendCommand(["GET"]), "wrong number of arguments for 'get' command");
    await fails(c.sendCommand(["NOSUCH", "a"]), "unknown command 'NOSUCH'");
    await fails(c.sendCommand(["SET", "a", "b", "BAD"]), "syntax error");
    await fails(c.rename(key("nosuch"), key("x")), "no such key");
    equal(await c.get(key("text")), "abc", "the connection goes on");
  },

  async manyConnections(connect) {
    const all = await Promise.all(Array.from({ length: CONNECTIONS }, () => connect()));
    await Promise.all(all.map((c, i) => c.set(key(`many:${i}`), String(i))));
    const values = await Promise.all(all.map((c, i) => c.get(key(`many:${(i + 1) % CONNECTIONS}`))));
    equal(values, all.map((_, i) => String((i + 1) % CONNECTIONS)), "each reads what another wrote");
    const pool = createClientPool({ socket: { host, port } });
    pool.on("error", () => {});
    await pool.connect();
    equal(await Promise.all(Array.from({ length: 50 }, () => pool.ping())), Array(50).fill("PONG"), "a pool");
    await pool.close();
  },

  async serverCommands(connect) {
    const c = await connect();
    assert((await c.info("server")).includes("redis_version:7."), "INFO");
    assert((await c.clientId()) > 0, "CLIENT ID");
    await c.clientSetName("check");
    equal(await c.clientGetName(), "check", "CLIENT GETNAME");
    equal((await c.clientInfo()).name, "check", "CLIENT INFO");
    assert((await c.clientList()).some((row) => row.name === "check"), "CLIENT LIST");
    assert("maxmemory" in (await c.configGet("maxmemory")), "CONFIG GET");
    assert((await c.commandCount()) > 50, "COMMAND COUNT");
    assert((await c.command()).some((row) => row.name === "get" && row.arity === 2), "COMMAND");
    equal((await c.role()).role, "master", "ROLE");
    assert((await c.wait(0, 10)) >= 0, "WAIT");
  },
};

run(`node-redis ${version}`, { "default settings": {}, RESP2: { RESP: 2 }, RESP3: { RESP: 3 } }, checks, open,
  (client) => client.destroy(), remove);
