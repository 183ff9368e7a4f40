//! A run that is its caller's alone: nobody will look for its end when the caller has gone.

use kit::Identity;

use crate::store::Store;

/// Cancels its run when it is dropped: its caller has hung up.
#[derive(Debug)]
pub(super) struct Attached(Option<Run>);

#[derive(Debug)]
struct Run {
    store: Store,
    execution_id: String,
    identity: Identity,
}

impl Attached {
    pub(super) fn new(store: &Store, execution_id: &str, identity: &Identity) -> Self {
        Attached(Some(Run {
            store: store.clone(),
            execution_id: execution_id.to_owned(),
            identity: identity.clone(),
        }))
    }

    /// The run has ended, and its caller is there.
    pub(super) fn detach(mut self) {
        self.0 = None;
    }
}

impl Drop for Attached {
    fn drop(&mut self) {
        if let Some(run) = self.0.take() {
            tokio::spawn(kit::carrying_ids(run.cancel()));
        }
    }
}

impl Run {
    async fn cancel(self) {
        match self.store.cancel(&self.execution_id, &self.identity).await {
            Ok(cancelled) => tracing::info!(
                execution_id = self.execution_id,
                cancelled,
                "the caller of a run has hung up"
            ),
            // It goes on to its end, as any other run.
            Err(error) => tracing::warn!(
                execution_id = self.execution_id,
                %error,
                "a run whose caller has hung up could not be cancelled"
            ),
        }
    }
}
