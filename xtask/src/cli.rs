//! Argument types of every subcommand, and nothing else.

use std::path::PathBuf;

use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{Args, CommandFactory, Parser, Subcommand, ValueEnum};

use crate::exit::Exit;
use crate::terminal::When;
use crate::trend::Metric;
use crate::verdict::Gate;

/// From a checkout of Rust services to container images that are proven, published and verified.
#[derive(Debug, Parser)]
#[command(
    name = "cargo xtask",
    bin_name = "cargo xtask",
    version,
    about,
    max_term_width = 100
)]
#[command(
    after_help = "Exit codes: 0 all passed; 1 a gate was violated or a build failed; 2 wrong usage or \
configuration; 3 something required could not be decided; 130 and 143 interrupted."
)]
pub struct Cli {
    #[command(flatten)]
    pub look: Look,

    #[command(subcommand)]
    pub command: Command,
}

/// How much is said while a command works, and in which colours.
#[derive(Debug, Clone, Copy, Default, Args)]
pub struct Look {
    /// Say only what is not well, and the last line
    #[arg(short, long, global = true, conflicts_with = "verbose", display_order = 100)]
    pub quiet: bool,

    /// Say each step and each program that is started, with its time, a line each
    #[arg(short, long, global = true, display_order = 100)]
    pub verbose: bool,

    /// Colour words (`NO_COLOR`, `CLICOLOR_FORCE` and `CLICOLOR` are asked where this is `auto`)
    #[arg(
        long,
        value_enum,
        value_name = "WHEN",
        global = true,
        default_value_t,
        display_order = 100
    )]
    pub color: When,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// The main job: build every image, run every gate, write the report
    Ci(CiOptions),
    /// Run the tests of the services and of the pipeline, on real stores
    Test(TestOptions),
    /// Provision what is missing: engine, plugins, scanner, base images
    Setup(RunOptions),
    /// Print what a run would do, in every detail, and do none of it
    Plan(RunOptions),
    /// Say what differs from the last build of a service
    Why(WhyOptions),
    /// Build and tag the images
    Build(RunOptions),
    /// Dockerfile rules, compose configuration, every image in compose
    Lint(RunOptions),
    /// Trivy on the built images: crates, vulnerabilities, secrets, misconfigurations
    Scan(RunOptions),
    /// Size of the built images against their budgets, and where their bytes are
    Budget(BudgetOptions),
    /// Boot each built image under the constraints of production
    Boot(RunOptions),
    /// The compose stack over the built images: every edge, every refusal, a story, a lost store
    Network(RunOptions),
    /// Prove the gates: fixtures that each must catch, and the matrix of what they found
    Selftest(SelftestOptions),
    /// Every store troubled in every way, under traffic: nothing hangs, nothing told as stored is lost
    Faults(FaultsOptions),
    /// Add a service that passes every gate as it is
    New(NewOptions),
    /// Publish what `ci` proved: push the tested digests, attach, read back, and move the tags of all, last
    Release(ReleaseOptions),
    /// What a published image is worth: signature, provenance, bill of materials, gate verdicts, tag and digest
    Verify(VerifyOptions),
    /// Build twice without cache, in different folders, and compare the digests
    Reproduce(ReproduceOptions),
    /// What the world has found out about published images: new findings that can be mended, nothing else
    Rescan(RescanOptions),
    /// Measure side by side: our builds and gates against ordinary ones; never a verdict
    Bench(BenchOptions),
    /// Feed the services' parsers with what libFuzzer makes up
    Fuzz(FuzzOptions),
    /// Print the report of the latest run, or of the one named
    Report(ReportOptions),
    /// Sizes, boot times, memory and durations over the runs, and the commits where they jumped
    Trend(TrendOptions),
    /// Sweep what dead runs left behind
    Clean(CleanOptions),
    /// Print what a shell needs to complete `xtask`
    Completions(CompletionsOptions),
    /// Write the man pages, one for each command
    Man(ManOptions),
}

