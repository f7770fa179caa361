//! COMMAND: the table, told to clients.

use super::{
    Command, CommandError, Context, Flags, Group, Keys, glob, help, hints,
    table::{self, Row},
};
use crate::resp::{Reply, Request};

const FLAGS: Flags = Flags::LOADING.and(Flags::STALE);

const BASE: Command = Command {
    name: "",
    arity: -2,
    flags: FLAGS,
    keys: Keys::NONE,
    group: Group::Server,
    since: "2.8.13",
    summary: "",
    subcommands: &[],
    run: help::nothing,
};

pub(super) const ROWS: &[Command] = &[Command {
    name: "command",
    arity: -1,
    summary: "Get array of Redis command details",
    subcommands: SUBCOMMANDS,
    run: |ctx, _| {
        ctx.reply.array(table::commands().count());
        table::commands().for_each(|row| describe(row, ctx.reply));
        Ok(())
    },
    ..BASE
}];

const SUBCOMMANDS: &[Command] = &[
    Command {
        name: "count",
        arity: 2,
        summary: "Get total number of Redis commands",
        run: |ctx, _| {
            ctx.reply.integer(table::commands().count() as i64);
            Ok(())
        },
        ..BASE
    },
    Command {
        name: "info",
        summary: "Get array of specific Redis command details, or all when no argument is given",
        run: info,
        ..BASE
    },
    Command {
        name: "docs",
        since: "7.0.0",
        summary: "Get array of specific Redis command documentation",
        run: docs,
        ..BASE
    },
    Command {
        name: "list",
        since: "7.0.0",
        summary: "Get an array of Redis command names",
        run: list,
        ..BASE
    },
    Command {
        name: "getkeys",
        arity: -4,
        summary: "Extract keys given a full Redis command",
        run: keys,
        ..BASE
    },
    Command {
        name: "help",
        arity: 2,
        since: "5.0.0",
        summary: help::SUMMARY,
        run: |ctx, _| help::reply(ctx, "COMMAND", HELP),
        ..BASE
    },
];

const HELP: &[&str] = &[
    "(no subcommand)",
    "    Return details about all Redis commands.",
    "COUNT",
    "    Return the total number of commands in this Redis server.",
    "LIST",
    "    Return a list of all commands in this Redis server.",
    "INFO [<command-name> ...]",
    "    Return details about multiple Redis commands.",
    "    If no command names are given, documentation details for all",
    "    commands are returned.",
    "DOCS [<command-name> ...]",
    "    Return documentation details about multiple Redis commands.",
    "    If no command names are given, documentation details for all",
    "    commands are returned.",
    "GETKEYS <full-command>",
    "    Return the keys from a full Redis command.",
];

/// A command by its name, or a subcommand as `config|get`.
fn find(name: &[u8]) -> Option<&'static Row> {
    let mut parts = name.splitn(2, |byte| *byte == b'|');
    let row = table::find(parts.next()?)?;
    parts
        .next()
        .map_or(Some(row), |subcommand| row.find(subcommand))
}

fn describe(row: &Row, reply: &mut Reply) {
    let Command {
        arity, flags, keys, ..
    } = *row.command;
    reply.array(10);
    reply.bulk(row.full_name.as_bytes());
    reply.integer(arity.into());
    reply.set(flags.names().count());
    flags.names().for_each(|name| reply.simple(name));
    for number in [keys.first, keys.last, keys.step] {
        reply.integer(number.into());
    }
    let categories = hints::categories(row);
    reply.set(categories.len());
    categories.iter().for_each(|name| reply.simple(name));
    let tips = hints::tips(&row.full_name);
    reply.set(tips.len());
    tips.iter().for_each(|tip| reply.bulk(tip.as_bytes()));
    let specs = hints::key_specs(&row.full_name);
    reply.set(specs.len());
    specs.iter().for_each(|spec| spec.describe(reply));
    match row.subcommands().count() {
        // The type differs in redis-server, too.
        0 => reply.set(0),
        count => reply.array(count),
    }
    row.subcommands().for_each(|row| describe(row, reply));
}

