//! What is true of a command, as bits. Names and meaning are those of COMMAND INFO, except the last few, which are
//! this server's own and are not shown.

use std::ops::BitOr;

/// A set of properties of a command.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Flags(u32);

impl Flags {
    /// Nothing to say.
    pub const NONE: Self = Self(0);
    /// May change keys.
    pub const WRITE: Self = Self(1);
    /// Reads keys and changes none.
    pub const READONLY: Self = Self(1 << 1);
    /// May take more memory.
    pub const DENYOOM: Self = Self(1 << 2);
    /// For operators.
    pub const ADMIN: Self = Self(1 << 3);
    /// About channels.
    pub const PUBSUB: Self = Self(1 << 4);
    /// Not for scripts.
    pub const NOSCRIPT: Self = Self(1 << 5);
    /// May wait.
    pub const BLOCKING: Self = Self(1 << 6);
    /// Runs while data is loaded.
    pub const LOADING: Self = Self(1 << 7);
    /// Runs on data that may be old.
    pub const STALE: Self = Self(1 << 8);
    /// Not shown to monitors.
    pub const SKIP_MONITOR: Self = Self(1 << 9);
    /// Not in the list of slow commands.
    pub const SKIP_SLOWLOG: Self = Self(1 << 10);
    /// Takes constant or logarithmic time.
    pub const FAST: Self = Self(1 << 11);
    /// Runs before the client has authenticated.
    pub const NO_AUTH: Self = Self(1 << 12);
    /// Refused between MULTI and EXEC.
    pub const NO_MULTI: Self = Self(1 << 13);
    /// May be called without any key.
    pub const NO_MANDATORY_KEYS: Self = Self(1 << 14);
    /// Not while data is loaded in the background.
    pub const NO_ASYNC_LOADING: Self = Self(1 << 15);
    /// Runs while a script is too slow.
    pub const ALLOW_BUSY: Self = Self(1 << 16);
    /// May be passed on to replicas.
    pub const MAY_REPLICATE: Self = Self(1 << 17);
    /// Has keys that its arguments tell.
    pub const MOVABLEKEYS: Self = Self(1 << 18);

    /// Own: touches the whole keyspace, so a transaction with it locks every key.
    pub const WHOLE: Self = Self(1 << 24);
    /// Own: runs at once between MULTI and EXEC.
    pub const UNQUEUED: Self = Self(1 << 25);
    /// Own: a RESP2 client with subscriptions may send it.
    pub const SUBSCRIBED: Self = Self(1 << 26);
    /// Own: asks where this client's writes stand in the log.
    pub const MARKS: Self = Self(1 << 27);
    /// Own: counts keys and bytes over the whole keyspace, which must happen before keys are locked.
    pub const USAGE: Self = Self(1 << 28);

    /// Shown flags and their names, in the order of COMMAND INFO.
    const NAMES: [(Self, &'static str); 19] = [
        (Self::WRITE, "write"),
        (Self::READONLY, "readonly"),
        (Self::DENYOOM, "denyoom"),
        (Self::ADMIN, "admin"),
        (Self::PUBSUB, "pubsub"),
        (Self::NOSCRIPT, "noscript"),
        (Self::BLOCKING, "blocking"),
        (Self::LOADING, "loading"),
        (Self::STALE, "stale"),
        (Self::SKIP_MONITOR, "skip_monitor"),
        (Self::SKIP_SLOWLOG, "skip_slowlog"),
        (Self::FAST, "fast"),
        (Self::NO_AUTH, "no_auth"),
        (Self::MAY_REPLICATE, "may_replicate"),
        (Self::NO_MANDATORY_KEYS, "no_mandatory_keys"),
        (Self::NO_ASYNC_LOADING, "no_async_loading"),
        (Self::NO_MULTI, "no_multi"),
        (Self::ALLOW_BUSY, "allow_busy"),
        (Self::MOVABLEKEYS, "movablekeys"),
    ];

    /// Both sets together; for constants.
    #[must_use]
    pub const fn and(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Whether all of `other` is in this set.
    #[inline]
    #[must_use]
    pub const fn has(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// Whether anything of `other` is in this set.
    #[inline]
    #[must_use]
    pub const fn has_any(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }

    /// The names that COMMAND INFO shows.
    pub fn names(self) -> impl Iterator<Item = &'static str> + Clone {
        Self::NAMES
            .into_iter()
            .filter(move |(flag, _)| self.has(*flag))
            .map(|(_, name)| name)
    }
}

impl BitOr for Flags {
    type Output = Self;

    fn bitor(self, other: Self) -> Self {
        self.and(other)
    }
}
