//! Which engine is meant: `DOCKER_HOST`, else `DOCKER_CONTEXT`, else the current context of docker's configuration,
//! else the local socket: the same answer as the docker command gives. Reads files; connects to nothing.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::exit::Failure;
use crate::hash;

/// Where the engine of this machine listens.
const LOCAL: &str = "unix:///var/run/docker.sock";
/// The context that is none: whatever `DOCKER_HOST` says, or the local socket.
const DEFAULT: &str = "default";
/// The only kind of endpoint that is an engine's.
const DOCKER: &str = "docker";

/// The engine that a run means. Decided once; programs are handed it by [`Choice::handed`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Choice {
    pub address: Address,
    /// Who says so, for a reader: `DOCKER_HOST`, `the context 'x' (DOCKER_CONTEXT)`. `None`: nobody, it is the local socket.
    pub named_by: Option<String>,
    /// `None`: nothing is encrypted.
    pub tls: Option<Tls>,
    /// The context, where one is meant.
    pub(super) context: Option<String>,
    /// Whether `DOCKER_HOST` decides, which every program reads itself.
    pub(super) by_host: bool,
}

/// Where an engine listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Address {
    Unix(PathBuf),
    /// Host (an IPv6 address without brackets) and port.
    Tcp(String, u16),
    /// As it was given, `ssh://[user@]host[:port]`, and the host in it.
    Ssh(String, String),
}

/// How an engine and we tell each other who we are. An absent file is asked of nobody.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Tls {
    /// Whether the engine's certificate is looked at at all.
    pub verifies: bool,
    pub ca: Option<PathBuf>,
    pub cert: Option<PathBuf>,
    pub key: Option<PathBuf>,
}

/// The part of docker's `config.json` that is about contexts.
#[derive(Deserialize)]
struct Config {
    #[serde(default, rename = "currentContext")]
    current_context: String,
}

/// `contexts/meta/<sha256 of its name>/meta.json`.
#[derive(Deserialize)]
struct Meta {
    #[serde(rename = "Name")]
    name: String,
    #[serde(default, rename = "Endpoints")]
    endpoints: BTreeMap<String, Endpoint>,
}

#[derive(Deserialize)]
struct Endpoint {
    #[serde(default, rename = "Host")]
    host: String,
    #[serde(default, rename = "SkipTLSVerify")]
    skip_tls_verify: bool,
}

impl Choice {
    /// What this process's environment and docker's configuration say now.
    ///
    /// # Errors
    /// Exit 2: a faulty or absent context, with its file and key; an address that nobody understands.
    pub fn now() -> Result<Self, Failure> {
        let folder = docker_config().unwrap_or_default();
        Self::read(|name| std::env::var(name).ok(), &folder)
    }

    /// The same of other variables and another folder of docker's configuration.
    fn read(variable: impl Fn(&str) -> Option<String>, folder: &Path) -> Result<Self, Failure> {
        let set = |name: &str| variable(name).filter(|value| !value.is_empty());
        if let Some(host) = set("DOCKER_HOST") {
            let tls = tls_by_variables(&set, folder);
            return Ok(Choice {
                address: address(&host, tls.is_some(), "DOCKER_HOST")?,
                tls,
                named_by: Some("DOCKER_HOST".to_owned()),
                context: None,
                by_host: true,
            });
        }
        let (name, by) = match set("DOCKER_CONTEXT") {
            Some(name) => (name, "DOCKER_CONTEXT".to_owned()),
            None => {
                let file = folder.join("config.json");
                let config: Option<Config> = read_json(&file)?;
                let name = config.map(|config| config.current_context).unwrap_or_default();
                (name, format!("currentContext in {}", file.display()))
            }
        };
        if name.is_empty() || name == DEFAULT {
            return Ok(Self::local());
        }
        Self::of_context(name, &by, folder)
    }

