//! The key of stateless resets, kept in a file across restarts: with it, peers learn of a restart in one round trip instead
//! of the idle time-out. Losing it costs no more than that.

use std::{fs, io, path::Path};

use ring::{
    hmac,
    rand::{SecureRandom, SystemRandom},
};

use crate::files::{self, write_whole};

const BYTES: usize = 64;

/// Reads the key, or makes one where there is none or not all of one.
pub(crate) fn load(path: &Path) -> io::Result<hmac::Key> {
    let bytes = match fs::read(path) {
        Ok(bytes) if bytes.len() == BYTES => bytes,
        Ok(bytes) => {
            let fresh = make(path)?;
            tracing::warn!(
                path = %path.display(),
                found_bytes = bytes.len(),
                expected_bytes = BYTES,
                "damaged reset key: made a new one; peers notice this restart a little later"
            );
            fresh
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => make(path)?,
        Err(error) => return Err(error),
    };
    Ok(hmac::Key::new(hmac::HMAC_SHA256, &bytes))
}

fn make(path: &Path) -> io::Result<Vec<u8>> {
    let mut fresh = vec![0; BYTES];
    SystemRandom::new()
        .fill(&mut fresh)
        .map_err(|_| io::Error::other("no randomness"))?;
    write_whole(path, &fresh, files::PRIVATE)?;
    Ok(fresh)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a key makes of a text: keys do not show themselves.
    fn tag(key: &hmac::Key) -> Vec<u8> {
        hmac::sign(key, b"text").as_ref().to_vec()
    }

    #[test]
    fn a_key_is_kept() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("reset.key");
        assert_eq!(tag(&load(&path).unwrap()), tag(&load(&path).unwrap()));
    }

    #[test]
    fn a_key_that_a_full_disk_cut_short_is_made_anew() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("reset.key");
        for left in [0, BYTES - 1, BYTES + 1] {
            fs::write(&path, vec![7; left]).unwrap();
            let fresh = tag(&load(&path).unwrap());
            assert_eq!(fs::read(&path).unwrap().len(), BYTES);
            assert_eq!(tag(&load(&path).unwrap()), fresh);
        }
    }
}
