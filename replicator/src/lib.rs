//! What regions say to each other, over QUIC: certificates, endpoints and links that carry frames.
//!
//! ```text
//!  certs ──▶ identity ──▶ tls ──▶ endpoint ──Connection──▶ link ──▶ LinkSender    control frames, batches out, compressed on request
//!                                    │                         └──▶ LinkReceiver  control frames, batches in
//!                              emulation (rehearsals only): delays outgoing datagrams by proto's link model
//! ```
//!
//! The only crate that names quinn, rustls or a certificate. It deliberately does not know what a frame or a batch
//! means, nor which key or stamp is in it: that is `greenwich-proto`.

mod authority;
pub mod certs;
pub mod clock;
pub mod compression;
mod congestion;
mod delivery;
mod dialler;
mod driver;
pub mod emulation;
mod encoding;
pub mod endpoint;
pub mod error;
pub mod files;
mod horizon;
pub mod identity;
pub mod link;
mod link_receiver;
mod link_sender;
mod links;
mod names;
pub mod news;
mod replicator;
mod reset_key;
mod rival;
mod superseded;
mod supervisor;
mod timer;
mod tls;
pub mod transport;
mod view;

pub use delivery::Undelivered;
pub use horizon::HorizonLimits;
pub use replicator::{PeerConfig, PeerReport, Replicator, ReplicatorConfig, StartError};
pub use superseded::Superseded;
pub use view::LinkView;
