//! The checks of the blocking client.

use std::{
    collections::HashSet,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Result, ensure};
use redis::{Client, Commands, Connection, RedisResult, pipe};

const LARGE_BYTES: usize = 5_000_000;
const CONNECTIONS: usize = 200;
const ADDERS: usize = 4;
const ADDITIONS: usize = 50;

pub fn strings(client: &Client, prefix: &str) -> Result<()> {
    let mut c = client.get_connection()?;
    let key = |name: &str| format!("{prefix}{name}");
    let _: () = c.set(key("s"), "v")?;
    ensure!(
        !c.set_nx::<_, _, bool>(key("s"), "w")?,
        "SETNX of a key that exists"
    );
    ensure!(c.getset::<_, _, String>(key("s"), "w")? == "v", "GETSET");
    ensure!(c.append::<_, _, usize>(key("s"), "xy")? == 3, "APPEND");
    ensure!(
        c.getrange::<_, String>(key("s"), 0, -1)? == "wxy",
        "GETRANGE"
    );
    ensure!(
        c.setrange::<_, _, usize>(key("s"), 1, "z")? == 3,
        "SETRANGE"
    );
    let _: () = c.mset(&[(key("a"), 1), (key("b"), 2)])?;
    let values: Vec<Option<i64>> = c.mget(&[key("a"), key("b"), key("nosuch")])?;
    ensure!(values == [Some(1), Some(2), None], "MGET");
    ensure!(c.incr::<_, _, i64>(key("n"), 42)? == 42, "INCRBY");
    ensure!(c.incr::<_, _, f64>(key("f"), 1.5)? == 1.5, "INCRBYFLOAT");
    ensure!(c.get_del::<_, String>(key("s"))? == "wzy", "GETDEL");
    ensure!(!c.exists::<_, bool>(key("s"))?, "EXISTS");
    let _: () = c.rename(key("n"), key("m"))?;
    ensure!(c.del::<_, usize>(&[key("m"), key("n")])? == 1, "DEL");
    Ok(())
}

pub fn binary_and_large(client: &Client, prefix: &str) -> Result<()> {
    let mut c = client.get_connection()?;
    let everything: Vec<u8> = (0..=255).collect();
    let key = [prefix.as_bytes(), &everything].concat();
    let _: () = c.set(&key, &everything)?;
    ensure!(
        c.get::<_, Vec<u8>>(&key)? == everything,
        "binary key and value"
    );
    let large: Vec<u8> = everything
        .iter()
        .copied()
        .cycle()
        .take(LARGE_BYTES)
        .collect();
    let _: () = c.set(format!("{prefix}large"), &large)?;
    ensure!(
        c.get::<_, Vec<u8>>(format!("{prefix}large"))? == large,
        "large value"
    );
    Ok(())
}

pub fn pipelines(client: &Client, prefix: &str) -> Result<()> {
    let mut c = client.get_connection()?;
    for atomic in [false, true] {
        let mut pipeline = pipe();
        if atomic {
            pipeline.atomic();
        }
        for i in 0..1000 {
            pipeline.set(format!("{prefix}p{i}"), i).ignore();
            pipeline.get(format!("{prefix}p{i}"));
        }
        let values: Vec<i64> = pipeline.query(&mut c)?;
        ensure!(
            values.into_iter().eq(0..1000),
            "the values, atomic: {atomic}"
        );
    }
    Ok(())
}

pub fn transactions(client: &Client, prefix: &str) -> Result<()> {
    let sum = format!("{prefix}sum");
    thread::scope(|scope| -> Result<()> {
        let adders: Vec<_> = (0..ADDERS)
            .map(|_| scope.spawn(|| add(client, &sum)))
            .collect();
        for adder in adders {
            adder.join().expect("an adder does not panic")?;
        }
        Ok(())
    })?;
    let mut c = client.get_connection()?;
    ensure!(
        c.get::<_, usize>(&sum)? == ADDERS * ADDITIONS,
        "adders that retry"
    );
    Ok(())
}

fn add(client: &Client, sum: &str) -> Result<()> {
    let mut c = client.get_connection()?;
    for _ in 0..ADDITIONS {
        redis::transaction(&mut c, &[sum], |c: &mut Connection, pipeline| {
            let value: Option<i64> = c.get(sum)?;
            pipeline
                .set(sum, value.unwrap_or(0) + 1)
                .query::<Option<()>>(c)
        })?;
    }
    Ok(())
}

