//! The greenwich binary.

use std::process::ExitCode;

/// Holds a million entries as tightly as the system's allocator, and gives memory back that another thread took.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    greenwich::cli::main()
}
