//! What every step is given first: the checkout, the run's id and folder, its options, and whether it was
//! told to stop. Passed as an argument, never global.

use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use tokio_util::sync::CancellationToken;

use crate::cache::{self, Cache};
use crate::cli::{Format, RunOptions};
use crate::engine::{Choice, Engine, Estate};
use crate::event::Event;
use crate::exit::{Exit, Failure};
use crate::plan::Limits;
use crate::terminal::Board;
use crate::witness::Witness;

/// One run's surroundings. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Context {
    /// The checkout's root: the folder that holds `services/` and `xtask/`.
    pub root: PathBuf,
    /// Unique on this machine and sortable by time, e.g. `20261121-101502-3f2a`.
    pub run_id: String,
    /// `reports/<run-id>`: logs and reports of this run.
    pub run_dir: PathBuf,
    pub options: RunOptions,
    /// How long each step may take, and what a container may use.
    pub limits: Limits,
    /// Where set-up keeps a vulnerability database: asked where none is named. Nothing where a run may ask the named
    /// one alone.
    pub kept_database: Option<PathBuf>,
    /// Which engine is meant, decided once; or why that cannot be told.
    choice: Arc<Result<Choice, Failure>>,
    /// What earlier runs found.
    pub cache: Arc<Cache>,
    /// Cancelled by SIGINT and SIGTERM; every wait and every child process observes it.
    pub cancel: CancellationToken,
    /// The signal that cancelled it.
    signal: Arc<OnceLock<Exit>>,
    pub started: Instant,
    /// Where a run tells what happens.
    pub board: Arc<Board>,
    /// What is seen of containers before they go, and every secret that is met.
    pub witness: Arc<Witness>,
}

impl Context {
    /// Surroundings for a run in the checkout at `root`. Creates nothing yet.
    pub fn new(root: PathBuf, options: RunOptions) -> Self {
        let board = Board::new(options.format, options.look);
        Self::told_to(board, root, options)
    }

    fn told_to(board: Board, root: PathBuf, options: RunOptions) -> Self {
        let run_id = new_run_id();
        let run_dir = root.join("reports").join(&run_id);
        let cache_dir = options
            .cache_dir
            .clone()
            .unwrap_or_else(|| Cache::default_dir(&root));
        let cache = Arc::new(Cache::new(cache_dir, &run_id));
        let (cancel, signal) = (CancellationToken::new(), Arc::default());
        Context {
            root,
            run_id,
            run_dir,
            options,
            limits: Limits::default(),
            kept_database: cache::user_folder().map(|folder| folder.join("vuln-db")),
            choice: Arc::new(Choice::now()),
            cache,
            cancel,
            signal,
            started: Instant::now(),
            board: Arc::new(board),
            witness: Arc::new(Witness::new(false)),
        }
    }

    /// Surroundings for a run of its own inside this one, in another checkout: it ends when this one is told to. It
    /// asks no database that this machine happens to keep, and nobody watches it.
    pub fn inside(&self, root: PathBuf, options: RunOptions, limits: Limits) -> Self {
        let own = Context::told_to(Board::silent(), root, options);
        Context {
            limits,
            kept_database: None,
            choice: self.choice.clone(),
            cancel: self.cancel.clone(),
            signal: self.signal.clone(),
            witness: Arc::new(Witness::new(true)),
            ..own
        }
    }

    /// For a command that answers with one document: where a program reads it, nothing else is told.
    pub fn answering(self) -> Self {
        match self.options.format {
            Format::Human => self,
            Format::Json => Context {
                board: Arc::new(Board::silent()),
                ..self
            },
        }
    }

    /// Turns SIGINT and SIGTERM into a cancellation, from here on.
    ///
    /// # Errors
    /// Where the process may not handle signals.
    pub fn observe_signals(&self) -> Result<()> {
        use tokio::signal::unix::{SignalKind, signal};
        let (mut int, mut term) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
        let (cancel, told) = (self.cancel.clone(), self.signal.clone());
        tokio::spawn(async move {
            let exit = tokio::select! {
                _ = int.recv() => Exit::Interrupted,
                _ = term.recv() => Exit::Terminated,
            };
            let _ = told.set(exit);
            cancel.cancel();
        });
        Ok(())
    }

    /// Connects to the engine that this run means.
    ///
    /// # Errors
    /// Exit 2: a faulty context of docker's. Exit 3: no engine answers, or it is too old.
    pub async fn engine(&self) -> Result<Engine> {
        match &*self.choice {
            Ok(choice) => Engine::connect_to(choice).await,
            Err(failure) => Err(failure.clone().into()),
        }
    }

    /// # Errors
    /// Exit 2: a faulty context of docker's, before it costs anything.
    pub fn refuse_faulty_engine(&self) -> Result<()> {
        self.choice
            .as_ref()
            .as_ref()
            .map(drop)
            .map_err(|failure| failure.clone().into())
    }

    /// Whether somebody named an engine: then none is started here.
    pub fn names_an_engine(&self) -> bool {
        !self.choice.as_ref().as_ref().is_ok_and(Choice::is_unnamed)
    }

    /// The name of the builder that is the engine itself.
    pub fn own_builder(&self) -> &str {
        self.choice.as_ref().as_ref().map_or("default", Choice::builder)
    }

