//! Feeds arbitrary bytes to the request decoder.

#![no_main]

mod resp_check;

libfuzzer_sys::fuzz_target!(|input: &[u8]| resp_check::check_arbitrary(input));
