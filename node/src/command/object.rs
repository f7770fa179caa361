//! What a value is like inside: OBJECT and MEMORY USAGE. Strings are stored in one way alone, so the encoding is the
//! one that redis-server would choose for a value that was set whole.

use super::{
    Command, CommandError, Context, Flags, Keys, help,
    parse::integer,
    rows::{READ, generic, server},
};
use crate::{
    keyspace::View,
    resp::{Reply, Request, parse_integer},
};

const KEY_BEHIND_SUBCOMMAND: Keys = Keys::new(2, 2, 1);
/// The longest string that redis-server allocates together with its header.
const EMBEDDED_BYTES_MAX: usize = 44;

/// Integers from 0 up to this one share one object each in redis-server, which is said to have as many references.
const SHARED_INTEGER_END: i64 = 10_000;
const SHARED_REFERENCES: i64 = i32::MAX as i64;

const OBJECT: &[Command] = &[
    generic(
        "encoding",
        3,
        READ,
        KEY_BEHIND_SUBCOMMAND,
        "2.2.3",
        "Inspect the internal encoding of a value",
        |context, request| inspect(context, request, |reply, view| reply.bulk(encoding(view))),
    ),
    generic(
        "freq",
        3,
        READ,
        KEY_BEHIND_SUBCOMMAND,
        "4.0.0",
        "Get how often a key is accessed; not tracked",
        freq,
    ),
    generic(
        "help",
        2,
        help::FLAGS,
        Keys::NONE,
        "6.2.0",
        help::SUMMARY,
        object_help,
    ),
    generic(
        "idletime",
        3,
        READ,
        KEY_BEHIND_SUBCOMMAND,
        "2.2.3",
        "Get the seconds since a key was last written",
        idletime,
    ),
    generic(
        "refcount",
        3,
        READ,
        KEY_BEHIND_SUBCOMMAND,
        "2.2.3",
        "Get the number of references to a value",
        |context, request| {
            inspect(context, request, |reply, view| {
                reply.integer(references(view))
            })
        },
    ),
];

const MEMORY: &[Command] = &[
    server(
        "help",
        2,
        help::FLAGS,
        Keys::NONE,
        "4.0.0",
        help::SUMMARY,
        memory_help,
    ),
    server(
        "usage",
        -3,
        READ,
        KEY_BEHIND_SUBCOMMAND,
        "4.0.0",
        "Estimate the memory usage of a key",
        memory_usage,
    ),
];

pub(super) const ROWS: &[Command] = &[
    Command {
        subcommands: OBJECT,
        ..generic(
            "object",
            -2,
            Flags::NONE,
            Keys::NONE,
            "2.2.3",
            "A container for object introspection commands",
            help::nothing,
        )
    },
    Command {
        subcommands: MEMORY,
        ..server(
            "memory",
            -2,
            Flags::NONE,
            Keys::NONE,
            "4.0.0",
            "A container for memory diagnostics commands",
            help::nothing,
        )
    },
];

fn inspect(
    context: &mut Context<'_, '_>,
    request: Request<'_>,
    show: impl FnOnce(&mut Reply, View<'_>),
) -> Result<(), CommandError> {
    let Context { access, reply, .. } = context;
    access.read(&request[2], |view| match view {
        Some(view) => show(reply, view),
        None => reply.null(),
    });
    Ok(())
}

fn encoding(view: View<'_>) -> &'static [u8] {
    let value = view.value();
    if parse_integer(&value).is_some() {
        b"int"
    } else if value.len() <= EMBEDDED_BYTES_MAX {
        b"embstr"
    } else {
        b"raw"
    }
}

fn references(view: View<'_>) -> i64 {
    match parse_integer(&view.value()) {
        Some(0..SHARED_INTEGER_END) => SHARED_REFERENCES,
        _ => 1,
    }
}

fn freq(context: &mut Context<'_, '_>, request: Request<'_>) -> Result<(), CommandError> {
    if context.access.read(&request[2], |view| view.is_none()) {
        context.reply.null();
        return Ok(());
    }
    Err(CommandError::text(
        "ERR An LFU maxmemory policy is not selected, access frequency not tracked. Please note that when switching \
         between policies at runtime LRU and LFU data will take some time to adjust.",
    ))
}

fn idletime(context: &mut Context<'_, '_>, request: Request<'_>) -> Result<(), CommandError> {
    let now = context.now();
    inspect(context, request, |reply, view| {
        let idle = now - view.newest().wall();
        reply.integer(i64::try_from(idle.as_secs()).unwrap_or(i64::MAX));
    })
}

fn memory_usage(context: &mut Context<'_, '_>, request: Request<'_>) -> Result<(), CommandError> {
    let mut options = request.iter().skip(3);
    while let Some(option) = options.next() {
        if !option.eq_ignore_ascii_case(b"samples") {
            return Err(CommandError::Syntax);
        }
        // A string is measured whole, however many samples are asked for.
        if integer(options.next().ok_or(CommandError::Syntax)?)? < 0 {
            return Err(CommandError::Syntax);
        }
    }
    let bytes = context
        .access
        .peek(&request[2], |view| view.map(|view| view.memory_bytes()));
    match bytes {
        Some(bytes) => context
            .reply
            .integer(i64::try_from(bytes).unwrap_or(i64::MAX)),
        None => context.reply.null(),
    }
    Ok(())
}

/// The lines of redis-server 7.0. Idle, however, is what was not written: see the summary of IDLETIME.
const OBJECT_HELP: &[&str] = &[
    "ENCODING <key>",
    "    Return the kind of internal representation used in order to store the value",
    "    associated with a <key>.",
    "FREQ <key>",
    "    Return the access frequency index of the <key>. The returned integer is",
    "    proportional to the logarithm of the recent access frequency of the key.",
    "IDLETIME <key>",
    "    Return the idle time of the <key>, that is the approximated number of",
    "    seconds elapsed since the last access to the key.",
    "REFCOUNT <key>",
    "    Return the number of references of the value associated with the specified",
    "    <key>.",
];

fn object_help(context: &mut Context<'_, '_>, _: Request<'_>) -> Result<(), CommandError> {
    help::reply(context, "OBJECT", OBJECT_HELP)
}

/// The lines of redis-server 7.0 about the one subcommand that there is.
const MEMORY_HELP: &[&str] = &[
    "USAGE <key> [SAMPLES <count>]",
    "    Return memory in bytes used by <key> and its value. Nested values are",
    "    sampled up to <count> times (default: 5, 0 means sample all).",
];

fn memory_help(context: &mut Context<'_, '_>, _: Request<'_>) -> Result<(), CommandError> {
    help::reply(context, "MEMORY", MEMORY_HELP)
}