impl Command {
    /// What standard output is for; commands that judge nothing print for a person.
    pub fn format(&self) -> Format {
        match self {
            Command::Setup(run)
            | Command::Plan(run)
            | Command::Build(run)
            | Command::Lint(run)
            | Command::Scan(run)
            | Command::Boot(run)
            | Command::Network(run) => run.format,
            Command::Ci(options) => options.run.format,
            Command::Test(options) => options.run.format,
            Command::Why(options) => options.run.format,
            Command::Budget(options) => options.run.format,
            Command::Faults(options) => options.run.format,
            Command::Selftest(options) => options.format,
            Command::Trend(options) => options.format,
            Command::Clean(options) => options.format,
            Command::Release(options) => options.format,
            Command::Verify(options) => options.format,
            Command::Reproduce(options) => options.run.format,
            Command::Rescan(options) => options.run.format,
            Command::Report(_)
            | Command::New(_)
            | Command::Bench(_)
            | Command::Fuzz(_)
            | Command::Completions(_)
            | Command::Man(_) => Format::Human,
        }
    }
}

/// A shell, by its name.
#[derive(Debug, Clone, Args)]
pub struct CompletionsOptions {
    #[arg(value_enum)]
    pub shell: clap_complete::Shell,
}

#[derive(Debug, Clone, Args)]
pub struct ManOptions {
    /// The folder that they are written to
    #[arg(value_name = "DIR")]
    pub folder: PathBuf,
}

/// What standard output is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Format {
    /// For a person
    #[default]
    Human,
    /// For a program: one event a line while a command works (`plan`, `why`, `report`: one document)
    Json,
}

/// Where base and store images come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum BasesMode {
    /// Upstream where their registry answers, local otherwise; says which and why
    #[default]
    Auto,
    /// The official images, pinned by tag and digest
    Upstream,
    /// Made on this machine from Debian packages by the recipes in docker/bases
    Local,
}

#[derive(Debug, Clone, Default, Args)]
pub struct RunOptions {
    /// Narrow to these services (repeatable); the rest reads `skipped`
    #[arg(long = "service", short = 's', value_name = "NAME")]
    pub services: Vec<String>,

    /// Provision what is missing first; does nothing where all is there
    #[arg(long)]
    pub setup: bool,

    /// Nothing required may stay undecided (exit 3)
    #[arg(long)]
    pub strict: bool,

    /// What standard output is for
    #[arg(long, value_enum, default_value_t, env = "HORME_FORMAT")]
    pub format: Format,

    /// Where base and store images come from
    #[arg(long, value_enum, default_value_t, env = "HORME_BASES")]
    pub bases: BasesMode,

    /// A Trivy cache folder that holds a vulnerability database (`db/trivy.db`)
    #[arg(long, value_name = "DIR", env = "HORME_VULN_DB")]
    pub vuln_db: Option<PathBuf>,

    /// Where set-up fetches the database from instead of its makers' registry, e.g. a mirror
    #[arg(long, value_name = "REPOSITORY", env = "HORME_VULN_DB_REPOSITORY", value_parser = repository)]
    pub vuln_db_repository: Option<String>,

    /// The scanner to use [default: the one that set-up keeps, otherwise the one on PATH]
    #[arg(long, value_name = "FILE", env = "HORME_TRIVY")]
    pub trivy: Option<PathBuf>,

    /// Reuse no image and no verdict of earlier runs: bake (the engine's own cache helps) and look again
    #[arg(long)]
    pub fresh: bool,

    /// Images that an earlier run proved may come from here instead of being built (registry and owner)
    #[arg(long, value_name = "REGISTRY/OWNER", env = "HORME_FROM")]
    pub from: Option<String>,

    /// Steps of builds may come from here, one tag a service; asked first, and never waited for long
    #[arg(long, value_name = "REPOSITORY", env = "HORME_CACHE_FROM", value_parser = cache_repository)]
    pub cache_from: Option<String>,

    /// Steps of what was built are put there, for at most 120 s; no build fails for it
    #[arg(long, value_name = "REPOSITORY", env = "HORME_CACHE_TO", value_parser = cache_repository)]
    pub cache_to: Option<String>,

