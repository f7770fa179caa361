//! What no single setting can know: ranges, names and relations between settings.

use std::collections::HashSet;
use std::fmt;
use std::ops::RangeInclusive;
use std::time::Duration;

use greenwich_proto::hlc::Origin;
use greenwich_proto::log::LANES;
use greenwich_replicator::identity::check_name;
use toml::de::{DeTable, DeValue};

use super::{Bytes, Config, Emulation, Peer, Period};

const REGION_ID_MAX: u8 = Origin::MAX;
const BATCHES: RangeInclusive<Bytes> = Bytes::kib(1)..=Bytes::mib(1);
/// Offsets into the buffer of a request are 32 bits wide.
const QUERY_BUFFER_MAX: Bytes = Bytes(u32::MAX as u64);
/// The limit of Redis itself.
const VALUE_SIZE_MAX: Bytes = Bytes::mib(512);
const TOKEN_LENGTH_MIN: usize = 16;
const PEERS_MAX: usize = REGION_ID_MAX as usize - 1;

/// A setting that is refused: where it is, and what would be allowed.
#[derive(Debug)]
pub(super) struct Problem {
    /// Keys and array positions from the root, as in `["replication", "peers", "0", "id"]`.
    pub(super) path: Vec<String>,
    text: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}` {}", self.path.join("."), self.text)
    }
}

pub(super) fn first_problem(config: &Config) -> Option<Problem> {
    names(config)
        .and_then(|()| client(config))
        .and_then(|()| admin(config))
        .and_then(|()| replication(config))
        .and_then(|()| peers(config))
        .and_then(|()| emulations(config))
        .err()
}

fn names(config: &Config) -> Result<(), Problem> {
    name("cluster", &config.cluster)?;
    name("region.name", &config.region.name)?;
    region_id("region.id", config.region.id)
}

fn client(config: &Config) -> Result<(), Problem> {
    let client = &config.client;
    check(client.threads <= 1024, "client.threads", || {
        "must be 0 (one a core, less one) to 1024".into()
    })?;
    check(client.max_clients >= 1, "client.max_clients", || {
        "must be at least 1".into()
    })?;
    let password = client.password.as_ref();
    check(
        password.is_none_or(|password| !password.0.is_empty()),
        "client.password",
        || "must not be empty; leave it out to let every client in".into(),
    )?;
    check(
        (Bytes(1)..=VALUE_SIZE_MAX).contains(&client.max_value_size),
        "client.max_value_size",
        || {
            format!(
                "must be 1B to {VALUE_SIZE_MAX}, and is {}",
                client.max_value_size
            )
        },
    )?;
    check(
        client.query_buffer_limit > client.max_value_size,
        "client.query_buffer_limit",
        || {
            format!(
                "must exceed client.max_value_size ({}), and is {}",
                client.max_value_size, client.query_buffer_limit
            )
        },
    )?;
    check(
        client.query_buffer_limit <= QUERY_BUFFER_MAX,
        "client.query_buffer_limit",
        || {
            format!(
                "must be less than 4GiB, and is {}",
                client.query_buffer_limit
            )
        },
    )?;
    check(
        client.output_buffer_limit >= Bytes::mib(1),
        "client.output_buffer_limit",
        || {
            format!(
                "must be 1MiB or more, and is {}",
                client.output_buffer_limit
            )
        },
    )
}

fn admin(config: &Config) -> Result<(), Problem> {
    let admin = &config.admin;
    let loopback = admin.bind.ip().is_loopback();
    check(loopback || admin.token.is_some(), "admin.bind", || {
        format!(
            "is {}, which is not loopback: set admin.token, or bind to 127.0.0.1",
            admin.bind
        )
    })?;
    let token = admin.token.as_ref();
    check(
        token.is_none_or(|token| token.0.len() >= TOKEN_LENGTH_MIN),
        "admin.token",
        || format!("must have {TOKEN_LENGTH_MIN} characters or more"),
    )
}

fn replication(config: &Config) -> Result<(), Problem> {
    let settings = &config.replication;
    let at = |field: &str| format!("replication.{field}");
    check(
        BATCHES.contains(&settings.batch_limit),
        &at("batch_limit"),
        || {
            format!(
                "must be {} to {}, and is {}",
                BATCHES.start(),
                BATCHES.end(),
                settings.batch_limit
            )
        },
    )?;
    let log_min = Bytes(settings.batch_limit.0 * LANES as u64);
    check(settings.log_limit >= log_min, &at("log_limit"), || {
        format!(
            "must hold one batch in each of {LANES} lanes ({log_min}), and is {}",
            settings.log_limit
        )
    })?;
    check(
        settings.in_flight_min >= settings.batch_limit,
        &at("in_flight_min"),
        || {
            format!(
                "must hold one batch ({}), and is {}",
                settings.batch_limit, settings.in_flight_min
            )
        },
    )?;
    check(
        settings.in_flight_max >= settings.in_flight_min,
        &at("in_flight_max"),
        || {
            format!(
                "must not be below in_flight_min ({}), and is {}",
                settings.in_flight_min, settings.in_flight_max
            )
        },
    )?;
    check(
        settings.flush_interval.0 <= Duration::from_secs(1),
        &at("flush_interval"),
        || format!("must be 0s to 1s, and is {}", settings.flush_interval),
    )?;
    let skew = Duration::from_millis(10)..=Duration::from_secs(3600);
    check(skew.contains(&settings.max_skew.0), &at("max_skew"), || {
        format!("must be 10ms to 1h, and is {}", settings.max_skew)
    })?;
    let patience = settings.loading_patience;
    let is_bounded = patience.0 <= Duration::from_secs(3600);
    check(is_bounded, &at("loading_patience"), || {
        format!("must be 0s to 1h, and is {patience}")
    })?;
    let horizon = settings.horizon;
    check(horizon >= Period::seconds(1), &at("horizon"), || {
        format!("must be 1s or more, and is {horizon}")
    })?;
    let bytes = settings.horizon_bytes;
    check(bytes >= Bytes::mib(1), &at("horizon_bytes"), || {
        format!("must be 1MiB or more, and is {bytes}")
    })
}

fn peers(config: &Config) -> Result<(), Problem> {
    let peers = &config.replication.peers;
    check(peers.len() <= PEERS_MAX, "replication.peers", || {
        format!("lists {} regions; {PEERS_MAX} is the most", peers.len())
    })?;
    let mut names = HashSet::from([config.region.name.as_str()]);
    let mut ids = HashSet::from([config.region.id]);
    for (
        position,
        Peer {
            region,
            id,
            address,
        },
    ) in peers.iter().enumerate()
    {
        let at = |field: &str| format!("replication.peers.{position}.{field}");
        name(&at("region"), region)?;
        region_id(&at("id"), *id)?;
        check(names.insert(region), &at("region"), || {
            format!("is \"{region}\", which names another region in this file")
        })?;
        check(ids.insert(*id), &at("id"), || {
            format!("is {id}, which is the id of another region in this file")
        })?;
        let port = address
            .rsplit_once(':')
            .and_then(|(_, port)| port.parse::<u16>().ok());
        check(port.is_some_and(|port| port > 0), &at("address"), || {
            format!("must be \"host:port\", and is \"{address}\"")
        })?;
    }
    Ok(())
}

fn emulations(config: &Config) -> Result<(), Problem> {
    let mut seen = HashSet::new();
    for (
        position,
        Emulation {
            peer,
            delay,
            jitter,
            loss,
            ..
        },
    ) in config.emulation.iter().enumerate()
    {
        let at = |field: &str| format!("emulation.{position}.{field}");
        let known = config
            .replication
            .peers
            .iter()
            .any(|other| other.region == *peer);
        check(known, &at("peer"), || {
            format!("is \"{peer}\", which is not among replication.peers")
        })?;
        check(seen.insert(peer), &at("peer"), || {
            format!("is \"{peer}\" for the second time")
        })?;
        check(delay.0 <= Duration::from_secs(10), &at("delay"), || {
            format!("must be 10s or less, and is {delay}")
        })?;
        check(jitter <= delay, &at("jitter"), || {
            format!("must not exceed the delay ({delay}), and is {jitter}")
        })?;
        check(loss.0 < 1.0, &at("loss"), || {
            "of 100% leaves no link; remove the peer instead".into()
        })?;
    }
    Ok(())
}

fn name(path: &str, name: &str) -> Result<(), Problem> {
    check(check_name(name).is_ok(), path, || {
        format!(
            "must be 1 to 63 lower-case letters, digits or dashes (no dash at either end), and is \"{name}\""
        )
    })
}

fn region_id(path: &str, id: u8) -> Result<(), Problem> {
    check((1..=REGION_ID_MAX).contains(&id), path, || {
        format!("must be 1 to {REGION_ID_MAX}, and is {id}")
    })
}

fn check(holds: bool, path: &str, text: impl FnOnce() -> String) -> Result<(), Problem> {
    if holds {
        return Ok(());
    }
    Err(Problem {
        path: path.split('.').map(str::to_owned).collect(),
        text: text(),
    })
}

/// The line of byte `offset`, from 1.
pub(super) fn line_of(text: &str, offset: usize) -> usize {
    let before = text.get(..offset).unwrap_or(text);
    before.bytes().filter(|byte| *byte == b'\n').count() + 1
}

/// The line of the setting at `path`, or of the nearest table around it when it is left out.
pub(super) fn find_line(text: &str, path: &[String]) -> usize {
    let Ok(root) = DeTable::parse(text) else {
        return 1;
    };
    let mut offset = 0;
    let mut here = &DeValue::Table(root.get_ref().clone());
    for step in path {
        let found = match step.parse::<usize>() {
            Ok(position) => here.get(position),
            Err(_) => here.get(step.as_str()),
        };
        let Some(found) = found else { break };
        offset = found.span().start;
        here = found.get_ref();
    }
    line_of(text, offset)
}
