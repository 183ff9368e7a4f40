//! `report`: a run's report, printed in one of its forms, or its page opened.

use std::path::{Path, PathBuf};

use anyhow::Result;

use crate::cache::whole;
use crate::cli::{ReportFormat, ReportOptions};
use crate::context::Context;
use crate::exit::{Exit, Failure};
use crate::history;
use crate::process::{self, Call};
use crate::report::{self, Report, say};

/// The page's name in a run's folder.
const PAGE: &str = "report.html";

/// Prints or opens the report of a run, the latest where none is named.
///
/// # Errors
/// Exit 3: the run has no report, or its page cannot be written.
pub async fn run(context: &Context, options: &ReportOptions) -> Result<Exit> {
    if options.schema {
        say(report::schema().trim_end());
        return Ok(Exit::Passed);
    }
    let folder = options.run_id.as_deref().unwrap_or("latest");
    let folder = context.root.join("reports").join(folder);
    if options.open {
        return open(context, &folder).await;
    }
    let report = report::read(&folder.join("report.json"))?;
    say(&match options.format {
        ReportFormat::Human => report::markdown(&report),
        ReportFormat::Json => serde_json::to_string_pretty(&report)?,
        ReportFormat::Html => page(context, &report),
    });
    Ok(Exit::Passed)
}

/// The page of a run, with the runs before it behind its pictures.
fn page(context: &Context, report: &Report) -> String {
    let mut history = history::read(&context.root);
    history.retain(|entry| entry.at < report.started_at);
    report::html(report, &history)
}

/// Opens the page with the desktop's own opener; where there is none, saying where it lies is all there is to do.
async fn open(context: &Context, folder: &Path) -> Result<Exit> {
    // The run's own name: `latest` moves on.
    let folder = folder.canonicalize().unwrap_or_else(|_| folder.to_path_buf());
    let path = folder.join(PAGE);
    if !path.is_file() {
        let report = report::read(&folder.join("report.json"))?;
        write(context, &path, &page(context, &report))?;
    }
    say(&context.shown(&path));
    match opener() {
        Some(program) => {
            let call = Call::new([program.as_os_str(), path.as_os_str()]);
            // A browser that it starts lives on.
            process::start_detached(&call, Path::new("/dev/null"))?;
        }
        None => say("no desktop here: open it in a browser, it needs nothing but its folder"),
    }
    Ok(Exit::Passed)
}

fn write(context: &Context, path: &Path, page: &str) -> Result<()> {
    whole(path, &context.run_id, page.as_bytes()).map_err(|error| {
        let what = format!("cannot write {}: {error}", context.shown(path));
        let hint = "make the reports folder writable, or keep the page elsewhere: `cargo xtask report --format html`";
        Failure::undecided(what, hint).into()
    })
}

/// What opens a page on this desktop, if this is one: a terminal's browser would take the terminal.
fn opener() -> Option<PathBuf> {
    let set = |name| std::env::var_os(name).is_some_and(|value| !value.is_empty());
    let desktop = set("DISPLAY") || set("WAYLAND_DISPLAY");
    desktop.then(|| process::which("xdg-open")).flatten()
}