fn info(ctx: &mut Context<'_, '_>, request: Request<'_>) -> Result<(), CommandError> {
    if request.len() == 2 {
        ctx.reply.array(table::commands().count());
        table::commands().for_each(|row| describe(row, ctx.reply));
        return Ok(());
    }
    ctx.reply.array(request.len() - 2);
    for name in request.iter().skip(2) {
        match find(name) {
            Some(row) => describe(row, ctx.reply),
            None => ctx.reply.null(),
        }
        ctx.check_reply_size()?;
    }
    Ok(())
}

fn docs(ctx: &mut Context<'_, '_>, request: Request<'_>) -> Result<(), CommandError> {
    let rows: Vec<&Row> = if request.len() == 2 {
        table::commands().collect()
    } else {
        request.iter().skip(2).filter_map(find).collect()
    };
    ctx.reply.map(rows.len());
    for row in rows {
        document(row, ctx.reply);
        ctx.check_reply_size()?;
    }
    Ok(())
}

fn document(row: &Row, reply: &mut Reply) {
    let Command {
        summary,
        since,
        group,
        ..
    } = *row.command;
    let has_subcommands = row.subcommands().next().is_some();
    reply.bulk(row.full_name.as_bytes());
    reply.map(3 + usize::from(has_subcommands));
    for (field, value) in [
        ("summary", summary),
        ("since", since),
        ("group", group.name()),
    ] {
        reply.bulk(field.as_bytes());
        reply.bulk(value.as_bytes());
    }
    if has_subcommands {
        reply.bulk(b"subcommands");
        reply.map(row.subcommands().count());
        row.subcommands().for_each(|row| document(row, reply));
    }
}

fn list(ctx: &mut Context<'_, '_>, request: Request<'_>) -> Result<(), CommandError> {
    let wanted = |option: usize, word: &[u8]| {
        request
            .get(option)
            .is_some_and(|arg| arg.eq_ignore_ascii_case(word))
    };
    let chosen: Vec<&Row> = match (request.len(), request.get(4)) {
        (2, _) => table::rows().iter().collect(),
        (5, Some(value)) if wanted(2, b"filterby") => {
            let category = value.to_ascii_lowercase();
            let accepts: &dyn Fn(&Row) -> bool = if wanted(3, b"pattern") {
                &|row| glob::matches(value, row.full_name.as_bytes(), glob::Case::Ignored)
            } else if wanted(3, b"aclcat") {
                &|row| {
                    hints::categories(row)
                        .iter()
                        .any(|name| name.as_bytes()[1..] == *category)
                }
            } else if wanted(3, b"module") {
                &|_| false
            } else {
                return Err(CommandError::Syntax);
            };
            table::rows().iter().filter(|row| accepts(row)).collect()
        }
        _ => return Err(CommandError::Syntax),
    };
    ctx.reply.array(chosen.len());
    chosen
        .iter()
        .for_each(|row| ctx.reply.bulk(row.full_name.as_bytes()));
    Ok(())
}

fn keys(ctx: &mut Context<'_, '_>, request: Request<'_>) -> Result<(), CommandError> {
    let asked = request.skip(2);
    let row = asked.get(0).and_then(table::find);
    let row = row.and_then(|row| match asked.get(1) {
        Some(name) if !row.command.subcommands.is_empty() => row.find(name),
        _ => Some(row),
    });
    let row = row.ok_or_else(|| CommandError::text("ERR Invalid command specified"))?;
    if row.command.keys.first == 0 {
        return Err(CommandError::text("ERR The command has no key arguments"));
    }
    if !row.command.accepts(asked.len()) {
        return Err(CommandError::text(
            "ERR Invalid number of arguments specified for command",
        ));
    }
    ctx.reply.array(row.command.keys_of(asked).count());
    row.command
        .keys_of(asked)
        .for_each(|key| ctx.reply.bulk(key));
    Ok(())
}
