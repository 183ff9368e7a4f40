//! Events from their stream in Redis: one reader a process tells all listeners; a listener that was away reads what
//! it missed from the stream itself.

use std::{collections::VecDeque, convert::Infallible, sync::Arc, time::Duration};

use contract::events::{Event, FIELD, STREAM};
use redis::{
    AsyncConnectionConfig, RedisResult,
    aio::ConnectionManager,
    streams::{StreamId, StreamRangeReply, StreamReadReply},
};
use tokio::sync::broadcast::{self, error::RecvError};

use crate::domain::interest::Filter;

/// Events that a slow listener may be behind; then it loses the oldest.
const BEHIND: usize = 256;
/// Entries read at once.
const PAGE: usize = 128;
/// How long one read waits for news.
const BLOCK: Duration = Duration::from_secs(5);
const PATIENCE: Duration = Duration::from_secs(2);
const FIRST_BACKOFF: Duration = Duration::from_millis(100);
const LONGEST_BACKOFF: Duration = Duration::from_secs(3);

/// An entry's id in the stream: milliseconds, then a number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Place(u64, u64);

impl Place {
    /// `1700000000000-0`.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let (time_ms, number) = text.split_once('-')?;
        Some(Self(time_ms.parse().ok()?, number.parse().ok()?))
    }
}

impl std::fmt::Display for Place {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "{}-{}", self.0, self.1)
    }
}

/// An event with its id in the stream, from which a listener may go on.
#[derive(Debug)]
pub(crate) struct Told {
    pub(crate) place: Place,
    pub(crate) event: Event,
}

/// What a listener hears next.
#[derive(Debug)]
pub(crate) enum Heard {
    Event(Arc<Told>),
    /// The listener was too slow or too long away: so many events of the stream are lost to it, or an unknown number.
    Lagged(Option<u64>),
    /// Redis was lost, and events may be with it: listen anew, after the last one that was heard.
    Ended,
}

/// The events of all tenants. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Events {
    live: broadcast::Sender<Arc<Told>>,
    history: ConnectionManager,
}

impl Events {
    /// Begins to read, for ever, on a connection of its own; `history` is the one that others share.
    pub(crate) fn start(client: redis::Client, history: ConnectionManager) -> Self {
        let (live, _) = broadcast::channel(BEHIND);
        tokio::spawn(follow(client, live.clone()));
        Self { live, history }
    }

    /// Listens from now on.
    pub(crate) fn subscribe(&self, filter: Filter) -> Subscription {
        Subscription {
            filter,
            live: self.live.subscribe(),
            history: self.history.clone(),
            phase: Phase::Live,
            after: None,
            found: true,
            waiting: VecDeque::new(),
        }
    }

    /// Listens from what followed `after`, as far as the stream still has it.
    pub(crate) fn resume(&self, filter: Filter, after: Place) -> Subscription {
        Subscription {
            phase: Phase::Looking,
            after: Some(after),
            ..self.subscribe(filter)
        }
    }
}

/// Where a listener reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// Whether the stream still has the entry to go on from.
    Looking,
    /// What was missed, page by page.
    Missed,
    /// The last page, read once more since the live events are listened to.
    Closing,
    Live,
}

/// One listener.
pub(crate) struct Subscription {
    filter: Filter,
    live: broadcast::Receiver<Arc<Told>>,
    history: ConnectionManager,
    phase: Phase,
    /// The last place that was read.
    after: Option<Place>,
    /// Whether the stream had it.
    found: bool,
    waiting: VecDeque<Arc<Told>>,
}

impl Subscription {
    /// Waits for the next event that the filter takes. Safe to be dropped and called again (`select!`).
    pub(crate) async fn next(&mut self) -> Heard {
        loop {
            if let Some(told) = self.waiting.pop_front() {
                return Heard::Event(told);
            }
            let heard = match (self.phase, self.after) {
                (Phase::Live, _) | (_, None) => self.hear().await,
                (Phase::Looking, Some(after)) => self.look(after).await,
                (Phase::Missed | Phase::Closing, Some(after)) => self.read_page(after).await,
            };
            if let Some(heard) = heard {
                return heard;
            }
        }
    }

    async fn hear(&mut self) -> Option<Heard> {
        match self.live.recv().await {
            Ok(told) => {
                let news = self.after.is_none_or(|after| told.place > after);
                (news && self.filter.takes(&told.event)).then_some(Heard::Event(told))
            }
            Err(RecvError::Lagged(lost)) => Some(Heard::Lagged(Some(lost))),
            Err(RecvError::Closed) => Some(Heard::Ended),
        }
    }

    async fn look(&mut self, after: Place) -> Option<Heard> {
        let place = after.to_string();
        match range(&mut self.history, &place, &place, 1).await {
            Ok(found) => {
                self.phase = Phase::Missed;
                self.found = !found.is_empty();
                (!self.found).then_some(Heard::Lagged(None))
            }
            Err(error) => Some(ended(&error)),
        }
    }

