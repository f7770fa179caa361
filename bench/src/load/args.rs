//! How a load is described on the command line.

use std::{
    net::{SocketAddr, TcpStream, ToSocketAddrs},
    ops::RangeInclusive,
    time::Duration,
};

use anyhow::{Context, bail};
use clap::builder::RangedU64ValueParser;

use super::{Load, dataset::Dataset, mix::Mix, schedule};
use crate::as_duration;

/// The warm-up of a load that names none takes no longer.
const WARM_UP_DEFAULT_MAX: Duration = Duration::from_secs(2);
/// How long each address of a server may take to accept a connection.
const CONNECT_LIMIT: Duration = Duration::from_secs(5);

fn count(range: RangeInclusive<u64>) -> RangedU64ValueParser<usize> {
    RangedU64ValueParser::new().range(range)
}

fn rate(text: &str) -> Result<f64, String> {
    let rate = text.parse().map_err(|_| format!("{text:?} is no number"))?;
    match schedule::rate_problem(rate) {
        Some(problem) => Err(problem),
        None => Ok(rate),
    }
}

/// HOST:PORT, whose host is looked up later.
fn host_and_port(text: &str) -> Result<String, String> {
    let parts = text.rsplit_once(':');
    let is_address = parts.is_some_and(|(host, port)| {
        !host.is_empty() && port.parse::<u16>().is_ok_and(|port| port > 0)
    });
    match is_address {
        true => Ok(text.to_owned()),
        false => Err("must be HOST:PORT, such as localhost:6379 or [::1]:6379".to_owned()),
    }
}

/// A load on one server.
#[derive(Clone, Debug, clap::Args)]
pub struct LoadArgs {
    /// Where the server listens.
    #[arg(long, default_value = "127.0.0.1:6379", value_name = "HOST:PORT", value_parser = host_and_port)]
    pub address: String,
    /// What is asked.
    #[arg(long, default_value = "ycsb-b")]
    pub mix: Mix,
    /// Requests per second of the open loop; without it a closed loop asks for as much as the server gives.
    #[arg(long, value_name = "PER_SECOND", value_parser = rate)]
    pub rate: Option<f64>,
    /// How long to ask, warm-up included.
    #[arg(long, default_value = "10s", value_parser = as_duration::parse_above_zero)]
    pub length: Duration,
    /// How long nothing is recorded at first. The default is 2s, or a fifth of the length if that is less.
    #[arg(long, value_parser = as_duration::parse)]
    pub warm_up: Option<Duration>,
    #[command(flatten)]
    pub data: Dataset,
    /// Connections of all threads, at least one for each.
    #[arg(long, default_value_t = 50, value_parser = count(1..=60_000))]
    pub connections: usize,
    /// Requests that are sent together on a connection.
    #[arg(long, default_value_t = 1, value_parser = count(1..=100_000))]
    pub pipeline: usize,
    /// Threads that ask.
    #[arg(long, default_value_t = 1, value_parser = count(1..=1_000))]
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
    /// How long nothing is recorded.
    #[must_use]
    pub fn warm_up(&self) -> Duration {
        self.warm_up
            .unwrap_or_else(|| WARM_UP_DEFAULT_MAX.min(self.length / 5))
    }

    /// Why options do not go together, if so.
    #[must_use]
    pub fn problem(&self) -> Option<String> {
        let time = humantime::format_duration;
        if self.warm_up() >= self.length {
            let (warm_up, length) = (time(self.warm_up()), time(self.length));
            return Some(format!(
                "--warm-up ({warm_up}) must be shorter than --length ({length}), which it is part of"
            ));
        }
        let (threads, connections) = (self.threads, self.connections);
        (threads > connections).then(|| {
            format!("--threads ({threads}) must not be more than --connections ({connections})")
        })
    }

