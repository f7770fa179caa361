//! SUBSCRIBE, PUBLISH and their kin, inside the region.

use std::{collections::HashSet, mem, sync::atomic::Ordering::Relaxed};

use super::{Command, CommandError, Context, Flags, Group, Keys, help};
use crate::{client::Client, resp::Request, server::Server, server::Topic};

const FLAGS: Flags = Flags::PUBSUB.and(Flags::LOADING).and(Flags::STALE);
const SUBSCRIBING: Flags = FLAGS.and(Flags::NOSCRIPT).and(Flags::SUBSCRIBED);

const BASE: Command = Command {
    name: "",
    arity: -2,
    flags: FLAGS,
    keys: Keys::NONE,
    group: Group::Pubsub,
    since: "2.0.0",
    summary: "",
    subcommands: &[],
    run: help::nothing,
};

pub(super) const ROWS: &[Command] = &[
    Command {
        name: "subscribe",
        flags: SUBSCRIBING,
        summary: "Listen for messages published to the given channels",
        run: |ctx, request| subscribe(ctx, request, Topic::Channel),
        ..BASE
    },
    Command {
        name: "psubscribe",
        flags: SUBSCRIBING,
        summary: "Listen for messages published to channels matching the given patterns",
        run: |ctx, request| subscribe(ctx, request, Topic::Pattern),
        ..BASE
    },
    Command {
        name: "unsubscribe",
        arity: -1,
        flags: SUBSCRIBING,
        summary: "Stop listening for messages posted to the given channels",
        run: |ctx, request| unsubscribe(ctx, request, Topic::Channel),
        ..BASE
    },
    Command {
        name: "punsubscribe",
        arity: -1,
        flags: SUBSCRIBING,
        summary: "Stop listening for messages posted to channels matching the given patterns",
        run: |ctx, request| unsubscribe(ctx, request, Topic::Pattern),
        ..BASE
    },
    Command {
        name: "publish",
        arity: 3,
        flags: FLAGS.and(Flags::FAST),
        summary: "Post a message to a channel",
        run: publish,
        ..BASE
    },
    Command {
        name: "pubsub",
        flags: Flags::NONE,
        since: "2.8.0",
        summary: "A container for Pub/Sub commands",
        subcommands: SUBCOMMANDS,
        ..BASE
    },
];

const SUBCOMMANDS: &[Command] = &[
    Command {
        name: "channels",
        since: "2.8.0",
        summary: "List active channels",
        run: channels,
        ..BASE
    },
    Command {
        name: "numsub",
        since: "2.8.0",
        summary: "Get the count of subscribers for channels",
        run: subscriber_counts,
        ..BASE
    },
    Command {
        name: "numpat",
        arity: 2,
        since: "2.8.0",
        summary: "Get the count of unique patterns pattern subscriptions",
        run: |ctx, _| {
            ctx.reply.integer(ctx.server.channels.counts().1 as i64);
            Ok(())
        },
        ..BASE
    },
    Command {
        name: "help",
        arity: 2,
        flags: help::FLAGS,
        since: "6.2.0",
        summary: help::SUMMARY,
        run: |ctx, _| help::reply(ctx, "PUBSUB", HELP),
        ..BASE
    },
];

const HELP: &[&str] = &[
    "CHANNELS [<pattern>]",
    "    Return the currently active channels matching a <pattern> (default: '*').",
    "NUMPAT",
    "    Return number of subscriptions to patterns.",
    "NUMSUB [<channel> ...]",
    "    Return the number of subscribers for the specified channels, excluding",
    "    pattern subscriptions(default: no channels).",
];

/// A client may have as many subscriptions.
const SUBSCRIPTIONS_MAX: usize = 65_536;

fn held(client: &mut Client, topic: Topic) -> &mut HashSet<Box<[u8]>> {
    match topic {
        Topic::Channel => &mut client.channels,
        Topic::Pattern => &mut client.patterns,
    }
}

