//! A client of registries (OCI distribution-spec 1.1): what we push, attach, read back and move, over HTTPS with the
//! token authentication that GHCR, Docker Hub and private registries share. Bytes in, bytes out; it judges nothing.

mod auth;
mod blobs;
mod challenge;
mod login;
mod manifests;
#[cfg(test)]
mod real;
#[cfg(test)]
#[path = "../tests/it/real_registry.rs"]
mod real_registry;
mod refusal;
mod retry;
#[cfg(test)]
#[path = "../tests/it/stub/mod.rs"]
pub(crate) mod stub;
#[cfg(test)]
mod tests;
mod transport;
mod trust;

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::Result;
use reqwest::{Method, Url};
use tokio::sync::OnceCell;

use crate::context::Context;
use challenge::{Action, Scopes};
use retry::{Fault, Limits};
use transport::Ask;

/// One registry, for one run: its tokens, its connections, how it is asked again.
pub struct Client {
    host: String,
    context: Context,
    surroundings: Surroundings,
    /// What a token that reads is asked for.
    reads: Action,
    http: reqwest::Client,
    /// `https://host/`, once it is known.
    base: OnceCell<Url>,
    auth: auth::Auth,
}

/// Where this machine keeps what it knows of registries.
#[derive(Debug, Clone)]
pub struct Surroundings {
    /// The folder of docker's `config.json`: who we are.
    pub docker: Option<PathBuf>,
    /// A folder a host, with the certificate authorities that are trusted for it.
    pub certificates: PathBuf,
}

impl Default for Surroundings {
    fn default() -> Self {
        Surroundings {
            docker: login::docker_folder(),
            certificates: "/etc/docker/certs.d".into(),
        }
    }
}

/// A repository of a registry, e.g. `ghcr.io/owner/horme-frontend`. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Repository {
    client: Arc<Client>,
    name: String,
}

/// A manifest's exact bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Raw {
    pub digest: String,
    pub media_type: String,
    pub bytes: Vec<u8>,
}

/// What it took to have a blob in a repository.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pushed {
    /// It was there.
    There,
    /// Another repository of the registry lent it: nothing was sent.
    Mounted,
    Uploaded,
}

/// What became of a tag that was to go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Deleted {
    Gone,
    /// It was not there.
    Absent,
    /// This registry deletes no tags.
    Unsupported,
}

impl fmt::Debug for Client {
    /// Nothing of what it knows us by, nor of what a run knows to be secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Client({})", self.host)
    }
}

impl Client {
    /// A client for one host (`ghcr.io`, `127.0.0.1:5000`; `docker.io` is Docker Hub). Asks nothing yet; the login is
    /// read when the registry asks for one.
    ///
    /// # Errors
    /// Exit 2: certificates that are there but cannot be read.
    pub fn new(context: &Context, host: &str) -> Result<Arc<Self>> {
        Client::within(context, host, Surroundings::default(), Action::Pull)
    }

    /// A client for who is going to push: it reads with the right to push, too. A registry like Docker Hub hides a
    /// repository that does not exist yet from who may only pull: to its owner it says that there is none.
    ///
    /// # Errors
    /// As of [`Client::new`].
    pub fn to_push(context: &Context, host: &str) -> Result<Arc<Self>> {
        Client::within(context, host, Surroundings::default(), Action::Push)
    }

    /// The same, with a login and certificates of one's own.
    fn within(context: &Context, host: &str, surroundings: Surroundings, reads: Action) -> Result<Arc<Self>> {
        Ok(Arc::new(Client {
            host: host.to_owned(),
            context: context.clone(),
            http: trust::http(host, &surroundings.certificates)?,
            surroundings,
            reads,
            base: OnceCell::new(),
            auth: auth::Auth::default(),
        }))
    }

    pub fn repository(self: &Arc<Self>, name: &str) -> Repository {
        Repository {
            client: self.clone(),
            name: name.to_owned(),
        }
    }
}

impl Repository {
    /// `host/name`, as a person writes it.
    pub fn shown(&self) -> String {
        format!("{}/{}", self.client.host, self.name)
    }

    async fn url(&self, path: &str) -> Result<Url, Fault> {
        self.client.url(&format!("v2/{}/{path}", self.name)).await
    }

    async fn read(&self, method: Method, path: &str) -> Result<Ask<'static>, Fault> {
        self.ask(method, path, self.client.reads).await
    }

    async fn ask(&self, method: Method, path: &str, action: Action) -> Result<Ask<'static>, Fault> {
        let url = self.url(path).await?;
        Ok(Ask::new(method, url, Scopes::new(&self.name, action)))
    }

    async fn again<T, F, Fut>(&self, what: &str, limits: Limits, attempt: F) -> Result<T>
    where
        F: FnMut() -> Fut,
        Fut: Future<Output = Result<T, Fault>>,
    {
        retry::again(&self.client.context, what, limits, attempt).await
    }
}
