use std::{
    sync::{LazyLock, Mutex, PoisonError},
    time::{Duration, Instant},
};

use bytes::Bytes;
use greenwich_proto::rng::Rng;
use proptest::prelude::*;
use tokio::runtime::{Builder, Runtime};

use super::{
    dictionary::{self, Dictionary, Samples},
    *,
};

/// Both ends of a link, and the time there.
struct Ends {
    encoder: Encoder,
    decoder: Decoder,
    now: Instant,
}

impl Ends {
    fn new() -> Self {
        let now = Instant::now();
        Self {
            encoder: Encoder::new(now),
            decoder: Decoder::new(COMPRESSED_BATCH_BYTES_MAX),
            now,
        }
    }

    /// Sends a batch, sees that it arrives as it was, and tells how many bytes it took.
    fn pass(&mut self, batch: &[u8]) -> usize {
        let stream = self.stream(batch);
        let bytes = stream.len();
        assert_eq!(self.decoder.decode(stream).unwrap(), batch);
        bytes
    }

    fn stream(&mut self, batch: &[u8]) -> Bytes {
        match self.encoder.encode(batch, self.now) {
            Some(frame) => [&[ZSTD][..], &frame].concat().into(),
            None => [&[PLAIN][..], batch].concat().into(),
        }
    }

    /// Sends texts until the encoder offers a dictionary, and returns that.
    async fn offered(&mut self, text: fn(u32) -> String) -> Bytes {
        let deadline = Instant::now() + Duration::from_secs(60);
        for number in 0.. {
            assert!(Instant::now() < deadline, "no dictionary was offered");
            self.pass(text(number).as_bytes());
            if let Some(dictionary) = self.encoder.take_offer(self.now) {
                return dictionary;
            }
            tokio::task::yield_now().await;
        }
        unreachable!("numbers do not end before the deadline")
    }

    fn take(&mut self, dictionary: &[u8]) -> u32 {
        let id = self.decoder.add_dictionary(dictionary).unwrap();
        self.encoder.confirm(id).unwrap();
        id
    }
}

fn record(number: u32) -> String {
    let hash = number.wrapping_mul(2_654_435_761);
    format!(
        r#"{{"id":{hash},"user":"user-{}","state":"active"}}"#,
        hash % 9973
    )
}

fn records(number: u32) -> String {
    (number..number + 3).map(record).collect()
}

/// Text of another kind.
fn orders(number: u32) -> String {
    let order = |number: u32| {
        let hash = number.wrapping_mul(2_246_822_519);
        format!(
            "<order no={hash} total={:05}><city>Oslo</city></order>",
            hash % 99_991
        )
    };
    (number..number + 5).map(order).collect()
}

fn random(rng: &mut Rng, count: usize) -> Vec<u8> {
    let words = std::iter::repeat_with(|| rng.next_u64().to_le_bytes());
    words.flatten().take(count).collect()
}

fn trained(id: u8) -> Dictionary {
    let mut samples = Samples::default();
    let mut numbers = 0..;
    while !samples.add(record(numbers.next().unwrap()).as_bytes()) {}
    dictionary::train(&samples, id).unwrap()
}

/// Where dictionaries are trained for tests that are no tasks.
static RUNTIME: LazyLock<Runtime> =
    LazyLock::new(|| Builder::new_current_thread().build().unwrap());

/// Ends that hold a dictionary, made once.
static READY: LazyLock<Mutex<Ends>> = LazyLock::new(|| {
    Mutex::new(RUNTIME.block_on(async {
        let mut ends = Ends::new();
        let dictionary = ends.offered(records).await;
        ends.take(&dictionary);
        ends
    }))
});

fn with_ready(act: impl FnOnce(&mut Ends)) {
    let mut ends = READY.lock().unwrap_or_else(PoisonError::into_inner);
    let _runtime = RUNTIME.enter();
    // Past every pause.
    ends.now += Duration::from_secs(20);
    act(&mut ends);
}

/// From nothing to some packets: text that the dictionary knows, noise, and both.
fn batches() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        any::<u32>().prop_map(|number| record(number).into_bytes()),
        proptest::collection::vec(any::<u8>(), 0..300),
        (any::<u8>(), 0..2000_usize).prop_map(|(byte, count)| vec![byte; count]),
    ];
    proptest::collection::vec(piece, 0..20).prop_map(|pieces| pieces.concat())
}

proptest! {
    #[test]
    fn every_batch_arrives_as_it_was(batch in batches()) {
        with_ready(|ends| {
            ends.pass(&batch);
        });
        // One batch is too little to train a dictionary from.
        Ends::new().pass(&batch);
    }

    #[test]
    fn damaged_streams_are_an_error_or_a_bounded_batch(
        batch in batches(),
        cut in any::<prop::sample::Index>(),
        damage in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4),
    ) {
        with_ready(|ends| {
            let mut stream = ends.stream(&batch).to_vec();
            for (at, byte) in damage {
                *at.get_mut(&mut stream) = byte;
            }
            stream.truncate(cut.index(stream.len() + 1));
            if let Ok(read) = ends.decoder.decode(stream.into()) {
                assert!(read.len() <= COMPRESSED_BATCH_BYTES_MAX);
            }
        });
    }

    #[test]
    fn garbage_is_an_error_or_a_bounded_batch(mut stream: Vec<u8>, is_frame: bool) {
        if is_frame {
            stream.splice(..0, [ZSTD, 0x28, 0xb5, 0x2f, 0xfd]);
        }
        with_ready(|ends| {
            let _unusable = ends.decoder.add_dictionary(&stream);
            if let Ok(read) = ends.decoder.decode(stream.into()) {
                assert!(read.len() <= COMPRESSED_BATCH_BYTES_MAX);
            }
        });
    }
}