    /// The engine of this machine, which nobody had to name.
    pub(super) fn local() -> Self {
        Choice {
            address: Address::Unix(LOCAL.trim_start_matches("unix://").into()),
            named_by: None,
            tls: None,
            context: Some(DEFAULT.to_owned()),
            by_host: false,
        }
    }

    fn of_context(name: String, by: &str, folder: &Path) -> Result<Self, Failure> {
        let id = hash::of(&name);
        let file = folder.join("contexts/meta").join(&id).join("meta.json");
        let Some(meta) = read_json::<Meta>(&file)? else {
            return Err(Failure::usage(
                format!(
                    "there is no docker context '{name}' ({by}): no {}",
                    file.display()
                ),
                "`docker context ls` lists those that there are; `docker context use default` goes back to the local engine",
            ));
        };
        let faulty = |key: &str, why: &str| {
            let hint = format!(
                "make it again: `docker context rm {name}`, `docker context create {name} --docker host=...`"
            );
            Failure::usage(format!("{}: {key}: {why}", file.display()), hint)
        };
        if meta.name != name {
            return Err(faulty(
                "Name",
                &format!("'{}', the context is '{name}'", meta.name),
            ));
        }
        let Some(endpoint) = meta.endpoints.get(DOCKER) else {
            return Err(faulty("Endpoints.docker", "absent: it names no engine"));
        };
        let host = if endpoint.host.is_empty() {
            LOCAL
        } else {
            &endpoint.host
        };
        let tls = tls_in(
            &folder.join("contexts/tls").join(&id).join(DOCKER),
            !endpoint.skip_tls_verify,
        );
        let tls = tls.or_else(|| endpoint.skip_tls_verify.then(Tls::default));
        let address = address(host, tls.is_some(), "Host")
            .map_err(|error| faulty("Endpoints.docker.Host", &error.what))?;
        Ok(Choice {
            address,
            tls,
            named_by: Some(format!("the context '{name}' ({by})")),
            context: Some(name),
            by_host: false,
        })
    }

    /// Variables for every program: it must mean the same engine, whatever docker's configuration says by then.
    pub fn handed(&self) -> Vec<(&'static str, String)> {
        let context = self.context.iter().filter(|_| !self.by_host);
        context.map(|name| ("DOCKER_CONTEXT", name.clone())).collect()
    }

    /// What buildx calls the builder that is the engine itself.
    pub fn builder(&self) -> &str {
        self.context.as_deref().unwrap_or(DEFAULT)
    }

    /// Whether it is the engine of this machine, which nobody had to name.
    pub fn is_unnamed(&self) -> bool {
        self.named_by.is_none()
    }

    /// The address, and who says so; no password.
    pub fn words(&self) -> String {
        let by = self.named_by.as_ref().map(|by| format!(", named by {by}"));
        format!("{}{}", self.address.shown(), by.unwrap_or_default())
    }
}

impl Address {
    /// As the docker command writes it.
    pub fn shown(&self) -> String {
        match self {
            Address::Unix(path) => format!("unix://{}", path.display()),
            Address::Tcp(host, port) if host.contains(':') => format!("tcp://[{host}]:{port}"),
            Address::Tcp(host, port) => format!("tcp://{host}:{port}"),
            Address::Ssh(whole, _) => whole.clone(),
        }
    }

    /// The machine's name; `None`: this one, by a socket of its own.
    pub fn host(&self) -> Option<&str> {
        match self {
            Address::Unix(_) => None,
            Address::Tcp(host, _) | Address::Ssh(_, host) => Some(host),
        }
    }
}

