//! CONFIG: the parameters of redis-server that mean something here. Most only tell what is so; a few can be set, and
//! those take effect at once. A parameter that cannot be set accepts the value that it has.

mod parameters;

use self::parameters::{PARAMETERS, Parameter, find};
use super::{Command, CommandError, Context, Flags, Group, Keys, glob, help};
use crate::resp::Request;

const FLAGS: Flags = Flags::ADMIN
    .and(Flags::NOSCRIPT)
    .and(Flags::LOADING)
    .and(Flags::STALE);

const BASE: Command = Command {
    name: "",
    arity: 2,
    flags: FLAGS,
    keys: Keys::NONE,
    group: Group::Server,
    since: "2.0.0",
    summary: "",
    subcommands: &[],
    run: help::nothing,
};

pub(super) const ROWS: &[Command] = &[Command {
    name: "config",
    arity: -2,
    flags: Flags::NONE,
    summary: "A container for server configuration commands",
    subcommands: SUBCOMMANDS,
    ..BASE
}];

const SUBCOMMANDS: &[Command] = &[
    Command {
        name: "get",
        arity: -3,
        summary: "Get the values of configuration parameters",
        run: show,
        ..BASE
    },
    Command {
        name: "set",
        arity: -4,
        summary: "Set configuration parameters to the given values",
        run: set,
        ..BASE
    },
    Command {
        name: "resetstat",
        summary: "Reset the stats returned by INFO",
        run: |ctx, _| {
            ctx.server.reset_counts();
            ctx.reply.ok();
            Ok(())
        },
        ..BASE
    },
    Command {
        name: "rewrite",
        since: "2.8.0",
        summary: "Refused: the configuration file is the operator's",
        run: |_, _| {
            Err(CommandError::text(
                "ERR The server is running without a config file",
            ))
        },
        ..BASE
    },
    Command {
        name: "help",
        flags: help::FLAGS,
        since: "5.0.0",
        summary: help::SUMMARY,
        run: |ctx, _| help::reply(ctx, "CONFIG", HELP),
        ..BASE
    },
];

const HELP: &[&str] = &[
    "GET <pattern>",
    "    Return parameters matching the glob-like <pattern> and their values.",
    "SET <directive> <value>",
    "    Set the configuration <directive> to <value>.",
    "RESETSTAT",
    "    Reset statistics reported by the INFO command.",
];

fn show(ctx: &mut Context<'_, '_>, request: Request<'_>) -> Result<(), CommandError> {
    // A parameter is shown once, under its name in the spelling of the client that asked for just that.
    let asked = |parameter: &'static Parameter| {
        let name = parameter.name.as_bytes();
        let mut patterns = request.iter().skip(2);
        let pattern = patterns.find(|pattern| glob::matches(pattern, name, glob::Case::Ignored))?;
        Some((
            if pattern.eq_ignore_ascii_case(name) {
                pattern
            } else {
                name
            },
            parameter,
        ))
    };
    let chosen: Vec<(&[u8], &Parameter)> = PARAMETERS.iter().filter_map(asked).collect();
    ctx.reply.map(chosen.len());
    for (name, parameter) in chosen {
        ctx.reply.bulk(name);
        ctx.reply.bulk((parameter.value)(ctx.server).as_bytes());
    }
    Ok(())
}

/// Sets all or, when one of them cannot be set, none.
fn set(ctx: &mut Context<'_, '_>, request: Request<'_>) -> Result<(), CommandError> {
    if request.len() % 2 == 1 {
        return Err(CommandError::Syntax);
    }
    let mut asked: Vec<(&Parameter, &[u8], &[u8])> = Vec::new();
    let mut args = request.iter().skip(2);
    while let (Some(name), Some(value)) = (args.next(), args.next()) {
        let parameter = find(name).ok_or_else(|| {
            CommandError::quoted(
                "ERR Unknown option or number of arguments for CONFIG SET - '",
                name,
                "'",
            )
        })?;
        if asked.iter().any(|(other, ..)| other.name == parameter.name) {
            return Err(cannot_set(name, "duplicate parameter"));
        }
        asked.push((parameter, name, value));
    }
    let mut changes: Vec<(&Parameter, String)> = Vec::new();
    for (parameter, name, value) in asked {
        let value = parameter.kind.parse(value);
        let value = value.map_err(|why| cannot_set(parameter.name.as_bytes(), &why))?;
        if parameter.set.is_none() && value != (parameter.value)(ctx.server) {
            return Err(cannot_set(name, "can't set immutable config"));
        }
        if let Some(why) = (parameter.objection)(ctx.server, &value) {
            return Err(cannot_set(name, &why));
        }
        changes.push((parameter, value));
    }
    for (parameter, value) in &changes {
        if let Some(set) = parameter.set {
            set(ctx.server, value);
        }
    }
    ctx.reply.ok();
    Ok(())
}

fn cannot_set(name: &[u8], why: &str) -> CommandError {
    let before = "ERR CONFIG SET failed (possibly related to argument '";
    CommandError::quoted(before, name, &format!("') - {why}"))
}
