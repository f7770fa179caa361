//! How a load is described on the command line.

use std::{net::SocketAddr, time::Duration};

use super::{Load, dataset::Dataset, mix::Mix};

/// A load on one server.
#[derive(Clone, Debug, clap::Args)]
pub struct LoadArgs {
    /// Where the server listens.
    #[arg(long, default_value = "127.0.0.1:6379", value_name = "HOST:PORT")]
    pub address: SocketAddr,
    /// What is asked.
    #[arg(long, default_value = "ycsb-b")]
    pub mix: Mix,
    /// Requests per second of the open loop; without it a closed loop asks for as much as the server gives.
    #[arg(long, value_name = "PER_SECOND")]
    pub rate: Option<f64>,
    /// How long to ask, warm-up included.
    #[arg(long, default_value = "10s", value_parser = humantime::parse_duration)]
    pub length: Duration,
    /// Not recorded.
    #[arg(long, default_value = "2s", value_parser = humantime::parse_duration)]
    pub warm_up: Duration,
    #[command(flatten)]
    pub data: Dataset,
    /// Connections of all threads.
    #[arg(long, default_value_t = 50)]
    pub connections: usize,
    /// Requests that are sent together on a connection.
    #[arg(long, default_value_t = 1)]
    pub pipeline: usize,
    /// Threads that ask.
    #[arg(long, default_value_t = 1)]
    pub threads: usize,
    /// Speak RESP3.
    #[arg(long)]
    pub resp3: bool,
    /// The same seed asks for the same things in the same order.
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// Of several loads on the same data each needs a number of its own, so that none inserts keys of another.
    #[arg(long, default_value_t = 0, value_name = "NUMBER")]
    pub inserter: u16,
    /// Set every key once before. Without it reads on an empty server miss, until a write has reached their key.
    #[arg(long)]
    pub fill: bool,
}

impl LoadArgs {
    /// The load that is described.
    #[must_use]
    pub fn to_load(&self) -> Load {
        Load {
            address: self.address,
            mix: self.mix,
            data: self.data,
            rate: self.rate,
            length: self.length,
            warm_up: self.warm_up,
            connections: self.connections,
            pipeline: self.pipeline,
            threads: self.threads,
            resp3: self.resp3,
            reconnects: false,
            seed: self.seed,
            inserter: self.inserter.into(),
        }
    }
}
