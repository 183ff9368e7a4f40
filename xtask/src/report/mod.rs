//! The report: one value, several renderers. Written on every path a run can take.

mod bytes;
mod ending;
mod github;
#[cfg(test)]
mod hostile;
mod html;
mod junit;
mod markdown;
mod past;
mod sarif;
mod todo;
mod word;
mod words;

use std::io::Write;
use std::path::Path;

use anyhow::Result;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::cache::whole;
use crate::cli::Schema;
use crate::context::Context;
use crate::event::{Line, Span};
use crate::exit::{Exit, Failure};
use crate::gate::faults::table::{self, Row};
use crate::gate::network::matrix::{self, Pair};
use crate::history::Entry;
use crate::plan::Plan;
use crate::terminal;
use crate::verdict::{Gate, Origin, Record};

pub use ending::{show, told};
pub use html::render as html;
pub use markdown::{escape, render as markdown, short};
pub use past::{of_run, read};
pub use sarif::Place;
pub use words::{listed, visible};

/// The forms that a job on GitHub hands on, by the names of their files.
pub const SARIF: &str = "report.sarif";
pub const COMMENT: &str = "comment.md";

/// Raised whenever a field of the report changes its meaning.
const VERSION: u32 = 1;

/// What a run came to.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct Report {
    pub version: u32,
    pub run_id: String,
    /// The subcommand.
    pub command: String,
    pub started_at: jiff::Timestamp,
    pub took_ms: u64,
    pub exit_code: u8,
    pub strict: bool,
    /// Where base and store images came from, and why.
    pub bases: String,
    /// Of the images.
    #[serde(default)]
    pub platform: String,
    /// Facts about engine and tools.
    pub environment: Vec<String>,
    /// The kind of machine, which times depend on: number of processors and eight digits.
    #[serde(default)]
    pub machine: String,
    /// What a reader should know: an unclean tree, no git, a cut-off history.
    #[serde(default)]
    pub notes: Vec<String>,
    /// Service -> digest of the image that was judged.
    pub digests: Vec<(String, String)>,
    pub services: Vec<String>,
    pub records: Vec<Record>,
    /// What ended the run before its gates could, if something did.
    pub error: Option<String>,
    /// What was checked out, where git knows.
    #[serde(default)]
    pub commit: Option<Commit>,
    /// Where the sources are kept, where a CI server says so.
    #[serde(default)]
    pub repository: Option<String>,
    /// The name of the machine.
    #[serde(default)]
    pub host: Option<String>,
    /// Where the time went.
    #[serde(default)]
    pub timeline: Vec<Span>,
    /// Logs and other files of the run, relative to its folder.
    #[serde(default)]
    pub files: Vec<String>,
    /// Earlier runs that verdicts were reused from and whose report lies beside this one's.
    #[serde(default)]
    pub earlier: Vec<String>,
    /// The folder with all that is needed to understand elsewhere what failed, relative to the run's.
    #[serde(default)]
    pub bundle: Option<String>,
}

/// What was checked out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Commit {
    pub id: String,
    /// `HEAD` where no branch was.
    pub branch: String,
    /// An input of an image was not as committed.
    pub dirty: bool,
}

impl Commit {
    fn of(plan: &Plan) -> Option<Self> {
        let head = plan.head.as_ref()?;
        Some(Commit {
            id: head.commit.clone(),
            branch: head.branch.clone(),
            dirty: plan.images.iter().any(|image| image.revision.dirty),
        })
    }
}

