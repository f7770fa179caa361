//! CLIENT: what is known of connections, and what may be done to them.

use std::{
    fmt::Write as _,
    sync::{Arc, atomic::Ordering::Relaxed},
};

use greenwich_proto::time::Wall;

use super::{
    Command, CommandError, Context, Flags, Group, Keys,
    connection::{bad_name, is_label},
    help, table,
};
use crate::{
    client::{Doom, Handle, Replies},
    resp::{Request, parse_integer},
};

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

/// One line of CLIENT LIST. Sizes of buffers are not told from other threads; they read as zero.
fn describe(handle: &Handle, now: Wall, line: &mut String) {
    let queued = handle.queued.load(Relaxed);
    let mut flags = String::new();
    for (is_set, flag) in [
        (handle.is_subscriber(), 'P'),
        (queued >= 0, 'x'),
        (handle.is_blocked.load(Relaxed), 'b'),
        (handle.is_unevictable.load(Relaxed), 'e'),
    ] {
        flags.extend(is_set.then_some(flag));
    }
    if flags.is_empty() {
        flags.push('N');
    }
    let labels = handle.labels.lock().clone();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let command = table::rows().get(usize::from(handle.command.load(Relaxed)));
    let seconds_since = |then: u64| now.0.saturating_sub(then) / 1000;
    let written = writeln!(
        line,
        "id={} addr={} laddr={} fd=0 name={} age={} idle={} flags={flags} db=0 sub={} psub={} ssub=0 multi={queued} \
         qbuf=0 qbuf-free=0 argv-mem=0 multi-mem=0 rbs=0 rbp=0 obl=0 oll=0 omem={} tot-mem=0 events=r cmd={} \
         user=default redir=-1 resp={} lib-name={} lib-ver={}",
        handle.id,
        handle.address,
        handle.local_address,
        text(&labels.name),
        seconds_since(handle.connected.0),
        seconds_since(handle.active.load(Relaxed)),
        handle.channels.load(Relaxed),
        handle.patterns.load(Relaxed),
        handle.mail_bytes(),
        command.map_or("NULL", |row| &row.full_name),
        2 + u8::from(handle.is_resp3.load(Relaxed)),
        text(&labels.library),
        text(&labels.library_version),
    );
    written.expect("a string takes everything");
}

fn info(ctx: &mut Context<'_, '_>, _request: Request<'_>) -> Result<(), CommandError> {
    let mut line = String::new();
    describe(&ctx.client.handle, ctx.now(), &mut line);
    ctx.reply.verbatim(*b"txt", line.as_bytes());
    Ok(())
}

/// What CLIENT LIST TYPE and CLIENT KILL TYPE tell apart. Peers are no clients here.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Normal,
    Subscriber,
    Peer,
}

impl Kind {
    fn parse(name: &[u8]) -> Result<Self, CommandError> {
        match name.to_ascii_lowercase().as_slice() {
            b"normal" => Ok(Self::Normal),
            b"pubsub" => Ok(Self::Subscriber),
            b"master" | b"replica" | b"slave" => Ok(Self::Peer),
            _ => Err(CommandError::quoted("ERR Unknown client type '", name, "'")),
        }
    }

    fn of(handle: &Handle) -> Self {
        if handle.is_subscriber() {
            Self::Subscriber
        } else {
            Self::Normal
        }
    }
}