/// An address as docker takes it: `unix://`, `tcp://` (also `http://`, or nothing), `ssh://`.
fn address(text: &str, encrypted: bool, from: &str) -> Result<Address, Failure> {
    let refused = |why: &str| {
        let hint = "unix:///path, tcp://host:port and ssh://user@host are understood";
        Failure::usage(
            format!("{from} names no engine: {}: {why}", without_password(text)),
            hint,
        )
    };
    let (scheme, rest) = text.trim().split_once("://").unwrap_or(("tcp", text.trim()));
    match scheme {
        "unix" if rest.is_empty() => Ok(Address::Unix("/var/run/docker.sock".into())),
        "unix" => Ok(Address::Unix(rest.into())),
        "tcp" | "http" | "https" => {
            let (host, port) = host_and_port(rest).ok_or_else(|| refused("no host and port"))?;
            Ok(Address::Tcp(
                host,
                port.unwrap_or(if encrypted { 2376 } else { 2375 }),
            ))
        }
        "ssh" => {
            let (host, _) = host_and_port(rest).ok_or_else(|| refused("no host"))?;
            if rest.split_once('@').is_some_and(|(user, _)| user.contains(':')) {
                return Err(refused("a password: let ssh ask its agent"));
            }
            Ok(Address::Ssh(text.trim().to_owned(), host))
        }
        other => Err(refused(&format!("nobody here speaks '{other}'"))),
    }
}

/// `[user@]host[:port][/path]`, where an IPv6 address stands in brackets.
fn host_and_port(rest: &str) -> Option<(String, Option<u16>)> {
    let authority = rest.split('/').next()?;
    let authority = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    let (host, port) = match authority.strip_prefix('[') {
        Some(inside) => {
            let (host, after) = inside.split_once(']')?;
            (host, after.strip_prefix(':'))
        }
        None => match authority.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (authority, None),
        },
    };
    let port = port.map(str::parse).transpose().ok()?;
    (!host.is_empty()).then(|| (host.to_owned(), port))
}

fn without_password(text: &str) -> String {
    match (text.split_once("://"), text.rsplit_once('@')) {
        (Some((scheme, _)), Some((_, host))) => format!("{scheme}://***@{host}"),
        _ => text.to_owned(),
    }
}

/// As the docker command decides it: a folder of certificates alone encrypts nothing.
fn tls_by_variables(set: &impl Fn(&str) -> Option<String>, folder: &Path) -> Option<Tls> {
    let verifies = set("DOCKER_TLS_VERIFY").is_some();
    if !verifies && set("DOCKER_TLS").is_none() {
        return None;
    }
    let certificates = set("DOCKER_CERT_PATH").map_or_else(|| folder.to_owned(), PathBuf::from);
    let plain = Tls {
        verifies,
        ..Tls::default()
    };
    Some(tls_in(&certificates, verifies).unwrap_or(plain))
}

/// What a folder holds of certificates; `None` where it holds none.
fn tls_in(folder: &Path, verifies: bool) -> Option<Tls> {
    let file = |name: &str| Some(folder.join(name)).filter(|path| path.is_file());
    let tls = Tls {
        verifies,
        ca: file("ca.pem"),
        cert: file("cert.pem"),
        key: file("key.pem"),
    };
    (tls.ca.is_some() || tls.cert.is_some() || tls.key.is_some()).then_some(tls)
}

/// Where the docker command keeps its configuration.
pub fn docker_config() -> Option<PathBuf> {
    let named = std::env::var_os("DOCKER_CONFIG").filter(|folder| !folder.is_empty());
    let home = || std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".docker"));
    named.map(PathBuf::from).or_else(home)
}

/// A file's value; `None` where there is no such file.
fn read_json<T: DeserializeOwned>(file: &Path) -> Result<Option<T>, Failure> {
    let text = match std::fs::read_to_string(file) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) if error.kind() == std::io::ErrorKind::NotADirectory => return Ok(None),
        Err(error) => {
            let hint = "make it readable, or name the engine with DOCKER_HOST";
            return Err(Failure::usage(
                format!("cannot read {}: {error}", file.display()),
                hint,
            ));
        }
    };
    let parsed = serde_json::from_str(&text);
    parsed.map(Some).map_err(|error| {
        let hint = "mend or remove the file, or name the engine with DOCKER_HOST";
        Failure::usage(format!("{}: {error}", file.display()), hint)
    })
}

#[cfg(test)]
mod tests;
