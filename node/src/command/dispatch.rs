//! From a request to its row and its reply, with the checks of redis-server in its order.

use std::{mem, sync::atomic::Ordering::Relaxed, time::Instant};

use greenwich_proto::{
    entry::KEY_BYTES_MAX,
    log::{Marks, UNIT_KEYS_MAX},
    time::Wall,
    wire::batch::ITEMS_BYTES_MAX,
};

use super::{
    CommandError, Context, Flags,
    table::{self, Row},
    transaction,
};
use crate::{
    client::{Client, Doom, Queued, Replies},
    keyspace::Access,
    resp::{Reply, Request, Version},
    server::{Server, Service},
};

/// Runs one request and writes its reply.
#[inline]
pub fn execute(
    server: &Server,
    client: &mut Client,
    (marks, now): (&mut Marks, Wall),
    request: Request<'_>,
    reply: &mut Reply,
) {
    let start = reply.len();
    if let Err(error) = admit_and_run(server, client, (marks, now), request, reply) {
        refuse(client, reply, start, &error);
    }
    if client.replies != Replies::ALL {
        hold_back(client, reply, start);
    }
}

fn admit_and_run(
    server: &Server,
    client: &mut Client,
    (marks, now): (&mut Marks, Wall),
    request: Request<'_>,
    reply: &mut Reply,
) -> Result<(), CommandError> {
    let admitted = match admit(server, client, reply.version(), request) {
        Ok(row) => row,
        Err(_) if is_http(&request[0]) => {
            hang_up(server, client, reply);
            return Ok(());
        }
        Err(error) if request[0].eq_ignore_ascii_case(b"exec") => {
            transaction::end(client);
            let because = error.to_string();
            let because = because.strip_prefix("ERR ").unwrap_or(&because);
            return Err(CommandError::text(format!(
                "EXECABORT Transaction discarded because of: {because}"
            )));
        }
        Err(error) => {
            if let Some(transaction) = &mut client.transaction {
                transaction.abort();
            }
            return Err(error);
        }
    };
    let flags = admitted.command.flags;
    if client.transaction.is_some() && !flags.has(Flags::UNQUEUED) {
        return queue(client, admitted, request, reply);
    }
    if client.handle.command.load(Relaxed) != admitted.index {
        client.handle.command.store(admitted.index, Relaxed);
    }
    if flags.has(Flags::MARKS) {
        client.marks = *marks;
    }
    let mut access = Access::new(&server.keyspace, now, marks);
    let result = (admitted.command.run)(
        &mut Context {
            access: &mut access,
            client,
            server,
            reply,
        },
        request,
    );
    client.lookups += access.lookups();
    result
}

/// The row of a request that may run or be queued.
fn admit(
    server: &Server,
    client: &Client,
    version: Version,
    request: Request<'_>,
) -> Result<&'static Row, CommandError> {
    let row = find(request)?;
    let command = row.command;
    if !command.accepts(request.len()) {
        return Err(CommandError::WrongArity(row.full_name.as_str().into()));
    }
    if !client.is_authenticated
        && server.settings.asks_password()
        && !command.flags.has(Flags::NO_AUTH)
    {
        return Err(CommandError::text("NOAUTH Authentication required."));
    }
    if command.keys.first != 0 {
        check_keys(row, request)?;
    }
    if client.subscription_count() > 0
        && version == Version::Resp2
        && !command.flags.has(Flags::SUBSCRIBED)
    {
        return Err(CommandError::text(format!(
            "ERR Can't execute '{}': only (P|S)SUBSCRIBE / (P|S)UNSUBSCRIBE / PING / QUIT / RESET are allowed in this \
             context",
            row.full_name
        )));
    }
    match server.door.service() {
        Service::Open => Ok(row),
        closed @ (Service::Loading | Service::Superseded) => pass_closed(closed, client, row),
    }
}

/// The row of a request that runs although clients are not served, and, if it ends a transaction, nothing in that does not.
#[cold]
fn pass_closed(
    service: Service,
    client: &Client,
    row: &'static Row,
) -> Result<&'static Row, CommandError> {
    let (flag, refusal) = match service {
        Service::Open => return Ok(row),
        Service::Loading => (Flags::LOADING, CommandError::Loading),
        Service::Superseded => (Flags::STALE, CommandError::Superseded),
    };
    let transaction = client
        .transaction
        .as_ref()
        .filter(|_| row.command.name == "exec");
    let queued = transaction.map_or(&[][..], |transaction| transaction.commands());
    let mut flags = queued
        .iter()
        .map(|queued| queued.row.command.flags)
        .chain([row.command.flags]);
    match flags.all(|flags| flags.has(flag)) {
        true => Ok(row),
        false => Err(refusal),
    }
}

