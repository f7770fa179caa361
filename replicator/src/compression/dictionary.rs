//! A dictionary from samples of what is sent.

use std::num::NonZeroU32;

use bytes::Bytes;
use zstd::{
    dict::{self, EncoderDictionary},
    zstd_safe::{self, CCtx},
};

/// Level 1 is a fifth faster and takes 4 to 6 % more bytes.
pub(super) const LEVEL: i32 = 3;

/// What a dictionary is trained to. Twice as much saves 1 to 2 %.
const DICTIONARY_BYTES: usize = 16 * 1024;

/// What a dictionary is trained from: sixteen times its size. Four times as much takes three times as long and finds
/// nothing better.
const SAMPLES_BYTES: usize = 256 * 1024;

/// Batches are sampled in pieces of this size, some from each, so that the samples are of many batches.
const PIECE_BYTES: usize = 1024;
const PIECE_BYTES_MIN: usize = 32;
const PIECES_OF_BATCH_MAX: usize = 8;

/// Of this many pieces, one is kept apart to try the dictionary on.
const TRIED_ONE_IN: usize = 8;

/// A dictionary that leaves more than this share of what is left without one is not worth its transfer.
const WORTH_SHARE: f64 = 0.9;

/// Pieces of recent batches.
#[derive(Debug, Default)]
pub(super) struct Samples {
    bytes: Vec<u8>,
    piece_bytes: Vec<usize>,
}

impl Samples {
    /// Adds pieces of a batch, and tells whether there are enough.
    pub(super) fn add(&mut self, batch: &[u8]) -> bool {
        for piece in batch.chunks(PIECE_BYTES).take(PIECES_OF_BATCH_MAX) {
            if piece.len() >= PIECE_BYTES_MIN {
                self.bytes.extend_from_slice(piece);
                self.piece_bytes.push(piece.len());
            }
        }
        self.bytes.len() >= SAMPLES_BYTES
    }

    fn pieces(&self) -> impl Iterator<Item = &[u8]> {
        let mut rest = self.bytes.as_slice();
        self.piece_bytes.iter().map(move |&bytes| {
            let (piece, behind) = rest.split_at(bytes);
            rest = behind;
            piece
        })
    }
}

/// A dictionary, and its prepared form for the encoder.
pub(super) struct Dictionary {
    pub(super) id: u32,
    pub(super) bytes: Bytes,
    pub(super) prepared: EncoderDictionary<'static>,
}

/// The number that zstd writes into frames which need this dictionary; none for bytes that were not trained.
pub(super) fn id_of(dictionary: &[u8]) -> Option<u32> {
    zstd_safe::get_dict_id_from_dict(dictionary).map(NonZeroU32::get)
}

/// Where a trained dictionary has its number, u32 little endian (RFC 8878, section 5).
const ID_BYTES: std::ops::Range<usize> = 4..8;

/// Trains a dictionary and numbers it `id`; `None` when one does not help. Takes tens of milliseconds.
pub(super) fn train(samples: &Samples, id: u8) -> Option<Dictionary> {
    let (mut bytes, mut piece_bytes) = (Vec::with_capacity(samples.bytes.len()), Vec::new());
    let mut tried = Vec::new();
    for (index, piece) in samples.pieces().enumerate() {
        if index % TRIED_ONE_IN == 0 {
            tried.push(piece);
        } else {
            bytes.extend_from_slice(piece);
            piece_bytes.push(piece.len());
        }
    }
    let mut trained = dict::from_continuous(&bytes, &piece_bytes, DICTIONARY_BYTES).ok()?;
    // A small number takes one byte of a frame; that of the trainer is random and takes four.
    trained
        .get_mut(ID_BYTES)?
        .copy_from_slice(&u32::from(id).to_le_bytes());
    let prepared = EncoderDictionary::try_copy(&trained, LEVEL).ok()?;
    is_worth_it(&prepared, &tried).then(|| Dictionary {
        id: u32::from(id),
        bytes: trained.into(),
        prepared,
    })
}

fn is_worth_it(dictionary: &EncoderDictionary<'_>, pieces: &[&[u8]]) -> bool {
    let mut context = CCtx::create();
    let mut out = Vec::with_capacity(zstd_safe::compress_bound(PIECE_BYTES));
    let (mut alone, mut with) = (0, 0);
    for piece in pieces {
        let size = |compressed: zstd_safe::SafeResult| compressed.unwrap_or(piece.len());
        alone += size(context.compress(&mut out, piece, LEVEL)).min(piece.len());
        with += size(context.compress_using_cdict(&mut out, piece, dictionary.as_cdict()));
    }
    (with as f64) < alone as f64 * WORTH_SHARE
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_are_of_many_batches_and_bounded() {
        let mut samples = Samples::default();
        let batch = vec![7; 1024 * 1024];
        let mut batches = 1;
        while !samples.add(&batch) {
            batches += 1;
        }
        assert_eq!(batches, SAMPLES_BYTES / PIECE_BYTES / PIECES_OF_BATCH_MAX);
        assert_eq!(samples.bytes.len(), SAMPLES_BYTES);
        assert_eq!(
            samples.pieces().map(<[u8]>::len).sum::<usize>(),
            SAMPLES_BYTES
        );
    }

    #[test]
    fn what_has_nothing_in_common_gets_no_dictionary() {
        let mut rng = greenwich_proto::rng::Rng::new(5);
        let mut samples = Samples::default();
        while !samples.add(&rng_bytes(&mut rng, 1300)) {}
        assert!(train(&samples, 1).is_none());
    }

    fn rng_bytes(rng: &mut greenwich_proto::rng::Rng, count: usize) -> Vec<u8> {
        let words = std::iter::repeat_with(|| rng.next_u64().to_le_bytes());
        words.flatten().take(count).collect()
    }
}
