//! Adapters of outside programs: pure functions that build an argument vector or parse captured output.
//! Nothing here starts anything: that is `process.rs`.

pub mod bake;
pub mod baking;
pub mod cargo;
pub mod compose;
pub mod cosign;
pub mod git;
pub mod hadolint;
pub mod imagetools;
pub mod index;
pub mod trivy;
