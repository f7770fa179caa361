//! Commands about the connection itself: who is there, which protocol, and the way out.

use super::{Command, CommandError, Context, Flags, Group, Keys, help, pubsub, transaction};
use crate::resp::{Request, Version, parse_integer};

/// The release of Redis whose answers these are.
pub(super) const REDIS_VERSION: &str = "7.0.15";

const ANY_TIME: Flags = Flags::LOADING.and(Flags::STALE).and(Flags::FAST);
const BEFORE_AUTH: Flags = ANY_TIME
    .and(Flags::NOSCRIPT)
    .and(Flags::NO_AUTH)
    .and(Flags::ALLOW_BUSY);

const BASE: Command = Command {
    name: "",
    arity: -1,
    flags: BEFORE_AUTH,
    keys: Keys::NONE,
    group: Group::Connection,
    since: "1.0.0",
    summary: "",
    subcommands: &[],
    run: help::nothing,
};

pub(super) const ROWS: &[Command] = &[
    Command {
        name: "hello",
        since: "6.0.0",
        summary: "Handshake with Redis",
        run: hello,
        ..BASE
    },
    Command {
        name: "auth",
        arity: -2,
        summary: "Authenticate to the server",
        run: auth,
        ..BASE
    },
    Command {
        name: "ping",
        flags: Flags::FAST.and(Flags::SUBSCRIBED),
        summary: "Ping the server",
        run: ping,
        ..BASE
    },
    Command {
        name: "echo",
        arity: 2,
        flags: ANY_TIME,
        summary: "Echo the given string",
        run: echo,
        ..BASE
    },
    Command {
        name: "quit",
        flags: BEFORE_AUTH.and(Flags::UNQUEUED).and(Flags::SUBSCRIBED),
        summary: "Close the connection",
        run: quit,
        ..BASE
    },
    Command {
        name: "reset",
        arity: 1,
        flags: BEFORE_AUTH.and(Flags::UNQUEUED).and(Flags::SUBSCRIBED),
        since: "6.2.0",
        summary: "Reset the connection",
        run: reset,
        ..BASE
    },
    Command {
        name: "select",
        arity: 2,
        flags: ANY_TIME,
        summary: "Change the selected database for the current connection",
        run: select,
        ..BASE
    },
];

/// Whether clients may call themselves or their library this.
pub(super) fn is_label(text: &[u8]) -> bool {
    text.iter().all(u8::is_ascii_graphic)
}

/// Calls the client something: HELLO SETNAME and CLIENT SETNAME.
pub(super) fn set_name(ctx: &mut Context<'_, '_>, name: &[u8]) -> Result<(), CommandError> {
    if !is_label(name) {
        return Err(CommandError::text(
            "ERR Client names cannot contain spaces, newlines or special characters.",
        ));
    }
    ctx.client.handle.labels.lock().name = name.into();
    Ok(())
}

fn asked_version(text: &[u8]) -> Result<Version, CommandError> {
    let number = parse_integer(text).ok_or_else(|| {
        CommandError::text("ERR Protocol version is not an integer or out of range")
    })?;
    Version::from_number(number)
        .ok_or_else(|| CommandError::text("NOPROTO unsupported protocol version"))
}

fn hello(ctx: &mut Context<'_, '_>, request: Request<'_>) -> Result<(), CommandError> {
    let mut args = request.iter().skip(1);
    let version = args.next().map(asked_version).transpose()?;
    // Each option takes effect before the next one is read: what follows may fail.
    while let Some(option) = args.next() {
        let is = |word: &[u8]| option.eq_ignore_ascii_case(word);
        match (args.len(), is(b"auth"), is(b"setname")) {
            (2.., true, _) => {
                let user = args.next().unwrap_or_default();
                authenticate(ctx, user, args.next().unwrap_or_default())?;
            }
            (1.., _, true) => set_name(ctx, args.next().unwrap_or_default())?,
            _ => {
                let before = "ERR Syntax error in HELLO option '";
                return Err(CommandError::quoted(before, option, "'"));
            }
        }
    }
    if !ctx.client.is_authenticated && ctx.server.settings.asks_password() {
        return Err(CommandError::text(
            "NOAUTH HELLO must be called with the client already authenticated, otherwise the HELLO AUTH <user> \
             <pass> option can be used to authenticate the client and select the RESP protocol version at the same \
             time",
        ));
    }
    if let Some(version) = version {
        set_version(ctx, version);
    }
    let version = ctx.reply.version().number();
    let id = ctx.client.handle.id;
    let reply = &mut *ctx.reply;
    reply.map(7);
    for (field, value) in [("server", "redis"), ("version", REDIS_VERSION)] {
        reply.bulk(field.as_bytes());
        reply.bulk(value.as_bytes());
    }
    reply.bulk(b"proto");
    reply.integer(version.into());
    reply.bulk(b"id");
    reply.integer(id as i64);
    for (field, value) in [("mode", "standalone"), ("role", "master")] {
        reply.bulk(field.as_bytes());
        reply.bulk(value.as_bytes());
    }
    reply.bulk(b"modules");
    reply.array(0);
    Ok(())
}

