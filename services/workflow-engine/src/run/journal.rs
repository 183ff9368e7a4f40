//! What happens in a run, on its way to its history: gathered for a moment, so that a quick run is written at
//! once, with its end, and a slow one can be followed.

use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use serde_json::Value;
use tokio::sync::{mpsc, watch};

use crate::store::{Entry, Store};

/// How long happenings are gathered before they are written.
const GATHER: Duration = Duration::from_millis(20);
/// After a failure of the database.
const AGAIN_AFTER: Duration = Duration::from_millis(500);

/// Where a run's steps say what happens to them. Unbounded, but a step says three things at most.
#[derive(Debug)]
pub(crate) struct Journal {
    sender: mpsc::UnboundedSender<Entry>,
    seq: AtomicI64,
    /// How many steps wait for signals.
    waiting: watch::Sender<usize>,
}

/// What is left when a run is over.
#[derive(Debug, Default)]
pub(crate) struct Rest {
    pub(crate) entries: Vec<Entry>,
    /// Whether anything was written before, so that somebody may follow it.
    pub(crate) followed: bool,
}

impl Journal {
    pub(crate) fn new() -> (Self, mpsc::UnboundedReceiver<Entry>) {
        let (sender, receiver) = mpsc::unbounded_channel();
        let journal = Journal {
            sender,
            seq: AtomicI64::new(0),
            waiting: watch::Sender::new(0),
        };
        (journal, receiver)
    }

    /// Says what happened; to a run, or to one of its nodes.
    pub(crate) fn tell(&self, kind: &'static str, node: Option<&str>, data: Option<Value>) {
        self.send(self.entry(kind, node, data, None));
    }

    /// Says that a node is done.
    pub(crate) fn done(&self, node: &str, output: &Value) {
        self.send(self.entry("node.completed", Some(node), None, Some(output.clone())));
    }

    /// An entry in its place, to be written by the caller.
    pub(crate) fn entry(
        &self,
        kind: &'static str,
        node: Option<&str>,
        data: Option<Value>,
        output: Option<Value>,
    ) -> Entry {
        Entry {
            seq: self.seq.fetch_add(1, Ordering::Relaxed),
            kind,
            node: node.map(ToOwned::to_owned),
            data,
            output,
            at: jiff::Timestamp::now().to_string(),
        }
    }

    fn send(&self, entry: Entry) {
        // The writer ends when the run is not ours any more; then nothing is left to be told.
        let _ = self.sender.send(entry);
    }

    /// Counts a step that waits, until the value is dropped.
    pub(crate) fn wait(&self) -> impl Drop + use<'_> {
        self.waiting.send_modify(|count| *count += 1);
        Waiting(self)
    }

    pub(crate) fn waiting(&self) -> watch::Receiver<usize> {
        self.waiting.subscribe()
    }
}

struct Waiting<'a>(&'a Journal);

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.waiting.send_modify(|count| *count -= 1);
    }
}

/// Writes what is told until the journal is dropped. Without the database it gathers until that is back.
pub(crate) async fn write(
    store: Store,
    execution_id: String,
    waiting: watch::Receiver<usize>,
    mut told: mpsc::UnboundedReceiver<Entry>,
) -> Rest {
    let mut rest = Rest::default();
    let mut pause = GATHER;
    loop {
        if rest.entries.is_empty() {
            match told.recv().await {
                Some(entry) => rest.entries.push(entry),
                None => return rest,
            }
        }
        if gather(&mut rest.entries, &mut told, pause).await {
            return rest;
        }
        // A failure after the commit leaves entries to be written again; their places tell them apart.
        rest.followed = true;
        let waits = *waiting.borrow() > 0;
        pause = match store.note(&execution_id, waits, &rest.entries).await {
            Ok(_) => {
                rest.entries.clear();
                GATHER
            }
            Err(error) => {
                tracing::warn!(execution_id, %error, "a run's history has to wait");
                AGAIN_AFTER
            }
        };
    }
}

/// Whether the journal was dropped meanwhile.
async fn gather(
    entries: &mut Vec<Entry>,
    told: &mut mpsc::UnboundedReceiver<Entry>,
    pause: Duration,
) -> bool {
    let until = tokio::time::sleep(pause);
    tokio::pin!(until);
    loop {
        tokio::select! {
            entry = told.recv() => match entry {
                Some(entry) => entries.push(entry),
                None => return true,
            },
            () = &mut until => return false,
        }
    }
}