    /// Where verdicts of earlier runs are kept [default: ~/.cache/horme/results]
    #[arg(long, value_name = "DIR", env = "HORME_CACHE_DIR")]
    pub cache_dir: Option<PathBuf>,

    /// Set by what is said for every command.
    #[arg(skip)]
    pub look: Look,

    /// Set by `ci --export`.
    #[arg(skip)]
    pub export: Option<PathBuf>,

    /// Set by `budget --accept`.
    #[arg(skip)]
    pub accept: bool,

    /// Set by `faults --store`.
    #[arg(skip)]
    pub stores: Vec<String>,

    /// Set by `faults --fault`.
    #[arg(skip)]
    pub faults: Vec<FaultKind>,
}

#[derive(Debug, Clone, Args)]
pub struct CiOptions {
    #[command(flatten)]
    pub run: RunOptions,

    /// Put the images and their proof there, for another job: an OCI layout, as `release --images` takes it
    #[arg(long, value_name = "DIR", conflicts_with = "services")]
    pub export: Option<PathBuf>,
}

/// What can befall a store, in the order in which it does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum FaultKind {
    /// SIGKILL, and started again
    Killed,
    /// No processor time: connections stay, answers do not come
    Frozen,
    /// Its packets go nowhere
    Cut,
    /// Every answer half a second late
    Slowed,
    /// Every connection reset as soon as it is used
    Reset,
}

#[derive(Debug, Clone, Args)]
pub struct FaultsOptions {
    #[command(flatten)]
    pub run: RunOptions,

    /// Only these stores (repeatable)
    #[arg(long = "store", value_name = "NAME")]
    pub stores: Vec<String>,

    /// Only these faults (repeatable)
    #[arg(long = "fault", value_enum, value_name = "KIND")]
    pub faults: Vec<FaultKind>,
}

fn repository(text: &str) -> Result<String, String> {
    crate::gate::scan::a_repository(text).map(|()| text.to_owned())
}

/// A repository without a tag, which is the service's name.
fn cache_repository(text: &str) -> Result<String, String> {
    let (first, rest) = text.split_once('/').unwrap_or((text, ""));
    let is_host = first.contains(['.', ':']) || first == "localhost";
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "-._/".contains(c);
    if is_host && !rest.is_empty() && rest.chars().all(plain) && !rest.ends_with('/') {
        return Ok(text.to_owned());
    }
    Err(format!(
        "'{text}' is no repository without a tag, such as ghcr.io/owner/build-cache"
    ))
}

#[derive(Debug, Clone, Args)]
pub struct ReleaseOptions {
    /// Print the exact plan and touch nothing
    #[arg(long, conflicts_with_all = ["resume", "undo"])]
    pub dry_run: bool,

    /// Go on with the release that was interrupted, where it was; no step is done twice
    #[arg(long, conflicts_with = "undo")]
    pub resume: bool,

    /// Put back what the tags of this version pointed to; the version counts as spent
    #[arg(long, value_name = "VERSION")]
    pub undo: Option<String>,

    /// Publish under the tags of the branch or pull request instead of a version
    #[arg(long, conflicts_with_all = ["resume", "undo"])]
    pub snapshot: bool,

    /// Images and proof that `ci --export` wrote (repeatable: one a platform) [default: this engine's, as the last `ci` here proved them]
    #[arg(long, value_name = "DIR")]
    pub images: Vec<PathBuf>,

    /// Registry and owner [default: `registry` in Cargo.toml's [workspace.metadata.release]]
    #[arg(long, value_name = "REGISTRY/OWNER", env = "HORME_REGISTRY")]
    pub registry: Option<String>,

    /// A key to sign with: a file, a KMS address or env://NAME, as cosign takes it [default in GitHub Actions: the job's identity]
    #[arg(long, value_name = "KEY", env = "HORME_SIGN_KEY")]
    pub sign_key: Option<String>,

