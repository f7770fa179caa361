//! Keys whatever they hold: DEL, EXISTS, TYPE, RENAME, COPY and their kin.

use super::{
    Command, CommandError, Context, Keys,
    parse::integer,
    rows::{GROW, READ_FAST, WRITE, WRITE_FAST, generic},
};
use crate::{
    keyspace::{Access, View},
    resp::Request,
};

const PAIR: Keys = Keys::new(1, 2, 1);

pub(super) const ROWS: &[Command] = &[
    generic("del", -2, WRITE, Keys::ALL, "1.0.0", "Delete keys", delete),
    generic(
        "unlink",
        -2,
        WRITE_FAST,
        Keys::ALL,
        "4.0.0",
        "Delete keys; the same as DEL here",
        delete,
    ),
    generic(
        "exists",
        -2,
        READ_FAST,
        Keys::ALL,
        "1.0.0",
        "Count the keys that exist",
        exists,
    ),
    generic(
        "touch",
        -2,
        READ_FAST,
        Keys::ALL,
        "3.2.1",
        "Count the keys that exist",
        exists,
    ),
    generic(
        "type",
        2,
        READ_FAST,
        Keys::FIRST,
        "1.0.0",
        "Determine the type stored at key",
        kind,
    ),
    generic("rename", 3, WRITE, PAIR, "1.0.0", "Rename a key", rename),
    generic(
        "renamenx",
        3,
        WRITE_FAST,
        PAIR,
        "1.0.0",
        "Rename a key, only if the new key does not exist",
        renamenx,
    ),
    generic("copy", -3, GROW, PAIR, "6.2.0", "Copy a key", copy),
];

/// The only type there is.
pub(super) const STRING_TYPE: &str = "string";

fn delete(context: &mut Context<'_, '_>, request: Request<'_>) -> Result<(), CommandError> {
    let count = if request.len() == 2 {
        i64::from(context.access.update(&request[1], |slot| slot.delete()))
    } else {
        let keys: Vec<&[u8]> = request.iter().skip(1).collect();
        context.access.together(&keys, &keys, |access| {
            keys.iter()
                .map(|key| i64::from(access.update(key, |slot| slot.delete())))
                .sum()
        })
    };
    context.reply.integer(count);
    Ok(())
}

fn exists(context: &mut Context<'_, '_>, request: Request<'_>) -> Result<(), CommandError> {
    let count = if request.len() == 2 {
        i64::from(context.access.read(&request[1], |view| view.is_some()))
    } else {
        let keys: Vec<&[u8]> = request.iter().skip(1).collect();
        context.access.together(&keys, &[], |access| {
            keys.iter()
                .map(|key| i64::from(access.read(key, |view| view.is_some())))
                .sum()
        })
    };
    context.reply.integer(count);
    Ok(())
}

fn kind(context: &mut Context<'_, '_>, request: Request<'_>) -> Result<(), CommandError> {
    let exists = context.access.read(&request[1], |view| view.is_some());
    context
        .reply
        .simple(if exists { STRING_TYPE } else { "none" });
    Ok(())
}

fn rename(context: &mut Context<'_, '_>, request: Request<'_>) -> Result<(), CommandError> {
    move_key(context, request, true)?;
    context.reply.ok();
    Ok(())
}

fn renamenx(context: &mut Context<'_, '_>, request: Request<'_>) -> Result<(), CommandError> {
    let has_moved = move_key(context, request, false)?;
    context.reply.integer(has_moved.into());
    Ok(())
}

/// Moves value and deadline; what was there before goes, if `replaces`. Returns whether it moved.
fn move_key(
    context: &mut Context<'_, '_>,
    request: Request<'_>,
    replaces: bool,
) -> Result<bool, CommandError> {
    let (from, to) = (&request[1], &request[2]);
    let keys = [from, to];
    context.access.together(&keys, &keys, |access| {
        if !access.peek(from, |view| view.is_some()) {
            return Err(CommandError::NoSuchKey);
        }
        if from == to || (!replaces && access.peek(to, |view| view.is_some())) {
            return Ok(false);
        }
        duplicate(access, from, to);
        access.update(from, |slot| slot.delete());
        Ok(true)
    })
}

fn copy(context: &mut Context<'_, '_>, request: Request<'_>) -> Result<(), CommandError> {
    let replaces = parse_copy(request)?;
    let (from, to) = (&request[1], &request[2]);
    if from == to {
        return Err(CommandError::text(
            "ERR source and destination objects are the same",
        ));
    }
    let is_done = context.access.together(&[from, to], &[to], |access| {
        access.read(from, |view| view.is_some())
            && (replaces || !access.peek(to, |view| view.is_some()))
            && duplicate(access, from, to)
    });
    context.reply.integer(is_done.into());
    Ok(())
}

/// Whether REPLACE was given. The only database that DB may name is 0.
fn parse_copy(request: Request<'_>) -> Result<bool, CommandError> {
    let mut replaces = false;
    let mut options = request.iter().skip(3);
    while let Some(option) = options.next() {
        if option.eq_ignore_ascii_case(b"replace") {
            replaces = true;
        } else if option.eq_ignore_ascii_case(b"db") {
            let index = integer(options.next().ok_or(CommandError::Syntax)?)?;
            if i32::try_from(index).is_err() {
                let (min, max) = (i32::MIN, i32::MAX);
                let text = format!("ERR value is out of range, value must between {min} and {max}");
                return Err(CommandError::text(text));
            }
            if index != 0 {
                return Err(CommandError::DbIndex);
            }
        } else {
            return Err(CommandError::Syntax);
        }
    }
    Ok(replaces)
}

/// Writes value and deadline of a key to another, both locked. Returns whether there is one.
fn duplicate(access: &mut Access<'_>, from: &[u8], to: &[u8]) -> bool {
    let own = |view: View<'_>| (view.value().into_owned(), view.deadline());
    let Some((value, deadline)) = access.peek(from, |view| view.map(own)) else {
        return false;
    };
    access.update(to, |slot| slot.set(&value, deadline));
    true
}
