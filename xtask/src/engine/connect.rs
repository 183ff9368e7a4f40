//! Connecting to the engine that is meant, by whatever leads to it: a socket, TCP, TLS, and for all else (ssh,
//! certificates that bollard cannot do without) the docker command's own way there.

use std::net::IpAddr;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::{Context as _, Result};
use bollard::API_DEFAULT_VERSION;
#[expect(
    clippy::disallowed_types,
    reason = "this is the one place that speaks to the Docker API"
)]
use bollard::Docker;
use bollard::errors::Error;
use tokio::net::{UnixListener, UnixStream};

use super::context::{Address, Choice, Tls};
use super::{Engine, MINIMUM_API, PATIENCE, Trouble, forbidden, innermost, trouble};
use crate::exit::Failure;
use crate::process::{self, Call};

/// How long an engine may take to answer first; by ssh, with a login.
const ANSWER: Duration = Duration::from_secs(5);
const ANSWER_BY_LOGIN: Duration = Duration::from_secs(20);

/// Where an engine is, and how it is reached.
#[derive(Debug, Clone)]
pub struct Place {
    pub choice: Choice,
    /// The address on which it publishes ports for us, or why there is none.
    published: Result<IpAddr, String>,
    /// The way there, while there is one of ours.
    _way: Option<Arc<Way>>,
}

impl Place {
    /// How its ports are asked, where that is not on this machine.
    pub(super) fn way(&self) -> String {
        match &self.published {
            Ok(address) if address.is_loopback() => String::new(),
            Ok(address) => format!(" asked at {address}"),
            Err(why) => format!(" {why}"),
        }
    }
}

impl Engine {
    /// Connects to the engine that is meant now (`engine/context.rs`). A run has decided that once: see
    /// [`crate::context::Context::engine`].
    ///
    /// # Errors
    /// Exit 2: a faulty context. Exit 3: no engine answers within 5 s, or it is too old.
    pub async fn connect() -> Result<Self> {
        Self::connect_to(&Choice::now()?).await
    }

    /// Connects to an engine.
    ///
    /// # Errors
    /// Exit 3 where it does not answer within 5 s (by ssh 20 s), or where it is too old.
    pub async fn connect_to(choice: &Choice) -> Result<Self> {
        let limit = if matches!(choice.address, Address::Ssh(..)) {
            ANSWER_BY_LOGIN
        } else {
            ANSWER
        };
        let (docker, way) = lead(choice)?;
        let connecting = async {
            let docker = docker.with_timeout(PATIENCE).negotiate_version().await?;
            let info = docker.info().await?;
            Ok::<_, Error>((docker, info))
        };
        let (docker, info) = match tokio::time::timeout(limit, connecting).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(error)) => return Err(no_engine(choice, way.as_deref(), &error)),
            Err(_) => {
                return Err(absent(
                    choice,
                    &way.as_deref()
                        .map_or_else(|| late(limit), |way| way.said(&late(limit))),
                ));
            }
        };
        let api = docker.client_version();
        if (api.major_version, api.minor_version) < MINIMUM_API {
            return Err(Failure::undecided(
                format!(
                    "the engine speaks API {}.{} only",
                    api.major_version, api.minor_version
                ),
                "an engine of version 25 or newer is needed; a running engine is never replaced by us",
            )
            .into());
        }
        let place = Place {
            published: published(&choice.address).await,
            choice: choice.clone(),
            _way: way,
        };
        Ok(Engine::new(docker, info, place))
    }

    /// The address of the engine's machine on which ports are published for us: no other can be reached from here,
    /// and none is wider than needed.
    ///
    /// # Errors
    /// Exit 3: the machine has no address that we could ask.
    pub fn published(&self) -> Result<IpAddr> {
        self.place.published.clone().map_err(|why| {
            let hint =
                "name the engine by an address that answers here (`docker context update`, DOCKER_HOST)";
            Failure::undecided(why, hint).into()
        })
    }

    /// Whether files of this machine may be absent where the engine runs: it is reached by a network, or says that
    /// its machine is another one (a virtual machine; or we are in a container, and it is not).
    pub fn is_elsewhere(&self) -> bool {
        let here = rustix::system::uname();
        self.place.choice.address.host().is_some() || self.name.as_bytes() != here.nodename().to_bytes()
    }

    /// What is worth knowing of an engine that is not simply this machine's; nothing of any other.
    pub fn whereabouts(&self) -> Option<String> {
        let choice = &self.place.choice;
        let ports = match &self.place.published {
            Ok(address) if address.is_loopback() => String::new(),
            Ok(address) => format!("; ports are published on its {address} while they are asked"),
            Err(why) => format!("; {why}"),
        };
        (!choice.is_unnamed()).then(|| format!("engine at {}{ports}", choice.words()))
    }
}

