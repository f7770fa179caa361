//! LCS: the longest common subsequence of two values, and where its stretches lie in each.
//!
//! The textbook table of lengths (Cormen et al., *Introduction to Algorithms*, 15.4), walked back from its end in the
//! order of redis-server, which decides between subsequences of equal length.

use std::ops::RangeInclusive;

use super::{
    Command, CommandError, Context, Keys,
    options::LcsOptions,
    rows::{READ, string},
};
use crate::resp::{Reply, Request};

pub(super) const ROWS: &[Command] = &[string(
    "lcs",
    -3,
    READ,
    Keys::new(1, 2, 1),
    "7.0.0",
    "Find the longest common subsequence of two strings",
    lcs,
)];

fn lcs(context: &mut Context<'_, '_>, request: Request<'_>) -> Result<(), CommandError> {
    let options = LcsOptions::parse(request.iter().skip(3))?;
    let keys = [&request[1], &request[2]];
    // Copies, because the table takes longer than any lock should be held.
    let [a, b] = context.access.together(&keys, &[], |access| {
        keys.map(|key| {
            access.read(key, |view| {
                view.map(|view| view.value().into_owned())
                    .unwrap_or_default()
            })
        })
    });
    let table = Table::build(&a, &b, context.server.limits.request.bulk_bytes_max)?;
    let reply = &mut *context.reply;
    if options.positions {
        reply_positions(reply, &table, options);
    } else if options.length {
        reply.integer(table.len().into());
    } else {
        reply.bulk(&table.subsequence());
    }
    Ok(())
}

fn reply_positions(reply: &mut Reply, table: &Table<'_>, options: LcsOptions) {
    let mut stretches = table.stretches();
    stretches.retain(|stretch| u64::from(stretch.len()) >= options.length_min);
    reply.map(2);
    reply.bulk(b"matches");
    reply.array(stretches.len());
    for stretch in stretches {
        reply.array(if options.with_lengths { 3 } else { 2 });
        for side in [&stretch.in_a, &stretch.in_b] {
            reply.array(2);
            reply.integer((*side.start()).into());
            reply.integer((*side.end()).into());
        }
        if options.with_lengths {
            reply.integer(stretch.len().into());
        }
    }
    reply.bulk(b"len");
    reply.integer(table.len().into());
}

/// Adjacent bytes that the two strings share.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Stretch {
    in_a: RangeInclusive<u32>,
    in_b: RangeInclusive<u32>,
}

impl Stretch {
    fn len(&self) -> u32 {
        self.in_a.end() - self.in_a.start() + 1
    }
}

/// For every pair of prefixes, the length of their longest common subsequence.
struct Table<'a> {
    a: &'a [u8],
    b: &'a [u8],
    lengths: Vec<u32>,
}

impl<'a> Table<'a> {
    /// A table of at most `bytes_max`: as redis-server, which limits it to `proto-max-bulk-len`.
    fn build(a: &'a [u8], b: &'a [u8], bytes_max: usize) -> Result<Self, CommandError> {
        let row = b.len() + 1;
        let cells = (a.len() + 1).saturating_mul(row);
        if cells.saturating_mul(size_of::<u32>()) > bytes_max {
            return Err(CommandError::text(
                "ERR Insufficient memory, transient memory for LCS exceeds proto-max-bulk-len",
            ));
        }
        let mut lengths = vec![0; cells];
        for (i, byte) in a.iter().enumerate() {
            let (above, below) = lengths[i * row..].split_at_mut(row);
            for (j, other) in b.iter().enumerate() {
                below[j + 1] = if byte == other {
                    above[j] + 1
                } else {
                    above[j + 1].max(below[j])
                };
            }
        }
        Ok(Self { a, b, lengths })
    }

    /// The length of the longest common subsequence of the first `i` and the first `j` bytes.
    fn at(&self, i: usize, j: usize) -> u32 {
        self.lengths[i * (self.b.len() + 1) + j]
    }

    fn len(&self) -> u32 {
        self.at(self.a.len(), self.b.len())
    }

