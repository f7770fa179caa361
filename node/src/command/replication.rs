//! WAIT: how many regions hold what this client wrote.

use std::time::Duration;

use super::{Command, CommandError, Context, Flags, Group, Keys};
use crate::{
    client::Wait,
    resp::{Request, parse_integer},
};

pub(super) const ROWS: &[Command] = &[Command {
    name: "wait",
    arity: 3,
    flags: Flags::NOSCRIPT.and(Flags::MARKS),
    keys: Keys::NONE,
    group: Group::Generic,
    since: "3.0.0",
    summary: "Wait until as many other regions have applied the writes of this connection",
    subcommands: &[],
    run: wait,
}];

/// Answers at once when enough regions hold the writes, or inside EXEC; otherwise the connection waits.
fn wait(ctx: &mut Context<'_, '_>, request: Request<'_>) -> Result<(), CommandError> {
    let regions = parse_integer(&request[1]).ok_or(CommandError::NotAnInteger)?;
    let millis = parse_integer(&request[2])
        .ok_or_else(|| CommandError::text("ERR timeout is not an integer or out of range"))?;
    let millis =
        u64::try_from(millis).map_err(|_| CommandError::text("ERR timeout is negative"))?;
    let holders = ctx.server.keyspace.log().holders(&ctx.client.marks);
    let regions = usize::try_from(regions).unwrap_or(0);
    if holders >= regions || ctx.client.is_executing {
        ctx.reply.integer(holders as i64);
        return Ok(());
    }
    ctx.client.wait = Some(Wait {
        regions,
        time_max: (millis > 0).then(|| Duration::from_millis(millis)),
        is_silent: ctx.client.replies.are_dropped(),
    });
    Ok(())
}