    /// The live events are listened to before the last page is read, so that none falls between.
    async fn read_page(&mut self, after: Place) -> Option<Heard> {
        if self.phase == Phase::Closing {
            self.live = self.live.resubscribe();
        }
        let page = match range(&mut self.history, &format!("({after}"), "+", PAGE).await {
            Ok(page) => page,
            Err(error) => return Some(ended(&error)),
        };
        self.phase = match self.phase {
            _ if page.len() == PAGE => Phase::Missed,
            Phase::Missed => Phase::Closing,
            _ => Phase::Live,
        };
        if let Some(last) = page.last().and_then(|entry| Place::parse(&entry.id)) {
            (self.after, self.found) = (Some(last), true);
        } else if !self.found {
            // A place beyond the stream's end, such as of a stream that began anew: what is to come is before it. The
            // live events have been listened to since before it was looked for.
            (self.after, self.phase) = (None, Phase::Live);
        }
        let told = page.iter().filter_map(read);
        let wanted = told.filter(|told| self.filter.takes(&told.event));
        self.waiting.extend(wanted.map(Arc::new));
        None
    }
}

fn ended(error: &redis::RedisError) -> Heard {
    tracing::warn!(%error, "events that were missed cannot be read");
    Heard::Ended
}

async fn range(
    redis: &mut ConnectionManager,
    from: &str,
    to: &str,
    most: usize,
) -> RedisResult<Vec<StreamId>> {
    let mut command = redis::cmd("XRANGE");
    command.arg(STREAM).arg(from).arg(to).arg("COUNT").arg(most);
    let reply: StreamRangeReply = command.query_async(redis).await?;
    Ok(reply.ids)
}

/// Reads for ever; after a loss it goes on where it was.
async fn follow(client: redis::Client, live: broadcast::Sender<Arc<Told>>) {
    let mut place = None;
    let mut backoff = FIRST_BACKOFF;
    loop {
        let before = place.clone();
        let Err(error) = tell(&client, &live, &mut place).await;
        tracing::debug!(%error, "the stream of events cannot be read");
        let heard = place != before;
        backoff = if heard {
            FIRST_BACKOFF
        } else {
            (backoff * 2).min(LONGEST_BACKOFF)
        };
        tokio::time::sleep(backoff).await;
    }
}

/// Tells what comes until the connection is lost.
async fn tell(
    client: &redis::Client,
    live: &broadcast::Sender<Arc<Told>>,
    place: &mut Option<String>,
) -> RedisResult<Infallible> {
    let config = AsyncConnectionConfig::new()
        .set_connection_timeout(Some(PATIENCE))
        .set_response_timeout(Some(BLOCK + PATIENCE));
    let mut redis = client
        .get_multiplexed_async_connection_with_config(&config)
        .await?;
    let mut after = match place.clone() {
        Some(known) => known,
        None => newest(&mut redis).await?,
    };
    loop {
        *place = Some(after.clone());
        let mut command = redis::cmd("XREAD");
        command
            .arg("COUNT")
            .arg(PAGE)
            .arg("BLOCK")
            .arg(BLOCK.as_millis() as u64);
        command.arg("STREAMS").arg(STREAM).arg(&after);
        let reply: Option<StreamReadReply> = command.query_async(&mut redis).await?;
        for entry in reply
            .into_iter()
            .flat_map(|reply| reply.keys)
            .flat_map(|key| key.ids)
        {
            if let Some(told) = read(&entry) {
                // Nobody may be listening.
                let _ = live.send(Arc::new(told));
            }
            after = entry.id;
        }
    }
}

/// The last entry's id: what came before this process listened is told to nobody by itself.
async fn newest(redis: &mut redis::aio::MultiplexedConnection) -> RedisResult<String> {
    let mut command = redis::cmd("XREVRANGE");
    command.arg(STREAM).arg("+").arg("-").arg("COUNT").arg(1);
    let reply: StreamRangeReply = command.query_async(redis).await?;
    let last = reply.ids.into_iter().next();
    Ok(last.map_or_else(|| "0-0".to_owned(), |entry| entry.id))
}

fn read(entry: &StreamId) -> Option<Told> {
    let place = Place::parse(&entry.id)?;
    let text: Vec<u8> = entry.get(FIELD)?;
    match serde_json::from_slice(&text) {
        Ok(event) => Some(Told { place, event }),
        Err(error) => {
            tracing::warn!(%error, entry = entry.id, "an entry of the stream is no event");
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Place;

    #[test]
    fn places_are_ordered_as_numbers() {
        let place = |text| Place::parse(text).unwrap();
        assert!(place("9-9") < place("10-0") && place("10-2") < place("10-10"));
        assert_eq!(place("10-2").to_string(), "10-2");
        for wrong in ["", "10", "-", "a-1", "1-", "1-2-3", "+1-1 "] {
            assert_eq!(Place::parse(wrong), None, "{wrong}");
        }
    }
}
