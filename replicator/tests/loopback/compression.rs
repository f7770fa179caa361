//! Compressed batches on real links: that they arrive, with and without a dictionary, and what a peer that cannot read
//! them is sent, or one that writes nonsense is told.

use std::time::Duration;

use bytes::Bytes;
use greenwich_replicator::{
    compression::{COMPRESSED_BATCH_BYTES_MAX, Compression, CompressionError},
    endpoint::EndpointConfig,
    error::LinkError,
    link::Event,
};
use tokio::time::Instant;
use zstd::zstd_safe;

use crate::{
    common::{Link, Pair, connect, endpoints_of, next},
    violations::{Raw, closed_with, raw_of},
};

fn compressing(config: &mut EndpointConfig) {
    config.compression = Compression::Zstd;
}

/// A small batch of text, different for every number.
fn text_batch(number: u32) -> Bytes {
    let record = |key: u32| {
        let hash = key.wrapping_mul(2_654_435_761);
        format!(
            r#"{{"id":{hash},"user":"user-{}","state":"active"}}"#,
            hash % 9973
        )
    };
    (number * 3..number * 3 + 3)
        .map(record)
        .collect::<String>()
        .into()
}

/// Sends batch after batch until the peer holds a dictionary that the sender uses; then so many more. Returns the ratio
/// of the latter.
async fn send_texts(from: &mut Link, to: &mut Link, more: u32) -> f64 {
    let deadline = Instant::now() + Duration::from_secs(30);
    let (mut number, mut last, mut confirmed) = (0, u32::MAX, None);
    while number < last {
        assert!(
            Instant::now() < deadline,
            "no dictionary after {number} batches"
        );
        let batch = text_batch(number);
        from.0.send_batch(batch.clone()).unwrap();
        loop {
            match next(&mut to.1).await {
                Event::Batch(received) => {
                    assert_eq!(received, batch);
                    break;
                }
                Event::Notice(notice) => {
                    to.0.hear(notice).unwrap();
                    let Event::Notice(notice) = next(&mut from.1).await else {
                        panic!("expected the confirmation")
                    };
                    from.0.hear(notice).unwrap();
                    confirmed = Some(from.0.stats());
                    last = number + 1 + more;
                }
                other @ (Event::Control(_) | Event::Closed(_)) => panic!("{other:?}"),
            }
        }
        number += 1;
    }
    let (before, after) = (confirmed.unwrap(), from.0.stats());
    let encoded_bytes = after.encoded_batch_bytes - before.encoded_batch_bytes;
    encoded_bytes as f64 / (after.batch_bytes - before.batch_bytes) as f64
}

#[tokio::test]
async fn small_batches_of_text_shrink_to_less_than_half_with_a_dictionary() {
    let (east, west) = endpoints_of(compressing);
    let Pair {
        mut dialler,
        mut acceptor,
        ..
    } = connect(east, west).await;
    let there = send_texts(&mut dialler, &mut acceptor, 200).await;
    let back = send_texts(&mut acceptor, &mut dialler, 200).await;
    assert!(there < 0.5 && back < 0.5, "{there} {back}");
}

#[tokio::test]
async fn a_receiver_that_does_not_compress_itself_reads_compressed_batches() {
    let Pair {
        mut dialler,
        mut acceptor,
        ..
    } = {
        let cluster = crate::common::Cluster::new("shop");
        let east = cluster.endpoint_of("us-east", compressing);
        connect(east, cluster.endpoint("eu-west")).await
    };
    let text = Bytes::from("what is repeated ".repeat(1000));
    dialler.0.send_batch(text.clone()).unwrap();
    assert!(matches!(next(&mut acceptor.1).await, Event::Batch(batch) if batch == text));
    let stats = dialler.0.stats();
    assert_eq!(stats.batch_bytes, text.len() as u64);
    assert!(stats.encoded_batch_bytes < 1000, "{stats:?}");
    acceptor.0.send_batch(text.clone()).unwrap();
    assert!(matches!(next(&mut dialler.1).await, Event::Batch(batch) if batch == text));
    assert!(acceptor.0.stats().encoded_batch_bytes > text.len() as u64);
}

#[tokio::test]
async fn large_batches_pass_as_they_are() {
    let (east, west) = endpoints_of(compressing);
    let Pair {
        mut dialler,
        mut acceptor,
        ..
    } = connect(east, west).await;
    let large = Bytes::from(vec![5; COMPRESSED_BATCH_BYTES_MAX + 1]);
    dialler.0.send_batch(large.clone()).unwrap();
    let received = tokio::select! {
        received = next(&mut acceptor.1) => received,
        failed = async { while dialler.0.drive().await.is_ok() {} } => panic!("{failed:?}"),
    };
    assert!(matches!(received, Event::Batch(batch) if batch == large));
    assert_eq!(
        dialler.0.stats().encoded_batch_bytes,
        large.len() as u64 + 1
    );
}

