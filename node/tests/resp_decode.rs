//! The request decoder, byte by byte: tables of what redis-server 7 answers, and properties.

#[path = "../fuzz/src/resp_check.rs"]
mod resp_check;

use greenwich::resp::{Decoded, Decoder, Limits, ProtocolError, Reply, Version, reserve_bytes};
use proptest::collection::vec;
use proptest::prelude::*;
use resp_check::{check_arbitrary, encode, run};

/// The reply to the error in which `input` ends.
fn error_reply(authenticated: bool, input: &[u8]) -> Vec<u8> {
    let error = run(Limits::default(), authenticated, &[input])
        .error
        .expect("the input is wrong");
    let mut reply = Reply::new(Version::Resp2);
    reply.protocol_error(&error);
    reply.into_bytes()
}

fn requests(input: &[u8]) -> Vec<Vec<Vec<u8>>> {
    let outcome = run(Limits::default(), true, &[input]);
    assert_eq!(
        (outcome.error, outcome.pending_bytes),
        (None, 0),
        "{input:?}"
    );
    outcome.requests
}

#[test]
fn errors_have_the_texts_of_redis_server() {
    let cases: [(&[u8], &str); 22] = [
        (b"*x\r\n", "invalid multibulk length"),
        (b"*\r\n", "invalid multibulk length"),
        (b"*+1\r\n", "invalid multibulk length"),
        (b"*01\r\n", "invalid multibulk length"),
        (b"*1 \r\n", "invalid multibulk length"),
        (b"*1048577\r\n", "invalid multibulk length"),
        (b"*2147483648\r\n", "invalid multibulk length"),
        (b"*99999999999999999999\r\n", "invalid multibulk length"),
        (b"*1\r\n$x\r\n", "invalid bulk length"),
        (b"*1\r\n$\r\n", "invalid bulk length"),
        (b"*1\r\n$-1\r\n", "invalid bulk length"),
        (b"*1\r\n$04\r\nPING\r\n", "invalid bulk length"),
        (b"*1\r\n$536870913\r\n", "invalid bulk length"),
        (b"*1\r\n$10737418240\r\n", "invalid bulk length"),
        (b"*1\r\n*1\r\n$4\r\nPING\r\n", "expected '$', got '*'"),
        (b"*1\r\nPING\r\n", "expected '$', got 'P'"),
        (b"*1\r\n:1\r\n", "expected '$', got ':'"),
        (b"*2\r\n$3\r\nGET\r\n\r\n", "expected '$', got ' '"),
        (b"SET a \"b\r\n", "unbalanced quotes in request"),
        (b"SET a 'b'c\r\n", "unbalanced quotes in request"),
        (b"*2\r\n$4\r\nPINGab$x\r\n", "invalid bulk length"),
        (b"PING\r\n\r\n*0\r\n*1\r\nx\r\n", "expected '$', got 'x'"),
    ];
    for (input, text) in cases {
        let expected = format!("-ERR Protocol error: {text}\r\n");
        assert_eq!(error_reply(true, input), expected.as_bytes(), "{input:?}");
    }
    assert_eq!(
        error_reply(true, b"*1\r\n\xff\r\n"),
        b"-ERR Protocol error: expected '$', got '\xff'\r\n"
    );
}

#[test]
fn lines_without_end_are_refused_at_64_kib() {
    let cases: [(&[u8], u8, ProtocolError); 4] = [
        (b"", b'a', ProtocolError::TooBigInline),
        (b"*", b'1', ProtocolError::TooBigMultibulkCount),
        (b"*1\r\n", b'$', ProtocolError::TooBigBulkCount),
        (b"*1\r\n", 0, ProtocolError::TooBigBulkCount),
    ];
    for (start, filler, error) in cases {
        let line_start = start.len() - usize::from(start == b"*");
        let mut input = start.to_vec();
        input.resize(line_start + 65536, filler);
        assert_eq!(run(Limits::default(), true, &[&input]).error, None);
        input.push(filler);
        assert_eq!(run(Limits::default(), true, &[&input]).error, Some(error));
    }
    let longest = [&[b'a'; 65536][..], b"\n"].concat();
    assert_eq!(requests(&longest), [[vec![b'a'; 65536]]]);
}

