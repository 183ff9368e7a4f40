//! A vulnerability database: which snapshot it is, and how old.

use std::path::{Path, PathBuf};

use anyhow::Result;
use serde::Serialize;

use crate::cache::Cache;
use crate::evidence;
use crate::exit::Failure;
use crate::hash;
use crate::tool::trivy::DatabaseMetadata;

/// A vulnerability database, by what it is and when it was made.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Database {
    /// The Trivy cache folder that holds it.
    pub dir: PathBuf,
    /// SHA-256 of `trivy.db`: which snapshot judged.
    pub sha256: String,
    pub updated_at: jiff::Timestamp,
}

impl Database {
    /// The database in a Trivy cache folder.
    ///
    /// # Errors
    /// Exit 2: the folder was named, but holds no readable database.
    pub fn open(dir: &Path, cache: &Cache) -> Result<Self> {
        let wrong = |what: &str, why: String| {
            Failure::usage(
                format!("--vuln-db {}: {what}: {why}", dir.display()),
                "name a Trivy cache folder: it holds db/trivy.db and db/metadata.json",
            )
        };
        let metadata = std::fs::read_to_string(dir.join("db/metadata.json"));
        let metadata = metadata.map_err(|error| wrong("db/metadata.json", error.to_string()))?;
        let metadata: DatabaseMetadata =
            serde_json::from_str(&metadata).map_err(|error| wrong("db/metadata.json", error.to_string()))?;
        let file = dir.join("db/trivy.db");
        let sha256 = identity(cache, &file).map_err(|error| wrong("db/trivy.db", error.to_string()))?;
        Ok(Database {
            // The scanner runs in a folder of its own.
            dir: std::path::absolute(dir).unwrap_or_else(|_| dir.to_path_buf()),
            sha256,
            updated_at: metadata.updated_at,
        })
    }

    pub fn age_days(&self, now: jiff::Timestamp) -> i64 {
        now.duration_since(self.updated_at).as_hours() / 24
    }
}

/// SHA-256 of a file that may be large: worked out once for as long as the file stays as it is.
fn identity(cache: &Cache, file: &Path) -> std::io::Result<String> {
    // An absent file must be an error, not an old answer.
    file.metadata()?;
    let as_it_is = evidence::file(file);
    if let Some(kept) = cache.get("file", &as_it_is) {
        return Ok(kept.value);
    }
    let sha256 = hash::of_file(file)?;
    cache.put("file", &as_it_is, &sha256);
    Ok(sha256)
}
