//! The only door to programs. Argument vectors only (no shell), a deadline on every call, a log file,
//! secrets masked, and the whole process group ended when the call is dropped, late or cancelled. What outlives
//! a killed run is found by the mark that it carries.

mod orphans;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command as StdCommand, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use rustix::process::{Pid, Signal, kill_process_group};
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufReader};
use tokio::sync::mpsc;

use crate::context::Context;
use crate::event::Event;
use crate::exit::Failure;

pub use orphans::{end_orphans, orphans};

/// A program to run: built by the pure adapters of `tool/`, started by [`run`].
#[derive(Debug, Clone)]
pub struct Call {
    pub program: OsString,
    pub args: Vec<OsString>,
    pub cwd: Option<PathBuf>,
    pub env: BTreeMap<String, String>,
    /// Variables of our own environment with these beginnings are withheld: a tool's ambient settings must not
    /// decide a verdict.
    pub withheld: Vec<&'static str>,
    pub deadline: Duration,
    /// The log that standard output and error go to, as they come. `None`: captured only.
    pub log: Option<PathBuf>,
    /// Values masked as `***` in logs, in captured text and in error messages.
    pub secrets: Vec<String>,
    /// Goes on where we are killed: half of it would leave the machine worse than all of it.
    pub finishes: bool,
}

impl Call {
    /// `argv[0]` is the program; found on PATH unless it is a path. Deadline: 60 s until set.
    pub fn new<S: Into<OsString>>(argv: impl IntoIterator<Item = S>) -> Self {
        let mut words = argv.into_iter().map(Into::into);
        Call {
            program: words.next().unwrap_or_default(),
            args: words.collect(),
            cwd: None,
            env: BTreeMap::new(),
            withheld: Vec::new(),
            deadline: Duration::from_secs(60),
            log: None,
            secrets: Vec::new(),
            finishes: false,
        }
    }

    pub fn finishing(mut self) -> Self {
        self.finishes = true;
        self
    }

    pub fn deadline_s(mut self, seconds: u64) -> Self {
        self.deadline = Duration::from_secs(seconds);
        self
    }

    pub fn cwd(mut self, dir: impl Into<PathBuf>) -> Self {
        self.cwd = Some(dir.into());
        self
    }

    pub fn env(mut self, name: &str, value: impl Into<String>) -> Self {
        self.env.insert(name.to_owned(), value.into());
        self
    }

    pub fn withhold(mut self, beginning: &'static str) -> Self {
        self.withheld.push(beginning);
        self
    }

    pub fn log(mut self, path: impl Into<PathBuf>) -> Self {
        self.log = Some(path.into());
        self
    }

    /// The command line as a person would type it, secrets masked.
    pub fn shown(&self) -> String {
        let words = std::iter::once(&self.program).chain(&self.args);
        let line = words
            .map(|word| quoted(&word.to_string_lossy()))
            .collect::<Vec<_>>()
            .join(" ");
        masked(&line, &self.secrets)
    }
}

/// What a finished program left behind. Text is lossy UTF-8 with secrets masked.
#[derive(Debug, Clone)]
pub struct Output {
    pub status: ExitStatus,
    pub stdout: String,
    pub stderr: String,
}

impl Output {
    pub fn success(&self) -> bool {
        self.status.success()
    }

    /// The last `count` lines of what it said: standard error first choice, standard output otherwise.
    pub fn last_lines(&self, count: usize) -> String {
        let text = if self.stderr.trim().is_empty() {
            &self.stdout
        } else {
            &self.stderr
        };
        last_lines(text, count)
    }
}

/// The last `count` lines of a text.
pub fn last_lines(text: &str, count: usize) -> String {
    let lines: Vec<&str> = text.trim_end().lines().collect();
    lines[lines.len().saturating_sub(count)..].join("\n")
}

/// Runs a program to its end.
///
/// # Errors
/// A missing program, a passed deadline and a cancelled run are [`Failure`]s of exit 3; a program that ends
/// with another status than 0 is *not* an error here: see [`run_ok`].
pub async fn run(context: &Context, call: &Call) -> Result<Output> {
    run_observed(context, call, |_| {}).await
}

