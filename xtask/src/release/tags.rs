//! Which tags an image gets. Pure: from git and Cargo.toml to names.

use semver::Version;

/// What is published.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Occasion {
    Version(Version),
    Branch(String),
    PullRequest(u64),
}

/// Every tag of an image for this occasion, the exact one first. `released`: versions that users can see already.
pub fn tags(occasion: &Occasion, commit: &str, released: &[Version]) -> Vec<String> {
    let _ = (occasion, commit, released);
    Vec::new()
}
