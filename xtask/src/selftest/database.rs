//! The vulnerability database of the fixtures: a few advisories, as Trivy reads them (`tests/it/bolt.rs` writes and
//! compares the file).

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use serde_json::json;

const BYTES: &[u8] = include_bytes!("database/trivy.db");

/// A vulnerable crate, its version, and the finding's name.
pub const VULNERABLE: (&str, &str, &str) = ("smallvec", "0.6.13", "CVE-2021-25900");

/// Puts the database below `root`, as old as it is told to be; returns the folder to name.
///
/// # Errors
/// A file that cannot be written.
pub fn put(root: &Path, age_days: i64) -> Result<PathBuf> {
    put_bytes(root, BYTES, age_days)
}

/// One that breaks off in the middle.
///
/// # Errors
/// A file that cannot be written.
pub fn put_half(root: &Path) -> Result<PathBuf> {
    put_bytes(root, &BYTES[..BYTES.len() / 2], 0)
}

fn put_bytes(root: &Path, bytes: &[u8], age_days: i64) -> Result<PathBuf> {
    let dir = root.join("database");
    let made = jiff::Timestamp::now() - jiff::SignedDuration::from_hours(24 * age_days);
    let metadata = json!({ "Version": 2, "UpdatedAt": made.to_string(), "NextUpdate": "2099-01-01T00:00:00Z",
        "DownloadedAt": made.to_string() });
    let written = std::fs::create_dir_all(dir.join("db"))
        .and_then(|()| std::fs::write(dir.join("db/trivy.db"), bytes))
        .and_then(|()| std::fs::write(dir.join("db/metadata.json"), metadata.to_string()));
    written.context("cannot write the fixtures' database")?;
    Ok(dir)
}
