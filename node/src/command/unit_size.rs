//! How large a transaction may make the keys that it writes, before it runs: they travel to other regions together, so
//! there is a limit to it.
//!
//! An upper bound, from the sizes that the keys have and what each command can do to them. It knows commands by name, and
//! of one that it does not know assumes that a value becomes as large as the longest argument, or stays as large as it is.

use std::collections::BTreeMap;

use greenwich_proto::entry::totals::Totals;

use super::{Flags, parse::integer};
use crate::{client::Queued, keyspace::Access, resp::Request};

/// What an entry takes beside its key and its value: its header, and a total of this node's.
const ENTRY_BYTES: usize = 64 + Totals::ENTRY_BYTES;

/// Whether the keys that these commands write stay within `bytes_max` together, where no value may be longer than
/// `value_bytes_max`. The keys are locked.
pub(super) fn fits(
    access: &mut Access<'_>,
    commands: &[Queued],
    value_bytes_max: usize,
    bytes_max: usize,
) -> bool {
    let present = |key: &[u8]| access.peek(key, |view| view.map_or(0, |view| view.memory_bytes()));
    let mut sizes = Sizes {
        present,
        value_bytes_max,
        by_key: BTreeMap::new(),
    };
    for Queued { row, request } in commands {
        let request = request.as_request();
        if row.command.flags.has(Flags::WRITE) {
            let keys: Vec<&[u8]> = row.command.keys_of(request).collect();
            sizes.run(row.command.name, request, &keys);
        }
    }
    sizes.sum() <= bytes_max
}

/// How large the value of each key is at most.
struct Sizes<'a, P> {
    present: P,
    /// What would make a value longer is refused.
    value_bytes_max: usize,
    by_key: BTreeMap<&'a [u8], usize>,
}

impl<'a, P: FnMut(&[u8]) -> usize> Sizes<'a, P> {
    fn of(&mut self, key: &'a [u8]) -> &mut usize {
        let Self {
            present, by_key, ..
        } = self;
        by_key.entry(key).or_insert_with(|| present(key))
    }

    /// Follows one command.
    fn run(&mut self, name: &str, request: Request<'a>, keys: &[&'a [u8]]) {
        match (name, keys) {
            ("del" | "unlink" | "getdel", keys) => keys.iter().for_each(|key| *self.of(key) = 0),
            ("mset" | "msetnx", keys) => {
                for (at, key) in keys.iter().enumerate() {
                    self.replace(key, request.get(2 * at + 2), name == "msetnx");
                }
            }
            ("set", &[key]) => self.replace(key, request.get(2), request.len() > 3),
            ("getset", &[key]) => self.replace(key, request.get(2), false),
            ("setex" | "psetex", &[key]) => self.replace(key, request.get(3), false),
            ("append", &[key]) => {
                let suffix = request.get(2).map_or(0, <[u8]>::len);
                let size = *self.of(key) + suffix;
                self.raise(key, size);
            }
            ("setrange", &[key]) => {
                let offset = request.get(2).and_then(|offset| integer(offset).ok());
                let offset = offset.and_then(|offset| usize::try_from(offset).ok());
                let patch = request.get(3).map_or(0, <[u8]>::len);
                self.raise(key, offset.unwrap_or(0).saturating_add(patch));
            }
            ("rename" | "renamenx" | "copy", &[from, to]) => {
                let size = *self.of(from);
                self.raise(to, size);
                // Whether it was renamed or was not there.
                if name == "rename" && from != to {
                    *self.of(from) = 0;
                }
            }
            (_, keys) => {
                let longest = request.iter().map(<[u8]>::len).max().unwrap_or(0);
                keys.iter().for_each(|key| self.raise(key, longest));
            }
        }
    }

    /// A value is written, perhaps only if there is none, or one.
    fn replace(&mut self, key: &'a [u8], value: Option<&[u8]>, is_conditional: bool) {
        let size = value.map_or(0, <[u8]>::len);
        if is_conditional {
            self.raise(key, size);
        } else {
            // What was there before need not be looked at.
            self.by_key.insert(key, size);
        }
    }

    fn raise(&mut self, key: &'a [u8], size: usize) {
        let size_max = self.value_bytes_max;
        let held = self.of(key);
        if size <= size_max {
            *held = size.max(*held);
        }
    }

    fn sum(&self) -> usize {
        self.by_key
            .iter()
            .map(|(key, size)| ENTRY_BYTES + key.len() + size)
            .sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{command::table, resp::RequestBuf};

    /// The most that the values of all keys take after some commands, where `big` had 1,000 bytes before them.
    fn bound(commands: &[&str]) -> usize {
        let requests: Vec<RequestBuf> = commands
            .iter()
            .map(|text| text.split(' ').collect())
            .collect();
        let present = |key: &[u8]| if key == b"big" { 1_000 } else { 0 };
        let mut sizes = Sizes {
            present,
            value_bytes_max: 1_500,
            by_key: BTreeMap::new(),
        };
        for request in &requests {
            let request = request.as_request();
            let command = table::find(&request[0]).unwrap().command;
            let keys: Vec<&[u8]> = command.keys_of(request).collect();
            sizes.run(command.name, request, &keys);
        }
        sizes.by_key.values().sum()
    }

    #[test]
    fn the_bound_follows_what_commands_do() {
        let cases: [(&[&str], usize); 17] = [
            (&["SETRANGE a 500 xyz", "SETRANGE a 100 xyz"], 503),
            (&["SETRANGE big 500 xyz"], 1_000),
            (&["SETRANGE a nonsense xyz"], 3),
            (&["SETRANGE a 9223372036854775807 xyz"], 0),
            (&["SETRANGE a 1490 xyz", "APPEND a 12345678"], 1_493),
            (&["APPEND big xyz", "APPEND a xyz"], 1_006),
            (&["SET big xyz"], 3),
            (&["SET big xyz NX"], 1_000),
            (&["SETEX big 10 xyz", "GETSET a xy"], 5),
            (&["SETNX big xyz"], 1_000),
            (&["MSET big 1 a 22 b 333"], 6),
            (&["MSETNX big 1 a 22"], 1_002),
            (&["DEL big a"], 0),
            (&["COPY big a", "COPY big b"], 3_000),
            (&["RENAME big a", "RENAME a b"], 1_000),
            (&["RENAMENX big a"], 2_000),
            (&["EXPIRE big 10", "INCR a"], 1_004),
        ];
        for (commands, expected) in cases {
            assert_eq!(bound(commands), expected, "{commands:?}");
        }
    }
}