/// Like [`run`], and hands every line (masked) to `observe` as it comes, for progress.
pub async fn run_observed(context: &Context, call: &Call, mut observe: impl FnMut(&str)) -> Result<Output> {
    let begun = Instant::now();
    let mut log = Log::open(call).await?;
    log.line(&format!("$ {}", call.shown())).await;
    let board = &context.board;
    board.tell(Event::ProgramStarted { line: call.shown() });
    let told = |ended: String| {
        board.tell(Event::ProgramEnded {
            line: call.shown(),
            ended,
            took_ms: begun.elapsed().as_millis() as u64,
        });
    };
    let mut child =
        start(&handed(context, call), &context.run_id).inspect_err(|_| told("not started".to_owned()))?;
    let _group = Group(child.id().and_then(|id| Pid::from_raw(id as i32)));
    let (sender, mut lines) = mpsc::channel(256);
    pump(child.stdout.take(), Stream::Out, sender.clone());
    pump(child.stderr.take(), Stream::Err, sender);

    let mut said = Said::default();
    let reading = async {
        while let Some((stream, line)) = lines.recv().await {
            let line = masked(&line, &call.secrets);
            observe(&line);
            log.line(&line).await;
            said.push(stream, &line);
        }
        child.wait().await
    };
    let status = tokio::select! {
        status = reading => status.with_context(|| format!("cannot wait for `{}`", call.shown()))?,
        () = tokio::time::sleep(call.deadline) => {
            told("late".to_owned());
            let hint = match &call.log {
                Some(path) => format!("see {}", context.shown(path)),
                None => "try again; if it stays so, run it by hand".to_owned(),
            };
            return Err(Failure::undecided(
                format!("`{}` did not end within {} s", call.shown(), call.deadline.as_secs()), hint).into());
        }
        () = context.cancel.cancelled() => {
            told("interrupted".to_owned());
            return Err(Failure::undecided(format!("`{}` was interrupted", call.shown()), "run again").into());
        }
    };
    let took = begun.elapsed();
    log.line(&format!("# {status} after {:.1} s", took.as_secs_f64()))
        .await;
    told(status.to_string());
    Ok(Output {
        status,
        stdout: said.stdout,
        stderr: said.stderr,
    })
}

/// Like [`run`], where any other end than status 0 is an error that carries the program's last lines.
pub async fn run_ok(context: &Context, call: &Call) -> Result<Output> {
    run_ok_observed(context, call, |_| {}).await
}

/// [`run_ok`] and [`run_observed`] in one.
pub async fn run_ok_observed(context: &Context, call: &Call, observe: impl FnMut(&str)) -> Result<Output> {
    let output = run_observed(context, call, observe).await?;
    if output.success() {
        return Ok(output);
    }
    let hint = match &call.log {
        Some(path) => format!("the whole log: {}", context.shown(path)),
        None => "run it by hand to see more".to_owned(),
    };
    Err(Failure::undecided(
        format!(
            "`{}` ended with {}:\n{}",
            call.shown(),
            output.status,
            output.last_lines(12)
        ),
        hint,
    )
    .into())
}

/// Starts a program that outlives this process, in a session of its own, its output appended to `log`.
/// Used for the engine, and for what opens a page: everything else ends with the run.
pub fn start_detached(call: &Call, log: &Path) -> Result<u32> {
    let file = std::fs::OpenOptions::new()
        .create(true)
        .append(true)
        .open(log)
        .with_context(|| format!("cannot open {}", log.display()))?;
    let mut words = vec![OsString::from("setsid"), call.program.clone()];
    words.extend(call.args.iter().cloned());
    let mut command = prepare(&Call {
        args: words[1..].to_vec(),
        program: words[0].clone(),
        ..call.clone()
    });
    // It is no run's, nor that of a run which this one is a program of.
    command.env_remove(orphans::MARK);
    command
        .stdin(Stdio::null())
        .stdout(file.try_clone()?)
        .stderr(file);
    let child = command
        .spawn()
        .with_context(|| format!("cannot start `{}`", call.shown()))?;
    Ok(child.id())
}