    /// Variables for every program that is started: it must mean the same engine.
    pub fn handed(&self) -> Vec<(&'static str, String)> {
        self.choice
            .as_ref()
            .as_ref()
            .map(Choice::handed)
            .unwrap_or_default()
    }

    /// How the process must end, where a signal ended it.
    pub fn interrupted(&self) -> Option<Exit> {
        self.signal.get().copied()
    }

    /// The path of the log of one step, inside the run's folder: the step's name is the log's name.
    pub fn log(&self, step: &str) -> PathBuf {
        self.run_dir.join("logs").join(format!("{step}.log"))
    }

    /// Creates the run's folder and points `reports/latest` to it.
    pub fn create_run_dir(&self) -> Result<()> {
        std::fs::create_dir_all(self.run_dir.join("logs")).map_err(|error| {
            Failure::undecided(
                format!(
                    "cannot create the run's folder {}: {error}",
                    self.run_dir.display()
                ),
                "make the reports folder writable and free some space (`cargo xtask clean --reports`)",
            )
        })?;
        point_latest_to(&self.root.join("reports"), &self.run_id);
        Ok(())
    }

    /// Tells that the run begins, into its folder too.
    pub fn begin(&self, command: &str) {
        self.board.write_to(&self.run_dir.join("events.jsonl"));
        self.board.tell(Event::RunStarted {
            run_id: self.run_id.clone(),
            command: command.to_owned(),
            at: jiff::Timestamp::now(),
        });
    }

    /// Tells how it ended: `last_line` to a person, the last event to a program.
    pub fn end(&self, exit_code: u8, summary: &str, last_line: &str) {
        self.board.finish();
        if self.options.format == Format::Human {
            crate::report::say(last_line);
        }
        self.board.tell(Event::RunEnded {
            exit_code,
            summary: summary.to_owned(),
            folder: format!("reports/{}", self.run_id),
        });
    }

    /// Where this run creates things, for its lease.
    pub fn estate(&self, engine: Option<&Engine>) -> Estate {
        Estate {
            engine: engine.map(|engine| engine.id.clone()).unwrap_or_default(),
            run_dir: self.run_dir.clone(),
        }
    }

    /// A path as the reader of a report sees it: relative to the checkout where it lies inside.
    pub fn shown(&self, path: &Path) -> String {
        path.strip_prefix(&self.root)
            .unwrap_or(path)
            .display()
            .to_string()
    }
}

/// The checkout that holds the current folder: the nearest ancestor with `xtask/Cargo.toml` and `services/`.
pub fn find_root() -> Result<PathBuf> {
    let here = std::env::current_dir().context("cannot read the current folder")?;
    here.ancestors()
        .find(|dir| dir.join("xtask/Cargo.toml").is_file() && dir.join("services").is_dir())
        .map(Path::to_path_buf)
        .ok_or_else(|| {
            Failure::usage(
                format!(
                    "{} lies in no workspace with `xtask/` and `services/`",
                    here.display()
                ),
                "run the command inside the checkout",
            )
            .into()
        })
}

/// `reports/latest` is a convenience: where links cannot be made it is left out, and nothing fails.
fn point_latest_to(reports: &Path, run_id: &str) {
    #[cfg(unix)]
    {
        let fresh = reports.join(format!(".latest-{run_id}"));
        if std::os::unix::fs::symlink(run_id, &fresh).is_ok() {
            let _ = std::fs::rename(&fresh, reports.join("latest"));
        }
    }
}

/// Deletes the folders of earlier runs; what is committed under `reports/` stays.
pub fn remove_run_dirs(reports: &Path) -> Result<()> {
    let entries = std::fs::read_dir(reports).with_context(|| format!("cannot read {}", reports.display()))?;
    for entry in entries {
        let path = entry?.path();
        if path.join("logs").is_dir() && !path.is_symlink() {
            std::fs::remove_dir_all(&path).with_context(|| format!("cannot delete {}", path.display()))?;
        }
    }
    Ok(())
}

fn new_run_id() -> String {
    let now = jiff::Timestamp::now();
    let salt = now.subsec_nanosecond() as u32 ^ std::process::id().rotate_left(16);
    format!(
        "{}-{:04x}",
        now.strftime("%Y%m%d-%H%M%S"),
        (salt ^ (salt >> 16)) & 0xffff
    )
}

/// A point in time by which a wait must have ended.
#[derive(Debug, Clone, Copy)]
pub struct Deadline {
    at: Instant,
    pub limit: Duration,
}

impl Deadline {
    pub fn within(limit: Duration) -> Self {
        Deadline {
            at: Instant::now() + limit,
            limit,
        }
    }

    pub fn passed(&self) -> bool {
        Instant::now() >= self.at
    }

    pub fn left(&self) -> Duration {
        self.at.saturating_duration_since(Instant::now())
    }
}

/// Calls `attempt` every `every` until it answers or the deadline passes (then `None`).
/// The first call is made at once; no attempt outlives the deadline.
pub async fn poll<T, F, Fut>(deadline: Deadline, every: Duration, mut attempt: F) -> Option<T>
where
    F: FnMut() -> Fut,
    Fut: Future<Output = Option<T>>,
{
    loop {
        match tokio::time::timeout(deadline.left().max(every), attempt()).await {
            Ok(Some(value)) => return Some(value),
            _ if deadline.passed() => return None,
            _ => tokio::time::sleep(every.min(deadline.left())).await,
        }
    }
}