fn list(ctx: &mut Context<'_, '_>, request: Request<'_>) -> Result<(), CommandError> {
    let option = request.get(2).unwrap_or_default().to_ascii_lowercase();
    let chosen: Vec<Arc<Handle>> = match (option.as_slice(), request.len()) {
        (_, 2) => ctx.server.clients.all(),
        (b"type", 4) => {
            let kind = Kind::parse(&request[3])?;
            ctx.server
                .clients
                .all()
                .into_iter()
                .filter(|handle| Kind::of(handle) == kind)
                .collect()
        }
        (b"id", 4..) => {
            let ids: Option<Vec<i64>> = request.iter().skip(3).map(parse_integer).collect();
            let ids = ids.ok_or_else(|| CommandError::text("ERR Invalid client ID"))?;
            let known = |id: i64| ctx.server.clients.find(u64::try_from(id).ok()?);
            ids.into_iter().filter_map(known).collect()
        }
        _ => return Err(CommandError::Syntax),
    };
    let mut lines = String::new();
    for handle in chosen {
        describe(&handle, ctx.now(), &mut lines);
    }
    ctx.reply.verbatim(*b"txt", lines.as_bytes());
    Ok(())
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
    if !is_label(&request[2]) {
        return Err(bad_name());
    }
    ctx.client.handle.labels.lock().name = request[2].into();
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
    match request[2].to_ascii_lowercase().as_slice() {
        b"on" => {
            ctx.client.replies = Replies::On;
            ctx.reply.ok();
        }
        b"off" => ctx.client.replies = Replies::Off,
        b"skip" if ctx.client.replies != Replies::Off => ctx.client.replies = Replies::SkipNext,
        b"skip" => {}
        _ => return Err(CommandError::Syntax),
    }
    Ok(())
}

/// Which connections CLIENT KILL ends.
struct Victims<'a> {
    id: Option<u64>,
    address: Option<&'a [u8]>,
    local_address: Option<&'a [u8]>,
    kind: Option<Kind>,
    spares_self: bool,
}

impl<'a> Victims<'a> {
    fn parse(request: Request<'a>) -> Result<Self, CommandError> {
        let mut victims = Self {
            id: None,
            address: None,
            local_address: None,
            kind: None,
            spares_self: true,
        };
        if request.len() == 3 {
            return Ok(Self {
                address: request.get(2),
                spares_self: false,
                ..victims
            });
        }
        let mut args = request.iter().skip(2);
        while let (Some(option), value) = (args.next(), args.next()) {
            let value = value.ok_or(CommandError::Syntax)?;
            match option.to_ascii_lowercase().as_slice() {
                b"id" => {
                    let id = parse_integer(value)
                        .and_then(|id| u64::try_from(id).ok())
                        .filter(|id| *id > 0);
                    victims.id = Some(id.ok_or_else(|| {
                        CommandError::text("ERR client-id should be greater than 0")
                    })?);
                }
                b"type" => victims.kind = Some(Kind::parse(value)?),
                b"addr" => victims.address = Some(value),
                b"laddr" => victims.local_address = Some(value),
                b"user" if value == b"default" => {}
                b"user" => return Err(CommandError::quoted("ERR No such user '", value, "'")),
                b"skipme" => match value.to_ascii_lowercase().as_slice() {
                    b"yes" => victims.spares_self = true,
                    b"no" => victims.spares_self = false,
                    _ => return Err(CommandError::Syntax),
                },
                _ => return Err(CommandError::Syntax),
            }
        }
        Ok(victims)
    }

    fn include(&self, handle: &Handle) -> bool {
        let is_at = |wanted: Option<&[u8]>, address: &dyn ToString| {
            wanted.is_none_or(|wanted| wanted == address.to_string().as_bytes())
        };
        self.id.is_none_or(|id| id == handle.id)
            && self.kind.is_none_or(|kind| kind == Kind::of(handle))
            && is_at(self.address, &handle.address)
            && is_at(self.local_address, &handle.local_address)
    }
}

fn kill(ctx: &mut Context<'_, '_>, request: Request<'_>) -> Result<(), CommandError> {
    let victims = Victims::parse(request)?;
    let mut killed = 0;
    for handle in ctx
        .server
        .clients
        .all()
        .iter()
        .filter(|handle| victims.include(handle))
    {
        if handle.id != ctx.client.handle.id {
            handle.end(Doom::Killed);
        } else if victims.spares_self {
            continue;
        } else {
            ctx.client.is_leaving = true;
        }
        killed += 1;
    }
    match (request.len(), killed) {
        (3, 0) => return Err(CommandError::text("ERR No such client")),
        (3, _) => ctx.reply.ok(),
        _ => ctx.reply.integer(killed),
    }
    Ok(())
}
