//! What the routes share: the classifier and the cache.

use std::sync::Arc;

use kit::{Health, OnLoss};

use crate::{
    cache::Cache,
    config::Config,
    domain::{Classifier, CodeSet},
};

/// Shared by all requests; cheap to clone.
#[derive(Clone)]
pub struct App {
    classifier: Option<Arc<Classifier>>,
    cache: Option<Cache>,
}

impl App {
    /// Indexes the code set and starts asking the cache how it is.
    pub fn start(config: Config, health: &Health) -> Self {
        let ttl = config.cache_ttl;
        let cache = config.redis.and_then(|client| match Cache::new(client, ttl) {
            Ok(cache) => Some(cache),
            Err(error) => {
                tracing::error!(%error, "redis cannot be used");
                None
            }
        });
        watch(health, cache.clone());
        Self {
            classifier: classifier(),
            cache,
        }
    }

    pub(crate) fn classifier(&self) -> Option<&Arc<Classifier>> {
        self.classifier.as_ref()
    }

    pub(crate) fn cache(&self) -> Option<&Cache> {
        self.cache.as_ref()
    }
}

/// A test holds that the set that ships is sound; were it not, every call would be refused, and the log say why.
fn classifier() -> Option<Arc<Classifier>> {
    match CodeSet::demo() {
        Ok(set) => Some(Arc::new(Classifier::new(set))),
        Err(faults) => {
            tracing::error!(faults = faults.join("; "), "the code set is not sound");
            None
        }
    }
}

fn watch(health: &Health, cache: Option<Cache>) {
    match cache {
        None => health.unconfigured("redis", OnLoss::Degrade),
        Some(cache) => health.watch("redis", OnLoss::Degrade, move || {
            let cache = cache.clone();
            async move { cache.check().await }
        }),
    }
}
