//! What every request shares.

use std::time::Duration;

use kit::upstream::Upstream;

use crate::config::Config;
use crate::store::Store;

/// The engine: where workflows are kept and whom their steps call. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Engine {
    pub store: Store,
    pub dataflow: Upstream,
    pub run_timeout: Duration,
}

impl Engine {
    pub(crate) fn new(config: Config, store: Store) -> Self {
        Engine {
            store,
            dataflow: Upstream::new("dataflow-service", config.dataflow_url, config.step_timeout),
            run_timeout: config.run_timeout,
        }
    }
}
