//! TIME and ROLE.

use super::{Command, CommandError, Context, Flags, Group, Keys, help};
use crate::{resp::Request, server::process};

const FLAGS: Flags = Flags::LOADING.and(Flags::STALE).and(Flags::FAST);

const BASE: Command = Command {
    name: "",
    arity: 1,
    flags: FLAGS,
    keys: Keys::NONE,
    group: Group::Server,
    since: "2.6.0",
    summary: "",
    subcommands: &[],
    run: help::nothing,
};

pub(super) const ROWS: &[Command] = &[
    Command {
        name: "time",
        summary: "Return the current server time",
        run: time,
        ..BASE
    },
    Command {
        name: "role",
        flags: FLAGS.and(Flags::NOSCRIPT),
        since: "2.8.12",
        summary: "Return the role of the instance in the context of replication",
        run: role,
        ..BASE
    },
];

fn time(ctx: &mut Context<'_, '_>, _request: Request<'_>) -> Result<(), CommandError> {
    // The clock that deadlines are compared with, not the system's.
    let micros = process::wall_micros();
    ctx.reply.array(2);
    for part in [micros / 1_000_000, micros % 1_000_000] {
        ctx.reply.bulk(part.to_string().as_bytes());
    }
    Ok(())
}

/// Every region takes writes, so each one is a master; the others are not replicas that a client could read from.
fn role(ctx: &mut Context<'_, '_>, _request: Request<'_>) -> Result<(), CommandError> {
    ctx.reply.array(3);
    ctx.reply.bulk(b"master");
    ctx.reply.integer(0);
    ctx.reply.array(0);
    Ok(())
}
