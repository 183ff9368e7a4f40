//! Images: their digest and configuration, tags, and the archive that the static gates read.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;

use anyhow::{Context as _, Result};
use bollard::query_parameters::{
    ListImagesOptionsBuilder, RemoveImageOptionsBuilder, TagImageOptionsBuilder,
};
use tokio::io::AsyncWriteExt;

use super::{Engine, exists_already, is_absent, next, refused};

/// How often a tag is set again that another run was setting at the same moment.
const TAG_TRIES: u32 = 5;

/// An image as the engine holds it.
#[derive(Debug, Clone, Default)]
pub struct ImageFacts {
    /// With the containerd store the digest of the manifest, `sha256:...`.
    pub id: String,
    pub labels: BTreeMap<String, String>,
    pub user: String,
    /// `NAME=value` of each variable in the configuration.
    pub env: Vec<String>,
}

impl Engine {
    /// What the engine knows of an image; `None` where it has none of that name.
    pub async fn image(&self, name: &str) -> Result<Option<ImageFacts>> {
        let found = match self.docker.inspect_image(name).await {
            Ok(found) => found,
            Err(error) if is_absent(&error) => return Ok(None),
            Err(error) => return Err(refused(&format!("inspect the image {name}"), &error)),
        };
        let config = found.config.unwrap_or_default();
        Ok(Some(ImageFacts {
            id: found.id.unwrap_or_default(),
            labels: config.labels.unwrap_or_default().into_iter().collect(),
            user: config.user.unwrap_or_default(),
            env: config.env.unwrap_or_default(),
        }))
    }

    /// Whether an image says how its health is checked.
    ///
    /// # Errors
    /// The engine's.
    pub async fn has_healthcheck(&self, name: &str) -> Result<bool> {
        let found = self.docker.inspect_image(name).await;
        let found = found.map_err(|error| refused(&format!("inspect the image {name}"), &error))?;
        let test = found.config.and_then(|config| config.healthcheck?.test);
        Ok(test.is_some_and(|test| test.first().is_some_and(|word| word != "NONE")))
    }

    /// What stands behind each name now: name -> id, `absent` where the engine has none.
    pub async fn ids<'n>(
        &self,
        names: impl IntoIterator<Item = &'n str>,
    ) -> Result<BTreeMap<String, String>> {
        let mut ids = BTreeMap::new();
        for name in names {
            let id = self
                .image(name)
                .await?
                .map_or("absent".to_owned(), |facts| facts.id);
            ids.insert(name.to_owned(), id);
        }
        Ok(ids)
    }

    /// The references that fit a pattern such as `repository:prefix-*`, each with the time at which it was given
    /// its tag (nanoseconds since 1970; 0 where the engine does not tell).
    pub async fn references(&self, pattern: &str) -> Result<Vec<(String, i128)>> {
        let filter = HashMap::from([("reference", vec![pattern.to_owned()])]);
        let options = ListImagesOptionsBuilder::default().filters(&filter).build();
        let images = self.docker.list_images(Some(options)).await;
        let images = images.map_err(|error| refused("list images", &error))?;
        let prefix = pattern.trim_end_matches('*');
        let mut references = Vec::new();
        for tag in images
            .into_iter()
            .flat_map(|image| image.repo_tags)
            .filter(|tag| tag.starts_with(prefix))
        {
            let found = self.docker.inspect_image(&tag).await.ok();
            let tagged_at =
                found.and_then(|image| image.metadata?.last_tag_time?.parse::<jiff::Timestamp>().ok());
            references.push((tag, tagged_at.map_or(0, |at| at.as_nanosecond())));
        }
        Ok(references)
    }

    /// Gives the image `name` one more tag, `repository:tag`.
    pub async fn tag(&self, name: &str, repository: &str, tag: &str) -> Result<()> {
        let options = TagImageOptionsBuilder::default()
            .repo(repository)
            .tag(tag)
            .build();
        let mut tries = 1;
        loop {
            match self.docker.tag_image(name, Some(options.clone())).await {
                // The engine deletes the tag and creates it: another run may have set it in between.
                Err(error) if exists_already(&error) && tries < TAG_TRIES => tries += 1,
                tagged => {
                    let doing = || format!("tag {name} as {repository}:{tag}");
                    return tagged.map_err(|error| refused(&doing(), &error));
                }
            }
        }
    }

    /// Takes a tag away (the image goes with its last one); an absent one is fine.
    pub async fn untag(&self, reference: &str) -> Result<()> {
        let options = RemoveImageOptionsBuilder::default().build();
        match self.docker.remove_image(reference, Some(options), None).await {
            Err(error) if !is_absent(&error) => Err(refused(&format!("untag {reference}"), &error)),
            _ => Ok(()),
        }
    }

    /// Writes an image as an archive (an OCI layout in a tar) to `path`.
    pub async fn export(&self, name: &str, path: &Path) -> Result<()> {
        if let Some(dir) = path.parent() {
            tokio::fs::create_dir_all(dir)
                .await
                .with_context(|| format!("cannot create {}", dir.display()))?;
        }
        // Under its name once it is whole: an archive that broke off is never read as one.
        let part = path.with_extension("part");
        let mut file = tokio::fs::File::create(&part)
            .await
            .with_context(|| format!("cannot write {}", path.display()))?;
        let mut stream = Box::pin(self.docker.export_image(name));
        while let Some(part) = next(&mut stream, &format!("export {name}")).await? {
            file.write_all(&part)
                .await
                .with_context(|| format!("cannot write {}", path.display()))?;
        }
        file.flush()
            .await
            .with_context(|| format!("cannot write {}", path.display()))?;
        tokio::fs::rename(&part, path)
            .await
            .with_context(|| format!("cannot write {}", path.display()))
    }
}
