//! The container engine: whether one answers, and starting one that is installed on a machine without an init
//! system. A running engine is neither replaced nor reconfigured.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result};

use super::version::{self, Version};
use super::{Fix, Problem, packages};
use crate::context::{Context, Deadline, poll};
use crate::engine::Engine;
use crate::exit::Failure;
use crate::process::{self, Call};

pub(super) const PACKAGE: &str = "docker.io";

/// What the engine's installation is made of.
const PACKAGES: [&str; 5] = [PACKAGE, "docker-cli", "containerd", "runc", "iptables"];

/// The oldest engine with all that the builds use.
const OLDEST: Version = (25, 0, 0);
const CONFIGURATION: &str = "/etc/docker/daemon.json";
const ENGINE_LOG: &str = "/var/log/horme/dockerd.log";
const START_DEADLINE: Duration = Duration::from_secs(60);

/// Where an engine keeps the process ids of itself and of the containerd that it runs, and the programs' names.
const PID_FILES: [(&str, &str); 2] = [
    ("/var/run/docker.pid", "dockerd"),
    ("/var/run/docker/containerd/containerd.pid", "containerd"),
];

/// What is wrong with the engine, if anything. `Ok` holds the connection.
pub(super) async fn look(context: &Context) -> Result<Engine, Problem> {
    let problem = |what: &str, why: String, remedy: &str, fix: Fix| Problem {
        what: what.to_owned(),
        why,
        remedy: remedy.to_owned(),
        fix,
        optional: false,
    };
    let why = match context.engine().await {
        Ok(engine) if engine.containerd_store => return Ok(engine),
        Ok(engine) => {
            let why = format!(
                "engine {} keeps images where their id is not the digest that a registry serves",
                engine.version
            );
            let remedy = "turn on the containerd image store: {\"features\":{\"containerd-snapshotter\":true}} in /etc/docker/daemon.json";
            return Err(problem("no containerd image store", why, remedy, Fix::ByHand));
        }
        Err(error) => error.to_string(),
    };
    let (what, by_hand) = ("no engine to work with", "start or install Docker 25 or newer");
    if why.contains("speaks API") || context.names_an_engine() {
        return Err(problem(what, why, by_hand, Fix::ByHand));
    }
    if process::which("dockerd").is_none() {
        return Err(match packages::installable() {
            Ok(()) => problem(
                what,
                "none is installed".into(),
                by_hand,
                Fix::Packages(PACKAGES.to_vec()),
            ),
            Err(reason) => problem(
                what,
                format!("none is installed, and {reason}"),
                by_hand,
                Fix::ByHand,
            ),
        });
    }
    let installed = installed_version(context).await;
    Err(match installed {
        Some(found) if found < OLDEST => {
            let why = format!("the installed one is {}, too old", version::shown(found));
            problem(what, why, by_hand, Fix::ByHand)
        }
        _ if !rustix::process::geteuid().is_root() => problem(
            what,
            format!("{why}; starting it needs root"),
            by_hand,
            Fix::ByHand,
        ),
        _ => problem(
            what,
            "it is installed and does not answer".into(),
            by_hand,
            Fix::StartEngine,
        ),
    })
}

async fn installed_version(context: &Context) -> Option<Version> {
    let output = process::run(context, &Call::new(["dockerd", "--version"]))
        .await
        .ok()?;
    version::find(&output.stdout)
}

/// Starts the installed engine, detached, and waits until it answers. An engine that ends at once (its forerunner
/// is still ending after a hard kill) is started again until the deadline.
pub(super) async fn start(context: &Context) -> Result<()> {
    if context.engine().await.is_ok() {
        return Ok(());
    }
    configure(context)?;
    let log = Path::new(ENGINE_LOG);
    if let Some(folder) = log.parent() {
        std::fs::create_dir_all(folder).with_context(|| format!("cannot create {}", folder.display()))?;
    }
    context
        .board
        .note(&format!("setup: starting the engine, its log is {ENGINE_LOG}"));
    let _under_way = context.board.step("starting the engine");
    let deadline = Deadline::within(START_DEADLINE);
    while !deadline.passed() && !context.cancel.is_cancelled() {
        for (file, program) in PID_FILES {
            if let Some(pid) = remove_stale(Path::new(file), program)? {
                context.board.note(&format!(
                    "setup: removed {file}: its process {pid} is no {program}"
                ));
            }
        }
        let pid = process::start_detached(&Call::new(["dockerd"]), log)?;
        let alive = || Path::new(&format!("/proc/{pid}/exe")).exists();
        let answered = poll(deadline, Duration::from_millis(200), || async {
            if context.engine().await.is_ok() {
                Some(true)
            } else {
                (!alive()).then_some(false)
            }
        });
        if answered.await == Some(true) {
            return Ok(());
        }
    }
    let said = std::fs::read_to_string(log).unwrap_or_default();
    let last = process::last_lines(&said, 5);
    let limit = START_DEADLINE.as_secs();
    Err(Failure::undecided(
        format!("the engine did not answer within {limit} s:\n{last}"),
        format!("see {ENGINE_LOG}"),
    )
    .into())
}

