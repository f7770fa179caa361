//! What clients do, as a script that can be read.

use std::fmt;

use greenwich_proto::rng::Rng;

use crate::swarm::Swarm;

/// The keys of one unit group.
pub const GROUP_KEYS: usize = 3;
/// Unit groups of tokens, and as many of accounts that are counted up and down as a whole.
pub const GROUPS: u64 = 2;
/// Tokens, which stand in a ring: units write neighbours, across groups too, so that they overlap.
pub const TOKENS: u64 = GROUPS * GROUP_KEYS as u64;

/// How a SET treats the deadline.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expiry {
    /// Drops it.
    None,
    /// So many milliseconds from then on.
    After(u64),
    /// Keeps what is there.
    Keep,
}

/// A key by its meaning; its bytes may be much longer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Key {
    /// A key for every command.
    Plain(u64),
    /// A key that is overwritten together with some of its neighbours, or alone.
    Token(u64, usize),
    /// A key that is counted up or down while another of its group is counted the other way.
    Account(u64, usize),
}

impl Key {
    /// Every key of a run.
    #[must_use]
    pub fn all(plain: u64) -> Vec<Self> {
        let group = |make: fn(u64, usize) -> Self| {
            (0..GROUPS).flat_map(move |group| (0..GROUP_KEYS).map(move |at| make(group, at)))
        };
        (0..plain)
            .map(Self::Plain)
            .chain(group(Self::Token))
            .chain(group(Self::Account))
            .collect()
    }

    /// So many tokens, from one on around their ring.
    #[must_use]
    pub fn tokens(first: u64, count: u64) -> Vec<Self> {
        let ring: Vec<Self> = (0..GROUPS)
            .flat_map(|group| (0..GROUP_KEYS).map(move |at| Self::Token(group, at)))
            .collect();
        let around = ring.iter().cycle().zip(0..first + count);
        around
            .filter(|(_, at)| *at >= first)
            .map(|(key, _)| *key)
            .collect()
    }

    /// The bytes, with so many more than needed.
    #[must_use]
    pub fn bytes(self, padding: usize) -> Vec<u8> {
        format!("{self}{}", ".".repeat(padding)).into_bytes()
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Plain(key) => write!(f, "key{key}"),
            Self::Token(group, at) => write!(f, "token{group}:{at}"),
            Self::Account(group, at) => write!(f, "account{group}:{at}"),
        }
    }
}

/// One client command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Operation {
    /// Writes a value.
    Set(Key, String, Expiry),
    /// Deletes a value.
    Delete(Key),
    /// Sets the deadline so many milliseconds from then on.
    Expire(Key, u64),
    /// Removes the deadline.
    Persist(Key),
    /// Adds.
    Increment(Key, i64),
    /// Appends to a value.
    Append(Key, String),
    /// Writes one token to so many keys, from one on around the ring.
    SetTokens(u64, u64, String),
    /// Deletes as many.
    DeleteTokens(u64, u64),
    /// Deletes the accounts of a group.
    DeleteAccounts(u64),
    /// Moves an amount from the first key of a group to the second.
    Transfer(u64, i64),
    /// Deletes everything.
    Flush,
}

impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Set(key, value, Expiry::None) => write!(f, "SET {key} {value}"),
            Self::Set(key, value, Expiry::After(ttl_ms)) => {
                write!(f, "SET {key} {value} PX {ttl_ms}")
            }
            Self::Set(key, value, Expiry::Keep) => write!(f, "SET {key} {value} KEEPTTL"),
            Self::Delete(key) => write!(f, "DEL {key}"),
            Self::Expire(key, ttl_ms) => write!(f, "PEXPIRE {key} {ttl_ms}"),
            Self::Persist(key) => write!(f, "PERSIST {key}"),
            Self::Increment(key, amount) => write!(f, "INCRBY {key} {amount}"),
            Self::Append(key, suffix) => write!(f, "APPEND {key} {suffix}"),
            Self::SetTokens(first, count, token) => {
                write!(f, "MSET tokens {first} and {} more: {token}", count - 1)
            }
            Self::DeleteTokens(first, count) => {
                write!(f, "DEL tokens {first} and {} more", count - 1)
            }
            Self::DeleteAccounts(group) => write!(f, "DEL account{group}:*"),
            Self::Transfer(group, amount) => {
                write!(
                    f,
                    "MULTI; INCRBY account{group}:0 -{amount}; INCRBY account{group}:1 {amount}; EXEC"
                )
            }
            Self::Flush => write!(f, "FLUSHALL"),
        }
    }
}

