//! The checks of the multiplexed tokio client.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use futures_util::{StreamExt, future::try_join_all};
use redis::{AsyncCommands, Client};
use tokio::{runtime::Runtime, time::timeout};

const WAIT_MAX: Duration = Duration::from_secs(5);

pub fn multiplexed(client: &Client, prefix: &str) -> Result<()> {
    Runtime::new()?.block_on(async {
        let connection = client.get_multiplexed_async_connection().await?;
        let tasks = (0..500).map(|i| {
            let mut own = connection.clone();
            async move {
                let _: () = own.set(format!("{prefix}m{i}"), i).await?;
                own.get::<_, i64>(format!("{prefix}m{i}")).await
            }
        });
        ensure!(
            try_join_all(tasks).await?.into_iter().eq(0..500),
            "500 tasks on one connection"
        );
        let mut own = connection.clone();
        let (first, second): (i64, i64) = redis::pipe()
            .atomic()
            .incr(format!("{prefix}n"), 1)
            .incr(format!("{prefix}n"), 1)
            .query_async(&mut own)
            .await?;
        ensure!((first, second) == (1, 2), "a transaction");
        Ok(())
    })
}

pub fn pubsub(client: &Client, prefix: &str) -> Result<()> {
    Runtime::new()?.block_on(async {
        let channel = format!("{prefix}channel");
        let mut publisher = client.get_multiplexed_async_connection().await?;
        let mut subscriber = client.get_async_pubsub().await?;
        subscriber.subscribe(&channel).await?;
        for i in 0..100 {
            let receivers: usize = publisher.publish(&channel, i).await?;
            ensure!(receivers == 1, "PUBLISH reached {receivers}");
        }
        let mut messages = subscriber.on_message();
        for i in 0..100 {
            let message = timeout(WAIT_MAX, messages.next())
                .await?
                .context("the stream ended")?;
            ensure!(message.get_payload::<usize>()? == i, "message {i} in order");
        }
        Ok(())
    })
}
