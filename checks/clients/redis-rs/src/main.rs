//! Checks a server with an unmodified redis-rs: `greenwich-check-redis-rs HOST PORT`.
//!
//! Every check runs with the client's default settings, then with RESP2 and with RESP3 named.

mod asynchronous;
mod blocking;

use std::{env, process, thread, time::Duration};

use anyhow::{Context, Result};
use redis::{Client, Commands};

const TIME_MAX: Duration = Duration::from_secs(120);

type Check = (&'static str, fn(&Client, &str) -> Result<()>);

const CHECKS: &[Check] = &[
    ("strings", blocking::strings),
    ("binary and large", blocking::binary_and_large),
    ("pipelines", blocking::pipelines),
    ("transactions", blocking::transactions),
    ("expiry", blocking::expiry),
    ("pubsub", blocking::pubsub),
    ("scan", blocking::scan),
    ("errors", blocking::errors),
    ("many connections", blocking::many_connections),
    ("multiplexed", asynchronous::multiplexed),
    ("asynchronous pubsub", asynchronous::pubsub),
];

fn main() -> Result<()> {
    thread::spawn(|| {
        thread::sleep(TIME_MAX);
        println!("redis-rs: FAILED: not done within {TIME_MAX:?}");
        process::exit(1);
    });
    let host = env::args()
        .nth(1)
        .context("the first argument is the host")?;
    let port = env::args()
        .nth(2)
        .context("the second argument is the port")?;
    let prefix = format!("check:redis-rs:{}:", process::id());
    let mut failed = false;
    for (name, query) in [
        ("default settings", ""),
        ("RESP2", "?protocol=resp2"),
        ("RESP3", "?protocol=resp3"),
    ] {
        let client = Client::open(format!("redis://{host}:{port}/{query}"))?;
        for (check, body) in CHECKS {
            remove(&client, &prefix)?;
            match body(&client, &prefix) {
                Ok(()) => println!("redis-rs, {name}: {check} ok"),
                Err(error) => {
                    failed = true;
                    println!("redis-rs, {name}: {check} FAILED: {error:?}");
                }
            }
        }
        remove(&client, &prefix)?;
    }
    process::exit(i32::from(failed))
}

fn remove(client: &Client, prefix: &str) -> Result<()> {
    let mut connection = client.get_connection()?;
    let keys: Vec<Vec<u8>> = connection
        .scan_match(format!("{prefix}*"))?
        .collect::<Result<_, _>>()?;
    if !keys.is_empty() {
        let _: usize = connection.del(keys)?;
    }
    Ok(())
}