pub fn expiry(client: &Client, prefix: &str) -> Result<()> {
    let mut c = client.get_connection()?;
    let key = format!("{prefix}e");
    let _: () = c.pset_ex(&key, "v", 60)?;
    let deadline = Instant::now() + Duration::from_secs(5);
    while c.exists(&key)? {
        ensure!(Instant::now() < deadline, "the key does not expire");
        thread::sleep(Duration::from_millis(5));
    }
    ensure!(c.ttl::<_, i64>(&key)? == -2, "TTL of a key that expired");
    let _: () = c.set_ex(&key, "v", 100)?;
    ensure!(c.pttl::<_, i64>(&key)? > 98_000, "PTTL");
    ensure!(c.persist::<_, bool>(&key)?, "PERSIST");
    ensure!(c.ttl::<_, i64>(&key)? == -1, "TTL after PERSIST");
    Ok(())
}

pub fn pubsub(client: &Client, prefix: &str) -> Result<()> {
    let mut publisher = client.get_connection()?;
    let mut subscriber = client.get_connection()?;
    let channel = format!("{prefix}channel");
    let mut subscription = subscriber.as_pubsub();
    subscription.set_read_timeout(Some(Duration::from_secs(5)))?;
    subscription.subscribe(&channel)?;
    subscription.psubscribe(format!("{prefix}chan*"))?;
    for i in 0..100 {
        ensure!(
            publisher.publish::<_, _, usize>(&channel, i)? == 2,
            "PUBLISH"
        );
    }
    for i in 0..200 {
        let message = subscription.get_message()?;
        ensure!(
            message.get_channel_name() == channel,
            "the channel of message {i}"
        );
        ensure!(
            message.get_payload::<usize>()? == i / 2,
            "message {i} in order"
        );
    }
    drop(subscription);
    ensure!(
        !subscriber.exists::<_, bool>(&channel)?,
        "an ordinary connection again"
    );
    ensure!(
        publisher.publish::<_, _, usize>(&channel, "gone")? == 0,
        "PUBLISH to nobody"
    );
    Ok(())
}

pub fn scan(client: &Client, prefix: &str) -> Result<()> {
    let mut c = client.get_connection()?;
    let stays: HashSet<String> = (0..1000).map(|i| format!("{prefix}stays:{i}")).collect();
    let pairs: Vec<_> = stays.iter().map(|name| (name, "v")).collect();
    let _: () = c.mset(&pairs)?;
    let found: HashSet<String> = c
        .scan_match(format!("{prefix}stays:*"))?
        .collect::<RedisResult<_>>()?;
    ensure!(
        found == stays,
        "SCAN returned {} of {} keys",
        found.len(),
        stays.len()
    );
    Ok(())
}

pub fn errors(client: &Client, prefix: &str) -> Result<()> {
    let mut c = client.get_connection()?;
    let key = format!("{prefix}text");
    let _: () = c.set(&key, "abc")?;
    let refused: RedisResult<i64> = c.incr(&key, 1);
    let text = refused.expect_err("INCR of a text is refused").to_string();
    ensure!(text.contains("not an integer"), "INCR of a text: {text}");
    let refused: RedisResult<()> = redis::cmd("NOSUCH").arg("a").query(&mut c);
    let text = refused
        .expect_err("an unknown command is refused")
        .to_string();
    ensure!(
        text.contains("unknown command"),
        "an unknown command: {text}"
    );
    let refused: RedisResult<()> = redis::cmd("GET").query(&mut c);
    let text = refused
        .expect_err("GET without a key is refused")
        .to_string();
    ensure!(
        text.contains("wrong number of arguments"),
        "GET without a key: {text}"
    );
    ensure!(c.get::<_, String>(&key)? == "abc", "the connection goes on");
    Ok(())
}

pub fn many_connections(client: &Client, prefix: &str) -> Result<()> {
    let mut all = (0..CONNECTIONS)
        .map(|_| client.get_connection())
        .collect::<RedisResult<Vec<_>>>()?;
    for (i, c) in all.iter_mut().enumerate() {
        let _: () = c.set(format!("{prefix}many:{i}"), i)?;
    }
    for (i, c) in all.iter_mut().enumerate() {
        let other = (i + 1) % CONNECTIONS;
        ensure!(
            c.get::<_, usize>(format!("{prefix}many:{other}"))? == other,
            "connection {i}"
        );
    }
    Ok(())
}
