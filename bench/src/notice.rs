//! What is said on standard error, which may be a closed pipe: there is nobody left to tell of that.

use std::{
    fmt::Display,
    io::{self, Write},
};

/// Says something to whoever runs this.
pub fn notice(text: impl Display) {
    let _unheard = writeln!(io::stderr(), "greenwich-bench: {text}");
}
