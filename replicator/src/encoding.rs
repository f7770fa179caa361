//! How a link writes its batches to their streams: as agreed with the peer, and as configured here.

use bytes::Bytes;
use tokio::time::Instant;

use crate::compression::{Compression, CompressionError, Encoder, PLAIN, ZSTD};

/// What is written to a batch's stream: its encoding, if the peer reads more than one, and the rest.
#[derive(Clone, Debug, Default)]
pub(crate) struct Encoded(pub(crate) [Bytes; 2]);

impl Encoded {
    pub(crate) const fn len(&self) -> usize {
        let [first, second] = &self.0;
        first.len() + second.len()
    }

    pub(crate) const fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// Writes the batches of one link, and counts them.
#[derive(Debug)]
pub(crate) struct Encoding {
    form: Form,
    pub(crate) batch_bytes: u64,
    pub(crate) encoded_batch_bytes: u64,
}

#[derive(Debug)]
enum Form {
    /// The peer knows of no encodings.
    Bare,
    Plain,
    Zstd(Box<Encoder>),
}

impl Encoding {
    pub(crate) fn new(is_agreed: bool, compression: Compression) -> Self {
        let form = match (is_agreed, compression) {
            (false, _) => Form::Bare,
            (true, Compression::None) => Form::Plain,
            (true, Compression::Zstd) => Form::Zstd(Box::new(Encoder::new(now()))),
        };
        Self {
            form,
            batch_bytes: 0,
            encoded_batch_bytes: 0,
        }
    }

    /// Returns the batch as it is to be written, and a dictionary that is to be sent, if there is a new one.
    pub(crate) fn encode(&mut self, batch: Bytes) -> (Encoded, Option<Bytes>) {
        self.batch_bytes += batch.len() as u64;
        let with = |encoding: &'static [u8], rest| Encoded([Bytes::from_static(encoding), rest]);
        let (encoded, dictionary) = match &mut self.form {
            Form::Bare => (Encoded([Bytes::new(), batch]), None),
            Form::Plain => (with(&[PLAIN], batch), None),
            Form::Zstd(encoder) => {
                let now = now();
                let encoded = match encoder.encode(&batch, now) {
                    Some(frame) => with(&[ZSTD], frame),
                    None => with(&[PLAIN], batch),
                };
                (encoded, encoder.take_offer(now))
            }
        };
        self.encoded_batch_bytes += encoded.len() as u64;
        (encoded, dictionary)
    }

    /// The peer says that it holds a dictionary.
    pub(crate) fn confirm(&mut self, id: u32) -> Result<(), CompressionError> {
        match &mut self.form {
            Form::Zstd(encoder) => encoder.confirm(id),
            Form::Bare | Form::Plain => {
                Err(CompressionError::DictionaryNotOffered { confirmed: id })
            }
        }
    }
}

fn now() -> std::time::Instant {
    Instant::now().into_std()
}
