//! A vulnerability database: which snapshot it is, how old, and whether it is whole.

mod bolt;

use std::path::{Path, PathBuf};

use anyhow::Result;
use serde::{Deserialize, Serialize};

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
    /// The file as it was when it was walked and hashed.
    pub seen_as: String,
}

/// A database, or why the files that should be one cannot be asked.
pub type Opened = Result<Database, String>;

impl Database {
    /// The database in a Trivy cache folder.
    ///
    /// # Errors
    /// Exit 2: the folder was named, but holds no database. One that is damaged is `Ok(Err(why))`.
    pub fn open(dir: &Path, cache: &Cache) -> Result<Opened> {
        let wrong = |what: &str, error: std::io::Error| {
            Failure::usage(
                format!("--vuln-db {}: {what}: {error}", dir.display()),
                "name a Trivy cache folder: it holds db/trivy.db and db/metadata.json",
            )
        };
        let metadata = std::fs::read(dir.join("db/metadata.json"));
        let metadata = metadata.map_err(|error| wrong("db/metadata.json", error))?;
        // The scanner runs in a folder of its own.
        let dir = std::path::absolute(dir).unwrap_or_else(|_| dir.to_path_buf());
        let file = dir.join("db/trivy.db");
        let seen_as = evidence::file(&file);
        let identity = identity(cache, &file).map_err(|error| wrong("db/trivy.db", error))?;
        Ok(DatabaseMetadata::parse(&metadata)
            .map_err(|why| format!("{}: {why}", dir.join("db/metadata.json").display()))
            .and_then(|metadata| match identity.damage {
                Some(damage) => Err(format!("{}: {damage}", file.display())),
                None => Ok(Database {
                    dir,
                    sha256: identity.sha256,
                    updated_at: metadata.updated_at,
                    seen_as,
                }),
            }))
    }

    pub fn file(&self) -> PathBuf {
        self.dir.join("db/trivy.db")
    }

    /// Whether the file is still the one that was walked and hashed.
    pub fn is_as_it_was(&self) -> bool {
        evidence::file(&self.file()) == self.seen_as
    }

    pub fn age_days(&self, now: jiff::Timestamp) -> i64 {
        now.duration_since(self.updated_at).as_hours() / 24
    }
}

/// What is known of a file that may be large: worked out once for as long as the file stays as it is.
#[derive(Clone, Serialize, Deserialize)]
struct Identity {
    sha256: String,
    damage: Option<String>,
}

fn identity(cache: &Cache, file: &Path) -> std::io::Result<Identity> {
    // An absent file must be an error, not an old answer.
    file.metadata()?;
    let as_it_is = (evidence::file(file), env!("HORME_PIPELINE"));
    if let Some(kept) = cache.get("database", &as_it_is) {
        return Ok(kept.value);
    }
    let damage = match bolt::crates(file)? {
        Ok(0) => Some("it knows no vulnerability of any Rust crate".to_owned()),
        Ok(_) => None,
        Err(why) => Some(why),
    };
    let identity = Identity {
        sha256: hash::of_file(file)?,
        damage,
    };
    cache.put("database", &as_it_is, &identity);
    Ok(identity)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TINY: &[u8] = include_bytes!("../../selftest/database/trivy.db");
    const METADATA: &str =
        r#"{"Version":2,"UpdatedAt":"2026-11-20T00:00:00Z","NextUpdate":"2099-01-01T00:00:00Z"}"#;

    fn opened(bytes: &[u8], metadata: &str) -> Opened {
        let folder = tempfile::tempdir().unwrap();
        let cache = Cache::new(folder.path().join("cache"), "run");
        std::fs::create_dir(folder.path().join("db")).unwrap();
        std::fs::write(folder.path().join("db/trivy.db"), bytes).unwrap();
        std::fs::write(folder.path().join("db/metadata.json"), metadata).unwrap();
        Database::open(folder.path(), &cache).unwrap()
    }

    #[test]
    fn a_whole_database_is_opened() {
        let database = opened(TINY, METADATA).unwrap();
        assert_eq!(database.updated_at.to_string(), "2026-11-20T00:00:00Z");
        assert_eq!(database.sha256.len(), 64);
    }

    #[test]
    fn a_damaged_one_names_the_file() {
        for bytes in [b"".as_slice(), b"no database", &TINY[..TINY.len() / 2]] {
            let why = opened(bytes, METADATA).unwrap_err();
            assert!(why.contains("db/trivy.db: "), "{why}");
        }
        for metadata in ["", "{}", &METADATA[..20], &METADATA.replace(":2,", ":3,")] {
            let why = opened(TINY, metadata).unwrap_err();
            assert!(why.contains("db/metadata.json: "), "{why}");
        }
    }
}