    /// Provision what is missing first (cosign); does nothing where all is there
    #[arg(long)]
    pub setup: bool,

    /// Where the journal of a release lies [default: ~/.local/state/horme/releases]
    #[arg(long, value_name = "DIR", env = "HORME_RELEASES_DIR")]
    pub journal: Option<PathBuf>,

    /// What standard output is for
    #[arg(long, value_enum, default_value_t, env = "HORME_FORMAT")]
    pub format: Format,
}

#[derive(Debug, Clone, Args)]
pub struct VerifyOptions {
    /// The image: REGISTRY/OWNER/NAME with :TAG, @DIGEST or both; a service's name means its image at its registry
    pub image: String,

    /// Where a service's name alone is looked for [default: `registry` in Cargo.toml's [workspace.metadata.release]]
    #[arg(long, value_name = "REGISTRY/OWNER", env = "HORME_REGISTRY")]
    pub registry: Option<String>,

    /// A public key: a file, a KMS address or env://NAME
    #[arg(long, value_name = "KEY", env = "HORME_VERIFY_KEY", conflicts_with_all = ["identity", "issuer"])]
    pub key: Option<String>,

    /// Who must have signed, as the certificate names it (a regular expression where it begins with `^`)
    #[arg(long, value_name = "IDENTITY", requires = "issuer")]
    pub identity: Option<String>,

    /// Who vouches for that identity
    #[arg(long, value_name = "URL", requires = "identity")]
    pub issuer: Option<String>,

    /// How old a gate's verdict may be at most (their age is always shown)
    #[arg(long, value_name = "DAYS")]
    pub max_age: Option<u32>,

    /// Provision what is missing first (cosign); does nothing where all is there
    #[arg(long)]
    pub setup: bool,

    /// What standard output is for: one document for a program
    #[arg(long, value_enum, default_value_t, env = "HORME_FORMAT")]
    pub format: Format,
}

#[derive(Debug, Clone, Args)]
pub struct ReproduceOptions {
    #[command(flatten)]
    pub run: RunOptions,
}

#[derive(Debug, Clone, Args)]
pub struct RescanOptions {
    #[command(flatten)]
    pub run: RunOptions,

    /// The tag that is looked at, of each image
    #[arg(long, value_name = "TAG", default_value = "latest")]
    pub tag: String,

    /// Registry and owner [default: `registry` in Cargo.toml's [workspace.metadata.release]]
    #[arg(long, value_name = "REGISTRY/OWNER", env = "HORME_REGISTRY")]
    pub registry: Option<String>,
}

#[derive(Debug, Clone, Args)]
pub struct BudgetOptions {
    #[command(flatten)]
    pub run: RunOptions,

    /// Move reports/baseline.json to the sizes that are measured now
    #[arg(long)]
    pub accept: bool,
}

#[derive(Debug, Clone, Args)]
pub struct TestOptions {
    #[command(flatten)]
    pub run: RunOptions,

    /// Those of the services inside their images' own build, without network, with the coverage by crate
    #[arg(long, conflicts_with = "args")]
    pub in_image: bool,

    /// Passed to the test binaries, after `--`
    #[arg(last = true)]
    pub args: Vec<String>,
}

#[derive(Debug, Clone, Args)]
pub struct SelftestOptions {
    /// Only the scenes whose name has this in it (repeatable)
    #[arg(long, value_name = "WORD")]
    pub only: Vec<String>,

    /// Let a gate wave everything through, on purpose: the selftest must then fail
    #[arg(long, value_enum, value_name = "GATE")]
    pub blind: Option<Gate>,

    /// Provision what is missing first; does nothing where all is there
    #[arg(long)]
    pub setup: bool,

    /// What standard output is for
    #[arg(long, value_enum, default_value_t, env = "HORME_FORMAT")]
    pub format: Format,

    /// Where base and store images come from
    #[arg(long, value_enum, default_value_t, env = "HORME_BASES")]
    pub bases: BasesMode,
}

#[derive(Debug, Clone, Args)]
pub struct WhyOptions {
    /// The service
    pub service: String,

