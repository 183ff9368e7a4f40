//! Which runs were touched by any replica, as PostgreSQL tells it (`NOTIFY workflow_runs`). A ring may be missed
//! when the connection is lost: who waits looks by itself from time to time as well.

use std::sync::Arc;
use std::time::Duration;

use sqlx::postgres::PgListener;
use tokio::sync::broadcast;

use super::Store;
use crate::error::Result;

/// Rings that a slow listener may be behind before it is told to look for itself.
const BACKLOG: usize = 256;
const AGAIN_AFTER: Duration = Duration::from_secs(1);

/// Rings with a run's id. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Bell(broadcast::Sender<Arc<str>>);

/// One who listens.
#[derive(Debug)]
pub(crate) struct Rings(broadcast::Receiver<Arc<str>>);

impl Bell {
    pub(crate) fn new() -> Self {
        Bell(broadcast::Sender::new(BACKLOG))
    }

    pub(crate) fn listen(&self) -> Rings {
        Rings(self.0.subscribe())
    }

    /// Passes on what PostgreSQL tells, for ever.
    pub(crate) async fn ring(self, store: Store) {
        loop {
            if let Err(error) = self.pass_on(&store).await {
                tracing::debug!(%error, "notifications of PostgreSQL are away");
            }
            tokio::time::sleep(AGAIN_AFTER).await;
        }
    }

    async fn pass_on(&self, store: &Store) -> Result<()> {
        let mut listener = PgListener::connect_with(store.pool()?).await?;
        listener.listen("workflow_runs").await?;
        // `None`: the connection was lost, and what was told meanwhile with it.
        while let Some(told) = listener.try_recv().await? {
            // Nobody may be listening.
            let _ = self.0.send(told.payload().into());
        }
        Ok(())
    }
}

impl Rings {
    /// The next ring; `None` where some were missed.
    pub(crate) async fn next(&mut self) -> Option<Arc<str>> {
        match self.0.recv().await {
            Ok(id) => Some(id),
            Err(broadcast::error::RecvError::Lagged(_)) => None,
            // The bell lives as long as the process; should it not, looking from time to time is left.
            Err(broadcast::error::RecvError::Closed) => std::future::pending().await,
        }
    }

    /// Ends when it rings for this run, or may have, and after `patience` in any case.
    pub(crate) async fn rung_for(&mut self, execution_id: &str, patience: Duration) {
        let rung = async {
            while let Some(id) = self.next().await {
                if *id == *execution_id {
                    break;
                }
            }
        };
        // Either is a reason to look.
        let _ = tokio::time::timeout(patience, rung).await;
    }
}
