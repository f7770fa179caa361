//! Deadlines: EXPIRE, TTL and their kin, and PERSIST.

use greenwich_proto::time::Wall;

use super::{
    Command, CommandError, Context, Keys,
    options::ExpireOptions,
    parse::{TimeForm, integer},
    rows::{READ_FAST, WRITE_FAST, generic},
};
use crate::resp::Request;

pub(super) const ROWS: &[Command] = &[
    generic(
        "expire",
        -3,
        WRITE_FAST,
        Keys::FIRST,
        "1.0.0",
        "Set a key's time to live in seconds",
        |context, request| expire(context, request, TimeForm::Seconds, "expire"),
    ),
    generic(
        "pexpire",
        -3,
        WRITE_FAST,
        Keys::FIRST,
        "2.6.0",
        "Set a key's time to live in milliseconds",
        |context, request| expire(context, request, TimeForm::Millis, "pexpire"),
    ),
    generic(
        "expireat",
        -3,
        WRITE_FAST,
        Keys::FIRST,
        "1.2.0",
        "Set the expiration for a key as a UNIX timestamp",
        |context, request| expire(context, request, TimeForm::UnixSeconds, "expireat"),
    ),
    generic(
        "pexpireat",
        -3,
        WRITE_FAST,
        Keys::FIRST,
        "2.6.0",
        "Set the expiration for a key as a UNIX timestamp specified in milliseconds",
        |context, request| expire(context, request, TimeForm::UnixMillis, "pexpireat"),
    ),
    generic(
        "ttl",
        2,
        READ_FAST,
        Keys::FIRST,
        "1.0.0",
        "Get the time to live for a key in seconds",
        |context, request| show_deadline(context, request, TimeForm::Seconds),
    ),
    generic(
        "pttl",
        2,
        READ_FAST,
        Keys::FIRST,
        "2.6.0",
        "Get the time to live for a key in milliseconds",
        |context, request| show_deadline(context, request, TimeForm::Millis),
    ),
    generic(
        "expiretime",
        2,
        READ_FAST,
        Keys::FIRST,
        "7.0.0",
        "Get the expiration Unix timestamp for a key",
        |context, request| show_deadline(context, request, TimeForm::UnixSeconds),
    ),
    generic(
        "pexpiretime",
        2,
        READ_FAST,
        Keys::FIRST,
        "7.0.0",
        "Get the expiration Unix timestamp for a key in milliseconds",
        |context, request| show_deadline(context, request, TimeForm::UnixMillis),
    ),
    generic(
        "persist",
        2,
        WRITE_FAST,
        Keys::FIRST,
        "2.2.0",
        "Remove the expiration from a key",
        persist,
    ),
];

/// The reply for a key that does not exist.
const NO_KEY: i64 = -2;
/// The reply for a key that does not expire.
const NO_DEADLINE: i64 = -1;

fn expire(
    context: &mut Context<'_, '_>,
    request: Request<'_>,
    form: TimeForm,
    command: &'static str,
) -> Result<(), CommandError> {
    let options = ExpireOptions::parse(request.iter().skip(3))?;
    let now = context.now();
    let at = form.unix_ms(integer(&request[2])?, now);
    let at = at.ok_or(CommandError::InvalidExpire(command))?;
    // Before the epoch is as much in the past as the epoch.
    let deadline = Wall(u64::try_from(at).unwrap_or(0));
    let done = context.access.update(&request[1], |slot| {
        let Some(view) = slot.view() else {
            return false;
        };
        let current = view
            .deadline()
            .map(|Wall(at)| i64::try_from(at).unwrap_or(i64::MAX));
        if !options.allow(current, at) {
            return false;
        }
        if deadline <= now {
            slot.delete();
        } else {
            slot.set_deadline(Some(deadline));
        }
        true
    });
    context.reply.integer(done.into());
    Ok(())
}

fn show_deadline(
    context: &mut Context<'_, '_>,
    request: Request<'_>,
    form: TimeForm,
) -> Result<(), CommandError> {
    let now = context.now();
    let shown = context.access.read(&request[1], |view| match view {
        None => NO_KEY,
        Some(view) => view
            .deadline()
            .map_or(NO_DEADLINE, |at| shown(at, now, form)),
    });
    context.reply.integer(shown);
    Ok(())
}

/// Seconds are rounded to the nearest.
fn shown(Wall(at): Wall, Wall(now): Wall, form: TimeForm) -> i64 {
    let ms = if form.is_absolute() {
        at
    } else {
        at.saturating_sub(now)
    };
    let shown = match form {
        TimeForm::Millis | TimeForm::UnixMillis => ms,
        TimeForm::Seconds | TimeForm::UnixSeconds => ms.saturating_add(500) / 1000,
    };
    i64::try_from(shown).unwrap_or(i64::MAX)
}

fn persist(context: &mut Context<'_, '_>, request: Request<'_>) -> Result<(), CommandError> {
    let done = context.access.update(&request[1], |slot| {
        let has_deadline = slot.view().is_some_and(|view| view.deadline().is_some());
        has_deadline && slot.set_deadline(None)
    });
    context.reply.integer(done.into());
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seconds_are_rounded() {
        let (at, now) = (Wall(1_800_000_001_500), Wall(1_800_000_000_001));
        assert_eq!(shown(at, now, TimeForm::Millis), 1499);
        assert_eq!(shown(at, now, TimeForm::Seconds), 1);
        assert_eq!(shown(at, Wall(now.0 - 1), TimeForm::Seconds), 2);
        assert_eq!(shown(at, now, TimeForm::UnixSeconds), 1_800_000_002);
        assert_eq!(shown(at, now, TimeForm::UnixMillis), 1_800_000_001_500);
        assert_eq!(
            shown(Wall(i64::MAX as u64), now, TimeForm::UnixSeconds),
            9_223_372_036_854_776
        );
    }
}