fn set_version(ctx: &mut Context<'_, '_>, version: Version) {
    ctx.reply.set_version(version);
    let is_resp3 = version == Version::Resp3;
    ctx.client
        .handle
        .is_resp3
        .store(is_resp3, std::sync::atomic::Ordering::Relaxed);
}

fn auth(ctx: &mut Context<'_, '_>, request: Request<'_>) -> Result<(), CommandError> {
    match (request.get(1), request.get(2), request.len()) {
        (Some(password), None, _) => {
            if !ctx.server.settings.asks_password() {
                return Err(CommandError::text(
                    "ERR AUTH <password> called without any password configured for the default user. Are you sure \
                     your configuration is correct?",
                ));
            }
            authenticate(ctx, b"default", password)?;
        }
        (Some(user), Some(password), 3) => authenticate(ctx, user, password)?,
        _ => return Err(CommandError::Syntax),
    }
    ctx.reply.ok();
    Ok(())
}

/// There is one user. Without a password set, it is let in with any.
fn authenticate(
    ctx: &mut Context<'_, '_>,
    user: &[u8],
    password: &[u8],
) -> Result<(), CommandError> {
    let settings = &ctx.server.settings;
    if user != b"default" || (settings.asks_password() && !settings.is_password(password)) {
        return Err(CommandError::text(
            "WRONGPASS invalid username-password pair or user is disabled.",
        ));
    }
    ctx.client.is_authenticated = true;
    Ok(())
}

fn ping(ctx: &mut Context<'_, '_>, request: Request<'_>) -> Result<(), CommandError> {
    if request.len() > 2 {
        return Err(CommandError::WrongArity("ping".into()));
    }
    if ctx.client.subscription_count() > 0 && ctx.reply.version() == Version::Resp2 {
        ctx.reply.array(2);
        ctx.reply.bulk(b"pong");
        ctx.reply.bulk(request.get(1).unwrap_or_default());
    } else if let Some(text) = request.get(1) {
        ctx.reply.bulk(text);
    } else {
        ctx.reply.raw(b"+PONG\r\n");
    }
    Ok(())
}

fn echo(ctx: &mut Context<'_, '_>, request: Request<'_>) -> Result<(), CommandError> {
    ctx.reply.bulk(&request[1]);
    Ok(())
}

fn quit(ctx: &mut Context<'_, '_>, _request: Request<'_>) -> Result<(), CommandError> {
    ctx.client.is_leaving = true;
    ctx.reply.ok();
    Ok(())
}

fn reset(ctx: &mut Context<'_, '_>, _request: Request<'_>) -> Result<(), CommandError> {
    transaction::end(ctx.client);
    pubsub::unsubscribe_all(ctx.server, ctx.client);
    ctx.client.handle.collect_mail(ctx.reply);
    ctx.client.replies.reset();
    ctx.tell();
    ctx.client.is_authenticated = !ctx.server.settings.asks_password();
    ctx.client.handle.labels.lock().name.clear();
    set_version(ctx, Version::Resp2);
    ctx.reply.simple("RESET");
    Ok(())
}

fn select(ctx: &mut Context<'_, '_>, request: Request<'_>) -> Result<(), CommandError> {
    let index = parse_integer(&request[1]).ok_or(CommandError::NotAnInteger)?;
    if i32::try_from(index).is_err() {
        return Err(CommandError::text(
            "ERR value is out of range, value must between -2147483648 and 2147483647",
        ));
    }
    if index != 0 {
        return Err(CommandError::DbIndex);
    }
    ctx.reply.ok();
    Ok(())
}