impl Report {
    /// Puts a run's verdicts together.
    pub fn new(
        context: &Context,
        command: &str,
        plan: Option<&Plan>,
        records: Vec<Record>,
        exit: Exit,
    ) -> Self {
        let took = context.started.elapsed();
        let now = jiff::Timestamp::now();
        let mut services: Vec<String> = records.iter().map(|record| record.service.clone()).collect();
        services.sort();
        services.dedup();
        let earlier = earlier(&context.run_dir, &records);
        let digests = records.iter().filter(|record| record.gate == Gate::Build);
        let digests = digests.filter_map(|record| Some((record.service.clone(), record.digest.clone()?)));
        Report {
            version: VERSION,
            run_id: context.run_id.clone(),
            command: command.to_owned(),
            started_at: now - jiff::SignedDuration::try_from(took).unwrap_or_default(),
            took_ms: took.as_millis() as u64,
            exit_code: exit.code(),
            strict: context.options.strict,
            bases: plan
                .map(|plan| format!("{} ({})", plan.bases.origin.word(), plan.bases.reason))
                .unwrap_or_default(),
            platform: plan.map(|plan| plan.platform.clone()).unwrap_or_default(),
            environment: Vec::new(),
            machine: String::new(),
            notes: Vec::new(),
            digests: digests.collect(),
            services,
            records,
            error: None,
            commit: plan.and_then(Commit::of),
            repository: repository(),
            host: rustix::system::uname()
                .nodename()
                .to_str()
                .ok()
                .map(str::to_owned),
            timeline: context.board.timeline(),
            files: files(&context.run_dir),
            earlier,
            bundle: None,
        }
    }

    pub fn record(&self, service: &str, gate: Gate) -> Option<&Record> {
        self.records
            .iter()
            .find(|record| record.service == service && record.gate == gate)
    }

    pub fn gates(&self) -> Vec<Gate> {
        Gate::COLUMNS
            .into_iter()
            .filter(|gate| self.records.iter().any(|record| record.gate == *gate))
            .collect()
    }

    /// The table of faults, where this run looked for them.
    pub fn faults(&self) -> Option<String> {
        let rows = self.fault_rows();
        (!rows.is_empty()).then(|| table::render(&rows))
    }

    fn fault_rows(&self) -> Vec<Row> {
        let mut records = self.records.iter();
        let found = records.find_map(|record| record.figures.get("faults"));
        let rows = found.and_then(|found| serde_json::from_value(found.clone()).ok());
        rows.unwrap_or_default()
    }

    /// Every ordered pair that the network gate told of, each once.
    pub fn pairs(&self) -> Vec<Pair> {
        let told = self
            .records
            .iter()
            .filter_map(|record| record.figures.get("pairs"));
        told.filter_map(|pairs| serde_json::from_value::<Vec<Pair>>(pairs.clone()).ok())
            .flatten()
            .collect()
    }

    /// The report in each of its forms, by the name of its file, and the matrix of the network as a picture.
    fn forms(&self, root: &Path, history: &[Entry]) -> Result<Vec<(&'static str, Vec<u8>)>> {
        let sarif = self.sarif(root);
        let mut forms = vec![
            ("report.json", serde_json::to_vec_pretty(self)?),
            ("report.md", markdown(self).into_bytes()),
            ("report.html", html::render(self, history).into_bytes()),
            ("report.junit.xml", self.junit()?.into_bytes()),
            (SARIF, serde_json::to_vec_pretty(&sarif)?),
            (COMMENT, short(self).into_bytes()),
        ];
        let pairs = self.pairs();
        if !pairs.is_empty() {
            forms.push(("network.svg", matrix::svg(&pairs).into_bytes()));
        }
        Ok(forms)
    }

    pub fn junit(&self) -> Result<String> {
        junit::render(self)
    }

    /// `root` is the checkout, whose files the results point into.
    pub fn sarif(&self, root: &Path) -> Value {
        sarif::render(self, &sarif::Sources::read(root))
    }

    /// Writes the report into the run's folder, once in each form. A form that cannot be written does not keep the
    /// others from being.
    ///
    /// # Errors
    /// Exit 3: names what could not be written.
    pub fn write(&self, context: &Context, history: &[Entry]) -> Result<()> {
        let mut failed: Vec<(&str, std::io::Error)> = Vec::new();
        for (name, content) in self.forms(&context.root, history)? {
            if let Err(error) = whole(&context.run_dir.join(name), &self.run_id, &content) {
                failed.push((name, error));
            }
        }
        let Some((_, error)) = failed.first() else {
            return Ok(());
        };
        let names: Vec<&str> = failed.iter().map(|(name, _)| *name).collect();
        let folder = context.run_dir.display();
        let what = format!("cannot write {} in {folder}: {error}", names.join(", "));
        let hint = "make the reports folder writable and free some space (`cargo xtask clean --reports`)";
        Err(Failure::undecided(what, hint).into())
    }

