// Checks a server with an unmodified ioredis: `node ioredis.js HOST PORT`.
// Every check runs with the client's default settings, then with RESP2 and with RESP3 named.
"use strict";

const Redis = require("ioredis");
const { version } = require("ioredis/package.json");
const { assert, equal, fails, prefix, run, until } = require("./checking.js");

const [host, port] = [process.argv[2], Number(process.argv[3])];
const LARGE_BYTES = 5_000_000;
const CONNECTIONS = 100;
const key = (name) => prefix("ioredis") + name;

async function open(settings) {
  const client = new Redis(port, host, settings);
  client.on("error", () => {}); // A failed command rejects; the event would only be printed.
  await client.ping();
  return client;
}

async function remove(client) {
  for await (const keys of client.scanStream({ match: key("*"), count: 1000 })) {
    if (keys.length) await client.del(keys);
  }
}

const checks = {
  async strings(connect) {
    const c = await connect();
    equal(await c.set(key("s"), "v"), "OK", "SET");
    equal(await c.set(key("s"), "w", "NX"), null, "SET NX");
    equal(await c.set(key("s"), "w", "GET"), "v", "SET GET");
    equal(await c.append(key("s"), "xy"), 3, "APPEND");
    equal(await c.getrange(key("s"), 0, -1), "wxy", "GETRANGE");
    equal(await c.setrange(key("s"), 1, "z"), 3, "SETRANGE");
    equal(await c.mset({ [key("a")]: 1, [key("b")]: 2 }), "OK", "MSET");
    equal(await c.mget(key("a"), key("b"), key("nosuch")), ["1", "2", null], "MGET");
    equal(await c.incrby(key("n"), 41), 41, "INCRBY");
    equal(await c.incr(key("n")), 42, "INCR");
    equal(Number(await c.incrbyfloat(key("f"), 1.5)), 1.5, "INCRBYFLOAT");
    equal(await c.getdel(key("s")), "wzy", "GETDEL");
    equal(await c.del(key("a"), key("b"), key("nosuch")), 2, "DEL");
    equal(await c.type(key("n")), "string", "TYPE");
    equal(await c.rename(key("n"), key("m")), "OK", "RENAME");
    equal(await c.exists(key("n"), key("m")), 1, "EXISTS");
  },

  async binaryAndLarge(connect) {
    const c = await connect();
    const everything = Buffer.from(Array.from({ length: 256 }, (_, i) => i));
    const name = Buffer.concat([Buffer.from(key("")), everything]);
    await c.set(name, everything);
    assert(everything.equals(await c.getBuffer(name)), "binary key and value");
    const large = Buffer.alloc(LARGE_BYTES, "large value ");
    await c.set(key("large"), large);
    assert(large.equals(await c.getBuffer(key("large"))), "large value");
    equal(await c.strlen(key("large")), LARGE_BYTES, "STRLEN");
    await c.del(name);
  },

  async pipelines(connect) {
    const c = await connect();
    const names = Array.from({ length: 1000 }, (_, i) => key(`p${i}`));
    const pipeline = c.pipeline();
    names.forEach((name, i) => pipeline.set(name, i).get(name));
    const replies = await pipeline.exec();
    equal(replies.length, 2000, "replies");
    equal(replies.filter((_, i) => i % 2), names.map((_, i) => [null, String(i)]), "values");
    const mixed = await c.pipeline().set(key("text"), "abc").incr(key("text")).get(key("text")).exec();
    assert(mixed[1][0].message.includes("not an integer") && mixed[2][1] === "abc", "an error inside a pipeline");
    const automatic = await connect({ enableAutoPipelining: true });
    equal(await Promise.all(names.map((name) => automatic.get(name))), names.map((_, i) => String(i)), "automatic");
  },

  async transactions(connect) {
    const c = await connect();
    const replies = await c.multi().set(key("t"), 1).incr(key("t")).get(key("t")).exec();
    equal(replies, [[null, "OK"], [null, 2], [null, "2"]], "MULTI");
    const other = await connect();
    await c.watch(key("t"));
    await other.set(key("t"), 5);
    equal(await c.multi().set(key("t"), 6).exec(), null, "WATCH");
    equal(await c.get(key("t")), "5", "after the aborted transaction");
    await Promise.all(Array.from({ length: 4 }, async () => {
      const adder = await connect();
      for (let done = 0; done < 50; ) {
        await adder.watch(key("sum"));
        const value = Number((await adder.get(key("sum"))) || 0);
        if (await adder.multi().set(key("sum"), value + 1).exec()) done += 1;
      }
    }));
    equal(await c.get(key("sum")), "200", "four adders that retry");
    await c.multi({ pipeline: false });
    equal(await c.set(key("t"), 7), "QUEUED", "MULTI without a pipeline");
    equal(await c.exec(), [[null, "OK"]], "EXEC without a pipeline");
    await fails(c.multi().set(key("t"), 1).call("nosuch").exec(), "EXECABORT");
  },

  async expiry(connect) {
    const c = await connect();
    await c.set(key("e"), "v", "PX", 60);
    await until(async () => (await c.get(key("e"))) === null, "the key expires");
    equal(await c.ttl(key("e")), -2, "TTL");
    await c.set(key("e"), "v", "EX", 100);
    assert((await c.pttl(key("e"))) > 98_000, "PTTL");
    equal(await c.expire(key("e"), 50, "NX"), 0, "EXPIRE NX");
    equal(await c.expire(key("e"), 200, "GT"), 1, "EXPIRE GT");
    equal(await c.getex(key("e"), "PERSIST"), "v", "GETEX PERSIST");
    equal(await c.ttl(key("e")), -1, "TTL after PERSIST");
  },

  async pubsub(connect) {
    const c = await connect();
    const subscriber = await connect();
    const [got, patterned] = [[], []];
    subscriber.on("message", (channel, message) => got.push(message));
    subscriber.on("pmessage", (pattern, channel, message) => patterned.push(message));
    equal(await subscriber.subscribe(key("channel")), 1, "SUBSCRIBE");
    equal(await subscriber.psubscribe(key("chan*")), 2, "PSUBSCRIBE");
    for (let i = 0; i < 100; i++) equal(await c.publish(key("channel"), i), 2, "PUBLISH");
    await until(() => got.length === 100 && patterned.length === 100, "100 messages");
    equal(got, Array.from({ length: 100 }, (_, i) => String(i)), "in order");
    equal(await c.pubsub("NUMSUB", key("channel")), [key("channel"), 1], "PUBSUB NUMSUB");
    await subscriber.unsubscribe(key("channel"));
    await subscriber.punsubscribe();
    equal(await c.publish(key("channel"), "gone"), 0, "PUBLISH to nobody");
    equal(await subscriber.get(key("nosuch")), null, "the subscriber is an ordinary client again");
  },

  async scan(connect) {
    const c = await connect();
    const stays = Array.from({ length: 1000 }, (_, i) => key(`stays:${i}`)).sort();
    await c.mset(Object.fromEntries(stays.map((name) => [name, "v"])));
    for (const count of [1, 100]) {
      const found = new Set();
      for await (const keys of c.scanStream({ match: key("stays:*"), count, type: "string" })) {
        for (const name of keys) found.add(name);
        await c.set(key(`goes:${found.size}`), "v");
      }
      equal([...found].sort(), stays, `every key, COUNT ${count}`);
    }
  },

  async errors(connect) {
    const c = await connect();
    await c.set(key("text"), "abc");
    await fails(c.incr(key("text")), "value is not an integer or out of range");
    await fails(c.call("GET"), "wrong number of arguments for 'get' command");
    await fails(c.call("NOSUCH", "a"), "unknown command 'NOSUCH'");
    await fails(c.set("a", "b", "BAD"), "syntax error");
    await fails(c.rename(key("nosuch"), key("x")), "no such key");
    equal(await c.get(key("text")), "abc", "the connection goes on");
  },

  async manyConnections(connect) {
    const all = await Promise.all(Array.from({ length: CONNECTIONS }, () => connect()));
    await Promise.all(all.map((c, i) => c.set(key(`many:${i}`), i)));
    const values = await Promise.all(all.map((c, i) => c.get(key(`many:${(i + 1) % CONNECTIONS}`))));
    equal(values, all.map((_, i) => String((i + 1) % CONNECTIONS)), "each reads what another wrote");
  },

  async serverCommands(connect) {
    const c = await connect();
    assert((await c.info()).includes("redis_version:7."), "INFO");
    assert((await c.client("ID")) > 0, "CLIENT ID");
    equal(await c.client("SETNAME", "check"), "OK", "CLIENT SETNAME");
    equal(await c.client("GETNAME"), "check", "CLIENT GETNAME");
    assert((await c.client("LIST")).includes("name=check "), "CLIENT LIST");
    equal((await c.config("GET", "maxmemory"))[0], "maxmemory", "CONFIG GET");
    assert((await c.command("COUNT")) > 50, "COMMAND COUNT");
    equal((await c.role())[0], "master", "ROLE");
    assert((await c.wait(0, 10)) >= 0, "WAIT");
  },
};

run(`ioredis ${version}`, { "default settings": {}, RESP2: { protocol: 2 }, RESP3: { protocol: 3 } }, checks, open,
  (client) => client.disconnect(), remove);
