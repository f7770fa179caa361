//! What a session remembers of keys that differed, as a status shows it.

use greenwich_proto::{
    decimal::Decimal,
    hlc::Origin,
    peer::{Difference, Held},
};

use crate::status::{Count, DifferingKey, HeldKey};

pub(super) fn differing(difference: &Difference) -> DifferingKey {
    let mut key = quoted(&difference.key);
    if difference.key.len() < difference.key_bytes {
        key = format!("{key}... ({} bytes)", difference.key_bytes);
    }
    DifferingKey {
        at_ms: difference.at.0,
        key,
        here: difference.here.as_ref().map(held),
        there: held(&difference.there),
    }
}

fn held(held: &Held) -> HeldKey {
    HeldKey {
        written_at_ms: held.version.stamp.wall().0,
        written_tick: held.version.stamp.tick(),
        changed_at_ms: held.newest.stamp.wall().0,
        changed_tick: held.newest.stamp.tick(),
        changed_by: held.newest.origin.0,
        by: held.version.origin.0,
        deleted: !held.has_value,
        deadline_ms: held.deadline.map(|at| at.0),
        counter: !held.counts.is_empty(),
        counts: held.counts.iter().map(count).collect(),
    }
}

fn count((origin, total): &(Origin, Decimal)) -> Count {
    Count {
        by: origin.0,
        total: total.to_string(),
    }
}

/// A key as redis-cli shows it.
fn quoted(key: &[u8]) -> String {
    let mut text = String::from("\"");
    for byte in key {
        match byte {
            b'\x07' => text.push_str("\\a"),
            b'\x08' => text.push_str("\\b"),
            b'\'' => text.push('\''),
            byte => text.extend(byte.escape_ascii().map(char::from)),
        }
    }
    text.push('"');
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_quoted_as_redis_cli_does() {
        let key = b"it's \"a\\b\"\n\r\t\x07\x08\x00\xff~";
        assert_eq!(quoted(key), r#""it's \"a\\b\"\n\r\t\a\b\x00\xff~""#);
    }
}