    #[command(flatten)]
    pub run: RunOptions,
}

#[derive(Debug, Clone, Args)]
pub struct NewOptions {
    /// Of the crate, the binary, the Dockerfile and the compose service, e.g. `price-list`
    pub name: String,

    /// Where it listens; the lowest free port from 8004 on when absent
    #[arg(long, value_parser = clap::value_parser!(u16).range(1..))]
    pub port: Option<u16>,

    /// One line for the manifest, the image and `--help`
    #[arg(
        long,
        value_name = "TEXT",
        default_value = "Says who it is, and nothing else yet"
    )]
    pub description: String,
}

/// What the benchmark can measure, in the order in which it does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum BenchCase {
    /// `ci` with nothing changed, against a bare bake
    NoOp,
    /// All images from nothing, against stand-alone builds and the host; takes many minutes
    Cold,
    /// An edit of one service, against cargo on the host
    EditService,
    /// An edit of a crate that services share, against cargo on the host
    EditKit,
    /// One dependency more of a service, against cargo on the host
    AddDependency,
    /// All scans, warm against cold
    Scans,
    /// All gates looking anew, without the build
    Gates,
    /// Each image's boot, against a hello world
    Boot,
}

#[derive(Debug, Clone, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub struct BenchOptions {
    #[command(subcommand)]
    pub what: Option<BenchWhat>,

    /// Only these cases (repeatable)
    #[arg(long, value_enum, value_name = "NAME")]
    pub only: Vec<BenchCase>,

    /// Samples of each side; a cold build is measured once
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u16).range(1..=100))]
    pub repeat: u16,

    /// The service that is edited; the first by name when absent
    #[arg(long, short = 's', value_name = "NAME")]
    pub service: Option<String>,

    /// Where base and store images come from
    #[arg(long, value_enum, default_value_t, env = "HORME_BASES")]
    pub bases: BasesMode,
}

/// What else is measured than the pipeline itself.
#[derive(Debug, Clone, Subcommand)]
pub enum BenchWhat {
    /// The services under load: as a process, in a container, behind a published port, beside a direct call and nginx
    Services(ServiceBenchOptions),
}

#[derive(Debug, Clone, Args)]
pub struct ServiceBenchOptions {
    /// Only the loads of these services (repeatable)
    #[arg(long, short = 's', value_name = "NAME")]
    pub service: Vec<String>,

    /// Only these loads (repeatable): services/<name>/loads/<LOAD>.json
    #[arg(long, value_name = "LOAD")]
    pub load: Vec<String>,

    /// Samples of each side
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u16).range(1..=100))]
    pub repeat: u16,

    /// How long a sample takes
    #[arg(long, value_name = "S", default_value_t = 3.0, value_parser = seconds)]
    pub seconds: f64,

    /// Where base and store images come from
    #[arg(long, value_enum, default_value_t, env = "HORME_BASES")]
    pub bases: BasesMode,
}

fn seconds(text: &str) -> Result<f64, String> {
    let expected = || "expected seconds from 0.1 to 600".to_owned();
    let seconds: f64 = text.parse().map_err(|_| expected())?;
    if (0.1..=600.0).contains(&seconds) {
        Ok(seconds)
    } else {
        Err(expected())
    }
}

#[derive(Debug, Clone, Args)]
pub struct FuzzOptions {
    /// Only these targets: fuzz/fuzz_targets/<TARGET>.rs
    pub target: Vec<String>,

    /// How long each is fed
    #[arg(long, value_name = "S", default_value_t = 60, value_parser = clap::value_parser!(u64).range(1..=86_400))]
    pub seconds: u64,
}

/// The forms in which the report of a run can be printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub enum ReportFormat {
    /// The same as markdown
    #[default]
    Human,
    Json,
    Markdown,
    /// The page, rendered anew
    Html,
    Junit,
    Sarif,
}

/// What has a published schema.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Schema {
    Report,
    Events,
}

#[derive(Debug, Clone, Args)]
pub struct ReportOptions {
    /// The run's id; the latest when absent
    pub run_id: Option<String>,

