//! Memory that large values have left goes back to the system, also when nothing else happens.

use std::{hint::black_box, time::Duration};

use tokio::time::interval;

/// How often the allocator is made to look. It returns what has been free for a second.
const INTERVAL: Duration = Duration::from_secs(1);

/// More than the allocator puts beside other blocks (512 KiB): such a block has pages of its own.
const BLOCK_BYTES: usize = 1 << 20;

/// The allocator returns pages that are free, but looks for them only when it frees others: a node that falls idle
/// after it held large values would keep them. Freeing a block makes it look, and costs one system call at most.
pub(super) async fn give_back() {
    let mut ticks = interval(INTERVAL);
    loop {
        ticks.tick().await;
        drop(black_box(Vec::<u8>::with_capacity(BLOCK_BYTES)));
    }
}
