//! MULTI, EXEC, DISCARD, WATCH, UNWATCH: several commands as one, here and in every region.

use std::sync::atomic::Ordering::Relaxed;

use greenwich_proto::{log::UNIT_KEYS_MAX, wire::batch::ITEMS_BYTES_MAX};

use super::{
    Command, CommandError, Context, Flags, Group, Keys,
    dispatch::{drop_unwanted, refuse},
    unit_size,
};
use crate::{
    client::{Client, Queued, Transaction, Watched},
    keyspace::Access,
    resp::Request,
};

const FLAGS: Flags = Flags::NOSCRIPT
    .and(Flags::LOADING)
    .and(Flags::STALE)
    .and(Flags::ALLOW_BUSY);

pub(super) const ROWS: &[Command] = &[
    Command {
        name: "multi",
        arity: 1,
        flags: FLAGS.and(Flags::FAST).and(Flags::UNQUEUED),
        keys: Keys::NONE,
        group: Group::Transactions,
        since: "1.2.0",
        summary: "Start a transaction",
        subcommands: &[],
        run: multi,
    },
    Command {
        name: "exec",
        arity: 1,
        flags: Flags::NOSCRIPT
            .and(Flags::LOADING)
            .and(Flags::STALE)
            .and(Flags::SKIP_SLOWLOG)
            .and(Flags::UNQUEUED)
            .and(Flags::MARKS),
        keys: Keys::NONE,
        group: Group::Transactions,
        since: "1.2.0",
        summary: "Execute all commands issued after MULTI",
        subcommands: &[],
        run: exec,
    },
    Command {
        name: "discard",
        arity: 1,
        flags: FLAGS.and(Flags::FAST).and(Flags::UNQUEUED),
        keys: Keys::NONE,
        group: Group::Transactions,
        since: "2.0.0",
        summary: "Discard all commands issued after MULTI",
        subcommands: &[],
        run: discard,
    },
    Command {
        name: "watch",
        arity: -2,
        flags: FLAGS.and(Flags::FAST).and(Flags::UNQUEUED),
        keys: Keys::ALL,
        group: Group::Transactions,
        since: "2.2.0",
        summary: "Watch the given keys to determine execution of the MULTI/EXEC block",
        subcommands: &[],
        run: watch,
    },
    Command {
        name: "unwatch",
        arity: 1,
        flags: FLAGS.and(Flags::FAST),
        keys: Keys::NONE,
        group: Group::Transactions,
        since: "2.2.0",
        summary: "Forget about all watched keys",
        subcommands: &[],
        run: unwatch,
    },
];

/// More watched keys than this are refused.
const WATCHED_MAX: usize = 65_535;

fn multi(ctx: &mut Context<'_, '_>, _request: Request<'_>) -> Result<(), CommandError> {
    if ctx.client.transaction.is_some() {
        return Err(CommandError::text("ERR MULTI calls can not be nested"));
    }
    ctx.client.transaction = Some(Box::default());
    ctx.client.handle.queued.store(0, Relaxed);
    ctx.reply.ok();
    Ok(())
}

fn discard(ctx: &mut Context<'_, '_>, _request: Request<'_>) -> Result<(), CommandError> {
    if ctx.client.transaction.is_none() {
        return Err(CommandError::text("ERR DISCARD without MULTI"));
    }
    end(ctx.client);
    ctx.reply.ok();
    Ok(())
}

fn watch(ctx: &mut Context<'_, '_>, request: Request<'_>) -> Result<(), CommandError> {
    if ctx.client.transaction.is_some() {
        return Err(CommandError::text("ERR WATCH inside MULTI is not allowed"));
    }
    for key in request.iter().skip(1) {
        let watched = &mut ctx.client.watched;
        if watched.iter().any(|watched| *watched.key == *key) {
            continue;
        }
        if watched.len() == WATCHED_MAX {
            return Err(CommandError::text("ERR too many watched keys"));
        }
        let was = fingerprint(ctx.access, key);
        watched.push(Watched {
            key: key.into(),
            was,
        });
    }
    ctx.reply.ok();
    Ok(())
}

