//! CLIENT: what is known of connections, and what may be done to them.

mod kill;
mod list;

use std::sync::atomic::Ordering::Relaxed;

use self::{
    kill::kill,
    list::{info, list},
};
use super::{
    Command, CommandError, Context, Flags, Group, Keys,
    connection::{self, is_label},
    help,
};
use crate::resp::Request;

const FLAGS: Flags = Flags::NOSCRIPT.and(Flags::LOADING).and(Flags::STALE);
const ADMIN: Flags = FLAGS.and(Flags::ADMIN);

const BASE: Command = Command {
    name: "",
    arity: 2,
    flags: FLAGS,
    keys: Keys::NONE,
    group: Group::Connection,
    since: "2.6.9",
    summary: "",
    subcommands: &[],
    run: help::nothing,
};

pub(super) const ROWS: &[Command] = &[Command {
    name: "client",
    arity: -2,
    flags: Flags::NONE,
    since: "2.4.0",
    summary: "A container for client connection commands",
    subcommands: SUBCOMMANDS,
    ..BASE
}];

const SUBCOMMANDS: &[Command] = &[
    Command {
        name: "id",
        since: "5.0.0",
        summary: "Returns the client ID for the current connection",
        run: |ctx, _| {
            ctx.reply.integer(ctx.client.handle.id as i64);
            Ok(())
        },
        ..BASE
    },
    Command {
        name: "info",
        since: "6.2.0",
        summary: "Returns information about the current client connection",
        run: info,
        ..BASE
    },
    Command {
        name: "list",
        arity: -2,
        flags: ADMIN,
        since: "2.4.0",
        summary: "Get the list of client connections",
        run: list,
        ..BASE
    },
    Command {
        name: "getname",
        summary: "Get the current connection name",
        run: name,
        ..BASE
    },
    Command {
        name: "setname",
        arity: 3,
        summary: "Set the current connection name",
        run: set_name,
        ..BASE
    },
    Command {
        name: "setinfo",
        arity: 4,
        since: "7.2.0",
        summary: "Set client or connection specific info",
        run: set_info,
        ..BASE
    },
    Command {
        name: "no-evict",
        arity: 3,
        flags: ADMIN,
        since: "7.0.0",
        summary: "Set client eviction mode for the current connection",
        run: |ctx, request| {
            let is_on = switch(&request[2])?;
            ctx.client.handle.is_unevictable.store(is_on, Relaxed);
            ctx.reply.ok();
            Ok(())
        },
        ..BASE
    },
    Command {
        name: "no-touch",
        arity: 3,
        since: "7.2.0",
        summary: "Controls whether commands sent by the client will alter the LRU/LFU of the keys they access",
        run: |ctx, request| {
            switch(&request[2])?;
            ctx.reply.ok();
            Ok(())
        },
        ..BASE
    },
    Command {
        name: "kill",
        arity: -3,
        flags: ADMIN,
        since: "2.4.0",
        summary: "Kill the connection of a client",
        run: kill,
        ..BASE
    },
    Command {
        name: "reply",
        arity: 3,
        since: "3.2.0",
        summary: "Instruct the server whether to reply to commands",
        run: reply,
        ..BASE
    },
    Command {
        name: "help",
        flags: help::FLAGS,
        since: "5.0.0",
        summary: help::SUMMARY,
        run: |ctx, _| help::reply(ctx, "CLIENT", HELP),
        ..BASE
    },
];

const HELP: &[&str] = &[
    "GETNAME",
    "    Return the name of the current connection.",
    "ID",
    "    Return the ID of the current connection.",
    "INFO",
    "    Return information about the current client connection.",
    "KILL <ip:port>",
    "    Kill connection made from <ip:port>.",
    "KILL <option> <value> [<option> <value> [...]]",
    "    Kill connections. Options are:",
    "    * ADDR <ip:port>",
    "      Kill connections made from the specified address",
    "    * LADDR <ip:port>",
    "      Kill connections made to specified local address",
    "    * TYPE (NORMAL|MASTER|REPLICA|PUBSUB)",
    "      Kill connections by type.",
    "    * USER <username>",
    "      Kill connections authenticated by <username>.",
    "    * SKIPME (YES|NO)",
    "      Skip killing current connection (default: yes).",
    "LIST [options ...]",
    "    Return information about client connections. Options:",
    "    * TYPE (NORMAL|MASTER|REPLICA|PUBSUB)",
    "      Return clients of specified type.",
    "    * ID <id> [<id> ...]",
    "      Return clients of specified IDs only.",
    "REPLY (ON|OFF|SKIP)",
    "    Control the replies sent to the current connection.",
    "SETNAME <name>",
    "    Assign the name <name> to the current connection.",
    "SETINFO <option> <value>",
    "    Set client meta attr. Options are:",
    "    * LIB-NAME: the client lib name.",
    "    * LIB-VER: the client lib version.",
    "NO-EVICT (ON|OFF)",
    "    Protect current client connection from eviction.",
    "NO-TOUCH (ON|OFF)",
    "    Will not touch LRU/LFU stats when this mode is on.",
];

fn switch(text: &[u8]) -> Result<bool, CommandError> {
    match text.to_ascii_lowercase().as_slice() {
        b"on" => Ok(true),
        b"off" => Ok(false),
        _ => Err(CommandError::Syntax),
    }
}

fn name(ctx: &mut Context<'_, '_>, _request: Request<'_>) -> Result<(), CommandError> {
    let labels = ctx.client.handle.labels.lock();
    if labels.name.is_empty() {
        ctx.reply.null();
    } else {
        ctx.reply.bulk(&labels.name);
    }
    Ok(())
}

fn set_name(ctx: &mut Context<'_, '_>, request: Request<'_>) -> Result<(), CommandError> {
    connection::set_name(ctx, &request[2])?;
    ctx.reply.ok();
    Ok(())
}

fn set_info(ctx: &mut Context<'_, '_>, request: Request<'_>) -> Result<(), CommandError> {
    let option = request[2].to_ascii_lowercase();
    let mut labels = ctx.client.handle.labels.lock();
    let (label, name) = match option.as_slice() {
        b"lib-name" => (&mut labels.library, "lib-name"),
        b"lib-ver" => (&mut labels.library_version, "lib-ver"),
        _ => {
            return Err(CommandError::quoted(
                "ERR Unrecognized option '",
                &request[2],
                "'",
            ));
        }
    };
    if !is_label(&request[3]) {
        let text = format!("ERR {name} cannot contain spaces, newlines or special characters.");
        return Err(CommandError::text(text));
    }
    *label = request[3].into();
    ctx.reply.ok();
    Ok(())
}

fn reply(ctx: &mut Context<'_, '_>, request: Request<'_>) -> Result<(), CommandError> {
    let replies = &mut ctx.client.replies;
    match request[2].to_ascii_lowercase().as_slice() {
        b"on" => {
            replies.turn_on();
            ctx.reply.ok();
        }
        b"off" => replies.turn_off(),
        b"skip" => replies.skip_next(),
        _ => return Err(CommandError::Syntax),
    }
    Ok(())
}
