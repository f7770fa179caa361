//! The greenwich binary.

use std::process::ExitCode;

fn main() -> ExitCode {
    greenwich::cli::main()
}
