//! How a load is described on the command line.

use std::{net::SocketAddr, time::Duration};

use bytesize::ByteSize;

use super::{
    Load,
    keys::KeySpread,
    mix::Mix,
    values::{ValueContent, ValueSize},
};

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
    /// Keys that there are.
    #[arg(long, default_value_t = 100_000)]
    pub keys: u64,
    /// How often keys are asked for: uniform, zipf, zipf:EXPONENT, hot-set.
    #[arg(long, default_value = "zipf", value_parser = parse_spread)]
    pub spread: KeySpread,
    /// Bytes of a value: 100, 64..4096 (each size as likely), 64..=1MiB:log (each order of magnitude).
    #[arg(long, default_value = "100", value_parser = parse_size)]
    pub value_size: ValueSize,
    /// What values consist of.
    #[arg(long, default_value = "random")]
    pub value_content: ValueContent,
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
}

impl LoadArgs {
    /// The load that is described.
    #[must_use]
    pub fn to_load(&self) -> Load {
        Load {
            address: self.address,
            mix: self.mix,
            keys: self.keys,
            spread: self.spread,
            value_size: self.value_size,
            value_content: self.value_content,
            rate: self.rate,
            length: self.length,
            warm_up: self.warm_up,
            connections: self.connections,
            pipeline: self.pipeline,
            threads: self.threads,
            resp3: self.resp3,
            seed: self.seed,
        }
    }
}

/// Reads `uniform`, `zipf`, `zipf:0.8` or `hot-set`.
///
/// # Errors
/// What is wrong, for a person.
pub fn parse_spread(text: &str) -> Result<KeySpread, String> {
    match text.split_once(':') {
        None if text == "uniform" => Ok(KeySpread::Uniform),
        None if text == "zipf" => Ok(KeySpread::Zipf(0.99)),
        None if text == "hot-set" => Ok(KeySpread::HotSet),
        Some(("zipf", exponent)) => match exponent.parse() {
            Ok(exponent) if exponent > 0.0 && exponent < 10.0 => Ok(KeySpread::Zipf(exponent)),
            _ => Err(format!(
                "the exponent {exponent:?} must be a number from 0 to 10"
            )),
        },
        _ => Err("must be uniform, zipf, zipf:EXPONENT or hot-set".to_owned()),
    }
}

/// Reads `100`, `64..4096` or `64..1MiB:log`.
///
/// # Errors
/// What is wrong, for a person.
pub fn parse_size(text: &str) -> Result<ValueSize, String> {
    let bytes = |text: &str| match text.parse::<ByteSize>() {
        Ok(size) if size.0 <= 512 << 20 => Ok(size.0 as usize),
        Ok(_) => Err(format!(
            "{text:?} is more than 512MiB, the largest value that servers take"
        )),
        Err(_) => Err(format!("{text:?} is no size, such as 100 or 4KiB")),
    };
    let (range, is_log) = match text.strip_suffix(":log") {
        Some(range) => (range, true),
        None => (text, false),
    };
    match range.split_once("..") {
        None if is_log => Err("\":log\" needs a range, such as 64..4KiB:log".to_owned()),
        None => Ok(ValueSize::Fixed(bytes(range)?)),
        Some((least, most)) => {
            let (least, most) = (bytes(least)?, bytes(most.trim_start_matches('='))?);
            match (least <= most, is_log) {
                (false, _) => Err(format!("the range {range} is empty")),
                (true, true) => Ok(ValueSize::LogUniform(least, most)),
                (true, false) => Ok(ValueSize::Uniform(least, most)),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_and_spreads_are_read_or_refused_with_a_reason() {
        assert_eq!(parse_size("100"), Ok(ValueSize::Fixed(100)));
        assert_eq!(parse_size("64..4KiB"), Ok(ValueSize::Uniform(64, 4096)));
        assert_eq!(
            parse_size("64..=1MiB:log"),
            Ok(ValueSize::LogUniform(64, 1 << 20))
        );
        for (text, reason) in [
            ("x", "is no size"),
            ("9..1", "is empty"),
            ("9:log", "needs a range"),
            ("1GiB", "more than"),
        ] {
            assert!(parse_size(text).unwrap_err().contains(reason), "{text}");
        }
        assert_eq!(parse_spread("zipf:0.8"), Ok(KeySpread::Zipf(0.8)));
        assert!(
            parse_spread("zipf:x")
                .unwrap_err()
                .contains("must be a number")
        );
        assert!(
            parse_spread("pareto")
                .unwrap_err()
                .contains("must be uniform")
        );
    }
}
