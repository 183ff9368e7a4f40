//! The summary of a job on GitHub: a run appends its Markdown to the file that the step was given for it.

use std::io::{Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

use super::{Report, markdown};

/// Where a step's summary belongs.
const VARIABLE: &str = "GITHUB_STEP_SUMMARY";

/// What a step's summary may hold; more of it would be refused as a whole.
const LIMIT: usize = 1024 * 1024;

/// The file of this step's summary, where there is one.
pub fn summary_file() -> Option<PathBuf> {
    let path = std::env::var_os(VARIABLE).filter(|path| !path.is_empty());
    path.map(PathBuf::from)
}

/// Appends the report, as much of it as there is room for.
///
/// # Errors
/// The file cannot be written, or is full.
pub fn append(path: &Path, report: &Report) -> Result<()> {
    let cannot = || format!("cannot write the job's summary {} ({VARIABLE})", path.display());
    let file = std::fs::OpenOptions::new().create(true).append(true).open(path);
    let mut file = file.with_context(cannot)?;
    let before = file.seek(SeekFrom::End(0)).with_context(cannot)? as usize;
    let text = markdown::within(report, LIMIT.saturating_sub(before + 1));
    anyhow::ensure!(
        !text.is_empty(),
        "{}: it is full, a step's summary holds 1 MiB",
        cannot()
    );
    // What another program wrote before may have ended in the middle of a line.
    let parting = if before == 0 { "" } else { "\n" };
    file.write_all(format!("{parting}{text}").as_bytes())
        .with_context(cannot)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::tests::sample;

    #[test]
    fn it_is_appended_and_what_was_there_stays() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("summary");
        std::fs::write(&path, "what was there").unwrap();
        append(&path, &sample()).unwrap();
        append(&path, &sample()).unwrap();
        let text = std::fs::read_to_string(&path).unwrap();
        assert!(text.starts_with("what was there\n# ci: violated\n"), "{text}");
        assert_eq!(text.matches("# ci: violated\n").count(), 2, "{text}");
        assert!(
            !text.contains("](logs/"),
            "a job's summary lies in no folder: {text}"
        );
    }

    #[test]
    fn it_never_holds_more_than_it_may() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("summary");
        let mut report = sample();
        report.environment = vec!["x".repeat(LIMIT)];
        append(&path, &report).unwrap();
        let text = std::fs::read_to_string(&path).unwrap();
        let left_out = "Left out for want of room: Images, bases and tools. All of it lies in reports/";
        assert!(text.len() < LIMIT && text.contains(left_out));
        std::fs::write(&path, "x".repeat(LIMIT)).unwrap();
        let error = append(&path, &report).unwrap_err();
        assert!(format!("{error:#}").contains("it is full"), "{error:#}");
        assert!(append(dir.path(), &report).is_err(), "a folder");
    }
}
