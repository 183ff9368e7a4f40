//! Sends events from where they were written with the change to where they are listened to, and keeps what waits for
//! it small.

use std::time::Duration;

use metrics::gauge;

use crate::store::{Store, Stream};

/// How often is looked where this process wrote none: another replica may have, and ended.
const LOOK_EVERY: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);
/// How often waiting events are counted, and those forgotten that are too many.
const COUNT_EVERY: Duration = Duration::from_secs(10);

/// Sends for ever. Without Redis events wait.
pub(crate) async fn send(store: Store, stream: Stream) {
    let mut pause = Duration::ZERO;
    loop {
        tokio::time::sleep(pause).await;
        store.event_written(LOOK_EVERY).await;
        if !store.is_prepared() {
            continue;
        }
        pause = match sent_all(&store, &stream).await {
            Ok(()) => Duration::ZERO,
            Err(error) => {
                tracing::debug!(%error, "events have to wait");
                (pause * 2).clamp(LOOK_EVERY, LONGEST_PAUSE)
            }
        };
    }
}

async fn sent_all(store: &Store, stream: &Stream) -> crate::error::Result<()> {
    loop {
        if store.send_events(stream).await? == 0 {
            return Ok(());
        }
    }
}

/// Lets as many events wait as the stream would keep, for ever, whether there is a stream or not.
pub(crate) async fn trim(store: Store) {
    loop {
        tokio::time::sleep(COUNT_EVERY).await;
        if !store.is_prepared() {
            continue;
        }
        if let Err(error) = trimmed(&store).await {
            tracing::debug!(%error, "events could not be counted");
        }
    }
}

async fn trimmed(store: &Store) -> crate::error::Result<()> {
    let forgotten = store.trim_events().await?;
    if forgotten > 0 {
        tracing::warn!(
            forgotten,
            "events were forgotten: the stream has been away for long"
        );
    }
    gauge!("outbox_waiting").set(store.events_waiting().await? as f64);
    Ok(())
}
