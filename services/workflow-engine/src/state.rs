//! What the routes share.

use std::time::Duration;

use kit::Health;

use crate::config::Config;
use crate::run::Runs;
use crate::store::{Bell, Store};
use crate::upstream::Dataflow;

/// Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct AppState {
    pub(crate) store: Store,
    pub(crate) bell: Bell,
    pub(crate) runs: Runs,
    pub(crate) dataflow: Dataflow,
    pub(crate) health: Health,
    pub(crate) max_runtime: Duration,
}

impl AppState {
    pub(crate) fn new(config: &Config, health: &Health) -> Self {
        AppState {
            store: Store::new(config),
            bell: Bell::new(),
            runs: Runs::default(),
            dataflow: Dataflow::new(config.dataflow_url.clone(), config.upstream_timeout),
            health: health.clone(),
            max_runtime: config.max_runtime,
        }
    }
}
