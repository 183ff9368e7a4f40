//! Any text as a message to the WebSocket, and as an origin.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| nexus_gateway::fuzzing::message(bytes));
