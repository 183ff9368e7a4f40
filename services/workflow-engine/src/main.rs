//! Runs workflows.
fn main() {}
