//! The runs of this process: kept by renewing their leases, stopped when somebody else has ended them; and the
//! runs of dead processes, given up.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use metrics::{counter, gauge};
use tokio::sync::Notify;
use tokio::time::{Instant, MissedTickBehavior, interval};

use crate::error::Result;
use crate::store::{Bell, Store};

/// How often the runs of this process are looked at where no ring told of them.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// How many runs of this process are under way.
const ACTIVE: &str = "workflow_runs_active";

/// The runs of this process. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub(crate) struct Runs(Arc<Mutex<BTreeMap<String, Arc<Notify>>>>);

/// A run of this process, until the value is dropped.
#[derive(Debug)]
pub(crate) struct Held {
    runs: Runs,
    execution_id: String,
    lost: Arc<Notify>,
}

impl Held {
    /// Ends when the run is this process's no more.
    pub(crate) async fn lost(&self) {
        self.lost.notified().await;
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        let mut held = self.runs.held();
        held.remove(&self.execution_id);
        gauge!(ACTIVE).set(held.len() as f64);
    }
}

impl Runs {
    pub(crate) fn keep(&self, execution_id: &str) -> Held {
        let lost = Arc::new(Notify::new());
        let mut held = self.held();
        held.insert(execution_id.to_owned(), lost.clone());
        gauge!(ACTIVE).set(held.len() as f64);
        drop(held);
        Held {
            runs: self.clone(),
            execution_id: execution_id.to_owned(),
            lost,
        }
    }

    fn held(&self) -> MutexGuard<'_, BTreeMap<String, Arc<Notify>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn ids(&self) -> Vec<String> {
        self.held().keys().cloned().collect()
    }

    /// Stops what of these is not this process's any more.
    async fn look(&self, store: &Store, ids: &[String]) -> Result<()> {
        if ids.is_empty() {
            return Ok(());
        }
        for id in store.lost(ids).await? {
            if let Some(lost) = self.held().get(&id) {
                lost.notify_one();
            }
        }
        Ok(())
    }

    /// Looks at this process's runs, for ever: at once when it rings for one.
    pub(crate) async fn watch(self, store: Store, bell: Bell) {
        let mut rings = bell.listen();
        let mut pulse = interval(LOOK_EVERY);
        pulse.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let ids = tokio::select! {
                rung = rings.next() => match rung {
                    Some(id) => {
                        let held = self.held().contains_key(&*id);
                        held.then(|| id.to_string()).into_iter().collect()
                    }
                    None => self.ids(),
                },
                _ = pulse.tick() => self.ids(),
            };
            if let Err(error) = self.look(&store, &ids).await {
                tracing::debug!(%error, "runs could not be looked at");
            }
        }
    }

    /// Renews the leases of this process's runs and gives up those that ran out, for ever. When the database has
    /// been away, every lease has run out: its owners get the time of a lease to renew it first. Renewing asks nobody
    /// whether the database is there: a check that failed for another reason must not cost the runs.
    pub(crate) async fn renew(self, store: Store) {
        let mut pulse = interval(store.lease() / 3);
        pulse.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut there_since = None;
        loop {
            pulse.tick().await;
            let kept = match self.renewed(&store).await {
                Ok(()) if store.is_prepared() => given_up(&store, there_since).await,
                kept => kept.map(|()| None),
            };
            there_since = kept.unwrap_or_else(|error| {
                tracing::debug!(%error, "leases could not be renewed");
                None
            });
        }
    }

    async fn renewed(&self, store: &Store) -> Result<()> {
        let ids = self.ids();
        if ids.is_empty() {
            return Ok(());
        }
        store.renew(&ids).await
    }
}

/// Gives up the runs of dead processes, where the database has been there for long enough. Since when it is there.
async fn given_up(store: &Store, there_since: Option<Instant>) -> Result<Option<Instant>> {
    let since = there_since.unwrap_or_else(Instant::now);
    if since.elapsed() < store.lease() {
        return Ok(Some(since));
    }
    let runs = store.give_up().await?;
    if runs > 0 {
        counter!("workflow_runs_total", "outcome" => "given_up").increment(runs as u64);
        tracing::warn!(runs, "runs were interrupted by the end of their process");
    }
    Ok(Some(since))
}
