//! A relay between the pipeline and the engine, which goes away, or hangs, when a request of a certain kind comes by.

use std::io::{Read, Write};
use std::net::Shutdown;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use tempfile::TempDir;

/// What the relay does once it is set off.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// Every connection is cut, and new ones are refused.
    Gone,
    /// Connections are taken, and nothing ever comes back.
    Hangs,
    /// The one request is answered with a 500 and this message, and does not reach the engine.
    Refuses(&'static str),
}

pub(crate) struct Relay {
    folder: TempDir,
    state: Arc<State>,
}

struct State {
    /// The words of a request that set it off; taken once.
    at: Mutex<Option<&'static str>>,
    fault: Fault,
    lasts: Duration,
    since: Mutex<Option<Instant>>,
    open: Mutex<Vec<UnixStream>>,
}

impl State {
    fn is_on(&self) -> bool {
        let since = *self.since.lock().unwrap();
        since.is_some_and(|since| since.elapsed() < self.lasts)
    }

    /// Sets the fault off where these bytes hold the words that it waits for; whether they did.
    fn see(&self, bytes: &[u8]) -> bool {
        let mut at = self.at.lock().unwrap();
        let comes_by = |words: &&str| {
            bytes
                .windows(words.len())
                .any(|window| window == words.as_bytes())
        };
        let sets_off = at.as_ref().is_some_and(comes_by);
        if sets_off {
            *at = None;
            *self.since.lock().unwrap() = Some(Instant::now());
            if self.fault == Fault::Gone {
                for stream in self.open.lock().unwrap().drain(..) {
                    let _ = stream.shutdown(Shutdown::Both);
                }
            }
        }
        sets_off
    }

    fn carry(&self, mut from: UnixStream, mut to: UnixStream, watched: bool) {
        let mut bytes = [0; 65536];
        while let Ok(length @ 1..) = from.read(&mut bytes) {
            let sets_off = watched && self.see(&bytes[..length]);
            if let (true, Fault::Refuses(message)) = (sets_off, self.fault) {
                let body = serde_json::json!({ "message": message }).to_string();
                let head = "HTTP/1.1 500 Internal Server Error\r\nConnection: close\r\nContent-Type: application/json";
                let _ = write!(from, "{head}\r\nContent-Length: {}\r\n\r\n{body}", body.len());
                let _ = from.shutdown(Shutdown::Both);
                break;
            }
            while self.is_on() && self.fault == Fault::Hangs {
                std::thread::sleep(Duration::from_millis(20));
            }
            if self.is_on() || to.write_all(&bytes[..length]).is_err() {
                break;
            }
        }
        let _ = to.shutdown(Shutdown::Write);
    }
}

impl Relay {
    /// A relay that does harm for a time, from the first request on that holds `at`.
    pub(crate) fn new(at: &'static str, fault: Fault, lasts: Duration) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let listener = UnixListener::bind(folder.path().join("engine.sock")).unwrap();
        let state = Arc::new(State {
            at: Mutex::new(Some(at)),
            fault,
            lasts,
            since: Mutex::default(),
            open: Mutex::default(),
        });
        let shared = state.clone();
        std::thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                if shared.is_on() && shared.fault == Fault::Gone {
                    continue;
                }
                let engine = UnixStream::connect(engine_socket()).unwrap();
                for (from, to, watched) in [(&client, &engine, true), (&engine, &client, false)] {
                    let (state, from) = (shared.clone(), from.try_clone().unwrap());
                    let to = to.try_clone().unwrap();
                    std::thread::spawn(move || state.carry(from, to, watched));
                }
                shared.open.lock().unwrap().extend([client, engine]);
            }
        });
        Relay { folder, state }
    }

    /// What DOCKER_HOST must say.
    pub(crate) fn host(&self) -> String {
        format!("unix://{}", self.folder.path().join("engine.sock").display())
    }

    /// Whether it did what it was made for.
    pub(crate) fn was_set_off(&self) -> bool {
        self.state.since.lock().unwrap().is_some()
    }
}

fn engine_socket() -> PathBuf {
    let host = std::env::var("DOCKER_HOST").unwrap_or_default();
    host.strip_prefix("unix://")
        .unwrap_or("/var/run/docker.sock")
        .into()
}
