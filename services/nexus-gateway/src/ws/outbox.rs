//! What is to be sent: a bounded queue, a writer that empties it, and the one decision how the connection ends.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use axum::{
    body::Bytes,
    extract::ws::{CloseFrame, Message, Utf8Bytes},
};
use futures_util::{Sink, SinkExt};
use tokio::{
    sync::{mpsc, watch},
    time::{Instant, MissedTickBehavior, interval_at, timeout},
};

use super::{Close, GONE, MAX_UNSENT_BYTES, TOO_SLOW};

/// Messages that may wait; whoever lets more wait is too slow.
const MOST_WAITING: usize = 256;
/// How long a close frame may wait for what was sent before it.
const CLOSE_PATIENCE: Duration = Duration::from_secs(5);

/// The sending end. Cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct Outbox(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    queue: mpsc::Sender<Utf8Bytes>,
    waiting_bytes: AtomicUsize,
    closing: watch::Sender<Option<Close>>,
}

impl Outbox {
    pub(super) fn new() -> (Self, mpsc::Receiver<Utf8Bytes>) {
        let (queue, waiting) = mpsc::channel(MOST_WAITING);
        let shared = Shared {
            queue,
            waiting_bytes: AtomicUsize::new(0),
            closing: watch::Sender::new(None),
        };
        (Self(Arc::new(shared)), waiting)
    }

    /// Sends a text; where there is no room for it, the connection ends.
    pub(super) fn push(&self, text: String) {
        let bytes = text.len();
        let before = self.0.waiting_bytes.fetch_add(bytes, Ordering::Relaxed);
        let queued = before + bytes <= MAX_UNSENT_BYTES && self.0.queue.try_send(text.into()).is_ok();
        if !queued {
            self.0.waiting_bytes.fetch_sub(bytes, Ordering::Relaxed);
            self.close(TOO_SLOW);
        }
    }

    /// Ends the connection; the first reason stays.
    pub(super) fn close(&self, close: Close) {
        self.0.closing.send_if_modified(|closing| {
            let first = closing.is_none();
            if first {
                *closing = Some(close);
            }
            first
        });
    }

    /// Waits for the end.
    pub(super) async fn closed(&self) -> Close {
        let mut closing = self.0.closing.subscribe();
        match closing.wait_for(Option::is_some).await {
            Ok(close) => close.unwrap_or(GONE),
            // The sender lives in `self`.
            Err(_) => GONE,
        }
    }

    /// Writes what waits, and a ping now and then, until the end; then the close frame.
    pub(super) async fn write<S: Sink<Message> + Unpin>(
        &self,
        mut sink: S,
        mut waiting: mpsc::Receiver<Utf8Bytes>,
        ping_every: Duration,
    ) {
        let close = tokio::select! {
            close = self.closed() => close,
            () = self.deliver(&mut sink, &mut waiting, ping_every) => {
                self.close(GONE);
                GONE
            }
        };
        if close == GONE {
            return;
        }
        let frame = Message::Close(Some(CloseFrame {
            code: close.code,
            reason: Utf8Bytes::from_static(close.reason),
        }));
        // Who still does not read learns of it by the connection's end.
        let _ = timeout(CLOSE_PATIENCE, sink.send(frame)).await;
    }

    /// Ends when nothing can be written any more.
    async fn deliver<S: Sink<Message> + Unpin>(
        &self,
        sink: &mut S,
        waiting: &mut mpsc::Receiver<Utf8Bytes>,
        ping_every: Duration,
    ) {
        let mut ping = interval_at(Instant::now() + ping_every, ping_every);
        ping.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let (message, bytes) = tokio::select! {
                text = waiting.recv() => match text {
                    Some(text) => { let bytes = text.len(); (Message::Text(text), bytes) }
                    None => return,
                },
                _ = ping.tick() => (Message::Ping(Bytes::new()), 0),
            };
            if sink.send(message).await.is_err() {
                return;
            }
            self.0.waiting_bytes.fetch_sub(bytes, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn too_many_or_too_much_is_too_slow_and_the_first_reason_stays() {
        let (outbox, _waiting) = Outbox::new();
        for _ in 0..MOST_WAITING {
            outbox.push("x".to_owned());
        }
        outbox.close(super::super::BINARY);
        outbox.push("x".to_owned());
        assert_eq!(outbox.closed().await, super::super::BINARY);

        let (outbox, _waiting) = Outbox::new();
        outbox.push("x".repeat(MAX_UNSENT_BYTES));
        outbox.push("x".to_owned());
        assert_eq!(outbox.closed().await, TOO_SLOW);
    }
}