    /// The first of the server's addresses that takes a connection.
    ///
    /// # Errors
    /// That there is none, with what each says, or that the address is no such.
    pub fn resolve(&self) -> anyhow::Result<SocketAddr> {
        let name = &self.address;
        let addresses = name.to_socket_addrs();
        let addresses =
            addresses.with_context(|| format!("--address {name} cannot be resolved"))?;
        let mut refusals = Vec::new();
        for address in addresses {
            match TcpStream::connect_timeout(&address, CONNECT_LIMIT) {
                Ok(_) => return Ok(address),
                Err(error) => refusals.push(format!("{address}: {error}")),
            }
        }
        match refusals.is_empty() {
            true => bail!("--address {name} has no address"),
            false => bail!("no server at --address {name}: {}", refusals.join("; ")),
        }
    }

    /// The load that is described, on the server at `address`.
    #[must_use]
    pub fn to_load(&self, address: SocketAddr) -> Load {
        Load {
            address,
            mix: self.mix,
            data: self.data,
            rate: self.rate,
            length: self.length,
            warm_up: self.warm_up(),
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

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Line {
        #[command(flatten)]
        load: LoadArgs,
    }

    fn parse(words: &str) -> Result<LoadArgs, String> {
        let words = ["load"].into_iter().chain(words.split_whitespace());
        let line = Line::try_parse_from(words).map_err(|error| error.to_string())?;
        Ok(line.load)
    }

    #[test]
    fn what_asks_for_nothing_is_refused() {
        assert_eq!(parse("").unwrap().problem(), None);
        for (words, reason) in [
            ("--connections 0", "1..=60000"),
            ("--pipeline 0", "1..=100000"),
            ("--threads 0", "1..=1000"),
            ("--keys 0", "1..=1000000000"),
            ("--length 0s", "must be above 0"),
            ("--length 80", "such as 80ms or 1m 30s"),
            ("--length 9000000000years", "7 days"),
            ("--warm-up soon", "such as 80ms or 1m 30s"),
            ("--rate 0", "0.001 to 100 million"),
            ("--rate nan", "0.001 to 100 million"),
            ("--rate many", "is no number"),
            ("--address localhost", "must be HOST:PORT"),
            ("--address localhost:0", "must be HOST:PORT"),
            ("--address localhost:70000", "must be HOST:PORT"),
            ("--address :6379", "must be HOST:PORT"),
        ] {
            let refusal = parse(words).expect_err(words);
            assert!(refusal.contains(reason), "{words}: {refusal}");
        }
        for (words, reason) in [
            (
                "--length 1s --warm-up 1s",
                "--warm-up (1s) must be shorter than --length (1s)",
            ),
            (
                "--threads 3 --connections 2",
                "--threads (3) must not be more than --connections (2)",
            ),
        ] {
            assert!(
                parse(words)
                    .unwrap()
                    .problem()
                    .expect(words)
                    .contains(reason)
            );
        }
    }

    #[test]
    fn a_short_load_warms_up_for_a_fifth_of_it() {
        for (words, milliseconds) in [
            ("", 2_000),
            ("--length 1h", 2_000),
            ("--length 1s", 200),
            ("--length 1s --warm-up 0s", 0),
            ("--length 1h --warm-up 1m", 60_000),
        ] {
            let args = parse(words).unwrap();
            let expected = Duration::from_millis(milliseconds);
            assert_eq!(args.warm_up(), expected, "{words}");
            assert_eq!(args.problem(), None, "{words}");
        }
    }

    #[test]
    fn names_are_resolved_to_the_address_that_takes_connections() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let args = |host: &str| parse(&format!("--address {host}:{}", address.port())).unwrap();
        for host in ["localhost", "127.0.0.1"] {
            assert_eq!(args(host).resolve().unwrap(), address);
        }
        drop(listener);
        let refusal = args("localhost").resolve().unwrap_err().to_string();
        let expected = format!("127.0.0.1:{}: Connection refused", address.port());
        assert!(refusal.contains(&expected), "{refusal}");
        let unknown = args("a..b").resolve().unwrap_err();
        assert!(
            unknown.to_string().contains("cannot be resolved"),
            "{unknown}"
        );
    }
}
