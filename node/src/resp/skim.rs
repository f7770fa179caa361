//! A glance over the requests of a read buffer, for guesses about what they will touch.
//!
//! It sees what clients usually send, stops at everything else, and decides nothing: the decoder reads all of it again.

use super::decode::plain_header;

/// Requests with more arguments are not looked into.
const ARGS_MAX: usize = 16;

/// The second argument of each whole request: what is a key for nearly every command that has one.
#[derive(Clone, Debug)]
pub struct Skim<'a> {
    rest: &'a [u8],
}

/// Looks over the requests at the start of `buf`.
#[must_use]
pub fn skim(buf: &[u8]) -> Skim<'_> {
    Skim { rest: buf }
}

impl<'a> Skim<'a> {
    /// Bytes behind the requests that were looked at.
    #[must_use]
    pub fn rest(&self) -> &'a [u8] {
        self.rest
    }
}

impl<'a> Iterator for Skim<'a> {
    type Item = &'a [u8];

    #[inline]
    fn next(&mut self) -> Option<&'a [u8]> {
        loop {
            let (count, mut rest) = header(self.rest, b'*')?;
            if !(1..=ARGS_MAX).contains(&count) {
                return None;
            }
            let mut second = None;
            for index in 0..count {
                let (length, body) = header(rest, b'$')?;
                let (arg, behind) = body.split_at_checked(length)?;
                if index == 1 {
                    second = Some(arg);
                }
                rest = behind.get(2..)?;
            }
            self.rest = rest;
            if second.is_some() {
                return second;
            }
        }
    }
}

/// The number in the line at the start of `buf`, and what is behind the line.
#[inline]
fn header(buf: &[u8], mark: u8) -> Option<(usize, &[u8])> {
    let (number, bytes) = plain_header(buf)?;
    (buf[0] == mark).then(|| (number, &buf[bytes..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    const GET: &[u8] = b"*2\r\n$3\r\nGET\r\n$1\r\na\r\n";
    const SET: &[u8] = b"*3\r\n$3\r\nSET\r\n$2\r\nbc\r\n$1\r\n1\r\n";
    const PING: &[u8] = b"*1\r\n$4\r\nPING\r\n";

    #[test]
    fn the_second_arguments_of_whole_requests_are_seen() {
        let input = [PING, GET, SET, PING, &GET[..GET.len() - 1]].concat();
        let mut skim = skim(&input);
        let seen: Vec<&[u8]> = skim.by_ref().collect();
        assert_eq!(seen, [b"a".as_slice(), b"bc"]);
        assert_eq!(skim.rest(), &GET[..GET.len() - 1]);
    }

    #[test]
    fn what_is_unusual_ends_the_glance() {
        let many = [b"*17\r\n".as_slice(), &b"$1\r\nx\r\n".repeat(17)].concat();
        for odd in [
            b"GET a\r\n".as_slice(),
            b"*-1\r\n",
            b"*0\r\n",
            b"*2\r\n$3\r\nGET\r\n$99999999999\r\n",
            b"*2\r\n:1\r\n$1\r\na\r\n",
            &many,
        ] {
            let input = [GET, odd, GET].concat();
            assert_eq!(skim(&input).collect::<Vec<_>>(), [b"a"], "{odd:?}");
        }
        assert_eq!(skim(b"").next(), None);
    }
}