fn late(limit: Duration) -> String {
    format!("no answer within {} s", limit.as_secs())
}

/// A connection in the making: nothing is asked yet.
#[expect(
    clippy::disallowed_types,
    reason = "this is the one place that speaks to the Docker API"
)]
fn lead(choice: &Choice) -> Result<(Docker, Option<Arc<Way>>)> {
    let patience = PATIENCE.as_secs();
    let made = match (&choice.address, &choice.tls) {
        (Address::Unix(path), _) => return Ok((by_socket(path, choice)?, None)),
        (address @ Address::Tcp(..), None) => {
            Docker::connect_with_http(&address.shown(), patience, API_DEFAULT_VERSION)
        }
        (
            address @ Address::Tcp(..),
            Some(Tls {
                verifies: true,
                ca: Some(ca),
                cert: Some(cert),
                key: Some(key),
            }),
        ) => Docker::connect_with_ssl(&address.shown(), key, cert, ca, patience, API_DEFAULT_VERSION),
        _ => {
            let way = Arc::new(Way::by_command(choice)?);
            return Ok((by_socket(&way.socket(), choice)?, Some(way)));
        }
    };
    Ok((made.map_err(|error| no_engine(choice, None, &error))?, None))
}

#[expect(
    clippy::disallowed_types,
    reason = "this is the one place that speaks to the Docker API"
)]
fn by_socket(path: &Path, choice: &Choice) -> Result<Docker> {
    let path = path.to_string_lossy();
    let made = Docker::connect_with_unix(&path, PATIENCE.as_secs(), API_DEFAULT_VERSION);
    made.map_err(|error| no_engine(choice, None, &error))
}

/// Ports of this machine's engine, and of one behind a tunnel, are published on the local address; those of another
/// machine on the address by which we reach it.
async fn published(address: &Address) -> Result<IpAddr, String> {
    let local = IpAddr::from([127, 0, 0, 1]);
    let Some(host) = address.host() else {
        return Ok(local);
    };
    let found = tokio::net::lookup_host((host, 0)).await;
    let found = found
        .ok()
        .and_then(|mut found| found.next())
        .map(|address| address.ip());
    match found {
        Some(found) if found.is_loopback() => Ok(local),
        Some(found) => Ok(found),
        None => Err(format!(
            "the engine's machine '{host}' has no address here: ports that it publishes cannot be asked"
        )),
    }
}

/// A socket of our own, in a folder that nobody else may enter, that leads to the engine: for each connection one
/// `docker system dial-stdio`, which knows every way there.
#[derive(Debug)]
struct Way {
    folder: tempfile::TempDir,
    task: tokio::task::JoinHandle<()>,
    /// What the last program said that led nowhere.
    words: Arc<Mutex<String>>,
}