/// Runs a program whose standard input and output are a connection, until either side ends it; returns what it said
/// on standard error. It is ended with the caller, and belongs to no run: it only carries.
///
/// # Errors
/// Exit 3: a missing program. A connection that breaks is an end like any other.
pub async fn connected(call: &Call, stream: impl AsyncRead + AsyncWrite) -> Result<String> {
    let mut command = prepare(&bound(call));
    command.process_group(0);
    command.env_remove(orphans::MARK);
    command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = spawn(command, call)?;
    let _group = Group(child.id().and_then(|id| Pid::from_raw(id as i32)));
    let pipes = (child.stdin.take(), child.stdout.take(), child.stderr.take());
    let (Some(mut input), Some(mut output), Some(mut errors)) = pipes else {
        anyhow::bail!("`{}` has no pipes", call.shown());
    };
    let (mut from, mut to) = tokio::io::split(stream);
    let there = async {
        let _ = tokio::io::copy(&mut from, &mut input).await;
        // Half of a connection may end before the other: the engine answers what it was told by then.
        drop(input);
    };
    let back = async {
        let _ = tokio::io::copy(&mut output, &mut to).await;
    };
    let speaking = async {
        let mut said = String::new();
        let _ = errors.read_to_string(&mut said).await;
        said
    };
    let finished = async { tokio::join!(back, speaking).1 };
    tokio::pin!(finished);
    let said = tokio::select! {
        () = there => finished.await,
        said = &mut finished => said,
    };
    Ok(masked(&said, &call.secrets))
}

/// Where a program is on PATH, if it is.
pub fn which(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path)
        .map(|dir| dir.join(program))
        .find(|file| is_executable(file))
}

fn is_executable(file: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt;
    file.metadata()
        .is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o111 != 0)
}

fn prepare(call: &Call) -> StdCommand {
    // xshell assembles the command; the waiting (deadline, cancellation, streaming) is ours, for it has none.
    let mut command = match xshell::Shell::new() {
        Ok(shell) => StdCommand::from(shell.cmd(&call.program).args(&call.args)),
        Err(_) => fallback(call),
    };
    if let Some(dir) = &call.cwd {
        command.current_dir(dir);
    }
    for (name, _) in std::env::vars_os() {
        let name_text = name.to_string_lossy();
        if call
            .withheld
            .iter()
            .any(|beginning| name_text.starts_with(beginning))
        {
            command.env_remove(&name);
        }
    }
    command.envs(&call.env);
    command
}

/// xshell wants a readable current folder; a deleted one must not keep the clean-up from working.
#[expect(clippy::disallowed_methods, reason = "this is the one door")]
fn fallback(call: &Call) -> StdCommand {
    let mut command = StdCommand::new(&call.program);
    command.args(&call.args);
    command
}

/// The same program, ended by the kernel when this process is: where util-linux can arrange for that.
fn bound(call: &Call) -> Call {
    let is_there = match Path::new(&call.program) {
        path if path.components().count() > 1 => {
            is_executable(&call.cwd.as_deref().unwrap_or(Path::new("")).join(path))
        }
        path => which(&path.to_string_lossy()).is_some(),
    };
    // Another's `setpriv` (a link to busybox) knows no --pdeathsig.
    let setpriv =
        which("setpriv").filter(|path| path.canonicalize().is_ok_and(|path| path.ends_with("setpriv")));
    let Some(setpriv) = setpriv.filter(|_| is_there && !call.finishes) else {
        return call.clone();
    };
    let mut args: Vec<OsString> = ["--pdeathsig", "KILL", "--"].map(Into::into).to_vec();
    args.push(call.program.clone());
    args.extend(call.args.iter().cloned());
    Call {
        program: setpriv.into_os_string(),
        args,
        ..call.clone()
    }
}

/// The call, which means the engine that the run means.
fn handed(context: &Context, call: &Call) -> Call {
    let mut call = call.clone();
    for (name, value) in context.handed() {
        call.env.entry(name.to_owned()).or_insert(value);
    }
    call
}

fn start(call: &Call, run_id: &str) -> Result<tokio::process::Child> {
    let mut command = prepare(&bound(call));
    command.process_group(0);
    if call.finishes {
        // What it starts (a daemon, by a package's script) is not this run's to end.
        command.env_remove(orphans::MARK);
    } else {
        command.env(orphans::MARK, run_id);
    }
    command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    spawn(command, call)
}

fn spawn(command: StdCommand, call: &Call) -> Result<tokio::process::Child> {
    let mut command = tokio::process::Command::from(command);
    command.kill_on_drop(true);
    command.spawn().map_err(|error| {
        let program = call.program.to_string_lossy();
        Failure::undecided(
            format!("cannot start `{program}`: {error}"),
            format!("install {program}, or let `--setup` provision what is missing"),
        )
        .into()
    })
}

/// Ends the whole process group when the call is over, however it ended: no orphan keeps working.
struct Group(Option<Pid>);

impl Drop for Group {
    fn drop(&mut self) {
        if let Some(pid) = self.0 {
            let _ = kill_process_group(pid, Signal::KILL);
        }
    }
}

#[derive(Clone, Copy)]
enum Stream {
    Out,
    Err,
}

