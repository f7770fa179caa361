//! Short forms for the rows of the data families.

use super::{Command, Flags, Group, Keys, Run};

/// Reads keys.
pub(super) const READ: Flags = Flags::READONLY;
/// Reads keys in constant time.
pub(super) const READ_FAST: Flags = READ.and(Flags::FAST);
/// Changes keys without taking memory.
pub(super) const WRITE: Flags = Flags::WRITE;
/// Changes keys in constant time without taking memory.
pub(super) const WRITE_FAST: Flags = WRITE.and(Flags::FAST);
/// Changes keys and may take memory.
pub(super) const GROW: Flags = WRITE.and(Flags::DENYOOM);
/// Changes keys in constant time and may take memory.
pub(super) const GROW_FAST: Flags = GROW.and(Flags::FAST);

/// The row of a command about strings.
pub(super) const fn string(
    name: &'static str,
    arity: i32,
    flags: Flags,
    keys: Keys,
    since: &'static str,
    summary: &'static str,
    run: Run,
) -> Command {
    let subcommands = &[];
    Command {
        name,
        arity,
        flags,
        keys,
        group: Group::String,
        since,
        summary,
        subcommands,
        run,
    }
}

/// The row of a command about keys of any type.
pub(super) const fn generic(
    name: &'static str,
    arity: i32,
    flags: Flags,
    keys: Keys,
    since: &'static str,
    summary: &'static str,
    run: Run,
) -> Command {
    Command {
        group: Group::Generic,
        ..string(name, arity, flags, keys, since, summary, run)
    }
}

/// The row of a command about the server.
pub(super) const fn server(
    name: &'static str,
    arity: i32,
    flags: Flags,
    keys: Keys,
    since: &'static str,
    summary: &'static str,
    run: Run,
) -> Command {
    Command {
        group: Group::Server,
        ..string(name, arity, flags, keys, since, summary, run)
    }
}
