//! Every kind of reply in both protocol versions, byte by byte.

use greenwich::resp::{Reply, Version};
use proptest::prelude::*;

type Write = fn(&mut Reply);

fn written(version: Version, write: impl FnOnce(&mut Reply)) -> Vec<u8> {
    let mut reply = Reply::new(version);
    write(&mut reply);
    reply.into_bytes()
}

#[test]
fn replies_that_are_the_same_in_both_versions() {
    let cases: [(Write, &[u8]); 13] = [
        (|reply| reply.ok(), b"+OK\r\n"),
        (|reply| reply.raw(b"+QUEUED\r\n"), b"+QUEUED\r\n"),
        (|reply| reply.simple("a\r\nb"), b"+a  b\r\n"),
        (|reply| reply.error("ERR no"), b"-ERR no\r\n"),
        (|reply| reply.error("\rERR a\nb\r\n"), b"-ERR a b\r\n"),
        (|reply| reply.error(""), b"-\r\n"),
        (|reply| reply.integer(0), b":0\r\n"),
        (|reply| reply.integer(1), b":1\r\n"),
        (
            |reply| reply.integer(i64::MIN),
            b":-9223372036854775808\r\n",
        ),
        (|reply| reply.bulk(b""), b"$0\r\n\r\n"),
        (|reply| reply.bulk(b"a\r\n\0\xff"), b"$5\r\na\r\n\0\xff\r\n"),
        (|reply| reply.bulk_integer(-42), b"$3\r\n-42\r\n"),
        (|reply| reply.array(12), b"*12\r\n"),
    ];
    for (write, bytes) in cases {
        assert_eq!(written(Version::Resp2, write), bytes);
        assert_eq!(written(Version::Resp3, write), bytes);
    }
}

#[test]
fn replies_that_resp2_spells_differently() {
    let cases: [(Write, &[u8], &[u8]); 13] = [
        (|reply| reply.null(), b"$-1\r\n", b"_\r\n"),
        (|reply| reply.null_array(), b"*-1\r\n", b"_\r\n"),
        (|reply| reply.map(7), b"*14\r\n", b"%7\r\n"),
        (|reply| reply.set(2), b"*2\r\n", b"~2\r\n"),
        (|reply| reply.push(3), b"*3\r\n", b">3\r\n"),
        (|reply| reply.double(0.5), b"$3\r\n0.5\r\n", b",0.5\r\n"),
        (|reply| reply.double(3.0), b"$1\r\n3\r\n", b",3\r\n"),
        (
            |reply| reply.double(f64::NEG_INFINITY),
            b"$4\r\n-inf\r\n",
            b",-inf\r\n",
        ),
        (|reply| reply.boolean(true), b":1\r\n", b"#t\r\n"),
        (|reply| reply.boolean(false), b":0\r\n", b"#f\r\n"),
        (
            |reply| reply.verbatim(*b"txt", b"a b"),
            b"$3\r\na b\r\n",
            b"=7\r\ntxt:a b\r\n",
        ),
        (
            |reply| reply.verbatim(*b"mkd", b""),
            b"$0\r\n\r\n",
            b"=4\r\nmkd:\r\n",
        ),
        (
            |reply| reply.big_number("12345"),
            b"$5\r\n12345\r\n",
            b"(12345\r\n",
        ),
    ];
    for (write, resp2, resp3) in cases {
        assert_eq!(written(Version::Resp2, write), resp2);
        assert_eq!(written(Version::Resp3, write), resp3);
    }
}

#[test]
fn replies_follow_one_another_and_the_version_may_change_between() {
    let mut reply = Reply::new(Version::default());
    reply.null();
    reply.set_version(Version::from_number(3).expect("there is a version 3"));
    reply.null();
    let len = reply.len();
    reply.bulk(b"dropped");
    reply.truncate(len);
    assert_eq!(reply.as_bytes(), b"$-1\r\n_\r\n");
    assert_eq!(
        (reply.version().number(), Version::from_number(4)),
        (3, None)
    );
    reply.clear(1 << 20);
    assert!(reply.is_empty() && reply.memory_bytes() > 0);
    reply.clear(0);
    assert_eq!(reply.memory_bytes(), 0);
}

proptest! {
    #[test]
    fn an_error_is_one_line_whatever_it_quotes(quoted in proptest::collection::vec(any::<u8>(), 0..60)) {
        let bytes = written(Version::Resp2, |reply| reply.error(&quoted));
        let text = bytes.strip_prefix(b"-").and_then(|rest| rest.strip_suffix(b"\r\n"));
        let text = text.expect("an error is a line");
        prop_assert!(!text.iter().any(|byte| matches!(byte, b'\r' | b'\n')));
    }
}
