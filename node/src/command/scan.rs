//! The keyspace as a whole: KEYS, SCAN, RANDOMKEY, DBSIZE and the two flushes.

use std::hash::{BuildHasher, Hasher, RandomState};

use super::{
    Command, CommandError, Context, Flags, Keys,
    generic::STRING_TYPE,
    glob::{self, Case},
    parse::integer,
    rows::{READ, READ_FAST, WRITE, generic, server},
};
use crate::{keyspace::ScanLimits, resp::Request};

/// Keys that a step of SCAN looks at unless it is told.
const COUNT_DEFAULT: usize = 10;
/// Bytes of keys after which a step of SCAN ends, whatever it was told: it holds them until they are sent.
const SCAN_BYTES_MAX: usize = 1 << 20;

pub(super) const ROWS: &[Command] = &[
    generic(
        "keys",
        2,
        READ.and(Flags::WHOLE),
        Keys::NONE,
        "1.0.0",
        "Find all keys matching the given pattern",
        keys,
    ),
    generic(
        "scan",
        -2,
        READ.and(Flags::WHOLE),
        Keys::NONE,
        "2.8.0",
        "Incrementally iterate the keys space",
        scan,
    ),
    generic(
        "randomkey",
        1,
        READ.and(Flags::WHOLE),
        Keys::NONE,
        "1.0.0",
        "Return a random key from the keyspace",
        randomkey,
    ),
    server(
        "dbsize",
        1,
        READ_FAST.and(Flags::WHOLE),
        Keys::NONE,
        "1.0.0",
        "Return the number of keys",
        dbsize,
    ),
    server(
        "flushall",
        -1,
        WRITE.and(Flags::WHOLE),
        Keys::NONE,
        "1.0.0",
        "Remove all keys, in every region",
        flush,
    ),
    server(
        "flushdb",
        -1,
        WRITE.and(Flags::WHOLE),
        Keys::NONE,
        "1.0.0",
        "Remove all keys, in every region; the same as FLUSHALL",
        flush,
    ),
];

fn keys(context: &mut Context<'_, '_>, request: Request<'_>) -> Result<(), CommandError> {
    let pattern = Pattern(Some(&request[1]));
    // Once the reply is too long, no more is collected.
    let room = context.server.limits.reply_bytes_max;
    let mut key_bytes = 0;
    let keys = context.access.keys(|key| {
        let is_wanted = key_bytes <= room && pattern.matches(key);
        key_bytes += if is_wanted { key.len() } else { 0 };
        is_wanted
    });
    if key_bytes > room {
        return Err(CommandError::ReplyTooLong);
    }
    reply_keys(context, &keys)
}

fn reply_keys(context: &mut Context<'_, '_>, keys: &[Box<[u8]>]) -> Result<(), CommandError> {
    context.reply.array(keys.len());
    for key in keys {
        context.reply.bulk(key);
        context.check_reply_size()?;
    }
    Ok(())
}

fn scan(context: &mut Context<'_, '_>, request: Request<'_>) -> Result<(), CommandError> {
    let cursor = parse_cursor(&request[1]);
    let cursor = cursor.ok_or_else(|| CommandError::text("ERR invalid cursor"))?;
    let options = ScanOptions::parse(request)?;
    let limits = ScanLimits {
        keys: options.count,
        bytes: SCAN_BYTES_MAX.min(context.server.limits.reply_bytes_max / 2),
    };
    let page = context.access.scan(cursor, limits, |key, _| {
        options.wants_strings && options.pattern.matches(key)
    });
    context.reply.array(2);
    context
        .reply
        .bulk(itoa::Buffer::new().format(page.cursor).as_bytes());
    reply_keys(context, &page.keys)
}

/// As C's `strtoul` reads it, without leading blanks: nothing at all is zero, and negative numbers wrap around.
fn parse_cursor(text: &[u8]) -> Option<u64> {
    if text.is_empty() {
        return Some(0);
    }
    let (is_negative, digits) = match text {
        [b'-', digits @ ..] => (true, digits),
        [b'+', digits @ ..] | digits => (false, digits),
    };
    if !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let cursor: u64 = str::from_utf8(digits).ok()?.parse().ok()?;
    Some(if is_negative {
        cursor.wrapping_neg()
    } else {
        cursor
    })
}

/// What SCAN looks for.
#[derive(Clone, Copy, Debug)]
struct ScanOptions<'a> {
    count: usize,
    pattern: Pattern<'a>,
    wants_strings: bool,
}

