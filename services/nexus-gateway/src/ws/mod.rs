//! `/ws`: calls and events over one connection, as JSON text. What a call does is the business of the same
//! functions that HTTP uses; here are its form, its limits and its end.

mod calls;
mod connection;
mod hub;
pub mod message;
pub mod origin;
mod outbox;
mod subscriptions;

pub(crate) use connection::{Opened, serve};
pub(crate) use hub::{Hub, Place};

/// Longest message and frame that a client may send.
pub(crate) const MAX_MESSAGE_BYTES: usize = 1 << 20;
/// What an idle connection keeps for reading; a longer message is given room while it arrives.
pub(crate) const READ_BUFFER_BYTES: usize = 2 << 10;
/// What waits to be written, and the longest message that is sent.
pub(crate) const MAX_UNSENT_BYTES: usize = 8 << 20;

/// How a connection ends: a code of RFC 6455 section 7.4.1 (or the sheet's own), and why.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Close {
    pub(crate) code: u16,
    pub(crate) reason: &'static str,
}

impl Close {
    const fn new(code: u16, reason: &'static str) -> Self {
        Self { code, reason }
    }
}

/// The gateway ends; come back, to another replica.
const AWAY: Close = Close::new(1001, "the gateway is ending");
const PROTOCOL: Close = Close::new(1002, "not a frame that may be sent");
const BINARY: Close = Close::new(1003, "only text is understood");
/// Nothing can be sent any more: the peer is gone.
const GONE: Close = Close::new(1006, "the connection was lost");
const NO_TEXT: Close = Close::new(1007, "the text is no UTF-8");
const EXPIRED: Close = Close::new(1008, "the token has expired");
const REVOKED: Close = Close::new(1008, "the token or key is no longer valid");
const TOO_BIG: Close = Close::new(1009, "a message has at most 1 MiB");
const SILENT: Close = Close::new(1011, "no answer to a ping");
const UNDECIDED: Close = Close::new(1013, "who calls cannot be checked now; try again later");
const TOO_SLOW: Close = Close::new(
    1013,
    "too much waits to be read; read faster or subscribe to less",
);
/// No connection is opened below `/ws`.
pub(crate) const BAD_PATH: Close = Close::new(4004, "no such path; connect to /ws");
/// The user has as many connections as are allowed.
pub(crate) const TOO_MANY: Close = Close::new(4013, "too many connections of this user");
