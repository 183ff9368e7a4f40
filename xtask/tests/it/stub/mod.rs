//! A container registry in memory, for tests: it speaks the distribution-spec, records every request, misbehaves
//! where it is told to (`script.rs`), and lets a test act at the n-th request, before or after it is carried out.
//! Used by `tests/it` and, by path, by the unit tests. No TLS: `real_registry.rs` is for that.

// Each user needs another part of it.
#![allow(dead_code)]

mod content;
mod routes;
mod script;
mod serve;
mod tokens;

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard};

pub(crate) use content::Content;
pub(crate) use script::{Fault, Then, When};
pub(crate) use tokens::{Right, User};

use script::Script;
use tokens::Tokens;

/// What kind of registry it is.
#[derive(Clone, Default)]
pub(crate) struct Look {
    /// Has the referrers API, and says `OCI-Subject`.
    pub(crate) referrers: bool,
    pub(crate) deletes_tags: bool,
    /// Knows no mounting: begins an upload instead.
    pub(crate) lends_nothing: bool,
    /// Says 401 of a repository that does not exist to who asks for a token that may only pull (Docker Hub).
    pub(crate) hides_unknown: bool,
    /// Takes what a tag points to with it, and so all of its tags.
    pub(crate) deletes_manifests: bool,
    pub(crate) login: Login,
}

/// How it asks who is there.
#[derive(Clone, Default)]
pub(crate) enum Login {
    /// Whoever asks may do all.
    #[default]
    Open,
    /// `WWW-Authenticate: Basic`.
    Basic(Vec<User>),
    /// `WWW-Authenticate: Bearer`: tokens of `/token`, by scope. Who is not logged in may pull where `anonymous`.
    Token { users: Vec<User>, anonymous: bool },
}

/// A request, as it was seen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Seen {
    /// The first is 1.
    pub(crate) number: usize,
    pub(crate) method: String,
    /// With its query.
    pub(crate) path: String,
    /// Bytes of its body.
    pub(crate) received: usize,
    /// `None`: the connection was cut instead.
    pub(crate) status: Option<u16>,
}

/// A running registry. It ends when this is dropped.
pub(crate) struct Stub {
    address: SocketAddr,
    shared: Arc<Shared>,
    _ends: tokio::sync::oneshot::Sender<()>,
}

struct Shared {
    look: Look,
    address: SocketAddr,
    script: Mutex<Script>,
    content: Content,
    tokens: Mutex<Tokens>,
}

impl Shared {
    fn script(&self) -> MutexGuard<'_, Script> {
        self.script.lock().unwrap()
    }

    fn tokens(&self) -> MutexGuard<'_, Tokens> {
        self.tokens.lock().unwrap()
    }
}

impl Stub {
    /// Open to everyone, like GHCR in what it cannot do: no referrers API, no deleting of tags.
    pub(crate) fn start() -> Self {
        Stub::with(Look::default())
    }

    /// Like GHCR: tokens by scope, for one user who may push.
    pub(crate) fn with_tokens(user: &str, password: &str) -> Self {
        let users = vec![User::new(user, password, Right::Push)];
        let login = Login::Token {
            users,
            anonymous: false,
        };
        Stub::with(Look {
            login,
            ..Look::default()
        })
    }

    pub(crate) fn with(look: Look) -> Self {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Arc::new(Shared {
            look,
            address,
            script: Mutex::default(),
            content: Content::default(),
            tokens: Mutex::default(),
        });
        let (ends, ended) = tokio::sync::oneshot::channel();
        serve::start(listener, shared.clone(), ended);
        Stub {
            address,
            shared,
            _ends: ends,
        }
    }

    /// `127.0.0.1:PORT`, as the first part of an image's name.
    pub(crate) fn host(&self) -> String {
        self.address.to_string()
    }

    /// What it holds. The handle may be moved into a hook: to write as another one would, while a request is under way.
    pub(crate) fn content(&self) -> Content {
        self.shared.content.clone()
    }

    /// Misbehaves at the `nth` (from 1) request from now on with this method whose path (and query) has all pieces of
    /// `pattern`, in order; `*` stands between pieces, and any method is `*` too.
    pub(crate) fn fault(&self, method: &str, pattern: &str, nth: usize, fault: Fault) {
        self.shared.script().fault(method, pattern, nth..=nth, fault);
    }

    /// Misbehaves at every such request, from the `nth` on.
    pub(crate) fn fault_from(&self, method: &str, pattern: &str, nth: usize, fault: Fault) {
        self.shared
            .script()
            .fault(method, pattern, nth..=usize::MAX, fault);
    }

    /// Takes all faults and hooks back.
    pub(crate) fn behave(&self) {
        self.shared.script().behave();
    }

    /// Acts at the request of this number (from 1; counted since the start, or since [`Stub::forget`]). The registry
    /// waits for it. With [`Then::Cut`] nobody answers: before, it is not carried out, after, it was.
    pub(crate) fn at(&self, number: usize, when: When, act: impl FnOnce() -> Then + Send + 'static) {
        self.shared.script().hook_at(number, when, Box::new(act));
    }

    /// Acts at the `nth` request of a kind (as of [`Stub::fault`]).
    pub(crate) fn on(
        &self,
        method: &str,
        pattern: &str,
        nth: usize,
        when: When,
        act: impl FnOnce() -> Then + Send + 'static,
    ) {
        self.shared
            .script()
            .hook_on(method, pattern, nth, when, Box::new(act));
    }

    /// Every request since the start, or since [`Stub::forget`].
    pub(crate) fn seen(&self) -> Vec<Seen> {
        self.shared.script().seen.clone()
    }

    /// Those with this method and pattern.
    pub(crate) fn seen_of(&self, method: &str, pattern: &str) -> Vec<Seen> {
        let mut seen = self.seen();
        seen.retain(|seen| script::fits(method, pattern, &seen.method, &seen.path));
        seen
    }

    /// `METHOD path` of every request that could have changed something (a token is only read).
    pub(crate) fn writes(&self) -> Vec<String> {
        let changes = |seen: &Seen| !matches!(seen.method.as_str(), "GET" | "HEAD");
        let seen = self.seen().into_iter().filter(changes);
        seen.map(|seen| format!("{} {}", seen.method, seen.path))
            .collect()
    }

    /// Bytes of all bodies that it was sent.
    pub(crate) fn received(&self) -> usize {
        self.seen().iter().map(|seen| seen.received).sum()
    }

    /// Begins a new record: the next request is number 1. Faults and hooks that are still to come stay, theirs counted
    /// on.
    pub(crate) fn forget(&self) {
        self.shared.script().seen.clear();
    }

    /// No token that was issued so far is worth anything any more.
    pub(crate) fn expire_tokens(&self) {
        self.shared.tokens().expire();
    }
}
