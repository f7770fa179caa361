//! The parameters, and how their values are written.

use std::sync::atomic::Ordering::Relaxed;

use crate::{resp::parse_integer, server::Server};

/// One parameter.
pub(super) struct Parameter {
    pub(super) name: &'static str,
    pub(super) kind: Kind,
    pub(super) value: fn(&Server) -> String,
    /// Why it cannot have a value of its kind.
    pub(super) objection: fn(&Server, &str) -> Option<String>,
    /// Sets it to a value of its kind.
    pub(super) set: Option<fn(&Server, &str)>,
}

/// What values look like.
pub(super) enum Kind {
    Text,
    Integer(i64, i64),
    Memory,
    YesNo,
    OneOf(&'static [&'static str]),
}

const POLICIES: &[&str] = &[
    "volatile-lru",
    "volatile-lfu",
    "volatile-random",
    "volatile-ttl",
    "allkeys-lru",
    "allkeys-lfu",
    "allkeys-random",
    "noeviction",
];

const fn fixed(name: &'static str, kind: Kind, value: fn(&Server) -> String) -> Parameter {
    Parameter {
        name,
        kind,
        value,
        objection: |_, _| None,
        set: None,
    }
}

pub(super) const PARAMETERS: &[Parameter] = &[
    fixed("appendonly", Kind::YesNo, |_| "no".into()),
    fixed("bind", Kind::Text, |server| {
        server.address().ip().to_string()
    }),
    fixed("client-output-buffer-limit", Kind::Text, |server| {
        let bytes = server.limits.output_bytes_max;
        format!("normal {bytes} 0 0 slave 0 0 0 pubsub {bytes} 0 0")
    }),
    fixed("client-query-buffer-limit", Kind::Memory, |server| {
        server.limits.request.request_bytes_max.to_string()
    }),
    fixed("databases", Kind::Integer(1, i32::MAX as i64), |_| {
        "1".into()
    }),
    fixed("dbfilename", Kind::Text, |_| String::new()),
    fixed("io-threads", Kind::Integer(1, 128), |server| {
        server.counters.thread_count().to_string()
    }),
    Parameter {
        objection: |server, value| {
            let possible = server.settings.clients_possible;
            let is_possible = value
                .parse()
                .is_ok_and(|clients: usize| clients <= possible);
            (!is_possible).then(|| {
                format!(
                    "The operating system is not able to handle the specified number of clients, try with {possible}"
                )
            })
        },
        set: Some(|server, value| {
            server
                .settings
                .clients_max
                .store(value.parse().unwrap_or(usize::MAX), Relaxed);
        }),
        ..fixed("maxclients", Kind::Integer(1, u32::MAX as i64), |server| {
            server.settings.clients_max.load(Relaxed).to_string()
        })
    },
    fixed("maxmemory", Kind::Memory, |_| "0".into()),
    fixed("maxmemory-policy", Kind::OneOf(POLICIES), |_| {
        "noeviction".into()
    }),
    fixed("port", Kind::Integer(0, u16::MAX as i64), |server| {
        server.address().port().to_string()
    }),
    fixed("proto-max-bulk-len", Kind::Memory, |server| {
        server.limits.request.bulk_bytes_max.to_string()
    }),
    Parameter {
        set: Some(|server, value| server.settings.set_password(value)),
        ..fixed("requirepass", Kind::Text, |server| {
            server
                .settings
                .password()
                .as_deref()
                .unwrap_or_default()
                .to_owned()
        })
    },
    fixed("save", Kind::Text, |_| String::new()),
    fixed("tcp-backlog", Kind::Integer(0, i32::MAX as i64), |_| {
        crate::server::BACKLOG.to_string()
    }),
    Parameter {
        set: Some(|server, value| {
            server
                .settings
                .idle_seconds_max
                .store(value.parse().unwrap_or(0), Relaxed)
        }),
        ..fixed("timeout", Kind::Integer(0, i32::MAX as i64), |server| {
            server.settings.idle_seconds_max.load(Relaxed).to_string()
        })
    },
];

/// The parameter of this name, in any case.
pub(super) fn find(name: &[u8]) -> Option<&'static Parameter> {
    PARAMETERS
        .iter()
        .find(|parameter| parameter.name.as_bytes().eq_ignore_ascii_case(name))
}

impl Kind {
    /// The value as CONFIG GET would show it.
    pub(super) fn parse(&self, value: &[u8]) -> Result<String, String> {
        let text = String::from_utf8(value.to_vec()).map_err(|_| "argument must be text")?;
        match self {
            Self::Text => Ok(text),
            Self::Integer(least, most) => {
                let number =
                    parse_integer(value).ok_or("argument couldn't be parsed into an integer")?;
                if (*least..=*most).contains(&number) {
                    Ok(text)
                } else {
                    Err(format!(
                        "argument must be between {least} and {most} inclusive"
                    ))
                }
            }
            Self::Memory => Ok(memory(&text.to_ascii_lowercase())
                .ok_or("argument must be a memory value")?
                .to_string()),
            Self::YesNo => match text.to_ascii_lowercase().as_str() {
                word @ ("yes" | "no") => Ok(word.to_owned()),
                _ => Err("argument must be 'yes' or 'no'".into()),
            },
            Self::OneOf(words) => {
                let text = text.to_ascii_lowercase();
                if words.contains(&text.as_str()) {
                    return Ok(text);
                }
                Err(format!(
                    "argument(s) must be one of the following: {}",
                    words.join(", ")
                ))
            }
        }
    }
}

/// Bytes with the units of redis.conf: `k` is 1000, `kb` is 1024.
fn memory(text: &str) -> Option<u64> {
    let digits = text.trim_end_matches(|unit: char| unit.is_ascii_alphabetic());
    let unit: u64 = match &text[digits.len()..] {
        "" | "b" => 1,
        "k" => 1000,
        "kb" => 1 << 10,
        "m" => 1_000_000,
        "mb" => 1 << 20,
        "g" => 1_000_000_000,
        "gb" => 1 << 30,
        _ => return None,
    };
    digits.parse::<u64>().ok()?.checked_mul(unit)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_read_as_redis_reads_them() {
        assert_eq!(Kind::Memory.parse(b"1gb"), Ok((1 << 30).to_string()));
        assert_eq!(Kind::Memory.parse(b"2K"), Ok("2000".into()));
        assert!(Kind::Memory.parse(b"-1").is_err() && Kind::Memory.parse(b"1x").is_err());
        assert_eq!(Kind::Integer(0, 10).parse(b"10"), Ok("10".into()));
        assert_eq!(
            Kind::Integer(0, 10).parse(b"11").unwrap_err(),
            "argument must be between 0 and 10 inclusive"
        );
        assert!(Kind::Integer(0, 10).parse(b"ten").is_err());
        assert_eq!(Kind::YesNo.parse(b"NO"), Ok("no".into()));
        assert_eq!(
            Kind::OneOf(POLICIES).parse(b"NoEviction"),
            Ok("noeviction".into())
        );
        assert!(Kind::OneOf(POLICIES).parse(b"never").is_err());
    }
}