fn unwatch(ctx: &mut Context<'_, '_>, _request: Request<'_>) -> Result<(), CommandError> {
    ctx.client.watched = Vec::new();
    ctx.reply.ok();
    Ok(())
}

/// Ends a transaction, executed or not, and the watch that goes with it.
pub(super) fn end(client: &mut Client) -> Option<Box<Transaction>> {
    client.watched = Vec::new();
    client.handle.queued.store(-1, Relaxed);
    client.transaction.take()
}

fn exec(ctx: &mut Context<'_, '_>, _request: Request<'_>) -> Result<(), CommandError> {
    let watched = std::mem::take(&mut ctx.client.watched);
    let transaction =
        end(ctx.client).ok_or_else(|| CommandError::text("ERR EXEC without MULTI"))?;
    if transaction.is_aborted() {
        return Err(CommandError::text(
            "EXECABORT Transaction discarded because of previous errors.",
        ));
    }
    let commands = transaction.commands();
    let mut written = keys_of(commands, Flags::WRITE);
    written.sort_unstable();
    written.dedup();
    if written.len() > UNIT_KEYS_MAX {
        return Err(CommandError::TooManyKeys);
    }
    let mut keys = keys_of(commands, Flags::NONE);
    keys.extend(watched.iter().map(|watched| &*watched.key));
    let asks = |flag| {
        commands
            .iter()
            .any(|queued| queued.row.command.flags.has(flag))
    };
    ctx.client.usage = asks(Flags::USAGE).then(|| ctx.server.keyspace.usage());
    let Context {
        access,
        client,
        server,
        reply,
    } = ctx;
    let act = |access: &mut Access<'_>| {
        if !watched.iter().all(|watched| is_unchanged(access, watched)) {
            reply.null_array();
            return Ok(());
        }
        // Two values of any size fit.
        let value_bytes_max = server.limits.request.bulk_bytes_max;
        if written.len() > 2 && !unit_size::fits(access, commands, value_bytes_max, ITEMS_BYTES_MAX)
        {
            return Err(CommandError::UnitTooLarge);
        }
        run_all(
            &mut Context {
                access,
                client,
                server,
                reply,
            },
            commands,
        )
    };
    let result = if asks(Flags::WHOLE) {
        access.with_all(&written, act)
    } else {
        access.together(&keys, &written, act)
    };
    ctx.client.usage = None;
    result
}

fn keys_of(commands: &[Queued], flags: Flags) -> Vec<&[u8]> {
    commands
        .iter()
        .filter(|queued| queued.row.command.flags.has(flags))
        .flat_map(|queued| queued.row.command.keys_of(queued.request.as_request()))
        .collect()
}

fn is_unchanged(access: &mut Access<'_>, watched: &Watched) -> bool {
    fingerprint(access, &watched.key) == watched.was
}

fn fingerprint(access: &mut Access<'_>, key: &[u8]) -> Option<u64> {
    access.peek(key, |view| view.map(|view| view.fingerprint()))
}

fn run_all(ctx: &mut Context<'_, '_>, commands: &[Queued]) -> Result<(), CommandError> {
    ctx.client.is_executing = true;
    let start = ctx.reply.len();
    ctx.reply.array(commands.len());
    drop_unwanted(ctx.client, ctx.reply, start);
    let mut result = Ok(());
    for Queued { row, request } in commands {
        let start = ctx.reply.len();
        if let Err(error) = (row.command.run)(ctx, request.as_request()) {
            refuse(ctx.client, ctx.reply, start, &error);
        }
        drop_unwanted(ctx.client, ctx.reply, start);
        // What is written stays written; the client is told no more and disconnected.
        if result.is_ok() {
            result = ctx.check_reply_size();
        }
        if result.is_err() {
            ctx.reply.truncate(start);
        }
    }
    ctx.client.is_executing = false;
    if result.is_ok() {
        ctx.tell();
    }
    result
}