#[tokio::test]
async fn a_dictionary_is_used_once_it_is_confirmed() {
    let mut ends = Ends::new();
    let dictionary = ends.offered(records).await;
    assert!(dictionary.len() <= DICTIONARY_BYTES_MAX);
    let batch = records(7);
    let before = ends.pass(batch.as_bytes());
    assert_eq!(ends.take(&dictionary), 1);
    let after = ends.pass(batch.as_bytes());
    assert!(2 * after < before, "{before} {after}");
    assert!(ends.encoder.take_offer(ends.now).is_none());
}

#[test]
fn a_dictionary_that_was_not_offered_cannot_be_confirmed() {
    let refused = Ends::new().encoder.confirm(1);
    let confirmed = 1;
    assert_eq!(
        refused,
        Err(CompressionError::DictionaryNotOffered { confirmed })
    );
}

#[tokio::test]
async fn what_does_not_shrink_is_sent_plain_and_tried_again_later() {
    let mut ends = Ends::new();
    let mut rng = Rng::new(3);
    let text = "what is repeated ".repeat(100);
    assert!(ends.encoder.encode(text.as_bytes(), ends.now).is_some());
    let mut tries = 0;
    while ends.encoder.encode(text.as_bytes(), ends.now).is_some() {
        for _ in 0..64 {
            ends.pass(&random(&mut rng, 2000));
        }
        tries += 1;
        assert!(tries < 10, "it never stops trying");
    }
    ends.now += Duration::from_secs(9);
    assert!(ends.encoder.encode(text.as_bytes(), ends.now).is_none());
    ends.now += Duration::from_secs(1);
    assert!(ends.encoder.encode(text.as_bytes(), ends.now).is_some());
}

#[tokio::test]
async fn a_dictionary_that_became_worse_is_replaced_a_minute_after_it_was_made() {
    let mut ends = Ends::new();
    let dictionary = ends.offered(records).await;
    ends.take(&dictionary);
    for number in 0..64 {
        ends.pass(records(number).as_bytes());
    }
    ends.now += Duration::from_secs(50);
    // More than a window for each pause, and more than the samples of a dictionary.
    for number in 0..3000 {
        ends.pass(orders(number).as_bytes());
        assert!(ends.encoder.take_offer(ends.now).is_none(), "too early");
        tokio::task::yield_now().await;
    }
    let old = ends.pass(orders(7).as_bytes());
    ends.now += Duration::from_secs(20);
    let dictionary = ends.offered(orders).await;
    assert_eq!(ends.take(&dictionary), 2);
    let new = ends.pass(orders(7).as_bytes());
    assert!(new < old, "{old} {new}");
}

#[tokio::test]
async fn small_batches_get_a_dictionary_though_the_first_ones_had_nothing_in_common() {
    let mut ends = Ends::new();
    let mut rng = Rng::new(3);
    // Twice the samples: the trainer's answer is looked for meanwhile.
    for _ in 0..5000 {
        ends.pass(&random(&mut rng, 100));
        assert!(ends.encoder.take_offer(ends.now).is_none());
        tokio::task::yield_now().await;
    }
    let deadline = Instant::now() + Duration::from_secs(60);
    while !ends.encoder.is_resting() {
        assert!(Instant::now() < deadline, "the trainer does not end");
        assert!(ends.encoder.take_offer(ends.now).is_none());
        tokio::task::yield_now().await;
    }
    ends.now += Duration::from_secs(60);
    let dictionary = ends.offered(records).await;
    assert_eq!(ends.take(&dictionary), 2);
}

#[test]
fn the_last_four_dictionaries_are_held() {
    let mut decoder = Decoder::new(COMPRESSED_BATCH_BYTES_MAX);
    let first = trained(1);
    let mut context = zstd::zstd_safe::CCtx::create();
    let mut frame = Vec::with_capacity(10_000);
    let batch = record(7);
    context
        .compress_using_cdict(&mut frame, batch.as_bytes(), first.prepared.as_cdict())
        .unwrap();
    let stream = Bytes::from([&[ZSTD][..], &frame].concat());
    decoder.add_dictionary(&first.bytes).unwrap();
    for id in 2..=5 {
        assert_eq!(decoder.decode(stream.clone()).unwrap(), batch);
        assert_eq!(
            decoder.add_dictionary(&trained(id).bytes),
            Ok(u32::from(id))
        );
    }
    let unknown = CompressionError::DictionaryUnknown {
        needed: 1,
        held: vec![2, 3, 4, 5],
    };
    assert_eq!(decoder.decode(stream), Err(unknown));
}

#[test]
fn a_batch_that_becomes_too_long_is_refused_by_what_it_says() {
    let mut decoder = Decoder::new(1000);
    let mut ends = Ends::new();
    let refused = decoder.decode(ends.stream(&[7; 1001]));
    let (bytes, limit) = (1001, 1000);
    assert_eq!(refused, Err(CompressionError::TooLarge { bytes, limit }));
    assert!(decoder.decode(ends.stream(&[7; 1000])).is_ok());
}

#[test]
fn a_frame_that_becomes_more_than_it_says_is_refused() {
    let mut ends = Ends::new();
    let stream = ends.stream(&[7; 1000]);
    // Two frames, of which only the first was asked for its size.
    let twice = [&stream[..], &stream[1..]].concat();
    let refused = ends.decoder.decode(twice.into());
    assert!(
        matches!(refused, Err(CompressionError::Damaged(_))),
        "{refused:?}"
    );
}
