//! Tokens of the running process: the keys of the moment, what was checked with them, and where new keys come from.

mod sources;

use std::{
    sync::{Arc, Mutex, PoisonError, RwLock},
    time::Duration,
};

use kit::{Health, OnLoss, Secret};
use tokio::time::Instant;

use crate::{
    domain::{
        keys::{Key, Keyring},
        token::{Claims, Rules, Subject, TokenFault, now_s},
        verified::Verified,
    },
    error::Error,
};

pub use sources::Sources;
pub(crate) use sources::check_secret;

/// How often files are looked at.
const FILES_EVERY: Duration = Duration::from_secs(2);
/// How soon again, where a token names a key that is not known.
const FILES_AGAIN: Duration = Duration::from_secs(1);
/// How long a key set is good without asking.
const SET_EVERY: Duration = Duration::from_secs(3600);
const LONGEST_BACKOFF: Duration = Duration::from_secs(30);
const FIRST_BACKOFF: Duration = Duration::from_secs(1);
/// How long a request waits for keys that another one asked for.
const PATIENCE: Duration = Duration::from_secs(6);
/// Former secrets that are still accepted.
const MOST_FORMER: usize = 4;

/// Issues tokens and checks them; cheap to clone.
#[derive(Clone)]
pub(crate) struct Tokens(Arc<Inner>);

struct Inner {
    rules: Rules,
    sources: Sources,
    current: RwLock<Arc<Snapshot>>,
    held: Mutex<Held>,
    asked: tokio::sync::Mutex<Asked>,
}

/// Keys, and the tokens that were good with them: both are replaced together.
struct Snapshot {
    ring: Keyring,
    verified: Verified,
}

/// The keys by where they came from.
struct Held {
    secret: Option<Secret>,
    former: Vec<Key>,
    public: Vec<Key>,
    set: Vec<Key>,
}

/// When was asked last.
#[derive(Default)]
struct Asked {
    files: Option<Instant>,
    set: Option<Instant>,
}

impl Tokens {
    /// With the keys that the settings held; those of files and of a key set are followed in the background.
    pub(crate) fn start(rules: Rules, sources: Sources, health: &Health) -> Self {
        let held = Held {
            secret: sources.secret.clone(),
            former: Vec::new(),
            public: sources.public.clone(),
            set: Vec::new(),
        };
        let tokens = Self(Arc::new(Inner {
            rules,
            current: RwLock::new(Arc::new(snapshot(&held))),
            held: Mutex::new(held),
            asked: tokio::sync::Mutex::default(),
            sources,
        }));
        if tokens.0.sources.has_files() {
            tokio::spawn(tokens.clone().follow_files());
        }
        if tokens.0.sources.set_url.is_some() {
            tokio::spawn(tokens.clone().follow_set());
            let known = tokens.clone();
            health.watch("jwks", OnLoss::Degrade, move || {
                let known = !known.held().set.is_empty();
                async move { known.then_some(()).ok_or("no key set was read yet") }
            });
        }
        tokens
    }

    /// How long an issued token is valid, in seconds.
    pub(crate) fn ttl_s(&self) -> u64 {
        self.0.rules.ttl_s()
    }

    /// Whether there is a key to sign with.
    pub(crate) fn can_issue(&self) -> Result<(), Error> {
        let snapshot = self.snapshot();
        snapshot
            .ring
            .signing()
            .map(drop)
            .ok_or(Error::NotConfigured("JWT_SECRET"))
    }

    /// A new token, with `jti` as its own unguessable name.
    pub(crate) fn issue(&self, subject: Subject<'_>, jti: &str) -> Result<String, Error> {
        let token = self.0.rules.issue(&self.snapshot().ring, subject, jti);
        let token = token.map_err(|error| Error::Internal(error.to_string()))?;
        token.ok_or(Error::NotConfigured("JWT_SECRET"))
    }

    /// The claims of a good token. Where it names a key that is not known, keys are asked for, within bounds.
    pub(crate) async fn check(&self, token: &str) -> Result<Arc<Claims>, TokenFault> {
        match self.check_now(token) {
            Err(TokenFault::UnknownKey) => {
                self.learn().await;
                self.check_now(token)
            }
            checked => checked,
        }
    }

