//! Compresses batches while that pays, and keeps the dictionary fresh.

use std::{
    fmt,
    time::{Duration, Instant},
};

use bytes::Bytes;
use futures_util::FutureExt;
use tokio::task::{JoinHandle, spawn_blocking};
use zstd::{
    dict::EncoderDictionary,
    zstd_safe::{self, CCtx},
};

use super::{
    COMPRESSED_BATCH_BYTES_MAX, CompressionError,
    dictionary::{self, Dictionary, LEVEL, Samples},
};

/// A shorter batch is not worth the time: a frame's own header and tables take what is saved.
const ALONE_BYTES_MIN: usize = 512;
const WITH_DICTIONARY_BYTES_MIN: usize = 64;

/// The ratio is looked at after this many batches.
const WINDOW_BATCHES: u32 = 64;

/// Above this ratio compression stops for a while, and is tried again on a window of batches.
const PAYS_RATIO: f64 = 0.9;
const PAUSE: Duration = Duration::from_secs(10);

/// A ratio worse than the dictionary's first by this factor asks for a new one; so does a dictionary of this age, in
/// case that its first ratio was bad already.
const WORSE_FACTOR: f64 = 1.2;
const DICTIONARY_AGE_MAX: Duration = Duration::from_secs(15 * 60);
/// Not sooner after the last one than this.
const TRAINING_PAUSE: Duration = Duration::from_secs(60);

/// Compresses the batches of one link. Must be used on a tokio runtime: dictionaries are trained beside it.
pub struct Encoder {
    context: CCtx<'static>,
    out: Vec<u8>,
    /// The last one that the peer holds.
    dictionary: Option<EncoderDictionary<'static>>,
    stage: Stage,
    last_id: u8,
    trained_at: Instant,
    window: Window,
    /// The dictionary's first ratio.
    ratio_first: Option<f64>,
    paused_until: Option<Instant>,
}

/// Where the next dictionary comes from.
enum Stage {
    Sampling(Samples),
    Training(JoinHandle<Option<Dictionary>>),
    /// It waits to be confirmed by the peer. Its bytes are empty once they were taken.
    Offered(Box<Dictionary>),
    Resting,
}

#[derive(Clone, Copy, Debug, Default)]
struct Window {
    batches: u32,
    plain_bytes: u64,
    sent_bytes: u64,
}

impl Encoder {
    /// For a new link, whose peer holds no dictionary.
    #[must_use]
    pub fn new(now: Instant) -> Self {
        Self {
            context: CCtx::create(),
            out: Vec::new(),
            dictionary: None,
            stage: Stage::Sampling(Samples::default()),
            last_id: 0,
            trained_at: now,
            window: Window::default(),
            ratio_first: None,
            paused_until: None,
        }
    }

    /// The batch as a zstd frame; `None` when it is better sent plain.
    pub fn encode(&mut self, batch: &[u8], now: Instant) -> Option<Bytes> {
        self.sample(batch, now);
        if self.paused_until.is_some_and(|until| now < until) {
            return None;
        }
        self.paused_until = None;
        let bytes_min = match self.dictionary {
            Some(_) => WITH_DICTIONARY_BYTES_MIN,
            None => ALONE_BYTES_MIN,
        };
        if !(bytes_min..=COMPRESSED_BATCH_BYTES_MAX).contains(&batch.len()) {
            return None;
        }
        self.out.clear();
        self.out.reserve(zstd_safe::compress_bound(batch.len()));
        let compressed = match &self.dictionary {
            Some(dictionary) => {
                self.context
                    .compress_using_cdict(&mut self.out, batch, dictionary.as_cdict())
            }
            None => self.context.compress(&mut self.out, batch, LEVEL),
        };
        let bytes = compressed.map_or(batch.len(), |bytes| bytes.min(batch.len()));
        self.note(batch.len(), bytes, now);
        (bytes < batch.len()).then(|| Bytes::copy_from_slice(&self.out))
    }

    /// A dictionary to send to the peer, once, when one was trained.
    pub fn take_offer(&mut self, now: Instant) -> Option<Bytes> {
        let Stage::Training(training) = &mut self.stage else {
            return None;
        };
        // A panic of the trainer is as good as no dictionary.
        let trained = training.now_or_never()?.ok().flatten();
        self.trained_at = now;
        let Some(dictionary) = trained else {
            tracing::debug!("no dictionary helps");
            self.stage = Stage::Resting;
            return None;
        };
        tracing::debug!(
            id = dictionary.id,
            bytes = dictionary.bytes.len(),
            "trained a dictionary"
        );
        let bytes = dictionary.bytes.clone();
        self.stage = Stage::Offered(Box::new(dictionary));
        Some(bytes)
    }

    /// The peer holds the dictionary that was sent: it is used from here on.
    ///
    /// # Errors
    /// [`CompressionError::DictionaryNotOffered`].
    pub fn confirm(&mut self, confirmed: u32) -> Result<(), CompressionError> {
        match std::mem::replace(&mut self.stage, Stage::Resting) {
            Stage::Offered(dictionary) if dictionary.id == confirmed => {
                self.dictionary = Some(dictionary.prepared);
                self.window = Window::default();
                (self.ratio_first, self.paused_until) = (None, None);
                Ok(())
            }
            Stage::Offered(_) | Stage::Sampling(_) | Stage::Training(_) | Stage::Resting => {
                Err(CompressionError::DictionaryNotOffered { confirmed })
            }
        }
    }

    #[cfg(test)]
    pub(super) const fn is_resting(&self) -> bool {
        matches!(self.stage, Stage::Resting)
    }

    fn sample(&mut self, batch: &[u8], now: Instant) {
        // Without a dictionary small batches are not tried, and no ratio says that one is due.
        if self.dictionary.is_none() {
            self.sample_again(TRAINING_PAUSE, now);
        }
        let Stage::Sampling(samples) = &mut self.stage else {
            return;
        };
        if samples.add(batch) {
            let samples = std::mem::take(samples);
            self.last_id = self.last_id % u8::MAX + 1;
            let id = self.last_id;
            self.stage = Stage::Training(spawn_blocking(move || dictionary::train(&samples, id)));
        }
    }

    /// Counts a batch, and draws the conclusions from a window of them.
    fn note(&mut self, plain_bytes: usize, sent_bytes: usize, now: Instant) {
        self.window.batches += 1;
        self.window.plain_bytes += plain_bytes as u64;
        self.window.sent_bytes += sent_bytes as u64;
        if self.window.batches < WINDOW_BATCHES {
            return;
        }
        let Window {
            plain_bytes,
            sent_bytes,
            ..
        } = std::mem::take(&mut self.window);
        let ratio = sent_bytes as f64 / plain_bytes as f64;
        let pays = ratio <= PAYS_RATIO;
        if !pays {
            self.paused_until = Some(now + PAUSE);
        }
        let is_worse = !pays || ratio > WORSE_FACTOR * *self.ratio_first.get_or_insert(ratio);
        self.sample_again(
            match is_worse {
                true => TRAINING_PAUSE,
                false => DICTIONARY_AGE_MAX,
            },
            now,
        );
    }

    /// Begins with the next dictionary when the last training is as old as this.
    fn sample_again(&mut self, age_min: Duration, now: Instant) {
        if matches!(self.stage, Stage::Resting) && now.duration_since(self.trained_at) >= age_min {
            self.stage = Stage::Sampling(Samples::default());
        }
    }
}

impl fmt::Debug for Encoder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Encoder")
            .field("last_id", &self.last_id)
            .field("window", &self.window)
            .field("ratio_first", &self.ratio_first)
            .finish_non_exhaustive()
    }
}
