//! Where a reply of the Redis protocol ends. It does not keep what the reply says, except whether it is an error.

/// A reply nested deeper, or a bulk longer than this, is a mistake of the server.
const BULK_BYTES_MAX: i64 = 512 * 1024 * 1024;
const ITEMS_MAX: u64 = 1 << 24;

/// One reply at the front of a buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reply {
    /// Bytes that it takes.
    pub bytes: usize,
    /// Whether the server refused the command.
    pub is_error: bool,
    /// Whether the server sent it by itself, as an answer to nothing.
    pub is_push: bool,
}

/// The server sent what is no reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the server sent a reply that is not of the Redis protocol")]
pub struct Malformed;

/// Finds the reply at the front of `buffer`; `None` while it is not complete.
///
/// # Errors
/// [`Malformed`] when no further bytes can make it a reply.
pub fn scan(buffer: &[u8]) -> Result<Option<Reply>, Malformed> {
    let Some(&kind) = buffer.first() else {
        return Ok(None);
    };
    let mut at = 0;
    let mut left: u64 = 1;
    while left > 0 {
        let Some(line) = line_at(buffer, at)? else {
            return Ok(None);
        };
        at += line.len() + 2;
        left -= 1;
        let (first, rest) = line.split_first().ok_or(Malformed)?;
        match first {
            b'+' | b'-' | b':' | b'_' | b',' | b'#' | b'(' => {}
            b'$' | b'=' | b'!' => {
                let length = number(rest)?;
                if length > BULK_BYTES_MAX {
                    return Err(Malformed);
                }
                if let Ok(length) = usize::try_from(length) {
                    at += length + 2;
                }
            }
            b'*' | b'~' | b'>' => left += items(rest, 1)?,
            b'%' => left += items(rest, 2)?,
            // An attribute comes before what it describes.
            b'|' => left += items(rest, 2)? + 1,
            _ => return Err(Malformed),
        }
        if left > ITEMS_MAX {
            return Err(Malformed);
        }
    }
    Ok((at <= buffer.len()).then_some(Reply {
        bytes: at,
        is_error: matches!(kind, b'-' | b'!'),
        is_push: kind == b'>',
    }))
}

/// The line that starts at `at`, without its end.
fn line_at(buffer: &[u8], at: usize) -> Result<Option<&[u8]>, Malformed> {
    let Some(rest) = buffer.get(at..) else {
        return Ok(None);
    };
    let Some(end) = rest.iter().position(|&byte| byte == b'\r') else {
        return Ok(None);
    };
    match rest.get(end + 1) {
        None => Ok(None),
        Some(b'\n') => Ok(Some(&rest[..end])),
        Some(_) => Err(Malformed),
    }
}

fn number(digits: &[u8]) -> Result<i64, Malformed> {
    let text = std::str::from_utf8(digits).map_err(|_| Malformed)?;
    text.parse().map_err(|_| Malformed)
}

/// Items of an aggregate; a null one has none.
fn items(digits: &[u8], each: u64) -> Result<u64, Malformed> {
    let count = u64::try_from(number(digits)?).unwrap_or(0);
    count.checked_mul(each).ok_or(Malformed)
}

#[cfg(test)]
mod tests {
    use super::*;

    const REPLIES: [&[u8]; 12] = [
        b"+OK\r\n",
        b"-ERR no\r\n",
        b":12\r\n",
        b"$5\r\nhe\r\no\r\n",
        b"$-1\r\n",
        b"$0\r\n\r\n",
        b"*-1\r\n",
        b"*0\r\n",
        b"*2\r\n*1\r\n:1\r\n$1\r\na\r\n",
        b"%1\r\n+a\r\n,1.5\r\n",
        b"|1\r\n+ttl\r\n:3\r\n+OK\r\n",
        b">2\r\n+message\r\n_\r\n",
    ];

    #[test]
    fn every_reply_ends_where_it_ends_however_it_is_cut() {
        for reply in REPLIES {
            for cut in 0..reply.len() {
                assert_eq!(scan(&reply[..cut]), Ok(None), "{reply:?} cut at {cut}");
            }
            let followed = [reply, b"+next\r\n"].concat();
            let found = scan(&followed).unwrap().unwrap();
            assert_eq!(found.bytes, reply.len(), "{reply:?}");
            assert_eq!(found.is_error, reply[0] == b'-', "{reply:?}");
            assert_eq!(found.is_push, reply[0] == b'>', "{reply:?}");
        }
    }

    #[test]
    fn what_is_no_reply_is_refused() {
        for bytes in [
            &b"hello\r\n"[..],
            b"$x\r\n",
            b"+a\rb",
            b"*99999999999\r\n",
            b"\r\n",
        ] {
            assert_eq!(scan(bytes), Err(Malformed), "{bytes:?}");
        }
    }
}
