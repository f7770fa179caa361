//! The story of a run, as lines that name virtual time only: the same seed tells it in the same words.

use std::fmt::{self, Write as _};

use greenwich_proto::time::Time;

/// Lines of a run, or nothing when nobody wants them.
#[derive(Debug, Default)]
pub struct Trace {
    text: Option<String>,
}

impl Trace {
    /// Keeps no lines.
    #[must_use]
    pub const fn off() -> Self {
        Self { text: None }
    }

    /// Keeps every line.
    #[must_use]
    pub const fn on() -> Self {
        Self {
            text: Some(String::new()),
        }
    }

    /// Whether lines are kept.
    #[must_use]
    pub const fn is_on(&self) -> bool {
        self.text.is_some()
    }

    /// Adds a line: when, who, what.
    pub fn line(&mut self, now: Time, who: &str, what: fmt::Arguments<'_>) {
        if let Some(text) = &mut self.text {
            let (millis, micros) = (now.0 / 1_000, now.0 % 1_000);
            writeln!(text, "{millis:>7}.{micros:03} {who:<9} {what}")
                .expect("a string takes every line");
        }
    }

    /// The lines.
    #[must_use]
    pub fn text(&self) -> &str {
        self.text.as_deref().unwrap_or_default()
    }
}
