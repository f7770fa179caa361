//! Splits an inline request (a line as typed into a terminal) into arguments, with the quoting rules
//! of redis-server's `sdssplitargs`. It does not look for the end of the line.

use super::ProtocolError;
use super::request::Span;

/// Replaces `text` and `spans` by the arguments of `line`: `text` holds them unquoted, one after the
/// other, and `spans` says where each lies in it. A blank line has none.
///
/// # Errors
/// [`ProtocolError::UnbalancedQuotes`]; both outputs are then empty.
pub(super) fn split(
    line: &[u8],
    text: &mut Vec<u8>,
    spans: &mut Vec<Span>,
) -> Result<(), ProtocolError> {
    text.clear();
    spans.clear();
    let mut rest = skip_blanks(line);
    while !rest.is_empty() {
        let start = text.len();
        let Some(behind) = take_word(rest, text) else {
            text.clear();
            spans.clear();
            return Err(ProtocolError::UnbalancedQuotes);
        };
        spans.push(Span::new(start, text.len()));
        rest = skip_blanks(behind);
    }
    Ok(())
}

/// Appends the first word of `rest` unquoted and returns what follows it; `None` if quotes do not balance.
fn take_word<'a>(mut rest: &'a [u8], text: &mut Vec<u8>) -> Option<&'a [u8]> {
    while let Some((&byte, behind)) = rest.split_first() {
        match byte {
            // Vertical tab and form feed separate words but do not end one.
            b' ' | b'\t' | b'\r' | b'\n' => return Some(rest),
            b'"' => return end_of_word(take_double_quoted(behind, text)?),
            b'\'' => return end_of_word(take_single_quoted(behind, text)?),
            _ => text.push(byte),
        }
        rest = behind;
    }
    Some(rest)
}

/// What follows a closing quote: a blank or nothing at all.
fn end_of_word(rest: &[u8]) -> Option<&[u8]> {
    rest.first()
        .is_none_or(|byte| is_blank(*byte))
        .then_some(rest)
}

fn take_double_quoted<'a>(mut rest: &'a [u8], text: &mut Vec<u8>) -> Option<&'a [u8]> {
    loop {
        let (byte, behind) = match *rest {
            [b'\\', b'x', high, low, ref behind @ ..]
                if high.is_ascii_hexdigit() && low.is_ascii_hexdigit() =>
            {
                (hex_value(high) << 4 | hex_value(low), behind)
            }
            [b'\\', escaped, ref behind @ ..] => (unescape(escaped), behind),
            [b'"', ref behind @ ..] => return Some(behind),
            [byte, ref behind @ ..] => (byte, behind),
            [] => return None,
        };
        text.push(byte);
        rest = behind;
    }
}

fn take_single_quoted<'a>(mut rest: &'a [u8], text: &mut Vec<u8>) -> Option<&'a [u8]> {
    loop {
        let (byte, behind) = match *rest {
            [b'\\', b'\'', ref behind @ ..] => (b'\'', behind),
            [b'\'', ref behind @ ..] => return Some(behind),
            [byte, ref behind @ ..] => (byte, behind),
            [] => return None,
        };
        text.push(byte);
        rest = behind;
    }
}

fn unescape(byte: u8) -> u8 {
    match byte {
        b'n' => b'\n',
        b'r' => b'\r',
        b't' => b'\t',
        b'b' => 0x08,
        b'a' => 0x07,
        other => other,
    }
}

fn hex_value(digit: u8) -> u8 {
    match digit {
        b'0'..=b'9' => digit - b'0',
        _ => (digit | 0x20) - b'a' + 10,
    }
}

fn skip_blanks(line: &[u8]) -> &[u8] {
    let blanks = line.iter().take_while(|byte| is_blank(**byte)).count();
    &line[blanks..]
}

/// C's `isspace`, which counts the vertical tab too.
fn is_blank(byte: u8) -> bool {
    matches!(byte, b' ' | 0x09..=0x0d)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::resp::request::Request;

    fn words(line: &[u8]) -> Option<Vec<Vec<u8>>> {
        let (mut text, mut spans) = (b"stale".to_vec(), Vec::new());
        split(line, &mut text, &mut spans).ok()?;
        Some(
            Request::new(&text, &spans)
                .iter()
                .map(<[u8]>::to_vec)
                .collect(),
        )
    }

    #[test]
    fn words_are_unquoted_as_redis_server_does() {
        let cases: [(&[u8], &[&[u8]]); 14] = [
            (b"", &[]),
            (b" \t\x0b\x0c\r ", &[]),
            (b"  SET  key\tvalue ", &[b"SET", b"key", b"value"]),
            (b"a\x0bb\x0cc", &[b"a\x0bb\x0cc"]),
            (b"a\rb", &[b"a", b"b"]),
            (br#""" ''"#, &[b"", b""]),
            (br#""a b" 'c d'"#, &[b"a b", b"c d"]),
            (br#"pre"in quotes""#, &[b"prein quotes"]),
            (br#""\x41\xfF\x00""#, &[b"A\xff\x00"]),
            (br#""\xg1\x1""#, &[b"xg1x1"]),
            (br#""\n\r\t\b\a\\\"\q""#, &[b"\n\r\t\x08\x07\\\"q"]),
            (br"'\'\n\\ '", &[br"'\n\\ "]),
            (br"a\x41 \n", &[br"a\x41", br"\n"]),
            (b"\"a\"\x0b\"b\"", &[b"a", b"b"]),
        ];
        for (line, expected) in cases {
            assert_eq!(words(line).expect("balanced"), expected, "{line:?}");
        }
    }

    #[test]
    fn unbalanced_quotes_are_refused() {
        let cases: [&[u8]; 10] = [
            b"\"",
            b"'",
            b"\"a",
            b"'a\\'",
            b"\"a\"b",
            b"'a'b",
            b"a\"b\"c",
            b"\"a\"\"b\"",
            b"\"a\\",
            br"\'",
        ];
        for line in cases {
            assert_eq!(words(line), None, "{line:?}");
        }
    }
}
