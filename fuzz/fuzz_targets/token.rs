//! Any bytes as a token: refused, unless it says what a token of ours said.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| nexus_gateway::fuzzing::token(bytes));