#[test]
fn a_client_without_authentication_may_send_little() {
    let cases: [(&[u8], &str); 3] = [
        (b"*11\r\n", "unauthenticated multibulk length"),
        (b"*2000000\r\n", "unauthenticated multibulk length"),
        (b"*1\r\n$16385\r\n", "unauthenticated bulk length"),
    ];
    for (input, text) in cases {
        let expected = format!("-ERR Protocol error: {text}\r\n");
        assert_eq!(error_reply(false, input), expected.as_bytes(), "{input:?}");
    }
    let allowed = encode(&vec![vec![b'a'; 16384]; 10]);
    assert_eq!(run(Limits::default(), false, &[&allowed]).requests.len(), 1);
    assert_eq!(
        error_reply(false, b"*2147483648\r\n"),
        b"-ERR Protocol error: invalid multibulk length\r\n"
    );

    let mut decoder = Decoder::new(Limits::default(), false);
    decoder.set_authenticated(true);
    assert_eq!(
        decoder.decode(b"*11\r\n"),
        Ok(Decoded::Incomplete { missing: 1 })
    );
}

#[test]
fn empty_requests_are_skipped_and_tolerated_forms_accepted() {
    let ping = || vec![b"PING".to_vec()];
    assert_eq!(
        requests(b"*0\r\n*-1\r\n*-99999999999\r\n\r\n\n  \t\r\n"),
        Vec::<Vec<Vec<u8>>>::new()
    );
    assert_eq!(
        requests(b"*0\r\nPING\n\r\n*1\r\n$4\r\nPING\r\n"),
        [ping(), ping()]
    );
    assert_eq!(
        requests(b"*1\rx$4\rxPINGxx"),
        [ping()],
        "line ends are not checked"
    );
    assert_eq!(
        requests(b"*2\r\n$0\r\n\r\n$2\r\n\r\n\r\n"),
        [[b"".to_vec(), b"\r\n".to_vec()]]
    );
    assert_eq!(
        requests(b"set 'a b' \"\\x00\\r\\n\"\r\n"),
        [[b"set".to_vec(), b"a b".to_vec(), b"\0\r\n".to_vec()]]
    );
}

#[test]
fn a_nul_hides_the_line_end_behind_it() {
    for input in [&b"PING\0\r\n"[..], b"*1\0\r\n", b"*1\r\n$4\0\r\nPING\r\n"] {
        let outcome = run(Limits::default(), true, &[input]);
        assert_eq!(outcome.pending_bytes, input.len());
        assert_eq!((outcome.requests.len(), outcome.error), (0, None));
    }
}

#[test]
fn a_declared_size_reserves_nothing() {
    let mut decoder = Decoder::new(Limits::default(), true);
    let header = b"*1000000\r\n";
    assert_eq!(
        decoder.decode(header),
        Ok(Decoded::Incomplete { missing: 1 })
    );
    assert_eq!(decoder.memory_bytes(), 0);
    let large = [&header[..], b"$536870912\r\nabc"].concat();
    let missing = 536_870_912 + 2 - 3;
    assert_eq!(decoder.decode(&large), Ok(Decoded::Incomplete { missing }));
    assert_eq!(decoder.memory_bytes(), 0);
    assert_eq!(reserve_bytes(missing), 256 << 10);
}

#[test]
fn a_whole_request_has_a_limit_too() {
    let limits = Limits {
        request_bytes_max: 100,
        ..Limits::default()
    };
    let fits = encode(&[vec![b'a'; 40], vec![b'b'; 40]]);
    assert_eq!(
        (fits.len(), run(limits, true, &[&fits]).requests.len()),
        (98, 1)
    );
    let above = encode(&[vec![b'a'; 40], vec![b'b'; 43]]);
    assert_eq!(
        run(limits, true, &[&above]).error,
        Some(ProtocolError::TooBigRequest)
    );
}

/// Quadratic work here would be some 10^10 steps.
#[test]
fn a_request_that_arrives_byte_by_byte_costs_linear_time() {
    let mut input = encode(&vec![b"x".to_vec(); 60_000]);
    input.extend_from_slice(&[b'a'; 60_000]);
    let mut decoder = Decoder::new(Limits::default(), true);
    let mut start = 0;
    for end in 1..=input.len() {
        match decoder.decode(&input[start..end]).expect("valid") {
            Decoded::Request { bytes } => {
                assert_eq!(decoder.request(&input[start..end]).len(), 60_000);
                start += bytes;
            }
            Decoded::Empty { .. } => panic!("no empty request was sent"),
            Decoded::Incomplete { .. } => {}
        }
    }
    assert_eq!(input.len() - start, 60_000);
}

