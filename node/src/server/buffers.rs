//! Buffers that the connections of one thread lend each other, so that one that has nothing to read or write holds no
//! memory, and a busy thread works in memory that its caches know.

use std::cell::Cell;

use crate::resp::{Reply, Version};

/// A buffer that has grown beyond this is not kept.
const KEPT_BYTES_MAX: usize = 64 << 10;

thread_local! {
    static INPUT: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
    static REPLY: Cell<Option<Reply>> = const { Cell::new(None) };
}

/// An empty buffer for input.
pub(super) fn take_input() -> Vec<u8> {
    INPUT.take()
}

/// Gives a buffer back; what is in it is dropped.
pub(super) fn give_input(buffer: &mut Vec<u8>) {
    let mut buffer = std::mem::take(buffer);
    if buffer.capacity() <= KEPT_BYTES_MAX {
        buffer.clear();
        INPUT.set(buffer);
    }
}

/// An empty buffer for replies in a protocol version.
pub(super) fn take_reply(version: Version) -> Reply {
    match REPLY.take() {
        Some(mut reply) => {
            reply.set_version(version);
            reply
        }
        None => Reply::new(version),
    }
}

/// Gives a buffer back; what is in it is dropped.
pub(super) fn give_reply(buffer: &mut Reply) {
    let mut given = Reply::new(buffer.version());
    std::mem::swap(&mut given, buffer);
    if given.memory_bytes() > 0 {
        given.clear(KEPT_BYTES_MAX);
        REPLY.set(Some(given));
    }
}
