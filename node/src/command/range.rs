//! Parts of strings: APPEND, STRLEN, GETRANGE and SETRANGE.

use greenwich_proto::time::Wall;

use super::{
    Command, CommandError, Context, Keys,
    parse::integer,
    rows::{GROW, GROW_FAST, READ, READ_FAST, string},
};
use crate::{keyspace::View, resp::Request};

pub(super) const ROWS: &[Command] = &[
    string(
        "append",
        3,
        GROW_FAST,
        Keys::FIRST,
        "2.0.0",
        "Append a value to a key",
        append,
    ),
    string(
        "strlen",
        2,
        READ_FAST,
        Keys::FIRST,
        "2.2.0",
        "Get the length of the value stored in a key",
        strlen,
    ),
    string(
        "getrange",
        4,
        READ,
        Keys::FIRST,
        "2.4.0",
        "Get a substring of the string stored at a key",
        getrange,
    ),
    string(
        "substr",
        4,
        READ,
        Keys::FIRST,
        "1.0.0",
        "Get a substring of the string stored at a key",
        getrange,
    ),
    string(
        "setrange",
        4,
        GROW,
        Keys::FIRST,
        "2.2.0",
        "Overwrite part of a string at key starting at the specified offset",
        setrange,
    ),
];

fn append(context: &mut Context<'_, '_>, request: Request<'_>) -> Result<(), CommandError> {
    let suffix = &request[2];
    let longest = context.server.limits.request.bulk_bytes_max;
    let len = context.access.update(&request[1], |slot| {
        let (mut value, deadline) = copy_with_room(slot.view(), suffix.len(), longest)?;
        value.extend_from_slice(suffix);
        slot.set(&value, deadline);
        Ok(value.len())
    })?;
    reply_len(context, len);
    Ok(())
}

fn strlen(context: &mut Context<'_, '_>, request: Request<'_>) -> Result<(), CommandError> {
    let len = context.access.read(&request[1], |view| {
        view.map_or(0, |view| view.value().len())
    });
    reply_len(context, len);
    Ok(())
}

fn getrange(context: &mut Context<'_, '_>, request: Request<'_>) -> Result<(), CommandError> {
    let (first, last) = (integer(&request[2])?, integer(&request[3])?);
    let Context { access, reply, .. } = context;
    access.read(&request[1], |view| match view {
        Some(view) => reply.bulk(part(&view.value(), first, last)),
        None => reply.bulk(b""),
    });
    Ok(())
}

/// The bytes from `first` to `last`, both included; negative positions count from the end.
fn part(value: &[u8], first: i64, last: i64) -> &[u8] {
    if first < 0 && last < 0 && first > last {
        return b"";
    }
    let len = i64::try_from(value.len()).unwrap_or(i64::MAX);
    let from_start = |at: i64| {
        if at < 0 {
            at.saturating_add(len).max(0)
        } else {
            at
        }
    };
    let (start, end) = (from_start(first), from_start(last).min(len - 1));
    let (start, end) = (usize::try_from(start).ok(), usize::try_from(end).ok());
    start
        .zip(end)
        .and_then(|(start, end)| value.get(start..=end))
        .unwrap_or_default()
}

fn setrange(context: &mut Context<'_, '_>, request: Request<'_>) -> Result<(), CommandError> {
    let offset = integer(&request[2])?;
    let offset = usize::try_from(offset).map_err(|_| CommandError::OffsetOutOfRange)?;
    let patch = &request[3];
    let longest = context.server.limits.request.bulk_bytes_max;
    let len = context.access.update(&request[1], |slot| {
        let view = slot.view();
        let old_len = view.map_or(0, |view| view.value().len());
        if patch.is_empty() {
            return Ok(old_len);
        }
        let end = offset.saturating_add(patch.len());
        if end > longest {
            return Err(CommandError::StringTooLong);
        }
        let (mut value, deadline) = copy_with_room(view, end.saturating_sub(old_len), longest)?;
        value.resize(end.max(old_len), 0);
        value[offset..end].copy_from_slice(patch);
        slot.set(&value, deadline);
        Ok(value.len())
    })?;
    reply_len(context, len);
    Ok(())
}

/// A copy of a value that may grow by `room` bytes, but not beyond `longest`, and its deadline.
fn copy_with_room(
    view: Option<View<'_>>,
    room: usize,
    longest: usize,
) -> Result<(Vec<u8>, Option<Wall>), CommandError> {
    let value = view.map(|view| view.value()).unwrap_or_default();
    let len = value.len().saturating_add(room);
    if len > longest {
        return Err(CommandError::StringTooLong);
    }
    let mut copy = Vec::with_capacity(len);
    copy.extend_from_slice(&value);
    Ok((copy, view.and_then(|view| view.deadline())))
}

fn reply_len(context: &mut Context<'_, '_>, len: usize) {
    context
        .reply
        .integer(i64::try_from(len).expect("a value is at most 512 MiB"));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_count_from_either_end() {
        let cases: [(i64, i64, &str); 14] = [
            (0, 3, "This"),
            (-3, -1, "ing"),
            (0, -1, "This is a string"),
            (10, 100, "string"),
            (100, 200, ""),
            (5, 2, ""),
            (-1, -3, ""),
            (-100, 3, "This"),
            (-100, -50, "T"),
            (0, -100, "T"),
            (15, 15, "g"),
            (16, 16, ""),
            (i64::MIN, i64::MAX, "This is a string"),
            (i64::MAX, i64::MAX, ""),
        ];
        for (first, last, expected) in cases {
            let found = part(b"This is a string", first, last);
            assert_eq!(found, expected.as_bytes(), "{first} {last}");
        }
        assert_eq!(part(b"", 0, -1), b"");
        assert_eq!(part(b"", i64::MIN, i64::MIN), b"");
    }
}
