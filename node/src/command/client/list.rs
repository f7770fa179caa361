//! CLIENT LIST and INFO: what is known of connections.

use std::{
    fmt::Write as _,
    sync::{Arc, atomic::Ordering::Relaxed},
};

use greenwich_proto::time::Wall;

use super::super::{CommandError, Context, table};
use crate::{
    client::Handle,
    resp::{Request, parse_integer},
};

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

pub(super) fn info(ctx: &mut Context<'_, '_>, _request: Request<'_>) -> Result<(), CommandError> {
    let mut line = String::new();
    describe(&ctx.client.handle, ctx.now(), &mut line);
    ctx.reply.verbatim(*b"txt", line.as_bytes());
    Ok(())
}

/// What CLIENT LIST TYPE and CLIENT KILL TYPE tell apart. Peers are no clients here.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Normal,
    Subscriber,
    Peer,
}

impl Kind {
    pub(super) fn parse(name: &[u8]) -> Result<Self, CommandError> {
        match name.to_ascii_lowercase().as_slice() {
            b"normal" => Ok(Self::Normal),
            b"pubsub" => Ok(Self::Subscriber),
            b"master" | b"replica" | b"slave" => Ok(Self::Peer),
            _ => Err(CommandError::quoted("ERR Unknown client type '", name, "'")),
        }
    }

    pub(super) fn of(handle: &Handle) -> Self {
        if handle.is_subscriber() {
            Self::Subscriber
        } else {
            Self::Normal
        }
    }
}

pub(super) fn list(ctx: &mut Context<'_, '_>, request: Request<'_>) -> Result<(), CommandError> {
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
