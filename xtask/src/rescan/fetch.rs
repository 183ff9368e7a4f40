//! A published image as files: every platform of it, each fetched into an OCI layout that a scanner reads.

use std::path::Path;

use anyhow::{Context as _, Result};
use serde::Deserialize;

use crate::exit::Failure;
use crate::layout::{Descriptor, INDEX, Layout, Manifest, Platform};
use crate::registry::{Raw, Repository};

/// What docker calls an index.
const DOCKER_INDEX: &str = "application/vnd.docker.distribution.manifest.list.v2+json";

/// One platform's image.
#[derive(Debug)]
pub struct Image {
    /// As the index says it; a single manifest does not.
    pub platform: Option<Platform>,
    pub raw: Raw,
}

#[derive(Deserialize)]
struct Index {
    manifests: Vec<Descriptor>,
}

/// The images behind a tag: itself, or one for each platform of an index. What a build tool attached to an index
/// (platform `unknown`) is no image.
///
/// # Errors
/// Exit 3: the registry does not answer, or has an index without what it names, or without an image.
pub async fn images(repository: &Repository, top: &Raw) -> Result<Vec<Image>> {
    if ![INDEX, DOCKER_INDEX].contains(&top.media_type.as_str()) {
        return Ok(vec![Image {
            platform: None,
            raw: top.clone(),
        }]);
    }
    let named = listed(&top.bytes).map_err(|why| half(repository, &format!("{}: {why}", top.digest)))?;
    let mut images = Vec::new();
    for (platform, digest) in named {
        let raw = repository.manifest(&digest).await?;
        let raw = raw.ok_or_else(|| {
            half(
                repository,
                &format!("an index names {digest}, which is not there"),
            )
        })?;
        images.push(Image {
            platform: Some(platform),
            raw,
        });
    }
    Ok(images)
}

fn listed(index: &[u8]) -> Result<Vec<(Platform, String)>, String> {
    let read: Index = serde_json::from_slice(index).map_err(|error| format!("no index: {error}"))?;
    let named = read.manifests.into_iter();
    let named = named.filter_map(|entry| Some((entry.platform?, entry.digest)));
    let images: Vec<_> = named.filter(|(platform, _)| platform.os != "unknown").collect();
    match images.is_empty() {
        true => Err("it names no image of a platform".to_owned()),
        false => Ok(images),
    }
}

/// Fetches an image into a layout of its own; every blob is checked against its digest on the way.
///
/// # Errors
/// Exit 3: the registry does not answer, or lacks a part of it. A disk that is full.
pub async fn fetch(repository: &Repository, image: &Raw, folder: &Path) -> Result<Layout> {
    let manifest: Manifest = serde_json::from_slice(&image.bytes)
        .map_err(|error| half(repository, &format!("{} is no image: {error}", image.digest)))?;
    let layout = Layout::create(folder)?;
    for part in manifest.parts() {
        let file = layout.blob(&part.digest);
        if !file.is_file() {
            repository.fetch_blob(part, &file).await?;
        }
    }
    let file = layout.blob(&image.digest);
    std::fs::write(&file, &image.bytes).with_context(|| format!("cannot write {}", file.display()))?;
    layout.name(&image.digest, "published")?;
    Ok(layout)
}

fn half(repository: &Repository, what: &str) -> Failure {
    let what = format!("{}: {what}", repository.shown());
    Failure::undecided(
        what,
        "see who writes there beside `cargo xtask release`, which reads back what it wrote",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_index_names_an_image_for_each_platform_and_what_is_attached_is_none() {
        let entry = |digest: &str, os: &str| {
            serde_json::json!({"mediaType": "m", "digest": digest, "size": 1,
                "platform": {"os": os, "architecture": "amd64"}})
        };
        let index = serde_json::json!({"manifests": [entry("sha256:a", "linux"), entry("sha256:b", "unknown"),
            {"mediaType": "m", "digest": "sha256:c", "size": 1}]});
        let found = listed(index.to_string().as_bytes()).unwrap();
        assert_eq!(found.len(), 1);
        assert_eq!(
            (found[0].0.to_string().as_str(), found[0].1.as_str()),
            ("linux/amd64", "sha256:a")
        );
        for none in [r#"{"manifests":[]}"#, "{}", "no json"] {
            assert!(listed(none.as_bytes()).is_err(), "{none}");
        }
    }
}
