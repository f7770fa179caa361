//! What must hold for the request decoder whatever it is fed. Shared by the fuzz target and the
//! property tests, so that a finding of the first becomes a case of the second.

use greenwich::resp::{Decoded, Decoder, Limits, ProtocolError, RequestBuf};

/// Small limits, so that inputs of a few hundred bytes reach every one of them.
pub(crate) const TIGHT: Limits = Limits {
    bulk_bytes_max: 200,
    args_max: 40,
    inline_bytes_max: 64,
    unauthenticated_args_max: 4,
    unauthenticated_bulk_bytes_max: 30,
    request_bytes_max: 400,
};

/// What a decoder made of a whole input.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Outcome {
    /// Every request, in order, with its arguments.
    pub(crate) requests: Vec<Vec<Vec<u8>>>,
    /// The error that ended the input, if one did.
    pub(crate) error: Option<ProtocolError>,
    /// Bytes left over, with which no request is complete; 0 after an error.
    pub(crate) pending_bytes: usize,
}

/// The first byte chooses the limits and how the rest is cut into reads; the rest is the input.
/// Panics when the decoder loops, holds too much, or answers differently for a different cut.
pub(crate) fn check_arbitrary(input: &[u8]) {
    let Some((&choice, bytes)) = input.split_first() else {
        return;
    };
    let limits = if choice & 1 == 0 {
        TIGHT
    } else {
        Limits::default()
    };
    let authenticated = choice & 2 == 0;
    let chunk_bytes = usize::from(choice >> 2) + 1;
    let whole = run(limits, authenticated, &[bytes]);
    let chunks: Vec<&[u8]> = bytes.chunks(chunk_bytes).collect();
    assert_eq!(run(limits, authenticated, &chunks), whole);
    for args in &whole.requests {
        check_round_trip(args);
    }
}

/// A request that was decoded, sent as an array, decodes to itself.
fn check_round_trip(args: &[Vec<u8>]) {
    let encoded = encode(args);
    let outcome = run(Limits::default(), true, &[&encoded]);
    assert_eq!(
        (outcome.requests.as_slice(), outcome.pending_bytes),
        (&[args.to_vec()][..], 0)
    );
}

/// A request as a client sends it.
pub(crate) fn encode(args: &[Vec<u8>]) -> Vec<u8> {
    let mut bytes = format!("*{}\r\n", args.len()).into_bytes();
    for arg in args {
        bytes.extend_from_slice(format!("${}\r\n", arg.len()).as_bytes());
        bytes.extend_from_slice(arg);
        bytes.extend_from_slice(b"\r\n");
    }
    bytes
}

/// Feeds `chunks` to a new decoder as a connection does: append, decode what is whole, drop it.
pub(crate) fn run(limits: Limits, authenticated: bool, chunks: &[&[u8]]) -> Outcome {
    let mut decoder = Decoder::new(limits, authenticated);
    let mut outcome = Outcome::default();
    let mut buf = Vec::new();
    let mut longest_bytes = 0;
    for chunk in chunks {
        buf.extend_from_slice(chunk);
        longest_bytes = longest_bytes.max(buf.len());
        let mut start = 0;
        loop {
            match decoder.decode(&buf[start..]) {
                Ok(Decoded::Request { bytes }) => {
                    assert!(bytes > 0 && bytes <= buf.len() - start);
                    let request = decoder.request(&buf[start..]);
                    assert!(!request.is_empty());
                    let kept: RequestBuf = request.to_buf();
                    outcome
                        .requests
                        .push(kept.as_request().iter().map(<[u8]>::to_vec).collect());
                    start += bytes;
                }
                Ok(Decoded::Empty { bytes }) => {
                    assert!(bytes > 0 && bytes <= buf.len() - start);
                    start += bytes;
                }
                Ok(Decoded::Incomplete { missing }) => {
                    assert!(missing > 0 && missing <= limits.bulk_bytes_max + 2);
                    assert!(decoder.request(&buf[start..]).is_empty());
                    break;
                }
                Err(error) => {
                    assert_eq!(decoder.decode(&buf[start..]), Err(error));
                    outcome.error = Some(error);
                    return outcome;
                }
            }
            assert!(decoder.memory_bytes() <= memory_bytes_max(longest_bytes));
        }
        assert!(decoder.memory_bytes() <= memory_bytes_max(longest_bytes));
        buf.drain(..start);
    }
    outcome.pending_bytes = buf.len();
    outcome
}

/// An argument takes 8 bytes of memory and at least 2 bytes of input, a vector may be twice as large
/// as its content, unquoted text is no longer than its line; and what is kept between requests.
fn memory_bytes_max(input_bytes: usize) -> usize {
    12 * input_bytes + 16 * 1024
}
