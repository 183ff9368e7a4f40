//! Passwords, off the async threads and few at a time: each hash takes 19 MiB and tens of milliseconds.

use crate::{
    domain::password::{self, MAX_PASSWORD_BYTES, MIN_PASSWORD_BYTES},
    error::Error,
    state::App,
};

/// Whether `password` belongs to `stored`. Without a stored hash it costs the same time.
pub(super) async fn verify(app: &App, stored: Option<String>, password: String) -> Result<bool, Error> {
    run(app, move || password::verify(&password, stored.as_deref())).await
}

/// The hash of a password that may be set.
pub(super) async fn hash(app: &App, field: &'static str, password: String) -> Result<String, Error> {
    if !password::is_acceptable(&password) {
        let expected = format!("expected {MIN_PASSWORD_BYTES} to {MAX_PASSWORD_BYTES} bytes");
        return Err(Error::Unacceptable(field, expected));
    }
    let hashed = run(app, move || password::hash(&password)).await?;
    hashed.map_err(|error| Error::Internal(error.to_string()))
}

async fn run<T: Send + 'static>(app: &App, work: impl FnOnce() -> T + Send + 'static) -> Result<T, Error> {
    let internal = |error: &dyn std::fmt::Display| Error::Internal(error.to_string());
    let permit = app.hashing().clone().acquire_owned().await;
    let permit = permit.map_err(|error| internal(&error))?;
    // The permit goes along: the work is done to its end even where nobody waits for it any more.
    let work = move || {
        let done = work();
        drop(permit);
        done
    };
    tokio::task::spawn_blocking(work)
        .await
        .map_err(|error| internal(&error))
}
