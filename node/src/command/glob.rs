//! Redis' glob patterns: `*`, `?`, `[a-z]`, `[^a-z]` and `\` before a literal. Byte for byte `stringmatchlen` of
//! redis-server 7.0, oddities included. Knows nothing of keys or channels.

/// Whether letters of either case match each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Case {
    /// They do not.
    Sensitive,
    /// ASCII letters do.
    Ignored,
}

impl Case {
    fn fold(self, byte: u8) -> u8 {
        match self {
            Self::Sensitive => byte,
            Self::Ignored => byte.to_ascii_lowercase(),
        }
    }
}

/// A pattern with more groups of stars than this matches nothing, as in Redis.
const NESTING_MAX: usize = 1000;

/// Whether `pattern` matches the whole of `text`. An empty text is matched by the empty pattern alone.
pub(crate) fn matches(pattern: &[u8], text: &[u8], case: Case) -> bool {
    let mut is_hopeless = false;
    matches_from(pattern, text, case, &mut is_hopeless, 0)
}

/// `is_hopeless` is set when a star tried every rest of the text: no earlier star can do better with a later start.
fn matches_from(
    mut pattern: &[u8],
    mut text: &[u8],
    case: Case,
    is_hopeless: &mut bool,
    nesting: usize,
) -> bool {
    if nesting > NESTING_MAX {
        return false;
    }
    while let [byte, following @ ..] = text {
        pattern = match pattern {
            [] => return false,
            [b'*', after @ ..] => {
                return star(strip_stars(after), text, case, is_hopeless, nesting);
            }
            [b'?', after @ ..] => after,
            [b'[', after @ ..] => match class(after, *byte, case) {
                (true, after) => after,
                (false, _) => return false,
            },
            [b'\\', literal, after @ ..] | [literal, after @ ..] => {
                if case.fold(*literal) != case.fold(*byte) {
                    return false;
                }
                after
            }
        };
        text = following;
        if text.is_empty() {
            pattern = strip_stars(pattern);
        }
    }
    pattern.is_empty()
}

/// Matches what follows a star with some rest of a text that is not empty.
fn star(after: &[u8], mut text: &[u8], case: Case, is_hopeless: &mut bool, nesting: usize) -> bool {
    if after.is_empty() {
        return true;
    }
    while let [_, following @ ..] = text {
        if matches_from(after, text, case, is_hopeless, nesting + 1) {
            return true;
        }
        if *is_hopeless {
            return false;
        }
        text = following;
    }
    *is_hopeless = true;
    false
}

/// Whether the class that `pattern` starts with, behind its bracket, has `byte`; and what follows the class. One that
/// is not closed ends with the pattern.
fn class(pattern: &[u8], byte: u8, case: Case) -> (bool, &[u8]) {
    let (is_negated, mut rest) = match pattern {
        [b'^', rest @ ..] => (true, rest),
        rest => (false, rest),
    };
    let mut has_byte = false;
    loop {
        rest = match rest {
            [] => return (has_byte != is_negated, rest),
            [b'\\', literal, after @ ..] => {
                has_byte |= *literal == byte;
                after
            }
            [b']', after @ ..] => return (has_byte != is_negated, after),
            [first, b'-', last, after @ ..] => {
                has_byte |= is_between(*first, *last, byte, case);
                after
            }
            [literal, after @ ..] => {
                has_byte |= case.fold(*literal) == case.fold(byte);
                after
            }
        };
    }
}

/// Bytes are ordered as signed numbers, as redis-server has them on the platforms that it is tested on.
fn is_between(first: u8, last: u8, byte: u8, case: Case) -> bool {
    let (first, last) = if first.cast_signed() > last.cast_signed() {
        (last, first)
    } else {
        (first, last)
    };
    let [first, last, byte] = [first, last, byte].map(|byte| case.fold(byte).cast_signed());
    (first..=last).contains(&byte)
}

fn strip_stars(mut pattern: &[u8]) -> &[u8] {
    while let [b'*', after @ ..] = pattern {
        pattern = after;
    }
    pattern
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(pattern: &[u8], text: &[u8], expected: bool) {
        let found = matches(pattern, text, Case::Sensitive);
        assert_eq!(
            found,
            expected,
            "{} on {}",
            pattern.escape_ascii(),
            text.escape_ascii()
        );
    }

    #[test]
    fn matches_what_redis_matches() {
        let cases: [(&str, &str, bool); 51] = [
            ("", "", true),
            ("", "a", false),
            ("*", "", false),
            ("?", "", false),
            ("*", "a", true),
            ("**", "ab", true),
            ("a*", "a", true),
            ("a**", "a", true),
            ("*a", "a", true),
            ("*a", "ba", true),
            ("*a", "ab", false),
            ("a*b*c", "a1b2c", true),
            ("a*b*c", "abbbcx", false),
            ("h?llo", "hello", true),
            ("h?llo", "hllo", false),
            ("?", "ab", false),
            ("h[ae]llo", "hallo", true),
            ("h[ae]llo", "hillo", false),
            ("h[^e]llo", "hallo", true),
            ("h[^e]llo", "hello", false),
            ("[a-c]", "b", true),
            ("[a-c]", "d", false),
            ("[c-a]", "b", true),
            ("[a-]", "-", false),
            ("[a-]", "^", true),
            ("[-a]", "-", true),
            ("[]", "a", false),
            ("[]a]", "a", false),
            ("[]-a]", "]", false),
            ("[^]", "a", true),
            ("[^]a", "ba", true),
            ("[[]", "[", true),
            (r"[\]]", "]", true),
            (r"[\a-c]", "-", true),
            (r"[\a-c]", "b", false),
            ("a[", "a", false),
            ("a[", "ab", false),
            ("a[^", "ab", true),
            ("a[b", "ab", true),
            ("a[a-", "a-", true),
            ("a[a-z", "ab", true),
            (r"a\*", "a*", true),
            (r"a\*", "ab", false),
            (r"a\", r"a\", true),
            (r"\\", r"\", true),
            (r"\a", "a", true),
            (r"a\[b", "a[b", true),
            ("ABC", "abc", false),
            ("[A-C]", "b", false),
            ("a*?", "ab", true),
            ("a*?", "a", false),
        ];
        for (pattern, text, expected) in cases {
            check(pattern.as_bytes(), text.as_bytes(), expected);
        }
    }

    #[test]
    fn bytes_are_signed_in_ranges() {
        check(b"[a-\xff]", b"\xff", true);
        check(b"[a-\xff]", b"b", false);
        check(b"[a-\xff]", b"A", true);
        check(b"[\x80-\xff]", b"\xc3", true);
    }

    #[test]
    fn case_can_be_ignored() {
        let cases = [
            ("ABC", "abc", true),
            ("a*C", "AxxC", true),
            ("[A-C]", "b", true),
            ("[a-c]", "B", true),
            ("[xB]", "b", true),
            (r"[\B]", "b", false),
            (r"\B", "b", true),
        ];
        for (pattern, text, expected) in cases {
            let found = matches(pattern.as_bytes(), text.as_bytes(), Case::Ignored);
            assert_eq!(found, expected, "{pattern} on {text}");
        }
    }

    #[test]
    fn hostile_patterns_end() {
        let text = vec![b'a'; 10_000];
        let pattern = [b"a*".repeat(100), b"b".to_vec()].concat();
        check(&pattern, &text, false);
        check(&b"a*".repeat(2000), &vec![b'a'; 4000], false);
        check(&b"?".repeat(10_000), &text, true);
    }
}