    /// Positions of the bytes that match, from the last to the first.
    fn matches(&self) -> impl Iterator<Item = (usize, usize)> {
        let (mut i, mut j) = (self.a.len(), self.b.len());
        std::iter::from_fn(move || {
            while i > 0 && j > 0 {
                if self.a[i - 1] == self.b[j - 1] {
                    (i, j) = (i - 1, j - 1);
                    return Some((i, j));
                }
                if self.at(i - 1, j) > self.at(i, j - 1) {
                    i -= 1;
                } else {
                    j -= 1;
                }
            }
            None
        })
    }

    fn subsequence(&self) -> Vec<u8> {
        let mut bytes: Vec<u8> = self.matches().map(|(i, _)| self.a[i]).collect();
        bytes.reverse();
        bytes
    }

    /// From the last to the first.
    fn stretches(&self) -> Vec<Stretch> {
        let mut stretches: Vec<Stretch> = Vec::new();
        for (i, j) in self.matches() {
            let position = |at| u32::try_from(at).expect("the table is below 512 MiB");
            let (i, j) = (position(i), position(j));
            match stretches.last_mut() {
                Some(last) if (i + 1, j + 1) == (*last.in_a.start(), *last.in_b.start()) => {
                    last.in_a = i..=*last.in_a.end();
                    last.in_b = j..=*last.in_b.end();
                }
                _ => stretches.push(Stretch {
                    in_a: i..=i,
                    in_b: j..=j,
                }),
            }
        }
        stretches
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BYTES_MAX: usize = 512 << 20;

    fn stretches(a: &str, b: &str) -> Vec<(u32, u32, u32)> {
        let table = Table::build(a.as_bytes(), b.as_bytes(), BYTES_MAX).unwrap();
        let stretches = table.stretches();
        stretches
            .iter()
            .map(|s| (*s.in_a.start(), *s.in_b.start(), s.len()))
            .collect()
    }

    fn subsequence(a: &str, b: &str) -> String {
        let table = Table::build(a.as_bytes(), b.as_bytes(), BYTES_MAX).unwrap();
        let found = String::from_utf8(table.subsequence()).unwrap();
        assert_eq!(found.len(), table.len() as usize);
        found
    }

    #[test]
    fn finds_the_subsequence_that_redis_finds() {
        assert_eq!(subsequence("ohmytext", "mynewtext"), "mytext");
        assert_eq!(subsequence("mynewtext", "ohmytext"), "mytext");
        assert_eq!(subsequence("same", "same"), "same");
        assert_eq!(subsequence("abc", "xyz"), "");
        assert_eq!(subsequence("", "abc"), "");
        assert_eq!(subsequence("", ""), "");
    }

    #[test]
    fn stretches_run_from_the_end() {
        assert_eq!(stretches("ohmytext", "mynewtext"), [(4, 5, 4), (2, 0, 2)]);
        assert_eq!(stretches("mynewtext", "ohmytext"), [(5, 4, 4), (0, 2, 2)]);
        assert_eq!(stretches("same", "same"), [(0, 0, 4)]);
        assert_eq!(stretches("abc", ""), []);
    }

    #[test]
    fn short_stretches_can_be_left_out() {
        let table = Table::build(b"ohmytext", b"mynewtext", BYTES_MAX).unwrap();
        let mut reply = Reply::default();
        let options = LcsOptions {
            positions: true,
            with_lengths: true,
            length_min: 4,
            ..Default::default()
        };
        reply_positions(&mut reply, &table, options);
        let expected = "*4\r\n$7\r\nmatches\r\n*1\r\n*3\r\n*2\r\n:4\r\n:7\r\n*2\r\n:5\r\n:8\r\n:4\r\n$3\r\nlen\r\n:6\r\n";
        assert_eq!(reply.as_bytes(), expected.as_bytes());
    }

    #[test]
    fn huge_tables_are_refused() {
        let long = vec![b'a'; 12_000];
        assert!(Table::build(&long, &long, BYTES_MAX).is_err());
    }
}
