//! A tiny service (`examples/tiny.rs`) as a process: what only a process can show.

mod commands;
mod draining;
mod requests;
mod settings;

use std::path::PathBuf;

use testkit::{Service, Starting};

/// Cargo builds examples with the tests, beside them.
fn tiny() -> Starting {
    let test = std::env::current_exe().expect("the test's own path");
    let profile: PathBuf = test
        .ancestors()
        .nth(2)
        .expect("target/<profile>/deps/<test>")
        .into();
    Service::new(profile.join("examples/tiny"))
}
