//! What the subcommands HELP have in common.

use super::{CommandError, Context, Flags, dispatch::shown};
use crate::resp::Request;

pub(super) const FLAGS: Flags = Flags::LOADING.and(Flags::STALE);
pub(super) const SUMMARY: &str = "Show helpful text about the different subcommands";

/// The lines of redis-server around those of one command.
pub(super) fn reply(
    ctx: &mut Context<'_, '_>,
    name: &str,
    lines: &[&str],
) -> Result<(), CommandError> {
    ctx.reply.array(lines.len() + 3);
    ctx.reply.simple(&format!(
        "{name} <subcommand> [<arg> [value] [opt] ...]. Subcommands are:"
    ));
    for line in lines.iter().chain(&["HELP", "    Prints this help."]) {
        ctx.reply.simple(line);
    }
    Ok(())
}

/// The answer to a subcommand that exists and got arguments that it does not take.
pub(super) fn wrong_subcommand(request: Request<'_>, name: &str) -> CommandError {
    let after = format!("'. Try {name} HELP.");
    CommandError::quoted(
        "ERR unknown subcommand or wrong number of arguments for '",
        shown(&request[1], 128),
        &after,
    )
}

/// Of a command that has subcommands and does nothing itself: its arity asks for one.
pub(super) fn nothing(
    _ctx: &mut Context<'_, '_>,
    _request: Request<'_>,
) -> Result<(), CommandError> {
    Err(CommandError::Syntax)
}
