//! A service as a process: started with the settings of the test alone, asked over HTTP, told to end.

use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};

use serde_json::Value;
use tokio::process::{Child, Command};

use crate::{DRAWS, PATIENCE, free_port, wait_for};

/// How a service ends whose port cannot be had.
const NO_PORT: i32 = 1;

/// Settings of a process that has not begun.
#[derive(Debug)]
pub struct Starting {
    binary: PathBuf,
    settings: Vec<(String, String)>,
    log: Option<PathBuf>,
}

impl Starting {
    /// One setting. Nothing is inherited from the test's own environment.
    #[must_use]
    pub fn set(mut self, name: &str, value: impl Into<String>) -> Self {
        self.settings.push((name.to_owned(), value.into()));
        self
    }

    /// Its output goes to a file, for tests of what the log must not hold.
    #[must_use]
    pub fn log_to(mut self, path: impl Into<PathBuf>) -> Self {
        self.log = Some(path.into());
        self
    }

    /// Starts it on a free port of 127.0.0.1 and waits until it is live.
    ///
    /// # Panics
    /// It cannot be started, ends, or is not live within [`PATIENCE`].
    pub async fn start(self) -> Service {
        let mut draw = 1;
        loop {
            match self.start_on(free_port()).await {
                Ok(service) => return service,
                Err(status) if draw < DRAWS && status.code() == Some(NO_PORT) => draw += 1,
                Err(status) => panic!("{} ended before it was live: {status}", self.binary.display()),
            }
        }
    }

    /// The service, or how it ended before it was live.
    async fn start_on(&self, port: u16) -> Result<Service, ExitStatus> {
        let mut command = self.command(port);
        if let Some(path) = &self.log {
            let file = std::fs::File::create(path).expect("a file for the log");
            let copy = file.try_clone().expect("a second handle of it");
            command.stdout(file).stderr(copy);
        }
        let child = command.kill_on_drop(true).spawn();
        let mut service = Service {
            child: child.unwrap_or_else(|error| panic!("cannot start {}: {error}", self.binary.display())),
            base: format!("http://127.0.0.1:{port}"),
            http: reqwest::Client::builder().no_proxy().build().expect("a client"),
        };
        let listening = wait_for("a listening service", PATIENCE, || {
            std::future::ready(service.listening())
        });
        listening.await?;
        service.status("/live", 200).await;
        Ok(service)
    }

    /// Runs it to its end, for settings that it must refuse.
    ///
    /// # Panics
    /// It cannot be started, or does not end within [`PATIENCE`].
    pub async fn run(self, arguments: &[&str]) -> Exit {
        let mut command = self.command(free_port());
        command
            .args(arguments)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true);
        let output = tokio::time::timeout(PATIENCE, command.output()).await;
        let output = output.expect("it ends in time").expect("it starts");
        Exit {
            code: output.status.code(),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }

    fn command(&self, port: u16) -> Command {
        let mut command = Command::new(&self.binary);
        command
            .env_clear()
            .env("HOST", "127.0.0.1")
            .env("PORT", port.to_string())
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
    /// A service from its binary: `env!("CARGO_BIN_EXE_<package>")`.
    #[expect(clippy::new_ret_no_self, reason = "what it makes has not begun yet")]
    pub fn new(binary: impl AsRef<Path>) -> Starting {
        Starting {
            binary: binary.as_ref().to_owned(),
            settings: Vec::new(),
            log: None,
        }
    }

    /// Another service of this workspace: the binary of that name where the tests' own binaries are.
    ///
    /// # Panics
    /// It was not built.
    pub fn sibling(name: &str) -> Starting {
        let test = std::env::current_exe().expect("the path of this test");
        // A test is in <target>/<profile>/deps, the binaries one above.
        let binary = test.ancestors().nth(2).expect("a target folder").join(name);
        assert!(
            binary.is_file(),
            "{} is not there: run cargo build -p {name} first, or test the whole workspace",
            binary.display()
        );
        Service::new(binary)
    }

    /// Whether the process has its port by now, or how it has ended: whoever answers there may be another one, to
    /// whom the port went.
    fn listening(&mut self) -> Option<Result<(), ExitStatus>> {
        if let Some(status) = self.child.try_wait().expect("its status") {
            return Some(Err(status));
        }
        listens(self.child.id()?).then_some(Ok(()))
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

    /// Its metrics, as `GET /metrics` gives them.
    ///
    /// # Panics
    /// It does not answer.
    pub async fn metrics(&self) -> String {
        let answer = self.request("GET", "/metrics").send().await;
        let page = answer.expect("an answer").text().await;
        page.expect("a text")
    }

    /// Its resident memory, as it tells it.
    ///
    /// # Panics
    /// It does not answer, or does not tell.
    pub async fn resident_bytes(&self) -> f64 {
        let page = self.metrics().await;
        let line = page
            .lines()
            .find_map(|line| line.strip_prefix("process_resident_memory_bytes "));
        line.expect("the metric").parse().expect("a number")
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

    /// Ends it at once (SIGKILL): nothing of it runs any more when this returns.
    pub async fn kill(mut self) {
        self.child.kill().await.expect("it can be killed");
    }

    /// Tells it to end (SIGTERM) and waits: its exit code, absent where a signal ended it.
    pub async fn end(mut self) -> Option<i32> {
        let id = self.child.id().expect("it still runs").to_string();
        let told = Command::new("kill").args(["-TERM", &id]).status().await;
        assert!(told.expect("kill runs").success(), "cannot signal process {id}");
        let ended = tokio::time::timeout(PATIENCE, self.child.wait()).await;
        ended.expect("it ends in time").expect("its exit status").code()
    }
}

/// Whether one of the process's sockets waits for connections (proc(5): `fd`, and `net/tcp` with the state in the
/// fourth field, 0A for listening, and the inode in the tenth).
fn listens(process: u32) -> bool {
    let folder = PathBuf::from(format!("/proc/{process}"));
    let sockets: Vec<String> = std::fs::read_dir(folder.join("fd"))
        .into_iter()
        .flatten()
        .filter_map(|entry| std::fs::read_link(entry.ok()?.path()).ok())
        .filter_map(|link| {
            let inode = link.to_str()?.strip_prefix("socket:[")?.strip_suffix(']')?;
            Some(inode.to_owned())
        })
        .collect();
    let waits = |line: &str| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        fields.get(3) == Some(&"0A")
            && fields
                .get(9)
                .is_some_and(|inode| sockets.iter().any(|socket| socket == inode))
    };
    ["net/tcp", "net/tcp6"].iter().any(|table| {
        let table = std::fs::read_to_string(folder.join(table));
        table.is_ok_and(|table| table.lines().any(waits))
    })
}

async fn read(request: reqwest::RequestBuilder) -> reqwest::Result<Answer> {
    let response = request.send().await?;
    let status = response.status().as_u16();
    let body = serde_json::from_slice(&response.bytes().await?).unwrap_or(Value::Null);
    Ok(Answer { status, body })
}
