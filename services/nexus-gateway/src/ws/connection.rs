//! One connection from its first to its last message: reading, calls at the same time, and all reasons to end.

use std::{sync::Mutex, time::Duration};

use axum::extract::ws::{Message, Utf8Bytes, WebSocket};
use axum::http::HeaderMap;
use futures_util::{
    FutureExt, Stream, StreamExt,
    future::BoxFuture,
    stream::{FuturesUnordered, SplitStream},
};
use kit::{RequestIds, health::InFlight};
use serde_json::json;
use tokio::time::{Instant, MissedTickBehavior, interval, timeout};

use super::{
    AWAY, BINARY, Close, EXPIRED, GONE, NO_TEXT, PROTOCOL, Place, REVOKED, SILENT, TOO_BIG, TOO_MANY,
    UNDECIDED, calls, message, outbox::Outbox, subscriptions::Subscriptions,
};
use crate::{domain::client::ClientAddr, edge, error::Error, routes::caller::Caller, state::App};

/// Calls of one connection that are worked on at the same time; more wait to be read.
const MOST_CALLS: usize = 8;
/// How often a connection's token and its peer's answers are looked at.
const LOOK_EVERY: Duration = Duration::from_secs(3);
/// How long the peer may take to answer a close frame.
const GOODBYE: Duration = Duration::from_secs(2);

/// A connection that was let in.
pub(crate) struct Opened {
    pub(crate) app: App,
    pub(crate) caller: Caller,
    /// From where it was opened.
    pub(crate) client: Option<ClientAddr>,
    /// The session that the connection is part of.
    pub(crate) session: Option<String>,
    /// Those of the request that opened it.
    pub(crate) ids: RequestIds,
    /// Why it is closed at once, where it is.
    pub(crate) refused: Option<Close>,
    /// `None` where the user has too many.
    pub(crate) place: Option<Place>,
    /// Draining waits for it.
    pub(crate) in_flight: Option<InFlight>,
}

/// What calls of a connection share.
pub(super) struct Connection {
    pub(super) app: App,
    pub(super) caller: Caller,
    /// The session meant where a call names none.
    pub(super) session: Mutex<Option<String>>,
    pub(super) outbox: Outbox,
    /// From where it was opened.
    pub(super) client: Option<ClientAddr>,
    ids: RequestIds,
}

/// Serves a connection to its end.
pub(crate) async fn serve(opened: Opened, socket: WebSocket) {
    let Opened {
        app,
        caller,
        client,
        session,
        ids,
        refused,
        place,
        in_flight,
    } = opened;
    let (sink, stream) = socket.split();
    let (outbox, waiting) = Outbox::new();
    let connection = Connection {
        app,
        caller,
        session: Mutex::new(session),
        outbox: outbox.clone(),
        client,
        ids,
    };
    let refused = refused.or_else(|| place.is_none().then_some(TOO_MANY));
    match refused {
        Some(close) => outbox.close(close),
        None => {
            let id = uuid::Uuid::new_v4().simple().to_string();
            outbox.push(message::event("connected", &json!({ "connection_id": id })));
        }
    }
    let ping_every = connection.app.sockets().settings().ping_every;
    let opened = metrics::gauge!("websocket_connections");
    opened.increment(1);
    tokio::join!(
        connection.read(stream, ping_every),
        outbox.write(sink, waiting, ping_every)
    );
    opened.decrement(1);
    let close = outbox.closed().await;
    metrics::counter!("websocket_closed_total", "code" => close.code.to_string()).increment(1);
    tracing::debug!(code = close.code, reason = close.reason, "connection closed");
    drop((place, in_flight));
}

