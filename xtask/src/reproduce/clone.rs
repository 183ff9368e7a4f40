//! A fresh clone of the commit that is checked out, in a folder of its own.

use std::path::Path;
use std::sync::Arc;

use anyhow::{Context as _, Result};

use crate::cache::Cache;
use crate::context::Context;
use crate::process;
use crate::report::listed;
use crate::tool::git;

/// The clone.
pub(super) struct Copy {
    /// That of the run, with the clone as its root and a cache of its own.
    pub(super) context: Context,
}

impl Copy {
    /// Clones into `folder/name`.
    ///
    /// # Errors
    /// Git has no commit here, or the clone cannot be written.
    pub(super) async fn make(context: &Context, folder: &Path, name: &str) -> Result<Self> {
        let head = process::run_ok(context, &git::head(&context.root)).await?;
        let head = git::parse_head(&head.stdout).context("git has no commit here")?;
        let inside = Path::new(&head.prefix);
        let repository = context.root.ancestors().nth(inside.components().count());
        let repository = repository.context("the checkout lies outside its repository")?;
        let clone = folder.join(name);
        std::fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
        process::run_ok(context, &git::clone(repository, &clone)).await?;
        process::run_ok(context, &git::check_out(&clone, &head.commit)).await?;
        let mut own = context.clone();
        // Joined to an empty path, a folder would get a slash at its end.
        own.root = clone.components().chain(inside.components()).collect();
        own.cache = Arc::new(Cache::new(folder.join("cache"), &context.run_id));
        Ok(Copy { context: own })
    }

    /// What the checkout holds and the commit does not, in a word for the reader.
    ///
    /// # Errors
    /// Git's.
    pub(super) async fn uncommitted(&self, context: &Context) -> Result<Option<String>> {
        let changes = process::run_ok(context, &git::unclean(&context.root)).await?;
        let paths: Vec<&str> = changes
            .stdout
            .split('\0')
            .filter_map(|entry| entry.get(3..))
            .collect();
        Ok((!paths.is_empty()).then(|| {
            format!(
                "not committed, and so not in what is built: {}",
                listed(&paths, 5)
            )
        }))
    }
}