async fn raw(alpn: &[u8]) -> Raw {
    raw_of(alpn, compressing).await
}

#[tokio::test]
async fn a_peer_that_offers_no_compression_is_sent_plain_batches() {
    let mut raw = raw(b"greenwich/1").await;
    let text = Bytes::from("what is repeated ".repeat(1000));
    raw.link.0.send_batch(text.clone()).unwrap();
    let mut stream = raw.peer.accept_uni().await.unwrap();
    assert_eq!(stream.read_to_end(1 << 20).await.unwrap(), text);
    let mut answer = raw.peer.open_uni().await.unwrap();
    answer.write_all(b"\x07bare").await.unwrap();
    answer.finish().unwrap();
    assert!(matches!(next(&mut raw.link.1).await, Event::Batch(batch) if batch == "\x07bare"));
}

/// What the node says of a stream with these bytes, having told the peer the same.
async fn refusal_of(stream: &[u8]) -> CompressionError {
    let mut raw = raw(b"greenwich/1+zstd").await;
    let mut sent = raw.peer.open_uni().await.unwrap();
    sent.write_all(stream).await.unwrap();
    sent.finish().unwrap();
    let error = closed_with(&mut raw).await;
    let told = raw.peer.closed().await.to_string();
    assert!(told.contains(&error.to_string()), "{told}, but {error}");
    let LinkError::Compression(error) = error else {
        panic!("{error}")
    };
    error
}

fn compressed(batch: &[u8]) -> Vec<u8> {
    let mut frame = Vec::with_capacity(zstd_safe::compress_bound(batch.len()));
    zstd_safe::compress(&mut frame, batch, 1).unwrap();
    [&[1][..], &frame].concat()
}

#[tokio::test]
async fn streams_that_cannot_be_read_close_the_link_with_the_reason() {
    assert_eq!(refusal_of(b"").await, CompressionError::Empty);
    assert_eq!(refusal_of(b"\x02x").await, CompressionError::Encoding(2));
    let garbage = refusal_of(b"\x01garbage").await;
    assert!(matches!(garbage, CompressionError::Damaged(_)), "{garbage}");
    let mut cut = compressed(&[7; 1000]);
    cut.pop();
    let cut = refusal_of(&cut).await;
    assert!(matches!(cut, CompressionError::Damaged(_)), "{cut}");
}

#[tokio::test]
async fn a_bomb_closes_the_link_before_it_is_expanded() {
    let bomb = compressed(&vec![0; 64 * COMPRESSED_BATCH_BYTES_MAX]);
    assert!(bomb.len() < 10_000, "{}", bomb.len());
    let bytes = 64 * COMPRESSED_BATCH_BYTES_MAX as u64;
    let limit = COMPRESSED_BATCH_BYTES_MAX.min(crate::violations::BATCH_BYTES_MAX);
    assert_eq!(
        refusal_of(&bomb).await,
        CompressionError::TooLarge { bytes, limit }
    );
}

#[tokio::test]
async fn a_batch_that_needs_an_unknown_dictionary_closes_the_link() {
    // A frame of a single segment with a number of one byte (RFC 8878, section 3.1.1.1).
    let frame = [1, 0x28, 0xb5, 0x2f, 0xfd, 0x21, 9, 0];
    let unknown = CompressionError::DictionaryUnknown {
        needed: 9,
        held: Vec::new(),
    };
    assert_eq!(refusal_of(&frame).await, unknown);
}

#[tokio::test]
async fn control_frames_of_this_layer_that_cannot_be_used_close_the_link() {
    for (frame, expected) in [
        (
            &b"\x03\0\0\x01abc"[..],
            "dictionary of 3 bytes cannot be used",
        ),
        (b"\x01\0\0\x07x", "control frame of unknown kind 7"),
        (b"\x01\0\0\x02x", "control frame of unknown kind 2"),
    ] {
        let mut raw = raw(b"greenwich/1+zstd").await;
        raw.control.write_all(frame).await.unwrap();
        let error = closed_with(&mut raw).await.to_string();
        assert_eq!(error, expected);
    }
    let mut raw = raw(b"greenwich/1+zstd").await;
    raw.control
        .write_all(b"\x04\0\0\x02\x05\0\0\0")
        .await
        .unwrap();
    let Event::Notice(notice) = next(&mut raw.link.1).await else {
        panic!("expected the confirmation")
    };
    let error = raw.link.0.hear(notice).unwrap_err().to_string();
    assert!(error.contains("holds dictionary 5"), "{error}");
}
