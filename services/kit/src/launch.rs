//! A service's `main`: the subcommands that every binary has, settings, and the runtime.

use std::future::Future;
use std::io::Write;
use std::process::ExitCode;

use crate::settings::Common;
use crate::{Health, Routes, ServiceInfo, Settings, log, metrics, probe, serve};

/// Wrong usage.
const USAGE: u8 = 2;
/// Malformed settings (`EX_CONFIG` of sysexits.h).
const CONFIG: u8 = 78;
/// Threads for what blocks: four passwords, a key set, files, and the names of other services, where a resolver that
/// hangs keeps its thread. tokio's own limit is 512, and what each has allocated from outlives it.
const BLOCKING_THREADS: usize = 32;

/// Runs a service. `read` takes its settings, `assemble` makes its routes; kit adds the common ones.
///
/// Exit codes: 0 told to end, or a subcommand that succeeded; 1 it did not, or the port cannot be had;
/// 2 wrong usage; 78 malformed settings, each on a line of standard error.
pub fn main<C, F, Fut>(info: ServiceInfo, read: fn(&mut Settings) -> C, assemble: F) -> ExitCode
where
    F: FnOnce(C, Health) -> Fut,
    Fut: Future,
    Fut::Output: Into<Routes>,
{
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words[..] {
        [] => run(info, read, assemble),
        ["--help" | "-h" | "help", ..] => say(&help(info)),
        ["--version" | "-V"] => say(&format!("{} {} ({})", info.name, info.version, info.revision)),
        ["healthcheck"] => healthcheck(info),
        ["probe", ..] => probed(&arguments[1..]),
        _ => complain(
            info,
            &format!("unknown arguments: {}", arguments.join(" ")),
            USAGE,
        ),
    }
}

fn run<C, F, Fut>(info: ServiceInfo, read: fn(&mut Settings) -> C, assemble: F) -> ExitCode
where
    F: FnOnce(C, Health) -> Fut,
    Fut: Future,
    Fut::Output: Into<Routes>,
{
    let mut settings = Settings::from_env();
    let common = Common::read(&mut settings, info.port);
    let config = read(&mut settings);
    if !settings.faults().is_empty() {
        return complain(info, &settings.faults().join("\n"), CONFIG);
    }
    log::start(&common.log_level);
    metrics::start();
    if !settings.missing().is_empty() {
        tracing::warn!(
            missing = settings.missing().join(", "),
            "settings are missing: live, but not ready"
        );
    }
    let health = Health::new(info, settings.missing().to_vec());
    with_runtime(info, async {
        metrics::keep_up();
        let own = assemble(config, health.clone()).await;
        let router = serve::with_common_routes(own, &health, &common);
        match serve::serve(router, health, &common).await {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => complain(info, &error, 1),
        }
    })
}

fn healthcheck(info: ServiceInfo) -> ExitCode {
    let mut settings = Settings::from_env();
    let common = Common::read(&mut settings, info.port);
    with_runtime(info, async {
        ExitCode::from(u8::from(!probe::healthcheck(&common).await))
    })
}

fn probed(arguments: &[String]) -> ExitCode {
    let info = ServiceInfo {
        name: "probe",
        version: "",
        revision: "",
        about: "",
        port: 0,
    };
    with_runtime(info, async {
        match probe::probe(arguments).await {
            Ok(all_open) => ExitCode::from(u8::from(!all_open)),
            Err(usage) => complain(info, &usage, USAGE),
        }
    })
}

fn with_runtime(info: ServiceInfo, work: impl Future<Output = ExitCode>) -> ExitCode {
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    runtime.enable_all().max_blocking_threads(BLOCKING_THREADS);
    match runtime.build() {
        Ok(runtime) => {
            let code = runtime.block_on(work);
            // Background checks never end by themselves, and a look-up may hang in the resolver.
            runtime.shutdown_background();
            code
        }
        Err(error) => complain(info, &format!("cannot start: {error}"), 1),
    }
}

fn help(info: ServiceInfo) -> String {
    format!(
        "{name} {version} ({revision})\n{about}\n\n\
         Usage: {name} [COMMAND]\n\n\
         Without a command it serves on HOST:PORT (0.0.0.0:{port}); settings come from the environment, or from\n\
         the file that <NAME>_FILE names.\n\n\
         Commands:\n  \
           healthcheck                      ask this service's own /live; 0 when it answers\n  \
           probe [--timeout-ms N] TARGET... ask tcp://host:port or http://host:port/path; 0 when all are open\n  \
           --help, --version",
        name = info.name,
        version = info.version,
        revision = info.revision,
        about = info.about,
        port = info.port,
    )
}

fn say(text: &str) -> ExitCode {
    match writeln!(std::io::stdout(), "{text}") {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}

/// Each line of `text` on its own, after the binary's name.
fn complain(info: ServiceInfo, text: &str, code: u8) -> ExitCode {
    for line in text.lines() {
        let _ = writeln!(std::io::stderr(), "{}: {line}", info.name);
    }
    ExitCode::from(code)
}
