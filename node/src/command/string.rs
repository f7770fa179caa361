//! Strings as whole values: GET, SET and their kin.

use greenwich_proto::time::Wall;

use super::{
    Command, CommandError, Context, Keys,
    options::{Condition, Expiry, OptionsOf, ValueOptions},
    parse::TimeForm,
    rows::{GROW, GROW_FAST, READ_FAST, WRITE_FAST, string},
};
use crate::{
    keyspace::View,
    resp::{Reply, Request},
};

const PAIRS: Keys = Keys::new(1, -1, 2);

pub(super) const ROWS: &[Command] = &[
    string(
        "get",
        2,
        READ_FAST,
        Keys::FIRST,
        "1.0.0",
        "Get the value of a key",
        get,
    ),
    string(
        "set",
        -3,
        GROW,
        Keys::FIRST,
        "1.0.0",
        "Set the string value of a key",
        set,
    ),
    string(
        "setnx",
        3,
        GROW_FAST,
        Keys::FIRST,
        "1.0.0",
        "Set the value of a key, only if the key does not exist",
        setnx,
    ),
    string(
        "setex",
        4,
        GROW,
        Keys::FIRST,
        "2.0.0",
        "Set the value and expiration of a key",
        setex,
    ),
    string(
        "psetex",
        4,
        GROW,
        Keys::FIRST,
        "2.6.0",
        "Set the value and expiration in milliseconds of a key",
        psetex,
    ),
    string(
        "getset",
        3,
        GROW_FAST,
        Keys::FIRST,
        "1.0.0",
        "Set the string value of a key and return its old value",
        getset,
    ),
    string(
        "getdel",
        2,
        WRITE_FAST,
        Keys::FIRST,
        "6.2.0",
        "Get the value of a key and delete the key",
        getdel,
    ),
    string(
        "getex",
        -2,
        WRITE_FAST,
        Keys::FIRST,
        "6.2.0",
        "Get the value of a key and optionally set its expiration",
        getex,
    ),
    string(
        "mget",
        -2,
        READ_FAST,
        Keys::ALL,
        "1.0.0",
        "Get the values of all the given keys",
        mget,
    ),
    string(
        "mset",
        -3,
        GROW,
        PAIRS,
        "1.0.1",
        "Set multiple keys to multiple values",
        mset,
    ),
    string(
        "msetnx",
        -3,
        GROW,
        PAIRS,
        "1.0.1",
        "Set multiple keys to multiple values, only if none of the keys exist",
        msetnx,
    ),
];

fn get(context: &mut Context<'_, '_>, request: Request<'_>) -> Result<(), CommandError> {
    let Context { access, reply, .. } = context;
    access.read(&request[1], |view| reply_value(reply, view));
    Ok(())
}

fn reply_value(reply: &mut Reply, view: Option<View<'_>>) {
    match view {
        Some(view) => reply.bulk(&view.value()),
        None => reply.null(),
    }
}

fn set(context: &mut Context<'_, '_>, request: Request<'_>) -> Result<(), CommandError> {
    if request.len() > 3 {
        return set_with_options(context, request);
    }
    context
        .access
        .update(&request[1], |slot| slot.set(&request[2], None));
    context.reply.ok();
    Ok(())
}

fn set_with_options(
    context: &mut Context<'_, '_>,
    request: Request<'_>,
) -> Result<(), CommandError> {
    let options = ValueOptions::parse(request.iter().skip(3), OptionsOf::Set)?;
    let deadline = match options.expiry {
        Expiry::At(form, time) => Some(form.deadline(time, context.now(), "set")?),
        Expiry::Unsaid | Expiry::Keep | Expiry::Drop => None,
    };
    let keeps_deadline = options.expiry == Expiry::Keep;
    let Context { access, reply, .. } = context;
    access.update(&request[1], |slot| {
        let looks = keeps_deadline || options.condition.is_some();
        let old = match options.returns_old {
            true => slot.read(),
            false if looks => slot.view(),
            false => None,
        };
        let is_allowed = match options.condition {
            None => true,
            Some(Condition::Exists) => old.is_some(),
            Some(Condition::Absent) => old.is_none(),
        };
        match (options.returns_old, is_allowed) {
            (true, _) => reply_value(reply, old),
            (false, true) => reply.ok(),
            (false, false) => reply.null(),
        }
        let kept = if keeps_deadline {
            old.and_then(|old| old.deadline())
        } else {
            None
        };
        if is_allowed {
            // One that has passed is kept as it is: the value is never seen, as in Redis.
            slot.set(&request[2], deadline.or(kept));
        }
    });
    Ok(())
}

