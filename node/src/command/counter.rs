//! Counters: INCR and its kin. Increments are added to the value, so those of several regions add up.

use greenwich_proto::decimal::Decimal;

use super::{
    Command, CommandError, Context, Keys,
    parse::{float, integer},
    rows::{GROW_FAST, string},
};
use crate::{keyspace::View, resp::Request};

pub(super) const ROWS: &[Command] = &[
    string(
        "incr",
        2,
        GROW_FAST,
        Keys::FIRST,
        "1.0.0",
        "Increment the integer value of a key by one",
        |context, request| add_integer(context, &request[1], 1),
    ),
    string(
        "decr",
        2,
        GROW_FAST,
        Keys::FIRST,
        "1.0.0",
        "Decrement the integer value of a key by one",
        |context, request| add_integer(context, &request[1], -1),
    ),
    string(
        "incrby",
        3,
        GROW_FAST,
        Keys::FIRST,
        "1.0.0",
        "Increment the integer value of a key by the given amount",
        |context, request| add_integer(context, &request[1], integer(&request[2])?),
    ),
    string(
        "decrby",
        3,
        GROW_FAST,
        Keys::FIRST,
        "1.0.0",
        "Decrement the integer value of a key by the given number",
        decrby,
    ),
    string(
        "incrbyfloat",
        3,
        GROW_FAST,
        Keys::FIRST,
        "2.6.0",
        "Increment the float value of a key by the given amount",
        incrbyfloat,
    ),
];

fn decrby(context: &mut Context<'_, '_>, request: Request<'_>) -> Result<(), CommandError> {
    let amount = integer(&request[2])?.checked_neg();
    let amount = amount.ok_or_else(|| CommandError::text("ERR decrement would overflow"))?;
    add_integer(context, &request[1], amount)
}

fn add_integer(context: &mut Context<'_, '_>, key: &[u8], amount: i64) -> Result<(), CommandError> {
    let sum = context.access.update(key, |slot| {
        let current = slot.view().map_or(Ok(0), integer_value)?;
        let sum = current.checked_add(amount).ok_or(CommandError::Overflow)?;
        // The value is a number: what may not fit is the sum of all that this region ever added.
        slot.add(amount.into())
            .map_err(|_| CommandError::Overflow)?;
        Ok(sum)
    })?;
    context.reply.integer(sum);
    Ok(())
}

/// The value as the integer that Redis would read. A counter is one however it is spelled.
fn integer_value(view: View<'_>) -> Result<i64, CommandError> {
    if view.is_counter() {
        return view
            .number()
            .and_then(Decimal::to_i64)
            .ok_or(CommandError::NotAnInteger);
    }
    integer(&view.value())
}

fn incrbyfloat(context: &mut Context<'_, '_>, request: Request<'_>) -> Result<(), CommandError> {
    let sum = context.access.update(&request[1], |slot| {
        // Redis complains about the value before it looks at the amount.
        if let Some(view) = slot.view() {
            float(&view.value())?;
        }
        slot.add(float(&request[2])?)
            .map_err(|_| CommandError::NanOrInfinity)
    })?;
    context.reply.bulk(sum.to_string().as_bytes());
    Ok(())
}
