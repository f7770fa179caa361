//! A clock of a region's own, which can be set wrong: libfaketime stands between a server and the system's clock. Only the
//! time of day is changed; what measures how long something takes is not.

use std::{
    ffi::OsString,
    fs, io,
    path::{Path, PathBuf},
};

/// Where distributions have the library.
const DIRECTORIES: [&str; 6] = [
    "/usr/lib/x86_64-linux-gnu/faketime",
    "/usr/lib/aarch64-linux-gnu/faketime",
    "/usr/lib64/faketime",
    "/usr/lib/faketime",
    "/usr/local/lib/faketime",
    "/opt/homebrew/lib/faketime",
];
const LIBRARY: &str = "libfaketimeMT.so.1";

/// Why a region cannot have a clock of its own.
#[derive(Debug, thiserror::Error)]
pub enum ClockError {
    /// There is no libfaketime.
    #[error(
        "clock-step needs libfaketime, which is in the package faketime: apt-get install faketime"
    )]
    NoLibrary,
    /// The file that says how far off the clock is.
    #[error("cannot write {}: {error}", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// Why not.
        error: io::Error,
    },
}

/// A clock that is off by what a file says.
#[derive(Clone, Debug)]
pub struct Clock {
    library: PathBuf,
    file: PathBuf,
}

impl Clock {
    /// A right one; `file` is its own.
    ///
    /// # Errors
    /// [`ClockError`].
    pub fn new(file: PathBuf) -> Result<Self, ClockError> {
        let mut libraries = DIRECTORIES
            .iter()
            .map(|directory| Path::new(directory).join(LIBRARY));
        let library = libraries
            .find(|library| library.is_file())
            .ok_or(ClockError::NoLibrary)?;
        let clock = Self { library, file };
        clock.set(0.0)?;
        Ok(clock)
    }

    /// Sets it forward, or back, by so many seconds more. Servers notice within a second.
    ///
    /// # Errors
    /// [`ClockError::Write`].
    pub fn step(&self, seconds: f64) -> Result<(), ClockError> {
        let text = fs::read_to_string(&self.file).unwrap_or_default();
        self.set(text.trim().parse().unwrap_or(0.0) + seconds)
    }

    fn set(&self, seconds: f64) -> Result<(), ClockError> {
        // A server that reads meanwhile finds the old text or the new one.
        let part = self.file.with_extension("part");
        fs::write(&part, format!("{seconds:+}\n"))
            .and_then(|()| fs::rename(&part, &self.file))
            .map_err(|error| ClockError::Write {
                path: self.file.clone(),
                error,
            })
    }

    /// What `env` gives a program so that it sees this clock.
    #[must_use]
    pub fn variables(&self) -> Vec<OsString> {
        let variable = |name: &str, value: &Path| {
            let mut variable = OsString::from(name);
            variable.push("=");
            variable.push(value);
            variable
        };
        vec![
            variable("LD_PRELOAD", &self.library),
            variable("FAKETIME_TIMESTAMP_FILE", &self.file),
            "FAKETIME_CACHE_DURATION=1".into(),
            "FAKETIME_DONT_FAKE_MONOTONIC=1".into(),
            "DONT_FAKE_MONOTONIC=1".into(),
        ]
    }
}

#[cfg(test)]
mod tests {
    use std::time::{SystemTime, UNIX_EPOCH};

    use super::*;
    use crate::server::Site;

    #[test]
    fn a_program_sees_the_clock_that_it_is_given() {
        let directory = tempfile::tempdir().unwrap();
        let clock = Clock::new(directory.path().join("clock"));
        let clock = clock.unwrap_or_else(|error| panic!("{error}"));
        let mut site = Site::on_loopback(&["a"]).unwrap().remove(0);
        site.clock = Some(clock.clone());
        let is_off_by = |seconds: i64| {
            let output = site.command(Path::new("date")).arg("+%s").output().unwrap();
            let seen: i64 = String::from_utf8_lossy(&output.stdout)
                .trim()
                .parse()
                .unwrap();
            let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
            (seen - now.as_secs() as i64 - seconds).abs() < 60
        };
        assert!(is_off_by(0));
        clock.step(86_400.0).unwrap();
        assert!(is_off_by(86_400));
        clock.step(-2.0 * 86_400.0).unwrap();
        assert!(is_off_by(-86_400));
    }
}