    #[arg(long, value_enum, default_value_t)]
    pub format: ReportFormat,

    /// Open the page in the browser, or say where it lies where there is no desktop
    #[arg(long, conflicts_with = "format")]
    pub open: bool,

    /// Without the evidence, as long as a comment on a pull request may be (Markdown)
    #[arg(long)]
    pub short: bool,

    /// Print the JSON Schema of report.json, or of a line of events.jsonl, instead
    #[arg(long, value_enum, value_name = "OF", num_args = 0..=1, default_missing_value = "report")]
    pub schema: Option<Schema>,
}

#[derive(Debug, Clone, Args)]
pub struct TrendOptions {
    /// Only these services (repeatable); durations are left out then, unless they are asked for
    #[arg(long = "service", short = 's', value_name = "NAME")]
    pub services: Vec<String>,

    /// So many runs, the last ones
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u16).range(1..))]
    pub last: u16,

    /// Only these figures (repeatable)
    #[arg(long = "metric", value_enum, value_name = "FIGURE")]
    pub metrics: Vec<Metric>,

    #[arg(long, value_enum, default_value_t, env = "HORME_FORMAT")]
    pub format: Format,
}

#[derive(Debug, Clone, Args)]
pub struct CleanOptions {
    /// Also delete the folders of earlier runs under reports/
    #[arg(long)]
    pub reports: bool,
    /// Only say what would be swept
    #[arg(long)]
    pub dry_run: bool,

    /// What standard output is for
    #[arg(long, value_enum, default_value_t, env = "HORME_FORMAT")]
    pub format: Format,
}

/// Prints what the arguments were answered with: help and version (0), or what is wrong with them (2).
pub fn refuse(error: &clap::Error) -> u8 {
    if !error.use_stderr() {
        let _ = error.print();
        return Exit::Passed.code();
    }
    let said = error.render().to_string();
    // Its own suggestions are remedies like all others.
    let mut said = said.replace("\n\n  tip: ", "\nhint: ");
    if error.kind() != ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand {
        let said_last = said.trim_end();
        let whole = said_last.strip_suffix("For more information, try '--help'.");
        let whole = whole.unwrap_or(said_last).trim_end();
        said = format!("{whole}\nhint: `--help` lists what there is, of all and of each command");
    }
    if let Some(variable) = variable(error, std::env::args()) {
        said = format!(
            "{}\nhint: it comes from {variable}: give it another value, or unset it",
            said.trim_end()
        );
    }
    crate::report::complain(said.trim_end());
    Exit::Usage.code()
}

/// The variable whose value was refused under its flag's name: the flag itself was not given.
fn variable(error: &clap::Error, mut given: impl Iterator<Item = String>) -> Option<String> {
    let Some(ContextValue::String(named)) = error.get(ContextKind::InvalidArg) else {
        return None;
    };
    let flag = named.split([' ', '=']).next()?.strip_prefix("--")?;
    if given.any(|word| {
        word.strip_prefix("--")
            .is_some_and(|word| word.split('=').next() == Some(flag))
    }) {
        return None;
    }
    let command = Cli::command();
    let mut arguments = command.get_subcommands().flat_map(clap::Command::get_arguments);
    let variable = arguments
        .find(|argument| argument.get_long() == Some(flag))?
        .get_env()?;
    std::env::var_os(variable).map(|_| variable.to_string_lossy().into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_arguments_are_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn a_cache_is_a_repository_without_a_tag() {
        for good in ["ghcr.io/owner/cache", "127.0.0.1:5000/cache", "localhost/a/b"] {
            assert!(cache_repository(good).is_ok(), "{good}");
        }
        for bad in [
            "cache",
            "owner/cache",
            "ghcr.io/Owner/cache",
            "ghcr.io/o/cache:tag",
            "ghcr.io/",
            "ghcr.io/o/c,mode=min",
        ] {
            assert!(cache_repository(bad).is_err(), "{bad}");
        }
    }
}