fn find(request: Request<'_>) -> Result<&'static Row, CommandError> {
    let row = table::find(&request[0]).ok_or_else(|| unknown(request))?;
    match request.get(1) {
        Some(name) if !row.command.subcommands.is_empty() => row.find(name).ok_or_else(|| {
            let parent = row.command.name.to_ascii_uppercase();
            CommandError::quoted(
                "ERR unknown subcommand '",
                shown(name, 128),
                &format!("'. Try {parent} HELP."),
            )
        }),
        _ => Ok(row),
    }
}

fn check_keys(row: &Row, request: Request<'_>) -> Result<(), CommandError> {
    let mut count = 0;
    for key in row.command.keys_of(request) {
        if key.len() > KEY_BYTES_MAX {
            return Err(CommandError::KeyTooLong);
        }
        count += 1;
    }
    // Two values of any size fit.
    if count > 2 && row.command.flags.has(Flags::WRITE) {
        if count > UNIT_KEYS_MAX {
            return Err(CommandError::TooManyKeys);
        }
        if request.iter().map(<[u8]>::len).sum::<usize>() > ITEMS_BYTES_MAX {
            return Err(CommandError::UnitTooLarge);
        }
    }
    Ok(())
}

/// Whether a line of an HTTP request takes the place of a command, as redis-server recognises it.
#[cold]
fn is_http(name: &[u8]) -> bool {
    [b"post".as_slice(), b"host:"]
        .iter()
        .any(|line| name.eq_ignore_ascii_case(line))
}

/// Ends a connection on which a browser speaks: a page of anybody's could make it send commands in the body of a
/// request.
#[cold]
fn hang_up(server: &Server, client: &mut Client, reply: &mut Reply) {
    let address = client.handle.address;
    let source = address.ip().to_string();
    if server.news.lock().is_news(&source, "HTTP", Instant::now()) {
        tracing::warn!(%address, "HTTP on the Redis port: the connection is closed");
    }
    client.is_leaving = true;
    reply.truncate(0);
}

#[cold]
fn unknown(request: Request<'_>) -> CommandError {
    let mut args = Vec::new();
    for arg in request.iter().skip(1) {
        if args.len() >= 128 {
            break;
        }
        let text = shown(arg, 128 - args.len());
        args.push(b'\'');
        args.extend_from_slice(text);
        args.extend_from_slice(b"' ");
    }
    let mut message = b"ERR unknown command '".to_vec();
    message.extend_from_slice(shown(&request[0], 128));
    message.extend_from_slice(b"', with args beginning with: ");
    message.extend_from_slice(&args);
    CommandError::Quoted(message)
}

/// What redis-server, which prints C strings, shows of an argument.
pub(super) fn shown(arg: &[u8], bytes_max: usize) -> &[u8] {
    let arg = &arg[..arg.len().min(bytes_max)];
    let end = arg.iter().position(|byte| *byte == 0);
    &arg[..end.unwrap_or(arg.len())]
}

fn queue(
    client: &mut Client,
    row: &'static Row,
    request: Request<'_>,
    reply: &mut Reply,
) -> Result<(), CommandError> {
    let Some(transaction) = &mut client.transaction else {
        return Ok(());
    };
    let refusal = if row.command.flags.has(Flags::NO_MULTI) {
        Some("ERR Command not allowed inside a transaction")
    } else if !transaction.has_room() {
        Some("ERR the transaction is too large")
    } else {
        None
    };
    if let Some(refusal) = refusal {
        transaction.abort();
        return Err(CommandError::text(refusal));
    }
    if !transaction.is_aborted() {
        transaction.push(Queued {
            row,
            request: request.to_buf(),
        });
        client.handle.queued.fetch_add(1, Relaxed);
    }
    reply.simple("QUEUED");
    Ok(())
}

/// Drops what was written since `start` if the client wants no replies, except what it is told all the same.
pub(super) fn drop_unwanted(client: &mut Client, reply: &mut Reply, start: usize) {
    let told = mem::take(&mut client.told);
    if client.replies.are_dropped() {
        reply.truncate(told.max(start));
    }
}

/// Answers with an error instead of what was written since `start`.
#[cold]
pub(super) fn refuse(client: &mut Client, reply: &mut Reply, start: usize, error: &CommandError) {
    reply.truncate(start);
    client.errors += 1;
    if *error == CommandError::ReplyTooLong {
        client.handle.end(Doom::OutputLimit);
        client.is_leaving = true;
    }
    reply.error(error.message());
}

/// Drops a reply that the client does not want, and goes on to its next command.
#[cold]
fn hold_back(client: &mut Client, reply: &mut Reply, start: usize) {
    drop_unwanted(client, reply, start);
    client.replies.go_on();
}
