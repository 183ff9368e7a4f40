//! What the routes share.

use std::time::Duration;

use crate::config::Config;
use crate::store::Store;
use crate::upstream::Dataflow;

/// Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct AppState {
    pub(crate) store: Store,
    pub(crate) dataflow: Dataflow,
    pub(crate) max_runtime: Duration,
}

impl AppState {
    pub(crate) fn new(config: &Config) -> Self {
        AppState {
            store: Store::new(config),
            dataflow: Dataflow::new(config.dataflow_url.clone(), config.upstream_timeout),
            max_runtime: config.max_runtime,
        }
    }
}
