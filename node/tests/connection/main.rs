//! Connections to a server over real sockets.

mod bytes;
mod common;
mod info;
mod limits;
mod pubsub;
mod transactions;