impl Drop for Way {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Way {
    fn by_command(choice: &Choice) -> Result<Self> {
        let folder = tempfile::tempdir().context("no folder for the way to the engine")?;
        let listener =
            UnixListener::bind(folder.path().join(SOCKET)).context("no socket for the way to the engine")?;
        let mut call = Call::new(["docker", "system", "dial-stdio"]);
        for (name, value) in choice.handed() {
            call = call.env(name, value);
        }
        let words = Arc::new(Mutex::new(String::new()));
        let said = words.clone();
        let task = tokio::spawn(async move {
            let mut open = tokio::task::JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                open.spawn(carry(stream, call.clone(), said.clone()));
                while open.try_join_next().is_some() {}
            }
        });
        Ok(Way { folder, task, words })
    }

    fn socket(&self) -> std::path::PathBuf {
        self.folder.path().join(SOCKET)
    }

    /// Why nothing came back: the program's own words where it had any.
    fn said(&self, otherwise: &str) -> String {
        let words = self.words.lock().map(|words| words.clone()).unwrap_or_default();
        if words.is_empty() {
            otherwise.to_owned()
        } else {
            words
        }
    }
}

const SOCKET: &str = "engine.sock";

/// Carries one connection to the engine and back, until either side ends it.
async fn carry(mut stream: UnixStream, call: Call, words: Arc<Mutex<String>>) {
    let carried = process::connected(&call, &mut stream).await;
    let why = match carried {
        Ok(said) => process::last_lines(&said, 1),
        Err(error) => format!("{error:#}"),
    };
    if let (Ok(mut words), false) = (words.lock(), why.is_empty()) {
        *words = why;
    }
    // Closed only now: whoever finds it closed finds the reason.
    drop(stream);
}

fn no_engine(choice: &Choice, way: Option<&Way>, error: &Error) -> anyhow::Error {
    if trouble(error) == Some(Trouble::Forbidden) {
        return forbidden().into();
    }
    let why = innermost(error);
    absent(choice, &way.map_or_else(|| why.clone(), |way| way.said(&why)))
}

fn absent(choice: &Choice, why: &str) -> anyhow::Error {
    let hint = "start the engine, point DOCKER_HOST to one, or let `cargo xtask setup` provision it";
    let failure = match &choice.named_by {
        None => Failure::undecided(format!("no Docker engine answers: {why}"), hint),
        Some(_) => Failure::undecided(
            format!("no Docker engine answers: {why} (at {})", choice.words()),
            "start the engine there, or name another one: DOCKER_HOST, DOCKER_CONTEXT, `docker context use`",
        ),
    };
    failure.into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exit::explain;

    fn choice(address: Address) -> Choice {
        Choice {
            address,
            ..Choice::local()
        }
    }

    #[tokio::test]
    async fn ports_are_published_no_wider_than_they_are_asked() {
        let of = async |address: Address| published(&address).await;
        assert_eq!(
            of(Address::Unix("/x".into())).await.unwrap().to_string(),
            "127.0.0.1"
        );
        assert_eq!(
            of(Address::Tcp("127.0.0.2".into(), 1)).await.unwrap().to_string(),
            "127.0.0.1"
        );
        assert_eq!(
            of(Address::Tcp("10.1.2.3".into(), 1)).await.unwrap().to_string(),
            "10.1.2.3"
        );
        assert_eq!(
            of(Address::Tcp("fd00::1".into(), 1)).await.unwrap().to_string(),
            "fd00::1"
        );
        let unknown = of(Address::Ssh("ssh://alias.invalid".into(), "alias.invalid".into())).await;
        assert!(
            unknown
                .unwrap_err()
                .contains("'alias.invalid' has no address here")
        );
    }

    #[tokio::test]
    async fn an_engine_that_does_not_answer_is_told_with_who_named_it() {
        let far = Choice {
            named_by: Some("DOCKER_HOST".into()),
            ..choice(Address::Tcp("127.0.0.1".into(), 1))
        };
        let (exit, text) = explain(&Engine::connect_to(&far).await.unwrap_err());
        assert_eq!(exit, crate::exit::Exit::Undecided);
        assert!(
            text.contains("(at tcp://127.0.0.1:1, named by DOCKER_HOST)"),
            "{text}"
        );
        assert!(text.contains("hint: start the engine there"), "{text}");
    }
}