    /// Appends the report to the job's summary, where there is one.
    pub fn summarize(&self, context: &Context) {
        if let Some(path) = github::summary_file()
            && let Err(error) = github::append(&path, self)
        {
            context.board.note(&format!("{error:#}"));
        }
    }
}

/// The address of the repository that a job of GitHub works on.
fn repository() -> Option<String> {
    let word = |name: &str| std::env::var(name).ok().filter(|word| !word.is_empty());
    let (server, name) = (word("GITHUB_SERVER_URL")?, word("GITHUB_REPOSITORY")?);
    let plain = |text: &str| {
        text.bytes()
            .all(|byte| byte.is_ascii_graphic() && !b"<>\"\\^`{|}".contains(&byte))
    };
    (server.starts_with("https://") && plain(&server) && plain(&name)).then(|| format!("{server}/{name}"))
}

/// The runs that verdicts were reused from, where their report is kept: one may be swept, or have run elsewhere.
fn earlier(run_dir: &Path, records: &[Record]) -> Vec<String> {
    let mut runs: Vec<&str> = records
        .iter()
        .filter_map(|record| match &record.origin {
            Origin::Reused { run_id, .. } => Some(run_id.as_str()),
            Origin::Fresh => None,
        })
        .collect();
    runs.sort_unstable();
    runs.dedup();
    let is_name = |id: &str| {
        id.bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
    };
    let is_kept = |id: &str| run_dir.with_file_name(id).join("report.html").is_file();
    let kept = runs.into_iter().filter(|id| is_name(id) && is_kept(id));
    kept.map(str::to_owned).collect()
}

/// Every file in a run's folder, sorted, relative to it.
fn files(run_dir: &Path) -> Vec<String> {
    let (mut files, mut folders) = (Vec::new(), vec![run_dir.to_path_buf()]);
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
            match entry.file_type() {
                Ok(kind) if kind.is_dir() => folders.push(entry.path()),
                Ok(kind) if kind.is_file() => {
                    files.extend(entry.path().strip_prefix(run_dir).ok().map(shown))
                }
                _ => {}
            }
        }
    }
    files.sort();
    files
}

fn shown(path: &Path) -> String {
    path.display().to_string()
}

/// The JSON Schema (2020-12) of `report.json`, or of a line of `events.jsonl`, as they are published in
/// `reports/report.schema.json` and `reports/events.schema.json`.
pub fn schema(of: Schema) -> String {
    let schema = match of {
        Schema::Report => schemars::schema_for!(Report),
        Schema::Events => schemars::schema_for!(Line),
    };
    format!("{:#}\n", serde_json::json!(schema))
}

/// A line on standard output for a person. A closed pipe is no error.
pub fn say(line: &str) {
    let _ = writeln!(std::io::stdout(), "{line}");
}

/// Text on standard output with nothing added, for what is drawn in place.
pub fn say_raw(text: &str) {
    let mut out = std::io::stdout().lock();
    let _ = out.write_all(text.as_bytes());
    let _ = out.flush();
}

