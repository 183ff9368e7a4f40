//! Events that a connection has asked for: those of the caller's tenant, of the types that were named.

use axum::http::StatusCode;
use kit::Problem;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{connection::Connection, message};
use crate::{
    domain::interest::Filter,
    store::events::{Heard, Subscription},
};

/// Types that one connection may name.
const MOST: usize = 32;

/// What a connection listens to. Nothing is kept for one that does not listen.
#[derive(Default)]
pub(super) struct Subscriptions {
    topics: Vec<(String, Filter)>,
    listening: Option<Box<Subscription>>,
}

/// `{event_type}`: `handler.completed`, `dataflow.*`, or `*`; several separated by commas are one subscription.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Topic {
    event_type: String,
}

impl Subscriptions {
    /// Listens to one more type. What it answers are all of them.
    ///
    /// # Errors
    /// 422 where it is no type, or one too many; 503 where Redis is not configured.
    pub(super) fn add(&mut self, connection: &Connection, topic: Topic) -> kit::Result<Value> {
        if self.topics.len() >= MOST {
            let message = format!("event_type: at most {MOST} subscriptions");
            return Err(Problem::new(
                StatusCode::UNPROCESSABLE_ENTITY,
                "TOO_MANY_SUBSCRIPTIONS",
                message,
            ));
        }
        let tenant = &connection.caller.tenant;
        let filter = Filter::parse(tenant, Some(&topic.event_type))?;
        if self.listening.is_none() {
            let everything = Filter::parse(tenant, None)?;
            let events = connection.app.events()?;
            self.listening = Some(Box::new(events.subscribe(everything)));
        }
        if self.topics.iter().all(|(text, _)| *text != topic.event_type) {
            self.topics.push((topic.event_type, filter));
        }
        Ok(self.told())
    }

    /// Listens to one type less. What it answers are those that are left.
    pub(super) fn remove(&mut self, topic: &Topic) -> Value {
        self.topics.retain(|(text, _)| *text != topic.event_type);
        if self.topics.is_empty() {
            self.listening = None;
        }
        self.told()
    }

    fn told(&self) -> Value {
        let texts: Vec<&str> = self.topics.iter().map(|(text, _)| text.as_str()).collect();
        json!({ "subscribed": texts })
    }

    /// The next event as a message; waits for ever where nothing is listened to. Safe to be dropped and called again.
    pub(super) async fn next(&mut self) -> String {
        loop {
            let Some(listening) = &mut self.listening else {
                return std::future::pending().await;
            };
            match listening.next().await {
                Heard::Event(told) if self.topics.iter().any(|(_, filter)| filter.takes(&told.event)) => {
                    let event = serde_json::to_value(&told.event).unwrap_or_default();
                    return message::event(&told.event.kind, &event);
                }
                Heard::Event(_) => {}
                Heard::Lagged(missed) => return message::event("lagged", &json!({ "missed": missed })),
                Heard::Ended => {
                    self.topics.clear();
                    self.listening = None;
                    return message::event("unsubscribed", &json!({ "reason": "events cannot be read now" }));
                }
            }
        }
    }
}