#[derive(Default)]
struct Said {
    stdout: String,
    stderr: String,
}

impl Said {
    fn push(&mut self, stream: Stream, line: &str) {
        let text = match stream {
            Stream::Out => &mut self.stdout,
            Stream::Err => &mut self.stderr,
        };
        text.push_str(line);
        text.push('\n');
    }
}

fn pump(
    pipe: Option<impl AsyncRead + Unpin + Send + 'static>,
    stream: Stream,
    sender: mpsc::Sender<(Stream, String)>,
) {
    let Some(pipe) = pipe else { return };
    tokio::spawn(async move {
        let mut reader = BufReader::new(pipe);
        let mut bytes = Vec::new();
        while matches!(reader.read_until(b'\n', &mut bytes).await, Ok(1..)) {
            let line = String::from_utf8_lossy(&bytes)
                .trim_end_matches(['\n', '\r'])
                .to_owned();
            bytes.clear();
            if sender.send((stream, line)).await.is_err() {
                break;
            }
        }
    });
}

struct Log(Option<tokio::fs::File>);

impl Log {
    async fn open(call: &Call) -> Result<Self> {
        let Some(path) = &call.log else {
            return Ok(Log(None));
        };
        if let Some(dir) = path.parent() {
            tokio::fs::create_dir_all(dir)
                .await
                .with_context(|| format!("cannot create {}", dir.display()))?;
        }
        let file = tokio::fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(path)
            .await;
        Ok(Log(Some(
            file.with_context(|| format!("cannot open {}", path.display()))?,
        )))
    }

    /// A log that cannot be written (a full disk) does not end the step that it tells of.
    async fn line(&mut self, line: &str) {
        if let Some(file) = &mut self.0 {
            let _ = file.write_all(format!("{line}\n").as_bytes()).await;
            let _ = file.flush().await;
        }
    }
}

fn masked(text: &str, secrets: &[String]) -> String {
    let long = secrets.iter().filter(|secret| secret.len() >= 4);
    long.fold(text.to_owned(), |text, secret| {
        text.replace(secret.as_str(), "***")
    })
}

fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./:=@,+%".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::RunOptions;

    fn context() -> Context {
        Context::new(std::env::temp_dir(), RunOptions::default())
    }

    #[tokio::test]
    async fn output_is_captured_by_stream_and_secrets_are_masked() {
        let call = Call::new(["sh", "-c", "echo out-hunter22; echo err >&2; exit 7"]);
        let call = Call {
            secrets: vec!["hunter22".to_owned()],
            ..call
        };
        let output = run(&context(), &call).await.unwrap();
        assert_eq!(
            (output.stdout.as_str(), output.stderr.as_str()),
            ("out-***\n", "err\n")
        );
        assert_eq!(output.status.code(), Some(7));
    }

    #[tokio::test]
    async fn a_late_program_is_ended_with_its_children() {
        let marker = format!("{}.5", 7000 + std::process::id() % 1000);
        let mut call = Call::new(["sh", "-c", &format!("sleep {marker} & sleep {marker}")]);
        call.deadline = Duration::from_millis(200);
        let error = run(&context(), &call).await.unwrap_err();
        assert!(error.to_string().contains("did not end within"), "{error}");
        let gone = crate::context::poll(
            crate::context::Deadline::within(Duration::from_secs(5)),
            Duration::from_millis(20),
            || async {
                let call = Call::new(["pgrep", "-f", &format!("^sleep {marker}$")]);
                let listed = run(&context(), &call).await.unwrap();
                listed.stdout.trim().is_empty().then_some(())
            },
        );
        assert!(
            gone.await.is_some(),
            "a child of the late program is still running"
        );
    }

    #[tokio::test]
    async fn a_missing_program_is_named_with_a_remedy() {
        let error = run(&context(), &Call::new(["no-such-program-here"]))
            .await
            .unwrap_err();
        let (exit, text) = crate::exit::explain(&error);
        assert_eq!(exit, crate::exit::Exit::Undecided);
        assert!(
            text.contains("no-such-program-here") && text.contains("hint: install"),
            "{text}"
        );
    }

    #[test]
    fn a_command_is_shown_as_one_would_type_it() {
        let call = Call::new(["docker", "run", "-e", "PASSWORD=geheim", "a b"]);
        let call = Call {
            secrets: vec!["geheim".to_owned()],
            ..call
        };
        assert_eq!(call.shown(), "docker run -e PASSWORD=*** 'a b'");
    }
}
