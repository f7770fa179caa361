//! Feeds arbitrary bytes to the batch decoder.

#![no_main]

mod frame_check;

libfuzzer_sys::fuzz_target!(|input: &[u8]| frame_check::check_batch(input));
