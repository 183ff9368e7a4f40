//! Where keys come from: settings, files that may change, and a key set over HTTP.

use std::{fs, io::Read, path::PathBuf, sync::Mutex, sync::PoisonError, time::Duration};

use kit::Secret;

use crate::domain::{
    jwks,
    keys::{Key, MIN_SECRET_BYTES},
    pem,
};

/// How long a key set may take, and how large it may be.
const SET_TIMEOUT: Duration = Duration::from_secs(5);
const MAX_SET_BYTES: u64 = 1 << 20;
/// Files with keys are small.
const MAX_FILE_BYTES: u64 = 64 * 1024;

/// Where keys come from. A source that the settings do not name is `None`.
#[derive(Debug, Default)]
pub struct Sources {
    /// `JWT_SECRET`, or what `JWT_SECRET_FILE` held at the start.
    pub secret: Option<Secret>,
    /// `JWT_SECRET_FILE`.
    pub secret_file: Option<PathBuf>,
    /// `JWT_PUBLIC_KEY`, or what `JWT_PUBLIC_KEY_FILE` held at the start.
    pub public: Vec<Key>,
    /// `JWT_PUBLIC_KEY_FILE`.
    pub public_file: Option<PathBuf>,
    /// `JWKS_URL`.
    pub set_url: Option<String>,
    /// `JWKS_COOLDOWN`: how soon the set is asked for again, where a token names a key that is not in it.
    pub set_cooldown: Duration,
    /// What the public keys' file held when it was read last: it is parsed when that changes.
    pub public_text: Mutex<Option<String>>,
}

impl Sources {
    /// Whether any key can come from anywhere.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.secret.is_none() && self.public.is_empty() && self.set_url.is_none()
    }

    pub(super) fn has_files(&self) -> bool {
        self.secret_file.is_some() || self.public_file.is_some()
    }

    /// The secret that the file holds now; `None` where there is no file, or none that can be used.
    pub(super) async fn read_secret(&self) -> Option<Secret> {
        let text = read("JWT_SECRET_FILE", self.secret_file.clone()?).await?;
        match check_secret(&text) {
            Ok(()) => Some(Secret::new(text)),
            Err(fault) => {
                tracing::warn!(fault, "JWT_SECRET_FILE cannot be used; the former secret stays");
                None
            }
        }
    }

    /// The public keys that the file holds now, where it changed.
    pub(super) async fn read_public(&self) -> Option<Vec<Key>> {
        let text = read("JWT_PUBLIC_KEY_FILE", self.public_file.clone()?).await?;
        let mut last = self.public_text.lock().unwrap_or_else(PoisonError::into_inner);
        if last.as_ref() == Some(&text) {
            return None;
        }
        let keys = pem::public_keys(&text);
        *last = Some(text);
        match keys {
            Ok(keys) => {
                tracing::info!(keys = keys.len(), "public keys are read");
                Some(keys)
            }
            Err(fault) => {
                tracing::warn!(fault, "JWT_PUBLIC_KEY_FILE cannot be used; the former keys stay");
                None
            }
        }
    }

    /// The keys of the set; `None` where it could not be had.
    pub(super) async fn read_set(&self) -> Option<Vec<Key>> {
        let url = self.set_url.clone()?;
        let fetched = tokio::task::spawn_blocking(move || fetch(&url)).await;
        let read = fetched
            .map_err(|error| error.to_string())
            .and_then(|fetched| fetched)
            .and_then(|bytes| jwks::keys(&bytes));
        match read {
            Ok(keys) => {
                tracing::info!(keys = keys.len(), "key set is read");
                Some(keys)
            }
            Err(fault) => {
                tracing::warn!(fault, "JWKS_URL gives no key set; the former one stays");
                None
            }
        }
    }
}

/// # Errors
/// The secret is too short (RFC 7518 section 3.2); the words do not hold it.
pub(crate) fn check_secret(secret: &str) -> Result<(), String> {
    let bytes = secret.len();
    if bytes < MIN_SECRET_BYTES {
        return Err(format!("expected at least {MIN_SECRET_BYTES} bytes, got {bytes}"));
    }
    Ok(())
}

/// A file as `kit` reads settings: without the newlines at its end.
async fn read(setting: &'static str, path: PathBuf) -> Option<String> {
    let reading = tokio::task::spawn_blocking(move || {
        let mut text = String::new();
        let file = fs::File::open(path)?;
        file.take(MAX_FILE_BYTES).read_to_string(&mut text)?;
        Ok::<_, std::io::Error>(text.trim_end_matches(['\n', '\r']).to_owned())
    });
    match reading.await {
        Ok(Ok(text)) => Some(text),
        Ok(Err(error)) => {
            tracing::warn!(%error, setting, "cannot be read; the keys stay");
            None
        }
        Err(error) => {
            tracing::warn!(%error, setting, "cannot be read; the keys stay");
            None
        }
    }
}

fn fetch(url: &str) -> Result<Vec<u8>, String> {
    let config = ureq::Agent::config_builder()
        .timeout_global(Some(SET_TIMEOUT))
        .max_redirects(0)
        .proxy(None)
        .build();
    let mut answer = ureq::Agent::new_with_config(config)
        .get(url)
        .call()
        .map_err(|error| error.to_string())?;
    let body = answer.body_mut().with_config().limit(MAX_SET_BYTES);
    body.read_to_vec().map_err(|error| error.to_string())
}
