//! Any bytes as the filter of a call: refused, or a statement in which every value is bound.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| dataflow_service::fuzzing::filter(bytes));