fn setnx(context: &mut Context<'_, '_>, request: Request<'_>) -> Result<(), CommandError> {
    let is_new = context.access.update(&request[1], |slot| {
        let is_new = slot.view().is_none();
        if is_new {
            slot.set(&request[2], None);
        }
        is_new
    });
    context.reply.integer(is_new.into());
    Ok(())
}

fn setex(context: &mut Context<'_, '_>, request: Request<'_>) -> Result<(), CommandError> {
    let deadline = TimeForm::Seconds.deadline(&request[2], context.now(), "setex")?;
    set_until(context, request, deadline)
}

fn psetex(context: &mut Context<'_, '_>, request: Request<'_>) -> Result<(), CommandError> {
    let deadline = TimeForm::Millis.deadline(&request[2], context.now(), "psetex")?;
    set_until(context, request, deadline)
}

fn set_until(
    context: &mut Context<'_, '_>,
    request: Request<'_>,
    deadline: Wall,
) -> Result<(), CommandError> {
    context
        .access
        .update(&request[1], |slot| slot.set(&request[3], Some(deadline)));
    context.reply.ok();
    Ok(())
}

fn getset(context: &mut Context<'_, '_>, request: Request<'_>) -> Result<(), CommandError> {
    let Context { access, reply, .. } = context;
    access.update(&request[1], |slot| {
        reply_value(reply, slot.read());
        slot.set(&request[2], None);
    });
    Ok(())
}

fn getdel(context: &mut Context<'_, '_>, request: Request<'_>) -> Result<(), CommandError> {
    let Context { access, reply, .. } = context;
    access.update(&request[1], |slot| {
        reply_value(reply, slot.read());
        slot.delete();
    });
    Ok(())
}

fn getex(context: &mut Context<'_, '_>, request: Request<'_>) -> Result<(), CommandError> {
    let options = ValueOptions::parse(request.iter().skip(2), OptionsOf::Getex)?;
    let now = context.now();
    let Context { access, reply, .. } = context;
    access.update(&request[1], |slot| {
        let Some(view) = slot.read() else {
            reply.null();
            return Ok(());
        };
        let old = view.deadline();
        // A time that is not valid is an error only when there is a value.
        let new = match options.expiry {
            Expiry::Unsaid | Expiry::Keep => old,
            Expiry::Drop => None,
            Expiry::At(form, time) => Some(form.deadline(time, now, "getex")?),
        };
        reply.bulk(&view.value());
        if new.is_some_and(|new| new <= now) {
            slot.delete();
        } else if new != old {
            slot.set_deadline(new);
        }
        Ok(())
    })
}

fn mget(context: &mut Context<'_, '_>, request: Request<'_>) -> Result<(), CommandError> {
    let keys: Vec<&[u8]> = request.iter().skip(1).collect();
    let Context {
        access,
        server,
        reply,
        ..
    } = context;
    reply.array(keys.len());
    access.together(&keys, &[], |access| {
        for key in &keys {
            access.read(key, |view| reply_value(reply, view));
            if reply.len() > server.limits.reply_bytes_max {
                return Err(CommandError::ReplyTooLong);
            }
        }
        Ok(())
    })
}

fn mset(context: &mut Context<'_, '_>, request: Request<'_>) -> Result<(), CommandError> {
    let keys = keys_of_pairs(request, "mset")?;
    context.access.together(&keys, &keys, |access| {
        for (at, key) in keys.iter().enumerate() {
            access.update(key, |slot| slot.set(&request[2 * at + 2], None));
        }
    });
    context.reply.ok();
    Ok(())
}

fn msetnx(context: &mut Context<'_, '_>, request: Request<'_>) -> Result<(), CommandError> {
    let keys = keys_of_pairs(request, "msetnx")?;
    let are_new = context.access.together(&keys, &keys, |access| {
        let are_new = keys
            .iter()
            .all(|key| access.peek(key, |view| view.is_none()));
        if are_new {
            for (at, key) in keys.iter().enumerate() {
                access.update(key, |slot| slot.set(&request[2 * at + 2], None));
            }
        }
        are_new
    });
    context.reply.integer(are_new.into());
    Ok(())
}

fn keys_of_pairs<'a>(
    request: Request<'a>,
    command: &'static str,
) -> Result<Vec<&'a [u8]>, CommandError> {
    if request.len().is_multiple_of(2) {
        return Err(CommandError::WrongArity(command.into()));
    }
    Ok(request.iter().skip(1).step_by(2).collect())
}
