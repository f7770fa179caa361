//! What compression of batches costs and saves, without a network: values of loads with JSON, in batches as a session
//! builds them.
//!
//! ```console
//! $ cargo run --release -p greenwich-bench --example compression
//! ```

use std::time::{Duration, Instant};

use bytes::Bytes;
use greenwich_bench::load::values::{ValueContent, ValueSize, Values};
use greenwich_proto::{
    entry::{Body, Deadline, EntryRef, layout, totals::Totals},
    hlc::{Origin, Stamp, Version},
    log::LANES,
    settled::Settled,
    wire::batch::{self, Range},
};
use greenwich_replicator::compression::{COMPRESSED_BATCH_BYTES_MAX, Decoder, Encoder};
use rand::{RngExt, SeedableRng, rngs::StdRng};

const BATCHES: usize = 1000;
/// The first byte of a stream with a compressed batch.
const ZSTD: u8 = 1;

#[tokio::main(flavor = "current_thread")]
async fn main() {
    println!("value  updates  batch    alone              with dictionary");
    println!("bytes  a batch  bytes    ratio   µs in/out  ratio   µs in/out");
    for value_bytes in [100, 500] {
        let mut source = Source::new(value_bytes);
        let mut alone = Encoder::new(Instant::now());
        let (mut trained, mut decoder, training) = with_dictionary(&mut source).await;
        for updates in [3, 10, 30, 100] {
            let batches: Vec<_> = (0..BATCHES).map(|_| source.batch(updates)).collect();
            let bytes: usize = batches.iter().map(Vec::len).sum();
            let (plain, held) = (
                measure(&mut alone, &mut decoder, &batches),
                measure(&mut trained, &mut decoder, &batches),
            );
            println!(
                "{value_bytes:5}  {updates:7}  {:5}    {plain}  {held}",
                bytes / BATCHES
            );
        }
        println!(
            "the dictionary came {:.0} ms after the last sample",
            training.as_secs_f64() * 1e3
        );
    }
}

/// An encoder whose dictionary the decoder holds, and how long it took to train it.
async fn with_dictionary(source: &mut Source) -> (Encoder, Decoder, Duration) {
    let mut encoder = Encoder::new(Instant::now());
    let mut decoder = Decoder::new(COMPRESSED_BATCH_BYTES_MAX);
    let mut sampled_bytes = 0;
    while sampled_bytes < 256 * 1024 {
        let batch = source.batch(10);
        sampled_bytes += batch.len();
        encoder.encode(&batch, Instant::now());
    }
    let started = Instant::now();
    loop {
        if let Some(dictionary) = encoder.take_offer(Instant::now()) {
            let training = started.elapsed();
            let id = decoder.add_dictionary(&dictionary).expect("it was trained");
            encoder.confirm(id).expect("it was offered");
            return (encoder, decoder, training);
        }
        // A few bytes more may be needed: tails of batches are not sampled.
        encoder.encode(&source.batch(1), Instant::now());
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

struct Measured {
    ratio: f64,
    encode: Duration,
    decode: Duration,
}

impl std::fmt::Display for Measured {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let micros = |time: Duration| time.as_secs_f64() * 1e6 / BATCHES as f64;
        write!(
            f,
            "{:.3} {:6.1}/{:<5.1}",
            self.ratio,
            micros(self.encode),
            micros(self.decode)
        )
    }
}

fn measure(encoder: &mut Encoder, decoder: &mut Decoder, batches: &[Vec<u8>]) -> Measured {
    let (mut bytes, mut sent_bytes) = (0, 0);
    let (mut encode, mut decode) = (Duration::ZERO, Duration::ZERO);
    for batch in batches {
        let started = Instant::now();
        let frame = encoder.encode(batch, started);
        encode += started.elapsed();
        bytes += batch.len();
        sent_bytes += 1 + frame.as_ref().map_or(batch.len(), Bytes::len);
        if let Some(frame) = frame {
            let stream = Bytes::from([&[ZSTD][..], &frame].concat());
            let started = Instant::now();
            let read = decoder.decode(stream).expect("it was encoded");
            decode += started.elapsed();
            assert_eq!(read, batch);
        }
    }
    Measured {
        ratio: sent_bytes as f64 / bytes as f64,
        encode,
        decode,
    }
}

/// Batches of a session under a load of 10,000 updates a second of keys that are spread evenly.
struct Source {
    random: StdRng,
    values: Values,
    batches: u64,
    updates: u64,
    heads: [u64; LANES],
}

impl Source {
    fn new(value_bytes: usize) -> Self {
        let mut random = StdRng::seed_from_u64(7);
        let size = ValueSize::Fixed(value_bytes);
        let values = Values::new(size, ValueContent::Json, &mut random);
        Self {
            random,
            values,
            batches: 50_000,
            updates: 0,
            heads: [100_000; LANES],
        }
    }

    fn stamp(&self) -> u64 {
        let ms = 1_795_000_000_000 + self.updates / 10;
        (ms << 16) | (self.updates % 10)
    }

    fn batch(&mut self, updates: usize) -> Vec<u8> {
        let before = self.heads;
        let mut items = Vec::new();
        for _ in 0..updates {
            self.updates += 1;
            let lane = self.random.random_range(0..LANES);
            self.heads[lane] += 1;
            let key = format!("key:{:012}", self.random.random_range(0..1_000_000));
            let version = Version {
                stamp: Stamp(self.stamp()),
                origin: Origin(1),
            };
            let entry = EntryRef {
                key: key.as_bytes(),
                version,
                body: Body::Bytes(self.values.pick(&mut self.random)),
                deadline: Deadline { version, at: None },
                totals: Totals::EMPTY,
            };
            batch::put_entry(&layout::to_box(&entry), &mut items);
        }
        let ranges: Vec<_> = (0..LANES)
            .filter(|&lane| self.heads[lane] > before[lane])
            .map(|lane| Range {
                lane,
                after: before[lane],
                up_to: self.heads[lane],
            })
            .collect();
        self.batches += 1;
        let forgotten = Settled::up_to(Stamp(self.stamp().saturating_sub(200 << 16)));
        let mut batch = Vec::new();
        batch::put_header(self.batches, &forgotten, &ranges, &mut batch);
        batch.extend_from_slice(&items);
        batch
    }
}