#[test]
fn memory_of_a_large_request_is_given_back() {
    let mut decoder = Decoder::new(Limits::default(), true);
    let large = encode(&vec![Vec::new(); 100_000]);
    assert_eq!(
        decoder.decode(&large),
        Ok(Decoded::Request { bytes: large.len() })
    );
    assert!(decoder.memory_bytes() >= 800_000);
    assert_eq!(decoder.decode(b""), Ok(Decoded::Incomplete { missing: 1 }));
    assert_eq!(decoder.memory_bytes(), 0);
}

fn args() -> impl Strategy<Value = Vec<Vec<u8>>> {
    vec(vec(any::<u8>(), 0..40), 1..12)
}

/// Bytes that look like a request more often than chance allows.
fn request_like() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        4 => args().prop_map(|args| encode(&args)),
        2 => "[*$]-?[0-9]{0,4}\r\n".prop_map(String::into_bytes),
        2 => "[a-c \"'\\\\x4\t\r]{0,12}\r?\n".prop_map(String::into_bytes),
        1 => vec(any::<u8>(), 0..20),
    ];
    vec(piece, 0..6).prop_map(|pieces| pieces.concat())
}

/// Cuts `bytes` after each of these many bytes in turn, over and over.
fn cut<'a>(mut bytes: &'a [u8], sizes: &[usize]) -> Vec<&'a [u8]> {
    let mut chunks = Vec::new();
    for size in sizes.iter().cycle() {
        if bytes.is_empty() {
            break;
        }
        let (chunk, rest) = bytes.split_at((*size).min(bytes.len()));
        chunks.push(chunk);
        bytes = rest;
    }
    chunks
}

proptest! {
    #[test]
    fn encoded_requests_decode_to_themselves(
        pipeline in vec(args(), 1..5),
        sizes in vec(1..50_usize, 1..8),
    ) {
        let bytes = pipeline.iter().flat_map(|args| encode(args)).collect::<Vec<u8>>();
        for chunks in [cut(&bytes, &sizes), cut(&bytes, &[1]), vec![&bytes[..]]] {
            let outcome = run(Limits::default(), true, &chunks);
            prop_assert_eq!(&outcome.requests, &pipeline);
            prop_assert_eq!((outcome.error, outcome.pending_bytes), (None, 0));
        }
    }

    #[test]
    fn every_split_in_two_gives_the_same_request(args in vec(vec(any::<u8>(), 0..12), 1..5)) {
        let bytes = encode(&args);
        for middle in 0..=bytes.len() {
            let (head, tail) = bytes.split_at(middle);
            prop_assert_eq!(&run(Limits::default(), true, &[head, tail]).requests[0], &args);
        }
    }

    #[test]
    fn arbitrary_bytes_are_answered_the_same_however_cut(
        choice in any::<u8>(),
        bytes in prop_oneof![vec(any::<u8>(), 0..600), request_like()],
    ) {
        check_arbitrary(&[&[choice], &bytes[..]].concat());
    }

    #[test]
    fn mutated_requests_end_in_an_error_or_requests(
        choice in any::<u8>(),
        args in args(),
        mutations in vec((any::<prop::sample::Index>(), any::<u8>(), 0..3_u8), 1..4),
    ) {
        let mut bytes = encode(&args);
        for (place, byte, kind) in mutations {
            let index = place.index(bytes.len());
            match kind {
                0 => bytes[index] = byte,
                1 => bytes.insert(index, byte),
                _ => drop(bytes.remove(index)),
            }
        }
        check_arbitrary(&[&[choice], &bytes[..]].concat());
        // What is left waits for a length that the mutation made larger, and comes to an end.
        let mut closed = bytes.clone();
        closed.extend_from_slice(&[b'\n'; 70_000]);
        let outcome = run(Limits { bulk_bytes_max: 2000, ..Limits::default() }, true, &[&closed]);
        prop_assert!(outcome.error.is_some() || !outcome.requests.is_empty() || outcome.pending_bytes == 0);
    }
}
