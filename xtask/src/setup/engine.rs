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