/// Shows others how many subscriptions a client has.
fn note_counts(client: &Client) {
    let count = |names: &HashSet<Box<[u8]>>| u32::try_from(names.len()).unwrap_or(u32::MAX);
    client
        .handle
        .channels
        .store(count(&client.channels), Relaxed);
    client
        .handle
        .patterns
        .store(count(&client.patterns), Relaxed);
}

fn confirm(ctx: &mut Context<'_, '_>, what: &str, name: Option<&[u8]>) {
    ctx.reply.push(3);
    ctx.reply.bulk(what.as_bytes());
    match name {
        Some(name) => ctx.reply.bulk(name),
        None => ctx.reply.null(),
    }
    ctx.reply.integer(ctx.client.subscription_count() as i64);
    ctx.tell();
}

fn subscribe(
    ctx: &mut Context<'_, '_>,
    request: Request<'_>,
    topic: Topic,
) -> Result<(), CommandError> {
    let what = match topic {
        Topic::Channel => "subscribe",
        Topic::Pattern => "psubscribe",
    };
    if ctx.client.subscription_count() + request.len() > SUBSCRIPTIONS_MAX {
        return Err(CommandError::text("ERR too many subscriptions"));
    }
    for name in request.iter().skip(1) {
        if held(ctx.client, topic).insert(name.into()) {
            ctx.server
                .channels
                .subscribe(topic, name, &ctx.client.handle);
        }
        confirm(ctx, what, Some(name));
    }
    note_counts(ctx.client);
    Ok(())
}

fn unsubscribe(
    ctx: &mut Context<'_, '_>,
    request: Request<'_>,
    topic: Topic,
) -> Result<(), CommandError> {
    let what = match topic {
        Topic::Channel => "unsubscribe",
        Topic::Pattern => "punsubscribe",
    };
    let names: Vec<Box<[u8]>> = if request.len() > 1 {
        request.iter().skip(1).map(Into::into).collect()
    } else {
        held(ctx.client, topic).iter().cloned().collect()
    };
    for name in &names {
        ctx.server
            .channels
            .unsubscribe(topic, name, ctx.client.handle.id);
    }
    // What came before the end is read before it is confirmed.
    ctx.client.handle.collect_mail(ctx.reply);
    for name in &names {
        held(ctx.client, topic).remove(name);
        confirm(ctx, what, Some(name));
    }
    if names.is_empty() {
        confirm(ctx, what, None);
    }
    note_counts(ctx.client);
    Ok(())
}

/// Ends every subscription of a client without a word.
pub(crate) fn unsubscribe_all(server: &Server, client: &mut Client) {
    for topic in [Topic::Channel, Topic::Pattern] {
        for name in mem::take(held(client, topic)) {
            server.channels.unsubscribe(topic, &name, client.handle.id);
        }
    }
    note_counts(client);
}

fn publish(ctx: &mut Context<'_, '_>, request: Request<'_>) -> Result<(), CommandError> {
    let count = ctx
        .server
        .channels
        .publish(&request[1], &request[2], ctx.client, ctx.reply);
    ctx.tell();
    ctx.reply.integer(count as i64);
    Ok(())
}

fn channels(ctx: &mut Context<'_, '_>, request: Request<'_>) -> Result<(), CommandError> {
    if request.len() > 3 {
        return Err(help::wrong_subcommand(request, "PUBSUB"));
    }
    let names = ctx.server.channels.names(request.get(2));
    ctx.reply.array(names.len());
    for name in &names {
        ctx.reply.bulk(name);
    }
    Ok(())
}

fn subscriber_counts(ctx: &mut Context<'_, '_>, request: Request<'_>) -> Result<(), CommandError> {
    ctx.reply.array((request.len() - 2) * 2);
    for name in request.iter().skip(2) {
        ctx.reply.bulk(name);
        ctx.reply
            .integer(ctx.server.channels.subscriber_count(name) as i64);
    }
    Ok(())
}
