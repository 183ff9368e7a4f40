//! HTTP clients: every one of them is made here, because they share one provider of cryptography.

use std::time::Duration;

/// Limits that hold for every client; a call that needs others sets its own.
const CONNECT: Duration = Duration::from_secs(10);

/// A client in the making, that trusts what this system trusts.
pub fn client() -> reqwest::ClientBuilder {
    // The provider is the process's own by the library's design; who comes second finds it there.
    let _ = rustls::crypto::ring::default_provider().install_default();
    reqwest::Client::builder().connect_timeout(CONNECT)
}
