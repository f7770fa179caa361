//! Keeps the driver of a peer going: one that panics ends its own link and is started again. It knows nothing of links.

use std::{
    any::Any,
    panic::AssertUnwindSafe,
    time::{Duration, Instant},
};

use futures_util::FutureExt;
use greenwich_proto::store::Store;
use tokio::time::sleep;

use crate::driver::{Driver, Order};

/// Pauses before a driver that panicked starts again: from the first to the longest, doubling. What made it panic is
/// often sent again.
const PAUSE_FIRST: Duration = Duration::from_millis(200);
const PAUSE_MAX: Duration = Duration::from_mins(1);

/// Words of a panic that are logged and shown.
const WORDS_MAX: usize = 200;

/// Runs the driver until it ends by itself.
pub(crate) async fn supervise<S: Store>(mut driver: Driver<S>) {
    let mut pause = PAUSE_FIRST;
    loop {
        let start = Instant::now();
        // What the driver and its session knew is void after a panic, so that no half-made state is seen again.
        let Err(panic) = AssertUnwindSafe(driver.run()).catch_unwind().await else {
            return;
        };
        driver.recover(&format!("its driver panicked: {}", words(&*panic)));
        if start.elapsed() > PAUSE_MAX {
            pause = PAUSE_FIRST;
        }
        let mut orders = driver.orders.clone();
        tokio::select! {
            () = sleep(pause) => {}
            _ = orders.wait_for(|order| *order != Order::Go) => return,
        }
        pause = (pause * 2).min(PAUSE_MAX);
    }
}

/// What the panic said.
fn words(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().copied();
    let text = text.or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    let text = text.unwrap_or("without words");
    text.chars().take(WORDS_MAX).collect()
}
