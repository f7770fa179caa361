//! Reads streams that carry batches, with the dictionaries that the peer has sent.

use std::{collections::VecDeque, fmt};

use bytes::{Buf, Bytes};
use zstd::{
    dict::DecoderDictionary,
    zstd_safe::{self, DCtx},
};

use super::{
    COMPRESSED_BATCH_BYTES_MAX, CompressionError, DICTIONARY_BYTES_MAX, PLAIN, ZSTD, dictionary,
};

/// Dictionaries that are held: the peer makes a new one once a minute at most, and no batch is under way for so long.
const DICTIONARIES_MAX: usize = 4;

/// Reads batches of one link.
pub struct Decoder {
    /// Made with the first compressed batch.
    context: Option<DCtx<'static>>,
    /// The newest last.
    dictionaries: VecDeque<(u32, DecoderDictionary<'static>)>,
    bytes_max: usize,
}

impl Decoder {
    /// For a link whose batches have at most `batch_bytes_max` bytes.
    #[must_use]
    pub fn new(batch_bytes_max: usize) -> Self {
        Self {
            context: None,
            dictionaries: VecDeque::new(),
            bytes_max: batch_bytes_max.min(COMPRESSED_BATCH_BYTES_MAX),
        }
    }

    /// Takes a dictionary in and tells its number, by which batches name it. The oldest is forgotten when there are
    /// too many.
    ///
    /// # Errors
    /// [`CompressionError::DictionaryUnusable`].
    pub fn add_dictionary(&mut self, bytes: &[u8]) -> Result<u32, CompressionError> {
        let unusable = CompressionError::DictionaryUnusable { bytes: bytes.len() };
        if bytes.len() > DICTIONARY_BYTES_MAX {
            return Err(unusable);
        }
        let id = dictionary::id_of(bytes).ok_or_else(|| unusable.clone())?;
        let dictionary = DecoderDictionary::try_copy(bytes).map_err(|_| unusable)?;
        self.dictionaries.retain(|(held, _)| *held != id);
        if self.dictionaries.len() == DICTIONARIES_MAX {
            self.dictionaries.pop_front();
        }
        self.dictionaries.push_back((id, dictionary));
        Ok(id)
    }

    /// The batch that a stream carries. A plain one is not copied.
    ///
    /// # Errors
    /// [`CompressionError`] for anything that no [`super::Encoder`] writes, before memory is taken for it.
    pub fn decode(&mut self, mut stream: Bytes) -> Result<Bytes, CompressionError> {
        match stream.first() {
            None => Err(CompressionError::Empty),
            Some(&PLAIN) => {
                stream.advance(1);
                Ok(stream)
            }
            Some(&ZSTD) => self.expand(&stream[1..]),
            Some(&encoding) => Err(CompressionError::Encoding(encoding)),
        }
    }

    fn expand(&mut self, frame: &[u8]) -> Result<Bytes, CompressionError> {
        let size = zstd_safe::get_frame_content_size(frame)
            .map_err(|_| CompressionError::Damaged("it has no header"))?
            .ok_or(CompressionError::SizeUnknown)?;
        let too_large = CompressionError::TooLarge {
            bytes: size,
            limit: self.bytes_max,
        };
        let size = usize::try_from(size).map_err(|_| too_large.clone())?;
        if size > self.bytes_max {
            return Err(too_large);
        }
        let dictionary = match zstd_safe::get_dict_id_from_frame(frame) {
            None => None,
            Some(id) => Some(self.dictionary(id.get())?),
        };
        let context = self.context.get_or_insert_with(DCtx::create);
        let mut batch = Vec::with_capacity(size);
        match dictionary {
            Some(held) => {
                let dictionary = self.dictionaries[held].1.as_ddict();
                context.decompress_using_ddict(&mut batch, frame, dictionary)
            }
            None => context.decompress(&mut batch, frame),
        }
        .map_err(|code| CompressionError::Damaged(zstd_safe::get_error_name(code)))?;
        Ok(batch.into())
    }

    /// Where a dictionary is held.
    fn dictionary(&self, needed: u32) -> Result<usize, CompressionError> {
        let mut held = self.dictionaries.iter().map(|(id, _)| *id);
        held.clone().position(|id| id == needed).ok_or_else(|| {
            CompressionError::DictionaryUnknown {
                needed,
                held: held.by_ref().collect(),
            }
        })
    }
}

impl fmt::Debug for Decoder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let held: Vec<_> = self.dictionaries.iter().map(|(id, _)| id).collect();
        f.debug_struct("Decoder")
            .field("dictionaries", &held)
            .finish_non_exhaustive()
    }
}