    fn check_now(&self, token: &str) -> Result<Arc<Claims>, TokenFault> {
        let snapshot = self.snapshot();
        let name = Verified::name(token);
        if let Some(claims) = snapshot.verified.get(&name, now_s()) {
            return Ok(claims);
        }
        let (claims, key_until_s) = self.0.rules.check(&snapshot.ring, token)?;
        let claims = Arc::new(claims);
        let until_s = claims.exp.min(key_until_s);
        snapshot.verified.put(name, claims.clone(), until_s);
        Ok(claims)
    }

    fn snapshot(&self) -> Arc<Snapshot> {
        self.0
            .current
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    fn held(&self) -> std::sync::MutexGuard<'_, Held> {
        self.0.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Looks for new keys, unless that was done just now. Others wait for the one who does.
    async fn learn(&self) {
        let look = async {
            let mut asked = self.0.asked.lock().await;
            if self.0.sources.has_files() && due(asked.files, FILES_AGAIN) {
                asked.files = Some(Instant::now());
                self.read_files().await;
            }
            if self.0.sources.set_url.is_some() && due(asked.set, self.0.sources.set_cooldown) {
                asked.set = Some(Instant::now());
                self.read_set().await;
            }
        };
        if tokio::time::timeout(PATIENCE, look).await.is_err() {
            tracing::warn!("new keys were not had in time");
        }
    }

    async fn follow_files(self) {
        loop {
            tokio::time::sleep(FILES_EVERY).await;
            self.read_files().await;
        }
    }

    async fn follow_set(self) {
        let mut backoff = FIRST_BACKOFF;
        loop {
            let read = {
                let mut asked = self.0.asked.lock().await;
                asked.set = Some(Instant::now());
                self.read_set().await
            };
            let pause = if read { SET_EVERY } else { backoff };
            backoff = if read {
                FIRST_BACKOFF
            } else {
                (backoff * 2).min(LONGEST_BACKOFF)
            };
            tokio::time::sleep(pause).await;
        }
    }

    /// Takes what the files hold now. What is unusable is told, and the keys of before stay.
    async fn read_files(&self) {
        if let Some(secret) = self.0.sources.read_secret().await {
            self.change(|held, ttl_s| held.replace_secret(secret, ttl_s));
        }
        if let Some(public) = self.0.sources.read_public().await {
            self.change(|held, _| {
                held.public = public;
                true
            });
        }
    }

    /// Asks for the key set; the last good one stays where that fails.
    async fn read_set(&self) -> bool {
        let Some(keys) = self.0.sources.read_set().await else {
            return false;
        };
        self.change(|held, _| {
            held.set = keys;
            true
        });
        true
    }

    fn change(&self, change: impl FnOnce(&mut Held, u64) -> bool) {
        let mut held = self.held();
        if change(&mut held, self.ttl_s()) {
            let new = Arc::new(snapshot(&held));
            *self.0.current.write().unwrap_or_else(PoisonError::into_inner) = new;
        }
    }
}

impl Held {
    /// The former secret is accepted as long as a token that it signed may live. Answers whether anything changed.
    fn replace_secret(&mut self, secret: Secret, ttl_s: u64) -> bool {
        if self.secret.as_ref() == Some(&secret) {
            return false;
        }
        tracing::info!("tokens are signed with a new secret");
        if let Some(former) = self.secret.replace(secret) {
            let until_s = now_s() + ttl_s;
            self.former
                .insert(0, Key::secret(former.reveal().as_bytes(), until_s));
            self.former.truncate(MOST_FORMER);
        }
        true
    }
}

fn snapshot(held: &Held) -> Snapshot {
    let secret = held.secret.as_ref().map(|secret| secret.reveal().as_bytes());
    let public = held.public.iter().chain(&held.set).cloned().collect();
    Snapshot {
        ring: Keyring::new(secret, held.former.clone(), public),
        verified: Verified::default(),
    }
}

fn due(last: Option<Instant>, pause: Duration) -> bool {
    last.is_none_or(|last| last.elapsed() >= pause)
}