/// Removes a pid file that a hard end left behind and whose number is another process's by now (a machine that was
/// started from a snapshot), or a dead one's that nobody collected: `dockerd` takes any process for its forerunner
/// and refuses to start. Returns that number; `None` where the file says nothing wrong.
fn remove_stale(file: &Path, program: &str) -> Result<Option<u32>> {
    let Some(pid) = std::fs::read_to_string(file)
        .ok()
        .and_then(|text| text.trim().parse::<u32>().ok())
    else {
        return Ok(None);
    };
    let process = format!("/proc/{pid}");
    if !Path::new(&process).exists() || runs(&process, program) {
        return Ok(None);
    }
    std::fs::remove_file(file).with_context(|| format!("cannot remove the stale {}", file.display()))?;
    Ok(Some(pid))
}

/// Whether a process of `/proc` is this program. A dead one that nobody collected has no program.
fn runs(process: &str, program: &str) -> bool {
    std::fs::read_link(format!("{process}/exe")).is_ok_and(|exe| {
        let name = exe.file_name().unwrap_or_default().to_string_lossy();
        name.trim_end_matches(" (deleted)") == program
    })
}

/// A first configuration, where there is none: one that somebody wrote stays as it is.
fn configure(context: &Context) -> Result<()> {
    if Path::new(CONFIGURATION).exists() {
        return Ok(());
    }
    context.board.note(&format!(
        "setup: writing {CONFIGURATION}: the containerd image store"
    ));
    std::fs::create_dir_all("/etc/docker").context("cannot create /etc/docker")?;
    std::fs::write(
        CONFIGURATION,
        "{\"features\":{\"containerd-snapshotter\":true}}\n",
    )
    .context("cannot write daemon.json")
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "programs to look at, not to work with")]
mod tests {
    use std::process::{Child, Command};

    use super::*;

    struct Program(Child);

    impl Drop for Program {
        fn drop(&mut self) {
            let _ = self.0.kill();
            let _ = self.0.wait();
        }
    }

    /// A program that runs, `sleep`, and the file with its number.
    fn running() -> (tempfile::TempDir, Program, std::path::PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let child = Command::new("sleep").arg("60").spawn().unwrap();
        let file = folder.path().join("engine.pid");
        std::fs::write(&file, format!("{}\n", child.id())).unwrap();
        (folder, Program(child), file)
    }

    #[test]
    fn a_pid_file_of_an_engine_that_runs_stays() {
        let (_folder, _program, file) = running();
        assert_eq!(remove_stale(&file, "sleep").unwrap(), None);
        assert!(file.exists());
    }

    #[test]
    fn a_pid_file_whose_number_is_another_programs_goes() {
        let (_folder, program, file) = running();
        assert_eq!(remove_stale(&file, "dockerd").unwrap(), Some(program.0.id()));
        assert!(!file.exists());
    }

    #[test]
    fn a_pid_file_of_a_dead_engine_that_nobody_collected_goes() {
        let (_folder, mut program, file) = running();
        program.0.kill().unwrap();
        let process = format!("/proc/{}", program.0.id());
        while runs(&process, "sleep") {
            std::thread::yield_now();
        }
        assert_eq!(remove_stale(&file, "sleep").unwrap(), Some(program.0.id()));
    }

    #[test]
    fn a_pid_file_that_says_nothing_wrong_stays() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("engine.pid");
        assert_eq!(remove_stale(&file, "dockerd").unwrap(), None);
        for text in ["", "none", "4194305"] {
            std::fs::write(&file, text).unwrap();
            assert_eq!(remove_stale(&file, "dockerd").unwrap(), None, "{text}");
            assert!(file.exists(), "{text}");
        }
    }
}
