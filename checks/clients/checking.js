// What the two Node.js client checks share: running named checks with a deadline, and conditions that are waited for.
"use strict";

const SECONDS_MAX = 120;

function prefix(client) {
  return `check:${client}:${process.pid}:`;
}

function assert(condition, what) {
  if (!condition) throw new Error(`not so: ${what}`);
}

function equal(got, expected, what) {
  const [a, b] = [JSON.stringify(got), JSON.stringify(expected)];
  if (a !== b) throw new Error(`${what}: expected ${b.slice(0, 200)}, got ${String(a).slice(0, 200)}`);
}

async function fails(promise, part) {
  const error = await promise.then(() => null, (reason) => reason);
  assert(error && String(error.message).includes(part), `an error with "${part}", got ${error}`);
}

async function until(condition, what, seconds = 5) {
  const deadline = Date.now() + seconds * 1000;
  while (Date.now() < deadline) {
    if (await condition()) return;
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
  throw new Error(`not within ${seconds} s: ${what}`);
}

/** Runs every check under every named setting; `open(settings)` connects, `close(client)` disconnects. */
async function run(client, settings, checks, open, close, remove) {
  setTimeout(() => {
    console.log(`${client}: FAILED: not done within ${SECONDS_MAX} s`);
    process.exit(1);
  }, SECONDS_MAX * 1000).unref();
  let failed = 0;
  for (const [name, options] of Object.entries(settings)) {
    for (const [check, body] of Object.entries(checks)) {
      const opened = [];
      const connect = async (more = {}) => {
        const connection = await open({ ...options, ...more });
        opened.push(connection);
        return connection;
      };
      try {
        await remove(await connect());
        await body(connect);
        console.log(`${client}, ${name}: ${check} ok`);
      } catch (error) {
        failed += 1;
        console.log(`${client}, ${name}: ${check} FAILED: ${error && error.stack}`);
      }
      await Promise.all(opened.map(close));
    }
    const last = await open(options);
    await remove(last);
    await close(last);
  }
  process.exit(failed ? 1 : 0);
}

module.exports = { assert, equal, fails, prefix, run, until };