impl<'a> ScanOptions<'a> {
    fn parse(request: Request<'a>) -> Result<Self, CommandError> {
        let mut parsed = Self {
            count: COUNT_DEFAULT,
            pattern: Pattern(None),
            wants_strings: true,
        };
        let mut options = request.iter().skip(2);
        while let Some(option) = options.next() {
            let argument = options.next().ok_or(CommandError::Syntax)?;
            match option.to_ascii_lowercase().as_slice() {
                b"count" => {
                    let count = integer(argument)?;
                    let count = usize::try_from(count).ok().filter(|count| *count > 0);
                    parsed.count = count.ok_or(CommandError::Syntax)?;
                }
                b"match" => parsed.pattern = Pattern(Some(argument)),
                b"type" => {
                    parsed.wants_strings = argument.eq_ignore_ascii_case(STRING_TYPE.as_bytes());
                }
                _ => return Err(CommandError::Syntax),
            }
        }
        Ok(parsed)
    }
}

/// A glob that keys must match, if there is one. A single star matches the empty key too.
#[derive(Clone, Copy, Debug)]
struct Pattern<'a>(Option<&'a [u8]>);

impl Pattern<'_> {
    fn matches(self, key: &[u8]) -> bool {
        match self.0 {
            None | Some(b"*") => true,
            Some(pattern) => glob::matches(pattern, key, Case::Sensitive),
        }
    }
}

fn randomkey(context: &mut Context<'_, '_>, _: Request<'_>) -> Result<(), CommandError> {
    // The hash of nothing under keys that are random for each hasher.
    let random = RandomState::new().build_hasher().finish();
    match context.access.key_near(random) {
        Some(key) => context.reply.bulk(&key),
        None => context.reply.null(),
    }
    Ok(())
}

fn dbsize(context: &mut Context<'_, '_>, _: Request<'_>) -> Result<(), CommandError> {
    let count = context.access.key_count();
    context
        .reply
        .integer(i64::try_from(count).unwrap_or(i64::MAX));
    Ok(())
}

fn flush(context: &mut Context<'_, '_>, request: Request<'_>) -> Result<(), CommandError> {
    let is_known =
        |mode: &[u8]| mode.eq_ignore_ascii_case(b"async") || mode.eq_ignore_ascii_case(b"sync");
    if request.len() > 2 || !request.get(1).is_none_or(is_known) {
        return Err(CommandError::Syntax);
    }
    context.access.flush();
    context.reply.ok();
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::resp::RequestBuf;

    fn parse(text: &str) -> Result<(usize, Option<Vec<u8>>, bool), CommandError> {
        let request: RequestBuf = text.split(' ').collect();
        let options = ScanOptions::parse(request.as_request())?;
        Ok((
            options.count,
            options.pattern.0.map(<[u8]>::to_vec),
            options.wants_strings,
        ))
    }

    #[test]
    fn cursors_are_read_as_c_reads_them() {
        let cases: [(&str, Option<u64>); 11] = [
            ("", Some(0)),
            ("0", Some(0)),
            ("+7", Some(7)),
            ("007", Some(7)),
            ("-1", Some(u64::MAX)),
            ("18446744073709551615", Some(u64::MAX)),
            ("18446744073709551616", None),
            ("-", None),
            ("+-1", None),
            (" 0", None),
            ("0x1", None),
        ];
        for (text, expected) in cases {
            assert_eq!(parse_cursor(text.as_bytes()), expected, "{text}");
        }
    }

    #[test]
    fn scan_takes_its_options_in_any_order() {
        assert_eq!(parse("SCAN 0").unwrap(), (10, None, true));
        let expected = (5, Some(b"a*".to_vec()), false);
        assert_eq!(
            parse("SCAN 0 type hash MATCH a* Count 5").unwrap(),
            expected
        );
        for text in [
            "SCAN 0 COUNT",
            "SCAN 0 COUNT 0",
            "SCAN 0 COUNT -1",
            "SCAN 0 FOO bar",
        ] {
            assert_eq!(parse(text), Err(CommandError::Syntax), "{text}");
        }
        assert_eq!(parse("SCAN 0 COUNT x"), Err(CommandError::NotAnInteger));
    }

    #[test]
    fn a_single_star_matches_the_empty_key() {
        assert!(Pattern(Some(b"*")).matches(b"") && Pattern(None).matches(b""));
        assert!(!Pattern(Some(b"**")).matches(b""));
    }
}