/// Draws commands.
#[derive(Debug)]
pub struct Workload {
    rng: Rng,
    /// For which keys units are of.
    units: Rng,
    next_value: u64,
}

impl Workload {
    /// Commands of one run.
    #[must_use]
    pub fn new(rng: Rng) -> Self {
        Self {
            units: rng.clone().fork(),
            rng,
            next_value: 0,
        }
    }

    /// The next command.
    pub fn next(&mut self, swarm: &Swarm) -> Operation {
        let mix = &swarm.mix;
        let weights = [
            mix.set * 100,
            mix.delete * 100,
            mix.deadline * 100,
            mix.increment * 100,
            mix.append * 100,
            mix.unit * 100,
            mix.flush,
        ];
        let mut drawn = self.rng.below(weights.iter().sum());
        let kind = weights.iter().position(|&weight| {
            let is_drawn = drawn < weight;
            drawn = drawn.saturating_sub(weight);
            is_drawn
        });
        let key = Key::Plain(self.rng.below(mix.keys));
        self.next_value += 1;
        match kind {
            Some(0) => Operation::Set(key, self.next_value.to_string(), self.expiry(swarm)),
            Some(1) => Operation::Delete(key),
            Some(2) if self.rng.chance(0.3) => Operation::Persist(key),
            Some(2) => Operation::Expire(key, self.ttl_ms(swarm)),
            Some(3) => Operation::Increment(key, self.amount()),
            Some(4) => Operation::Append(key, (self.next_value % 10).to_string()),
            Some(5) => self.unit(),
            _ => Operation::Flush,
        }
    }

    fn unit(&mut self) -> Operation {
        let group = self.rng.below(GROUPS);
        match self.rng.below(8) {
            0 => self.deletion(group),
            1..4 => Operation::Transfer(group, self.amount()),
            _ => self.tokens(group, format!("t{}", self.next_value)),
        }
    }

    fn deletion(&mut self, group: u64) -> Operation {
        match self.units.below(4) {
            0 => Operation::DeleteAccounts(group),
            1 => Operation::Delete(self.token()),
            _ => Operation::DeleteTokens(self.units.below(TOKENS), 2 + self.units.below(2)),
        }
    }

    fn tokens(&mut self, group: u64, token: String) -> Operation {
        let of_group = GROUP_KEYS as u64;
        match self.units.below(4) {
            0 => Operation::Set(self.token(), token, Expiry::None),
            1 => Operation::SetTokens(group * of_group, of_group, token),
            _ => Operation::SetTokens(self.units.below(TOKENS), 2 + self.units.below(2), token),
        }
    }

    fn token(&mut self) -> Key {
        let at = usize::try_from(self.units.below(GROUP_KEYS as u64)).expect("few");
        Key::Token(self.units.below(GROUPS), at)
    }

    fn amount(&mut self) -> i64 {
        i64::try_from(self.rng.below(19)).expect("small") - 9
    }

    fn expiry(&mut self, swarm: &Swarm) -> Expiry {
        match self.rng.below(4) {
            0 => Expiry::After(self.ttl_ms(swarm)),
            1 => Expiry::Keep,
            _ => Expiry::None,
        }
    }

    /// Mostly soon, so that it passes during the run; sometimes long after it.
    fn ttl_ms(&mut self, swarm: &Swarm) -> u64 {
        if self.rng.chance(0.1) {
            100_000_000
        } else {
            1 + self.rng.below(swarm.mix.ttl_ms_max)
        }
    }
}
