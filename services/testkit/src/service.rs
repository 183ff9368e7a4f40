//! A service as a process: started with the settings of the test alone, asked over HTTP, told to end.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use serde_json::Value;
use tokio::process::{Child, Command};

use crate::{free_port, wait_for};

/// How long a service may take to answer, to become ready, or to end.
const PATIENCE: Duration = Duration::from_secs(20);

/// Settings of a process that has not begun.
#[derive(Debug)]
pub struct Starting {
    binary: PathBuf,
    settings: Vec<(String, String)>,
    port: u16,
}

impl Starting {
    /// One setting. Nothing is inherited from the test's own environment.
    #[must_use]
    pub fn set(mut self, name: &str, value: impl Into<String>) -> Self {
        self.settings.push((name.to_owned(), value.into()));
        self
    }

    /// Starts it and waits until it is live.
    ///
    /// # Panics
    /// It cannot be started, or is not live within 20 s.
    pub async fn start(self) -> Service {
        let child = self.command().kill_on_drop(true).spawn();
        let service = Service {
            child: child.unwrap_or_else(|error| panic!("cannot start {}: {error}", self.binary.display())),
            base: format!("http://127.0.0.1:{}", self.port),
            http: reqwest::Client::builder().no_proxy().build().expect("a client"),
        };
        service.status("/live", 200).await;
        service
    }

    /// Runs it to its end, for settings that it must refuse.
    ///
    /// # Panics
    /// It cannot be started, or does not end within 20 s.
    pub async fn run(self, arguments: &[&str]) -> Exit {
        let mut command = self.command();
        command
            .args(arguments)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true);
        let output = tokio::time::timeout(PATIENCE, command.output()).await;
        let output = output.expect("it ends within 20 s").expect("it starts");
        Exit {
            code: output.status.code(),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }

    fn command(&self) -> Command {
        let mut command = Command::new(&self.binary);
        command
            .env_clear()
            .env("HOST", "127.0.0.1")
            .env("PORT", self.port.to_string())
            .env("LOG_LEVEL", "warn")
            .envs(self.settings.iter().map(|(name, value)| (name, value)));
        command
    }
}

/// How a process ended.
#[derive(Debug)]
pub struct Exit {
    /// Absent where a signal ended it.
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

/// A running service. It is killed when the value is dropped.
#[derive(Debug)]
pub struct Service {
    child: Child,
    base: String,
    http: reqwest::Client,
}

/// An answer; `body` is null where it was no JSON.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub body: Value,
}

impl Service {
    /// A service from its binary: `env!("CARGO_BIN_EXE_<package>")`. It listens on a free port of 127.0.0.1.
    #[expect(clippy::new_ret_no_self, reason = "what it makes has not begun yet")]
    pub fn new(binary: impl AsRef<Path>) -> Starting {
        Starting {
            binary: binary.as_ref().to_owned(),
            settings: Vec::new(),
            port: free_port(),
        }
    }

    /// `http://host:port`.
    pub fn url(&self) -> &str {
        &self.base
    }

    /// A request that the test completes itself.
    pub fn request(&self, method: &str, path: &str) -> reqwest::RequestBuilder {
        let method = method.parse().expect("a method");
        self.http
            .request(method, format!("{}{path}", self.base))
            .timeout(PATIENCE)
    }

    /// # Panics
    /// The service does not answer; so with every call below.
    pub async fn get(&self, path: &str) -> Answer {
        read(self.request("GET", path)).await.expect("an answer")
    }

    /// Posts JSON.
    pub async fn post(&self, path: &str, body: &Value) -> Answer {
        read(self.request("POST", path).json(body))
            .await
            .expect("an answer")
    }

    /// Waits until `path` is answered with `status`.
    pub async fn status(&self, path: &str, status: u16) -> Answer {
        wait_for(&format!("{path} = {status}"), PATIENCE, async || {
            let answer = read(self.request("GET", path)).await.ok()?;
            (answer.status == status).then_some(answer)
        })
        .await
    }

    /// Waits until it is ready.
    pub async fn ready(&self) -> Answer {
        self.status("/ready", 200).await
    }

    /// Tells it to end (SIGTERM) and waits: its exit code, absent where a signal ended it.
    pub async fn end(mut self) -> Option<i32> {
        let id = self.child.id().expect("it still runs").to_string();
        let told = Command::new("kill").args(["-TERM", &id]).status().await;
        assert!(told.expect("kill runs").success(), "cannot signal process {id}");
        let ended = tokio::time::timeout(PATIENCE, self.child.wait()).await;
        ended
            .expect("it ends within 20 s")
            .expect("its exit status")
            .code()
    }
}

async fn read(request: reqwest::RequestBuilder) -> reqwest::Result<Answer> {
    let response = request.send().await?;
    let status = response.status().as_u16();
    let body = serde_json::from_slice(&response.bytes().await?).unwrap_or(Value::Null);
    Ok(Answer { status, body })
}