/// Lines on standard error, for a person: broken where a terminal would break them within a word.
pub fn complain(text: &str) {
    let width = terminal::error_width();
    let lines: Vec<String> = text
        .lines()
        .map(|line| terminal::broken(line, 0, width))
        .collect();
    let _ = writeln!(std::io::stderr(), "{}", lines.join("\n"));
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::verdict::Check;

    /// A report with one verdict of each kind and everything that changes from run to run made constant.
    pub(crate) fn sample() -> Report {
        let passed = Record::from_checks(
            "frontend",
            Gate::Build,
            vec![Check::passed("image", "revision abc")],
            "1f2e",
        );
        let violated = Record::from_checks(
            "frontend",
            Gate::Budget,
            vec![Check::violated(
                "over budget",
                "17.00 MB unpacked | 1.00 MB over",
                "make it smaller",
            )],
            "",
        );
        let undecided = Record::from_checks(
            "frontend",
            Gate::Scan,
            vec![Check::undecided("vulnerabilities", "no database", "pass --vuln-db").tolerated()],
            "",
        );
        let skipped = Record::skipped("gateway", Gate::Build, "left out by --service");
        Report {
            version: VERSION,
            run_id: "20261121-101500-abcd".into(),
            command: "ci".into(),
            started_at: jiff::Timestamp::UNIX_EPOCH,
            took_ms: 12_345,
            exit_code: 1,
            strict: false,
            bases: "local (no registry answers)".into(),
            platform: "linux/amd64".into(),
            environment: vec!["engine 26.1.5".into()],
            machine: "2x-0123abcd".into(),
            notes: vec!["not as committed: frontend".into()],
            digests: vec![("frontend".into(), "sha256:1f2e".into())],
            services: vec!["frontend".into(), "gateway".into()],
            records: vec![passed, violated, undecided, skipped],
            error: None,
            commit: Some(Commit {
                id: "0123456789abcdef0123456789abcdef01234567".into(),
                branch: "main".into(),
                dirty: false,
            }),
            repository: Some("https://example.org/horme".into()),
            host: Some("builder".into()),
            timeline: Vec::new(),
            files: vec!["logs/build.log".into()],
            earlier: Vec::new(),
            bundle: None,
        }
    }

    #[test]
    fn the_schema_of_the_events_is_the_one_that_is_published() {
        let published = include_str!("../../../reports/events.schema.json");
        assert!(
            published == schema(Schema::Events),
            "`cargo xtask report --schema events > reports/events.schema.json`"
        );
    }

    #[test]
    fn a_report_is_valid_by_the_schema_that_is_published() {
        let published = include_str!("../../../reports/report.schema.json");
        assert!(
            published == schema(Schema::Report),
            "`cargo xtask report --schema > reports/report.schema.json`"
        );
        let schema = jsonschema::validator_for(&serde_json::from_str(published).unwrap()).unwrap();
        let report = serde_json::to_value(sample()).unwrap();
        let faults: Vec<String> = schema
            .iter_errors(&report)
            .map(|fault| fault.to_string())
            .collect();
        assert!(faults.is_empty(), "{faults:?}");
        let mut wrong = report;
        wrong["records"][0]["outcome"] = "fine".into();
        assert!(!schema.is_valid(&wrong));
    }

    #[test]
    fn an_earlier_run_is_named_where_its_report_is_kept() {
        let reports = tempfile::tempdir().unwrap();
        std::fs::create_dir(reports.path().join("kept-1")).unwrap();
        std::fs::write(reports.path().join("kept-1/report.html"), "").unwrap();
        let mut report = sample();
        for (record, run_id) in report
            .records
            .iter_mut()
            .zip(["kept-1", "swept-2", "kept-1", "../x"])
        {
            record.origin = Origin::Reused {
                run_id: run_id.into(),
                age_s: 1,
            };
        }
        report.earlier = earlier(&reports.path().join("now-3"), &report.records);
        assert_eq!(report.earlier, ["kept-1"]);
        let page = html::render(&report, &[]);
        assert!(page.contains("href=\"../kept-1/report.html\""), "{page}");
        assert!(
            page.contains("swept-2") && !page.contains("href=\"../swept-2"),
            "{page}"
        );
    }

    #[test]
    fn a_report_is_read_back_as_it_was_written() {
        let text = serde_json::to_string(&sample()).unwrap();
        let back: Report = serde_json::from_str(&text).unwrap();
        assert_eq!(back.records, sample().records);
    }
}
