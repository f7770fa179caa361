//! Feeds arbitrary bytes to the control frame decoder.

#![no_main]

mod frame_check;

libfuzzer_sys::fuzz_target!(|input: &[u8]| frame_check::check_control(input));