impl Connection {
    /// Reads until the end, whoever brings it about.
    async fn read(&self, mut stream: SplitStream<WebSocket>, ping_every: Duration) {
        let mut running: FuturesUnordered<BoxFuture<'_, ()>> = FuturesUnordered::new();
        let mut subscriptions = Subscriptions::default();
        let mut draining = std::pin::pin!(self.app.health().draining());
        let mut closed = std::pin::pin!(self.outbox.closed());
        let mut look = interval(LOOK_EVERY.min(ping_every));
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let (mut heard, mut ending) = (Instant::now(), false);
        loop {
            let reads = !ending && running.len() < MOST_CALLS;
            tokio::select! {
                _ = &mut closed => break,
                () = &mut draining, if !ending => ending = true,
                Some(()) = running.next() => {}
                next = stream.next(), if reads => {
                    heard = Instant::now();
                    if let Some(call) = self.heard(next, &mut subscriptions).await {
                        running.push(call);
                    }
                }
                event = subscriptions.next() => self.outbox.push(event),
                _ = look.tick() => {
                    if !reads {
                        // Its pongs wait to be read, too.
                        heard = Instant::now();
                    }
                    self.look_after(heard, ping_every).await;
                }
            }
            if ending && running.is_empty() {
                self.outbox.close(AWAY);
            }
        }
        // The peer's own close frame, so that ours is not lost with what it has sent meanwhile.
        let _ = timeout(GOODBYE, until_the_end(&mut stream)).await;
    }

    /// What a message asks for: a call to work on, where it cannot be answered at once.
    async fn heard(
        &self,
        next: Option<Result<Message, axum::Error>>,
        subscriptions: &mut Subscriptions,
    ) -> Option<BoxFuture<'_, ()>> {
        match next {
            Some(Ok(Message::Text(text))) => return self.called(&text, subscriptions).await,
            Some(Ok(Message::Binary(_))) => self.outbox.close(BINARY),
            // Answered by the protocol's layer; a close frame by the next reading.
            Some(Ok(Message::Ping(_) | Message::Pong(_) | Message::Close(_))) => {}
            Some(Err(error)) => self.outbox.close(cause(&error)),
            None => self.outbox.close(GONE),
        }
        None
    }

    async fn called(&self, text: &Utf8Bytes, subscriptions: &mut Subscriptions) -> Option<BoxFuture<'_, ()>> {
        let call = match message::parse(text) {
            Ok(call) => call,
            Err(error) => {
                self.outbox.push(message::error(&error));
                return None;
            }
        };
        // Pings are not counted, as probes are not over HTTP.
        if call.method != calls::PING
            && let Err(problem) = edge::permit(&self.app, &self.caller).await
        {
            self.outbox.push(calls::refused(&call, problem));
            return None;
        }
        if let Some(answer) = calls::at_once(self, &call, subscriptions) {
            self.outbox.push(answer);
            return None;
        }
        let ids = RequestIds {
            trace_id: self.ids.trace_id.clone(),
            ..RequestIds::from_headers(&HeaderMap::new())
        };
        let work = async move {
            if self.proven().await {
                let answer = calls::answer(self, call).await;
                self.outbox.push(answer);
            }
        };
        Some(kit::with_ids(ids, work).boxed())
    }

    /// Ends the connection of a peer that is silent, or whose token is no longer good.
    async fn look_after(&self, heard: Instant, ping_every: Duration) {
        if heard.elapsed() > 2 * ping_every {
            self.outbox.close(SILENT);
        }
        self.proven().await;
    }

    /// Whether the token or key is still good; where it is not, the connection ends.
    async fn proven(&self) -> bool {
        let close = match self.caller.still_good(&self.app).await {
            Ok(()) => return true,
            Err(Error::TokenExpired) => EXPIRED,
            Err(Error::InvalidToken | Error::InvalidApiKey) => REVOKED,
            // Fails closed: where nobody can tell, nothing is done for it.
            Err(_) => UNDECIDED,
        };
        self.outbox.close(close);
        false
    }
}

async fn until_the_end(stream: &mut (impl Stream<Item = Result<Message, axum::Error>> + Unpin)) {
    while let Some(Ok(_)) = stream.next().await {}
}

/// Named by its words: its type belongs to a library that is not ours to depend on.
fn cause(error: &axum::Error) -> Close {
    let words = error.to_string().to_ascii_lowercase();
    if words.contains("too long") {
        TOO_BIG
    } else if words.contains("utf-8") {
        NO_TEXT
    } else if words.contains("protocol error") && !words.contains("without closing handshake") {
        PROTOCOL
    } else {
        GONE
    }
}
